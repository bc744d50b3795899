"""The event log on disk: data_dir/events, JSON Lines for the current hour, Parquet after it.

    2026-11-21T12.0.open.jsonl     being written by shard 0; the hour is that of the export, UTC
    2026-11-21T12.0.jsonl          complete
    2026-11-21T12.0.parquet        the same, in columns (eventarchive.py)

Exactly once. The spool's outbox holds events until they are on the disk here; in one transaction it then forgets them
and notes the file and how much of it is good. What a crash left beyond that mark is cut off and written again, from the
same outbox. An event's time is never later than its file's hour ends; it may be earlier (a full disk, a stop).
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import structlog

from relay.durable import sync
from relay.feedback.eventarchive import MODE, columns, first_hour, matches, read, scan, to_parquet
from relay.feedback.eventtail import Tail, follow

__all__ = [
    "Exporter", "Outbox", "Tail", "columns", "first_hour", "follow", "hour_of", "matches", "read", "scan", "to_parquet",
]  # fmt: skip

log = structlog.get_logger()

OPEN = ".open.jsonl"
INTERVAL = 0.5  # seconds between exports: an event is to be readable within one
BATCH_BYTES = 4 << 20  # of one append and fsync: some 5,000 events


class Outbox(Protocol):
    """What the exporter needs of a spool."""

    async def outbox(self, limit_bytes: int) -> tuple[int, bytes] | None: ...
    async def export_mark(self) -> tuple[str, int]: ...
    async def exported(self, sequence: int, file: str, offset: int) -> None: ...


def hour_of(ms: int) -> str:
    """2026-11-21T12, UTC"""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H")


class Exporter:
    """Moves one shard's events from its outbox to the log. `run` until cancelled, then `flush` once."""

    def __init__(self, outbox: Outbox, directory: Path, shard: int | str, clock: Callable[[], int]) -> None:
        self._outbox = outbox
        self._directory = directory
        self._shard = shard
        self._clock = clock
        self._file = ""  # being written; "" for none
        self._offset = 0
        self._known = False  # file and offset are those of the mark

    def __repr__(self) -> str:
        return f"<Exporter {self._file or 'no file'} at {self._offset}>"

    async def run(self) -> None:
        while True:
            try:
                await self.step()
            except Exception as error:  # a full disk, a spool that fails: the outbox keeps the events meanwhile
                self._known = False
                log.warning("events not exported; trying again", directory=str(self._directory), error=repr(error))
            await asyncio.sleep(INTERVAL)

    async def flush(self) -> None:
        """Everything now in the outbox, also after `run` was cancelled in the middle of a step."""
        self._known = False
        try:
            await self.step()
            await self.step()  # what was committed while the first one wrote
        except Exception as error:  # at the end of a worker's life: they stay in the outbox for the next one
            log.warning("events not exported; they stay in the spool", error=repr(error))

    async def step(self) -> None:
        """Ends the file of an hour that is over, and writes all that waits."""
        if not self._known:
            await self._resume()
        self._rotate()
        while (batch := await self._outbox.outbox(BATCH_BYTES)) is not None:
            sequence, lines = batch
            if not self._file:
                await self._begin()
            await asyncio.to_thread(_write_at, self._directory / self._file, self._offset, lines)
            offset = self._offset + len(lines)
            await self._outbox.exported(sequence, self._file, offset)
            self._offset = offset
            self._rotate()
            if len(lines) < BATCH_BYTES // 2:
                return  # what came meanwhile goes with the next interval's: a read and two fsyncs for many, not for few

    async def _resume(self) -> None:
        """Goes on where the mark says. Open files it does not name are of a spool that was lost: kept as they are."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._file, self._offset = await self._outbox.export_mark()
        ours = re.compile(rf"[^.]+\.{re.escape(str(self._shard))}(-\d+)?{re.escape(OPEN)}")
        for path in self._directory.iterdir():
            if path.name != self._file and ours.fullmatch(path.name):
                self._finish(path.name)
        size = _cut(self._directory / self._file, self._offset) if self._file else None
        if size is None:
            self._file = ""
        elif size < self._offset:
            log.error("event file is shorter than it was", file=self._file, size=size, was=self._offset)
            self._finish(self._file)
            self._file = ""
        self._known = True

    async def _begin(self) -> None:
        """A new file of this hour. The mark names it before anything is in it: a crash leaves no doubt whose it is."""
        stem = base = f"{hour_of(self._clock())}.{self._shard}"
        again = 0
        while any((self._directory / f"{stem}{end}").exists() for end in (OPEN, ".jsonl", ".parquet")):
            again += 1
            stem = f"{base}-{again}"
        await self._outbox.exported(0, f"{stem}{OPEN}", 0)
        self._file, self._offset = f"{stem}{OPEN}", 0

    def _rotate(self) -> None:
        if self._file and hour_of(self._clock()) > self._file[:13]:
            self._finish(self._file)
            self._file = ""

    def _finish(self, name: str) -> None:
        path = self._directory / name
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_name(name.removesuffix(OPEN) + ".jsonl"))
            sync(self._directory)


def _write_at(path: Path, offset: int, lines: bytes) -> None:
    """Writes and syncs. By position, so that one more time, or one a cancelled task left running, changes nothing."""
    new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        rest = memoryview(lines)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            offset += written
            rest = rest[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        sync(path.parent)


def _cut(path: Path, offset: int) -> int | None:
    """Cuts what lies beyond `offset`; the size then, None where there is no such file."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    if size > offset:
        os.truncate(path, offset)
    return min(size, offset)
