"""How mail may go to a site: connections, rates, TLS. Pure.

What is said is resolved key by key, the later before the earlier: [default], the site's provider (what the file says before
what ships), the provider's block for the pool, the recipient's domain. A value says what holds from one source, or with
`site_` in its name from all sources together.

Where pools share a source, what holds for a source and site holds whatever the pool (`Shape.among`): one with lower limits
than its provider keeps to them, counted for it alone, and all of them together to the highest that the provider or a pool
has. Where that is a pool's, the provider's own holds for all the others together. So a name stands for one limit, always.

A [domain] whose site is its own speaks for that site. One that shares its site keeps to the site's limits and has those of
its own block beside them (`Shape.alone`), counted for it alone: it may be slower than its provider, never faster. Its `tls`
and `messages_per_connection` are its own in any case.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from relay.identity import Rate
from relay.shaping.pace import Bounds, per_second

T = TypeVar("T")

Said = Mapping[str, Any]  # the keys of one table that are said, named as the fields of Shape
NOTHING: Said = {}

_REMEMBERED = 4096  # shapes by (site's table, pool, domain's table): sites that no table names share one
FLOOR = 0.1  # messages a second, where nothing is said: a message every ten seconds asks whether things are better
_COUNTED = ("connections", "connection_rate", "rate", "site_connections", "site_rate")
MOST_RESERVED = 5  # a fifth of a rate, as of ten connections; of two it is half, which of messages were waste
REST = "#*"  # of all pools that have no higher limit of their own; no pool has such a name


@dataclass(frozen=True, slots=True)
class Beside:
    """Limits that hold beside those of a Shape; None: none. `of`: "@bank.example", of one domain alone; "", of a source and
    site whatever the pool; "#*", of all pools that have no higher one."""

    of: str
    connections: int | None = None
    connection_rate: Rate | None = None
    rate: Rate | None = None
    site_connections: int | None = None
    site_rate: Rate | None = None


class _Counted(NamedTuple, Generic[T]):
    """One limit, and what it is counted for: `source`, or all (`everywhere`); at `of`, or at its site."""

    limit: T
    everywhere: bool
    of: str
    reserved: int = 0  # of a rate

    def name(self, source: str, site: str) -> str:
        return f"{'*' if self.everywhere else source}/{self.of if self.of[:1] == '@' else site + self.of}"


@dataclass(frozen=True, slots=True)
class Shape:
    """What holds for mail of one pool to one site.

    connections, connection_rate, rate    of one source: open at once, opened anew, messages; None: as many as there are
    site_connections, site_rate           the same of all sources together
    reserved         of the connections (each number of them), those that only transactional mail may use; of rates the same share
    messages_per_connection    then a new connection
    tls              opportunistic | verify | required | off
    pace_start, pace_floor    where a source's pace begins at a site it is new to, and below what no reply brings it; without
                     a start it begins at the full rate
    pool             "" unless it has limits of its own at the site, lower than another's: those are counted for it alone
    alone, among     limits that hold as well: those of the recipient's domain, where it shares its site; those of several
                     pools together, where this one has lower ones
    """

    connections: int
    messages_per_connection: int
    connection_rate: Rate | None = None
    rate: Rate | None = None
    site_connections: int | None = None
    site_rate: Rate | None = None
    reserved: int = 0
    tls: str = "opportunistic"
    pool: str = ""
    alone: Beside | None = None
    among: tuple[Beside, ...] = ()
    pace_start: Rate | None = None
    pace_floor: Rate | None = None
    bounds: Bounds = field(init=False, repr=False, compare=False)  # of the pace
    _rates: tuple[_Counted[Rate], ...] = field(init=False, repr=False, compare=False)
    _slots: tuple[_Counted[int], ...] = field(init=False, repr=False, compare=False)
    _openings: tuple[_Counted[Rate], ...] = field(init=False, repr=False, compare=False)
    apart: str = field(init=False, repr=False, compare=False)  # see Terms in egress/dialer.py

    def __post_init__(self) -> None:
        start = per_second(self.pace_start)
        floor = min(per_second(self.pace_floor), start) if self.pace_floor is not None else FLOOR
        object.__setattr__(self, "bounds", Bounds(start, floor, per_second(self.rate)))
        rates = (*self._of("rate", everywhere=False), *self._of("site_rate", everywhere=True))
        object.__setattr__(self, "_rates", self._shared(rates))
        slots = (*self._of("connections", everywhere=False), *self._of("site_connections", everywhere=True))
        object.__setattr__(self, "_slots", slots)
        object.__setattr__(self, "_openings", self._shared(self._of("connection_rate", everywhere=False)))
        object.__setattr__(self, "apart", "".join(sorted({one.of for one in self._slots})))

    def _of(self, key: str, *, everywhere: bool) -> Iterator[_Counted[Any]]:
        above = [(getattr(one, key), one.of) for one in self.among if getattr(one, key) is not None]
        own = getattr(self, key)
        if own is not None and all(own != limit for limit, _ in above):
            yield _Counted(own, everywhere, f"#{self.pool}" if above else "")
        for limit, of in above:
            yield _Counted(limit, everywhere, of)
        if self.alone is not None and getattr(self.alone, key) is not None:
            yield _Counted(getattr(self.alone, key), everywhere, self.alone.of)

    def _shared(self, rates: Iterable["_Counted[Rate]"]) -> tuple["_Counted[Rate]", ...]:
        return tuple(one._replace(reserved=self._part(one)) for one in rates)

    def _part(self, one: "_Counted[Rate]") -> int:
        """Of a rate as large a part is reserved as of the connections, within bounds; one at least, never all."""
        count = one.limit.count
        if not self.reserved or (one.of.startswith("#") and one.of != REST):
            return 0
        return min(max(1, min(count * self.reserved // self.connections, count // MOST_RESERVED)), count - 1)

    def rates(self, source: str, site: str, *, shared: bool) -> list[tuple[str, Rate, int]]:
        """Of what a message from `source` to `site` takes a permit, by the names they are counted under, and how many of each
        are reserved for transactional mail: `shared` as of `slots`."""
        return [_permit("rate", one, source, site, shared=shared) for one in self._rates]

    def slots(self, source: str, site: str, *, shared: bool) -> list[tuple[str, int, int]]:
        """Where a connection from `source` to `site` counts: (name, how many there may be, of these reserved). Of one source's
        none is reserved unless transactional mail has a use for it (`shared`: it leaves from there too), and none of a
        pool's."""
        return [
            (one.name(source, site), one.limit, self.reserved if self._reserves(one, shared=shared) else 0)
            for one in self._slots
        ]

    def _reserves(self, one: "_Counted[int]", *, shared: bool) -> bool:
        return (shared or one.everywhere) and (one.of == REST or not one.of.startswith("#"))

    def openings(self, source: str, site: str, *, shared: bool) -> list[tuple[str, Rate, int]]:
        """Of what a new connection takes a permit, as of `rates`."""
        return [_permit("open", one, source, site, shared=shared) for one in self._openings]


def _permit(kind: str, one: "_Counted[Rate]", source: str, site: str, *, shared: bool) -> tuple[str, Rate, int]:
    return f"{kind}/{one.name(source, site)}", one.limit, one.reserved if shared or one.everywhere else 0


@dataclass(frozen=True, slots=True)
class ProviderTable:
    """[provider.NAME]: what is said for all pools, and for one."""

    said: Said
    pools: Mapping[str, Said]


class Shapes:
    """Every shape that a set of policies makes."""

    def __init__(
        self,
        default: Said,
        providers: Mapping[str, ProviderTable] | None = None,
        domains: Mapping[str, Said] | None = None,
    ) -> None:
        """`default` says every key that Shape has no default for; `domains` by A-label."""
        self._default = default
        self._providers = providers or {}
        self._domains = domains or {}
        self._known = lru_cache(maxsize=_REMEMBERED)(self._resolve)

    def __repr__(self) -> str:
        return f"<Shapes of {len(self._providers)} providers, {len(self._domains)} domains>"

    def of(self, site: str, pool: str, domain: str) -> Shape:
        """For mail of `pool` to a recipient at `domain`, which is one of the site's."""
        provider = site if site in self._providers else ""
        if domain not in self._domains:
            return self._known(provider, pool if provider else "", "", shared=False)
        return self._known(provider, pool if provider else "", domain, shared=site != domain)

    def of_host(self, host: str) -> Shape:
        """For mail to a host that the admin named, `relay_host` or a route's next hop, which is no mailbox provider:
        [default] gives it no rate and no slow start, [domain."host"] may."""
        return self._known("", "", host if host in self._domains else "", shared=False, named=True)

    def _resolve(self, provider: str, pool: str, domain: str, *, shared: bool, named: bool = False) -> Shape:
        said = dict(self._default)
        if named:
            for key in ("connection_rate", "rate", "site_connections", "site_rate", "pace_start"):
                said.pop(key, None)
        if provider:
            said |= self._providers[provider].said
            pools = self._providers[provider].pools
            own = pools.get(pool, NOTHING)
            among = tuple(_among(said, own, pools.values()))
            said |= own
            if among:
                said |= {"pool": pool if own else "", "among": among}
        own = self._domains.get(domain, NOTHING)
        if shared:
            alone = {key: value for key, value in own.items() if key in _COUNTED}
            said |= {key: value for key, value in own.items() if key not in _COUNTED}
            if "connection_rate" in alone:  # who waits for it has a line of his own, and stops nobody else
                alone.setdefault("connections", said["connections"])
            if alone:
                said["alone"] = Beside(f"@{domain}", **alone)
        else:
            said |= own
        return Shape(**said)


def _among(said: Said, own: Said, pools: Collection[Said]) -> Iterator[Beside]:
    """What mail of a pool that says `own` shares with others, where its limit is not the highest: that of the provider
    (`said`), unless its own is above it, and the highest."""
    rest, all_ = dict[str, Any](), dict[str, Any]()
    for key in _COUNTED:
        limit = own.get(key, said.get(key))
        if limit is None:
            continue
        highest, *others = [table[key] for table in (said, *pools) if key in table]
        for value in others:
            highest = value if _lower(highest, value) else highest
        if limit == highest:
            continue
        all_[key] = highest
        if key in said and said[key] != highest and not _lower(said[key], limit):
            rest[key] = said[key]
    if rest:
        yield Beside(REST, **rest)
    if all_:
        yield Beside("", **all_)


def _lower(one: int | Rate, other: int | Rate) -> bool:
    if isinstance(one, Rate) and isinstance(other, Rate):
        return one.count * other.window < other.count * one.window
    return isinstance(one, int) and isinstance(other, int) and one < other
