"""`postlane webhooks`: what people and scripts see, and what the node hears."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.cli import webhooks
from relay.cli.main import main
from relay.event import iso
from tests.support.clocks import START
from tests.support.fake_node import FakeNode

TRIED: dict[str, Any] = {
    "sequence": 9, "at": START, "post": "msg_2", "events": 1200, "try": 3, "status": 500,
    "answer": "shop.example answered 500", "ms": 88,
}  # fmt: skip
ROW: dict[str, Any] = {
    "credential": "shop", "url": "https://shop.example/hook", "events": ["bounced"], "brands": ["arava"],
    "secret_file": "/etc/postlane/secrets/shop",
    "secrets": [{"until": None}, {"until": START}], "trouble": "", "waiting": 1200, "oldest": START, "failing": START,
    "beyond": None, "last": TRIED, "dead": True,
}  # fmt: skip
NEW: dict[str, Any] = {
    **ROW, "credential": "crm", "events": [], "secrets": [], "trouble": "it cannot be read", "waiting": 0, "oldest": None,
    "failing": None, "beyond": START, "last": None,
}  # fmt: skip


class Hooks(FakeNode):
    """Two webhooks, two pages of tries."""

    def reply(self, question: dict[str, Any]) -> dict[str, Any]:
        taken = {
            **TRIED,
            "sequence": 8,
            "at": START - 60_000,
            "post": "msg_1",
            "events": 1,
            "status": 204,
            "answer": "204",
        }
        pages = {None: [TRIED], 9: [taken], 8: []}
        match question["what"]:
            case "list":
                return {"rows": [ROW, NEW], "counts": []}
            case "log":
                return {"rows": pages[question["before"]]}
        return super().reply(question)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    node = Hooks({"credential": "shop", "since": 1, "until": 2})
    monkeypatch.setattr(webhooks, "request", node)
    monkeypatch.setattr(webhooks, "now_ms", lambda: START + 3_600_000)
    return node


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_how_it_stands(node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhooks", "list", *folders]) == 0
    assert said(capsys) == [
        "shop                  https://shop.example/hook",
        "  events   bounced",
        "  secret   /etc/postlane/secrets/shop; an older one signs beside it until 21 Nov 12:00:00",
        "  waiting  1,200, the oldest since 21 Nov 12:00:00; nothing taken since 21 Nov 12:00:00",
        "  last     21 Nov 12:00:00  msg_2  1,200 events, try 3, 88 ms: shop.example answered 500",
        "crm                   https://shop.example/hook",
        "  events   all",
        "  secret   /etc/postlane/secrets/shop: it cannot be read",
        "  waiting  0; nothing was told yet",
        "  more     from 21 Nov 12:00:00 on is fetched from the event log when there is room",
    ]
    main(["webhooks", "list", "--json", *folders])
    assert [json.loads(line) for line in said(capsys)] == [ROW, NEW]


def test_none(folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "request", FakeNode({"rows": []}))
    assert main(["webhooks", "list", *folders]) == 0
    assert said(capsys) == ["No credential has a webhook: webhook = { url = ... } in policies/credentials.toml."]


def test_what_was_tried(node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhooks", "log", "shop", *folders]) == 0
    assert said(capsys) == [
        "21 Nov 12:00:00  msg_2  1,200 events, try 3, 88 ms: shop.example answered 500",
        "21 Nov 11:59:00  msg_1  1 event, try 3, 88 ms: 204",
    ]
    main(["webhooks", "log", "shop", "--failed", "--json", *folders])
    assert [json.loads(line)["post"] for line in said(capsys)] == ["msg_2"]
    main(["webhooks", "log", "shop", "--since", iso(START), *folders])
    assert len(said(capsys)) == 1
    assert main(["webhooks", "log", "shop", "--since", "once", *folders]) == 2


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_an_example(
    node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str], ok: bool, status: int
) -> None:
    node.answer = {"id": "msg_3", "ok": ok, "status": 204, "answer": "204", "ms": 5, "sent": '{"type":"test"}'}
    assert main(["webhooks", "test", "shop", "--type", "bounced", *folders]) == status
    assert said(capsys) == ['sent msg_3: {"type":"test"}', f"{'taken' if ok else 'not taken'} after 5 ms: 204"]
    assert node.asked[0] == {"do": "webhooks", "what": "test", "credential": "shop", "type": "bounced"}
    main(["webhooks", "test", "shop", "--json", *folders])
    assert json.loads(said(capsys)[0])["ok"] is ok


def test_a_time_is_told_again(node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    again = ["webhooks", "resend", "shop", "--since", "2h", "--reason", "their disk was full"]
    assert main([*again, "--until", "1h", *folders]) == 0
    assert said(capsys) == [
        "shop is told events of 21 Nov 11:00:00 to 21 Nov 12:00:00 again: postlane webhooks log shop"
    ]
    asked = node.asked[-1]
    assert (asked["since"], asked["until"], asked["reason"], asked["via"]) == (
        START - 3_600_000,
        START,
        "their disk was full",
        "cli",
    )
    assert main([*again, "--until", "3h", *folders]) == 2
    main([*again, "--json", *folders])
    assert json.loads(said(capsys)[0])["credential"] == "shop"


def event(name: str, **more: object) -> bytes:
    return orjson.dumps({"time": iso(START), "event_id": name, "credential": "shop", "type": "bounced", **more}) + b"\n"


def test_people_are_asked_and_a_dry_run_counts(
    node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = Path(folders[1]).parent / "data" / "events"
    events.mkdir(parents=True)
    (events / "2025-11-21T12.0.open.jsonl").write_bytes(event("a") + event("b") + event("c", type="delivered"))
    again = ["webhooks", "resend", "shop", "--since", "2h", *folders]
    assert main([*again, "--dry-run"]) == 0
    assert said(capsys) == ["2 events of 21 Nov 11:00:00 to 21 Nov 13:00:00 would be told again. Nothing was sent."]
    main([*again, "--dry-run", "--json"])
    assert json.loads(said(capsys)[0]) == {"credential": "shop", "events": 2}
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda text: "n" if text.startswith("Tell shop 2 events") else "y")
    assert main(again) == 1
    assert {question["what"] for question in node.asked} == {"list"}
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert main(again) == 0
    assert main([*again, "--yes"]) == 0
    assert main(["webhooks", "resend", "none", "--since", "2h", "--dry-run", *folders]) == 1


def test_a_new_secret_is_shown_once_and_asked_for(
    node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node.answer = {"credential": "shop", "secret": "whsec_new", "until": START, "secret_file": "/etc/shop"}
    assert main(["webhooks", "rotate", "shop", "--overlap", "2h", "--reason", "it leaked", *folders]) == 0
    assert said(capsys) == [
        "The new secret of shop, which stands in /etc/shop:",
        "",
        "  whsec_new",
        "",
        "Posts are signed by both until 21 Nov 12:00:00; give it to the app before.",
    ]
    asked = node.asked[-1]
    assert (asked["what"], asked["overlap"], asked["reason"], asked["via"]) == ("rotate", 7_200_000, "it leaked", "cli")
    assert main(["webhooks", "rotate", "shop", "--json", *folders]) == 0
    assert json.loads(said(capsys)[0])["secret"] == "whsec_new"
    assert node.asked[-1]["overlap"] == 86_400_000
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    before = len(node.asked)
    assert main(["webhooks", "rotate", "shop", *folders]) == 1
    assert len(node.asked) == before


def test_a_refusal(node: FakeNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    node.answer = {"error": "crm has no webhook"}
    assert main(["webhooks", "test", "crm", *folders]) == 1
    assert capsys.readouterr().err == "postlane: crm has no webhook\n"
