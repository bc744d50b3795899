"""A scripted HTTPS server on loopback: it answers what the test says of each path, and remembers what it was asked.

async with HttpsServer(authority.issue("mta-sts.example.test").context) as web:
    web.answers["/x"] = plain_text(b"...")
"""

import asyncio
import ssl
from typing import NamedTuple

from tests.support.http_peer import HttpPeer, Posted


class Asked(NamedTuple):
    """One request, its header lower case."""

    method: str
    host: str
    path: str
    kind: str
    body: bytes


def plain_text(body: bytes, *, status: str = "200 OK", kind: str = "text/plain; charset=utf-8") -> bytes:
    """A whole answer, as it goes over the wire."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class HttpsServer(HttpPeer):
    """`answers` by path; another path is 404. `drip`: send the answer an octet at a time."""

    def __init__(self, context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(plain_text(b"", status="404 Not Found"), context=context, host=host, port=port)
        self.answers: dict[str, bytes] = {}
        self.drip = False

    @property
    def asked(self) -> list[Asked]:
        return [_asked(one) for one in self.posted]

    def answer_to(self, asked: Posted) -> bytes:
        return self.answers.get(_asked(asked).path, super().answer_to(asked))

    async def say(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        while self.drip and answer:
            writer.write(answer[:1])
            await writer.drain()
            await asyncio.sleep(0.02)
            answer = answer[1:]
        await super().say(answer, writer)


def _asked(one: Posted) -> Asked:
    method, path, _ = one.line.split(" ")
    return Asked(method, one.fields.get("host", ""), path, one.fields.get("content-type", ""), one.content)
