"""The door of security: a domain and its route in, what is required of each of its hosts out.

Strategy: the policy of MTA-STS is looked up beside the route; TLSA records where the resolver's word on DNSSEC is to be
trusted, and the route is signed (RFC 7672 2.2). All answers come from caches where they can, and what was decided is known
for some seconds without asking any (`known`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from relay.egress.mx import Answer, Found, Route
from relay.egress.security import dane
from relay.egress.security.dane import Anchors, Status
from relay.egress.security.demands import Demand, Facts, Need, Security, Wish, decide, refusal
from relay.egress.security.ledger import Ledger
from relay.egress.security.policies import Lookup, StsPolicies
from relay.egress.security.tlsrpt import Failure
from relay.outcome import Outcome

KNOWN_FOR = 15_000  # ms: a kept connection is found without DNS; a new policy takes effect that much later
MAX_KNOWN = 20_000  # some 1 KB each where there are policies

Key = tuple[str, Need, str]


class Guard:
    """One for a worker. `clock` gives milliseconds; `trust_ad`: the resolver's AD bit is believed; `port` of MX hosts: where
    their TLSA records stand."""

    def __init__(
        self,
        resolver: Lookup,
        policies: StsPolicies,
        ledger: Ledger,
        clock: Callable[[], int],
        *,
        trust_ad: bool = False,
        port: int = 25,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._policies = policies
        self._ledger = ledger
        self._trust_ad = trust_ad
        self._port = port
        self._known: OrderedDict[Key, tuple[int, Security]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Guard known={len(self._known)} dane={self._trust_ad} {self._policies!r} {self._ledger!r}>"

    def reconfigure(self, resolver: Lookup, *, trust_ad: bool, port: int, allow_private: bool) -> None:
        """After a reload."""
        self._resolver = self._policies.resolver = self._ledger.resolver = resolver
        self._policies.allow_private = allow_private
        if (self._trust_ad, self._port) != (trust_ad, port):
            self._known.clear()
        self._trust_ad, self._port = trust_ad, port

    def known(self, domain: str, level: Need, tls: str) -> Security | None:
        """What was decided some seconds ago; `tls` is a Wish's value. Asked for each message."""
        found = self._known.get((domain, level, tls))
        return found[1] if found is not None and self._clock() < found[0] else None

    async def secure(
        self, domain: str, level: Need, wish: Wish, route: Awaitable[Route | Outcome]
    ) -> tuple[Route, Security] | Outcome:
        """The hosts of `route` that mail may go to, in its order, and the demands on each; or why to none."""
        asks = wish is not Wish.WAIVED and not domain.startswith("[")
        record = self._policies.record(domain) if asks else None
        way = await route
        if isinstance(way, Outcome):
            return way
        policy = await self._policies.find(domain, record) if record is not None else None
        names = [host.name for host in way.hosts]
        signed, anchors = await self._anchors(domain, names) if asks and self._trust_ad else (False, {})
        security = decide(domain, names, level, wish, Facts(signed, anchors, policy))
        self._remember((domain, level, wish.value), security)
        if not security.skipped:
            return way, security
        for skipped in security.skipped.values():
            self._ledger.count(domain, skipped.applied, skipped.failure)
        hosts = tuple(host for host in way.hosts if host.name in security.by_host)
        return (replace(way, hosts=hosts), security) if hosts else refusal(domain, security)

    def note(self, domain: str, demand: Demand, failure: Failure | None) -> None:
        """How a session went, for the reports."""
        self._ledger.count(domain, demand.applied, failure)

    def _remember(self, key: Key, security: Security) -> None:
        self._known[key] = self._clock() + KNOWN_FOR, security
        self._known.move_to_end(key)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    # --------------------------------------------------------------------------------------------------- DANE

    async def _anchors(self, domain: str, hosts: list[str]) -> tuple[bool, dict[str, Anchors]]:
        """Is the MX signed, and what does each host have to show (RFC 7672 2.2.1)? Nothing counts where it is not."""
        mx = await self._resolver.look_up(domain, "MX")
        if not mx.secure:
            return False, {}
        names = (domain, mx.canonical or domain)
        found = await asyncio.gather(*(self._anchors_of(host, names) for host in hosts))
        return True, dict(zip(hosts, found, strict=True))

    async def _anchors_of(self, host: str, names: tuple[str, ...]) -> Anchors:
        """RFC 7672 2.2.3: of the two names of an alias the real one first."""
        for base in await self._bases(host):
            answer = await self._resolver.look_up(f"_{self._port}._tcp.{base}", "TLSA")
            if answer.found is Found.FAILED:
                return Anchors(Status.FAILED, base=base, detail=answer.detail)
            if answer.found is Found.RECORDS and answer.secure:
                return dane.anchors((dane.parse(text) for _, text in answer.records), base, names)
        return dane.NONE

    async def _bases(self, host: str) -> list[str]:
        """Names whose TLSA records count. Without signed addresses none do, but of an alias that is signed itself (2.2.2):
        to ask the others would only find broken name servers."""
        both = await asyncio.gather(self._resolver.look_up(host, "AAAA"), self._resolver.look_up(host, "A"))
        found: list[Answer] = [answer for answer in both if answer.found is Found.RECORDS]
        if not found:
            return []
        real = found[0].canonical or host
        if all(answer.secure for answer in found):
            return list(dict.fromkeys((real, host)))
        if real == host:
            return []
        alias = await self._resolver.look_up(host, "CNAME")
        return [host] if alias.found is Found.RECORDS and alias.secure else []
