"""Transport matters: STARTTLS, deadlines, peers that are silent, slow or do not read, and connections' own cost."""

import asyncio
import errno
import inspect
import socket
from typing import Any

import pytest

from relay.edge.limits import Limits
from relay.edge.wire import LONGEST_REPLY, encoded
from relay.outcome import Reply
from tests.edge.conftest import Opener

BEGIN = "S: 220 *\nC: EHLO app\nS: ...\n"
TO_ONE = "C: MAIL FROM:<app@example.com>\nC: RCPT TO:<jo@example.net>\nS: 250 *\nS: 250 *\n"
QUICK: dict[str, Any] = {"sweep_seconds": 0.02}


async def test_what_is_pipelined_behind_starttls_is_discarded_with_the_session(open_house: Opener) -> None:
    async with open_house(tls="starttls") as house:
        client = await house.play(
            BEGIN
            + """
            C: MAIL FROM:<app@example.com>
            S: 250 *
            C: STARTTLS
            C: RCPT TO:<evil@example.net>
            C: QUIT
            S: 220 2.0.0 *
            C: <tls>
            C: RCPT TO:<jo@example.net>
            S: 503 5.5.1 *
            C: MAIL FROM:<app@example.com>
            S: 503 5.5.1 EHLO first
            C: EHLO app
            S: ...
        """
        )
        await client.play(TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 *\nC: STARTTLS\nS: 503 5.5.1 *")
        peer = house.door.submissions[0].peer
        assert (peer.protocol, peer.tls) == ("ESMTPS", "TLSv1.3")


async def test_a_large_message_under_tls(open_house: Opener) -> None:
    body = (b"x" * 76 + b"\r\n") * 20_000
    async with open_house(tls="starttls") as house:
        client = await house.play(
            BEGIN + "C: STARTTLS\nS: 220 *\nC: <tls>\nC: EHLO app\nS: ...\n" + TO_ONE + "C: DATA\nS: 354 *"
        )
        await client.send(body + b".\r\n")
        await client.play("S: 250 2.0.0 *\nC: QUIT\nS: 221 *\nS: <closed>")
        assert house.door.submissions[0].content == body


@pytest.mark.parametrize("noise", [b"not a handshake\r\n" * 100, b""])
async def test_a_handshake_that_fails_ends_the_connection(open_house: Opener, noise: bytes) -> None:
    async with open_house(tls="starttls") as house:
        client = await house.play(BEGIN + "C: STARTTLS\nS: 220 *")
        if noise:
            await client.send(noise)
            assert await asyncio.wait_for(_rest(client.reader), 20) is not None
        else:
            await client.aclose()
        await house.empty()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_a_silent_handshake_is_cut(open_house: Opener) -> None:
    async with open_house(tls="starttls", limits=Limits(tls_seconds=0.05, **QUICK)) as house:
        client = await house.play(BEGIN + "C: STARTTLS\nS: 220 *\nS: <closed>")
        await client.aclose()
        await house.empty()


async def test_a_silent_peer_is_told_and_cut(open_house: Opener) -> None:
    async with open_house(limits=Limits(command_seconds=0.05, **QUICK)) as house:
        await house.play(BEGIN + "S: 421 4.4.2 *\nS: <closed>")
        assert house.listener.counters.timeouts == 1


async def test_a_line_that_drips_in_renews_nothing(open_house: Opener) -> None:
    async with open_house(limits=Limits(command_seconds=0.3, **QUICK)) as house:
        client = await house.play(BEGIN)
        for _ in range(1000):
            if client.reader.at_eof() or client.reader._buffer:  # type: ignore[attr-defined]
                break
            await client.send(b"x")
            await asyncio.sleep(0.01)
        await client.play("S: 421 4.4.2 *\nS: <closed>")


async def test_a_stranger_has_not_long_however_busy(open_house: Opener) -> None:
    limits = Limits(stranger_seconds=0.3, junk=10**6, **QUICK)
    async with open_house(trusted=False, limits=limits) as house:
        client = await house.play(BEGIN)
        said = ""
        while not said.startswith("421"):
            await client.send(b"NOOP\r\n")
            said = await client.line()
        assert said.startswith("421 4.4.2")


async def test_data_that_stops_coming(open_house: Opener) -> None:
    async with open_house(limits=Limits(data_seconds=0.05, **QUICK)) as house:
        client = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: half")
        await client.play("S: 421 4.4.2 *\nS: <closed>")
        await client.aclose()
        await house.empty()
        assert house.listener.desk.budget.used == 0
        assert house.door.submissions == []


async def test_data_that_drips_for_ever(open_house: Opener) -> None:
    async with open_house(limits=Limits(message_seconds=0.3, **QUICK)) as house:
        client = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *")
        for _ in range(1000):
            if client.reader.at_eof() or client.reader._buffer:  # type: ignore[attr-defined]
                break
            await client.send(b"x")
            await asyncio.sleep(0.01)
        await client.play("S: 421 4.4.2 *\nS: <closed>")


async def test_a_slow_save_is_no_timeout(open_house: Opener) -> None:
    async with open_house(limits=Limits(command_seconds=0.05, data_seconds=0.05, **QUICK)) as house:
        house.door.gate.clear()
        client = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .")
        await house.door.arrived.wait()
        (session,) = house.listener.desk.guests
        assert session.deadline == float("inf")
        house.door.gate.set()
        await client.play("S: 250 2.0.0 *\nS: 421 4.4.2 *\nS: <closed>")


async def test_a_peer_that_does_not_read_is_not_read_from(open_house: Opener) -> None:
    """Its replies do not pile up: we stop reading its commands, and its deadline ends it."""
    limits = Limits(junk=10**9, linger_seconds=0.05, command_seconds=1, **QUICK)
    async with open_house(limits=limits) as house:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", house.port))
            await loop.sock_sendall(sock, b"EHLO app\r\n")
            with pytest.raises(ConnectionError):
                await _sent_for_ever(loop, sock)
        await house.empty()


async def _sent_for_ever(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    while True:
        await loop.sock_sendall(sock, b"HELP\r\n" * 2000)


async def test_input_is_bounded_while_a_message_is_saved(open_house: Opener) -> None:
    async with open_house() as house:
        house.door.gate.clear()
        client = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .")
        await house.door.arrived.wait()
        (session,) = house.listener.desk.guests
        client.writer.write(b"RCPT TO:<jo@example.net>\r\n" * 400_000)
        for _ in range(300):
            await asyncio.sleep(0)
        assert len(session._input) < 1_000_000  # type: ignore[attr-defined]
        house.door.gate.set()
        await client.play("S: 250 2.0.0 *\n" + "S: 503 5.5.1 *\n" * 20 + "S: 421 4.7.0 *")


async def test_a_new_connection_inspects_nothing(open_house: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiosmtpd 1.4.6 looks through all methods of session and handler for each connection."""
    async with open_house() as house:
        seen: list[object] = []
        monkeypatch.setattr(inspect, "getmembers", seen.append)
        await house.play(BEGIN + "C: QUIT\nS: 221 *\nS: <closed>")
        assert seen == []


class HasReset:
    """A transport of asyncio's own loop whose peer has reset: the loop has not heard of it, the socket has."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")


async def test_a_peer_that_has_just_reset_is_no_fault(open_house: Opener) -> None:
    async with open_house() as house:
        client = await house.play(BEGIN)
        (session,) = house.listener.desk.guests
        wire: Any = session
        wire.transport = HasReset(wire.transport)
        wire.close(Reply(421, "4.4.2", "gone"))
        assert await client.reader.read() in (b"", b"421 4.4.2 gone\r\n")
        assert not house.listener.desk.guests


async def test_sessions_show_their_state(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play(BEGIN)
        (session,) = house.listener.desk.guests
        assert repr(session).startswith("<Session 127.0.0.1:")
        assert repr(session).endswith("clear open>")
        assert "1 connected" in repr(house.listener)


def test_a_reply_is_one_line_of_ascii_whatever_its_text() -> None:
    assert encoded(Reply(250, "2.0.0", "OK")) == b"250 2.0.0 OK\r\n"
    assert encoded(Reply(550, "5.7.1", "a\r\n250 b é\0")) == b"550 5.7.1 a  250 b ? \r\n"
    assert len(encoded(Reply(550, "5.7.1", "x" * 1000))) == LONGEST_REPLY + 2
