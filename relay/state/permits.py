"""Permits as stages use them: connection slots with a renewed lease, and quotas taken in small batches.

Both only stand between a stage and State: what they hold in memory is always a part of what State has granted, so a
worker that dies leaves limits too tight for a while and never too wide.

While State cannot be reached, most mail waits for it. Transactional mail goes on (DESIGN, invariant 6): each worker then
lets through its own share of a limit, by its own count, and State hears of it when it is back. The error is bounded: by
what of a limit was used unevenly before, and by one permit a worker where there are more workers than permits.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

import structlog

from relay.identity import Rate
from relay.state.interface import State, StateError
from relay.state.limits import lease_end, lease_size, oldest_slot, slot_of, wait

log = structlog.get_logger()

LEASE = 30_000  # a dead worker's connections block their slots this long: a site's greeting takes as long at worst
RENEW_EVERY = 10.0  # two renewals may fail before a lease ends
TOGETHER = 0.05  # seconds that what is given back waits for more; who was refused asks again later than that
ASK_AGAIN = 0.25  # seconds after a refusal: others may have given one back
LOOK_AGAIN = 1.0  # seconds between looks for a State that is down
STATE_DOWN = 5_000  # when State cannot answer: ask again after this
PATIENCE = 1.0  # seconds transactional mail waits for State; saturated, SQLite answers in 0.7 s at worst
MANY = 10_000  # names of quotas and rates at hand before those without a lease are dropped; some 700 octets each
NO_LIMIT = 1 << 31  # of a permit that is in use already: State only has to know of it


class ConnectionPermits:
    """Leases of connections by the name of what they count against, shared by all `workers` of this node, and other nodes'.

    `holder` names this worker; its former life, if it had the same name, holds nothing any more: start `run` before
    anything is acquired. A permit that State cannot give now is refused, and the mail waits in line and asks again;
    unless it is urgent.
    """

    def __init__(self, state: State, holder: str, workers: int = 1) -> None:
        self._state = state
        self._holder = holder
        self._workers = workers
        self._held: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()  # of these, State does not know of
        self._owed: Counter[str] = Counter()  # given back here, not yet in State
        self._wake = asyncio.Event()
        self._asking: set[asyncio.Task[bool]] = set()
        self._down = False
        self.renewed = float("-inf")  # when State last knew our leases, and no others of ours, by the loop's clock

    def __repr__(self) -> str:
        state = ", State is down" if self._down else ""
        return (
            f"<ConnectionPermits {self._holder}: {self._held.total()} held, {self._owed.total()} to give back{state}>"
        )

    @property
    def sharers(self) -> int:
        """How many workers share it, as far as anybody knows."""
        return max(1, self._workers, self._state.sharers)

    async def run(self) -> None:
        """Give back what is released soon, and renew the rest every ten seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        if await self._try(self._state.drop(self._holder)):
            self.renewed = asked
        renew_at = loop.time() + RENEW_EVERY
        while True:
            try:
                async with asyncio.timeout_at(renew_at):
                    await self._wake.wait()
                await asyncio.sleep(TOGETHER)
            except TimeoutError:
                pass
            if loop.time() >= renew_at:  # also where there was always something to give back
                await self._renew(loop)
                renew_at = loop.time() + (LOOK_AGAIN if self._down else RENEW_EVERY)
            elif self._down:
                renew_at = min(renew_at, loop.time() + LOOK_AGAIN)
            self._wake.clear()
            await self.give_back()

    async def close(self) -> None:
        """Nothing is held any more."""
        await self._try(self._state.drop(self._holder))
        self._held.clear()
        self._alone.clear()
        self._owed.clear()

    async def acquire(self, name: str, limit: int, *, urgent: bool = False) -> bool:
        """One more by that name, unless `limit` are held by all workers together.

        One of our own on its way back is used again, save where there are fewer permits than workers, and so one for each at
        most: were it to keep that while it is busy, the others' mail would wait as long.

        `urgent`: while State is down, one more of this worker's share.
        """
        key = f"conn/{name}"
        enough = self._held[key] or limit >= self.sharers
        if self._owed[key] and self._held[key] < limit and enough:
            self._owed[key] -= 1
            self._held[key] += 1
            return True
        if urgent and self._down:
            return self._acquire_alone(key, limit)
        try:
            granted = await (self._ask_briefly(key, limit) if urgent else self._ask(key, limit))
        except StateError as error:
            self._fail("no connection permits", error)
            return urgent and self._acquire_alone(key, limit)
        if granted:
            self._held[key] += 1
        return granted

    def release(self, name: str) -> None:
        """Give one back; State hears of it soon."""
        key = f"conn/{name}"
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        if self._alone[key]:
            self._alone[key] -= 1
            return
        self._owed[key] += 1
        self._wake.set()

    # -- asking

    async def _ask(self, key: str, limit: int) -> bool:
        return await self._state.acquire(key, limit, self._holder, LEASE)

    async def _ask_briefly(self, key: str, limit: int) -> bool:
        """Raises StateError where there is no answer in time; a permit that comes later is given back."""
        asking = asyncio.create_task(self._ask(key, limit))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        try:
            done, _ = await asyncio.wait([asking], timeout=PATIENCE)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda late: self._came_late(key, late))
            raise
        if done:
            return asking.result()
        asking.add_done_callback(lambda late: self._came_late(key, late))
        raise StateError(f"no answer in {PATIENCE:.0f} s")

    def _came_late(self, key: str, asking: asyncio.Task[bool]) -> None:
        if not asking.cancelled() and asking.exception() is None and asking.result():
            self._owed[key] += 1
            self._wake.set()

    def _acquire_alone(self, key: str, limit: int) -> bool:
        if self._held[key] >= max(1, limit // self.sharers):
            return False
        self._held[key] += 1
        self._alone[key] += 1
        return True

    # -- keeping State informed

    async def _renew(self, loop: asyncio.AbstractEventLoop) -> None:
        """Prolong what State knows of, and tell it what it does not know. After a time without it that outlasts a lease
        it knows of nothing any more."""
        asked = loop.time()
        try:
            if loop.time() - self.renewed > LEASE / 1000:
                await self._state.drop(self._holder)
                self._owed.clear()
                self._alone = Counter(self._held)
            else:
                await self._state.renew(self._holder, LEASE)
            for key in list(self._alone.elements()):
                await self._state.acquire(key, NO_LIMIT, self._holder, LEASE)
                if self._alone[key]:
                    self._alone[key] -= 1
                else:
                    self._owed[key] += 1  # released meanwhile
        except StateError as error:
            self._fail("connection permits could not be renewed", error)
            return
        self.renewed = asked
        if self._down:
            self._down = False
            log.info("connection permits are State's again", holder=self._holder)

    async def give_back(self) -> None:
        """All that is owed, at once; what State cannot take now is owed until the next round."""
        owed, self._owed = list(self._owed.elements()), Counter()
        await asyncio.gather(*(self._give_one_back(key) for key in owed))

    async def _give_one_back(self, key: str) -> None:
        try:
            await self._state.release(key, self._holder)
        except StateError:
            self._owed[key] += 1

    async def _try(self, step: Awaitable[None]) -> bool:
        try:
            await step
        except StateError as error:
            self._fail("connection permits could not be given back", error)
            return False
        return True

    def _fail(self, what: str, error: StateError) -> None:
        if not self._down:
            log.warning(what, error=str(error))
            self._down = True
            self._wake.set()


@dataclass(slots=True)
class _Lease:
    """What one worker may still use of one quota, until `ends`; and the last refusal, good until `refused_until`.

    reserved     of the rate, what is not for this one: State is asked within the rest
    alone        granted here by slot while State was down, which it has not heard of      alone_until  it is not asked again
    """

    rate: Rate
    reserved: int = 0
    left: int = 0
    ends: int = 0
    size: int = 1
    refused: int = 0
    refused_until: int = 0
    alone: Counter[int] = field(default_factory=Counter)
    alone_until: int = 0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Receipt(NamedTuple):
    """Of permits that were taken: their lease, and when that ended then."""

    lease: _Lease
    ends: int


class QuotaLeases:
    """Credentials' quotas and streams' rates, by name. Permits come from State in leases that double while they are used up
    within their slot, so that a busy one asks once in up to 50 messages and a quiet one wastes nothing.

    receipt   of what `take` has granted last, for `give_back`: to be read before anything else is awaited. None: that was
              granted without State and stays taken
    """

    def __init__(self, state: State, workers: int = 1) -> None:
        self._state = state
        self._workers = workers
        self._leases: dict[str, _Lease] = {}
        self._forget_above = MANY
        self.receipt: Receipt | None = None

    def __repr__(self) -> str:
        shown = [f"{name}: {lease.left}" for name, lease in islice(self._leases.items(), 20)]
        more = [f"{len(self._leases) - 20} more"] if len(self._leases) > 20 else []
        return f"<QuotaLeases {', '.join(shown + more)}>"

    async def take(
        self, name: str, rate: Rate, count: int, timezone: str = "UTC", *, urgent: bool = False, reserved: int = 0
    ) -> int:
        """0: `count` permits are yours; else ask again in so many ms. All or none. `urgent`: while State is down, of
        this worker's share; and of all permits, where so many are `reserved`, in leases that other mail has no part in."""
        kind = f"{name} urgent" if urgent and reserved else name
        lease = self._leases.get(kind)
        unused = 0 if urgent else reserved
        if lease is None or lease.rate != rate or lease.reserved != unused:
            if len(self._leases) >= self._forget_above:
                self._forget()
            lease = self._leases[kind] = _Lease(rate, unused)
        answer = self._from_memory(lease, count, timezone, urgent)
        if answer is not None:
            return answer
        async with lease.asking:  # those behind get theirs of the same lease
            answer = self._from_memory(lease, count, timezone, urgent)
            return await self._ask(name, lease, count, timezone, urgent) if answer is None else answer

    def give_back(self, receipt: Receipt | None, count: int) -> None:
        """`count` permits that were not needed: the next to ask has them, while the slot lasts in which they were counted."""
        if receipt is not None and receipt.lease.ends == receipt.ends:
            receipt.lease.left += count

    def _forget(self) -> None:
        """Sites are many: of those that say nothing any more, nothing is kept."""
        now = self._state.now()
        self._leases = {
            name: lease
            for name, lease in self._leases.items()
            if now < max(lease.ends, lease.refused_until) or lease.asking.locked() or lease.alone
        }
        self._forget_above = 2 * len(self._leases) + MANY

    def _from_memory(self, lease: _Lease, count: int, timezone: str, urgent: bool) -> int | None:
        now = self._state.now()
        if lease.left >= count and self._state.latest() < lease.ends:
            lease.left -= count
            self.receipt = Receipt(lease, lease.ends)
            return 0
        if count >= lease.refused and now < lease.refused_until:
            return lease.refused_until - now
        if urgent and now < lease.alone_until:
            return self._take_alone(lease, count, timezone)
        return None

    async def _ask(self, name: str, lease: _Lease, count: int, timezone: str, urgent: bool) -> int:
        if lease.alone_until:  # it was down when last asked: others that are urgent do not wait for this answer
            lease.alone_until = self._state.now() + STATE_DOWN
        try:
            async with asyncio.timeout(PATIENCE if urgent else None):
                answer = await self._of_state(f"quota/{name}", lease, count, timezone)
        except (StateError, TimeoutError) as error:
            log.warning("no quota permits", quota=name, error=str(error) or f"no answer in {PATIENCE:.0f} s")
            lease.alone_until = self._state.now() + STATE_DOWN
            return self._take_alone(lease, count, timezone) if urgent else STATE_DOWN
        lease.alone_until = 0
        return answer

    async def _of_state(self, key: str, lease: _Lease, count: int, timezone: str) -> int:
        rate, now = lease.rate, self._state.now()
        if lease.reserved:  # the same counter, by a lower limit
            rate = replace(rate, count=rate.count - lease.reserved)
        if lease.alone:
            told = Counter(lease.alone)
            await self._state.take(key, rate, min(told.total(), rate.count), timezone)  # as far as it goes
            lease.alone -= told
        lease.size = min(2 * lease.size, lease_size(rate)) if now < lease.ends else 1
        ends = lease_end(rate, now, ZoneInfo(timezone))
        wanted = max(count, lease.size)
        pause = await self._state.take(key, rate, wanted, timezone)
        if pause and wanted > count:
            wanted = count
            pause = await self._state.take(key, rate, wanted, timezone)
        if pause:
            lease.refused, lease.refused_until = count, self._state.now() + pause
            return pause
        spare = lease.left if ends == lease.ends else 0
        lease.left, lease.ends = spare + wanted - count, ends
        self.receipt = Receipt(lease, ends)
        return 0

    def _take_alone(self, lease: _Lease, count: int, timezone: str) -> int:
        """Of this worker's share, by its own count; a part of a message's recipients is not to be had."""
        now, zone = self._state.now(), ZoneInfo(timezone)
        sharers = max(self._workers, self._state.sharers)
        share = replace(lease.rate, count=max(1, lease.rate.count // sharers))
        slot = slot_of(share, now, zone)
        counted = [(at, number) for at, number in lease.alone.items() if at >= oldest_slot(share, slot)]
        pause = wait(share, counted, count, now, zone)
        if not pause:
            lease.alone[slot] += count
            self.receipt = None
        return pause
