"""Facts of people in SQLite: one row a person, found by his key; what is asked of it runs in a transaction of SqliteState."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

# Keys are random, so the table is its own index, and one look at its pages finds a person among fifty million.
TABLE = """
    CREATE TABLE known (
        key BLOB NOT NULL PRIMARY KEY,
        facts TEXT NOT NULL
    ) WITHOUT ROWID;
"""


def tell(db: Any, key: bytes, facts: Mapping[str, str | None]) -> None:
    """A person of whom nothing is known any more has no row."""
    known = facts_of(db, key)
    for name, text in facts.items():
        if text is None:
            known.pop(name, None)
        else:
            known[name] = text
    if known:
        db.execute("INSERT OR REPLACE INTO known VALUES (?, ?)", (key, orjson.dumps(known).decode()))
    else:
        db.execute("DELETE FROM known WHERE key = ?", (key,))


def told(db: Any, keys: Sequence[bytes]) -> list[dict[str, str]]:
    return [facts_of(db, key) for key in keys]


def facts_of(db: Any, key: bytes) -> dict[str, str]:
    row = db.execute("SELECT facts FROM known WHERE key = ?", (key,)).fetchone()
    return orjson.loads(row[0]) if row is not None else {}


def everyone(db: Any, after: bytes, limit: int) -> tuple[list[tuple[bytes, dict[str, str]]], str]:
    """In the order of their keys; the cursor is the last one."""
    rows = db.execute("SELECT key, facts FROM known WHERE key > ? ORDER BY key LIMIT ?", (after, limit)).fetchall()
    page = [(key, orjson.loads(facts)) for key, facts in rows]
    return page, page[-1][0].hex() if len(page) == limit else ""
