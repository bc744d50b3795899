"""What every backend of State promises."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.identity import Rate
from relay.state.interface import State, StateError
from relay.state.marks import DROP, FIRST, MOST, PUT, TAKE, Change
from relay.state.redis import RedisState
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

Opened = Callable[[], State]


PER_MINUTE = Rate(10, 60, "", "10/minute")
KEY = bytes(range(16))


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
    return lambda: RedisState(url, clock=clock, quiet=0)  # nobody lived before the data was lost


@pytest.fixture
async def state(backend: Opened) -> AsyncIterator[State]:
    state = backend()
    await state.open()
    yield state
    await state.close()


async def test_a_rate_is_granted_up_to_its_count_and_again_when_told(state: State, clock: Clock) -> None:
    assert [await state.take("k", PER_MINUTE, 1) for _ in range(10)] == [0] * 10
    pause = await state.take("k", PER_MINUTE, 1)
    assert 60_000 <= pause <= 61_250
    assert await state.take("other", PER_MINUTE, 1) == 0
    clock.now += pause - 1
    assert await state.take("k", PER_MINUTE, 1) == 1
    clock.now += 1
    assert await state.take("k", PER_MINUTE, 10) == 0
    assert state.now() == state.latest() == clock.now
    assert state.trouble == ""


async def test_how_many_count_is_told(state: State, clock: Clock) -> None:
    daily = Rate(100, 90_000, "day", "100/day")
    for rate in (PER_MINUTE, daily):
        assert await state.granted("k", rate) == 0
        await state.take("k", rate, 7)
        await state.take("k", rate, 2)
        await state.take("k", rate, 1000)
        assert await state.granted("k", rate) == 9
    clock.now += 86_400_000
    assert [await state.granted("k", rate) for rate in (PER_MINUTE, daily)] == [0, 0]


async def test_permits_are_granted_all_or_none(state: State) -> None:
    assert await state.take("k", PER_MINUTE, 7) == 0
    assert await state.take("k", PER_MINUTE, 4) > 0
    assert await state.take("k", PER_MINUTE, 3) == 0
    assert await state.take("k", PER_MINUTE, 11) > 0


async def test_a_higher_count_is_in_force_at_once_and_keeps_what_was_granted(state: State) -> None:
    assert await state.take("k", PER_MINUTE, 10) == 0
    more = Rate(15, 60, "", "15/minute")
    assert await state.take("k", more, 6) > 0
    assert await state.take("k", more, 5) == 0


async def test_a_calendar_day_begins_at_the_brands_midnight(state: State, clock: Clock) -> None:
    zone = ZoneInfo("Asia/Jerusalem")
    clock.now = int(datetime(2026, 11, 21, 22, 0, tzinfo=zone).timestamp() * 1000)
    daily = Rate(2, 86_400, "day", "2/day")
    assert await state.take("k", daily, 2, "Asia/Jerusalem") == 0
    assert await state.take("k", daily, 1, "Asia/Jerusalem") == 2 * 3_600_000
    clock.now += 2 * 3_600_000
    assert await state.take("k", daily, 2, "Asia/Jerusalem") == 0


async def test_two_workers_count_together(backend: Opened, state: State) -> None:
    other = backend()
    await other.open()
    answers = await asyncio.gather(*((state, other)[n % 2].take("k", PER_MINUTE, 1) for n in range(40)))
    assert sum(not answer for answer in answers) == 10
    await other.close()


async def test_what_was_granted_is_remembered_by_the_next_life(backend: Opened, state: State, clock: Clock) -> None:
    await state.take("k", PER_MINUTE, 10)
    await state.close()
    clock.now += 59_000
    reborn = backend()
    await reborn.open()
    assert await reborn.take("k", PER_MINUTE, 1) > 0
    await reborn.close()


Step = tuple[str, float, int]
STEPS = st.lists(
    st.tuples(st.sampled_from([*["take"] * 9, "reopen"]), st.floats(0, 0.25), st.integers(1, 6)),
    min_size=20,
    max_size=60,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, count=st.integers(1, 12), window=st.sampled_from([1, 60, 86_400]))
async def test_no_window_ever_holds_more_also_over_restarts(
    backend: Opened, clock: Clock, steps: list[Step], count: int, window: int
) -> None:
    key, rate = f"key since {clock.now}", Rate(count, window, "", "")
    state = backend()
    await state.open()
    granted: list[tuple[int, int]] = []
    for step, pause, wanted in steps:
        clock.now += int(pause * window * 1000)
        if step == "reopen":
            await state.close()
            state = backend()
            await state.open()
        elif not await state.take(key, rate, wanted):
            granted.append((clock.now, wanted))
    await state.close()
    clock.now += 1
    for end, _ in granted:
        assert sum(number for at, number in granted if end - window * 1000 < at <= end) <= count


DAY = 86_400_000
UNITS = {"day": 86_400, "week": 7 * 86_400, "month": 31 * 86_400}
RATES = st.one_of(
    st.builds(
        Rate, st.integers(1, 12), st.sampled_from([3_600, 86_400, 7 * 86_400, 30 * 86_400]), st.just(""), st.just("")
    ),
    st.builds(
        lambda count, unit: Rate(count, UNITS[unit], unit, ""),
        st.integers(1, 12),
        st.sampled_from(["day", "week", "month"]),
    ),
)
ROUNDS = st.lists(
    st.tuples(
        st.floats(0, 2),
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=8),
        st.sampled_from([False, False, False, True]),  # to begin anew is the dear part, of a cluster most of all
    ),
    min_size=20,
    max_size=40,
)


def window_of(rate: Rate, at: int, zone: ZoneInfo) -> object:
    day = datetime.fromtimestamp(at / 1000, zone)
    return {"day": day.date(), "week": day.isocalendar()[:2], "month": (day.year, day.month)}[rate.calendar]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=ROUNDS, rate=RATES)
async def test_two_workers_of_two_nodes_never_exceed_a_rate_in_forty_days(
    backend: Opened, clock: Clock, rounds: list[tuple[float, list[tuple[int, int]], bool]], rate: Rate
) -> None:
    """In each round several ask at once; after some, one of the four dies and another takes its place."""
    zone, key = ZoneInfo("Asia/Jerusalem"), f"key since {clock.now}"
    workers = [backend() for _ in range(4)]
    for worker in workers:
        await worker.open()
    granted: list[tuple[int, int]] = []
    for days, asked, dies in rounds:
        clock.now += int(days * DAY)
        pauses = await asyncio.gather(*(workers[who].take(key, rate, count, zone.key) for who, count in asked))
        granted += [(clock.now, count) for (_, count), pause in zip(asked, pauses, strict=True) if not pause]
        if dies:
            await workers[0].close()
            workers = [*workers[1:], backend()]
            await workers[-1].open()
    for worker in workers:
        await worker.close()
    clock.now += 1
    assert granted or all(count > rate.count for _, asked, _ in rounds for _, count in asked)
    for end, _ in granted:
        if rate.calendar:
            within = [count for at, count in granted if window_of(rate, at, zone) == window_of(rate, end, zone)]
        else:
            within = [count for at, count in granted if end - rate.window * 1000 < at <= end]
        assert sum(within) <= rate.count


async def test_before_open_and_after_close_it_says_so(backend: Opened) -> None:
    state = backend()
    assert "closed" in repr(state)
    await state.close()
    await state.open()
    assert "open" in repr(state)
    await state.close()
    for step in (
        state.take("k", PER_MINUTE, 1), state.acquire("c", 1, "a", 1), state.renew("a", 1), state.drop("a"),
        state.pin("b", "n", ""), state.unpin("b", "n"), state.pinned("b"),
        state.tell(KEY, {}), state.told([KEY]), state.everyone("", 10),
    ):  # fmt: skip
        with pytest.raises(StateError, match="not open"):
            await step


async def test_leases_are_granted_up_to_the_limit(state: State) -> None:
    assert [await state.acquire("c", 3, holder, 30_000) for holder in "aabb"] == [True, True, True, False]
    assert await state.acquire("d", 3, "b", 30_000)
    await state.release("c", "a")
    assert await state.acquire("c", 3, "b", 30_000)
    assert not await state.acquire("c", 3, "a", 30_000)
    assert not await state.acquire("c", 2, "a", 30_000)


async def test_a_lease_ends_unless_renewed(state: State, clock: Clock) -> None:
    assert await state.acquire("c", 2, "dead", 30_000)
    assert await state.acquire("c", 2, "alive", 30_000)
    clock.now += 20_000
    await state.renew("alive", 30_000)
    assert not await state.acquire("c", 2, "new", 30_000)
    clock.now += 10_000
    assert await state.acquire("c", 2, "new", 30_000)
    assert not await state.acquire("c", 2, "new", 30_000)


async def test_workers_never_hold_more_leases_than_the_limit(backend: Opened, state: State) -> None:
    other = backend()
    await other.open()
    views, holders = {"a": state, "b": other}, "ab" * 20

    async def all_ask() -> list[str]:
        answers = await asyncio.gather(*(views[holder].acquire("c", 7, holder, 30_000) for holder in holders))
        return [holder for holder, granted in zip(holders, answers, strict=True) if granted]

    having = await all_ask()
    assert len(having) == 7
    await asyncio.gather(*(views[holder].release("c", holder) for holder in having[:3]))
    assert len(await all_ask()) == 3
    await other.close()


async def test_what_has_ended_is_given_back_without_effect(state: State, clock: Clock) -> None:
    assert await state.acquire("c", 1, "slow", 30_000)
    clock.now += 30_000
    assert await state.acquire("c", 1, "new", 30_000)
    await state.release("c", "slow")
    await state.release("c", "nobody")
    assert not await state.acquire("c", 1, "slow", 30_000)


async def test_a_new_life_drops_what_the_former_held(backend: Opened, state: State) -> None:
    for key in "ccd":
        assert await state.acquire(key, 2, "a", 30_000)
    reborn = backend()
    await reborn.open()
    await reborn.drop("a")
    assert [await reborn.acquire(key, 2, "a", 30_000) for key in "ccdd"] == [True] * 4
    await reborn.close()


async def test_a_holder_drops_all_at_once(state: State) -> None:
    for key in "cd":
        for _ in range(2):
            assert await state.acquire(key, 2, "a", 30_000)
    await state.drop("a")
    assert await state.acquire("c", 1, "b", 30_000)
    assert await state.acquire("d", 1, "b", 30_000)


async def test_notes_on_a_board_are_read_by_all_until_one_takes_them_off(backend: Opened, state: State) -> None:
    other = backend()
    await other.open()
    assert await other.pinned("suspensions") == {}
    await state.pin("suspensions", "1", "one: א")
    await state.pin("suspensions", "2", "two")
    await other.pin("suspensions", "2", "two, again")
    await other.pin("elsewhere", "1", "")
    assert await state.pinned("suspensions") == {"1": "one: א", "2": "two, again"}
    assert sorted(await asyncio.gather(state.unpin("suspensions", "1"), other.unpin("suspensions", "1"))) == [
        False,
        True,
    ]
    assert await other.pinned("suspensions") == await state.pinned("suspensions") == {"2": "two, again"}
    assert await state.pinned("elsewhere") == {"1": ""}
    await other.close()


async def test_notes_outlive_those_who_wrote_them(backend: Opened, state: State) -> None:
    await state.pin("suspensions", "1", "one")
    await state.close()
    reborn = backend()
    await reborn.open()
    assert await reborn.pinned("suspensions") == {"1": "one"}
    assert await reborn.unpin("suspensions", "1")
    assert not await reborn.unpin("suspensions", "1")
    await reborn.close()


async def test_facts_of_a_person_are_told_changed_and_removed_all_at_once(backend: Opened, state: State) -> None:
    other = backend()
    await other.open()
    await state.tell(KEY, {"b:all||manual": "[1]", "address": "é"})
    await other.tell(KEY, {"b:all||manual": None, "w:a": '["x"]', "never": None})
    assert await state.told([KEY]) == [{"address": "é", "w:a": '["x"]'}]
    await state.tell(KEY, {"address": None, "w:a": None})
    assert await other.told([KEY]) == [{}]
    assert await met(other) == {}, "of whom nothing is known any more, he is not there"
    await other.close()


async def test_many_people_are_told_of_in_one_question_in_the_order_asked(state: State) -> None:
    keys = [bytes([n]) * 16 for n in range(100)]
    await asyncio.gather(*(state.tell(key, {"n": str(key[0])}) for key in keys[::2]))
    wanted = [*reversed(keys), keys[2], keys[2]]
    found = await state.told(wanted)
    assert found == [{"n": str(key[0])} if key[0] % 2 == 0 else {} for key in wanted]
    assert await state.told([]) == []


async def test_everyone_is_met_page_by_page(state: State) -> None:
    keys = {bytes([n]) * 16: {"n": str(n)} for n in range(100)}
    await state.pin("board", "note", "no person")
    await asyncio.gather(*(state.tell(key, facts) for key, facts in keys.items()))
    assert await met(state) == keys


@pytest.mark.parametrize(
    "cursor", ["é", "x", "-1:0", "999:0", "0:x", "0:²", f"0:{1 << 64}", f"0:{'9' * 900}", f"{'9' * 5_000}:0"]
)
async def test_a_cursor_that_no_page_had_disturbs_nobody(state: State, cursor: str) -> None:
    asking = asyncio.gather(state.told([KEY]), state.everyone(cursor, 7), state.told([KEY]), return_exceptions=True)
    first, refused, last = await asking
    assert first == last == [{}]
    assert isinstance(refused, ValueError)


async def met(state: State) -> dict[bytes, dict[str, str]]:
    found: dict[bytes, dict[str, str]] = {}
    page, cursor = await state.everyone("", 7)
    found.update(page)
    while cursor:
        page, cursor = await state.everyone(cursor, 7)
        assert len(page) < 60
        found.update(page)
    return found


async def test_facts_outlive_those_who_told_them(backend: Opened, state: State) -> None:
    await state.tell(KEY, {"b:all||manual": "[1]"})
    await state.close()
    reborn = backend()
    await reborn.open()
    assert await reborn.told([KEY]) == [{"b:all||manual": "[1]"}]
    await reborn.close()


ONE, OTHER = b"key of 12 oc", b"\xffey of 12 oc"
HOUR = 3_600_000


async def test_the_first_to_leave_a_mark_is_told_so_and_all_others_whose_it_is(state: State, backend: Opened) -> None:
    assert await state.mark(HOUR, [Change(FIRST, ONE, b"\0a", HOUR)]) == [b""]
    other = backend()
    await other.open()
    both = [Change(FIRST, OTHER, b"b", HOUR), Change(FIRST, ONE, b"b", HOUR)]
    assert await other.mark(HOUR, both) == [b"", b"\0a"]
    assert await state.mark(HOUR, both) == [b"b", b"\0a"]
    await other.close()


async def test_of_many_who_race_for_a_mark_one_is_the_first(backend: Opened, state: State) -> None:
    other = backend()
    await other.open()
    asked = [(state, other)[n % 2].mark(HOUR, [Change(FIRST, ONE, b"%d" % n, HOUR)]) for n in range(40)]
    answers = [stood for (stood,) in await asyncio.gather(*asked)]
    assert answers.count(b"") == 1
    assert len(set(answers)) == 2
    await other.close()


async def test_a_mark_ends_by_itself_and_lives_on_where_it_is_put_again(state: State, clock: Clock) -> None:
    await state.mark(HOUR, [Change(FIRST, ONE, b"a", 1000), Change(FIRST, OTHER, b"a", 1000)])
    assert await state.mark(HOUR, [Change(PUT, ONE, b"ab", HOUR)]) == [b"a"]
    clock.now += 1000
    assert await state.mark(HOUR, [Change(FIRST, OTHER, b"c", 1000), Change(FIRST, ONE, b"c", 1000)]) == [b"", b"ab"]
    clock.now += HOUR - 1001
    assert await state.mark(HOUR, [Change(FIRST, ONE, b"d", 1000)]) == [b"ab"]
    clock.now += 1
    assert await state.mark(HOUR, [Change(FIRST, ONE, b"d", 1000)]) == [b""]


async def test_a_mark_is_taken_off_by_who_left_it_alone(state: State) -> None:
    await state.mark(HOUR, [Change(FIRST, ONE, b"ab", HOUR)])
    assert await state.mark(HOUR, [Change(DROP, ONE, b"b"), Change(DROP, OTHER, b"b")]) == [b"ab", b""]
    assert await state.mark(HOUR, [Change(DROP, ONE, b"a")]) == [b"ab"]
    assert await state.mark(HOUR, [Change(FIRST, ONE, b"c", HOUR)]) == [b""]


async def test_the_greatest_mark_stays_octet_by_octet(state: State, clock: Clock) -> None:
    values = [b"\x02\0a", b"\x02\0b", b"\x01\xff", b"\x02\0b", b"\xe9", b"Z\xff", b"\xe9\0"]
    stood = [(await state.mark(HOUR, [Change(MOST, ONE, value, HOUR)]))[0] for value in values]
    assert stood == [b"", b"\x02\0a", b"\x02\0b", b"\x02\0b", b"\x02\0b", b"\xe9", b"\xe9"]
    clock.now += HOUR
    assert await state.mark(HOUR, [Change(MOST, ONE, b"\x01", HOUR)]) == [b""]


async def test_marks_are_many_in_one_question(state: State) -> None:
    keys = [n.to_bytes(2, "big") * 6 for n in range(500)]
    assert await state.mark(HOUR, [Change(FIRST, key, key, HOUR) for key in keys]) == [b""] * 500
    assert await state.mark(HOUR, [Change(FIRST, key, b"", HOUR) for key in keys]) == keys
    assert await state.mark(HOUR, []) == []


async def test_so_many_are_counted_within_a_time_and_no_more(state: State, clock: Clock) -> None:
    async def take(key: bytes = ONE) -> bytes:
        return (await state.mark(HOUR, [Change(TAKE, key, b"3", HOUR)]))[0]

    assert [await take(), await take(OTHER)] == [b"", b""]
    clock.now += 1000
    assert [await take(), await take(), await take(), await take(OTHER)] == [b"", b"", b"%d" % (HOUR - 1000), b""]
    clock.now += HOUR - 1001
    assert await take() == b"1"
    clock.now += 1
    assert [await take(), await take()] == [b"", b"1000"]
    assert (await state.mark(HOUR, [Change(TAKE, ONE, b"1", HOUR)])) == [b"%d" % HOUR], "a lower limit counts at once"
    clock.now += HOUR
    assert await take() == b""


async def test_those_who_count_together_count_exactly(backend: Opened, state: State) -> None:
    other = backend()
    await other.open()
    asked = [(state, other)[n % 2].mark(HOUR, [Change(TAKE, ONE, b"10", HOUR)]) for n in range(40)]
    assert [stood for (stood,) in await asyncio.gather(*asked)].count(b"") == 10
    await other.close()
