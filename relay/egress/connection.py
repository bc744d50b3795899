"""One SMTP session past its greeting (opening.py), which carries one transaction after another.

Strategy: `Connection` takes over the transport (`set_protocol`, in clear and under TLS alike), feeds replies to a
Transaction and writes what that says. One future a transaction, one timer a connection: a reply deadline is a number,
and the timer looks at it now and then.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.egress.pools import Source
from relay.egress.replies import ReplyReader, printable
from relay.egress.settings import Timeouts
from relay.egress.transaction import Features, Transaction
from relay.egress.transcript import Opening
from relay.outcome import Reply


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

    `on_lost(self)` is called exactly once, when the transport is gone. The caller sends only while `usable`. `opening`: what
    was said until now.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        target: Target,
        source: Source,
        offered: Features,
        timeouts: Timeouts,
        on_lost: Callable[["Connection"], None],
        opening: Opening,
    ) -> None:
        self.target = target
        self.opening = opening
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
        transaction = self._transaction
        return transaction is not None and transaction.waiting == "END" and transaction.reply is None

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
            elif output:
                self._write(output)
        if self._transaction is not None and replies:
            self._expect(self._patience[self._transaction.waiting])
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
        why = f" ({describe(error)})" if error else ""
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


def describe(error: Exception) -> str:
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
