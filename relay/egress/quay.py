"""What connections count against, and who waits for one: lanes and quays. No I/O; the futures are of who waits.

A lane is where connections are alike: from one source, under one name, by one way (the MX set that many domains may
share), with one requirement of TLS. A quay is one limit: of a source and site, of a site, of a domain. Each connection of
a lane counts at all of the lane's quays, and opens only where each of them has room.

Who finds no idle connection and no room stands in its lane's line, by class and then by time, and its lane in the line of
the quay that has none: lanes take turns there, class by class, so that one busy domain of a provider does not keep the
others out.

Of a quay's connections some may be reserved for transactional mail. So it counts how many are busy with other mail; idle
ones are nobody's.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from relay.egress.connection import Connection
from relay.egress.dialer import Terms
from relay.egress.settings import Share
from relay.message import MailClass
from relay.outcome import Outcome
from relay.pause import Later

URGENT = MailClass.TRANSACTIONAL
# All lines in which nobody stands: an empty deque takes 600 bytes, and sites are many.
NOBODY: "deque[Any]" = deque(maxlen=0)


class Quay:
    """One limit on connections.

    limit, reserved  of all workers together     room, bulk_room  of this one: open, busy with mail that is not urgent
    open, bulk       as many there are           idle             those open and nobody's, the one idle for longest first
    lines            by class, the lanes that wait (enter)        lanes            how many count here
    resting          for other and for urgent mail: State was asked and had none; until this timer nobody asks again
    dry              the same: no new connection before then, by the loop's clock, and why; who has none to wait for goes away
    """

    __slots__ = (
        "bulk",
        "bulk_room",
        "contested",
        "dry",
        "idle",
        "lanes",
        "limit",
        "lines",
        "name",
        "open",
        "reserved",
        "resting",
        "room",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.limit = self.reserved = self.room = self.bulk_room = 0
        self.contested = False
        self.open = self.bulk = self.lanes = 0
        self.idle: dict[Connection, None] = {}
        self.lines: list[deque[Lane]] = [NOBODY] * len(MailClass)
        self.resting: list[asyncio.TimerHandle | None] = [None, None]
        self.dry: list[tuple[float, str]] = [(0.0, ""), (0.0, "")]

    def __repr__(self) -> str:
        waiting = sum(map(len, self.lines))
        return f"<Quay {self.name}: {self.open} of {self.limit}, {len(self.idle)} idle, {waiting} lanes wait>"

    def allow(self, limit: int, reserved: int, share: Share) -> None:
        """What holds from now on. At least one is never reserved."""
        self.limit, self.reserved = limit, min(reserved, limit - 1)
        self.bulk_room = share.part(limit - self.reserved)
        self.room = min(limit, max(share.part(limit), self.bulk_room + bool(self.reserved)))
        self.contested = limit < share.workers

    def limit_for(self, *, urgent: bool) -> int:
        return self.limit if urgent else self.limit - self.reserved

    def has_room(self, *, urgent: bool) -> bool:
        """For one more connection."""
        if self.resting[urgent] is not None or self.open >= self.room:
            return False
        return urgent or self.bulk < self.bulk_room

    @property
    def bare(self) -> bool:
        return not (self.open or any(self.lines) or any(self.resting))

    def enter(self, mail_class: MailClass, lane: "Lane") -> None:
        """It stands in line here."""
        lane.stands[mail_class] = self
        if self.lines[mail_class] is NOBODY:
            self.lines[mail_class] = deque()
        self.lines[mail_class].append(lane)

    def prune(self) -> None:
        """Only lanes that wait stand in line."""
        for mail_class, line in enumerate(self.lines):
            if line is NOBODY:
                continue
            for lane in [lane for lane in line if not lane.lines[mail_class]]:
                line.remove(lane)
                lane.stands[mail_class] = None
            if not line:
                self.lines[mail_class] = NOBODY

    def awaited(self, mail_class: MailClass, but: "Lane") -> bool:
        """Does another lane wait here with mail of this class?"""
        line = self.lines[mail_class]
        while line and not line[0].lines[mail_class]:  # served by a connection that came free
            line.popleft().stands[mail_class] = None
        return any(lane is not but for lane in islice(line, 2))


@dataclass(slots=True, eq=False)
class Lane:
    """Connections that are alike. `slots` of them are open, being opened, or about to be.

    stands  by class, the quay in whose line it stands      lines  by class, the tasks that wait (join)
    down    what the last one who tried to open heard, after a long wait: the answer for all until `down_until`
    """

    terms: Terms | None = None
    quays: tuple[Quay, ...] = ()
    slots: int = 0
    idle: list[Connection] = field(default_factory=list)
    lines: "list[Line]" = field(default_factory=lambda: [NOBODY] * len(MailClass))
    stands: list[Quay | None] = field(default_factory=lambda: [None] * len(MailClass))
    down: Outcome | None = None
    down_until: float = 0.0

    def count_at(self, quays: "tuple[Quay, ...]") -> None:
        """What it opens from now on counts there."""
        for quay in self.quays:
            quay.lanes -= 1
        for quay in quays:
            quay.lanes += 1
        self.quays = quays

    @property
    def queued(self) -> int:
        return sum(map(len, self.lines))

    def full(self, *, urgent: bool) -> Quay | None:
        """The first of its quays without room for one more connection."""
        for quay in self.quays:
            if not quay.has_room(urgent=urgent):
                return quay
        return None

    def dry(self, *, urgent: bool, now: float) -> Later | None:
        """It has no connection, and may open none for a while."""
        if not self.slots:
            for quay in self.quays:
                until, why = quay.dry[urgent]
                if until > now:
                    return Later(int((until - now) * 1000) + 1, why)
        return None

    def join(self, mail_class: MailClass, future: "asyncio.Future[Grant]", *, first: bool) -> None:
        """A task waits, behind the others or (`first`) before them."""
        if self.lines[mail_class] is NOBODY:
            self.lines[mail_class] = deque()
        line = self.lines[mail_class]
        (line.appendleft if first else line.append)(future)

    def hand(self, mail_class: MailClass, grant: "Grant") -> bool:
        """Give `grant` to the first in line of that class; False if nobody waits."""
        line = self.lines[mail_class]
        while line:
            future = line.popleft()
            if not future.done():
                future.set_result(grant)
                return True
        return False

    def stand_back(self) -> None:
        """It stands in no line any more: who waits has only what comes free of its own."""
        for mail_class, quay in enumerate(self.stands):
            if quay is not None:
                quay.lines[mail_class].remove(self)
                self.stands[mail_class] = None

    def dismiss(self) -> None:
        """Cancel all who wait."""
        for line in self.lines:
            while line:
                line.popleft().cancel()


class Turn(NamedTuple):
    """What a waiting task is handed besides a connection or an outcome: the right to open one, which counts there."""

    quays: tuple[Quay, ...]


Grant = Connection | Outcome | Later | Turn
Line = deque["asyncio.Future[Grant]"]


@dataclass(slots=True)
class Held:
    """One open connection: where it counts since it was opened, between which address of ours and which site it is, and
    whether mail that is not urgent is using it."""

    lane: Lane
    quays: tuple[Quay, ...]
    ends: tuple[str, str]
    since: float
    bulk: bool = False
