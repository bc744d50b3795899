"""`postlane plan`: what the files on disk would change in recorded mail."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from relay.cli import plan
from relay.cli.main import main
from relay.feedback.eventlog import to_parquet
from tests.support.company import Node

HOUR = 3_600_000


class Planning:
    """A node whose events were recorded two hours ago, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.node = Node(folder, time.time_ns() // 1_000_000 - 2 * HOUR)
        self.in_force = self.node.put_in_force()
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        status = main(["plan", *words])
        out, err = self._capsys.readouterr()
        return status, out, err

    def screen(self, *words: str) -> list[str]:
        status, out, err = self.run(*words)
        assert (status, err) == (0, "")
        return out.splitlines()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.screen("--json")]


@pytest.fixture
def planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Planning:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTLANE_CONFIG", raising=False)
    monkeypatch.delenv("POSTLANE_POLICIES", raising=False)
    return Planning(tmp_path, capsys)


def test_the_same_files_change_nothing(planning: Planning) -> None:
    planning.node.accepted()
    planning.node.accepted("a@gmail.com", "b@gmail.com")
    version = planning.in_force
    assert planning.screen("--since", "24h", "--fail-on-change") == [
        f"Policies on disk ({version}) against those in force ({version}), over 2 recorded messages of the last 24h. "
        "Nothing is sent or changed.",
        "  transactional: no message changes class, pool or decision",
    ]


def test_what_changes_with_its_place_and_examples(planning: Planning) -> None:
    node = planning.node
    ids = [node.accepted(f"r{n}@gmail.com", "x@gmail.com", subject=f"Your order {n}, invoice") for n in range(4)]
    node.accepted()
    text = '[[stream]]\nname = "invoice"\nmatch.credential = "woo"\nmatch.subject = "invoice"\nclass = "service"\n\n'
    node.edit("policies/streams.toml", '[[stream]]\nname = "newsletter"', text + '[[stream]]\nname = "newsletter"')
    first, *lines = planning.screen()
    assert f"({planning.in_force}), over 5 recorded messages of the last 24h." in first
    assert lines == [
        '  streams.toml:1  stream invoice: credential woo, subject "invoice"',
        "       4 messages change stream: order -> invoice, class: transactional -> service",
        "         pool transactional -> service: 8 recipients",
        *(f'         {one}  r{n}@gmail.com  "Your order {n}, invoice"' for n, one in enumerate(ids[:3])),
        "  transactional: 4 messages change class, pool or decision",
    ]
    assert planning.run("--fail-on-change")[0] == 1
    change, summary = planning.lines()
    assert change == {
        "kind": "change",
        "place": "policies/streams.toml:1",
        "before": {"stream": "order", "class": "transactional", "brand": "marom", "refused": None},
        "after": {"stream": "invoice", "class": "service", "brand": "marom", "refused": None},
        "messages": 4,
        "recipients": 8,
        "pools": [{"before": "transactional", "after": "service", "recipients": 8}],
        "examples": [
            {"id": one, "recipient": f"r{n}@gmail.com", "subject": f"Your order {n}, invoice"}
            for n, one in enumerate(ids[:3])
        ],
    }
    assert summary == {
        "kind": "summary",
        "on_disk": summary["on_disk"],
        "in_force": planning.in_force,
        "messages": 5,
        "recipients": 9,
        "changed": 4,
        "capped_otherwise": 0,
        "undecided": 0,
        "transactional": {"changed": 4, "undecided": 0},
    }


EDITS = [
    (
        (
            "policies/credentials.toml",
            '[credential.woo]\nclass = "transactional"',
            '[credential.woo]\nclass = "service"',
        ),
        [
            "  credentials.toml:2  credential woo says so",
            "       1 message changes class: transactional -> service (stream woo)",
            "         pool transactional -> service: 1 recipient",
        ],
    ),
    (
        ("policies/credentials.toml", 'streams = ["digest"]', 'brand = "kinor"\nstreams = ["digest"]'),
        [
            "  credentials.toml:4  credential woo",
            "       1 message changes brand: marom -> kinor (stream woo)",
        ],
    ),
    (
        ("policies/routes.toml", 'transactional = "transactional"', 'transactional = "kinor"'),
        [
            "  routes.toml:2  pool kinor",
            "       1 message changes pool (stream woo)",
            "         pool transactional -> kinor: 1 recipient",
        ],
    ),
    (
        ("policies/credentials.toml", 'domains = ["marom.example"]\nstreams', 'domains = ["x.example"]\nstreams'),
        [
            "  credentials.toml:3  credential woo",
            "       1 message of stream woo would be refused: 550 5.7.1 From domain marom.example is not one of woo's: "
            "x.example. Ask postmaster@relay-1.marom.example",
        ],
    ),
    (
        ("policies/credentials.toml", "[credential.woo]", "[credential.wu]"),
        [
            "  credential woo",
            "       1 message of stream woo would be refused: 550 5.7.1 woo may not send any more",
        ],
    ),
]


@pytest.mark.parametrize(("edit", "expected"), EDITS, ids=["class", "brand", "pool", "domain", "gone"])
def test_each_kind_of_change(planning: Planning, edit: tuple[str, str, str], expected: list[str]) -> None:
    streams = planning.node.folder / "policies" / "streams.toml"
    streams.write_text('[[stream]]\nname = "digest"\n')
    planning.in_force = planning.node.put_in_force()
    one = planning.node.accepted(stream="woo", rule=None)
    planning.node.edit(*edit)
    if "[credential.wu]" in edit:
        planning.node.edit("policies/streams.toml", 'name = "digest"', 'name = "digest"\nmatch.credential = "wu"')
    assert planning.screen()[1:] == [
        *expected,
        f'         {one}  dana@gmail.com  "Your order 77"',
        "  transactional: "
        + (
            "no message changes class, pool or decision"
            if "brand" in expected[1]
            else "1 message changes class, pool or decision"
        ),
    ]


def test_what_would_be_taken_again_and_refused_otherwise(planning: Planning) -> None:
    node = planning.node
    node.accepted(**{"from": "shop@x.example"})
    node.edit("policies/credentials.toml", 'domains = ["marom.example"]\nstreams', 'domains = ["x.example"]\nstreams')
    assert "  1 message would be refused for another reason: from-domain -> unsigned" in "\n".join(planning.screen())
    node.edit("policies/brands.toml", 'domains = ["marom.example"]', 'domains = ["x.example"]\nunsigned = "send"')
    screen = "\n".join(planning.screen())
    assert "  1 message would be taken that is refused now [from-domain], as order, transactional" in screen


def test_what_nobody_recorded_is_said_and_fails_too(planning: Planning) -> None:
    node = planning.node
    node.accepted()
    node.accepted(subject="News", **{"class": "service"})
    node.edit("policies/streams.toml", "match.header.List-Unsubscribe", "match.header.X-New")
    assert planning.screen()[1:] == [
        "  undecided: 2 messages: streams.toml:1 (newsletter) asks for header x-new, which was not recorded",
        "  transactional: no message changes class, pool or decision; 1 message undecided",
    ]
    assert planning.run("--fail-on-change")[0] == 1
    undecided, summary = planning.lines()
    assert undecided == {
        "kind": "undecided",
        "place": "policies/streams.toml:1",
        "files": "on disk",
        "stream": "newsletter",
        "asks": "header.x-new",
        "messages": 2,
    }
    assert (summary["undecided"], summary["changed"]) == (2, 0)
    planning.node.put_in_force()
    node.edit("policies/streams.toml", "match.header.X-New", "match.header.List-Unsubscribe")
    assert planning.screen()[1].endswith("which was not recorded (of the files in force)")


def test_parquet_and_json_lines_alike_since_then(planning: Planning) -> None:
    node = planning.node
    node.accepted()
    to_parquet(node.folder / "data" / "events", node.now + 2 * HOUR)
    assert list((node.folder / "data" / "events").glob("*.parquet"))
    node.now += HOUR
    node.accepted()
    node.event(type="delivered", id="x", rcpt=0)
    assert "over 2 recorded messages of the last 24h." in planning.screen()[0]
    assert "over 1 recorded message of the last 90m." in planning.screen("--since", "90m")[0]
    assert "over 0 recorded messages since 2999-01-01." in planning.screen("--since", "2999-01-01")[0]


def test_misuse_and_nothing_to_compare(planning: Planning) -> None:
    assert planning.run("--since", "yesterday") == (
        2,
        "",
        'postlane plan: "yesterday" is no time: say 2h (90s, 15m, 7d) or 2026-11-21T12:00:00Z\n',
    )
    planning.node.edit("policies/streams.toml", 'name = "order"', 'name = "order"\nclas = "x"')
    status, out, err = planning.run()
    assert (status, out) == (1, "")
    assert "unknown key; did you mean class?" in err
    (planning.node.folder / "data" / "versions" / "in-force.json").unlink()
    assert planning.run() == (
        1,
        "",
        f"postlane: nothing is in force here that could be compared (no {planning.node.folder}/data/versions): "
        "start the node\n",
    )


def test_a_bar_shows_how_far_it_is(planning: Planning, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[float, str]] = []
    monkeypatch.setattr("relay.cli.progress.Progress.show", lambda _, share, word="": shown.append((share, word)))
    planning.node.accepted()
    planning.screen("--since", "4h")
    assert [word for _, word in shown] == ["", "0 messages"]
    assert 0.4 < shown[1][0] < 0.6
    assert plan._share({"time": "odd"}, 0, 100) == 0.0
