"""Counts of events, beside them: a report over fifty million events reads a million rows of counts instead.

    events/counts/2/2026-11-21T12.0.parquet            of a complete hour and shard
    events/counts/2/2026-11-21T12.0.lines-73400320.parquet   of the first so many octets of a file that is not in columns yet
    events/counts/2/2026-11-21.parquet, .json          of a day: all its hours and shards, and which they are

All of them are made of event files and may be removed at any time; the next look makes them again. They say how many, never
who: no recipient and no domain is in them, so a person who is forgotten is not in them either. Hours are added up to days when
the day is over, so that a year's report opens hundreds of files, not tens of thousands.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import structlog

from relay.durable import sync
from relay.feedback.eventarchive import alone
from relay.reporting import sql
from relay.reporting.database import Database, opened
from relay.reporting.files import COUNTS, HOUR, counted_lines, days, event_files, stem_of
from relay.times import LATEST

log = structlog.get_logger()

GROWN = (
    4 << 20
)  # octets by which a file has grown when it is worth counting again: some 5,000 events, read in an instant
AT_ONCE = (
    200  # files in one turn: a node that has a year of events uncounted does not do all of it before anything else
)
ROWS = 20_000  # in a row group: small, so that a question to one level skips the others
MEMORY = "96MB"  # beside a report that is asked for meanwhile, within what the admin site has
_LATEST = 24 * HOUR


def count(folder: Path, now: int, zone: str = "UTC") -> int:
    """Counts what is not counted yet, in the order of time; how many files it made. Safe to repeat after a crash; a second
    process waits until the first is done. A file that cannot be read is told of and left out. Raises OSError and duckdb.Error
    where days cannot be added up; what was made by then stays."""
    if not folder.exists():
        return 0
    place = folder / COUNTS
    place.mkdir(parents=True, exist_ok=True)
    with alone(place):
        _clear(folder, place)
        made = 0
        for path in event_files(folder, 0, now + _LATEST):
            if made == AT_ONCE:
                break
            made += _counted(path, place)
        return made + _add_up(folder, place, now, zone)


def _counted(path: Path, place: Path) -> int:
    try:
        return _count_columns(path, place) if path.suffix == ".parquet" else _count_lines(path, place)
    except Exception as error:  # one bad file must not keep the others from being counted
        log.error("an event file cannot be counted; trying again", file=str(path), error=repr(error))
        return 0


def _clear(folder: Path, place: Path) -> None:
    """What a crash left, counts of events that are gone ([retention] events), and those of an earlier version."""
    _remove(path for path in place.parent.iterdir() if path.is_file())
    there = {stem_of(path.name) for path in event_files(folder, 0, LATEST)}
    for path in place.glob("*.partial"):
        path.unlink(missing_ok=True)
    for day, stems in days(place).items():
        if not there.intersection(stems):
            for end in (".json", ".parquet"):  # the list first: counts without one are nobody's
                (place / f"{day}{end}").unlink(missing_ok=True)
    covered = {stem for stems in days(place).values() for stem in stems}
    for path in place.glob("*T*.parquet"):
        stem = path.name.partition(".lines-")[0].removesuffix(".parquet")
        if stem not in there or stem in covered:
            path.unlink(missing_ok=True)


def _count_columns(path: Path, place: Path) -> int:
    stem = stem_of(path.name)
    if (place / f"{stem}.parquet").exists() or any(stem in stems for stems in days(place, stem[:10]).values()):
        return 0
    statement, values = sql.counts_of(sql.Source(columnar=(str(path),)))
    with opened(MEMORY, threads=1) as database:
        _write(database, statement, values, place / f"{stem}.parquet")
    _remove(place.glob(f"{stem}.lines-*.parquet"))
    return 1


def _count_lines(path: Path, place: Path) -> int:
    """What came since it was counted last, and that together with what was counted."""
    stem = stem_of(path.name)
    before, done = counted_lines(place, stem)
    try:
        if path.stat().st_size - done < GROWN:
            return 0
        with tempfile.TemporaryDirectory(prefix="postlane-") as scratch, opened(MEMORY, threads=1) as database:
            lines, parts = Path(scratch) / "new.jsonl", Path(scratch) / "new.parquet"
            end = done + copy_lines(path, done, lines)
            if end == done:
                return 0
            statement, values = sql.counts_of(sql.Source(lines=(str(lines),)))
            _write(database, statement, values, parts)
            together = [str(parts), *([str(before)] if before is not None else [])]
            _write(database, sql.added(15), [together], place / f"{stem}.lines-{end}.parquet")
    except FileNotFoundError:
        return 0  # it is in columns now, which the next look counts
    _remove([before] if before is not None else [])
    return 1


def copy_lines(path: Path, offset: int, target: Path) -> int:
    """Complete lines from there on; how many octets they are. A line that is being written is for the next time."""
    with path.open("rb") as source, target.open("wb+") as copy:
        source.seek(offset)
        shutil.copyfileobj(source, copy)
        copy.flush()
        size = copy.tell()
        end = _last_line_end(copy.fileno(), size)
        copy.truncate(end)
    return end


def _last_line_end(descriptor: int, size: int) -> int:
    """Behind the last line end; 0 where there is none."""
    at = size
    while at > 0:
        begin = max(0, at - (64 << 10))
        found = os.pread(descriptor, at - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return 0


def _add_up(folder: Path, place: Path, now: int, zone: str) -> int:
    """Days that have been over for one, all of whose hours are counted. Hours that come later stand beside their day."""
    last = datetime.fromtimestamp((now - 2 * _LATEST) / 1000, UTC).strftime("%Y-%m-%d")
    hours: dict[str, list[Path]] = {}
    for path in event_files(folder, 0, now):
        if path.name[:10] <= last:
            hours.setdefault(path.name[:10], []).append(path)
    made, known = 0, days(place)
    for day, paths in hours.items():
        stems = [stem_of(path.name) for path in paths]
        counts = [place / f"{stem}.parquet" for stem in stems]
        if day in known or not all(path.exists() for path in counts):
            continue
        with opened(MEMORY, threads=1) as database:
            minutes = 60 if _whole_hours(day, zone) else 15
            paths_of_day = [str(path) for path in counts]
            _write(database, sql.added(minutes, sql.FEW), [paths_of_day], place / f"{day}.parquet")
        _listed(place / f"{day}.json", stems)
        _remove(counts)
        made += 1
    return made


def _whole_hours(day: str, zone: str) -> bool:
    """Do hours there begin when they do in UTC?"""
    offset = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).utcoffset() or timedelta()
    return not offset % timedelta(hours=1)


def _write(database: Database, statement: str, values: list[object], target: Path) -> None:
    """Whole or not at all."""
    partial = target.with_name(f"{target.name}.partial")
    into = str(partial).replace("'", "''")
    how = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS}"
    database.execute(f"COPY ({statement}) TO '{into}' ({how})", values)
    sync(partial)
    partial.rename(target)
    sync(target.parent)


def _listed(target: Path, stems: list[str]) -> None:
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(orjson.dumps(stems))
    sync(partial)
    partial.rename(target)
    sync(target.parent)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
