"""`postlane explain ID`: what was decided then, and what would differ under the files on disk."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay.cli import explain_past
from relay.cli.main import main
from tests.support.company import Node

NOW = 1_795_262_731_104  # 2026-11-21T12:05:31.104Z


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTLANE_CONFIG", raising=False)
    monkeypatch.delenv("POSTLANE_POLICIES", raising=False)
    return Node(tmp_path, NOW)


def screen(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["explain", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def facts(capsys: pytest.CaptureFixture[str], identifier: str) -> dict[str, Any]:
    (line,) = screen(capsys, identifier, "--json")
    found: dict[str, Any] = json.loads(line)
    return found


def test_nothing_differs(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    one = node.accepted("dana@gmail.com", "noa@walla.co.il")
    node.event(type="delivered", id=one, rcpt=0, recipient="dana@gmail.com", pool="transactional")
    version = node.put_in_force()
    assert screen(capsys, one) == [
        f"{one}   From: shop@marom.example   Subject: Your order 77",
        "Accepted Sat 21 Nov 14:05:31 under policies 3f9a1c. Decided then:",
        "",
        "  Stream   order           streams.toml:7",
        "  Class    transactional",
        "  Brand    marom",
        "",
        "  dana@gmail.com        delivered, pool transactional",
        "  noa@walla.co.il       waits",
        "",
        f"Under the files on disk ({version}) nothing would differ.",
    ]
    found = facts(capsys, one)
    assert (found["file"], found["class"], found["stream"], found["confidence"]) == (
        one,
        "transactional",
        "order",
        None,
    )
    assert (found["evidence"], found["policies"], found["differs"]) == ([], "3f9a1c", [])
    assert found["on_disk"] == {
        "policies": version,
        "stream": "order",
        "class": "transactional",
        "brand": "marom",
        "refused": None,
        "pools": ["transactional"],
    }
    assert found["recipients"][1] == {"recipient": "noa@walla.co.il", "decision": "waits", "pool": None}


def test_of_what_waits_it_says_how_fast_its_site_takes_mail_now(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = node.accepted("dana@gmail.com", "noa@walla.co.il")
    node.event(type="delivered", id=one, rcpt=0, recipient="dana@gmail.com", pool="transactional")
    node.event(type="deferred", id=one, rcpt=1, recipient="noa@walla.co.il", pool="transactional", site="elsewhere")
    row = {
        "site": "elsewhere",
        "source": "198.51.100.10",
        "direction": "down",
        "until": None,
        "said": "9 of 25/s, down",
    }
    paces = {"paces": [row, {**row, "site": "google"}], "standing": []}
    monkeypatch.setattr("relay.cli.explain.request", lambda *_, **__: paces)
    lines = screen(capsys, one)
    at = lines.index("  noa@walla.co.il       waits, pool transactional")
    assert lines[at + 1].strip() == "elsewhere: pace now 9 of 25/s, down (transactional mail is not held by it)"
    assert not any("google: pace" in line for line in lines), "that one has left"


def test_what_would_differ_is_named_with_its_place(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    one = node.accepted(confidence=0.98, evidence=["order", "greeting"], brand="")
    node.event(type="delivered", id=one, rcpt=0, recipient="dana@gmail.com", pool="transactional")
    node.edit("policies/streams.toml", 'name = "order"', 'name = "receipts"')
    node.edit("policies/streams.toml", 'class = "transactional"', 'class = "service"')
    lines = screen(capsys, one)
    assert "  Class    transactional   evidence: 0.98; order, greeting" in lines
    assert "  Brand    none" in lines
    assert lines[-5].endswith("):")
    assert lines[-4:] == [
        '  Stream   order -> receipts   streams.toml:7: credential woo, subject "order"',
        "  Class    transactional -> service   streams.toml:11: the stream says so",
        "  Brand    none -> marom   brands.toml:3: domain marom.example",
        "  Pool     transactional -> service",
    ]
    assert facts(capsys, one)["differs"] == ["brand", "class", "pool", "stream"]


def test_a_contradiction_is_shown_and_no_difference(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"claimed": "transactional", "class": "marketing", "judged": "marketing", "contradiction": "rerouted"}
    one = node.accepted(confidence=0.91, evidence=["discount"], **facts)
    node.event(type="delivered", id=one, rcpt=0, recipient="dana@gmail.com", pool="marketing")
    lines = screen(capsys, one)
    assert "  Class    marketing       evidence: marketing 0.91, rerouted, claimed transactional; discount" in lines
    assert lines[-1].endswith("nothing would differ.")


def test_it_would_be_refused(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    one = node.accepted()
    node.edit("policies/credentials.toml", 'domains = ["marom.example"]\nstreams', 'domains = ["x.example"]\nstreams')
    *_, last = screen(capsys, one)
    assert "it would be refused: 550 5.7.1 From domain marom.example is not one of woo's: x.example." in last
    found = facts(capsys, one)
    assert (found["differs"], found["on_disk"]["refused"]) == (["refused"], "from-domain")


def test_what_was_not_recorded_is_said(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    one = node.accepted()
    node.edit("policies/streams.toml", "match.header.List-Unsubscribe", "match.header.X-New")
    *_, last = screen(capsys, one)
    assert last.endswith(
        "cannot be decided: streams.toml:1 (newsletter) asks for header x-new, which was not recorded."
    )
    found = facts(capsys, one)
    assert found["on_disk"]["undecided"] == {
        "rule": "policies/streams.toml:1",
        "stream": "newsletter",
        "asks": "header.x-new",
    }
    assert found["differs"] == []


def test_the_app_s_own_stream(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    one = node.accepted(named=True, stream="digest", rule=None, brand="kinor", **{"class": "service"})
    lines = screen(capsys, one)
    assert "  Stream   digest          named by the app" in lines
    assert lines[-1].endswith("nothing would differ.")


def test_a_message_that_waits_and_has_no_event_any_more(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = {
        "id": "01kaj2m8q4x7aaaa",
        "rcpt": 0,
        "recipient": "dana@gmail.com",
        "domain": "gmail.com",
        "sender": "shop@marom.example",
        "from": "shop@marom.example",
        "subject": "Hello",
        "credential": "kinor",
        "brand": "kinor",
        "stream": "kinor",
        "class": "service",
        "accepted": "2026-11-21T12:05:31.104Z",
        "size": 900,
    }
    asked: list[dict[str, Any]] = []

    def answer(data_dir: Path, question: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(question)
        return [{"items": [item]}]

    monkeypatch.setattr(explain_past, "pages", answer)
    lines = screen(capsys, "01kaj2m8q4x7aaaa")
    assert asked == [{"do": "queue.page", "selector": {"id": "01kaj2m8q4x7aaaa"}}]
    assert lines[1] == "Accepted Sat 21 Nov 14:05:31. Decided then:"
    assert "  dana@gmail.com        waits" in lines
    assert "cannot be decided: streams.toml:1 (newsletter) asks for header list-unsubscribe" in lines[-1]
    item["accepted"] = "odd"
    assert screen(capsys, "01kaj2m8q4x7aaaa")[1] == "Accepted ?. Decided then:"


def test_who_is_not_known(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    report = node.accepted(report_of="01kaj2m8q4x7aaaa")
    assert main(["explain", "01kaj2m8q4x7aaaa", report]) == 1
    first, second = capsys.readouterr().err.splitlines()
    events = node.folder / "data" / "events"
    assert first == f"postlane explain: 01kaj2m8q4x7aaaa: no event of it in {events}, and it does not wait here"
    assert second.endswith("it is a report of our own, or its event cannot be read")


def test_without_config_nobody_knows_an_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTLANE_CONFIG", raising=False)
    monkeypatch.setattr("relay.config.places.SYSTEM", tmp_path / "etc")
    assert main(["explain", "01kaj2m8q4x7aaaa"]) == 1
    assert "is no file; and without a config/ nobody knows where" in capsys.readouterr().err
