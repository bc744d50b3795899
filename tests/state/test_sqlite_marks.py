"""Marks of the embedded State: what has ended leaves the file, a part at a time."""

import apsw

from relay.state.marks import FIRST, Change
from relay.state.sqlite_marks import PARTS, SWEEP_EVERY, TABLE, mark, sweep

DAY = 86_400_000


def values(db: apsw.Connection) -> list[object]:
    return [value for (value,) in db.execute("SELECT value FROM mark")]


def test_what_has_ended_leaves_within_a_day_and_nothing_else_does() -> None:
    db = apsw.Connection(":memory:")
    db.execute(TABLE)
    keys = [n.to_bytes(2, "big") + b"\xff" * 10 for n in range(0, 1 << 16, 7)]
    mark(db, DAY, [Change(FIRST, key, b"short", 1000) for key in keys], 0)
    mark(db, DAY, [Change(FIRST, b"\0" + key[:11], b"long", DAY) for key in keys[:100]], 0)
    now = swept = 5 * SWEEP_EVERY
    assert sweep(db, now + SWEEP_EVERY - 1, swept) == swept
    swept = sweep(db, now + SWEEP_EVERY, swept)
    assert len(values(db)) >= len(keys) + 100 - 3
    for _ in range(PARTS):
        now += SWEEP_EVERY
        swept = sweep(db, now, swept)
    assert values(db) == [b"long"] * 100
    db.close()
