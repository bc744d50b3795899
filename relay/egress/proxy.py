"""What is said to a proxy that connects for us: SOCKS5 (RFC 1928, 1929) and the PROXY protocol, version 2. Pure.

Strategy: a conversation is a generator that yields what to write and how many octets to read then, so that not
one octet of the host's banner is taken for the proxy's. What is wrong with the proxy is a ProxyFault and the source's
trouble; what the proxy says of the host is the OSError that a connection of our own would have met.

SOCKS5 has no word for the address to leave from: a proxy with several chooses by the user or by the port it is asked at.
The PROXY protocol has (HAProxy's "source ... usesrc clientip", as KumoMTA and Halon use it), but no answer: where haproxy
cannot connect, it closes, and that is taken for the host's doing.
"""

import errno
import os
from collections.abc import Generator
from ipaddress import ip_address
from typing import NamedTuple

from relay.egress.pools import Proxy

_VERSION, _CONNECT, _IPV4, _NAME, _IPV6 = 5, 1, 1, 3, 4
_OPEN, _PASSWORD, _LOGIN_VERSION = 0, 2, 1
# RFC 1928 6: what the proxy says of the host, as the system would have
_OF_THE_HOST = {3: errno.ENETUNREACH, 4: errno.EHOSTUNREACH, 5: errno.ECONNREFUSED, 6: errno.ETIMEDOUT}
_OF_THE_PROXY = {
    1: "it fails",
    2: "its rules do not allow this connection",
    7: "it does not make connections",
    8: "it does not know this kind of address",
}
_SIGNATURE, _PROXY_COMMAND = b"\r\n\r\n\0\r\nQUIT\n", 0x21


class ProxyFault(Exception):
    """The proxy does not do what it is there for; in words that go on from "the proxy ...: "."""


class Unreachable(OSError):
    """The proxy does its work, and the host does not answer it."""


class Step(NamedTuple):
    """Write this, then read so many octets. `host`: from here on the proxy waits for the host."""

    write: bytes
    read: int
    host: bool = False


Conversation = Generator[Step, bytes, None]


def socks5(proxy: Proxy, address: str, port: int) -> Conversation:
    """Ask for a connection to `address`. Raises ProxyFault, or Unreachable."""
    method = _PASSWORD if proxy.user else _OPEN
    version, chosen = yield Step(bytes([_VERSION, 1, method]), 2)
    if version != _VERSION:
        raise ProxyFault("it does not speak SOCKS5")
    if chosen != method:
        raise ProxyFault("it wants no password" if proxy.user else "it wants a login; set socks5_user")
    if proxy.user:
        yield from _log_in(proxy.user.encode(), proxy.password.encode())
    ip = ip_address(address)
    kind = _IPV4 if ip.version == 4 else _IPV6
    request = bytes([_VERSION, _CONNECT, 0, kind]) + ip.packed + port.to_bytes(2, "big")
    version, said, _, kind = yield Step(request, 4, host=True)
    if version != _VERSION:
        raise ProxyFault("it does not speak SOCKS5")
    if said in _OF_THE_HOST:
        raise Unreachable(_OF_THE_HOST[said], os.strerror(_OF_THE_HOST[said]))
    if said:
        raise ProxyFault(_OF_THE_PROXY.get(said, f"it answers {said}, whatever that means"))
    yield from _skip_address(kind)


def _log_in(user: bytes, password: bytes) -> Conversation:
    """RFC 1929 2. The configuration has seen to it that both have 1 to 255 octets."""
    octets = bytes([_LOGIN_VERSION, len(user)]) + user + bytes([len(password)]) + password
    _, status = yield Step(octets, 2)
    if status:
        raise ProxyFault("it does not take our user and password")


def _skip_address(kind: int) -> Conversation:
    """Where it left from: a private address more often than not, if it is told at all."""
    if kind == _NAME:
        (length,) = yield Step(b"", 1)
    elif kind in (_IPV4, _IPV6):
        length = 4 if kind == _IPV4 else 16
    else:
        raise ProxyFault("it does not speak SOCKS5")
    yield Step(b"", length + 2)


def haproxy(source: str, address: str, port: int) -> Conversation:
    """Ask for a connection from `source`, with a port of the proxy's choice, to `address`: a header, and no answer
    (proxy-protocol.txt 2.2). Both are of one family."""
    ours, theirs = ip_address(source), ip_address(address)
    family = 0x11 if theirs.version == 4 else 0x21  # TCP over IPv4, over IPv6
    rest = ours.packed + theirs.packed + bytes(2) + port.to_bytes(2, "big")
    yield Step(_SIGNATURE + bytes([_PROXY_COMMAND, family]) + len(rest).to_bytes(2, "big") + rest, 0)


def after(conversation: Conversation, octets: bytes | None) -> Step | None:
    """The next step once `octets` have been read, None to begin with; None when all is said."""
    try:
        return next(conversation) if octets is None else conversation.send(octets)
    except StopIteration:
        return None
