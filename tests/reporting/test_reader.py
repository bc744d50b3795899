"""Reports from folders of events: Parquet and JSON Lines give the same answers, whatever is asked."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from relay.reporting import Answer, QuestionError, Reader, counting, files
from relay.reporting.counting import count
from relay.reporting.files import COUNTS
from relay.reporting.question import ask
from relay.reporting.sql import Source
from tests.support.event_folder import DAY, HOUR, NOON, EventFolder, said


@pytest.fixture(scope="module", params=["lines", "columns", "days", "tails"])
def reader(request: pytest.FixtureRequest, few_are_enough: None, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A day of news and receipts, with the seven days before it: as lines, in columns, added up to days, and counted by the
    hour, of the last one, which is being written, by half."""
    folder = EventFolder(tmp_path_factory.mktemp(request.param) / "events")
    for day in range(1, 8):
        folder.add("delivered", NOON - day * DAY - HOUR, 99, delay_ms=100)
        folder.add("bounced", NOON - day * DAY - HOUR, 1, category="bad-mailbox", reply=said(550, "no such user"))
    at = NOON - HOUR
    folder.add("accepted", at, 50, skeleton="k1")
    if request.param == "tails":
        folder.archive(at)
        assert count(folder.folder, NOON) == 8 + 6
        assert len([*(folder.folder / COUNTS).glob("*.lines-*")]) == 1
    folder.add("accepted", at, 50, skeleton="k1")
    folder.add("delivered", at, 90, delay_ms=200, reply=said(250, "OK"), skeleton="k1")
    folder.add(
        "bounced",
        at,
        8,
        skeleton="k1",
        category="bad-mailbox",
        reply=said(550, "5.1.1 <p1@gmail.com> unknown id 77"),
    )
    folder.add(
        "bounced",
        at + 1,
        2,
        skeleton="k1",
        category="reputation-block",
        reply=said(550, "blocked"),
        site="microsoft",
        domain="live.com",
    )
    folder.add("bounced-late", at, 1, category="bad-mailbox", reply="user is gone", site=None)
    folder.add(
        "delivered", at, 10, stream="receipt", **{"class": "transactional"}, delay_ms=50, site="gmx", domain="gmx.de"
    )
    folder.add("complained", at, 2, feedback_type="abuse")
    folder.add("withheld", at, 3, reason="capped")
    folder.add("unsubscribed", at, 1, via="one-click")
    if request.param in ("columns", "days"):
        folder.archive()
    if request.param == "days":
        assert count(folder.folder, NOON + 9 * DAY) == 8 + 8
        assert not [*(folder.folder / COUNTS).glob("*T*")]
    return Reader([folder.folder])


@pytest.fixture(scope="module", autouse=True)
def few_are_enough() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "GROWN", 1_000)
        yield


def today(reader: Reader, report: str, **more: Any) -> Answer:
    return reader.answer(ask(report, NOON - DAY, NOON, **more))


def values(answer: Answer, *names: str) -> list[tuple[Any, ...]]:
    return [(*row.key, *(row.now.value(name) for name in names)) for row in answer.rows]


def test_the_day_at_a_glance_with_what_is_usual(reader: Reader) -> None:
    answer = today(reader, "summary")
    assert values(answer, "accepted", "delivered", "bounces", "withheld", "complained") == [
        ("marketing", 100, 90, 11, 3, 2),
        ("transactional", 0, 10, 0, 0, 0),
    ]
    marketing = answer.rows[0]
    assert answer.usual(marketing, "bounce_share") == 0.01
    assert answer.usual(marketing, "delivered") == pytest.approx(
        7 * 99 * 24 / 145, rel=0.01
    )  # since the first file: 145 h
    assert answer.total.now.value("delivered") == 100


def test_a_share_of_bounces_is_of_all_that_ended_beside_it(reader: Reader) -> None:
    answer = today(reader, "bounces", by=["category", "site"])
    assert values(answer, "bounces", "ended") == [
        ("bad-mailbox", "google", 8, 98),
        ("reputation-block", "microsoft", 2, 2),
        ("bad-mailbox", None, 1, 0),
    ]
    assert values(today(reader, "bounces", by=["category"]), "bounces", "ended") == [
        ("bad-mailbox", 9, 110),
        ("reputation-block", 2, 110),
    ]


def test_a_category_selects_failures_and_leaves_what_they_are_a_share_of(reader: Reader) -> None:
    answer = today(reader, "bounces", by=["stream"], where={"category": ["reputation-*"]})
    assert values(answer, "bounces", "ended") == [("news", 2, 100)]
    assert (answer.total.now.value("bounces"), answer.total.now.value("delivered")) == (2, 100)


def test_selectors_are_joined(reader: Reader) -> None:
    where = {"site": ["GOOGLE", "gmx"], "stream": ["re*"]}
    assert values(today(reader, "sites", where=where), "delivered") == [("gmx", 10)]


def test_what_the_limit_leaves_out_is_one_row(reader: Reader) -> None:
    answer = today(reader, "bounces", by=["category", "site"], limit=1)
    assert (answer.groups, answer.others is not None) == (3, True)
    assert answer.others is not None
    assert (answer.others.now.value("bounces"), answer.others.now["ended"]) == (3, 110)
    answer = today(reader, "streams", limit=1)
    assert answer.others is not None
    assert (answer.others.now["delivered"], answer.others.now["ended"]) == (10, 10)


def test_reports_by_what_is_not_counted(reader: Reader) -> None:
    assert values(today(reader, "bounces", by=["domain"]), "bounces") == [("gmail.com", 9), ("live.com", 2)]
    assert values(today(reader, "bounces", by=["skeleton"]), "bounces", "ended") == [("k1", 10, 100), (None, 1, 10)]
    found = reader.messages(ask("bounces", NOON - DAY, NOON, where={"skeleton": ["k1"]}))
    assert {event["category"] for event in found} == {"bad-mailbox", "reputation-block"}
    assert sum(one.many for one in reader.samples(ask("bounces", NOON - DAY, NOON, where={"skeleton": ["k*"]}))) == 10


def test_what_is_few_of_many_is_read_once(reader: Reader, tmp_path: Path) -> None:
    copy = tmp_path / "events"
    shutil.copytree(reader.folders[0], copy)
    asking = Reader([copy])
    where = {"domain": ["live.com"]}
    assert values(today(asking, "bounces", by=["category", "site"], where=where), "bounces") == [
        ("reputation-block", "microsoft", 2)
    ]
    shutil.rmtree(copy)
    assert values(today(asking, "bounces", by=["site"], where=where), "bounces") == [("microsoft", 2)]
    chart = asking.series(ask("bounces", NOON - DAY, NOON, by=["category"], where=where), "hour")
    assert chart.lines["reputation-block"][-1]["bounced"] == 2
    assert values(today(asking, "bounces", by=["stream"], where=where), "bounces") == [], "nobody asked for streams"
    assert values(today(asking, "bounces", by=["site"], where={"domain": ["gmx.de"]}), "delivered") == []


def test_a_template_by_what_it_is_not_counted_by(reader: Reader) -> None:
    answer = today(reader, "bounces", by=["skeleton", "category"], where={"site": ["google", "micro*"]}, limit=1)
    assert values(answer, "bounces", "ended") == [("k1", "bad-mailbox", 8, 100)]
    assert (answer.groups, answer.total.now["bounced"]) == (2, 10)
    assert answer.others is not None
    assert answer.others.now["bounced"] == 2
    assert values(today(reader, "bounces", by=["skeleton"], where={"site": ["gmx"]}), "bounces") == []
    by_hour = today(reader, "bounces", by=["skeleton", "hour"], where={"skeleton": ["k1"], "domain": ["live.com"]})
    assert values(by_hour, "bounces") == [("k1", NOON - HOUR, 2)]
    latency = today(reader, "latency", where={"skeleton": ["k1"]})
    assert [row.now.value("p50") for row in latency.rows] == [pytest.approx(200, rel=0.2)]


def test_files_of_earlier_versions_lack_columns(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path)
    for at in (NOON - 3 * HOUR, NOON - 2 * HOUR, NOON - HOUR):
        folder.add("bounced", at, skeleton="k1", category="quota", domain="gmx.de")
    folder.archive()
    for hour in ("09", "11"):
        path = tmp_path / f"2026-11-21T{hour}.0.parquet"
        with duckdb.connect() as database:
            database.read_parquet(str(path)).select("* EXCLUDE (skeleton)").write_parquet(f"{path}.old")
        path.with_name(f"{path.name}.old").rename(path)
        reader = Reader([tmp_path])
        assert values(today(reader, "bounces", by=["domain"]), "bounces") == [("gmx.de", 3)]
        known = {"09": 2, "11": 1}[hour]
        assert values(today(reader, "bounces", by=["skeleton"]), "bounces") == sorted(
            [("k1", known), (None, 3 - known)], key=lambda row: -row[1]
        )


def test_reasons_are_why_mail_was_withheld_and_of_what_kind_a_complaint_is(reader: Reader) -> None:
    assert values(today(reader, "complaints", by=["reason"]), "complained", "unsubscribed") == [
        ("abuse", 2, 0),
        ("one-click", 0, 1),
    ]


def test_what_it_is_compared_with(reader: Reader) -> None:
    answer = today(reader, "summary", compare=DAY)
    then = answer.total.then
    assert then is not None
    assert (then["delivered"], then.value("bounce_share")) == (99, 0.01)


def test_by_the_hour_of_a_zone(reader: Reader) -> None:
    answer = today(reader, "summary", by=["hour"], zone="Asia/Kolkata")
    assert values(answer, "delivered") == [(NOON - 3 * HOUR // 2, 100)]
    assert values(today(reader, "summary", by=["day"], zone="Asia/Jerusalem"), "delivered") == [(NOON - 14 * HOUR, 100)]
    by_both = reader.answer(ask("bounces", NOON - 2 * DAY, NOON, by=["day", "category"]))
    assert values(by_both, "bounces") == [
        (NOON - 36 * HOUR, "bad-mailbox", 1),
        (NOON - 12 * HOUR, "bad-mailbox", 9),
        (NOON - 12 * HOUR, "reputation-block", 2),
    ]


def test_latency_by_class_with_what_is_usual(reader: Reader) -> None:
    answer = today(reader, "latency")
    found = {row.key[0]: row for row in answer.rows}
    assert found["marketing"].now.value("p50") == pytest.approx(200, rel=0.2)
    assert answer.usual(found["marketing"], "p99") == pytest.approx(100, rel=0.2)
    assert found["transactional"].now.value("p99") == pytest.approx(50, rel=0.2)
    by_hour = today(reader, "latency", by=["hour", "class"])
    assert [row.now.value("p50") for row in by_hour.rows if row.key[1] == "transactional"] == [
        pytest.approx(50, rel=0.2)
    ]


def test_latency_of_what_is_not_counted_beforehand(reader: Reader) -> None:
    answer = today(reader, "latency", where={"domain": ["gmx.de"]})
    assert [row.key for row in answer.rows] == [("transactional",)]
    assert answer.total.now.value("p50") == pytest.approx(50, rel=0.2)
    assert today(reader, "latency", where={"skeleton": ["k2"]}).total.now.value("p50") is None


def test_a_chart_shows_hours_without_mail_too(reader: Reader) -> None:
    chart = reader.series(ask("bounces", NOON - DAY, NOON, by=["category"]), "hour", lines=1)
    assert len(chart.begins) == 24
    assert list(chart.lines) == ["bad-mailbox"]
    assert [figures["bounced"] for figures in chart.lines["bad-mailbox"]] == [0] * 23 + [8]
    whole = reader.series(ask("summary", NOON - 2 * DAY, NOON).total(), "day")
    assert [figures["delivered"] for figures in whole.lines[""]] == [0, 99, 100]


def test_samples_are_the_very_replies_those_alike_together(reader: Reader) -> None:
    found = reader.samples(ask("bounces", NOON - DAY, NOON))
    assert [(one.reply, one.many, one.category) for one in found] == [
        ("5.1.1 <p1@gmail.com> unknown id 77", 8, "bad-mailbox"),
        ("blocked", 2, "reputation-block"),
        ("user is gone", 1, "bad-mailbox"),
    ]
    assert (found[1].site, found[1].time) == ("microsoft", NOON - HOUR + 1)


def test_the_messages_behind_a_figure_the_newest_first(reader: Reader) -> None:
    found = reader.messages(ask("bounces", NOON - DAY, NOON, where={"site": ["google", "microsoft"]}), limit=3)
    assert [(event["category"], event["type"]) for event in found] == [
        ("reputation-block", "bounced"),
        ("reputation-block", "bounced"),
        ("bad-mailbox", "bounced"),
    ]
    one = found[0]["recipient"].upper()
    assert len(reader.messages(ask("bounces", NOON - DAY, NOON, where={"recipient": [one]}))) == 1
    assert reader.messages(ask("bounces", NOON - DAY, NOON), types=["complained"])[0]["feedback_type"] == "abuse"


def test_nodes_whose_folders_are_here_are_reported_together(reader: Reader, tmp_path: Path) -> None:
    other = EventFolder(tmp_path / "other", node="relay-2")
    other.add("delivered", NOON - HOUR, 5)
    both = Reader([*reader.folders, other.folder])
    assert values(both.answer(ask("summary", NOON - DAY, NOON, by=["node"])), "delivered") == [
        ("relay-1", 100),
        ("relay-2", 5),
    ]


def test_findings_are_lines_that_a_person_can_act_on(reader: Reader) -> None:
    found = reader.findings(ask("bounces", NOON - DAY, NOON))
    told = [(one.category, one.count, one.ended, one.scope.get("site")) for one in found]
    assert told == [("bad-mailbox", 9, 98, "google"), ("reputation-block", 2, 2, "microsoft")]
    assert found[0].usual == pytest.approx(0.01)
    assert found[0].share == pytest.approx(8 / 98)


def test_of_a_folder_without_events_everything_is_nothing(tmp_path: Path) -> None:
    reader = Reader([tmp_path])
    question = ask("bounces", NOON - DAY, NOON)
    answer = reader.answer(question)
    assert (answer.rows, answer.total.now["ended"], answer.span) == ([], 0, 0)
    assert (reader.samples(question), reader.messages(question)) == ([], [])
    assert reader.answer(ask("latency", NOON - DAY, NOON)).total.now.value("p99") is None


def test_lines_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path)
    folder.add("delivered", NOON - HOUR, 2)
    with next(tmp_path.glob("*.jsonl")).open("ab") as file:
        file.write(b'nothing\n{"time": "yesterday", "type": "delivered"}\n{"type": "delivered", "ti')
    assert values(Reader([tmp_path]).answer(ask("summary", NOON - DAY, NOON)), "delivered") == [("marketing", 2)]


def test_a_question_of_ones_own(reader: Reader) -> None:
    query = "SELECT category, reply.text, count(*) AS n FROM events WHERE type LIKE 'bounced%' GROUP BY ALL ORDER BY n DESC, 2"
    with reader.query(query, NOON - DAY, NOON) as (names, rows):
        assert names == ["category", "text", "n"]
        assert list(rows) == [
            ("bad-mailbox", "5.1.1 <p1@gmail.com> unknown id 77", 8),
            ("reputation-block", "blocked", 2),
            ("bad-mailbox", "user is gone", 1),
        ]


def test_a_question_of_ones_own_is_put_again_where_a_file_was_converted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, listed = EventFolder(tmp_path), files.recorded
    folder.add("delivered", NOON - HOUR, 2)

    def convert_after_listing(*asked: Any) -> Source:
        found = listed(*asked)
        folder.archive()
        return found

    monkeypatch.setattr(files, "recorded", convert_after_listing)
    with Reader([tmp_path]).query("SELECT count(*) FROM events", NOON - DAY, NOON) as (_, rows):
        assert list(rows) == [(2,)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM '{outside}'",
        "COPY (SELECT 1) TO '{outside}'",
        "ATTACH '{outside}'",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{outside}'",
        "INSTALL httpfs",
        "SELECT colour FROM events",
        "SELECT CAST(type AS INTEGER) FROM events",
        "nonsense",
        "",
    ],
)
def test_a_question_of_ones_own_reads_events_and_does_nothing_else(tmp_path: Path, query: str) -> None:
    folder = EventFolder(tmp_path / "events")
    folder.add("delivered", NOON - HOUR)
    reader = Reader([folder.folder])
    outside = tmp_path / "secret.csv"
    outside.write_text("secret")
    with pytest.raises(QuestionError), reader.query(query.format(outside=outside), NOON - DAY, NOON) as (_, rows):
        list(rows)
    assert outside.read_text() == "secret"
