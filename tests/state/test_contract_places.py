"""What every backend of State promises of what people get: room for one more, held, counted, given back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.identity import Rate
from relay.room import Ask, Bound, Full, Room, Settled, Standing
from relay.state import places, redis_places
from relay.state.interface import State
from relay.state.places import GRACE, Person
from relay.state.redis import RedisState
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

Opened = Callable[[], State]

DANA, NOA = b"dana" * 4, b"n{a}" * 4
NEWS, CLUB, OTHER = 5, 0xABCDEF, 7
LEASE = 60_000
KEEP = 40 * 86_400
DAY = 86_400_000
FOUR = Bound(Rate(4, 7 * 86_400, "", "4/7d"), "UTC", frozenset({NEWS, CLUB}))
ONE_A_DAY = Bound(Rate(1, 90_000, "day", "1/day"), "Asia/Jerusalem", frozenset({NEWS}))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Opened:
    """Makes one more worker's view of the same state."""
    if request.param == "sqlite":
        return lambda: SqliteState(tmp_path / "state.db", clock)
    request.getfixturevalue("patient")
    url = request.getfixturevalue(request.param).url
    return lambda: RedisState(url, clock=clock, quiet=0)


@pytest.fixture
async def state(backend: Opened) -> AsyncIterator[State]:
    state = backend()
    await state.open()
    yield state
    await state.close()


def wish(
    token: str, *bounds: Bound, person: bytes = DANA, mark: int = NEWS, priority: int = 0, since: int = 0,
    firm: bool = False, waits: bool = False,
) -> Ask:  # fmt: skip
    return Ask(person, token, mark, bounds, priority, since, LEASE, firm, waits)


async def ask(state: State, token: str, *bounds: Bound, **more: object) -> Room:
    (room,) = await state.reserve([wish(token, *bounds, **more)])  # type: ignore[arg-type]
    return room


async def arrived(state: State, clock: Clock, *tokens: str, person: bytes = DANA) -> None:
    await state.settle([Settled(person, token, clock.now // 1000) for token in tokens], KEEP)


async def test_as_many_places_as_a_limit_has_and_no_more(state: State) -> None:
    rooms = await state.reserve([wish(f"m/{n}", FOUR) for n in range(6)])
    full = (Full(0, 0, ((NEWS, 4),)),)
    assert rooms == [(), (), (), (), full, full]
    assert await ask(state, "n/0", FOUR, person=NOA) == ()
    assert await ask(state, "o/0", FOUR, mark=OTHER) == full, "what counts is what the bound counts, whoever asks"
    assert await ask(state, "p/0", mark=OTHER) == ()
    assert await state.standing([DANA, NOA, b"o" * 16]) == [
        Standing((), (NEWS,) * 4 + (OTHER,)), Standing((), (NEWS,)), Standing((), ()),
    ]  # fmt: skip


async def test_room_and_what_is_known_of_a_person_are_one_question(state: State) -> None:
    await state.tell(DANA, {"b:all||manual": "[1]"})
    found = await state.consult([wish(f"m/{n}", FOUR, person=(DANA, NOA)[n % 2]) for n in range(9)])
    known = {"b:all||manual": "[1]"}
    assert found == [((known, {})[n % 2], (Full(0, 0, ((NEWS, 4),)),) if n > 7 else ()) for n in range(9)]


async def test_each_of_many_people_has_his_own_answer(state: State, clock: Clock) -> None:
    people = [bytes([n * 37 % 256, n, n * 101 % 256, n]) * 4 for n in range(100)]
    for number in (3, 50, 77):
        await state.tell(people[number], {"name": f"{number}"})
    asked = [wish(f"m/{n}", FOUR, person=person, firm=True) for n, person in enumerate(people)]
    found = await state.consult(asked)
    assert found == [({"name": f"{n}"} if n in (3, 50, 77) else {}, ()) for n in range(100)]
    now = clock.now // 1000
    await state.settle([Settled(one.person, one.token, now - n if n % 2 else 0) for n, one in enumerate(asked)], KEEP)
    assert await state.standing(people) == [Standing(((now - n, NEWS),) if n % 2 else (), ()) for n in range(100)]


async def test_what_does_not_arrive_gives_its_place_back(state: State) -> None:
    await state.reserve([wish(f"m/{n}", FOUR) for n in range(4)])
    await state.settle([Settled(DANA, "m/1", 0), Settled(DANA, "nobody", 0)], KEEP)
    assert await ask(state, "n/0", FOUR) == ()
    assert await ask(state, "n/1", FOUR) != ()


async def test_what_arrives_counts_once_and_until_its_window_is_over(state: State, clock: Clock) -> None:
    for n in range(4):
        assert await ask(state, f"m/{n}", FOUR, firm=True, mark=(NEWS, CLUB)[n % 2]) == ()
        clock.now += DAY
        await arrived(state, clock, f"m/{n}")
        await arrived(state, clock, f"m/{n}", "never-asked")
    begin = clock.now // 1000 * 1000 - 3 * DAY
    wait = begin + 7 * DAY + 1_000 - clock.now
    assert await ask(state, "n/0", FOUR) == (Full(0, wait, ((NEWS, 2), (CLUB, 2))),)
    clock.now += wait - 1
    assert await ask(state, "n/0", FOUR) == (Full(0, 1, ((NEWS, 2), (CLUB, 2))),)
    clock.now += 1
    assert await ask(state, "n/0", FOUR) == ()
    (dana,) = await state.standing([DANA])
    assert [mark for _, mark in dana.sends] == [NEWS, CLUB] * 2


async def test_what_is_forced_counts_and_is_never_refused(state: State, clock: Clock) -> None:
    for n in range(6):
        assert await ask(state, f"m/{n}", firm=True) == ()
    await arrived(state, clock, *(f"m/{n}" for n in range(6)))
    (full,) = await ask(state, "n/0", FOUR)
    assert full.used == ((NEWS, 6),)
    assert full.wait == clock.now // 1000 * 1000 + 7 * DAY + 1_000 - clock.now, "until three of the six are left"


async def test_a_calendar_day_ends_at_the_brands_midnight(state: State, clock: Clock) -> None:
    zone = ZoneInfo("Asia/Jerusalem")
    clock.now = int(datetime(2026, 11, 21, 22, 0, tzinfo=zone).timestamp() * 1000)
    assert await ask(state, "m/0", ONE_A_DAY, firm=True) == ()
    await arrived(state, clock, "m/0")
    assert await ask(state, "m/1", ONE_A_DAY) == (Full(0, 7_200_000, ((NEWS, 1),)),)
    clock.now += 7_200_000
    assert await ask(state, "m/1", ONE_A_DAY) == ()


async def test_mail_under_way_over_midnight_takes_a_place_of_the_day_on_which_it_arrives(
    state: State, clock: Clock
) -> None:
    zone = ZoneInfo("Asia/Jerusalem")
    clock.now = int(datetime(2026, 11, 21, 23, 59, 59, tzinfo=zone).timestamp() * 1000)
    assert await ask(state, "m/0", ONE_A_DAY, firm=True) == ()
    clock.now += 5_000
    assert await ask(state, "m/1", ONE_A_DAY) == (Full(0, 0, ((NEWS, 1),)),)
    await arrived(state, clock, "m/0")
    assert await ask(state, "m/1", ONE_A_DAY) == (Full(0, DAY - 4_000, ((NEWS, 1),)),)


async def test_a_clock_that_is_set_back_lets_nobody_get_more(state: State, clock: Clock) -> None:
    """A send ahead of the clock counts, in sliding windows and in days, until the clock has passed it by a window."""
    zone = ZoneInfo("Asia/Jerusalem")
    clock.now = int(datetime(2026, 11, 21, 0, 30, tzinfo=zone).timestamp() * 1000)
    assert await ask(state, "m/0", ONE_A_DAY, FOUR, firm=True) == ()
    await arrived(state, clock, "m/0")
    clock.now -= 3_600_000  # it is the day before again
    assert [full.bound for full in await ask(state, "m/1", ONE_A_DAY, FOUR)] == [0]
    for n in range(2, 5):
        assert await ask(state, f"m/{n}", FOUR, firm=True) == ()
        await arrived(state, clock, f"m/{n}")
    assert await ask(state, "m/5", FOUR) != (), "four, whatever the clock said"
    clock.now += 3_600_000
    assert [full.bound for full in await ask(state, "m/6", ONE_A_DAY, FOUR)] == [0, 1]
    clock.now += 7 * DAY + 2_000
    assert await ask(state, "m/7", ONE_A_DAY, FOUR) == ()


async def test_a_clock_that_runs_ahead_and_is_set_right_lets_nobody_get_more(state: State, clock: Clock) -> None:
    """What was let in meanwhile counts as soon as the clock is right, and what was under way still holds its place."""
    assert await ask(state, "m/0", FOUR, firm=True) == ()
    clock.now += 8 * DAY
    for n in range(1, 4):
        assert await ask(state, f"m/{n}", FOUR, firm=True) == ()
        await arrived(state, clock, f"m/{n}")
    clock.now -= 8 * DAY
    (full,) = await ask(state, "m/4", FOUR)
    assert full.used == ((NEWS, 4),), "the one that was under way has become a send of then"


async def test_all_bounds_hold_and_each_in_the_way_is_named(state: State, clock: Clock) -> None:
    none = Bound(Rate(1, 3_600, "", "1/hour"), "UTC", frozenset({OTHER}))
    await ask(state, "m/0", firm=True)
    await arrived(state, clock, "m/0")
    assert [full.bound for full in await ask(state, "m/1", ONE_A_DAY, FOUR, none)] == [0]
    await state.reserve([wish(f"n/{n}", firm=True) for n in range(3)])
    assert [(full.bound, bool(full.wait)) for full in await ask(state, "m/1", none, FOUR, ONE_A_DAY)] == [
        (1, False), (2, True),
    ]  # fmt: skip


async def test_asking_again_takes_no_second_place(state: State) -> None:
    one = Bound(Rate(1, 60, "", "1/minute"), "UTC", frozenset({NEWS}))
    for firm in (False, True, True):
        assert await ask(state, "m/0", one, firm=firm) == ()
    (dana,) = await state.standing([DANA])
    assert dana.under_way == (NEWS,)


async def test_a_place_is_asked_for_anew_where_other_mail_used_it_up(state: State, clock: Clock) -> None:
    one = Bound(Rate(1, 60, "", "1/minute"), "UTC", frozenset({NEWS, OTHER}))
    assert await ask(state, "m/0", one) == ()
    await ask(state, "forced", mark=OTHER, firm=True)
    await arrived(state, clock, "forced")
    assert [full.used for full in await ask(state, "m/0", one, firm=True)] == [((OTHER, 1),)]
    (dana,) = await state.standing([DANA])
    assert dana.under_way == ()


async def test_what_was_sent_and_never_settled_counts_once_however_often_others_are_refused_for_it(
    state: State, clock: Clock
) -> None:
    assert not await ask(state, "m/0", ONE_A_DAY, firm=True)
    clock.now += LEASE
    for number in range(1, 4):
        assert await ask(state, f"m/{number}", ONE_A_DAY)
    (found,) = await state.standing([DANA])
    assert found == Standing((((clock.now - LEASE) // 1000, NEWS),), ())


async def test_a_lease_ends_as_given_up_or_as_sent(state: State, clock: Clock) -> None:
    """A crash left them: what cannot have been sent counts no more, what may have been does."""
    await ask(state, "held", FOUR)
    await ask(state, "firm", FOUR, firm=True)
    asked = clock.now // 1000
    clock.now += LEASE - 1
    assert await state.standing([DANA]) == [Standing((), (NEWS, NEWS))]
    clock.now += 1
    assert await state.standing([DANA]) == [Standing(((asked, NEWS),), ())]
    await ask(state, "next", FOUR)
    await arrived(state, clock, "held", "firm")
    assert await state.standing([DANA]) == [Standing(((asked, NEWS),), (NEWS,))]


async def test_what_is_confirmed_holds_its_place_for_longer(state: State, clock: Clock) -> None:
    await ask(state, "m/0", FOUR)
    await state.confirm([(DANA, "m/0"), (DANA, "gone"), (NOA, "gone")], 10 * LEASE)
    await state.confirm([(DANA, "m/0")], LEASE)
    clock.now += 10 * LEASE - 1
    assert await state.standing([DANA, NOA]) == [Standing((), (NEWS,)), Standing((), ())]
    clock.now += 1
    assert await state.standing([DANA]) == [Standing((), ())]


async def test_who_waits_is_let_in_by_priority_then_by_age(state: State, clock: Clock) -> None:
    one = Bound(Rate(1, 3_600, "", "1/hour"), "UTC", frozenset({NEWS}))
    await ask(state, "first", one, firm=True)
    await arrived(state, clock, "first")
    begin = clock.now // 1000 * 1000
    for token, priority, since in (("old", 0, 1), ("low", -1, 0), ("high", 3, 9), ("young", 0, 2)):
        assert await ask(state, token, one, priority=priority, since=since, waits=True)
    clock.now = begin + 3_601_000
    before = {
        token: await ask(state, token, one, priority=priority, since=since, waits=True, firm=True)
        for token, priority, since in (("new", 0, 5), ("low", -1, 0), ("young", 0, 2), ("old", 0, 1), ("high", 3, 9))
    }
    assert before == {
        **dict.fromkeys(("new", "low", "young", "old"), (Full(0, 0, ()),)),
        "high": (),
    }


async def test_who_does_not_come_is_waited_for_a_while_only(state: State, clock: Clock) -> None:
    one = Bound(Rate(1, 3_600, "", "1/hour"), "UTC", frozenset({NEWS}))
    await ask(state, "first", one, firm=True)
    await arrived(state, clock, "first")
    begin = clock.now // 1000 * 1000
    await ask(state, "gone", one, priority=5, waits=True)
    await ask(state, "drop", one, priority=9)
    clock.now = begin + 3_601_000 + GRACE - 1
    assert await ask(state, "m/0", one, waits=True)
    clock.now += 1
    assert await ask(state, "m/0", one, waits=True) == ()


async def test_what_is_not_on_disk_is_in_nobodys_way_where_it_may_come_any_time(state: State, clock: Clock) -> None:
    one = Bound(Rate(1, 3_600, "", "1/hour"), "UTC", frozenset({NEWS}))
    await ask(state, "first", one, firm=True)
    for firm in (False, True):
        assert await ask(state, "high", one, priority=9, firm=firm, waits=True) == (Full(0, 0, ((NEWS, 1),)),)
        await state.settle([Settled(DANA, "first", 0)], KEEP)
        found = await ask(state, "first", one, firm=True, waits=True)
        assert found == ((Full(0, 0, ()),) if firm else ())


async def test_who_waits_for_another_bound_is_in_nobodys_way(state: State, clock: Clock) -> None:
    club = Bound(Rate(1, 7_200, "", ""), "UTC", frozenset({CLUB}))
    news = Bound(Rate(1, 3_600, "", ""), "UTC", frozenset({NEWS, CLUB}))
    for token, mark in (("first", NEWS), ("second", CLUB)):
        await ask(state, token, mark=mark, firm=True)
    await arrived(state, clock, "first", "second")
    clock.now += 3_601_000
    assert await ask(state, "club", club, news, mark=CLUB, priority=9, waits=True)
    assert await ask(state, "news", news) == ()


async def test_an_end_of_waiting_is_settled_too(state: State, clock: Clock) -> None:
    one = Bound(Rate(1, 3_600, "", "1/hour"), "UTC", frozenset({NEWS}))
    await ask(state, "first", one, firm=True)
    await arrived(state, clock, "first")
    begin = clock.now // 1000 * 1000
    await ask(state, "high", one, priority=5, waits=True)
    await arrived(state, clock, "high")
    clock.now = begin + 3_601_000
    assert await ask(state, "m/0", one) == ()


async def test_two_workers_never_give_the_last_place_twice(backend: Opened, state: State) -> None:
    other = backend()
    await other.open()
    rooms = await asyncio.gather(*((state, other)[n % 2].reserve([wish(f"m/{n}", FOUR)]) for n in range(20)))
    assert [room for (room,) in rooms].count(()) == 4
    await other.close()


async def test_lost_sends_are_brought_back_once(state: State, clock: Clock) -> None:
    now = clock.now // 1000
    await ask(state, "m/0", firm=True)
    await arrived(state, clock, "m/0")
    known = [(now + 2, NEWS), (now - 90, CLUB), (now - 90, CLUB), (now - 95, NEWS)]
    for _ in range(2):
        await state.recall([(DANA, known), (NOA, [(now, OTHER)])])
    assert await state.standing([DANA, NOA]) == [
        Standing(((now - 95, NEWS), (now - 90, CLUB), (now - 90, CLUB), (now, NEWS)), ()),
        Standing(((now, OTHER),), ()),
    ]


async def sweep(state: State, keep: int) -> None:
    after = await state.sweep(b"", keep)
    while after:
        after = await state.sweep(after, keep)


async def test_what_is_old_is_forgotten(state: State, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.state.sqlite_places.PAGE", 2)
    for name, value in (("BUCKET_BITS", 6), ("BUCKETS", 64), ("SWEPT", 40)):
        monkeypatch.setattr(redis_places, name, value)
    now = clock.now // 1000
    people = [bytes([n]) * 16 for n in range(0, 250, 50)]
    await state.recall([(person, [(now - 100, NEWS), (now - 50, CLUB)]) for person in people])
    await ask(state, "m/0", person=people[1])
    await sweep(state, 100)
    assert all(len(one.sends) == 2 for one in await state.standing(people))
    clock.now += 1_000
    await sweep(state, 100)
    assert [one.sends for one in await state.standing(people)] == [((now - 50, CLUB),)] * 5
    clock.now += 50_000
    await sweep(state, 100)
    assert [one.sends for one in await state.standing(people)] == [()] * 5


# -- properties

ZONES = ("UTC", "America/Los_Angeles", "Asia/Jerusalem", "Africa/Cairo", "America/Santiago")
BOUNDS = st.builds(
    Bound,
    st.one_of(
        st.builds(Rate, st.integers(1, 4), st.sampled_from([60, 3_600, 86_400, 7 * 86_400]), st.just(""), st.just("")),
        st.builds(Rate, st.integers(1, 4), st.just(1), st.sampled_from(["day", "week", "month"]), st.just("")),
    ),
    st.sampled_from(ZONES),
    st.sets(st.sampled_from([NEWS, CLUB]), min_size=1).map(frozenset),
)
# In Cairo and Santiago the clocks change at midnight: days begin at one, or have a midnight twice.
STARTS = st.sampled_from([
    datetime(2026, 4, 23, 20, tzinfo=ZoneInfo("Africa/Cairo")),
    datetime(2026, 10, 29, 20, tzinfo=ZoneInfo("Africa/Cairo")),
    datetime(2026, 9, 5, 20, tzinfo=ZoneInfo("America/Santiago")),
    datetime(2026, 4, 4, 20, tzinfo=ZoneInfo("America/Santiago")),
    datetime(2026, 11, 1, 20, tzinfo=ZoneInfo("America/Los_Angeles")),
])  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "ask again", "arrive", "arrive", "fail", "crash"]),
        st.one_of(st.integers(0, 90), st.integers(0, 9_000), st.integers(0, 200_000)),  # s
        st.integers(0, 9),
        st.sampled_from([NEWS, CLUB]),
        st.booleans(),
    ),
    min_size=10,
    max_size=60,
)
_person = count()


def slot_of(rate: Rate, at: int, zone: ZoneInfo) -> object:
    day = datetime.fromtimestamp(at, zone)
    return {"day": day.date(), "week": day.isocalendar()[:2], "month": (day.year, day.month)}[rate.calendar]


class Model:
    """The pure functions on one person, as SQLite does it, with nothing between."""

    def __init__(self) -> None:
        self.person = Person()

    def reserve(self, one: Ask, now: int) -> Room:
        places.expire(self.person, now)
        room, place = places.ask(self.person, one, now)
        self.person.places.pop(one.token, None)
        if place is not None:
            self.person.places[one.token] = place
        return room

    def settle(self, token: str, at: int) -> None:
        place = self.person.places.pop(token, None)
        if place is not None and at and place.kind:
            self.person.sends.append((at, place.mark))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=STARTS, steps=STEPS, bounds=st.lists(BOUNDS, min_size=1, max_size=3).map(tuple))
async def test_no_window_ever_holds_more_and_all_backends_say_the_same(
    backend: Opened,
    clock: Clock,
    start: datetime,
    steps: list[tuple[str, int, int, int, bool]],
    bounds: tuple[Bound, ...],
) -> None:
    """Mail of one person, asked for, sent, failed, forgotten by a crash; time goes on over changes of the clocks."""
    who = next(_person).to_bytes(16)
    clock.now = int(start.timestamp() * 1000)
    state, model, sent, open_places = backend(), Model(), [], dict[str, int]()
    await state.open()
    for n, (what, pause, pick, mark, waits) in enumerate(steps):
        clock.now += pause * 1000
        known = sorted(open_places)
        token = known[pick % len(known)] if known and what != "ask" else f"m{n}"
        if what in {"arrive", "fail"} and known:
            at = clock.now // 1000 if what == "arrive" else 0
            await state.settle([Settled(who, token, at)], KEEP)
            model.settle(token, at)
            held = open_places.pop(token)
            if at:
                sent.append((at, held))
        elif what == "crash":
            await state.close()
            state = backend()
            await state.open()
        elif what in {"ask", "ask again"}:
            same = open_places.get(token, mark)
            one = Ask(who, token, same, bounds, pick % 3 - 1, clock.now, 30 * DAY, True, waits)
            (room,) = await state.reserve([one])
            assert room == model.reserve(one, clock.now)
            if room:
                open_places.pop(token, None)
            else:
                open_places[token] = same
    await state.close()
    for rate, timezone, marks in bounds:
        zone = ZoneInfo(timezone)
        for end, _ in sent:
            within = [
                at for at, mark in sent if mark in marks and (
                    slot_of(rate, at, zone) == slot_of(rate, end, zone) if rate.calendar else end - rate.window <= at <= end
                )
            ]  # fmt: skip
            assert len(within) <= rate.count


async def test_a_place_is_free_as_soon_as_it_was_said(state: State, clock: Clock) -> None:
    """Over a change of the clocks at midnight, too: in Cairo the day of 24 April 2026 begins at one."""
    zone = ZoneInfo("Africa/Cairo")
    day = Bound(Rate(1, 1, "day", "1/day"), zone.key, frozenset({NEWS}))
    clock.now = int(datetime(2026, 4, 23, 23, 0, tzinfo=zone).timestamp() * 1000)
    await ask(state, "m/0", firm=True)
    await arrived(state, clock, "m/0")
    (full,) = await ask(state, "m/1", day)
    clock.now += full.wait
    opens = datetime.fromtimestamp(clock.now / 1000, zone)
    assert (opens.date(), opens - timedelta(milliseconds=1) < opens) == (datetime(2026, 4, 24).date(), True)
    assert await ask(state, "m/1", day) == ()
