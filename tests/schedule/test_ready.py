"""What goes next: order, bounds, and nothing twice."""

import random
import sys
from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.message import Delivery, LaneKey, MailClass
from relay.pause import Pause
from relay.schedule.flight import SMALL, Key
from relay.schedule.lanes import FOREVER, Look
from relay.schedule.ready import FAULT_PAUSE, LOAD_PAUSE, Limits, Load, Ready
from tests.support.queued import NOW, SERVICE, TRANSACTIONAL, Rows, delivery, lane_of, message, queued

LANE = lane_of()


def fill(ready: Ready, deliveries: list[Delivery]) -> list[Delivery]:
    """Offers them all; returns those that start at once."""
    return [one for one in deliveries if ready.offer(one, NOW)]


def end(ready: Ready, one: Delivery, at: int | None = None, now: int = NOW) -> list[int]:
    """One attempt ends; the rows of what starts in its place."""
    ready.finished(one, at, now)
    return [started.message.row for started in ready.step(now).starts]


# -- order


def test_an_offer_starts_at_once_and_leaves_no_trace_when_done() -> None:
    ready, one = Ready(), queued(1)
    assert ready.offer(one, NOW)
    assert ready.in_flight(one.key)
    assert not ready.offer(one, NOW), "nothing is in memory twice"
    ready.finished(one, None, NOW)
    assert not ready.known
    assert ready.stats()["lanes"] == ready.stats()["in_flight"] == 0
    assert ready.step(NOW).wake_at is None


def test_a_lane_goes_in_order_and_within_its_bound() -> None:
    ready = Ready(Limits(site_attempts=2))
    started = fill(ready, [queued(row) for row in range(1, 6)])
    assert [one.message.row for one in started] == [1, 2]
    assert end(ready, started[1]) == [3]
    assert end(ready, started[0]) == [4]


def test_lanes_of_a_class_take_turns() -> None:
    ready = Ready(Limits(attempts=16))  # marketing: twelve places
    busy = fill(ready, [queued(row, f"s{row}.example") for row in range(100, 112)])
    assert not fill(ready, [queued(row, "a.example") for row in (1, 2, 3)] + [queued(row) for row in (4, 5, 6)])
    for one in busy:
        ready.finished(one, None, NOW)
    assert [one.message.row for one in ready.step(NOW).starts] == [1, 4, 2, 5, 3, 6]


def test_transactional_mail_is_first_in_line_and_has_places_of_its_own() -> None:
    ready = Ready(Limits(attempts=8, site_attempts=1))  # marketing: 6 places; service: 7
    waiting = fill(ready, [queued(row, f"m{row}.example") for row in range(1, 8)])
    assert len(waiting) == 6
    assert len(fill(ready, [queued(row, f"s{row}.example", SERVICE) for row in (11, 12)])) == 1
    assert len(fill(ready, [queued(row, f"t{row}.example", TRANSACTIONAL) for row in (21, 22)])) == 1
    assert end(ready, waiting[0]) == [22], "before the service message and the marketing one that came earlier"
    assert end(ready, waiting[1]) == []
    assert end(ready, waiting[2]) == [12]
    assert end(ready, waiting[3]) == []
    assert end(ready, waiting[4]) == [7]


def test_a_campaign_to_a_slow_site_does_not_hold_up_another_stream_to_it() -> None:
    ready = Ready(Limits(site_attempts=3))
    flying = fill(ready, [queued(row, stream="campaign") for row in range(1, 100)])
    assert len(flying) == 3
    assert not fill(ready, [queued(row, stream="receipts") for row in (101, 102)]), "the site has no more places"
    order = []
    for _ in range(4):
        one = flying.pop(0)
        ready.finished(one, None, NOW)
        flying += (starts := ready.step(NOW).starts)
        order += [one.message.stream for one in starts]
    assert order == ["campaign", "receipts", "campaign", "receipts"]


def test_a_site_gets_no_more_places_for_having_more_streams() -> None:
    ready = Ready(Limits(site_attempts=6))
    assert len(fill(ready, [queued(row, stream=f"s{row}") for row in range(50)])) == 6
    assert fill(ready, [queued(99, "small.example")])


def test_priority_decides_within_a_class_never_over_it() -> None:
    ready = Ready(Limits(attempts=8, site_attempts=1))  # marketing: six places
    busy = fill(ready, [queued(row, f"s{row}.example") for row in range(1, 7)])
    fill(ready, [queued(11, "low.example", priority=-9), queued(12, "b.example"), queued(13, "c.example", priority=9)])
    fill(ready, [queued(14, "d.example", priority=9), queued(15, "e.example", SERVICE, priority=-9)])
    order = []
    for one in busy:
        ready.finished(one, None, NOW)
        order += [started.message.row for started in ready.step(NOW).starts]
    assert order == [13, 14, 12, 11]
    assert ready.in_flight((15, 0)), "the place it has is no marketing mail's"


def test_low_priority_is_loaded_too_while_higher_lanes_always_wait() -> None:
    ready = Ready(Limits(loads=1))
    for number in range(400):
        ready.note(lane_of(f"s{number}.example", priority=9), NOW, NOW)
    ready.note(lane_of("low.example", priority=-9), NOW, NOW)
    seen = []
    for _ in range(30):
        (load,) = ready.step(NOW).loads
        seen.append(load.lane)
        ready.load_failed(load, NOW - LOAD_PAUSE)
    assert seen.index(lane_of("low.example", priority=-9)) < 8


def test_a_few_slow_sites_cannot_take_every_place() -> None:
    ready = Ready(Limits(attempts=400, site_attempts=40))
    flying = [
        len(fill(ready, [queued(site * 1000 + n, f"dead{site}.example") for n in range(100)])) for site in range(9)
    ]
    assert flying[:6] == [40] * 6
    assert sum(flying) < 300
    assert fill(ready, [queued(99_999, "alive.example")]), "there is a place for one more site"


def test_what_is_not_due_or_held_is_left_to_the_spool() -> None:
    ready = Ready()
    held = queued(1)
    held.held = True
    assert not fill(ready, [held, queued(2, at=NOW + 500)])
    assert ready.step(NOW).wake_at == NOW + 500
    assert not ready.known


# -- the spool behind the window


def test_a_burst_beyond_the_window_goes_to_the_spool_and_comes_back_in_order() -> None:
    ready, rows = Ready(Limits(site_attempts=2, lane_window=3)), Rows()
    mail = [queued(row, at=NOW + row - 100) for row in range(1, 10)]
    rows.put(*mail)
    flying = fill(ready, mail)
    order = [one.message.row for one in flying]
    assert ready.stats()["parked"] == 3
    while flying:
        one = flying.pop(0)
        del rows.rows[one.key]
        ready.finished(one, None, NOW)
        plan = ready.step(NOW)
        flying += plan.starts
        for load in plan.loads:
            following: Load | None = load
            while following:
                following = ready.loaded(
                    following, rows.read(following.lane, following.until, following.limit, ready.known), NOW
                )
            flying += ready.step(NOW).starts
        order += [started.message.row for started in flying if started.message.row not in order]
    assert order == list(range(1, 10))
    assert ready.stats()["lanes"] == 0


def test_offers_queue_behind_what_is_due_in_the_spool() -> None:
    ready = Ready()
    ready.note(LANE, NOW - 1, NOW)
    assert not ready.offer(queued(2), NOW)
    assert not ready.known
    (load,) = ready.step(NOW).loads
    assert ready.loaded(load, [queued(1, at=NOW - 1), queued(2)], NOW) == Load(LANE, FOREVER, 1)
    assert [one.message.row for one in ready.step(NOW).starts] == [1, 2]


def test_older_rows_go_before_what_was_offered_while_they_were_read() -> None:
    ready = Ready(Limits(site_attempts=1))
    first = queued(1)
    assert ready.offer(first, NOW)
    ready.note(LANE, NOW, NOW)
    (load,) = ready.step(NOW).loads
    assert not ready.offer(queued(9), NOW)
    ready.loaded(load, [queued(2, at=NOW - 5)], NOW)
    assert end(ready, first) == [2]


def test_after_the_last_due_row_the_next_ones_time_is_asked_for() -> None:
    ready = Ready()
    ready.note(LANE, NOW + 1_000, NOW)
    assert ready.step(NOW) == ([], [], NOW + 1_000)
    (load,) = ready.step(NOW + 1_000).loads
    peek = ready.loaded(load, [], NOW + 1_000)
    assert peek == Load(LANE, FOREVER, 1)
    assert ready.loaded(peek, [queued(1, at=NOW + 9_000)], NOW + 1_000) is None
    assert not ready.known, "what is not due stays in the spool"
    assert ready.step(NOW + 1_000) == ([], [], NOW + 9_000)


def test_a_deferred_delivery_is_not_kept_but_its_time_is() -> None:
    ready = Ready()
    late, early = queued(1), queued(2)
    fill(ready, [late, early])
    ready.finished(late, NOW + 9_000, NOW)
    ready.finished(early, NOW + 4_000, NOW)
    assert not ready.known
    assert ready.step(NOW).wake_at == NOW + 4_000
    assert ready.step(NOW + 4_000).loads == [Load(LANE, NOW + 4_000, 80)]


def test_a_row_read_before_its_delivery_ended_is_stale() -> None:
    ready = Ready()
    one, other = queued(1), queued(2)
    fill(ready, [one, other])
    ready.note(LANE, NOW, NOW)
    (load,) = ready.step(NOW).loads
    ready.finished(one, None, NOW)
    ready.finished(other, NOW + 7_000, NOW)
    peek = ready.loaded(load, [queued(1), queued(2)], NOW)
    assert peek is not None
    ready.loaded(peek, [], NOW)
    assert ready.step(NOW) == ([], [], NOW + 7_000)


def test_a_failed_read_is_tried_again_after_a_pause() -> None:
    ready = Ready()
    ready.note(LANE, NOW, NOW)
    (load,) = ready.step(NOW).loads
    ready.load_failed(load, NOW)
    assert ready.step(NOW) == ([], [], NOW + LOAD_PAUSE)
    assert len(ready.step(NOW + LOAD_PAUSE).loads) == 1


def test_reads_are_few_at_a_time_and_transactional_ones_first() -> None:
    ready = Ready(Limits(loads=2))
    for site in range(5):
        ready.note(lane_of(f"s{site}.example"), NOW, NOW)
    ready.note(lane_of("t.example", TRANSACTIONAL), NOW, NOW)
    loads = ready.step(NOW).loads
    assert [load.lane for load in loads] == [lane_of("t.example", TRANSACTIONAL), lane_of("s0.example")]
    assert not ready.step(NOW).loads


# -- bounds


def test_a_dead_destination_takes_little_memory_and_nobody_elses_place() -> None:
    ready = Ready()
    limits = ready.limits
    started = fill(ready, [queued(row, "dead.example") for row in range(20_000)])
    assert len(started) == limits.site_attempts
    assert ready.stats()["parked"] == limits.lane_window
    assert len(ready.known) == limits.lane_window + limits.site_attempts
    assert fill(ready, [queued(99_999, "alive.example")])


def test_offers_leave_room_in_the_window_for_what_the_spool_holds() -> None:
    ready = Ready(Limits(window=100, lane_window=30, site_attempts=1, attempts=8, loads=20))
    fill(ready, [queued(site * 100 + n, f"dead{site}.example") for site in range(10) for n in range(30)])
    assert ready.stats()["parked"] == 50
    ready.note(lane_of("alive.example"), NOW, NOW)
    assert "alive.example" in {load.lane[1] for load in ready.step(NOW).loads}


def test_marketing_never_fills_the_room_of_transactional_mail() -> None:
    ready = Ready(Limits(window=100, site_attempts=50, loads=9))
    for site in range(4):
        ready.note(lane_of(f"s{site}.example"), NOW, NOW)
    assert [load.limit for load in ready.step(NOW).loads] == [75]
    ready.note(lane_of("t.example", TRANSACTIONAL), NOW, NOW)
    assert ready.step(NOW).loads == [Load(lane_of("t.example", TRANSACTIONAL), NOW, 25)]


def test_contents_stay_within_their_budget_and_are_counted_once_a_message() -> None:
    ready = Ready(Limits(site_attempts=1, content_bytes=250))
    blocker, many = queued(1), message(2, content=bytes(100))
    fill(ready, [blocker, *(delivery(many, index=index) for index in range(5))])
    assert ready.stats()["content_bytes"] == 100
    second, third = message(3, content=bytes(100)), message(4, content=bytes(100))
    fill(ready, [delivery(second), delivery(third)])
    assert ready.stats()["content_bytes"] == 200
    assert second.content is not None
    assert third.content is None, "read back from the spool at its attempt"
    current = blocker
    for _ in range(7):
        ready.finished(current, None, NOW)
        (current,) = ready.step(NOW).starts
    assert ready.stats()["content_bytes"] == 0


def test_a_forgotten_delivery_gives_its_content_back() -> None:
    ready = Ready(Limits(site_attempts=1))
    parked = delivery(message(2, content=bytes(100)))
    fill(ready, [queued(1), parked])
    ready.forget([parked.key], NOW)
    assert ready.stats()["content_bytes"] == ready.stats()["parked"] == 0


def test_large_messages_in_flight_stay_within_theirs() -> None:
    large = 30 * SMALL
    ready = Ready(Limits(flight_bytes=120 * SMALL))
    started = fill(ready, [queued(row, size=large) for row in (1, 2)])
    assert [one.message.row for one in started] == [1], "half the budget for one lane"
    started += fill(ready, [queued(row, f"s{row}.example", size=large) for row in (3, 4, 5)])
    assert [one.message.row for one in started] == [1, 3, 4]
    assert fill(ready, [queued(6, "s6.example")]), "small ones pass"
    assert not ready.step(NOW).starts
    assert end(ready, started[1]) == [5]
    assert end(ready, started[0]) == [2]


def test_one_message_beyond_every_budget_goes_alone() -> None:
    ready = Ready(Limits(flight_bytes=SMALL))
    assert fill(ready, [queued(1, size=99 * SMALL)])
    assert not fill(ready, [queued(2, "c.example", size=99 * SMALL)])


def test_superseded_alarms_do_not_pile_up() -> None:
    ready = Ready()
    for n in range(10_000):
        ready.note(LANE, NOW + 1_000_000 - n, NOW)
    assert len(ready._alarms) <= 1_002
    assert ready.step(NOW).wake_at == NOW + 990_001


def test_a_decision_costs_the_same_whatever_waits() -> None:
    def calls(lanes: int) -> int:
        ready = Ready()
        for site in range(lanes):
            ready.note(lane_of(f"s{site}.example"), NOW + 5_000, NOW)
        fill(ready, [queued(row, "dead.example") for row in range(lanes)])
        one, seen = queued(99_999), 0

        def look(*_: object) -> None:
            nonlocal seen
            seen += 1

        sys.setprofile(look)
        try:
            ready.offer(one, NOW)
            ready.finished(one, None, NOW)
            ready.step(NOW)
        finally:
            sys.setprofile(None)
        return seen

    assert calls(3_000) == calls(60)


# -- faults and commands


def test_after_a_fault_a_delivery_is_loaded_again_but_not_at_once() -> None:
    ready, rows, one = Ready(), Rows(), queued(1)
    rows.put(one)
    ready.offer(one, NOW)
    ready.failed(one, NOW)
    assert not ready.in_flight(one.key)
    assert ready.step(NOW) == ([], [], NOW + FAULT_PAUSE)
    ready.note(LANE, NOW, NOW)
    (load,) = ready.step(NOW).loads
    assert rows.read(load.lane, load.until, load.limit, ready.known) == []
    peek = ready.loaded(load, [], NOW)
    assert peek is not None
    ready.loaded(peek, [], NOW)
    (load,) = ready.step(NOW + FAULT_PAUSE).loads
    ready.loaded(load, rows.read(load.lane, load.until, load.limit, ready.known), NOW + FAULT_PAUSE)
    assert len(ready.step(NOW + FAULT_PAUSE).starts) == 1


def test_a_retry_by_hand_lifts_the_pause_and_its_end_does_no_harm() -> None:
    ready, one = Ready(), queued(1)
    ready.offer(one, NOW)
    ready.failed(one, NOW)
    ready.forget([one.key], NOW)
    assert ready.offer(queued(1), NOW)
    ready.step(NOW + FAULT_PAUSE)
    assert ready.in_flight(one.key)
    assert one.key in ready.known


def test_a_claim_keeps_rows_out_until_it_ends() -> None:
    ready = Ready(Limits(site_attempts=1))
    flying, parked, stored = queued(1), queued(2), queued(3)
    fill(ready, [flying, parked])
    assert ready.claim([flying.key, parked.key, stored.key], NOW) == [parked.key, stored.key]
    assert end(ready, flying) == []
    ready.note(LANE, NOW, NOW)
    (load,) = ready.step(NOW).loads
    ready.loaded(load, [queued(2), queued(3), queued(4)], NOW)
    assert [one.message.row for one in ready.step(NOW).starts] == [4], "a read under way does not bring them back"
    ready.forget([parked.key, stored.key], NOW)
    assert set(ready.known) == {(4, 0)}


def test_forgetting_spoils_a_read_under_way_but_nothing_in_flight() -> None:
    ready = Ready()
    flying = queued(1)
    fill(ready, [flying])
    ready.note(LANE, NOW, NOW)
    (load,) = ready.step(NOW).loads
    ready.forget([flying.key, (2, 0)], NOW)
    ready.loaded(load, [queued(2)], NOW)
    assert not ready.step(NOW).starts
    assert ready.in_flight(flying.key)


def test_long_lived_objects_tell_their_state() -> None:
    ready = Ready(Limits(site_attempts=1))
    fill(ready, [queued(1), queued(2)])
    assert repr(ready) == "<Ready: 1 parked, 1 in flight, 1 lanes>"
    lane = ready.known[(1, 0)]
    assert repr(lane) == "<Lane marketing b.example news 0: 1 parked, 1 in flight, spool at None>"
    assert ready.stats()["in_flight_marketing"] == 1


# -- everything together


class World:
    """Ready among a spool that answers late, attempts that end as they like, and an operator. Checks as it goes.

    `sites` are many or few beside the `lanes` that memory may hold; the spool may hold mail from before the start.
    """

    def __init__(self, seed: int, sites: str = "abc", lanes: int = 10_000) -> None:
        self.random = random.Random(seed)
        self.sites = sites
        self.ready = Ready(
            Limits(
                attempts=6,
                site_attempts=3,
                window=16,
                lane_window=5,
                content_bytes=500,
                flight_bytes=3 * SMALL,
                loads=2,
                lanes=lanes,
            )
        )
        self.rows = Rows()
        self.now = NOW
        self.numbers = count(1)
        self.flying: dict[Key, Delivery] = {}
        self.committed: list[tuple[Delivery, int | None]] = []
        self.uncommitted_offers: list[Delivery] = []
        self.reads: list[tuple[Load, list[Delivery] | None]] = []
        self.claimed: list[Key] = []
        self.looks: list[tuple[Look, list[tuple[LaneKey, int]] | None]] = []
        self.quiet = False
        self.most_bare = 0
        for _ in range(self.random.choice([0, 20])):
            at, (stream, priority) = NOW + self.random.choice([-5, 0, 700]), self.anyones()
            self.rows.put(queued(next(self.numbers), *self.anywhere(), at, stream=stream, priority=priority))
        self.ready.look_through()

    def anywhere(self) -> tuple[str, MailClass]:
        return f"{self.random.choice(self.sites)}.example", self.random.choice(list(MailClass))

    def anyones(self) -> tuple[str, int]:
        return self.random.choice(["news", "news", "offers", *"abcd"]), self.random.choice([0, 0, 9, -3])

    def start(self, deliveries: list[Delivery]) -> None:
        for one in deliveries:
            assert one.key not in self.flying, "started twice"
            assert one.key in self.rows.rows, "started after its end"
            assert one.key not in self.claimed, "started under a claim"
            assert one.next_attempt <= self.now
            self.flying[one.key] = one

    def pump(self) -> None:
        look = self.ready.look(self.now)
        if look is not None:
            self.looks.append((look, None))
        assert len(self.looks) <= 1
        plan = self.ready.step(self.now)
        self.start(plan.starts)
        self.reads += [(load, None) for load in plan.loads]
        stats = self.ready.stats()
        assert stats["in_flight"] == len(self.flying) + len(self.committed) <= 6
        assert stats["parked"] <= 16
        assert stats["loading"] <= 2
        assert self.ready._contents.held <= 500
        lanes = [lane for table in self.ready._tables for lane in table.lanes.values()]
        for group in {lane.group for lane in lanes}:
            own = [lane for lane in lanes if lane.group is group]
            assert group.in_flight == sum(lane.in_flight for lane in own)
            assert group.parked == sum(len(lane.parked) for lane in own)
            assert group.large == sum(lane.large for lane in own)
            assert group.lanes == len(own)
        waiting = Counter(lane.key[0] for lane in lanes if not (lane.parked or lane.in_flight or lane.loading))
        self.most_bare = max([self.most_bare, *waiting.values()])
        self.wake_at = plan.wake_at

    def accept(self) -> None:
        site, mail_class = self.anywhere()
        stream, priority = self.anyones()
        content = bytes(self.random.choice([50, 2 * SMALL]))
        about = message(next(self.numbers), mail_class, content=content, stream=stream, priority=priority)
        at = self.now + self.random.choice([0, 0, 0, 900])
        mail = [delivery(about, site, at, index) for index in range(self.random.choice([1, 1, 3]))]
        self.rows.put(*mail)
        for one in mail:
            if self.ready.offer(one, self.now):
                self.start([one])

    def commit(self) -> None:
        """An attempt's result is on disk, but the attempt has not returned."""
        if self.flying:
            one = self.flying.pop(self.random.choice(list(self.flying)))
            again = None if self.quiet or self.random.random() < 0.6 else self.now + self.random.choice([0, 300, 2_000])
            if again is None:
                del self.rows.rows[one.key]
            else:
                self.rows.rows[one.key] = one.lane, again
            self.committed.append((one, again))

    def return_(self) -> None:
        if self.committed:
            one, again = self.committed.pop(self.random.randrange(len(self.committed)))
            self.ready.finished(one, again, self.now)

    def no_room(self) -> None:
        """An attempt comes back: its row is as it was."""
        if self.flying and not self.quiet:
            one = self.flying.pop(self.random.choice(list(self.flying)))
            until = self.now + self.random.choice([-5, 3, 400, 5_000])
            site, limit = self.random.choice([("", ""), ("", "cold"), ("", "cold"), ("big", "warm"), ("big", "cold")])
            self.ready.paused(one, Pause(until, "", site, limit), self.now)

    def going(self) -> None:
        """One or another finds room, and goes on."""
        for one in self.random.sample(list(self.flying.values()), len(self.flying) // 2):
            self.ready.going(one, self.now)

    def resume(self) -> None:
        self.ready.resume(self.random.choice([None, "big", f"{self.random.choice(self.sites)}.example"]), self.now)

    def fault(self) -> None:
        if self.flying and not self.quiet:
            self.ready.failed(self.flying.pop(self.random.choice(list(self.flying))), self.now)

    def read(self) -> None:
        """The spool's thread has read; its answer is on the way."""
        for place, (load, answer) in enumerate(self.reads):
            if answer is None:
                self.reads[place] = load, self.rows.read(load.lane, load.until, load.limit, self.ready.known)
                return

    def hand_over(self) -> None:
        for place, (load, answer) in enumerate(self.reads):
            if answer is not None:
                del self.reads[place]
                if self.random.random() < 0.1 and not self.quiet:
                    self.ready.load_failed(load, self.now)
                elif (following := self.ready.loaded(load, answer, self.now)) is not None:
                    self.reads.append((following, None))
                return

    def look(self) -> None:
        """The spool's thread has looked for lanes."""
        if self.looks and self.looks[0][1] is None:
            look = self.looks[0][0]
            self.looks[0] = look, self.rows.read_lanes(*look)

    def look_over(self) -> None:
        if self.looks and self.looks[0][1] is not None:
            look, found = self.looks.pop()
            if self.random.random() < 0.1 and not self.quiet:
                self.ready.look_failed(look, self.now)
            else:
                self.ready.looked(look, found or [], self.now)

    def claim(self) -> None:
        if not self.quiet and not self.claimed and self.rows.rows:
            at_rest = self.flying.keys() | {one.key for one, _ in self.committed}
            keys = self.random.sample(sorted(self.rows.rows), min(3, len(self.rows.rows)))
            self.claimed = self.ready.claim(keys, self.now)
            assert set(self.claimed) == set(keys) - at_rest

    def forget(self) -> None:
        """A command's change is committed: some are cancelled, some due at once."""
        for key in self.claimed:
            if self.random.random() < 0.5:
                del self.rows.rows[key]
            else:
                self.rows.rows[key] = self.rows.rows[key][0], self.now
        self.ready.forget(self.claimed, self.now)
        for key in self.claimed:
            if key in self.rows.rows:
                self.ready.note(self.rows.rows[key][0], self.now, self.now)
        self.claimed = []

    def pass_time(self) -> None:
        self.now += self.random.choice([1, 100, 1_000])

    def run(self, steps: int) -> None:
        work = [self.commit, self.return_, self.read, self.hand_over, self.look, self.look_over]
        trouble = [
            self.accept,
            self.accept,
            self.accept,
            self.no_room,
            self.no_room,
            self.going,
            self.resume,
            self.fault,
            self.claim,
            self.forget,
            self.pass_time,
        ]
        for _ in range(steps):
            self.random.choice(work + work + trouble)()
            self.pump()
        self.quiet = True
        self.forget()
        for _ in range(40 * (len(self.rows.rows) + 10)):
            under_way = self.reads or self.looks
            if not self.rows.rows and not self.ready.known and not under_way and self.wake_at is None:
                break
            for step in (*work, *work):
                step()
                self.pump()
            busy = self.reads or self.flying or self.committed or self.looks
            if not busy and self.wake_at is not None:
                self.now = max(self.now, self.wake_at)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([("a", 10_000), ("abc", 10_000), ("abcdefghijkl", 1), ("abc", 3)]))
def test_whatever_happens_nothing_is_sent_twice_lost_or_kept(seed: int, size: tuple[str, int]) -> None:
    sites, lanes = size
    world = World(seed, sites, lanes)
    world.run(steps=400)
    # In line for a load: those of rounds, as many others, and what was in memory when it joined (16 + 6). Asleep: as many
    # and a quarter, and at worst what was in line when they were last counted.
    assert world.most_bare <= 6 * lanes + 16 + 6
    world.ready.step(world.now + FAULT_PAUSE)  # pauses that a command has lifted run out
    assert not world.rows.rows, "everything had its attempt"
    assert not world.ready.known
    stats = world.ready.stats()
    assert {name: number for name, number in stats.items() if number} == {}
    assert not world.ready._flight.large
    assert repr(world.ready._gates) == "<Gates: 0 before 0 lanes, 0 kept>"
    assert not world.ready._gates.unsure
    assert not world.ready._reserved


@pytest.mark.parametrize("mail_class", list(MailClass))
def test_every_class_gets_its_turn_with_a_single_place(mail_class: MailClass) -> None:
    ready = Ready(Limits(attempts=1, site_attempts=1, window=1))
    assert ready.offer(queued(1, mail_class=mail_class), NOW)


def test_a_lane_says_what_it_waits_for_also_where_memory_has_left_it_out() -> None:
    ready = Ready()
    one, other = queued(1), queued(2, "c.example")
    for each in (one, other):
        assert ready.offer(each, NOW)
    assert ready.flying() == {one.lane: 1, other.lane: 1}
    assert ready.pause_of(one.lane) is None
    ready.paused(one, Pause(NOW + 60_000, "1/day", limit="cold"), NOW)
    assert ready.pause_of(one.lane) == Pause(NOW + 60_000, "1/day", "b.example", "cold")
    assert ready.pause_of(other.lane) is None
    assert ready.pause_of(lane_of(stream="another")) == ready.pause_of(one.lane), "with others of its site"
    assert ready.pause_of(lane_of(mail_class=TRANSACTIONAL)) is None
    assert ready.flying() == {other.lane: 1}
