"""One shard's file, synchronously: changes as rows, a batch of them as one transaction, room, size, what errors mean.

Each SQLite call gives up Python's lock and must win it back from a busy loop, so a batch takes a handful of statements
with many rows each, not a statement a row.
"""

import asyncio
import errno
import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import apsw
import orjson
import structlog

from relay.spool import rows, schema

log = structlog.get_logger()

ROWS_A_STATEMENT = 64  # rows of one INSERT; more gain nothing, and each number is a prepared statement in the cache
PAGES_TOUCHED = 8 * 8192  # beside the changes' own bytes: one page of each table, index and list, at the least
PROBE_BYTES = 1 << 20  # what must fit before new mail is taken again, so that health does not flap on the last page
VACUUM_FREE = 32 << 20  # a file is rebuilt once this much of it is free ...
VACUUM_LIVE = 16 << 20  # ... and no more than this is in use: 16 MB are copied in a fraction of a second


def _insert(table: str, columns: Sequence[str], count: int) -> str:
    values = "(" + ",".join("?" * len(columns)) + ")"
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join([values] * count)}"  # noqa: S608 - our own names


@cache
def _insert_messages(count: int) -> str:
    return _insert("message", rows.MESSAGE_COLUMNS, count)


@cache
def _insert_recipients(count: int) -> str:
    return _insert("recipient", rows.RECIPIENT_COLUMNS, count)


_UPDATE_AGAIN = """
UPDATE recipient SET
       next_attempt = a.value ->> 2, attempts = a.value ->> 3, held = a.value ->> 4, quota = a.value ->> 5,
       warned = a.value ->> 6, source = a.value ->> 7, last_reply = a.value ->> 8,
       pool = a.value ->> 9, freed = a.value ->> 10
  FROM json_each(?) AS a WHERE message = a.value ->> 0 AND idx = a.value ->> 1
"""


@cache
def _insert_sent(count: int) -> str:
    return _insert("sent", rows.SENT_COLUMNS, count).replace("INSERT", "INSERT OR REPLACE", 1)


_FORGET = "DELETE FROM sent WHERE (id, idx) IN (SELECT id, idx FROM sent WHERE id < ? ORDER BY id LIMIT ?)"
FORGET_ROWS = 1_000  # in one go: some ms of the thread's time
_DELETE_RECIPIENTS = (
    f"DELETE FROM recipient WHERE (message, idx) IN "  # noqa: S608 - our own numbers
    f"(SELECT value >> {rows.INDEX_BITS}, value & {(1 << rows.INDEX_BITS) - 1} FROM carray(?))"
)
_DELETE_SINGLE = "DELETE FROM message WHERE row IN (SELECT value FROM carray(?))"
_DELETE_EMPTY = f"{_DELETE_SINGLE} AND NOT EXISTS (SELECT 1 FROM recipient WHERE message = row)"  # noqa: S608


@dataclass(slots=True, eq=False)
class Write:
    """One change, as rows.

    patient   kept and tried again while there is no room (outcomes), not refused (new mail)
    finished  packed keys of recipients; singles: their messages that have no other; shared: those that may have
    export    sequence, file, offset: the outbox is exported up to there
    effects   lines for the table of effects; told: State has been told of those up to this sequence
    sent      rows of what may come back; heard: (bit, id, index) of what has; forget: those whose ids are before this one go
    unsent    (id, index) of those that go by themselves
    """

    future: asyncio.Future[Any]
    patient: bool
    size: int = 0
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    recipients: list[tuple[Any, ...]] = field(default_factory=list)
    again: list[list[Any]] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    singles: list[int] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)
    lines: bytes = b""
    export: tuple[int, str, int] | None = None
    effects: bytes = b""
    told: int = 0
    sent: list[tuple[Any, ...]] = field(default_factory=list)
    heard: list[tuple[int, str, int]] = field(default_factory=list)
    forget: str = ""
    unsent: list[tuple[str, int]] = field(default_factory=list)


class Fault(Enum):
    FULL = "full"  # no room: passes by itself
    OURS = "ours"  # one write brought it: a value SQLite cannot hold
    FATAL = "fatal"  # unknown what is on the disk


def fault_of(error: BaseException, system_errno: int = 0) -> Fault:
    """What an exception of a transaction means. The unknown is fatal: only what is understood is survived."""
    if isinstance(error, apsw.FullError):
        return Fault.FULL
    if isinstance(error, apsw.IOError):
        over_quota = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_WRITE and system_errno == errno.EDQUOT
        return Fault.FULL if over_quota else Fault.FATAL
    if isinstance(
        error, apsw.ConstraintError | apsw.TooBigError | apsw.MismatchError | TypeError | ValueError | OverflowError
    ):
        return Fault.OURS
    return Fault.FATAL


class Shard:
    """The open file of one shard, for one thread. Methods raise what SQLite raises; `fault` says what it means."""

    def __init__(self, path: Path, vfs: str = "") -> None:
        """Takes the lock and opens. Raises SpoolBusy, DatabaseError, apsw.Error or OSError."""
        self._path = path
        self.written = 0  # bytes of changes since the last checkpoint
        self.shrinks = True  # something was deleted since the last `shrink`, or may have been before we opened
        self._lock = schema.take_lock(path)
        try:
            self.db = schema.connect(path, vfs)
        except BaseException:
            os.close(self._lock)
            raise

    def __repr__(self) -> str:
        return f"<Shard {self._path}, {self.written} bytes since the last checkpoint>"

    def fault(self, error: BaseException) -> Fault:
        return fault_of(error, self.db.system_errno)

    def highest_row(self) -> int:
        return int(self.db.execute("SELECT ifnull(max(row), 0) FROM message").get)

    def transact(self, writes: Sequence[Write]) -> None:
        """All of `writes` in one transaction, durable when this returns; or none."""
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        try:
            _apply(db, writes)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self.written += PAGES_TOUCHED
        for write in writes:
            self.written += write.size
            if write.finished or write.export or write.told:
                self.shrinks = True

    def room(self) -> bool:
        """Does something of the size of a message fit?"""
        try:
            with self.db:
                self.db.execute("INSERT INTO probe VALUES (zeroblob(?))", (PROBE_BYTES,))
            with self.db:
                self.db.execute("DELETE FROM probe")
        except apsw.Error as error:
            if self.fault(error) is Fault.FATAL:
                raise
            return False
        return True

    def checkpoint(self) -> None:
        """Moves the WAL into the file, so that it starts again at its beginning. No room for that is no fault."""
        self.written = 0
        try:
            self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            if self.fault(error) is Fault.FATAL:
                raise

    def shrink(self) -> None:
        """Rebuilds a file that is nearly all free pages: SQLite never gives them back by itself."""
        self.shrinks = False
        page = self.db.pragma("page_size")
        free = self.db.pragma("freelist_count") * page
        live = self.db.pragma("page_count") * page - free
        if free < VACUUM_FREE or live > VACUUM_LIVE:
            return
        try:
            self.db.execute("VACUUM")
            self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            if self.fault(error) is Fault.FATAL:
                raise
            log.warning("spool file not shrunk", path=str(self._path), error=str(error))
        else:
            log.info("spool file shrunk", path=str(self._path), freed=free)

    def close(self) -> None:
        self.db.close()
        os.close(self._lock)

    def abandon(self) -> None:
        """Closes without touching the file again: its WAL is read afresh by whoever opens it next."""
        self.db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.db.close(True)
        os.close(self._lock)


def _apply(db: apsw.Connection, writes: Sequence[Write]) -> None:
    """The statements of one batch: put, again, finished, events, what may come back, marks; in this order."""
    _insert_all(db, _insert_messages, [row for write in writes for row in write.messages])
    _insert_all(db, _insert_recipients, [row for write in writes for row in write.recipients])
    again = {(row[0], row[1]): row for write in writes for row in write.again}  # the later word on a recipient counts
    if again:
        db.execute(_UPDATE_AGAIN, (orjson.dumps(list(again.values())).decode(),))
    _delete(db, _DELETE_RECIPIENTS, [key for write in writes for key in write.finished])
    _delete(db, _DELETE_SINGLE, [row for write in writes for row in write.singles])
    _delete(db, _DELETE_EMPTY, [row for write in writes for row in write.shared])
    lines = b"".join([write.lines for write in writes])
    if lines:
        db.execute("INSERT INTO outbox (lines) VALUES (?)", (lines,))
    effects = b"".join([write.effects for write in writes])
    if effects:
        db.execute("INSERT INTO effect (lines) VALUES (?)", (effects,))
    _insert_all(db, _insert_sent, [row for write in writes for row in write.sent])
    for write in writes:
        if write.heard:
            db.executemany("UPDATE sent SET heard = heard | ? WHERE id = ? AND idx = ?", write.heard)
        if write.forget:
            db.execute(_FORGET, (write.forget, FORGET_ROWS))
        if write.unsent:
            db.executemany("DELETE FROM sent WHERE id = ? AND idx = ?", write.unsent)
        if write.told:
            db.execute("DELETE FROM effect WHERE sequence <= ?", (write.told,))
        if write.export is not None:
            sequence, file, offset = write.export
            db.execute("DELETE FROM outbox WHERE sequence <= ?", (sequence,))
            db.execute("UPDATE export SET file = ?, offset = ?", (file, offset))


def _insert_all(db: apsw.Connection, statement: Callable[[int], str], table: list[tuple[Any, ...]]) -> None:
    for start in range(0, len(table), ROWS_A_STATEMENT):
        part = table[start : start + ROWS_A_STATEMENT]
        db.execute(statement(len(part)), tuple(chain.from_iterable(part)))


def _delete(db: apsw.Connection, statement: str, keys: list[int]) -> None:
    if keys:  # carray takes no empty array
        db.execute(statement, (apsw.carray(array("q", keys)),))
