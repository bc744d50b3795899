"""Events of long ago leave the disk of a running node, and before that some of what is in them, as [retention] says and a
reload changes."""

import shutil
import time
from pathlib import Path

import orjson
import pytest

from relay.event import iso
from relay.feedback.eventarchive import Event, events_of, to_parquet
from relay.feedback.eventlog import hour_of
from relay.masking import pseudonym
from relay.recipient import Keys
from tests.support.node import Node, wait_for

pytestmark = pytest.mark.scenario

DAY = 86_400_000


def test_old_events_are_removed(tmp_path: Path) -> None:
    now = time.time_ns() // 1_000_000
    names = [f"{hour_of(now - days * DAY)}.0.parquet" for days in (500, 20, 1)]
    hour = f"{hour_of(now - 2 * DAY)}.0"
    said = {"time": iso(now - 2 * DAY), "type": "bounced", "event_id": "e1", "recipient": "dana@b.example"}
    told = {"subject": "Hi Dana", "transcript": ["RCPT TO:<dana@b.example>"], "domain": "b.example"}
    directory = tmp_path / "data" / "events"
    directory.mkdir(parents=True)
    (directory / f"{hour}.jsonl").write_bytes(orjson.dumps(said | told) + b"\n")
    (archived,) = to_parquet(directory, now)
    for name in names:
        (directory / name).write_bytes(b"old events")

    def left() -> list[bool]:
        return [(directory / name).exists() for name in names]

    def stays() -> Event:
        copy = (
            tmp_path / "copy.parquet"
        )  # DuckDB opens a file twice, and the node may put another in its place meanwhile
        shutil.copyfile(archived, copy)
        (event,) = events_of(copy)
        return event

    with Node(tmp_path, more='[retention]\nevents = "400d"\n') as node:
        wait_for("the oldest to go", lambda: left() == [False, True, True])
        config = tmp_path / "config" / "postlane.toml"
        config.write_text(config.read_text().replace("400d", '5d"\naddresses = "1d"\ntranscripts = "1d'))
        assert stays() == said | told, "subjects stay for 30 days, and so did the rest"
        assert node.run("reload").returncode == 0
        wait_for("the next to go", lambda: left() == [False, False, True])
        assert "old events removed" in node.log()
        wait_for("his address to go", lambda: str(stays()["recipient"]).startswith("~"))
        who = Keys([(tmp_path / "data" / "secret").read_bytes()]).key("dana@b.example")
        gone = {"recipient": pseudonym(who, "b.example"), "subject": "Hi Dana", "domain": "b.example"}
        assert stays() == said | gone
