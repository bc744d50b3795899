"""`postlane report`: figures, what needs a person, and the same for scripts and spreadsheets."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from relay.cli import report
from relay.cli.main import main
from relay.config import whereabouts
from relay.control import NodeDown
from tests.support.event_folder import DAY, HOUR, NOON, EventFolder, said

STATUS: dict[str, Any] = {
    "alerts": [],
    "suspensions": [
        {
            "what": {"stream": "win-back"},
            "said": "stream win-back",
            "waiting": 9120,
            "reason": "old",
            "undo": "postlane resume",
        }
    ],
    "reviews": [],
}


@pytest.fixture
def node(folders: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A day's mail before NOON, and a node that runs."""
    folder = EventFolder(whereabouts(Path(folders[1])).data_dir / "events")
    folder.add("delivered", NOON - DAY - HOUR, 99)
    folder.add("bounced", NOON - DAY - HOUR, 1, category="bad-mailbox", reply=said(550, "no such user"))
    at = NOON - HOUR
    folder.add("accepted", at, 3)
    folder.add("delivered", at, 59, delay_ms=200)
    folder.add("bounced", at, 41, category="bad-mailbox", stream="win-back", reply=said(550, "=no such user"))
    folder.add("suppressed", at, 40, reason="bad-mailbox")
    monkeypatch.setattr(report, "now_ms", lambda: NOON)
    monkeypatch.setattr(report, "request", lambda _place, _question: STATUS)
    return folders


def run(node: list[str], *words: str) -> int:
    return main(["report", *words, *node])


def test_bounces_are_told_with_what_is_usual_and_what_needs_you(
    node: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(node, "bounces") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("   ") == [
        "Bounces, Fri 20 Nov 12:00 to Sat 21 Nov 12:00 (UTC)",
        "100 sent",
        "59 delivered",
        "41 bounced  41.0 %",
    ]
    assert lines[1].strip() == "the day before: 1.0 %"
    assert lines[3].split() == ["CATEGORY", "COUNT", "SHARE", "USUAL", "STREAM", "CREDENTIAL", "SITE", "SOURCE", "DONE"]
    assert lines[4].split()[:9] == ["bad-mailbox", "41", "100", "%", "-", "win-back", "crm", "google", "198.51.100.20"]
    assert lines[4].endswith("40 suppressed; stream suspended")
    assert lines[6:10] == [
        "What needs you, worst first",
        "  suspended stream win-back, 9,120 waiting: old",
        "    postlane resume",
        "  bad-mailbox, stream win-back, credential crm, site google, source 198.51.100.20: 41 of 41 (100.0 %)"
        ': "=no such user"',
    ]
    assert "postlane report messages --category bad-mailbox --stream win-back" in lines[10]


def test_a_table_has_what_is_usual_and_what_was_then(node: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "streams", "--compare", "1d", "--limit", "1", "--since", "24h") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split()[:8] == ["STREAM", "ACCEPTED", "DELIVERED", "BOUNCED", "SHARE", "USUAL", "1", "D"]
    assert lines[4].split()[:10] == ["news", "3", "59", "0", "0.0", "%", "1.0", "%", "1.0", "%"]


def test_what_the_limit_leaves_out_is_said(node: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "bounces", "--by", "recipient", "--limit", "1") == 2
    assert "nothing to report by" in capsys.readouterr().err
    assert run(node, "sites", "--by", "stream", "--limit", "1") == 0
    assert "(1 more)" in capsys.readouterr().out


def test_by_hour_and_by_day(node: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "latency", "--by", "day,hour") == 2
    assert run(node, "summary", "--by", "hour") == 0
    assert "Sat 21 Nov 11:00" in capsys.readouterr().out
    assert run(node, "latency", "--by", "day,class") == 0
    row = capsys.readouterr().out.splitlines()[3].split()
    assert row[:5] == ["Sat", "21", "Nov", "marketing", "59"]
    assert row[-1] == "ms"


def test_samples_are_the_very_words(node: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "bounces", "--samples") == 0
    assert '       41  bad-mailbox: "=no such user"' in capsys.readouterr().out
    assert run(node, "bounces", "--samples", "--json") == 0
    assert json.loads(capsys.readouterr().out)["many"] == 41
    assert run(node, "sources", "--samples", "--stream", "news") == 0
    assert "  none" in capsys.readouterr().out.splitlines()


def test_for_scripts_and_for_spreadsheets(node: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "streams", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["stream"], row["delivered"], row["bounce_share"]) for row in rows] == [
        ("news", 59, 0.0),
        ("win-back", 0, 1.0),
    ]
    assert run(node, "bounces", "--samples", "--csv") == 0
    (sample,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert sample["reply"] == "'=no such user"
    assert run(node, "complaints", "--csv") == 0
    assert capsys.readouterr().out.startswith("stream,credential,complained,")


def test_the_messages_behind_a_figure(node: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "messages", "--stream", "WIN-*", "--limit", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "bad-mailbox: 550 =no such user" in lines[0]
    assert run(node, "messages", "--type", "accepted", "--json") == 0
    assert [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()] == ["accepted"] * 3
    assert run(node, "messages", "--stream", "none") == 0
    assert capsys.readouterr().out == "No event fits.\n"


def test_a_question_of_ones_own(node: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT type, count(*) AS n FROM events GROUP BY type ORDER BY n DESC"
    assert run(node, "sql", query) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["  type        n", "  delivered   59"]
    assert run(node, "sql", query, "--json", "--since", "2h") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == {"type": "delivered", "n": 59}
    assert run(node, "sql", "SELECT NULL AS x", "--csv") == 0
    assert capsys.readouterr().out == 'x\n""\n'
    assert run(node, "sql", "DROP VIEW events") == 2
    assert "one SELECT" in capsys.readouterr().err


def test_very_many_rows_of_ones_own_are_for_scripts(
    node: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST_SHOWN", 2)
    assert run(node, "sql", "SELECT * FROM range(3)") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("... only the first 2 rows")


@pytest.mark.parametrize(
    "words",
    [["bounces", "--since", "yesterday"], ["bounces", "--since", "1h", "--until", "2h"], ["messages", "--until", "x"]],
)
def test_times_that_are_none_are_misuse(node: list[str], words: list[str]) -> None:
    assert run(node, *words) == 2


def test_a_node_that_is_down_needs_somebody_first(
    node: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_place: Path, _question: dict[str, Any]) -> dict[str, Any]:
        raise NodeDown("no answer")

    monkeypatch.setattr(report, "request", down)
    assert run(node, "summary") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("What needs you, worst first") + 1].startswith("  the node is not running")


def test_a_quiet_day_needs_nobody(
    folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "request", lambda _place, _question: {"error": "starting"})
    for name in ("bounces", "complaints"):
        assert run(folders, name) == 0
        shown = capsys.readouterr().out
        assert "\n  none\n" in shown
        assert "Nothing needs you." in shown


def test_other_nodes_events_are_in_it(node: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    EventFolder(tmp_path / "relay-2" / "events", "relay-2").add("delivered", NOON - HOUR, 5)
    file = Path(node[1]) / "postlane.toml"
    file.write_text(f'{file.read_text()}[web]\nevents = ["relay-2/events", 7]\n')
    assert run(node, "summary", "--by", "node", "--json") == 0
    assert {json.loads(line)["node"] for line in capsys.readouterr().out.splitlines()} == {"relay-1", "relay-2"}


def test_how_much_of_its_caps_a_segment_has_used(
    node: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policies = Path(node[3])
    (policies / "brands.toml").write_text('[brand.arava]\nname = "Arava"\ndomains = ["arava.example"]\n')
    (policies / "caps.toml").write_text('[cap.arava]\nbrands = ["arava"]\nlimits = ["1/7d"]\n')
    assert run(node, "caps", "--stream", "news") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cap arava 1/7d, since Sat 14 Nov 12:00: 59 people, 59 (100 %) have no place left"
    assert lines[1] == "  59 used 1"
    assert [line.split() for line in lines[2:]] == [
        ["CREDENTIAL", "STREAM", "SENDS", "SHARE", "PEOPLE"],
        ["crm", "news", "59", "100", "%", "59"],
    ]
    people = tmp_path / "people.csv"
    people.write_text('address,name\n"nobody@gmail.com",Nobody\np104@gmail.com\n')
    assert run(node, "caps", "--cap", "arava", "--people", str(people), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cap"], found["limit"], found["people"], found["used"]) == ("arava", "1/7d", 2, {"0": 1, "1": 1})
    assert found["by"] == [{"credential": "crm", "stream": "news", "sends": 1, "people": 1, "share": 1.0}]
    assert run(node, "caps", "--cap", "marom") == 2
    assert run(node, "caps", "--people", str(tmp_path / "none")) == 2
    assert run(node, "caps", "--stream", "nothing") == 0
    assert "nobody is of it" in capsys.readouterr().out
