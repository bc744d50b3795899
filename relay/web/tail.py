"""The newest events, from the ends of the newest files: bounded, however large the log is.

On a quiet node the newest JSON Lines file may just have become Parquet: then the newest small Parquet files help out.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
import structlog

from relay.web.stories import Event

log = structlog.get_logger()

PER_FILE = 512 * 1024  # octets read from the end of a file: some 500 events
FILES = 64  # files looked at: one hour of 32 shards, and the hour before
IN_ALL = 4 * 1024 * 1024  # octets parsed for one page: about 20 ms
KEPT = 5_000  # events handed on
ENOUGH = 200  # events; with fewer, Parquet is looked at
PARQUET_BYTES = 2_000_000  # of Parquet read then: some 20,000 events, 0.1 s


class EventTail:
    """Reads data_dir/events. `find` fetches one message's events from the whole log, for what the tail lacks."""

    def __init__(self, directory: Path, find: Callable[[str], Iterable[Event]]) -> None:
        self._directory, self._find = directory, find

    def __repr__(self) -> str:
        return f"<EventTail {self._directory}>"

    def recent(self) -> list[Event]:
        """The newest events of all shards, oldest first."""
        events: list[Event] = []
        room = IN_ALL
        for path in sorted(self._directory.glob("*.jsonl"), reverse=True)[:FILES]:
            lines = _last_lines(path, min(PER_FILE, room))
            room -= sum(map(len, lines))
            events += [event for line in lines if (event := _event(line)) is not None]
            if room <= 0:
                break
        if len(events) < ENOUGH:
            events += _archived(self._directory, ENOUGH)
        events.sort(key=lambda e: str(e.get("time", "")))
        return events[-KEPT:]

    def story(self, identifier: str) -> list[Event]:
        """From the tail if the message's first event is there, else from the log."""
        events = [e for e in self.recent() if e.get("id") == identifier]
        if not any(e.get("type") == "accepted" for e in events):
            events = list(self._find(identifier)) or events
        return events


def _archived(directory: Path, limit: int) -> list[Event]:
    """The newest events of the newest Parquet files, as far as those are small."""
    files: list[str] = []
    room = PARQUET_BYTES
    for path in sorted(directory.glob("*.parquet"), reverse=True)[:FILES]:
        room -= path.stat().st_size
        if room < 0:
            break
        files.append(str(path))
    if not files:
        return []
    import duckdb  # noqa: PLC0415 it takes a tenth of a second, and a busy node never comes here

    with duckdb.connect(config={"threads": 1, "memory_limit": "256MB"}) as database:
        newest = "SELECT event FROM read_parquet(?, union_by_name = true) ORDER BY time DESC LIMIT ?"
        rows = database.execute(newest, [files, limit]).fetchall()
    return [event for (record,) in rows if (event := _event(record)) is not None]


def _last_lines(path: Path, limit: int) -> list[bytes]:
    """Whole lines from the last `limit` octets; none if the file has gone (turned into Parquet) meanwhile."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - limit)
            file.seek(start)
            lines = file.read(limit).split(b"\n")
    except FileNotFoundError:
        return []
    return lines[1 if start else 0 : -1]  # the first may be half a line; what is behind the last end surely is


def _event(line: bytes | str) -> Event | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        log.warning("a line of the event log is no JSON", length=len(line))
        return None
    return event if isinstance(event, dict) else None
