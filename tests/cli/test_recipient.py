"""`postlane recipient`: what is known of a person, what he is given, and what is left when he is forgotten."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay import dossier
from relay.cli import recipient, suppress
from relay.cli.events import now_ms
from relay.cli.main import main
from relay.config import whereabouts
from relay.event import iso
from relay.feedback.eventarchive import read, to_parquet
from tests.support.desk_node import DeskNode


def event(at: int, kind: str, who: str, number: int, **more: Any) -> bytes:
    facts = {"v": 1, "time": iso(at), "type": kind, "event_id": f"e{number}", "id": f"m{number}", "rcpt": 0}
    facts |= {"credential": "crm", "brand": "arava", "class": "marketing", "stream": "news", "subject": "Hi"}
    return json.dumps({**facts, "recipient": who, "domain": who.rpartition("@")[2], **more}).encode() + b"\n"


@pytest.fixture
def node(tmp_path: Path, folders: list[str], monkeypatch: pytest.MonkeyPatch) -> DeskNode:
    node = DeskNode(tmp_path)
    for module in (suppress, recipient):
        monkeypatch.setattr(module, "request", node)
    monkeypatch.setattr(dossier, "_OUTBOX", 0.0)
    monkeypatch.setattr(recipient, "_POLL", 0.0)
    return node


@pytest.fixture
def events(folders: list[str]) -> Path:
    directory = whereabouts(Path(folders[1])).data_dir / "events"
    directory.mkdir(parents=True, exist_ok=True)
    now = now_ms()
    old = now - 40 * 86_400_000
    (directory / f"{iso(old)[:13]}.0.jsonl").write_bytes(event(old, "delivered", "dana@gmail.com", 1))
    to_parquet(directory, now)
    (directory / f"{iso(now)[:13]}.0.open.jsonl").write_bytes(
        event(now - 9_000, "delivered", "d.ana@gmail.com", 2)
        + event(now - 8_000, "delivered", "noa@gmail.com", 3)
        + event(now - 7_000, "delivered", "Dana+x@gmail.com", 4, credential="club")
        + event(now - 6_000, "delivered", "dana@gmail.com", 5, **{"class": "transactional"})
        + event(now - 5_000, "withheld", "dana@gmail.com", 6, reason="suppressed", detail="marketing, manual")
    )
    return directory


def run(folders: list[str], *words: str) -> int:
    return main(["recipient", *words, *folders])


def test_all_that_is_known_is_shown_with_what_undoes_it(
    node: DeskNode, events: Path, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["suppress", "add", "dana@gmail.com", "--stop", "topic:offers", "--brand", "arava", *folders])
    wish = {"do": "people", "what": "wish", "recipient": "dana@gmail.com", "brand": "arava", "at_most": "1/week"}
    node(events, {**wish, "topics_off": ["tips"], "paused_until": now_ms() + 60_000})
    node(
        events,
        {
            "do": "people",
            "what": "engaged",
            "entries": [{"recipient": "dana@gmail.com", "brand": "arava", "day": 20_000}],
        },
    )
    capsys.readouterr()
    assert run(folders, "Da.Na@gmail.com") == 0
    shown = capsys.readouterr().out
    assert "  topic offers of arava  manual, cli  since 20" in shown
    assert "postlane suppress remove Da.Na@gmail.com --stop topic:offers --brand arava --reason manual" in shown
    assert "  arava: topics off: tips; at most 1/week; paused until 20" in shown
    assert "  arava: last on 2024-10-04; 0 unanswered since" in shown
    assert "  arava: 2 (crm 1, club 1)" in shown
    assert "marketing, manual" in shown.splitlines()[-1]
    assert "noa@" not in shown
    assert run(folders, "dana@gmail.com", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["marketing_31d"] == {"arava": {"crm": 1, "club": 1}}
    assert [one["id"] for one in told["last_events"]] == ["m2", "m4", "m5", "m6"]
    assert told["blocks"][0]["undo"].endswith("--reason manual")


def test_what_he_used_of_each_cap_is_shown() -> None:
    one = {"cap": "arava", "limit": "3/week", "used": 2, "under_way": 1, "by": {"arava marketing": 2}}
    assert recipient._of_cap(one) == "  arava 3/week: 2 used (arava marketing 2), 1 under way"
    assert recipient._of_cap({**one, "used": 0, "by": {}, "under_way": 0}) == "  arava 3/week: 0 used, 0 under way"


def test_of_a_stranger_it_says_that_nothing_is_known(
    node: DeskNode, events: Path, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folders, "nobody@b.example") == 0
    shown = capsys.readouterr().out
    for line in ("none: all mail goes", "none: each mail", "nothing is known", "none in 31 days"):
        assert line in shown
    assert run(folders, "no address") == 1


def test_a_request_for_access_is_answered_with_everything_also_from_parquet(
    node: DeskNode, events: Path, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["suppress", "add", "dana@gmail.com", *folders])
    node.queued = [{"id": "m9", "recipient": "d.a.n.a@gmail.com"}, {"id": "m9", "recipient": "noa@gmail.com"}]
    capsys.readouterr()
    assert run(folders, "dana@gmail.com", "--export") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in told["events"]] == ["m1", "m2", "m4", "m5", "m6"]
    assert told["known"]["blocks"][0]["stop"] == "all"
    assert [one["recipient"] for one in told["waiting"]] == ["d.a.n.a@gmail.com"]
    assert (told["known"]["failures"], told["known"]["counted"]) == ({}, [])
    assert told["nodes"] == {"answered": ["relay-1"], "silent": []}
    assert run(folders, "nobody@b.example", "--export") == 0
    assert json.loads(capsys.readouterr().out)["events"] == []


def test_who_is_forgotten_is_in_no_file_any_more_and_is_sent_nothing(
    node: DeskNode, events: Path, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["suppress", "add", "dana@gmail.com", "--note", "called by phone", *folders])
    node.queued = [{"id": "m9", "recipient": "d.a.n.a@gmail.com"}, {"id": "m9", "recipient": "noa@gmail.com"}]
    node.sent = [{"id": "m1", "rcpt": 0, "recipient": "dana@gmail.com"}]
    assert run(folders, "dana@gmail.com", "--forget", "--dry-run") == 0
    assert "5 events and 1 queued mails are of him. Nothing was changed." in capsys.readouterr().out
    assert run(folders, "dana@gmail.com", "--forget", "--yes", "--reason", "letter of 21 Nov") == 0
    said = capsys.readouterr().out
    assert "Forgotten: 5 events changed, 1 queued mails cancelled" in said
    assert "all mail (manual), marketing (erased)" in said
    assert node.cancelled == [{"id": "m9", "recipient": "d.a.n.a@gmail.com"}]
    assert node.unsent == [["m1", 0]]
    for file in events.iterdir():
        assert b"dana" not in file.read_bytes().lower()
        assert b"d.ana" not in file.read_bytes().lower()
    assert len(list(read(events))) == 6
    audit = node.events("audit")[-1]
    assert (audit["reason"], audit["events"]) == ("letter of 21 Nov", 5)
    assert "dana" not in json.dumps(audit)
    assert run(folders, "dana@gmail.com", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted((one["reason"], one["note"]) for one in told["blocks"]) == [("erased", ""), ("manual", "")]
    assert run(folders, "dana@gmail.com", "--forget", "--yes", "--stop", "nothing", "--json") == 0
    assert json.loads(capsys.readouterr().out)["events"] == 0


def answered(of: str, **more: Any) -> dict[str, Any]:
    return {"node": of, "last": True, **more}


def test_what_other_nodes_keep_is_given_too_with_who_did_not_answer(
    node: DeskNode, events: Path, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.queued = [{"id": "m9", "recipient": "dana@gmail.com"}]
    node.sent_to = {"id": "a1", "node": "relay-1", "asked": ["relay-2", "relay-4"], "later": ["relay-3"]}
    there = {"items": [["events", {"event_id": "far"}], ["sent", {"id": "m7"}]]}
    node.others = [
        {**answered("relay-2", **there), "last": False},
        answered("relay-2", items=[]),
        answered("relay-4", failed="it cannot be read; it tries again"),
    ]
    assert run(folders, "dana@gmail.com", "--export") == 1
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert [one["event_id"] for one in told["events"]] == ["far", "e1", "e2", "e4", "e5", "e6"]
    assert told["sent"] == [{"node": "relay-2", "id": "m7"}]
    assert told["waiting"] == [{"node": "relay-1", "id": "m9", "recipient": "dana@gmail.com"}]
    assert told["nodes"] == {"answered": ["relay-1", "relay-2"], "silent": ["relay-3", "relay-4"]}
    assert said.err == "relay-3, relay-4 did not answer: ask again when all nodes are there.\n"
    (sent,) = [one for one in node.asked if one.get("what") == "send"]
    assert (sent["errand"], sent["recipient"]) == ("export", "dana@gmail.com")
    assert [one["id"] for one in node.asked if one.get("what") == "end"] == ["a1"]


def test_who_is_forgotten_is_forgotten_by_all_nodes(
    node: DeskNode,
    events: Path,
    folders: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipient, "_PATIENCE", 0.05)
    node.sent_to = {"id": "a1", "node": "relay-1", "asked": ["relay-2", "relay-4"], "later": ["relay-3"]}
    node.others = [answered("relay-2", done={"events": 3, "cancelled": 2, "captures": 0, "untold": 0}), {}]
    assert run(folders, "dana@gmail.com", "--forget", "--yes", "--reason", "letter") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        "relay-2: Forgotten: 3 events changed, 2 queued mails cancelled.",
        "relay-3 is not there; it follows when it is back.",
        "relay-4 has not ended yet: its log says when.",
    ]
    (sent,) = [one for one in node.asked if one.get("what") == "send"]
    assert sent["said"]["kept"] == [{"stop": "marketing", "brand": None, "reason": "erased"}]
    assert sent["said"]["reason"] == "letter"
    node.sent_to |= {"asked": ["relay-2"], "later": []}
    node.others = [answered("relay-2", done={"events": 1, "waiting": 0})]
    assert run(folders, "dana@gmail.com", "--forget", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["relay-2: 1 events and 0 queued mails are of him."]
    node.others = [answered("relay-2", failed="the disk is full; it tries again")]
    assert run(folders, "dana@gmail.com", "--forget", "--yes", "--json") == 1
    assert json.loads(capsys.readouterr().out)["nodes"] == {"relay-2": {"failed": "the disk is full; it tries again"}}


def test_a_node_that_failed_and_tried_again_while_others_were_at_it_counts_as_it_ended(
    node: DeskNode, events: Path, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.sent_to = {"id": "a1", "node": "relay-1", "asked": ["relay-2", "relay-4"], "later": []}
    done = {"events": 3, "cancelled": 2, "captures": 0, "untold": 0}
    node.others = [
        answered("relay-2", failed="the disk is full; it tries again"),
        answered("relay-2", done=done),
        answered("relay-4", done=done),
    ]
    assert run(folders, "dana@gmail.com", "--forget", "--yes", "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["nodes"] == {"relay-2": done, "relay-4": done}
