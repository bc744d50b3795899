from zoneinfo import ZoneInfo

import pytest

from relay.web.desk import words
from tests.support.event_folder import NOON


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (None, "count", "–"),
        (0, "count", "0"),
        (1204, "count", "1,204"),
        (2.5, "count", "2.5"),
        (24.7, "count", "25"),
        (0.0075, "share", "0.75 %"),
        (61, "ms", "61 ms"),
        (None, "share", "–"),
    ],
)
def test_figures(value: float | None, unit: str, told: str) -> None:
    assert words.figure(value, unit) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.00001, "< 0.01 %"), (0.0003, "0.03 %"), (0.123, "12.3 %"), (0.9999, "> 99.9 %")],
)
def test_a_little_is_never_told_as_nothing_nor_nearly_all_as_all(value: float, told: str) -> None:
    assert words.share(value) == told


def test_no_share_is_a_dash() -> None:
    assert words.share(None) == "–"


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (1200, "count", "1.2k"),
        (4_000_000, "count", "4M"),
        (2e9, "count", "2G"),
        (50, "count", "50"),
        (0.2, "share", "20 %"),
    ],
)
def test_an_axis_has_short_words(value: float, unit: str, told: str) -> None:
    assert words.figure(value, unit, short=True) == told


def test_hours_and_days_are_those_of_the_zone() -> None:
    there = ZoneInfo("Asia/Jerusalem")
    assert words.slot(NOON, "hour", there) == "Sat 21 Nov 14:00"
    assert words.slot(NOON, "day", there) == "Sat 21 Nov"
