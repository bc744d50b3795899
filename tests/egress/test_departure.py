"""Sockets that are connected for us, by proxies good and bad."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relay.egress import departure
from relay.egress.connection import Target
from relay.egress.departure import SourceFault, dial
from relay.egress.pools import Protocol, Proxy, Source
from relay.egress.proxy import Unreachable
from tests.support.egress import HERE, LOOPS, run_on
from tests.support.node import free_port
from tests.support.socks5_server import Socks5Server

LOGIN = ("m1", "secret")
every_loop = pytest.mark.parametrize("loop", LOOPS)


def source_by(port: int, protocol: Protocol = Protocol.SOCKS5, login: tuple[str, str] = ("", "")) -> Source:
    return Source("127.0.0.7", "", 1, Proxy(protocol, "127.0.0.1", port, *login))


@asynccontextmanager
async def host(seen: list[str]) -> AsyncIterator[Target]:
    """Greets at once and says where each connection comes from."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.write(b"220 here\r\n")
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        yield Target("host.test", "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def greeting(sock: socket.socket) -> bytes:
    """As aiosmtplib takes the socket over."""
    reader, writer = await asyncio.open_connection(sock=sock)
    line = await reader.readline()
    writer.close()
    return line


@every_loop
def test_without_a_proxy(loop: str) -> None:
    async def work() -> None:
        seen: list[str] = []
        async with host(seen) as target:
            assert await greeting(await dial(target, Source("127.0.0.7", ""), 5)) == b"220 here\r\n"
            assert seen == ["127.0.0.7"]
        with pytest.raises(ConnectionRefusedError):
            await dial(Target("host.test", "127.0.0.1", free_port()), HERE, 5)

    run_on(loop, work)


@every_loop
def test_a_host_that_does_not_answer(loop: str) -> None:
    """The kernel passes over who comes where nobody accepts and the queue is full."""

    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
            first.connect(full.getsockname())
            with pytest.raises(TimeoutError):
                await dial(Target("host.test", *full.getsockname()), HERE, 0.05)

    run_on(loop, work)


@every_loop
@pytest.mark.parametrize("login", [None, LOGIN])
def test_through_a_socks5_proxy(loop: str, login: tuple[str, str] | None) -> None:
    async def work() -> None:
        seen: list[str] = []
        async with Socks5Server(leaves_from="127.0.0.7", login=login) as proxy, host(seen) as target:
            sock = await dial(target, source_by(proxy.port, login=login or ("", "")), 5)
            assert await greeting(sock) == b"220 here\r\n", "not an octet of it was taken for the proxy's"
            assert seen == ["127.0.0.7"]
            assert proxy.asked_for == [("127.0.0.1", target.port)]

    run_on(loop, work)


@every_loop
@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        (Socks5Server(login=LOGIN), "it wants a login; set socks5_user"),
        (Socks5Server(reply=2), "its rules do not allow this connection"),
        (Socks5Server(says=b"220 I am an SMTP server\r\n"), "it does not speak SOCKS5"),
        (Socks5Server(says=b"\x05"), "it closed the connection"),
    ],
    ids=["login", "rules", "smtp", "half"],
)
def test_a_proxy_that_does_not_do_its_work_is_the_source_s_trouble(loop: str, proxy: Socks5Server, why: str) -> None:
    async def work() -> None:
        async with proxy, host([]) as target:
            with pytest.raises(SourceFault) as raised:
                await dial(target, source_by(proxy.port), 5)
            assert str(raised.value) == f"cannot send from 127.0.0.7: socks5 127.0.0.1:{proxy.port}: {why}"

    run_on(loop, work)


@every_loop
def test_a_wrong_password(loop: str) -> None:
    async def work() -> None:
        async with Socks5Server(login=LOGIN) as proxy, host([]) as target:
            with pytest.raises(SourceFault, match="does not take our user and password"):
                await dial(target, source_by(proxy.port, login=("m1", "wrong")), 5)

    run_on(loop, work)


@every_loop
@pytest.mark.parametrize("protocol", Protocol)
def test_no_proxy_there(loop: str, protocol: Protocol) -> None:
    async def work() -> None:
        async with host([]) as target:
            with pytest.raises(SourceFault, match="connection refused"):
                await dial(target, source_by(free_port(), protocol), 5)

    run_on(loop, work)


@every_loop
def test_a_proxy_that_says_nothing(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departure, "PROXY_SECONDS", 0.1)

    async def work() -> None:
        async with Socks5Server(silent=True) as proxy, host([]) as target:
            with pytest.raises(SourceFault, match="no answer in time"):
                await dial(target, source_by(proxy.port), 30)

    run_on(loop, work)


@every_loop
def test_a_host_that_the_proxy_cannot_reach_is_the_host_s_trouble(loop: str) -> None:
    async def work() -> None:
        async with Socks5Server() as proxy:
            with pytest.raises(Unreachable, match="Connection refused"):
                await dial(Target("host.test", "127.0.0.1", free_port()), source_by(proxy.port), 5)

    run_on(loop, work)


@every_loop
def test_a_host_that_does_not_answer_the_proxy_is_the_host_s_trouble(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Socks5Server, "_join", never)

    async def work() -> None:
        async with Socks5Server() as proxy:
            with pytest.raises(TimeoutError):
                await dial(Target("host.test", "192.0.2.1", 25), source_by(proxy.port), 0.2)

    run_on(loop, work)


@every_loop
def test_an_address_of_another_machine(loop: str) -> None:
    async def work() -> None:
        async with host([]) as target:
            with pytest.raises(SourceFault, match=r"^cannot send from 192\.0\.2\.55: cannot assign requested address$"):
                await dial(target, Source("192.0.2.55", ""), 5)

    run_on(loop, work)
