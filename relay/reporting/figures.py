"""What a report says: counts, the shares that are made of them, and times of delivery. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from relay.reporting.question import MEASURES, Question

FINENESS = 4  # buckets of a doubling of time: each is 19 % longer than the one before

_HOUR = 3_600_000
_BESIDE = (("usual", "usual"), ("then", "compared"))


@dataclass(slots=True)
class Figures:
    """Counts of one time, by MEASURES; and of deliveries, how many took how long, by bucket."""

    counts: dict[str, int] = field(default_factory=dict)
    delays: dict[int, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        return self.counts.get(name, 0)

    def add(self, other: "Figures") -> None:
        for name, count in other.counts.items():
            self.counts[name] = self[name] + count
        for bucket, count in other.delays.items():
            self.delays[bucket] = self.delays.get(bucket, 0) + count

    def value(self, name: str) -> float | int | None:
        """A column of a report; None: nothing can be said."""
        made = DERIVED.get(name)
        return made(self) if made is not None else self[name]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percentile(share: float) -> Callable[[Figures], float | None]:
    return lambda figures: percentile(figures.delays, share)


DERIVED: Mapping[str, Callable[[Figures], float | int | None]] = {
    "bounces": lambda f: f["bounced"] + f["bounced_late"],
    "bounce_share": lambda f: _share(f["bounced"] + f["bounced_late"], f["ended"]),
    "complaint_share": lambda f: _share(f["complained"], f["delivered"]),
    "unsubscribe_share": lambda f: _share(f["unsubscribed"], f["delivered"]),
    "deferral_share": lambda f: _share(f["deferred"], f["deferred"] + f["ended"]),
    "p50": _percentile(0.5),
    "p90": _percentile(0.9),
    "p99": _percentile(0.99),
}
"""Columns that are made of counts. Shares are of 1; times in ms."""

SHARES = frozenset(name for name in DERIVED if name.endswith("_share"))
SPANS = frozenset({"p50", "p90", "p99"})
COLUMNS = (*MEASURES, *DERIVED)


@dataclass(slots=True)
class Row:
    """`key`: a value for each of `Question.by`, None where events have none; of hour and day the beginning, in ms.
    `usual`, `then`: the days before, and the time that it is compared with; None where they were not asked for."""

    key: tuple[Any, ...]
    now: Figures
    usual: Figures | None = None
    then: Figures | None = None

    def of(self, window: str) -> Figures | None:
        return {"now": self.now, "usual": self.usual, "then": self.then}[window]

    def worth(self, order: Sequence[str]) -> int:
        return sum(self.now[name] for name in order)


@dataclass(slots=True)
class Answer:
    """`others`: all that `limit` left out, as one row; None: nothing was. `groups`: rows that there are in all. `span`: how much
    of the time that is usual there are events of, in ms."""

    question: Question
    rows: list[Row]
    total: Row
    others: Row | None = None
    groups: int = 0
    span: int = 0

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """As a CSV has it: the names of the columns, and their values."""
        shown = self.question.shape.shown
        windows = self.question.windows
        names = [*self.question.by]
        for name in shown:
            names += [name, *(f"{word}_{name}" for window, word in _BESIDE if window in windows)]
        return names, [self._values(row, shown) for row in self.rows]

    def usual(self, row: Row, name: str) -> float | int | None:
        """What a column usually is: shares and times as they were, counts as many as in a time as long; None: nobody knows."""
        value = row.usual.value(name) if row.usual is not None else None
        if value is None or not self.span:
            return None
        if name in SHARES or name in SPANS:
            return value
        since, until = self.question.windows["now"]
        return round(value * (until - since) / self.span, 1)

    def _values(self, row: Row, shown: Sequence[str]) -> list[Any]:
        values = list(row.key)
        for name in shown:
            values.append(row.now.value(name))
            if row.usual is not None:
                values.append(self.usual(row, name))
            if row.then is not None:
                values.append(row.then.value(name))
        return values


def percentile(delays: Mapping[int, int], share: float) -> float | None:
    """How many ms the fastest `share` of deliveries took at most, as near as buckets tell; None without any."""
    whole = sum(delays.values())
    left = share * whole
    for bucket in sorted(delays):
        if left <= delays[bucket]:
            within = left / delays[bucket]
            return round(float(2 ** ((bucket + within) / FINENESS)), 1)
        left -= delays[bucket]
    return None


def begin_of(ms: int, step: str, zone: tzinfo) -> int:
    """The beginning of the hour or the day in which a time lies, there."""
    if step == "hour":  # of the clock there: offsets of half an hour exist, and one hour of autumn comes twice
        offset = datetime.fromtimestamp(ms / 1000, zone).utcoffset()
        assert offset is not None
        away = round(offset.total_seconds() * 1000)
        return (ms + away) // _HOUR * _HOUR - away
    midnight = datetime.fromtimestamp(ms / 1000, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return round(midnight.timestamp() * 1000)


def begins(since: int, until: int, step: str, zone: tzinfo) -> list[int]:
    """Of all hours or days from one time until another, so that a chart shows those without mail too."""
    found, at = [], begin_of(since, step, zone)
    while at < until:
        found.append(at)
        later = at + (_HOUR if step == "hour" else 26 * _HOUR)  # a day has 23 hours to 25
        at = begin_of(later, step, zone)
    return found
