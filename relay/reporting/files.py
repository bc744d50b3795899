"""Which files hold the events of a time: of this node's folder, and of those of other nodes that are shared with it or shipped
to it ([web] events).

    data_dir/events/2026-11-21T12.0.parquet            an hour's events (feedback/eventlog.py)
    data_dir/events/counts/2/2026-11-21T12.0.parquet   how many of each kind they are (counting.py)

Where there are counts of a file they stand for it; of one that is being written, for as much of it as was counted.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from relay.reporting.sql import Source
from relay.times import LATEST

COUNTS = "counts/2"  # below the folder of events; the number grows with what a file of counts has
HOUR = 3_600_000
DAY = 24 * HOUR
LATE = DAY  # an event may stand in the file of a later hour (a full disk, a stop), hardly of a later day
KINDS = (".parquet", ".jsonl", ".open.jsonl")  # the best one first, where a conversion has just made two of one


def hour(ms: int) -> str:
    return datetime.fromtimestamp(min(max(0, ms), LATEST) / 1000, UTC).strftime("%Y-%m-%dT%H")


def recorded(folders: Sequence[Path], since: int, until: int) -> Source:
    """The files with the events of since <= time < until themselves."""
    columnar: list[str] = []
    lines: list[str] = []
    for folder in folders:
        for path in event_files(folder, since, until):
            (columnar if path.suffix == ".parquet" else lines).append(str(path))
    return Source(columnar=tuple(columnar), lines=tuple(lines))


def event_files(folder: Path, since: int, until: int) -> list[Path]:
    """In the order of their names: the oldest first."""
    first, last = hour(since - HOUR), hour(until + LATE)
    best: dict[str, Path] = {}
    for kind in reversed(KINDS):
        for path in folder.glob(f"*{kind}"):
            if first <= path.name[:13] <= last:
                best[stem_of(path.name)] = path
    return [best[stem] for stem in sorted(best)]


def stem_of(name: str) -> str:
    """2026-11-21T12.0: without what says its kind."""
    for kind in (".open.jsonl", ".jsonl", ".parquet"):
        name = name.removesuffix(kind)
    return name


class Found(NamedTuple):
    """`tails`: files of lines, of which only what lies beyond an octet is to be read."""

    source: Source
    tails: tuple[tuple[Path, int], ...] = ()


def counted(folders: Sequence[Path], since: int, until: int) -> Found:
    """The files that say how many events of since <= time < until there were."""
    counts: list[str] = []
    columnar: list[str] = []
    lines: list[str] = []
    tails: list[tuple[Path, int]] = []
    for folder in folders:
        place = folder / COUNTS
        names = {path.name for path in place.glob("*.parquet")}
        whole = {
            day: stems for day, stems in days(place).items() if hour(since - DAY)[:10] <= day <= hour(until + LATE)[:10]
        }
        counts += [str(place / f"{day}.parquet") for day in sorted(whole)]
        covered = {stem for stems in whole.values() for stem in stems}
        for path in event_files(folder, since, until):
            stem = stem_of(path.name)
            if stem in covered:
                continue
            if path.suffix == ".parquet":
                if f"{stem}.parquet" in names:
                    counts.append(str(place / f"{stem}.parquet"))
                else:
                    columnar.append(str(path))
                continue
            part, offset = _newest([name for name in names if name.startswith(f"{stem}.lines-")])
            if part:
                counts.append(str(place / part))
                tails.append((path, offset))
            else:
                lines.append(str(path))
    return Found(Source(tuple(counts), tuple(columnar), tuple(lines)), tuple(tails))


def counted_lines(place: Path, stem: str) -> tuple[Path | None, int]:
    """The counts of a file of lines, and of how many of its octets they are."""
    name, offset = _newest([path.name for path in place.glob(f"{stem}.lines-*.parquet")])
    return (place / name if name else None), offset


def _newest(names: Sequence[str]) -> tuple[str, int]:
    offsets = {name: int(name.rpartition("-")[2].removesuffix(".parquet")) for name in names}
    name = max(offsets, key=lambda one: offsets[one], default="")
    return name, offsets.get(name, 0)


def days(place: Path, only: str = "*") -> dict[str, list[str]]:
    """The days that are added up, with the stems of the files that each has."""
    found: dict[str, list[str]] = {}
    for path in place.glob(f"{only}.json"):
        try:
            found[path.stem] = orjson.loads(path.read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            continue  # given up meanwhile, or somebody else's
    return found


def earliest(folders: Sequence[Path]) -> int | None:
    """When the oldest file begins, in ms; None: there is none."""
    names = [path.name[:13] for folder in folders for kind in KINDS for path in folder.glob(f"*{kind}")]
    if not names:
        return None
    return round(datetime.strptime(min(names), "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp() * 1000)
