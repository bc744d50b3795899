"""The door of egress: one delivery in, one Outcome out. Nothing a remote does raises.

Strategy: a kept connection if there is one; else route (DNS, cached), then a connection of the pool. A kept
connection that proves stale costs a second try on a fresh one; a host that fails before it has the message costs a
try of the next host.
"""

from collections import Counter
from dataclasses import dataclass

from relay.egress.connection import Connection
from relay.egress.connections import Connections, Permits, key_of
from relay.egress.dialer import Wanted
from relay.egress.failure import ours, scope_of
from relay.egress.mx import Rules, site_of
from relay.egress.pools import Source
from relay.egress.resolver import Resolver
from relay.egress.settings import EgressSettings, Relay
from relay.egress.tls import requirement_for
from relay.egress.transaction import Transaction, commands, final_dot, stuff
from relay.message import Delivery
from relay.outcome import Outcome, Scope
from relay.wildcard import Recipients


@dataclass(frozen=True, slots=True)
class _Way:
    """What the settings say of where mail goes. An attempt takes one and keeps it: it never sees half of two.

    site   whose limits all mail shares: the relay's; "" where each domain has its own
    """

    relay: Relay | None
    site: str
    requirement: str
    rules: Rules


class Courier:
    """Carries deliveries to their recipients' servers, or all of them to a relay; or to the capture server, as
    EgressSettings.capture says."""

    def __init__(self, settings: EgressSettings, resolver: Resolver, permits: Permits) -> None:
        self._resolver = resolver
        self._connections = Connections(settings, permits)
        self._settings = settings
        self._way, self._kept = _way(settings, settings.relay), _kept(settings)

    def __repr__(self) -> str:
        kept = f", all to {self._kept[1].site} but {self._kept[0]!r}" if self._kept else ""
        return f"<Courier {self._way.site or 'to MX'}{kept} {self._connections!r} {self._resolver!r}>"

    def stats(self) -> dict[str, int]:
        return self._connections.stats()

    def connections(self) -> Counter[tuple[str, str]]:
        """Open connections by our address and the site."""
        return self._connections.by_site()

    def reconfigure(self, settings: EgressSettings, resolver: Resolver | None = None) -> None:
        """Put new settings in force: attempts that have begun end as they began, kept connections go on under the new
        numbers, and what is opened from now on follows the new settings. `resolver`: who is asked from now on, if it is
        another."""
        self._connections.reconfigure(settings)
        self._settings = settings
        self._way, self._kept = _way(settings, settings.relay), _kept(settings)
        self._resolver = resolver or self._resolver

    async def send(
        self, delivery: Delivery, content: bytes, source: Source, hop: tuple[str, int] | None = None
    ) -> Outcome:
        """Try once to deliver `delivery.head + content` from `source`, to the host and port `hop` if a route says so.
        Raises CancelledError where nothing was tried since we shut down."""
        kept = self._kept
        if kept is None or kept[0].mean(delivery.recipient, delivery.domain):
            way = self._way if hop is None else _way(self._settings, Relay(*hop))
            return await self._send(delivery, content, source, way)
        # The way to ourselves takes no address of ours: the pool's may not reach loopback (IPv6), or be another
        # machine's, where a staging system has the files of production. The event names the source it would have had.
        outcome = await self._send(delivery, content, Source("", source.ehlo), kept[1])
        outcome.captured, outcome.source = True, source.address
        return outcome

    async def _send(self, delivery: Delivery, content: bytes, source: Source, way: _Way) -> Outcome:
        key = key_of(source, way.site or delivery.domain, way.requirement)
        connection = self._connections.idle(key) or await self._lease(delivery, source, way)
        if isinstance(connection, Outcome):
            return connection
        kept = connection.used > 0
        outcome = await self._transact(connection, delivery, content)
        if kept and _was_stale(outcome):
            connection = await self._lease(delivery, source, way, fresh=True)
            if isinstance(connection, Outcome):
                return connection
            outcome = await self._transact(connection, delivery, content)
        if _next_host_may_do(outcome):
            # One more host, as Postfix's smtp_mx_session_limit has it; the schedule brings further attempts.
            other = await self._lease(delivery, source, way, avoid=connection.target.address)
            if isinstance(other, Connection):
                return await self._transact(other, delivery, content)
        return outcome

    async def _lease(
        self, delivery: Delivery, source: Source, way: _Way, *, fresh: bool = False, avoid: str = ""
    ) -> Connection | Outcome:
        site = way.site or delivery.domain
        if way.relay is not None:
            route = await self._resolver.relay_route(way.relay)
        else:
            route = await self._resolver.route(delivery.domain, way.rules)
        if isinstance(route, Outcome):
            return route
        if avoid and all(address == avoid for host in route.hosts for address in host.addresses):
            return ours(421, "4.4.1", f"{site} has no other host", "CONNECT", Scope.SITE)
        wanted = Wanted(source, site, route, delivery.message.mail_class, (avoid,), fresh, way.relay)
        return await self._connections.lease(wanted)

    async def _transact(self, connection: Connection, delivery: Delivery, content: bytes) -> Outcome:
        """One transaction; the connection is given back. What the peer cannot take is not even tried."""
        head = delivery.head
        told = commands(delivery, len(head) + len(content), connection.features)
        if isinstance(told, Outcome):
            self._connections.release(connection)
            told.mx, told.tls, told.source = connection.target.host, connection.tls, connection.source.address
            return told
        pieces = (head, stuff(content), final_dot(content or head))  # no line of our own fields begins with a dot
        try:
            transaction = await connection.send(told[0], told[1], pieces)
        finally:
            self._connections.release(connection)
        return _outcome(connection, transaction)

    async def close(self, seconds: float) -> int:
        """Say good-bye to all peers within `seconds`. Returns how many messages may arrive twice for it."""
        return await self._connections.close(seconds)


def _kept(settings: EgressSettings) -> tuple[Recipients, _Way] | None:
    """Whose mail does not go to the capture server, and the way there; None where nothing is captured."""
    capture = settings.capture
    return (capture.only_to, _way(settings, capture.server)) if capture else None


def _way(settings: EgressSettings, relay: Relay | None) -> _Way:
    rules = Rules(settings.port, settings.allow_private, settings.own_hostnames, settings.own_addresses)
    return _Way(relay, site_of("", relay), requirement_for(relay).value, rules)


def _outcome(connection: Connection, transaction: Transaction) -> Outcome:
    reply, command = transaction.answer
    return Outcome(
        reply,
        command,
        Scope.HOST if transaction.internal else scope_of(command, reply),
        connection.target.host,
        connection.tls,
        connection.source.address,
        transaction.internal,
        connection.features.dsn,
    )


def _was_stale(outcome: Outcome) -> bool:
    """Did a kept connection end before the peer took up the message? Then nothing was tried: most servers close idle
    sessions, with or without a 421, and our MAIL may cross that."""
    return outcome.command in ("RSET", "MAIL") and outcome.reply.code == 421


def _next_host_may_do(outcome: Outcome) -> bool:
    """This host failed for its own reasons before it had the message, so that nothing can arrive twice."""
    return outcome.scope is Scope.HOST and outcome.reply.temporary and outcome.command != "END"
