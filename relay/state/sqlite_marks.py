"""Marks (relay/state/marks.py) in the embedded State: a row each, some 45 octets of the file, found by its key.

Rows that have ended are as good as gone, and are removed a part of the keys at a time: a look through all of them would hold
up whoever waits for the lock.
"""

from collections.abc import Sequence
from typing import Any

from relay.state.marks import FIRST, PUT, TAKE, Change, after, taken

TABLE = """
    CREATE TABLE mark (
        key BLOB PRIMARY KEY,
        value BLOB NOT NULL,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID;
"""

PARTS = 4096  # of all keys, by their first 12 bits: of 100 million marks 24,000, some 5 ms
SWEEP_EVERY = 20_000  # ms from one part to the next: through all of them in 23 hours

_PUT_FIRST = "INSERT INTO mark VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"
_PUT = "INSERT OR REPLACE INTO mark VALUES (?, ?, ?)"


def mark(db: Any, ttl_ms: int, changes: Sequence[Change], now: int) -> list[bytes]:
    """In the transaction of the caller. What stood there before."""
    return [_change(db, change, now + min(change.ms, ttl_ms), now) for change in changes]


def _change(db: Any, change: Change, expires: int, now: int) -> bytes:
    if change.what == FIRST:  # one statement where nothing is there, which is the rule
        db.execute(_PUT_FIRST, (change.key, change.value, expires))
        if db.changes():
            return b""
    found = db.execute("SELECT value, expires FROM mark WHERE key = ?", (change.key,)).fetchall()
    stands: bytes = found[0][0] if found and found[0][1] > now else b""
    if change.what == TAKE:
        left, answer = taken(change, stands, now)
        if not answer:
            db.execute(_PUT, (change.key, left, expires))
        return answer
    left = after(change, stands)
    if not left:
        db.execute("DELETE FROM mark WHERE key = ?", (change.key,))
    elif left != stands or change.what == PUT:
        db.execute(_PUT, (change.key, left, expires))
    return stands


def sweep(db: Any, now: int, swept: int) -> int:
    """Remove what has ended in one part of the keys, where it is time again. When it was done last (ms), for the next call."""
    if now < swept + SWEEP_EVERY:
        return swept
    part = now // SWEEP_EVERY % PARTS
    first, last = (part << 4).to_bytes(2, "big"), (part << 4 | 15).to_bytes(2, "big") + b"\xff" * 16
    db.execute("DELETE FROM mark WHERE key BETWEEN ? AND ? AND expires <= ?", (first, last, now))
    return now
