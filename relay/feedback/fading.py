"""What is taken out of recorded events when its time is over, and of which files. Pure.

[retention] says how long each stays: subjects, transcripts, addresses. What remains is what reports count; in place of an address
stands a pseudonym (relay/masking.py), so that the same person still counts as one. Whole files, by the hour in their name: an
event is never younger than its file's hour.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from relay.masking import without_addresses

Event = dict[str, Any]

HOUR = 3_600_000
SUBJECTS, TRANSCRIPTS, ADDRESSES = "subjects", "transcripts", "addresses"

_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)\.[^.]+\.(?:jsonl|parquet|damaged)", re.ASCII)


def due(
    names: Iterable[str], done: Mapping[str, Iterable[str]], now: int, keep: Mapping[str, int]
) -> list[tuple[str, frozenset[str]]]:
    """Of which file what is to go, the oldest first. `done`: what has gone, by file; `keep`: ms after the end of its hour."""
    until = {kind: _hour(now - span - HOUR) for kind, span in keep.items()}
    found = []
    for name in sorted(names):
        if (match := _NAME.fullmatch(name)) is not None:
            kinds = {kind for kind, last in until.items() if match[1] <= last}.difference(done.get(name, ()))
            if kinds:
                found.append((name, frozenset(kinds)))
    return found


def _hour(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H") if ms >= 0 else ""


def faded(event: Event, kinds: frozenset[str], key_of: Callable[[str], bytes]) -> Event:
    """The event without them. `key_of` an address: its person's key."""
    if TRANSCRIPTS in kinds:
        event = {name: value for name, value in event.items() if name != "transcript"}
    if SUBJECTS in kinds:
        event = {name: value for name, value in event.items() if name != "subject"}
        if isinstance(headers := event.get("headers"), dict):  # what rules asked for (policy/streams.py)
            event["headers"] = {name: value for name, value in headers.items() if name != "subject"}
    return without_addresses(event, key_of) if ADDRESSES in kinds else event
