"""Sends and places of people in Redis: names of keys, words for the script, and its answers.

Sends of a person are a field of one of 2**20 hashes ("buckets"), which stay small and so take no more than a person's octets,
where a key for each would take twice as much. Buckets have no time to live: `sweep` empties them in turn. Places are a key of
a person's own, which is gone with the last place.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from relay.room import Ask, Bound, Full, Room, Send, Settled, Standing
from relay.state import places
from relay.state.places import NEAR

BUCKET_BITS = 20  # ten people in each of ten million
BUCKETS = 1 << BUCKET_BITS
SWEPT = 64  # buckets in one page of the sweep
MOST = 64  # people of one script: a millisecond or two
KEPT = 45 * 86_400_000  # ms a place is remembered beyond its lease: it may be a send, which counts as long as that
Key = str | bytes


def tag_of(person: bytes, tags: int) -> int:
    return _bucket(person) % tags


def by_tag(tags: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Of what has these tags, which, by number, are under each; so many at most that a script of them ends soon, since the
    server does nothing else meanwhile."""
    found: dict[int, list[int]] = {}
    for number, tag in enumerate(tags):
        found.setdefault(tag, []).append(number)
    return [
        (tag, numbers[start : start + MOST]) for tag, numbers in found.items() for start in range(0, len(numbers), MOST)
    ]


def _bucket(person: bytes) -> int:
    return int.from_bytes(person[:3]) >> 24 - BUCKET_BITS


def _sends(bucket: int, tags: int) -> str:
    return f"postlane:{{{bucket % tags}}}:sends:{bucket:05x}"


def keys_of(person: bytes, tags: int) -> tuple[Key, Key]:
    bucket = _bucket(person)
    return _sends(bucket, tags), f"postlane:{{{bucket % tags}}}:places:".encode() + person


def asking(wishes: Iterable[Ask], now: int) -> bytes:
    """JSON of `reserve`: one word where redis-py would encode each number for itself. Calendar windows are as at `now`."""
    return orjson.dumps([
        (one.token, one.mark, one.priority, one.since, one.lease, one.firm, one.waits, [_bound(b, now) for b in one.bounds])
        for one in wishes
    ])  # fmt: skip


def _bound(bound: Bound, now: int) -> tuple[int, int, int, int, list[int]]:
    rate, timezone, marks = bound
    begin, end = places.window(rate, timezone, now)
    return rate.count, 0 if rate.calendar else rate.window, begin, end, sorted(marks)


def room_of(flat: Sequence[int]) -> Room:
    """From: number of the bound, ms to wait, how many marks; of each the mark and how often; and so on."""
    found, at = [], 0
    while at < len(flat):
        number, wait, marks = flat[at : at + 3]
        end = at + 3 + 2 * marks
        used = sorted(zip(flat[at + 3 : end : 2], flat[at + 4 : end : 2], strict=True))
        found.append(Full(number, wait, tuple(used)))
        at = end
    return tuple(found)


def standing_of(answer: Sequence[Any]) -> Standing:
    sends, marks = answer
    return Standing(tuple(sorted(places.unpack(sends or b""))), tuple(sorted(marks)))


def settling(settled: Iterable[Settled]) -> bytes:
    """JSON of `settle`."""
    return orjson.dumps([(one.token, one.at) for one in settled])


def recalling(person: bytes, sends: Iterable[Send]) -> list[str | int | bytes]:
    return [person, NEAR, *(number for send in sends for number in send)]


def page(after: bytes) -> tuple[range, bytes]:
    """The buckets behind those that `after` names, and what names these; b"": they are the last."""
    first = struct.unpack(">I", after)[0] if after else 0
    end = min(first + SWEPT, BUCKETS)
    return range(first, end), struct.pack(">I", end) if end < BUCKETS else b""


def bucket_keys(buckets: Iterable[int], tags: int) -> list[str]:
    return [_sends(bucket, tags) for bucket in buckets]
