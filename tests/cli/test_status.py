"""`postlane status`: one line where all is well, and what an operator must know."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay.cli import status
from relay.cli.main import main
from relay.cli.status import describe, staging
from tests.support.web import NOW, stats

CONFIG = '[node]\nhostname = "mx-a.arava.example"\n[[listener]]\nbind = "127.0.0.1:2525"\n'


def facts(**changes: Any) -> dict[str, Any]:
    return {**stats(), "started": NOW - 7_200_000, "mode": "live", "only_to": [], **changes}


def test_one_line_where_all_is_well() -> None:
    assert describe(facts(), NOW / 1000) == [
        "* relay-1  running 2 h, 1 workers   mode live   policies 3f9a1c   queue 31 (oldest accepted 41 s ago), 2 held"
    ]


def test_a_staging_node_says_so() -> None:
    lines = describe(facts(only_to=["dana@a.example", "*.b.example"]), NOW / 1000)
    assert lines[1:] == [
        "  only_to: mail leaves for dana@a.example, *.b.example alone; all other mail is captured here"
    ]
    assert "for a, b, c, d, e and 2 more alone" in staging(list("abcdefg"))


def test_a_worker_that_is_down_is_told_and_exit_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config", "policies"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "postlane.toml").write_text(CONFIG)
    folders = ["--config", str(tmp_path / "config"), "--policies", str(tmp_path / "policies")]
    answer = facts()
    monkeypatch.setattr(status, "request", lambda *_: answer)
    assert main(["status", *folders]) == 0
    answer["workers"] = [{"name": "worker-0", "up": False, "deaths": 3}]
    assert main(["status", *folders]) == 1
    assert "worker-0 is down, started 3 times again" in capsys.readouterr().out
    assert main(["status", "--json", *folders]) == 1
    assert json.loads(capsys.readouterr().out) == answer
