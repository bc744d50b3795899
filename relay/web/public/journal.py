"""What people asked for on the public pages, on disk before it is answered: no State, no worker needs to be up for that.

Entries are JSON lines in numbered files. append() returns when its entry is fsynced; what arrives while an fsync is under way
shares the next one. run() takes file after file: it ends the one that is written to, hands its entries on, and removes it when
they were taken. After a crash whole files are handed on again, so whoever takes them must not mind that. A line without its end
was never answered for, and is passed over.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from relay.durable import sync

log = structlog.get_logger()

Entry = dict[str, Any]
MOST = 500  # entries of a file, about: a tenth of a second to read and tell
ASIDE = "refused.jsonl"


@dataclass(slots=True, eq=False)
class _Segment:
    """`told`: who waits for its entries to be handed on."""

    path: Path
    entries: int = 0
    told: list["asyncio.Future[None]"] = field(default_factory=list)


class JournalFull(OSError):
    """The disk does not take it: nothing was promised."""


class Journal:
    """One writer, one reader, both of this process; `open()` before anything else. `at_once`: files in hand at a time."""

    def __init__(self, folder: Path, at_once: int = 1) -> None:
        self._folder = folder
        self._at_once = asyncio.Semaphore(at_once)
        self._number = 0
        self._current: _Segment | None = None
        self._left: list[_Segment] = []  # closed, oldest first
        self._arrived: list[tuple[bytes, asyncio.Future[asyncio.Future[None]]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._some = asyncio.Event()
        self.waiting = 0

    def __repr__(self) -> str:
        return f"<Journal {self._folder.name} waiting={self.waiting}>"

    def open(self) -> None:
        """Finds what was left. Raises OSError."""
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        found = sorted(path for path in self._folder.glob("*.jsonl") if path.stem.isdigit())
        self._left = [_Segment(path, len(_read(path))) for path in found]
        self.waiting = sum(segment.entries for segment in self._left)
        self._number = int(found[-1].stem) if found else 0
        if self._left:
            self._some.set()

    async def append(self, entry: Entry) -> "asyncio.Future[None]":
        """On disk when it returns; what it returns is done when the entry was handed on. Raises JournalFull."""
        kept: asyncio.Future[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self._arrived.append((orjson.dumps(entry) + b"\n", kept))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await kept

    async def put_aside(self, entry: Entry) -> None:
        """For a person to look at: it is in no other hands, and nobody takes it."""
        try:
            await asyncio.to_thread(_append, self._folder / ASIDE, orjson.dumps(entry) + b"\n")
        except OSError as error:
            log.error("what was refused cannot be kept", error=str(error))

    async def _write(self) -> None:
        """All that has arrived, in one go, and again what came meanwhile."""
        loop = asyncio.get_running_loop()
        while self._arrived:
            batch, self._arrived = self._arrived[:MOST], self._arrived[MOST:]
            segment = self._current or self._next()
            content = b"".join([line for line, _ in batch])
            try:
                await asyncio.to_thread(_append, segment.path, content)
            except OSError as error:
                log.error("the journal of unsubscribe requests cannot be written", error=str(error))
                for _, kept in batch:
                    if not kept.done():
                        kept.set_exception(JournalFull(error.errno, error.strerror))
                continue
            segment.entries += len(batch)
            self.waiting += len(batch)
            for _, kept in batch:
                told = loop.create_future()
                segment.told.append(told)
                if not kept.done():
                    kept.set_result(told)
            if segment.entries >= MOST:
                self._end_current()
            self._some.set()
        self._writing = None

    def _next(self) -> _Segment:
        self._number += 1
        self._current = _Segment(self._folder / f"{self._number:012d}.jsonl")
        return self._current

    def _end_current(self) -> None:
        if self._current is not None:
            self._left.append(self._current)
            self._current = None

    async def run(self, take: Callable[[Sequence[Entry]], Awaitable[None]]) -> None:
        """Until cancelled. `take` returns when the entries are in other hands, and never before."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._some.wait()
                await self._at_once.acquire()
                while not self._left and self._writing is not None:  # what is being written is in no file to close yet
                    await asyncio.wait([self._writing])
                if not self._left:
                    self._end_current()
                segment = self._left.pop(0) if self._left else None
                if not self._left and self._current is None:
                    self._some.clear()
                if segment is None:
                    self._at_once.release()
                else:
                    group.create_task(self._hand_on(segment, take))

    async def _hand_on(self, segment: _Segment, take: Callable[[Sequence[Entry]], Awaitable[None]]) -> None:
        try:
            await take(await asyncio.to_thread(_read, segment.path))
            await asyncio.to_thread(_remove, segment.path)
            self.waiting -= segment.entries
            for told in segment.told:
                if not told.done():
                    told.set_result(None)
        finally:
            self._at_once.release()


def _append(path: Path, content: bytes) -> None:
    """Raises OSError; then nothing of it stays."""
    new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, content) < len(content):
                raise OSError(28, "No space left on device")
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
    if new:
        sync(path.parent)


def _read(path: Path) -> list[Entry]:
    """What was written whole."""
    entries: list[Entry] = []
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:  # its first write failed
        return []
    for line in lines:
        try:
            entries.append(orjson.loads(line))
        except ValueError:
            log.error("a line of the journal cannot be read", file=path.name, octets=len(line))
    return entries


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
