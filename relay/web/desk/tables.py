"""Answers of relay.reporting as tables for a page and for a spreadsheet. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.masking import mask_text
from relay.reporting.figures import SHARES, SPANS, Answer, Row
from relay.reporting.question import OTHERS
from relay.reporting.spreadsheet import harmless
from relay.web.desk import words
from relay.web.desk.asked import FILTERS, Asked

MANY = 20  # of what goes wrong: fewer say nothing of a share
JUMP = 2.0  # times the usual share, and it is worth a look
HEADS = {
    "accepted": "Accepted",
    "delivered": "Delivered",
    "bounces": "Bounced",
    "bounce_share": "Bounce share",
    "deferred": "Deferred",
    "deferral_share": "Deferral share",
    "withheld": "Withheld",
    "complained": "Complaints",
    "complaint_share": "Complaint share",
    "unsubscribed": "Unsubscribed",
    "unsubscribe_share": "Unsubscribe share",
    "p50": "Half within",
    "p90": "90 % within",
    "p99": "99 % within",
}
NAMES = {"site": "provider", "skeleton": "template"}  # of dimensions, as people call them
WHAT = {  # of a share: what goes wrong
    "bounce_share": "bounces",
    "complaint_share": "complained",
    "deferral_share": "deferred",
    "unsubscribe_share": "unsubscribed",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """`usual`: "" where nothing is known; `bar`: how much of the largest, of 100; `jump`: far above the usual."""

    text: str
    usual: str = ""
    jump: bool = False
    bar: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """`drill` and `messages`: addresses of pages; "" where there is nothing more to see."""

    name: str
    cells: tuple[Cell, ...]
    drill: str = ""
    messages: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    head: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    total: Line
    others: Line | None
    groups: int


def table(answer: Answer, asked: Asked, columns: Sequence[str] = ()) -> Table:
    """By one dimension; of `columns`, or of all that the report has."""
    shown = columns or answer.question.shape.shown
    most = {name: max((row.now.value(name) or 0 for row in answer.rows), default=0) for name in shown}
    lines = tuple(_line(row, answer, asked, shown, most) for row in answer.rows)
    total = Line("All", tuple(_cell(answer.total, name, answer, {}) for name in shown), "", asked.messages())
    others = None
    if answer.others is not None:
        others = Line("all others", tuple(_cell(answer.others, name, answer, {}) for name in shown))
    heads = tuple(HEADS.get(name, name.replace("_", " ")) for name in shown)
    return Table(NAMES.get(asked.by, asked.by).capitalize(), heads, lines, total, others, answer.groups)


def _line(row: Row, answer: Answer, asked: Asked, shown: Sequence[str], most: Mapping[str, float]) -> Line:
    key = row.key[0] if row.key else None
    cells = tuple(_cell(row, name, answer, most) for name in shown)
    if not key or asked.by not in FILTERS or (asked.by == "skeleton" and key == OTHERS):
        return Line("(none)" if not key else str(key), cells)
    name = str(key)
    return Line(name, cells, asked.drilled(asked.by, name), asked.messages(**{asked.by: name}))


def _cell(row: Row, name: str, answer: Answer, most: Mapping[str, float]) -> Cell:
    value, usual, unit = row.now.value(name), answer.usual(row, name), unit_of(name)
    told = words.figure(usual, unit) if usual is not None else ""
    bar = round(100 * (value or 0) / most[name]) if unit == "count" and most.get(name) else 0
    return Cell(words.figure(value, unit), told, jump(row, name, answer), bar)


def jump(row: Row, name: str, answer: Answer) -> bool:
    """Is this share far above what is usual, of enough mail?"""
    if name not in WHAT:
        return False
    share, usual = row.now.value(name), answer.usual(row, name)
    return bool(
        share is not None and usual is not None and share > JUMP * usual and (row.now.value(WHAT[name]) or 0) >= MANY
    )


def unit_of(name: str) -> str:
    return "share" if name in SHARES else "ms" if name in SPANS else "count"


def as_csv(names: Sequence[str], rows: Iterable[Sequence[Any]], *, masked: bool) -> str:
    """RFC 4180. Nothing that strangers wrote becomes a formula; of a viewer's no address is whole."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_plain(value, masked=masked) for value in row])
    return out.getvalue()


def _plain(value: Any, *, masked: bool) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return harmless(mask_text(str(value)) if masked else str(value))
