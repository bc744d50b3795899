"""What waits to be told, and what was tried: data_dir/hooks.db. Of the web process alone.

A post is events that are told together, under one webhook-id, until they are taken or given up. Its events stay what they were
at the first try: an app that took them and could not say so knows the id. Events beyond it wait without one. Where the app takes
other posts and never this one it is taken apart, until what it cannot take stands alone.

synchronous=FULL: when the log's mark has moved, the events are on the disk here, and the hour may become Parquet.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from relay.database import check_library, migrate
from relay.hooks.telling import DAY, GIVE_UP, MINUTE, Endpoint

MOST = 500_000  # events that wait for an endpoint
POST_EVENTS = 500  # of one post: an app that answers within 0.1 s keeps up with 5,000 events a second
POST_OCTETS = 512 * 1024  # of one post, but for a larger single event; web servers take 1 MB unasked
POSTS = 8  # that wait to be tried again while an endpoint fails: new ones would fail as well
APART = 3  # the try after which a post that an app answers, but does not take as it takes others, is two: an event spoils it
LOG = 10_000  # tries on record of an endpoint ...
LOG_DAYS = 30  # ... and for so long
FREED = 10_000  # pages that are given back to the disk in one go, 40 MB: some 0.1 s
HEALED = MINUTE  # without a success; then the next one has what waits tried at once
GIVEN_UP = "given up: not taken for 3 days"

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE mark (file TEXT PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE event (
        sequence INTEGER PRIMARY KEY,
        credential TEXT NOT NULL,
        queued INTEGER NOT NULL,
        identity TEXT NOT NULL,                 -- its event_id: while it waits, it waits once
        post TEXT NOT NULL DEFAULT '',
        line BLOB NOT NULL,
        UNIQUE (credential, identity)
    );
    CREATE INDEX event_waiting ON event (credential, post, sequence);
    CREATE TABLE post (
        id TEXT PRIMARY KEY,
        credential TEXT NOT NULL,
        made INTEGER NOT NULL,
        queued INTEGER NOT NULL,                -- when the oldest of its events was
        tries INTEGER NOT NULL DEFAULT 0,
        next INTEGER NOT NULL
    );
    CREATE INDEX post_due ON post (credential, next);
    CREATE TABLE tried (
        sequence INTEGER PRIMARY KEY,
        credential TEXT NOT NULL,
        at INTEGER NOT NULL,
        post TEXT NOT NULL,
        events INTEGER NOT NULL,
        try INTEGER NOT NULL,
        status INTEGER NOT NULL,                -- as answered; 0: no answer
        answer TEXT NOT NULL,
        ms INTEGER NOT NULL
    );
    CREATE INDEX tried_of ON tried (credential, sequence);
    CREATE TABLE endpoint (
        credential TEXT PRIMARY KEY,
        failing INTEGER NOT NULL DEFAULT 0,     -- since when nothing was taken; 0: the last try was
        beyond INTEGER NOT NULL DEFAULT 0       -- since when events stay in the log for want of room; 0: none do
    ) WITHOUT ROWID;
    CREATE TABLE resend (
        id INTEGER PRIMARY KEY,
        credential TEXT NOT NULL,
        since INTEGER NOT NULL,                 -- what is before it has been fetched
        until INTEGER NOT NULL
    );
    """,
)


class Post(NamedTuple):
    """`tries` before this one; `made`: when it was put together, ms."""

    id: str
    credential: str
    made: int
    tries: int
    events: list[bytes]


class Try(NamedTuple):
    """What came of one. `status`: 0 for no answer; `ms`: how long it took."""

    at: int
    ok: bool
    status: int
    answer: str
    ms: int


class Found(NamedTuple):
    """An event that an endpoint wants, as it stands in the log; `time` in ms."""

    credential: str
    identity: str
    time: int
    line: bytes


class Resend(NamedTuple):
    """Events of `since` <= time < `until` (ms) are to be told again."""

    id: int
    credential: str
    since: int
    until: int


class Queue:
    """Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        """Raises apsw.Error, DatabaseError or OSError."""
        check_library()
        self._db = apsw.Connection(str(path))
        for pragma in (
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            "synchronous = FULL",
            "journal_size_limit = 16777216",
        ):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        migrate(self._db, MIGRATIONS)
        counted = self._db.execute("SELECT credential, count(*) FROM event GROUP BY credential")
        self._waiting: Counter[str] = Counter(dict(counted))

    def __repr__(self) -> str:
        return f"<Queue {dict(self._waiting)}>"

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _change(self) -> Iterator[None]:
        """A transaction; what waits is counted as it ends."""
        before = self._waiting.copy()
        try:
            with self._db:
                yield
        except BaseException:
            self._waiting = before
            raise

    # -- what comes

    def marks(self) -> dict[str, int]:
        """How far each event file has been read."""
        return dict(self._db.execute("SELECT file, offset FROM mark"))

    def take(self, found: Iterable[Found], marks: Mapping[str, int], now: int) -> None:
        """Puts what was found behind what waits, and moves the marks, or neither. What finds no room stays in the log."""
        with self._change():
            for credential, since in self._add(found, now).items():
                self._db.execute(
                    "INSERT INTO endpoint (credential, beyond) VALUES (?, ?) ON CONFLICT (credential)"
                    " DO UPDATE SET beyond = ? WHERE beyond = 0",
                    (credential, since, since),
                )
            self._db.executemany("INSERT OR REPLACE INTO mark VALUES (?, ?)", marks.items())

    def _add(self, found: Iterable[Found], now: int) -> dict[str, int]:
        """Of each credential without room the time of the first event that found none."""
        beyond: dict[str, int] = {}
        for one in found:
            if one.credential in beyond or self._waiting[one.credential] >= MOST:
                beyond.setdefault(one.credential, one.time)
                continue
            self._db.execute(
                "INSERT OR IGNORE INTO event (credential, queued, identity, line) VALUES (?, ?, ?, ?)",
                (one.credential, now, one.identity, one.line),
            )
            self._waiting[one.credential] += self._db.changes()
        return beyond

    def forget_marks(self, files: Iterable[str]) -> None:
        with self._change():
            self._db.executemany("DELETE FROM mark WHERE file = ?", [(file,) for file in files])

    # -- again, from the log

    def ask_again(self, credential: str, since: int, until: int) -> None:
        with self._change():
            self._db.execute(
                "INSERT INTO resend (credential, since, until) VALUES (?, ?, ?)", (credential, since, until)
            )

    def resends(self) -> list[Resend]:
        """Those whose endpoint has room."""
        rows = [Resend(*row) for row in self._db.execute("SELECT id, credential, since, until FROM resend ORDER BY id")]
        return [one for one in rows if self._waiting[one.credential] < MOST // 2]

    def resent(self, resend: Resend, found: Sequence[Found], upto: int, now: int) -> None:
        """`found` was fetched, and with it everything before `upto`."""
        with self._change():
            self._add(found, now)
            if upto >= resend.until:
                self._db.execute("DELETE FROM resend WHERE id = ?", (resend.id,))
            else:
                self._db.execute("UPDATE resend SET since = ? WHERE id = ?", (upto, resend.id))

    def fetch_beyond(self, now: int) -> None:
        """Where there is room again, what stayed in the log is asked for; not what would have been given up by now."""
        with self._change():
            rows = list(self._db.execute("SELECT credential, beyond FROM endpoint WHERE beyond > 0"))
            for credential, beyond in rows:
                if self._waiting[credential] < MOST // 2:
                    since = max(beyond - MINUTE, now - GIVE_UP)  # shards write their events a bit apart
                    self._db.execute(
                        "INSERT INTO resend (credential, since, until) VALUES (?, ?, ?)", (credential, since, now)
                    )
                    self._db.execute("UPDATE endpoint SET beyond = 0 WHERE credential = ?", (credential,))

    # -- what goes

    def due(self, credential: str, now: int, identifier: str) -> Post | int | None:
        """What is to be tried now: one that failed and whose time has come, else a new one, under `identifier`. When, in ms,
        where all that waits has failed; None where nothing waits."""
        again = self._db.execute(
            "SELECT id, made, tries, next FROM post WHERE credential = ? ORDER BY next LIMIT 1", (credential,)
        ).fetchone()
        if again is not None and again[3] <= now:
            return self._post(credential, *again[:3])
        works = again is None or not self._failing(credential) or self._posts(credential) < POSTS
        if works and (made := self._make(credential, now, identifier)):
            return made
        return int(again[3]) if again is not None else None

    def _post(self, credential: str, identifier: str, made: int, tries: int) -> Post:
        lines = self._db.execute(
            "SELECT line FROM event WHERE credential = ? AND post = ? ORDER BY sequence", (credential, identifier)
        )
        return Post(identifier, credential, made, tries, [line for (line,) in lines])

    def _make(self, credential: str, now: int, identifier: str) -> Post | None:
        chosen: list[int] = []
        octets, oldest = 0, now
        for sequence, queued, size in self._db.execute(
            "SELECT sequence, queued, length(line) FROM event WHERE credential = ? AND post = ''"
            " ORDER BY sequence LIMIT ?",
            (credential, POST_EVENTS),
        ):
            octets += size
            if chosen and octets > POST_OCTETS:
                break
            chosen.append(sequence)
            oldest = min(oldest, queued)
        if not chosen:
            return None
        with self._change():
            self._db.executemany(
                "UPDATE event SET post = ? WHERE sequence = ?", [(identifier, sequence) for sequence in chosen]
            )
            self._db.execute(
                "INSERT INTO post (id, credential, made, queued, next) VALUES (?, ?, ?, ?, ?)",
                (identifier, credential, now, oldest, now),
            )
        return self._post(credential, identifier, now, 0)

    def settle(self, post: Post, tried: Try, again: int) -> None:
        """`again`: when it is tried anew, if it was not taken (ms); it is given up instead where that is too late."""
        number = post.tries + 1
        with self._change():
            self._note(post.credential, tried, post.id, len(post.events), number)
            if tried.ok:
                self._end(post.id, post.credential)
                self._works(post.credential, tried.at)
                return
            others_go = not self._failing(post.credential)
            self._db.execute(
                "INSERT INTO endpoint (credential, failing) VALUES (?, ?) ON CONFLICT (credential)"
                " DO UPDATE SET failing = ? WHERE failing = 0",
                (post.credential, tried.at, tried.at),
            )
            if others_go and tried.status and number >= APART and len(post.events) > 1:
                self._take_apart(post, again)
            else:
                self._db.execute("UPDATE post SET tries = ?, next = ? WHERE id = ?", (number, again, post.id))

    def _take_apart(self, post: Post, again: int) -> None:
        """Two posts, under ids of their own since they say something else; each is taken apart the next time it fails so."""
        rows = self._db.execute(
            "SELECT sequence FROM event WHERE credential = ? AND post = ? ORDER BY sequence", (post.credential, post.id)
        )
        sequences = [sequence for (sequence,) in rows]
        middle = len(sequences) // 2
        for number, part in enumerate((sequences[:middle], sequences[middle:]), 1):
            identifier = f"{post.id}-{number}"
            self._db.execute(
                "INSERT INTO post SELECT ?, credential, made, queued, ?, ? FROM post WHERE id = ?",
                (identifier, APART - 1, again, post.id),
            )
            self._db.executemany("UPDATE event SET post = ? WHERE sequence = ?", [(identifier, one) for one in part])
        self._db.execute("DELETE FROM post WHERE id = ?", (post.id,))

    def _works(self, credential: str, now: int) -> None:
        failing = self._failing(credential)
        if failing:
            self._db.execute("UPDATE endpoint SET failing = 0 WHERE credential = ?", (credential,))
        if failing and now - failing >= HEALED:
            self._db.execute("UPDATE post SET next = ? WHERE credential = ?", (now, credential))

    def _end(self, identifier: str, credential: str) -> None:
        self._db.execute("DELETE FROM event WHERE credential = ? AND post = ?", (credential, identifier))
        self._waiting[credential] -= self._db.changes()
        self._db.execute("DELETE FROM post WHERE id = ?", (identifier,))

    def note(self, credential: str, tried: Try, identifier: str) -> None:
        """A try of an example."""
        with self._change():
            self._note(credential, tried, identifier, 1, 1)

    def _note(self, credential: str, tried: Try, identifier: str, events: int, number: int) -> None:
        self._db.execute(
            "INSERT INTO tried (credential, at, post, events, try, status, answer, ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (credential, tried.at, identifier, events, number, tried.status, tried.answer, tried.ms),
        )

    # -- what ends

    def tidy(self, now: int) -> dict[str, int]:
        """Gives up what is too old, and forgets old tries. How many events of whom were given up."""
        gone: Counter[str] = Counter()
        with self._change():
            late = now - GIVE_UP
            for identifier, credential, tries in list(
                self._db.execute("SELECT id, credential, tries FROM post WHERE queued <= ?", (late,))
            ):
                before = self._waiting[credential]
                self._end(identifier, credential)
                self._give_up(credential, identifier, before - self._waiting[credential], tries, now)
                gone[credential] += before - self._waiting[credential]
            for credential in list(self._waiting):
                self._db.execute(
                    "DELETE FROM event WHERE credential = ? AND post = '' AND queued <= ?", (credential, late)
                )
                if lost := self._db.changes():
                    self._waiting[credential] -= lost
                    self._give_up(credential, "", lost, 0, now)
                    gone[credential] += lost
            self._db.execute("DELETE FROM tried WHERE at < ?", (now - LOG_DAYS * DAY,))
            for (credential,) in list(self._db.execute("SELECT DISTINCT credential FROM tried")):
                self._db.execute(
                    "DELETE FROM tried WHERE credential = ? AND sequence <= (SELECT sequence FROM tried"
                    " WHERE credential = ? ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                    (credential, credential, LOG),
                )
        self._db.execute(f"PRAGMA incremental_vacuum({FREED})").fetchall()
        return dict(gone)

    def _give_up(self, credential: str, identifier: str, events: int, tries: int, now: int) -> None:
        self._note(credential, Try(now, False, 0, GIVEN_UP, 0), identifier, events, tries)

    # -- looking

    def page(self, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Of what waits, the next behind `after`: its number, whose it is, and the event."""
        rows = self._db.execute(
            "SELECT sequence, credential, line FROM event WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        return list(rows)

    def change(self, lines: Iterable[tuple[int, bytes]]) -> None:
        """These events, by their numbers, are told so from now on."""
        with self._change():
            self._db.executemany("UPDATE event SET line = ? WHERE sequence = ?", [(line, one) for one, line in lines])

    def log(self, credential: str, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """The newest tries, the newest first; `before`: only those with a smaller `sequence`."""
        names = ("sequence", "at", "post", "events", "try", "status", "answer", "ms")
        rows = self._db.execute(
            f"SELECT {', '.join(names)} FROM tried WHERE credential = ? AND sequence < ?"  # noqa: S608 - our own words
            " ORDER BY sequence DESC LIMIT ?",
            (credential, before if before is not None else 1 << 62, limit),
        )
        return [dict(zip(names, row, strict=True)) for row in rows]

    def shown(self, endpoint: Endpoint) -> dict[str, Any]:
        """How it stands with an endpoint: `oldest`: when the first of those that wait was queued, None for none; `failing`: since
        when nothing was taken, None where the last try was."""
        name = endpoint.credential
        oldest = self._db.execute(
            "SELECT min(queued) FROM (SELECT queued FROM post WHERE credential = ? UNION ALL SELECT * FROM"
            " (SELECT queued FROM event WHERE credential = ? AND post = '' ORDER BY sequence LIMIT 1))",
            (name, name),
        ).get
        last = self.log(name, 1)
        beyond = self._db.execute("SELECT beyond FROM endpoint WHERE credential = ?", (name,)).get
        return {
            "waiting": self._waiting[name],
            "oldest": oldest,
            "failing": self._failing(name) or None,
            "beyond": beyond or None,
            "last": last[0] if last else None,
        }

    def _failing(self, credential: str) -> int:
        return int(self._db.execute("SELECT failing FROM endpoint WHERE credential = ?", (credential,)).get or 0)

    def _posts(self, credential: str) -> int:
        return int(self._db.execute("SELECT count(*) FROM post WHERE credential = ?", (credential,)).get)
