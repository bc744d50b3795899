"""What a node keeps of one person: found for him, and taken out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay import dossier
from relay.control import Refused
from relay.dossier import KINDS, MOST_OCTETS, Dossier, events_of
from relay.event import iso
from relay.feedback.eventforget import forget
from relay.web.captures import Captures
from tests.support.desk_node import DeskNode

NOW = 1_795_267_531_104
KEY = bytes.fromhex("0f" * 16)
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dossier, "_OUTBOX", 0.0)


@pytest.fixture
def node(tmp_path: Path) -> DeskNode:
    return DeskNode(tmp_path)


def asking(node: DeskNode) -> Callable[[Json], Json]:
    return lambda question: node(Path(), question)


def line(who: str, number: int = 1) -> str:
    facts = {"time": iso(NOW), "type": "delivered", "event_id": f"e{number}", "id": "m1", "rcpt": 0, "recipient": who}
    return json.dumps({**facts, "domain": who.rpartition("@")[2], "detail": "x" * 40}) + "\n"


def test_all_that_is_kept_is_found_in_its_kind(node: DeskNode, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / f"{iso(NOW)[:13]}.0.jsonl").write_text(line("dana@gmail.com") + line("noa@gmail.com", 2))
    captures = Captures(tmp_path / "capture")
    captures.add("app@a.example", ["noa@gmail.com", "D.ana@gmail.com"], [], b"Subject: Hi\r\n\r\nh\xe9llo\r\n", NOW)
    captures.add("app@a.example", ["noa@gmail.com"], [], b"Subject: Hers\r\n\r\n", NOW)
    captures.add("app@a.example", ["dana@gmail.com"], [], b"x" * (MOST_OCTETS + 1), NOW)
    node.queued = [{"id": "m9", "recipient": who} for who in ("d.a.n.a@gmail.com", "noa@gmail.com")]
    node.sent = [{"id": "m1", "rcpt": 0, "recipient": "dana@gmail.com"}]
    node.untold = [{"credential": "crm", "event": {"recipient": "dana@gmail.com"}}]
    his = Dossier(tmp_path, asking(node), "dana@gmail.com", KEY)
    found: dict[str, list[Json]] = {kind: [] for kind in KINDS}
    for kind, one in his.found():
        found[kind].append(one)
    assert [one["recipient"] for one in found["waiting"]] == ["d.a.n.a@gmail.com"]
    assert (found["sent"], found["untold"]) == (node.sent, node.untold)
    assert [one["event_id"] for one in found["events"]] == ["e1"]
    first, large = found["captured"]
    assert first == {"time": iso(NOW), "sender": "app@a.example", "size": 22, "content": "Subject: Hi\r\n\r\nh�llo\r\n"}
    assert (large["size"], len(large["content"])) == (MOST_OCTETS + 1, MOST_OCTETS)
    assert his.counted() == {"events": 1, "waiting": 1}
    assert repr(his) == f"<Dossier of {'0f' * 16}>"


def test_what_is_forgotten_is_on_record_without_him(node: DeskNode, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / f"{iso(NOW)[:13]}.0.jsonl").write_text(line("dana@gmail.com") + line("noa@gmail.com", 2))
    node.queued = [{"id": "m9", "recipient": who} for who in ("d.a.n.a@gmail.com", "noa@gmail.com")]
    node.sent = [{"id": f"m{number}", "rcpt": 0, "recipient": "dana@gmail.com"} for number in range(2)]
    node.untold = [{"credential": "crm", "event": {}}]
    his = Dossier(tmp_path, asking(node), "dana@gmail.com", KEY)
    done = his.forget({"by": "noa", "via": "cli", "reason": "letter", "kept": []})
    assert done == {"cancelled": 1, "captures": 0, "events": 1, "untold": 1}
    assert node.cancelled == [{"id": "m9", "recipient": "d.a.n.a@gmail.com"}]
    assert node.unsent == [["m0", 0], ["m1", 0]]
    of_hooks = [one for one in node.asked if one["do"] == "webhooks"]
    assert [(one["forget"], one["key"]) for one in of_hooks] == [(True, KEY.hex())]
    (audit,) = node.events("audit")
    assert (audit["action"], audit["by"], audit["what"]) == ("recipient --forget", "noa", {"key": KEY.hex()})
    assert "dana" not in json.dumps(audit)
    node.sent = []
    assert his.forget({})["events"] == 0, "it may be done again"


def test_captured_mail_goes_with_him(node: DeskNode, tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    captures = Captures(folder)
    kept, his = (
        captures.add("app@a.example", to, [], b"Subject: Hi\r\n\r\nhello\r\n", 1)
        for to in (["noa@gmail.com"], ["noa@gmail.com", "D.ana@gmail.com"])
    )
    (folder / "odd.json").write_text("{")
    assert Dossier(tmp_path, asking(node), "dana@gmail.com", KEY).forget({})["captures"] == 1
    assert {path.name for path in folder.iterdir()} == {f"{kept.name}.json", f"{kept.name}.eml", "odd.json"}
    assert captures.get(kept.name) == kept
    assert captures.get(his.name) is None, "nor does the page of a running node show him"


def test_what_the_node_refuses_is_said(tmp_path: Path) -> None:
    his = Dossier(tmp_path, lambda _: {"error": "worker-0: it is gone"}, "dana@gmail.com", KEY)
    with pytest.raises(Refused, match="worker-0"):
        his.forget({})


def test_events_without_addresses_are_his_by_his_key(tmp_path: Path) -> None:
    events = [
        {
            "time": f"2026-11-21T10:0{n}:00Z",
            "type": "delivered",
            "event_id": f"e{n}",
            "recipient": who,
            "domain": "b.example",
        }
        for n, who in enumerate(
            [f"~{KEY.hex()}@b.example", "Dana@b.example", f"~{'1' * 32}@b.example", "noa@b.example"]
        )
    ]
    (tmp_path / "2026-11-21T10.0.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    assert [one["event_id"] for one in events_of(tmp_path, "dana@b.example", KEY.hex())] == ["e0", "e1"]
    assert forget(tmp_path, "dana@b.example", KEY) == 2
    assert list(events_of(tmp_path, "dana@b.example", KEY.hex())) == []
