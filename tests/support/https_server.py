"""A scripted HTTPS server on loopback: it answers what the test says, and remembers what it was asked.

async with HttpsServer(authority.issue("mta-sts.example.test").context) as web:
    web.answers["/x"] = plain_text(b"...")
"""

import asyncio
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Asked:
    """One request, its header lower case."""

    method: str
    host: str
    path: str
    kind: str
    body: bytes


def plain_text(body: bytes, *, status: str = "200 OK", kind: str = "text/plain; charset=utf-8") -> bytes:
    """A whole answer, as it goes over the wire."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class HttpsServer:
    """`answers` by path; another path is 404. `silent`: never answer; `drip`: send the answer an octet at a time."""

    def __init__(self, context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0) -> None:
        self.context = context
        self.host, self.port = host, port
        self.answers: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.silent = False
        self.drip = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.context)
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
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        self.asked.append(Asked(method, fields.get("host", ""), path, fields.get("content-type", ""), body))
        if self.silent:
            await reader.read()
            return
        answer = self.answers.get(path, plain_text(b"", status="404 Not Found"))
        for piece in [answer[i : i + 1] for i in range(len(answer))] if self.drip else [answer]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02 if self.drip else 0)
        writer.close()
        await writer.wait_closed()
