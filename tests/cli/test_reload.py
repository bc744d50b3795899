"""postlane reload, and how the command line tells what a node refuses."""

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from relay.cli import queue, reload
from relay.cli.main import main
from relay.cluster import DECIDE, FOLLOW, MEET, TURN, VOTES


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the running node answers."""
    answer: dict[str, Any] = {}

    def request(data_dir: Path, question: dict[str, Any], patience: float) -> dict[str, Any]:
        assert (data_dir, question) == (tmp_path / "data", {"do": "reload", "by": getpass.getuser()})
        assert patience > 2 * 60 + TURN + MEET + VOTES + DECIDE + FOLLOW, "as long as the supervisor may need"
        return answer

    monkeypatch.setattr(reload, "request", request)
    return answer


DONE = {
    "node": "mx-a",
    "version": "c41b08",
    "before": "3f9a1c",
    "config": "7be210",
    "config_before": "7be210",
    "seconds": 0.314,
    "waits": [],
}


def test_what_is_in_force_and_the_way_back(
    folders: list[str], node: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    node |= DONE
    assert main(["reload", *folders]) == 0
    expected = "mx-a  c41b08 in force (0.31 s)\nUndo: postlane policies rollback 3f9a1c\n"
    assert capsys.readouterr() == (expected, "")


def test_what_else_is_said(folders: list[str], node: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    node |= DONE | {"before": "c41b08", "config_before": "000000", "waits": ["node.name: warning: needs a restart"]}
    assert main(["reload", *folders]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mx-a  c41b08 in force (0.31 s)",
        "config/ has changed too, and is in force",
        "node.name: warning: needs a restart",
    ]


def test_how_it_stands_on_the_other_nodes(
    folders: list[str], node: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    others = [
        {"node": "mx-b", "policies": "c41b08", "up": True, "heard": 0},
        {"node": "mx-c", "policies": "3f9a1c", "up": True, "heard": 0},
        {"node": "mx-d", "policies": "3f9a1c", "up": False, "heard": 212},
    ]
    node |= DONE | {"nodes": others}
    assert main(["reload", *folders]) == 0
    assert capsys.readouterr().out.splitlines()[1:-1] == [
        "mx-b  c41b08 in force",
        "mx-c  has 3f9a1c in force, and is taking c41b08 over: postlane status",
        "mx-d  has not been heard for 212 s; it takes c41b08 when it is back",
    ]


def test_files_too_broken_to_be_read_still_name_the_node(
    folders: list[str], node: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "config" / "postlane.toml"
    file.write_text(file.read_text() + "[[")
    node |= {"error": "config/ on disk has 1 error", "problems": ["config/postlane.toml:5: x"]}
    assert main(["reload", *folders]) == 1
    assert capsys.readouterr().err == "config/postlane.toml:5: x\npostlane: config/ on disk has 1 error\n"


def test_a_staging_node_says_whose_mail_leaves(
    folders: list[str], node: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    node |= DONE | {"before": "c41b08", "only_to": ["a.example"]}
    assert main(["reload", *folders]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  only_to: mail leaves for a.example alone; all other mail is captured here"
    ]


def test_what_is_wrong_with_the_files(
    folders: list[str], node: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    node |= {"error": "policies have errors", "problems": ["routes.toml:1: a", "retry.toml:2: b"]}
    assert main(["reload", *folders]) == 1
    assert capsys.readouterr() == ("", "routes.toml:1: a\nretry.toml:2: b\npostlane: policies have errors\n")


@pytest.mark.parametrize(
    ("answer", "told", "status"),
    [
        (DONE, DONE | {"undo": "postlane policies rollback 3f9a1c"}, 0),
        (DONE | {"before": "c41b08"}, DONE | {"before": "c41b08", "undo": None}, 0),
        ({"error": "no"}, {"error": "no"}, 1),
    ],
)
def test_as_json(
    folders: list[str],
    node: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    answer: dict[str, Any],
    told: dict[str, Any],
    status: int,
) -> None:
    node |= answer
    assert main(["reload", "--json", *folders]) == status
    assert json.loads(capsys.readouterr().out) == told


def test_without_a_node(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reload", *folders]) == 1
    assert "postlane: mx-a is not running" in capsys.readouterr().err


def test_what_the_node_refuses_is_told_without_a_traceback(
    folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "request", lambda *_: {"error": "worker-0 is not running"})
    assert main(["queue", "list", *folders]) == 1
    assert capsys.readouterr().err == "postlane: worker-0 is not running\n"
