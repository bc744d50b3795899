"""`postlane queue`: the words of a command line as the node hears them, and what it answers as people read it."""

import json
from typing import Any

import pytest

from relay.cli import queue
from relay.cli.main import main
from tests.support.fake_node import FakeNode

ITEM = {
    "id": "01kaj2m8q4x7aaaa",
    "recipient": "dana@b.example",
    "class": "marketing",
    "attempts": 1,
    "held": False,
    "in_flight": False,
    "next_attempt": "2026-11-21T12:00:00.000Z",
    "last_reply": "451 later",
    "waits_for": None,
    "suspension": None,
    "why": "tried once, then put off: 451 later",
}


class QueueNode(FakeNode):
    """Answers every page with `items`."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[dict[str, Any]] = [ITEM]
        self.left: dict[str, Any] = {}
        self.others: list[str] = []

    def reply(self, question: dict[str, Any]) -> dict[str, Any]:
        if question["do"] == "queue.count":
            return {"count": len(self.items), "cursor": None}
        if question["do"] == "queue.change":
            return {"changed": len(self.items), "in_flight": 0, "cursor": None, **self.left}
        if question["do"] == "versions":
            return {"node": "relay-1", "others": self.others}
        return {"items": self.items, "cursor": None}

    @property
    def selectors(self) -> list[dict[str, Any]]:
        return [question["selector"] for question in self.asked if "selector" in question]

    @property
    def recorded(self) -> dict[str, Any]:
        """The last of the facts it was to record."""
        facts: dict[str, Any] = [question for question in self.asked if question["do"] == "record"][-1]["facts"]
        return facts


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> QueueNode:
    node = QueueNode()
    monkeypatch.setattr(queue, "request", node)
    return node


@pytest.mark.parametrize(
    ("words", "selector"),
    [
        ([], {}),
        (["--pool", "cold-*"], {"pool": "cold-*"}),
        (["--domain", "a.example", "--domain", "*.b.example"], {"domain": ["a.example", "*.b.example"]}),
        (
            ["--class", "MARK*", "--older-than", "2h", "--held"],
            {"class": "MARK*", "older_than": 7_200_000, "held": True},
        ),
    ],
)
def test_selectors_as_the_node_hears_them(
    node: QueueNode, folders: list[str], words: list[str], selector: dict[str, Any]
) -> None:
    assert main(["queue", "list", *words, *folders]) == 0
    assert node.selectors == [selector]


@pytest.mark.parametrize("action", ["list", "show", "hold", "release", "retry", "cancel"])
def test_every_command_has_all_of_them(node: QueueNode, folders: list[str], action: str) -> None:
    names = ("domain", "site", "stream", "credential", "brand", "campaign", "pool", "recipient")
    words = [word for name in names for word in (f"--{name}", f"{name}-*")]
    yes = ["--yes"] if action not in ("list", "show") else []
    assert main(["queue", action, *words, "--class", "service", *yes, *folders]) == 0
    assert {json.dumps(one, sort_keys=True) for one in node.selectors} == {
        json.dumps({**{name: f"{name}-*" for name in names}, "class": "service"}, sort_keys=True)
    }


def test_a_class_that_is_none_is_misuse(
    node: QueueNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as misuse:
        main(["queue", "list", "--class", "bulk", *folders])
    assert misuse.value.code == 2
    assert '"bulk" is none of transactional, service, marketing' in capsys.readouterr().err


@pytest.mark.parametrize("action", ["show", "hold", "cancel"])
def test_some_commands_need_to_know_which_mail(
    node: QueueNode, folders: list[str], capsys: pytest.CaptureFixture[str], action: str
) -> None:
    assert main(["queue", action, *folders]) == 2
    assert f"postlane queue {action}: say which mail: an ID" in capsys.readouterr().err
    assert node.asked == []


def test_show_by_id_and_by_selector(node: QueueNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "show", "01kaj2m8q4x7aaaa", "--domain", "b.*", *folders]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "why           tried once, then put off: 451 later\nnext          2026-11-21T12:00:00.000Z\nid "
    )
    assert "last_reply    451 later\n" in shown
    assert node.selectors == [{"id": "01kaj2m8q4x7aaaa", "domain": "b.*"}]
    node.items = []
    assert main(["queue", "show", "01kaj2m8q4x7aaaa", *folders]) == 1
    assert main(["queue", "show", "--pool", "x", *folders]) == 1
    assert capsys.readouterr().err == (
        "01kaj2m8q4x7aaaa does not wait here. Its story: postlane message 01kaj2m8q4x7aaaa\nNothing that waits fits.\n"
    )


def test_a_change_counts_first_and_is_recorded(
    node: QueueNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["queue", "hold", "--stream", "a", "--stream", "b*", "--reason", "look", "--yes", *folders]) == 0
    assert capsys.readouterr().out == "1 held.\n"
    assert [question["do"] for question in node.asked][:3] == ["queue.count", "queue.change", "record"]
    facts = node.recorded
    assert (facts["action"], facts["what"], facts["changed"]) == ("queue hold", {"stream": ["a", "b*"]}, 1)
    assert main(["queue", "hold", "--all", "--yes", *folders]) == 0
    assert node.recorded["what"] == {}, "always an object"
    capsys.readouterr()
    assert main(["queue", "cancel", "--pool", "x", "--dry-run", "--json", *folders]) == 0
    assert json.loads(capsys.readouterr().out) == {"would_change": 1}
    assert node.asked[-1]["do"] == "queue.count", "nothing was changed"


def test_a_name_that_nobody_knows_is_told_of_where_nothing_fits(
    node: QueueNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.unheard = ['no stream "newz" in streams.toml; did you mean "news"?']
    assert main(["queue", "hold", "--stream", "newz", "--yes", *folders]) == 0
    assert (node.names, capsys.readouterr().err) == ([], "")
    node.items = []
    assert main(["queue", "hold", "--stream", "newz", "--dry-run", *folders]) == 0
    assert capsys.readouterr().err == 'Mind: no stream "newz" in streams.toml; did you mean "news"?\n'
    assert main(["queue", "list", "--stream", "newz", *folders]) == 0
    assert 'did you mean "news"?' in capsys.readouterr().err
    assert node.names == [{"stream": "newz"}] * 2


def test_mail_is_moved_to_a_pool(node: QueueNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "move", "--stream", "news", "--to", "cold", "--yes", *folders]) == 0
    assert capsys.readouterr().out == "1 moved.\n"
    assert (node.asked[1]["action"], node.asked[1]["to"], node.asked[1]["total"]) == ("move", "cold", 1)
    assert node.recorded["to"] == "cold"
    node.left = {"left": {"transactional": 2, "service": 3, "marketing": 1}}
    assert main(["queue", "move", "--all", "--to", "cold", "--yes", *folders]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 moved.",
        "2 transactional ones stay: they move where they are named, by --class transactional or an ID.",
        "4 stay: that pool is for transactional mail alone.",
    ]
    assert main(["queue", "move", "--all", "--to", "cold", "--yes", "--json", *folders]) == 0
    assert json.loads(capsys.readouterr().out)["left"] == {"transactional": 2, "service": 3, "marketing": 1}
    with pytest.raises(SystemExit) as misuse:
        main(["queue", "move", "--stream", "news", "--yes", *folders])
    assert misuse.value.code == 2


def test_an_id_that_does_not_wait_here_is_said(
    node: QueueNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.items = []
    assert main(["queue", "release", "01kaj2m8q4x7aaaa", "--yes", *folders]) == 1
    said = capsys.readouterr()
    assert said.out == "0 released.\n"
    assert said.err == "01kaj2m8q4x7aaaa does not wait here. Its story: postlane message 01kaj2m8q4x7aaaa\n"
    assert main(["queue", "hold", "01kaj2m8q4x7aaaa", "--dry-run", *folders]) == 1
    assert main(["queue", "hold", "--stream", "news", "--yes", *folders]) == 0, "a selector may fit nothing"


def test_in_a_cluster_it_says_whose_queue_it_is(
    node: QueueNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.others = ["relay-2", "relay-3"]
    for words in (["list"], ["hold", "--stream", "news", "--yes"]):
        assert main(["queue", *words, *folders]) == 0
        assert capsys.readouterr().err == "This is the queue of relay-1; ask relay-2, relay-3, too.\n"
        assert main(["queue", *words, "--json", *folders]) == 0
        assert capsys.readouterr().err == ""


def test_what_the_node_cannot_mean_is_told(
    folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "request", lambda *_: {"error": 'no mail goes to pool "x" now; there are a'})
    assert main(["queue", "list", "--pool", "x", *folders]) == 1
    assert capsys.readouterr().err == 'postlane: no mail goes to pool "x" now; there are a\n'


def test_a_line_says_why_it_waits() -> None:
    assert queue.line(ITEM).endswith("  attempts 1  next 2026-11-21T12:00:00.000Z  451 later")
    item = {**ITEM, "waits_for": "send-window: window il is closed"}
    assert queue.line(item).endswith("00.000Z  send-window: window il is closed  451 later")
