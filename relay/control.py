"""How commands reach a running node: JSON objects, one a line, over Unix sockets.

    postlane ... --> data_dir/control.sock --> supervisor --> socket pair --> worker

An answer is one object; `error` in it is a sentence for a person. Long listings come in pages: the asker hands the
`cursor` of one answer to its next request, so nobody reads a whole queue at once (DESIGN: only the owning worker opens
a shard). The socket's mode is 0600: who may write the data directory's files may command the node.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import structlog

log = structlog.get_logger()

Json = dict[str, Any]
Handler = Callable[[Json], Awaitable[Json]]

SOCKET_NAME = "control.sock"
MAX_LINE = 16 * 1024 * 1024  # a page of 500 deliveries is some 300 KB; more than this is a fault
MAX_OBJECT = MAX_LINE - 64  # leaves room for its number and the line's end


class NodeDown(RuntimeError):
    """Nobody answers at the control socket."""


class Refused(Exception):
    """The node's own word on why it did not do what it was asked for."""


@contextlib.contextmanager
def _short_path(data_dir: Path) -> Iterator[str]:
    """The socket's path by way of an open folder: sun_path holds 107 octets only, a data_dir may be longer (unix(7))."""
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)


def request(data_dir: Path, question: Json, timeout: float = 60.0) -> Json:
    """Ask the running node from a command; NodeDown if there is none."""
    try:
        with _short_path(data_dir) as path, socket.socket(socket.AF_UNIX) as link:
            link.settimeout(timeout)
            link.connect(path)
            link.sendall(orjson.dumps(question) + b"\n")
            with link.makefile("rb") as answers:
                line = answers.readline(MAX_LINE)
    except OSError as error:
        raise NodeDown(str(error)) from error
    if not line:
        raise NodeDown("it closed the connection without an answer")
    answer: Json = orjson.loads(line)
    return answer


def granted(answer: Json) -> Json:
    """The answer of a node that did what it was asked for. Raises Refused."""
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


async def ask(data_dir: Path, question: Json, timeout: float = 10.0) -> Json:
    """The same for a process that must not block."""
    try:
        async with asyncio.timeout(timeout):
            with _short_path(data_dir) as path:
                reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
            writer.write(orjson.dumps(question) + b"\n")
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError) as error:
        raise NodeDown(str(error)) from error
    if not line:
        raise NodeDown("it closed the connection without an answer")
    answer: Json = orjson.loads(line)
    return answer


def bind(data_dir: Path) -> socket.socket:
    """The supervisor's end, before it listens. A socket left by a killed supervisor is replaced (the data_dir is locked)."""
    link = socket.socket(socket.AF_UNIX)
    (data_dir / SOCKET_NAME).unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        with _short_path(data_dir) as path:
            link.bind(path)
    finally:
        os.umask(mask)
    return link


async def serve(link: socket.socket, handler: Handler) -> asyncio.Server:
    """Answer commands on the bound socket until the server is closed."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(300):
                line = await reader.readline()
                if line:
                    writer.write(await _answer(line, handler) + b"\n")
                    await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(connected, sock=link, limit=MAX_LINE)


async def _answer(line: bytes, handler: Handler) -> bytes:
    try:
        answer = await handler(orjson.loads(line))
    except Exception as error:  # a fault of ours must reach the person who asked, and the log
        log.exception("a command failed", request=_named(line))
        answer = {"error": f"{type(error).__name__}: {error}"}
    octets = orjson.dumps(answer)
    if len(octets) > MAX_OBJECT:  # who reads a longer line hears nothing any more, of whatever is asked afterwards
        log.error("an answer is too long", request=_named(line), octets=len(octets))
        octets = orjson.dumps({"error": f"the answer has {len(octets):,} octets, more than fit; ask for less"})
    return octets


def _named(line: bytes) -> str:
    """Which request it is, for the log: what it asks for may be a person's address, or a proof of a token."""
    try:
        request = orjson.loads(line)
    except ValueError:
        return f"{len(line)} octets"
    said = [request.get(name) for name in ("do", "what")] if isinstance(request, dict) else []
    return " ".join(one[:50] for one in said if isinstance(one, str))


class Channel:
    """The asking end of the socket pair between supervisor and worker; several questions may be under way at once."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._numbers = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._link.setblocking(False)
        reader, self._writer = await asyncio.open_unix_connection(sock=self._link, limit=MAX_LINE)
        self._reading = asyncio.create_task(self._read(reader))

    async def ask(self, question: Json, timeout: float = 60.0) -> Json:
        """NodeDown if the worker went away, does not answer in time, or could not read the question."""
        if self._writer is None or self._reading is None or self._reading.done():
            raise NodeDown("the worker is gone")
        number = next(self._numbers)
        line = orjson.dumps({**question, "#": number}) + b"\n"
        if len(line) > MAX_LINE:
            raise NodeDown(f"the question has {len(line):,} octets, more than fit")
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(line)
                found: Json = await answer
                return found
        except TimeoutError as error:
            raise NodeDown(f"the worker gave no answer in {timeout:.0f} s") from error
        finally:
            self._waiting.pop(number, None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                answer = orjson.loads(line)
                waiting = self._waiting.get(answer.pop("#"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        self._give_up()

    def _give_up(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(NodeDown("the worker is gone"))

    def close(self) -> None:
        """Who still waits for an answer is told that there will be none."""
        self._give_up()
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        elif self._reading is None:  # it was never opened
            self._link.close()


async def answer_channel(link: socket.socket, handler: Handler) -> None:
    """The worker's end: answers until the supervisor is gone, then returns."""
    link.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=link, limit=MAX_LINE)
    answering: set[asyncio.Task[None]] = set()

    async def one(line: bytes) -> None:
        number = orjson.loads(line)["#"]
        answer = orjson.loads(await _answer(line, handler))
        writer.write(orjson.dumps({**answer, "#": number}) + b"\n")

    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            task = asyncio.create_task(one(line))
            answering.add(task)
            task.add_done_callback(answering.discard)
    for task in answering:
        task.cancel()
    writer.close()
