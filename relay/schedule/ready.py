"""What goes next: the window of the queue that is in memory, and every decision over it. Pure; `now` is an argument.

The queue is lanes, one for each (class, site). Of a lane, memory holds a few deliveries that are due (`parked`), the
number in flight, and one time: the earliest at which a row that only the spool holds may be due (`spool_at`, a lower
bound). So the cost of a decision does not depend on how much waits, and a million rows take no more than a full window;
nor does a million lanes take more than a full table (lanes.py).

Order: transactional lanes first, then service, then marketing; lanes of one class take turns, one delivery each; within
a lane by `next_attempt`. While due rows of a lane wait in the spool, what is offered to it queues behind them there.

Nothing is in memory twice. `known` holds the key of all that is parked, in flight, barred or claimed; the spool is
asked for rows without those. What ends while a read is under way is noted with it: the row read of it is stale.

The caller does what it is told and reports back: `offer` and `step` say what to start, `step` also what to load and
when to come again, `look` which lanes to read; `finished` or `failed` follow each start, `loaded` or `load_failed` each
load, `looked` or `look_failed` each look.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from relay.message import Delivery, MailClass
from relay.schedule.lanes import FOREVER, NOTHING, Lane, LaneKey, Look, Table

Key = tuple[int, int]

FAULT_PAUSE = 60_000  # after a fault of our own: long enough not to spin, short enough that a cured fault costs little
LOAD_PAUSE = 1_000  # a spool that cannot read is asked again after a second
SMALL = 64 * 1024  # content up to here is bounded by the number of attempts alone: 400 of them are 25 MB

# Of attempts and of the window, what each class may fill: the rest stays free for the classes before it.
_SHARES = {MailClass.TRANSACTIONAL: 1.0, MailClass.SERVICE: 7 / 8, MailClass.MARKETING: 3 / 4}


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one worker's schedule.

    attempts        in flight at once: a task, a connection or a place in line for one, and up to SMALL of content each
    lane_attempts   of these for one lane: four times the default connections, as attempts also wait for their commit
    window          deliveries parked in memory: about 3 KB each, so 30 MB of the 200 a worker may use
    lane_window     of these for one lane by offers: a burst to a single site keeps the direct path for a second or two
    content_bytes   contents kept for parked deliveries; beyond it they are read back from the spool at the attempt
    flight_bytes    contents above SMALL that are in flight; half of it for one lane; one message may always go
    loads           reads of the spool at once: each stands in front of somebody's commit
    lanes           of one class, those that only wait for a load, and about as many asleep: 0.5 KB each, so 10 MB
    """

    attempts: int = 400
    lane_attempts: int = 40
    window: int = 10_000
    lane_window: int = 4_000
    content_bytes: int = 32 * 1024 * 1024
    flight_bytes: int = 64 * 1024 * 1024
    loads: int = 4
    lanes: int = 10_000


DEFAULT_LIMITS = Limits()


class Load(NamedTuple):
    """Ask the spool for rows of `lane` due up to `until`, earliest first, at most `limit`, none of `known`."""

    lane: LaneKey
    until: int
    limit: int


class Plan(NamedTuple):
    """What to do now: start these, load these, and come again at `wake_at` (None: not before something happens)."""

    starts: list[Delivery]
    loads: list[Load]
    wake_at: int | None


class Withheld(Enum):
    """Why a key is known although its delivery is not in memory."""

    BARRED = "its last attempt ended in a fault of ours"
    CLAIMED = "a command is changing its row"


class Ready:
    """The table of lanes and the window over them. See the module's docstring for its rules.

    One class for all of it, because every report of the caller moves a delivery between the same few counts; a rule a
    method keeps each of them short.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.known: dict[Key, Lane | Withheld] = {}
        self._places = [max(1, int(limits.attempts * _SHARES[c])) for c in MailClass]
        self._room = [max(1, int(limits.window * _SHARES[c])) for c in MailClass]
        self._offer_room = limits.window // 2  # offers never take the room that loads need
        self._tables = [Table(c, limits.lanes) for c in MailClass]
        self._looking = False
        self._ready: list[deque[Lane]] = [deque() for _ in MailClass]
        self._loading: dict[Lane, set[Key]] = {}  # with the keys that left the schedule since the load began
        self._oversize: list[Lane] = []  # their next delivery is too large for now
        self._alarms: list[tuple[int, int, Lane]] = []
        self._sequence = count()  # so that the heap never compares lanes
        self._barred: deque[tuple[int, LaneKey, Key]] = deque()
        self._flying: dict[Key, Lane] = {}
        self._large = 0
        self._parked = 0
        self._reserved = 0  # rows that loads under way may bring
        self._contents = Contents(limits.content_bytes)

    def __repr__(self) -> str:
        return f"<Ready: {self._parked} parked, {len(self._flying)} in flight, {self._lane_count} lanes>"

    @property
    def _lane_count(self) -> int:
        return sum(len(table.lanes) for table in self._tables)

    # -- what the caller reports

    def offer(self, delivery: Delivery, now: int) -> bool:
        """A delivery whose row was just committed. True: start it, it counts as in flight; else it waits its turn."""
        key = delivery.key
        if delivery.held or key in self.known:
            return False
        lane = self._tables[delivery.message.mail_class].lane(delivery.lane)
        behind = lane.spool_at is not None and lane.spool_at <= now
        if behind or delivery.next_attempt > now:
            self._note(lane, delivery.next_attempt, now)
            lane.table.rest(lane)
            return False
        if not lane.parked and self._has_place(lane) and self._fits(lane, delivery):
            self._start(lane, delivery)
            return True
        if len(lane.parked) >= self.limits.lane_window or self._parked + self._reserved >= self._offer_room:
            self._note(lane, delivery.next_attempt, now)
            lane.table.rest(lane)
            return False
        self._contents.keep(delivery)
        self._park(lane, delivery)
        self._line_up(lane)
        return False

    def note(self, key: LaneKey, at: int, now: int) -> None:
        """The spool holds rows of this lane, the earliest due at `at`."""
        lane = self._tables[key[0]].lane_for(key, at)
        if lane is not None:
            self._note(lane, at, now)

    def finished(self, delivery: Delivery, at: int | None, now: int) -> None:
        """An attempt is over and its result committed: the row is gone, or (`at`) waits in the spool until then."""
        lane = self._land(delivery)
        key = delivery.key
        del self.known[key]
        if lane.loading:
            self._loading[lane].add(key)
        if at is not None:
            self._note(lane, at, now)
        self._settle(lane, now)

    def failed(self, delivery: Delivery, now: int) -> None:
        """An attempt broke by a fault of ours. Its row is as it was; it is loaded again, but not before a pause."""
        lane = self._land(delivery)
        key = delivery.key
        self.known[key] = Withheld.BARRED
        self._barred.append((now + FAULT_PAUSE, lane.key, key))
        self._settle(lane, now)

    def loaded(self, load: Load, rows: Sequence[Delivery], now: int) -> Load | None:
        """What a load brought. Returns the next one for the same lane: after the last due row, when is the next?"""
        lane = self._tables[load.lane[0]].lanes[load.lane]
        self._reserved -= load.limit
        peek = load.until == FOREVER
        horizon = now if peek else load.until
        gone = self._loading[lane]
        self._take_in(
            lane, [d for d in rows if d.next_attempt <= horizon and d.key not in self.known and d.key not in gone]
        )
        following = None
        if len(rows) >= load.limit:
            lane.spool_at = _earlier(lane.spool_at, rows[-1].next_attempt)
        elif not peek:
            following = Load(load.lane, FOREVER, 1)
            self._reserved += 1
        if following is None:
            self._end_load(lane)
        self._settle(lane, now)
        return following

    def load_failed(self, load: Load, now: int) -> None:
        """The spool could not read; ask again soon."""
        lane = self._tables[load.lane[0]].lanes[load.lane]
        self._reserved -= load.limit
        self._end_load(lane)
        self._note(lane, now + LOAD_PAUSE, now)

    def looked(self, look: Look, lanes: Sequence[tuple[str, int]], now: int) -> None:
        """The lanes that a look brought: the site of each, and when its earliest row is due.

        A lane may have come into memory since it was left out, by newer mail alone: so it is told as well."""
        self._looking = False
        table = self._tables[look.mail_class]
        for site, at in lanes:
            lane = table.lane_for((look.mail_class, site), at)
            if lane is not None:
                self._note(lane, at, now, found=True)
        table.looked(lanes[-1][0] if len(lanes) >= look.limit else None, now)

    def look_failed(self, look: Look, now: int) -> None:
        """The spool could not read; look again soon."""
        self._looking = False
        self._tables[look.mail_class].look_failed(now + LOAD_PAUSE)

    # -- what a command needs

    def claim(self, keys: Iterable[Key], now: int) -> list[Key]:
        """Keep these out of the schedule while a command changes their rows; returns them without those in flight.

        `forget` ends the claim, and `note` tells of rows that are to go again.
        """
        claimed = self._withdraw(keys, now)
        self.known.update(dict.fromkeys(claimed, Withheld.CLAIMED))
        return claimed

    def forget(self, keys: Iterable[Key], now: int) -> None:
        """Drop these from memory, except those in flight: their rows were deleted, held or moved."""
        dropped = self._withdraw(keys, now)
        for key in dropped:
            self.known.pop(key, None)
        for left in self._loading.values():
            left.update(dropped)

    def in_flight(self, key: Key) -> bool:
        return key in self._flying

    def flying(self) -> Counter[LaneKey]:
        """Attempts in flight, by lane."""
        return Counter(lane.key for lane in self._flying.values())

    def stats(self) -> dict[str, int]:
        """Numbers for metrics and status. Walks the table of lanes: for a scrape, not for each message."""
        flying = dict.fromkeys((f"in_flight_{c.label}" for c in MailClass), 0)
        for table in self._tables:
            for lane in table.lanes.values():
                flying[f"in_flight_{lane.key[0].label}"] += lane.in_flight
        return {
            "lanes": self._lane_count,
            "parked": self._parked,
            "in_flight": len(self._flying),
            "loading": len(self._loading),
            "barred": len(self._barred),
            "content_bytes": self._contents.held,
            **flying,
        }

    # -- the decision

    def look_through(self) -> None:
        """The spool may hold anything: at the start."""
        for table in self._tables:
            table.look_through()

    def look(self, now: int) -> Look | None:
        """Lanes to be read now, of the first class that needs it; one look at a time."""
        if self._looking:
            return None
        look = next((look for table in self._tables if (look := table.look(now)) is not None), None)
        self._looking = look is not None
        return look

    def step(self, now: int) -> Plan:
        """Everything there is to do at `now`. What it starts is in flight, what it loads is under way from here on."""
        while self._barred and self._barred[0][0] <= now:
            _, lane_key, key = self._barred.popleft()
            if self.known.get(key) is Withheld.BARRED:
                del self.known[key]
                self.note(lane_key, now, now)
        while self._alarms and self._alarms[0][0] <= now:
            at, _, lane = heappop(self._alarms)
            if lane.alarm == at:
                lane.alarm = None
                self._feed(lane, now)
        starts = self._plan_starts(now) if any(self._ready) else []
        loads = self._plan_loads(now) if any(table.hungry for table in self._tables) else []
        return Plan(starts, loads, self._wake_at(now))

    def _wake_at(self, now: int) -> int | None:
        times = [] if self._looking else [at for table in self._tables if (at := table.look_at(now)) is not None]
        if self._alarms:
            times.append(self._alarms[0][0])
        if self._barred:
            times.append(self._barred[0][0])
        return min(times, default=None)

    def _plan_starts(self, now: int) -> list[Delivery]:
        starts: list[Delivery] = []
        for line, places in zip(self._ready, self._places, strict=True):
            while line and len(self._flying) < places:
                lane = line.popleft()
                lane.ready = False
                if lane.parked and self._has_place(lane):  # else an attempt of its own, ending, lines it up again
                    if self._fits(lane, lane.parked[0]):
                        starts.append(self._start_parked(lane))
                        self._line_up(lane)
                    else:
                        self._oversize.append(lane)
                self._feed(lane, now)
                lane.table.rest(lane)
        return starts

    def _plan_loads(self, now: int) -> list[Load]:
        loads: list[Load] = []
        for table, rows in zip(self._tables, self._room, strict=True):
            while table.hungry and len(self._loading) < self.limits.loads:
                room = rows - self._parked - self._reserved
                if room < 1:
                    break
                lane = table.next_hungry()
                lane.loading = True
                lane.spool_at = None  # what is noted from here on is news; the load tells the rest
                self._loading[lane] = set()
                limit = min(2 * self.limits.lane_attempts, room)
                self._reserved += limit
                loads.append(Load(lane.key, now, limit))
        return loads

    # -- lanes

    def _note(self, lane: Lane, at: int, now: int, *, found: bool = False) -> None:
        lane.spool_at = _earlier(lane.spool_at, at)
        self._feed(lane, now, found=found)

    def _feed(self, lane: Lane, now: int, *, found: bool = False) -> None:
        """See that rows of the spool come in time: now where they are due and few are parked, else by an alarm."""
        at = lane.spool_at
        if at is None or lane.loading or lane.hungry:
            return
        if at > now:
            if lane.alarm is None or at < lane.alarm:
                self._set_alarm(lane, at)
        elif len(lane.parked) < self.limits.lane_attempts:
            lane.table.line_up(lane, found=found)

    def _set_alarm(self, lane: Lane, at: int) -> None:
        lane.alarm = at
        heappush(self._alarms, (at, next(self._sequence), lane))
        if len(self._alarms) > 2 * self._lane_count + 1_000:  # superseded ones, which else stay until their time
            self._alarms = [entry for entry in self._alarms if entry[2].alarm == entry[0]]
            heapify(self._alarms)

    def _line_up(self, lane: Lane) -> None:
        if lane.parked and not lane.ready and lane.in_flight < self.limits.lane_attempts:
            lane.ready = True
            self._ready[lane.key[0]].append(lane)

    def _settle(self, lane: Lane, now: int) -> None:
        self._line_up(lane)
        self._feed(lane, now)
        lane.table.rest(lane)

    def _end_load(self, lane: Lane) -> None:
        lane.loading = False
        del self._loading[lane]

    # -- deliveries

    def _has_place(self, lane: Lane) -> bool:
        """May one more of this lane fly? Never more of it than places are left: a few slow sites cannot take all."""
        free = self._places[lane.key[0]] - len(self._flying)
        return lane.in_flight < min(self.limits.lane_attempts, free)

    def _fits(self, lane: Lane, delivery: Delivery) -> bool:
        size = delivery.message.size
        if size <= SMALL or not self._large:
            return True
        budget = self.limits.flight_bytes
        return self._large + size <= budget and (not lane.large or lane.large + size <= budget // 2)

    def _start(self, lane: Lane, delivery: Delivery) -> None:
        key = delivery.key
        self.known[key] = lane
        self._flying[key] = lane
        lane.in_flight += 1
        size = delivery.message.size
        if size > SMALL:
            lane.large += size
            self._large += size

    def _start_parked(self, lane: Lane) -> Delivery:
        delivery = lane.parked.popleft()
        self._parked -= 1
        self._contents.release(delivery)
        self._start(lane, delivery)
        return delivery

    def _land(self, delivery: Delivery) -> Lane:
        lane = self._flying.pop(delivery.key)
        lane.in_flight -= 1
        size = delivery.message.size
        if size > SMALL:
            lane.large -= size
            self._large -= size
            for waiting in self._oversize:
                self._line_up(waiting)
            self._oversize.clear()
        return lane

    def _park(self, lane: Lane, delivery: Delivery) -> None:
        if lane.parked is NOTHING:
            lane.parked = deque()
        lane.parked.append(delivery)
        self.known[delivery.key] = lane
        self._parked += 1

    def _take_in(self, lane: Lane, rows: list[Delivery]) -> None:
        unsorted = bool(rows and lane.parked) and rows[0].next_attempt < lane.parked[-1].next_attempt
        for delivery in rows:
            self._park(lane, delivery)
        if unsorted:
            lane.parked = deque(sorted(lane.parked, key=_due_time))

    def _withdraw(self, keys: Iterable[Key], now: int) -> list[Key]:
        """Take what is parked of these out of its lane. Returns all that are not in flight."""
        free = [key for key in keys if key not in self._flying]
        gone = set(free)
        lanes = {lane for key in free if isinstance(lane := self.known.get(key), Lane)}
        for lane in lanes:
            for delivery in lane.parked:
                if delivery.key in gone:
                    self._contents.release(delivery)
                    self._parked -= 1
            lane.parked = deque(delivery for delivery in lane.parked if delivery.key not in gone)
            self._settle(lane, now)
        return free


class Contents:
    """The byte budget of contents that parked deliveries keep in memory, each message's counted once."""

    def __init__(self, budget: int) -> None:
        self.held = 0
        self._budget = budget
        # By identity: how many deliveries are parked with this very object, and the bytes counted for it. Another
        # object of the same row, read from the spool, has no content.
        self._parked: dict[int, tuple[int, int]] = {}

    def keep(self, delivery: Delivery) -> None:
        """A delivery is parked: its content stays where the budget allows, else it is read back from the spool."""
        message = delivery.message
        if message.content is None:
            return
        others, size = self._parked.get(id(message), (0, len(message.content)))
        if not others:
            if self.held + size > self._budget:
                message.content = None
                return
            self.held += size
        self._parked[id(message)] = others + 1, size

    def release(self, delivery: Delivery) -> None:
        """A delivery is parked no longer."""
        identity = id(delivery.message)
        parked, size = self._parked.pop(identity, (0, 0))
        if parked > 1:
            self._parked[identity] = parked - 1, size
        else:
            self.held -= size


def _earlier(one: int | None, other: int) -> int:
    return other if one is None or other < one else one


def _due_time(delivery: Delivery) -> int:
    return delivery.next_attempt
