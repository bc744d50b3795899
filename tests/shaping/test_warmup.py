"""Warm-up: the budget of each day, and what stops its growth."""

import itertools
from datetime import UTC, date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.identity import Rate
from relay.shaping.warmup import (
    ENGAGED_ONLY,
    FEW,
    SCHEDULE,
    Day,
    Hold,
    Progress,
    day_of,
    key_of,
    may_carry,
    midnight,
    rate_of,
    words,
)

START = date(2026, 11, 23)
NEW = Progress(0, START)


def on(number: int) -> date:
    """Its day of that number, from 1."""
    return START + timedelta(days=number - 1)


def budget(progress: Progress, day: date) -> int | None:
    return progress.budget(SCHEDULE, day)


def test_the_shipped_schedule_grows_and_never_more_than_doubles() -> None:
    assert len(SCHEDULE) == 30
    assert all(a < b <= 2 * a for a, b in itertools.pairwise(SCHEDULE))


def test_each_day_has_the_budget_of_its_day() -> None:
    assert [budget(NEW, on(number)) for number in (1, 2, 3, 4)] == [250, 500, 1000, 2000]
    assert budget(NEW, on(30)) == 1_500_000


def test_after_the_schedule_it_carries_all() -> None:
    assert budget(NEW, on(31)) is None


def test_a_source_held_for_all_sites_goes_on_where_it_was_at_each() -> None:
    hold = Hold().hold(on(4), "blocklist")
    assert hold.hold(on(6), "still") == Hold(on(4), 0, "still")
    stalled = NEW.stall(on(3), "blocked")
    assert [budget(one, hold.day(on(9))) for one in (NEW, stalled)] == [2000, 1000]
    resumed = hold.resume(on(9))
    assert resumed.resume(on(10)) == resumed
    assert [budget(NEW, resumed.day(on(number))) for number in (9, 10)] == [2000, 2700]
    assert [budget(stalled, resumed.day(on(number))) for number in (9, 10)] == [1000, 2000]
    again = resumed.hold(on(10), "").resume(on(12))
    assert budget(NEW, again.day(on(12))) == 2700


def test_what_is_held_stays_and_goes_on_from_there() -> None:
    held = NEW.hold(on(4), "blocklist")
    assert [budget(held, on(number)) for number in (4, 5, 40)] == [2000, 2000, 2000]
    assert held.hold(on(9), "still") == Progress(3, on(9), True, "still")
    resumed = held.resume(on(9))
    assert [budget(resumed, on(number)) for number in (9, 10)] == [2000, 2700]


def test_a_bad_day_is_lived_again() -> None:
    stalled = NEW.stall(on(4), "blocked")
    assert stalled.stall(on(4), "blocked") == stalled
    assert [budget(stalled, on(number)) for number in (4, 5, 6)] == [2000, 2000, 2700]
    again = stalled.stall(on(5), "blocked")
    assert [budget(again, on(number)) for number in (5, 6, 7)] == [2000, 2000, 2700]


def test_an_operator_who_resumes_has_the_last_word_over_a_bad_day() -> None:
    resumed = NEW.stall(on(4), "blocked").resume(on(4))
    assert [budget(resumed, on(number)) for number in (4, 5)] == [2000, 2700]
    assert NEW.resume(on(4)) == NEW, "there is nothing to resume"


def test_what_is_held_is_not_stalled() -> None:
    held = NEW.hold(on(4), "blocklist")
    assert held.stall(on(5), "blocked") == held


def test_what_is_held_before_it_begins_begins_with_the_first_day() -> None:
    resumed = NEW.hold(on(-3), "wait").resume(on(-1))
    assert [budget(resumed, on(number)) for number in (1, 2)] == [250, 500]


@given(st.lists(st.sampled_from(["hold", "resume", "stall", "day"]), max_size=60))
def test_whatever_happens_a_budget_never_shrinks_nor_grows_by_more_than_a_day_does(steps: list[str]) -> None:
    progress, day = NEW, START
    for step in steps:
        before = progress.level_on(day)
        match step:
            case "hold":
                progress = progress.hold(day, "why")
            case "resume":
                progress = progress.resume(day)
            case "stall":
                progress = progress.stall(day, "why")
            case _:
                day += timedelta(days=1)
        assert before <= progress.level_on(day) <= before + (step == "day")


def test_a_day_is_one_of_its_time_zone() -> None:
    zone = ZoneInfo("Asia/Jerusalem")
    late = midnight(START, zone)
    assert day_of(late, zone) == START
    assert day_of(late - 1, zone) == on(0)
    assert day_of(late, UTC) == on(0)


def test_a_budget_is_a_rate_by_the_day() -> None:
    assert rate_of(250) == Rate(250, 90_000, "day", "250/day")
    assert key_of("192.0.2.1", "google") == "warmup/192.0.2.1/google"


def test_engaged_recipients_go_first_once_they_are_known() -> None:
    assert may_carry(None, 0)
    assert may_carry(True, 0)
    assert not may_carry(False, ENGAGED_ONLY - 1)
    assert may_carry(False, ENGAGED_ONLY)


@pytest.mark.parametrize(
    ("day", "why"),
    [
        (Day(START, replies=FEW - 1, bad=FEW - 1), ""),
        (Day(START, replies=100, bad=4), ""),
        (Day(START, replies=100, bad=5), "5 of 100 replies bad"),
        (Day(START, replies=1000, complaints=2), ""),
        (Day(START, replies=1000, complaints=3), "3 complaints about 1000 messages"),
        (Day(START, replies=100, complaints=1), ""),
    ],
)
def test_when_replies_or_complaints_turn_bad(day: Day, why: str) -> None:
    assert day.turned() == why
    assert day.turned() == "", "it is said once"


def test_words() -> None:
    def said(progress: Progress, number: int, used: int | None = 0, hold: Hold | None = None) -> str:
        return words(progress, hold or Hold(), SCHEDULE, START, on(number), used)

    assert said(NEW, 4, 1600) == "day 4 of 30: 1,600 of 2,000"
    assert said(NEW, 4, None) == "day 4 of 30: 2,000 a day"
    assert said(NEW.stall(on(2), "blocked"), 2) == "day 2 of 30: 0 of 500 (stopped: blocked)"
    assert said(NEW.hold(on(2), ""), 2) == "day 2 of 30: 0 of 500 (held)"
    assert said(NEW, 9, 7, Hold(on(2), 0, "blocklist")) == "day 2 of 30: 7 of 500 (held: blocklist)"
    assert said(NEW, 0) == "begins on 23 Nov"
    assert said(NEW, 31) == "warm"
