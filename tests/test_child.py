"""A process under supervision, with real processes of the shell's."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from relay import child as module
from relay.child import Child
from relay.control import NodeDown

# Answers each question with its own, as relay.control's end of a channel does.
ECHO = """
import os, sys
link = os.fdopen(int(sys.argv[1]), "r+b", buffering=0)
while line := link.readline():
    link.write(line)
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + ECHO


def child(script: str) -> Child:
    def command(one: Child) -> tuple[list[str], list[int]]:
        descriptor = one.connect()
        return [sys.executable, "-S", "-c", script, str(descriptor)], [descriptor]

    return Child("worker-0", command, (0,))


@contextlib.asynccontextmanager
async def kept(one: Child) -> AsyncIterator[asyncio.Event]:
    stopping = asyncio.Event()
    keeping = asyncio.create_task(one.keep(stopping))
    await until(lambda: one.up)
    await one.settled()
    try:
        yield stopping
    finally:
        stopping.set()
        await one.stop()
        await keeping


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.01)


def pid(one: Child) -> int:
    assert one.process is not None
    return one.process.pid


async def test_it_can_be_asked_until_it_stops() -> None:
    one = child(ECHO)
    with pytest.raises(NodeDown, match="not running"):
        await one.ask({"do": "stats"})
    async with kept(one):
        assert await one.ask({"do": "stats"}) == {"do": "stats"}
        assert repr(one) == f"<Child worker-0 pid={pid(one)} deaths=0>"
    assert not one.up
    with pytest.raises(NodeDown):
        await one.ask({"do": "stats"})


async def test_one_that_dies_is_started_again() -> None:
    one = child(ECHO)
    async with kept(one):
        first = pid(one)
        assert one.process is not None
        one.process.send_signal(signal.SIGKILL)
        await until(lambda: one.up and pid(one) != first)
        assert one.deaths == 1
        await one.settled()
        assert await one.ask({}) == {}


async def test_one_that_is_renewed_did_not_die() -> None:
    one = child(ECHO)
    async with kept(one):
        first = pid(one)
        one.renew()
        one.renew()  # it is on its way
        await until(lambda: one.up and pid(one) != first)
        assert one.deaths == 0
        await one.settled()
        assert await one.ask({}) == {}


async def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    one = child(DEAF)
    async with kept(one):
        first = pid(one)
        await one.ask({})  # it is deaf by now
        one.renew()
        await until(lambda: one.up and pid(one) != first)
    assert not one.up


async def test_stopping_while_it_starts() -> None:
    one = child(ECHO)
    stopping = asyncio.Event()
    keeping = asyncio.create_task(one.keep(stopping))
    await asyncio.sleep(0)
    stopping.set()
    await one.stop()
    await asyncio.wait_for(keeping, 20)
    assert not one.up
