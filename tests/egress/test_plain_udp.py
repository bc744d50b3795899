"""One question by UDP, with a host that answers, lies, or is silent."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from relay.egress.plain_dns import question
from relay.egress.plain_udp import ask
from tests.support.egress import run_on

QUERY = question("example.test", "MX", 4711, authentic=False) or b""
ANSWER = QUERY[:2] + b"\x81\x80" + QUERY[4:]


async def _exchange(answer: Callable[[bytes], list[bytes]], patience: float = 5) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)

        def heard() -> None:
            said, peer = server.recvfrom(4096)
            for each in answer(said):
                server.sendto(each, peer)

        loop = asyncio.get_running_loop()
        loop.add_reader(server, heard)
        try:
            return await ask(server.getsockname(), QUERY, patience)
        finally:
            loop.remove_reader(server)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_answer_to_the_question_is_waited_for(loop: str) -> None:
    async def work() -> None:
        lies = [b"", b"\0", b"\0\0" + ANSWER[2:], ANSWER.replace(b"example", b"exploit")]
        assert await _exchange(lambda _: [*lies, ANSWER]) == ANSWER

    run_on(loop, work)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_silence_ends(loop: str) -> None:
    async def work() -> None:
        assert await _exchange(lambda _: [], 0.05) is None

    run_on(loop, work)


async def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    assert await ask(address, QUERY, 5) is None, "the kernel says so at once"
