"""Sends and places of people in the SQLite file of State, in a transaction of the caller's; what they mean says
relay/state/places.py.

Keys are random, so each person's sends are on a page of their own, and each page that a transaction changes is written
whole. Places come and go three times a mail: they stand in a small table whose pages many share.
"""

from collections.abc import Mapping, Sequence
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

_READ = "SELECT ?1, (SELECT sends FROM got WHERE key = ?1), (SELECT places FROM place WHERE key = ?1)"
_HELD = "SELECT key, places FROM place WHERE key = ?"
_GOT = "INSERT INTO got VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET sends = CAST(sends || excluded.sends AS BLOB)"
_CONSULT = f"{_READ}, (SELECT facts FROM known WHERE key = ?1)"  # noqa: S608


def reserve(db: Any, asks: Sequence[Ask], now: int) -> list[Room]:
    people = _read(db, [wish.person for wish in asks])
    return _reserve(db, asks, people, now)


def consult(db: Any, asks: Sequence[Ask], now: int) -> list[tuple[dict[str, str], Room]]:
    """Facts of people stand in a table beside (sqlite_people.py): one look finds both."""
    rows = db.executemany(_CONSULT, [(wish.person,) for wish in asks]).fetchall()
    people = {key: _person(sends, held) for key, sends, held, _ in rows}
    rooms = _reserve(db, asks, people, now)
    return [
        (orjson.loads(facts) if facts is not None else {}, room) for (*_, facts), room in zip(rows, rooms, strict=True)
    ]


def _reserve(db: Any, asks: Sequence[Ask], people: Mapping[bytes, Person], now: int) -> list[Room]:
    """Who asks later sees what those before him were given."""
    rooms, sent, changed = [], {}, {}
    for wish in asks:
        person = people[wish.person]
        if person.places and places.expire(person, now):
            sent[wish.person] = changed[wish.person] = person
        room, place = places.ask(person, wish, now)
        before = person.places.pop(wish.token, None)
        if place is not None:
            person.places[wish.token] = place
        if place is not None or before is not None:
            changed[wish.person] = person
        rooms.append(room)
    _write_sends(db, sent)
    _write_places(db, changed)
    return rooms


def confirm(db: Any, tokens: Sequence[tuple[bytes, str]], until: int) -> None:
    """Their leases end no earlier."""
    people, changed = _read(db, [key for key, _ in tokens]), {}
    for key, token in tokens:
        person = people[key]
        place = person.places.get(token)
        if place is not None and place.kind != WAITS and place.until < until:
            person.places[token] = place._replace(until=until)
            changed[key] = person
    _write_places(db, changed)


def settle(db: Any, settled: Sequence[Settled]) -> None:
    """A send is put behind those that are there, unread; the sweep forgets what counts no more."""
    rows = db.executemany(_HELD, [(one.person,) for one in settled]).fetchall()
    people = {key: _person(None, held) for key, held in rows}
    got, changed = [], {}
    for key, token, at in settled:
        person = people.get(key)
        place = person.places.pop(token, None) if person is not None else None
        if person is None or place is None:
            continue
        changed[key] = person
        if at and place.kind != WAITS:
            got.append((key, places.pack([(at, place.mark)])))
    _write_places(db, changed)
    db.executemany(_GOT, got)


def standing(db: Any, keys: Sequence[bytes], now: int) -> list[Standing]:
    people, found = _read(db, keys), []
    for key in keys:
        person = people[key]
        places.expire(person, now)
        under_way = [place.mark for place in person.places.values() if place.kind != WAITS]
        found.append(Standing(tuple(sorted(person.sends)), tuple(sorted(under_way))))
    return found


def recall(db: Any, sends: Sequence[tuple[bytes, Sequence[Send]]]) -> None:
    people, changed = _read(db, [key for key, _ in sends]), {}
    for key, known in sends:
        person = people[key]
        missing = places.missing(person.sends, known)
        if missing:
            person.sends = sorted([*person.sends, *missing])
            changed[key] = person
    _write_sends(db, changed)


def sweep(db: Any, after: bytes, now: int, keep: int) -> bytes:
    """Forget what counts no more of the next people behind `after`; the last one looked at, b"" behind the last of all."""
    pages = [
        [key for (key,) in db.execute(f"SELECT key FROM {table} WHERE key > ? ORDER BY key LIMIT ?", (after, PAGE))]  # noqa: S608
        for table in ("got", "place")
    ]
    reached = min((page[-1] for page in pages if len(page) == PAGE), default=b"")
    people = _read(db, sorted({key for page in pages for key in page if not reached or key <= reached}))
    fewer, freed = {}, {}
    for key, person in people.items():
        before = places.pack(person.sends), len(person.places)
        places.expire(person, now)
        person.sends = places.still(person.sends, now, keep)
        if places.pack(person.sends) != before[0]:
            fewer[key] = person
        if len(person.places) != before[1]:
            freed[key] = person
    _write_sends(db, fewer)
    _write_places(db, freed)
    return reached


def _read(db: Any, keys: Sequence[bytes]) -> dict[bytes, Person]:
    """Each of them, also whom nobody knows."""
    return {key: _person(sends, held) for key, sends, held in db.executemany(_READ, [(key,) for key in keys])}


def _person(sends: bytes | None, held: str | None) -> Person:
    person = Person(places.unpack(sends) if sends is not None else [])
    if held is not None:
        person.places = {token: Place(*place) for token, *place in orjson.loads(held)}
    return person


def _write_sends(db: Any, people: Mapping[bytes, Person]) -> None:
    kept = [(key, places.pack(person.sends)) for key, person in people.items() if person.sends]
    db.executemany("INSERT OR REPLACE INTO got VALUES (?, ?)", kept)
    db.executemany("DELETE FROM got WHERE key = ?", [(key,) for key, person in people.items() if not person.sends])


def _write_places(db: Any, people: Mapping[bytes, Person]) -> None:
    held = [(key, _text(person)) for key, person in people.items() if person.places]
    db.executemany("INSERT OR REPLACE INTO place VALUES (?, ?)", held)
    db.executemany("DELETE FROM place WHERE key = ?", [(key,) for key, person in people.items() if not person.places])


def _text(person: Person) -> str:
    return orjson.dumps([(token, *place) for token, place in person.places.items()]).decode()
