"""`postlane engagement import FILE`: when people last cared for a brand's mail, as its apps know it; for tiers and sunset.

CSV in UTF-8, an address a line with a brand and a day; with a header the columns stand in any order, and others are passed over.
The file is read twice, so that a mistake in its last line changes nothing; memory does not grow with it.
"""

import argparse
import csv
import getpass
import itertools
import json
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from relay.cli.events import printable
from relay.cli.progress import Progress
from relay.config import whereabouts
from relay.control import granted, request

Json = dict[str, Any]

_PAGE = 500  # entries of one question
_SHOWN = 20  # bad lines that are shown
_EPOCH = date(1970, 1, 1)
# What exports call them; the first names are ours.
_COLUMNS = {
    "address": ("address", "recipient", "email", "email address", "e-mail"),
    "brand": ("brand",),
    "date": ("date", "last_engaged", "last engaged", "engaged", "day"),
}
_NEVER = ("", "never", "-")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file; `fault`: why it says nothing. `day` None: this person never engaged."""

    line: int
    address: str = ""
    brand: str = ""
    day: int | None = None
    fault: str = ""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("engagement", help="when people last opened, clicked or bought: import FILE")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    take = actions.add_parser(
        "import",
        help="last-engaged dates",
        description="CSV: address, brand, date (2026-11-23; empty: never). A later date replaces an earlier one, never the other "
        "way round. It also tells that the brand is fed: without that nobody becomes cold, and no mail ends.",
    )
    take.add_argument("file", metavar="FILE")
    take.add_argument("--brand", default="", help="of all lines, where the file has no such column")
    take.add_argument("--skip-bad", action="store_true", help="take the good lines of a file that has bad ones")
    take.add_argument("--reason", default="", help="why; kept in the audit")
    take.add_argument("--dry-run", action="store_true", help="only look at the file")
    take.set_defaults(run=run_import)


def run_import(args: argparse.Namespace) -> int:
    path, data_dir = Path(args.file), whereabouts(args.config).data_dir
    brands = ask(data_dir, {"what": "brands"})["brands"]
    try:
        good, bad = _looked_at(path, args, brands)
        if bad and not args.skip_bad:
            print(f"{bad:,} of {good + bad:,} lines are wrong; nothing was imported (--skip-bad)", file=sys.stderr)
            return 1
        changed = 0 if args.dry_run else _send(data_dir, path, args, brands, good)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else f"is no CSV in UTF-8: {error}"
        print(f"postlane engagement import: {args.file} {why}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({"lines": good, "bad": bad, "changed": changed}))
    elif args.dry_run:
        print(f"{good:,} lines are good. Nothing was changed.")
    else:
        print(f"{changed:,} of {good:,} dates are news.")
    return 0


def _looked_at(path: Path, args: argparse.Namespace, brands: Collection[str]) -> tuple[int, int]:
    """How many lines are good, and bad; the first of these are shown."""
    good = bad = 0
    with _opened(path) as file:
        for row in rows(file, brands, args.brand, datetime.now(UTC).date()):
            if not row.fault:
                good += 1
                continue
            bad += 1
            if bad <= _SHOWN:
                print(f"{args.file}:{row.line}: {printable(row.fault)}", file=sys.stderr)
    return good, bad


def _send(data_dir: Path, path: Path, args: argparse.Namespace, brands: Collection[str], count: int) -> int:
    """Page by page; how many were news."""
    by, sent, changed = {"by": getpass.getuser(), "via": "cli"}, 0, 0
    with _opened(path) as file, Progress("Importing") as progress:
        read = (row for row in rows(file, brands, args.brand, datetime.now(UTC).date()) if not row.fault)
        while page := list(itertools.islice(read, _PAGE)):
            entries = [{"recipient": row.address, "brand": row.brand, "day": row.day} for row in page]
            changed += ask(data_dir, {"what": "engaged", "entries": entries, **by})["changed"]
            sent += len(entries)
            progress.show(sent / count, f"{sent:,}")
    facts = {"action": "engagement import", "what": {"file": path.name, "lines": count}, "done": changed}
    request(data_dir, {"do": "record", "kind": "audit", "facts": {**facts, **by, "reason": args.reason}})
    return changed


def rows(file: TextIO, brands: Collection[str], brand: str, today: date) -> Iterator[Row]:
    """Of each line that is not empty. `brands`: all there are; `brand`: of lines that name none. Raises csv.Error."""
    reader = csv.reader(file)
    places: dict[str, int] | None = None
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if places is None:
            places, header = _places(cells, with_brand=not brand)
            if header:
                if "address" not in places or "date" not in places:
                    yield Row(reader.line_num, fault="the header names no column address, or none date")
                    return
                continue
        found = {name: cells[at].strip() for name, at in places.items() if at < len(cells)}
        yield _row(reader.line_num, found, brands, brand, today)


def _places(cells: Sequence[str], *, with_brand: bool) -> tuple[dict[str, int], bool]:
    """Where each column is, and whether these cells are a header that says so."""
    said = [cell.strip().lower() for cell in cells]
    if any("@" in cell for cell in said):
        order = ("address", "brand", "date") if with_brand or len(cells) > 2 else ("address", "date")
        return {name: at for at, name in enumerate(order)}, False
    return {name: said.index(word) for name, words in _COLUMNS.items() for word in words if word in said}, True


def _row(line: int, found: dict[str, str], brands: Collection[str], brand: str, today: date) -> Row:
    address, named, said = found.get("address", ""), found.get("brand", "") or brand, found.get("date", "")
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or len(address) > 320:
        return Row(line, fault=f'"{address[:100]}" is no address')
    if not named:
        return Row(line, fault="no brand; add a column, or --brand")
    if named not in brands:
        there = ", ".join(sorted(brands)) or "none"
        return Row(line, fault=f'no brand is called "{named[:100]}"; there are {there}')
    if "date" not in found:
        return Row(line, fault="no date; leave the column empty for a person who never engaged")
    if said.lower() in _NEVER:
        return Row(line, address, named)
    try:
        day = _day(said)
    except ValueError:
        return Row(line, fault=f'"{said[:100]}" is no date; a date is year-month-day, such as 2026-11-23')
    if not _EPOCH <= day <= today + timedelta(days=1):
        return Row(line, fault=f"{day} is yet to come" if day > today else f"{day} is before there was mail")
    return Row(line, address, named, (day - _EPOCH).days)


def _day(said: str) -> date:
    """2026-11-23, or an RFC 3339 time, of which the day in UTC counts. Raises ValueError."""
    if len(said) <= len("2026-11-23"):
        return date.fromisoformat(said)
    at = datetime.fromisoformat(said)
    return (at if at.tzinfo is None else at.astimezone(UTC)).date()


def _opened(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline="")


def ask(data_dir: Path, question: Json) -> Json:
    """Of the desk; raises Refused."""
    return granted(request(data_dir, {"do": "people", **question}))
