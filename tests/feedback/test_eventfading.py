"""Recorded events lose what is not kept so long; what remains is read as before, and a crash in between costs nothing."""

import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from relay.feedback import eventarchive, eventfading
from relay.feedback.eventarchive import MODE, alone, events_of, read, strip, to_parquet
from relay.feedback.eventfading import MARKS, fade
from relay.feedback.fading import ADDRESSES, HOUR, SUBJECTS, TRANSCRIPTS
from relay.recipient import Keys

NOON = 1_763_726_400_000  # 2025-11-21T12:00:00Z
DAY = 24 * HOUR
KEYS = Keys([b"secret"])
LONG = {SUBJECTS: 400 * DAY, TRANSCRIPTS: 400 * DAY, ADDRESSES: 400 * DAY}


def event(identity: str, kind: str = "delivered", **more: Any) -> dict[str, Any]:
    facts = {
        "v": 1,
        "time": "2025-11-21T10:05:31.104Z",
        "type": kind,
        "event_id": identity,
        "message_id": "<1@a.example>",
    }
    who = {"from": "shop@a.example", "recipient": "dana@b.example", "domain": "b.example"}
    return facts | who | {"metadata": {"note": 'a "quoted" word, שלום', "no": None}, "campaign": None} | more


EVENTS = [
    event("e1", "accepted", subject="Hi Dana \U0001f600", headers={"subject": ["Hi"], "x-app": ["1"]}, confidence=0.98),
    event(
        "e2",
        "deferred",
        transcript=["220 mx", "> RCPT TO:<dana@b.example>"],
        reply={"code": 450, "text": "dana@b.example"},
    ),
    event("e3", size=18231),
    event("e4", recipient="Dana@B.example"),
]


def written(directory: Path, name: str, events: list[dict[str, Any]] = EVENTS) -> Path:
    path = directory / name
    path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in events))
    return path


def passed(directory: Path, **keep: int) -> int:
    return fade(directory, NOON, LONG | keep, KEYS.key, lambda _: True)


def without(*names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name not in names} for one in EVENTS]


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    written(tmp_path, "2025-11-21T10.0.jsonl")
    (path,) = to_parquet(tmp_path, NOON)
    return path


def test_subjects_and_transcripts_leave_parquet_and_all_else_stays(tmp_path: Path, parquet: Path) -> None:
    assert passed(tmp_path, subjects=0) == 1
    expected = without("subject")
    expected[0]["headers"] = {"x-app": ["1"]}
    assert list(read(tmp_path)) == expected
    assert list(read(tmp_path, match={"subject": "Hi Dana \U0001f600"})) == [], "nor from its column"
    assert passed(tmp_path, subjects=0, transcripts=0) == 1
    assert list(read(tmp_path)) == [{n: v for n, v in one.items() if n != "transcript"} for one in expected]
    assert b"Hi Dana" not in parquet.read_bytes()
    assert parquet.stat().st_mode & 0o777 == MODE
    assert sorted(path.name for path in tmp_path.iterdir()) == [parquet.name, MARKS]


def test_each_file_is_written_once_for_each(tmp_path: Path, parquet: Path) -> None:
    with capture_logs() as logs:
        assert passed(tmp_path, transcripts=0) == 1
        inode = parquet.stat().st_ino
        assert passed(tmp_path, transcripts=0) == 0
    assert parquet.stat().st_ino == inode
    assert [line["files"] for line in logs] == [1]
    assert orjson.loads((tmp_path / MARKS).read_bytes()) == {parquet.name: [TRANSCRIPTS]}


def test_a_file_with_nothing_to_take_out_stays_as_it_is(tmp_path: Path) -> None:
    written(tmp_path, "2025-11-21T10.0.jsonl", EVENTS[2:])
    (path,) = to_parquet(tmp_path, NOON)
    inode = path.stat().st_ino
    assert passed(tmp_path, subjects=0, transcripts=0) == 0
    assert path.stat().st_ino == inode
    assert orjson.loads((tmp_path / MARKS).read_bytes()) == {path.name: [SUBJECTS, TRANSCRIPTS]}


def test_of_addresses_a_pseudonym_remains_by_which_one_person_is_one(tmp_path: Path, parquet: Path) -> None:
    assert passed(tmp_path, addresses=0) == 1
    found = list(read(tmp_path))
    who = KEYS.key("dana@b.example").hex()
    assert [one["recipient"] for one in found] == [f"~{who}@b.example"] * 3 + [f"~{who}@B.example"]
    assert "dana@" not in str(found).lower()
    assert parquet.stat().st_mode & 0o777 == MODE
    assert {one["from"] for one in found} == {"shop@a.example"}
    assert found[2] == EVENTS[2] | {"recipient": f"~{who}@b.example"}
    assert [one["event_id"] for one in read(tmp_path, match={"recipient": f"~{who}@b.example"})] == [
        "e1",
        "e2",
        "e3",
        "e4",
    ]


@pytest.mark.parametrize("name", ["2025-11-21T10.0.jsonl", "2025-11-21T10.0.damaged"])
def test_lines_keep_their_length(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)
    with path.open("ab") as file:
        file.write(b'{"torn": "dana@b.ex\n\n{"last": "torn')
    path.chmod(0o640)
    before = path.read_bytes()
    assert passed(tmp_path, subjects=0, transcripts=0, addresses=0) == 1
    after = path.read_bytes()
    assert list(map(len, after.split(b"\n"))) == list(map(len, before.split(b"\n")))
    assert path.stat().st_mode & 0o777 == 0o640
    assert b"dana" not in after.lower()
    assert b"torn" not in after
    lines = [orjson.loads(line) for line in after.splitlines() if line.strip()]
    assert [line["event_id"] for line in lines] == ["e1", "e2", "e3", "e4"]
    assert lines[2]["domain"] == "b.example"


def test_what_the_webhooks_have_not_read_waits(tmp_path: Path) -> None:
    path = written(tmp_path, "2025-11-21T10.0.jsonl")
    assert fade(tmp_path, NOON, LONG | {SUBJECTS: 0}, KEYS.key, lambda _: False) == 0
    assert b"Hi Dana" in path.read_bytes()


def test_what_is_being_written_is_let_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "2025-11-21T10.0.open.jsonl")
    before = path.read_bytes()
    assert passed(tmp_path, subjects=0, addresses=0) == 0
    assert path.read_bytes() == before


def test_a_pass_is_bounded_and_the_next_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in range(5):
        written(tmp_path, f"2025-11-21T0{hour}.0.jsonl")
    to_parquet(tmp_path, NOON)
    monkeypatch.setattr(eventfading, "MOST", 2)
    assert [passed(tmp_path, subjects=0) for _ in range(4)] == [2, 2, 1, 0]
    monkeypatch.setattr(eventfading, "MOST_OCTETS", 1)
    assert [passed(tmp_path, subjects=0, transcripts=0) for _ in range(2)] == [1, 1], "one file at least"


def test_a_crash_before_the_mark_has_it_done_again_and_leaves_no_rest(tmp_path: Path, parquet: Path) -> None:
    passed(tmp_path, subjects=0, addresses=0)
    after = list(read(tmp_path))
    (tmp_path / MARKS).unlink()
    for rest in ("2025-11-21T10.0.lines", "2025-11-21T10.0.rewritten"):
        (tmp_path / rest).write_text("dana@b.example")
    assert passed(tmp_path, subjects=0, addresses=0) == 1
    assert list(read(tmp_path)) == after
    assert sorted(path.name for path in tmp_path.iterdir()) == [parquet.name, MARKS]


def test_a_file_that_cannot_be_written_stays_whole_and_keeps_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour in ("09", "10"):
        written(tmp_path, f"2025-11-21T{hour}.0.jsonl")
    to_parquet(tmp_path, NOON)
    (tmp_path / "2025-11-21T08.0.parquet").write_bytes(b"no such thing")

    def full(path: Path) -> None:
        if path.name.startswith("2025-11-21T09"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(eventarchive, "sync", full)
    with capture_logs() as logs:
        assert passed(tmp_path, subjects=0) == 1
    assert [line["file"][11:13] for line in logs if line["log_level"] == "error"] == ["08", "09"]
    assert orjson.loads((tmp_path / MARKS).read_bytes()) == {"2025-11-21T10.0.parquet": [SUBJECTS]}
    assert len(list(events_of(tmp_path / "2025-11-21T09.0.parquet"))) == 4
    assert not list(tmp_path.glob("*.rewritten"))
    monkeypatch.undo()
    assert passed(tmp_path, subjects=0) == 1


def test_marks_of_files_that_are_gone_go(tmp_path: Path, parquet: Path) -> None:
    (tmp_path / MARKS).write_bytes(orjson.dumps({"2024-01-01T00.0.parquet": [SUBJECTS]}))
    passed(tmp_path, subjects=0)
    assert orjson.loads((tmp_path / MARKS).read_bytes()) == {parquet.name: [SUBJECTS]}


@pytest.mark.parametrize("marks", [b"", b"[1]", b"{torn", b'{"2025-11-21T10.0.parquet": 5}'])
def test_marks_that_cannot_be_read_cost_work_alone(tmp_path: Path, parquet: Path, marks: bytes) -> None:
    (tmp_path / MARKS).write_bytes(marks)
    assert passed(tmp_path, transcripts=0) == 1


def test_no_folder_no_work(tmp_path: Path) -> None:
    assert passed(tmp_path / "events", subjects=0) == 0


def test_strip_says_whether_there_was_anything(tmp_path: Path, parquet: Path) -> None:
    assert strip(parquet, ["transcript"])
    assert not strip(parquet, ["transcript"])


def test_two_processes_do_not_write_files_anew_at_once(tmp_path: Path) -> None:
    """`recipient --forget` reads a file, and puts it in place when the web process is not in the middle of another version."""
    order: list[str] = []

    def other() -> None:
        with alone(tmp_path):
            order.append("other")

    thread = threading.Thread(target=other)
    with alone(tmp_path):
        thread.start()
        descriptor = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]
