"""How long event files stay ([retention] events): whole hours, by the hour in their name, oldest first.

A file's events are never later than its hour ends, so it goes once that lies `keep` back; then nothing in it is younger.
Files being written are never touched, whatever their hour: their worker ends them (eventlog.py).
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import structlog

log = structlog.get_logger()

HOUR = 3_600_000
MOST = 500  # files removed in a turn: a fraction of a second of the disk's time, though a year may be over at once

# All that eventlog.py and eventarchive.py leave; what is being written has two dots more: HOUR.SHARD.open.jsonl
_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)\.[^.]+\.(?:jsonl|parquet|partial|damaged)", re.ASCII)


def expired(names: Iterable[str], now: int, keep: int) -> list[str]:
    """The event files whose hour ended `keep` ms or longer before `now`, the oldest first; never one of this hour."""
    last = now - keep - HOUR
    if keep < 0 or last < 0:
        return []
    until = datetime.fromtimestamp(last / 1000, UTC).strftime("%Y-%m-%dT%H")
    return sorted(name for name in names if (match := _NAME.fullmatch(name)) and match[1] <= until)


def remove_expired(directory: Path, now: int, keep: int) -> int:
    """Removes the oldest MOST of them; how many it were. Raises OSError where one cannot be removed."""
    if not directory.exists():
        return 0
    names = expired((path.name for path in directory.iterdir()), now, keep)[:MOST]
    for name in names:
        (directory / name).unlink(missing_ok=True)
    if names:
        log.info("old events removed", files=len(names), first=names[0], last=names[-1], directory=str(directory))
    return len(names)
