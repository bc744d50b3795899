"""Counts of what became of mail, as they are kept and added up. Pure; times in ms.

Each shard of a spool writes sheets of its own: one for each stream and hour in which mail was sent, a note in State that only
it writes. So nothing is added by two, and what was counted is known by the sheet itself: it names the batch of effects that it
was changed by last, by its first tally and how many of it are in. The spool tells a batch again after a crash, from the same
tally on, perhaps with more behind it: as many are passed over.

Within a sheet counts stand by quarter of an hour, class, app, brand, campaign and site: what rates are told by. A sheet is
bounded: of many campaigns the later ones share a row, of many sites, too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from relay.tally import DNS, Kind, Tally

QUARTER, HOUR = 900_000, 3_600_000
MOST = 300  # rows of a sheet in which campaigns stand apart; twice as many in which sites do
REST = "*"  # what those are called that do not

DELIVERED, BOUNCED, HARD, SPAM, COMPLAINTS, UNSUBSCRIBED, KNOWN, ENGAGED = range(8)
_ADDS: Mapping[str, tuple[int, ...]] = {
    Kind.DELIVERED: (DELIVERED,),
    Kind.BOUNCED: (BOUNCED,),
    Kind.HARD: (BOUNCED, HARD),
    Kind.SPAM: (BOUNCED, SPAM),
    Kind.LATE_HARD: (HARD,),
    Kind.LATE_SPAM: (SPAM,),
    Kind.COMPLAINT: (COMPLAINTS,),
    Kind.UNSUBSCRIBED: (UNSUBSCRIBED,),
    Kind.FAULT: (BOUNCED,),
}


class Row(NamedTuple):
    """What counts of a sheet stand by. `quarter`: of its hour, 0 to 3."""

    quarter: int
    urgent: bool
    credential: str
    brand: str
    campaign: str
    site: str


class Faults(NamedTuple):
    """Refusals for a fault of the sending side: how many; how many of them are not among what was sent, as they are tried again;
    by which codes the last, and the domain of its From."""

    number: int
    put_off: int
    said: str
    domain: str

    def plus(self, other: "Faults") -> "Faults":
        return other._replace(number=self.number + other.number, put_off=self.put_off + other.put_off)


@dataclass(slots=True)
class Sheet:
    """One shard's counts of one stream and hour. `first`, `done`: of the last batch that changed it, what it began with and how
    many of its tallies were counted, here and elsewhere. `faults`: beside the rows, by quarter of the hour and category."""

    stream: str
    first: str = ""
    done: int = 0
    counts: dict[Row, list[int]] = field(default_factory=dict)
    faults: dict[tuple[int, str], Faults] = field(default_factory=dict)

    def add(self, tally: Tally, number: int = 1) -> None:
        """So many that are alike."""
        counts = self._row(tally)
        for index in _ADDS.get(tally.kind, ()):
            counts[index] += number
        if tally.tier and tally.kind == Kind.DELIVERED:
            counts[KNOWN] += number
            counts[ENGAGED] += number * (tally.tier == 1)
        if tally.fault:
            put_off = number if tally.kind == Kind.PUT_OFF else 0
            one, place = Faults(number, put_off, tally.said, tally.domain), (tally.at % HOUR // QUARTER, tally.fault)
            self.faults[place] = self.faults[place].plus(one) if place in self.faults else one

    def _row(self, tally: Tally) -> list[int]:
        quarter = tally.at % HOUR // QUARTER
        row = Row(quarter, tally.urgent, tally.credential, tally.brand, tally.campaign, tally.site)
        if row not in self.counts and len(self.counts) >= MOST:
            row = row._replace(campaign=REST)
            if row not in self.counts and len(self.counts) >= 2 * MOST:
                row = row._replace(site=REST)
        return self.counts.setdefault(row, [0] * 8)

    def dump(self) -> str:
        rows = [[*row, *counts] for row, counts in self.counts.items()]
        faults = [[*place, *found] for place, found in self.faults.items()]
        return orjson.dumps([self.stream, self.first, self.done, rows, *([faults] if faults else [])]).decode()

    @classmethod
    def load(cls, text: str) -> "Sheet":
        """Raises ValueError."""
        try:
            stream, first, done, rows, *more = orjson.loads(text)
            faults = {(one[0], one[1]): Faults(*one[2:6]) for one in (more[0] if more else ())}
            return cls(stream, first, done, {Row(*row[:6]): list(row[6:14]) for row in rows}, faults)
        except TypeError as error:
            raise ValueError(f"it is no sheet: {text[:100]}") from error


def alike(tallies: Iterable[Tally]) -> dict[tuple[int, str], dict[Tally, int]]:
    """By hour and stream: how many there are of each that counts in the same place."""
    found: dict[tuple[int, str], dict[Tally, int]] = {}
    numbers: dict[tuple[object, ...], int] = {}
    first: dict[tuple[object, ...], Tally] = {}
    for tally in tallies:
        kind, stream, urgent, credential, brand, campaign, site, at, tier, fault, _, _ = tally
        place = at // QUARTER, kind, stream, urgent, credential, brand, campaign, site, tier, fault
        if place in numbers:
            numbers[place] += 1
        else:
            numbers[place], first[place] = 1, tally
    for where, tally in first.items():
        found.setdefault((tally.at // HOUR, tally.stream), {})[tally] = numbers[where]
    return found


@dataclass(slots=True)
class Sums:
    """Of a stream in a while. `reporting`: delivered where complaints are reported; complaints may be a share of an import's."""

    delivered: int = 0
    bounced: int = 0
    hard: int = 0
    spam: int = 0
    complaints: float = 0.0
    unsubscribed: int = 0
    reporting: int = 0

    @property
    def sent(self) -> int:
        return self.delivered + self.bounced

    def add(self, other: "Sums") -> None:
        self.delivered += other.delivered
        self.bounced += other.bounced
        self.hard += other.hard
        self.spam += other.spam
        self.complaints += other.complaints
        self.unsubscribed += other.unsubscribed
        self.reporting += other.reporting


class Facts(NamedTuple):
    """What is known beside the counts.

    reports    does a site report complaints?
    share      of what was delivered in a row sent at a time, how much its recipients called spam, where that was imported; None
    aside      was a site in its bad hour then? Such mail says nothing of its stream
    """

    reports: Callable[[str], bool]
    share: Callable[[Row, str, int], float | None]
    aside: Callable[[str, int], bool]


Key = tuple[str, bool]  # a stream, and whether of its mail that is transactional


def sums_of(row: Row, counts: list[int], stream: str, at: int, facts: Facts) -> Sums:
    """Of one row, sent in the quarter that begins `at`."""
    if facts.aside(row.site, at):
        return Sums()
    delivered, bounced, hard, spam, complaints, unsubscribed, *_ = counts
    told = Sums(delivered, bounced, hard, spam, 0.0, unsubscribed)
    share = facts.share(row, stream, at)
    if share is not None:
        told.complaints, told.reporting = share * delivered, delivered
    elif facts.reports(row.site):
        told.complaints, told.reporting = complaints, delivered
    return told


@dataclass(slots=True)
class Hour:
    """All that was sent in the hour that begins then, sheets of all shards added up: by stream and quarter, and of each stream in
    all; by site (of DNS nothing) what was sent and bounced hard, by quarter and stream; faults by stream and category, and by
    quarter."""

    begin: int
    streams: dict[Key, dict[int, Sums]] = field(default_factory=dict)
    totals: dict[Key, Sums] = field(default_factory=dict)
    sites: dict[str, dict[tuple[int, str], tuple[int, int]]] = field(default_factory=dict)
    faults: dict[tuple[str, str], dict[int, Faults]] = field(default_factory=dict)

    def add(self, sheet: Sheet, facts: Facts) -> None:
        """One of its sheets: a millisecond, where there is mail to many sites."""
        stream, found = sheet.stream, dict[tuple[bool, int], Sums]()
        for row, counts in sheet.counts.items():
            quarter, urgent, _, _, _, site = row
            at = self.begin + quarter * QUARTER
            sums, known = sums_of(row, counts, stream, at, facts), found.get((urgent, at))
            if known is None:
                found[urgent, at] = sums
            else:
                known.add(sums)
            if site not in ("", REST, DNS):
                by_stream = self.sites.setdefault(site, {})
                sent, hard = by_stream.get((at, stream), (0, 0))
                by_stream[at, stream] = sent + counts[DELIVERED] + counts[BOUNCED], hard + counts[HARD]
        for (urgent, at), sums in found.items():
            key = stream, urgent
            self.streams.setdefault(key, {}).setdefault(at, Sums()).add(sums)
            self.totals.setdefault(key, Sums()).add(sums)
        for (quarter, category), one in sheet.faults.items():
            by_quarter, at = self.faults.setdefault((stream, category), {}), self.begin + quarter * QUARTER
            by_quarter[at] = by_quarter[at].plus(one) if at in by_quarter else one


def within(hours: Iterable[Hour], key: Key, since: int, until: int) -> Sums:
    """Of the quarters that begin in that time."""
    found = Sums()
    for hour in hours:
        if key not in hour.totals or hour.begin + HOUR <= since or until <= hour.begin:
            continue
        if since <= hour.begin and hour.begin + HOUR <= until:
            found.add(hour.totals[key])
            continue
        for at, sums in hour.streams[key].items():
            if since <= at < until:
                found.add(sums)
    return found
