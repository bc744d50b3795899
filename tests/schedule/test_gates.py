"""A lane whose site has no room: asked seldom, opened gently, small in memory, and nobody else's concern."""

from collections import Counter

import pytest

from relay.message import Delivery
from relay.pause import Pause
from relay.schedule.gates import LONGEST, PROBE
from relay.schedule.lanes import Lane
from relay.schedule.ready import Limits, Load, Ready
from tests.support.queued import MARKETING, NOW, TRANSACTIONAL, Rows, lane_of, queued

LANE = lane_of()


class Site:
    """Ready over rows in a spool, and a site with a rate: permits that come all at once each `every` ms. Who finds none is
    told when the next ones come. What has a permit is sent at once."""

    def __init__(self, limits: Limits, permits: int, every: int) -> None:
        self.ready, self.rows, self.now = Ready(limits), Rows(), NOW
        self.permits, self.every = permits, every
        self.left = permits
        self.sent: list[Delivery] = []
        self.refused = self.loads = self.most_parked = 0

    def pump(self) -> int | None:
        plan = self.ready.step(self.now)
        for load in plan.loads:
            self.loads += 1
            following: Load | None = load
            while following is not None:
                rows = self.rows.read(following.lane, following.until, following.limit, self.ready.known)
                following = self.ready.loaded(following, rows, self.now)
        for one in plan.starts:
            self.attempt(one)
        self.most_parked = max(self.most_parked, self.ready.stats()["parked"])
        return self.now if plan.starts or plan.loads else plan.wake_at

    def attempt(self, one: Delivery) -> None:
        if self.left:
            self.left -= 1
            self.sent.append(one)
            del self.rows.rows[one.key]
            self.ready.finished(one, None, self.now)
        else:
            self.refused += 1
            turn = (self.now - NOW) // self.every + 1
            self.ready.paused(one, Pause(NOW + turn * self.every, "1/s"), self.now)

    def run(self, until: int) -> None:
        while (at := self.pump()) is not None and at <= until:
            before = (self.now - NOW) // self.every
            self.now = max(self.now, at)
            if (self.now - NOW) // self.every > before:
                self.left = self.permits


def of_stream(site: Site, row: int, number: int, stream: str, priority: int = 0, name: str = "google") -> None:
    for n in range(number):
        site.rows.put(queued(row + n, name, stream=stream, priority=priority))
    site.ready.note(lane_of(name, stream=stream, priority=priority), NOW, NOW)


def filled(site: Site, lanes: list[tuple[str, int]]) -> Site:
    row = 0
    for name, number in lanes:
        for _ in range(number):
            row += 1
            site.rows.put(queued(row, name))
        site.ready.note(lane_of(name), NOW, NOW)
    return site


def test_a_lane_at_its_rate_asks_in_vain_no_more_often_than_it_sends_and_seldom_reads() -> None:
    site = filled(Site(Limits(), permits=1, every=100), [("google", 1_000)])
    site.run(NOW + 60_050)
    assert [one.message.row for one in site.sent] == list(range(1, 602)), "in order, and none of its permits is left"
    assert site.refused <= len(site.sent) + 40, "and those of before it was known"
    assert site.loads <= 601 / 40 + 2
    assert site.ready.stats()["paused"] == 1
    assert site.ready.pauses() == [(MARKETING, Pause(NOW + 60_100, "1/s", "google"))]


@pytest.mark.parametrize(("permits", "every"), [(20, 50), (1_000, 1_000), (9_000, 60_000)])
def test_a_lane_that_opens_is_soon_at_its_rate(permits: int, every: int) -> None:
    site = filled(Site(Limits(), permits, every), [("google", 12_000)])
    turns = 3
    site.run(NOW + turns * every - 1)
    assert len(site.sent) == min(turns * permits, 12_000)
    assert site.refused <= turns * 2 * Limits().site_attempts


def test_lanes_at_one_limit_share_it() -> None:
    site = filled(Site(Limits(), permits=7, every=100), [("google", 900), ("googlemail", 900), ("gmail", 900)])
    site.run(NOW + 30_050)
    shares = [sum(one.site == name for one in site.sent) for name in ("google", "googlemail", "gmail")]
    assert sum(shares) == 7 * 301
    assert min(shares) >= 0.8 * max(shares)


def test_streams_share_what_their_site_takes_and_priority_takes_most_of_it() -> None:
    site = Site(Limits(), permits=1, every=100)
    of_stream(site, 10_000, 1_500, "campaign")
    of_stream(site, 20_000, 1_500, "letter")
    of_stream(site, 30_000, 1_500, "notice", priority=5)
    site.run(NOW + 80_000)
    shares = Counter(one.message.stream for one in site.sent)
    assert site.left == 0
    assert sum(shares.values()) == 801
    assert shares["notice"] > 4 * (shares["campaign"] + shares["letter"])
    assert min(shares["campaign"], shares["letter"]) >= 30, "and nobody starves"


def test_mail_of_another_limit_goes_on_and_what_met_the_same_waits_together() -> None:
    ready = Ready()
    cold, warm, other = (queued(row, stream=stream) for row, stream in enumerate(("a", "b", "c"), 1))
    for one in (cold, warm, other):
        assert ready.offer(one, NOW)
    ready.paused(cold, Pause(NOW + 60_000, "1/day", limit="cold"), NOW)
    ready.paused(other, Pause(NOW + 50_000, "1/day", limit="cold"), NOW)
    assert ready.step(NOW).starts == []
    assert ready.offer(queued(4, stream="b"), NOW), "its pool has room"
    assert not ready.offer(queued(5, stream="c"), NOW)
    ready.finished(warm, None, NOW)
    assert ready.pauses() == [(MARKETING, Pause(NOW + 60_000, "1/day", "b.example", "cold"))]
    assert ready.stats()["paused"] == 2
    assert [one.message.row for one in ready.step(NOW + 60_000).starts] == [1], "one asks for both"
    assert [one.message.row for one in ready.step(NOW + 60_000 + PROBE).starts] == [3]


def test_domains_that_turn_out_to_be_one_site_share_its_gate() -> None:
    ready = Ready(Limits(site_attempts=2))
    mail = [queued(row, f"d{row}.example") for row in range(5)]
    for one in mail:
        assert ready.offer(one, NOW), "as yet each is a site of its own"
    for one in mail:
        ready.paused(one, Pause(NOW + 60_000, site="google", limit="marketing"), NOW)
    assert ready.pauses() == [(MARKETING, Pause(NOW + 60_000, "", "google", "marketing"))]
    assert ready.resume("d1.example", NOW) == 0
    assert ready.resume("google", NOW) == 1
    assert len(ready.step(NOW).starts) == 1
    assert len(ready.step(NOW + PROBE).starts) == 1
    assert ready.step(NOW + 2 * PROBE).starts == [], "it has as many places as one site"
    assert ready.stats()["paused"] == 0


def test_after_a_reload_nobody_is_held_to_a_limit_of_before() -> None:
    ready = Ready()
    mail = [queued(row, stream=f"s{row}") for row in range(5)]
    for one in mail:
        assert ready.offer(one, NOW)
    for one in mail:
        ready.paused(one, Pause(NOW + 60_000, limit="cold"), NOW)
    assert ready.resume(None, NOW) == 1
    assert len(ready.step(NOW).starts) == 5
    assert ready.stats()["paused"] == 0


def test_very_many_streams_at_a_paused_site_each_get_their_turn() -> None:
    site = Site(Limits(window=40, site_attempts=4), permits=3, every=100)
    for number in range(200):
        of_stream(site, 100 * number, 3, f"s{number}")
    site.run(NOW + 25_000)
    assert not site.rows.rows
    assert site.most_parked <= 40
    assert site.ready.stats()["lanes"] == 0


def test_very_many_paused_lanes_leave_the_window_to_the_others() -> None:
    limits = Limits(window=100)
    site = Site(limits, permits=0, every=60_000)
    filled(site, [(f"s{number}", 3) for number in range(1_000)])
    site.run(NOW + 50_000)
    stats = site.ready.stats()
    assert stats["paused"] == stats["lanes"] == 1_000
    assert site.refused == 3_000, "all that flew came back, and nobody asked again"
    assert stats["parked"] <= limits.window // 4
    site.permits = site.left = 50
    row = 100_000
    site.rows.put(queued(row, "free.example"))
    site.ready.note(lane_of("free.example"), NOW, NOW)
    site.run(site.now + 10)
    assert [one.message.row for one in site.sent] == [row]


def test_lanes_that_memory_cannot_hold_are_asked_again_by_the_next_round_and_lose_nothing() -> None:
    site = Site(Limits(lanes=20), permits=0, every=60_000)
    for number in range(300):
        site.rows.put(queued(number + 1, f"s{number:03d}"))
    site.ready.look_through()
    for _ in range(2_000):
        look = site.ready.look(site.now)
        if look is not None:
            site.ready.looked(look, site.rows.read_lanes(*look), site.now)
        site.pump()
        site.now += 1
        assert site.ready.stats()["lanes"] <= 2 * 20 + 20 // 4 + 2_500
    assert site.refused >= 300
    site.permits = site.left = 300
    for _ in range(70_000):
        look = site.ready.look(site.now)
        if look is not None:
            site.ready.looked(look, site.rows.read_lanes(*look), site.now)
        wake_at = site.pump()
        site.now = max(site.now, wake_at or site.now) if look is None else site.now + 1
        if not site.rows.rows:
            break
    assert not site.rows.rows


def test_what_is_paused_waits_where_it_was() -> None:
    ready = Ready(Limits(site_attempts=3))
    mail = [queued(row, at=NOW - 9 + row) for row in range(1, 6)]
    flying = [one for one in mail if ready.offer(one, NOW)]
    assert [one.message.row for one in flying] == [1, 2, 3]
    for one in (flying[1], flying[2], flying[0]):
        ready.paused(one, Pause(NOW + 1_000), NOW)
    assert ready.step(NOW) == ([], [], NOW + 1_000)
    order = []
    now = NOW + 1_000
    while plan := ready.step(now):
        for one in plan.starts:
            order.append(one.message.row)
            ready.finished(one, None, now)
        if plan.wake_at is None:
            break
        now = max(now, plan.wake_at)
    assert order == [1, 2, 3, 4, 5]
    assert not ready.known


def test_an_offer_to_a_lane_that_waits_waits_too_and_other_lanes_go_on() -> None:
    ready = Ready()
    first = queued(1)
    assert ready.offer(first, NOW)
    ready.paused(first, Pause(NOW + 1_000), NOW)
    assert not ready.offer(queued(2), NOW)
    assert ready.offer(queued(3, mail_class=TRANSACTIONAL), NOW)
    assert ready.offer(queued(4, "c.example"), NOW)
    assert ready.step(NOW + 999).starts == []
    assert [one.message.row for one in ready.step(NOW + 1_000).starts] == [1]


def test_of_several_pauses_the_latest_counts_but_none_is_longer_than_the_bound() -> None:
    ready = Ready()
    mail = [queued(row) for row in (1, 2, 3)]
    for one in mail:
        assert ready.offer(one, NOW)
    for one, until in zip(mail, (NOW + 500, NOW + 900, NOW + 100), strict=True):
        ready.paused(one, Pause(until), NOW)
    assert ready.step(NOW + 899).starts == []
    (one,) = ready.step(NOW + 900).starts
    ready.paused(one, Pause(NOW + 10 * LONGEST), NOW + 900)
    assert ready.step(NOW + 900 + LONGEST - 1).starts == []
    assert ready.step(NOW + 900 + LONGEST).starts == [one]


def test_a_pause_that_is_over_when_it_comes_back_does_not_spin() -> None:
    ready, one = Ready(), queued(1)
    assert ready.offer(one, NOW)
    ready.paused(one, Pause(NOW - 5), NOW)
    assert ready.step(NOW) == ([], [], NOW + PROBE)


def test_pauses_end_early_where_there_is_room_again() -> None:
    ready = Ready()
    mail = [queued(row, f"s{row}.example") for row in (1, 2, 3)]
    for one in mail:
        assert ready.offer(one, NOW)
        ready.paused(one, Pause(NOW + 60_000), NOW)
    assert ready.resume("s2.example", NOW) == 1
    assert [one.message.row for one in ready.step(NOW).starts] == [2]
    assert ready.resume("s2.example", NOW) == 0
    assert ready.resume("elsewhere.example", NOW) == 0
    assert ready.resume(None, NOW) == 3, "the one that is being asked is free as well"
    assert [one.message.row for one in ready.step(NOW).starts] == [1, 3]
    assert ready.step(NOW + 60_000) == ([], [], None), "nothing is left of what was superseded"


def test_what_a_lane_holds_beyond_its_share_goes_back_to_the_spool_and_comes_again() -> None:
    ready, rows = Ready(Limits(site_attempts=2, window=40)), Rows()
    mail = [queued(row, at=NOW + row - 100) for row in range(1, 16)]
    rows.put(*mail)
    flying = [one for one in mail if ready.offer(one, NOW)]
    assert ready.stats()["parked"] == 13
    ready.paused(flying[0], Pause(NOW + 10), NOW)
    assert ready.stats()["parked"] == 4, "the first ones, twice as many as may fly"
    assert len(ready.known) == 5
    del rows.rows[flying[1].key]
    ready.finished(flying[1], None, NOW)
    order, now = [], NOW
    for _ in range(100):
        plan = ready.step(now)
        for load in plan.loads:
            following: Load | None = load
            while following is not None:
                found = rows.read(following.lane, following.until, following.limit, ready.known)
                following = ready.loaded(following, found, now)
        for one in plan.starts:
            order.append(one.message.row)
            del rows.rows[one.key]
            ready.finished(one, None, now)
        now = max(now, plan.wake_at or now)
    assert order == [1, *range(3, 16)]
    assert ready.stats()["lanes"] == 0


def test_superseded_openings_do_not_pile_up() -> None:
    ready, one = Ready(), queued(1)
    assert ready.offer(one, NOW)
    for n in range(5_000):
        ready.paused(one, Pause(NOW + 100_000 + n, limit="warm"), NOW)
        ready.resume("b.example", NOW)
        assert ready.step(NOW).starts == [one]
    assert len(ready._gates.openings) <= 1_002
    lane = ready.known[one.key]
    assert isinstance(lane, Lane)
    gate = f"<Gate: shut until {NOW + PROBE}, 1 given>"
    assert repr(lane.group) == f"<Group marketing b.example by warm: 1 lanes, 0 parked, 1 in flight, {gate}>"
