"""A process under supervision, with real processes."""

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from relay import child as module
from relay.child import Child
from relay.control import NodeDown
from relay.forked import Forked, Work, fork


def echo(descriptor: int) -> int:
    """Answers each question with its own, as relay.control's end of a channel does."""
    with os.fdopen(descriptor, "r+b", buffering=0) as link:
        while line := link.readline():
            link.write(line)
    return 0


def deaf(descriptor: int) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return echo(descriptor)


def child(does: Callable[[int], int]) -> Child:
    def command(one: Child) -> tuple[Work, list[int]]:
        descriptor = one.connect()
        return partial(does, descriptor), [descriptor]

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
    one = child(echo)
    with pytest.raises(NodeDown, match="not running"):
        await one.ask({"do": "stats"})
    async with kept(one):
        assert await one.ask({"do": "stats"}) == {"do": "stats"}
        assert repr(one) == f"<Child worker-0 pid={pid(one)} deaths=0>"
    assert not one.up
    with pytest.raises(NodeDown):
        await one.ask({"do": "stats"})


async def test_one_that_dies_is_started_again() -> None:
    one = child(echo)
    async with kept(one):
        first = pid(one)
        assert one.process is not None
        one.process.send_signal(signal.SIGKILL)
        await until(lambda: one.up and pid(one) != first)
        assert one.deaths == 1
        await one.settled()
        assert await one.ask({}) == {}


async def test_one_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [errno.EAGAIN, errno.ENOMEM]

    def full(name: str, work: Work, descriptors: list[int]) -> Forked:
        if refused:
            raise OSError(refused.pop(), "no room for another process")
        return fork(name, work, descriptors)

    monkeypatch.setattr(module, "fork", full)
    one = child(echo)
    async with kept(one):
        assert one.deaths == 2
        assert await one.ask({"do": "stats"}) == {"do": "stats"}


async def test_one_that_is_renewed_did_not_die() -> None:
    one = child(echo)
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
    one = child(deaf)
    async with kept(one):
        first = pid(one)
        await one.ask({})  # it is deaf by now
        one.renew()
        await until(lambda: one.up and pid(one) != first)
    assert not one.up


async def test_stopping_while_it_starts() -> None:
    one = child(echo)
    stopping = asyncio.Event()
    keeping = asyncio.create_task(one.keep(stopping))
    await asyncio.sleep(0)
    stopping.set()
    await one.stop()
    await asyncio.wait_for(keeping, 20)
    assert not one.up
