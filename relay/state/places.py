"""One person's sends and places, and whether there is room for one more. Pure; relay/state/redis.lua does the same.

In the way of a bound stand sends within its window, places of others, and those who wait and go before: by priority, then
by age. Who waits is let in before others from when it was told to come again, for GRACE: it may be on a node that is gone.
Mail that is not yet on disk waits in nobody's way: a crash may be the end of it.
A place whose lease is over was given up where nothing can have been sent by it; else it is a send.

A send's second is the one it began in, so in a sliding window it counts one more. Sends ahead of the clock count.
"""

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from relay.identity import Rate
from relay.room import Ask, Bound, Full, Room, Send
from relay.state import limits

GRACE = 120_000  # ms those who wait go before others: longer than a worker with a backlog takes to come to them
WAITS, HOLDS, FIRM = 0, 1, 2  # kinds of Place
NEAR = 2  # s between what a send and its event may say of when it was

_SEND = struct.Struct(">IBH")  # 7 octets: seconds (until 2106), mark


class Place(NamedTuple):
    """`at`: ms, when it last asked; `until`: ms, when its lease ends, or where it waits, when it comes again."""

    kind: int
    mark: int
    at: int
    until: int
    priority: int
    since: int


@dataclass(slots=True)
class Person:
    """`places`: by token."""

    sends: list[Send] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)


def pack(sends: Iterable[Send]) -> bytes:
    return b"".join([_SEND.pack(at, mark >> 16, mark & 0xFFFF) for at, mark in sends])


def unpack(blob: bytes) -> list[Send]:
    return [(at, high << 16 | low) for at, high, low in _SEND.iter_unpack(blob)]


def ask(person: Person, wish: Ask, now: int) -> tuple[Room, Place | None]:
    """What is in the way; and what stands under its token from now on, None: nothing. `person` is as `expire` leaves it."""
    room = _in_the_way(person, wish, now)
    if not room:
        kind = FIRM if wish.firm else HOLDS
        return room, Place(kind, wish.mark, now, now + wish.lease, wish.priority, wish.since)
    pause = max(full.wait for full in room)
    if not (wish.waits and (wish.firm or pause)):
        return room, None
    until = now + pause
    return room, Place(WAITS, wish.mark, now, until, wish.priority, wish.since)


def _in_the_way(person: Person, wish: Ask, now: int) -> Room:
    most = len(person.sends) + len(person.places)
    if most < min([bound.rate.count for bound in wish.bounds], default=most + 1):
        return ()  # most people, at once
    own = person.places.get(wish.token)
    had = own is not None and own.kind != WAITS
    others = [place for token, place in person.places.items() if token != wish.token and _counts(place, wish, now, had)]
    found = (_full(number, bound, person.sends, others, now) for number, bound in enumerate(wish.bounds))
    return tuple(full for full in found if full is not None)


def _counts(place: Place, wish: Ask, now: int, had: bool) -> bool:
    """Does it stand in the way? Of those who wait, who goes before; none of them before who `had` a place."""
    if place.kind != WAITS:
        return True
    return not had and place.until <= now < place.until + GRACE and _turn(place) < (-wish.priority, wish.since)


def _turn(place: Place) -> tuple[int, int]:
    return -place.priority, place.since


def _full(number: int, bound: Bound, sends: list[Send], others: list[Place], now: int) -> Full | None:
    rate, zone, marks = bound
    begin, end = window(rate, zone, now)
    used = [send for send in sends if send[0] >= begin and send[1] in marks]
    there = [place for place in others if place.mark in marks]
    if len(used) + len(there) < rate.count:
        return None
    wait = 0
    excess = len(used) - rate.count
    if excess >= 0 and rate.count:
        wait = end - now if rate.calendar else (sorted(used)[excess][0] + 1 + rate.window) * 1000 - now
    by_mark = Counter([mark for _, mark in used] + [place.mark for place in there if place.kind != WAITS])
    return Full(number, wait, tuple(sorted(by_mark.items())))


def window(rate: Rate, timezone: str, now: int) -> tuple[int, int]:
    """The first second whose sends count at `now`, and of a calendar window its end in ms."""
    if not rate.calendar:
        return now // 1000 - rate.window, 0
    zone = ZoneInfo(timezone)
    return _calendar(rate, zone, limits.slot_of(rate, now, zone))


@lru_cache(maxsize=256)
def _calendar(rate: Rate, zone: tzinfo, slot: int) -> tuple[int, int]:
    return limits.expiry(rate, slot - 1, zone) // 1000, limits.expiry(rate, slot, zone)


def expire(person: Person, now: int) -> bool:
    """What came of places whose lease is over, and of those who did not come again. True: some of them are sends now."""
    sent = False
    for token, place in [*person.places.items()]:
        if now < place.until + (GRACE if place.kind == WAITS else 0):
            continue
        del person.places[token]
        if place.kind == FIRM:
            person.sends.append((place.at // 1000, place.mark))
            sent = True
    return sent


def still(sends: Iterable[Send], now: int, keep: int) -> list[Send]:
    """Those of the last `keep` seconds, the older first."""
    oldest = now // 1000 - keep
    return sorted(send for send in sends if send[0] >= oldest)


def missing(sends: Iterable[Send], known: Iterable[Send]) -> list[Send]:
    """What of `known` is not among `sends`; a send is the same where its second is told NEAR enough."""
    left = [*sends]
    lost = []
    for at, mark in known:
        same = next((send for send in left if send[1] == mark and abs(send[0] - at) <= NEAR), None)
        if same is not None:
            left.remove(same)
        else:
            lost.append((at, mark))
    return lost
