"""Questions to one name server by UDP, and its answers.

Strategy: a socket for the questions of a moment. The kernel draws its port, which whoever would forge an answer has to
guess beside the question's id (RFC 5452 4.5); connected, it hears no other host. It closes when nobody waits any more, and
takes no further question after a quarter of a second, so that a port is in use for as long as the slowest answer takes.
"""

import asyncio
import socket

from relay.egress.plain_dns import answers

LARGEST = 4096  # octets read of an answer; 1,232 were asked for
SHARED = 0.25  # seconds for which a socket takes questions


class NameServer:
    """Asks at `address`; an answer is waited for `patience` seconds, or a moment (SHARED) longer."""

    def __init__(self, address: tuple[str, int], patience: float) -> None:
        self._address = address
        self._patience = patience
        self._line: _Line | None = None

    def __repr__(self) -> str:
        return f"<NameServer {self._address} {self._line}>"

    async def ask(self, query: bytes) -> bytes | None:
        """None: there is no answer, or it could not be asked."""
        line = self._line
        try:
            if line is None or not line.takes(query):
                line = self._line = _Line(self._address, self._patience)
            return await line.ask(query)
        except OSError:
            return None


class _Line:
    """One socket, its questions on the way by id, and one timer for all of them. Raises OSError where there is none."""

    def __init__(self, address: tuple[str, int], patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, tuple[bytes, asyncio.Future[bytes | None]]] = {}
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._link = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._link.connect(address)
        except BaseException:
            self._link.close()
            raise
        self._loop.add_reader(self._link, self._heard)
        self._full = self._loop.time() + SHARED
        self._timer = self._loop.call_later(SHARED + patience, self._give_up)

    def __repr__(self) -> str:
        return f"{len(self._waiting)} on the way"

    def takes(self, query: bytes) -> bool:
        """Only while others wait; two with one id are never on the way."""
        return bool(self._waiting) and query[:2] not in self._waiting and self._loop.time() < self._full

    async def ask(self, query: bytes) -> bytes | None:
        future: asyncio.Future[bytes | None] = self._loop.create_future()
        self._waiting[query[:2]] = query, future
        try:
            self._link.send(query)
            return await future
        except OSError:  # of all: it is told once
            self._give_up()
            raise
        finally:
            del self._waiting[query[:2]]
            if not self._waiting:
                self._close()

    def _heard(self) -> None:
        try:
            response = self._link.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._give_up()
            return
        asked = self._waiting.get(response[:2])
        if asked is not None and not asked[1].done() and answers(response, asked[0]):
            asked[1].set_result(response)

    def _give_up(self) -> None:
        """Nor does it take more: uvloop hears nothing of a socket after an error."""
        self._full = 0.0
        for _, future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    def _close(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._link)
        self._link.close()
