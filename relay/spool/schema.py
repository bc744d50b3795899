"""The tables of a shard, and how its file is opened and locked.

Durability rests on WAL with synchronous=FULL: a commit that returned is on the disk (https://sqlite.org/pragma.html#pragma_synchronous).
"""

import fcntl
import os
from pathlib import Path

import apsw

from relay.database import check_library, keep_plans, migrate
from relay.spool.errors import SpoolBusy

# One statement takes a batch, whatever its size up to 64 rows, so several hundred distinct ones are in use.
STATEMENT_CACHE = 512

MIGRATIONS: tuple[str, ...] = (
    # 1: messages once, recipients clustered by message, one index for due mail that never covers held rows, the outbox
    #    of events, and how far the event log on disk is known to be good.
    """
    CREATE TABLE message (
        row INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        accepted_at INTEGER NOT NULL,
        facts TEXT NOT NULL,                    -- JSON object: the other fields of relay.message.Message
        content BLOB NOT NULL
    );
    CREATE INDEX message_id ON message (id);    -- ids grow with time: appended to, never spread
    CREATE TABLE recipient (
        message INTEGER NOT NULL,
        idx INTEGER NOT NULL,
        class INTEGER NOT NULL,
        site TEXT NOT NULL,
        next_attempt INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        held INTEGER NOT NULL,
        quota INTEGER NOT NULL,
        warned INTEGER NOT NULL,
        source TEXT NOT NULL,
        last_reply TEXT NOT NULL,
        facts TEXT NOT NULL,                    -- JSON array: what never changes, in the order of rows.RECIPIENT_FACTS
        head BLOB NOT NULL,
        PRIMARY KEY (message, idx)
    ) WITHOUT ROWID;
    CREATE INDEX recipient_due ON recipient (class, site, next_attempt) WHERE held = 0;
    CREATE INDEX recipient_held ON recipient (message, idx) WHERE held = 1;
    CREATE TABLE outbox (
        sequence INTEGER PRIMARY KEY,
        lines BLOB NOT NULL                     -- the events of one commit, each ending in LF
    );
    CREATE TABLE export (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        file TEXT NOT NULL,
        offset INTEGER NOT NULL
    );
    INSERT INTO export VALUES (1, '', 0);
    CREATE TABLE probe (filler BLOB NOT NULL);  -- is there room again? filled and emptied, else empty
    """,
    # 2: due mail by priority and stream as well (relay/schedule/lanes.py). `turn` is minus the priority, so that what goes
    #    first stands first. Mail of before has priority 0. A million recipients take some seconds, once.
    """
    ALTER TABLE recipient ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE recipient ADD COLUMN stream TEXT NOT NULL DEFAULT '';
    DROP INDEX recipient_due;
    UPDATE recipient SET stream = ifnull((SELECT facts ->> 'stream' FROM message WHERE row = recipient.message), '');
    CREATE INDEX recipient_due ON recipient (class, turn, site, stream, next_attempt) WHERE held = 0;
    """,
    # 3: held says by whom: 1 by hand, more is the id of a suspension, which must find its own again. A pool by hand.
    """
    DROP INDEX recipient_held;
    CREATE INDEX recipient_held ON recipient (message, idx) WHERE held > 0;
    CREATE INDEX recipient_suspended ON recipient (held, message, idx) WHERE held > 1;
    ALTER TABLE recipient ADD COLUMN pool TEXT NOT NULL DEFAULT '';
    """,
    # 4: what State is still to be told of (relay/effects.py); when a cap let a delivery go.
    """
    CREATE TABLE effect (
        sequence INTEGER PRIMARY KEY,
        lines BLOB NOT NULL                     -- of one commit, each a JSON array (rows.effect_of) that ends in LF
    );
    ALTER TABLE recipient ADD COLUMN freed INTEGER NOT NULL DEFAULT 0;
    """,
    # 5: what was delivered by return paths of ours, for what comes back days later. Ids ascend: appended to, never spread.
    """
    CREATE TABLE sent (
        id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        facts TEXT NOT NULL,                    -- JSON array (rows.sent_row)
        heard INTEGER NOT NULL DEFAULT 0,       -- bits of hindsight.py: which reports of it are on record
        PRIMARY KEY (id, idx)
    ) WITHOUT ROWID;
    """,
    # 6: what was delivered by Message-ID and address (relay/clue.py), below a generation that counts up (store.GENERATION): what
    #    is inserted lately stays together, or else each mail would read and write a page of its own once there are millions.
    """
    ALTER TABLE sent ADD COLUMN clue INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX sent_clue ON sent (clue) WHERE clue > 0;
    """,
)

_PRAGMAS = (
    "locking_mode = EXCLUSIVE",  # one owner: no shared memory, no lock calls for each transaction
    "page_size = 8192",  # measured against 4096 and 16384 with 10 KB messages (DESIGN)
    "journal_mode = WAL",
    "synchronous = FULL",  # fsync at each commit
    "wal_autocheckpoint = 4096",  # 32 MB: only a backstop, the committer checkpoints at 8 MB between two batches
    "journal_size_limit = 16777216",  # a WAL that a burst has grown is cut back to 16 MB
    "cache_size = -16384",  # 16 MB: what is deleted soon after it was put is still in memory
    "temp_store = MEMORY",
)


def take_lock(path: Path) -> int:
    """A descriptor that holds the lock of the shard at `path`; the kernel lets go however the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SpoolBusy(f"{path} is open in another process") from error
    return descriptor


def connect(path: Path, vfs: str = "") -> apsw.Connection:
    """An open, migrated database. `vfs` names a registered SQLite VFS; "" is the system's. Raises DatabaseError."""
    check_library()
    db = apsw.Connection(str(path), vfs=vfs or None, statementcachesize=STATEMENT_CACHE)
    try:
        for pragma in _PRAGMAS:
            db.execute(f"PRAGMA {pragma}").fetchall()
        keep_plans(db)
        migrate(db, MIGRATIONS)
    except BaseException:
        db.close(True)
        raise
    return db
