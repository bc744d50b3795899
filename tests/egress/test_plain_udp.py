"""Questions by UDP, with a host that answers, lies, or is silent."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from relay.egress.plain_dns import question
from relay.egress.plain_udp import NameServer
from tests.support.egress import run_on, until

Heard = list[tuple[bytes, int]]  # question, port it came from


def asked(number: int, name: str = "example.test") -> bytes:
    query = question(name, "MX", number, authentic=False)
    assert query is not None
    return query


def told(query: bytes) -> bytes:
    return query[:2] + b"\x81\x80" + query[4:]


@asynccontextmanager
async def host(answer: Callable[[Heard], list[bytes]]) -> AsyncIterator[tuple[tuple[str, int], Heard]]:
    """Whenever a question comes, it says to who asked it what `answer` gives for all it has heard."""
    heard: Heard = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)

        def hear() -> None:
            query, peer = server.recvfrom(4096)
            heard.append((query, peer[1]))
            for each in answer(heard):
                server.sendto(each, peer)

        loop = asyncio.get_running_loop()
        loop.add_reader(server, hear)
        try:
            yield server.getsockname(), heard
        finally:
            loop.remove_reader(server)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_answer_to_the_question_is_waited_for(loop: str) -> None:
    async def work() -> None:
        query = asked(4711)
        answer = told(query)
        lies = [b"", b"\0", b"\0\0" + answer[2:], answer.replace(b"example", b"exploit")]
        async with host(lambda _: [*lies, answer, answer]) as (address, _):
            assert await NameServer(address, 5).ask(query) == answer

    run_on(loop, work)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_questions_of_one_moment_share_a_port_and_each_has_its_answer(loop: str) -> None:
    async def work() -> None:
        queries = [asked(number, f"d{number}.test") for number in range(5)]

        def backwards(heard: Heard) -> list[bytes]:
            return [told(query) for query, _ in reversed(heard)] if len(heard) == len(queries) else []

        async with host(backwards) as (address, heard):
            server = NameServer(address, 5)
            assert list(await asyncio.gather(*map(server.ask, queries))) == [told(query) for query in queries]
            assert len({port for _, port in heard}) == 1

    run_on(loop, work)


async def test_questions_of_another_moment_leave_from_another_port() -> None:
    async with host(lambda heard: [told(heard[-1][0])]) as (address, heard):
        server = NameServer(address, 5)
        for number in range(20):
            assert await server.ask(asked(number)) == told(asked(number))
    assert len({port for _, port in heard}) > 10, "of 28,000 that the kernel draws from"


async def test_a_port_takes_questions_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.egress.plain_udp.SHARED", 0)
    async with host(lambda heard: [told(heard[-1][0])] if len(heard) > 1 else []) as (address, heard):
        server = NameServer(address, 0.05)
        silent, answered = await asyncio.gather(server.ask(asked(1)), server.ask(asked(2)))
        assert (silent, answered) == (None, told(asked(2)))
        assert len({port for _, port in heard}) == 2


async def test_two_questions_with_one_number_are_not_taken_for_each_other() -> None:
    async with host(lambda heard: [told(heard[-1][0])]) as (address, heard):
        server = NameServer(address, 5)
        queries = [asked(7), asked(7, "other.test")]
        assert await asyncio.gather(*map(server.ask, queries)) == [told(query) for query in queries]
        assert len({port for _, port in heard}) == 2


async def test_one_who_gives_up_leaves_the_others_theirs() -> None:
    async with host(lambda heard: [told(query) for query, _ in heard] if len(heard) == 3 else []) as (address, heard):
        server = NameServer(address, 5)
        first, second = asyncio.create_task(server.ask(asked(1))), asyncio.create_task(server.ask(asked(2)))
        await until(lambda: len(heard) == 2)
        assert "2 on the way" in repr(server)
        first.cancel()
        assert await server.ask(asked(3)) == told(asked(3))
        assert await second == told(asked(2))
        assert "0 on the way" in repr(server)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_silence_ends(loop: str) -> None:
    async def work() -> None:
        async with host(lambda _: []) as (address, _):
            server = NameServer(address, 0.05)
            assert list(await asyncio.gather(server.ask(asked(1)), server.ask(asked(2)))) == [None, None]

    run_on(loop, work)


async def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    assert await NameServer(address, 5).ask(asked(1)) is None, "the kernel says so at once"


async def test_an_address_that_no_socket_reaches() -> None:
    assert await NameServer(("nowhere.invalid", 53), 5).ask(asked(1)) is None


async def test_a_port_that_has_failed_takes_no_more_questions() -> None:
    async with host(lambda _: []) as (address, heard):
        server = NameServer(address, 5)
        silent = asyncio.create_task(server.ask(asked(1)))
        await until(lambda: len(heard) == 1)
        line = server._line
        assert line is not None
        assert line.takes(asked(2))
        line._give_up()  # as where nobody listens; who asked has not noticed yet
        assert not line.takes(asked(2))
        assert await silent is None
