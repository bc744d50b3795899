"""The transport side of a session: bytes in, replies out, TLS, deadlines, back-pressure. Knows nothing of mail.

Rules
- Commands are answered where their bytes arrive (`data_received` calls `_advance`), and everything one read brought is
  answered in one write. Only what has to wait (saving a message, a TLS handshake, AUTH's next line) runs as a task, a
  "step"; while there is one, input is only collected.
- A step is never cancelled by the peer's going away: a message that is being saved is stored or it is not (accept
  decides).
- What is collected is bounded: above `input_bound` reading stops until it was answered.
- A peer that does not read our replies is not read from either.
- Deadlines are looked at by the listener's sweep; no timer is set per session or command.

Of aiosmtpd's SMTP the subclass uses the session object, the AUTH mechanisms and their result. Its `__init__` is not
called: that inspects all methods anew for each connection (140 us); its reader, its loop and its TLS set-up are
replaced as a whole.
"""

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any, cast

import structlog
from aiosmtpd.smtp import SMTP

from relay.edge import replies
from relay.edge.desk import Desk, plain_ip
from relay.edge.proxy import Announced
from relay.outcome import Reply

log = structlog.get_logger()

LONGEST_REPLY = 510  # RFC 5321 4.5.3.1.5: 512 with CRLF
NEVER = float("inf")


def encoded(reply: Reply) -> bytes:
    """One reply line. Whatever the text holds, it stays one line of ASCII."""
    text = str(reply)
    if not (text.isascii() and text.isprintable()):
        text = "".join(character if character.isprintable() else " " for character in text)
    return text.encode("ascii", "replace")[:LONGEST_REPLY] + b"\r\n"


class Wire(SMTP):  # type: ignore[misc]  # aiosmtpd has no type information
    """One connection. Subclasses say what to do with input (`_take`) and which deadline holds (`_next_deadline`).

    Its many methods are asyncio's and aiosmtpd's callbacks, and the hooks of subclasses.
    """

    def __init__(
        self,
        desk: Desk,
        loop: asyncio.AbstractEventLoop,
        admitted: str | None = None,
        announced: Announced | None = None,
    ) -> None:
        """`admitted` is the address under which the listener has already signed the peer in (implicit TLS);
        `announced` is what a believed proxy said of it, and its peer then is ours."""
        self.loop = loop
        self.desk = desk
        self.settings, self.limits = desk.settings, desk.limits  # as it began, so it goes on: a reload is for the next
        self.transport: asyncio.Transport | None = None
        self.session = self._create_session()
        self.ip = admitted or ""
        self.port = 0
        self.tls = ""
        self.deadline = NEVER
        self._admitted = admitted
        self._announced = announced
        self._input = bytearray()
        self._output: list[bytes] = []
        self._step: asyncio.Task[None] | None = None
        self._line: asyncio.Future[None] | None = None
        self._closing = False
        self._leaving = False
        self._at_eof = False
        self._reading_paused = False
        self._writing_paused = False

    def __repr__(self) -> str:
        state = "closing" if self._closing else "waiting for a step" if self._step else "open"
        return f"<{type(self).__name__} {self.ip}:{self.port} {self.tls or 'clear'} {state}>"

    # -- what the subclass decides

    def _take(self) -> bool:
        """Deals with the next thing in the input; False if that has not arrived as a whole."""
        raise NotImplementedError

    def _greet(self) -> None:
        raise NotImplementedError

    def _next_deadline(self, now: float, answered: bool) -> float:
        """`answered` is False where all that came was a part of something."""
        raise NotImplementedError

    def _input_bound(self) -> int:
        raise NotImplementedError

    def _rested(self) -> None:
        """Called when all input is answered, once the session was asked to leave. A hook: who reads nothing has nothing to do."""

    def _lost(self) -> None:
        """Called once when the connection is gone. A hook for whoever holds more than the wire does."""

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        self.ip, self.port = (plain_ip(address[0]), address[1]) if address else (self.ip, 0)
        if self._announced is not None and self._announced.ip:
            self.ip, self.port = self._announced.ip, self._announced.port
        tls = transport.get_extra_info("ssl_object")
        self.tls = tls.version() if tls else ""
        if self._admitted is None:
            if not address or not self.desk.enter(self.ip):
                self.close(replies.TOO_MANY_CONNECTIONS, hear_out=False)
                return
            self._admitted = self.ip
        self.desk.guests.add(self)
        try:
            self._greet()
        except Exception:
            log.exception("session failed", peer=self.ip)
            self.close(replies.FAULT)
        self._flush()
        if not self._closing:
            self.deadline = self._next_deadline(self.loop.time(), True)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._input += data
        if self._step is None:
            self._advance()
            return
        if self._line is not None and not self._line.done():
            self._line.set_result(None)
        if len(self._input) > self._input_bound():
            self._pause_reading()

    def eof_received(self) -> bool:
        """A peer that has said all it wants still gets the answer to what is being saved (not under TLS, which ends
        both ways)."""
        self._at_eof = True
        if self._line is not None and not self._line.done():
            self._line.set_exception(ConnectionResetError("peer closed"))
        return self._step is not None and not self.tls

    def connection_lost(self, error: Exception | None) -> None:
        """May be called twice."""
        self.transport = None
        self._closing = True
        if self._line is not None and not self._line.done():
            self._line.set_exception(ConnectionResetError("connection lost"))
        self._input.clear()
        self._lost()
        self.desk.guests.discard(self)
        if self._admitted is not None:
            self.desk.leave(self._admitted)
            self._admitted = None

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._pause_reading()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._step is None:
            self._advance()

    # -- input

    def _advance(self, answered: bool = False) -> None:
        """Answers what the input holds, up to a step that has to wait."""
        try:
            while self._input and self._step is None and not self._closing and not self._writing_paused:
                if not self._take():
                    break
                answered = True
            if self._leaving:
                self._rested()
        except Exception:
            log.exception("session failed", peer=self.ip)
            self.close(replies.FAULT)
        self._flush()
        if self._closing:
            return
        self.deadline = self._next_deadline(self.loop.time(), answered)
        if self._reading_paused and self._step is None and not self._writing_paused:
            self._resume_reading()

    def _begin(self, step: Coroutine[Any, Any, None]) -> None:
        self._step = self.loop.create_task(self._run(step))

    async def _run(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except ConnectionError:
            self.abort()
        except Exception:
            log.exception("session failed", peer=self.ip)
            self.close(replies.FAULT)
        self._step = None
        self._advance(answered=True)
        if self._at_eof and self._step is None:
            self.close(None)

    async def _read_line(self, limit: int) -> bytes | None:
        """The next line without its CRLF, for a step; None if it is longer than `limit` or ends otherwise."""
        self._flush()
        while (end := self._input.find(b"\n")) < 0:
            if len(self._input) > limit:
                return None
            if self._at_eof or self.transport is None:
                raise ConnectionResetError("peer closed")
            if self._reading_paused:
                self._resume_reading()
            self._line = self.loop.create_future()
            await self._line
            self._line = None
        line = bytes(self._input[: end + 1])
        del self._input[: end + 1]
        return line[:-2] if line.endswith(b"\r\n") and len(line) <= limit else None

    def _pause_reading(self) -> None:
        if self.transport is not None and not self._reading_paused and not self._closing:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        self._reading_paused = False
        if self.transport is not None:
            self.transport.resume_reading()

    # -- output

    def say(self, reply: Reply) -> None:
        self._output.append(encoded(reply))

    def _flush(self) -> None:
        if self._output:
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(self._output[0] if len(self._output) == 1 else b"".join(self._output))
            self._output.clear()

    async def push(self, status: str) -> None:
        """How aiosmtpd's AUTH mechanisms say something."""
        self._output.append(status.encode("ascii", "replace") + b"\r\n")

    # -- the end

    def close(self, reply: Reply | None, *, hear_out: bool = True) -> None:
        """Says `reply`, and nothing after it.

        A peer that is still talking would hear a reset instead of it; so we end our side only, and throw away what
        comes (`hear_out`) for `linger_seconds` at most. TLS knows no half of a connection.
        """
        if self._closing:
            return
        if reply is not None:
            self.say(reply)
        self._flush()
        self._closing = True
        self._input.clear()
        if self.transport is None or self.transport.is_closing():
            return
        self.desk.guests.add(self)  # also one that was never let in: the sweep ends it if it lingers
        self.deadline = self.loop.time() + self.limits.linger_seconds
        if hear_out and not self._at_eof and self.transport.can_write_eof():
            try:
                self.transport.write_eof()
            except OSError:  # reset by the peer, of which asyncio's own loop has not heard yet
                self.transport.abort()
                return
            if self._reading_paused:
                self._resume_reading()
        else:
            self.transport.close()

    def abort(self) -> None:
        self._closing = True
        if self.transport is not None:
            self.transport.abort()

    def timed_out(self) -> None:
        if self._closing:
            self.abort()
        else:
            self.desk.counters.timeouts += 1
            self.close(replies.TIMEOUT)

    # -- TLS

    async def _start_tls(self) -> None:
        """Upgrades the connection. What came in clear behind the command is thrown away unread (RFC 3207 4.2)."""
        context, clear = self.settings.context, self.transport
        if context is None or clear is None:
            raise ConnectionResetError("connection lost before the handshake")
        self._input.clear()
        self.say(replies.READY_FOR_TLS)
        self._flush()
        if self._reading_paused:
            self._resume_reading()
        self.deadline = self.loop.time() + 2 * self.limits.tls_seconds
        try:
            transport = await self.loop.start_tls(
                clear, self, context, server_side=True, ssl_handshake_timeout=self.limits.tls_seconds
            )
            if transport is None:
                raise ConnectionResetError("connection lost")
        except (OSError, ssl.SSLError, TimeoutError) as error:
            log.debug("TLS handshake failed", peer=self.ip, error=str(error))
            self.abort()
            self.connection_lost(None)  # asyncio's SSLProtocol does not pass it on before the handshake is done
            return
        self.transport = transport
        self.tls = transport.get_extra_info("ssl_object").version()
