"""The door of shaping: before each attempt, a source and all the permits it needs; or when to come again.

Strategy: the rates that hold for a delivery (of its source and site, of the site, and of its domain where that has limits of
its own) are asked one after the other, each by a lease of State that the worker holds (relay/state/permits.py). Where one of
them is used up, what the others gave is put back into their leases, nothing was tried, and the schedule leaves the whole
lane alone until then: a refusal is remembered, so that the next of the lane costs a look into memory. Connections are
counted where they are opened (egress/connections.py).

A rate that stands in no table costs nothing. Nobody waits for another site's permits.

Sources that cannot be used, or that the site blocks, stand aside (health.py), as do those of a family that none of the
site's hosts has. Where only the first are left, mail waits until one of them returns.
"""

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, Protocol, TypeVar

import structlog

from relay.identity import Rate
from relay.message import Delivery, MailClass
from relay.outcome import Outcome
from relay.pause import Pause
from relay.shaping.health import Health, sign_of
from relay.shaping.shape import Shape, Shapes

log = structlog.get_logger()

ZONE = "UTC"  # of a site's day, week or month: brands with others share it


class Source(Protocol):
    """An address of ours."""

    @property
    def address(self) -> str: ...
    def reaches(self, families: Collection[int]) -> bool: ...


S = TypeVar("S", bound=Source)
S_co = TypeVar("S_co", bound=Source, covariant=True)


class Pool(Protocol[S_co]):
    """Sources that share mail."""

    @property
    def name(self) -> str: ...
    @property
    def sources(self) -> Sequence[S_co]: ...
    def choose(self, sticky: str, rand: float) -> S_co: ...
    def choose_able(self, sticky: str, rand: float, able: Callable[[Any], bool]) -> S_co | None: ...


class Permits(Protocol):
    """Messages, counted over all workers; names are ours (relay/state/permits.py)."""

    async def take(self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool) -> int: ...
    def depart(self, name: str, rate: Rate) -> None: ...
    def give_back(self, name: str, rate: Rate, count: int) -> None: ...


class Berth(Generic[S]):
    """All that one attempt needs to go: from where, and within what. Its permits count from now on; whoever got it calls
    `depart` when the message goes, and `leave` in any case when the attempt is over."""

    __slots__ = ("_permits", "_rates", "pool", "shape", "site", "source")

    def __init__(
        self, source: S, pool: str, site: str, shape: Shape, rates: Sequence[tuple[str, Rate]], permits: Permits
    ) -> None:
        self.source = source
        self.pool = pool
        self.site = site
        self.shape = shape
        self._rates = rates
        self._permits = permits

    def __repr__(self) -> str:
        return f"<Berth of {self.pool} from {self.source.address or '*'} to {self.site}>"

    def depart(self) -> None:
        """The message goes; once more, and nothing happens."""
        for name, rate in self._rates:
            self._permits.depart(name, rate)
        self._rates = ()

    def leave(self) -> None:
        """It is over; what never went needs no permit."""
        for name, rate in self._rates:
            self._permits.give_back(name, rate, 1)
        self._rates = ()


class Shaper:
    """The shaping of one worker. `clock` gives ms since the epoch; `rand` chooses among sources."""

    def __init__(
        self,
        shapes: Shapes,
        permits: Permits,
        clock: Callable[[], int],
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.shapes = shapes  # a reload replaces it
        self._permits = permits
        self._clock = clock
        self._rand = rand
        self.health = Health()

    def __repr__(self) -> str:
        return f"<Shaper {self.shapes!r}>"

    async def berth(
        self,
        delivery: Delivery,
        pool: Pool[S],
        site: str,
        host: str = "",
        families: Collection[int] | None = None,
    ) -> Berth[S] | Pause:
        """What `delivery` needs to go to `site` by a source of `pool`; or when to ask again, and nothing was taken. `host`:
        of a relay or next hop, which is no mailbox provider. `families`: 4, 6, those of the site's hosts; None: of no
        matter, or not known."""
        shape = self.shapes.of_host(host) if host else self.shapes.of(site, pool.name, delivery.domain)
        source = self._source(delivery.source, pool, site, families)
        if isinstance(source, Pause):
            return source
        rates = shape.rates(source.address, site)
        urgent = delivery.message.mail_class is MailClass.TRANSACTIONAL
        for number, (name, rate) in enumerate(rates):
            wait = await self._permits.take(name, rate, 1, ZONE, urgent=urgent)
            if wait:
                Berth(source, pool.name, site, shape, rates[:number], self._permits).leave()
                return Pause(self._clock() + wait, f"{name.removeprefix('rate/')}: {rate.text}", site, pool.name)
        if not self.health.calm:
            self.health.taken(source.address, site, self._clock())
        return Berth(source, pool.name, site, shape, rates, self._permits)

    def _source(self, sticky: str, pool: Pool[S], site: str, families: Collection[int] | None) -> S | Pause:
        """The one the recipient's host knows (`sticky`), or one by weight, of those that will do."""
        if families is None and self.health.calm:
            return pool.choose(sticky, self._rand())
        now = self._clock()
        reaching = [source for source in pool.sources if families is None or source.reaches(families)]
        able = [source for source in reaching if self.health.usable(source.address, site, now)]
        if reaching and not able:
            back, address = min((self.health.back(source.address, site, now), source.address) for source in reaching)
            return Pause(back, f"{address} stands aside", site, pool.name)
        # Where none reaches the site any will do: the attempt then says why it fails.
        return pool.choose_able(sticky, self._rand(), able.__contains__) or pool.choose(sticky, self._rand())

    def observe(self, berth: Berth[S], outcome: Outcome, *, blocked: bool = False) -> None:
        """What came of it. `blocked`: the site refuses the sending address, by the category of its reply."""
        if outcome.delivered and self.health.calm:
            return
        now, why = self._clock(), str(outcome.reply)
        aside = self.health.note(berth.source.address, berth.site, sign_of(outcome, blocked=blocked), now, why)
        if aside is not None:
            away = f"{(aside.until - now) // 1000} s"
            log.warning("source steps aside", source=aside.source, site=aside.site or "all", away=away, why=why)
