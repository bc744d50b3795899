"""What all SQLite files of ours share: which library may open them, and how their tables come to the newest form.

`PRAGMA user_version` counts the migrations a file has seen. They are only ever added to; what is missing runs in one
transaction, so that a file is never half of one form and half of another.
"""

from collections.abc import Sequence

import apsw

# Older libraries can lose committed transactions when two connections write and checkpoint: the WAL-reset bug of 3.7.0 to
# 3.51.2 (DESIGN's decisions).
SQLITE_NEEDED = (3, 51, 3)


class DatabaseError(Exception):
    """A file that must not be opened by this program; the words are for the admin."""


def check_library() -> None:
    """Raises DatabaseError where SQLite is one that may lose commits."""
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < SQLITE_NEEDED:
        needed = ".".join(map(str, SQLITE_NEEDED))
        raise DatabaseError(f"SQLite {version} may lose commits; {needed} or newer is needed")


def migrate(db: apsw.Connection, migrations: Sequence[str]) -> None:
    """Runs what the file has not seen, under the write lock, so that of several processes one does it.

    Raises DatabaseError for a file from a newer Postlane, which is left alone, and apsw.Error with nothing changed.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        seen = db.pragma("user_version")
        if seen > len(migrations):
            raise DatabaseError(f"it was written by a newer Postlane (form {seen}, known {len(migrations)})")
        for number, script in enumerate(migrations[seen:], seen + 1):
            db.execute(script)
            db.pragma("user_version", number)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def keep_plans(db: apsw.Connection) -> None:
    """Statements are planned once, whatever is bound to them. As SQLite comes it plans those with `LIMIT ?` and the like anew
    each time they run: of a read of due mail that was three quarters."""
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
