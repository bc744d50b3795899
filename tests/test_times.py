"""Times as apps write them, and people read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.times import LATEST, duration, moment, span

NOON = 1_795_262_400_000  # 2026-11-21T12:00:00Z


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("15m", 900_000),
        ("2h", 7_200_000),
        ("7d", 604_800_000),
        ("0s", 0),
        ("", None),
        ("2", None),
        ("2 h", None),
        ("-2h", None),
        ("2h ", None),
        ("2H", None),
        ("\N{ARABIC-INDIC DIGIT TWO}h", None),
        ("1234567890d", None),
    ],
)
def test_durations(text: str, ms: int | None) -> None:
    assert duration(text) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21t12:00:00z", NOON),
        ("2026-11-21 14:00:00+02:00", NOON),
        ("2026-11-21T11:59:59.9996-00:00", NOON - 1),
        ("1969-12-31T23:59:59.5Z", -500),
        ("9999-12-31T23:59:59.999Z", LATEST),
    ],
)
def test_moments(text: str, ms: int) -> None:
    assert moment(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-11-21",
        "2026-11-21T12:00:00",  # whose noon?
        "2026-11-21T12:00Z",
        "20261121T120000Z",
        "2026-W47-6T12:00:00Z",
        "2026-11-31T12:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T12:00:00+24:00",
        "2026-11-21T12:00:00Z\n",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-00:01",
        "\N{ARABIC-INDIC DIGIT TWO}026-11-21T12:00:00Z",
    ],
)
def test_what_is_no_moment(text: str) -> None:
    assert moment(text) is None


@given(st.datetimes(datetime(1000, 1, 3), datetime(9999, 12, 29)), st.integers(-1439, 1439))
def test_every_moment_reads_back(naive: datetime, minutes: int) -> None:
    at = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    exact = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert moment(at.isoformat()) == exact


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (61.4, "61 ms"),
        (4_240, "4.2 s"),
        (59_999, "60.0 s"),
        (60_000, "1 min"),
        (3_600_000, "1 h"),
        (86_400_000, "1 d"),
    ],
)
def test_how_long_it_took(ms: float, text: str) -> None:
    assert span(ms) == text
