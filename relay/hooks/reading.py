"""What the endpoints want of the event log: new events by marks, past ones by time.

A file is known by its name without what says its kind, so the end of its hour changes nothing. Only whole lines are read. What
its writer cut off after a crash it writes again, the same octets at the same place (feedback/eventlog.py), or in the next hour's
file: then they are told twice, and `event_id` tells.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from relay.feedback.eventlog import read
from relay.feedback.eventtail import parse
from relay.hooks.queue import Found, Resend
from relay.hooks.telling import HOUR, OF_PEOPLE, Endpoint, told, wants
from relay.times import moment

CHUNK = 4 << 20  # octets read in one go: some 5,000 events
FETCHED = 10_000  # past events in one go, all of the last one's time


class Read(NamedTuple):
    """What was found, and how far each file has been read by that; `more`: there is more to read at once."""

    found: list[Found]
    marks: dict[str, int]
    more: bool


def stem(path: Path) -> str:
    return path.name.removesuffix(".jsonl").removesuffix(".open")


def ends(directory: Path) -> dict[str, int]:
    """Marks behind the last whole line of each file there is: what is told begins now."""
    return {stem(path): _last_line(path) for path in sorted(directory.glob("*.jsonl"))}


def _last_line(path: Path) -> int:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - CHUNK)
            file.seek(start)
            return start + file.read(size - start).rfind(b"\n") + 1
    except FileNotFoundError:
        return 0


def new_events(directory: Path, marks: Mapping[str, int], endpoints: Iterable[Endpoint]) -> Read:
    """What came since `marks`, as far as some CHUNK goes."""
    asked = list(endpoints)
    found: list[Found] = []
    moved: dict[str, int] = {}
    octets = 0
    for path in sorted(directory.glob("*.jsonl")):
        name = stem(path)
        lines = _lines(path, marks.get(name, 0))
        if lines:
            found += wanted((line for line in lines.split(b"\n") if line), asked)
            moved[name] = marks.get(name, 0) + len(lines)
            octets += len(lines)
            if octets >= CHUNK // 2:
                break
        elif name not in marks:
            moved[name] = 0
    found.sort(key=lambda one: one.time)
    return Read(found, moved, octets >= CHUNK // 2)


def _lines(path: Path, offset: int) -> bytes:
    """Whole lines from there on; none where the file was ended under our hands: it is read by its new name the next time."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            octets = file.read(CHUNK)
            while octets and b"\n" not in octets and (rest := file.read(CHUNK)):
                octets += rest
    except FileNotFoundError:
        return b""
    return octets[: octets.rfind(b"\n") + 1]


def whole(path: Path, marks: Mapping[str, int]) -> bool:
    """Has an event file been read to its end? A last line that is none, torn by a power cut, is not waited for."""
    return marks.get(stem(path), -1) >= _last_line(path)


def wanted(lines: Iterable[bytes], endpoints: Iterable[Endpoint]) -> Iterator[Found]:
    asked = list(endpoints)
    for line in lines:
        event = parse(line)
        if event is not None and "event_id" in event:
            for endpoint in asked:
                if wants(endpoint, event):
                    yield Found(endpoint.credential, *_of(event), told(event, endpoint, line))


def _of(event: Mapping[str, Any]) -> tuple[str, int]:
    return str(event["event_id"]), moment(str(event["time"])) or 0


def past_events(directory: Path, endpoint: Endpoint, resend: Resend) -> tuple[list[Found], int]:
    """Some of what is to be told again, at most an hour's, in time order; and until when (ms) it is all."""
    until = min(resend.until, resend.since + HOUR)
    found: list[Found] = []
    for one in past(directory, endpoint, resend.since, until):
        if len(found) >= FETCHED and one.time > found[-1].time:
            return found, one.time
        found.append(one)
    return found, until


def past(directory: Path, endpoint: Endpoint, since: int, until: int) -> Iterator[Found]:
    """All that it would have been told of that time."""
    kinds = {"type": endpoint.events} if endpoint.events else {}
    parts = [read(directory, since=since, until=until, match={"credential": endpoint.credential, **kinds})]
    if endpoint.brands:
        people = {"type": endpoint.events & OF_PEOPLE if endpoint.events else OF_PEOPLE, "brand": endpoint.brands}
        chosen = read(directory, since=since, until=until, match=people) if people["type"] else iter(())
        parts.append(event for event in chosen if event.get("credential") != endpoint.credential)
    for event in heapq.merge(*parts, key=lambda event: (event["time"], event["event_id"])):
        if wants(endpoint, event):
            yield Found(endpoint.credential, *_of(event), told(event, endpoint))
