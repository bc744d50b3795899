"""New events of all shards as they are written: what `events --follow` and the sandbox's screen show.

Polled, not watched: a look is a stat of the folder and one of each open file, some microseconds. Only whole lines are
given out. A file that is renamed at the end of its hour is read to its end first. After a crash of the writer the lines
beyond its mark are written again: the tail goes on behind those it has given out already, unless it looks in the very
moment between, when a line may come twice; `event_id` tells.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import structlog

log = structlog.get_logger()

Event = dict[str, Any]

INTERVAL = 0.2  # seconds between looks: a person's "at once"
_CHUNK = 1 << 20
_RELIST = 2.0  # seconds a folder's own time is not trusted: it changes only with the kernel's tick
_LINE_SOUGHT = 1 << 16  # octets in which the beginning of a half-written line is looked for: events are smaller


class Tail:
    """Follows `directory` from now on; `poll` returns what came since, in time order."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._listed = -1
        self._files: dict[tuple[int, int], _File] = {}
        for path in self._open_files():
            self._add(path, at_end=True)

    def __repr__(self) -> str:
        return f"<Tail {self._directory}, {len(self._files)} files>"

    def poll(self) -> list[Event]:
        for path in self._open_files():
            self._add(path, at_end=False)
        events: list[Event] = []
        for key, file in list(self._files.items()):
            gone = file.gone()  # asked first: whatever was written before it went is read below
            events += file.events()
            if gone:
                self._files.pop(key).close()
        events.sort(key=lambda event: str(event.get("time", "")))
        return events

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _open_files(self) -> list[Path]:
        """Files being written; nothing if the folder has not changed since the last look."""
        try:
            changed = self._directory.stat()
        except FileNotFoundError:
            return []
        if changed.st_mtime_ns == self._listed and changed.st_mtime < time.time() - _RELIST:
            return []
        self._listed = changed.st_mtime_ns
        return sorted(self._directory.glob("*.open.jsonl"))

    def _add(self, path: Path, *, at_end: bool) -> None:
        try:
            stat = path.stat()
            if (stat.st_dev, stat.st_ino) not in self._files:
                self._files[stat.st_dev, stat.st_ino] = _File(path, at_end=at_end)
        except FileNotFoundError:  # renamed since it was listed: what was in it is history by now
            return


class _File:
    """One file being followed; it stays open when it is renamed or removed."""

    def __init__(self, path: Path, *, at_end: bool) -> None:
        self._path = path
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._inode = os.fstat(self._file.fileno()).st_ino
        self._half = b""
        if at_end:
            end = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(0, end - _LINE_SOUGHT))
            self._half = self._file.read(_LINE_SOUGHT).rpartition(b"\n")[2]

    def close(self) -> None:
        self._file.close()

    def gone(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def events(self) -> list[Event]:
        size = os.fstat(self._file.fileno()).st_size
        if size < self._file.tell():  # cut back to its mark, a line's end, by a writer that starts again
            self._file.seek(size)
            self._half = b""
        lines: list[bytes] = []
        while chunk := self._file.read(_CHUNK):
            *whole, self._half = (self._half + chunk).split(b"\n")
            lines += whole
        return [event for line in lines if (event := parse(line)) is not None]


def parse(line: bytes) -> Event | None:
    """An event; None for what is none, such as a line torn by a power cut."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        log.warning(
            "unreadable line in the event log", octets=len(line)
        )  # not the line: somebody's address may be in it
        return None
    return event if isinstance(event, dict) else None


async def follow(directory: Path, interval: float = INTERVAL) -> AsyncGenerator[Event, None]:
    """Events as they come, from the end of the log at the first step on."""
    tail = Tail(directory)
    try:
        while True:
            for event in tail.poll():
                yield event
            await asyncio.sleep(interval)
    finally:
        tail.close()
