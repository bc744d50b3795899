"""Subjects, transcripts and addresses leave recorded events when their time is over: each file is written anew once for each.

    data_dir/events/removed.json     what has gone from which file; written last, so a crash does some of it again

A file is written aside and put in the old one's place, so there is always one of them, whole. Of JSON Lines each line stays as
long as it was, padded with blanks: who reads by position (hooks/reading.py) is not led astray. Some files in a pass, the oldest
first.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import orjson
import structlog

from relay.durable import sync
from relay.feedback.eventarchive import alone, events_of, strip, write_parquet
from relay.feedback.fading import ADDRESSES, SUBJECTS, TRANSCRIPTS, Event, due, faded

log = structlog.get_logger()

MARKS = "removed.json"
MOST = 50  # files in a pass ...
MOST_OCTETS = (
    8 << 20
)  # ... or until so much was read, one file at least: some 100,000 events, whose addresses take 4 s of CPU
_LEFT = ("*.lines", "*.rewritten")  # what a crash leaves of a file that was being written anew: addresses are in it
_FIELDS = {SUBJECTS: "subject", TRANSCRIPTS: "transcript"}

KeyOf = Callable[[str], bytes]
Kinds = frozenset[str]


def fade(directory: Path, now: int, keep: Mapping[str, int], key_of: KeyOf, ready: Callable[[Path], bool]) -> int:
    """One pass; how many files it wrote anew. `keep`: ms of each of fading.py's kinds; JSON Lines are let alone until they are
    `ready`. Raises OSError where the marks cannot be written."""
    if not directory.exists():
        return 0
    with alone(directory):
        for pattern in _LEFT:
            for path in directory.glob(pattern):
                path.unlink(missing_ok=True)
        names = {path.name for path in directory.iterdir()}
        done = _marks(directory)
        todo = [
            one for one in due(names, done, now, keep) if not one[0].endswith(".jsonl") or ready(directory / one[0])
        ]
        changed = _some(directory, todo, done, key_of)
        if todo:
            _mark(directory, {name: kinds for name, kinds in done.items() if name in names})
    if changed:
        log.info("old events lost what is not kept so long", files=changed, first=todo[0][0], directory=str(directory))
    return changed


def _some(directory: Path, todo: Iterable[tuple[str, Kinds]], done: dict[str, list[str]], key_of: KeyOf) -> int:
    """As many as one pass may; says in `done` what it did."""
    changed, looked, octets = 0, 0, 0
    for name, kinds in todo:
        path = directory / name
        try:
            octets += path.stat().st_size
            changed += _without(path, kinds, key_of)
        except Exception as error:  # one bad file, or no room for a large one, must not keep the others
            log.error("an event file keeps what is not to be kept; trying again", file=name, error=repr(error))
            continue
        done[name] = sorted(kinds.union(done.get(name, ())))
        looked += 1
        if looked >= MOST or octets >= MOST_OCTETS:
            break
    return changed


def _marks(directory: Path) -> dict[str, list[str]]:
    try:
        found = orjson.loads((directory / MARKS).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):  # all is looked at again: nothing comes of that but work
        return {}
    return {name: kinds for name, kinds in found.items() if isinstance(kinds, list)} if isinstance(found, dict) else {}


def _mark(directory: Path, done: Mapping[str, list[str]]) -> None:
    draft = directory / f"{MARKS}.new"
    draft.write_bytes(orjson.dumps(done))
    sync(draft)
    draft.rename(directory / MARKS)
    sync(directory)


def _without(path: Path, kinds: Kinds, key_of: KeyOf) -> bool:
    """Was there something to take out?"""
    if path.suffix != ".parquet":
        return _lines_without(path, kinds, key_of)
    if ADDRESSES not in kinds:
        return strip(path, [_FIELDS[kind] for kind in sorted(kinds)])
    write_parquet((faded(event, kinds, key_of) for event in events_of(path)), path)
    return True


def _lines_without(path: Path, kinds: Kinds, key_of: KeyOf) -> bool:
    draft = path.with_name(f"{path.name}.rewritten")
    changed = False
    try:
        with path.open("rb") as lines, draft.open("wb") as file:
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            for line in lines:
                other = _line(line, kinds, key_of)
                changed |= other != line
                file.write(other)
        if changed:
            sync(draft)
            draft.rename(path)
            sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    return changed


def _line(line: bytes, kinds: Kinds, key_of: KeyOf) -> bytes:
    """As long as it was. What cannot be read may hold anything, so nothing of it stays."""
    room = len(line.rstrip(b"\n"))
    try:
        event = orjson.loads(line) if line.strip() else None
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict):
        return b" " * room + line[room:]
    other = faded(event, kinds, key_of)
    return line if other == event else _fitting(other, room).ljust(room) + line[room:]


def _fitting(event: Event, room: int) -> bytes:
    """A pseudonym is longer than most addresses: then what is said in words goes first, and at last the pseudonym."""
    for lacking in _LESS:
        octets = orjson.dumps({name: value for name, value in event.items() if name not in lacking})
        if len(octets) <= room:
            return octets
    return b""


_WORDS = frozenset({"headers", "evidence", "checks", "metadata", "detail", "reply"})
_LESS: tuple[Iterable[str], ...] = ((), _WORDS, _WORDS | {"recipient"}, _WORDS | {"recipient", "sender", "message_id"})
