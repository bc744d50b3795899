"""The door of egress: one delivery in, one Outcome out. Nothing a remote does raises.

Strategy: a kept connection if there is one; else route (DNS, cached), then a connection of the pool. A kept
connection that proves stale costs a second try on a fresh one; a host that fails before it has the message costs a
try of the next host.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from relay.egress.connection import Connection
from relay.egress.connections import Connections, Openings, Permits, key_of
from relay.egress.dialer import Terms, Wanted
from relay.egress.failure import ours, scope_of
from relay.egress.mx import CAPTURED, Answer, Route, Rules, exchanges, site_of
from relay.egress.pools import Source
from relay.egress.resolver import MAX_ENTRIES, Resolver
from relay.egress.security.demands import LEVELS, Need, Security, Wish, uniform
from relay.egress.security.guard import Guard
from relay.egress.settings import EgressSettings, Relay
from relay.egress.tls import of_relay
from relay.egress.transaction import Transaction, commands, final_dot, stuff
from relay.egress.transcript import bounded, of_transaction
from relay.egress.urgency import URGENT
from relay.message import Delivery, MailClass
from relay.outcome import Outcome, Scope
from relay.pause import Later

_OF_CAPTURE = uniform(Need.TRY)  # nothing leaves, so nothing is to be protected on its way


@dataclass(frozen=True, slots=True)
class Way:
    """Where one delivery goes. An attempt takes one and keeps it: it never sees half of two settings.

    site      whose limits it shares
    key       connections are kept for this: the set of MX hosts, which many domains may have, or the relay
    host      of the relay; "" to the recipients' MX
    captured  to the capture server instead of the world
    """

    site: str
    key: str
    host: str
    relay: Relay | None
    rules: Rules
    captured: bool = False


class Permit(Protocol):
    """What a message may go by, within the rates of its site (relay/shaping/shaper.py)."""

    def depart(self) -> None:
        """A connection takes it: it counts from now on."""
        ...

    async def again(self) -> Later | None:
        """Another one, for another transaction: each that begins is one that the far end sees. Or there is none now."""
        ...


class Free:
    """A permit of what has no limit: nothing is counted when it leaves, and another is always there."""

    def depart(self) -> None:
        """Nothing counts it."""

    async def again(self) -> None:
        """There is none to wait for."""


FREE = Free()


class Sites(Protocol):
    """Who knows which domains share limits."""

    def of(self, domain: str, exchanges: Sequence[tuple[int, str]]) -> str: ...


class Courier:
    """Carries deliveries to their recipients' servers, or all of them to a relay; or to the capture server, as
    EgressSettings.capture says."""

    def __init__(
        self,
        settings: EgressSettings,
        resolver: Resolver,
        permits: Permits,
        openings: Openings,
        sites: Sites,
        guard: Guard,
    ) -> None:
        self._resolver = resolver
        self._guard = guard
        self._connections = Connections(settings, permits, openings)
        self._apply(settings, sites)

    def _apply(self, settings: EgressSettings, sites: Sites) -> None:
        self._settings, self._sites = settings, sites
        self._rules = Rules(settings.port, settings.allow_private, settings.own_hostnames, settings.own_addresses)
        self._all = self._way_to(settings.relay) if settings.relay is not None else None
        capture = settings.capture
        here = self._way_to(capture.server) if capture is not None else None
        self._captured = replace(here, site=CAPTURED, captured=True) if here is not None else None
        self._known: dict[str, tuple[Answer, Way]] = {}

    def __repr__(self) -> str:
        kept = f", all to {self._captured.site}" if self._captured else ""
        if self._settings.capture is not None:
            kept += f" but {self._settings.capture.only_to!r}"
        to = self._all.site if self._all is not None else "to MX"
        return f"<Courier {to}{kept} {self._connections!r} {self._resolver!r}>"

    @property
    def resolver(self) -> Resolver:
        """Who is asked now."""
        return self._resolver

    def stats(self) -> dict[str, int]:
        return self._connections.stats()

    def connections(self) -> Counter[tuple[str, str]]:
        """Open connections by our address and the site."""
        return self._connections.by_site()

    def reconfigure(self, settings: EgressSettings, sites: Sites, resolver: Resolver | None = None) -> None:
        """Put new settings in force: attempts that have begun end as they began, kept connections go on under the new
        numbers, and what is opened from now on follows the new settings. `resolver`: who is asked from now on, if it is
        another."""
        self._connections.reconfigure(settings)
        self._apply(settings, sites)
        self._resolver = resolver or self._resolver
        self._guard.reconfigure(
            self._resolver, trust_ad=settings.trust_ad, port=settings.port, allow_private=settings.allow_private
        )

    # -- the way

    async def way(self, delivery: Delivery, hop: tuple[str, int] | None = None) -> Way | Outcome:
        """Where `delivery` goes, to the host and port `hop` if a route says so; or why nowhere, or not now. A look-up of MX
        where the last one is too old; what their addresses are is asked when a connection is opened."""
        URGENT.set(delivery.message.mail_class is MailClass.TRANSACTIONAL)
        capture = self._settings.capture
        if capture is not None and not capture.only_to.mean(delivery.recipient, delivery.domain):
            assert self._captured is not None
            return self._captured
        if hop is not None:
            return self._way_to(Relay(*hop))
        return self._all or await self._by_mx(delivery.domain)

    async def _by_mx(self, domain: str) -> Way | Outcome:
        answer = self._resolver.known_mx(domain) or await self._resolver.mx(domain)
        known = self._known.get(domain)
        if known is not None and known[0] is answer:
            return known[1]
        named = exchanges(domain, answer)
        if isinstance(named, Outcome):
            return named
        key = " ".join(sorted({host for _, host in named}))
        way = Way(self._sites.of(domain, named), key, "", None, self._rules)
        if len(self._known) >= MAX_ENTRIES:
            self._known.clear()
        self._known[domain] = answer, way
        return way

    def _way_to(self, relay: Relay) -> Way:
        site = site_of(relay)
        return Way(site, site, relay.host, relay, self._rules)

    async def families(self, delivery: Delivery, way: Way) -> frozenset[int] | None:
        """Which families the addresses there have; None where DNS cannot say now, or where it does not matter. For pools
        with sources of both."""
        if way.captured:
            return None
        if way.relay is not None:
            route = await self._resolver.relay_route(way.relay)
        else:
            route = await self._resolver.route(delivery.domain, way.rules)
        return None if isinstance(route, Outcome) else route.families

    # -- an attempt

    async def send(
        self,
        delivery: Delivery,
        content: bytes,
        source: Source,
        way: Way,
        terms: Terms,
        permit: Permit = FREE,
    ) -> Outcome | Later:
        """Try once to deliver `delivery.head + content` from `source` by `way`, with no more connections than `terms` has.
        Later: nothing was tried, or nothing that reached the peer's mail.
        Raises CancelledError where nothing was tried since we shut down."""
        if not way.captured:
            outcome = await self._send(delivery, content, source, way, terms, permit)
        else:
            # The way to ourselves takes no address of ours: the pool's may not reach loopback (IPv6), or be another
            # machine's, where a staging system has the files of production. The event names the source it would have had.
            outcome = await self._send(delivery, content, Source("", source.ehlo), way, terms, permit)
            if isinstance(outcome, Outcome):
                outcome.captured, outcome.source = True, source.address
        if isinstance(outcome, Outcome):
            outcome.site = way.site
            if outcome.transcript and not self._settings.transcripts:
                outcome.transcript = ()
        return outcome

    async def _send(
        self,
        delivery: Delivery,
        content: bytes,
        source: Source,
        way: Way,
        terms: Terms,
        permit: Permit,
    ) -> Outcome | Later:
        connection = self._kept(delivery, source, way, terms) or await self._lease(delivery, source, way, terms)
        if not isinstance(connection, Connection):
            return connection
        kept = connection.used > 0
        outcome = await self._transact(connection, delivery, content, permit)
        if kept and _was_stale(outcome):
            if (later := await permit.again()) is not None:
                return later
            connection = await self._lease(delivery, source, way, terms, fresh=True)
            if not isinstance(connection, Connection):
                return connection
            outcome = await self._transact(connection, delivery, content, permit)
        if _next_host_may_do(outcome) and await permit.again() is None:
            # One more host, as Postfix's smtp_mx_session_limit has it; the schedule brings further attempts.
            other = await self._lease(delivery, source, way, terms, avoid=connection.target.address)
            if isinstance(other, Connection):
                return _also(outcome, await self._transact(other, delivery, content, permit))
        return outcome

    def _kept(self, delivery: Delivery, source: Source, way: Way, terms: Terms) -> Connection | None:
        """An idle connection, where it is known without a look-up what it must be like."""
        security = self._security(delivery, way, terms)
        if security is None:
            return None
        urgent = delivery.message.mail_class is MailClass.TRANSACTIONAL
        return self._connections.idle(key_of(source, way.key, security.label, terms.apart), urgent=urgent)

    async def _lease(
        self, delivery: Delivery, source: Source, way: Way, terms: Terms, *, fresh: bool = False, avoid: str = ""
    ) -> Connection | Outcome | Later:
        found = await self._route(delivery, source, way, terms)
        if isinstance(found, Outcome):
            return found
        route, security = found
        if avoid and all(address == avoid for host in route.hosts for address in host.addresses):
            return ours(421, "4.4.1", f"{way.site} has no other host", "CONNECT", Scope.SITE)
        wanted = Wanted(
            source, way.site, way.key, route, delivery.message.mail_class, terms, security, (avoid,), fresh, way.relay
        )
        wanted.note = partial(self._guard.note, delivery.domain)
        return await self._connections.lease(wanted)

    async def _route(
        self, delivery: Delivery, source: Source, way: Way, terms: Terms
    ) -> tuple[Route, Security] | Outcome:
        """The hosts that mail may go to, and what each must prove."""
        if way.relay is not None:
            route = await self._resolver.relay_route(way.relay)
            security = self._security(delivery, way, terms)
            assert security is not None
            return route if isinstance(route, Outcome) else (route, security)
        route_of = self._resolver.route(delivery.domain, way.rules, source.address)
        return await self._guard.secure(delivery.domain, LEVELS[terms.tls], Wish(delivery.message.tls), route_of)

    def _security(self, delivery: Delivery, way: Way, terms: Terms) -> Security | None:
        """What is required of the hosts, as far as it is known without a look-up."""
        if way.captured:
            return _OF_CAPTURE
        level, tls = LEVELS[terms.tls], delivery.message.tls
        if way.relay is not None:
            return of_relay(way.relay, level, requiretls=tls == Wish.REQUIRED.value)
        return self._guard.known(delivery.domain, level, tls)

    async def _transact(self, connection: Connection, delivery: Delivery, content: bytes, permit: Permit) -> Outcome:
        """One transaction; the connection is given back. What the peer cannot take is not even tried."""
        head = delivery.head
        told = commands(delivery, len(head) + len(content), connection.features, time.time_ns() // 1_000_000)
        if isinstance(told, Outcome):
            self._connections.release(connection)
            told.mx, told.tls, told.source = connection.target.host, connection.tls, connection.source.address
            told.transcript = bounded(connection.opening.lines(connection.tls), [f"! {told.reply.text}"])
            return told
        pieces = (head, stuff(content), final_dot(content or head))  # no line of our own fields begins with a dot
        permit.depart()
        try:
            transaction = await connection.send(told[0], told[1], pieces)
        finally:
            self._connections.release(connection)
        return _outcome(connection, transaction)

    async def close(self, seconds: float) -> int:
        """Say good-bye to all peers within `seconds`. Returns how many messages may arrive twice for it."""
        return await self._connections.close(seconds)


def _outcome(connection: Connection, transaction: Transaction) -> Outcome:
    reply, command = transaction.answer
    outcome = Outcome(
        reply,
        command,
        Scope.HOST if transaction.internal else scope_of(command, reply),
        connection.target.host,
        connection.tls,
        connection.source.address,
        transaction.internal,
        connection.features.dsn,
    )
    if not reply.ok:
        outcome.transcript = of_transaction(
            connection.opening, connection.tls, max(0, connection.used - 1), transaction
        )
    return outcome


def _also(first: Outcome, then: Outcome) -> Outcome:
    """`then`, on another host, with what was said to both."""
    if not then.delivered:
        then.transcript = bounded(first.transcript, then.transcript)
    return then


def _was_stale(outcome: Outcome) -> bool:
    """Did a kept connection end before the peer took up the message? Then nothing was tried: most servers close idle
    sessions, with or without a 421, and our MAIL may cross that."""
    return outcome.command in ("RSET", "MAIL") and outcome.reply.code == 421


def _next_host_may_do(outcome: Outcome) -> bool:
    """This host failed for its own reasons before it had the message, so that nothing can arrive twice."""
    return outcome.scope is Scope.HOST and outcome.reply.temporary and outcome.command != "END"
