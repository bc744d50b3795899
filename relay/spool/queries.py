"""The reads of a shard: due mail, lanes, pages for commands, counts, the outbox. Each runs in the committer's thread.

A read must not hold up commits, so it is bounded (pages of a fixed number of rows) and comes back as one packed row:
SQLite gives up Python's lock at each row it returns, and winning it back from a busy loop takes longer than the row.
"""

from array import array
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import orjson

from relay.clue import BITS, Sought, clue, same
from relay.message import HELD, RUNAWAY, Delivery, LaneKey, MailClass, Message
from relay.spool import rows
from relay.wildcard import AnyOf, sqlite_glob

Key = tuple[int, int]

KEYS_A_LOOK = 512  # keys of due mail read at a time; those already in memory are passed over
SCAN = 2_000  # recipients a page looks at between two commits: some milliseconds ...
FREE_PATTERN = 64  # ... with patterns of so many characters in all; of longer ones proportionally fewer recipients
LANES_NAMED = 200  # in counts: what metrics name (relay/web/metrics.py); a million of them would not fit into an answer
OTHERS = "other"  # the site under which metrics count the rest
OUTBOX_ROWS = 4_096  # commits exported at a time, at most

# Both aggregates see the rows in the same order, so the heads can be cut out of their concatenation by their lengths.
_PACKED = """
SELECT json_group_array(json_array(r.message, m.id, m.accepted_at, json(m.facts),
           json_array(r.idx, r.site, r.next_attempt, r.attempts, r.held, r.quota, r.warned, r.source, r.last_reply,
               json(r.facts), r.pool, r.freed),
           length(r.head))),
       CAST(group_concat(r.head, '') AS BLOB)
"""

_END = "SELECT message, idx"

_SENT_AS = """
SELECT id, idx, facts FROM sent WHERE clue > 0 AND clue IN (SELECT value FROM carray(?)) ORDER BY clue DESC, id DESC
"""
# There is no index by recipient: asked once for a person who wants to know, or to be forgotten.
_SENT_PAGE = "SELECT * FROM (SELECT id, idx, facts, heard FROM sent WHERE (id, idx) > (?, ?) ORDER BY id, idx LIMIT ?)"
_SENT_END = "SELECT id, idx FROM sent WHERE (id, idx) > (?, ?) ORDER BY id, idx LIMIT 1 OFFSET ?"
_GENERATIONS = "SELECT (SELECT min(clue) FROM sent WHERE clue > 0), (SELECT max(clue) FROM sent WHERE clue > 0)"

_DUE_KEYS = """
SELECT json_group_array(json_array(next_attempt, message, idx)) FROM (
    SELECT next_attempt, message, idx FROM recipient
     WHERE held = 0 AND class = ?1 AND turn = ?2 AND site = ?3 AND stream = ?4 AND next_attempt <= ?5
       AND (next_attempt, message, idx) > (?6, ?7, ?8)
     ORDER BY next_attempt, message, idx LIMIT ?9)
"""

_BY_KEYS = (
    _PACKED
    + """
  FROM json_each(?) AS k CROSS JOIN recipient AS r CROSS JOIN message AS m
 WHERE r.message = k.value ->> 0 AND r.idx = k.value ->> 1 AND m.row = r.message
"""
)

# A skip-scan: from each lane straight to the first row of the next, whatever waits in between. Behind a lane, or from the
# first one on. The time beyond all times makes the search go past the lane: without it SQLite reads all its rows.
_NEXT_LANE = """
SELECT json_array(turn, site, stream, next_attempt) FROM recipient
 WHERE held = 0 AND class = ?1 {behind} ORDER BY turn, site, stream, next_attempt LIMIT 1
"""
_BEHIND = "AND (turn, site, stream, next_attempt) > ({}, {}, {}, 9223372036854775807)"
_LANES, _FIRST_LANES = (
    f"""
WITH RECURSIVE lane (first, number) AS (
    SELECT ({_NEXT_LANE.format(behind=behind)}), 1
    UNION ALL
    SELECT ({_NEXT_LANE.format(behind=_BEHIND.format("first ->> 0", "first ->> 1", "first ->> 2"))}), number + 1
      FROM lane WHERE first IS NOT NULL AND number < ?2)
SELECT json_group_array(json(first)) FROM lane WHERE first IS NOT NULL
"""  # noqa: S608 - our own words
    for behind in (_BEHIND.format("?3", "?4", "?5"), "")
)

# The same walk, of each lane the row that has been due the longest: those that are overdue, and the last lane walked to.
_NEXT_HEAD = """
SELECT json_array(turn, site, stream, next_attempt, message, idx) FROM recipient
 WHERE held = 0 AND class = ?1 {behind} ORDER BY turn, site, stream, next_attempt, message, idx LIMIT 1
"""
_OVERDUE, _FIRST_OVERDUE = (
    f"""
WITH RECURSIVE lane (first, number) AS (
    SELECT ({_NEXT_HEAD.format(behind=behind)}), 1
    UNION ALL
    SELECT ({_NEXT_HEAD.format(behind=_BEHIND.format("first ->> 0", "first ->> 1", "first ->> 2"))}), number + 1
      FROM lane WHERE first IS NOT NULL AND number < ?2),
walked (first, number) AS MATERIALIZED (SELECT first, number FROM lane WHERE first IS NOT NULL)
SELECT json_object('walked', (SELECT count(*) FROM walked),
                   'last', json((SELECT first FROM walked ORDER BY number DESC LIMIT 1)),
                   'heads', json((SELECT json_group_array(json(first)) FROM walked WHERE first ->> 3 < ?6)))
"""  # noqa: S608 - our own words
    for behind in (_BEHIND.format("?3", "?4", "?5"), "")
)

# The inner sum is in the order of the index, so that only as many groups as there are lanes must be sorted.
_COUNTS = """
SELECT (SELECT json_group_array(json_array(class, site, stream, n, due, first)) FROM
           (SELECT class, site, stream, sum(n) AS n, sum(due) AS due, min(first) AS first FROM
               (SELECT class, turn, site, stream, count(*) AS n, sum(next_attempt <= ?2) AS due, min(next_attempt) AS first
                  FROM recipient WHERE held = 0 GROUP BY class, turn, site, stream)
             GROUP BY class, site, stream ORDER BY n DESC, class, site, stream LIMIT ?1)),
       (SELECT json_group_array(json_array(class, n, due, first)) FROM
           (SELECT class, count(*) AS n, sum(next_attempt <= ?2) AS due, min(next_attempt) AS first
              FROM recipient WHERE held = 0 GROUP BY class)),
       (SELECT json_group_array(json_array(held, n)) FROM
           (SELECT held, count(*) AS n FROM recipient WHERE held > 0 GROUP BY held)),
       (SELECT accepted_at FROM message ORDER BY row LIMIT 1)
"""

# A skip-scan: from each suspension that holds something to the next.
_HOLDING = """
WITH RECURSIVE one (id) AS (
    SELECT (SELECT held FROM recipient WHERE held > 1 ORDER BY held LIMIT 1)
    UNION ALL
    SELECT (SELECT held FROM recipient WHERE held > 1 AND held > one.id ORDER BY held LIMIT 1) FROM one
     WHERE id IS NOT NULL)
SELECT json_group_array(json_array(id, (SELECT count(*) FROM recipient WHERE held > 1 AND held = one.id)))
  FROM one WHERE id IS NOT NULL
"""

_OUTBOX = """
SELECT max(sequence), CAST(group_concat(lines, '') AS BLOB) FROM (
    SELECT sequence, lines, sum(length(lines)) OVER (ORDER BY sequence) - length(lines) AS before
      FROM (SELECT sequence, lines FROM outbox ORDER BY sequence LIMIT ?2)
     ORDER BY sequence)
 WHERE before < ?1
"""

_EFFECTS = """
SELECT max(sequence), CAST(group_concat(lines, '') AS BLOB), count(*) = ?1
  FROM (SELECT sequence, lines FROM effect ORDER BY sequence LIMIT ?1)
"""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which mail a command means: all that is given must hold; None asks nothing.

    older_than  age in ms since accept     suspended  the id of what holds it
    """

    id: str | None = None
    recipient: AnyOf | None = None
    domain: AnyOf | None = None
    site: AnyOf | None = None
    credential: AnyOf | None = None
    brand: AnyOf | None = None
    stream: AnyOf | None = None
    campaign: AnyOf | None = None
    classes: frozenset[MailClass] | None = None
    held: bool | None = None
    older_than: int | None = None
    suspended: int | None = None

    @property
    def among(self) -> str:
        """SQL over table recipient that an index answers: nothing else is looked at."""
        held = "held > 0" if self.held else "1"
        if self.suspended is not None:
            held = "held > 1 AND held = :suspended"
        return held if self.id is None else f"{held} AND message IN (SELECT row FROM message WHERE id = :id)"  # noqa: S608

    @property
    def conditions(self) -> str:
        """SQL over recipient r and message m. What is quick to tell comes first."""
        parts = ["1"]
        if self.classes is not None:
            parts.append(f"r.class IN ({', '.join(str(int(one)) for one in sorted(self.classes))})")
        if self.held is not None:
            parts.append("r.held > 0" if self.held else "r.held = 0")
        if self.older_than is not None:
            parts.append("m.accepted_at <= :accepted_by")
        for name, patterns in self._texts():
            globs = [f"{_TEXTS[name]} GLOB :{name}_{number}" for number in range(len(patterns))]
            parts.append(f"({' OR '.join(globs)})")
        return " AND ".join(parts)

    @property
    def look(self) -> int:
        """How many recipients may be looked at between two commits."""
        characters = sum(len(pattern) for _, patterns in self._texts() for pattern in patterns)
        return SCAN * FREE_PATTERN // max(FREE_PATTERN, characters) or 1

    def values(self, now: int) -> dict[str, Any]:
        """What `among` and `conditions` name with a colon."""
        values: dict[str, Any] = {
            "id": self.id,
            "suspended": self.suspended,
            "accepted_by": now - (self.older_than or 0),
        }
        for name, patterns in self._texts():
            values |= {f"{name}_{number}": sqlite_glob(pattern) for number, pattern in enumerate(patterns)}
        return values

    def _texts(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(name, wanted.patterns) for name in _TEXTS if (wanted := getattr(self, name)) is not None]


_TEXTS = {
    "site": "r.site",
    "recipient": "r.facts ->> 0",
    "domain": "r.facts ->> 1",
    "credential": "m.facts ->> 'credential'",
    "brand": "m.facts ->> 'brand'",
    "stream": "m.facts ->> 'stream'",
    "campaign": "m.facts ->> 'campaign'",
}


def due(db: apsw.Connection, lane: LaneKey, now: int, limit: int, known: Container[Key]) -> list[Delivery]:
    """The earliest `limit` deliveries of a lane that are due and not known, oldest appointment first."""
    keys: list[Key] = []
    mail_class, site, stream, priority = lane
    after = [-1, -1, -1]
    while len(keys) < limit:
        found = _loads(db, _DUE_KEYS, [mail_class.value, -priority, site, stream, now, *after, KEYS_A_LOOK])
        keys += [(row, index) for _, row, index in found if (row, index) not in known]
        if len(found) < KEYS_A_LOOK:
            break
        after = found[-1]
    if not keys:
        return []
    deliveries = _deliveries(db, _BY_KEYS, [orjson.dumps(keys[:limit]).decode()])
    return sorted(deliveries, key=lambda delivery: (delivery.next_attempt, *delivery.key))


def lanes(db: apsw.Connection, mail_class: MailClass, after: LaneKey | None, limit: int) -> list[tuple[LaneKey, int]]:
    """At most `limit` lanes of the class behind `after` with waiting mail, by priority (the highest first), site and stream,
    each with its earliest time."""
    values: list[Any] = [mail_class.value, limit]
    if after is not None:
        _, site, stream, priority = after
        values += [-priority, site, stream]
    found = _loads(db, _FIRST_LANES if after is None else _LANES, values)
    return [((mail_class, site, stream, -turn), at) for turn, site, stream, at in found]


def overdue(
    db: apsw.Connection, mail_class: MailClass, after: LaneKey | None, before: int, limit: int
) -> tuple[list[tuple[LaneKey, int, Key]], LaneKey | None]:
    """Of the next `limit` lanes of the class those with mail that was due before `before`: when and which was the first; and
    the last of these lanes, None where there is none behind them."""
    _, site, stream, priority = after or (mail_class, "", "", 0)
    values = (mail_class.value, limit, -priority, site, stream, before)
    found = orjson.loads(db.execute(_FIRST_OVERDUE if after is None else _OVERDUE, values).get)
    heads = [((mail_class, head[1], head[2], -head[0]), head[3], (head[4], head[5])) for head in found["heads"]]
    if found["walked"] < limit:
        return heads, None
    turn, site, stream, *_ = found["last"]
    return heads, (mail_class, site, stream, -turn)


def content(db: apsw.Connection, row: int) -> bytes:
    found: bytes | None = db.execute("SELECT content FROM message WHERE row = ?", (row,)).get
    if found is None:
        raise LookupError(f"message {row} has left the spool")
    return found


def scan(
    db: apsw.Connection, selector: Selector, now: int, after: Key, limit: int
) -> tuple[list[Delivery], Key | None]:
    """At most `limit` matches among the next recipients, as many as one look takes, and the last key looked at; None:
    that was the end."""
    among = f"SELECT * FROM recipient WHERE {selector.among} AND (message, idx) > (:row, :idx)"  # noqa: S608
    values = {**selector.values(now), "row": after[0], "idx": after[1], "limit": limit, "skip": selector.look - 1}
    last: Key | None = db.execute(f"{_END} FROM ({among}) ORDER BY message, idx LIMIT 1 OFFSET :skip", values).get
    if last is not None:
        among += " AND (message, idx) <= (:last_row, :last_idx)"
        values |= {"last_row": last[0], "last_idx": last[1]}
    matches = f"""
        SELECT r.* FROM ({among}) AS r JOIN message AS m ON m.row = r.message
         WHERE {selector.conditions} ORDER BY r.message, r.idx LIMIT :limit"""  # noqa: S608 - only our own words
    return _deliveries(db, f"{_PACKED} FROM ({matches}) AS r JOIN message AS m ON m.row = r.message", values), last


def counts(db: apsw.Connection, now: int) -> dict[str, Any]:
    """waiting, held (for whatever reason): recipients; suspended: of these by suspension; guarded: as runaways; oldest: when the
    oldest message was accepted, or None; lanes: waiting of each (class, site, stream), for the LANES_NAMED longest, and under
    (class, OTHERS, OTHERS) in the rest of a class; due: of each of these how many are due at `now`, and when the first is."""
    longest, by_class, kept, oldest = db.execute(_COUNTS, (LANES_NAMED, now)).get
    held = dict(orjson.loads(kept))
    each: dict[tuple[MailClass, str, str], int] = {}
    due: dict[tuple[MailClass, str, str], tuple[int, int]] = {}
    for number, site, stream, n, ready, first in orjson.loads(longest):
        lane = MailClass(number), site, stream
        each[lane], due[lane] = n, (ready, first)
    classes = [(MailClass(number), *rest) for number, *rest in orjson.loads(by_class)]
    for mail_class, n, ready, first in classes:
        rest = n - sum(count for lane, count in each.items() if lane[0] is mail_class)
        if rest:
            known = sum(number for lane, (number, _) in due.items() if lane[0] is mail_class)
            lane = mail_class, OTHERS, OTHERS
            before = due.get(lane, (0, first))
            each[lane], due[lane] = each.get(lane, 0) + rest, (before[0] + ready - known, min(before[1], first))
    return {
        "waiting": sum(n for _, n, *_ in classes),
        "held": sum(held.values()),
        "guarded": held.get(RUNAWAY, 0),
        "suspended": {by: n for by, n in held.items() if by not in (HELD, RUNAWAY)},
        "oldest": oldest,
        "lanes": each,
        "due": due,
    }


def holding(db: apsw.Connection) -> dict[int, int]:
    """Of each suspension that holds something here, how much."""
    return {by: n for by, n in _loads(db, _HOLDING, []) if by != RUNAWAY}


def outbox(db: apsw.Connection, limit_bytes: int) -> tuple[int, bytes] | None:
    """The earliest commits' events, whole commits, at least one and none that begins beyond `limit_bytes`."""
    sequence, lines = db.execute(_OUTBOX, (limit_bytes, OUTBOX_ROWS)).get
    return None if sequence is None else (sequence, lines)


def effects(db: apsw.Connection, commits: int) -> tuple[int, bytes, bool] | None:
    """Those of the earliest commits; are there so many that others may wait behind them?"""
    sequence, lines, full = db.execute(_EFFECTS, (commits,)).get
    return None if sequence is None else (sequence, lines, bool(full))


def sent(db: apsw.Connection, identifier: str, index: int) -> tuple[Delivery, int] | None:
    """What left under this id, and which reports of it were heard."""
    found = db.execute("SELECT facts, heard FROM sent WHERE id = ? AND idx = ?", (identifier, index)).fetchone()
    return (rows.sent_of(identifier, index, found[0]), found[1]) if found is not None else None


def sent_as(db: apsw.Connection, sought: Sought) -> tuple[str, int] | None:
    """Id and index of what left with this Message-ID to this address: of several the last."""
    found_by = clue(*sought)
    first, last = db.execute(_GENERATIONS).get
    if not found_by or first is None:
        return None
    clues = array("q", [generation << BITS | found_by for generation in range(first >> BITS, (last >> BITS) + 1)])
    for identifier, index, packed in db.execute(_SENT_AS, (apsw.carray(clues),)):
        delivery = rows.sent_of(identifier, index, packed)
        if same(delivery.message.message_id, delivery.recipient, sought):
            return identifier, index
    return None


def generation(db: apsw.Connection) -> int:
    """The one that is to be begun: no other is as late."""
    last = db.execute(_GENERATIONS).get[1]
    return (last >> BITS) + 1 if last is not None else 0


def sent_to(
    db: apsw.Connection, signs: Sequence[str], after: tuple[str, int], scanned: int
) -> tuple[list[tuple[Delivery, int]], tuple[str, int] | None]:
    """Of the next rows behind `after`, `scanned` at most, those in which one of the `signs` (in lower case) stands, with what was
    heard of them; where the next ones begin, None: there are none."""
    end = db.execute(_SENT_END, (*after, scanned - 1)).fetchone()
    holds = " OR ".join("instr(lower(facts), ?)" for _ in signs)
    statement = f"{_SENT_PAGE} WHERE {holds}"
    found = [
        (rows.sent_of(identifier, index, packed), heard)
        for identifier, index, packed, heard in db.execute(statement, (*after, scanned, *signs))
    ]
    return found, end


def sent_before(db: apsw.Connection, before: str) -> bool:
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM sent WHERE id < ?)", (before,)).get)


def export_mark(db: apsw.Connection) -> tuple[str, int]:
    file, offset = db.execute("SELECT file, offset FROM export").get
    return file, offset


def _loads(db: apsw.Connection, sql: str, values: list[Any]) -> list[Any]:
    packed: list[Any] = orjson.loads(db.execute(sql, values).get)
    return packed


def _deliveries(db: apsw.Connection, sql: str, values: list[Any] | dict[str, Any]) -> list[Delivery]:
    packed, heads = db.execute(sql, values).get
    messages: dict[int, Message] = {}
    deliveries = []
    start = 0
    for row, identifier, accepted_at, facts, columns, length in orjson.loads(packed):
        message = messages.get(row)
        if message is None:
            message = messages[row] = rows.message_of(row, identifier, accepted_at, facts)
        deliveries.append(rows.delivery_of(message, columns, heads[start : start + length]))
        start += length
    return deliveries
