"""How a shard's file is opened: migrations one by one, never backwards."""

from pathlib import Path

import apsw
import pytest

from relay.spool import schema
from relay.spool.errors import SpoolError


def test_a_new_file_has_every_migration(tmp_path: Path) -> None:
    db = schema.connect(tmp_path / "0.db")
    assert db.pragma("user_version") == len(schema.MIGRATIONS)
    assert db.pragma("page_size") == 8192
    assert db.pragma("journal_mode") == "wal"
    assert db.pragma("synchronous") == 2
    db.close()


def test_only_missing_migrations_run_and_rows_stay(tmp_path: Path) -> None:
    db = schema.connect(tmp_path / "0.db")
    db.execute("INSERT INTO message VALUES (7, 'id', 1, '{}', x'00')")
    added = (*schema.MIGRATIONS, "ALTER TABLE message ADD COLUMN more TEXT DEFAULT 'x'")
    schema.migrate(db, added)
    schema.migrate(db, added)
    assert db.pragma("user_version") == len(added)
    assert db.execute("SELECT row, more FROM message").get == (7, "x")
    db.close()


def test_a_failing_migration_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    db = schema.connect(tmp_path / "0.db")
    with pytest.raises(apsw.SQLError):
        schema.migrate(db, (*schema.MIGRATIONS, "CREATE TABLE half (x); CREATE TABLE nonsense nonsense"))
    assert db.pragma("user_version") == len(schema.MIGRATIONS)
    assert not db.table_exists("main", "half")
    db.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    db = schema.connect(tmp_path / "0.db")
    db.pragma("user_version", len(schema.MIGRATIONS) + 1)
    db.close()
    with pytest.raises(SpoolError, match="newer Postlane"):
        schema.connect(tmp_path / "0.db")


def test_a_library_that_may_lose_commits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(SpoolError, match=r"3\.51\.2 may lose commits"):
        schema.connect(tmp_path / "0.db")
