"""The lanes of one class that are in memory, and what is known of those that are not. Pure.

A lane is the mail of one stream and one priority to one site; the lanes of a site are a group, which shares what the site
takes. A million domains with waiting mail are a million lanes; at half a KB each they do not belong into memory. There are
those with mail in memory (the window bounds them), at most `bound` that only wait for a load, and about as many that sleep
until their mail is due or their site has room. The others are left out: the spool knows them, and the table one time,
`left_out_at`, before which none of them is due. When it comes, a *round* looks through the spool's lanes of the class, page
by page in their order (the highest priority first), takes in what is due or will be soon, and learns when the next one
will be.

Nothing starves. Lanes that a round finds have places of their own in the line for loads (`bound`, counted apart), which
nothing else can take, and the line is served in turns; a round goes on where it was when there is room again, and comes
past every lane. What is left out behind its back is for the next round.
"""

from collections import deque
from operator import attrgetter
from typing import NamedTuple

from relay.message import Delivery, LaneKey, MailClass
from relay.schedule.gates import Gate, Gates
from relay.schedule.line import Line

FOREVER = 1 << 62  # later than any row's time, and still a signed 64-bit integer for SQLite
PAGE = 250  # lanes read at once: 1.4 ms of the spool's thread, measured with a million rows
PAGE_PAUSE = 5  # ms between two pages: a round takes a fifth of that thread, and half a minute for a million lanes

NOTHING: deque[Delivery] = deque(maxlen=0)  # shared by all lanes with nothing parked: an empty deque takes 600 bytes


class Look(NamedTuple):
    """Ask the spool for the lanes of a class behind `after` (None: from the first) in their order, at most `limit`."""

    mail_class: MailClass
    after: LaneKey | None
    limit: int


class Group:
    """The lanes of a class that meet the same limits: at first those queued for one site; once refused, those that met one
    `limit` of a `site`, of whatever domain (MX hosts tell, pause.py).

    `waiting`: lanes that are to be loaded once it opens; `out`: a line passes it over.
    """

    __slots__ = ("gate", "in_flight", "lanes", "large", "limit", "mail_class", "out", "parked", "site", "waiting")

    def __init__(self, mail_class: MailClass, site: str, limit: str) -> None:
        self.mail_class = mail_class
        self.site = site
        self.limit = limit
        self.lanes = 0
        self.parked = 0
        self.in_flight = 0
        self.large = 0
        self.out = False
        self.gate: Gate | None = None
        self.waiting: Line | None = None

    def __repr__(self) -> str:
        gate = f", {self.gate!r}" if self.gate is not None else ""
        limit = f" by {self.limit}" if self.limit else ""
        here = f"{self.lanes} lanes, {self.parked} parked, {self.in_flight} in flight"
        return f"<Group {self.mail_class.label} {self.site}{limit}: {here}{gate}>"

    @property
    def shut(self) -> bool:
        """The site has no room: nothing of it starts now, however due."""
        return self.gate is not None and self.gate.opens_at is not None


class Lane:
    """Mail of one (class, site, stream, priority). `ready`, `hungry`: it stands in line to start, to load; `found`: in a
    round's place there; `waiting`: to stand in line to load once its group opens."""

    __slots__ = (
        "alarm", "found", "group", "hungry", "in_flight", "key", "large", "loading", "parked", "ready", "spool_at",
        "table", "waiting",
    )  # fmt: skip

    def __init__(self, key: LaneKey, table: "Table", group: Group) -> None:
        self.key = key
        self.table = table
        self.group = group
        self.parked = NOTHING
        self.spool_at: int | None = None
        self.in_flight = 0
        self.large = 0
        self.ready = False
        self.hungry = False
        self.found = False
        self.waiting = False
        self.loading = False
        self.alarm: int | None = None

    def __repr__(self) -> str:
        mail_class, site, stream, priority = self.key
        here = f"{len(self.parked)} parked, {self.in_flight} in flight"
        return f"<Lane {mail_class.label} {site} {stream} {priority}: {here}, spool at {self.spool_at}>"

    @property
    def priority(self) -> int:
        return self.key[3]

    @property
    def bare(self) -> bool:
        """Nothing of it is in memory or on its way there."""
        return not (self.parked or self.in_flight or self.loading or self.hungry or self.ready)

    @property
    def wakes_at(self) -> int | None:
        """When there is something to do for it; None: the spool holds nothing of it."""
        at, gate = self.spool_at, self.group.gate
        if at is None or gate is None or gate.opens_at is None:
            return at
        return max(at, gate.opens_at)


class Table:
    """The lanes of one class. See the module's docstring for its rules."""

    def __init__(self, mail_class: MailClass, bound: int, gates: Gates) -> None:
        self.lanes: dict[LaneKey, Lane] = {}
        self.groups: dict[str | tuple[str, str], Group] = {}
        self.left_out_at: int | None = None
        self._class = mail_class
        self._bound = bound
        self._gates = gates
        self._page = min(PAGE, bound)
        self._found = Line()  # of the hungry those that a round found
        self._others = Line()
        self._turn = False
        self.hungry = 0  # lanes that stand in line to be loaded
        self._horizon = FOREVER  # what sleeps longer is left out
        self._shed_above = bound
        self._round = False
        self._reading = False
        self._after: LaneKey | None = None
        self._look_at = 0

    def __repr__(self) -> str:
        left_out = "none left out" if self.left_out_at is None else f"others not before {self.left_out_at}"
        return f"<Table {self._class.label}: {len(self.lanes)} lanes, {self.hungry} hungry, {left_out}>"

    # -- lanes

    def lane(self, key: LaneKey) -> Lane:
        """The lane of this key, made where there is none; where it stays bare, `rest` it."""
        lane = self.lanes.get(key)
        if lane is None:
            if len(self.lanes) >= self._shed_above:
                self._shed()
            lane = self.lanes[key] = Lane(key, self, self._join(key[1], ""))
        return lane

    def lane_for(self, key: LaneKey, at: int) -> Lane | None:
        """The lane to be told of a row that the spool holds until `at`; None: it is left out, and this was noted."""
        if at > self._horizon and key not in self.lanes:
            self._note_left_out(at)
            return None
        return self.lane(key)

    def rest(self, lane: Lane) -> None:
        """A bare lane leaves the table where the spool holds nothing of it, or nothing for long."""
        if lane.parked:
            return
        lane.parked = NOTHING
        at = lane.wakes_at
        if lane.bare and (at is None or at > self._horizon):
            self._leave_out(lane)

    def line_up(self, lane: Lane, *, found: bool) -> None:
        """To be loaded; or left out, where too many stand in line already."""
        if not found and len(self._others) >= self._places(lane) and lane.bare:
            self._leave_out(lane)
            return
        lane.hungry = True
        lane.found = found
        self.hungry += 1
        (self._found if found else self._others).add(lane)

    def next_hungry(self) -> Lane | None:
        """Of what a round found and of the others in turns."""
        self._turn = not self._turn
        lines = (self._found, self._others) if self._turn else (self._others, self._found)
        lane = lines[0].next() or lines[1].next()
        if lane is not None:
            lane.hungry = lane.found = False
            self.hungry -= 1
        return lane

    def move(self, lane: Lane, site: str, limit: str) -> None:
        """Its mail meets another limit than was known. It must stand in no line."""
        old, new = lane.group, self._join(site, limit)
        lane.group = new
        for group, sign in ((old, -1), (new, 1)):
            group.parked += sign * len(lane.parked)
            group.in_flight += sign * lane.in_flight
            group.large += sign * lane.large
            if group.gate is not None:
                self._gates.changed(0, sign * len(lane.parked))
        self._part(old)

    def step_out(self, lane: Lane) -> None:
        """It stands in line for no load any more."""
        if lane.hungry:
            (self._found if lane.found else self._others).remove(lane)
            self.hungry -= 1
        elif lane.waiting and lane.group.waiting is not None:
            lane.group.waiting.remove(lane)
        lane.hungry = lane.found = lane.waiting = False

    def _places(self, lane: Lane) -> int:
        """In line for others than a round finds: twice as many where lower ones would keep a higher one out."""
        lowest = self._others.lowest
        return self._bound if lowest is None or lane.priority <= lowest else 2 * self._bound

    def _join(self, site: str, limit: str) -> Group:
        key = (site, limit) if limit else site
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(self._class, site, limit)
        group.lanes += 1
        if group.gate is not None:
            self._gates.changed(1, 0)
        return group

    def _part(self, group: Group) -> None:
        group.lanes -= 1
        if group.gate is not None:
            self._gates.changed(-1, 0)
        if not group.lanes:
            self._gates.drop(group)
            del self.groups[(group.site, group.limit) if group.limit else group.site]

    def _leave_out(self, lane: Lane) -> None:
        at = lane.wakes_at
        if at is not None:
            self._note_left_out(at)
        lane.spool_at = lane.alarm = None
        if self.lanes.get(lane.key) is lane:
            if lane.waiting:
                self.step_out(lane)
            del self.lanes[lane.key]
            self._part(lane.group)

    def _note_left_out(self, at: int) -> None:
        if self.left_out_at is None or at < self.left_out_at:
            self.left_out_at = at

    def _shed(self) -> None:
        """Of what sleeps keep the `bound` that wake first. It comes again only a quarter of that later: sorting 10,000
        takes 5 ms, and so adds 2 us to each lane that is made."""
        asleep = [lane for lane in self.lanes.values() if lane.spool_at is not None and lane.bare]
        asleep.sort(key=attrgetter("wakes_at"))
        if len(asleep) > self._bound:
            last = asleep[self._bound - 1].wakes_at
            assert last is not None
            self._horizon = last
            for lane in asleep[self._bound :]:
                self._leave_out(lane)
        self._shed_above = len(self.lanes) + max(1, self._bound // 4)

    # -- rounds

    def look_through(self) -> None:
        """What the spool holds is not known: a round is due."""
        self.left_out_at = 0

    def look(self, now: int) -> Look | None:
        """The next page of a round, where one is due and there is room for what it may find."""
        at = self.look_at(now)
        if at is None or at > now:
            return None
        if not self._round:
            self._round, self._after, self.left_out_at, self._horizon = True, None, None, FOREVER
        self._reading = True
        return Look(self._class, self._after, self._page)

    def look_at(self, now: int) -> int | None:
        """When the next page is to be read; None: not before something happens."""
        due = now if self._round else self.left_out_at
        if due is None or self._reading or len(self._found) + self._page > self._bound:
            return None
        return max(due, self._look_at)

    def looked(self, last: LaneKey | None, now: int) -> None:
        """A page is read and its lanes are noted. `last`: the lane behind which the next begins; None: there is none."""
        self._reading = False
        self._round, self._after = last is not None, last
        self._look_at = now + PAGE_PAUSE

    def look_failed(self, at: int) -> None:
        """A page could not be read; the round goes on with the same one, not before `at`."""
        self._reading = False
        self._look_at = at
