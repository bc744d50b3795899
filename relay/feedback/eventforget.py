"""A person is taken out of the event log who asked to be forgotten: of his events remains what reports count, and no word of him.

JSON Lines are changed in place, each line to one of the same length, padded with blanks: the worker that writes a file goes on
behind it, and nobody who reads it by position is led astray. Parquet is written anew and put in the old file's place. What is
turned into Parquet meanwhile may escape a pass, as what is still in a spool's outbox does, so the caller makes passes until one
finds nothing.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import structlog

from relay.feedback.eventarchive import Event, alone, events_of, write_parquet
from relay.masking import key_in
from relay.recipient import domains_of, normalised

log = structlog.get_logger()

GONE = "(forgotten)"  # in place of an address in a text

# What may be known of an event without knowing of whom it was.
KEPT = frozenset({
    "v", "time", "type", "event_id", "node", "policies", "id", "rcpt", "credential", "brand", "stream", "class", "campaign",
    "site", "pool", "source", "mx", "tls", "attempt", "command", "category", "permanent", "next_attempt", "until", "delay_ms",
    "size", "contradiction", "reason", "captured", "claimed", "judged", "confidence", "skeleton", "rule", "stop", "expires",
    "topic", "via", "by", "at", "was", "signed", "report_of", "duplicate_of",
})  # fmt: skip
_LINES = (".jsonl", ".damaged")
_TOKEN = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|[^\s"'<>,;:()\[\]{}=]+)@[^\s"'<>,;:()\[\]{}=/?]+""")


class Forgotten:
    """Whose address is to go, and the pseudonym of his `key` that may stand for it by now ([retention] addresses). Pure."""

    def __init__(self, address: str, key: bytes = b"") -> None:
        self._who, self._key = normalised(address), key
        self.signs = tuple(f"@{one}" for one in domains_of(self._who))
        self._signs = tuple(sign.encode() for sign in self.signs)
        self._ascii = all(sign.isascii() for sign in self.signs)

    def concerns(self, line: bytes) -> bool:
        """Quick, and wrong in one direction only."""
        folded = line.lower()
        return any(sign in folded for sign in self._signs) or not (self._ascii or line.isascii())

    def without(self, event: Event) -> Event | None:
        """The event without him; None: it says nothing of him."""
        if self._is_his(event.get("recipient")):
            kept = {name: value for name, value in event.items() if name in KEPT}
            his: Event = self.cleared({**kept, "recipient": None, "forgotten": True})
            return his
        cleared: Event = self.cleared(event)
        return cleared if cleared != event else None

    def of_line(self, line: bytes) -> Event | None:
        """The event of a line without him; None: it says nothing of him. Raises JSONDecodeError."""
        return self.without(orjson.loads(line)) if self.concerns(line) else None

    def _is_his(self, value: object) -> bool:
        if not isinstance(value, str):
            return False
        return normalised(value) == self._who or (bool(self._key) and key_in(value) == self._key)

    def cleared(self, value: Any) -> Any:
        """The same without his address, wherever it stands."""
        if isinstance(value, str):
            if self._is_his(value):
                return GONE
            return _TOKEN.sub(lambda found: GONE if self._is_his(found[0].rstrip(".")) else found[0], value)
        if isinstance(value, list):
            return [self.cleared(one) for one in value]
        if isinstance(value, dict):
            return {name: self.cleared(one) for name, one in value.items()}
        return value


def forget(directory: Path, address: str, key: bytes = b"") -> int:
    """One pass over all files; how many events it changed. Raises OSError where one cannot be changed."""
    gone = Forgotten(address, key)
    changed = 0
    if not directory.exists():
        return 0
    with alone(directory):
        for path in sorted(directory.glob("*")):
            if path.suffix == ".parquet":
                changed += _forget_columns(path, gone)
            elif path.suffix in _LINES:
                changed += _forget_lines(path, gone)
    return changed


def _forget_lines(path: Path, gone: Forgotten) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0  # given up, or turned into Parquet, which the next pass sees
    changed = 0
    with os.fdopen(descriptor, "rb+", buffering=0) as file:
        with os.fdopen(os.dup(descriptor), "rb") as reader:
            at = 0
            for line in reader:
                other = _line_without(line, gone) if line.endswith(b"\n") else None
                if other is not None:
                    os.pwrite(descriptor, other, at)
                    changed += 1
                at += len(line)
        if changed:
            os.fsync(file.fileno())
    return changed


def _line_without(line: bytes, gone: Forgotten) -> bytes | None:
    """Of the same length; None: it may stay. A line that cannot be read loses everything, if it may be about him."""
    if not gone.concerns(line):
        return None
    room = len(line) - 1
    try:
        event = gone.without(orjson.loads(line))
    except (orjson.JSONDecodeError, AttributeError):
        cleared = gone.cleared(line.decode(errors="replace"))
        return b" " * room + b"\n" if GONE in cleared else None
    if event is None:
        return None
    return _dumped(event, room).ljust(room) + b"\n"


def _dumped(event: Event, room: int) -> bytes:
    """No longer than that: an address may be shorter than what stands in its place."""
    for one in (event, {name: value for name, value in event.items() if name in KEPT}, {}):
        octets = orjson.dumps(one)
        if len(octets) <= room:
            return octets
    return b""


def _forget_columns(path: Path, gone: Forgotten) -> int:
    """Written anew only where somebody is in it who must not be."""
    changed = 0

    def others() -> Iterator[Event]:
        nonlocal changed
        for event in events_of(path):
            other = gone.without(event)
            changed += other is not None
            yield event if other is None else other

    try:
        if all(gone.without(event) is None for event in events_of(path, gone.signs)):
            return 0
        write_parquet(others(), path)
    except FileNotFoundError:
        return 0  # given up meanwhile
    log.info("an event file was written anew, without who is to be forgotten", file=path.name, events=changed)
    return changed
