"""A person is taken out of the event log: nothing of him is left, and all of everybody else."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.feedback.eventarchive import read, to_parquet
from relay.feedback.eventforget import GONE, Forgotten, forget

HOUR = 3_600_000
NOW = int(datetime(2026, 11, 21, 12, 30, tzinfo=UTC).timestamp() * 1000)


def event(kind: str = "delivered", recipient: str | None = "dana@b.example", **more: Any) -> dict[str, Any]:
    domain = recipient.rpartition("@")[2] if recipient else None
    facts = {"v": 1, "time": "2026-11-21T10:05:31.104Z", "type": kind, "event_id": "e1", "id": "m1", "rcpt": 0}
    return {**facts, "stream": "news", "recipient": recipient, "domain": domain, "subject": "Hi Dana", **more}


OTHERS = [
    event(recipient="noa@b.example", event_id="e8", subject="Hi"),
    event("alert", None, event_id="e9", summary="ask noa@b.example", subject=None),
]


def written(path: Path, events: list[dict[str, Any]]) -> bytes:
    octets = b"".join(orjson.dumps(one) + b"\n" for one in events)
    path.write_bytes(octets)
    return octets


@pytest.mark.parametrize("name", ["2026-11-21T10.0.open.jsonl", "2026-11-21T10.0.jsonl", "2026-11-21T10.0.damaged"])
def test_lines_are_changed_in_place_and_keep_their_length(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    mine = [event("accepted", metadata={"user": "7"}, skeleton="k1"), event(reply={"code": 250, "text": "ok"})]
    before = written(path, [mine[0], OTHERS[0], mine[1], OTHERS[1]])
    inode = path.stat().st_ino
    assert forget(tmp_path, "Dana@B.Example") == 2
    after = path.read_bytes()
    assert (len(after), path.stat().st_ino) == (len(before), inode)
    assert [line.find(b"\n") for line in after.splitlines(True)] == [
        line.find(b"\n") for line in before.splitlines(True)
    ]
    assert b"dana" not in after.lower()
    lines = [orjson.loads(line) for line in after.splitlines()]
    assert [lines[1], lines[3]] == OTHERS
    assert lines[0] == {
        "v": 1, "time": "2026-11-21T10:05:31.104Z", "type": "accepted", "event_id": "e1", "id": "m1", "rcpt": 0,
        "stream": "news", "skeleton": "k1", "recipient": None, "forgotten": True,
    }  # fmt: skip
    assert forget(tmp_path, "dana@b.example") == 0


def test_parquet_is_written_anew_and_reads_as_before(tmp_path: Path) -> None:
    written(tmp_path / "2026-11-21T10.0.jsonl", [event(), *OTHERS])
    written(tmp_path / "2026-11-21T09.0.jsonl", OTHERS)
    to_parquet(tmp_path, NOW)
    untouched = (tmp_path / "2026-11-21T09.0.parquet").stat().st_ino
    assert forget(tmp_path, "dana@b.example") == 1
    assert b"dana" not in (tmp_path / "2026-11-21T10.0.parquet").read_bytes().lower()
    assert (tmp_path / "2026-11-21T09.0.parquet").stat().st_ino == untouched
    found = list(read(tmp_path))
    assert len(found) == 5
    assert sum(one.get("forgotten", False) for one in found) == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".parquet", ".parquet"]
    assert len(list(read(tmp_path, match={"stream": "news"}))) == 5


def test_a_worker_that_writes_on_behind_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-21T12.0.open.jsonl"
    size = len(written(path, [event()]))
    descriptor = os.open(path, os.O_WRONLY)
    forget(tmp_path, "dana@b.example")
    os.pwrite(descriptor, orjson.dumps(OTHERS[0]) + b"\n", size)
    os.close(descriptor)
    assert [one["recipient"] for one in read(tmp_path)] == [None, "noa@b.example"]


@pytest.mark.parametrize(
    "written_as",
    ["d.a.n.a@gmail.com", "Dana+shop@GMAIL.com", '"dana"@gmail.com', "dana@googlemail.com"],
)
def test_every_spelling_of_his_is_his(written_as: str) -> None:
    gone = Forgotten("dana@gmail.com")
    line = orjson.dumps(event(recipient=written_as))
    assert gone.concerns(line)
    found = gone.without(orjson.loads(line))
    assert found is not None
    assert found["recipient"] is None


def test_an_address_is_taken_out_of_any_text_and_its_neighbours_stay() -> None:
    gone = Forgotten("dana@bücher.example")
    audit = event(
        "audit",
        None,
        what={"recipients": ["DANA@bücher.example", "noa@bücher.example"]},
        reply={"text": "550 <dana@xn--bcher-kva.example>: unknown, mailto:x?to=dana@BÜCHER.example."},
        note='"dana"@bücher.example called; adana@bücher.example did not',
    )
    assert gone.concerns(orjson.dumps(audit))
    assert gone.concerns(orjson.dumps({"x": "dana@BÜCHER.example"}))
    found = gone.without(audit)
    assert found is not None
    assert found["what"] == {"recipients": [GONE, "noa@bücher.example"]}
    assert found["reply"]["text"].startswith(f"550 <{GONE}>: unknown, mailto:")
    assert "dana@" not in found["reply"]["text"]
    assert found["note"] == f"{GONE} called; adana@bücher.example did not"
    assert (found["type"], found["subject"]) == ("audit", "Hi Dana")
    assert gone.without(event(recipient="noa@b.example")) is None


def test_a_line_that_cannot_be_read_goes_if_it_may_be_his(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-21T10.0.damaged"
    path.write_bytes(b'{"recipient":"dana@b.example","x\n{"recipient":"noa@b.example","x\n[1]\nno end dana@b.example')
    assert forget(tmp_path, "dana@b.example") == 1
    assert path.read_bytes() == b" " * 32 + b'\n{"recipient":"noa@b.example","x\n[1]\nno end dana@b.example'


def test_what_stands_in_its_place_may_be_longer_than_the_address(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-21T10.0.jsonl"
    one = {"type": "audit", "who": "a@b.c"}
    written(path, [one])
    assert forget(tmp_path, "a@b.c") == 1
    assert orjson.loads(path.read_bytes()) == {"type": "audit"}


def test_a_file_that_is_given_up_meanwhile_keeps_nobody(tmp_path: Path) -> None:
    (tmp_path / "2026-11-21T09.0.parquet").symlink_to(tmp_path / "gone")
    written(tmp_path / "2026-11-21T10.0.jsonl", [event(), *OTHERS])
    to_parquet(tmp_path, NOW)
    assert forget(tmp_path, "dana@b.example") == 1
