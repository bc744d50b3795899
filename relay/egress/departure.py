"""How a connection leaves: bound to the source, or made by the proxy on whose machine the source's address lives."""

import asyncio
import errno
import os
import socket

from relay.egress.connection import Target, describe
from relay.egress.pools import Protocol, Proxy, Source
from relay.egress.proxy import Conversation, ProxyFault, Unreachable, after, haproxy, socks5

IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; the port is chosen at connect, so 28,000 per destination instead of in all
PROXY_SECONDS = 10.0  # for a proxy to answer for itself: it is near, and until it does the source's mail waits


class SourceFault(Exception):
    """Nothing can be sent from this source: no other host will do, another source may. In words for people."""


async def dial(target: Target, source: Source, seconds: float) -> socket.socket:
    """Connect to `target` within `seconds`. Raises OSError (TimeoutError) for the host, SourceFault for the source."""
    proxy = source.through
    address = (proxy.host, proxy.port) if proxy is not None else (target.address, target.port)
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy is not None:
            await _through(sock, proxy, target, source, seconds)
        else:
            if source.address:
                _bind(sock, source.address)
            async with asyncio.timeout(seconds):
                await _connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(sock: socket.socket, address: tuple[str, int]) -> None:
    """What the loop's sock_connect does; but uvloop's has a thread resolve the address first, which is one already."""
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_writer(sock, _end, ended)
        try:
            await ended
        finally:
            loop.remove_writer(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _bind(sock: socket.socket, address: str) -> None:
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((address, 0))
    except OSError as error:
        raise SourceFault(f"cannot send from {address}: {describe(error)}") from error


async def _through(sock: socket.socket, proxy: Proxy, target: Target, source: Source, seconds: float) -> None:
    """`seconds` are the host's, from when the proxy has been asked for it."""
    loop, asked = asyncio.get_running_loop(), False
    conversation = _conversation(proxy, target, source)
    try:
        async with asyncio.timeout(min(seconds, PROXY_SECONDS)) as patience:
            await _connect(sock, (proxy.host, proxy.port))
            step = after(conversation, None)
            while step is not None:
                if step.host:
                    asked = True
                    patience.reschedule(loop.time() + seconds)
                await loop.sock_sendall(sock, step.write)
                step = after(conversation, await _read(sock, step.read))
    except Unreachable:
        raise
    except (ProxyFault, OSError) as error:
        if asked and isinstance(error, TimeoutError):
            raise
        raise SourceFault(f"cannot send from {source.address}: {proxy}: {describe(error)}") from error


def _conversation(proxy: Proxy, target: Target, source: Source) -> Conversation:
    if proxy.protocol is Protocol.HAPROXY:
        return haproxy(source.address, target.address, target.port)
    return socks5(proxy, target.address, target.port)


async def _read(sock: socket.socket, count: int) -> bytes:
    """Exactly so many octets: what follows them is the host's."""
    octets = b""
    while len(octets) < count:
        piece = await asyncio.get_running_loop().sock_recv(sock, count - len(octets))
        if not piece:
            raise ProxyFault("it closed the connection")
        octets += piece
    return octets
