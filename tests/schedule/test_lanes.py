"""A queue of very many domains: memory holds few of their lanes, all of them get their turn, transactional ones first."""

from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest

from relay.message import Delivery, LaneKey, MailClass
from relay.schedule.gates import Gates
from relay.schedule.lanes import FOREVER, PAGE, PAGE_PAUSE, Look, Table
from relay.schedule.ready import LOAD_PAUSE, Limits, Load, Ready
from tests.support.queued import MARKETING, NOW, SERVICE, TRANSACTIONAL, Rows, lane_of, queued

NO_GATES = Gates(enough=1, room=0)
FEW = Limits(attempts=8, site_attempts=2, window=40, lane_window=4, loads=4, lanes=20)


class Post:
    """Ready over rows that are read at once; attempts end when `end` is called. Notes the order and the most lanes."""

    def __init__(self, limits: Limits = FEW) -> None:
        self.ready, self.rows, self.now = Ready(limits), Rows(), NOW
        self.numbers = count(1)
        self.flying: list[Delivery] = []
        self.started: list[LaneKey] = []
        self.lateness: list[int] = []
        self.most_lanes = 0
        self.most_alarms = 0
        self.looks = 0
        self.again: Callable[[Delivery], int | None] = lambda _: None

    def put(self, site: str, mail_class: MailClass = MARKETING, at: int = NOW, *, offered: bool = False) -> None:
        one = queued(next(self.numbers), site, mail_class, at)
        self.rows.put(one)
        if offered and self.ready.offer(one, self.now):
            self._start([one])
        self._measure()

    def _start(self, deliveries: list[Delivery]) -> None:
        self.flying += deliveries
        self.started += [one.lane for one in deliveries]
        self.lateness += [self.now - one.next_attempt for one in deliveries]

    def _measure(self) -> None:
        self.most_lanes = max(self.most_lanes, self.ready.stats()["lanes"])
        self.most_alarms = max(self.most_alarms, len(self.ready._alarms))

    def pump(self) -> int | None:
        """Everything there is to do now; when to come again."""
        while True:
            look = self.ready.look(self.now)
            if look is not None:
                self.looks += 1
                self.ready.looked(look, self.rows.read_lanes(*look), self.now)
            plan = self.ready.step(self.now)
            self._start(plan.starts)
            for load in plan.loads:
                following: Load | None = load
                while following is not None:
                    rows = self.rows.read(following.lane, following.until, following.limit, self.ready.known)
                    following = self.ready.loaded(following, rows, self.now)
            self._measure()
            if look is None and not plan.starts and not plan.loads:
                return plan.wake_at

    def end(self, number: int | None = None) -> None:
        """Attempts that are under way end, the first ones first."""
        ending, self.flying = self.flying[:number], self.flying[number:] if number is not None else []
        for one in ending:
            at = self.again(one)
            if at is None:
                del self.rows.rows[one.key]
            else:
                self.rows.rows[one.key] = one.lane, at
            self.ready.finished(one, at, self.now)

    def run(self, steps: int = 100_000) -> None:
        """Until nothing is left to do; time passes where there is nothing to do now."""
        for _ in range(steps):
            wake_at = self.pump()
            if self.flying:
                self.end()
            elif wake_at is None:
                return
            else:
                self.now = max(self.now, wake_at)
        raise AssertionError("it never comes to rest")


def site(number: int) -> str:
    return f"{number * 7919 % 10_007:05d}.example"  # each once, in no order of time


def test_lanes_that_are_all_due_are_few_in_memory_and_all_get_their_turn() -> None:
    post = Post()
    for number in range(600):
        post.put(site(number), offered=True)
    post.run()
    assert Counter(post.started) == Counter({lane_of(site(number)): 1 for number in range(600)})
    # In line for a load: as many of rounds as of others (2 x 20); with mail in memory: the window and what flies.
    assert post.most_lanes <= 2 * FEW.lanes + FEW.window + FEW.attempts
    assert post.ready.stats()["lanes"] == 0


def test_lanes_that_sleep_are_few_in_memory_and_wake_in_time() -> None:
    post = Post()
    for number in range(600):
        post.put(site(number), at=NOW + 1_000 * number, offered=True)
    post.run()
    assert len(post.started) == 600
    assert post.most_lanes <= 2 * FEW.lanes + FEW.lanes // 4
    assert post.most_alarms <= 2 * post.most_lanes + 1_001
    # A round of 600 lanes is 30 pages of 20, PAGE_PAUSE between them; what a page finds is late by what comes before it.
    assert min(post.lateness) >= 0
    assert max(post.lateness) <= 2 * 30 * PAGE_PAUSE


def test_alarms_of_what_was_left_out_do_not_pile_up() -> None:
    ready = Ready(FEW)
    for number in range(5_000):
        ready.note(lane_of(site(number)), NOW + 1_000_000 - number, NOW)
    assert ready.stats()["lanes"] <= 2 * FEW.lanes
    assert len(ready._alarms) <= 2 * ready.stats()["lanes"] + 1_001


def test_a_round_is_rare_where_lanes_sleep_long() -> None:
    """Each leaves in memory those that wake first, as many as the bound says; so many are served between two rounds."""
    post = Post()
    for number in range(600):
        post.put(site(number), at=NOW + 1_000 * number, offered=True)
    post.run()
    pages = 600 // FEW.lanes + 1
    assert post.looks <= pages * (600 // FEW.lanes + 1)


def test_deferred_lanes_are_few_in_memory() -> None:
    post, tries = Post(), Counter[str]()

    def again(one: Delivery) -> int | None:
        tries[one.site] += 1
        return post.now + 60_000 * tries[one.site] if tries[one.site] < 3 else None

    post.again = again
    for number in range(300):
        post.put(site(number), offered=True)
    post.run()
    assert set(tries.values()) == {3}
    assert len(tries) == 300
    assert post.most_lanes <= 4 * FEW.lanes + FEW.window + FEW.attempts


def test_what_waited_at_the_start_is_found_in_pages_transactional_mail_first() -> None:
    post = Post()
    for number in range(100):
        post.put(site(number))
        post.put(site(number), SERVICE, NOW + 5)
        post.put(site(number), TRANSACTIONAL)
    post.ready.look_through()
    assert post.ready.look(NOW) == Look(TRANSACTIONAL, None, FEW.lanes)
    assert post.ready.look(NOW) is None, "one at a time"
    post.ready.look_failed(Look(TRANSACTIONAL, None, FEW.lanes), NOW)
    assert post.ready.look(NOW) == Look(SERVICE, None, FEW.lanes), "a class that cannot be read holds up no other"
    post.ready.looked(Look(SERVICE, None, FEW.lanes), [], NOW)
    post.now += LOAD_PAUSE
    post.run()
    assert len(post.started) == 300 - 100, "of service the spool said that there is none"
    assert [lane[0] for lane in post.started[:20]].count(TRANSACTIONAL) >= 8


def test_transactional_mail_passes_any_number_of_marketing_lanes() -> None:
    post = Post()
    for number in range(500):
        post.put(site(number), offered=True)
    post.pump()
    post.put("a.example", TRANSACTIONAL, offered=True)
    assert post.started[-1] == lane_of("a.example", TRANSACTIONAL), "its places are its own"
    for number in range(40):
        post.put(site(number), TRANSACTIONAL, offered=True)
    before = len(post.started)
    while len(post.started) < before + 30:
        post.end(1)
        post.now += 1
        post.pump()
    assert {lane[0] for lane in post.started[before:]} == {TRANSACTIONAL}, "no marketing mail before all of it has gone"


def test_a_flood_of_new_mail_starves_nobody() -> None:
    """More comes than can be sent, each to a domain of its own; what was left out before goes all the same."""
    post = Post()
    for number in range(200):
        post.put(f"old-{site(number)}", offered=True)
    flood = count(1_000)
    for _ in range(2_000):
        for _ in range(3):
            post.put(f"new-{site(next(flood))}", at=post.now, offered=True)
        post.end(2)
        post.pump()
        post.now += 10
        if sum(lane[1].startswith("old-") for lane in post.started) == 200:
            break
    assert sum(lane[1].startswith("old-") for lane in post.started) == 200
    assert len(post.started) < 3 * 200 + 3_000


def test_lanes_that_always_have_more_starve_nobody() -> None:
    """Those in memory never run dry, and are tried again and again; the others are found among them."""
    post = Post()
    post.again = lambda _: post.now + 5
    for number in range(100):
        post.put(f"busy-{site(number)}", offered=True)
    for number in range(100):
        post.put(f"left-{site(number)}", offered=True)
    seen: set[str] = set()
    for _ in range(3_000):
        post.pump()
        post.end(4)
        post.now += 1
        seen = {lane[1] for lane in post.started}
        if len(seen) == 200:
            break
    assert len(seen) == 200


def test_a_lane_that_newer_mail_brought_back_hears_of_what_was_left_out() -> None:
    ready, rows = Ready(Limits(lanes=1)), Rows()
    ready.note(lane_of("a.example"), NOW, NOW)
    old = queued(1, "b.example", at=NOW - 5)
    rows.put(old)
    ready.note(old.lane, NOW - 5, NOW)
    assert ready.stats()["lanes"] == 1, "the line is full: it is left out"
    new = queued(2, "b.example")
    rows.put(new)
    assert ready.offer(new, NOW)
    look = ready.look(NOW)
    assert look is not None
    ready.looked(look, [(old.lane, NOW - 5)], NOW)
    load = next(load for load in ready.step(NOW).loads if load.lane == old.lane)
    ready.loaded(load, rows.read(load.lane, load.until, load.limit, ready.known), NOW)
    assert [one.message.row for one in ready.step(NOW).starts] == [1]


def test_what_is_left_out_while_a_round_is_under_way_is_for_the_next() -> None:
    table = Table(MARKETING, 2, NO_GATES)
    table.look_through()
    look = table.look(NOW)
    assert look == Look(MARKETING, None, 2)
    for name in ("x", "y", "z"):
        lane = table.lane(lane_of(name))
        lane.spool_at = NOW
        table.line_up(lane, found=False)
    assert table.hungry == 2
    assert "z" not in {key[1] for key in table.lanes}
    assert table.left_out_at == NOW
    table.looked(lane_of("b"), NOW)
    assert table.look(NOW) is None, "a pause lets others to the spool"
    assert table.look(NOW + PAGE_PAUSE) == Look(MARKETING, lane_of("b"), 2)
    table.looked(None, NOW + PAGE_PAUSE)
    assert table.look(NOW + 2 * PAGE_PAUSE) == Look(MARKETING, None, 2)
    assert table.left_out_at is None


def test_a_round_waits_while_its_places_in_line_are_taken() -> None:
    table = Table(MARKETING, 2, NO_GATES)
    table.look_through()
    for name in ("a", "b"):
        table.line_up(table.lane(lane_of(name)), found=True)
    assert table.look(NOW) is None
    assert table.look_at(NOW) is None
    first = table.next_hungry()
    assert first is not None
    assert first.key == lane_of("a")
    assert table.look(NOW) is None
    table.next_hungry()
    assert table.look(NOW) == Look(MARKETING, None, 2)


@pytest.mark.parametrize("bound", [1, 5, 10_000])
def test_pages_are_bounded(bound: int) -> None:
    table = Table(SERVICE, bound, NO_GATES)
    table.look_through()
    look = table.look(NOW)
    assert look is not None
    assert look.limit == min(PAGE, bound)


def test_shedding_keeps_what_wakes_first_and_what_is_not_asleep() -> None:
    table = Table(MARKETING, 10, NO_GATES)
    awake = [table.lane(lane_of(f"awake-{number}")) for number in range(5)]
    for lane in awake:
        lane.in_flight = 1
        lane.spool_at = FOREVER
    for number in range(17):
        table.lane(lane_of(f"asleep-{number}")).spool_at = NOW + (number * 7) % 17
    kept = list(table.lanes.values())
    assert kept[:5] == awake
    times = sorted(lane.spool_at - NOW for lane in kept[5:] if lane.spool_at is not None)
    assert times[:10] == list(range(10))
    assert len(times) <= 10 + 2, "a quarter more, until it is worth the sorting again"
    assert table.left_out_at is not None
    assert table.left_out_at >= NOW + 10
    assert table.lane_for(lane_of("late"), NOW + 16) is None
    assert table.lane_for(lane_of("soon"), NOW + 9) is not None
    assert "others not before" in repr(table)
