"""data_dir/tls.db: policies of MTA-STS and counts for TLS reports, shared by the workers of a node, kept over restarts.

Calls block for a disk flush, so they belong in a thread; any thread may make them. Raises apsw.Error, DatabaseError.
"""

import threading
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import apsw
import orjson

from relay.database import check_library, migrate
from relay.egress.security.sts import Policy, parse
from relay.egress.security.tlsrpt import MAX_DETAILS, Applied, Counts, Failure

MAX_DOMAINS = 20_000  # that counts are kept of, for one day
MAX_POLICIES = 20  # of one domain on one day: its hosts' TLSA records are one each
SHORTEST = 300_000  # ms a policy holds, whatever it says: it is not to be fetched for each message (RFC 8461 3.3)
_BUSY_MS = 5_000

MIGRATIONS: tuple[str, ...] = (
    # 1: the policy of each domain; sessions by day, domain and policy, with what failed; how far a report has come.
    """
    CREATE TABLE policy (
        domain TEXT PRIMARY KEY,
        id TEXT NOT NULL,
        fetched_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        body TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX policy_expires ON policy (expires_at);
    CREATE TABLE sessions (
        day TEXT NOT NULL,
        domain TEXT NOT NULL,
        applied TEXT NOT NULL,                  -- JSON: Applied
        good INTEGER NOT NULL,
        bad INTEGER NOT NULL,
        PRIMARY KEY (day, domain, applied)
    ) WITHOUT ROWID;
    CREATE TABLE failure (
        day TEXT NOT NULL,
        domain TEXT NOT NULL,
        applied TEXT NOT NULL,
        failure TEXT NOT NULL,                  -- JSON: Failure
        count INTEGER NOT NULL,
        PRIMARY KEY (day, domain, applied, failure)
    ) WITHOUT ROWID;
    CREATE TABLE report (
        day TEXT NOT NULL,
        domain TEXT NOT NULL,
        tries INTEGER NOT NULL,
        again_at INTEGER NOT NULL,
        PRIMARY KEY (day, domain)
    ) WITHOUT ROWID;
    """,
)

_ADD_SESSIONS = """INSERT INTO sessions SELECT ?1, ?2, ?3, ?4, ?5
     WHERE (SELECT count(*) FROM sessions WHERE day = ?1 AND domain = ?2) < ?6
        OR EXISTS (SELECT 1 FROM sessions WHERE day = ?1 AND domain = ?2 AND applied = ?3)
    ON CONFLICT DO UPDATE SET good = good + excluded.good, bad = bad + excluded.bad"""
_ADD_FAILURE = """INSERT INTO failure SELECT ?1, ?2, ?3, ?4, ?5
     WHERE (SELECT count(*) FROM failure WHERE day = ?1 AND domain = ?2 AND applied = ?3) < ?6
        OR EXISTS (SELECT 1 FROM failure WHERE day = ?1 AND domain = ?2 AND applied = ?3 AND failure = ?4)
    ON CONFLICT DO UPDATE SET count = count + excluded.count"""
_DUE = """SELECT DISTINCT s.day, s.domain, coalesce(r.tries, 0) FROM sessions AS s
      LEFT JOIN report AS r ON r.day = s.day AND r.domain = s.domain
     WHERE s.day < ? AND coalesce(r.again_at, 0) <= ? ORDER BY 1, 2 LIMIT ?"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy as it was fetched; times in ms."""

    domain: str
    id: str
    fetched_at: int
    policy: Policy

    @property
    def expires_at(self) -> int:
        return self.fetched_at + max(self.policy.max_age * 1000, SHORTEST)


@dataclass(frozen=True, slots=True)
class Due:
    """A day whose report to a domain is to be sent."""

    day: str
    domain: str
    tries: int


class Store:
    """Opened at the first use; `close` when nobody uses it any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: Any = None

    def __repr__(self) -> str:
        return f"<Store {self._path} {'open' if self._db is not None else 'closed'}>"

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close(True)
                self._db = None

    def _open(self) -> Any:
        if self._db is None:
            check_library()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = apsw.Connection(str(self._path))
            try:
                db.set_busy_timeout(_BUSY_MS)
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 1048576"):
                    db.execute(f"PRAGMA {pragma}").fetchall()
                migrate(db, MIGRATIONS)
            except BaseException:
                db.close(True)
                raise
            self._db = db
        return self._db

    # ----------------------------------------------------------------------------------------------- policies

    def policies(self, now: int, most: int) -> list[Kept]:
        """Those that still hold, the newest if there are too many; those that do not are removed."""
        with self._lock, self._open() as db:
            db.execute("DELETE FROM policy WHERE expires_at <= ?", (now,))
            rows = db.execute(
                "SELECT domain, id, fetched_at, body FROM policy ORDER BY fetched_at DESC LIMIT ?", (most,)
            )
            return [_kept(row) for row in rows]

    def policy(self, domain: str) -> Kept | None:
        with self._lock, self._open() as db:
            row = db.execute("SELECT domain, id, fetched_at, body FROM policy WHERE domain = ?", (domain,)).fetchone()
            return _kept(row) if row else None

    def keep(self, kept: Kept) -> None:
        body = "\n".join(kept.policy.lines)
        row = kept.domain, kept.id, kept.fetched_at, kept.expires_at, body
        with self._lock, self._open() as db:
            db.execute("INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?, ?)", row)

    # ------------------------------------------------------------------------------------------------- counts

    def add(self, day: str, counted: Iterable[tuple[str, Applied, Counts]]) -> None:
        """What happened on `day`, domain by domain; bounded."""
        with self._lock, self._open() as db:
            known = {row[0] for row in db.execute("SELECT DISTINCT domain FROM sessions WHERE day = ?", (day,))}
            for domain, applied, counts in counted:
                if domain not in known and len(known) >= MAX_DOMAINS:
                    continue
                known.add(domain)
                policy = _dump(applied)
                db.execute(_ADD_SESSIONS, (day, domain, policy, counts.good, counts.bad, MAX_POLICIES))
                if not db.changes():
                    continue
                for failure, count in counts.failures.items():
                    db.execute(_ADD_FAILURE, (day, domain, policy, _dump(failure), count, MAX_DETAILS))

    def due(self, today: str, now: int, most: int) -> list[Due]:
        """Reports of days before `today` that are to be sent now."""
        with self._lock, self._open() as db:
            return [Due(*row) for row in db.execute(_DUE, (today, now, most))]

    def counted(self, day: str, domain: str) -> dict[Applied, Counts]:
        found: dict[Applied, Counts] = {}
        key = (day, domain)
        with self._lock, self._open() as db:
            for policy, good, bad in db.execute(
                "SELECT applied, good, bad FROM sessions WHERE day = ? AND domain = ?", key
            ):
                found[_applied(policy)] = Counts(good, bad)
            for policy, failure, count in db.execute(
                "SELECT applied, failure, count FROM failure WHERE day = ? AND domain = ?", key
            ):
                found[_applied(policy)].failures[Failure(*orjson.loads(failure))] = count
        return found

    def later(self, due: Due, again_at: int) -> None:
        """It could not be sent; once more at `again_at` (ms)."""
        with self._lock, self._open() as db:
            db.execute(
                "INSERT OR REPLACE INTO report VALUES (?, ?, ?, ?)", (due.day, due.domain, due.tries + 1, again_at)
            )

    def done(self, due: Due) -> None:
        """It is sent, or nobody wants it."""
        with self._lock, self._open() as db:
            for table in ("sessions", "failure", "report"):
                db.execute(f"DELETE FROM {table} WHERE day = ? AND domain = ?", (due.day, due.domain))  # noqa: S608 our own words


def _kept(row: tuple[str, str, int, str]) -> Kept:
    domain, identifier, fetched_at, body = row
    return Kept(domain, identifier, fetched_at, parse(body.encode()))


def _dump(value: Applied | Failure) -> str:
    return orjson.dumps(astuple(value)).decode()


def _applied(text: str) -> Applied:
    kind, domain, strings, mx = orjson.loads(text)
    return Applied(kind, domain, tuple(strings), tuple(mx))
