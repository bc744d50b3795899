"""From a route to a session: one address after the other, those that lately kept us waiting last."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from relay.egress.connection import Connection, Target
from relay.egress.failure import ours
from relay.egress.mx import Route
from relay.egress.opening import Note, Opening, open_connection
from relay.egress.pools import Source
from relay.egress.security.demands import Security
from relay.egress.settings import EgressSettings, Relay
from relay.egress.transcript import bounded
from relay.identity import Rate
from relay.message import MailClass
from relay.outcome import Outcome, Scope

MAX_TRIES = 10  # addresses tried for one connection: at 60 s each, ten minutes of an attempt at most
SLOW_FAILURE = 1.0  # seconds: what fails sooner costs nothing to try again
SLOW_ADDRESS = 300.0  # seconds for which an address that did not answer is tried last
MAX_SLOW = 10_000  # such addresses remembered; some 1 MB


class Terms(Protocol):
    """How many connections mail may have, and how they may be opened (relay/shaping/shape.py)."""

    @property
    def messages_per_connection(self) -> int: ...

    @property
    def tls(self) -> str:
        """A key of security/demands.py LEVELS."""
        ...

    @property
    def apart(self) -> str:
        """Whose connections are counted for them alone as well, and so used by nobody else; "": nobody's."""
        ...

    def slots(self, source: str, site: str, *, shared: bool) -> Sequence[tuple[str, int, int]]:
        """Where a connection counts: (name, how many there may be, of these for transactional mail). `shared`: transactional
        mail leaves from the source too."""
        ...

    def openings(self, source: str, site: str, *, shared: bool) -> Sequence[tuple[str, Rate, int]]:
        """The rates, by name, that a new connection takes a permit of, and how many of each are for transactional mail."""
        ...


@dataclass(slots=True)
class Wanted:
    """A connection somebody asks for.

    site    whose limits count it     key   which connections will do (Way.key)
    security  what each host must prove; note: who is told how that went
    relay   whom `route` leads to, if not to the recipients' MX: its password goes with the route, so that a reload never
            brings the one to the other
    avoid   addresses that just failed        fresh   a kept connection proved stale, and with it all that are idle
    """

    source: Source
    site: str
    key: str
    route: Route
    mail_class: MailClass
    terms: Terms
    security: Security
    avoid: Collection[str] = ()
    fresh: bool = False
    relay: Relay | None = None
    note: Note = lambda _demand, _failure: None


class Dialer:
    """Opens connections and remembers which addresses were slow to fail."""

    def __init__(self, settings: EgressSettings) -> None:
        self.settings = settings  # a reload replaces it
        self._slow: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Dialer slow={len(self._slow)}>"

    async def open(self, wanted: Wanted, on_lost: Callable[[Connection], None]) -> Connection | Outcome:
        """One address after the other; the last outcome if none will have us, which is then the site's."""
        loop = asyncio.get_running_loop()
        ehlo = wanted.source.ehlo or self.settings.hostname
        outcome: Outcome | None = None
        refused: Outcome | None = None
        said: tuple[str, ...] = ()
        for target in self._targets(wanted, loop.time()):
            demand = wanted.security.of(target.host)
            assert demand is not None, target  # the route has only hosts that mail may go to
            how = Opening(wanted.source, ehlo, demand, self.settings.timeouts, wanted.relay, wanted.note)
            started = loop.time()
            result = await open_connection(target, how, on_lost)
            if isinstance(result, Connection):
                return result
            said = result.transcript = bounded(said, result.transcript)
            if result.scope is Scope.SOURCE:
                return result
            if loop.time() - started >= SLOW_FAILURE:
                self._remember_slow(target.address, loop.time() + SLOW_ADDRESS)
            if result.internal and result.reply.permanent:
                refused = replace(result, scope=Scope.MESSAGE)
            else:
                outcome = replace(result, scope=Scope.SITE)
        # REQUIRETLS: it is returned where no host can have it, and waits where one may yet.
        failed = outcome or refused or _unreachable(wanted)
        failed.transcript = said
        return failed

    def _targets(self, wanted: Wanted, now: float) -> list[Target]:
        """The addresses to try, in order: of the source's family, without those to avoid, slow ones last."""
        targets = [
            Target(host.name, address, wanted.route.port)
            for host in wanted.route.hosts
            for address in host.addresses
            if address not in wanted.avoid and _same_family(wanted.source.address, address)
        ]
        targets.sort(key=lambda target: self._slow.get(target.address, 0.0) > now)
        return targets[:MAX_TRIES]

    def _remember_slow(self, address: str, until: float) -> None:
        if len(self._slow) >= MAX_SLOW:
            self._slow.clear()
        self._slow[address] = until


def _same_family(source: str, address: str) -> bool:
    return not source or (":" in source) == (":" in address)


def _unreachable(wanted: Wanted) -> Outcome:
    text = f"no address of {wanted.site} can be reached from {wanted.source.address or 'here'}"
    return replace(ours(451, "4.4.4", text, "CONNECT", Scope.SITE), source=wanted.source.address)
