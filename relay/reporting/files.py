"""Which files hold the events of a time: of this node's folder, and of those of other nodes that are shared with it or shipped
to it ([web] events).

    data_dir/events/2026-11-21T12.0.parquet            an hour's events (feedback/eventlog.py)
    data_dir/events/counts/2026-11-21T12.0.parquet     how many of each kind they are (counting.py)
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from relay.reporting.sql import Source

HOUR = 3_600_000
LATE = 24 * HOUR  # an event may stand in the file of a later hour (a full disk, a stop), hardly of a later day
KINDS = (".parquet", ".jsonl", ".open.jsonl")  # the best one first, where a conversion has just made two of one


def hour(ms: int) -> str:
    return datetime.fromtimestamp(max(0, ms) / 1000, UTC).strftime("%Y-%m-%dT%H")


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


def earliest(folders: Sequence[Path]) -> int | None:
    """When the oldest file begins, in ms; None: there is none."""
    names = [path.name[:13] for folder in folders for kind in KINDS for path in folder.glob(f"*{kind}")]
    if not names:
        return None
    return round(datetime.strptime(min(names), "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp() * 1000)
