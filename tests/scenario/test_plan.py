"""Policy changed without fear: what `plan` says of mail that a live node took is what happens after the reload."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.test_queue import POOLS, live
from tests.support.node import CREDENTIALS, Node, wait_for
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

BEFORE = """\
[[stream]]
name = "newsletter"
match.credential = "local"
match.header.List-Unsubscribe = "*"
class = "marketing"

[[stream]]
name = "order"
match.credential = "local"
match.subject = "order"
class = "transactional"
"""
AFTER = """\
[[stream]]
name = "points"
match.credential = "local"
match.header.X-Job = "points-*"
class = "service"

[[stream]]
name = "invoice"
match.subject = "invoice"
match.recipient_domain = "example.org"
class = "service"

""" + BEFORE.replace('"marketing"', '"service"')


@dataclass(frozen=True)
class Mail:
    """One message, and what both versions make of it: (stream, class). Without an `after`: the same."""

    subject: str
    before: tuple[str, str]
    after: tuple[str, str] | None = None
    to: tuple[str, ...] = ("dana@example.com",)
    headers: tuple[tuple[str, str], ...] = ()
    source: str = "127.0.0.1"

    def send(self, node: Node) -> str:
        return node.send(list(self.to), subject=self.subject, headers=dict(self.headers), source=self.source)


UNSUBSCRIBE = ("List-Unsubscribe", "<https://test.example/u/1>")
MAILS = [
    Mail("Hello", ("local", "transactional")),
    Mail("Your order 77", ("order", "transactional")),
    Mail("Your order 78", ("order", "transactional"), to=("a@example.org", "b@example.org")),
    Mail("Your order, invoice 79", ("order", "transactional")),
    Mail(
        "Your order, invoice 80",
        ("order", "transactional"),
        ("invoice", "service"),
        to=("a@example.com", "b@example.org"),
    ),
    Mail("News", ("newsletter", "marketing"), ("newsletter", "service"), headers=(UNSUBSCRIBE,)),
    Mail("News", ("bulk", "marketing"), headers=(UNSUBSCRIBE,), source="127.0.0.9"),
    Mail("Your invoice", ("bulk", "marketing"), ("invoice", "service"), to=("c@example.org",), source="127.0.0.9"),
]


def accepted(node: Node, one: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = wait_for("the event", partial(node.events, id=one, type="accepted"))
    return found


def took(node: Node, one: str) -> tuple[str, str]:
    event = accepted(node, one)[0]
    return event["stream"], event["class"]


def planned(node: Node, *words: str) -> list[dict[str, Any]]:
    done = node.run("plan", "--since", "1h", "--json", *words)
    assert done.stderr == ""
    assert done.returncode == (1 if words else 0)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_plan_says_exactly_what_a_reload_then_does(tmp_path: Path) -> None:
    files = {
        "config/pools.toml": POOLS,
        "policies/streams.toml": BEFORE,
        "policies/credentials.toml": CREDENTIALS,
    }
    with Sink() as sink, live(tmp_path, sink, files=files) as node:
        ids = [mail.send(node) for mail in MAILS]
        assert [took(node, one) for one in ids] == [mail.before for mail in MAILS]

        # Named by none of the rules then in force, X-Job was not recorded: that is said, and nothing guessed.
        (tmp_path / "policies" / "streams.toml").write_text(AFTER)
        assert node.run("check").returncode == 0
        *_, undecided, summary = planned(node, "--fail-on-change")
        assert (undecided["asks"], undecided["stream"]) == ("header.x-job", "points")
        local = sum(mail.source == "127.0.0.1" for mail in MAILS)
        assert summary["undecided"] == local

        (tmp_path / "policies" / "streams.toml").write_text(AFTER.partition("\n\n")[2])
        *changes, summary = planned(node, "--fail-on-change")
        assert (summary["messages"], summary["recipients"]) == (len(MAILS), sum(len(mail.to) for mail in MAILS))
        assert (summary["changed"], summary["undecided"]) == (sum(mail.after is not None for mail in MAILS), 0)
        assert summary["transactional"] == {"changed": 1, "undecided": 0}
        told = {example["id"]: change for change in changes for example in change["examples"]}
        for one, mail in zip(ids, MAILS, strict=True):
            if mail.after is None:
                assert one not in told
                continue
            before, after = told[one]["before"], told[one]["after"]
            assert (before["stream"], before["class"], after["stream"], after["class"]) == (*mail.before, *mail.after)
        invoice = told[ids[4]]
        assert (invoice["place"], invoice["recipients"]) == ("policies/streams.toml:1", 2)
        assert invoice["pools"] == [{"before": "transactional", "after": "service", "recipients": 2}]
        screen = node.run("plan", "--since", "1h").stdout
        assert "  1 message changes stream: order -> invoice, class: transactional -> service" in screen
        assert "  transactional: 1 message changes class, pool or decision" in screen
        differs = node.run("explain", ids[4], ids[0]).stdout
        assert "  Stream   order -> invoice   streams.toml:1: " in differs
        assert differs.rstrip().endswith("nothing would differ.")

        assert node.run("reload").returncode == 0
        again = [mail.send(node) for mail in MAILS]
        assert [took(node, one) for one in again] == [mail.after or mail.before for mail in MAILS]
        pools = [node.final(one)["pool"] for one in again]
        assert pools == [(mail.after or mail.before)[1] for mail in MAILS]
        (summary,) = planned(node)
        assert (summary["messages"], summary["changed"]) == (2 * len(MAILS), 0)


def test_explain_and_the_live_node_say_the_same(tmp_path: Path) -> None:
    files = {"config/pools.toml": POOLS, "policies/streams.toml": BEFORE, "policies/credentials.toml": CREDENTIALS}
    with Sink() as sink, live(tmp_path, sink, files=files) as node:
        one = node.send("dana@example.com", subject="Your order 77", headers={"X-Test": "1", "Bcc": "x@example.com"})
        node.final(one)
        event = accepted(node, one)[0]
        sent = b"From: app@test.example\nTo: dana@example.com\nSubject: Your order 77\nX-Test: 1\nBcc: x@example.com\n\nHello\n"
        (tmp_path / "mail.eml").write_bytes(sent)
        done = node.run("explain", str(tmp_path / "mail.eml"), "--credential", "local", "--json")
        found = json.loads(done.stdout)
        for name in ("stream", "class", "rule", "policies"):
            assert found[name] == event[name]
        assert found["brand"] is None
        assert found["signed"] == event["signed"]
        assert (found["pool"], found["recipients"][0]["sources"]) == ("transactional", ["127.0.0.2"])
        (message,) = sink.messages
        assert all(message.header(name) for name in found["adds"])
        assert not any(message.header(name) for name in found["removes"])
        assert found["removes"] == ["Bcc"]

        stop = node.run("suppress", "add", "dana@example.com", "--stop", "all", "--yes", "--reason", "manual")
        assert stop.returncode == 0, stop.stderr
        (dana,) = json.loads(node.run("explain", str(tmp_path / "mail.eml"), "--json").stdout)["recipients"]
        assert dana["decision"] == "withhold"
        assert dana["reason"].startswith("suppressed: all, manual, cli on ")
