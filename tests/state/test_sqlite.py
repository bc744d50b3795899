"""The SQLite backend: several processes, kill -9, faults of the file."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from relay import database
from relay.identity import Rate
from relay.state import sqlite
from relay.state.interface import StateError
from relay.state.marks import FIRST, Change
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

ROOT = Path(__file__).parents[2]
PER_HOUR = Rate(10, 3_600, "", "10/hour")


def taker(file: Path, *what: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.support.state_taker", str(file), *what]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("what", [("take", "60/3600"), ("lease", "60")])
def test_several_processes_never_exceed_a_limit(tmp_path: Path, what: tuple[str, str]) -> None:
    workers = [taker(tmp_path / "state.db", *what, "30") for _ in range(3)]
    said = [word for worker in workers for word in worker.communicate(timeout=60)[0].split()]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert said.count("granted") == 60
    assert said.count("refused") == 30


async def test_what_a_killed_process_was_granted_stays_taken(tmp_path: Path) -> None:
    with taker(tmp_path / "state.db", "take", "200/3600", "100000") as worker:
        assert worker.stdout is not None
        heard = [worker.stdout.readline().strip() for _ in range(20)]
        worker.send_signal(signal.SIGKILL)
        heard += worker.stdout.read().split()
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    rate, rest = Rate(200, 3_600, "", ""), 0
    while not await state.take("quota", rate, 1):
        rest += 1
    await state.close()
    assert worker.returncode == -signal.SIGKILL
    assert heard.count("granted") + rest <= 200
    assert heard.count("granted") + rest >= 199, "at most what was in hand is wasted"


async def test_what_is_asked_together_is_done_in_one_transaction(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    commits = 0

    def count() -> bool:
        nonlocal commits
        commits += 1
        return False

    state._db.set_commit_hook(count)
    await asyncio.gather(*(state.take("k", Rate(1_000, 60, "", ""), 1) for _ in range(200)))
    assert commits < 100
    await state.close()


async def test_what_was_asked_in_the_turn_of_the_end_is_answered(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    asked = asyncio.create_task(state.acquire("c", 1, "a", 30_000))
    await asyncio.sleep(0)
    await state.close()
    assert await asked


async def test_what_is_asked_while_it_ends_is_refused_at_once(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    ending = asyncio.create_task(state.close())
    await asyncio.sleep(0)
    with pytest.raises(StateError, match="not open"):
        await state.acquire("c", 1, "a", 30_000)
    await ending


@pytest.mark.parametrize(("seconds", "held_back"), [(0.0, False), (3600.0, True)])
async def test_what_is_asked_waits_for_more_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, held_back: bool
) -> None:
    """Each turn of the loop brings one more: without an end of the moment all of them would wait for each other."""
    monkeypatch.setattr(sqlite, "GATHER_SECONDS", seconds)
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    most, asked = 0, []
    for _ in range(20):
        asked.append(asyncio.ensure_future(state.granted("key", PER_HOUR)))
        await asyncio.sleep(0)
        most = max(most, len(state._gathered))
    assert (most > 10) == held_back
    assert await asyncio.gather(*asked) == [0] * 20
    await state.close()


async def test_a_full_disk_refuses_all_and_records_nothing(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db", Clock())
    await state.open()
    await state.take("k", PER_HOUR, 1)
    for db in (state._db, state._near):
        db.pragma("max_page_count", db.pragma("page_count"))
    large = "x" * 20_000
    with pytest.raises(StateError, match="full"):
        await state.acquire(large, 1, "a", 30_000)
    assert "full" in state.trouble
    for db in (state._db, state._near):
        db.pragma("max_page_count", 1_000_000)
    assert await state.take("k", PER_HOUR, 9) == 0
    assert await state.acquire(large, 1, "a", 30_000)
    assert state.trouble == ""
    await state.close()


async def test_a_lock_that_is_never_given_back_is_an_error_and_not_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    other = apsw.Connection(str(tmp_path / "state.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="lock"):
        await state.take("k", PER_HOUR, 1)
    other.execute("ROLLBACK")
    other.close()
    assert await state.take("k", PER_HOUR, 1) == 0
    await state.close()


async def test_a_lease_is_granted_at_once_and_behind_him_where_another_writes(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    with pytest.raises(StopIteration, match="True"):  # without a turn of the loop
        state.acquire("c", 2, "a", 30_000).send(None)
    other = apsw.Connection(str(tmp_path / "state.db"))
    other.execute("BEGIN IMMEDIATE")
    behind = asyncio.create_task(state.acquire("c", 2, "a", 30_000))
    await asyncio.sleep(0)
    assert not behind.done()
    other.execute("ROLLBACK")
    other.close()
    assert await behind
    assert not await state.acquire("c", 2, "a", 30_000)
    await state.close()


def commits_of(db: apsw.Connection) -> list[None]:
    """One for each transaction."""
    seen: list[None] = []

    def committed() -> bool:
        seen.append(None)
        return False

    db.set_commit_hook(committed)
    return seen


def first(number: int) -> Change:
    return Change(FIRST, b"%016d" % number, b"x", 60_000)


async def test_what_is_quick_is_done_in_the_loop_where_nobody_else_writes(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    near, far = commits_of(state._near), commits_of(state._db)
    assert await state.mark(60_000, [first(1)]) == [b""]
    assert (len(near), len(far)) == (1, 0)
    assert (
        await state.mark(60_000, [first(number) for number in range(1, sqlite.QUICK + 2)])
        == [b"x"] + [b""] * sqlite.QUICK
    )
    assert (len(near), len(far)) == (1, 1), "as many as that may take long"
    told, _ = await asyncio.gather(state.told([b"k" * 16]), state.tell(b"k" * 16, {"a": "b"}))
    assert told == [{}], "what is quick does not wait for what is not"
    assert (len(near), len(far)) == (2, 2)
    other = apsw.Connection(str(tmp_path / "state.db"))
    other.execute("BEGIN IMMEDIATE")
    behind = asyncio.create_task(state.mark(60_000, [first(1_000)]))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not behind.done()
    other.execute("ROLLBACK")
    other.close()
    assert await behind == [b""]
    assert (len(near), len(far)) == (2, 3)
    await state.close()


async def test_a_slow_file_keeps_the_loop_waiting_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "SLOW", -1.0)
    monkeypatch.setattr(sqlite, "AWAY", 3600.0)
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    near, far = commits_of(state._near), commits_of(state._db)
    for number in range(3):
        await state.mark(60_000, [first(number)])
    assert (len(near), len(far)) == (1, 2)
    state._near_from = 0.0  # later
    await state.mark(60_000, [first(3)])
    assert (len(near), len(far)) == (2, 2)
    await state.close()


async def test_what_fails_in_the_loop_is_done_by_the_thread_which_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    state._near.pragma("query_only", True)
    assert await state.mark(60_000, [first(1)]) == [b""]
    assert not state._near.in_transaction
    monkeypatch.setattr("relay.state.sqlite_marks._PUT_FIRST", "nonsense")
    state._near_from = 0.0  # a second later
    with pytest.raises(StateError, match="nonsense"), capture_logs() as logs:
        await state.mark(60_000, [first(2)])
    assert [line["log_level"] for line in logs] == ["warning", "error"]
    await state.close()


async def test_the_log_begins_anew_however_much_is_done_in_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the loop never rested the thread could not move it to its end: it grew for as long as there was mail."""
    monkeypatch.setattr(sqlite, "MOVES", 3600.0)
    monkeypatch.setattr(sqlite, "LONG", 100)
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    state._db.pragma("wal_autocheckpoint", 100)
    near, far = commits_of(state._near), commits_of(state._db)
    for number in range(2_000):
        await state.mark(60_000, [first(number)])
    assert near
    assert far
    assert (tmp_path / "state.db-wal").stat().st_size < 4096 * 1_000
    await state.close()


async def test_what_a_turn_brings_is_not_done_in_the_loop_where_it_is_much(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    near, far = commits_of(state._near), commits_of(state._db)
    several = [[first(100 * n + m) for m in range(sqlite.QUICK // 4)] for n in range(5)]
    await asyncio.gather(*(state.mark(60_000, changes) for changes in several))
    assert (len(near), len(far)) == (0, 1)
    await state.close()


async def test_a_lease_is_asked_for_again_behind_one_that_is_given_back(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    assert await state.acquire("c", 1, "a", 30_000)
    _, granted = await asyncio.gather(state.release("c", "a"), state.acquire("c", 1, "a", 30_000))
    assert granted
    await state.close()


async def test_what_a_holder_had_goes_before_he_is_granted_more_though_nobody_waits_for_it(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    assert await state.acquire("c", 1, "a", 30_000)
    dropping = asyncio.create_task(state.drop("a"))
    await asyncio.sleep(0)
    dropping.cancel()
    await asyncio.sleep(0)
    assert await state.acquire("c", 1, "a", 30_000)
    assert not await state.acquire("c", 1, "b", 30_000)
    await state.close()


async def test_only_quotas_wait_for_the_disk_and_nobody_else_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, other = SqliteState(tmp_path / "state.db"), SqliteState(tmp_path / "state.db")
    await state.open()
    await other.open()
    assert state._db.pragma("journal_mode") == "wal"
    synced, wait = threading.Semaphore(0), threading.Event()

    def slow(descriptor: int) -> None:
        assert os.path.sameopenfile(descriptor, log)
        synced.release()
        assert wait.wait(20)

    log = os.open(tmp_path / "state.db-wal", os.O_RDONLY)
    monkeypatch.setattr(os, "fdatasync", slow)
    await state.acquire("c", 1, "a", 30_000)
    asked = asyncio.create_task(state.take("k", PER_HOUR, 10))
    assert await asyncio.to_thread(synced.acquire, timeout=20)
    assert await other.granted("k", PER_HOUR) == 10, "committed, and the lock is free"
    assert await other.acquire("d", 1, "b", 30_000)
    assert not asked.done(), "who asked is told when it will last"
    wait.set()
    assert await asked == 0
    assert not synced.acquire(blocking=False), "leases are not waited for"
    os.close(log)
    await other.close()
    await state.close()


async def test_a_disk_that_cannot_make_it_last_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", _broken)
        with pytest.raises(StateError, match="Input/output error"):
            await state.take("k", PER_HOUR, 1)
    assert "Input/output error" in state.trouble
    log = tmp_path / "state.db-wal"
    assert log.stat().st_size
    assert await state.take("k", PER_HOUR, 9) == 0
    assert not log.stat().st_size, "no fsync is believed that comes after one that failed: the file has it now"
    assert await state.take("k", PER_HOUR, 1) > 0, "too much is taken rather than too little"
    assert state.trouble == ""
    await state.close()


def _broken(descriptor: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_what_no_longer_counts_is_swept(tmp_path: Path) -> None:
    clock = Clock()
    state = SqliteState(tmp_path / "state.db", clock)
    await state.open()
    for key in range(50):
        await state.take(f"k{key}", PER_HOUR, 1)
        await state.acquire(f"c{key}", 1, "a", 30_000)
    clock.now += 3_700_000
    await state.take("k", PER_HOUR, 1)
    rows = state._db.execute("SELECT (SELECT count(*) FROM granted), (SELECT count(*) FROM lease)").fetchall()
    assert rows == [(1, 0)]
    await state.close()


async def test_an_answer_nobody_waits_for_any_more_does_no_harm(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    gone = asyncio.create_task(state.take("k", PER_HOUR, 1))
    await asyncio.sleep(0)
    gone.cancel()
    assert await state.take("k", PER_HOUR, 9) == 0, "asked in order: the cancelled one had the first permit"
    assert await state.take("k", PER_HOUR, 1) > 0
    await state.close()


async def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, " * 100)
    with pytest.raises(StateError, match="not a database"):
        await SqliteState(tmp_path / "state.db").open()
    newer = apsw.Connection(str(tmp_path / "newer.db"))
    newer.pragma("user_version", 99)
    newer.close()
    with pytest.raises(StateError, match="newer Postlane"):
        await SqliteState(tmp_path / "newer.db").open()
    monkeypatch.setattr(database, "SQLITE_NEEDED", (99, 0, 0))
    with pytest.raises(StateError, match="may lose commits"):
        await SqliteState(tmp_path / "fine.db").open()


async def test_a_file_that_could_not_be_opened_may_be_later(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    file.mkdir()
    state = SqliteState(file)
    for _ in range(2):
        with pytest.raises(StateError):
            await state.open()
        assert str(file) in state.trouble
        with pytest.raises(StateError, match="not open"):
            await state.acquire("key", 1, "w0", 1000)
    file.rmdir()
    await state.open()
    assert await state.acquire("key", 1, "w0", 1000)
    await state.close()
