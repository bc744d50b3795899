"""Bounces as a postmaster thinks of them: not a line for each combination, but one for each thing that goes wrong. Pure.

A category whose bounces are nearly all of one stream, one site or one source is a trouble of that stream, site or source; one
that is spread over many is everybody's. Within a category a stream that fares far worse than the rest has its own line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SCOPES = ("stream", "credential", "site", "source")
MOSTLY = 0.8  # of a category's bounces: it is theirs
WORSE = 3.0  # times the share of the rest: a stream has a line of its own
LEAST = 20  # bounces of such a stream
LINES = 12

Scope = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """category   None: of bounces without one
    count, ended  its bounces; all mail of its scope that was delivered or bounced
    share, usual  of 1; None: nobody knows
    scope      what it is confined to, of SCOPES
    spread     of how many different ones it is, for what it is not confined to"""

    category: str | None
    count: int
    ended: int
    share: float | None
    usual: float | None
    scope: Scope
    spread: Mapping[str, int]

    @property
    def whom(self) -> list[str]:
        return [f"{name} {value}" for name, value in self.scope.items()]

    @property
    def where(self) -> Scope:
        """The selectors of its mail."""
        return {**({"category": self.category} if self.category else {}), **self.scope}

    @property
    def command(self) -> str:
        return " ".join(["postlane report messages", *(f"--{name} {value}" for name, value in self.where.items())])


class Bounces(NamedTuple):
    """How many there were of one combination."""

    category: str | None
    stream: str | None
    credential: str | None
    site: str | None
    source: str | None
    many: int


class Line(NamedTuple):
    """A finding before anybody has looked what it is a share of."""

    category: str | None
    many: int
    scope: Scope
    spread: Mapping[str, int]


class Whole(NamedTuple):
    """Of a scope: all that ended, now and usually, and the bounces of a category that there are, and usually were."""

    ended: int = 0
    usual_ended: int = 0
    bounces: int = 0
    usual_bounces: int = 0


def completed(
    rows: Sequence[Bounces], exact: Sequence[tuple[str | None, str | None, str | None, int]]
) -> list[Bounces]:
    """`rows` are the largest combinations alone; `exact`: how many there are of each category, stream and credential. What is
    missing is of sites and sources that nobody asked for."""
    left = {(category, stream, credential): many for category, stream, credential, many in exact}
    for row in rows:
        key = row.category, row.stream, row.credential
        left[key] = left.get(key, 0) - row.many
    rest = [Bounces(*key, None, None, many) for key, many in left.items() if many > 0]
    return [*rows, *rest]


def lines(rows: Sequence[Bounces], ended: Mapping[str | None, int]) -> list[Line]:
    """`ended`: of each stream, all that was delivered or bounced. Those with most bounces first, LINES at most."""
    categories: dict[str | None, list[Bounces]] = {}
    for row in rows:
        categories.setdefault(row.category, []).append(row)
    found: list[Line] = []
    for category, mine in categories.items():
        worse = _worse(mine, ended)
        found += [_line(category, [row for row in mine if row.stream == stream]) for stream in worse]
        if rest := [row for row in mine if row.stream not in worse]:
            found.append(_line(category, rest))
    return sorted(found, key=lambda one: -one.many)[:LINES]


def finding(line: Line, whole: Whole) -> Finding:
    share = whole.bounces / whole.ended if whole.ended else None
    usual = whole.usual_bounces / whole.usual_ended if whole.usual_ended else None
    return Finding(line.category, line.many, whole.ended, share, usual, line.scope, line.spread)


def _worse(rows: Sequence[Bounces], ended: Mapping[str | None, int]) -> list[str | None]:
    """Streams that fare far worse than the others, where there are others."""
    bounces: dict[str | None, int] = {}
    for row in rows:
        bounces[row.stream] = bounces.get(row.stream, 0) + row.many
    if len(bounces) < 2:
        return []
    of = {stream: ended.get(stream, 0) for stream in bounces}
    return [stream for stream in bounces if _is_worse(stream, bounces, of)]


def _is_worse(stream: str | None, bounces: Mapping[str | None, int], ended: Mapping[str | None, int]) -> bool:
    others = sum(bounces.values()) - bounces[stream]
    of_others = sum(ended.values()) - ended[stream]
    if bounces[stream] < LEAST or not ended[stream] or not of_others:
        return False
    return bounces[stream] / ended[stream] >= WORSE * max(others / of_others, 0.001)


def _line(category: str | None, rows: Sequence[Bounces]) -> Line:
    count = sum(row.many for row in rows)
    scope: dict[str, str] = {}
    spread: dict[str, int] = {}
    for name in SCOPES:
        by: dict[str | None, int] = {}
        for row in rows:
            value = getattr(row, name)
            by[value] = by.get(value, 0) + row.many
        first = max(by, key=lambda value: by[value])
        if first is not None and by[first] >= MOSTLY * count:
            scope[name] = first
        spread[name] = len(by)
    return Line(category, count, scope, spread)
