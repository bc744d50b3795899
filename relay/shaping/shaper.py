"""The door of shaping: before each attempt, a source and all the permits it needs; or when to come again.

Strategy: the rates that hold for a delivery (of its source and site, of the site, and of its domain where that has limits of
its own) are asked one after the other, each by a lease of State that the worker holds (relay/state/permits.py). Where one of
them is used up, what the others gave is put back into their leases, nothing was tried, and the schedule leaves the whole
lane alone until then: a refusal is remembered, so that the next of the lane costs a look into memory. Connections are
counted where they are opened (egress/connections.py).

A rate that stands in no table costs nothing. Nobody waits for another site's permits.
"""

import random
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from relay.identity import Rate
from relay.message import Delivery, MailClass
from relay.outcome import Outcome
from relay.pause import Pause
from relay.shaping.shape import Shape, Shapes

ZONE = "UTC"  # of a site's day, week or month: brands with others share it


class Source(Protocol):
    """An address of ours."""

    @property
    def address(self) -> str: ...


S = TypeVar("S", bound=Source)
S_co = TypeVar("S_co", bound=Source, covariant=True)


class Pool(Protocol[S_co]):
    """Sources that share mail."""

    @property
    def name(self) -> str: ...
    def choose(self, sticky: str, rand: float) -> S_co: ...


class Permits(Protocol):
    """Messages, counted over all workers; names are ours (relay/state/permits.py)."""

    async def take(self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool) -> int: ...
    def give_back(self, name: str, rate: Rate, count: int) -> None: ...


class Berth(NamedTuple, Generic[S]):
    """All that one attempt needs to go: from where, and within what."""

    source: S
    pool: str
    site: str
    shape: Shape


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

    def __repr__(self) -> str:
        return f"<Shaper {self.shapes!r}>"

    async def berth(self, delivery: Delivery, pool: Pool[S], site: str, host: str = "") -> Berth[S] | Pause:
        """What `delivery` needs to go to `site` by a source of `pool`; or when to ask again, and nothing was taken. `host`:
        of a relay or next hop, which is no mailbox provider."""
        shape = self.shapes.of_host(host) if host else self.shapes.of(site, pool.name, delivery.domain)
        source = pool.choose(delivery.source, self._rand())
        pause = await self._take(shape, source.address, site, delivery.message.mail_class is MailClass.TRANSACTIONAL)
        return Berth(source, pool.name, site, shape) if pause is None else pause

    def observe(self, berth: Berth[S], outcome: Outcome) -> None:
        """What came of it."""

    async def _take(self, shape: Shape, source: str, site: str, urgent: bool) -> Pause | None:
        """One message of each rate, all or none."""
        rates = shape.rates(source, site)
        for number, (name, rate) in enumerate(rates):
            wait = await self._permits.take(name, rate, 1, ZONE, urgent=urgent)
            if wait:
                for taken, whose in rates[:number]:
                    self._permits.give_back(taken, whose, 1)
                return Pause(self._clock() + wait, f"{name.removeprefix('rate/')}: {rate.text}")
        return None
