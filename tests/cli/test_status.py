"""postlane status: is all well, and what of the files is not in force."""

from dataclasses import asdict
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.alert import POLICIES, Alert
from relay.cli import status
from relay.cli.main import main

NOW = 1_795_300_000.0
FRIDAY = 1_795_186_920_000  # 17:02 in Jerusalem
QUEUE = {"waiting": 31, "held": 0, "oldest": None}


def facts(**changes: Any) -> dict[str, Any]:
    usual = {
        "node": "relay-1",
        "policies": "3f9a1c",
        "mode": "live",
        "started": int(NOW - 90) * 1000,
        "workers": [{"name": "worker-0", "up": True, "healthy": True, "shards": [{"queue": QUEUE}]}],
        "alerts": [],
        "suspensions": [],
        "reviews": [],
        "waits": [],
        "on_disk": "3f9a1c",
        "decision": {"policies": "3f9a1c", "at": FRIDAY, "by": "noa", "how": "reload", "instead_of": ""},
    }
    return usual | changes


def told(**changes: Any) -> list[str]:
    return status.describe(facts(**changes), NOW, ZoneInfo("Asia/Jerusalem"))


def test_all_is_well() -> None:
    assert told() == ["* relay-1  running 90 s, 1 workers   mode live   policies 3f9a1c   queue 31"]
    assert status.all_well(facts())


def test_other_nodes_are_told_with_what_they_run() -> None:
    nodes = [
        {"node": "relay-1", "policies": "3f9a1c", "up": True, "heard": 0},
        {"node": "relay-2", "policies": "3f9a1c", "up": True, "heard": 1},
        {"node": "relay-3", "policies": "c41b08", "up": False, "heard": 7_300},
    ]
    assert told(nodes=nodes)[1:] == [
        "  node     relay-2  up   policies 3f9a1c",
        "  node     relay-3  not heard for 2 h   policies c41b08 (another version than here)",
    ]


def test_a_disk_that_another_nodes_files_could_not_be_written_to() -> None:
    decision = facts()["decision"] | {"instead_of": "a77e02", "node": "relay-2"}
    assert told(on_disk="a77e02", decision=decision)[1:] == [
        "  note     policies/ on disk is a77e02, and could not be written: 3f9a1c of relay-2 is in force"
    ]


def test_edits_that_were_overtaken_are_told_with_care() -> None:
    decision = facts()["decision"] | {"node": "relay-2"}
    assert told(on_disk="a77e02", decision=decision)[1:] == [
        "  note     policies/ on disk is a77e02, not in force, 3f9a1c of relay-2 is: postlane policies diff, then postlane reload"
    ]


def test_a_staging_node_says_so() -> None:
    assert told(only_to=["dana@a.example", "*.b.example"])[1:] == [
        "  only_to: mail leaves for dana@a.example, *.b.example alone; all other mail is captured here"
    ]
    assert "for a, b, c, d, e and 2 more alone" in status.staging(list("abcdefg"))


def test_a_worker_that_is_down_is_told() -> None:
    down = facts(workers=[{"name": "worker-0", "up": False, "deaths": 3}])
    assert "worker-0 is down, started 3 times again" in "\n".join(told(workers=down["workers"]))
    assert not status.all_well(down)


def test_sites_that_slow_us_down_are_told_with_what_was_ordered() -> None:
    def pace(site: str, rate: float | None, source: str = "192.0.2.1") -> dict[str, Any]:
        return {"site": site, "source": source, "pace": rate, "said": f"{rate} of 40/s"}

    order = {
        "kind": "order",
        "site": "google",
        "pool": "marketing",
        "rate": "10/second",
        "until": 0,
        "by": "",
        "reason": "",
    }
    paces = [pace("a", 5.0), pace("b", None), pace("c", 2.0, ""), *(pace(f"d{number}", 9.0) for number in range(4))]
    assert told(shaping={"paces": paces, "standing": [order, {"kind": "aside"}]})[1:] == [
        "  pace     b from 192.0.2.1: None of 40/s",
        "  pace     c: 2.0 of 40/s",
        "  pace     a from 192.0.2.1: 5.0 of 40/s",
        "  pace     d0 from 192.0.2.1: 9.0 of 40/s",
        "  pace     d1 from 192.0.2.1: 9.0 of 40/s",
        "           2 more: postlane pace",
        "  ordered  google: at most 10/second from each source of pool marketing until 1970-01-01T00:00:00.000Z",
    ]


def test_new_sources_are_told_with_their_budgets() -> None:
    rows = [
        {"source": "192.0.2.3", "site": "google", "said": "day 4 of 30: 1,600 of 2,000"},
        {"source": "192.0.2.3", "site": "microsoft", "said": "day 2 of 30: 0 of 500 (stopped: blocked)"},
        {"source": "192.0.2.4", "site": None, "said": "begins on 23 Nov"},
    ]
    assert told(warming=rows)[1:] == [
        "  warming  192.0.2.3  google day 4 of 30: 1,600 of 2,000 · microsoft day 2 of 30: 0 of 500 (stopped: blocked)",
        "  warming  192.0.2.4  begins on 23 Nov",
    ]


def test_an_alert_is_told_with_its_problems() -> None:
    summary = "policies/ on disk has 2 errors (below)."
    alert = asdict(Alert(POLICIES, summary, ("a.toml:1: x", "b.toml:2: y"), "postlane check"))
    assert told(alerts=[alert], on_disk="a77e02")[1:] == [
        "  alert    policies/ on disk has 2 errors (below).",
        "           a.toml:1: x",
        "           b.toml:2: y",
    ]
    assert not status.all_well(facts(alerts=[alert]))


def test_an_alert_without_lines_of_its_own_tells_the_cure_and_hides_nothing() -> None:
    alert = asdict(Alert("contradiction", "order of shop says transactional, but ...", advice="postlane events ..."))
    assert told(alerts=[alert], on_disk="a77e02")[1:] == [
        "  alert    order of shop says transactional, but ...",
        "           postlane events ...",
        "  note     policies/ on disk is a77e02, not in force: postlane reload",
    ]


def test_files_that_are_not_in_force() -> None:
    assert told(on_disk="a77e02")[1] == "  note     policies/ on disk is a77e02, not in force: postlane reload"
    back = facts()["decision"] | {"instead_of": "a77e02"}
    line = "  note     policies/ on disk is a77e02, rolled back to 3f9a1c on Fri 20 Nov 17:02 by noa"
    assert told(on_disk="a77e02", decision=back)[1] == line
    assert told(decision=back)[1:] == [], "somebody has put them right"


def test_streams_to_be_reviewed_are_named_and_all_is_well() -> None:
    """NOW is 22 November 2026."""
    due = [
        {"stream": "club", "review_by": "2025-11-22", "past": True},
        {"stream": "win-back", "review_by": "2026-11-21", "past": True},
        {"stream": "points", "review_by": "2026-12-01", "past": False},
    ]
    assert told(reviews=due)[1:] == [
        "  review   stream club review_by 22 Nov 2025 · stream win-back review_by 21 Nov",
        "  soon     stream points review_by 1 Dec",
    ]
    assert status.all_well(facts(reviews=due))
    many = [{"stream": f"s{n}", "review_by": "2026-11-21", "past": True} for n in range(8)]
    assert told(reviews=many)[1].endswith("stream s4 review_by 21 Nov · and 3 more")
    assert len(told(reviews=many)) == 2


def test_what_waits_for_a_restart() -> None:
    assert told(needs=[{"what": "stream news: few care", "advice": "", "see": ""}])[1:] == [
        "  look     stream news: few care"
    ]
    assert told(waits=["node.name: needs a restart"])[1:] == ["  restart  node.name: needs a restart"]
    assert status.all_well(facts(waits=["node.name"]))


def test_the_command_finds_the_node_of_broken_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config", "policies"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "postlane.toml").write_text('[node]\ndata_dir = "here"\n[[')

    def request(data_dir: Path, question: dict[str, Any]) -> dict[str, Any]:
        assert (data_dir, question) == (tmp_path / "here", {"do": "stats"})
        return facts()

    monkeypatch.setattr(status, "request", request)
    words = ["status", "--config", str(tmp_path / "config"), "--policies", str(tmp_path / "policies")]
    assert main(words) == 0
    assert "policies 3f9a1c" in capsys.readouterr().out


def test_what_is_suspended_is_listed_with_the_way_back() -> None:
    one = {
        "said": "stream news", "reason": "old list", "waiting": 9_120, "since": "2026-11-21T07:40:00.000Z",
        "until": None, "undo": "postlane resume --stream news",
    }  # fmt: skip
    ends = {**one, "reason": "", "until": "2026-11-21T09:40:00.000Z"}
    assert told(suspensions=[one, ends])[1:] == [
        "  suspended stream news, 9,120 waiting: old list; since Sat 21 Nov 09:40; postlane resume --stream news",
        "  suspended stream news, 9,120 waiting; since Sat 21 Nov 09:40 until Sat 21 Nov 11:40; "
        "postlane resume --stream news",
    ]
    assert status.all_well(facts(suspensions=[one])), "somebody wanted it so"
