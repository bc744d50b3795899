"""`postlane suppress`: lists in, lists out, and an operator's hand on them."""

import asyncio
import io
import json
from pathlib import Path

import pytest

from relay.cli import suppress
from relay.cli.events import now_ms
from relay.cli.main import main
from relay.config import whereabouts
from relay.event import iso
from relay.room import Send, mark_of
from relay.state.sqlite import SqliteState
from tests.support.desk_node import DeskNode


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeskNode:
    node = DeskNode(tmp_path)
    monkeypatch.setattr(suppress, "request", node)
    monkeypatch.setattr(suppress, "_PAGE", 2)
    return node


def run(folders: list[str], *words: str) -> int:
    return main(["suppress", *words, *folders])


def listed(folders: list[str], capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    capsys.readouterr()
    run(folders, "list", "--json", "--limit", "0", *words)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_address_is_suppressed_shown_and_let_go_with_the_command_that_was_named(
    node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folders, "add", "Dana@B.example", "noa@b.example", "--brand", "arava", "--stop", "marketing") == 0
    said = capsys.readouterr().out
    assert said.startswith("2 suppressed: marketing of arava.\nUndo: postlane suppress remove ADDRESS --stop marketing")
    assert run(folders, "show", "dana@b.example") == 0
    shown, undo = capsys.readouterr().out.splitlines()
    assert shown.startswith("dana@b.example  marketing of arava  manual, cli  since 20")
    words = undo.split()
    assert words[:3] == ["postlane", "suppress", "remove"]
    assert run(folders, *words[2:]) == 0
    assert capsys.readouterr().out.startswith("Taken off: dana@b.example  marketing of arava")
    assert run(folders, *words[2:]) == 1
    assert "no such block" in capsys.readouterr().err
    assert run(folders, "show", "dana@b.example") == 1
    assert [event["action"] for event in node.events("audit")] == ["suppress add", "suppress remove"]
    assert len(node.events("suppressed")) == 2
    assert len(node.events("unsuppressed")) == 1


def test_what_stops_everything_says_so(node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(folders, "add", "dana@b.example", "--for", "30d", "--note", "moved away")
    assert "all mail, transactional mail too" in capsys.readouterr().out
    (row,) = listed(folders, capsys)
    assert (row["note"], bool(row["expires"])) == ("moved away", True)
    run(folders, "add", "dana@b.example", "--dry-run", "--stop", "marketing")
    assert "1 addresses would get no more: marketing. Nothing was changed." in capsys.readouterr().out
    assert len(listed(folders, capsys)) == 1


def test_a_stream_or_topic_that_nobody_knows_is_told_of(
    node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    node.unheard = ['no stream "newz" in streams.toml; did you mean "news"?']
    assert run(folders, "add", "dana@b.example", "--stop", "stream:newz") == 0
    assert node.names == [{"stream": "newz"}]
    assert capsys.readouterr().err == 'Mind: no stream "newz" in streams.toml; did you mean "news"?\n'
    assert run(folders, "add", "dana@b.example") == 0
    assert len(node.names) == 1


def test_a_brand_or_stop_that_does_not_exist_is_refused(
    node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folders, "add", "dana@b.example", "--brand", "aravva") == 1
    assert 'no brand "aravva" in brands.toml; there are arava, marom' in capsys.readouterr().err
    assert run(folders, "add", "dana@b.example", "--stop", "some") == 1
    assert run(folders, "list", "--since", "yesterday") == 2
    assert node.said == []


def test_a_list_is_imported_in_pages_and_exported_as_it_came(
    node: DeskNode, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.csv"
    file.write_text("email,stop,note\n" + "".join(f"d{n}@b.example,,n {n}\n" for n in range(5)) + "x@b.example,all,\n")
    assert run(folders, "import", str(file), "--stop", "marketing", "--brand", "arava") == 0
    assert capsys.readouterr().out == "6 suppressed, 0 were already.\n"
    rows = listed(folders, capsys)
    assert {row["source"] for row in rows} == {"old.csv"}
    assert sorted(row["stop"] for row in rows) == ["all", *["marketing"] * 5]
    assert run(folders, "export") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("recipient,key,stop")
    run(folders, "remove", "--all", "--yes")
    assert listed(folders, capsys) == []
    file.write_text(out)
    assert run(folders, "import", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"changed": 6, "same": 0, "bad": 0}
    assert [{**row} for row in listed(folders, capsys)] == rows, "all of it came back, since when it is so too"


def test_a_file_with_bad_lines_changes_nothing_unless_they_may_be_left_out(
    node: DeskNode, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.csv"
    file.write_text("dana@b.example\nnobody\n" + "oops\n" * 20)
    assert run(folders, "import", str(file), "--stop", "all") == 1
    told = capsys.readouterr().err
    assert f'{file}:2: "nobody" is no address' in told
    assert "21 bad lines, 11 of them not shown. Nothing was changed; --skip-bad takes the others." in told
    assert node.said == []
    assert run(folders, "import", str(file), "--stop", "all", "--skip-bad") == 0
    assert len(listed(folders, capsys)) == 1
    assert run(folders, "import", str(file), "--skip-bad") == 1
    assert "--stop marketing" in capsys.readouterr().err
    file.write_text(
        "email,stop,brand,reason\n" + "dana@b.example,all,,\n" * 3 + "a@b.example,all,nobody,\nb@b.example,no,,\n"
    )
    node.said.clear()
    assert run(folders, "import", str(file)) == 1
    told = capsys.readouterr().err
    assert f'{file}:5: no brand "nobody" in brands.toml; there are ' in told
    assert f'{file}:6: "no" stops nothing: all, marketing, topic:NAME or stream:NAME' in told
    assert node.said == [], "not even those before them"
    assert run(folders, "import", str(file), "--skip-bad") == 0
    file.write_bytes(b"d\xe4na@b.example\n")
    assert run(folders, "import", str(file), "--stop", "all") == 1
    assert "is no text in UTF-8" in capsys.readouterr().err
    assert run(folders, "import", str(tmp_path / "none.csv"), "--stop", "all") == 1
    assert "cannot be read" in capsys.readouterr().err


def test_it_counts_and_asks_on_a_terminal(
    node: DeskNode,
    folders: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "old.csv"
    file.write_text("dana@b.example\nnoa@b.example\n")
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert run(folders, "import", str(file), "--stop", "all") == 1
    assert "This suppresses 2 addresses. Go on? [y/N]" in capsys.readouterr().out
    assert run(folders, "import", str(file), "--stop", "all", "--dry-run") == 0
    assert node.said == []
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert run(folders, "import", str(file), "--stop", "all") == 0
    monkeypatch.setattr("sys.stdin", Terminal("3\n2\n"))
    assert run(folders, "remove", "--reason", "imported") == 1
    assert "Type 2 to go on" in capsys.readouterr().out
    assert run(folders, "remove", "--reason", "imported") == 0
    assert "2 blocks taken off." in capsys.readouterr().out


def test_standard_input_is_a_list_too(
    node: DeskNode, folders: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("dana@b.example\n"))
    assert run(folders, "import", "-", "--stop", "all") == 0
    (row,) = listed(folders, capsys)
    assert row["source"] == "standard input"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(folders, "import", "-", "--stop", "all") == 1


def test_many_are_let_go_by_site_reason_and_time_and_without_a_word_nobody_is(
    node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        run(folders, "add", f"d{number}@hotmail.example", "--reason", "bad-mailbox")
    run(folders, "add", "noa@b.example", "--reason", "bad-mailbox")
    assert run(folders, "remove") == 2
    assert "say whose or which" in capsys.readouterr().err
    bad_hour = ("--since", "1h", "--site", "hotmail.example", "--reason", "bad-mailbox")
    assert run(folders, "remove", *bad_hour, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"would_change": 5}
    assert run(folders, "remove", *bad_hour, "--yes", "--note", "bad hour") == 0
    assert [row["recipient"] for row in listed(folders, capsys)] == ["noa@b.example"]
    assert {event["reason"] for event in node.events("unsuppressed")} == {"bad hour"}
    assert node.events("audit")[-1]["removed"] == 5
    assert run(folders, "remove", *bad_hour) == 1


def test_a_dry_run_of_one_address_names_what_would_go(
    node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(folders, "add", "dana@b.example", "--stop", "marketing", "--brand", "arava")
    run(folders, "add", "dana@b.example")
    capsys.readouterr()
    assert run(folders, "remove", "dana@b.example", "--brand", "", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("Would take off: dana@b.example  all mail  manual")
    assert run(folders, "remove", "dana@b.example", "--json", "--stop", "marketing", "--brand", "arava") == 0
    assert [one["brand"] for one in json.loads(capsys.readouterr().out)["removed"]] == ["arava"]


def test_a_list_is_cut_where_it_is_long_and_empty_ones_say_so(
    node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(folders, "list")
    assert capsys.readouterr().out == "Nobody is suppressed.\n"
    for number in range(3):
        run(folders, "add", f"d{number}@b.example")
    capsys.readouterr()
    run(folders, "list", "--limit", "2")
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert "(more; --limit 2)" in shown.err
    run(folders, "list", "--reason", "complaint")
    assert capsys.readouterr().out == "Nothing fits.\n"
    assert run(folders, "export", "--json", "--stop", "all") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def events_in(node: DeskNode, folders: list[str]) -> None:
    """What the desk said, written down as a worker does."""
    directory = whereabouts(Path(folders[1])).data_dir / "events"
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"time": iso(now_ms() + number), "type": kind, "event_id": f"e{number}", **facts})
        for number, (kind, facts) in enumerate(node.said)
    ]
    (directory / "2026-11-21T12.0.open.jsonl").write_text("\n".join(lines) + "\n")


def sends_of(folder: Path, key: str) -> tuple[Send, ...]:
    """What State counts as his."""

    async def asked() -> tuple[Send, ...]:
        state = SqliteState(folder / "state.db")
        await state.open()
        ((sends, _),) = await state.standing([bytes.fromhex(key)])
        await state.close()
        return sends

    return asyncio.run(asked())


def test_what_state_lost_is_told_again_from_the_events(
    node: DeskNode, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folders, "add", "dana@b.example", "noa@b.example", "--stop", "marketing", "--brand", "arava", "--note", "n")
    run(folders, "add", "ron@b.example", "--for", "30d")
    run(folders, "add", "ron@b.example", "--stop", "topic:tips", "--reason", "unsubscribed", "--source", "page")
    run(folders, "remove", "noa@b.example")
    ask = {"do": "people", "recipient": "dana@b.example"}
    for often in ("1/day", "1/week"):
        node(tmp_path, {**ask, "what": "wish", "brand": "marom", "at_most": often, "topics_off": ["x"], "via": "page"})
    node(tmp_path, {**ask, "what": "forget", "recipient": "gil@b.example", "stop": "all"})
    key = node(tmp_path, {**ask, "what": "show", "recipient": "gil@b.example"})["key"]
    dana_key = node(tmp_path, {**ask, "what": "show"})["key"]
    audit = {
        "action": "recipient --forget",
        "what": {"key": key},
        "kept": [{"stop": "all", "brand": None, "reason": "erased"}],
    }
    node.said.append(("audit", audit))
    mail = {"recipient": "dana@b.example", "brand": "marom", "class": "marketing"}
    node.said += [
        ("delivered", mail),
        ("delivered", {**mail, "class": "transactional"}),
        ("delivered", {"brand": "marom"}),
    ]
    before = sorted((row["key"], row["stop"], row["reason"], row["note"]) for row in listed(folders, capsys))
    assert len(before) == 4
    events_in(node, folders)
    (tmp_path / "state.db").unlink()
    assert listed(folders, capsys) == []
    node.said.clear()
    assert run(folders, "restore", "--dry-run") == 0
    assert "4 blocks and 1 preference would be told again" in capsys.readouterr().out
    assert run(folders, "restore") == 0
    assert "4 blocks, 1 preference and 1 mail that arrived told again" in capsys.readouterr().out
    assert [mark for _, mark in sends_of(tmp_path, dana_key)] == [mark_of("marom", "marketing")]
    assert [kind for kind, _ in node.said] == ["audit"], "events of it are there"
    after = listed(folders, capsys)
    assert sorted((row["key"], row["stop"], row["reason"], row["note"]) for row in after) == before
    assert {row["source"] for row in after} == {"cli", "page", "restore"}, "a hash alone tells no more"
    dana = node(tmp_path, {**ask, "what": "show"})
    assert dana["preferences"]["marom"] == {"topics_off": ["x"], "at_most": "1/week", "paused_until": None}
    assert run(folders, "restore", "--done", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"done": True}
    assert run(folders, "restore", "--done", "--dry-run") == 0


def pend(node: DeskNode, *addresses: str, site: str = "google") -> None:
    """What the site said of them waits for a second word."""
    entry = {"stop": "pending:all", "reason": "bad-mailbox", "source": "feedback", "site": site}
    entries = [{**entry, "recipient": address} for address in addresses]
    assert node.reply({"do": "people", "what": "block", "via": "feedback", "entries": entries})["changed"] == len(
        entries
    )


def test_what_is_pending_stops_nothing_and_is_shown_apart(
    node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pend(node, "dana@gmail.com", "noa@gmail.com")
    assert node.events("suppressed") == []
    assert listed(folders, capsys) == []
    rows = listed(folders, capsys, "--stop", "pending", "--site", "google")
    assert sorted(row["recipient"] for row in rows) == ["dana@gmail.com", "noa@gmail.com"]
    assert run(folders, "list", "--stop", "pending") == 0
    assert "nothing yet (pending: all mail)  bad-mailbox, feedback" in capsys.readouterr().out
    assert run(folders, "show", "dana@gmail.com") == 1, "nothing stops mail"
    undo = capsys.readouterr().out.splitlines()[1].split()
    assert run(folders, *undo[2:]) == 0
    assert len(listed(folders, capsys, "--stop", "pending")) == 1
    answer = node.reply(
        {"do": "people", "what": "block", "via": "cli", "entries": [{"recipient": "x@y", "stop": "pending:all"}]}
    )
    assert "stops nothing" in answer["error"], "nobody but we leaves things pending"


def test_what_is_pending_is_confirmed_or_dropped_in_bulk(
    node: DeskNode, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pend(node, "dana@gmail.com", "noa@gmail.com")
    pend(node, "tal@b.example", site="b")
    assert run(folders, "confirm") == 2
    assert "say which" in capsys.readouterr().err
    assert run(folders, "confirm", "--site", "google", "--dry-run") == 0
    assert capsys.readouterr().out == "2 pending suppressions would be confirmed. Nothing was changed.\n"
    assert run(folders, "confirm", "--site", "google", "--note", "a dead list") == 0
    assert capsys.readouterr().out == "2 pending suppressions confirmed.\n"
    assert sorted(row["stop"] for row in listed(folders, capsys)) == ["all", "all"]
    assert len(node.events("suppressed")) == 2
    settled = {"do": "health", "what": "settle", "site": "google", "word": "confirmed"}
    assert [one for one in node.asked if one["do"] == "health"] == [settled]
    assert run(folders, "drop", "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"dropped": 1}
    assert node.events("unsuppressed") == [], "nothing was"
    assert node.asked[-2] == {**settled, "site": "", "word": "dropped"}
    assert [(one["action"], one["reason"]) for one in node.events("audit")] == [
        ("suppress confirm", "a dead list"),
        ("suppress drop", ""),
    ]
    assert run(folders, "drop", "--all") == 1
    assert run(folders, "drop", "--since", "yesteryear") == 2
