"""Suppression lists as CSV: what other systems export, and what `postlane suppress export` writes. Pure.

With a header line columns are found by name, in any order and case; without one there are addresses alone, one a line.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO

from relay.people import LAST

Json = dict[str, Any]

COLUMNS = (
    "recipient", "key", "stop", "brand", "reason", "source", "since", "expires", "site", "stream", "note",
)  # fmt: skip
_NAMES = {
    **{name: name for name in COLUMNS},
    "address": "recipient", "email": "recipient", "e-mail": "recipient", "email address": "recipient", "mail": "recipient",
    "until": "expires", "created": "since", "created_at": "since", "date": "since", "timestamp": "since",
}  # fmt: skip
_TIMES = {"since": "since", "expires": "until"}
MAX_FIELD = 2_000  # characters; a longer one is a file of another kind


class Row(NamedTuple):
    """One line: an entry for the desk (relay/people.py), or what is wrong with it."""

    line: int
    entry: Json
    fault: str = ""


def read(file: TextIO, defaults: Json, wrong: Callable[[Json], str] = lambda entry: "") -> Iterator[Row]:
    """`defaults` fill what a line does not say; `wrong`: what else is wrong with an entry. Empty lines are passed over."""
    csv.field_size_limit(MAX_FIELD)
    lines = csv.reader(file, strict=False)
    columns: list[str] | None = None
    while True:
        try:
            cells = next(lines, None)
        except csv.Error as error:
            yield Row(lines.line_num, {}, str(error))
            continue
        if cells is None:
            return
        cells = [cell.strip().lstrip("\ufeff") for cell in cells]
        if not any(cells):
            continue
        if columns is None:
            columns = _header(cells)
            if columns:
                continue
            columns = ["recipient"]
        row = _row(lines.line_num, dict(zip(columns, cells, strict=False)), defaults)
        yield row if row.fault else row._replace(fault=wrong(row.entry))


def _header(cells: list[str]) -> list[str]:
    """The columns that it names ("" for one we do not know); nothing where it is no header."""
    names = [_NAMES.get(cell.lower(), "") for cell in cells]
    return names if {"recipient", "key"} & set(names) else []


def _row(line: int, cells: dict[str, str], defaults: Json) -> Row:
    said = {name: text for name, text in cells.items() if name and text}
    entry = {**defaults, **{name: text for name, text in said.items() if name not in _TIMES}}
    for name, key in _TIMES.items():
        if name in said:
            try:
                entry[key] = moment(said[name])
                if key == "until" and entry[key] >= LAST:
                    del entry[key]  # 9999-12-31 is how tables say never
            except ValueError:
                return Row(line, {}, f'{name} "{said[name]}" is no time such as 2026-11-21 or 2026-11-21T12:00:00Z')
    address = entry.get("recipient", "")
    if not address and not entry.get("key"):
        return Row(line, {}, "no address")
    local, _, domain = address.rpartition("@")
    if address and not (local and domain):
        return Row(line, {}, f'"{address[:100]}" is no address')
    if not entry.get("stop"):
        return Row(line, {}, "nothing says what it stops")
    return Row(line, entry)


def moment(text: str) -> int:
    """ms; UTC where it does not say. Raises ValueError, also for what was before 1970."""
    found = datetime.fromisoformat(text)
    ms = round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    if ms < 0:
        raise ValueError(text)
    return ms


def write(rows: Iterable[Json], file: TextIO) -> int:
    """What `read` reads; how many lines without the header."""
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    count = 0
    for row in rows:
        known = {**row, "key": "" if row.get("recipient") else row.get("key")}
        writer.writerow({name: "" if known.get(name) is None else known[name] for name in COLUMNS})
        count += 1
    return count
