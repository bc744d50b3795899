"""`postlane suspend` and `resume`: the words of a command line as the node hears them, and what people read."""

import json
from typing import Any

import pytest

from relay.cli import queue, suspend
from relay.cli.main import main
from tests.support.fake_node import FakeNode

NEWS = {
    "id": 5, "what": {"stream": "news"}, "said": "stream news", "reason": "old list", "by": "noa", "node": "relay-1",
    "since": "2026-11-21T07:40:00.000Z", "until": None, "undo": "postlane resume --stream news",
}  # fmt: skip
OTHER = {
    **NEWS,
    "id": 6,
    "said": "site x",
    "reason": "",
    "undo": "postlane resume --site x",
    "until": "2026-11-21T09:40:00.000Z",
}


class SuspendingNode(FakeNode):
    """Counts `by_class`, suspends and resumes whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.by_class = {"transactional": 12, "marketing": 9_000, "service": 120}
        self.ended: list[dict[str, Any]] = [NEWS]
        self.left: list[dict[str, Any]] = []

    def reply(self, question: dict[str, Any]) -> dict[str, Any]:
        if question["do"] == "queue.count":
            return {"count": sum(self.by_class.values()), "by_class": self.by_class, "cursor": None}
        if question["do"] == "suspend":
            until = "2026-11-21T09:40:00.000Z" if question["for"] else None
            return {"suspension": {**NEWS, "until": until}}
        return {"ended": self.ended, "left": self.left}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> SuspendingNode:
    node = SuspendingNode()
    monkeypatch.setattr(queue, "request", node)
    monkeypatch.setattr(suspend, "request", node)
    return node


def test_it_counts_first_and_says_what_it_leaves_alone(
    node: SuspendingNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suspend", "--stream", "news", "--for", "2h", "--reason", "old list", "--yes", *folders]) == 0
    count, told = node.asked
    assert count["selector"] == {"stream": ["news"], "held": False}
    assert (told["what"], told["for"], told["reason"], told["waiting"]) == (
        {"stream": ["news"]}, 7_200_000, "old list", 9_120,
    )  # fmt: skip
    assert capsys.readouterr().out == (
        "Suspended: stream news; 9,120 deliveries wait on this node, until 2026-11-21T09:40:00.000Z, or "
        "postlane resume --stream news\n"
        "Transactional mail is left alone; to hold it too, name its class: --class transactional, or --class '*'. "
        "(12 transactional ones fit, and go on.)\n"
    )


def test_old_mail_alone(node: SuspendingNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suspend", "--stream", "news", "--older-than", "2h", "--yes", *folders]) == 0
    count, told = node.asked
    assert count["selector"] == {"stream": ["news"], "older_than": 7_200_000, "held": False}
    assert told["what"] == {"stream": ["news"], "older-than": ["2h"]}
    assert main(["resume", "--older-than", "2h", "--yes", *folders]) == 0
    assert node.asked[-1]["what"] == {"older-than": ["2h"]}
    with pytest.raises(SystemExit):
        main(["suspend", "--older-than", "soon", *folders])
    assert "--older-than" in capsys.readouterr().err


def test_a_class_that_is_named_is_counted(
    node: SuspendingNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suspend", "--all", "--class", "*", "--yes", *folders]) == 0
    assert (node.asked[1]["what"], node.asked[1]["waiting"], node.asked[1]["for"]) == ({"class": ["*"]}, 9_132, None)
    assert "left alone" not in capsys.readouterr().out


def test_who_mistypes_a_name_is_told_where_no_mail_waits_of_it(
    node: SuspendingNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["suspend", "--stream", "newz", "--domain", "b.example", "--yes", *folders]
    node.unheard = ['no stream "newz" in streams.toml; did you mean "news"?']
    assert main(words) == 0
    assert (node.names, capsys.readouterr().err) == ([], ""), "mail of it waits from before a file changed"
    node.by_class = {}
    assert main([*words, "--dry-run"]) == 0
    assert node.names == [{"stream": ["newz"]}]
    assert capsys.readouterr().err == 'Mind: no stream "newz" in streams.toml; did you mean "news"?\n'
    assert main(words) == 0
    assert node.asked[-1]["do"] == "suspend", "mail to come may be of it"
    assert main(["suspend", "--domain", "b.example", "--yes", *folders]) == 0
    assert len(node.names) == 2, "of other selectors nobody knows all values"


@pytest.mark.parametrize("command", ["suspend", "resume"])
def test_every_selector_is_heard(node: SuspendingNode, folders: list[str], command: str) -> None:
    names = ("domain", "site", "stream", "credential", "brand", "campaign", "pool", "recipient")
    words = [word for name in names for word in (f"--{name}", f"{name}-*")]
    assert main([command, *words, "--class", "service", "--class", "mark*", "--yes", *folders]) == 0
    assert node.asked[-1]["what"] == {**{name: [f"{name}-*"] for name in names}, "class": ["service", "mark*"]}


@pytest.mark.parametrize("command", ["suspend", "resume"])
def test_it_must_be_said_which_mail(
    node: SuspendingNode, folders: list[str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, *folders]) == 2
    assert f"postlane {command}: say which mail" in capsys.readouterr().err
    assert node.asked == []


def test_a_dry_run_changes_nothing(
    node: SuspendingNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suspend", "--stream", "news", "--dry-run", *folders]) == 0
    assert capsys.readouterr().out.startswith("9,120 deliveries that wait on this node would be held. Nothing was")
    assert main(["suspend", "--stream", "news", "--dry-run", "--json", *folders]) == 0
    assert json.loads(capsys.readouterr().out) == {"would_hold": 9_120, "left_alone": 12}
    assert main(["resume", "--stream", "news", "--dry-run", *folders]) == 0
    assert capsys.readouterr().out == "Would be resumed: stream news\n"
    assert {question["do"] for question in node.asked} == {"queue.count", "resume"}
    assert node.asked[-1]["dry_run"]


def test_a_terminal_is_asked(
    node: SuspendingNode, folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked: list[str] = []

    def no(text: str) -> str:
        asked.append(text)
        return "n"

    monkeypatch.setattr("builtins.input", no)
    assert main(["suspend", "--all", *folders]) == 1
    assert main(["resume", "--all", *folders]) == 1
    assert asked == [
        "This stops 9,120 deliveries and all mail to come. Go on? [y/N] ",
        "This resumes stream news. Go on? [y/N] ",
    ]
    assert "Nothing was changed." in capsys.readouterr().err
    assert all(question["do"] == "queue.count" or question.get("dry_run") for question in node.asked)


def test_what_is_resumed_and_what_is_not(
    node: SuspendingNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.left = [OTHER]
    assert main(["resume", "--stream", "news", "--yes", *folders]) == 0
    assert capsys.readouterr().out == (
        "Resumed: stream news\nStill suspended: site x; since 2026-11-21T07:40:00.000Z by noa until "
        "2026-11-21T09:40:00.000Z; postlane resume --site x\n"
    )
    assert main(["resume", "--stream", "news", "--yes", "--json", *folders]) == 0
    assert json.loads(capsys.readouterr().out)["ended"] == [NEWS]
    node.ended, node.left = [], [NEWS]
    assert main(["resume", "--stream", "other", *folders]) == 1
    assert "No such suspension is in force.\nstream news: old list; since" in capsys.readouterr().err
    node.left = []
    assert main(["resume", "--all", *folders]) == 1
    assert capsys.readouterr().err == "Nothing is suspended.\n"
    assert main(["resume", "--all", "--json", *folders]) == 1
    assert json.loads(capsys.readouterr().out) == {"ended": [], "left": []}


def test_what_the_node_refuses_is_told(
    folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspend, "request", lambda *_: {"error": "not resumed: redis is away"})
    assert main(["resume", "--all", "--yes", *folders]) == 1
    assert capsys.readouterr().err == "postlane: not resumed: redis is away\n"
