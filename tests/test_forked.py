"""A copy of this process does its work, keeps what it is given, and disturbs nobody."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from relay.forked import UNKNOWN, Forked, fork


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """To read what a copy writes."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def reporting(end: int, look: Callable[[], object]) -> Callable[[], int]:
    def work() -> int:
        os.write(end, json.dumps(look()).encode())
        return 0

    return work


def sleep() -> int:
    signal.pause()
    return 0


async def test_its_status_is_what_its_work_returns() -> None:
    copy = fork("copy", lambda: 7, ())
    assert repr(copy) == f"<Forked {copy.pid} up>"
    assert await copy.wait() == 7
    assert await copy.wait() == copy.returncode == 7
    assert repr(copy) == f"<Forked {copy.pid} 7>"


async def test_where_the_kernel_has_no_descriptors_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", unknown)
    ended, killed = fork("copy", lambda: 7, ()), fork("copy", sleep, ())
    assert await ended.wait() == 7
    killed.kill()
    assert await killed.wait() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        killed.terminate()


@pytest.mark.parametrize("known", [True, False])
async def test_that_it_ends_is_heard_where_the_kernel_keeps_no_status(
    monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    def unknown(pid: int) -> int:
        raise PermissionError

    if not known:
        monkeypatch.setattr(os, "pidfd_open", unknown)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert await asyncio.wait_for(fork("copy", lambda: 7, ()).wait(), 20) == UNKNOWN
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize(("leaves_by", "status"), [(3, 3), (None, 0), ("a word", 1)])
async def test_its_work_may_leave(leaves_by: object, status: int) -> None:
    def work() -> int:
        raise SystemExit(leaves_by)

    assert await fork("copy", work, ()).wait() == status


async def test_a_fault_of_its_work_ends_it_alone() -> None:
    def work() -> int:
        raise AssertionError("a fault")

    assert await fork("copy", work, ()).wait() == 1


async def test_it_keeps_the_descriptors_it_is_given_and_no_others(pipe: tuple[int, int]) -> None:
    os.set_inheritable(other := os.dup(pipe[1]), True)
    folder = Path("/proc/self/fd")

    def look() -> object:
        return [int(path.name) for path in folder.iterdir()], str((folder / "0").readlink())

    assert (folder / str(other)).exists()

    copy = fork("copy", reporting(pipe[1], look), [pipe[1]])
    assert await copy.wait() == 0
    os.close(other)
    listed, nothing = json.loads(os.read(pipe[0], 1000))
    assert set(listed) - {0, 1, 2} - {pipe[1]} <= {min(set(range(3, 99)) - {pipe[1]})}  # that by which they are listed
    assert nothing == os.devnull


async def test_what_we_have_open_stays_open_when_it_ends() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert await fork("copy", lambda: 0, ()).wait() == 0
        ours.sendall(b"still here")
        assert theirs.recv(100) == b"still here"


async def test_it_has_a_name_and_a_session_of_its_own(pipe: tuple[int, int]) -> None:
    def look() -> object:
        return Path("/proc/self/comm").read_text().strip(), os.getsid(0) == os.getpid()

    copy = fork("a-name-that-is-long", reporting(pipe[1], look), [pipe[1]])
    assert await copy.wait() == 0
    assert json.loads(os.read(pipe[0], 1000)) == ["a-name-that-is-", True]


async def test_signals_mean_to_it_what_they_mean_to_a_program_that_begins() -> None:
    heard: list[str] = []
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.append, "TERM")
    try:
        copy = fork("copy", sleep, ())
        copy.terminate()
        assert await copy.wait() == -signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)  # we go on hearing ours
        async with asyncio.timeout(20):
            while not heard:  # noqa: ASYNC110 (there is no event to wait for)
                await asyncio.sleep(0.01)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert heard == ["TERM"]


async def test_one_that_is_deaf_can_be_killed_and_not_twice() -> None:
    def deaf() -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return sleep()

    copy = fork("copy", deaf, ())
    copy.kill()
    assert await copy.wait() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        copy.kill()


async def test_several_at_once() -> None:
    def ending(status: int) -> Callable[[], int]:
        return lambda: status

    copies: list[Forked] = [fork("copy", ending(status), ()) for status in range(5)]
    assert await asyncio.gather(*(copy.wait() for copy in copies)) == [0, 1, 2, 3, 4]


async def test_it_can_run_a_loop_of_its_own(pipe: tuple[int, int]) -> None:
    async def run() -> int:
        await asyncio.sleep(0)
        os.write(pipe[1], b"ran")
        return 5

    assert await fork("copy", lambda: uvloop.run(run()), [pipe[1]]).wait() == 5
    assert os.read(pipe[0], 100) == b"ran"


def test_what_was_printed_before_is_printed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        await fork("copy", lambda: 0, ()).wait()

    file = tmp_path / "out"
    with file.open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        out.write("once\n")
        asyncio.run(run())
    assert file.read_text() == "once\n"
