"""Listeners: who is let in, implicit TLS, and going down without losing or doubling anything unsaid."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from relay.edge.guesses import Guesses
from relay.edge.limits import Limits, ListenerSettings
from relay.edge.listener import Listener
from tests.edge.conftest import House, Opener, until
from tests.support.certificates import self_signed
from tests.support.smtp_dialogue import Client, connect

BEGIN = "S: 220 *\nC: EHLO app\nS: ...\n"
TO_ONE = "C: MAIL FROM:<app@example.com>\nC: RCPT TO:<jo@example.net>\nS: 250 *\nS: 250 *\n"


async def test_connections_are_limited_and_come_free_again(open_house: Opener) -> None:
    async with open_house(limits=Limits(connections=2, sweep_seconds=0.02)) as house:
        first = await house.play(BEGIN)
        await house.play(BEGIN)
        await house.play("S: 421 4.7.0 too many connections*\nS: <closed>")
        assert (house.listener.connections, house.listener.counters.refused) == (2, 1)
        await first.play("C: QUIT\nS: 221 *\nS: <closed>")
        await until(lambda: house.listener.connections == 1)
        await house.play(BEGIN)


async def test_connections_of_one_peer_are_limited(open_house: Opener) -> None:
    async with open_house(limits=Limits(connections_per_peer=1)) as house:
        await house.play(BEGIN)
        await house.play("S: 421 4.7.0 *\nS: <closed>")


async def test_implicit_tls(open_house: Opener) -> None:
    async with open_house(tls="implicit") as house:
        await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 *", tls=True)
        peer = house.door.submissions[0].peer
        assert (peer.ip, peer.protocol, peer.tls) == ("127.0.0.1", "ESMTPS", "TLSv1.3")


async def test_a_peer_counts_before_its_handshake(open_house: Opener) -> None:
    limits = Limits(connections_per_peer=1, tls_seconds=0.2, sweep_seconds=0.02)
    async with open_house(tls="implicit", limits=limits) as house:
        silent = await house.connect()
        await until(lambda: house.listener.connections == 1)
        second = await house.connect()
        assert await second.closed()
        assert house.listener.counters.refused == 1
        assert await silent.closed()
        await house.empty()
        await house.play(BEGIN, tls=True)


async def test_clear_text_on_an_implicit_tls_port(open_house: Opener) -> None:
    async with open_house(tls="implicit") as house:
        client = await house.connect()
        await client.send(b"EHLO app\r\n")
        assert await _hung_up(client)
        await house.empty()


async def test_the_idle_are_told_at_once_that_we_go_down(open_house: Opener) -> None:
    async with open_house() as house:
        client = await house.play(BEGIN)
        await house.listener.stop_accepting()
        draining = asyncio.create_task(house.listener.drain(20))
        await client.play("S: 421 4.3.2 *\nS: <closed>")
        await client.aclose()
        assert await draining == 0


async def test_the_busy_finish_their_transaction(open_house: Opener) -> None:
    async with open_house() as house:
        in_envelope = await house.play(BEGIN + TO_ONE)
        in_data = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x")
        await house.listener.stop_accepting()
        draining = asyncio.create_task(house.listener.drain(20))
        await in_data.play("C: .\nS: 250 2.0.0 *\nS: 421 4.3.2 *\nS: <closed>")
        await in_envelope.play("C: DATA\nS: 354 *\nC: y\nC: .\nS: 250 2.0.0 *\nS: 421 4.3.2 *\nS: <closed>")
        await in_data.aclose()
        await in_envelope.aclose()
        assert await draining == 0
        assert len(house.door.saved) == 2


async def test_what_is_not_finished_in_time_is_cut_and_saves_are_counted(open_house: Opener) -> None:
    async with open_house() as house:
        house.door.gate.clear()
        await house.play(BEGIN + TO_ONE)
        await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .")
        await house.door.arrived.wait()
        await house.listener.stop_accepting()
        assert await house.listener.drain(0.01) == 1
        await house.empty()


@pytest.mark.parametrize("tls", ["off", "implicit"])
async def test_after_stop_nobody_is_taken_in(open_house: Opener, tls: str) -> None:
    async with open_house(tls=tls) as house:
        await house.listener.stop_accepting()
        with pytest.raises(OSError):  # noqa: PT011 (refused or reset: the test holds the only copy of the socket)
            await house.play("S: 220 *")


async def _hung_up(client: Client) -> bool:
    """TLS servers may send an alert first."""
    try:
        await asyncio.wait_for(client.reader.read(), 20)
    except ConnectionError:
        return True
    return client.reader.at_eof()


async def greeted_by(house: House, pem: Path) -> str:
    """Shakes hands with whom that certificate proves, and no other."""
    context = ssl.create_default_context(cafile=str(pem))
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port, ssl=context, server_hostname="localhost")
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line[:3].decode()


def pems(folder: Path) -> tuple[Path, Path]:
    """Two certificates of one name."""
    for name in ("first", "second"):
        (folder / name).mkdir()
    return self_signed(folder / "first", "localhost"), self_signed(folder / "second", "localhost")


async def test_new_connections_get_the_renewed_certificate(open_house: Opener, tmp_path: Path) -> None:
    first, second = pems(tmp_path)
    async with open_house(tls="implicit") as house:
        house.listener.renew_certificate(first, first)
        assert await greeted_by(house, first) == "220"
        before = await house.connect(tls=True)
        house.listener.renew_certificate(second, second)
        assert await greeted_by(house, second) == "220"
        with pytest.raises(ssl.SSLCertVerificationError):
            await greeted_by(house, first)
        await before.play(BEGIN)  # who was here stays


async def test_the_old_certificate_stays_while_the_new_one_does_not_serve(open_house: Opener, tmp_path: Path) -> None:
    first, second = pems(tmp_path)
    async with open_house(tls="implicit") as house:
        house.listener.renew_certificate(first, first)
        house.listener.renew_certificate(second, first)  # half of a renewal
        assert await greeted_by(house, first) == "220"
        house.listener.renew_certificate(tmp_path / "missing.pem", second)
        assert await greeted_by(house, first) == "220"


async def test_there_is_nothing_to_renew_without_tls(open_house: Opener, tmp_path: Path) -> None:
    first, _ = pems(tmp_path)
    async with open_house() as house:
        house.listener.renew_certificate(first, first)
        await house.play(BEGIN)


# A reload


async def test_new_settings_are_for_new_connections(open_house: Opener, tls_context: ssl.SSLContext) -> None:
    async with open_house() as house:
        before = await house.play("S: 220 relay.test *\nC: EHLO app\nS: 250-relay.test\nS: ...\n")
        settings = ListenerSettings("new.test", "starttls", tls_context, role="bounces")
        house.door.by_network = lambda *_: None  # type: ignore[method-assign]
        await house.listener.reconfigure(settings, Limits(max_size=1000, sweep_seconds=0.02))
        await before.play("C: EHLO app\nS: 250-relay.test\nS: ...\nC: STARTTLS\nS: 502 *\n" + TO_ONE)
        await before.play("C: DATA\nS: 354 *\nC: " + "x" * 900 + "\nC: " + "y" * 900 + "\nC: .\nS: 250 2.0.0 *")
        after = await house.play("S: 220 new.test *\nC: EHLO app\nS: 250-new.test\nS: ...\n")
        await after.play("C: MAIL FROM:<a@b.example>\nS: 550 *\nC: STARTTLS\nS: 220 *")


async def test_into_tls_and_back_while_people_come(open_house: Opener, tls_context: ssl.SSLContext) -> None:
    """Whoever connects is taken in, and hears one or the other."""
    clear, implicit = ListenerSettings("relay.test"), ListenerSettings("relay.test", "implicit", tls_context)
    limits = Limits(sweep_seconds=0.02)
    async with open_house() as house:
        talking = await house.play(BEGIN)
        for settings in (implicit, clear) * 5:
            coming = [asyncio.create_task(house.connect()) for _ in range(5)]
            await house.listener.reconfigure(settings, limits)
            for client in await asyncio.gather(*coming):
                await client.aclose()
        await house.listener.reconfigure(implicit, limits)
        await house.play(BEGIN + TO_ONE, tls=True)
        await talking.play(TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 *")
        await house.listener.reconfigure(clear, limits)
        await house.play(BEGIN + TO_ONE)


async def test_settings_before_the_start_hold_from_the_start(open_house: Opener, tls_context: ssl.SSLContext) -> None:
    async with open_house() as house:
        late = Listener(
            socket.create_server(("127.0.0.1", 0)),
            settings=ListenerSettings("relay.test"),
            limits=Limits(),
            door=house.door,
            budget=house.listener.desk.budget,
            guesses=Guesses(),
            clock=lambda: 0,
        )
        await late.reconfigure(ListenerSettings("relay.test", "implicit", tls_context), Limits())
        port = late._socket.getsockname()[1]
        await late.start()
        client = await connect(port, tls=True)
        await client.play("S: 220 relay.test *")
        await client.aclose()
        await late.stop_accepting()
        await late.drain(5)
