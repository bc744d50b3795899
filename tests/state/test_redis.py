"""The Redis backend: round trips, lost answers, lost data, servers that die, stop or are emptied."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.identity import Rate
from relay.room import Ask, Bound, Settled
from relay.state import redis as module
from relay.state import redis_batches, redis_link
from relay.state.interface import StateError
from relay.state.redis import QUIET, RedisState
from relay.state.redis_link import Call
from relay.state.redis_places import tag_of
from tests.support.certificates import self_signed
from tests.support.clocks import Clock
from tests.support.node import free_port
from tests.support.redis_server import RedisCluster, RedisPair, RedisServer

PER_HOUR = Rate(10, 3_600, "", "10/hour")
MANY = Rate(100_000, 3_600, "", "")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def states() -> AsyncIterator[list[RedisState]]:
    """Those that a test opens, to be closed."""
    opened: list[RedisState] = []
    yield opened
    for state in opened:
        await state.close()


@pytest.fixture(autouse=True)
def quiet_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look at Redis but what a test does, unless it says otherwise."""
    monkeypatch.setattr(module, "HEARTBEAT", 3_600.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "SECONDS", 0.2)
    monkeypatch.setattr(redis_batches, "REST", 0.0)
    monkeypatch.setattr(module, "HEARTBEAT", 0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.001)


async def opened(states: list[RedisState], url: str, clock: Clock | None = None, **more: Any) -> RedisState:
    state = RedisState(url, clock=clock, **{"quiet": 0, **more})
    await state.open()
    states.append(state)
    return state


class Watched:
    """Stands before a link: counts round trips, loses the next answer when told to."""

    def __init__(self, state: RedisState) -> None:
        self.trips: list[list[str]] = []
        self.lose_next = False
        self._send = state._link.send
        state._link.send = self.send  # type: ignore[method-assign]

    async def send(self, calls: Sequence[Call]) -> list[Any]:
        self.trips.append([str(call.words[0]) for call in calls])
        answers = await self._send(calls)
        if self.lose_next:
            self.lose_next = False
            raise ConnectionResetError("lost")
        return answers


# -- round trips


async def test_what_is_asked_in_one_turn_is_one_round_trip(redis: RedisServer, states: list[RedisState]) -> None:
    state = await opened(states, redis.url)
    watched = Watched(state)
    answers = await asyncio.gather(
        *(state.take(f"k{n % 7}", MANY, 1) for n in range(100)), *(state.acquire("c", 9, "a", 30_000) for _ in range(9))
    )
    assert answers == [0] * 100 + [True] * 9
    assert [len(trip) for trip in watched.trips] == [110]


async def test_who_does_not_wait_for_his_answer_does_no_harm(redis: RedisServer, states: list[RedisState]) -> None:
    state = await opened(states, redis.url)
    gone = [asyncio.create_task(state.take("k", PER_HOUR, 1)), asyncio.create_task(state.acquire("c", 1, "a", 30_000))]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    assert await state.take("k", PER_HOUR, 9) == 0, "asked in order: the cancelled one had the first permit"
    assert await state.take("k", PER_HOUR, 1) > 0
    await state.drop("a")
    assert await state.acquire("c", 1, "b", 30_000)


async def test_closing_leaves_nobody_waiting(redis: RedisServer, states: list[RedisState]) -> None:
    state = await opened(states, redis.url)
    redis.pause()
    asking = [asyncio.create_task(state.take("k", PER_HOUR, 1)) for _ in range(3)]
    await asyncio.sleep(0)
    await state._batches.stop()
    redis.resume()
    for task in asking:
        with pytest.raises(StateError, match="closed"):
            await task


async def test_keys_of_a_cluster_live_on_all_its_masters(cluster: RedisCluster, states: list[RedisState]) -> None:
    state = await opened(states, cluster.url)
    assert "(cluster)" in repr(state._link)
    await asyncio.gather(*(state.take(f"k{n}", PER_HOUR, 1) for n in range(50)))
    sizes = [server.ask("DBSIZE") for server in cluster.servers]
    assert sum(sizes) == 50 + module.TAGS + 2
    assert min(sizes) >= 10
    assert all(name.startswith("127.0.0.1:") for name in state._clock._readings)


# -- names of nodes


async def test_two_nodes_of_a_name_do_not_share_leases(redis: RedisServer, states: list[RedisState]) -> None:
    first = await opened(states, redis.url, member="relay-1/0", owner="a")
    again = await opened(states, redis.url, member="relay-1/1", owner="a")
    other = RedisState(redis.url, member="relay-1/0", quiet=0, owner="b")
    assert await first.acquire("c", 1, "relay-1/0", 30_000)
    with capture_logs() as logs, pytest.raises(StateError, match='another node is called "relay-1"'):
        await other.open()
    assert "another node has this one's name" in logs[0]["event"]
    assert "unique in a cluster" in other.trouble
    with pytest.raises(StateError):
        await other.drop("relay-1/0")
    assert not await again.acquire("c", 1, "relay-1/1", 30_000), "the first still has it"
    assert not first.trouble


async def test_a_name_is_free_when_its_node_is_gone(redis: RedisServer, states: list[RedisState]) -> None:
    """It is by itself, COUNTED ms later at most, which are not waited for here."""
    first = await opened(states, redis.url, member="relay-1/0", owner="a")
    other = RedisState(redis.url, member="relay-1/0", quiet=0, owner="b")
    with pytest.raises(StateError):
        await other.open()
    await first.close()
    assert 0 < redis.ask("PTTL", "postlane:node:relay-1") <= module.COUNTED
    redis.ask("PEXPIRE", "postlane:node:relay-1", "1")
    await until(lambda: redis.ask("EXISTS", "postlane:node:relay-1") == 0)
    await other.open()
    states.append(other)
    assert not other.trouble
    assert await other.take("k", PER_HOUR, 1) == 0


async def test_a_clash_that_shows_later_stops_the_second_node_until_it_is_over(
    redis: RedisServer, states: list[RedisState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both began while Redis was down, or it lost its data: who speaks first has the name."""
    first = await opened(states, redis.url, member="relay-1/0", owner="a")
    redis.ask("SET", "postlane:node:relay-1", "b")
    with pytest.raises(StateError, match="another node"):
        await first._learn()
    for asked in (first.take("k", PER_HOUR, 1), first.acquire("c", 1, "h", 30_000), first.renew("h", 30_000)):
        with pytest.raises(StateError, match="another node"):
            await asked
    redis.ask("DEL", "postlane:node:relay-1")
    await first._learn()
    assert await first.take("k", PER_HOUR, 1) == 0


# -- the clock


async def test_the_servers_clock_counts_whatever_time_it_is_here(
    redis: RedisServer, states: list[RedisState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000_000)
    state = await opened(states, redis.url)
    seconds, micros = redis.ask("TIME")
    assert state.now() <= seconds * 1000 + micros // 1000 + 1_000
    assert state.latest() >= seconds * 1000 + micros // 1000
    assert state.latest() - state.now() < 1_000
    daily = Rate(1, 86_400, "day", "1/day")
    assert await state.take("k", daily, 1, "Asia/Jerusalem") == 0
    assert 0 < await state.take("k", daily, 1, "Asia/Jerusalem") <= 25 * 3_600_000


@pytest.mark.parametrize("off", [-1, -86_400_000, 3 * 86_400_000])
async def test_of_a_day_the_servers_time_is_asked_for_where_ours_is_another(
    redis: RedisServer, states: list[RedisState], clock: Clock, off: int
) -> None:
    """The slot is computed here, the time is the server's: it is 0:00 there."""
    clock.now -= clock.now % 86_400_000
    state, daily = await opened(states, redis.url, clock), Rate(1, 86_400, "day", "1/day")
    state.now = lambda: clock.now + off  # type: ignore[method-assign]
    watched = Watched(state)
    assert await state.take("k", daily, 1) == 0
    assert watched.trips == [["take"], ["take"]]
    assert await state.take("k", daily, 1) == 86_400_000


async def test_data_that_is_new_at_each_question_is_an_error(
    redis: RedisServer, states: list[RedisState], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = await opened(states, redis.url)
    watched, learn = Watched(state), state._learn

    async def learn_what_is_over_at_once() -> None:
        await learn()
        redis.empty()

    monkeypatch.setattr(state, "_learn", learn_what_is_over_at_once)
    redis.empty()
    with pytest.raises(StateError, match="changes all the time"):
        await state.take("k", PER_HOUR, 1)
    assert watched.trips.count(["take"]) == module.TRIES


async def test_leases_of_a_dead_worker_end_by_the_servers_clock(redis: RedisServer, states: list[RedisState]) -> None:
    dead, alive = await opened(states, redis.url), await opened(states, redis.url)
    assert await dead.acquire("c", 1, "dead", 1_000)
    assert not await alive.acquire("c", 1, "alive", 30_000)
    async with asyncio.timeout(20):
        while not await alive.acquire("c", 1, "alive", 30_000):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.02)


async def test_all_who_share_are_counted_until_they_leave(redis: RedisServer, states: list[RedisState]) -> None:
    one, other = await opened(states, redis.url), await opened(states, redis.url)
    await one._learn()
    assert (one.sharers, other.sharers) == (2, 2)
    await other.close()
    await one._learn()
    assert one.sharers == 1


# -- what Redis forgets


async def test_scripts_that_are_flushed_are_brought_again(redis: RedisServer, states: list[RedisState]) -> None:
    state = await opened(states, redis.url)
    granted = 0
    for _ in range(20):
        redis.ask("SCRIPT FLUSH")
        answers = await asyncio.gather(
            *(state.take("k", PER_HOUR, 1) for _ in range(2)), state.acquire("c", 3, "a", 1_000)
        )
        granted += answers[:2].count(0)
    assert granted == 10
    assert not await state.acquire("c", 3, "b", 30_000)


async def test_after_the_loss_of_all_data_the_living_tell_what_they_were_granted(
    redis: RedisServer, states: list[RedisState], clock: Clock
) -> None:
    workers = [await opened(states, redis.url, clock, quiet=QUIET) for _ in range(2)]
    clock.now += QUIET
    assert [await worker.take("k", PER_HOUR, 4) for worker in workers] == [0, 0]
    assert await workers[0].acquire("c", 2, "a", 60_000)
    assert await workers[1].acquire("c", 2, "b", 60_000)
    redis.empty()
    newcomer = await opened(states, redis.url, clock, quiet=QUIET)
    for state in (newcomer, *workers):
        with pytest.raises(StateError, match="lost its data"):
            await state.take("k", PER_HOUR, 1)
        with pytest.raises(StateError, match="lost its data"):
            await state.acquire("c", 2, "c", 60_000)
        with pytest.raises(StateError, match="lost its data"):
            await state.renew("c", 60_000)
        assert "lost its data" in state.trouble
    clock.now += QUIET
    assert not await newcomer.acquire("c", 2, "c", 60_000)
    for state in (newcomer, *workers):
        await state._learn()
        assert state.trouble == ""
    assert await newcomer.take("k", PER_HOUR, 3) > 0
    assert await newcomer.take("k", PER_HOUR, 2) == 0
    assert await workers[0].take("k", PER_HOUR, 1) > 0


async def test_what_no_longer_counts_is_not_told(redis: RedisServer, states: list[RedisState], clock: Clock) -> None:
    state = await opened(states, redis.url, clock)
    for _ in range(250):
        clock.now += 100_000
        assert await state.take("k", PER_HOUR, 1) in range(3_600_000)
    assert len(state._grants._granted["k 3600"]) <= 12
    clock.now += 2 * 3_600_000
    redis.empty()
    assert await state.take("k", PER_HOUR, 10) == 0


async def test_idle_workers_notice_the_loss_by_themselves(
    redis: RedisServer, states: list[RedisState], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.01)
    idle = await opened(states, redis.url, clock)
    assert await idle.take("k", PER_HOUR, 10) == 0
    before = list(idle._epochs)
    redis.empty()
    await until(lambda: all(new != old for new, old in zip(idle._epochs, before, strict=True)))
    newcomer = await opened(states, redis.url, clock)
    assert await newcomer.take("k", PER_HOUR, 1) > 0


# -- answers that do not come


async def test_a_lost_answer_never_widens_a_limit(redis: RedisServer, states: list[RedisState]) -> None:
    state, other = await opened(states, redis.url), await opened(states, redis.url)
    watched = Watched(state)
    assert await state.acquire("c", 4, "a", 30_000)
    for step in (
        lambda: state.acquire("c", 4, "a", 30_000),
        lambda: state.release("c", "a"),
        lambda: state.take("k", PER_HOUR, 4),
    ):
        watched.lose_next = True
        with pytest.raises(StateError, match="lost"):
            await step()
        state._batches._rest_until = 0.0
    assert await state.take("k", PER_HOUR, 7) > 0, "the lost four count"
    assert watched.trips[-1] == ["tell", "take"], "first of all the exact number of leases"
    assert [await other.acquire("c", 4, "b", 30_000) for _ in range(4)] == [True, True, True, False]
    await state.release("c", "a")
    assert await other.acquire("c", 4, "b", 30_000)


async def test_a_former_life_is_noted_once_and_forgotten_when_nothing_is_held(
    redis: RedisServer, states: list[RedisState]
) -> None:
    state = await opened(states, redis.url)
    watched = Watched(state)
    for _ in range(3):
        assert await state.acquire("c", 1, "a", 30_000)
        await state.release("c", "a")
    assert [trip for trip in watched.trips if "note" in trip] == [["note", "acquire"]]
    assert redis.ask("SMEMBERS", "postlane:held:a") == {b"c"}
    await state.renew("a", 30_000)
    assert redis.ask("SMEMBERS", "postlane:held:a") == set()
    assert await state.acquire("c", 1, "a", 30_000)
    assert redis.ask("SMEMBERS", "postlane:held:a") == {b"c"}
    await state.renew("a", 30_000)
    assert watched.trips[-1] == ["note", "tell"]
    assert redis.ask("PTTL", "postlane:held:a") > 20_000


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_dies_or_hangs_is_an_error_and_heals(tmp_path: Path, states: list[RedisState]) -> None:
    with RedisServer(tmp_path / "redis") as server, capture_logs() as logs:
        state = await opened(states, server.url)
        assert state.trouble == ""
        for stop, start in ((server.kill, server.start), (server.pause, server.resume)):
            stop()
            with pytest.raises(StateError, match=r"redis://127.0.0.1:\d+/0: "):
                await state.take("k", PER_HOUR, 1)
            assert state.trouble
            assert state.trouble in repr(state)
            with pytest.raises(StateError):
                await state.renew("a", 30_000)
            start()
            await until(lambda: not state.trouble)
            assert await state.acquire("c", 1_000_000, "a", 30_000)
            await state.renew("a", 30_000)
    events = [entry["event"] for entry in logs]
    assert [event for event in events if event.startswith("State")] == [
        "State cannot be reached",
        "State is reached again",
    ] * 2


@pytest.mark.usefixtures("impatient")
async def test_a_promoted_replica_goes_on_where_its_master_ended(tmp_path: Path, states: list[RedisState]) -> None:
    with RedisPair(tmp_path / "redis") as pair, capture_logs() as logs:
        state, other = await opened(states, pair.url), await opened(states, pair.url)
        assert await state.take("k", PER_HOUR, 6) == 0
        assert await state.acquire("c", 1, "a", 60_000)
        await state.pin("b", "n", "note")
        assert pair.master.ask("WAIT", 1, 5_000) == 1
        with pytest.raises(StateError, match="is a replica"):
            await RedisState(pair.replica.url).open()
        pair.kill_master()
        with pytest.raises(StateError, match=r"redis\+sentinel://127.0.0.1:\d+/postlane/0: "):
            await state.take("k", PER_HOUR, 1)
        await until(lambda: pair.promoted() and not state.trouble and not other.trouble)
        assert not await other.acquire("c", 1, "b", 60_000)
        assert [await other.take("k", PER_HOUR, 3), await state.take("k", PER_HOUR, 1)] == [0, 0]
        assert await state.take("k", PER_HOUR, 1) > 0
        assert await other.pinned("b") == {"n": "note"}
        assert state._link.server_of(Call(("k",), ())) == f"127.0.0.1:{pair.replica.port}"
        pair.sentinel.kill()
        assert await state.granted("k", PER_HOUR) == 10, "whoever is connected needs no Sentinel"
    assert not [entry for entry in logs if "lost its data" in entry["event"]]


async def test_a_sentinel_that_does_not_know_the_name_is_an_error(tmp_path: Path) -> None:
    with RedisPair(tmp_path / "redis") as pair:
        for url in (pair.url.replace("/postlane/", "/other/"), f"redis+sentinel://127.0.0.1:{free_port()}/postlane"):
            state = RedisState(url)
            with pytest.raises(StateError, match="No master found for"):
                await state.open()


async def test_while_it_is_down_nobody_waits_for_a_connection(tmp_path: Path, states: list[RedisState]) -> None:
    with RedisServer(tmp_path / "redis") as server:
        state = await opened(states, server.url)
    watched = Watched(state)
    for _ in range(100):
        with pytest.raises(StateError):
            await state.acquire("c", 1, "a", 30_000)
    assert len(watched.trips) < 10


async def test_what_a_server_refuses_is_an_error(tmp_path: Path, states: list[RedisState]) -> None:
    with RedisServer(tmp_path / "redis") as server:
        state = await opened(states, server.url)
        server.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StateError, match="maxmemory"):
            await state.take("k", PER_HOUR, 1)
        server.ask("CONFIG", "SET", "maxmemory", 0)
        state._batches._rest_until = 0.0
        assert await state.take("k", PER_HOUR, 1) == 0


async def test_a_server_that_would_forget_under_pressure_is_named(tmp_path: Path, states: list[RedisState]) -> None:
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with RedisServer(tmp_path / "redis", *options) as server, capture_logs() as logs:
        await opened(states, server.url)
    assert [entry["policy"] for entry in logs if "noeviction" in entry["event"]] == ["allkeys-lru"]


async def test_passwords_come_from_the_file_and_show_nowhere(tmp_path: Path, states: list[RedisState]) -> None:
    file = tmp_path / "password"
    file.write_text("wrong-one\n")
    with RedisServer(tmp_path / "redis", password="right-one") as server, capture_logs() as logs:
        url = server.url.replace("redis://", "redis://default@")
        state = RedisState(url, str(file), quiet=0)
        with pytest.raises(StateError) as failed:
            await state.open()
        file.write_text("right-one\n")
        await state.open()
        states.append(state)
        assert await state.take("k", PER_HOUR, 1) == 0
        file.unlink()
        await state._link.close()
        with pytest.raises(StateError, match="No such file") as unread:
            await state.take("k", PER_HOUR, 1)
        told = f"{logs} {failed.value} {unread.value} {state} {state._link} {state.trouble}"
    assert "-one" not in told
    assert "default@" not in told


async def test_tls_is_verified(tmp_path: Path, states: list[RedisState], monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, port = str(self_signed(tmp_path, "localhost")), free_port()
    files = ("--tls-cert-file", certificate, "--tls-key-file", certificate)
    options = ("--tls-port", str(port), *files, "--tls-auth-clients", "no")
    with RedisServer(tmp_path / "redis", *options):
        with pytest.raises(StateError, match="CERTIFICATE_VERIFY_FAILED"):
            await opened(states, f"rediss://localhost:{port}/0")
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        with pytest.raises(StateError, match="IP address mismatch"):
            await opened(states, f"rediss://127.0.0.1:{port}/0")
        state = await opened(states, f"rediss://localhost:{port}/0")
        assert await state.take("k", PER_HOUR, 10) == 0


async def test_sentinels_with_a_password_and_tls(
    tmp_path: Path, states: list[RedisState], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, ports = str(self_signed(tmp_path, "127.0.0.1")), (free_port(), free_port())
    files = ("--tls-cert-file", certificate, "--tls-key-file", certificate, "--tls-ca-cert-file", certificate)
    tls = [("--tls-port", str(port), *files, "--tls-auth-clients", "no", "--tls-replication", "yes") for port in ports]
    watched = [f"monitor postlane 127.0.0.1 {ports[0]} 1", "auth-pass postlane of-servers"]
    conf = tmp_path / "sentinel.conf"
    conf.write_text("".join(f"sentinel {line}\n" for line in watched))
    for name in ("of-servers", "of-sentinels"):
        (tmp_path / name).write_text(f"{name}\n")
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    url = f"rediss+sentinel://127.0.0.1:{ports[1]}/postlane/0"
    with (
        RedisServer(tmp_path / "one", *tls[0], password="of-servers"),
        RedisServer(tmp_path / "two", "--sentinel", *tls[1], password="of-sentinels", first=(str(conf),)),
    ):
        with pytest.raises(StateError, match="No master found for"):
            await RedisState(url, str(tmp_path / "of-servers")).open()
        servers, sentinels = (str(tmp_path / name) for name in ("of-servers", "of-sentinels"))
        state = RedisState(url, servers, quiet=0, sentinel_password_file=sentinels)
        await state.open()
        states.append(state)
        assert await state.take("k", PER_HOUR, 1) == 0
        assert "of-s" not in f"{state} {state._link}"


async def test_a_node_that_starts_before_redis_may_open_later(tmp_path: Path, states: list[RedisState]) -> None:
    server = RedisServer(tmp_path / "redis")
    state = RedisState(server.url, quiet=0)
    with pytest.raises(StateError, match="connect"):
        await state.open()
    assert state.trouble
    with pytest.raises(StateError, match="connect"):
        await state.take("k", PER_HOUR, 1)
    with server:
        await state.open()
        states.append(state)
        assert state.trouble == ""
        assert await state.take("k", PER_HOUR, 1) == 0


async def test_a_board_that_lost_its_notes_is_not_read_until_all_have_brought_theirs(
    redis: RedisServer, clock: Clock, states: list[RedisState]
) -> None:
    first, second = [await opened(states, redis.url, clock, quiet=QUIET) for _ in range(2)]
    clock.now += QUIET
    await first.pin("suspensions", "1", "one")
    assert await second.pinned("suspensions") == {"1": "one"}
    await first.pin("suspensions", "2", "two, of which the second has not heard")
    redis.empty()
    with pytest.raises(StateError, match="lost its data"):
        await second.pinned("suspensions")
    with pytest.raises(StateError, match="lost its data"):
        await second.unpin("suspensions", "1")
    await second.pin("suspensions", "3", "three: a new one is never in the way")
    await first._learn()
    clock.now += QUIET
    assert set(await second.pinned("suspensions")) == set(await first.pinned("suspensions")) == {"1", "2", "3"}
    assert await second.unpin("suspensions", "1")


async def test_what_was_known_of_people_is_missed_until_somebody_says_that_it_was_brought_back(
    redis: RedisServer, states: list[RedisState]
) -> None:
    key, stranger = b"\x10" * 16, b"\x22" * 16  # under different hash tags
    state, other = await opened(states, redis.url, quiet=0), await opened(states, redis.url, quiet=0)
    await state.tell(key, {"b:all||manual": "[1]"})
    assert await other.told([key]) == [{"b:all||manual": "[1]"}]
    redis.empty()
    await state._learn()
    await other.tell(key, {"b:marketing||manual": "[2]"})
    await other._learn()
    for one in (state, other, await opened(states, redis.url, quiet=0)):
        with pytest.raises(StateError, match="lost what it knew of people"):
            await one.told([stranger, key])
        with pytest.raises(StateError, match="lost what it knew of people"):
            await one.consult([wants_place(key)])
        assert "lost what it knew of people" in one.forgot
        assert await one.told([stranger]) == [{}], "nobody was known there"
        assert await one.told([key], left=True) == [{"b:marketing||manual": "[2]"}]
        assert one.forgot, "what is left says nothing of the rest"
        assert (await one.everyone("", 1_000))[0] in ([(key, {"b:marketing||manual": "[2]"})], [])
        assert one.trouble == ""
    await state.brought_back()
    assert state.forgot == ""
    assert await other.consult([wants_place(key)]) == [({"b:marketing||manual": "[2]"}, ())]
    assert other.forgot == ""
    await other._restore(tag_of(key, module.TAGS), other._epochs[0])
    assert await state.told([key]) == [{"b:marketing||manual": "[2]"}], "who was late with it is not heard"


def wants_place(person: bytes) -> Ask:
    return Ask(person, "m/0", 5, (), 0, 0, 60_000, False, False)


async def test_what_people_got_is_missed_too_until_it_was_told_again(
    redis: RedisServer, states: list[RedisState], clock: Clock
) -> None:
    key, one = b"\x10" * 16, Bound(Rate(1, 3_600, "", "1/hour"), "UTC", frozenset({5}))
    state, other = await opened(states, redis.url, clock), await opened(states, redis.url, clock)
    wish = wants_place(key)._replace(bounds=(one,), firm=True)
    for asker in (state, other):
        assert await asker.reserve([wish]) == [()]
    await state.settle([Settled(key, "m/0", clock.now // 1000)], 86_400)
    redis.empty()
    await state._learn()
    for asker in (state, other):
        with pytest.raises(StateError, match="lost"):
            await asker.reserve([wish])
    await state.recall([(key, [(clock.now // 1000, 5)])])
    await state.brought_back()
    ((full,),) = await other.reserve([wish._replace(token="n/0")])
    assert full.used == ((5, 1),)


async def test_a_redis_that_never_knew_anybody_misses_nobody(redis: RedisServer, states: list[RedisState]) -> None:
    state = await opened(states, redis.url, quiet=0)
    assert await state.told([b"\x10" * 16]) == [{}]
    redis.empty()
    await state._learn()
    assert await state.told([b"\x10" * 16]) == [{}]
    assert state.forgot == ""
