"""Connection permits and quota leases over a real State."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.identity import Rate
from relay.state import permits as module
from relay.state.interface import StateError
from relay.state.limits import slice_ms
from relay.state.permits import STATE_DOWN, ConnectionPermits, QuotaLeases
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

BUSY = Rate(20_000, 3_600, "", "20000/hour")  # leases of up to 10
SMALL = Rate(5, 3_600, "", "5/hour")


class Watched(SqliteState):
    """Counts what is asked, and fails while it is `down`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self.taken: list[int] = []
        self.renewed = asyncio.Event()
        self.released = asyncio.Semaphore(0)
        self.down = False

    async def take(self, key: str, rate: Rate, count: int, timezone: str = "UTC") -> int:
        self._check()
        self.taken.append(count)
        return await super().take(key, rate, count, timezone)

    async def acquire(self, key: str, limit: int, holder: str, ttl_ms: int) -> bool:
        self._check()
        return await super().acquire(key, limit, holder, ttl_ms)

    async def renew(self, holder: str, ttl_ms: int) -> None:
        self.renewed.set()
        self._check()
        await super().renew(holder, ttl_ms)

    async def release(self, key: str, holder: str) -> None:
        try:
            self._check()
            await super().release(key, holder)
        finally:
            self.released.release()

    def _check(self) -> None:
        if self.down:
            raise StateError("the disk is full")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def state(tmp_path: Path, clock: Clock) -> AsyncIterator[Watched]:
    state = Watched(tmp_path / "state.db", clock)
    await state.open()
    yield state
    await state.close()


@asynccontextmanager
async def running(permits: ConnectionPermits) -> AsyncIterator[ConnectionPermits]:
    task = asyncio.create_task(permits.run())
    await asyncio.sleep(0)
    yield permits
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    await permits.close()


# -- connections


async def test_workers_share_the_connections_of_a_site(state: Watched) -> None:
    async with running(ConnectionPermits(state, "w0")) as one, running(ConnectionPermits(state, "w1")) as other:
        assert [await one.acquire("/b.example", 3) for _ in range(2)] == [True, True]
        assert [await other.acquire("/b.example", 3) for _ in range(2)] == [True, False]
        assert await other.acquire("192.0.2.1/b.example", 3)
        one.release("/b.example")
        await state.released.acquire()
        assert await other.acquire("/b.example", 3)
        assert repr(one) == "<ConnectionPermits w0: 1 held, 0 to give back>"


async def test_beside_others_one_on_its_way_back_is_used_again(state: Watched) -> None:
    async with running(ConnectionPermits(state, "w0")) as permits:
        assert [await permits.acquire("/b.example", 2) for _ in range(2)] == [True, True]
        permits.release("/b.example")
        assert await permits.acquire("/b.example", 2)
        assert not await permits.acquire("/b.example", 2)
        permits.release("/b.example")
        assert not await permits.acquire("/b.example", 1), "the limit was lowered meanwhile"


async def test_a_workers_only_one_goes_back_so_that_others_have_their_turn(state: Watched) -> None:
    async with running(ConnectionPermits(state, "w0", 2)) as busy, running(ConnectionPermits(state, "w1", 2)) as other:
        assert await busy.acquire("/b.example", 1)
        busy.release("/b.example")
        assert not await busy.acquire("/b.example", 1)
        await state.released.acquire()
        assert await other.acquire("/b.example", 1)
        assert not await busy.acquire("/b.example", 1)


async def test_permits_are_renewed_and_a_former_life_holds_none(
    state: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY", 0.001)
    assert await state.acquire("conn//b.example", 1, "w0", 30_000)
    async with running(ConnectionPermits(state, "w0")) as permits:
        assert await permits.acquire("/b.example", 1)
        clock.now += 29_000
        state.renewed.clear()
        await state.renewed.wait()
        assert not await state.acquire("conn//b.example", 1, "w1", 30_000)  # done after the renewal
        clock.now += 29_000
        assert not await state.acquire("conn//b.example", 1, "w1", 30_000)
    assert await state.acquire("conn//b.example", 1, "w1", 30_000)


async def test_a_stream_of_releases_does_not_put_off_renewal(state: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY", 0.02)
    async with running(ConnectionPermits(state, "w0")) as permits:
        while not state.renewed.is_set():
            assert await permits.acquire("/b.example", 1_000)
            permits.release("/b.example")
            await asyncio.sleep(0)


async def test_while_state_is_down_permits_are_refused_and_what_is_owed_is_kept(
    state: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY", 0.001)
    async with running(ConnectionPermits(state, "w0")) as permits:
        assert await permits.acquire("/b.example", 1)
        state.down = True
        assert not await permits.acquire("/c.example", 1)
        permits.release("/b.example")
        await state.released.acquire()
        state.renewed.clear()
        await state.renewed.wait()
        state.down = False
        await state.released.acquire()
        while not await state.acquire("conn//b.example", 1, "w1", 30_000):
            await state.released.acquire()


# -- quotas


async def test_a_busy_credential_rarely_asks_and_leases_grow(state: Watched) -> None:
    quotas = QuotaLeases(state)
    assert [await quotas.take("crm", BUSY, 1) for _ in range(100)] == [0] * 100
    assert state.taken[:5] == [1, 2, 4, 8, 10]
    assert len(state.taken) < 15
    assert repr(quotas).startswith("<QuotaLeases crm: ")


async def test_a_lease_ends_with_its_slot(state: Watched, clock: Clock) -> None:
    quotas = QuotaLeases(state)
    for _ in range(10):
        await quotas.take("crm", BUSY, 1)
    clock.now += slice_ms(BUSY)
    state.taken.clear()
    assert await quotas.take("crm", BUSY, 1) == 0
    assert state.taken == [1]


async def test_a_lease_ends_where_the_clock_it_is_counted_by_may_be_past_its_slot(state: Watched, clock: Clock) -> None:
    quotas, slot = QuotaLeases(state), slice_ms(BUSY)
    clock.now -= clock.now % slot
    for _ in range(4):
        await quotas.take("crm", BUSY, 1)
    clock.now += slot - 10
    state.latest = lambda: clock.now + 9
    state.taken.clear()
    assert await quotas.take("crm", BUSY, 1) == 0
    assert state.taken == []
    state.latest = lambda: clock.now + 10
    assert await quotas.take("crm", BUSY, 1) == 0
    assert state.taken != []


async def test_what_is_given_back_after_its_slot_is_nobody_s(state: Watched, clock: Clock) -> None:
    """A permit counts in the slot it was taken from: used in a later one, it would count there for nobody."""
    quotas, daily = QuotaLeases(state), Rate(2, 90_000, "day", "2/day")
    assert await quotas.take("crm", daily, 1) == 0
    taken_today = quotas.receipt
    quotas.give_back(taken_today, 1)
    assert await quotas.take("crm", daily, 1) == 0, "it was not needed"
    clock.now += 86_400_000
    assert await quotas.take("crm", daily, 1) == 0
    quotas.give_back(taken_today, 1)
    assert [not await quotas.take("crm", daily, 1) for _ in range(2)] == [True, False], "yesterday's is not tomorrow's"


async def test_what_is_reserved_of_a_rate_is_had_by_urgent_mail_alone_and_the_total_stays(state: Watched) -> None:
    """Bulk mail of two workers uses up its part; a password reset has its permit, and no more go than the rate has."""
    one, other, daily = QuotaLeases(state), QuotaLeases(state), Rate(8_000, 90_000, "day", "8000/day")

    async def went(quotas: QuotaLeases, tries: int, *, urgent: bool) -> int:
        return [await quotas.take("r", daily, 1, urgent=urgent, reserved=4) for _ in range(tries)].count(0)

    assert await one.take("r", daily, 7_980, reserved=4) == 0
    assert await went(one, 20, urgent=False) + await went(other, 20, urgent=False) == 16
    assert await went(other, 2, urgent=True) == 2, "the refusal of other mail is none for it"
    assert await went(other, 20, urgent=False) == 0, "what was leased ahead for it is not for other mail"
    assert await went(other, 9, urgent=True) + await went(one, 9, urgent=True) == 2
    assert await state.granted("quota/r", daily) == 8_000


async def test_many_at_once_share_a_lease(state: Watched) -> None:
    quotas = QuotaLeases(state)
    assert set(await asyncio.gather(*(quotas.take("crm", BUSY, 1) for _ in range(60)))) == {0}
    assert len(state.taken) < 10


async def test_workers_never_exceed_a_quota_and_use_all_of_it(state: Watched) -> None:
    workers = [QuotaLeases(state) for _ in range(3)]
    answers = [await workers[n % 3].take("crm", SMALL, 1) for n in range(12)]
    assert [not answer for answer in answers] == [True] * 5 + [False] * 7


async def test_a_quota_nearly_used_up_is_given_by_the_piece(state: Watched) -> None:
    quotas = QuotaLeases(state)
    await quotas.take("crm", BUSY, 19_998)
    assert [not await quotas.take("crm", BUSY, 1) for _ in range(3)] == [True, True, False]


async def test_a_refusal_is_remembered_for_as_long_as_it_holds(state: Watched, clock: Clock) -> None:
    quotas = QuotaLeases(state)
    assert await quotas.take("crm", SMALL, 4) == 0
    pause = await quotas.take("crm", SMALL, 2)
    asked = len(state.taken)
    clock.now += 1_000
    assert await quotas.take("crm", SMALL, 2) == pause - 1_000
    assert len(state.taken) == asked
    assert await quotas.take("crm", SMALL, 1) == 0, "less may still be had"
    clock.now += pause - 1_000
    assert await quotas.take("crm", SMALL, 2) == 0


async def test_a_changed_rate_is_in_force_at_once(state: Watched) -> None:
    quotas = QuotaLeases(state)
    assert await quotas.take("crm", SMALL, 5) == 0
    assert await quotas.take("crm", SMALL, 1) > 0
    assert await quotas.take("crm", Rate(6, 3_600, "", "6/hour"), 1) == 0


async def test_a_day_of_the_brand_is_asked_in_its_timezone(state: Watched) -> None:
    quotas = QuotaLeases(state)
    daily = Rate(1, 86_400, "day", "1/day")
    assert await quotas.take("crm", daily, 1, "Asia/Jerusalem") == 0
    assert await quotas.take("crm", daily, 1, "Asia/Jerusalem") == 10 * 3_600_000  # it is 14:00 there


async def test_while_state_is_down_quotas_wait(state: Watched) -> None:
    quotas = QuotaLeases(state)
    state.down = True
    assert await quotas.take("crm", SMALL, 1) == STATE_DOWN
    state.down = False
    assert await quotas.take("crm", SMALL, 1) == 0


# -- what cannot wait while State is down


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.001)


async def free(state: Watched, limit: int) -> int:
    """How many of `limit` leases State would still give to somebody else; none stays given."""
    count = 0
    while await SqliteState.acquire(state, "conn//b.example", limit, "probe", 30_000):
        count += 1
    await SqliteState.drop(state, "probe")
    return count


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.001)
    monkeypatch.setattr(module, "PATIENCE", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_what_is_urgent_has_a_worker_s_share_while_state_is_down(state: Watched) -> None:
    async with running(ConnectionPermits(state, "w0", workers=2)) as permits:
        assert await permits.acquire("/b.example", 6)
        state.down = True
        assert not await permits.acquire("/b.example", 6), "the rest waits"
        took = [await permits.acquire("/b.example", 6, urgent=True) for _ in range(4)]
        assert took == [True, True, False, False], "with the one that State gave, 3 of 6"
        assert "3 held, 0 to give back, State is down" in repr(permits)
        permits.release("/b.example")
        assert await permits.acquire("/b.example", 6, urgent=True)
        assert await permits.acquire("/c.example", 1, urgent=True), "one at least, however many workers there are"


@pytest.mark.usefixtures("impatient")
async def test_a_share_is_one_of_all_workers_of_all_nodes(state: Watched) -> None:
    state.sharers, state.down = 6, True
    async with running(ConnectionPermits(state, "w0", workers=2)) as permits:
        took = [await permits.acquire("/b.example", 12, urgent=True) for _ in range(3)]
        assert took == [True, True, False]
    quotas, rate = QuotaLeases(state, workers=2), Rate(12, 3_600, "", "12/hour")
    assert [not await quotas.take("crm", rate, 1, urgent=True) for _ in range(3)] == [True, True, False]
    state.sharers = 0
    assert await quotas.take("crm", rate, 1, urgent=True) == 0, "nobody knows of others: two share"


@pytest.mark.usefixtures("impatient")
async def test_state_hears_of_what_was_taken_without_it(state: Watched) -> None:
    async with running(ConnectionPermits(state, "w0")) as permits:
        state.down = True
        for _ in range(3):
            assert await permits.acquire("/b.example", 5, urgent=True)
        permits.release("/b.example")
        assert await free(state, 5) == 5
        state.down = False
        await until(lambda: "down" not in repr(permits))
        assert await free(state, 5) == 3
        for _ in range(2):
            permits.release("/b.example")
        await state.released.acquire()
        await state.released.acquire()
        assert await free(state, 5) == 5, "and of its end"


@pytest.mark.usefixtures("impatient")
async def test_after_a_time_that_outlasts_leases_state_knows_exactly_what_is_held(
    state: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(ConnectionPermits(state, "w0")) as permits:
        for _ in range(3):
            assert await permits.acquire("/b.example", 5)
        await SqliteState.drop(state, "w0")  # they ended, and others had them
        state.down = True
        monkeypatch.setattr(module, "LEASE", 1)
        assert not await permits.acquire("/c.example", 5)
        permits.release("/b.example")
        monkeypatch.setattr(module, "LEASE", 30_000)
        monkeypatch.setattr(permits, "renewed", float("-inf"))
        state.down = False
        await until(lambda: "down" not in repr(permits))
        assert await free(state, 5) == 3


@pytest.mark.usefixtures("impatient")
async def test_what_a_former_life_held_is_given_back_when_state_is_there(state: Watched) -> None:
    assert await SqliteState.acquire(state, "conn//b.example", 5, "w0", 30_000)
    state.down = True
    async with running(ConnectionPermits(state, "w0")) as permits:
        assert await permits.acquire("/b.example", 5, urgent=True)
        state.down = False
        await until(lambda: "down" not in repr(permits))
        assert await free(state, 5) == 4


class Slow(Watched):
    """Answers when `gate` opens."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self.gate = asyncio.Event()
        self.gate.set()

    async def take(self, key: str, rate: Rate, count: int, timezone: str = "UTC") -> int:
        await self.gate.wait()
        return await super().take(key, rate, count, timezone)

    async def acquire(self, key: str, limit: int, holder: str, ttl_ms: int) -> bool:
        granted = await super().acquire(key, limit, holder, ttl_ms)
        await self.gate.wait()
        return granted


@pytest.fixture
async def slow(tmp_path: Path, clock: Clock) -> AsyncIterator[Slow]:
    state = Slow(tmp_path / "slow.db", clock)
    await state.open()
    yield state
    state.gate.set()
    await state.close()


@pytest.mark.usefixtures("impatient")
async def test_an_answer_that_comes_too_late_is_given_back(slow: Slow) -> None:
    async with running(ConnectionPermits(slow, "w0")) as permits:
        slow.gate.clear()
        assert await permits.acquire("/b.example", 5, urgent=True), "it did not wait for long"
        cut = asyncio.create_task(permits.acquire("/c.example", 5))
        await until(lambda: bool(slow._requests.qsize() == 0))
        slow.gate.set()
        assert await cut
        await slow.released.acquire()
        await until(lambda: "down" not in repr(permits))
        assert await free(slow, 5) == 4


@pytest.mark.usefixtures("impatient")
async def test_who_is_cut_off_while_he_asks_holds_nothing(slow: Slow) -> None:
    async with running(ConnectionPermits(slow, "w0")) as permits:
        slow.gate.clear()
        asking = asyncio.create_task(permits.acquire("/b.example", 5, urgent=True))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        slow.gate.set()
        await slow.released.acquire()
        assert await free(slow, 5) == 5


async def test_urgent_mail_has_a_worker_s_share_of_its_quota_while_state_is_down(state: Watched, clock: Clock) -> None:
    quotas = QuotaLeases(state, workers=2)
    state.down = True
    assert [await quotas.take("crm", SMALL, 1, urgent=True) for _ in range(2)] == [0, 0]
    pause = await quotas.take("crm", SMALL, 1, urgent=True)
    assert 3_600_000 <= pause <= 3_600_000 + slice_ms(SMALL)
    assert await quotas.take("crm", SMALL, 1) == STATE_DOWN, "what is not urgent waits"
    clock.now += pause
    assert await quotas.take("crm", SMALL, 1, urgent=True) == 0
    assert await quotas.take("one", Rate(1, 60, "", "1/minute"), 1, urgent=True) == 0, "one at least"


async def test_state_counts_what_was_taken_without_it(state: Watched, clock: Clock) -> None:
    quotas = QuotaLeases(state)
    state.down = True
    assert await quotas.take("crm", SMALL, 3, urgent=True) == 0
    state.down = False
    assert await quotas.take("crm", SMALL, 1, urgent=True) == 0, "for a while it is not asked"
    assert state.taken == []
    clock.now += STATE_DOWN
    assert await quotas.take("crm", SMALL, 1, urgent=True) == 0
    assert state.taken == [4, 1]
    assert await quotas.take("crm", SMALL, 1, urgent=True) > 0
    assert await QuotaLeases(state).take("crm", SMALL, 1) > 0


@pytest.mark.usefixtures("impatient")
async def test_urgent_mail_does_not_wait_for_a_quota_of_a_state_that_hangs(slow: Slow, clock: Clock) -> None:
    quotas = QuotaLeases(slow)
    slow.gate.clear()
    assert await quotas.take("crm", SMALL, 1, urgent=True) == 0
    clock.now += STATE_DOWN
    patient = asyncio.create_task(quotas.take("crm", SMALL, 1))
    await asyncio.sleep(0)
    assert await quotas.take("crm", SMALL, 1, urgent=True) == 0, "nor for somebody who does"
    slow.gate.set()
    assert await patient == 0
    assert await quotas.take("crm", SMALL, 1, urgent=True) == 0
    assert slow.taken == [1, 1, 1, 1], "first what it did not know, each time"
