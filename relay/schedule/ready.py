"""What goes next: the window of the queue that is in memory, and every decision over it. Pure; `now` is an argument.

The queue is lanes, one for each (class, site, stream, priority). Of a lane, memory holds a few deliveries that are due
(`parked`), the number in flight, and one time: the earliest at which a row that only the spool holds may be due
(`spool_at`, a lower bound). So the cost of a decision does not depend on how much waits, and a million rows take no more
than a full window; nor does a million lanes take more than a full table (lanes.py).

Order: transactional lanes first, then service, then marketing; within a class by priority, by site and by stream
(line.py), one delivery each; within a lane by `next_attempt`. While due rows of a lane wait in the spool, what is offered to
it queues behind them there.

An attempt may come back because its site has no room (`paused`): its delivery is put back where it was, and what met the
same limit there starts nothing before the time it was told (gates.py).

Nothing is in memory twice. `known` holds the key of all that is parked, in flight, barred or claimed; the spool is
asked for rows without those. What ends while a read is under way is noted with it: the row read of it is stale.

The caller does what it is told and reports back: `offer` and `step` say what to start, `step` also what to load and
when to come again, `look` which lanes to read; `finished`, `paused` or `failed` follow each start, `loaded` or `load_failed` each
load, `looked` or `look_failed` each look.
"""

from bisect import insort_left
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from relay.message import Delivery, LaneKey, MailClass
from relay.pause import Pause
from relay.schedule.contents import Contents
from relay.schedule.flight import SMALL, Flight, Key
from relay.schedule.gates import Gates
from relay.schedule.lanes import FOREVER, NOTHING, Group, Lane, Look, Table
from relay.schedule.line import Line

FAULT_PAUSE = 60_000  # after a fault of our own: long enough not to spin, short enough that a cured fault costs little
LOAD_PAUSE = 1_000  # a spool that cannot read is asked again after a second

# Of attempts and of the window, what each class may fill: the rest stays free for the classes before it.
_SHARES = {MailClass.TRANSACTIONAL: 1.0, MailClass.SERVICE: 7 / 8, MailClass.MARKETING: 3 / 4}


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one worker's schedule.

    attempts        in flight at once: a task, a connection or a place in line for one, and up to SMALL of content each
    site_attempts   of these for one group: four times the default connections, as attempts also wait for their commit
    window          deliveries parked in memory: about 3 KB each, so 18 MB of the 200 a worker may use
    lane_window     of these for one lane by offers: a burst to a single site keeps the direct path for a second or two
    content_bytes   contents kept for parked deliveries; beyond it they are read back from the spool at the attempt
    flight_bytes    contents above SMALL that are in flight, a quarter for transactional mail alone; half of it for
                    one group; one message may always go, and one transactional one besides
    loads           reads of the spool at once: each stands in front of somebody's commit
    lanes           of one class, those that only wait for a load, and about as many asleep: 0.5 KB each, so 10 MB
    """

    attempts: int = 400
    site_attempts: int = 40
    window: int = 6_000
    lane_window: int = 2_500
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
        places = [max(1, int(limits.attempts * _SHARES[c])) for c in MailClass]
        self._flight = Flight(places, limits.site_attempts, limits.flight_bytes)
        self._room = [max(1, int(limits.window * _SHARES[c])) for c in MailClass]
        self._offer_room = limits.window // 2  # offers never take the room that loads need
        self._gates = Gates(limits.site_attempts, limits.window // 4)
        self._tables = [Table(c, limits.lanes, self._gates) for c in MailClass]
        self._looking = False
        self._ready = [Line() for _ in MailClass]
        self._lines = list(zip(MailClass, self._ready, strict=True))
        self._loading: dict[Lane, set[Key]] = {}  # with the keys that left the schedule since the load began
        self._oversize: list[Lane] = []  # their next delivery is too large for now
        self._alarms: list[tuple[int, int, Lane]] = []
        self._sequence = count()  # so that the heap never compares lanes
        self._barred: deque[tuple[int, LaneKey, Key]] = deque()
        self._parked = 0
        self._reserved = 0  # rows that loads under way may bring
        self._contents = Contents(limits.content_bytes)

    def __repr__(self) -> str:
        return f"<Ready: {self._parked} parked, {len(self._flight.flying)} in flight, {self._lane_count} lanes>"

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
        gated = lane.group.gate is not None  # then who goes through is for the line to say
        if not (lane.parked or gated) and self._has_place(lane) and self._flight.fits(lane, delivery):
            self._start(lane, delivery, now)
            return True
        most = self._gates.keep(lane) if gated else self.limits.lane_window
        if len(lane.parked) >= most or self._parked + self._reserved >= self._offer_room:
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
        lane = self._land(delivery, now)
        key = delivery.key
        del self.known[key]
        if lane.loading:
            self._loading[lane].add(key)
        if at is not None:
            self._note(lane, at, now)
        self._settle(lane, now)

    def failed(self, delivery: Delivery, now: int) -> None:
        """An attempt broke by a fault of ours. Its row is as it was; it is loaded again, but not before a pause."""
        lane = self._land(delivery, now)
        key = delivery.key
        self.known[key] = Withheld.BARRED
        self._barred.append((now + FAULT_PAUSE, lane.key, key))
        self._settle(lane, now)

    def going(self, delivery: Delivery, now: int) -> bool:
        """An attempt has all it needs from its site, or is over: there is room. True: the next may ask."""
        group = self._gates.known(delivery.key, room=True) if delivery.key in self._gates.unsure else None
        if group is not None:
            self._opened(group, now)
        return group is not None

    def paused(self, delivery: Delivery, pause: Pause, now: int) -> None:
        """An attempt found no room at its site and changed nothing: it waits where it was, and its group with it."""
        asked = delivery.key in self._gates.unsure
        if asked:
            self._gates.known(delivery.key, room=False)
        lane = self._land(delivery, now)
        site = pause.site or lane.key[1]
        if site != lane.group.site or pause.limit != lane.group.limit:
            self._move(lane, site, pause.limit, now)
        line = self._ready[lane.key[0]]
        new = self._gates.shut(lane.group, pause, now)
        self._put_back(lane, delivery)
        for one in dict.fromkeys((lane, *line.of(lane.group))) if new else (lane,):
            self._trim(one)
            self._settle(one, now)
        if asked:
            line.again(lane)

    def resume(self, site: str | None, now: int) -> int:
        """There may be room again at this site; None: what is known of limits is not true any more. Returns how many
        groups need not wait longer."""
        groups = self._gates.clear() if site is None else self._gates.resume(site)
        for group in groups:
            self._opened(group, now)
        return len(groups)

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
        if lane.group.gate is not None:
            self._trim(lane)
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
        lane.spool_at = _earlier(lane.spool_at, now + LOAD_PAUSE)
        self._settle(lane, now)

    def looked(self, look: Look, lanes: Sequence[tuple[LaneKey, int]], now: int) -> None:
        """The lanes that a look brought, and when the earliest row of each is due.

        A lane may have come into memory since it was left out, by newer mail alone: so it is told as well."""
        self._looking = False
        table = self._tables[look.mail_class]
        for key, at in lanes:
            lane = table.lane_for(key, at)
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
        return key in self._flight.flying

    def flying(self) -> Counter[LaneKey]:
        """Attempts in flight, by lane."""
        return Counter(lane.key for lane in self._flight.flying.values())

    def stats(self) -> dict[str, int]:
        """Numbers for metrics and status. Walks the table of lanes: for a scrape, not for each message."""
        flying = dict.fromkeys((f"in_flight_{c.label}" for c in MailClass), 0)
        for table in self._tables:
            for lane in table.lanes.values():
                flying[f"in_flight_{lane.key[0].label}"] += lane.in_flight
        return {
            "lanes": self._lane_count,
            "paused": sum(group.lanes for group, _ in self._gates.paused()),
            "parked": self._parked,
            "in_flight": len(self._flight.flying),
            "loading": len(self._loading),
            "barred": len(self._barred),
            "content_bytes": self._contents.held,
            **flying,
        }

    def pause_of(self, key: LaneKey) -> Pause | None:
        """What a lane waits for its site to have, if it does; one that is not in memory with the others of its site."""
        mail_class, site, *_ = key
        lane = self._tables[mail_class].lanes.get(key)
        groups = [lane.group] if lane is not None else [g for g in self._gates.at(site) if g.mail_class is mail_class]
        for group in groups:
            if group.gate is not None:
                return Pause(group.gate.opens_at or 0, group.gate.why, group.site, group.limit)
        return None

    def pauses(self) -> list[tuple[MailClass, Pause]]:
        """The limits that have no room. Walks them: for people, not for each message."""
        return [
            (group.mail_class, Pause(gate.opens_at or 0, gate.why, group.site, group.limit))
            for group, gate in self._gates.paused()
        ]

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

    def feels(self) -> bool:
        """Does it matter how late the loop is?"""
        return self._flight.feels()

    def feel(self, late: float) -> bool:
        """The loop is `late` by so many seconds. True: more may start than before."""
        return self._flight.feel(late)

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
        if self._gates.openings:
            for group in self._gates.open(now):
                self._opened(group, now)
        starts = self._plan_starts(now) if self._parked else []
        first, second, third = self._tables
        loads = self._plan_loads(now) if first.hungry or second.hungry or third.hungry else []
        return Plan(starts, loads, self._wake_at(now))

    def _wake_at(self, now: int) -> int | None:
        times = [] if self._looking else [at for table in self._tables if (at := table.look_at(now)) is not None]
        if self._alarms:
            times.append(self._alarms[0][0])
        if self._gates.openings:
            times.append(self._gates.openings[0][0])
        if self._barred:
            times.append(self._barred[0][0])
        return min(times, default=None)

    def _plan_starts(self, now: int) -> list[Delivery]:
        starts: list[Delivery] = []
        for mail_class, line in self._lines:
            while line and (room := self._flight.room(mail_class)) > 0:
                lane = line.next(room)
                if lane is None:
                    break
                lane.ready = False
                if self._flight.fits(lane, lane.parked[0]):
                    starts.append(self._start_parked(lane, now))
                    self._line_up(lane)
                else:
                    self._oversize.append(lane)
                self._feed(lane, now)
                lane.table.rest(lane)
        return starts

    def _plan_loads(self, now: int) -> list[Load]:
        loads: list[Load] = []
        for table, rows in zip(self._tables, self._room, strict=True):
            while len(self._loading) < self.limits.loads:
                room = rows - self._parked - self._reserved
                lane = table.next_hungry() if room > 0 else None
                if lane is None:
                    break
                if lane.group.paused:
                    self._wait(lane)
                    lane.table.rest(lane)
                    continue
                lane.loading = True
                lane.spool_at = None  # what is noted from here on is news; the load tells the rest
                self._loading[lane] = set()
                limit = min(2 * self.limits.site_attempts if lane.group.gate is None else self._gates.keep(lane), room)
                self._reserved += limit
                loads.append(Load(lane.key, now, limit))
        return loads

    # -- lanes

    def _note(self, lane: Lane, at: int, now: int, *, found: bool = False) -> None:
        lane.spool_at = _earlier(lane.spool_at, at)
        self._feed(lane, now, found=found)

    def _feed(self, lane: Lane, now: int, *, found: bool = False) -> None:
        """See that rows of the spool come in time: now where they are due and few are parked, else by an alarm. A gated lane
        needs none as long as it has one, and none before its group opens: what it need not keep is read in vain."""
        at = lane.spool_at
        if at is None or lane.loading or lane.hungry or lane.waiting:
            return
        group = lane.group
        if at > now:
            if lane.alarm is None or at < lane.alarm:
                self._set_alarm(lane, at)
        elif len(lane.parked) < (self.limits.site_attempts if group.gate is None else 1):
            if group.paused:
                self._wait(lane)
            else:
                lane.table.line_up(lane, found=found)

    def _wait(self, lane: Lane) -> None:
        """Its group will open."""
        group = lane.group
        if group.waiting is None:
            group.waiting = Line()
        group.waiting.add(lane)
        lane.waiting = True

    def _feed_next(self, group: Group, now: int) -> None:
        """The group is open: one more of its lanes may load."""
        while group.waiting is not None:
            lane = group.waiting.next()
            if lane is None:
                group.waiting = None
                return
            lane.waiting = False
            self._feed(lane, now)
            lane.table.rest(lane)
            if lane.hungry:
                return

    def _opened(self, group: Group, now: int) -> None:
        """It may start something: as many of its lanes may load as may start."""
        self._ready[group.mail_class].restore(group)
        left = group.gate.left if group.gate is not None else group.lanes
        for _ in range(min(left, group.lanes)):
            self._feed_next(group, now)

    def _set_alarm(self, lane: Lane, at: int) -> None:
        lane.alarm = at
        heappush(self._alarms, (at, next(self._sequence), lane))
        if len(self._alarms) > 2 * self._lane_count + 1_000:  # superseded ones, which else stay until their time
            self._alarms = [entry for entry in self._alarms if entry[2].alarm == entry[0]]
            heapify(self._alarms)

    def _line_up(self, lane: Lane) -> None:
        if lane.parked and not lane.ready:
            lane.ready = True
            self._ready[lane.key[0]].add(lane)

    def _step_out(self, lane: Lane) -> None:
        """Out of the line to start: it has nothing to start, or is to stand elsewhere."""
        if lane.ready:
            self._ready[lane.key[0]].remove(lane)
            lane.ready = False

    def _move(self, lane: Lane, site: str, limit: str, now: int) -> None:
        """To the group of what met this limit; it stands in no line any more."""
        before = lane.group
        self._step_out(lane)
        lane.table.step_out(lane)
        lane.table.move(lane, site, limit)
        self._restore(before)
        if not before.shut:
            self._feed_next(before, now)  # in its place

    def _settle(self, lane: Lane, now: int) -> None:
        self._line_up(lane)
        self._feed(lane, now)
        group = lane.group
        if group.waiting is not None and not (lane.parked or group.shut):
            self._feed_next(group, now)  # in its place
        lane.table.rest(lane)

    def _end_load(self, lane: Lane) -> None:
        lane.loading = False
        del self._loading[lane]

    # -- deliveries

    def _has_place(self, lane: Lane) -> bool:
        return lane.group.in_flight < self._flight.room(lane.key[0])

    def _start(self, lane: Lane, delivery: Delivery, now: int) -> None:
        self.known[delivery.key] = lane
        self._flight.start(lane, delivery)
        group = lane.group
        if group.gate is not None:
            self._gates.started(group, group.gate, delivery.key, now)

    def _start_parked(self, lane: Lane, now: int) -> Delivery:
        delivery = lane.parked.popleft()
        self._unparked(lane, delivery)
        self._start(lane, delivery, now)
        return delivery

    def _land(self, delivery: Delivery, now: int) -> Lane:
        if self._gates.unsure:
            self.going(delivery, now)  # while its lane, which may be the next to load, cannot be left out
        lane = self._flight.land(delivery)
        if lane.group.out:
            self._restore(lane.group)
        if self._oversize and delivery.message.size > SMALL:
            for waiting in self._oversize:
                self._line_up(waiting)
            self._oversize.clear()
        return lane

    def _restore(self, group: Group) -> None:
        """It may have a place again."""
        if not group.shut:
            self._ready[group.mail_class].restore(group)

    def _park(self, lane: Lane, delivery: Delivery) -> None:
        if lane.parked is NOTHING:
            lane.parked = deque()
        lane.parked.append(delivery)
        self._is_parked(lane, delivery)

    def _is_parked(self, lane: Lane, delivery: Delivery) -> None:
        self.known[delivery.key] = lane
        self._parked += 1
        lane.group.parked += 1
        if lane.group.gate is not None:
            self._gates.changed(0, 1)

    def _unparked(self, lane: Lane, delivery: Delivery) -> None:
        self._contents.release(delivery)
        self._parked -= 1
        lane.group.parked -= 1
        if lane.group.gate is not None:
            self._gates.changed(0, -1)

    def _put_back(self, lane: Lane, delivery: Delivery) -> None:
        """Where it was in its lane: the row is as it was."""
        if lane.parked is NOTHING:
            lane.parked = deque()
        self._contents.keep(delivery)
        insort_left(lane.parked, delivery, key=_place)
        self._is_parked(lane, delivery)

    def _trim(self, lane: Lane) -> None:
        """Of a gated lane, and where the window is full, the spool alone keeps what comes last."""
        keep = min(self._gates.keep(lane), len(lane.parked) + self.limits.window - self._parked - self._reserved)
        while len(lane.parked) > max(keep, 0):
            delivery = lane.parked.pop()
            self._unparked(lane, delivery)
            del self.known[delivery.key]
            lane.spool_at = _earlier(lane.spool_at, delivery.next_attempt)
        if not lane.parked:
            self._step_out(lane)

    def _take_in(self, lane: Lane, rows: list[Delivery]) -> None:
        unsorted = bool(rows and lane.parked) and rows[0].next_attempt < lane.parked[-1].next_attempt
        for delivery in rows:
            self._park(lane, delivery)
        if unsorted:
            lane.parked = deque(sorted(lane.parked, key=_due_time))

    def _withdraw(self, keys: Iterable[Key], now: int) -> list[Key]:
        """Take what is parked of these out of its lane. Returns all that are not in flight."""
        flying = self._flight.flying
        free = [key for key in keys if key not in flying]
        gone = set(free)
        lanes = {lane for key in free if isinstance(lane := self.known.get(key), Lane)}
        for lane in lanes:
            for delivery in lane.parked:
                if delivery.key in gone:
                    self._unparked(lane, delivery)
            lane.parked = deque(delivery for delivery in lane.parked if delivery.key not in gone)
            if not lane.parked:
                self._step_out(lane)
            self._settle(lane, now)
        return free


def _earlier(one: int | None, other: int) -> int:
    return other if one is None or other < one else one


def _due_time(delivery: Delivery) -> int:
    return delivery.next_attempt


def _place(delivery: Delivery) -> tuple[int, int, int]:
    """Its place in its lane, as the spool orders rows."""
    return delivery.next_attempt, delivery.message.row, delivery.index
