"""A receiving server that takes everything and remembers it: who connected, the envelope, the content.

It runs in a thread of its own, so that tests may block. For scripted replies see smtp_peer.py; for a real MX, postfix.py.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Received:
    """One message. `source`: the address it came from; `content`: with CRLF, dot-stuffing undone."""

    source: str
    ehlo: str
    sender: str
    recipients: list[str]
    content: bytes

    def header(self, name: str) -> str:
        """The first field of that name, unfolded; "" if there is none."""
        head = self.content.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ").decode()
        wanted = f"{name.lower()}:"
        return next((line[len(wanted) :].strip() for line in head.split("\r\n") if line.lower().startswith(wanted)), "")


class Sink:
    """`with Sink() as sink:` listens on a loopback port. `answer(received)` may say another reply to the final dot.
    `most_connected`: at once, since it listens."""

    def __init__(
        self, host: str = "127.0.0.1", answer: Callable[[Received], str] = lambda _: "250 2.0.0 taken"
    ) -> None:
        self.host = host
        self.port = 0
        self.messages: list[Received] = []
        self.connected = self.most_connected = 0
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    def __enter__(self) -> "Sink":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, self.host, 0, limit=50_000_000))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end_sessions())
        self._loop.close()

    async def _end_sessions(self) -> None:
        sessions = asyncio.all_tasks() - {asyncio.current_task()}
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = writer.get_extra_info("peername")[0]
        ehlo, sender, recipients = "", "", list[str]()
        self.connected += 1
        self.most_connected = max(self.connected, self.most_connected)
        writer.write(b"220 sink ESMTP\r\n")
        try:
            while line := await reader.readline():
                words = line.decode().rstrip("\r\n")
                verb = words[:4].upper()
                reply = "250 2.0.0 ok"
                if verb == "EHLO":
                    ehlo = words[5:]
                    reply = "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8"
                elif verb == "MAIL":
                    sender, recipients = _path(words), []
                elif verb == "RCPT":
                    recipients.append(_path(words))
                elif verb == "DATA":
                    writer.write(b"354 go on\r\n")
                    raw = await reader.readuntil(b"\r\n.\r\n")
                    content = raw[:-3].replace(b"\r\n..", b"\r\n.")
                    received = Received(source, ehlo, sender, recipients, content.removeprefix(b"."))
                    reply = self._answer(received)
                    if reply.startswith("2"):
                        self.messages.append(received)
                elif verb == "QUIT":
                    reply = "221 2.0.0 bye"
                writer.write(reply.encode() + b"\r\n")
                await writer.drain()
                if verb == "QUIT":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the node was killed, or the test is over: what was not finished was not received
        finally:
            self.connected -= 1
            writer.close()


def _path(words: str) -> str:
    return words.partition("<")[2].partition(">")[0]
