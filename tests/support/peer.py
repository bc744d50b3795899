"""What scripted servers on loopback share: they begin, take connections, each in a task, and end with all of them.

async with SmtpPeer() as peer:
    ... connect to peer.host, peer.port ...

with serving(dns, peer):
    ... a test that blocks ...
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self


class Peer:
    """What it does with a connection is `talk`, and that may break at any time. Started anew, it has the port it had."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, secure: ssl.SSLContext | None = None) -> None:
        self.host, self.port = host, port
        self._secure = secure
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=2**20, ssl=self._secure)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self.talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            writer.close()


class Server(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


@contextmanager
def serving(*servers: Server) -> Iterator[None]:
    """The servers in a loop of their own, so that the test may block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started: list[Server] = []
    try:
        for server in servers:
            asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
            started.append(server)
        yield
    finally:
        for server in started:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
