"""What `postlane queue top` shows, as text: the head, the cells of each row, what is suspended and held. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from relay import top
from relay.cli.events import printable
from relay.cli.status import age

Json = dict[str, Any]
COLUMNS = ("SITE", "POOL", "WAITING", "DUE", "SENDING", "CONN", "RATE", "PACE", "LAST REPLY", "WAITS FOR")
NUMBERS = {"WAITING", "DUE", "SENDING", "CONN", "RATE"}
WIDTHS = {"SITE": 24, "POOL": 16, "PACE": 18, "LAST REPLY": 32, "WAITS FOR": 60}  # at most
_KINDS = ("in", "delivered", "deferred", "bounced", "withheld")


def head(snapshot: Json, zone: ZoneInfo, every: float) -> list[str]:
    """Two lines: who and when; what moves, and how well."""
    at = datetime.fromisoformat(snapshot["time"]).astimezone(zone)
    first = f"postlane queue top · {snapshot['node']} · policies {snapshot['policies']} · {at:%a %-d %b %H:%M:%S}"
    if every:
        first += f" · every {every:g} s"
    told = "   ".join(f"{kind} {speed(snapshot['totals'].get(kind, 0))}" for kind in _KINDS)
    if snapshot["p99_ms"] is not None:
        told += f"   transactional p99 {snapshot['p99_ms']:,} ms"
    oldest = snapshot["oldest_due"]
    if oldest is not None:
        told += f"   oldest due {age(oldest['ms'] / 1000)} ({oldest['class']})"
    silent = [f"{', '.join(snapshot['silent'])}: no answer, not in these numbers"] if snapshot["silent"] else []
    return [first, told, *silent]


def speed(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 or rate == 0 else f"{rate:.1f}/s"


def cells(row: Json, zone: ZoneInfo) -> tuple[str, ...]:
    """One for each of COLUMNS."""
    connections = str(row["connections"]) if row["limit"] is None else f"{row['connections']}/{row['limit']}"
    found = (
        row["site"],
        row["pool"],
        f"{row['waiting']:,}",
        f"{row['due']:,}",
        f"{row['sending']:,}",
        connections,
        speed(row["rate"]) if row["rate"] else "-",
        row["pace"],
        row["reply"] or "-",
        waits_for(row, zone),
    )
    return tuple(_cut(printable(text), WIDTHS.get(column, 12)) for column, text in zip(COLUMNS, found, strict=True))


def waits_for(row: Json, zone: ZoneInfo) -> str:
    """What is in the way: its site has no room; or nothing is due before a time."""
    if row["until"] is not None:
        return f"{row['why'] or 'no room'}, until {_time(row['until'], zone)}"
    if row["waiting"] and row["next"] is not None:
        return f"{'retry' if row['reply'].startswith('4') else 'next'} {_time(row['next'], zone)}"
    return "-"


def foot(snapshot: Json, zone: ZoneInfo) -> Iterator[str]:
    """What operators keep back."""
    for one in snapshot["suspensions"]:
        why = f": {one['reason']}" if one["reason"] else ""
        until = f" until {_time(one['until'], zone)}" if one["until"] else ""
        since = _time(one["since"], zone)
        text = f"SUSPENDED  {one['said']}, {one['waiting']:,} waiting{why}; since {since}{until}; {one['undo']}"
        yield printable(text)
    if snapshot["held"]:
        yield f"HELD       {snapshot['held']:,} by hand; postlane queue list --held"
    if snapshot["guarded"]:
        yield printable(f"HELD       {_runaways(snapshot)}; postlane queue list --held")


def _runaways(snapshot: Json) -> str:
    """2 messages by runaway: shop-web to dana@gmail.com, more than 6/hour (stream order)"""
    count, said = snapshot["guarded"], snapshot["runaways"]
    of = f": {said[0]}" if said else ""
    more = f" and {len(said) - 1} more" if len(said) > 1 else ""
    return f"{count:,} {'message' if count == 1 else 'messages'} by runaway{of}{more}"


def rows(snapshot: Json, by: str, words: str, most: int) -> list[Json]:
    """At most `most` of those that fit `words`, the largest first; the last stands for what is left out."""
    found = top.arranged(top.filtered(snapshot["sites"], words), by)
    if len(found) <= most:
        return found
    shown = found[: max(0, most - 1)]
    left = top.rest(found[len(shown) :])
    return [*shown, left] if left is not None else shown


def plain(snapshot: Json, zone: ZoneInfo) -> list[str]:
    """All of it, for a file or a pipe."""
    table = [COLUMNS, *(cells(row, zone) for row in rows(snapshot, "waiting", "", len(snapshot["sites"])))]
    lines = [*head(snapshot, zone, 0), "", *_columns(table)]
    keeps = list(foot(snapshot, zone))
    return [*lines, "", *keeps] if keeps else lines


def _columns(table: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(line[number]) for line in table) for number in range(len(COLUMNS))]
    for line in table:
        padded = [
            text.rjust(width) if column in NUMBERS else text.ljust(width)
            for column, text, width in zip(COLUMNS, line, widths, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _time(moment: str, zone: ZoneInfo) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(zone):%a %H:%M:%S}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
