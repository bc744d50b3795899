"""Sends and places of people in the SQLite file of State: a row a person, 50 octets with four sends. For the thread that has
the connection; what they mean says relay/state/places.py.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from relay.room import Ask, Room, Send, Settled, Standing
from relay.state import places
from relay.state.places import WAITS, Person, Place

TABLE = """
    CREATE TABLE got (
        key BLOB PRIMARY KEY,
        sends BLOB NOT NULL,
        places TEXT                             -- JSON: [token, *relay.state.places.Place]; NULL: none
    ) WITHOUT ROWID;
"""
PAGE = 1_000  # people looked at in one transaction of the sweep: 2 ms


def reserve(db: Any, asks: Sequence[Ask], now: int) -> list[Room]:
    return [_reserve(db, wish, now) for wish in asks]


def _reserve(db: Any, wish: Ask, now: int) -> Room:
    person = _read(db, wish.person)
    if person.places:
        places.expire(person, now)
    room, place = places.ask(person, wish, now)
    before = person.places.pop(wish.token, None)
    if place is not None:
        person.places[wish.token] = place
    if place is not None or before is not None:
        _write(db, wish.person, person)
    return room


def confirm(db: Any, tokens: Sequence[tuple[bytes, str]], until: int) -> None:
    """Their leases end no earlier."""
    for key, token in tokens:
        person = _read(db, key)
        place = person.places.get(token)
        if place is not None and place.kind != WAITS and place.until < until:
            person.places[token] = place._replace(until=until)
            _write(db, key, person)


def settle(db: Any, settled: Sequence[Settled], now: int, keep: int) -> None:
    for key, token, at in settled:
        person = _read(db, key)
        place = person.places.pop(token, None)
        if place is None:
            continue
        if at and place.kind != WAITS:
            person.sends.append((at, place.mark))
            person.sends = places.still(person.sends, now, keep)
        _write(db, key, person)


def standing(db: Any, keys: Sequence[bytes], now: int) -> list[Standing]:
    found = []
    for key in keys:
        person = _read(db, key)
        places.expire(person, now)
        under_way = [place.mark for place in person.places.values() if place.kind != WAITS]
        found.append(Standing(tuple(sorted(person.sends)), tuple(sorted(under_way))))
    return found


def recall(db: Any, sends: Sequence[tuple[bytes, Sequence[Send]]]) -> None:
    for key, known in sends:
        person = _read(db, key)
        missing = places.missing(person.sends, known)
        if missing:
            person.sends = sorted([*person.sends, *missing])
            _write(db, key, person)


def sweep(db: Any, after: bytes, now: int, keep: int) -> bytes:
    """Forget what counts no more of the next people behind `after`; the last one looked at, b"" behind the last of all."""
    rows = db.execute("SELECT key, sends, places FROM got WHERE key > ? ORDER BY key LIMIT ?", (after, PAGE)).fetchall()
    for key, *row in rows:
        person = _person(*row)
        places.expire(person, now)
        person.sends = places.still(person.sends, now, keep)
        if (places.pack(person.sends), _packed(person.places)) != tuple(row):
            _write(db, key, person)
    return rows[-1][0] if len(rows) == PAGE else b""


def _read(db: Any, key: bytes) -> Person:
    row = db.execute("SELECT sends, places FROM got WHERE key = ?", (key,)).fetchone()
    return _person(*row) if row is not None else Person()


def _person(sends: bytes, text: str | None) -> Person:
    found = Person(places.unpack(sends))
    if text is not None:
        found.places = {token: Place(*place) for token, *place in orjson.loads(text)}
    return found


def _write(db: Any, key: bytes, person: Person) -> None:
    if person.sends or person.places:
        row = key, places.pack(person.sends), _packed(person.places)
        db.execute("INSERT OR REPLACE INTO got VALUES (?, ?, ?)", row)
    else:
        db.execute("DELETE FROM got WHERE key = ?", (key,))


def _packed(held: dict[str, Place]) -> str | None:
    return orjson.dumps([(token, *place) for token, place in held.items()]).decode() if held else None
