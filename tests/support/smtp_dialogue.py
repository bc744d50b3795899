r"""SMTP dialogues as transcripts, played against a real listener on loopback.

C: EHLO app              one line, CRLF is added; lines of C that follow one another go out in one write (pipelining)
C| raw octets            no CRLF is added
C: \x00 \r \n \\ \xff    escapes stand for octets
S: 250 2.1.0 *           the next line the server sends; `*` is a wildcard
S: ...                   any number of lines (EHLO's answer) up to the end of this reply
S: <closed>              the server closes
C: <tls>                 the client begins TLS
C: <eof>                 the client has said all it wants
-- words                 a comment
"""

import asyncio
import fnmatch
import re
import ssl
from dataclasses import dataclass, field

PATIENCE = 20.0  # seconds for any one line: far above what a loaded machine needs, below pytest's own time limit


@dataclass
class Step:
    who: str
    text: bytes
    line: str = field(default="")


def parse(transcript: str) -> list[Step]:
    steps = []
    for raw in transcript.splitlines():
        line = raw.strip(" ")
        if not line or line.startswith("--"):
            continue
        who, kind, rest = line[0], line[1], line[2:].removeprefix(" ")
        assert who in "CS", f"not a line of a transcript: {line}"
        assert kind in ":|", f"not a line of a transcript: {line}"
        text = rest.encode()
        if who == "C" and not rest.startswith("<"):
            text = _unescaped(text) + (b"\r\n" if kind == ":" else b"")
        steps.append(Step(who, text, line))
    return steps


class Client:
    """One connection to a listener; `play` may be called again and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def play(self, transcript: str) -> None:
        pending = b""
        for step in parse(transcript):
            special = step.text in (b"<tls>", b"<eof>")
            if step.who == "C" and not special:
                pending += step.text
                continue
            await self._write(pending)
            pending = b""
            if step.text == b"<tls>":
                await self.writer.start_tls(trusting())
            elif step.text == b"<eof>":
                self.writer.write_eof()
            else:
                await self._expect(step)
        await self._write(pending)

    async def send(self, octets: bytes) -> None:
        await self._write(octets)

    async def flood(self, octets: bytes) -> None:
        """Sends them again and again, until the connection breaks."""
        while True:
            await self._write(octets)

    async def line(self) -> str:
        octets = await asyncio.wait_for(self.reader.readline(), PATIENCE)
        return octets.decode("utf-8", "backslashreplace")

    async def closed(self) -> bool:
        """Has the server closed, with nothing more to say? (A reset counts: it had unread octets of ours.)"""
        try:
            return await asyncio.wait_for(self.reader.read(1), PATIENCE) == b""
        except ConnectionError:
            return True

    async def aclose(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (OSError, ssl.SSLError):
            return  # the other side was quicker

    async def _write(self, octets: bytes) -> None:
        if octets:
            self.writer.write(octets)
            await self.writer.drain()

    async def _expect(self, step: Step) -> None:
        if step.text == b"<closed>":
            assert await self.closed(), f"still open at: {step.line}"
            return
        if step.text == b"...":
            while (await self.line())[3:4] == "-":
                pass
            return
        said = await self.line()
        assert said.endswith("\r\n"), f"expected {step.line!r}, the server said {said!r}"
        assert fnmatch.fnmatchcase(said[:-2], _pattern(step.text.decode())), f"expected {step.line!r}, got {said!r}"


def trusting() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def connect(port: int, *, tls: bool = False, host: str = "127.0.0.1", source: str = "") -> Client:
    """`source`: the address to come from."""
    reader, writer = await asyncio.open_connection(
        host, port, ssl=trusting() if tls else None, limit=2**20, local_addr=(source, 0) if source else None
    )
    return Client(reader, writer)


def _pattern(text: str) -> str:
    return text.replace("[", "[[]")


def _unescaped(text: bytes) -> bytes:
    known = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}

    def octet(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" else known[code]

    return re.sub(rb"\\(x[0-9a-f]{2}|[rnt\\])", octet, text)
