"""One SMTP connection to another server: opened with aiosmtplib, then spoken to by our own protocol.

Strategy: aiosmtplib does the banner, EHLO, STARTTLS and AUTH on a socket of ours (bound to the source). Then
`Connection` takes over the transport (`set_protocol`, in clear and under TLS alike), feeds replies to a Transaction
and writes what that says. One future a transaction, one timer a connection: a reply deadline is a number, and the
timer looks at it now and then.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import cast

import aiosmtplib

from relay.egress.failure import ours, scope_of
from relay.egress.pools import Source
from relay.egress.replies import ReplyReader, make_reply, printable
from relay.egress.settings import Relay, Timeouts
from relay.egress.tls import Requirement, context_for, server_name
from relay.egress.transaction import Features, Transaction, features
from relay.outcome import Outcome, Reply, Scope

IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; the port is chosen at connect, so 28,000 per destination instead of in all


@dataclass(frozen=True, slots=True)
class Target:
    """One address of one host."""

    host: str
    address: str
    port: int

    def __str__(self) -> str:
        return self.host if self.host == self.address else f"{self.host} [{self.address}]"


class Connection(asyncio.Protocol):
    """An SMTP session past EHLO that carries one transaction after another.

    `on_lost(self)` is called exactly once, when the transport is gone. The caller sends only while `usable`.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        target: Target,
        source: Source,
        offered: Features,
        timeouts: Timeouts,
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.target = target
        self.source = source
        self.features = offered
        ssl_object = transport.get_extra_info("ssl_object")
        self.tls: str = (ssl_object.version() or "") if ssl_object else ""
        self.used = 0
        self.idle_since = 0.0
        self.usable = True
        self._dirty = False
        self._transport = transport
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader()
        self._transaction: Transaction | None = None
        self._done: asyncio.Future[None] | None = None
        self._timeouts = timeouts
        self._patience = {
            "RSET": timeouts.mail,
            "MAIL": timeouts.mail,
            "RCPT": timeouts.rcpt,
            "DATA": timeouts.data,
            "END": timeouts.final,
        }
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._started = 0.0
        self._paused = False
        self._unsent = 0
        transport.set_protocol(self)

    def __repr__(self) -> str:
        state = f"in {self._transaction.waiting}" if self._transaction else "idle" if self.usable else "closing"
        tls = self.tls or "clear"
        return f"<Connection {self.source.address or '*'} to {self.target} {tls} used={self.used} {state}>"

    @property
    def awaiting_final(self) -> bool:
        """Is the peer deciding on a message it has? Cut now, that message may arrive twice."""
        return self._transaction is not None and self._transaction.waiting == "END"

    # ------------------------------------------------------------------------------------------- transactions

    async def send(self, mail: bytes, rcpt: bytes, content: tuple[bytes, ...]) -> Transaction:
        """Carry out one transaction; returns it finished. Never raises for what the peer does."""
        transaction = Transaction(mail, rcpt, content, pipelining=self.features.pipelining, reset=self._dirty)
        if not self.usable or self._transaction is not None:
            transaction.abandon(self._lost_reply("MAIL"))
            return transaction
        self.used += 1
        self._transaction = transaction
        self._done = self._loop.create_future()
        self._started = self._loop.time()
        self._expect(self._patience[transaction.waiting])
        self._transport.write(transaction.start())
        try:
            await self._done
        except asyncio.CancelledError:
            self.abort()
            raise
        return transaction

    def data_received(self, data: bytes) -> None:
        replies = self._reader.feed(data)
        for reply in replies:
            transaction = self._transaction
            if transaction is None:
                # Unasked for: a farewell (221, or 421 to an idle session), or a peer out of step.
                self._close()
                return
            output = transaction.receive(reply)
            if transaction.finished:
                self._finish(transaction)
            else:
                self._deadline = self._loop.time() + self._patience[transaction.waiting]
                if output:
                    self._write(output)
        if self._reader.fault:
            self._give_up(Reply(421, "4.5.0", f"{self.target}: {self._reader.fault}"))

    def _write(self, output: Sequence[bytes]) -> None:
        """A command, or the content in its pieces: uvloop hands those to the kernel without joining them."""
        if len(output) == 1:
            self._transport.write(output[0])
        else:
            self._transport.writelines(output)

    def _finish(self, transaction: Transaction) -> None:
        self._transaction = None
        self._dirty = transaction.dirty
        # A peer that answers before it has everything is not ready for another message.
        if transaction.broken or not self._reader.clean or self._transport.get_write_buffer_size():
            self._close()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _give_up(self, reply: Reply) -> None:
        """Nothing more can come of this connection."""
        transaction = self._transaction
        if transaction is not None:
            transaction.abandon(reply)
            self._finish(transaction)
        self.abort()

    # ------------------------------------------------------------------------------------------------- timer

    def _expect(self, seconds: float) -> None:
        """Set the deadline. The timer is set anew only where it would look too late."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self.usable and self._transaction is None:
            return
        now = self._loop.time()
        if now < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look_at_clock)
        elif self._takes_content(now):
            self._expect(self._timeouts.final)
        else:
            waiting = self._transaction.waiting if self._transaction else "QUIT"
            seconds = self._patience.get(waiting, 0)
            self._give_up(self._late_reply(waiting, seconds))

    def _takes_content(self, now: float) -> bool:
        """Is the peer still taking content, if slowly? Then the wait for its reply has not begun."""
        unsent, before = self._transport.get_write_buffer_size(), self._unsent
        self._unsent = unsent
        return self._paused and unsent < before and now - self._started < self._timeouts.content

    def pause_writing(self) -> None:
        """The peer takes the content more slowly than we hand it over."""
        self._paused, self._unsent = True, self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """(Nearly) all of it is out: the peer's time to answer starts now."""
        self._paused = False
        if self.awaiting_final:
            self._expect(self._timeouts.final)

    def _late_reply(self, waiting: str, seconds: float) -> Reply:
        text = f"{self.target} did not answer {waiting} in {seconds:g} s"
        return Reply(421, "4.4.2", text + _doubt(waiting))

    def _lost_reply(self, waiting: str, error: Exception | None = None) -> Reply:
        why = f" ({_words(error)})" if error else ""
        return Reply(421, "4.4.2", f"{self.target} closed the connection at {waiting}{why}{_doubt(waiting)}")

    # ------------------------------------------------------------------------------------------------ closing

    def quit(self) -> None:
        """Say good-bye and close: when the peer has answered, at the latest after a few seconds."""
        if self.usable:
            self.usable = False
            self._expect(self._timeouts.quit)
            self._transport.write(b"QUIT\r\n")

    def _close(self) -> None:
        """Close without a word; what the peer still sends is dropped."""
        self.usable = False
        self._transport.close()
        self._expect(self._timeouts.quit)

    def abort(self) -> None:
        self.usable = False
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        transaction = self._transaction
        if transaction is not None:
            transaction.abandon(self._lost_reply(transaction.waiting, exc))
            self._finish(transaction)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_lost(self)


def _doubt(waiting: str) -> str:
    return "; the message may have been delivered" if waiting == "END" else ""


# ----------------------------------------------------------------------------------------------------- opening


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open a connection: who we are, what TLS it needs, whom to log in as."""

    source: Source
    ehlo: str
    requirement: Requirement
    timeouts: Timeouts
    relay: Relay | None = None


class _Failed(Exception):
    """Opening ended early; carries why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome


class _HandshakeFailed(_Failed):
    """The peer offered STARTTLS and then could not do it."""


async def open_connection(target: Target, how: Opening, on_lost: Callable[[Connection], None]) -> Connection | Outcome:
    """Connect, greet, encrypt, log in. An Outcome says why not; nothing a peer does raises."""
    try:
        try:
            return await _open(target, how, on_lost, starttls=True)
        except _HandshakeFailed as failed:
            if how.requirement is not Requirement.OPPORTUNISTIC:
                return failed.outcome
            return await _open(target, how, on_lost, starttls=False)
    except _Failed as failed:
        return failed.outcome


async def _open(target: Target, how: Opening, on_lost: Callable[[Connection], None], *, starttls: bool) -> Connection:
    client = aiosmtplib.SMTP(
        sock=await _dial(target, how),
        local_hostname=how.ehlo,
        timeout=how.timeouts.banner,
        start_tls=False,
        tls_context=context_for(how.requirement),
    )
    try:
        await _step(client.connect(), "CONNECT", target, how)
        await _greet(client, target, how)
        if starttls:
            await _encrypt(client, target, how)
        if how.relay is not None and how.relay.user:
            login = client.login(how.relay.user, how.relay.password, timeout=how.timeouts.auth)
            await _step(login, "AUTH", target, how)
        transport = client.transport
        if transport is None or transport.is_closing():
            raise _Failed(_outcome("EHLO", ConnectionResetError(errno.ECONNRESET, ""), target, how))
    except BaseException:
        _discard(client)
        raise
    taken = cast(asyncio.Transport, transport)
    return Connection(taken, target, how.source, features(client.esmtp_extensions), how.timeouts, on_lost)


async def _dial(target: Target, how: Opening) -> socket.socket:
    """A connected socket, bound to the source."""
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if how.source.address:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            _bind(sock, how)
        async with asyncio.timeout(how.timeouts.connect):
            await asyncio.get_running_loop().sock_connect(sock, (target.address, target.port))
    except OSError as error:
        sock.close()
        raise _Failed(_outcome("CONNECT", error, target, how)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, how: Opening) -> None:
    """Raises _Failed with scope SOURCE: no other host will do, another address of ours may."""
    try:
        sock.bind((how.source.address, 0))
    except OSError as error:
        text = f"cannot send from {how.source.address}: {os.strerror(error.errno or errno.EIO)}"
        outcome = replace(ours(451, "4.4.0", text, "CONNECT", Scope.SOURCE), source=how.source.address)
        raise _Failed(outcome) from error


async def _greet(client: aiosmtplib.SMTP, target: Target, how: Opening) -> None:
    """EHLO, or HELO for a host that has never heard of it (RFC 5321 3.2)."""
    try:
        await _step(client.ehlo(timeout=how.timeouts.ehlo), "EHLO", target, how)
    except _Failed as failed:
        if not client.is_connected or failed.outcome.internal or not failed.outcome.reply.permanent:
            raise
        await _step(client.helo(timeout=how.timeouts.ehlo), "EHLO", target, how)


async def _encrypt(client: aiosmtplib.SMTP, target: Target, how: Opening) -> None:
    """STARTTLS where it is offered, EHLO again after it (RFC 3207 4.2). A refusal (454) leaves an opportunistic
    connection as it is."""
    optional = how.requirement is Requirement.OPPORTUNISTIC
    if not client.supports_extension("starttls"):
        if not optional:
            text = f"{target} does not offer STARTTLS, and a password is sent only over it"
            raise _Failed(ours(451, "4.7.10", text, "STARTTLS", Scope.HOST))
        return
    handshake = client.starttls(server_hostname=server_name(target.host), timeout=how.timeouts.starttls)
    try:
        await _step(handshake, "STARTTLS", target, how)
    except _Failed as failed:
        if failed.outcome.internal:
            raise _HandshakeFailed(failed.outcome) from failed
        if not optional or not client.is_connected:
            raise
        return
    await _greet(client, target, how)


async def _step(work: Coroutine[object, object, object], command: str, target: Target, how: Opening) -> None:
    """One exchange by aiosmtplib; its exceptions, and what TLS and the system throw, become outcomes here."""
    try:
        await work
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise _Failed(_outcome(command, error, target, how)) from error


def _outcome(command: str, error: Exception, target: Target, how: Opening) -> Outcome:
    """The one table of foreign exceptions: a reply where the peer gave one, else our words; temporary."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and 200 <= error.code < 600:
        reply, internal = make_reply(error.code, error.message.split("\n")), False
    else:
        reply, internal = Reply(421, "4.4.2", f"{target}: {_words(error)} at {command}"), True
    if reply.code < 400:
        reply, internal = Reply(421, "4.5.0", f"{target} answered {command} with {reply}"), True
    scope = scope_of(command, reply)
    return Outcome(reply, command, scope, target.host, "", how.source.address, internal)


def _words(error: Exception) -> str:
    """What went wrong, in a few words and on one line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionError) and not error.errno:
        return "connection closed"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({printable(error.reason or str(error))})"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return printable(str(error))[:200]


def _discard(client: aiosmtplib.SMTP) -> None:
    """Drop a half-open connection at once: nobody waits for its good-bye."""
    transport = client.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    client.close()
    if client.sock is not None:
        client.sock.close()
