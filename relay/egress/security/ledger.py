"""What became of sessions, counted for the TLS reports of RFC 8460.

Strategy: counts are in memory until `flush`, which first asks which of the domains want a report at all; only of those is
anything kept (`store`). Asked are domains with a policy, those where something failed, and from then on those that said
yes: a campaign to ten thousand domains without policies does not cost ten thousand questions. A crash loses what was
counted since the last flush: reports are statistics.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import apsw
import structlog

from relay.database import DatabaseError
from relay.egress.security import tlsrpt
from relay.egress.security.policies import Lookup
from relay.egress.security.store import Store
from relay.egress.security.tlsrpt import Applied, Counts, Failure

log = structlog.get_logger()

MOST = 20_000  # domains and policies counted between two flushes
AT_ONCE = 10  # look-ups: mail's own come first


def day_of(now: int) -> str:
    """The UTC day of `now` (ms), as reports name it."""
    return datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%d")


class Ledger:
    """`count` from wherever a session ends; `flush` now and then, and at the end."""

    def __init__(self, resolver: Lookup, store: Store, clock: Callable[[], int]) -> None:
        self.resolver = resolver  # a reload replaces it
        self.failures = 0
        self._store = store
        self._clock = clock
        self._counted: dict[tuple[str, str, Applied], Counts] = {}
        self._wanting: set[str] = set()

    def __repr__(self) -> str:
        return f"<Ledger {len(self._counted)} to be flushed, {self.failures} failures>"

    def count(self, domain: str, applied: Applied | None, failure: Failure | None = None) -> None:
        """One session to a host of `domain`, or what kept it from being tried; None: not to be reported."""
        if failure is not None:
            self.failures += 1
        if applied is None:
            return
        key = day_of(self._clock()), domain, applied
        counts = self._counted.get(key)
        if counts is None:
            if len(self._counted) >= MOST:
                return
            counts = self._counted[key] = Counts()
        counts.add(failure)

    async def flush(self, pause: float = 0.0) -> None:
        """Write down what was counted of domains that want reports. `pause`: seconds that each of ten rests after a question, so
        that a campaign to domains that all fail does not keep the node busy with reports of it. Nothing is lost
        if cancelled while it asks."""
        keys = list(self._counted)
        asked = dict.fromkeys(d for (_, d, applied), found in self._counted.items() if self._asks(d, applied, found))
        wanting: set[str] = set()

        left = iter(asked)

        async def ask() -> None:
            for domain in left:
                if await self.addresses(domain):
                    wanting.add(domain)
                await asyncio.sleep(pause)  # 0: answers that are known already take no time for others

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
        self._wanting = wanting if len(self._wanting) > MOST else self._wanting | wanting
        counted = {
            key: self._counted.pop(key)
            for key in keys
            if key[1] in asked or not self._asks(key[1], key[2], self._counted[key])  # what has failed since is next
        }
        for day in {day for day, _, _ in counted}:
            kept = [(d, applied, counts) for (at, d, applied), counts in counted.items() if at == day and d in wanting]
            try:
                if kept:
                    await asyncio.to_thread(self._store.add, day, kept)
            except (apsw.Error, DatabaseError, OSError) as error:
                log.error("counts for TLS reports cannot be kept", error=str(error))

    def _asks(self, domain: str, applied: Applied, counts: Counts) -> bool:
        return applied.kind != "no-policy-found" or bool(counts.bad) or domain in self._wanting

    async def addresses(self, domain: str) -> tuple[str, ...]:
        """Where the domain wants its reports: mailto: and https: URIs."""
        answer = await self.resolver.look_up(f"_smtp._tls.{domain}", "TXT")
        return tlsrpt.addresses(text for _, text in answer.records)
