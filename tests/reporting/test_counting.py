"""Counts beside events: made once, made again where they are gone, added up by days, and never of what is not there any more."""

from itertools import groupby
from pathlib import Path

import duckdb
import pytest

from relay.feedback.eventforget import forget
from relay.feedback.eventretention import remove_expired
from relay.reporting import Reader, counting
from relay.reporting.counting import copy_lines, count
from relay.reporting.files import COUNTS
from relay.reporting.question import DELAYS, LEVELS, OTHERS, TEMPLATES, ask
from tests.support.event_folder import DAY, HOUR, NOON, EventFolder


@pytest.fixture
def folder(tmp_path: Path) -> EventFolder:
    """Two hours of a day, in columns."""
    folder = EventFolder(tmp_path / "events")
    folder.add("delivered", NOON - 2 * HOUR, 3, delay_ms=100)
    folder.add("delivered", NOON - HOUR, 2, delay_ms=100)
    folder.archive()
    return folder


def counts(folder: EventFolder) -> list[str]:
    return sorted(path.name for path in (folder.folder / COUNTS).iterdir())


def delivered(folder: EventFolder, span: int = DAY) -> int:
    return Reader([folder.folder]).answer(ask("summary", NOON - span, NOON + span, usual=0)).total.now["delivered"]


def test_each_file_is_counted_once(folder: EventFolder) -> None:
    assert count(folder.folder, NOON) == 2
    assert counts(folder) == ["2026-11-21T10.0.parquet", "2026-11-21T11.0.parquet"]
    assert count(folder.folder, NOON) == 0
    assert delivered(folder) == 5


def test_a_file_that_cannot_be_read_does_not_keep_the_others(
    folder: EventFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.folder / "2026-11-21T10.0.parquet").write_bytes(b"PAR1, and then the disk failed")
    assert count(folder.folder, NOON) == 1
    assert counts(folder) == ["2026-11-21T11.0.parquet"]
    assert "2026-11-21T10.0.parquet" in capsys.readouterr().out
    assert count(folder.folder, NOON + 3 * DAY) == 0  # its day is not added up


def test_what_is_removed_is_counted_again(folder: EventFolder) -> None:
    count(folder.folder, NOON)
    (folder.folder / COUNTS / "2026-11-21T11.0.parquet").unlink()
    assert delivered(folder) == 5
    assert count(folder.folder, NOON) == 1


def test_a_day_that_is_over_is_added_up_and_an_hour_that_comes_late_stands_beside_it(folder: EventFolder) -> None:
    assert count(folder.folder, NOON + 3 * DAY) == 3
    assert counts(folder) == ["2026-11-21.json", "2026-11-21.parquet"]
    assert delivered(folder) == 5
    folder.add("delivered", NOON - 3 * HOUR, 4)
    folder.archive()
    assert delivered(folder) == 9
    assert count(folder.folder, NOON + 3 * DAY) == 1
    assert counts(folder) == ["2026-11-21.json", "2026-11-21.parquet", "2026-11-21T09.0.parquet"]
    assert count(folder.folder, NOON + 3 * DAY) == 0
    assert delivered(folder) == 9


def test_a_day_waits_for_all_its_hours(folder: EventFolder) -> None:
    folder.add("delivered", NOON, 1)
    assert count(folder.folder, NOON + 3 * DAY) == 2, "and lines that are few are not worth it"
    assert "2026-11-21.parquet" not in counts(folder)
    assert delivered(folder) == 6


@pytest.mark.parametrize(("zone", "slots"), [("Asia/Jerusalem", 1), ("Asia/Kolkata", 2)])
def test_days_keep_as_fine_as_the_hours_there_need(tmp_path: Path, zone: str, slots: int) -> None:
    folder = EventFolder(tmp_path)
    folder.add("delivered", NOON - HOUR)
    folder.add("delivered", NOON - HOUR // 2)
    folder.archive()
    count(folder.folder, NOON + 3 * DAY, zone)
    file = str(tmp_path / COUNTS / "2026-11-21.parquet")
    with duckdb.connect() as database:
        found = database.execute(
            "SELECT count(DISTINCT slot) FROM read_parquet(?) WHERE level = 'apps'", [file]
        ).fetchone()
    assert found == (slots,)


def test_what_a_crash_left_goes_and_a_day_without_its_list_is_made_again(folder: EventFolder) -> None:
    count(folder.folder, NOON + 3 * DAY)
    (folder.folder / COUNTS / "2026-11-21.json").unlink()
    (folder.folder / COUNTS / "2026-11-21T11.0.parquet.partial").write_text("half")
    assert delivered(folder) == 5
    assert count(folder.folder, NOON + 3 * DAY) == 3
    assert counts(folder) == ["2026-11-21.json", "2026-11-21.parquet"]
    assert delivered(folder) == 5


def test_hours_that_stand_in_a_day_already_are_counted_once(folder: EventFolder) -> None:
    """The node died between adding up and clearing away."""
    count(folder.folder, NOON)
    kept = {path: path.read_bytes() for path in (folder.folder / COUNTS).iterdir()}
    count(folder.folder, NOON + 3 * DAY)
    for path, content in kept.items():
        path.write_bytes(content)
    assert delivered(folder) == 5
    assert count(folder.folder, NOON + 3 * DAY) == 0
    assert counts(folder) == ["2026-11-21.json", "2026-11-21.parquet"]


@pytest.mark.parametrize("later", [0, 3 * DAY])
def test_counts_go_with_their_events(folder: EventFolder, later: int) -> None:
    count(folder.folder, NOON + later)
    assert remove_expired(folder.folder, NOON + 10 * DAY, DAY) == 2
    count(folder.folder, NOON + 10 * DAY)
    assert counts(folder) == []


def test_lines_are_counted_as_far_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "GROWN", 500)
    folder = EventFolder(tmp_path)
    folder.add("delivered", NOON - HOUR, 2)
    file = next(tmp_path.glob("*.jsonl"))
    whole = file.stat().st_size
    with file.open("ab") as lines:
        lines.write(b'{"time": "2026')
    assert count(tmp_path, NOON) == 1
    assert counts(folder) == [f"2026-11-21T11.0.lines-{whole}.parquet"]
    file.write_bytes(file.read_bytes()[:whole])
    folder.add("delivered", NOON - HOUR, 3)
    assert delivered(folder) == 5
    assert count(tmp_path, NOON) == 1
    assert counts(folder) == [f"2026-11-21T11.0.lines-{file.stat().st_size}.parquet"]
    assert delivered(folder) == 5
    assert count(tmp_path, NOON) == 0
    folder.archive()
    assert delivered(folder) == 5
    assert count(tmp_path, NOON) == 1
    assert counts(folder) == ["2026-11-21T11.0.parquet"]


def test_lines_without_an_end_are_none(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"x" * 100_000)
    assert copy_lines(source, 0, target) == 0
    source.write_bytes(b"one\n" + b"x" * 100_000)
    assert copy_lines(source, 0, target) == 4
    assert target.read_bytes() == b"one\n"
    assert copy_lines(source, 4, target) == 0


def test_nobody_who_is_forgotten_is_in_them(folder: EventFolder) -> None:
    count(folder.folder, NOON)
    assert forget(folder.folder, "p1@gmail.com") == 1
    for path in (folder.folder / COUNTS).iterdir():
        content = path.read_bytes()
        assert b"gmail.com" not in content
        assert b"p1" not in content
    assert delivered(folder) == 5


def test_a_node_without_events_has_nothing_to_count(tmp_path: Path) -> None:
    assert count(tmp_path / "none", NOON) == 0


def by_template(reader: Reader, **where: list[str]) -> dict[str | None, tuple[int, int]]:
    """Of each, and of all under "all": what bounced, and what ended."""
    answer = reader.answer(ask("bounces", NOON - DAY, NOON, by=["skeleton"], where=where, usual=0))
    rows = {row.key[0]: row.now for row in answer.rows} | {"all": answer.total.now}
    return {name: (figures["bounced"], figures["ended"]) for name, figures in rows.items()}


def test_templates_are_counted_by_name(folder: EventFolder) -> None:
    folder.add("bounced", NOON - 3 * HOUR, 2, skeleton="k1", category="quota")
    folder.add("delivered", NOON - 3 * HOUR, 3, skeleton="k1")
    folder.archive()
    assert count(folder.folder, NOON + 3 * DAY) > 0
    for path in folder.folder.glob("*.parquet"):
        path.write_bytes(b"")  # counts answer
    reader = Reader([folder.folder])
    assert by_template(reader) == {"k1": (2, 5), "all": (2, 10)}
    assert by_template(reader, skeleton=["K1"]) == {"k1": (2, 5), "all": (2, 5)}


def test_an_app_that_makes_a_template_for_each_message_makes_no_more_counts(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path)
    for number in range(TEMPLATES + 10):
        folder.add("delivered", NOON - HOUR, skeleton=f"new-{number}", credential="odd")
    folder.add("bounced", NOON - HOUR, skeleton="new-7", credential="odd", category="quota")
    folder.add("bounced", NOON - HOUR, skeleton="new", credential="odd", category="quota")
    folder.add("delivered", NOON - HOUR, 4, skeleton="news")
    folder.add("bounced", NOON - HOUR, 2, skeleton="news", category="quota")
    folder.archive()
    exact = by_template(Reader([tmp_path]))
    assert exact == {"news": (2, 6), "new-7": (1, 2), "new": (1, 1), "all": (4, TEMPLATES + 18)}
    assert count(tmp_path, NOON) == 1
    reader = Reader([tmp_path])
    assert by_template(reader) == {
        "news": (2, 6),
        "new-7": (1, 2),
        OTHERS: (1, TEMPLATES + 10),
        "all": exact["all"],
    }
    assert by_template(reader, skeleton=["new"]) == {"new": (1, 1), "all": (1, 1)}, "from the events themselves"
    assert by_template(reader, skeleton=["news"], credential=["crm"]) == {"news": (2, 6), "all": (2, 6)}


def test_counts_of_an_earlier_version_are_made_anew(folder: EventFolder) -> None:
    old = folder.folder / "counts" / "2026-11-21T10.0.parquet"
    old.parent.mkdir()
    old.write_bytes(b"of another shape")
    assert delivered(folder) == 5
    assert count(folder.folder, NOON) == 2
    assert not old.exists()
    assert delivered(folder) == 5


def test_each_level_of_a_day_stands_together_so_that_the_others_are_not_read(folder: EventFolder) -> None:
    count(folder.folder, NOON + 3 * DAY)
    (file,) = (folder.folder / COUNTS).glob("*.parquet")
    with duckdb.connect() as database:
        rows = database.execute("SELECT level FROM read_parquet(?)", [str(file)]).fetchall()
    levels = [level for level, _ in groupby(level for (level,) in rows)]
    assert len(rows) > len(levels) == len(set(levels)) == len(LEVELS) + len(DELAYS)
