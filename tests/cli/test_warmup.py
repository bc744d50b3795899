"""`postlane warmup`: budgets of new sources, and what the node hears."""

import json

import pytest

from relay.cli import warmup
from relay.cli.main import main
from tests.support.fake_node import FakeNode

ROW = {
    "source": "192.0.2.3",
    "pool": "marketing",
    "site": "google",
    "budget": 2000,
    "used": 1600,
    "said": "day 4 of 30: 1,600 of 2,000",
}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    node = FakeNode({"rows": [ROW, {**ROW, "site": None, "said": "begins on 23 Nov"}]})
    monkeypatch.setattr(warmup, "request", node)
    return node


def test_budgets(node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup", "show", *folders]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "192.0.2.3        marketing       google          day 4 of 30: 1,600 of 2,000",
        "192.0.2.3        marketing       all sites       begins on 23 Nov",
    ]
    main(["warmup", "show", "--json", *folders])
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == ROW


def test_what_the_node_is_asked(node: FakeNode, folders: list[str]) -> None:
    assert main(["warmup", "hold", "--source", "192.0.2.3", "--site", "google", "--reason", "listed", *folders]) == 0
    asked = node.asked[0]
    assert (asked["action"], asked["source"], asked["site"], asked["pool"]) == ("hold", "192.0.2.3", "google", "")
    assert (asked["via"], asked["reason"]) == ("cli", "listed")


def test_a_dry_run_only_looks(node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup", "resume", "--all", "--dry-run", *folders]) == 0
    assert node.asked[0]["action"] == "show"
    assert capsys.readouterr().out.endswith("resume would change 1 of them. Nothing was changed.\n")


def test_what_changes_needs_a_selector(node: FakeNode, folders: list[str]) -> None:
    assert main(["warmup", "hold", *folders]) == 2
    assert node.asked == []


def test_none_and_a_refusal(node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    node.answer = {"rows": []}
    assert main(["warmup", "show", *folders]) == 0
    assert "No source is being warmed up" in capsys.readouterr().out
    node.answer = {"error": "no source of that name"}
    assert main(["warmup", "hold", "--source", "x", *folders]) == 1
