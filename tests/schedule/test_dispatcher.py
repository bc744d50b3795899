"""The loop around the decisions: starts, reads, waits, drains."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay.message import Change, Delivery
from relay.pause import Pause
from relay.schedule import ready
from relay.schedule.dispatcher import Dispatcher
from relay.schedule.ready import Limits
from relay.spool.store import Spool
from tests.support.queued import MARKETING, TRANSACTIONAL, FakeSpool, delivery, lane_of, message, queued

LANE = lane_of()


def clock() -> int:
    return time.time_ns() // 1_000_000


class Attempts:
    """Story 2 for the tests: notes who comes, waits where the site is in `hang`, and does what `result` says."""

    def __init__(self, spool: FakeSpool) -> None:
        self.spool = spool
        self.seen: list[int] = []
        self.hang: dict[str, asyncio.Event] = {}
        self.results: dict[int, Callable[[], int | Pause | None]] = {}
        self._changed = asyncio.Condition()

    async def __call__(self, one: Delivery) -> int | Pause | None:
        self.seen.append(one.message.row)
        async with self._changed:
            self._changed.notify_all()
        if one.site in self.hang:
            await self.hang[one.site].wait()
        again = self.results.pop(one.message.row, lambda: None)()
        if again is None:
            self.spool.rows.pop(one.key, None)
        elif not isinstance(again, Pause):
            self.spool.rows[one.key] = one.lane, again
        return again

    async def until(self, *rows: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: set(rows) <= set(self.seen))


@asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[None]:
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        await dispatcher.drain(5)
        await task


@pytest.fixture
def spool() -> FakeSpool:
    return FakeSpool()


@pytest.fixture
def attempts(spool: FakeSpool) -> Attempts:
    return Attempts(spool)


async def test_an_offer_starts_without_waiting_for_the_loop_of_the_schedule(
    spool: FakeSpool, attempts: Attempts
) -> None:
    dispatcher = Dispatcher(spool, attempts, clock)
    dispatcher.offer([queued(1, at=0), queued(2, at=0)])
    assert dispatcher.in_flight((1, 0))
    await asyncio.sleep(0)
    assert attempts.seen == [1, 2]
    assert await dispatcher.drain(5) == 0


async def test_the_pulse_of_the_loop_is_felt_only_while_other_mail_is_in_flight(
    spool: FakeSpool, attempts: Attempts
) -> None:
    dispatcher = Dispatcher(spool, attempts, clock)

    def felt() -> bool:
        return dispatcher._pulse is not None

    attempts.hang = {"b.example": asyncio.Event(), "t.example": asyncio.Event()}
    dispatcher.offer([queued(1, "t.example", TRANSACTIONAL, at=0)])
    assert not felt()
    dispatcher.offer([queued(2, at=0)])
    assert felt()
    attempts.hang["b.example"].set()
    async with asyncio.timeout(10):
        while felt():  # noqa: ASYNC110 - it ends at one of its beats
            await asyncio.sleep(0.001)
    assert dispatcher.in_flight((1, 0))
    attempts.hang["t.example"].set()
    assert await dispatcher.drain(5) == 0


async def test_what_waited_in_the_spool_goes_at_the_start(spool: FakeSpool, attempts: Attempts) -> None:
    spool.put(*(queued(row, f"s{row % 7}.example", at=0) for row in range(300)))
    async with running(Dispatcher(spool, attempts, clock, Limits(site_attempts=5))):
        await attempts.until(*range(300))
    assert sorted(attempts.seen) == list(range(300))
    assert not spool.rows


async def test_a_deferred_delivery_goes_again_at_its_time(spool: FakeSpool, attempts: Attempts) -> None:
    one, due = queued(1, at=0), 0

    def later() -> int:
        nonlocal due
        due = clock() + 30
        return due

    attempts.results[1] = later
    spool.put(one)
    async with running(Dispatcher(spool, attempts, clock)):
        await attempts.until(1)
        attempts.seen.clear()
        await attempts.until(1)
        assert clock() >= due
    assert not spool.rows


async def test_a_site_that_hangs_holds_up_nobody_else(spool: FakeSpool, attempts: Attempts) -> None:
    attempts.hang["dead.example"] = asyncio.Event()
    spool.put(*(queued(row, "dead.example", at=0) for row in range(2_000)))
    dispatcher = Dispatcher(spool, attempts, clock)
    async with running(dispatcher):
        await attempts.until(*range(40))
        dispatcher.offer([queued(row, "dead.example", at=0) for row in range(2_000, 6_000)])
        dispatcher.offer([queued(9_001, at=0), queued(9_002, mail_class=TRANSACTIONAL, at=0)])
        await attempts.until(9_001, 9_002)
        assert dispatcher.stats()["in_flight_marketing"] == 40
        assert "40 in flight" in repr(dispatcher)
        attempts.hang["dead.example"].set()


async def test_a_site_without_room_waits_its_time_and_nothing_is_read_again(
    spool: FakeSpool, attempts: Attempts
) -> None:
    one, due = queued(1, at=0), clock() + 300
    spool.put(one)
    attempts.results[1] = lambda: Pause(due, "1/s")
    dispatcher = Dispatcher(spool, attempts, clock)
    dispatcher.offer([one])
    await asyncio.sleep(0)
    assert dispatcher.pauses() == [(MARKETING, Pause(due, "1/s", "b.example"))]
    attempts.seen.clear()
    spool.broken = True
    async with running(dispatcher):
        await attempts.until(1)
        assert clock() >= due
    assert not spool.rows


async def test_who_finds_room_lets_the_next_one_ask(spool: FakeSpool, attempts: Attempts) -> None:
    attempts.hang["b.example"] = asyncio.Event()
    mail = [queued(row, at=0) for row in (1, 2)]
    spool.put(*mail)
    for row in (1, 2):
        attempts.results[row] = lambda: Pause(0)
    dispatcher = Dispatcher(spool, attempts, clock)
    async with running(dispatcher):
        dispatcher.offer(mail)
        await attempts.until(1, 2)
        attempts.seen.clear()
        attempts.hang.pop("b.example").set()
        attempts.hang["b.example"] = asyncio.Event()
        await attempts.until(1)
        assert attempts.seen == [1]
        dispatcher.going(mail[0])
        await attempts.until(2)
        attempts.hang["b.example"].set()
    assert not spool.rows


async def test_a_pause_ends_when_there_is_room_again(spool: FakeSpool, attempts: Attempts) -> None:
    one = queued(1, at=0)
    spool.put(one)
    attempts.results[1] = lambda: Pause(clock() + 60_000)
    dispatcher = Dispatcher(spool, attempts, clock)
    async with running(dispatcher):
        dispatcher.offer([one])
        await attempts.until(1)
        attempts.seen.clear()
        await asyncio.sleep(0)
        assert dispatcher.resume("elsewhere.example") == 0
        assert dispatcher.resume("b.example") == 1
        await attempts.until(1)
    assert not spool.rows


async def test_a_fault_of_ours_is_logged_and_the_delivery_goes_again(
    spool: FakeSpool, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "FAULT_PAUSE", 20)

    def fault() -> int:
        raise ZeroDivisionError

    attempts.results[1] = fault
    one = queued(1, at=0)
    spool.put(one)
    dispatcher = Dispatcher(spool, attempts, clock)
    with capture_logs() as logs:
        async with running(dispatcher):
            dispatcher.offer([one])
            await attempts.until(1)
            attempts.seen.clear()
            await attempts.until(1)
    assert [(entry["log_level"], entry["id"]) for entry in logs] == [("error", one.message.id)]
    assert not spool.rows


async def test_a_cancelled_attempt_leaves_the_schedule_in_order(spool: FakeSpool) -> None:
    async def gives_up(_: Delivery) -> int | None:
        raise asyncio.CancelledError

    spool.put(queued(1, at=0))
    before = dict(spool.rows)
    dispatcher = Dispatcher(spool, gives_up, clock)
    dispatcher.offer([queued(1, at=0)])
    with capture_logs() as logs:
        assert await dispatcher.drain(5) == 0
    assert dispatcher.stats()["barred"] == 1
    assert spool.rows == before
    assert not logs, "that we shut down is no fault"


async def test_a_spool_that_cannot_read_is_asked_again(
    spool: FakeSpool, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.schedule.dispatcher.HEALTH_CHECK", 5)
    monkeypatch.setattr(ready, "LOAD_PAUSE", 5)
    spool.put(queued(1, at=0))
    spool.broken = True
    dispatcher = Dispatcher(spool, attempts, clock)
    with capture_logs() as logs:
        async with running(dispatcher):
            await spool.failures(2)
            dispatcher.wake(LANE, 0)
            await spool.failures(5)
            spool.broken = False
            await attempts.until(1)
    assert {entry["event"] for entry in logs} >= {"the spool's lanes could not be read; trying again"}


async def test_due_mail_that_cannot_be_read_is_asked_for_again(
    spool: FakeSpool, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "LOAD_PAUSE", 5)
    dispatcher = Dispatcher(spool, attempts, clock)
    with capture_logs() as logs:
        async with running(dispatcher):
            spool.put(queued(9, at=0))
            dispatcher.wake(LANE, 0)
            await attempts.until(9)
            spool.put(queued(1, at=0))
            spool.broken = True
            dispatcher.wake(LANE, 0)
            await spool.failures(3)
            spool.broken = False
            await attempts.until(1)
    assert "due mail could not be read; trying again" in {entry["event"] for entry in logs}


async def test_nothing_starts_while_the_spool_is_not_healthy(
    spool: FakeSpool, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.schedule.dispatcher.HEALTH_CHECK", 5)
    spool.healthy = False
    spool.put(queued(1, at=0))
    dispatcher = Dispatcher(spool, attempts, clock)
    async with running(dispatcher):
        for _ in range(20):
            dispatcher.wake(LANE, 0)
            await asyncio.sleep(0)
        assert not attempts.seen
        spool.healthy = True
        await attempts.until(1)


async def test_drain_starts_nothing_more_and_counts_what_remains(spool: FakeSpool, attempts: Attempts) -> None:
    attempts.hang["dead.example"] = asyncio.Event()
    spool.put(*(queued(row, at=0) for row in range(5, 9)))
    dispatcher = Dispatcher(spool, attempts, clock, Limits(site_attempts=2))
    dispatcher.offer([queued(row, "dead.example", at=0) for row in range(4)])
    run = asyncio.create_task(dispatcher.run())
    await attempts.until(0, 1)
    assert await dispatcher.drain(0) == 2
    await run
    dispatcher.offer([queued(99, at=0)])
    dispatcher.wake(LANE, 0)
    attempts.hang["dead.example"].set()
    assert await dispatcher.drain(5) == 0
    assert sorted(attempts.seen) == [0, 1]
    assert "stopped" in repr(dispatcher)


async def test_a_command_claims_what_it_changes(spool: FakeSpool, attempts: Attempts) -> None:
    attempts.hang["b.example"] = asyncio.Event()
    mail = [queued(row, at=0) for row in (1, 2, 3)]
    spool.put(*mail)
    dispatcher = Dispatcher(spool, attempts, clock, Limits(site_attempts=1))
    async with running(dispatcher):
        dispatcher.offer(mail)
        await attempts.until(1)
        claimed = dispatcher.claim([one.key for one in mail])
        assert claimed == [(2, 0), (3, 0)]
        attempts.hang.pop("b.example").set()
        del spool.rows[2, 0]
        dispatcher.forget(claimed)
        dispatcher.wake(LANE, 0)
        await attempts.until(3)
    assert attempts.seen == [1, 3]


@pytest.mark.parametrize(("sites", "lanes"), [(4, 10_000), (60, 3)])
async def test_with_the_real_spool_each_delivery_is_attempted_as_often_as_it_should(
    tmp_path: Path, sites: int, lanes: int
) -> None:
    spool = Spool(tmp_path / "0.db", clock=clock, on_fatal=lambda _: None)
    await spool.open()
    tries: dict[tuple[int, int], int] = {}
    done, total = asyncio.Event(), 0

    async def attempt(one: Delivery) -> int | None:
        tries[one.key] = tries.get(one.key, 0) + 1
        one.attempts += 1
        if (
            one.attempts <= one.index
        ):  # the first recipient at once, the others after a deferral for each place before them
            one.next_attempt = clock() + 5
            await spool.settle(Change(again=[one]))
            return one.next_attempt
        await spool.settle(Change(finished=[one]))
        if sum(tries.values()) == total:
            done.set()
        return None

    dispatcher = Dispatcher(
        spool, attempt, clock, Limits(attempts=40, site_attempts=8, window=60, lane_window=10, lanes=lanes)
    )
    run = asyncio.create_task(dispatcher.run())
    for number in range(100):
        about = message(0, content=b"Subject: x\r\n\r\nx\r\n")
        about.id = f"{number:016d}"
        mail = [delivery(about, f"s{number % sites}.example", clock(), index) for index in range(3)]
        total += 6
        await spool.put(Change(put=[(about, mail)]))
        dispatcher.offer(mail)
    await done.wait()
    assert await dispatcher.drain(5) == 0
    await run
    assert await spool.lanes(MARKETING, None, 10) == []
    await spool.close()
    assert sorted(tries.values()) == [1] * 100 + [2] * 100 + [3] * 100
