"""How a shard's file is opened."""

from pathlib import Path

import apsw
import pytest

from relay.spool import schema
from relay.spool.store import Spool, SpoolError


def test_a_new_file_has_every_migration(tmp_path: Path) -> None:
    db = schema.connect(tmp_path / "0.db")
    assert db.pragma("user_version") == len(schema.MIGRATIONS)
    assert db.pragma("page_size") == 8192
    assert db.pragma("journal_mode") == "wal"
    assert db.pragma("synchronous") == 2
    db.close()


async def test_what_must_not_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = schema.connect(tmp_path / "0.db")
    db.pragma("user_version", len(schema.MIGRATIONS) + 1)
    db.close()
    for said in ("newer Postlane", "may lose commits"):
        spool = Spool(tmp_path / "0.db", clock=int, on_fatal=lambda error: pytest.fail(repr(error)))
        with pytest.raises(SpoolError, match=f"cannot be opened: .*{said}"):
            await spool.open()
        monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
