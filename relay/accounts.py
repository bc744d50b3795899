"""The sheets of all shards (relay/tallying.py), read from State and added up, as far back as they count.

Sheets of this hour and the last are read at each look, and parsed where they changed; the older ones, which late reports
alone change, in turn, one hour at each. Hours that count no more are taken off. That is some MB in the one worker that judges.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import orjson
import structlog

from relay.identity import Brand
from relay.policy.badhour import BadHour
from relay.policy.decay import Weeks
from relay.policy.feedback_id import FeedbackIds
from relay.policy.health import MEASURES, counted, share_of
from relay.policy.postmaster import SITE, Figure, Figures
from relay.policy.tallies import ENGAGED, HOUR, KNOWN, QUARTER, Facts, Hour, Key, Row, Sheet, Sums, sums_of
from relay.state.interface import State
from relay.tallying import HOURS, REPORTERS, board

log = structlog.get_logger()
N = TypeVar("N")

WEEKS = "health/weeks"  # board: stream -> Weeks
FIGURES = "health/figures"  # board: domain and day -> shares by identifier, as imported
REPORTING = 30  # days for which a site reports complaints after one came from it
FIGURES_KEPT = 30  # days
FRESH = 2  # hours that are read at each look
_DAY = 86_400_000

BY = ("campaign", "credential", "site")  # where it is looked for in whose mail most of a share was


@dataclass(slots=True)
class Beside:
    """What else is known: sites that were in a bad hour; whose domains are whose; by what Google tells complaints."""

    sites: Mapping[str, BadHour]
    brands: Mapping[str, Brand]
    feedback_ids: FeedbackIds


class Accounts:
    def __init__(self, state: State) -> None:
        self._state = state
        self._hours: dict[int, Hour] = {}
        self._sheets: dict[tuple[int, str], tuple[str, Sheet]] = {}  # of fresh hours: as they stood there, and read
        self._texts: dict[int, dict[str, str]] = {}  # of fresh hours: all of an hour
        self._reporters: dict[str, str] = {}
        self._figures: dict[str, str] = {}
        self._known = Figures()
        self._aside: set[tuple[str, int, int | None, str]] = set()  # bad hours, as they were when it was added up

    def __repr__(self) -> str:
        return f"<Accounts of {len(self._hours)} hours>"

    def forget(self) -> None:
        """Add all of it up anew."""
        self._hours.clear()

    async def hours(self, beside: Beside, since: int, now: int, turn: int) -> list[Hour]:
        """All hours that count. `turn` grows by one at each look. Raises StateError."""
        await self._look_beside(now)
        aside = {(one.site, one.since, one.until, one.word) for one in beside.sites.values()}
        if aside != self._aside:
            self.forget()
            self._aside = aside
        facts = self._facts(beside, now)
        first, this = since // HOUR, now // HOUR
        there = [int(hour) for hour in await self._state.pinned(HOURS)]
        for hour in sorted(there):
            if hour < first:
                await self._take_off(hour)
        counting = [hour for hour in there if hour >= first]
        old = sorted(hour for hour in counting if hour <= this - FRESH)
        due = {hour for hour in counting if hour > this - FRESH or hour not in self._hours}
        due |= {old[turn % len(old)]} if old else set()
        for hour in due:
            before = self._texts.get(hour)
            sheets = await self._read(hour, keep=hour > this - FRESH)
            if hour not in self._hours or before is None or before != self._texts.get(hour):
                self._hours[hour] = await hour_of(hour * HOUR, sheets, facts)
        self._texts = {hour: texts for hour, texts in self._texts.items() if hour > this - FRESH}
        self._sheets = {at: sheet for at, sheet in self._sheets.items() if at[0] > this - FRESH}
        self._hours = {hour: found for hour, found in self._hours.items() if hour in counting}
        return list(self._hours.values())

    async def _look_beside(self, now: int) -> None:
        """Where more is known than before, all is added up anew."""
        reporters = await self._state.pinned(REPORTERS)
        figures = await self._state.pinned(FIGURES)
        if reporters.keys() != self._reporters.keys() or figures != self._figures:
            self.forget()
        if figures != self._figures:
            self._known = Figures(_figures(figures))
        self._reporters, self._figures = reporters, figures
        for name in figures:
            if int(name.rpartition(" ")[2]) < now // _DAY - FIGURES_KEPT:
                await self._state.unpin(FIGURES, name)

    def _facts(self, beside: Beside, now: int) -> Facts:
        first = now // _DAY - REPORTING
        reporting = {site for site, day in self._reporters.items() if int(day) >= first and site != SITE}

        def share(row: Row, stream: str, at: int) -> float | None:
            if row.site != SITE:
                return None
            said = beside.feedback_ids.field(row.campaign or stream, row.credential, row.brand)
            brand = beside.brands.get(row.brand)
            identifiers = said.decode().partition(": ")[2].split(":")[:3]
            return self._known.share(at // _DAY, identifiers, brand.domains if brand is not None else ())

        def aside(site: str, at: int) -> bool:
            bad = beside.sites.get(site)
            return bad is not None and bad.covers(at)

        return Facts(lambda site: site in reporting, share, aside)

    async def _read(self, hour: int, *, keep: bool) -> list[Sheet]:
        texts = dict(await self._state.pinned(board(hour)))
        if keep:
            self._texts[hour] = texts
        return await self._sheets_of(hour, texts, keep=keep)

    async def _sheets_of(self, hour: int, texts: Mapping[str, str], *, keep: bool) -> list[Sheet]:
        sheets = []
        for name, text in texts.items():
            known = self._sheets.get((hour, name))
            if known is not None and known[0] == text:
                sheets.append(known[1])
                continue
            try:
                sheet = Sheet.load(text)
            except ValueError as error:
                log.error("a sheet of counts cannot be read; a newer Postlane's?", error=str(error))
                continue
            sheets.append(sheet)
            await asyncio.sleep(0)  # of many sites, each takes a millisecond in which no mail moves
            if keep:
                self._sheets[hour, name] = text, sheet
        return sheets

    async def _take_off(self, hour: int) -> None:
        """Of what it counted only this is kept: how many recipients of each stream cared for it."""
        texts = dict(await self._state.pinned(board(hour)))
        care: dict[str, list[int]] = {}
        for sheet in await self._sheets_of(hour, texts, keep=False):
            sums = care.setdefault(sheet.stream, [0, 0])
            for counts in sheet.counts.values():
                sums[0], sums[1] = sums[0] + counts[KNOWN], sums[1] + counts[ENGAGED]
        if any(known for known, _ in care.values()):
            weeks = await self.weeks()
            for stream, (known, engaged) in care.items():
                one = weeks.get(stream, Weeks())
                if known and one.add(hour, known, engaged):
                    await self._state.pin(WEEKS, stream, one.dump())
        for name in texts:
            await self._state.unpin(board(hour), name)
        await self._state.unpin(HOURS, str(hour))

    async def weeks(self) -> dict[str, Weeks]:
        """Of each stream how many of its recipients cared, but for the last days. Raises StateError."""
        return loaded(await self._state.pinned(WEEKS), Weeks.load)

    async def whose(self, key: Key, measure: str, beside: Beside, since: int, now: int) -> str:
        """In which campaign, by which app, to which site most of what a share is about was sent. Raises StateError."""
        facts, parts = self._facts(beside, now), dict[tuple[str, str], float]()
        for hour in sorted(self._hours):
            if (hour + 1) * HOUR <= since:
                continue
            for sheet in await self._read(hour, keep=False):
                for row, counts in sheet.counts.items() if sheet.stream == key[0] else ():
                    if row.urgent == key[1]:
                        at = hour * HOUR + row.quarter * QUARTER
                        number = counted(measure, sums_of(row, counts, sheet.stream, at, facts))
                        for by in BY:
                            name = by, str(getattr(row, by))
                            parts[name] = parts.get(name, 0.0) + number
        return mostly(parts)

    async def table(self, by: str, beside: Beside, since: int, now: int) -> list[dict[str, object]]:
        """Of what was sent since, the most mail first. `by`: stream, credential, brand, campaign or site. Raises StateError."""
        await self._look_beside(now)
        facts, found = self._facts(beside, now), dict[str, Sums]()
        for hour in sorted(int(one) for one in await self._state.pinned(HOURS)):
            if (hour + 1) * HOUR <= since:
                continue
            for sheet in await self._read(hour, keep=False):
                for name, sums in _by(by, sheet, hour * HOUR, since, facts):
                    found.setdefault(name, Sums()).add(sums)
        rows = [_shown(by, name, sums) for name, sums in found.items()]
        return sorted(rows, key=lambda row: -int(str(row["sent"])))


async def hour_of(begin: int, sheets: Iterable[Sheet], facts: Facts) -> Hour:
    """Mail goes on in between."""
    hour = Hour(begin)
    for sheet in sheets:
        hour.add(sheet, facts)
        await asyncio.sleep(0)
    return hour


def mostly(parts: Mapping[tuple[str, str], float]) -> str:
    """`parts`: how many of what is called how. "mostly campaign may (40 of 41), site google (30 of 41)": what has half of all."""
    said = []
    for by in BY:
        named = {name: number for (kind, name), number in parts.items() if kind == by}
        total, worst = sum(named.values()), max(named, key=lambda name: (named[name], name), default="")
        if worst and total and named[worst] >= total / 2:
            said.append(f"{by} {worst} ({named[worst]:.0f} of {total:.0f})")
    return f"mostly {', '.join(said)}" if said else ""


def _by(by: str, sheet: Sheet, begin: int, since: int, facts: Facts) -> Iterator[tuple[str, Sums]]:
    for row, counts in sheet.counts.items():
        at = begin + row.quarter * QUARTER
        if at >= since // QUARTER * QUARTER:
            name = sheet.stream if by == "stream" else str(getattr(row, by))
            yield name, sums_of(row, counts, sheet.stream, at, facts)


def _shown(by: str, name: str, sums: Sums) -> dict[str, object]:
    shares = {measure: share_of(measure, sums) for measure in MEASURES}
    return {
        by: name or None,
        "sent": sums.sent,
        "delivered": sums.delivered,
        "reporting": sums.reporting,
        **{measure: round(share, 6) if of else None for measure, (share, of) in shares.items()},
    }


def _figures(notes: Mapping[str, str]) -> Iterator[Figure]:
    for name, text in notes.items():
        domain, _, day = name.rpartition(" ")
        yield from (Figure(domain, int(day), identifier, share) for identifier, share in orjson.loads(text).items())


def loaded(notes: Mapping[str, str], load: Callable[[str], N]) -> dict[str, N]:
    """Notes of health, but for those that cannot be read. `load` raises ValueError, TypeError."""
    found = {}
    for name, text in notes.items():
        try:
            found[name] = load(text)
        except (ValueError, TypeError) as error:
            log.error("a note of health cannot be read; a newer Postlane's?", text=text[:200], error=repr(error))
    return found
