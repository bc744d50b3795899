"""The arithmetic of sliding and calendar windows."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.identity import Rate
from relay.state.limits import (
    LARGEST_LEASE,
    SLICES,
    expiry,
    lease_end,
    lease_size,
    oldest_slot,
    slice_ms,
    slot_of,
    wait,
)

JERUSALEM = ZoneInfo("Asia/Jerusalem")
HOUR = 3_600_000


def sliding(count: int, window: int) -> Rate:
    return Rate(count, window, "", f"{count}/{window}s")


def calendar(count: int, period: str) -> Rate:
    return Rate(count, {"day": 86_400, "week": 604_800, "month": 2_678_400}[period], period, f"{count}/{period}")


def ms(text: str, zone: ZoneInfo = JERUSALEM) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


@given(
    st.integers(1, 30),
    st.sampled_from([1, 7, 60, 100, 3_600, 86_400]),
    st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 8)), min_size=20, max_size=120),
    st.integers(0, 10**13),
)
def test_no_window_of_the_full_length_ever_holds_more(
    count: int, window: int, asked: list[tuple[float, int]], start: int
) -> None:
    rate, now = sliding(count, window), start
    granted: dict[int, int] = {}
    times: list[tuple[int, int]] = []
    for pause, wanted in asked:
        now += int(pause * window * 1000)
        slot = slot_of(rate, now, UTC)
        counted = [(s, n) for s, n in granted.items() if s >= oldest_slot(rate, slot)]
        if not wait(rate, counted, wanted, now, UTC):
            granted[slot] = granted.get(slot, 0) + wanted
            times.append((now, wanted))
    for end, _ in times:
        assert sum(n for at, n in times if end - window * 1000 < at <= end) <= count


@given(st.integers(1, 20), st.sampled_from([1, 60, 3_600]), st.integers(1, 20), st.integers(0, 10**12))
def test_the_wait_is_neither_too_short_nor_longer_than_the_window_and_its_spare(
    count: int, window: int, wanted: int, now: int
) -> None:
    rate = sliding(count, window)
    full = [(slot_of(rate, now, UTC), count)]
    pause = wait(rate, full, min(wanted, count), now, UTC)
    assert window * 1000 <= pause <= slice_ms(rate) * (SLICES + 1)
    after = slot_of(rate, now + pause, UTC)
    assert [s for s, _ in full if s >= oldest_slot(rate, after)] == []
    before = slot_of(rate, now + pause - 1, UTC)
    assert [s for s, _ in full if s >= oldest_slot(rate, before)] != []


def test_only_as_much_must_pass_as_is_asked_for() -> None:
    rate = sliding(10, 96)
    granted = [(100, 4), (150, 6)]
    assert wait(rate, granted, 4, 180_000, UTC) == 197_000 - 180_000
    assert wait(rate, granted, 5, 180_000, UTC) == 247_000 - 180_000


def test_more_than_the_whole_rate_is_never_granted() -> None:
    assert wait(sliding(10, 60), [], 11, 0, UTC) == 60_000


@pytest.mark.parametrize(
    ("period", "last", "first"),
    [
        ("day", "2026-11-20T23:59:59.999", "2026-11-21T00:00"),
        ("day", "2026-03-26T23:59:59.999", "2026-03-27T00:00"),  # 27 March has 23 hours there
        ("day", "2026-10-25T23:59:59.999", "2026-10-26T00:00"),  # 25 October had 25
        ("week", "2026-11-22T23:59:59.999", "2026-11-23T00:00"),
        ("month", "2026-11-30T23:59:59.999", "2026-12-01T00:00"),
        ("month", "2026-12-31T23:59:59.999", "2027-01-01T00:00"),
    ],
)
def test_calendar_periods_end_at_the_brands_midnight(period: str, last: str, first: str) -> None:
    rate = calendar(5, period)
    slot = slot_of(rate, ms(last), JERUSALEM)
    assert slot_of(rate, ms(first), JERUSALEM) == slot + 1
    assert expiry(rate, slot, JERUSALEM) == ms(first)
    assert wait(rate, [(slot, 5)], 1, ms(last), JERUSALEM) == 1
    assert oldest_slot(rate, slot) == slot


@pytest.mark.parametrize("count", [1, 100, 3_999, 4_000, 20_000, 300_000])
def test_leases_are_small_beside_the_rate(count: int) -> None:
    size = lease_size(sliding(count, 3_600))
    assert 1 <= size <= LARGEST_LEASE
    assert size == 1 or (size - 1) * SLICES <= count * 0.05


@given(
    st.sampled_from([sliding(5, 60), sliding(5, 1), *(calendar(5, p) for p in ("day", "week", "month"))]),
    st.integers(0, 10**12),
)
def test_a_lease_never_outlives_its_slot(rate: Rate, now: int) -> None:
    end = lease_end(rate, now, JERUSALEM)
    assert now < end <= now + slice_ms(rate)
    assert slot_of(rate, end - 1, JERUSALEM) == slot_of(rate, now, JERUSALEM)
