"""Pools of source addresses, and which source a delivery leaves from. Pure.

A pool belongs to classes of mail (policies/routes.toml), so two classes never share an address unless an admin says so.
"""

from bisect import bisect
from dataclasses import dataclass, field
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Source:
    """An address of ours mail may leave from ("": the system's choice) and the name it gives in EHLO ("": the node's).

    `weight` is its share of the pool's mail; 0 keeps it for recipients that already know it.
    """

    address: str
    ehlo: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Pool:
    """Named sources. Raises ValueError where none has a weight: such a pool could send nothing."""

    name: str
    sources: tuple[Source, ...]
    _bounds: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        bounds = tuple(accumulate(source.weight for source in self.sources))
        if not bounds or bounds[-1] <= 0 or any(source.weight < 0 for source in self.sources):
            raise ValueError(f"pool {self.name} has no source with a weight")
        object.__setattr__(self, "_bounds", bounds)

    def choose(self, sticky: str, rand: float) -> Source:
        """The source for one attempt: the one the recipient's host has seen (`sticky`), while it is in the pool; else
        one by weight, with `rand` from [0, 1)."""
        if sticky:
            for source in self.sources:
                if source.address == sticky:
                    return source
        if len(self.sources) == 1:
            return self.sources[0]
        return self.sources[bisect(self._bounds, rand * self._bounds[-1])]
