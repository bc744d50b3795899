"""Does due mail move? Looks at the spool itself, beside the schedule, so that no fault there can hide mail from it. Pure; ms.

Of each lane it is shown the delivery that has been due the longest, where that is OVERDUE. While the next
looks show the same one, it must have a reason:

- it is being sent. No attempt takes HANGS: each step of one has its time. (What is as it was when that has ended met a fault
  of ours: it goes again and again, and nobody hears of it but the log.)
- its site has no room: a pause, a rate, a back-off. Then it waits with its lane.
- others of its class go first. What is due goes in turns, so it has been passed over when twice as many attempts have ended
  as deliveries waited when it was first seen.

Without one for PATIENCE, its class stands still: an alert, until it is gone from the head of its lane. What is held, put
off or paced is not due, and is never seen here; while the spool is full nothing may move, and that is told elsewhere.

Memory is bounded: SUSPECTS lanes of a class are followed at a time, so that many of one class hide none of another. A round
past a million lanes takes three quarters of an hour.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from relay.message import LaneKey, MailClass

OVERDUE = 60_000  # the schedule itself may sleep for so long when the clock is set (dispatcher.LONGEST_SLEEP)
PATIENCE = (
    600_000  # a person wants to know within a quarter of an hour, and no load of ours waits so long without a turn
)
HANGS = (
    2_700_000  # the longest session: ten minutes for the final dot (RFC 5321 4.5.3.2.6), some hosts, a line to wait in
)
SUSPECTS = 1_000  # half a KB each
SLACK = 100  # attempts: deliveries that were counted late, or came since
NAMED = 3  # sites in a sentence

Key = tuple[int, int]


class Head(NamedTuple):
    """The delivery of a lane that has been due the longest."""

    lane: LaneKey
    due: int
    key: Key


class Look(NamedTuple):
    """Ask the spool for the lanes of a class behind `after` (None: from the first) whose head was due before `before`."""

    mail_class: MailClass
    after: LaneKey | None
    before: int


class Seen(NamedTuple):
    """What a look brought, and how things stood then. `last`: the last lane that was looked at; None: the class's last.

    ended    attempts of the class that have come to something since the start
    waiting  deliveries of the class that wait, roughly
    """

    heads: Iterable[Head]
    last: LaneKey | None
    ended: int
    waiting: int
    flies: Callable[[Key], bool]
    paused: Callable[[LaneKey], bool]
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class Stall:
    """Mail of a class that stands still: in so many lanes, to these and other sites, due since then."""

    mail_class: MailClass
    lanes: int
    sites: tuple[str, ...]
    due: int


@dataclass(slots=True)
class _Suspect:
    """A head, since when it has had no reason, and how things stood then."""

    head: Head
    since: int
    ended: int
    waiting: int
    flies_since: int | None = None
    stands: bool = False


@dataclass(slots=True)
class Watchdog:
    """One shard's. `look` says what to ask, `seen` takes the answer, `news` tells what began and what ended."""

    _class: MailClass = MailClass.TRANSACTIONAL
    _after: LaneKey | None = None
    _suspects: dict[LaneKey, _Suspect] = field(default_factory=dict)
    _told: dict[MailClass, Stall] = field(default_factory=dict)

    def __repr__(self) -> str:
        standing = sum(one.stands for one in self._suspects.values())
        return f"<Watchdog {len(self._suspects)} suspects, {standing} stand still>"

    def look(self, now: int) -> Look:
        return Look(self._class, self._after, now - OVERDUE)

    def seen(self, seen: Seen, now: int) -> None:
        mail_class, after = self._class, self._after
        heads = {head.lane: head for head in seen.heads}
        for lane in [lane for lane in self._suspects if _looked_at(lane, mail_class, after, seen.last)]:
            if heads.get(lane) != self._suspects[lane].head:
                del self._suspects[lane]
        followed = sum(lane[0] is mail_class for lane in self._suspects)
        for lane, head in heads.items():
            suspect = self._suspects.get(lane)
            if suspect is not None:
                self._judge(suspect, lane, seen, now)
            elif followed < SUSPECTS:
                followed += 1
                self._suspects[lane] = _Suspect(head, now, seen.ended, seen.waiting)
        self._after = seen.last
        if seen.last is None:
            self._class = MailClass((mail_class + 1) % len(MailClass))

    def _judge(self, suspect: _Suspect, lane: LaneKey, seen: Seen, now: int) -> None:
        flies = seen.flies(suspect.head.key)
        suspect.flies_since = (suspect.flies_since or now) if flies else None
        if not seen.healthy or seen.paused(lane):
            suspect.since, suspect.ended, suspect.waiting, suspect.stands = now, seen.ended, seen.waiting, False
        elif suspect.flies_since is not None:
            suspect.stands = now - suspect.flies_since >= HANGS
        elif now - suspect.since >= PATIENCE:
            ended = seen.ended - suspect.ended
            suspect.stands = not ended or ended > 2 * suspect.waiting + SLACK

    def news(self) -> Iterator[tuple[str, Stall]]:
        """What began ("firing") and what ended ("resolved") since it was last asked, one of a class at a time."""
        standing = {stall.mail_class: stall for stall in self.standing()}
        for mail_class, stall in standing.items():
            if mail_class not in self._told:
                self._told[mail_class] = stall
                yield "firing", stall
        for mail_class in [one for one in self._told if one not in standing]:
            yield "resolved", self._told.pop(mail_class)

    def standing(self) -> list[Stall]:
        found: dict[MailClass, Stall] = {}
        for (mail_class, site, *_), suspect in self._suspects.items():
            if suspect.stands:
                one = found.get(mail_class, Stall(mail_class, 0, (), suspect.head.due))
                sites = one.sites if len(one.sites) >= NAMED or site in one.sites else (*one.sites, site)
                found[mail_class] = replace(one, lanes=one.lanes + 1, sites=sites, due=min(one.due, suspect.head.due))
        return list(found.values())


def _looked_at(lane: LaneKey, mail_class: MailClass, after: LaneKey | None, last: LaneKey | None) -> bool:
    behind = after is None or _order(lane) > _order(after)
    return lane[0] is mail_class and behind and (last is None or _order(lane) <= _order(last))


def _order(lane: LaneKey) -> tuple[int, str, str]:
    """As the spool walks through the lanes of a class."""
    _, site, stream, priority = lane
    return -priority, site, stream
