"""Send windows, held against a slow look at the clock on the wall, minute by minute."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.policy.windows import Hours, Window

MINUTE, DAY = 60_000, 86_400_000
OFFICE: Hours = ((540, 1230),)  # 09:00-20:30
WORKING_DAYS = ((), OFFICE, OFFICE, OFFICE, OFFICE, OFFICE, ())
ALWAYS: tuple[Hours, ...] = (((0, 1440),),) * 7
# Ordinary ones; half an hour of summer time (Lord Howe), two (Troll), at midnight (Havana, Beirut, Cairo), backwards
# (Dublin, Casablanca), with a day left out (Apia), with odd minutes.
ZONES = (
    "UTC", "Asia/Jerusalem", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll",
    "America/Havana", "Asia/Beirut", "Africa/Cairo", "Europe/Dublin", "Africa/Casablanca", "Pacific/Apia",
    "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham",
)  # fmt: skip


def ms(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """What the wall shows there, as ms since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


def wall(at: int, zone: str) -> str:
    return datetime.fromtimestamp(at // 1000, ZoneInfo(zone)).strftime("%a %d %b %H:%M %z")


def opens(window: Window, at: int) -> str:
    zone = window.zone
    assert isinstance(zone, ZoneInfo)
    return wall(window.opens(at), zone.key)


def window(zone: str = "Asia/Jerusalem", week: tuple[Hours, ...] = WORKING_DAYS, *closed: date) -> Window:
    return Window("w", ZoneInfo(zone), week, frozenset(closed))


def test_it_is_open_from_the_first_minute_on_and_closed_from_the_last() -> None:
    one = window()
    nine, half_past_eight = ms("2026-11-23 09:00", "Asia/Jerusalem"), ms("2026-11-23 20:30", "Asia/Jerusalem")
    assert one.opens(nine - 1) == one.opens(nine) == nine
    assert one.opens(half_past_eight - 1) == half_past_eight - 1
    assert one.opens(half_past_eight) == nine + DAY


def test_it_waits_over_days_without_hours_and_closed_days() -> None:
    friday = ms("2026-11-20 20:30", "Asia/Jerusalem")
    assert opens(window(), friday) == "Mon 23 Nov 09:00 +0200"
    closed = [date(2026, 11, day) for day in (23, 24)]
    assert opens(window("Asia/Jerusalem", WORKING_DAYS, *closed), friday) == "Wed 25 Nov 09:00 +0200"
    month = [date(2026, 11, 21) + timedelta(days) for days in range(60)]
    assert opens(window("Asia/Jerusalem", WORKING_DAYS, *month), friday) == "Wed 20 Jan 09:00 +0200"


def test_a_closed_day_is_one_there() -> None:
    """1 December in Auckland begins in November elsewhere."""
    one = window("Pacific/Auckland", ALWAYS, date(2026, 12, 1))
    assert one.opens(ms("2026-11-30 11:00")) == one.opens(ms("2026-12-01 10:59")) == ms("2026-12-01 11:00")
    assert one.opens(ms("2026-11-30 10:59")) == ms("2026-11-30 10:59")


def test_hours_that_begin_in_the_hour_that_is_skipped_open_when_it_is_over() -> None:
    """Berlin, 28 March 2027: 02:00 is followed by 03:00."""
    one = window("Europe/Berlin", (((150, 240),),) * 7)  # 02:30-04:00
    assert one.opens(ms("2027-03-28 00:30")) == ms("2027-03-28 01:00")
    assert opens(one, ms("2027-03-28 00:30")) == "Sun 28 Mar 03:00 +0200"
    gone = window("Europe/Berlin", (((130, 170),), *((),) * 6))  # 02:10-02:50, on Sundays
    assert opens(gone, ms("2027-03-27 12:00")) == "Sun 04 Apr 02:10 +0200"


def test_the_hour_that_comes_twice_counts_twice() -> None:
    """Berlin, 31 October 2027: 03:00 is followed by 02:00."""
    one = window("Europe/Berlin", (((90, 150),),) * 7)  # 01:30-02:30
    closes, again = ms("2027-10-31 00:30"), ms("2027-10-31 01:00")
    assert one.opens(closes - 1) == closes - 1
    assert one.opens(closes) == one.opens(again) == again
    assert opens(one, closes) == "Sun 31 Oct 02:00 +0100"
    assert opens(one, ms("2027-10-31 01:30")) == "Mon 01 Nov 01:30 +0100"


def test_a_window_without_hours_is_none() -> None:
    with pytest.raises(ValueError, match="w never opens"):
        window("UTC", ((),) * 7)


@pytest.mark.parametrize(
    ("week", "minutes"),
    [
        (WORKING_DAYS, 12 * 60 + 30),
        (ALWAYS, None),
        ((((0, 1440),),) * 6 + ((),), 24 * 60),
        ((((540, 720), (690, 800), (810, 900)), *((),) * 6), 10),  # the first two overlap
        (((), (), ((600, 660),), (), (), (), ()), 7 * 24 * 60 - 60),
        ((((0, 600),), (), (), (), (), (), ((600, 1440),)), 6 * 24 * 60),  # open from Saturday to Sunday
    ],
)
def test_the_shortest_time_for_which_it_closes(week: tuple[Hours, ...], minutes: int | None) -> None:
    assert window("UTC", week).shortest_closed() == (None if minutes is None else minutes * MINUTE)


def slow(one: Window, at: int, days: int) -> int | None:
    """Looks at each minute; None: it stays closed for so long."""
    moment = at
    while moment < at + days * DAY:
        there = datetime.fromtimestamp(moment // 1000, one.zone)
        minute, weekday = there.hour * 60 + there.minute, (there.weekday() + 1) % 7
        if there.date() not in one.closed and any(start <= minute < end for start, end in one.week[weekday]):
            return moment
        moment += MINUTE - moment % MINUTE
    return None


def changes(zone: str) -> list[int]:
    """The days of three years on which the clocks there are changed."""
    found, there = [], ZoneInfo(zone)
    for day in range(20_454, 21_550):  # 2026 to 2028
        start, end = (datetime.fromtimestamp(one * 86_400, there).utcoffset() for one in (day, day + 1))
        if start != end:
            found.append(day * DAY)
    return found


NEAR = {zone: [*changes(zone), 20_780 * DAY] for zone in ZONES}
NEAR["Pacific/Apia"].append(15_338 * DAY)  # 30 December 2011, which was none there
hours = st.lists(st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda one: one[0] < one[1]), max_size=2)
weeks = st.lists(hours.map(lambda day: tuple(sorted(day))), min_size=7, max_size=7).filter(any)


@settings(max_examples=75, deadline=None)
@given(
    st.sampled_from(ZONES).flatmap(lambda zone: st.tuples(st.just(zone), st.sampled_from(NEAR[zone]))),
    st.integers(-DAY, 2 * DAY),
    weeks,
    st.lists(st.integers(0, 8), max_size=3),
)
def test_it_opens_when_the_clock_on_the_wall_says_so(
    where: tuple[str, int], later: int, week: list[Hours], closed: list[int]
) -> None:
    zone, day = where
    today = datetime.fromtimestamp(day // 1000, UTC).date()
    one = Window("w", ZoneInfo(zone), tuple(week), frozenset(today + timedelta(days) for days in closed))
    found = slow(one, day + later, days=8)
    if found is None:
        assert one.opens(day + later) >= day + later + 8 * DAY
    else:
        assert one.opens(day + later) == found


def test_the_zones_above_are_still_what_they_are_there_for() -> None:
    assert {zone for zone in ZONES if not changes(zone)} <= {"UTC", "Asia/Kathmandu", "Pacific/Apia"}
    assert wall(15_338 * DAY + 10 * 3_600_000 - 1, "Pacific/Apia") == "Thu 29 Dec 23:59 -1000"
    assert wall(15_338 * DAY + 10 * 3_600_000, "Pacific/Apia") == "Sat 31 Dec 00:00 +1400"
