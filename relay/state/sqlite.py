"""State in one SQLite file, shared by all worker processes of a node.

One thread per worker does what waits for the disk or may take long. What was asked for while a transaction ran, and what turns
of the loop bring one after the other, is done together in the next one, BEGIN IMMEDIATE: the write lock is held from the first
read, so no other process grants in between. The clock is read under that lock, so time goes forward from one transaction to the
next. What is quick is done in the loop's own thread, by a connection of its own, where the lock is free and the file was quick
of late, too: a change of threads there and back takes longer than such a transaction. It may overtake what waits for the thread.

Durability: what is granted must be on record before it is used. With WAL a commit survives the death of any process at
once. Quotas are promised exactly, through a loss of power too: who takes permits is told so after an fsync of the log.
Leases mean nothing after a loss of power, since the connections are gone: transactions with nothing else are not fsynced,
so that a connection does not cost a disk flush beside the spool's. SQLite would hold the write lock meanwhile
(synchronous=FULL); here it is given back first, and other workers write while this one waits for the disk. What they read
of it before it will last stands before their own in the log, so their fsync covers it.
"""

import asyncio
import contextlib
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import apsw
import structlog

from relay.database import DatabaseError, check_library, keep_plans, migrate
from relay.gather import Gather
from relay.identity import Rate
from relay.room import Ask, Room, Send, Settled, Standing
from relay.state import limits, sqlite_marks, sqlite_people, sqlite_places
from relay.state.interface import StateError
from relay.state.marks import Change

log = structlog.get_logger()

BATCH = 256  # requests in one transaction: about 5 ms with the lock held
GATHER = 32  # requests that are not held back for more: each turn of a busy loop may bring one
GATHER_SECONDS = 0.002  # nor longer than this: turns of a loop with large messages in hand are slow
BUSY_SECONDS = 5.0  # saturated by four processes, the lock was waited for 0.7 s at worst; beyond this something hangs
BUSY_NAP = 0.001  # s between two tries for the lock, on average: about a transaction's length
QUICK = 128  # people and marks that one transaction in the loop is about, at most: 1 ms
SLOW = 0.02  # seconds of the loop that a quick transaction may take: beyond that pages come from a disk, or it hangs
AWAY = 1.0  # seconds for which the thread does all of it then, and after a fault
REST = 50  # times as long as it took at least: of the loop's time a hundredth or two
LONG = 1_000  # pages of the log (SQLite's own measure) from which on it is to be moved into the file
MOVES = 0.02  # seconds in which the thread alone writes, or the log would never be moved to its end and begin anew
SWEEP_EVERY = 600_000  # ms between two removals of what no longer counts: keeps the file small, no decision needs it

MIGRATIONS: tuple[str, ...] = (
    # 1: what was granted of a rate in each slot, and who holds how many leases of what.
    """
    CREATE TABLE granted (
        key TEXT NOT NULL,
        slot INTEGER NOT NULL,
        count INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        PRIMARY KEY (key, slot)
    ) WITHOUT ROWID;
    CREATE TABLE lease (
        key TEXT NOT NULL,
        holder TEXT NOT NULL,
        count INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        PRIMARY KEY (key, holder)
    ) WITHOUT ROWID;
    CREATE INDEX lease_holder ON lease (holder);
    """,
    # 2: what all must know and nobody uses up: suspensions.
    """
    CREATE TABLE note (
        board TEXT NOT NULL,
        name TEXT NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (board, name)
    ) WITHOUT ROWID;
    """,
    # 3: what people got.
    sqlite_places.TABLE,
    # 4: what is known of mail that passed lately.
    sqlite_marks.TABLE,
    # 5: what is known of people.
    sqlite_people.TABLE,
)

_GRANT = (
    """INSERT INTO granted VALUES (?, ?, ?, ?) ON CONFLICT (key, slot) DO UPDATE SET count = count + excluded.count"""
)
_HELD = "SELECT coalesce(sum(count), 0), coalesce(min(expires), 9223372036854775807) FROM lease WHERE key = ?"
_LEASE = """INSERT INTO lease VALUES (?, ?, 1, ?)
    ON CONFLICT (key, holder) DO UPDATE SET count = count + 1, expires = excluded.expires"""


def clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


Action = Callable[[Any, int], Any]  # by which connection, and now


class Request(NamedTuple):
    """One question, asked in the loop. `durable`: it must outlive a loss of power. `quick`: how many people or marks it is about,
    where it need not, and takes little time for each; 0: it is the thread's."""

    action: Action
    answer: asyncio.Future[Any]
    durable: bool
    quick: int


class SqliteState:
    """The embedded backend of relay.state.interface.State."""

    def __init__(self, path: Path, clock: Callable[[], int] = clock) -> None:
        self.now = self.latest = clock
        self.sharers = 0  # the wiring knows how many workers this node has
        self.trouble = self.forgot = ""
        self._path = path
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._gathered: Gather[Request] = Gather(self._hand_over, GATHER_SECONDS, GATHER)  # soon among the requests
        self._thread: threading.Thread | None = None
        self._db: Any = None
        self._log = -1  # descriptor of the write-ahead log, once it is there
        self._unsafe = False  # an fsync of it has failed: what is there may not outlive a loss of power
        self._near: Any = None  # the connection of the loop's thread, while the file is open
        self._near_from = 0.0  # by the clock of time.monotonic(): it is not used before
        self._dropping = 0  # holders who begin anew: what they had goes before they are granted anything
        self._sweep_at = 0
        self._marks_swept = 0

    def __repr__(self) -> str:
        return f"<SqliteState {self._path}: {self._requests.qsize()} waiting, {'open' if self._thread else 'closed'}>"

    # -- in the loop

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(loop, opened), name="state", daemon=True)
        self._thread.start()
        try:
            await opened
        except StateError:
            self._thread = None  # it has ended: who asks is told so, and it may be opened again
            raise

    async def close(self) -> None:
        thread, self._thread = self._thread, None  # who asks from now on is told so: the thread would not hear him
        if thread is not None:
            self._gathered.flush()
            self._requests.put(None)
            await asyncio.to_thread(thread.join)

    async def take(self, key: str, rate: Rate, count: int, timezone: str = "UTC") -> int:
        zone = ZoneInfo(timezone)
        waited: int = await self._ask(lambda db, now: _take(db, key, rate, count, zone, now), durable=True)
        return waited

    async def granted(self, key: str, rate: Rate, timezone: str = "UTC") -> int:
        zone = ZoneInfo(timezone)
        count: int = await self._ask(lambda db, now: sum(number for _, number in _granted(db, key, rate, zone, now)))
        return count

    async def acquire(self, key: str, limit: int, holder: str, ttl_ms: int) -> bool:
        """At once, since a connection waits for it. What is refused is asked again behind all that waits: one may be given back
        there."""

        def action(db: Any, now: int) -> bool:
            return _acquire(db, key, limit, holder, now, now + ttl_ms)

        if self._at_once([action]) == [True]:
            return True
        granted: bool = await self._ask(action)
        return granted

    async def renew(self, holder: str, ttl_ms: int) -> None:
        await self._ask(
            lambda db, now: _do(db, "UPDATE lease SET expires = ? WHERE holder = ?", now + ttl_ms, holder), quick=1
        )

    async def release(self, key: str, holder: str) -> None:
        await self._ask(lambda db, _: _release(db, key, holder), quick=1)

    async def drop(self, holder: str) -> None:
        """It is done, and nothing granted at once before that, also where who asked does not wait for it any more."""
        asked = self._put(lambda db, _: _do(db, "DELETE FROM lease WHERE holder = ?", holder))
        self._dropping += 1
        asked.add_done_callback(self._dropped)
        await asyncio.shield(asked)

    def _dropped(self, asked: asyncio.Future[Any]) -> None:
        self._dropping -= 1
        if not asked.cancelled():
            asked.exception()  # or asyncio complains where nobody waits

    async def pin(self, board: str, name: str, text: str) -> None:
        await self._ask(
            lambda db, _: _do(db, "INSERT OR REPLACE INTO note VALUES (?, ?, ?)", board, name, text), durable=True
        )

    async def unpin(self, board: str, name: str) -> bool:
        taken: bool = await self._ask(lambda db, _: _unpin(db, board, name), durable=True)
        return taken

    async def pinned(self, board: str) -> dict[str, str]:
        notes: dict[str, str] = await self._ask(lambda db, _: _pinned(db, board))
        return notes

    async def reserve(self, asks: Sequence[Ask]) -> list[Room]:
        """What may be sent from now on must be on record, through a loss of power too."""
        firm = any(wish.firm for wish in asks)
        rooms: list[Room] = await self._ask(
            lambda db, now: sqlite_places.reserve(db, asks, now), firm, 0 if firm else len(asks)
        )
        return rooms

    async def consult(self, asks: Sequence[Ask]) -> list[tuple[dict[str, str], Room]]:
        firm = any(wish.firm for wish in asks)
        found: list[tuple[dict[str, str], Room]] = await self._ask(
            lambda db, now: sqlite_places.consult(db, asks, now), firm, 0 if firm else len(asks)
        )
        return found

    async def confirm(self, places: Sequence[tuple[bytes, str]], lease: int) -> None:
        await self._ask(lambda db, now: sqlite_places.confirm(db, places, now + lease))

    async def settle(self, settled: Sequence[Settled], keep: int) -> None:
        """`keep` is the sweep's."""
        await self._ask(lambda db, _: sqlite_places.settle(db, settled), durable=True)

    async def standing(self, people: Sequence[bytes]) -> list[Standing]:
        found: list[Standing] = await self._ask(lambda db, now: sqlite_places.standing(db, people, now))
        return found

    async def recall(self, sends: Sequence[tuple[bytes, Sequence[Send]]]) -> None:
        await self._ask(lambda db, _: sqlite_places.recall(db, sends), durable=True)

    async def sweep(self, after: bytes, keep: int) -> bytes:
        reached: bytes = await self._ask(lambda db, now: sqlite_places.sweep(db, after, now, keep))
        return reached

    async def tell(self, key: bytes, facts: Mapping[str, str | None]) -> None:
        await self._ask(lambda db, _: sqlite_people.tell(db, key, facts), durable=True)

    async def told(self, keys: Sequence[bytes], *, left: bool = False) -> list[dict[str, str]]:
        """`left`: a file loses nothing."""
        found: list[dict[str, str]] = await self._ask(lambda db, _: sqlite_people.told(db, keys), quick=len(keys))
        return found

    async def brought_back(self) -> None: ...

    async def everyone(self, cursor: str, limit: int) -> tuple[list[tuple[bytes, dict[str, str]]], str]:
        after = bytes.fromhex(cursor)  # here: what raises in the thread fails for all that ask at the same time
        page: tuple[list[tuple[bytes, dict[str, str]]], str] = await self._ask(
            lambda db, _: sqlite_people.everyone(db, after, limit)
        )
        return page

    async def mark(self, ttl_ms: int, changes: Sequence[Change]) -> list[bytes]:
        stood: list[bytes] = await self._ask(
            lambda db, now: sqlite_marks.mark(db, ttl_ms, changes, now), quick=len(changes)
        )
        return stood

    async def _ask(self, action: Action, durable: bool = False, quick: int = 0) -> Any:
        return await self._put(action, durable, quick)

    def _put(self, action: Action, durable: bool = False, quick: int = 0) -> asyncio.Future[Any]:
        if self._thread is None:
            raise StateError(f"{self._path} is not open")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._gathered.add(Request(action, answer, durable, quick))
        return answer

    def _hand_over(self, gathered: list[Request]) -> None:
        quick = [request for request in gathered if request.quick]
        few = 0 < sum(request.quick for request in quick) <= QUICK
        found = self._at_once([request.action for request in quick]) if few else None
        if found is not None:
            _answer([(request.answer, one) for request, one in zip(quick, found, strict=True)], None)
        for request in gathered:
            if found is None or not request.quick:
                self._requests.put(request)

    def _at_once(self, actions: Sequence[Action]) -> list[Any] | None:
        """Their answers; None where somebody else writes just now, and for any fault: the thread does them all then."""
        db, began = self._near, time.monotonic()
        if db is None or self._thread is None or self._dropping or began < self._near_from:
            return None
        try:
            db.execute("BEGIN IMMEDIATE")
            now = self.now()
            found = [action(db, now) for action in actions]
            db.execute("COMMIT")
        except Exception as fault:
            with contextlib.suppress(apsw.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            if not isinstance(fault, apsw.BusyError):
                log.warning("state: not in the loop; its thread tries", file=str(self._path), error=str(fault))
                self._leave_to_thread(AWAY)
            return None
        took = time.monotonic() - began
        if took > SLOW:
            self._leave_to_thread(max(AWAY, REST * took))
        return found

    def _leave_to_thread(self, seconds: float) -> None:
        self._near_from = max(self._near_from, time.monotonic() + seconds)

    def _grown(self, _db: Any, _name: str, pages: int) -> int:
        """SQLite tells of the log's length after each commit in the loop, where nobody waits for it to be moved."""
        if pages >= LONG:
            self._leave_to_thread(MOVES)
        return apsw.SQLITE_OK

    # -- in the thread

    def _work(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[None]") -> None:
        try:
            self._db = _connect(self._path)
            self._near = _connect_near(self._path, self._grown)
        except (apsw.Error, OSError, DatabaseError) as fault:
            if self._db is not None:
                self._db.close()
            self.trouble = f"{self._path}: {fault}"
            loop.call_soon_threadsafe(_answer, [(opened, None)], StateError(self.trouble))
            return
        self.trouble = ""
        loop.call_soon_threadsafe(_answer, [(opened, None)], None)
        try:
            while batch := self._collect():
                answers, error = self._transact(batch)
                loop.call_soon_threadsafe(_answer, answers, error)
        finally:
            near, self._near = self._near, None
            near.close()
            self._db.close()
            if self._log >= 0:
                os.close(self._log)
                self._log = -1

    def _collect(self) -> list[Request]:
        """What waits, at least one; nothing when it is time to stop."""
        first = self._requests.get()
        if first is None:
            return []
        batch = [first]
        while len(batch) < BATCH:
            try:
                following = self._requests.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._requests.put(None)
                break
            batch.append(following)
        return batch

    def _transact(self, batch: list[Request]) -> tuple[list[tuple[asyncio.Future[Any], Any]], StateError | None]:
        """Do them all in one transaction: every answer, or one error for all of them and no trace in the file; but where an
        fsync fails, they may have been done: too much is taken, never too little."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            now = self.now()
            self._sweep(now)
            answers = [(request.answer, request.action(self._db, now)) for request in batch]
            self._db.execute("COMMIT")
            if any(request.durable for request in batch):
                self._make_last()
        except Exception as fault:  # whatever it is, those who asked must hear of it, and the thread lives on
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            log.exception("state: a transaction failed", file=str(self._path))
            self.trouble = f"{self._path}: {fault}"
            return [(request.answer, None) for request in batch], StateError(self.trouble)
        self.trouble = ""
        return answers, None

    def _make_last(self) -> None:
        """All that was committed outlives a loss of power. No lock of SQLite's is on the log, so a descriptor of ours does no
        harm; it stays the same file for as long as anybody has it open."""
        if self._log < 0:
            self._log = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        if self._unsafe:
            self._rescue()
            return
        try:
            os.fdatasync(self._log)
        except OSError:
            self._unsafe = True
            raise

    def _rescue(self) -> None:
        """An fsync that is tried again after it failed may say yes to data that is gone, and what comes behind that in the log
        would be gone with it. So the log's content goes into the file, with fsyncs of that, and the log begins anew."""
        busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
        if busy:
            raise StateError("what is in its log cannot be made to last: others are reading")
        self._unsafe = False

    def _sweep(self, now: int) -> None:
        self._marks_swept = sqlite_marks.sweep(self._db, now, self._marks_swept)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_EVERY
            _do(self._db, "DELETE FROM granted WHERE expires <= ?", now)
            _do(self._db, "DELETE FROM lease WHERE expires <= ?", now)


def _do(db: Any, statement: str, *values: str | int) -> None:
    db.execute(statement, values)


def _take(db: Any, key: str, rate: Rate, count: int, zone: ZoneInfo, now: int) -> int:
    wait = limits.wait(rate, _granted(db, key, rate, zone, now), count, now, zone)
    if not wait:
        slot = limits.slot_of(rate, now, zone)
        db.execute(_GRANT, (_name(key, rate), slot, count, limits.expiry(rate, slot, zone)))
    return wait


def _granted(db: Any, key: str, rate: Rate, zone: ZoneInfo, now: int) -> list[tuple[int, int]]:
    """What counts of it now, by slot."""
    oldest = limits.oldest_slot(rate, limits.slot_of(rate, now, zone))
    found: list[tuple[int, int]] = db.execute(
        "SELECT slot, count FROM granted WHERE key = ? AND slot >= ?", (_name(key, rate), oldest)
    ).fetchall()
    return found


def _acquire(db: Any, key: str, limit: int, holder: str, now: int, expires: int) -> bool:
    """In the transaction of the caller."""
    held, first = db.execute(_HELD, (key,)).get
    if first <= now:
        db.execute("DELETE FROM lease WHERE key = ? AND expires <= ?", (key, now))
        held, first = db.execute(_HELD, (key,)).get
    if held >= limit:
        return False
    db.execute(_LEASE, (key, holder, expires))
    return True


def _release(db: Any, key: str, holder: str) -> None:
    _do(db, "DELETE FROM lease WHERE key = ? AND holder = ? AND count = 1", key, holder)
    if not db.changes():
        _do(db, "UPDATE lease SET count = count - 1 WHERE key = ? AND holder = ? AND count > 1", key, holder)


def _unpin(db: Any, board: str, name: str) -> bool:
    _do(db, "DELETE FROM note WHERE board = ? AND name = ?", board, name)
    return bool(db.changes())


def _pinned(db: Any, board: str) -> dict[str, str]:
    return dict(db.execute("SELECT name, text FROM note WHERE board = ?", (board,)).fetchall())


def _name(key: str, rate: Rate) -> str:
    """What permits are counted under."""
    return f"{key} {rate.calendar or rate.window}"


def _answer(answers: list[tuple["asyncio.Future[Any]", Any]], error: StateError | None) -> None:
    for future, value in answers:
        if not future.done():  # whoever asked may be gone
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


def _connect(path: Path) -> Any:
    """An open, migrated connection. Raises apsw.Error or DatabaseError."""
    check_library()
    path.parent.mkdir(parents=True, exist_ok=True)
    db = apsw.Connection(str(path))
    db.set_busy_handler(_wait_for_lock())
    keep_plans(db)
    _enter_wal(db)
    db.execute("PRAGMA synchronous = NORMAL")
    migrate(db, MIGRATIONS)
    return db


def _connect_near(path: Path, grown: Callable[[Any, str, int], int]) -> Any:
    """One that never waits for the lock, and for the disk only where the log begins anew: the thread moves it into the file.
    `grown` hears of its length."""
    db = apsw.Connection(str(path))
    keep_plans(db)
    db.execute("PRAGMA synchronous = NORMAL")
    db.set_wal_hook(grown)  # in place of SQLite's own, which would move it
    return db


def _wait_for_lock() -> Callable[[int], bool]:
    """SQLite's busy handler: short naps of random length; its own back-off of up to 100 ms lets the patient starve."""
    until = 0.0

    def busy(tries: int) -> bool:
        nonlocal until
        if tries == 0:
            until = time.monotonic() + BUSY_SECONDS
        time.sleep(random.uniform(0, 2 * BUSY_NAP))
        return time.monotonic() < until

    return busy


def _enter_wal(db: Any) -> None:
    """Workers start together, and the one change of a new file's journal mode does not call the busy handler."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except apsw.BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(BUSY_NAP)
