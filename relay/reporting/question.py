"""What a report is asked: of which time, by what, of which mail. Pure.

Counts are kept by quarters of an hour of UTC, in which every time zone's hours and days begin; so a report of counts begins with
the quarter in which its `since` lies. Lists of messages are exact. Which counts there are, LEVELS say: a question is put to the
smallest ones that know enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from relay.wildcard import AnyOf, any_of

SLOT = 900_000  # ms
DAY = 86_400_000
MOST = 100_000  # rows of a report by time: some 100 MB of memory
USUAL = 7 * DAY  # before the time of a report: what is usual

# What a report can be asked by, and the fields its selectors have.
KEPT = (
    "node", "type", "class", "brand", "stream", "credential", "campaign", "site", "pool", "source", "category", "reason",
)  # fmt: skip
_APPS = ("node", "type", "class", "brand", "stream", "credential", "campaign", "pool", "category", "reason")
LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "apps": _APPS,
    "templates": (*_APPS, "skeleton"),
    "sites": ("node", "type", "class", "brand", "site", "pool", "category", "reason"),
    "sources": (*_APPS, "source"),
    "all": KEPT,
})  # fmt: skip
"""Of an hour's events, what is added up over all else: of four streams to three thousand sites, four rows are enough where nobody
asks for sites. The smallest first; but of templates no more than TEMPLATES of an hour have a name (OTHERS)."""
TEMPLATES = 1_000
OTHERS = "(others)"
DELAYS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "apps": ("node", "type", "class", "brand", "stream", "credential", "campaign", "pool"),
    "sites": ("node", "type", "class", "site", "pool"),
    "sources": ("node", "type", "class", "stream", "source", "pool"),
})  # fmt: skip
"""The same of how long deliveries took."""
FAILURE = frozenset({"category", "reason"})  # what only what went wrong has: a share is of all mail beside it
TIMES = ("hour", "day")
RECORDED = ("domain", "skeleton")  # of which there may be any number: counted by no level, or by one alone
DIMENSIONS = (*KEPT, *RECORDED, *TIMES)
SELECTORS = (*KEPT, *RECORDED, "id", "recipient")

MEASURES = {
    "accepted": ("accepted",),
    "ended": ("delivered", "bounced"),
    "delivered": ("delivered",),
    "bounced": ("bounced",),
    "bounced_late": ("bounced-late",),
    "deferred": ("deferred",),
    "withheld": ("withheld",),
    "postponed": ("postponed",),
    "rejected": ("rejected",),
    "complained": ("complained",),
    "unsubscribed": ("unsubscribed",),
    "suppressed": ("suppressed",),
}
"""What is counted, and the types of events that it counts. `ended`: of which shares of bounces are taken."""


class QuestionError(ValueError):
    """What cannot be asked; the words are for whoever asked."""


class Shape(NamedTuple):
    """A report as shipped. `by`: unless one says; `shown`: the columns; `order`: the measures that put rows in their order;
    `of`: the types that `samples` and `messages` of it show."""

    by: tuple[str, ...]
    shown: tuple[str, ...]
    order: tuple[str, ...]
    of: tuple[str, ...]


_BOUNCES = ("bounced", "bounced-late")
REPORTS: Mapping[str, Shape] = MappingProxyType({
    "summary": Shape(
        ("class",),
        ("accepted", "delivered", "bounces", "bounce_share", "deferred", "withheld", "complained", "complaint_share"),
        ("accepted", "delivered", "bounced"),
        _BOUNCES,
    ),
    "bounces": Shape(
        ("category", "stream", "credential", "site", "source"),
        ("bounces", "bounce_share"),
        ("bounced", "bounced_late"),
        _BOUNCES,
    ),
    "complaints": Shape(
        ("stream", "credential"),
        ("complained", "complaint_share", "unsubscribed", "unsubscribe_share", "delivered"),
        ("complained", "unsubscribed"),
        ("complained",),
    ),
    "streams": Shape(
        ("stream",),
        ("accepted", "delivered", "bounces", "bounce_share", "complained", "complaint_share", "unsubscribed", "withheld"),
        ("accepted", "delivered", "bounced"),
        _BOUNCES,
    ),
    "sites": Shape(
        ("site",),
        ("delivered", "bounces", "bounce_share", "deferred", "deferral_share", "complained"),
        ("delivered", "bounced", "deferred"),
        (*_BOUNCES, "deferred"),
    ),
    "sources": Shape(
        ("source",),
        ("delivered", "bounces", "bounce_share", "deferred", "deferral_share", "complained"),
        ("delivered", "bounced", "deferred"),
        (*_BOUNCES, "deferred"),
    ),
    "suppressions": Shape(("reason",), ("suppressed",), ("suppressed",), ("suppressed",)),
    "latency": Shape(("class",), ("delivered", "p50", "p90", "p99"), ("delivered",), ("delivered",)),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """since, until   ms; until is not in it
    by             of DIMENSIONS; empty: the total alone
    where          selectors, all of which must hold
    compare        so many ms earlier: the time that stands beside; 0: none
    usual          so many ms before `since` are what is usual; 0: nothing is
    limit          rows; what is beyond them is one more (`Answer.others`). By time there is no such limit, only MOST
    zone           whose hours and days are meant, as the IANA names it"""

    report: str
    since: int
    until: int
    by: tuple[str, ...] = ()
    where: Mapping[str, AnyOf] = field(default_factory=dict)
    compare: int = 0
    usual: int = USUAL
    limit: int = 50
    zone: str = "UTC"

    @property
    def shape(self) -> Shape:
        return REPORTS[self.report]

    def level(self, levels: Mapping[str, tuple[str, ...]] = LEVELS) -> str:
        """The smallest counts that answer it; "": only events themselves do."""
        needed = {*self.keys, *self.where}
        return next((name for name, known in levels.items() if needed <= {*known}), "")

    @property
    def keys(self) -> tuple[str, ...]:
        """`by` without times."""
        return tuple(one for one in self.by if one not in TIMES)

    @property
    def boundless(self) -> bool:
        """May there be millions of what it is asked by? Of templates, where no few are named."""
        return "skeleton" in self.keys and ("skeleton" not in self.where or self.where["skeleton"].wild)

    @property
    def step(self) -> str:
        """hour, day; "" where it is not asked by time."""
        return next((one for one in self.by if one in TIMES), "")

    @property
    def order(self) -> tuple[str, ...]:
        """`by` as SQL has it: times last."""
        return (*self.keys, *filter(None, [self.step]))

    @property
    def windows(self) -> dict[str, tuple[int, int]]:
        """The times that are counted, from and until, in whole slots."""
        since, until = floor(self.since), -floor(-self.until)
        windows = {"now": (since, until)}
        if self.usual:
            windows["usual"] = since - self.usual, since
        if self.compare:
            windows["then"] = since - floor(self.compare), until - floor(self.compare)
        return windows

    @property
    def first(self) -> int:
        """The beginning of all that is counted."""
        return min(since for since, _ in self.windows.values())

    def total(self) -> "Question":
        """The same, not by anything."""
        return replace(self, by=())

    def in_time(self, step: str, of: tuple[str, ...] = ()) -> "Question":
        """The same by hour or day, for a chart, of each value of one dimension or of all mail."""
        return replace(self, by=(*of, step), usual=0, compare=0)


def ask(
    report: str,
    since: int,
    until: int,
    *,
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[str]] | None = None,
    compare: int = 0,
    usual: int = USUAL,
    limit: int = 50,
    zone: str = "UTC",
) -> Question:
    """A question in people's words: names are checked, the report's own `by` taken where none is given. Raises QuestionError."""
    if report not in REPORTS:
        raise QuestionError(f'no report "{report}"{_meant(report, REPORTS)}')
    for name in by:
        if name not in DIMENSIONS:
            raise QuestionError(f'"{name}" is nothing to report by{_meant(name, DIMENSIONS)}')
    if sum(one in TIMES for one in by) > 1:
        raise QuestionError("by hour or by day, not by both")
    if report == "latency" and any(one in FAILURE or one in RECORDED for one in by):
        raise QuestionError(
            f"latency is of mail that was delivered: not by {', '.join(sorted(FAILURE))}, {', '.join(RECORDED)}"
        )
    if not _is_zone(zone):
        raise QuestionError(f'"{zone}" is no time zone')
    if until <= since:
        raise QuestionError("the time to report of ends before it begins")
    question = Question(
        report, since, until, tuple(by) or REPORTS[report].by, selected(where or {}), compare, usual, limit, zone
    )
    if (
        question.step or not question.level()
    ):  # beside an hour stands the hour before it; events themselves take long to read
        return replace(question, compare=0, usual=0)
    return question


@cache
def _is_zone(name: str) -> bool:
    """A list of all there are takes 20 ms each time."""
    try:
        return ZoneInfo(name) is not None
    except (KeyError, ValueError, OSError):
        return False


def selected(where: Mapping[str, Sequence[str]]) -> dict[str, AnyOf]:
    """Selectors as people give them. Raises QuestionError, and PatternError for too many."""
    for name in where:
        if name not in SELECTORS:
            raise QuestionError(f'"{name}" is nothing to select by{_meant(name, SELECTORS)}')
    return {name: any_of(values, domains=name in ("domain", "site")) for name, values in where.items() if values}


def _meant(name: str, names: Sequence[str] | Mapping[str, object]) -> str:
    near = get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]}?" if near else f": {', '.join(names)}"


def floor(ms: int) -> int:
    """The beginning of the slot in which a time lies."""
    return ms // SLOT * SLOT
