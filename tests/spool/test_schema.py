"""How a shard's file is opened."""

import json
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from relay.database import migrate
from relay.message import Change, MailClass
from relay.spool import rows, schema
from relay.spool.store import Selector, Spool, SpoolError
from tests.support.letters import letter
from tests.support.queued import MARKETING, NOW


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


async def test_a_file_of_before_priorities_keeps_all_its_mail(tmp_path: Path) -> None:
    """As 0.1 wrote it: form 1, without `turn` and `stream` in a recipient's row and without `priority` among the facts."""
    before = [name for name in rows.RECIPIENT_COLUMNS if name not in ("turn", "stream", "pool", "freed")]
    letters = [letter(1, recipients=3, stream="order"), letter(2, stream="news", mail_class=MARKETING, held=True)]
    db = apsw.Connection(str(tmp_path / "0.db"))
    db.execute(schema.MIGRATIONS[0])
    db.pragma("user_version", 1)
    for row, (message, deliveries) in enumerate(letters, 1):
        message.row, message.many = row, len(deliveries) > 1
        facts = rows.message_row(message)
        db.execute("INSERT INTO message VALUES (?, ?, ?, json_remove(?, '$.priority'), ?)", facts)
        for delivery in deliveries:
            columns = dict(zip(rows.RECIPIENT_COLUMNS, rows.recipient_row(row, delivery), strict=True))
            marks = ",".join("?" * len(before))
            db.execute(f"INSERT INTO recipient VALUES ({marks})", [columns[name] for name in before])  # noqa: S608
    db.close()

    spool = Spool(tmp_path / "0.db", clock=lambda: NOW, on_fatal=lambda error: pytest.fail(repr(error)))
    await spool.open()
    expected = [replace(d, message=replace(m, content=None)) for m, deliveries in letters for d in deliveries]
    assert (await spool.page(Selector(), None, 10)).deliveries == expected
    lane = (MailClass.TRANSACTIONAL, "google", "order", 0)
    assert await spool.lanes(MailClass.TRANSACTIONAL, None, 10) == [(lane, letters[0][0].accepted_at)]
    assert await spool.due(lane, NOW, 10, ()) == expected[:3]
    assert await spool.lanes(MARKETING, None, 10) == []
    held = expected[3]
    held.held = False
    await spool.settle(Change(again=[held]))
    assert await spool.due((MARKETING, "google", "news", 0), NOW, 10, ()) == [held]
    assert await spool.content(held.message) == letters[1][0].content
    await spool.close()


def test_an_upgrade_that_does_not_fit_on_the_disk_changes_nothing(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "0.db"))
    db.execute(schema.MIGRATIONS[0])
    db.execute(
        "INSERT INTO message VALUES (1, 'x', 0, json_object('stream', printf('%0300d', 7)), 'x');"
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)"
        "INSERT INTO recipient SELECT 1, i, 2, 'google', 0, 0, 0, 0, 0, '', '', '[]', zeroblob(400) FROM n;"
    )
    db.pragma("user_version", 1)
    db.execute(f"PRAGMA max_page_count = {db.pragma('page_count') + 2}")
    with pytest.raises(apsw.FullError):
        migrate(db, schema.MIGRATIONS)
    assert db.pragma("user_version") == 1
    assert (
        db.execute("SELECT count(*) FROM recipient INDEXED BY recipient_due WHERE held = 0 AND class = 2").get == 1000
    )
    db.close()
    db = schema.connect(tmp_path / "0.db")
    assert db.execute("SELECT count(*), min(stream), max(turn) FROM recipient").get == (1000, f"{7:0300}", 0)
    db.close()


async def test_a_file_of_before_message_ids_still_knows_what_it_sent(tmp_path: Path) -> None:
    """Rows of form 5 held all facts of a message; those of the first days no source."""
    db = apsw.Connection(str(tmp_path / "0.db"))
    for migration in schema.MIGRATIONS[:5]:
        db.execute(migration)
    db.pragma("user_version", 5)
    facts = {"credential": "shop", "brand": "arava", "message_id": "<7@a.example>", "subject": "Order", "mail_class": 2}
    named = ["dana@b.example", "b.example", "shop@a.example", "b-1@bounce.a.example", "", "rfc822;dana@b.example"]
    for index, more in ((0, ["192.0.2.3"]), (1, [])):
        packed = json.dumps([NOW - 5, facts, named, "google", NOW, *more])
        db.execute("INSERT INTO sent VALUES ('01kaj2order00000', ?, ?, 1)", (index, packed))
    db.close()
    spool = Spool(tmp_path / "0.db", clock=lambda: NOW, on_fatal=lambda error: pytest.fail(repr(error)))
    await spool.open()
    for index, source in ((0, "192.0.2.3"), (1, "")):
        found = await spool.sent("01kaj2order00000", index)
        assert found is not None
        delivery, heard = found
        assert (delivery.recipient, delivery.orcpt, delivery.site, delivery.source) == (
            named[0],
            named[5],
            "google",
            source,
        )
        assert (delivery.message.brand, delivery.message.mail_class, delivery.arrived, heard) == (
            "arava",
            MARKETING,
            NOW,
            1,
        )
    assert await spool.sent_as(("7@a.example", "dana@b.example")) is None, "they are not in the index"
    delivery.message.skeleton = "0ffe12345678"
    identifier, index, packed, *_ = rows.sent_row(delivery, "192.0.2.3", "google", 0)
    assert rows.sent_of(identifier, index, packed).message.skeleton == "0ffe12345678"
    before = json.loads(packed)
    before.remove("0ffe12345678")
    assert rows.sent_of(identifier, index, json.dumps(before)) == rows.sent_of(
        identifier, index, packed.replace("0ffe12345678", "")
    ), "a row of form 6 from before templates"
    await spool.close()
