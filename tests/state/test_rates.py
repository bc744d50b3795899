"""Rates over State: parts that workers lease, and what State counts permit by permit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from relay.identity import Rate
from relay.state.interface import State
from relay.state.permits import LEASE, STATE_DOWN, ConnectionPermits, QuotaLeases
from relay.state.rates import IDLE, RateLeases
from relay.state.redis import RedisState
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock
from tests.support.egress import until

TWENTY = Rate(20, 1, "", "20/second")
HOURLY = Rate(3, 3_600, "", "3/hour")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Callable[[], State]:
    """Makes one more worker's view of the same state."""
    if request.param == "sqlite":
        return lambda: SqliteState(tmp_path / "state.db", clock)
    request.getfixturevalue("patient")
    url = request.getfixturevalue(request.param).url
    return lambda: RedisState(url, clock=clock, quiet=0)


@dataclass
class Leases:
    """The leases of one worker without waiting: as ConnectionPermits, which renews them, by the clock of the test."""

    state: State
    holder: str
    clock: Clock
    sharers: int = 3
    renewed: float = float("-inf")
    owed: list[str] = field(default_factory=list)

    async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool:
        return await self.state.acquire(name, limit, self.holder, LEASE)

    def release(self, name: str) -> None:
        self.owed.append(name)

    async def keep(self) -> None:
        for name in self.owed:
            await self.state.release(name, self.holder)
        self.owed.clear()
        await self.state.renew(self.holder, LEASE)
        self.renewed = self.clock.now / 1000


@dataclass
class Worker:
    state: State
    leases: Leases
    rates: RateLeases

    async def end(self) -> None:
        """kill -9: nobody gives anything back."""
        await self.state.close()


async def worker(backend: Callable[[], State], clock: Clock, name: str) -> Worker:
    state = backend()
    await state.open()
    leases = Leases(state, name, clock)
    await leases.keep()
    return Worker(state, leases, RateLeases(leases, QuotaLeases(state), lambda: clock.now / 1000))


@contextlib.asynccontextmanager
async def workers(backend: Callable[[], State], clock: Clock, count: int) -> AsyncIterator[list[Worker]]:
    made = [await worker(backend, clock, f"w{number}") for number in range(count)]
    yield made
    for one in made:
        await one.end()


async def send(one: Worker, rate: Rate, name: str = "rate/s") -> int:
    """A message that leaves at once; else what `take` says."""
    wait = await one.rates.take(name, rate, 1, "UTC", urgent=False)
    if not wait:
        one.rates.depart(name, rate)
    return wait


async def sent(one: Worker, rate: Rate, tries: int) -> int:
    """How many of so many messages went."""
    return [await send(one, rate) for _ in range(tries)].count(0)


async def test_a_worker_asks_for_parts_and_then_nobody(backend: Callable[[], State], clock: Clock) -> None:
    async with workers(backend, clock, 2) as (one, other):
        assert [await send(one, TWENTY) for _ in range(10)] == [0] * 10
        assert await send(other, TWENTY) == 0
        held = one.rates
        assert repr(held) == "<RateLeases 1 rates, 10 parts>"
        clock.now += 1_100
        await one.end()  # it need not be asked again
        assert [await send(one, TWENTY) for _ in range(10)] == [0] * 10


async def test_one_worker_uses_all_but_what_each_other_may_have(backend: Callable[[], State], clock: Clock) -> None:
    async with workers(backend, clock, 2) as (one, other):
        assert await sent(one, TWENTY, 40) == 18
        assert await sent(other, TWENTY, 40) == 2
        assert 0 < await send(other, TWENTY) <= 1_050


async def test_who_has_more_than_his_share_gives_parts_up_while_he_uses_them_up(
    backend: Callable[[], State], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[tuple[float, Callable[[str], None], str]] = []

    class Loop:
        def call_later(self, seconds: float, step: Callable[[str], None], name: str) -> None:
            later.append((seconds, step, name))

    async with workers(backend, clock, 2) as (one, other):
        for _ in range(40):
            await send(one, TWENTY)
        monkeypatch.setattr("relay.state.rates.asyncio.get_running_loop", Loop)
        one.rates.sweep([*one.rates._flows])
        monkeypatch.undo()
        assert "17 parts" in repr(one.rates)
        ((seconds, step, name),) = later
        assert seconds == pytest.approx(1.05), "until what it sent by it no longer counts"
        step(name)
        clock.now += 1_050
        await one.leases.keep()
        assert await sent(other, TWENTY, 40) == 3


async def test_a_site_that_is_left_alone_costs_nothing(backend: Callable[[], State], clock: Clock) -> None:
    async with workers(backend, clock, 2) as (one, other):
        for _ in range(40):
            await send(one, TWENTY)
        clock.now += int(IDLE * 1000)
        one.rates.sweep([*one.rates._flows])
        assert repr(one.rates) == "<RateLeases 0 rates, 0 parts>"
        await one.leases.keep()
        await other.leases.keep()
        assert await sent(other, TWENTY, 40) == 18


async def test_many_sites_are_looked_at_in_several_turns_of_the_loop(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.state.rates.SWEEP", 0)
    monkeypatch.setattr("relay.state.rates.SWEPT", 2)
    async with workers(lambda: SqliteState(tmp_path / "state.db", clock), clock, 1) as (one,):
        for number in range(7):
            await send(one, TWENTY, f"rate/{number}")
        clock.now += int(IDLE * 1000)
        running, seen = asyncio.create_task(one.rates.run()), set()
        while one.rates._flows:
            seen.add(len(one.rates._flows))
            await asyncio.sleep(0)
        running.cancel()
    assert seen == {7, 5, 3, 1}


async def test_who_is_cut_off_stops_and_only_what_is_urgent_goes_on_within_one_share(
    backend: Callable[[], State], clock: Clock
) -> None:
    async with workers(backend, clock, 1) as (one,):
        assert await sent(one, TWENTY, 12) == 12
        clock.now += 27_000  # not renewed: others may have them in three seconds
        assert await send(one, TWENTY) == STATE_DOWN
        urgent = [await one.rates.take("rate/s", TWENTY, 1, "UTC", urgent=True) for _ in range(10)]
        assert urgent == [0] * 6 + [STATE_DOWN] * 4, "20 parts, three workers"
        one.rates.sweep([*one.rates._flows])
        assert "0 parts" in repr(one.rates), "others will have them"


async def test_reserved_parts_are_for_urgent_mail_alone(backend: Callable[[], State], clock: Clock) -> None:
    """Bulk mail of one worker uses all it may have; urgent mail of both finds its parts at once, and keeps within the rate."""

    async def went(one: Worker, tries: int, *, urgent: bool) -> int:
        answers = [await one.rates.take("rate/s", TWENTY, 1, "UTC", urgent=urgent, reserved=4) for _ in range(tries)]
        for _ in range(answers.count(0)):
            one.rates.depart("rate/s", TWENTY)
        return answers.count(0)

    async with workers(backend, clock, 2) as (one, other):
        one.leases.sharers = other.leases.sharers = 2
        assert await went(one, 40, urgent=False) == 15, "one is left to the other worker"
        assert await went(other, 5, urgent=False) == 1
        assert await went(one, 2, urgent=True) == 2
        assert await went(one, 5, urgent=False) == 0
        assert await went(other, 9, urgent=True) == 2
        clock.now += 1_100
        assert await went(one, 40, urgent=False) == 15, "its two of the reserved ones are not for other mail"
        assert await went(one, 9, urgent=True) == 2
        one.rates.sweep([*one.rates._flows])
        clock.now += 1_100
        assert await went(one, 5, urgent=False) == 5
        one.rates.sweep([*one.rates._flows])
        clock.now += 1_100
        one.rates.sweep([*one.rates._flows])
        await one.leases.keep()
        assert "15 parts" not in repr(one.rates), "what nobody needs goes back, the reserved ones first"
        assert await went(other, 9, urgent=True) == 9


async def test_who_shares_a_small_rate_with_many_reserves_nothing(backend: Callable[[], State], clock: Clock) -> None:
    async with workers(backend, clock, 1) as (one,):
        three = Rate(3, 1, "", "3/second")
        assert await one.rates.take("rate/s", three, 1, "UTC", urgent=False, reserved=1) == 0, "one of three workers"


async def test_long_rates_are_counted_by_state(backend: Callable[[], State], clock: Clock) -> None:
    async with workers(backend, clock, 2) as (one, other):
        assert [await send(one, HOURLY) for _ in range(2)] == [0, 0]
        assert not await one.rates.take("rate/s", HOURLY, 1, "UTC", urgent=False)
        receipt = one.rates.receipt(HOURLY)
        assert await send(one, HOURLY) > 3_000_000
        one.rates.give_back("rate/s", HOURLY, 1, receipt)  # it never left: the next has it
        assert not await send(one, HOURLY)
        assert await send(other, HOURLY) > 3_000_000


async def test_a_new_rate_counts_what_went_under_the_old_one(backend: Callable[[], State], clock: Clock) -> None:
    async with workers(backend, clock, 1) as (one,):
        for _ in range(5):
            await send(one, TWENTY)
        slower = Rate(6, 1, "", "6/second")
        assert await sent(one, slower, 10) == 0
        same = Rate(6, 1, "", "6/second")
        clock.now += 1_100
        assert await sent(one, same, 10) == 4


async def test_at_the_end_parts_go_back_when_they_no_longer_count(
    backend: Callable[[], State], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(seconds: float) -> None:
        clock.now += int(seconds * 1000) + 1

    async with workers(backend, clock, 1) as (one,):
        await send(one, TWENTY)
        minute = Rate(2, 10, "", "2/10s")
        await send(one, minute, "rate/slow")
        monkeypatch.setattr("relay.state.rates.asyncio.sleep", sleep)
        await one.rates.close()
        assert one.leases.owed == ["rate/s 20/1"], "the other's window is not over: it ends by itself"


async def test_parts_of_real_leases(tmp_path: Path) -> None:
    """With ConnectionPermits and the loop's clock, as a worker has them."""
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    permits = ConnectionPermits(state, "w0/1", 1)
    loop = asyncio.get_running_loop()
    rates = RateLeases(permits, QuotaLeases(state), loop.time)
    running = [asyncio.create_task(work) for work in (permits.run(), rates.run())]
    await until(lambda: permits.renewed > 0)
    answers = await asyncio.gather(*(rates.take("rate/s", TWENTY, 1, "UTC", urgent=False) for _ in range(30)))
    assert sum(not answer for answer in answers) == 20
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    await permits.close()
    await state.close()


DAY = 86_400_000
RATES = [
    Rate(7, 1, "", "7/second"),
    Rate(130, 10, "", "130/10s"),
    Rate(12, 60, "", "12/minute"),
    Rate(9, 3_600, "", "9/hour"),
    Rate(11, 90_000, "day", "11/day"),
    Rate(40, 86_400, "", "40/24h"),
    Rate(60, 30 * 86_400, "", "60/30d"),
]
ROUNDS = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 2), st.floats(0, 0.00002)),  # days; or some seconds
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(0, 700)), min_size=1, max_size=3),
        st.sampled_from(["", "", "", "crash", "restart", "sweep"]),
    ),
    min_size=20,
    max_size=40,
)


async def pass_time(crew: list[Worker], clock: Clock, ms: int) -> None:
    """As workers live through it: leases are renewed in time, and what is idle goes back."""
    for _ in range(3):
        if ms > 10_000:
            ms -= 10_000
            clock.now += 10_000
            for one in crew:
                one.rates.sweep([*one.rates._flows])
                await one.leases.keep()
    clock.now += ms
    for one in crew:
        await one.leases.keep()


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rounds=ROUNDS, rate=st.sampled_from(RATES))
async def test_no_rate_is_ever_exceeded_in_forty_days(
    backend: Callable[[], State],
    clock: Clock,
    rounds: list[tuple[float, list[tuple[int, int, int]], str]],
    rate: Rate,
) -> None:
    """Three workers send bursts; some of what got a permit leaves later; workers are killed or restarted, and others take
    their place."""
    name = f"rate/s since {clock.now}"
    crew = [await worker(backend, clock, f"{clock.now}/{number}") for number in range(3)]
    left: list[int] = []
    asked = 0
    for number, (days, bursts, then) in enumerate(rounds):
        await pass_time(crew, clock, int(days * DAY))
        for who, count, delay in bursts:
            one = crew[who]
            takes: list[Awaitable[int]] = [
                one.rates.take(name, rate, 1, "UTC", urgent=nth % 3 == 0, reserved=rate.count // 4)
                for nth in range(count)
            ]
            granted = sum(not wait for wait in await asyncio.gather(*takes))
            asked += count
            clock.now += delay
            for _ in range(granted):
                one.rates.depart(name, rate)
                left.append(clock.now)
        if then == "sweep":
            for one in crew:
                one.rates.sweep([*one.rates._flows])
        elif then:
            await crew[0].end()
            crew = [*crew[1:], await worker(backend, clock, f"{clock.now}/{number}/new")]
    for one in crew:
        await one.end()
    clock.now += 1
    assert left, "something went"
    for end in left:
        if rate.calendar:
            within = [at for at in left if _day(at) == _day(end)]
        else:
            within = [at for at in left if end - rate.window * 1000 < at <= end]
        assert len(within) <= rate.count


def _day(at: int) -> object:
    return datetime.fromtimestamp(at / 1000, ZoneInfo("UTC")).date()


async def test_a_part_that_comes_too_late_goes_back(backend: Callable[[], State], clock: Clock) -> None:
    async with workers(backend, clock, 1) as (one,):
        granting, held, ask = asyncio.Event(), asyncio.Event(), one.leases.acquire

        async def slow(name: str, limit: int, *, urgent: bool) -> bool:
            granted = await ask(name, limit, urgent=urgent)
            granting.set()
            await held.wait()
            return granted

        one.leases.acquire = slow  # type: ignore[method-assign]
        asking = asyncio.create_task(one.rates.take("rate/s", TWENTY, 1, "UTC", urgent=False))
        await granting.wait()
        clock.now += int(IDLE * 1000)
        one.rates.sweep([*one.rates._flows])
        held.set()
        assert await asking > 0
        assert one.leases.owed == ["rate/s 20/1"]
