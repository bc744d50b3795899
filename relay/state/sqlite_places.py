"""Sends and places of people in the SQLite file of State, for the thread that has the connection; what they mean says
relay/state/places.py.

Keys are random, so each person's sends are on a page of their own, and each page that a transaction changes is written
whole. Places come and go three times a mail: they stand in a small table whose pages many share.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from relay.room import Ask, Room, Send, Settled, Standing
from relay.state import places
from relay.state.places import WAITS, Person, Place

TABLE = """
    CREATE TABLE got (                          -- 50 octets a person with four sends
        key BLOB PRIMARY KEY,
        sends BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE place (
        key BLOB PRIMARY KEY,
        places TEXT NOT NULL                    -- JSON: [token, *relay.state.places.Place], at least one
    ) WITHOUT ROWID;
"""
PAGE = 1_000  # people looked at in one transaction of the sweep: 2 ms

_READ = "SELECT (SELECT sends FROM got WHERE key = ?1), (SELECT places FROM place WHERE key = ?1)"
_GIVE_UP = "DELETE FROM place WHERE key = ? RETURNING places"
_GOT = "INSERT INTO got VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET sends = CAST(sends || excluded.sends AS BLOB)"
_CONSULT = f"{_READ}, (SELECT facts FROM known WHERE key = ?1)"  # noqa: S608


def reserve(db: Any, asks: Sequence[Ask], now: int) -> list[Room]:
    return [_reserve(db, wish, _read(db, wish.person), now) for wish in asks]


def consult(db: Any, asks: Sequence[Ask], now: int) -> list[tuple[dict[str, str], Room]]:
    """Facts of people stand in a table beside (sqlite_people.py): one look finds both."""
    found = []
    for wish in asks:
        *row, facts = db.execute(_CONSULT, (wish.person,)).fetchone()
        room = _reserve(db, wish, _person(*row), now)
        found.append((orjson.loads(facts) if facts is not None else {}, room))
    return found


def _reserve(db: Any, wish: Ask, person: Person, now: int) -> Room:
    if person.places and places.expire(person, now):
        _write_sends(db, wish.person, person)
    room, place = places.ask(person, wish, now)
    before = person.places.pop(wish.token, None)
    if place is not None:
        person.places[wish.token] = place
    if place is not None or before is not None:
        _write_places(db, wish.person, person)
    return room


def confirm(db: Any, tokens: Sequence[tuple[bytes, str]], until: int) -> None:
    """Their leases end no earlier."""
    for key, token in tokens:
        person = _read(db, key)
        place = person.places.get(token)
        if place is not None and place.kind != WAITS and place.until < until:
            person.places[token] = place._replace(until=until)
            _write_places(db, key, person)


def settle(db: Any, settled: Sequence[Settled]) -> None:
    """A send is put behind those that are there, unread; the sweep forgets what counts no more."""
    for key, token, at in settled:
        held = db.execute(_GIVE_UP, (key,)).fetchall()
        if not held:
            continue
        person = _person(None, held[0][0])
        place = person.places.pop(token, None)
        if person.places:  # of other mail, under way to him as well
            _write_places(db, key, person)
        if at and place is not None and place.kind != WAITS:
            db.execute(_GOT, (key, places.pack([(at, place.mark)])))


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
            _write_sends(db, key, person)


def sweep(db: Any, after: bytes, now: int, keep: int) -> bytes:
    """Forget what counts no more of the next people behind `after`; the last one looked at, b"" behind the last of all."""
    pages = [
        [key for (key,) in db.execute(f"SELECT key FROM {table} WHERE key > ? ORDER BY key LIMIT ?", (after, PAGE))]  # noqa: S608
        for table in ("got", "place")
    ]
    reached = min((page[-1] for page in pages if len(page) == PAGE), default=b"")
    for key in {key for page in pages for key in page if not reached or key <= reached}:
        person = _read(db, key)
        before = places.pack(person.sends), len(person.places)
        places.expire(person, now)
        person.sends = places.still(person.sends, now, keep)
        if places.pack(person.sends) != before[0]:
            _write_sends(db, key, person)
        if len(person.places) != before[1]:
            _write_places(db, key, person)
    return reached


def _read(db: Any, key: bytes) -> Person:
    return _person(*db.execute(_READ, (key,)).fetchone())


def _person(sends: bytes | None, held: str | None) -> Person:
    person = Person(places.unpack(sends) if sends is not None else [])
    if held is not None:
        person.places = {token: Place(*place) for token, *place in orjson.loads(held)}
    return person


def _write_sends(db: Any, key: bytes, person: Person) -> None:
    if person.sends:
        db.execute("INSERT OR REPLACE INTO got VALUES (?, ?)", (key, places.pack(person.sends)))
    else:
        db.execute("DELETE FROM got WHERE key = ?", (key,))


def _write_places(db: Any, key: bytes, person: Person) -> None:
    if person.places:
        held = orjson.dumps([(token, *place) for token, place in person.places.items()]).decode()
        db.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (key, held))
    else:
        db.execute("DELETE FROM place WHERE key = ?", (key,))
