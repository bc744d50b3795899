"""An HTTP server on loopback that notes what it is asked and answers as it is told, octet by octet if need be."""

import asyncio
import ssl
from dataclasses import dataclass

from tests.support.peer import Peer

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True)
class Posted:
    """One request: its first line, header fields in lower case, content."""

    line: str
    fields: dict[str, str]
    content: bytes


class HttpPeer(Peer):
    """`answer`: what it says; None: nothing, and it waits."""

    def __init__(
        self,
        answer: bytes | None = OK,
        *,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host, port, secure=context)
        self.answer = answer
        self.posted: list[Posted] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
        asked = Posted(line, fields, await reader.readexactly(int(fields.get("content-length", "0"))))
        self.posted.append(asked)
        try:
            if self.answer is None:
                await reader.read()
            else:
                await self.say(self.answer_to(asked), writer)
        finally:
            writer.transport.abort()

    def answer_to(self, asked: Posted) -> bytes:
        assert self.answer is not None
        return self.answer

    async def say(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()
        await writer.wait_closed()
