"""The event log: exactly once through crashes, by the hour, into Parquet, read and followed as one."""

import asyncio
import json
import os
from pathlib import Path, PosixPath
from typing import Any

import duckdb
import pytest
from structlog.testing import capture_logs

from relay.event import iso
from relay.feedback import eventarchive
from relay.feedback.eventarchive import events_of, strip
from relay.feedback.eventlog import Exporter, Tail, follow, matches, read, scan, to_parquet
from relay.message import Change
from relay.spool.store import Spool
from relay.wildcard import any_of

T0 = 1_763_726_400_000  # 2025-11-21T12:00:00Z
HOUR = 3_600_000


def event(number: int, at: int = T0, **facts: Any) -> dict[str, Any]:
    return {"v": 1, "time": iso(at + number), "type": "accepted", "event_id": f"{number:04d}", **facts}


def line(number: int, at: int = T0, **facts: Any) -> bytes:
    return json.dumps(event(number, at, **facts)).encode() + b"\n"


class FakeOutbox:
    """A spool's outbox in memory; `lose` makes the next calls of `exported` fail before they take effect."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}
        self.mark = ("", 0)
        self.lose = 0
        self.last = 0

    def add(self, lines: bytes) -> None:
        self.last += 1
        self.rows[self.last] = lines

    async def outbox(self, limit_bytes: int) -> tuple[int, bytes] | None:
        if not self.rows:
            return None
        first, *others = sorted(self.rows)
        last, lines = first, self.rows[first]
        for sequence in others:
            if len(lines) >= limit_bytes:
                break
            last, lines = sequence, lines + self.rows[sequence]
        return last, lines

    async def export_mark(self) -> tuple[str, int]:
        return self.mark

    async def exported(self, sequence: int, file: str, offset: int) -> None:
        if self.lose:
            self.lose -= 1
            raise OSError("lost")
        self.rows = {n: lines for n, lines in self.rows.items() if n > sequence}
        self.mark = (file, offset)


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def outbox() -> FakeOutbox:
    return FakeOutbox()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "events"


@pytest.fixture
def exporter(outbox: FakeOutbox, directory: Path, clock: Clock) -> Exporter:
    return Exporter(outbox, directory, 0, clock)


def texts(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


OPEN = "2025-11-21T12.0.open.jsonl"


async def test_events_are_appended_and_forgotten(exporter: Exporter, outbox: FakeOutbox, directory: Path) -> None:
    outbox.add(line(1) + line(2))
    outbox.add(line(3))
    await exporter.step()
    outbox.add(line(4))
    await exporter.step()
    whole = line(1) + line(2) + line(3) + line(4)
    assert texts(directory) == {OPEN: whole}
    assert outbox.rows == {}
    assert outbox.mark == (OPEN, len(whole))


async def test_run_exports_by_itself_and_flush_the_rest(
    exporter: Exporter, outbox: FakeOutbox, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.feedback.eventlog.INTERVAL", 0.001)
    outbox.lose = 2  # run goes on after faults
    outbox.add(line(1))
    running = asyncio.create_task(exporter.run())
    async with asyncio.timeout(10):
        while outbox.rows:  # noqa: ASYNC110 - the fake tells nobody
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    outbox.add(line(2))
    await exporter.flush()
    assert texts(directory) == {OPEN: line(1) + line(2)}


async def test_flush_that_fails_leaves_events_in_the_outbox(exporter: Exporter, outbox: FakeOutbox) -> None:
    outbox.lose = 1
    outbox.add(line(1))
    await exporter.flush()
    assert outbox.rows == {1: line(1)}


@pytest.mark.parametrize("tail", [b"", line(2)[:30], line(2), line(2) + line(3)[:5]])
async def test_what_a_crash_left_beyond_the_mark_is_written_once(
    exporter: Exporter, outbox: FakeOutbox, directory: Path, clock: Clock, tail: bytes
) -> None:
    outbox.add(line(1))
    await exporter.step()
    (directory / OPEN).write_bytes(line(1) + tail)  # written, not yet noted: the outbox still has it
    outbox.add(line(2))
    outbox.add(line(3))
    await Exporter(outbox, directory, 0, clock).step()
    assert texts(directory) == {OPEN: line(1) + line(2) + line(3)}


async def test_a_commit_whose_answer_was_lost_is_not_exported_again(
    exporter: Exporter, outbox: FakeOutbox, directory: Path
) -> None:
    outbox.add(line(1))
    await exporter.step()
    outbox.add(line(2))
    sequence, lines = await outbox.outbox(1) or (0, b"")
    (directory / OPEN).write_bytes(line(1) + lines)
    await outbox.exported(sequence, OPEN, len(line(1) + lines))  # done, and the worker was cancelled before it knew
    outbox.add(line(3))
    await exporter.flush()
    assert texts(directory) == {OPEN: line(1) + line(2) + line(3)}


async def test_a_crash_before_the_first_line_of_a_file(outbox: FakeOutbox, directory: Path, clock: Clock) -> None:
    outbox.mark = (OPEN, 0)
    outbox.add(line(1))
    await Exporter(outbox, directory, 0, clock).step()
    assert texts(directory) == {OPEN: line(1)}


async def test_each_hour_has_its_file_also_when_nothing_happens(
    exporter: Exporter, outbox: FakeOutbox, directory: Path, clock: Clock
) -> None:
    outbox.add(line(1))
    await exporter.step()
    clock.now += HOUR
    await exporter.step()
    assert texts(directory) == {"2025-11-21T12.0.jsonl": line(1)}
    outbox.add(line(2))
    await exporter.step()
    assert texts(directory) == {"2025-11-21T12.0.jsonl": line(1), "2025-11-21T13.0.open.jsonl": line(2)}


async def test_a_file_left_open_by_a_crash_ends_with_its_hour(
    exporter: Exporter, outbox: FakeOutbox, directory: Path, clock: Clock
) -> None:
    outbox.add(line(1))
    await exporter.step()
    clock.now += 2 * HOUR
    await Exporter(outbox, directory, 0, clock).step()
    assert texts(directory) == {"2025-11-21T12.0.jsonl": line(1)}


async def test_a_lost_spool_does_not_touch_the_events_it_wrote(
    exporter: Exporter, outbox: FakeOutbox, directory: Path, clock: Clock
) -> None:
    outbox.add(line(1))
    await exporter.step()
    other = directory / "2025-11-21T12.10.open.jsonl"  # another shard's, which is alive
    other.write_bytes(line(9))
    fresh = FakeOutbox()
    fresh.add(line(2))
    await Exporter(fresh, directory, 0, clock).step()
    assert texts(directory) == {
        "2025-11-21T12.0.jsonl": line(1),
        "2025-11-21T12.0-1.open.jsonl": line(2),
        other.name: line(9),
    }


async def test_a_file_that_lost_its_end_is_closed_and_a_new_one_begun(
    exporter: Exporter, outbox: FakeOutbox, directory: Path
) -> None:
    outbox.add(line(1) + line(2))
    await exporter.step()
    os.truncate(directory / OPEN, len(line(1)) + 4)
    outbox.add(line(3))
    await exporter.flush()
    assert texts(directory) == {
        "2025-11-21T12.0.jsonl": line(1) + line(2)[:4],
        "2025-11-21T12.0-1.open.jsonl": line(3),
    }


def write(directory: Path, name: str, content: bytes) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(content)
    return directory / name


def found(directory: Path, **asked: Any) -> list[int]:
    return [int(one["event_id"]) for one in read(directory, **asked)]


FACTS: dict[str, Any] = {
    "id": "01kaj2m8q4x7aaaa",
    "rcpt": 0,
    "subject": "a\u0000b \N{HEBREW LETTER ALEF} 'quoted'",
    "recipient": "Dana@gmail.com",
    "class": "marketing",
    "from": "x@y.example",
    "metadata": {"order": "1042"},
    "reply": {"code": 250, "enhanced": "2.0.0", "text": "OK"},
    "permanent": False,
    "next_attempt": iso(T0 + 5),
    "something": ["new"],
}


def test_parquet_has_columns_and_the_whole_record(directory: Path) -> None:
    source = write(directory, "2025-11-21T12.0.jsonl", line(1, **FACTS) + line(2))
    made = to_parquet(directory, T0 + HOUR)
    assert made == [directory / "2025-11-21T12.0.parquet"]
    assert not source.exists()
    assert list(read(directory)) == [event(1, **FACTS), event(2)]
    asked = 'SELECT epoch_ms(time), class, "from", reply.code, permanent, metadata, epoch_ms(next_attempt), id FROM ?'
    rows = duckdb.sql(asked.replace("?", f"'{made[0]}'")).fetchall()
    assert rows[0] == (T0 + 1, "marketing", "x@y.example", 250, False, '{"order":"1042"}', T0 + 5, FACTS["id"])
    assert rows[1][1:] == (None,) * 7


def test_only_complete_files_of_past_hours_are_converted(directory: Path) -> None:
    write(directory, OPEN, line(1))
    write(directory, "2025-11-21T13.0.jsonl", line(2))
    assert to_parquet(directory, T0 + HOUR) == []
    assert found(directory) == [1, 2]


def test_conversion_goes_on_after_a_crash_and_counts_nothing_twice(directory: Path) -> None:
    source = write(directory, "2025-11-21T12.0.jsonl", line(1))
    to_parquet(directory, T0 + HOUR)
    write(directory, source.name, line(1))  # Parquet was there, the source not yet removed
    write(directory, "2025-11-21T11.0.partial", b"half")
    assert found(directory) == [1]
    to_parquet(directory, T0 + HOUR)
    assert not source.exists()
    assert found(directory) == [1]


def test_unreadable_lines_are_kept_for_a_person(directory: Path) -> None:
    content = line(1) + b"not an event\n" + line(2)
    source = write(directory, "2025-11-21T12.0.jsonl", content)
    to_parquet(directory, T0 + HOUR)
    assert found(directory) == [1, 2]
    assert source.with_suffix(".damaged").read_bytes() == content


def test_a_file_that_cannot_be_converted_keeps_no_other_from_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = write(directory, "2025-11-21T10.0.jsonl", line(1))
    write(directory, "2025-11-21T11.0.jsonl", line(2))
    (directory / "2025-11-21T10.0.partial").mkdir()
    assert to_parquet(directory, T0 + HOUR) == [directory / "2025-11-21T11.0.parquet"]
    assert bad.exists()
    assert sorted(found(directory)) == [1, 2]


NEWS: dict[str, Any] = {"class": "marketing", "from": "a@b.example"}


@pytest.fixture
def mixed(directory: Path) -> Path:
    """Two hours in Parquet, one complete, two open with a torn line; times interleave between shards."""
    write(directory, "2025-11-21T10.0.jsonl", line(1, T0 - 2 * HOUR) + line(3, T0 - 2 * HOUR, site="google"))
    write(directory, "2025-11-21T10.1.jsonl", line(2, T0 - 2 * HOUR, recipient="Dana@Gmail.com"))
    to_parquet(directory, T0 - HOUR)
    write(directory, "2025-11-21T11.0.jsonl", line(4, T0 - HOUR, type="bounced"))
    write(directory, OPEN, line(6, **NEWS) + line(8, recipient="dana@gmail.com"))
    write(directory, "2025-11-21T12.1.open.jsonl", line(5) + line(7, type="delivered") + line(9)[:40])
    return directory


def every_fourth(event: dict[str, Any]) -> bool:
    return int(event["event_id"]) % 4 == 0


READ: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1, 2, 3, 4, 5, 6, 7, 8]),
    ({"since": T0}, [5, 6, 7, 8]),
    ({"since": T0 - HOUR + 4, "until": T0 + 6}, [4, 5]),
    ({"until": T0 - HOUR}, [1, 2, 3]),
    ({"match": {"recipient": "DANA@gmail.com"}}, [2, 8]),
    ({"match": {"type": ["bounced", "delivered"]}}, [4, 7]),
    ({"match": {"class": "marketing"}}, [6]),
    ({"match": {"from": "a@b.example"}}, [6]),
    ({"match": {"type": "accepted", "site": "Google"}}, [3]),
    ({"match": {"id": "' OR 1=1 --"}}, []),
    ({"match": {"recipient": any_of("*@gmail.COM")}}, [2, 8]),
    ({"match": {"type": any_of(["b*d", "DELIVERED"])}}, [4, 7]),
    ({"match": {"type": any_of("Bounced"), "site": any_of("*")}}, []),
    ({"match": {"class": any_of(["market*g", "x"]), "from": any_of("A@b.example")}}, [6]),
    ({"match": {"recipient": any_of(["*(", ".*@gmail.com", "[d]*"])}}, []),
    ({"match": every_fourth}, [4, 8]),
]


@pytest.mark.parametrize(("asked", "expected"), READ)
def test_read_takes_both_kinds_of_files_as_one(mixed: Path, asked: dict[str, Any], expected: list[int]) -> None:
    assert found(mixed, **asked) == expected


@pytest.mark.parametrize(
    "match", [asked["match"] for asked, _ in READ if isinstance(asked.get("match"), dict)], ids=repr
)
def test_new_events_match_as_past_ones_do(mixed: Path, match: dict[str, str]) -> None:
    assert [one for one in read(mixed) if matches(one, match)] == list(read(mixed, match=match))


def test_read_of_an_empty_or_missing_folder(directory: Path) -> None:
    assert found(directory) == []
    directory.mkdir()
    assert found(directory, since=T0) == []


def test_read_refuses_a_field_that_is_no_column(directory: Path) -> None:
    with pytest.raises(KeyError):
        found(directory, match={'x" OR 1': "y"})


def test_read_asks_again_when_a_file_is_converted_meanwhile(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = eventarchive._files

    def convert_after_listing(directory: Path, since: int) -> tuple[list[str], list[str]]:
        files = listed(directory, since)
        to_parquet(directory, T0)
        return files

    monkeypatch.setattr(eventarchive, "_files", convert_after_listing)
    assert found(mixed) == [1, 2, 3, 4, 5, 6, 7, 8]


SCANNED = [
    (asked, expected) for asked, expected in READ if isinstance(asked.get("match", {}), dict) and "until" not in asked
]


@pytest.mark.parametrize(("asked", "expected"), SCANNED)
def test_scan_finds_the_same_file_by_file(mixed: Path, asked: dict[str, Any], expected: list[int]) -> None:
    scanned = [int(one["event_id"]) for one in scan(mixed, **asked)]
    assert sorted(scanned) == expected
    if not asked:
        assert scanned == [1, 3, 2, 4, 6, 8, 5, 7]


def test_scan_goes_on_when_files_are_ended_converted_or_given_up_meanwhile(mixed: Path) -> None:
    write(mixed, "2025-11-21T09.0.jsonl", line(0, T0 - 3 * HOUR))
    scanned = scan(mixed)
    assert int(next(scanned)["event_id"]) == 0
    (mixed / "2025-11-21T10.1.parquet").unlink()
    (mixed / OPEN).rename(mixed / OPEN.replace(".open", ""))
    to_parquet(mixed, T0)
    assert [int(one["event_id"]) for one in scanned] == [1, 3, 4, 6, 8, 5, 7]


def test_scan_asks_again_when_a_file_is_converted_under_its_hands(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = eventarchive._conditions

    def convert_after_choosing(*asked: Any) -> Any:
        to_parquet(mixed, T0)
        return conditions(*asked)

    monkeypatch.setattr(eventarchive, "_conditions", convert_after_choosing)
    assert sorted(int(one["event_id"]) for one in scan(mixed)) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_scan_of_an_empty_or_missing_folder(directory: Path) -> None:
    assert list(scan(directory)) == []
    directory.mkdir()
    assert list(scan(directory, since=T0)) == []


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(one["event_id"]) for one in events]


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_tail_begins_at_the_end_and_gives_whole_lines(directory: Path) -> None:
    path = write(directory, OPEN, line(1) + line(2)[:20])
    tail = Tail(directory)
    assert tail.poll() == []
    append(path, line(2)[20:] + line(3) + line(4)[:9])
    assert numbers(tail.poll()) == [2, 3]
    append(path, line(4)[9:])
    assert tail.poll() == [event(4)]
    tail.close()


def test_tail_goes_through_rotation_and_finds_new_shards(directory: Path) -> None:
    tail = Tail(directory)  # before the folder is there
    assert tail.poll() == []
    path = write(directory, OPEN, line(1))
    assert numbers(tail.poll()) == [1]
    append(path, line(2))
    path.rename(directory / "2025-11-21T12.0.jsonl")
    write(directory, "2025-11-21T13.0.open.jsonl", line(4))
    write(directory, "2025-11-21T13.1.open.jsonl", line(3))
    assert numbers(tail.poll()) == [2, 3, 4]
    assert tail.poll() == []
    append(directory / "2025-11-21T13.1.open.jsonl", line(5))
    assert numbers(tail.poll()) == [5]
    tail.close()


def test_tail_survives_cutting_and_unreadable_lines(directory: Path) -> None:
    path = write(directory, OPEN, b"")
    tail = Tail(directory)
    append(path, line(1) + line(2)[:10])
    assert numbers(tail.poll()) == [1]
    os.truncate(path, len(line(1)))
    assert tail.poll() == []
    append(path, line(2) + b"nonsense\n[1]\n" + line(3))
    assert numbers(tail.poll()) == [2, 3]
    tail.close()


async def test_follow(directory: Path) -> None:
    path = write(directory, OPEN, line(1))
    events = follow(directory, interval=0.001)
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    append(path, line(2) + line(3))
    assert await first == event(2)
    assert await anext(events) == event(3)
    await events.aclose()


async def test_a_real_spool_and_a_crash_in_between(directory: Path, tmp_path: Path, clock: Clock) -> None:
    spool = Spool(tmp_path / "0.db", clock=clock, on_fatal=lambda error: pytest.fail(repr(error)))
    await spool.open()
    await spool.put(Change(events=[line(1).rstrip(), line(2).rstrip()]))
    await Exporter(spool, directory, 0, clock).step()
    await spool.put(Change(events=[line(3).rstrip()]))
    append(directory / OPEN, line(3) + line(4)[:9])  # a step that died before it was noted
    await Exporter(spool, directory, 0, clock).step()
    assert texts(directory) == {OPEN: line(1) + line(2) + line(3)}
    assert await spool.outbox(1) is None
    await spool.close()


def test_where_memory_does_not_hold_a_large_group_of_rows_it_is_written_by_small_ones(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB's own groups of 122,880 rows ended with an hour of 200,000 events: here some of both, smaller."""
    monkeypatch.setattr(eventarchive, "_MEMORY", "160MB")
    monkeypatch.setattr(eventarchive, "ROWS_IN_GROUP", 122_880)
    text = "".join(chr(35 + n * n % 50) for n in range(1_000))
    facts: list[dict[str, Any]] = [
        {"subject": f"{n} {text}", "transcript": [f"{n}{text}", f"{text}{n}"]} for n in range(25_000)
    ]
    write(directory, "2025-11-21T12.0.jsonl", b"".join(line(n, **one) for n, one in enumerate(facts)))
    with capture_logs() as logs:
        (target,) = to_parquet(directory, T0 + HOUR)
        (rows,) = duckdb.execute("SELECT max(row_group_num_rows) FROM parquet_metadata(?)", [str(target)]).fetchall()
        assert strip(target, ["transcript"])
    assert (logs, rows[0] < 2 * eventarchive.ROWS_AT_LEAST) == ([], True)
    assert [(int(one["event_id"]), len(one)) for one in events_of(target)] == [(n, 5) for n in range(25_000)]


class PutInPlace(PosixPath):
    """A file that another process is putting in place while we look."""

    def exists(self, **_: Any) -> bool:
        self.with_suffix(".aside").rename(self)
        return True


def test_a_file_that_is_put_in_place_anew_is_opened_again(mixed: Path) -> None:
    to_parquet(mixed, T0)
    path = sorted(mixed.glob("*.parquet"))[0]
    before = list(events_of(path))
    path.rename(path.with_suffix(".aside"))
    assert list(events_of(PutInPlace(path))) == before
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(events_of(path))
