"""The newest events: from the ends of files, bounded; from small Parquet files when the hour has just turned."""

from pathlib import Path

import orjson
import pytest

from relay.feedback.eventlog import to_parquet
from relay.web import tail
from relay.web.stories import Event
from relay.web.tail import EventTail
from tests.support.web import IDS, NOW, event


def nothing(_: str) -> list[Event]:
    return []


def write(path: Path, *events: Event, end: bytes = b"") -> None:
    path.write_bytes(b"".join(orjson.dumps(e) + b"\n" for e in events) + end)


def at(second: int, identifier: str = IDS[0], kind: str = "accepted") -> Event:
    return event(kind, identifier, time=f"2026-11-21T12:00:{second:02d}.000Z")


def test_all_shards_in_time_order(tmp_path: Path) -> None:
    write(tmp_path / "2026-11-21T12.0.open.jsonl", at(1), at(4))
    write(tmp_path / "2026-11-21T12.1.open.jsonl", at(2), at(3))
    found = EventTail(tmp_path, nothing).recent()
    assert [e["time"][17:19] for e in found] == ["01", "02", "03", "04"]


def test_no_log_yet(tmp_path: Path) -> None:
    assert EventTail(tmp_path / "nothing", nothing).recent() == []


def test_only_the_ends_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = len(orjson.dumps(at(0))) + 1
    monkeypatch.setattr(tail, "PER_FILE", line * 3 + line // 2)
    monkeypatch.setattr(tail, "IN_ALL", line * 5)
    for shard in range(4):
        write(tmp_path / f"2026-11-21T12.{shard}.open.jsonl", *(at(n) for n in range(50)))
    found = EventTail(tmp_path, nothing).recent()
    assert len(found) <= 6
    assert {e["time"][17:19] for e in found} <= {"47", "48", "49"}


def test_half_a_line_and_what_is_no_event_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-21T12.0.open.jsonl"
    write(path, at(1), end=b'not json\n[1]\n{"half":')
    assert [e["type"] for e in EventTail(tmp_path, nothing).recent()] == ["accepted"]


def test_after_the_hour_has_turned_parquet_helps_out(tmp_path: Path) -> None:
    write(tmp_path / "2026-11-21T12.0.jsonl", at(1), at(2))
    to_parquet(tmp_path, NOW + 2 * 3_600_000)
    assert not list(tmp_path.glob("*.jsonl"))
    write(tmp_path / "2026-11-21T14.0.open.jsonl", at(3))
    assert [e["time"][17:19] for e in EventTail(tmp_path, nothing).recent()] == ["01", "02", "03"]


def test_large_parquet_files_are_left_to_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "2026-11-21T12.0.jsonl", at(1))
    to_parquet(tmp_path, NOW + 2 * 3_600_000)
    monkeypatch.setattr(tail, "PARQUET_BYTES", 10)
    assert EventTail(tmp_path, nothing).recent() == []


def test_a_file_that_goes_meanwhile_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "2026-11-21T12.0.jsonl").symlink_to(tmp_path / "gone")
    assert EventTail(tmp_path, nothing).recent() == []


def test_a_story_comes_from_the_tail_when_its_beginning_is_there(tmp_path: Path) -> None:
    write(tmp_path / "2026-11-21T12.0.open.jsonl", at(1), at(2, IDS[1]), at(3, IDS[0], "delivered"))

    def find(_: str) -> list[Event]:
        raise AssertionError("the log need not be asked")

    assert [e["type"] for e in EventTail(tmp_path, find).story(IDS[0])] == ["accepted", "delivered"]


def test_an_older_story_comes_from_the_log(tmp_path: Path) -> None:
    write(tmp_path / "2026-11-21T12.0.open.jsonl", at(3, IDS[0], "delivered"))
    whole = [at(1), at(3, IDS[0], "delivered")]
    assert EventTail(tmp_path, lambda _: iter(whole)).story(IDS[0]) == whole
    assert len(EventTail(tmp_path, nothing).story(IDS[0])) == 1
    assert repr(EventTail(tmp_path, nothing)) == f"<EventTail {tmp_path}>"
