"""A provider's bad hour: a site that says "no such user" far more often than it usually does, to everybody. Pure; times in ms.

In December 2020 Gmail said so of accounts that existed, for some hours; whoever believed it lost good addresses. So a site is
doubted while the share of what bounces hard there is five times its usual one, a fifth at least, of ten mails or more, for two
streams at once; where a single stream sends there it must be half of all, since a bad list looks the same. While it is doubted
nobody is suppressed on its word: what it says is kept, pending, and so is what it said in the hour before that was noticed.

DNS has its bad hours, too, when it denies domains that exist. Each domain is a site of its own, and how much of all mail goes to
new domains differs so that no share tells them: they are told by domains that took mail lately (relay/denials.py). They begin and
end by that; all else is as of a site.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from relay.policy.note import Note
from relay.policy.tallies import HOUR, QUARTER, Hour
from relay.tally import DNS

FEWEST = 10  # such bounces: below that a typing error of a list may be all
SHARE, ALONE, TIMES = 0.2, 0.5, 5.0
NEW = 0.02  # is taken for usual where too little is known: what lists that are kept up have
ENOUGH = 100  # mails of former hours by which its usual share is known
OVER = 5  # mails of half an hour by which it shows that all is well again
SILENT = 2 * HOUR  # without such a bounce, after which it is over, too
DAY = 86_400_000
TOLD = 30 * DAY  # it is told of so long, unless a person says what becomes of what is pending
CONFIRMED, DROPPED = "confirmed", "dropped"


@dataclass(frozen=True, slots=True)
class BadHour(Note):
    """Of a site. `since`: from when its word is doubted; `until`: None as long as it is; `share`, `of`: when it was noticed;
    `usual`: before, and whether it is `known`; `last`: when it was last seen; `word`: what an operator said of the pending
    ones, confirmed | dropped | ""."""

    site: str
    since: int
    share: float
    of: int
    usual: float
    last: int
    until: int | None = None
    word: str = ""
    known: bool = True

    @property
    def doubted(self) -> bool:
        """Is its word not taken now?"""
        return self.until is None

    def covers(self, at: int) -> bool:
        """Does what was sent then say nothing of its stream? Where nobody knows that the site ever took mail, it may be a dead
        domain of an old list."""
        if self.word == CONFIRMED or not self.known:
            return False
        return self.since <= at and (self.until is None or at < self.until)


def said_of_everybody(site: str) -> str:
    """Why what was suppressed by its word is taken back, for events."""
    return f"{site} says so of nearly everybody" if site != DNS else "DNS alone says so, and may be wrong"


def of_dns(denials: Collection[tuple[int, int]], before: BadHour | None, now: int) -> BadHour | None:
    """The bad hour of DNS that begins or changes. `denials`: of the workers whose DNS denies such domains now, how many of how
    many."""
    if not denials:
        return replace(before, until=now) if before is not None and before.until is None else None
    if before is not None and (before.until is None or (before.word == CONFIRMED and now < before.until + DAY)):
        return None
    begin = _an_hour_before(now, before)
    denied, asked = max(denials)
    return BadHour(DNS, begin, denied / asked, asked, 0.0, now)


def _an_hour_before(now: int, last: BadHour | None) -> int:
    """From when its word is doubted that begins to be now; what another bad hour was about is done with."""
    begin = now // QUARTER * QUARTER - HOUR + QUARTER
    return max(begin, last.until) if last is not None and last.until is not None else begin


def look(hours: Collection[Hour], known: Mapping[str, BadHour], now: int) -> Iterator[BadHour]:
    """Bad hours that begin, and those that change. `known`: the latest of each site."""
    lasting = {one.site for one in known.values() if one.until is None and one.site != DNS}
    for site in sorted(_suspects(hours, now) | lasting):
        before = known.get(site)
        if before is not None and before.until is None:
            after = _still(before, hours, now)
            if after != before:
                yield after
        elif (found := _begins(site, hours, before, now)) is not None:
            yield found


def _suspects(hours: Collection[Hour], now: int) -> set[str]:
    """Sites that bounced so many lately that it may be a bad hour: few of thousands."""
    bounced: Counter[str] = Counter()
    for hour in hours:
        if hour.begin > now - 2 * HOUR:
            for site, parts in hour.sites.items():
                bounced[site] += sum(hard for _, hard in parts.values())
    return {site for site, hard in bounced.items() if hard >= FEWEST}


def _begins(site: str, hours: Collection[Hour], before: BadHour | None, now: int) -> BadHour | None:
    begin = _an_hour_before(now, before)
    # A person knows better.
    if before is not None and before.until is not None and before.word == CONFIRMED and now < before.until + DAY:
        return None
    sent = hard = 0
    bad = 0
    for _, number, bounced in _streams(site, hours, begin):
        sent, hard = sent + number, hard + bounced
        bad += bounced >= FEWEST // 2 and bounced >= SHARE * number
    if hard < FEWEST:
        return None
    usual = _usual(site, hours, begin, before)
    if hard / sent < max(SHARE if bad > 1 else ALONE, TIMES * (NEW if usual is None else usual)):
        return None
    return BadHour(site, begin, hard / sent, sent, NEW if usual is None else usual, now, known=usual is not None)


def _still(one: BadHour, hours: Collection[Hour], now: int) -> BadHour:
    begin = now // QUARTER * QUARTER - QUARTER
    parts = list(_streams(one.site, hours, begin))
    sent, hard = sum(number for _, number, _ in parts), sum(bounced for *_, bounced in parts)
    if sent >= OVER and hard / sent < max(SHARE / 2, 2 * one.usual):
        return replace(one, until=now)
    if hard and now - one.last >= QUARTER:
        return replace(one, last=now)
    return replace(one, until=now) if now - one.last >= SILENT else one


def _streams(
    site: str, hours: Collection[Hour], since: int, until: int | None = None
) -> Iterator[tuple[str, int, int]]:
    """Of each stream what was sent there in that time, and what of it bounced hard."""
    found: dict[str, tuple[int, int]] = {}
    for hour in hours:
        for (at, stream), (sent, hard) in hour.sites.get(site, {}).items():
            if at >= since and (until is None or at < until):
                known = found.get(stream, (0, 0))
                found[stream] = known[0] + sent, known[1] + hard
    return ((stream, sent, hard) for stream, (sent, hard) in found.items())


def _usual(site: str, hours: Collection[Hour], before: int, last: BadHour | None) -> float | None:
    """The share of hard bounces before that; what was sent in a bad hour is not usual. None: too little is known."""
    sent = hard = 0
    for hour in hours:
        for (at, _), (number, bounced) in hour.sites.get(site, {}).items():
            if at < before and not (last is not None and last.covers(at)):
                sent, hard = sent + number, hard + bounced
    return hard / sent if sent >= ENOUGH else None
