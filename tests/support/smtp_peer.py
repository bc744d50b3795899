"""A scripted SMTP server on loopback: it says what the test tells it to, and remembers what it heard.

    async with SmtpPeer(capabilities=("PIPELINING",), script={"RCPT": ["450 4.2.0 later", "250 ok"]}) as peer:
        ...
        assert peer.transactions[0].content == b"..."

A script gives, for a command (CONNECT, EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, END, RSET, QUIT), one answer for
ever or a list of answers, after which the usual ones follow. An answer is a text, or one of the actions below.
"""

import asyncio
import base64
import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.peer import Peer


@dataclass(frozen=True)
class Wait:
    """Answer only when `event` is set."""

    event: asyncio.Event
    reply: str


@dataclass(frozen=True)
class Close:
    """Say `reply` if there is one, and close."""

    reply: str = ""


@dataclass(frozen=True)
class Reset:
    """Cut the connection with an RST."""


@dataclass(frozen=True)
class Raw:
    """Send these octets as they are, then go on (or close)."""

    octets: bytes
    close: bool = False


@dataclass(frozen=True)
class Silence:
    """Say nothing, ever."""


@dataclass(frozen=True)
class Drip:
    """Send an octet now and then, for ever, never a line."""


@dataclass
class Flood:
    """Send these octets again and again, for as long as the connection lasts; `sent` counts them. `apart`: a segment each."""

    octets: bytes
    apart: bool = False
    sent: int = 0


@dataclass(frozen=True)
class Deaf:
    """Say `reply` and read no more, nor close."""

    reply: str


@dataclass(frozen=True)
class Slow:
    """To DATA: go on, and read the content with a pause after each piece."""

    pause: float


Answer = str | Drip | Flood | Deaf | Slow | Wait | Close | Reset | Raw | Silence
Script = Mapping[str, Answer | Sequence[Answer]]

_USUAL = {
    "CONNECT": "220 peer.test ESMTP",
    "HELO": "250 peer.test",
    "STARTTLS": "220 2.0.0 go ahead",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go ahead",
    "END": "250 2.0.0 taken",
    "RSET": "250 2.0.0 reset",
    "QUIT": "221 2.0.0 bye",
}


@dataclass
class Heard:
    """One transaction that reached its final dot, `content` with the dots unstuffed."""

    mail: str
    rcpt: str
    content: bytes
    ehlo: str
    client: str
    tls: str
    session: int


@dataclass
class Dialogue:
    """One session: what the client wrote, line by line, and in which pieces it came."""

    number: int
    client: str
    commands: list[str] = field(default_factory=list)
    login: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class SmtpPeer(Peer):
    """`context` lets it offer STARTTLS. `taken` wakes who waits for transactions."""

    def __init__(
        self,
        *,
        capabilities: Sequence[str] = (
            "PIPELINING",
            "SIZE 50000000",
            "8BITMIME",
            "SMTPUTF8",
            "DSN",
            "ENHANCEDSTATUSCODES",
        ),
        script: Script | None = None,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host, port)
        self.capabilities = list(capabilities)
        self.context = context
        self.transactions: list[Heard] = []
        self.sessions: list[Dialogue] = []
        self.connected = 0
        self.most_connected = 0
        self._script: dict[str, Answer | list[Answer]] = {}
        self.say(script or {})

    def __repr__(self) -> str:
        return f"<SmtpPeer {self.host}:{self.port} sessions={len(self.sessions)} transactions={len(self.transactions)}>"

    def say(self, script: Script) -> None:
        """Add to the script, also while running."""
        for command, answer in script.items():
            self._script[command] = list(answer) if isinstance(answer, (list, tuple)) else answer  # type: ignore[assignment]

    @property
    def commands(self) -> list[str]:
        """Of all sessions, one after the other."""
        return [line for session in self.sessions for line in session.commands]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(self, reader, writer)
        self.sessions.append(session.dialogue)
        self.connected += 1
        self.most_connected = max(self.connected, self.most_connected)
        try:
            await session.run()
        except _Over:
            pass
        finally:
            self.connected -= 1
            session.dialogue.ended.set()

    def answer(self, command: str) -> Answer:
        scripted = self._script.get(command)
        if isinstance(scripted, list):
            scripted = scripted.pop(0) if scripted else None
        return _USUAL[command] if scripted is None else scripted


class _Over(Exception):
    """The session ends."""


class _Session:
    def __init__(self, peer: SmtpPeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = peer
        self.reader, self.writer = reader, writer
        self.dialogue = Dialogue(len(peer.sessions), writer.get_extra_info("peername")[0])
        self.ehlo = self.tls = self.mail = self.rcpt = ""

    async def run(self) -> None:
        await self.act(self.peer.answer("CONNECT"))
        while line := await self.reader.readline():
            command = line.decode(errors="replace").rstrip("\r\n")
            self.dialogue.commands.append(command)
            await self.on_command(command)

    async def on_command(self, command: str) -> None:
        verb = command.split(" ", maxsplit=1)[0].upper()
        if verb == "EHLO":
            self.ehlo = command[5:]
            await self.act(self.greeting())
        elif verb == "STARTTLS":
            await self.on_starttls()
        elif verb == "AUTH":
            self.dialogue.login = base64.b64decode(command.split(" ")[2]).decode().replace("\0", " ").strip()
            await self.act(self.peer.answer("AUTH"))
        elif verb == "DATA":
            await self.on_data()
        elif verb == "QUIT":
            await self.act(self.peer.answer("QUIT"))
            raise _Over
        elif verb in ("HELO", "MAIL", "RCPT", "RSET"):
            await self.on_envelope(verb, command)
        else:
            await self.act("500 5.5.2 what?")

    async def on_envelope(self, verb: str, command: str) -> None:
        reply = self.peer.answer(verb)
        accepted = not isinstance(reply, str) or reply.startswith("2")
        if verb == "RSET":
            self.mail = self.rcpt = ""
        elif verb == "MAIL" and self.mail and isinstance(reply, str):
            reply = "503 5.5.1 nested MAIL"
        elif verb == "MAIL" and accepted:
            self.mail, self.rcpt = command, ""
        elif verb == "RCPT" and accepted:
            self.rcpt = command
        await self.act(reply)

    async def on_data(self) -> None:
        reply = self.peer.answer("DATA")
        await self.act(reply)
        if isinstance(reply, str) and not reply.startswith("3"):
            return
        content = await self.read_content(reply.pause if isinstance(reply, Slow) else 0)
        end = self.peer.answer("END")
        if isinstance(end, (str, Wait)):
            heard = Heard(
                self.mail, self.rcpt, content, self.ehlo, self.dialogue.client, self.tls, self.dialogue.number
            )
            self.peer.transactions.append(heard)
        self.mail = self.rcpt = ""
        await self.act(end)

    async def read_content(self, pause: float) -> bytes:
        """Up to the final dot, behind which a client must wait, with the dots unstuffed (RFC 5321 4.5.2)."""
        wire = bytearray(b"\r\n")
        while not wire.endswith(b"\r\n.\r\n"):
            piece = await self.reader.read(2**20)
            if not piece:
                raise _Over
            wire += piece
            await asyncio.sleep(pause)
        return bytes(wire[:-3]).replace(b"\r\n.", b"\r\n")[2:]

    async def on_starttls(self) -> None:
        reply = self.peer.answer("STARTTLS")
        await self.act(reply)
        if self.peer.context is not None and isinstance(reply, str) and reply.startswith("2"):
            await self.writer.start_tls(self.peer.context)
            self.tls = self.writer.get_extra_info("ssl_object").version()

    def greeting(self) -> Answer:
        scripted = self.peer._script.get("EHLO")
        if scripted is not None and scripted != []:
            return scripted.pop(0) if isinstance(scripted, list) else scripted
        words = list(self.peer.capabilities)
        if self.peer.context is not None and not self.tls:
            words.append("STARTTLS")
        return "\r\n".join([f"250-{word}" for word in ["peer.test", *words]]) + "\r\n250 HELP"

    async def act(self, answer: Answer) -> None:
        match answer:
            case str():
                self.writer.write(answer.encode() + b"\r\n")
            case Wait(event, reply):
                await event.wait()
                self.writer.write(reply.encode() + b"\r\n")
            case Raw(octets, close):
                self.writer.write(octets)
                if close:
                    raise _Over
            case Slow():
                # Small kernel buffers, or they would swallow what is to be read slowly.
                self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
                self.writer.write(b"354 go ahead\r\n")
            case _:
                await self.misbehave(answer)
        await self.writer.drain()

    async def misbehave(self, answer: Answer) -> None:
        """The actions after which the session does not go on."""
        match answer:
            case Drip():
                while True:
                    self.writer.write(b"2")
                    await self.writer.drain()
                    await asyncio.sleep(0.01)
            case Flood(octets, apart):
                if apart:
                    self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while not self.writer.transport.is_closing():
                    self.writer.write(octets)
                    answer.sent += len(octets)
                    await self.writer.drain()
                    await asyncio.sleep(0)
            case Deaf(reply):
                self.writer.write(reply.encode() + b"\r\n")
                await asyncio.Event().wait()
            case Close(reply) if reply:
                self.writer.write(reply.encode() + b"\r\n")
            case Reset():
                linger = struct.pack("ii", 1, 0)
                self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.writer.transport.abort()
            case Silence():
                await self.reader.read()
        raise _Over
