"""Permits of rates, for messages and new connections: those of some seconds by parts (flow.py), all others by QuotaLeases.

A message whose worker has a free place in its parts costs a look into memory. Otherwise one task of the worker asks for one
more part; where there is none to be had, who asks is told when to come again. A site that is left alone gives its parts
back, but for one that it keeps for a while. Who holds more than his share of a rate that he uses up gives a part back now
and then, so that others find one.

A part counts as ours only while State has heard of it lately: a worker that is cut off from State stops, its parts go to
others, and what is urgent goes on within one worker's share.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from relay.identity import Rate
from relay.state.flow import PAD, Flow, short
from relay.state.permits import ASK_AGAIN, LEASE, STATE_DOWN, Receipt

SWEEP = 2.0  # seconds between two looks at what is not used, or not ours alone
SWEPT = 200  # of them in a turn of the loop: a fraction of a millisecond; ten thousand sites have some of each
IDLE = 15.0  # seconds an unused part is kept: some rounds through ten thousand sites
MARGIN = 2.0  # seconds for answers of State that were long under way


class Parts(Protocol):
    """Leases by name: ConnectionPermits, with a holder of its own that no other life has."""

    @property
    def renewed(self) -> float: ...
    @property
    def sharers(self) -> int: ...
    async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool: ...
    def release(self, name: str) -> None: ...


class Quotas(Protocol):
    """Rates that State counts permit by permit."""

    @property
    def receipt(self) -> Receipt | None: ...
    async def take(
        self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool, reserved: int = 0
    ) -> int: ...
    def give_back(self, receipt: Receipt | None, count: int) -> None: ...


class RateLeases:
    """All rates of one worker, by name. After `take` comes `depart` when what it was for leaves, or `give_back` if it never
    does, with the receipt that was to be had at once after `take`. `clock`: seconds that only go on, and the same that
    `parts` has."""

    def __init__(self, parts: Parts, quotas: Quotas, clock: Callable[[], float]) -> None:
        self._parts = parts
        self._quotas = quotas
        self._clock = clock
        self._flows: dict[str, Flow] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    def __repr__(self) -> str:
        held = sum(flow.parts for flow in self._flows.values())
        return f"<RateLeases {len(self._flows)} rates, {held} parts>"

    async def run(self) -> None:
        """Give back what is not used, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            names = [*self._flows]
            for start in range(0, len(names), SWEPT):
                self.sweep(names[start : start + SWEPT])
                await asyncio.sleep(0)

    async def take(self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool, reserved: int = 0) -> int:
        """0: go; else ask again in so many ms. Of a short rate `count` is one. `reserved`: so many of the rate are for urgent
        mail alone."""
        if not short(rate):
            return await self._quotas.take(name, rate, count, timezone, urgent=urgent, reserved=reserved)
        now = self._clock()
        flow = self._flows.get(name)
        if flow is None or flow.rate is not rate:
            flow = self._flow(name, rate, now)
        if not self._ours(flow, now):
            return 0 if urgent and flow.take(now, self._share(flow)) else STATE_DOWN
        if flow.take(now, None if urgent or not flow.extra else flow.parts - flow.extra):
            return 0
        if now < (flow.empty_until if urgent and reserved else flow.refused_until):
            return _ms(flow.wait(now))
        return await self._ask(name, flow, reserved, urgent=urgent)

    def depart(self, name: str, rate: Rate) -> None:
        flow = self._flows.get(name) if short(rate) else None
        if flow is not None:
            flow.depart(self._clock())

    def receipt(self, rate: Rate) -> Receipt | None:
        """Of the permit of `rate` that was granted just now; of parts there is none."""
        return None if short(rate) else self._quotas.receipt

    def give_back(self, name: str, rate: Rate, count: int, receipt: Receipt | None) -> None:
        if not short(rate):
            self._quotas.give_back(receipt, count)
        elif (flow := self._flows.get(name)) is not None:
            flow.give_back()

    # -- parts

    def _flow(self, name: str, rate: Rate, now: float) -> Flow:
        old = self._flows.get(name)
        if old is not None and old.rate == rate:
            old.rate = rate  # the same, of another reload
            return old
        flow = self._flows[name] = Flow(rate, now)
        if old is not None:
            flow.inherit(old)
            self._release(name, old, old.parts, after=old.window)
        return flow

    def _ours(self, flow: Flow, now: float) -> bool:
        """May its parts be used? Only while nobody else can have them within a window from now."""
        return now < self._parts.renewed + LEASE / 1000 - flow.window - MARGIN

    def _share(self, flow: Flow) -> int:
        return max(1, flow.whole // self._parts.sharers)

    async def _ask(self, name: str, flow: Flow, reserved: int, *, urgent: bool) -> int:
        """One more part, by one task at a time; to each other worker one is left. Urgent mail has one of the reserved ones
        only where there is no other."""
        lock = self._asking.setdefault(name, asyncio.Lock())
        async with lock:
            now = self._clock()
            if flow.take(now, None if urgent else flow.parts - flow.extra):  # another task has asked meanwhile
                return 0
            sharers = self._parts.sharers
            kept, most = flow.kept(reserved, sharers), max(1, flow.whole - sharers + 1)
            if now >= flow.refused_until and flow.parts - flow.extra < max(1, most - kept):
                if await self._one_more(name, flow, flow.whole - kept, urgent=urgent):
                    if flow.take(self._clock(), None if urgent else flow.parts - flow.extra):
                        return 0  # a part has room for one at least, but for what was sent without it
                else:
                    flow.refused_until = self._clock() + ASK_AGAIN
            if urgent and kept and now >= flow.empty_until and flow.parts < most:
                if await self._one_more(name, flow, flow.whole, urgent=True):
                    flow.extra += 1
                    if flow.take(self._clock()):
                        return 0
                else:
                    flow.empty_until = self._clock() + ASK_AGAIN
            return _ms(flow.wait(self._clock()))

    async def _one_more(self, name: str, flow: Flow, limit: int, *, urgent: bool) -> bool:
        if not await self._parts.acquire(_key(name, flow), limit, urgent=urgent):
            return False
        if self._flows.get(name) is not flow:  # given up meanwhile, or of an older reload
            self._parts.release(_key(name, flow))
            return False
        flow.parts += 1
        return True

    def sweep(self, names: Sequence[str]) -> None:
        """Every two seconds: what is not used goes back; of what is used up, a part that is more than ours; and all of it
        while State cannot be reached for long, as others will have it."""
        now = self._clock()
        for name in names:
            flow = self._flows.get(name)
            if flow is None:
                continue
            if not self._ours(flow, now):
                self._release(name, flow, flow.parts)
            elif now - flow.used >= IDLE and not flow.counting(now):
                self._release(name, flow, flow.parts)
                del self._flows[name]
                self._asking.pop(name, None)
            elif spare := flow.spare(now):
                self._release(name, flow, spare)
            elif flow.parts > self._share(flow) and flow.full(now):
                self._release(name, flow, 1, after=flow.window)

    def _release(self, name: str, flow: Flow, number: int, after: float = 0.0) -> None:
        """Parts are another's only when what went by them no longer counts: `after` so many seconds."""
        flow.drop(number)
        key = _key(name, flow)
        for _ in range(number):
            if after:
                asyncio.get_running_loop().call_later(after, self._parts.release, key)
            else:
                self._parts.release(key)

    async def close(self) -> None:
        """Give back what no longer counts, after waiting for what counts a second; the rest ends by itself."""
        if any(flow.counting(self._clock()) for flow in self._flows.values()):
            await asyncio.sleep(PAD)
        for name, flow in self._flows.items():
            if not flow.counting(self._clock()):
                self._release(name, flow, flow.parts)
        self._flows.clear()


def _key(name: str, flow: Flow) -> str:
    return f"{name} {flow.rate.count}/{flow.rate.window}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
