"""What the capture server keeps: one file a transaction, and its envelope beside it. The newest stay, within bounds.

    data_dir/capture/<time>-<n>.eml     the octets after DATA, dots unstuffed
    data_dir/capture/<time>-<n>.json    who sent it to whom, and whose message it is; written last

The sandbox's own copies: they are not fsynced, because nobody's mail depends on them.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
import structlog

from relay.header import Field, split
from relay.ids import time_of

log = structlog.get_logger()

MAX_COUNT = 1000  # messages kept: what a person looks through
MAX_BYTES = 200_000_000  # and octets, so that a sandbox never fills a laptop's disk
TRACE_FIELD = "x-postlane-trace"
_RECEIVED_ID = re.compile(rb"\bid\s+([0-9a-z]{16})\b")
_NAME = re.compile(r"\d{13}-\d{1,6}")
_LONGEST_NOTE = 998  # octets of a header field repeated in the envelope file


@dataclass(frozen=True, slots=True)
class Capture:
    """One captured transaction. `id` is our message id ("" if it came from elsewhere), `trace` the opaque one."""

    name: str
    time: int
    id: str
    trace: str
    sender: str
    recipients: tuple[str, ...]
    size: int
    options: tuple[str, ...] = field(default=())


class Captures:
    """The captured messages of one directory, newest last. Called from several threads."""

    def __init__(self, directory: Path, *, max_count: int = MAX_COUNT, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._max_count, self._max_bytes = max_count, max_bytes
        self._numbers = itertools.count(1)
        self._lock = Lock()
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._kept: dict[str, Capture] = {c.name: c for c in sorted(self._load(), key=lambda c: c.name)}
        self._bytes = sum(c.size for c in self._kept.values())
        self._drop_oldest()

    def __repr__(self) -> str:
        return f"<Captures {len(self._kept)} of {self._max_count}, {self._bytes} of {self._max_bytes} octets>"

    def add(
        self, sender: str, recipients: list[str], options: list[str], content: bytes, now: int, about: str = ""
    ) -> Capture:
        """Keeps one message, or an answer to the one of ours that has the id `about`; raises OSError where the disk does not
        take it."""
        fields, _ = split(content)
        with self._lock:
            number = next(self._numbers) % 1_000_000
            name = f"{now:013d}-{number:06d}"
            capture = Capture(
                name=name,
                time=now,
                id=about or message_id(fields),
                trace=_trace(fields),
                sender=_readable(sender),
                recipients=tuple(map(_readable, recipients)),
                size=len(content),
                options=tuple(map(_readable, options)),
            )
            self._write(capture, content)
            self._kept[name] = capture
            self._bytes += capture.size
            self._drop_oldest()
        return capture

    def of_message(self, identifier: str) -> list[Capture]:
        """The captures of one of our messages, oldest first."""
        with self._lock:
            return [c for c in self._kept.values() if identifier and c.id == identifier and self._is_there(c)]

    def get(self, name: str) -> Capture | None:
        with self._lock:
            found = self._kept.get(name)
        return found if found is not None and self._is_there(found) else None

    def _is_there(self, capture: Capture) -> bool:
        """Who was forgotten (`postlane recipient --forget`) takes his files along."""
        return self._path(capture.name, ".json").exists()

    def content(self, capture: Capture) -> bytes | None:
        """None if it has gone meanwhile."""
        try:
            return self._path(capture.name, ".eml").read_bytes()
        except FileNotFoundError:
            return None

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / (name + suffix)

    def _write(self, capture: Capture, content: bytes) -> None:
        self._path(capture.name, ".eml").write_bytes(content)
        draft = self._path(capture.name, ".new")
        draft.write_bytes(orjson.dumps(asdict(capture)))
        draft.replace(self._path(capture.name, ".json"))

    def _load(self) -> Iterator[Capture]:
        """What an earlier run left; halves of a pair that a crash left are removed."""
        whole = {path.stem for path in self._directory.glob("*.json")}
        for path in sorted(self._directory.iterdir()):
            if not _NAME.fullmatch(path.stem):
                continue  # not ours
            if path.stem not in whole or path.suffix == ".new":
                path.unlink(missing_ok=True)
            elif path.suffix == ".json" and (capture := _read(path)) is not None:
                yield capture

    def _drop_oldest(self) -> None:
        while self._kept and (len(self._kept) > self._max_count or self._bytes > self._max_bytes):
            name = next(iter(self._kept))
            self._bytes -= self._kept.pop(name).size
            for suffix in (".json", ".eml"):
                self._path(name, suffix).unlink(missing_ok=True)


def _read(path: Path) -> Capture | None:
    try:
        facts: dict[str, Any] = orjson.loads(path.read_bytes())
        facts["recipients"], facts["options"] = tuple(facts["recipients"]), tuple(facts["options"])
        return Capture(**facts)
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("an envelope in the capture directory cannot be read", file=path.name, error=str(error))
        return None


def message_id(fields: list[Field]) -> str:
    """Our message id: in the topmost Received, which is ours (RFC 5321 4.4); "" where that names none."""
    top = next((f.value for f in fields if f.name == "received"), b"")
    found = _RECEIVED_ID.search(top)
    identifier = found[1].decode() if found else ""
    return identifier if time_of(identifier) is not None else ""


def _trace(fields: list[Field]) -> str:
    value = next((f.value for f in fields if f.name == TRACE_FIELD), b"")
    return value[:_LONGEST_NOTE].decode("ascii", "replace")


def _readable(text: str) -> str:
    """Octets that are no UTF-8 arrive as lone surrogates; JSON has no place for them."""
    return text.encode(errors="surrogateescape").decode(errors="replace")
