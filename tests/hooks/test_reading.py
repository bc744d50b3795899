"""What endpoints want of the event log, as its files grow, end, become Parquet and go."""

from pathlib import Path

import orjson
import pytest

from relay.event import iso
from relay.feedback.eventlog import to_parquet
from relay.hooks import reading
from relay.hooks.queue import Resend
from relay.hooks.reading import ends, new_events, past_events, whole
from relay.hooks.telling import HOUR, Endpoint
from tests.support.clocks import START

SHOP = Endpoint("shop", "", brands=frozenset({"arava"}))
OPEN, ENDED = "2025-11-21T12.0.open.jsonl", "2025-11-21T12.0.jsonl"
STEM = "2025-11-21T12.0"


def line(name: str, at: int = START, **more: object) -> bytes:
    facts = {"time": iso(at), "type": "bounced", "event_id": name, "credential": "shop", **more}
    return orjson.dumps(facts) + b"\n"


def names(found: reading.Read) -> list[str]:
    return [one.identity for one in found.found]


def test_whole_lines_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / OPEN
    second = line("b", START + 1)
    path.write_bytes(line("a") + second[:10])
    first = new_events(tmp_path, {}, [SHOP])
    assert (names(first), first.marks, first.more) == (["a"], {STEM: len(line("a"))}, False)
    path.write_bytes(line("a") + second)
    path.rename(tmp_path / ENDED)
    rest = new_events(tmp_path, first.marks, [SHOP])
    assert (names(rest), rest.marks) == (["b"], {STEM: len(line("a")) + len(second)})
    assert new_events(tmp_path, rest.marks, [SHOP]) == ([], {}, False)


def test_each_hears_its_own(tmp_path: Path) -> None:
    (tmp_path / OPEN).write_bytes(
        line("a") + line("b", credential="crm") + b'torn\n{"credential":"shop"}\n' + line("c", credential="none")
    )
    (tmp_path / "2025-11-21T12.1.open.jsonl").write_bytes(line("d", START - 1))
    found = new_events(tmp_path, {}, [SHOP, Endpoint("crm", "")])
    assert [(one.credential, one.identity) for one in found.found] == [("shop", "d"), ("shop", "a"), ("crm", "b")]
    assert found.found[1].line == line("a").rstrip()


def test_what_was_said_in_a_session_is_told_to_no_app(tmp_path: Path) -> None:
    (tmp_path / OPEN).write_bytes(line("a", transcript=["> RCPT TO:<dana@b.example>"], reply="no"))
    plain = orjson.loads(line("a", reply="no"))
    for found in (
        *new_events(tmp_path, {}, [SHOP]).found,
        *past_events(tmp_path, SHOP, Resend(1, "shop", START, START + 9))[0],
    ):
        assert orjson.loads(found.line) == plain


def test_a_lot_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", len(line("a")) + 5)
    (tmp_path / OPEN).write_bytes(line("a") + line("b") + line("c", note="x" * 500))
    marks: dict[str, int] = {}
    seen, more = list[str](), True
    while more:
        found = new_events(tmp_path, marks, [SHOP])
        marks |= found.marks
        seen += names(found)
        more = found.more
    assert seen == ["a", "b", "c"]


def test_who_is_new_is_told_from_now_on(tmp_path: Path) -> None:
    (tmp_path / OPEN).write_bytes(line("a") + line("b")[:10])
    marks = ends(tmp_path)
    assert marks == {STEM: len(line("a"))}
    (tmp_path / OPEN).write_bytes(line("a") + line("b"))
    assert names(new_events(tmp_path, marks, [SHOP])) == ["b"]


def test_an_hour_becomes_parquet_when_it_has_been_read(tmp_path: Path) -> None:
    path = tmp_path / ENDED
    path.write_bytes(line("a"))
    marks: dict[str, int] = {}
    assert to_parquet(tmp_path, START + HOUR, lambda one: whole(one, marks)) == []
    (tmp_path / "2025-11-21T12.1.jsonl").touch()
    marks |= new_events(tmp_path, marks, [SHOP]).marks
    assert marks == {STEM: len(line("a")), "2025-11-21T12.1": 0}, "an empty file has been read, too"
    path.write_bytes(line("a") + b"torn by a power cut")
    assert whole(path, marks)
    made = to_parquet(tmp_path, START + HOUR, lambda one: whole(one, marks))
    assert len(made) == 2
    assert whole(path, marks), "it is gone"


def past(directory: Path, endpoint: Endpoint, since: int, until: int) -> tuple[list[str], int]:
    found, upto = past_events(directory, endpoint, Resend(1, endpoint.credential, since, until))
    return [one.identity for one in found], upto


def test_the_past_is_fetched_hour_by_hour_from_lines_and_columns(tmp_path: Path) -> None:
    unsubscribed = {"type": "unsubscribed", "brand": "arava"}
    lines = line("a") + line("b", START + 5, credential="crm") + line("c", START + 9, type="delivered")
    person = orjson.loads(line("p", START + 7)) | unsubscribed
    del person["credential"]
    by_own_mail = line("q", START + 8, **unsubscribed)
    by_anothers = line("r", START + 8, credential="crm", **unsubscribed)
    (tmp_path / ENDED).write_bytes(lines + orjson.dumps(person) + b"\n" + by_own_mail + by_anothers)
    to_parquet(tmp_path, START + HOUR)
    (tmp_path / "2025-11-21T13.0.open.jsonl").write_bytes(line("d", START + HOUR + 5))
    end = START + 2 * HOUR
    assert past(tmp_path, SHOP, START, end) == (["a", "p", "q", "r", "c"], START + HOUR), "each once"
    assert past(tmp_path, SHOP, START + HOUR, end) == (["d"], end)
    assert past(tmp_path, SHOP, START + 1, START + 9) == (["p", "q", "r"], START + 9)
    bounces = Endpoint("shop", "", events=frozenset({"bounced"}), brands=SHOP.brands)
    assert past(tmp_path, bounces, START, START + HOUR) == (["a"], START + HOUR)
    assert past(tmp_path, Endpoint("shop", ""), START, START + HOUR) == (["a", "q", "c"], START + HOUR)


def test_a_piece_of_the_past_ends_between_two_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FETCHED", 2)
    (tmp_path / OPEN).write_bytes(
        b"".join(line(name, START + at) for name, at in zip("abcd", (0, 4, 4, 6), strict=True))
    )
    assert past(tmp_path, SHOP, START, START + 10) == (["a", "b", "c"], START + 6)
    assert past(tmp_path, SHOP, START + 6, START + 10) == (["d"], START + 10)
