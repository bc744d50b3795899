"""One listening socket and its sessions. The socket is the supervisor's: bound, listening, and outliving this process.

Under implicit TLS, and where proxies announce peers, the listener accepts by itself: a peer is counted before its
handshake, a silent one costs a descriptor for `tls_seconds` at most, and a proxy's header is read from the socket
before TLS or a session takes it over. Peers that are no proxies are asked for no header, nor is theirs believed.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from relay.edge import proxy
from relay.edge.desk import Counters, Desk, plain_ip
from relay.edge.guesses import Guesses
from relay.edge.limits import ByteBudget, Limits, ListenerSettings
from relay.edge.session import Session
from relay.edge.submission import Door

log = structlog.get_logger()

BACKLOG = (
    1024  # connections the kernel holds while a worker restarts; above Debian's 128 of old, below net.core.somaxconn
)
RETRY_SECONDS = 1.0  # out of descriptors: wait for sessions to end, as asyncio's own servers do
WARN_SECONDS = 60.0  # a proxy that is set up wrongly fails with each connection; a line a minute says so
OUT_OF_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and newer (RFC 8996, 8314 4). Raises OSError (and so ssl.SSLError) where the files do not serve."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key, password="")  # an encrypted key is a fault; without this OpenSSL asks a terminal
    return context


class Listener:
    """`start`, then `stop_accepting`, then `drain`. `door`, `budget` and `guesses` are the worker's, shared by its listeners."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        settings: ListenerSettings,
        limits: Limits,
        door: Door,
        budget: ByteBudget,
        guesses: Guesses,
        clock: Callable[[], int],
    ) -> None:
        self.desk = Desk(settings, limits, door, budget, guesses, clock)
        self._socket = sock
        self._server: asyncio.Server | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._receptions: set[asyncio.Task[None]] = set()  # from accept to session
        self._warn_again = 0.0
        self._sweeper: asyncio.TimerHandle | None = None
        self._turning = asyncio.Lock()  # start, stop and change one after the other

    def __repr__(self) -> str:
        return f"<Listener {self.desk.settings.hostname} tls={self.desk.settings.tls} {self.desk!r}>"

    @property
    def counters(self) -> Counters:
        return self.desk.counters

    @property
    def connections(self) -> int:
        """How many are connected now."""
        return self.desk.present

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        async with self._turning:
            await self._serve(loop)
        self._sweep(loop)

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """On a copy of the descriptor: who stops serving closes his own, and the socket with its queue stays."""
        sock = self._socket.dup()
        if _accepts_itself(self.desk.settings):
            self._accepting = loop.create_task(self._accept(loop, sock))
            self._accepting.add_done_callback(lambda _: sock.close())
        else:
            self._server = await loop.create_server(lambda: Session(self.desk, loop), sock=sock, backlog=BACKLOG)

    async def reconfigure(self, settings: ListenerSettings, limits: Limits) -> None:
        """For connections from now on; who is connected goes on as he began, and nobody who knocks is refused."""
        async with self._turning:
            otherwise = _accepts_itself(settings) != _accepts_itself(self.desk.settings)
            self.desk.settings, self.desk.limits = settings, limits
            if otherwise and (self._server is not None or self._accepting is not None):
                await self._stop_serving()
                await self._serve(asyncio.get_running_loop())

    def renew_certificate(self, cert: Path, key: Path) -> None:
        """For new connections; on error the old one stays. Nothing happens where there is no TLS.

        A new context, not load_cert_chain on the old: that puts the certificate in first, and where the key then does
        not fit (half of a renewal), neither the new nor the old one works.
        """
        if self.desk.settings.context is None:
            return
        try:
            context = server_context(cert, key)
        except OSError as error:
            log.error("renewed certificate refused; the old one stays", cert=str(cert), key=str(key), error=str(error))
            return
        self.desk.settings = replace(self.desk.settings, context=context)

    async def stop_accepting(self) -> None:
        """New connections wait in the socket's queue for the next worker."""
        async with self._turning:
            await self._stop_serving()
        self._socket.close()

    async def _stop_serving(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._accepting = None

    async def drain(self, seconds: float) -> int:
        """Ends all sessions, the busy ones after their transaction, but within `seconds`.

        How many were cut while a message of theirs was being saved? Each may come again: a possible duplicate.
        """
        for reception in list(self._receptions):
            reception.cancel()
        saving = await self.desk.drain(seconds)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        return saving

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.desk.sweep(loop.time())
        self._sweeper = loop.call_later(self.desk.limits.sweep_seconds, self._sweep, loop)

    async def _accept(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        while True:
            try:
                sock, address = await loop.sock_accept(listening)
            except OSError as error:
                if listening.fileno() < 0:
                    log.error("listening socket was closed", error=str(error))
                    return
                if error.errno in OUT_OF_ROOM:
                    log.warning("cannot accept connections", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                continue  # else the peer was gone before we came (accept(2): try again)
            if len(self._receptions) >= self.desk.limits.connections:
                self.desk.counters.refused += 1
                sock.close()
                continue
            reception = loop.create_task(self._receive(loop, sock, plain_ip(address[0])))
            self._receptions.add(reception)
            reception.add_done_callback(self._receptions.discard)

    async def _receive(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, ip: str) -> None:
        """From accept to session: the header, if a proxy speaks, then the handshake, if TLS is implicit."""
        settings, announced = self.desk.settings, None
        if settings.proxies and proxy.believed(ip, settings.proxies):
            announced = await self._read_header(loop, sock, ip)
            if announced is None:
                sock.close()
                return
            ip = announced.ip or ip
            settings = self.desk.settings  # a reload may have come between
        if settings.tls != "implicit":
            await self._hand_over(loop, sock, Session(self.desk, loop, announced=announced))
        elif self.desk.enter(ip):
            await self._hand_over(loop, sock, Session(self.desk, loop, ip, announced), settings.context)
        else:
            sock.close()  # 421 could only be said after a handshake, which is what costs

    async def _read_header(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, ip: str
    ) -> proxy.Announced | None:
        """What the proxy says of the peer; None if it does not say it properly and in time."""
        octets, late = b"", False
        try:
            async with asyncio.timeout(self.desk.limits.header_seconds):
                while (wanted := proxy.missing(octets)) and (more := await loop.sock_recv(sock, wanted)):
                    octets += more
        except TimeoutError:
            late = True
        except (OSError, asyncio.CancelledError) as error:
            log.debug("proxy went before its header was whole", proxy=ip, error=str(error))
        announced = proxy.parse(octets)
        if announced is None and (octets or late):  # one that only looked whether the port is open is no trouble
            self._complain(loop.time(), ip, octets)
        return announced

    def _complain(self, now: float, ip: str, octets: bytes) -> None:
        self.desk.counters.proxy_failures += 1
        tell = log.debug
        if now >= self._warn_again:
            self._warn_again = now + WARN_SECONDS
            tell = log.warning
        tell("no valid PROXY header; connection closed", proxy=ip, began=repr(octets[:16]))

    async def _hand_over(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        session: Session,
        context: ssl.SSLContext | None = None,
    ) -> None:
        seconds = self.desk.limits.tls_seconds if context else None
        try:
            await loop.connect_accepted_socket(lambda: session, sock, ssl=context, ssl_handshake_timeout=seconds)
        except (OSError, ssl.SSLError, TimeoutError, asyncio.CancelledError) as error:
            log.debug("TLS handshake failed", peer=session.ip, error=str(error))
            if session.transport is None:
                session.connection_lost(None)
            sock.close()


def _accepts_itself(settings: ListenerSettings) -> bool:
    """Does a listener with these settings accept by itself, instead of leaving it to a server of the loop?"""
    return settings.tls == "implicit" or bool(settings.proxies)
