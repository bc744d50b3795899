"""The door of shaping: before each attempt, a source and all the permits it needs; or when to come again.

Strategy: of the pool's sources one is chosen by weight among those that do not stay away from the site. It must have a place
in its warm-up budget of the day if it is new, in the pace that the site takes from it (pacemaker.py), and in the rates that
hold for the delivery (of its source and site, of the site, of an operator's order, and of its domain where that has limits of
its own), each by a lease of State that the worker holds (relay/state/permits.py). Where it lacks one, what the others gave is
put back into their leases and the pool's next source is asked. Where none has room, nothing was tried, and the schedule leaves
the whole lane alone until the first of them may have: a refusal is remembered, so that the next of the lane costs a look into
memory. Connections are counted where they are opened (egress/connections.py).

Transactional mail is not held by a pace or a budget, it only counts; by a rate it is, since that is exact, and by a site that
refuses all of its sources. So that other mail does not use up a rate that both need, a part of it is reserved.

A rate that stands in no table costs nothing. Nobody waits for another site's permits.

Sources that cannot be used, or that the site blocks, stand aside (health.py), as do those of a family that none of the
site's hosts has. Where only the first are left, mail waits until one of them returns.
"""

import random
from collections.abc import Callable, Collection, Sequence
from datetime import date
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import structlog

from relay.identity import Rate
from relay.message import Delivery, MailClass
from relay.outcome import Outcome
from relay.pause import Later, Pause
from relay.shaping.backoff import Rule
from relay.shaping.health import Health, sign_of
from relay.shaping.pace import Bounds
from relay.shaping.pacemaker import Attempted, Pacemaker
from relay.shaping.shape import Shape, Shapes
from relay.shaping.warmup import key_of, may_carry, rate_of

log = structlog.get_logger()

LOOK_AGAIN = 30_000  # ms at most that a lane sleeps for a source that stays away: an operator may end that
ZONE = "UTC"  # of a site's day, week or month: brands with others share it


class Source(Protocol):
    """An address of ours. `warmup`: the day it begins to be warmed up."""

    @property
    def address(self) -> str: ...
    @property
    def warmup(self) -> date | None: ...
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

    async def take(
        self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool, reserved: int = 0
    ) -> int: ...
    def receipt(self, rate: Rate) -> Any:
        """Of the permit that `take` has just granted, to give it back by."""
        ...

    def depart(self, name: str, rate: Rate) -> None: ...
    def give_back(self, name: str, rate: Rate, count: int, receipt: Any) -> None: ...


# Name, rate, time zone, how many are reserved for transactional mail, and whether it only counts this mail: an operator's order
# for all pools is no limit for transactional mail.
Wanted = tuple[str, Rate, str, int, bool]
Taken = tuple[str, Rate, Any]  # a permit: of which rate, by name, and its receipt


class Berth(Generic[S]):
    """All that one attempt needs to go: from where, and within what. Its permits count from now on; whoever got it calls
    `depart` when the message goes, `again` before it goes once more, and `leave` in any case when the attempt is over."""

    __slots__ = ("_permits", "_taken", "_urgent", "_wanted", "pool", "shape", "site", "source", "what")

    def __init__(
        self,
        source: S,
        pool: str,
        site: str,
        shape: Shape,
        taken: Sequence[Taken],
        permits: Permits,
        what: Attempted,
        wanted: Sequence[Wanted] = (),
        *,
        urgent: bool = False,
    ) -> None:
        self.source = source
        self.pool = pool
        self.site = site
        self.shape = shape
        self.what = what  # for the replies that come
        self._taken = taken
        self._permits = permits
        self._wanted = wanted
        self._urgent = urgent

    def __repr__(self) -> str:
        return f"<Berth of {self.pool} from {self.source.address or '*'} to {self.site}>"

    def depart(self) -> None:
        """The message goes; once more, and nothing happens."""
        for name, rate, _ in self._taken:
            self._permits.depart(name, rate)
        self._taken = ()

    async def again(self) -> Later | None:
        """Permits for one more transaction, after one that the far end may have seen begin; Later, where there are none."""
        found = await take_all(self._permits, self._wanted, urgent=self._urgent)
        if isinstance(found, Refusal):
            return Later(found.wait, found.why)
        self._taken = found
        return None

    def leave(self) -> None:
        """It is over; what never went needs no permit."""
        for name, rate, receipt in self._taken:
            self._permits.give_back(name, rate, 1, receipt)
        self._taken = ()


_KINDS = {"rate": "", "order": "an operator's order, ", "warmup": "warm-up, "}


class Refusal(NamedTuple):
    """Of one rate, which has no permit for so many ms."""

    wait: int
    name: str
    rate: Rate

    @property
    def why(self) -> str:
        """google: 40/second (policies/shaping.toml:15) from 192.0.2.10"""
        kind, source, at = self.name.split("/", 2)
        site, _, pool = at.removeprefix("@").partition("/" if kind == "order" else "#")
        by = " from all sources" if source == "*" else f" from {source}" if source else ""
        of = f", pool {pool}" if pool not in ("", "*") else ""
        return f"{site}: {_KINDS[kind]}{self.rate}{by}{of}"


async def take_all(permits: Permits, wanted: Sequence[Wanted], *, urgent: bool) -> list[Taken] | Refusal:
    """One message of each rate, all or none."""
    taken: list[Taken] = []
    for name, rate, zone, reserved, spared in wanted:
        wait = await permits.take(name, rate, 1, zone, urgent=urgent, reserved=reserved)
        if not wait:
            taken.append((name, rate, permits.receipt(rate)))
        elif not spared:
            for granted, whose, receipt in taken:
                permits.give_back(granted, whose, 1, receipt)
            return Refusal(wait, name, rate)
    return taken


class Shaper:
    """The shaping of one worker. `clock` gives ms since the epoch; `rand` chooses among sources."""

    def __init__(
        self,
        shapes: Shapes,
        permits: Permits,
        clock: Callable[[], int],
        rand: Callable[[], float] = random.random,
        pacemaker: Pacemaker | None = None,
    ) -> None:
        self.shapes = shapes  # a reload replaces it, and the next
        self.urgent_sources: frozenset[str] = frozenset()  # addresses that transactional mail may leave from
        self.pacemaker = pacemaker or Pacemaker()
        self._permits = permits
        self._clock = clock
        self._rand = rand
        self.health = Health()

    def __repr__(self) -> str:
        return f"<Shaper {self.shapes!r} {self.pacemaker!r}>"

    async def berth(
        self,
        delivery: Delivery,
        pool: Pool[S],
        site: str,
        host: str = "",
        families: Collection[int] | None = None,
        but: Collection[str] = (),
    ) -> Berth[S] | Pause | None:
        """What `delivery` needs to go to `site` by a source of `pool`; or when to ask again, and nothing was taken. `host`:
        of a relay or next hop, which is no mailbox provider. `families`: 4, 6, those of the site's hosts; None: of no
        matter, or not known. `but`: by none of these addresses; None, if there is no other."""
        shape = self.shapes.of_host(host) if host else self.shapes.of(site, pool.name, delivery.domain)
        urgent, now = delivery.message.mail_class is MailClass.TRANSACTIONAL, self._clock()
        if not urgent:
            stopped = self.pacemaker.stopped(delivery.message.stream, site, now)
            if stopped is not None:
                until, why = min(stopped.until, now + LOOK_AGAIN), f"{stopped.place}: {stopped.why}"
                return Pause(until, why, site, f"stream/{delivery.message.stream}")
        asking = _Asking(delivery, pool.name, site, shape, self.pacemaker.share(shape.bounds), urgent, now)
        asking.last = delivery.engaged is False and any(self._warm(source, site, now) for source in pool.sources)
        if families is not None:
            reaching = {source.address for source in pool.sources if source.reaches(families)}
            asking.left_out = {source.address for source in pool.sources if reaching and source.address not in reaching}
        if but:
            asking.left_out.update(but)
            if all(source.address in asking.left_out for source in pool.sources):
                return None
        found = await self._try(asking, pool)
        if isinstance(found, Berth):
            return found
        if all(self.pacemaker.away(one.address, site, now) for one in pool.sources):
            asking.soft = True
            found = await self._try(asking, pool)
        if isinstance(found, Pause) and urgent and any(one.warmup for one in pool.sources):
            asking.beyond = True
            found = await self._try(asking, pool)
        return found._replace(site=site, limit=found.limit or pool.name) if isinstance(found, Pause) else found

    def unused(self, berth: Berth[S]) -> None:
        """Nothing came of it, for want of a connection."""
        self.pacemaker.give_back(berth.source.address, berth.site)

    def observe(self, berth: Berth[S], outcome: Outcome, category: str = "") -> Rule | None:
        """What came of it; `category`: what the reply means. The rule that acted on it, if one did. What the capture server
        says is no site's word."""
        if outcome.captured:
            return None
        now = self._clock()
        if not (outcome.delivered and self.health.calm):
            self._note(berth, outcome, blocked=category == "reputation-block", now=now)
        return self.pacemaker.learn(berth.what, outcome, category, now)

    def _note(self, berth: Berth[S], outcome: Outcome, *, blocked: bool, now: int) -> None:
        """`blocked`: the site refuses the sending address."""
        why = str(outcome.reply)
        aside = self.health.note(berth.source.address, berth.site, sign_of(outcome, blocked=blocked), now, why)
        if aside is not None:
            away = f"{(aside.until - now) // 1000} s"
            log.warning("source steps aside", source=aside.source, site=aside.site or "all", away=away, why=why)

    async def _try(self, asking: "_Asking", pool: Pool[S]) -> Berth[S] | Pause:
        """One source of the pool after the other, until one has all it needs; else the first time one may."""
        sticky, tried, first = asking.delivery.source, set(asking.left_out), None
        source: S | None = (
            pool.choose_able(sticky, self._rand(), lambda one: one.address not in tried)
            if tried
            else pool.choose(sticky, self._rand())
        )
        while source is not None:
            found = await self._ready(asking, source)
            if not isinstance(found, Pause):
                if not self.health.calm:
                    self.health.taken(source.address, asking.site, asking.now)
                return found
            if first is None or found.until < first.until:
                first = found
            if asking.full:
                return found
            tried.add(source.address)
            source = pool.choose_able(sticky, self._rand(), lambda one: one.address not in tried)
        assert first is not None
        return first

    async def _ready(self, asking: "_Asking", source: S) -> Berth[S] | Pause:
        """Not away, and within budget, pace and rates: with a permit of all of these, or of none."""
        maker, site, now, address = self.pacemaker, asking.site, asking.now, source.address
        if not self.health.calm and (back := self.health.back(address, site, now)) > now:
            return Pause(back, f"{address} stands aside")
        away = maker.away(address, site, now)
        if away is not None and not (asking.soft and away.soft):
            return Pause(min(away.until, now + LOOK_AGAIN), f"{away.place}: {away.why}")
        budget: Rate | None = None
        if source.warmup is not None and not asking.beyond:
            today = maker.budget(address, site, source.warmup, now)
            if today == 0:
                return Pause(now + LOOK_AGAIN, f"{address} begins on {source.warmup:%-d %b}")
            if (
                asking.last
                and today is not None
                and not may_carry(False, maker.level(address, site, source.warmup, now))
            ):
                return Pause(now + LOOK_AGAIN, f"{address} is new: those who read come first")
            budget = rate_of(today) if today is not None else None
        again = maker.ask(address, site, asking.pool, asking.bounds, now, urgent=asking.urgent)
        if again:
            return Pause(again, f"{site}: {maker.why(address, site, now)}")
        rates = self._rates(asking, address, budget)
        taken = await take_all(self._permits, rates, urgent=asking.urgent) if rates else []
        if isinstance(taken, Refusal):
            maker.give_back(address, site)
            asking.full = taken.name.startswith("rate/*/")
            limit = taken.name.rpartition("/")[2] if "/@" in taken.name else ""  # of a domain beside those of its site
            return Pause(self._clock() + taken.wait, taken.why, limit=limit)
        stream = "" if asking.urgent else asking.delivery.message.stream
        what = Attempted(address, site, stream, asking.bounds, now, source.warmup)
        return Berth(source, asking.pool, site, asking.shape, taken, self._permits, what, rates, urgent=asking.urgent)

    def _warm(self, source: Source, site: str, now: int) -> bool:
        return source.warmup is None or self.pacemaker.budget(source.address, site, source.warmup, now) is None

    def _rates(self, asking: "_Asking", source: str, budget: Rate | None) -> list[Wanted]:
        said = asking.shape.rates(source, asking.site, shared=source in self.urgent_sources)
        rates = [(name, rate, ZONE, reserved, False) for name, rate, reserved in said]
        if budget is not None:
            rates.append((key_of(source, asking.site), budget, self.pacemaker.warmup.timezone, 0, False))
        orders = self.pacemaker.orders(asking.site, asking.pool, asking.now)
        if orders:
            rates += [(one.key(source), one.rate, ZONE, 0, asking.urgent and one.all_pools) for one in orders]
        return rates


class _Asking:
    """One delivery that asks for a berth. `soft`: by a source that should stay away, `beyond`: by one that has used up its
    budget, for want of others; `full`: a limit of all sources together is used up; `left_out`: sources that do not reach it;
    `last`: new sources have no place for it yet, and there are others."""

    __slots__ = (
        "beyond",
        "bounds",
        "delivery",
        "full",
        "last",
        "left_out",
        "now",
        "pool",
        "shape",
        "site",
        "soft",
        "urgent",
    )

    def __init__(
        self, delivery: Delivery, pool: str, site: str, shape: Shape, bounds: Bounds, urgent: bool, now: int
    ) -> None:
        self.delivery, self.pool, self.site, self.shape = delivery, pool, site, shape
        self.bounds, self.urgent, self.now = bounds, urgent, now
        self.beyond = self.full = self.last = self.soft = False
        self.left_out: set[str] = set()
