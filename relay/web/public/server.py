"""The web server of the public pages: uvicorn's, with the gate before it, and bounds on what a peer may hold.

A connection first meets a protocol of a few lines. Only what the gate admits gets uvicorn's, whose making and parsing cost
several times as much as a refusal; so a flood takes little of the processor that carries mail.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from relay.web.public.gate import CONNECTIONS, HEADER_SECONDS, SHED, Gate


class PublicServer(uvicorn.Server):
    """Without uvicorn's own signal handling: when to stop is the process's business."""

    def __init__(self, app: Any, gate: Gate) -> None:
        guests: set[_Guest] = set()

        def protocol(*given: Any, **named: Any) -> _Guest:
            return _Guest(gate, guests, lambda: _Guarded(gate, *given, **named))

        config = uvicorn.Config(
            app,
            http=protocol,  # type: ignore[arg-type]  # called like a class
            ws="none",
            log_config=None,
            log_level="error",  # not each request that is no HTTP
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,  # nothing here depends on who asks
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Guest(asyncio.Protocol):
    """A connection until its first request is admitted. `guests`: all of them; `inside` makes what they get then."""

    __slots__ = ("_gate", "_guests", "_inside", "_late", "_transport")

    def __init__(self, gate: Gate, guests: "set[_Guest]", inside: Callable[[], "_Guarded"]) -> None:
        self._gate = gate
        self._guests = guests
        self._inside = inside

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(HEADER_SECONDS, transport.close)
        if len(self._guests) < CONNECTIONS:
            self._guests.add(self)
        else:
            self._gate.shed += 1
            self._refuse()

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        if not self._gate.admits(data, asyncio.get_running_loop().time()):
            self._refuse()
            return
        inside = self._inside()
        inside.leaving, inside.late = self.connection_lost, self._late
        transport.set_protocol(inside)
        inside.connection_made(transport)
        inside.parse(data)

    def _refuse(self) -> None:
        self._transport.write(SHED)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        self._guests.discard(self)


class _Guarded(H11Protocol):
    """A connection that was admitted; each further request on it meets the gate, too. `late` ends it if the first request is not
    there in time; `leaving` is told of its end."""

    leaving: Callable[[Exception | None], None]
    late: asyncio.TimerHandle

    def __init__(self, gate: Gate, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._gate = gate

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        between = cycle is not None and cycle.response_complete and not self.conn.trailing_data[0]
        if between and not self._gate.admits(data, self.loop.time()):
            self.transport.write(SHED)
            self.transport.close()
            return
        self.parse(data)

    def parse(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None:
            self.late.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self.leaving(exc)
        super().connection_lost(exc)
