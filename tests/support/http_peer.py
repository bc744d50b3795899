"""An HTTP server on loopback that notes what is posted to it and answers as it is told, octet by octet if need be."""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Posted:
    """One request: its first line, header fields in lower case, content."""

    line: str
    fields: dict[str, str]
    content: bytes


@dataclass
class HttpPeer:
    """`answer`: what it says; None: nothing, and it waits."""

    answer: bytes | None = OK
    context: ssl.SSLContext | None = None
    posted: list[Posted] = field(default_factory=list)
    port: int = 0
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __aenter__(self) -> "HttpPeer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._open), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.strip().split("\r\n")
            fields = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
            content = await reader.readexactly(int(fields["content-length"]))
            self.posted.append(Posted(line, fields, content))
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
        writer.close()
