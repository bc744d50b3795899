"""Which library may open our files, and migrations: what is missing, never backwards, all or nothing."""

from pathlib import Path

import apsw
import pytest

from relay import database
from relay.database import DatabaseError, check_library, keep_plans, migrate

FIRST = "CREATE TABLE one (x); CREATE TABLE two (x)"


def test_only_missing_migrations_run_and_rows_stay(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "x.db"))
    migrate(db, [FIRST])
    db.execute("INSERT INTO one VALUES (7)")
    added = [FIRST, "ALTER TABLE one ADD COLUMN more TEXT DEFAULT 'x'", "DROP TABLE two"]
    migrate(db, added)
    migrate(db, added)
    assert db.pragma("user_version") == len(added)
    assert db.execute("SELECT * FROM one").get == (7, "x")
    assert not db.in_transaction


def test_a_failing_migration_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "x.db"))
    migrate(db, [FIRST])
    with pytest.raises(apsw.SQLError):
        migrate(db, [FIRST, "CREATE TABLE half (x)", "CREATE TABLE nonsense nonsense"])
    assert db.pragma("user_version") == 1
    assert not db.table_exists("main", "half")
    assert not db.in_transaction


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "x.db"))
    db.pragma("user_version", 2)
    with pytest.raises(DatabaseError, match=r"newer Postlane \(form 2, known 1\)"):
        migrate(db, [FIRST])
    assert db.pragma("user_version") == 2
    assert not db.in_transaction


@pytest.mark.parametrize("version", ["3.51.2", "3.40.1", "3.9.99"])
def test_a_library_that_may_lose_commits_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(DatabaseError, match=f"SQLite {version} may lose commits; 3.51.3 or newer"):
        check_library()
    monkeypatch.setattr(database, "SQLITE_NEEDED", tuple(map(int, version.split("."))))
    check_library()


def test_a_statement_is_planned_once_whatever_is_bound_to_it(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "x.db"))
    keep_plans(db)
    migrate(db, [FIRST])
    planned = 0

    def note(*_: object) -> int:
        nonlocal planned
        planned += 1
        return apsw.SQLITE_OK

    db.authorizer = note
    for limit in range(1, 4):
        db.execute("SELECT x FROM one ORDER BY x LIMIT ?", (limit,)).fetchall()
        if limit == 1:
            first, planned = planned, 0
    assert first > 0
    assert planned == 0
