"""The policies of MTA-STS (RFC 8461): looked up, fetched, kept.

Strategy: all policies that hold are in memory and in `store`. The TXT record says whether a policy is new; without one,
or with DNS in trouble, what was fetched before holds until it expires (RFC 8461 5.1), which is what keeps an attacker
from taking it away. A fetch that failed is not repeated for five minutes (3.3). `refresh` fetches anew, once a day, what
is kept, so that a domain that gets little mail keeps its protection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import apsw
import structlog

from relay.database import DatabaseError
from relay.egress.mx import Answer, Found, is_public
from relay.egress.security import https, sts
from relay.egress.security.store import Kept, Store
from relay.egress.security.sts import BadPolicy, Policy
from relay.egress.security.tlsrpt import Applied, Failure
from relay.egress.urgency import URGENT, Places

log = structlog.get_logger()

PATH = "/.well-known/mta-sts.txt"
MOST = 65_536  # octets; RFC 8461 3.3 suggests 64 KB
SECONDS = 20.0  # of all addresses together; 3.3 suggests a minute, but somebody's first mail waits for it
FAILED_FOR = 300_000  # ms; 3.3
STALE = 86_400_000  # ms after which a policy is fetched anew, though its id is the same
FETCHES = 12  # at once
SPARE = 4  # of these, for transactional mail alone: slow servers of a campaign's domains may hold all others for long
MAX_KEPT = 50_000  # in memory, some 2 KB each; of others the file knows
MAX_FAILED = 10_000  # domains whose last fetch failed, remembered

_TROUBLE = (apsw.Error, DatabaseError, OSError)


class Lookup(Protocol):
    def look_up(self, name: str, kind: str) -> Awaitable[Answer]:
        """Asked at once, and awaited where the answer is needed."""
        ...


async def addresses_of(resolver: Lookup, host: str, allow_private: bool) -> list[str]:
    """Where a web server may be connected to: a stranger's record names it, so not on this machine or network."""
    v4, v6 = await asyncio.gather(resolver.look_up(host, "A"), resolver.look_up(host, "AAAA"))
    found = [address for answer in (v4, v6) for _, address in answer.records]
    return [each for each in found if allow_private or is_public(each)]


class StsPolicies:
    """`find` is the door, and `record` what it begins with. `report` is told of policies that could not be had: domain,
    policy, failure."""

    def __init__(
        self,
        resolver: Lookup,
        store: Store,
        clock: Callable[[], int],
        report: Callable[[str, Applied, Failure], None],
        *,
        allow_private: bool = False,
        port: int = 443,
    ) -> None:
        self.resolver = resolver  # a reload replaces both
        self.allow_private = allow_private
        self._store = store
        self._clock = clock
        self._report = report
        self.port = port
        self._kept: dict[str, Kept] = {}
        self._failed: dict[str, tuple[str, int]] = {}
        self._running: dict[tuple[str, bool], asyncio.Task[Kept | None]] = {}
        self._fetches = Places(FETCHES, SPARE)

    def __repr__(self) -> str:
        return f"<StsPolicies {len(self._kept)} kept, {len(self._failed)} failed, {len(self._running)} being fetched>"

    def __len__(self) -> int:
        """Policies that are kept."""
        return len(self._kept)

    async def load(self) -> None:
        """What was kept before this process began. Where the file is in trouble, mail goes on with what is fetched now."""
        try:
            found = await asyncio.to_thread(self._store.policies, self._clock(), MAX_KEPT)
        except _TROUBLE as error:
            log.error("policies of MTA-STS cannot be read", error=str(error))
            return
        self._kept.update((kept.domain, kept) for kept in found)

    def record(self, domain: str) -> Awaitable[Answer]:
        """What says whether `domain` (an A-label) has a policy, and which: asked for at once."""
        return self.resolver.look_up(f"_mta-sts.{domain}", "TXT")

    async def find(self, domain: str, record: Awaitable[Answer]) -> Policy | None:
        """The policy that holds for `domain` now, by its `record`."""
        answer = await record
        kept = self._holding(domain)
        identifier = sts.record_id(text for _, text in answer.records) if answer.found is Found.RECORDS else None
        if identifier is not None and (kept is None or kept.id != identifier):
            kept = await self._renewed(domain, identifier) or kept
        return kept.policy if kept is not None else None

    def _holding(self, domain: str) -> Kept | None:
        kept = self._kept.get(domain)
        if kept is not None and kept.expires_at <= self._clock():
            del self._kept[domain]
            return None
        return kept

    async def _renewed(self, domain: str, identifier: str) -> Kept | None:
        failed = self._failed.get(domain)
        if failed is not None and failed[0] == identifier and self._clock() < failed[1]:
            return None
        asking = (domain, URGENT.get())  # who is urgent fetches himself: another's fetch may still stand in line
        task = self._running.get(asking)
        if task is None:
            task = self._running[asking] = asyncio.create_task(self._renew(domain, identifier))
            task.add_done_callback(lambda _: self._running.pop(asking, None))
        return await asyncio.shield(task)

    async def _renew(self, domain: str, identifier: str) -> Kept | None:
        """Another worker may have it already; else fetch it. None: it cannot be had, which is then reported."""
        kept = await self._of_others(domain, identifier)
        if kept is None:
            try:
                kept = Kept(domain, identifier, self._clock(), await self._fetch(domain))
            except _Failed as failed:
                self._remember_failed(domain, identifier)
                log.warning("policy of MTA-STS cannot be had", domain=domain, error=failed.failure.reason)
                self._report(domain, Applied("sts", domain), failed.failure)
                return None
            await self._save(kept)
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[domain] = kept
        return kept

    async def _of_others(self, domain: str, identifier: str) -> Kept | None:
        try:
            kept = await asyncio.to_thread(self._store.policy, domain)
        except _TROUBLE:
            return None  # `_save` will say so
        now = self._clock()
        fresh = kept is not None and kept.id == identifier and kept.fetched_at > now - STALE and kept.expires_at > now
        return kept if fresh else None

    async def _save(self, kept: Kept) -> None:
        try:
            await asyncio.to_thread(self._store.keep, kept)
        except _TROUBLE as error:
            log.error("policy of MTA-STS cannot be kept over a restart", domain=kept.domain, error=str(error))

    def _remember_failed(self, domain: str, identifier: str) -> None:
        if len(self._failed) >= MAX_FAILED:
            self._failed.clear()
        self._failed[domain] = identifier, self._clock() + FAILED_FOR

    async def _fetch(self, domain: str) -> Policy:
        """Raises _Failed."""
        host = f"mta-sts.{domain}"
        async with self._fetches.one():
            addresses = await addresses_of(self.resolver, host, self.allow_private)
            try:
                answer = await https.ask(
                    https.Request(host, PATH, port=self.port), addresses, seconds=SECONDS, most=MOST
                )
            except https.HttpsError as error:
                result = "sts-webpki-invalid" if error.untrusted else "sts-policy-fetch-error"
                raise _Failed(result, str(error)) from error
        if answer.status != 200:
            raise _Failed("sts-policy-fetch-error", f"{host} answers {answer.status}")
        if answer.kind != "text/plain":  # 3.2: so that a page where strangers may write is no policy
            raise _Failed("sts-policy-invalid", f"{host} gives {answer.kind or 'no media type'}, not text/plain")
        try:
            return sts.parse(answer.body)
        except BadPolicy as error:
            raise _Failed("sts-policy-invalid", f"{host}: {error}") from error

    async def refresh(self) -> None:
        """Take over what other workers have, and fetch anew what is older than a day; what cannot be had stays until it
        expires."""
        await self.load()
        for kept in [kept for kept in self._kept.values() if kept.fetched_at <= self._clock() - STALE]:
            if self._holding(kept.domain) is not None:
                await self._renewed(kept.domain, kept.id)


class _Failed(Exception):
    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(result, reason=reason)
