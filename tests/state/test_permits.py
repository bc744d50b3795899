"""Connection permits and quota leases over a real State."""

import asyncio
from collections.abc import AsyncIterator
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
        assert [await one.acquire("", "b.example", 3) for _ in range(2)] == [True, True]
        assert [await other.acquire("", "b.example", 3) for _ in range(2)] == [True, False]
        assert await other.acquire("192.0.2.1", "b.example", 3)
        one.release("", "b.example")
        await state.released.acquire()
        assert await other.acquire("", "b.example", 3)
        assert repr(one) == "<ConnectionPermits w0: 1 held, 0 to give back>"


async def test_beside_others_one_on_its_way_back_is_used_again(state: Watched) -> None:
    async with running(ConnectionPermits(state, "w0")) as permits:
        assert [await permits.acquire("", "b.example", 2) for _ in range(2)] == [True, True]
        permits.release("", "b.example")
        assert await permits.acquire("", "b.example", 2)
        assert not await permits.acquire("", "b.example", 2)
        permits.release("", "b.example")
        assert not await permits.acquire("", "b.example", 1), "the limit was lowered meanwhile"


async def test_a_workers_only_one_goes_back_so_that_others_have_their_turn(state: Watched) -> None:
    async with running(ConnectionPermits(state, "w0")) as busy, running(ConnectionPermits(state, "w1")) as other:
        assert await busy.acquire("", "b.example", 1)
        busy.release("", "b.example")
        assert not await busy.acquire("", "b.example", 1)
        await state.released.acquire()
        assert await other.acquire("", "b.example", 1)
        assert not await busy.acquire("", "b.example", 1)


async def test_permits_are_renewed_and_a_former_life_holds_none(
    state: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY", 0.001)
    assert await state.acquire("conn//b.example", 1, "w0", 30_000)
    async with running(ConnectionPermits(state, "w0")) as permits:
        assert await permits.acquire("", "b.example", 1)
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
            assert await permits.acquire("", "b.example", 1_000)
            permits.release("", "b.example")
            await asyncio.sleep(0)


async def test_while_state_is_down_permits_are_refused_and_what_is_owed_is_kept(
    state: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY", 0.001)
    async with running(ConnectionPermits(state, "w0")) as permits:
        assert await permits.acquire("", "b.example", 1)
        state.down = True
        assert not await permits.acquire("", "c.example", 1)
        permits.release("", "b.example")
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
