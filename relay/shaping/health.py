"""Sources that step aside, and return by themselves after a pause that grows. Pure; `now` in ms is an argument.

Rules: a source that cannot be used at all (its address cannot be bound, its proxy does not answer) steps aside for every
site, at once. One that a site blocks for its address steps aside for that site alone: at once where the site says so
before it has seen any mail, else after three blocks without a good reply between them, since what is said at RCPT or
later may be about one message. When a pause is over, one attempt goes out to try; the others still stay away until its
reply is in. A good reply ends it all, another bad one begins a longer pause.

Each worker learns for itself and begins afresh when it starts: it costs it an attempt per source and site, and nothing
that could be out of date is kept anywhere. The caller asks `usable`, says `taken` of what it chose and `note`s what came
of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from relay.outcome import Outcome, Scope

FAULT_PAUSE = 5_000, 300_000  # ms, first and longest: a proxy restarts in seconds, an address moves within minutes
BLOCK_PAUSE = 300_000, 3_600_000  # the shortest blocks of providers end in minutes; an attempt an hour offends nobody
# ms that the one attempt after a pause has until the next may try. A source that cannot be used shows it at connect; a
# block may show after the final dot, for which most hosts take seconds.
FAULT_TRIAL, BLOCK_TRIAL = 15_000, 120_000
PATIENCE = 3  # blocks in a row that are taken to be about the source, where they may be about the message
LINGER = 600_000  # ms that one is still told of when its pause is over, and nobody has tried it
MOST = 20_000  # marks; beyond, the oldest is forgotten. Some 300 octets each

_ANYWHERE = ""  # in place of a site: everywhere
_BEFORE_MAIL = frozenset({"CONNECT", "EHLO"})


class Sign(Enum):
    """What an outcome says of its source."""

    GOOD = "good"  # the site talks to it
    FAULT = "fault"  # it cannot be used
    BLOCKED = "blocked"  # the site refuses it, and says so before it has seen any mail
    DOUBTFUL = "doubtful"  # a block, of the source or of this message


def sign_of(outcome: Outcome, *, blocked: bool) -> Sign | None:
    """`blocked`: the reply's category is a block of the sending address. None: it says nothing of the source."""
    if outcome.internal:
        return Sign.FAULT if outcome.scope is Scope.SOURCE and outcome.command == "CONNECT" else None
    if blocked:
        return Sign.BLOCKED if outcome.command in _BEFORE_MAIL else Sign.DOUBTFUL
    return Sign.GOOD if outcome.command in {"RCPT", "DATA", "END"} and outcome.reply.code != 421 else None


@dataclass(frozen=True, slots=True)
class Aside:
    """A source that stays away from `site` ("": from every site) until `until` (ms). `why` is for people."""

    source: str
    site: str
    until: int
    why: str


@dataclass(slots=True)
class _Mark:
    """doubts   blocks in a row before the first pause      pauses   in a row; 0: none yet
    until    when the last pause ends, or the trial after it      trying   an attempt is under way after it
    trial    how long that may take"""

    trial: int
    doubts: int = 0
    pauses: int = 0
    until: int = 0
    trying: bool = False
    why: str = ""


class Health:
    """What one worker knows of its sources; `source` is an address."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, str], _Mark] = {}

    def __repr__(self) -> str:
        return f"<Health {len(self._marks)} marks>"

    @property
    def calm(self) -> bool:
        """Nothing is known against any source: there is nothing to ask."""
        return not self._marks

    def usable(self, source: str, site: str, now: int) -> bool:
        """May mail for `site` leave from there now?"""
        return self.back(source, site, now) <= now

    def back(self, source: str, site: str, now: int) -> int:
        """When it may be used: `now`, or the time (ms) at which it returns."""
        return max(now, *(mark.until for mark in self._of(source, site)), 0)

    def taken(self, source: str, site: str, now: int) -> None:
        """An attempt leaves from there. The first one after a pause is the one that tries: the others wait for it."""
        for mark in self._of(source, site):
            if mark.pauses and mark.until <= now:
                mark.until, mark.trying = now + mark.trial, True

    def note(self, source: str, site: str, sign: Sign | None, now: int, why: str = "") -> Aside | None:
        """Learn from an attempt; what steps aside for it, if anything does."""
        match sign:
            case Sign.GOOD:
                self._good(source, site)
            case Sign.FAULT:
                return self._pause(source, _ANYWHERE, FAULT_PAUSE, now, why)
            case Sign.BLOCKED:
                return self._pause(source, site, BLOCK_PAUSE, now, why)
            case Sign.DOUBTFUL:
                mark = self._mark(source, site)
                mark.doubts += 1
                if mark.pauses or mark.doubts >= PATIENCE:
                    return self._pause(source, site, BLOCK_PAUSE, now, why)
            case None:
                self._inconclusive(source, site, now)
        return None

    def standing(self, now: int) -> list[Aside]:
        """All that stay away now, or did a moment ago and have had no good reply since."""
        marks, since = self._marks.items(), now - LINGER
        return [
            Aside(source, site, mark.until, mark.why)
            for (source, site), mark in marks
            if mark.pauses and mark.until > since
        ]

    def keep(self, sources: Iterable[str]) -> None:
        """Forget all but these: a reload took the others away."""
        known = set(sources)
        self._marks = {key: mark for key, mark in self._marks.items() if key[0] in known}

    def _of(self, source: str, site: str) -> Iterator[_Mark]:
        for key in ((source, site), (source, _ANYWHERE)):
            mark = self._marks.get(key)
            if mark is not None:
                yield mark

    def _mark(self, source: str, site: str) -> _Mark:
        mark = self._marks.get((source, site))
        if mark is None:
            if len(self._marks) >= MOST:
                del self._marks[next(iter(self._marks))]
            mark = self._marks[source, site] = _Mark(BLOCK_TRIAL if site else FAULT_TRIAL)
        return mark

    def _good(self, source: str, site: str) -> None:
        if self._marks:
            self._marks.pop((source, site), None)
            self._marks.pop((source, _ANYWHERE), None)

    def _pause(self, source: str, site: str, lengths: tuple[int, int], now: int, why: str) -> Aside | None:
        """Replies to attempts that were under way when a pause began do not make it longer."""
        mark = self._mark(source, site)
        if mark.until > now and not mark.trying:
            return None
        first, longest = lengths
        mark.until = now + min(first << min(mark.pauses, 16), longest)
        mark.pauses, mark.trying, mark.why = mark.pauses + 1, False, why
        return Aside(source, site, mark.until, why)

    def _inconclusive(self, source: str, site: str, now: int) -> None:
        """The one that tried learnt nothing: the next may."""
        for mark in self._of(source, site):
            if mark.trying:
                mark.until, mark.trying = now, False
