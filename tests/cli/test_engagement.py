"""`postlane engagement import`: what a file says, and what is wrong with it by line; the desk is a fake."""

import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from relay.cli import engagement
from relay.cli.engagement import Row, rows
from relay.cli.main import main
from relay.control import NodeDown

TODAY = date(2026, 11, 22)
DAY = (TODAY - date(1970, 1, 1)).days


def read(text: str, brand: str = "", brands: tuple[str, ...] = ("arava", "kinor")) -> list[Row]:
    return list(rows(io.StringIO(text), brands, brand, TODAY))


class Desk:
    """Answers as a worker's; `asked`: the questions."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | None = None

    def __call__(self, data_dir: Path, question: dict[str, Any], timeout: float = 60.0) -> dict[str, Any]:
        self.asked.append(question)
        if question.get("what") == "brands":
            return {"brands": ["arava", "kinor"]}
        return self.answer or {"changed": len(question.get("entries", ())) - 1}


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr(engagement, "request", made)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "engaged.csv"


def test_columns_are_found_by_their_names_or_by_their_order() -> None:
    known = [Row(2, "dana@example.com", "arava", DAY - 21), Row(4, "noa@example.com", "kinor", None)]
    assert read("Email,x,Date,brand\ndana@example.com,1,2026-11-01,arava\n\nnoa@example.com,2,,kinor\n") == known
    assert read("dana@example.com, arava ,2026-11-01\n") == [Row(1, "dana@example.com", "arava", DAY - 21)]
    assert read("dana@example.com,2026-11-01\n", "kinor") == [Row(1, "dana@example.com", "kinor", DAY - 21)]


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2026-11-22", DAY),
        ("2026-11-23", DAY + 1),
        ("2026-11-21T23:30:00-05:00", DAY),
        ("2026-11-22T12:00:00.5Z", DAY),
        ("2026-11-22 12:00:00", DAY),
        ("never", None),
        ("-", None),
    ],
)
def test_a_day_is_one_of_utc(said: str, day: int | None) -> None:
    assert read(f"dana@example.com,arava,{said}\n") == [Row(1, "dana@example.com", "arava", day)]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("dana,arava,2026-11-01", '"dana" is no address'),
        ("@example.com,arava,2026-11-01", '"@example.com" is no address'),
        (f"{'d' * 400}@example.com,arava,2026-11-01", "is no address"),
        ("dana@example.com,arva,2026-11-01", 'no brand is called "arva"; there are arava, kinor'),
        ("dana@example.com,,2026-11-01", "no brand; add a column, or --brand"),
        ("dana@example.com,arava", "no date; leave the column empty for a person who never engaged"),
        ("dana@example.com,arava,01/11/2026", '"01/11/2026" is no date'),
        ("dana@example.com,arava,2026-11-24", "2026-11-24 is yet to come"),
        ("dana@example.com,arava,1901-01-01", "1901-01-01 is before there was mail"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(line: str, fault: str) -> None:
    good, bad = read(f"a@example.com,arava,2026-11-01\n{line}\n")
    assert good.fault == ""
    assert bad.line == 2
    assert fault in bad.fault


def test_a_header_must_name_what_is_needed() -> None:
    (row,) = read("name,brand\nDana,arava\nNoa,arava\n")
    assert "the header names no column address" in row.fault


def test_a_file_goes_to_the_desk_in_pages(
    desk: Desk, file: Path, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("".join(f"d{n}@example.com,arava,2026-11-01\n" for n in range(1_001)), encoding="utf-8-sig")
    assert main(["engagement", "import", str(file), "--reason", "monthly", *folders]) == 0
    told = [question for question in desk.asked if question.get("what") == "engaged"]
    assert [len(question["entries"]) for question in told] == [500, 500, 1]
    assert told[0]["entries"][0] == {"recipient": "d0@example.com", "brand": "arava", "day": DAY - 21}
    assert {question["via"] for question in told} == {"cli"}
    (audit,) = (question for question in desk.asked if question["do"] == "record")
    assert (audit["kind"], audit["facts"]["action"], audit["facts"]["reason"]) == (
        "audit",
        "engagement import",
        "monthly",
    )
    assert audit["facts"]["what"] == {"file": "engaged.csv", "lines": 1_001}
    assert capsys.readouterr().out == "998 of 1,001 dates are news.\n"


def test_of_a_file_with_mistakes_nothing_is_taken_unless_that_is_wished(
    desk: Desk, file: Path, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("address,brand,date\ndana,arava,2026-11-01\n" + "noa@example.com,arava,2026-11-01\n" + "x\n" * 30)
    assert main(["engagement", "import", str(file), *folders]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f'{file}:2: "dana" is no address'
    assert len(said) == 21
    assert said[-1] == "31 of 32 lines are wrong; nothing was imported (--skip-bad)"
    assert [question.get("what") for question in desk.asked] == ["brands"]
    assert main(["engagement", "import", str(file), "--skip-bad", "--json", *folders]) == 0
    assert json.loads(capsys.readouterr().out) == {"lines": 1, "bad": 31, "changed": 0}


def test_a_dry_run_only_looks(desk: Desk, file: Path, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("noa@example.com,2026-11-01\n")
    assert main(["engagement", "import", str(file), "--brand", "kinor", "--dry-run", *folders]) == 0
    assert capsys.readouterr().out == "1 lines are good. Nothing was changed.\n"
    assert len(desk.asked) == 1


def test_what_cannot_be_read_or_done_is_said(
    desk: Desk, file: Path, folders: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["engagement", "import", str(file), *folders]) == 1
    assert f"{file} No such file or directory" in capsys.readouterr().err
    file.write_bytes(b"\xff\xfe,arava,2026-11-01\n")
    assert main(["engagement", "import", str(file), *folders]) == 1
    assert "is no CSV in UTF-8" in capsys.readouterr().err
    file.write_text("noa@example.com,kinor,2026-11-01\n")
    desk.answer = {"error": "State cannot be reached: it is locked"}
    assert main(["engagement", "import", str(file), *folders]) == 1
    assert "State cannot be reached" in capsys.readouterr().err

    def down(*_: object) -> None:
        raise NodeDown("nobody")

    monkeypatch.setattr(engagement, "request", down)
    assert main(["engagement", "import", str(file), *folders]) == 1
    assert "is not running" in capsys.readouterr().err
