"""Shares, what is usual, percentiles, and the hours and days of a place."""

from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from relay.reporting.figures import Answer, Figures, Row, begin_of, begins, percentile
from relay.reporting.question import DAY, ask
from tests.support.event_folder import HOUR, NOON

JERUSALEM = ZoneInfo("Asia/Jerusalem")
KOLKATA = ZoneInfo("Asia/Kolkata")
BERLIN = ZoneInfo("Europe/Berlin")


def test_shares_are_of_what_ended_and_of_what_arrived() -> None:
    figures = Figures(
        {"ended": 200, "delivered": 190, "bounced": 10, "bounced_late": 2, "complained": 19, "deferred": 50}
    )
    assert figures.value("bounces") == 12
    assert figures.value("bounce_share") == 0.06
    assert figures.value("complaint_share") == 0.1
    assert figures.value("deferral_share") == 0.2
    assert Figures().value("bounce_share") is None


def test_figures_add_up() -> None:
    one = Figures({"delivered": 1}, {3: 1})
    one.add(Figures({"delivered": 2, "bounced": 1}, {3: 2, 4: 1}))
    assert one == Figures({"delivered": 3, "bounced": 1}, {3: 3, 4: 1})


@pytest.mark.parametrize(("share", "low", "high"), [(0.5, 90, 120), (0.99, 900, 1100)])
def test_a_percentile_is_as_near_as_its_bucket(share: float, low: int, high: int) -> None:
    delays = {26: 90, 39: 10}  # 91 to 108 ms, 861 to 1024 ms
    found = percentile(delays, share)
    assert found is not None
    assert low <= found <= high


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None


def test_what_is_usual_is_as_many_as_in_a_time_as_long_and_shares_as_they_were() -> None:
    question = ask("summary", NOON - DAY, NOON)
    row = Row((), Figures(), Figures({"delivered": 700, "ended": 1000, "bounced": 300}))
    answer = Answer(question, [], row, span=7 * DAY)
    assert answer.usual(row, "delivered") == 100
    assert answer.usual(row, "bounce_share") == 0.3
    assert Answer(question, [], row, span=DAY).usual(row, "delivered") == 700
    assert Answer(question, [], row, span=0).usual(row, "bounce_share") is None


def test_the_table_has_what_stands_beside() -> None:
    row = Row(("news",), Figures({"delivered": 2}), Figures({"delivered": 7}), Figures({"delivered": 1}))
    names, rows = Answer(ask("streams", NOON - DAY, NOON, compare=DAY), [row], row, span=7 * DAY).table()
    told = dict(zip(names, rows[0], strict=True))
    assert (told["stream"], told["delivered"], told["usual_delivered"], told["compared_delivered"]) == (
        "news",
        2,
        1.0,
        1,
    )
    names, rows = Answer(ask("streams", NOON - DAY, NOON, by=["day"]), [Row((NOON,), Figures())], row).table()
    assert not [name for name in names if name.startswith(("usual", "compared"))]
    assert len(rows[0]) == len(names)


def test_hours_begin_when_the_clock_there_says() -> None:
    assert begin_of(NOON + 1, "hour", JERUSALEM) == NOON
    assert begin_of(NOON, "hour", KOLKATA) == NOON - HOUR // 2


def test_days_begin_at_midnight_there() -> None:
    assert begin_of(NOON, "day", JERUSALEM) == NOON - 14 * HOUR


def test_each_day_once_also_where_the_clocks_change() -> None:
    autumn = NOON - 27 * DAY - 12 * HOUR  # 2026-10-25T00:00Z, when Berlin has a day of 25 hours
    found = begins(autumn - 2 * DAY, autumn + 2 * DAY, "day", BERLIN)
    assert [(later - earlier) // HOUR for earlier, later in pairwise(found)] == [24, 24, 25, 24]
    assert len(begins(autumn, autumn + DAY, "hour", BERLIN)) == 24


def test_spring_has_a_day_of_23_hours() -> None:
    spring = 1_774_569_600_000  # 2026-03-27T00:00Z
    found = begins(spring, spring + 4 * DAY, "day", BERLIN)
    assert 23 in [(later - earlier) // HOUR for earlier, later in pairwise(found)]
