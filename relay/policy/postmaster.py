"""What Google's users call spam, as its Postmaster Tools tell it: of their mail no complaints come. Pure.

    JSON   what `domains.trafficStats.get` and `.list` of the API answer (gmailpostmastertools.googleapis.com, v1): of a domain
           and day `userReportedSpamRatio`, and `spammyFeedbackLoops`, an `id` and `spamRatio` of each value of Feedback-ID that
           had enough complaints
    CSV    a date and a rate a line, as the dashboard's table is saved; columns `domain` and `id` may stand beside them

A rate is a share, 0.0031, or says that it is none: 0.31 %. What Google tells of a campaign, else of its app, else of its brand,
goes before what it tells of the domain.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import orjson

from relay.domain import a_label

SITE = "google"
_EPOCH = date(1970, 1, 1)
_STATS = re.compile(r"domains/([^/]+)/trafficStats/(\d{4})-?(\d{2})-?(\d{2})")
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
_COLUMNS = {
    "day": ("date", "day"),
    "share": (
        "user reported spam rate",
        "user-reported spam rate",
        "spam rate",
        "rate",
        "spam",
        "userreportedspamratio",
    ),
    "domain": ("domain",),
    "identifier": ("id", "identifier", "feedback-id", "feedback id"),
}


class Figure(NamedTuple):
    """Of a day (since the epoch): the share of what a domain's mail was called spam; of one `identifier` of its Feedback-ID, or
    "" of all."""

    domain: str
    day: int
    identifier: str
    share: float


class Fault(NamedTuple):
    """A line (or entry) that says nothing, and why."""

    line: int
    why: str


def read(text: str, domain: str, today: date) -> Iterator[Figure | Fault]:
    """`domain`: of what names none."""
    if text.lstrip("\ufeff \r\n\t")[:1] in ("{", "["):
        yield from _json(text, today)
    else:
        yield from _csv(text, domain, today)


def _json(text: str, today: date) -> Iterator[Figure | Fault]:
    try:
        said = orjson.loads(text.lstrip("\ufeff"))
    except ValueError as error:
        yield Fault(1, f"is no JSON: {error}")
        return
    stats = said if isinstance(said, list) else said.get("trafficStats", [said])
    for number, one in enumerate(stats if isinstance(stats, list) else [], 1):
        yield from _entry(number, one, today)


def _entry(number: int, one: Any, today: date) -> Iterator[Figure | Fault]:
    found = _STATS.fullmatch(str(one.get("name", ""))) if isinstance(one, dict) else None
    if found is None:
        yield Fault(number, 'is no trafficStats of a domain: "name" is domains/DOMAIN/trafficStats/20261123')
        return
    loops = one.get("spammyFeedbackLoops") or []
    told = [("", one.get("userReportedSpamRatio", 0.0))]  # the API leaves out what is nothing
    told += [(str(loop.get("id", "")), loop.get("spamRatio", 0.0)) for loop in loops if isinstance(loop, dict)]
    day = "-".join(found.groups()[1:])
    for identifier, share in told:
        yield _figure(number, found[1], day, identifier, str(share), today)


def _csv(text: str, domain: str, today: date) -> Iterator[Figure | Fault]:
    reader = csv.reader(io.StringIO(text.lstrip("\ufeff")))
    places: Mapping[str, int] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if places is None:
                places = _places(cells)
                if "day" not in places or "share" not in places:
                    yield Fault(reader.line_num, "the header names no column date, or none rate")
                    return
                continue
            said = {name: cells[at].strip() for name, at in places.items() if at < len(cells)}
            of, identifier = said.get("domain") or domain, said.get("identifier", "")
            yield _figure(reader.line_num, of, said.get("day", ""), identifier, said.get("share", ""), today)
    except csv.Error as error:
        yield Fault(reader.line_num, f"is no CSV: {error}")


def _places(cells: Sequence[str]) -> dict[str, int]:
    said = [cell.strip().lower() for cell in cells]
    return {name: said.index(word) for name, words in _COLUMNS.items() for word in reversed(words) if word in said}


def _figure(line: int, domain: str, day: str, identifier: str, share: str, today: date) -> Figure | Fault:
    name = (a_label(domain) or "") if domain else ""
    if _DOMAIN.fullmatch(name) is None:
        return Fault(line, f'"{domain[:100]}" is no domain' if domain else "no domain; add a column, or --domain")
    try:
        at = date.fromisoformat(day)
    except ValueError:
        return Fault(line, f'"{day[:40]}" is no date, such as 2026-11-23')
    if not _EPOCH <= at <= today + timedelta(days=1):
        return Fault(line, f"{at} is yet to come" if at > today else f"{at} is before there was mail")
    number = _share(share)
    if number is None:
        return Fault(line, f'"{share[:40]}" is no rate: a share such as 0.0031, or 0.31 %')
    return Figure(name, (at - _EPOCH).days, identifier[:100], number)


def _share(text: str) -> float | None:
    percent = text.endswith("%")
    try:
        number = float(text.rstrip("% ").replace(",", ".")) / (100 if percent else 1)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


class Figures:
    """All that is known, by day, domain and identifier."""

    def __init__(self, figures: Iterable[Figure] = ()) -> None:
        self._shares: dict[tuple[int, str, str], float] = {}
        self._identified: dict[tuple[int, str], float] = {}
        for one in figures:
            self._shares[one.day, one.domain, one.identifier] = one.share
            if one.identifier:
                known = self._identified.get((one.day, one.identifier), 0.0)
                self._identified[one.day, one.identifier] = max(known, one.share)

    def __repr__(self) -> str:
        return f"<Figures {len(self._shares)}>"

    def share(self, day: int, identifiers: Sequence[str], domains: Iterable[str]) -> float | None:
        """Of mail that says these in its Feedback-ID, the closest first, from one of these domains; None: nobody told."""
        for identifier in identifiers:
            if identifier and (day, identifier) in self._identified:
                return self._identified[day, identifier]
        told = [self._shares[day, domain, ""] for domain in domains if (day, domain, "") in self._shares]
        return max(told, default=None)
