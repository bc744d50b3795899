"""Events of long ago leave the disk of a running node, as [retention] says and a reload changes."""

import time
from pathlib import Path

import pytest

from relay.feedback.eventlog import hour_of
from tests.support.node import Node, wait_for

pytestmark = pytest.mark.scenario

DAY = 86_400_000


def test_old_events_are_removed(tmp_path: Path) -> None:
    now = time.time_ns() // 1_000_000
    names = [f"{hour_of(now - days * DAY)}.0.parquet" for days in (500, 20, 1)]
    directory = tmp_path / "data" / "events"
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_bytes(b"old events")

    def left() -> list[bool]:
        return [(directory / name).exists() for name in names]

    with Node(tmp_path, more='[retention]\nevents = "400d"\n') as node:
        wait_for("the oldest to go", lambda: left() == [False, True, True])
        config = tmp_path / "config" / "postlane.toml"
        config.write_text(config.read_text().replace("400d", "5d"))
        assert node.run("reload").returncode == 0
        wait_for("the next to go", lambda: left() == [False, False, True])
        assert "old events removed" in node.log()
