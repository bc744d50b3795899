"""One person's mail of the past, let through other caps than those of then. Pure.

Everything that asked for a place does so again, in the order of time and by the code that decides of live mail: relevance.py,
Caps.judge and state/places.py. What was before, sends and mail under way, is as it was recorded. What the recorded mail waited
for besides (a window, a suspension, a quota) it waits for again, and once it is let in it takes as long
to arrive as it took then. After the last of it nobody sends any more, so that what waits comes to its end.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.message import Message
from relay.policy import relevance
from relay.policy.caps import Caps, Terms, begin_of, decisive
from relay.policy.relevance import Withheld
from relay.policy.streams import Stream
from relay.room import Ask, Room, Send
from relay.state.places import HOLDS, Person, Place, ask, expire

_FOR_EVER = 1 << 52  # ms: the lease of a place here; nobody crashes

# What becomes of a mail, as far as caps are concerned.
WENT = "went"  # at once
POSTPONED = "postponed"  # and went later
STALE = "stale"  # postponed, and worth nothing when its turn came
GIVEN_UP = "given-up"  # postponed for as long as the longest window it waited for
DROPPED, REFUSED = "dropped", "refused"
GONE = "gone"  # it ended otherwise while it was postponed: cancelled, unsubscribed
NOT_ASKED = ""  # the files refuse it, whatever caps say
_OVER = {"drop": DROPPED, "reject": REFUSED}


class Under(NamedTuple):
    """One state of the files, as far as it is asked here. `streams`: by name."""

    caps: Caps
    stream: Callable[[str], Stream | None]


class Older(NamedTuple):
    """Mail from before: it holds a place from `begin` to `end` (ms), and has arrived then or not."""

    mark: int
    begin: int
    end: int
    arrived: bool


@dataclass(slots=True)
class Life:
    """What one mail went through, as it was recorded; times in ms.

    pauses   from, until: it waited for something else than caps
    lag      from when nothing stood in its way until its end
    arrived  False: it bounced
    over     when it was withheld or cancelled at the latest, while caps held it; None: it was not
    """

    token: str
    pauses: list[tuple[int, int]] = field(default_factory=list)
    lag: int = 0
    free: bool = True
    arrived: bool = True
    over: int | None = None
    at_most: str = ""


class End(NamedTuple):
    """`how`: of the words above; `at` (ms): when it arrived, 0 if it did not; `cap`: the last one in its way, "" for the person's
    own wish."""

    how: str
    at: int = 0
    cap: str = ""


class _Mail(NamedTuple):
    life: Life
    message: Message
    stream: Stream | None
    terms: Terms


_BEGINS, _ENDS, _LOOK, _ARRIVES = range(4)  # what comes next


def relive(
    sends: Sequence[Send], older: Sequence[Older], mail: Sequence[tuple[Life, Message | None]], under: Under
) -> list[End]:
    """What becomes of each of `mail`; a message of None is none that caps are asked for. `sends`: those of before."""
    return _Person(sends, older, mail, under).run()


class _Person:
    def __init__(
        self, sends: Sequence[Send], older: Sequence[Older], mail: Sequence[tuple[Life, Message | None]], under: Under
    ) -> None:
        self._caps = under.caps
        self._person = Person(list(sends))
        self._older = older
        self._mail: dict[int, _Mail] = {}
        self._ends = [End(NOT_ASKED)] * len(mail)
        self._in_the_way: dict[int, str] = {}  # of what was postponed: the cap's name
        self._next: list[tuple[int, int, int]] = []  # a heap: when (ms), what, of which
        for number, one in enumerate(older):
            self._next += [(one.begin, _BEGINS, number), (one.end, _ENDS, number)]
        for number, (life, message) in enumerate(mail):
            if message is None:
                continue
            self._ends[number] = End(WENT)
            terms = under.caps.terms(message, life.at_most)
            if terms is not None:
                self._mail[number] = _Mail(life, message, under.stream(message.stream), terms)
                self._next.append((message.accepted_at, _LOOK, number))
        heapq.heapify(self._next)

    def run(self) -> list[End]:
        while self._next:
            now, what, number = heapq.heappop(self._next)
            if what == _BEGINS:
                mark = self._older[number].mark
                self._person.places[f"older {number}"] = Place(HOLDS, mark, now, now + _FOR_EVER, 0, 0)
            elif what == _ENDS:
                self._settle(f"older {number}", self._older[number].mark, now if self._older[number].arrived else 0)
            elif what == _ARRIVES:
                self._arrive(number, now)
            elif (again := self._look(number, now)) is not None:
                heapq.heappush(self._next, again)
        return self._ends

    def _settle(self, token: str, mark: int, at: int) -> None:
        """As State does."""
        self._person.places.pop(token, None)
        if at:
            self._person.sends.append((at // 1000, mark))

    def _arrive(self, number: int, now: int) -> None:
        life, _, _, terms = self._mail[number]
        self._settle(life.token, terms.mark, now if life.arrived else 0)
        cap = self._in_the_way.get(number)
        self._ends[number] = End(WENT, now) if cap is None else End(POSTPONED, now, cap)

    def _look(self, number: int, now: int) -> tuple[int, int, int] | None:
        """What comes next of it; None: it has ended."""
        life, message, stream, terms = self._mail[number]
        if life.over is not None and now >= life.over:
            self._ended(number, GONE)
            return None
        if relevance.stale(message, stream, now) is not None:
            self._ended(number, STALE)
            return None
        later = _waits_until(life, message, stream, now)
        if later is not None:
            self._person.places.pop(life.token, None)
            return later, _LOOK, number
        expire(self._person, now)
        firm = now > message.accepted_at
        room, place = (
            ask(self._person, _wish(life.token, message, terms, firm=firm), now) if terms.bounds else ((), None)
        )
        if place is not None:
            self._person.places[life.token] = place
        else:
            self._person.places.pop(life.token, None)
        if not room:
            pause = min((begin for begin, end in life.pauses if now < begin < end), default=None) if life.free else None
            return (now + life.lag, _ARRIVES, number) if pause is None else (pause, _LOOK, number)
        return self._held_up(number, room, now)

    def _held_up(self, number: int, room: Room, now: int) -> tuple[int, int, int] | None:
        _, message, stream, terms = self._mail[number]
        cap = terms.caps[decisive(terms, room).bound]
        self._in_the_way[number] = cap.name if cap is not None else ""
        standing = self._caps.judge(terms, room, message, stream, now)
        assert standing is not None  # there is no room
        if isinstance(standing, Withheld):
            self._ended(number, _OVER.get(cap.over if cap is not None else "", GIVEN_UP))
            return None
        return standing.until, _LOOK, number

    def _ended(self, number: int, how: str) -> None:
        self._person.places.pop(self._mail[number].life.token, None)
        self._ends[number] = End(how, 0, self._in_the_way.get(number, ""))


def _waits_until(life: Life, message: Message, stream: Stream | None, now: int) -> int | None:
    """For another reason than caps; None: it does not."""
    until = max((end for begin, end in life.pauses if begin <= now < end), default=0)
    postponed = relevance.postponed(message, stream, now)
    if postponed is not None:
        until = max(until, postponed.until)
    return until or None


def _wish(token: str, message: Message, terms: Terms, *, firm: bool) -> Ask:
    """As capping.py asks; the person is the one that is looked at."""
    since, priority = begin_of(message), message.priority
    return Ask(b"", token, terms.mark, terms.bounds, priority, since, _FOR_EVER, firm, terms.waits)
