"""Pools of source addresses, and which source a delivery leaves from. Pure.

A pool belongs to classes of mail (policies/routes.toml), so two classes never share an address unless an admin says so.
"""

from bisect import bisect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from itertools import accumulate


class Protocol(Enum):
    """What a proxy is spoken to in."""

    SOCKS5 = "socks5"  # RFC 1928, 1929: it leaves from an address of its own and tells what came of it
    HAPROXY = "haproxy"  # the PROXY protocol, version 2: it leaves from the address we name, and tells nothing


@dataclass(frozen=True, slots=True)
class Proxy:
    """The machine a source's address lives on, where that is another: connections are made by it."""

    protocol: Protocol
    host: str  # an IP address
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.protocol.value} {f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Source:
    """An address of ours mail may leave from ("": the system's choice) and the name it gives in EHLO ("": the node's).

    `weight` is its share of the pool's mail; 0 keeps it for recipients that already know it. `through`: the proxy that
    connects from there; None: this machine does. `warmup`: the day its
    warm-up begins; None: it is warm.
    """

    address: str
    ehlo: str
    weight: int = 1
    through: Proxy | None = None
    warmup: date | None = None

    def reaches(self, families: Collection[int]) -> bool:
        """Can it reach hosts with addresses of these `families` (4, 6)? What the system chooses from has all of them."""
        return not self.address or (6 if ":" in self.address else 4) in families


@dataclass(frozen=True, slots=True)
class Pool:
    """Named sources. Raises ValueError where none has a weight: such a pool could send nothing."""

    name: str
    sources: tuple[Source, ...]
    _bounds: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bounds = _bounds(self.sources)
        if not bounds or bounds[-1] <= 0 or any(source.weight < 0 for source in self.sources):
            raise ValueError(f"pool {self.name} has no source with a weight")
        object.__setattr__(self, "_bounds", bounds)

    @property
    def mixed(self) -> bool:
        """Has it sources of both families, so that what a site's hosts have decides which of them will do?"""
        return len({":" in source.address for source in self.sources if source.address}) > 1

    def choose(self, sticky: str, rand: float) -> Source:
        """The source for one attempt: the one the recipient's host has seen (`sticky`), while it is in the pool; else
        one by weight, with `rand` from [0, 1)."""
        return _known(sticky, self.sources) or self.sources[bisect(self._bounds, rand * self._bounds[-1])]

    def choose_able(self, sticky: str, rand: float, able: Callable[[Source], bool]) -> Source | None:
        """As `choose`, of those that are `able`; None where none is."""
        candidates = tuple(filter(able, self.sources))
        if len(candidates) == len(self.sources):
            return self.choose(sticky, rand)
        known, bounds = _known(sticky, candidates), _bounds(candidates)
        if known is not None or not bounds or not bounds[-1]:
            return known
        return candidates[bisect(bounds, rand * bounds[-1])]


def _known(address: str, sources: Sequence[Source]) -> Source | None:
    if address:
        for source in sources:
            if source.address == address:
                return source
    return None


def _bounds(sources: Sequence[Source]) -> tuple[int, ...]:
    return tuple(accumulate(source.weight for source in sources))
