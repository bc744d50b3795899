"""Permits as stages use them: connection slots with a renewed lease, and quotas taken in small batches.

Both only stand between a stage and State: what they hold in memory is always a part of what State has granted, so a
worker that dies leaves limits too tight for a while and never too wide.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import structlog

from relay.identity import Rate
from relay.state.interface import State, StateError
from relay.state.limits import lease_end, lease_size

log = structlog.get_logger()

LEASE = 30_000  # a dead worker's connections block their slots this long: a site's greeting takes as long at worst
RENEW_EVERY = 10.0  # two renewals may fail before a lease ends
STATE_DOWN = 5_000  # when State cannot answer: ask again after this


class ConnectionPermits:
    """Leases of connections to a site from a source address, shared by all workers.

    `holder` names this worker; its former life, if it had the same name, holds nothing any more: start `run` before
    anything is acquired. A permit that State cannot give now is refused: the mail waits in line and asks again.
    """

    def __init__(self, state: State, holder: str) -> None:
        self._state = state
        self._holder = holder
        self._held: Counter[str] = Counter()
        self._owed: Counter[str] = Counter()  # given back here, not yet in State
        self._released = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ConnectionPermits {self._holder}: {self._held.total()} held, {self._owed.total()} to give back>"

    async def run(self) -> None:
        """Give back what is released at once, and renew the rest every ten seconds, until cancelled."""
        await self._try(self._state.drop(self._holder))
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + RENEW_EVERY
        while True:
            try:
                async with asyncio.timeout_at(renew_at):
                    await self._released.wait()
            except TimeoutError:
                pass
            if loop.time() >= renew_at:  # also where there was always something to give back
                await self._try(self._state.renew(self._holder, LEASE))
                renew_at = loop.time() + RENEW_EVERY
            self._released.clear()
            await self._give_back()

    async def close(self) -> None:
        """Nothing is held any more."""
        await self._try(self._state.drop(self._holder))
        self._held.clear()
        self._owed.clear()

    async def acquire(self, source: str, site: str, limit: int) -> bool:
        """One more, unless `limit` are held by all workers together.

        One of our own on its way back is used again only beside others of the same key. Where there are fewer permits
        than workers, a worker holds one: were it to keep that while it is busy, the others' mail would wait as long.
        """
        key = _key(source, site)
        if self._owed[key] and 0 < self._held[key] < limit:
            self._owed[key] -= 1
            self._held[key] += 1
            return True
        try:
            granted = await self._state.acquire(key, limit, self._holder, LEASE)
        except StateError as error:
            log.warning("no connection permits", error=str(error))
            return False
        if granted:
            self._held[key] += 1
        return granted

    def release(self, source: str, site: str) -> None:
        """Give one back; State hears of it soon."""
        key = _key(source, site)
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        self._owed[key] += 1
        self._released.set()

    async def _give_back(self) -> None:
        """All that is owed, at once; what State cannot take now is owed until the next round."""
        owed, self._owed = list(self._owed.elements()), Counter()
        await asyncio.gather(*(self._give_one_back(key) for key in owed))

    async def _give_one_back(self, key: str) -> None:
        try:
            await self._state.release(key, self._holder)
        except StateError:
            self._owed[key] += 1

    async def _try(self, step: Awaitable[None]) -> None:
        try:
            await step
        except StateError as error:
            log.warning("connection permits could not be renewed", error=str(error))


def _key(source: str, site: str) -> str:
    return f"conn/{source}/{site}"


@dataclass(slots=True)
class _Lease:
    """What one worker may still use of one quota, until `ends`; and the last refusal, good until `refused_until`."""

    rate: Rate
    left: int = 0
    ends: int = 0
    size: int = 1
    refused: int = 0
    refused_until: int = 0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class QuotaLeases:
    """Credentials' quotas. Permits come from State in leases that double while they are used up within their slot, so
    that a busy credential asks once in up to 50 messages and a quiet one wastes nothing."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._leases: dict[str, _Lease] = {}

    def __repr__(self) -> str:
        return f"<QuotaLeases {', '.join(f'{name}: {lease.left}' for name, lease in self._leases.items())}>"

    async def take(self, name: str, rate: Rate, count: int, timezone: str = "UTC") -> int:
        """0: `count` permits are yours; else ask again in so many ms. All or none."""
        lease = self._leases.get(name)
        if lease is None or lease.rate != rate:
            lease = self._leases[name] = _Lease(rate)
        answer = self._from_memory(lease, count)
        if answer is not None:
            return answer
        async with lease.asking:  # those behind get theirs of the same lease
            answer = self._from_memory(lease, count)
            return await self._ask(name, lease, count, timezone) if answer is None else answer

    def _from_memory(self, lease: _Lease, count: int) -> int | None:
        now = self._state.now()
        if lease.left >= count and now < lease.ends:
            lease.left -= count
            return 0
        if count >= lease.refused and now < lease.refused_until:
            return lease.refused_until - now
        return None

    async def _ask(self, name: str, lease: _Lease, count: int, timezone: str) -> int:
        rate, key, now = lease.rate, f"quota/{name}", self._state.now()
        lease.size = min(2 * lease.size, lease_size(rate)) if now < lease.ends else 1
        ends = lease_end(rate, now, ZoneInfo(timezone))
        wanted = max(count, lease.size)
        try:
            wait = await self._state.take(key, rate, wanted, timezone)
            if wait and wanted > count:
                wanted = count
                wait = await self._state.take(key, rate, wanted, timezone)
        except StateError as error:
            log.warning("no quota permits", credential=name, error=str(error))
            return STATE_DOWN
        if wait:
            lease.refused, lease.refused_until = count, self._state.now() + wait
            return wait
        spare = lease.left if ends == lease.ends else 0
        lease.left, lease.ends = spare + wanted - count, ends
        return 0
