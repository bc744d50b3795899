"""`postlane health`: rates as a table, and figures of Google's handed to a worker, which is a fake."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from relay.cli import health
from relay.cli.main import main
from tests.support.fake_node import FakeNode

ROW = {"stream": "win-back", "sent": 1280, "delivered": 1239, "reporting": 0}
SHARES = {"complaints": None, "hard_bounces": 0.032, "spam_blocks": 0.0, "unsubscribes": 0.0004}
FOUND = {
    "rows": [{**ROW, **SHARES}],
    "streams": [
        {"stream": "win-back", "state": "returning", "rate": "200/hour", "reason": "hard bounces 3.2 %"},
        {"stream": "news", "state": "watched", "rate": None, "reason": "unsubscribes 2 %"},
    ],
    "sites": [
        {"site": "google", "until": None, "share": 0.96, "of": 412, "word": ""},
        {"site": "b.example", "until": 5, "share": 0.5, "of": 20, "word": "dropped"},
    ],
}


class Node(FakeNode):
    def reply(self, question: dict[str, Any]) -> dict[str, Any]:
        if question.get("what") == "figures":
            return {"changed": len(question["entries"])} if self.answer == {} else self.answer
        return super().reply(question)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node()
    monkeypatch.setattr(health, "request", made)
    return made


def run(folders: list[str], *words: str) -> int:
    return main(["health", *words, *folders])


def test_rates_as_a_table(node: Node, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    node.answer = FOUND
    assert run(folders, "show") == 0
    assert capsys.readouterr().out.splitlines() == [
        "STREAM                             SENT  COMPLAINTS     HARD     SPAM  UNSUBSCRIBED",
        "win-back                          1,280           -    3.2 %      0 %        0.04 %",
        "returning stream win-back, goes at 200/hour: hard bounces 3.2 %",
        "watched   stream news: unsubscribes 2 %",
        "bad hour  site google: 96 % of 412 unknown users, pending",
        "was bad   site b.example: 50 % of 20 unknown users, dropped",
    ]
    assert node.asked == [{"do": "health", "what": "show", "by": "stream"}]
    node.answer = {"rows": [], "streams": [], "sites": []}
    assert run(folders, "show", "--by", "site", "--since", "2h") == 0
    assert capsys.readouterr().out == "Nothing was sent lately.\n"
    assert node.asked[-1]["by"] == "site"
    assert "since" in node.asked[-1]
    node.answer = FOUND
    assert run(folders, "show", "--json") == 0
    assert json.loads(capsys.readouterr().out)["hard_bounces"] == 0.032
    node.answer = {"error": "State cannot be reached"}
    assert run(folders, "show") == 1
    assert "State cannot be reached" in capsys.readouterr().err


def test_figures_are_handed_over_in_pages(
    node: Node,
    folders: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "_PAGE", 2)
    file = tmp_path / "rates.csv"
    file.write_text("date,spam rate\n2025-11-20,0.31%\n2025-11-19,0.001\n2025-11-18,0\n")
    assert run(folders, "import", str(file), "--domain", "a.example", "--reason", "monthly") == 0
    assert capsys.readouterr().out == "3 of 3 figures are news.\n"
    assert [len(one["entries"]) for one in node.asked if one.get("what") == "figures"] == [2, 1]
    audit = node.asked[-1]["facts"]
    assert (audit["action"], audit["done"], audit["reason"]) == ("health import", 3, "monthly")
    assert run(folders, "import", str(file), "--domain", "a.example", "--dry-run") == 0
    assert capsys.readouterr().out == "3 figures are good. Nothing was changed.\n"
    assert run(folders, "import", str(file), "--domain", "a.example", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"figures": 3, "bad": 0, "changed": 3}


def test_a_bad_line_stops_all_unless_it_is_to_be_skipped(
    node: Node, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rates.csv"
    file.write_text("date,spam rate\n2025-11-20,lots\n2025-11-19,0.001\n")
    assert run(folders, "import", str(file), "--domain", "a.example") == 1
    said = capsys.readouterr().err
    assert f'{file}:2: "lots" is no rate' in said
    assert "1 of 2 lines are wrong; nothing was imported (--skip-bad)" in said
    assert node.asked == []
    assert run(folders, "import", str(file), "--domain", "a.example", "--skip-bad") == 0
    assert "1 of 1 figures are news." in capsys.readouterr().out
    assert run(folders, "import", str(tmp_path / "none")) == 1
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert run(folders, "import", str(tmp_path / "binary")) == 1
    assert "is no text in UTF-8" in capsys.readouterr().err


def test_standard_input(node: Node, folders: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"name": "domains/a.example/trafficStats/20251120"}'))
    assert run(folders, "import", "-") == 0
    assert node.asked[0]["entries"][0][0] == "a.example"
