"""Who used a segment's budget: of the people of a cap, how many have how many places left, and whose mail took the others. Pure.

It is counted from the event log, mail that arrived, by person: dots and tags are ignored where providers do so. What is under
way, and what people chose for themselves, only State knows (`postlane recipient`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from relay.policy.caps import Caps
from relay.state.places import window


class Allowance(NamedTuple):
    """A limit of a cap. `since`: ms; what arrived earlier counts no more."""

    cap: str
    limit: str
    places: int
    since: int
    brands: Collection[str]
    classes: Collection[str]


class Share(NamedTuple):
    """Whose mail it was, and to how many of the people."""

    credential: str | None
    stream: str | None
    sends: int
    people: int


class Budget(NamedTuple):
    """`used`: how many people got so much; what is over the limit counts as the limit (`full`)."""

    allowance: Allowance
    used: Mapping[int, int]
    shares: Sequence[Share]

    @property
    def people(self) -> int:
        return sum(self.used.values())

    @property
    def full(self) -> int:
        return self.used.get(self.allowance.places, 0)

    @property
    def sends(self) -> int:
        return sum(share.sends for share in self.shares)


def allowances(caps: Caps, now: int, names: Collection[str] = ()) -> list[Allowance]:
    """Of the caps of these names, of all where none is given. `now` in ms."""
    return [
        Allowance(
            cap.name,
            limit.text,
            limit.count,
            window(limit, caps.timezone(cap), now)[0] * 1000,
            cap.brands,
            frozenset(one.label for one in cap.counts),
        )
        for cap in caps.caps
        if not names or cap.name in names
        for limit in cap.limits
    ]


def budget(allowance: Allowance, used: Mapping[int, int], shares: Sequence[Share], people: int) -> Budget:
    """`used`: how many got so much; `people`: all of the segment, those that got nothing too."""
    counts = dict.fromkeys(range(allowance.places + 1), 0)
    for number, many in used.items():
        counts[min(number, allowance.places)] += many
    counts[0] += people - sum(used.values())
    return Budget(allowance, counts, shares)
