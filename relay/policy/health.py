"""Is a stream's mail welcome? Shares over limits, and what follows: told, slowed, suspended, let back. Pure; times in ms.

    complaints     of mail delivered to sites that report complaints, by when the mail was sent, not the complaint
    hard_bounces   of all that was delivered or bounced: the recipient does not exist, or not any more, soon or later
    spam_blocks    of the same: the message was taken for spam
    unsubscribes   of what was delivered

A site reports complaints where one came from lately. Google sends none, so its mail counts where its own figure was imported for
that day. Reports come days later, so a stream is also judged by windows that ended up to three days ago: a share that came late
suspends it as well as one that came at once. It is slowed by the latest window that has enough mail to say anything, so that
better mail frees it.

What was sent before a stream was resumed is not held against it any more. It comes back at `min_messages` an hour, an amount by
which it can be judged, and twice as fast each hour that nothing is found, up to twice what is usual for it; then it is free.
Transactional mail is judged apart and never slowed or stopped (DESIGN, invariant 5): it is only told of.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from relay.event import iso
from relay.message import Delivery, MailClass
from relay.pacing import Limit as Pace
from relay.pacing import of_health
from relay.policy.note import Note
from relay.policy.tallies import HOUR, QUARTER, Hour, Key, Sums, within

DAY = 86_400_000
LATE = 3  # days after which mail is not judged any more: complaints come within hours, a few within two days
LONGEST = 14 * DAY  # of `over`: what is older says nothing of the list that is mailed today

MEASURES = ("complaints", "hard_bounces", "spam_blocks", "unsubscribes")


class Limit(NamedTuple):
    """Shares (0.001: 0.1 %) from which on a stream is told of, slowed, suspended; None: never."""

    alert: float | None = None
    slow: float | None = None
    suspend: float | None = None


NEVER = Limit()
COMPLAINTS = Limit(slow=0.001, suspend=0.003)  # Google and Yahoo ask senders for less than 0.1 %, and never 0.3 %
HARD_BOUNCES = Limit(suspend=0.05)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one stream. Below `min_messages` that a share is of nothing is found."""

    over: int = DAY
    min_messages: int = 500
    complaints: Limit = COMPLAINTS
    hard_bounces: Limit = HARD_BOUNCES
    spam_blocks: Limit = NEVER
    unsubscribes: Limit = NEVER


@dataclass(frozen=True, slots=True)
class Health:
    """[health] of bounces.toml."""

    default: Limits = Limits()
    streams: Mapping[str, Limits] = field(default_factory=dict)

    def of(self, stream: str) -> Limits:
        return self.streams.get(stream, self.default)

    @property
    def horizon(self) -> int:
        """How long ago (ms) what was sent still counts."""
        longest = max(one.over for one in (self.default, *self.streams.values()))
        return longest + LATE * DAY


class Finding(NamedTuple):
    """A share over its limit. `action`: alert | slow | suspend."""

    action: str
    measure: str
    share: float
    of: int
    limit: float
    over: int
    until: int | None = None  # of a window that ended before now

    def __str__(self) -> str:
        """hard bounces 3.2 % of 1280 in 24h, limit 3 %"""
        before = f" before {iso(self.until)[:16].replace('T', ' ')}" if self.until is not None else ""
        name = self.measure.replace("_", " ")
        return f"{name} {percent(self.share)} of {self.of} in {span(self.over)}{before}, limit {percent(self.limit)}"


def percent(share: float) -> str:
    """3.2 %, 0.35 %, 3 %"""
    number = share * 100
    return f"{number:.2g} %" if number < 1 else f"{number:.1f} %".replace(".0 ", " ")


def span(ms: int) -> str:
    return f"{ms // HOUR}h" if ms <= 2 * DAY or ms % DAY else f"{ms // DAY}d"


def counted(measure: str, sums: Sums) -> float:
    """Those that a share of this measure is about."""
    found: float = getattr(sums, _COUNTED[measure])
    return found


_COUNTED = {"complaints": "complaints", "hard_bounces": "hard", "spam_blocks": "spam", "unsubscribes": "unsubscribed"}


def share_of(measure: str, sums: Sums) -> tuple[float, int]:
    """How much of how many."""
    of = {"complaints": sums.reporting, "unsubscribes": sums.delivered}.get(measure, sums.sent)
    return (counted(measure, sums) / of if of else 0.0), of


def find(hours: Collection[Hour], key: Key, limits: Limits, since: int, now: int) -> Finding | None:
    """The worst that a stream's mail shows, sent `since`; None: all is well."""
    windows = list(_windows(hours, key, limits, since, now))
    found = [one for measure in MEASURES for one in _of(measure, windows, limits)]
    return max(found, key=lambda one: (_WORSE.index(one.action), one.share / one.limit), default=None)


_WORSE = ("alert", "slow", "suspend")


def _windows(
    hours: Collection[Hour], key: Key, limits: Limits, since: int, now: int
) -> Iterator[tuple[int | None, Sums]]:
    """The latest first; until when, None: now."""
    for days in range(LATE + 1):
        end = now - days * DAY
        if end > since:
            sums = within(hours, key, max(since, end - limits.over), end)
            yield (end if days else None), sums


def _of(measure: str, windows: list[tuple[int | None, Sums]], limits: Limits) -> Iterator[Finding]:
    limit: Limit = getattr(limits, measure)
    latest = True
    for until, sums in windows:
        share, of = share_of(measure, sums)
        if of < limits.min_messages:
            continue
        for action in _WORSE if latest else ("suspend",):
            bound = getattr(limit, action)
            if bound is not None and share >= bound:
                yield Finding(action, measure, share, of, bound, limits.over, until)
        latest = False


# -- what follows

WATCHED, SLOW, SUSPENDED, RETURNING, WELL = "watched", "slow", "suspended", "returning", "well"


@dataclass(frozen=True, slots=True)
class Standing(Note):
    """How a stream stands; nothing of it is known of one that is well and always was.

    state     watched (it is told of) | slow | suspended | returning | well (what was before `since` does not count)
    rate      messages an hour it goes at; 0: as it likes     usual    its busiest hour before that
    since     what was sent before is not held against it     changed  when its rate was last changed
    reason    what was found; `mostly`: in whose mail         suspension  the id of ours
    urgent    it is about its transactional mail: only told of
    """

    stream: str
    state: str
    reason: str = ""
    measure: str = ""
    rate: int = 0
    usual: int = 0
    since: int = 0
    changed: int = 0
    suspension: int = 0
    urgent: bool = False
    mostly: str = ""

    @property
    def name(self) -> str:
        """Of its note."""
        return f"{self.stream} {'urgent' if self.urgent else ''}".rstrip()

    @property
    def slowed(self) -> bool:
        return self.rate > 0 and not self.urgent

    @property
    def troubled(self) -> bool:
        """It is told of as long as it is."""
        return self.state in (WATCHED, SLOW, SUSPENDED)


def next_of(
    before: Standing | None, found: Finding | None, key: Key, usual: int, limits: Limits, now: int, *, held: bool
) -> Standing | None:
    """How it stands from now on, None: nothing to say. `usual`: of its busiest hour lately; `held`: the suspension that we made
    is in force. Who is SUSPENDED then and was not before is to be suspended."""
    stream, urgent = key
    if urgent:
        return _told(before, found, key, now)
    if before is not None and before.state == SUSPENDED:
        return before if held else _resumed(before, now)
    if found is None or found.action == "alert":
        return _better(before, found, stream, limits, now)
    begin = replace(before or Standing(stream, SLOW), reason=str(found), measure=found.measure, changed=now)
    begin = replace(begin, usual=max(usual, begin.usual))
    if found.action == "suspend":
        return replace(begin, state=SUSPENDED, rate=limits.min_messages)
    if before is None or not before.rate:
        return replace(begin, state=SLOW, rate=max(limits.min_messages, usual // 4))
    if before.state == RETURNING:
        return replace(begin, state=SLOW, rate=max(limits.min_messages, before.rate // 2))
    return before


def _told(before: Standing | None, found: Finding | None, key: Key, now: int) -> Standing | None:
    """Of transactional mail, whatever is found."""
    if found is None:
        return None
    if before is not None and before.measure == found.measure:
        return before
    return Standing(key[0], WATCHED, str(found), found.measure, changed=now, urgent=True)


def _resumed(before: Standing, now: int) -> Standing:
    """An operator let it go again: from the next quarter on its mail counts anew."""
    return replace(before, state=RETURNING, since=-(-now // QUARTER) * QUARTER, changed=now, suspension=0)


def _better(before: Standing | None, found: Finding | None, stream: str, limits: Limits, now: int) -> Standing | None:
    """Nothing slows it: where it is slow it grows, each hour."""
    if before is not None and before.rate:
        if now - before.changed < HOUR:
            return before
        rate = 2 * before.rate
        if rate <= 2 * max(before.usual, limits.min_messages):
            return replace(before, state=RETURNING, rate=rate, changed=now)
        before = replace(before, state=WELL, rate=0, changed=now)
    if found is not None:
        if before is not None and before.state == WATCHED and before.measure == found.measure:
            return before
        since = before.since if before is not None else 0
        return Standing(stream, WATCHED, str(found), found.measure, since=since, changed=now)
    if before is None or before.since + limits.over + LATE * DAY <= now:
        return None
    return before if before.state == WELL else replace(before, state=WELL, changed=now)


class Slowed:
    """Streams that are slowed, by name: what each attempt asks."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def __repr__(self) -> str:
        return f"<Slowed {', '.join(map(str, self._paces.values())) or 'none'}>"

    def __bool__(self) -> bool:
        return bool(self._paces)

    def put(self, standings: Iterable[Standing]) -> None:
        self._paces = {one.stream: of_health(one.stream, one.rate, one.reason) for one in standings if one.slowed}

    def pace(self, delivery: Delivery) -> Pace | None:
        """What it takes a permit of. Never transactional mail, nor what is carried as such."""
        message = delivery.message
        if message.mail_class is MailClass.TRANSACTIONAL or message.spared:
            return None
        return self._paces.get(message.stream)


def usual_of(hours: Collection[Hour], key: Key) -> int:
    """Sent in its busiest hour."""
    return max((hour.totals[key].sent for hour in hours if key in hour.totals), default=0)
