import re
from datetime import UTC
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.web.desk.chart import BOTTOM, HEIGHT, LEFT, TOP, Drawing, Line, bars, curves
from tests.support.event_folder import DAY, HOUR, NOON

FOOT = HEIGHT - BOTTOM
HOURS = [NOON + number * HOUR for number in range(24)]


def drawn(*lines: Line, begins: list[int] | None = None, step: str = "hour") -> Drawing:
    return bars("Bounced per hour", begins or HOURS, step, lines, UTC)


def test_layers_stand_on_each_other_up_to_the_rule_of_their_sum() -> None:
    drawing = drawn(Line("a", [10, 0, *[0] * 22]), Line("b", [30, 5, *[0] * 22]))
    first, second, *rest = drawing.columns
    low, high = first.blocks
    assert (low.tone, high.tone) == (0, 1)
    assert low.y + low.height == pytest.approx(FOOT)
    assert high.y + high.height == pytest.approx(low.y)
    assert high.height == pytest.approx(3 * low.height, abs=0.1)
    assert high.y == pytest.approx(next(rule.y for rule in drawing.rules if rule.label == "40"), abs=0.1)
    assert [block.tone for block in second.blocks] == [1]
    assert not any(column.blocks or column.worth for column in rest)


def test_what_one_sees_is_told_in_words_too() -> None:
    drawing = drawn(Line("bad-mailbox", [0, 1204, *[0] * 22]), Line("quota", [2, 0, *[0] * 22]))
    assert drawing.columns[1].said == "Sat 21 Nov 13:00: bad-mailbox 1,204"
    assert drawing.columns[5].said == "Sat 21 Nov 17:00: nothing"
    assert drawing.columns[0].values == ("0", "2")
    assert drawing.description == "From Sat 21 Nov 12:00 to Sun 22 Nov 11:00; the most is 1,204, Sat 21 Nov 13:00."
    assert not drawing.empty


def test_nothing_is_drawn_of_nothing() -> None:
    drawing = drawn(Line("", [0] * 24))
    assert drawing.empty
    assert drawing.description == "Nothing in this time."
    assert bars("x", [], "hour", [], UTC).empty


def test_a_line_may_have_a_tone_of_its_own_and_those_beyond_all_tones_the_last() -> None:
    lines = [Line(f"l{number}", [1.0] * 24) for number in range(9)]
    drawing = drawn(Line("kept", [1.0] * 24, tone=3), *lines)
    assert [tone for _, tone in drawing.names] == [3, 1, 2, 3, 4, 5, 6, 6, 6, 6]
    assert [block.tone for block in drawing.columns[0].blocks] == [tone for _, tone in drawing.names]


def test_a_curve_has_gaps_where_nothing_can_be_said() -> None:
    shares: list[float | None] = [0.01, 0.02, None, 0.04, None, 0.01, 0.01]
    drawing = curves("Share", HOURS[:7], "hour", [Line("bounced", shares)], UTC, "share", usual=0.03)
    ((tone, path),) = drawing.paths
    assert (tone, path.count("M"), path.count("L")) == (0, 3, 2)
    assert drawing.usual is not None
    assert drawing.usual.label == "usually 3.0 %"
    (high,) = (float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)h.01M", path))
    assert high < drawing.usual.y < FOOT
    assert drawing.columns[2].values == ("–",)
    assert curves("Share", HOURS[:7], "hour", [Line("", shares)], UTC, "share").usual is None


def test_words_below_are_round_hours_then_days_and_do_not_overlap() -> None:
    labels = [mark.label for mark in drawn(Line("", [1.0] * 24)).marks]
    assert labels == ["12:00", "15:00", "18:00", "21:00", "Sun 22 Nov", "03:00", "06:00", "09:00"]
    week = [NOON + number * HOUR for number in range(168)]
    there = bars("x", week, "hour", [Line("", [1.0] * 168)], ZoneInfo("Asia/Kathmandu"))
    assert [mark.label for mark in there.marks][:2] == ["Sun 22 Nov", "Mon 23 Nov"]
    month = [NOON + number * DAY for number in range(400)]
    marks = drawn(Line("", [1.0] * 400), begins=month, step="day").marks
    assert all(b.x - a.x > 40 for a, b in pairwise(marks))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=40), st.lists(st.integers(0, 10**6), min_size=1, max_size=40)
)
def test_everything_stays_within_the_frame(one: list[int], other: list[int]) -> None:
    many = min(len(one), len(other))
    begins = [NOON + number * HOUR for number in range(many)]
    drawing = drawn(Line("a", one[:many]), Line("b", other[:many]), begins=begins)
    for column in drawing.columns:
        assert LEFT - 0.1 <= column.x <= column.x + column.width <= drawing.width
        for block in column.blocks:
            assert block.y >= TOP - 0.1
            assert block.y + block.height <= FOOT + 0.1
    assert 2 <= len(drawing.rules) <= 6
    assert drawing.rules[0].y == pytest.approx(FOOT)
    assert len({rule.label for rule in drawing.rules}) == len(drawing.rules)
