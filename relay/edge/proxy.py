"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt, 2.1 and 2.2): whom a proxy speaks for. Pure.

Strategy: `missing` tells how many octets are sure to belong to the header still, and the caller reads no more than
those. What follows it (a ClientHello, an early EHLO) so stays in the socket for TLS or the session. When none are
missing, `parse` says what the header says. Whoever is asked to send one and sends anything else is hung up on: guessing
would let clients choose their address.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from relay.edge.limits import IPNetwork

LINE = b"PROXY "  # how version 1 begins
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # and version 2
SHORTEST = len(b"PROXY UNKNOWN\r\n")  # of both versions
LONGEST_LINE = 107  # 2.1, with CRLF
FIXED = 16  # octets of version 2 before addresses and TLVs
LONGEST_REST = (
    4096  # of addresses and TLVs: a header shall fit in 536 octets (2), a client's certificate makes it longer
)

_LOCAL, _PROXY = 0x20, 0x21  # version and command
_ADDRESS_LENGTH = {0x11: 4, 0x21: 16}  # of TCP over IPv4 and over IPv6
_NAMELESS = frozenset({0x00, 0x12, 0x22, 0x31, 0x32})  # unspecified, UDP and UNIX sockets: nothing we could use

_PORT = rb"(0|[1-9][0-9]{0,4})"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) " + _PORT + b" " + _PORT + rb")\r\n"
)


@dataclass(frozen=True, slots=True)
class Announced:
    """Whom a proxy speaks for. `ip` is "" where it speaks for itself (LOCAL, a health check) or cannot tell (UNKNOWN)."""

    ip: str = ""
    port: int = 0


def missing(octets: bytes) -> int:
    """How many octets of the header are still to come, at least. 0: it is whole, or it can be none any more."""
    if not (LINE.startswith(octets[: len(LINE)]) or SIGNATURE.startswith(octets[: len(SIGNATURE)])):
        return 0
    if len(octets) < SHORTEST:
        return SHORTEST - len(octets)
    return _missing_of_line(octets) if octets.startswith(LINE) else _missing_of_block(octets)


def _missing_of_line(octets: bytes) -> int:
    """Only CRLF ends it, so that two octets are missing where none of them is there."""
    if b"\n" in octets:
        return 0
    return max(0, min(1 if octets.endswith(b"\r") else 2, LONGEST_LINE - len(octets)))


def _missing_of_block(octets: bytes) -> int:
    if len(octets) < FIXED:
        return FIXED - len(octets)
    rest = _rest(octets)
    return 0 if rest > LONGEST_REST else max(0, FIXED + rest - len(octets))


def parse(octets: bytes) -> Announced | None:
    """What a whole header says; None if it is none."""
    if octets.startswith(SIGNATURE):
        return _parse_block(octets)
    match = _LINE.fullmatch(octets)
    if match is None or len(octets) > LONGEST_LINE:
        return None
    family, source, target, port, target_port = match.groups()
    if family is None:
        return Announced()
    kind = IPv4Address if family == b"4" else IPv6Address
    try:
        address, _ = kind(source.decode()), kind(target.decode())
    except ValueError:
        return None
    return Announced(_plain(address), int(port)) if max(int(port), int(target_port)) <= 0xFFFF else None


def _parse_block(octets: bytes) -> Announced | None:
    """TLVs behind the addresses are skipped, and all there is of a LOCAL connection."""
    if not FIXED <= len(octets) <= FIXED + LONGEST_REST or len(octets) != FIXED + _rest(octets):
        return None
    command, family, rest = octets[12], octets[13], octets[FIXED:]
    if command == _LOCAL or (command == _PROXY and family in _NAMELESS):
        return Announced()
    length = _ADDRESS_LENGTH.get(family)
    if command != _PROXY or length is None or len(rest) < 2 * length + 4:
        return None
    port = rest[2 * length : 2 * length + 2]
    return Announced(_plain(ip_address(rest[:length])), int.from_bytes(port, "big"))


def _rest(octets: bytes) -> int:
    return int.from_bytes(octets[14:16], "big")


def _plain(address: IPv4Address | IPv6Address) -> str:
    """One spelling for each peer; IPv4 in IPv6 (which haproxy makes where source and target differ) is IPv4."""
    return str(getattr(address, "ipv4_mapped", None) or address)


def believed(ip: str, proxies: Sequence[IPNetwork]) -> bool:
    """Is a peer at `ip` one of the proxies?"""
    address = ip_address(ip.partition("%")[0])
    return any(address.version == network.version and address in network for network in proxies)
