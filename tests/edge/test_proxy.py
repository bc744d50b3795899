"""PROXY headers: what they say, and that not one octet behind them is asked for."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.edge.proxy import FIXED, LONGEST_LINE, LONGEST_REST, SIGNATURE, Announced, believed, missing, parse

WORST_LINE = b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n"
V4 = bytes([192, 0, 2, 1, 198, 51, 100, 1, 0xC8, 0x01, 0x01, 0xD1])
V6 = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + bytes([0xC8, 0x01, 0x01, 0xD1])


def block(command: int, family: int, rest: bytes = b"") -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


def read(stream: bytes, most: int = 10_000) -> tuple[bytes, bytes]:
    """As the listener reads, `most` octets at a time: what it took, and what it left in the socket."""
    taken = b""
    while (wanted := missing(taken)) and len(taken) < len(stream):
        taken = stream[: len(taken) + min(wanted, most)]
    return taken, stream[len(taken) :]


GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 51201 465\r\n", Announced("192.0.2.1", 51201)),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n", Announced("1.1.1.1", 0)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Announced("255.255.255.255", 65535)),
    (b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 51201 465\r\n", Announced("2001:db8::1", 51201)),
    (b"PROXY TCP6 :: :: 0 0\r\n", Announced("::", 0)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6401 51201 465\r\n", Announced("192.0.2.1", 51201)),
    (b"PROXY UNKNOWN\r\n", Announced()),
    (b"PROXY UNKNOWN 192.0.2.1 anything \0\xff\r\n", Announced()),
    (WORST_LINE, Announced()),
    (block(0x21, 0x11, V4), Announced("192.0.2.1", 51201)),
    (block(0x21, 0x11, V4 + b"\x04\x00\x02ab"), Announced("192.0.2.1", 51201)),
    (block(0x21, 0x11, V4 + bytes(LONGEST_REST - len(V4))), Announced("192.0.2.1", 51201)),
    (block(0x21, 0x21, V6), Announced("2001:db8::1", 51201)),
    (block(0x21, 0x21, IPv6Address("::ffff:192.0.2.1").packed * 2 + V6[32:]), Announced("192.0.2.1", 51201)),
    (block(0x20, 0x00), Announced()),
    (block(0x20, 0x11, V4), Announced()),  # 2.2: LOCAL, so address and even family are ignored
    (block(0x20, 0xEE, b"xyz"), Announced()),
    *((block(0x21, family, V4), Announced()) for family in (0x00, 0x12, 0x22, 0x31, 0x32)),
]

BAD = [
    b"PROXY TCP4 192.0.2.1 198.51.100.1 51201 65536\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 465\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 051201 465\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 465\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.1 51201 465\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 51201 465\r\n",
    b"PROXY TCP4 192.0.2.1 2001:db8::2 51201 465\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 51201 465\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.1 51201 465\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::2 51201 465\r\n",
    b"PROXY TCP6 2001:db8::1::2 2001:db8::2 51201 465\r\n",
    b"PROXY  TCP4 192.0.2.1 198.51.100.1 51201 465\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 51201 465 \r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 51201 465\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 51201 465\r\r\n",
    b"PROXY TCP4 192.0.2.1\r\n198.51.100.1 51201 465\r\n",
    b"PROXY TCP4 192.0.2.1\r198.51.100.1 51201 465\r\n",
    b"PROXY TCP5 192.0.2.1 198.51.100.1 51201 465\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.1 51201 465\r\n",
    b"PROXY UNKNOWNS and more\r\n",
    b"PROXY UNKNOWN\n and more\r\n",
    b"proxy TCP4 192.0.2.1 198.51.100.1 51201 465\r\n",
    WORST_LINE[:-2] + b" \r\n",
    b"PROXY UNKNOWN " + b"x" * 10_000,
    b"EHLO app\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\r\nQUIT\r\n",
    SIGNATURE[:-1] + b"\r" + block(0x21, 0x11, V4)[12:],
    block(0x11, 0x11, V4),  # version 1 in binary
    block(0x31, 0x11, V4),
    block(0x22, 0x11, V4),  # no such command
    block(0x21, 0x10, V4),
    block(0x21, 0x13, V4),
    block(0x21, 0x41, V6),
    block(0x21, 0x11, V4[:-1]),
    block(0x21, 0x21, V4),
    block(0x21, 0x21, V6[:-1]),
    block(0x21, 0x11, V4 + bytes(LONGEST_REST - len(V4) + 1)),
    block(0x20, 0x00, bytes(0xFFFF)),
]


@pytest.mark.parametrize(("header", "announced"), GOOD)
@pytest.mark.parametrize("behind", [b"", b"EHLO app\r\n", b"\r\n", b"\x16\x03\x01\x02", b"PROXY UNKNOWN\r\n"])
def test_headers_and_what_is_left_behind_them(header: bytes, announced: Announced, behind: bytes) -> None:
    taken, left = read(header + behind)
    assert (parse(taken), left) == (announced, behind)


@pytest.mark.parametrize(("header", "announced"), GOOD)
def test_headers_that_arrive_in_parts(header: bytes, announced: Announced) -> None:
    for most in (1, 2, 3, 7):
        taken, left = read(header + b"EHLO app\r\n", most)
        assert (parse(taken), left) == (announced, b"EHLO app\r\n")


@pytest.mark.parametrize(("header", "_"), GOOD)
def test_no_part_of_a_header_is_one(header: bytes, _: Announced) -> None:
    for end in range(len(header)):
        assert 0 < missing(header[:end]) <= len(header) - end
        assert parse(header[:end]) is None


@pytest.mark.parametrize("octets", BAD)
def test_everything_else_is_none(octets: bytes) -> None:
    assert parse(octets) is None
    taken, _ = read(octets)
    assert missing(taken) == 0
    assert parse(taken) is None
    assert len(taken) <= max(LONGEST_LINE, FIXED + LONGEST_REST)


@pytest.mark.parametrize(
    "octets", [b"EHLO app\r\n", b"PROXIES", b"\r\nQUIT\r\n", b"\x16\x03\x01", b"PROXY TCP4\r\nEHLO"]
)
def test_nobody_waits_for_the_rest_of_what_cannot_become_one(octets: bytes) -> None:
    assert missing(octets) == 0


def test_the_longest_line_is_the_longest() -> None:
    assert len(WORST_LINE) == LONGEST_LINE


likely = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda rest: b"PROXY " + rest),
    st.text("TCP46UNKOW 0123456789abcdef:.\r\n", max_size=120).map(lambda rest: b"PROXY " + rest.encode()),
    st.binary(max_size=60).map(lambda rest: SIGNATURE + rest),
    st.builds(block, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=100)),
)


@given(likely, st.integers(1, 20))
def test_any_octets_are_read_to_a_bound_and_answered(octets: bytes, most: int) -> None:
    taken, _ = read(octets, most)
    assert octets.startswith(taken)
    assert len(taken) <= FIXED + LONGEST_REST
    assert 0 <= missing(octets) <= LONGEST_REST
    announced = parse(taken)
    assert announced is None or missing(taken) == 0
    parse(octets)


ipv4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ipv6 = st.integers(0, 2**128 - 1).map(IPv6Address)
ports = st.integers(0, 65535)


@given(st.one_of(st.tuples(ipv4, ipv4), st.tuples(ipv6, ipv6)), ports, ports, st.binary(max_size=40), st.data())
def test_both_versions_say_the_same(
    ends: tuple[IPv4Address | IPv6Address, ...], port: int, own: int, tlvs: bytes, data: st.DataObject
) -> None:
    source, target = ends
    line = f"PROXY TCP{source.version} {source} {target} {port} {own}\r\n".encode()
    packed = source.packed + target.packed + port.to_bytes(2, "big") + own.to_bytes(2, "big")
    expected = Announced(str(getattr(source, "ipv4_mapped", None) or source), port)
    for header in (line, block(0x21, 0x11 if source.version == 4 else 0x21, packed + tlvs)):
        behind = data.draw(st.binary(max_size=30))
        taken, left = read(header + behind, data.draw(st.integers(1, 200)))
        assert (parse(taken), left) == (expected, behind)


def test_proxies_are_known_by_their_address() -> None:
    proxies = (ip_network("192.0.2.0/30"), ip_network("2001:db8::/64"))
    assert all(believed(ip, proxies) for ip in ("192.0.2.1", "2001:db8::7", "2001:db8::7%eth0"))
    assert not any(believed(ip, proxies) for ip in ("192.0.2.4", "2001:db8:0:1::7", "::1"))
    assert not believed("192.0.2.1", ())
