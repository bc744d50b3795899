"""What the address of a page asks for: of which time, by what, of which mail; and the addresses of other pages from there. Pure.

Whatever stands in an address may be anybody's invention: what makes no sense is left out. A visitor who is limited to credentials
asks of these, whatever he writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams

from relay.web import show
from relay.web.login.visitor import Visitor

HOUR = 3_600_000
DAY = 24 * HOUR
SPANS = {"24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
WORDS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
FILTERS = (
    "class",
    "brand",
    "stream",
    "credential",
    "campaign",
    "site",
    "pool",
    "source",
    "category",
    "domain",
    "skeleton",
)
LONGEST = 200  # characters of a value
VALUES = 20  # of one filter
BY = {
    "bounces": ("category", "stream", "credential", "site", "source", "skeleton", "campaign", "domain"),
    "complaints": ("stream", "credential", "campaign", "site", "skeleton", "source", "brand"),
    "streams": ("stream", "credential", "brand", "class", "campaign"),
    "sites": ("site", "domain", "source", "class"),
    "sources": ("source", "pool", "site"),
    "latency": ("class", "stream", "site", "credential", "pool"),
}


class Nothing(Exception):
    """This visitor asks for mail that he may not see."""


@dataclass(frozen=True, slots=True)
class Asked:
    """since, until  ms
    span         one of SPANS, whose end is now; "" of a time that begins and ends
    where        filters as their names and values, in the order of FILTERS
    """

    report: str
    since: int
    until: int
    span: str
    by: str
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    limited: tuple[str, ...] = field(default=(), repr=False)

    @property
    def step(self) -> str:
        """Of a chart: hours up to a week."""
        return "hour" if self.until - self.since <= 7 * DAY else "day"

    @property
    def key(self) -> tuple[object, ...]:
        """All that an answer depends on but the time that goes by meanwhile."""
        return self.report, self.span or (self.since, self.until), self.by, self.where, self.limited

    def selected(self) -> Mapping[str, Sequence[str]]:
        """For relay.reporting: the filters, and the limits of the visitor. Raises Nothing."""
        found = {name: list(values) for name, values in self.where}
        if self.limited:
            wanted = found.get("credential")
            found["credential"] = [one for one in self.limited if "*" not in one and (wanted is None or one in wanted)]
            if not found["credential"]:
                raise Nothing
        return found

    # -- addresses of other pages

    def address(self, page: str = "", **changes: str) -> str:
        """Of `page` with the same question, but for `changes` (a filter, by, span); "" takes one away."""
        words = dict(self._words())
        for name, value in changes.items():
            for gone in (name, *(("since", "until") if name == "span" else ())):
                words.pop(gone, None)
            if value:
                words[name] = [value]
        query = urlencode(words, doseq=True, quote_via=quote)
        return f"{page or '/report/' + self.report}?{query}" if query else page or "/report/" + self.report

    def messages(self, **changes: str) -> str:
        """Of the messages behind it."""
        return self.address("/found", report=self.report, **changes)

    def within(self, begin: int) -> str:
        """Of the messages of one hour or day of the chart."""
        length = HOUR if self.step == "hour" else DAY
        return replace(self, since=begin, until=begin + length, span="").messages()

    def drilled(self, name: str, value: str) -> str:
        """Into one row: the filter is set, and asked by the next dimension that is not one."""
        options = [one for one in BY.get(self.report, ()) if one != name and one not in dict(self.where)]
        return self.address(**{name: value, "by": next(iter(options), self.by)})

    def _words(self) -> list[tuple[str, list[str]]]:
        times = [("span", [self.span])] if self.span else [("since", [str(self.since)]), ("until", [str(self.until)])]
        by = [("by", [self.by])] if self.by else []
        return [*times, *by, *((name, list(values)) for name, values in self.where)]


def asked(report: str, query: QueryParams, visitor: Visitor, now: int, usual: str = "24h") -> Asked:
    """Of a page's address; `usual` is the time where it says none."""
    since, until, span = _time(query, now, usual)
    options = BY.get(report, ())
    by = query.get("by", "")
    where = [(name, values) for name in FILTERS if (values := _values(query, name))]
    chosen = by if by in options else next((one for one in options if one not in dict(where)), "")
    return Asked(report, since, until, span, chosen, tuple(where), visitor.credentials)


def _values(query: QueryParams, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for one in query.getlist(name)[:VALUES] if one and len(one) <= LONGEST))


def _time(query: QueryParams, now: int, usual: str) -> tuple[int, int, str]:
    since, until = moment(query.get("since", "")), moment(query.get("until", ""))
    if since is not None and since >= 0:  # no mail is older, and calendars end in the year 1
        end = min(until if until is not None else now, now + DAY)
        if since < end <= since + 400 * DAY:
            return since, end, ""
    span = query.get("span", "")
    span = span if span in SPANS else usual
    return now - SPANS[span], now, span


def moment(text: str) -> int | None:
    """ms, or an RFC 3339 time."""
    if text.isascii() and text.isdigit() and len(text) <= 14:
        return int(text)
    found = show.moment(text, UTC)
    return round(found.timestamp() * 1000) if found is not None else None
