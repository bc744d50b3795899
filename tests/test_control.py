"""Commands over the control socket and over the socket pair to a worker."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay import control
from relay.control import Channel, Json, NodeDown


async def echo(question: Json) -> Json:
    if question.get("do") == "much":
        return {"words": "x" * control.MAX_LINE}
    if question.get("do") == "fail":
        raise ValueError("as asked")
    if question.get("do") == "wait":
        await asyncio.sleep(3600)
    return {"heard": question}


@contextlib.asynccontextmanager
async def node(data_dir: Path) -> AsyncIterator[None]:
    server = await control.serve(control.bind(data_dir), echo)
    try:
        yield
    finally:
        server.close()


async def test_question_and_answer(tmp_path: Path) -> None:
    async with node(tmp_path):
        assert await control.ask(tmp_path, {"do": "x"}) == {"heard": {"do": "x"}}
        assert await asyncio.to_thread(control.request, tmp_path, {"n": 1}) == {"heard": {"n": 1}}


async def test_a_data_dir_longer_than_a_socket_path_may_be(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    async with node(deep):
        assert await control.ask(deep, {}) == {"heard": {}}


async def test_only_the_owner_may_ask(tmp_path: Path) -> None:
    async with node(tmp_path):
        assert (tmp_path / control.SOCKET_NAME).stat().st_mode & 0o777 == 0o600


async def test_our_own_faults_are_an_answer(tmp_path: Path) -> None:
    async with node(tmp_path):
        assert await control.ask(tmp_path, {"do": "fail"}) == {"error": "ValueError: as asked"}


async def test_the_log_names_a_request_and_tells_nobody_of_whom_it_was(tmp_path: Path) -> None:
    asked = {"what": "block", "recipient": "dana@b.example", "proof": "5ec4e7"}
    async with node(tmp_path):
        with capture_logs() as logs:
            for do in ("fail", "much"):
                await asyncio.to_thread(control.request, tmp_path, {"do": do, **asked})
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.SOCKET_NAME))
            writer.write(b"dana@b.example\n")
            assert b"error" in await reader.readline()
            writer.close()
    assert [line["request"] for line in logs] == ["fail block", "much block", "15 octets"]
    assert "dana" not in str([line for line in logs if line["request"] != "15 octets"])


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NodeDown):
        control.request(tmp_path, {})
    with pytest.raises(NodeDown):
        await control.ask(tmp_path, {})


async def test_a_socket_left_by_a_killed_node_is_replaced(tmp_path: Path) -> None:
    control.bind(tmp_path).close()
    async with node(tmp_path):
        assert await control.ask(tmp_path, {}) == {"heard": {}}


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[Channel, asyncio.Task[None]]]:
    ours, theirs = socket.socketpair()
    worker = asyncio.create_task(control.answer_channel(theirs, echo))
    channel = Channel(ours)
    await channel.open()
    try:
        yield channel, worker
    finally:
        channel.close()
        await worker


async def test_several_questions_to_a_worker_at_once() -> None:
    async with pair() as (channel, _):
        answers = await asyncio.gather(*(channel.ask({"n": n}) for n in range(20)))
        assert [answer["heard"]["n"] for answer in answers] == list(range(20))


async def test_what_is_too_long_to_be_read_is_said_and_the_next_question_is_answered(tmp_path: Path) -> None:
    """A longer answer left the supervisor deaf to its worker for good, a longer question ended the worker."""
    async with pair() as (channel, worker):
        assert "more than fit" in (await channel.ask({"do": "much"}))["error"]
        with pytest.raises(NodeDown, match="more than fit"):
            await channel.ask({"words": "x" * control.MAX_LINE})
        assert (await channel.ask({"n": 1}))["heard"]["n"] == 1
        assert not worker.done()
    async with node(tmp_path):
        assert "more than fit" in (await asyncio.to_thread(control.request, tmp_path, {"do": "much"}))["error"]


async def test_a_question_without_an_answer_in_time() -> None:
    async with pair() as (channel, _):
        with pytest.raises(NodeDown, match="no answer"):
            await channel.ask({"do": "wait"}, timeout=0.01)
        assert (await channel.ask({"n": 1}))["heard"]["n"] == 1


async def test_a_worker_that_dies_while_it_is_asked() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    await channel.open()
    asked = asyncio.create_task(channel.ask({}))
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(NodeDown):
        await asked
    with pytest.raises(NodeDown):
        await channel.ask({})
    channel.close()


async def test_who_waits_is_told_when_the_channel_is_closed() -> None:
    """Of a worker's death its parent may hear before the end of what it said is read."""
    async with pair() as (channel, _):
        asked = asyncio.create_task(channel.ask({"do": "wait"}))
        await asyncio.sleep(0)
        channel.close()
        with pytest.raises(NodeDown):
            await asyncio.wait_for(channel.ask({}), 10)
        with pytest.raises(NodeDown):
            await asyncio.wait_for(asked, 10)


async def test_the_workers_end_returns_when_the_supervisor_is_gone() -> None:
    ours, theirs = socket.socketpair()
    worker = asyncio.create_task(control.answer_channel(theirs, echo))
    ours.close()
    await asyncio.wait_for(worker, 10)
