"""Listeners behind a proxy: the peer it announces is the peer, in every respect but that of being on this machine."""

import asyncio
import ssl
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.edge.guesses import Guesses
from relay.edge.limits import Limits
from relay.edge.proxy import SIGNATURE
from tests.edge.conftest import SECRET, Opener, credential, plain, until
from tests.support.smtp_dialogue import Client, trusting

PROXY = "127.0.0.2"  # the address it connects from
BEHIND: dict[str, Any] = {"proxies": (ip_network(f"{PROXY}/32"),)}
SEND = """
    C: MAIL FROM:<app@example.com>
    C: RCPT TO:<jo@example.net>
    C: DATA
    S: 250 2.1.0 *
    S: 250 2.1.5 *
    S: 354 *
    C: x
    C: .
    S: 250 2.0.0 *
"""
GREETED = "S: 220 *\nC: EHLO app\nS: ...\n"
AUTH = f"C: AUTH PLAIN {plain('local', SECRET)}\n"


def v1(ip: str, port: int = 51201) -> bytes:
    address = ip_address(ip)
    target = "127.0.0.1" if address.version == 4 else "::1"
    return f"PROXY TCP{address.version} {ip} {target} {port} 25\r\n".encode()


def v2(ip: str, port: int = 51201, tlvs: bytes = b"\x04\x00\x03abc") -> bytes:
    """With a TLV, which is skipped."""
    address = ip_address(ip)
    target = ip_address("127.0.0.1" if address.version == 4 else "::1")
    rest = address.packed + target.packed + port.to_bytes(2, "big") + b"\0\x19" + tlvs
    return SIGNATURE + bytes([0x21, 0x11 if address.version == 4 else 0x21]) + len(rest).to_bytes(2, "big") + rest


LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
UNKNOWN = b"PROXY UNKNOWN\r\n"
versions = pytest.mark.parametrize("header", [v1, v2])
nameless = pytest.mark.parametrize("header", [LOCAL, UNKNOWN])
every_tls = pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])


async def announce(house: Any, header: bytes) -> Client:
    client: Client = await house.connect(source=PROXY)
    await client.send(header)
    return client


@versions
@pytest.mark.parametrize("ip", ["192.0.2.1", "2001:db8::1"])
async def test_the_announced_peer_is_the_peer(open_house: Opener, header: Any, ip: str) -> None:
    async with open_house(**BEHIND) as house:
        client = await announce(house, header(ip))
        await client.play(GREETED + SEND + "C: MAIL FROM:<broken\nS: 553 *")
        peer = house.door.submissions[0].peer
        assert (peer.ip, peer.port, peer.protocol) == (ip, 51201, "ESMTP")
        assert [one["peer"] for one in house.door.rejections] == [ip]
        (session,) = house.listener.desk.guests
        assert f"{ip}:51201" in repr(session)


@versions
async def test_what_came_with_the_header_is_not_lost(open_house: Opener, header: Any) -> None:
    async with open_house(**BEHIND) as house:
        client = await announce(house, header("192.0.2.1") + b"EHLO app\r\nNOOP\r\nMAIL FROM:<a@exam")
        await client.play("S: 220 *\nS: ...\nS: 250 2.0.0 OK\nC: ple.com>\nS: 250 2.1.0 *")


@versions
async def test_a_header_may_come_in_parts(open_house: Opener, header: Any) -> None:
    async with open_house(**BEHIND) as house:
        client = await house.connect(source=PROXY)
        for octet in header("192.0.2.1") + b"EHLO app\r\n":
            await client.send(bytes([octet]))
            await asyncio.sleep(0)
        await client.play(f"S: 220 *\nS: ...\n{SEND}")
        assert house.door.submissions[0].peer.ip == "192.0.2.1"


@versions
async def test_before_implicit_tls(open_house: Opener, header: Any) -> None:
    """aiosmtpd 1.4.6 takes the header for a handshake."""
    async with open_house(tls="implicit", **BEHIND) as house:
        client = await announce(house, header("192.0.2.1"))
        await client.play("C: <tls>\n" + GREETED + SEND)
        peer = house.door.submissions[0].peer
        assert (peer.ip, peer.port, peer.protocol, peer.tls) == ("192.0.2.1", 51201, "ESMTPS", "TLSv1.3")


@versions
async def test_a_handshake_in_the_segment_of_the_header(open_house: Opener, header: Any) -> None:
    async with open_house(tls="implicit", **BEHIND) as house:
        client = await house.connect(source=PROXY)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting().wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        await client.send(header("192.0.2.1") + outgoing.read())
        said = b""
        while not said.endswith(b"\r\n"):
            try:
                said += tls.read()
            except ssl.SSLWantReadError:
                await client.send(outgoing.read())
                incoming.write(await asyncio.wait_for(client.reader.read(65_536), 20))
        assert said.startswith(b"220 ")


@versions
async def test_before_starttls(open_house: Opener, header: Any) -> None:
    async with open_house(trusted=False, tls="starttls", **BEHIND) as house:
        client = await announce(house, header("192.0.2.1"))
        await client.play(GREETED + AUTH + "S: 538 5.7.11 *\nC: STARTTLS\nS: 220 2.0.0 *\nC: <tls>")
        await client.play("C: EHLO app\nS: ...\n" + AUTH + "S: 235 *\n" + SEND)
        peer = house.door.submissions[0].peer
        assert (peer.ip, peer.protocol, peer.tls) == ("192.0.2.1", "ESMTPSA", "TLSv1.3")


# -- from whom it is believed


async def test_from_others_it_is_a_bad_command(open_house: Opener) -> None:
    async with open_house(**BEHIND) as house:
        client = await house.connect()
        await client.send(v1("192.0.2.1"))
        await client.play("S: 220 *\nS: 500 5.5.1 command not known\nC: EHLO app\nS: ...\n" + SEND)
        client = await house.connect()
        await client.send(v2("192.0.2.1") + b"\r\n")
        await client.play("S: 220 *\nS: 500 5.5.2 *\nS: 500 5.5.2 *\nS: 500 5.5.2 *\nS: 500 5.5.2 *")
        assert [one.peer.ip for one in house.door.submissions] == ["127.0.0.1"]


async def test_where_no_proxy_is_named_nobody_is_believed(open_house: Opener) -> None:
    async with open_house() as house:
        client = await announce(house, v1("192.0.2.1"))
        await client.play("S: 220 *\nS: 500 5.5.1 command not known\nC: EHLO app\nS: ...\n" + SEND)
        assert house.door.submissions[0].peer.ip == PROXY


@versions
async def test_from_others_it_is_no_handshake(open_house: Opener, header: Any) -> None:
    async with open_house(tls="implicit", **BEHIND) as house:
        client = await house.connect()
        await client.send(header("192.0.2.1"))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await client.play("C: <tls>")
        await house.empty()


@pytest.mark.parametrize("tls", ["off", "implicit"])
async def test_others_need_no_header(open_house: Opener, tls: str) -> None:
    async with open_house(tls=tls, **BEHIND) as house:
        await house.play(GREETED + SEND, tls=tls == "implicit")
        assert house.door.submissions[0].peer.ip == "127.0.0.1"


@every_tls
@pytest.mark.parametrize(
    "octets", [b"EHLO app\r\n", b"PROXY TCP4 a b 1 2\r\n", v2("192.0.2.1")[:20] + b"EHLO", b"\r\n\r\n"]
)
async def test_a_proxy_without_a_valid_header_is_hung_up_on(open_house: Opener, tls: str, octets: bytes) -> None:
    """And so is one whose header is cut off."""
    async with open_house(tls=tls, **BEHIND) as house:
        with capture_logs() as logs:
            client = await announce(house, octets)
            client.writer.write_eof()
            assert await client.closed()
            await house.empty()
        assert [(line["log_level"], line["proxy"]) for line in logs if "PROXY" in line["event"]] == [("warning", PROXY)]
        assert house.listener.counters.proxy_failures == 1
        await (await announce(house, v1("192.0.2.1"))).play(("C: <tls>\n" if tls == "implicit" else "") + GREETED)


@every_tls
async def test_a_silent_proxy_is_hung_up_on(open_house: Opener, tls: str) -> None:
    async with open_house(tls=tls, limits=Limits(header_seconds=0.05), **BEHIND) as house:
        with capture_logs() as logs:
            for octets in (b"", UNKNOWN[:-1], LOCAL[:-1]):
                assert await (await announce(house, octets)).closed()
        told = [line["log_level"] for line in logs if "PROXY" in line["event"]]
        assert told == ["warning", "debug", "debug"], "a line a minute is enough"
        assert house.listener.counters.proxy_failures == 3


async def test_one_that_only_knocks_is_no_trouble(open_house: Opener) -> None:
    async with open_house(**BEHIND) as house:
        with capture_logs() as logs:
            for _ in range(3):
                await (await house.connect(source=PROXY)).aclose()
            await (await announce(house, LOCAL)).play("S: 220 *")  # by then all of them were accepted ...
            await until(lambda: not house.listener._receptions)  # ... and now dealt with
        assert house.listener.counters.proxy_failures == 0
        assert not [line for line in logs if line["log_level"] == "warning"]


async def test_headers_to_come_are_bounded(open_house: Opener) -> None:
    async with open_house(limits=Limits(connections=2), **BEHIND) as house:
        silent = [await house.connect(source=PROXY) for _ in range(2)]
        assert await (await announce(house, v1("192.0.2.1"))).closed()
        assert house.listener.counters.refused == 1
        await silent[0].send(v1("192.0.2.1"))
        await silent[0].play(GREETED)
        await (await announce(house, v1("192.0.2.2"))).play(GREETED)


@every_tls
async def test_nobody_waits_for_a_header_when_we_go_down(open_house: Opener, tls: str) -> None:
    async with open_house(tls=tls, **BEHIND) as house:
        client = await announce(house, b"PROXY ")
        await until(lambda: len(house.listener._receptions) == 1)
        await house.listener.stop_accepting()
        assert await house.listener.drain(20) == 0
        assert await client.closed()


# -- for what it counts


@versions
async def test_connections_count_for_the_announced_peer(open_house: Opener, header: Any) -> None:
    async with open_house(limits=Limits(connections_per_peer=1, sweep_seconds=0.02), **BEHIND) as house:
        first = await announce(house, header("192.0.2.1"))
        await first.play(GREETED)
        await (await announce(house, header("192.0.2.2"))).play(GREETED)
        await (await announce(house, header("192.0.2.1"))).play("S: 421 4.7.0 too many connections*\nS: <closed>")
        await first.play("C: QUIT\nS: 221 *\nS: <closed>")
        await until(lambda: house.listener.connections == 1)
        await (await announce(house, header("192.0.2.1"))).play(GREETED)


@versions
async def test_under_implicit_tls_too(open_house: Opener, header: Any) -> None:
    async with open_house(tls="implicit", limits=Limits(connections_per_peer=1), **BEHIND) as house:
        first = await announce(house, header("192.0.2.1"))
        await first.play("C: <tls>\n" + GREETED)
        await (await announce(house, header("192.0.2.2"))).play("C: <tls>\n" + GREETED)
        assert await (await announce(house, header("192.0.2.1"))).closed()
        await first.play("C: QUIT\nS: 221 *\nS: <closed>")
        await until(lambda: house.listener.connections == 1)
        await (await announce(house, header("192.0.2.1"))).play("C: <tls>\n" + GREETED)


@versions
async def test_trust_and_networks_look_at_the_announced_peer(open_house: Opener, header: Any) -> None:
    shop = credential("shop", networks=(ip_network("192.0.2.8/29"),))
    trust = (ip_network("192.0.2.0/24"), ip_network("127.0.0.0/8"))
    async with open_house(trusted=False, trust=trust, credential="local", **BEHIND) as house:
        house.door.directory = type(house.door.directory)([shop, credential("local")])
        for ip in ("192.0.2.1", "192.0.2.9"):
            await (await announce(house, header(ip))).play(GREETED + SEND)
        stranger = await announce(house, header("198.51.100.1"))
        await stranger.play(GREETED + "C: MAIL FROM:<app@example.com>\nS: 550 5.7.1 *")
        assert [one.credential.name for one in house.door.submissions] == ["local", "shop"]


@versions
async def test_wrong_passwords_count_for_the_announced_peer(open_house: Opener, header: Any) -> None:
    async with open_house(trusted=False, tls="implicit", guesses=Guesses(failures=1), **BEHIND) as house:
        wrong = f"C: AUTH PLAIN {plain('local', 'wrong')}\nS: 535 *\n"
        await (await announce(house, header("192.0.2.1"))).play("C: <tls>\n" + GREETED + wrong)
        await (await announce(house, header("192.0.2.1"))).play("C: <tls>\n" + GREETED + AUTH + "S: 454 4.7.0 *")
        await (await announce(house, header("192.0.2.2"))).play("C: <tls>\n" + GREETED + AUTH + "S: 235 *\n" + SEND)


@nameless
async def test_without_an_announced_address_the_peer_is_the_proxy_itself(open_house: Opener, header: bytes) -> None:
    async with open_house(limits=Limits(connections_per_peer=1), **BEHIND) as house:
        house.door.by_network = lambda *_: pytest.fail("nobody is known by a proxy's address")  # type: ignore[method-assign]
        client = await announce(house, header + b"EHLO app\r\n")
        await client.play("S: 220 *\nS: ...\nC: MAIL FROM:<app@example.com>\nS: 550 5.7.1 *")
        assert house.door.rejections[0]["peer"] == PROXY
        await (await announce(house, header)).play("S: 421 *\nS: <closed>")


@pytest.mark.parametrize(
    "header",
    [
        v1("127.0.0.1"),
        v1("::1"),
        v1("::ffff:127.0.0.1"),
        v2("127.3.4.5"),
        v2("::1"),
        v2("::ffff:7f00:1"),
        LOCAL,
        UNKNOWN,
    ],
)
async def test_through_a_proxy_nobody_is_on_this_machine(open_house: Opener, header: bytes) -> None:
    """Loopback announced is the proxy's machine, or another proxy that hides the world: neither trusted, nor AUTH in
    clear, nor the sandbox's any password."""
    sandbox = credential("sandbox", open=True)
    trust = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    settings = {"trusted": False, "identity": sandbox, "trust": trust, "credential": "sandbox", **BEHIND}
    async with open_house(**settings) as house:
        client = await announce(house, header)
        await client.play(GREETED + AUTH + "S: 538 5.7.11 *\nC: MAIL FROM:<app@example.com>\nS: 550 5.7.1 *")
        await house.play(GREETED + SEND)  # one that really is
    async with open_house(tls="implicit", **settings) as house:
        client = await announce(house, header)
        await client.play("C: <tls>\n" + GREETED + AUTH.replace(plain("local", SECRET), plain("x", "any")) + "S: 535 *")
        await client.play(f"C: AUTH PLAIN {plain('sandbox', SECRET)}\nS: 235 *\n{SEND}")
