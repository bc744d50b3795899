"""`postlane pace`: paces as people read them, and the words of an order as the node hears them."""

import getpass
import json
from typing import Any

import pytest

from relay.cli import pace
from relay.cli.main import main
from tests.support.fake_node import FakeNode

SLOW = {
    "site": "google",
    "source": "192.0.2.1",
    "pool": "marketing",
    "pace": 31.2,
    "ceiling": 40,
    "direction": "recovering",
    "since": 1_795_267_531_104,
    "last_reply": "250 2.0.0 OK",
    "until": None,
    "why": "421 4.7.28",
    "said": "31 of 40/s, recovering since 14:02 (421 4.7.28)",
}
PAUSED = {
    **SLOW,
    "site": "microsoft",
    "pace": None,
    "direction": "paused",
    "until": 1_795_274_731_104,
    "said": "paused: x",
}
FREE = {**SLOW, "site": "walla", "source": "", "pace": None, "direction": "free", "said": "free", "last_reply": None}
ORDER = {
    "kind": "order",
    "site": "google",
    "pool": "*",
    "rate": "10/second",
    "until": 1_795_274_731_104,
    "by": "noa",
    "reason": "complaints",
}
ASIDE = {
    "kind": "aside",
    "who": "192.0.2.1",
    "site": "microsoft",
    "until": 1_795_274_731_104,
    "why": "550 5.7.1 S3150",
    "place": "policies/shaping.toml:22",
    "soft": False,
}  # fmt: skip


class PacingNode(FakeNode):
    """`paces` to who asks for those."""

    def __init__(self) -> None:
        super().__init__(
            {"order": {"site": "google", "pool": None, "rate": "10/second", "until": "2026-11-21T14:00:00.000Z"}}
        )
        self.paces: dict[str, Any] = {"paces": [SLOW, PAUSED, FREE], "standing": [ORDER, ASIDE]}

    def reply(self, question: dict[str, Any]) -> dict[str, Any]:
        return self.paces if question["do"] == "paces" else super().reply(question)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> PacingNode:
    node = PacingNode()
    monkeypatch.setattr(pace, "request", node)
    return node


def test_paces_that_hold_something_are_listed_with_what_stands_beside_them(
    node: PacingNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pace", *folders]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ordered  google: at most 10/second from each source until 2026-11-21T15:25:31.104Z, by noa (complaints)",
        "aside    192.0.2.1 for microsoft until 2026-11-21T15:25:31.104Z, by policies/shaping.toml:22: 550 5.7.1 S3150",
        "google     192.0.2.1        marketing       31 of 40/s, recovering since 14:02 (421 4.7.28)"
        "   last reply: 250 2.0.0 OK",
        "microsoft  192.0.2.1        marketing       paused: x, until 2026-11-21T15:25:31.104Z"
        "   last reply: 250 2.0.0 OK",
    ]


@pytest.mark.parametrize(
    ("words", "sites"),
    [
        (["--all"], ["google", "microsoft", "walla"]),
        (["--site", "walla"], ["walla"]),
        (["--pool", "service", "--all"], []),
    ],
)
def test_which_paces(
    node: PacingNode, folders: list[str], capsys: pytest.CaptureFixture[str], words: list[str], sites: list[str]
) -> None:
    assert main(["pace", *words, "--json", *folders]) == 0
    assert [json.loads(line)["site"] for line in capsys.readouterr().out.splitlines()] == sites


def test_nothing_to_tell(node: PacingNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    node.paces = {"paces": [], "standing": []}
    main(["pace", *folders])
    main(["pace", "--site", "google", *folders])
    assert capsys.readouterr().out.splitlines() == [
        "No site that mail went to lately slows it down.",
        "No mail went there lately.",
    ]


def test_an_order(node: PacingNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pace", "--site", "google", "--rate", "10/second", "--for", "2h", "--reason", "complaints", *folders]
    assert main(words) == 0
    assert node.asked == [
        {
            "do": "pace",
            "site": "google",
            "pool": "",
            "rate": "10/second",
            "for": 7_200_000,
            "by": getpass.getuser(),
            "via": "cli",
            "reason": "complaints",
        }
    ]
    assert capsys.readouterr().out == (
        "google: at most 10/second from each source, on all nodes, until 2026-11-21T14:00:00.000Z, "
        "or postlane pace --site google --end\n"
    )
    node.answer["order"]["pool"] = "marketing"
    main([*words, "--pool", "marketing", "--json"])
    assert json.loads(capsys.readouterr().out)["undo"] == "postlane pace --site google --pool marketing --end"


def test_a_site_that_nobody_knows_is_told_of(
    node: PacingNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.unheard = ['no site "gogle" in shaping.toml, nor a domain; did you mean "google"?']
    assert main(["pace", "--site", "gogle", "--rate", "5/minute", "--for", "2h", "--dry-run", *folders]) == 0
    assert node.names == [{"site": "gogle"}]
    assert 'did you mean "google"?' in capsys.readouterr().err


def test_a_dry_run_changes_nothing(node: PacingNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    order = ["pace", "--site", "google", "--rate", "10/second", "--for", "2h", "--dry-run", *folders]
    assert main(order) == 0
    assert main([*order, "--pool", "marketing"]) == 0
    assert main(["pace", "--site", "google", "--end", "--dry-run", *folders]) == 0
    assert {question["do"] for question in node.asked} == {"paces"}
    assert capsys.readouterr().out.splitlines() == [
        "google: would be at most 10/second from each source. Nothing was changed.",
        "google, pool marketing: would be at most 10/second from each source. Nothing was changed.",
        "Would end: ordered  google: at most 10/second from each source until 2026-11-21T15:25:31.104Z, by noa (complaints)",
    ]


def test_an_end(node: PacingNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    node.answer = {"ended": [ASIDE]}
    assert main(["pace", "--site", "microsoft", "--end", *folders]) == 0
    assert capsys.readouterr().out.startswith("Ended: aside    192.0.2.1 for microsoft until")
    assert main(["pace", "--site", "microsoft", "--end", "--json", *folders]) == 0
    assert json.loads(capsys.readouterr().out) == {"ended": [ASIDE]}
    node.answer = {"ended": []}
    assert main(["pace", "--site", "microsoft", "--end", *folders]) == 1
    assert capsys.readouterr().err == "Nothing is ordered or put aside at microsoft.\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--rate", "1/second", "--for", "2h"],
        ["--site", "google", "--rate", "1/second"],
        ["--end"],
        ["--site", "google", "--end", "--rate", "1/second", "--for", "2h"],
    ],
)
def test_misuse(node: PacingNode, folders: list[str], words: list[str]) -> None:
    assert main(["pace", *words, *folders]) == 2
    assert node.asked == []


def test_what_the_node_refuses(node: PacingNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    node.answer = {"error": '"fast" is no rate'}
    assert main(["pace", "--site", "google", "--rate", "fast", "--for", "2h", *folders]) == 1
    assert capsys.readouterr().err == 'postlane: "fast" is no rate\n'
