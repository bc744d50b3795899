"""The web server of the public pages: uvicorn's, with the gate before it, and bounds on what a peer may hold."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from relay.web.public.gate import CONNECTIONS, HEADER_SECONDS, SHED, Gate


class PublicServer(uvicorn.Server):
    """Without uvicorn's own signal handling: when to stop is the process's business."""

    def __init__(self, app: Any, gate: Gate) -> None:
        def protocol(*given: Any, **named: Any) -> "_Guarded":
            return _Guarded(gate, *given, **named)

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


class _Guarded(H11Protocol):
    """A request that the gate does not admit is answered before it is parsed."""

    def __init__(self, gate: Gate, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._gate = gate
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._gate.shed += 1
            self._refuse()
        else:
            self._late = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        between = cycle is None or cycle.response_complete
        if between and not self.conn.trailing_data[0] and not self._gate.admits(data, self.loop.time()):
            self._refuse()
            return
        super().data_received(data)
        if self.cycle is not None:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _refuse(self) -> None:
        self.transport.write(SHED)
        self.transport.close()

    def _too_slow(self) -> None:
        self._late = None
        self.transport.close()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
