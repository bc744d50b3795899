"""Bounces as a postmaster thinks of them: not a line for each combination, but one for each thing that goes wrong. Pure.

A category whose bounces are nearly all of one stream, one site or one source is a trouble of that stream, site or source; one
that is spread over many is everybody's. Within a category a stream that fares far worse than the rest has its own line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.reporting.figures import Row

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
    def command(self) -> str:
        options = [f"--{name} {value}" for name, value in self.scope.items()]
        return " ".join(
            ["postlane report messages", *([f"--category {self.category}"] if self.category else []), *options]
        )


@dataclass(frozen=True, slots=True)
class Whole:
    """Of a scope: all that ended, now and usually, and the bounces of a category that there usually were."""

    ended: int
    usual_ended: int
    usual_bounces: int


def findings(rows: Sequence[Row], whole: Callable[[str | None, Scope], Whole]) -> list[Finding]:
    """`rows`: by category and SCOPES, in this order. `whole` is asked for each line."""
    found: list[Finding] = []
    categories: dict[str | None, list[Row]] = {}
    for row in rows:
        if _count(row):
            categories.setdefault(row.key[0], []).append(row)
    for category, mine in categories.items():
        rest = mine
        for stream in _worse(mine):
            found.append(_finding(category, [row for row in mine if row.key[1] == stream], whole))
            rest = [row for row in rest if row.key[1] != stream]
        if rest:
            found.append(_finding(category, rest, whole))
    return sorted(found, key=lambda one: -one.count)[:LINES]


def _count(row: Row) -> int:
    return row.now["bounced"] + row.now["bounced_late"]


def _worse(rows: Sequence[Row]) -> list[Any]:
    """Streams that fare far worse than the others, where there are others."""
    bounces: dict[Any, int] = {}
    ended: dict[Any, int] = {}
    for row in rows:
        bounces[row.key[1]] = bounces.get(row.key[1], 0) + _count(row)
        ended[row.key[1]] = ended.get(row.key[1], 0) + row.now["ended"]
    if len(bounces) < 2:
        return []
    return [stream for stream in bounces if _is_worse(stream, bounces, ended)]


def _is_worse(stream: Any, bounces: Mapping[Any, int], ended: Mapping[Any, int]) -> bool:
    others = sum(bounces.values()) - bounces[stream]
    of_others = sum(ended.values()) - ended[stream]
    if bounces[stream] < LEAST or not ended[stream] or not of_others:
        return False
    return bounces[stream] / ended[stream] >= WORSE * max(others / of_others, 0.001)


def _finding(category: str | None, rows: Sequence[Row], whole: Callable[[str | None, Scope], Whole]) -> Finding:
    count = sum(map(_count, rows))
    scope: dict[str, str] = {}
    spread: dict[str, int] = {}
    for place, name in enumerate(SCOPES, start=1):
        by: dict[Any, int] = {}
        for row in rows:
            by[row.key[place]] = by.get(row.key[place], 0) + _count(row)
        first = max(by, key=lambda value: by[value])
        if isinstance(first, str) and by[first] >= MOSTLY * count:
            scope[name] = first
        spread[name] = len(by)
    of = whole(category, scope)
    share = sum(_count(row) for row in rows if _within(row, scope)) / of.ended if of.ended else None
    usual = of.usual_bounces / of.usual_ended if of.usual_ended else None
    return Finding(category, count, of.ended, share, usual, scope, spread)


def _within(row: Row, scope: Scope) -> bool:
    return all(row.key[1 + SCOPES.index(name)] == value for name, value in scope.items())
