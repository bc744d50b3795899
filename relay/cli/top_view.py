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
LANES = ("CLASS", "STREAM", "WAITING", "DUE", "SENDING", "NEXT")
PACES = ("SOURCE", "POOL", "PACE", "LAST REPLY")
WIDEST = 60  # of any column
_SOON = 120  # seconds: what is nearer needs no other word than its time
_KINDS = ("in", "delivered", "deferred", "bounced", "withheld")


def head(snapshot: Json, zone: ZoneInfo, every: float) -> list[str]:
    """Two lines: who and when; what moves, and how well. Nodes that are there and have not said what they do are named."""
    at = datetime.fromisoformat(snapshot["time"]).astimezone(zone)
    node = ", ".join(snapshot.get("nodes") or [snapshot["node"]])
    if unseen := snapshot.get("unseen"):
        node += f" (without {', '.join(unseen)})"
    first = f"postlane queue top · {node} · policies {snapshot['policies']} · {at:%a %-d %b %H:%M:%S}"
    if every:
        first += f" · every {every:g} s"
    told = "   ".join(f"{kind} {speed(snapshot['totals'].get(kind, 0))}" for kind in _KINDS)
    if snapshot["p99_ms"] is not None:
        told += f"        transactional p99 {snapshot['p99_ms']:,} ms"
    oldest = snapshot["oldest_due"]
    if oldest is not None:
        told += f"   oldest due {age(oldest['ms'] / 1000)} ({oldest['class']})"
    silent = [f"{', '.join(snapshot['silent'])}: no answer, not in these numbers"] if snapshot["silent"] else []
    return [first, told, *silent]


def speed(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 1 or rate == 0 else f"{rate:.1f}/s"


def cells(row: Json, zone: ZoneInfo, now: str) -> tuple[str, ...]:
    """One for each of COLUMNS; `now`: the snapshot's time."""
    connections = f"{row['connections']}/{'-' if row['limit'] is None else row['limit']}"
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
        waits_for(row, zone, now),
    )
    return tuple(_cut(printable(text), WIDTHS.get(column, 12)) for column, text in zip(COLUMNS, found, strict=True))


def waits_for(row: Json, zone: ZoneInfo, now: str) -> str:
    """What is in the way: its site has no room; its window is closed; or nothing is due before a time."""
    if row["until"] is not None:
        return f"{top.in_short(row['why'], row['site'])} until {_ahead(row['until'], zone, now)}"
    if row["window"] is not None:
        return f"window {row['window']['name']} closed until {_ahead(row['window']['opens'], zone, now)}"
    if row["waiting"] and row["next"] is not None:
        return f"{'retry' if row['reply'].startswith('4') else 'next'} {_time(row['next'], zone, now)}"
    return "-"


def _ahead(moment: str, zone: ZoneInfo, now: str) -> str:
    """15:17:05 (72 min)"""
    seconds = (datetime.fromisoformat(moment) - datetime.fromisoformat(now)).total_seconds()
    return _time(moment, zone, now) + (f" ({age(seconds)})" if seconds >= _SOON else "")


def foot(snapshot: Json, zone: ZoneInfo) -> Iterator[str]:
    """What operators keep back."""
    for one in snapshot["suspensions"]:
        why = f": {one['reason']}" if one["reason"] else ""
        until = f" until {_time(one['until'], zone, snapshot['time'])}" if one["until"] else ""
        since = _time(one["since"], zone, snapshot["time"])
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
    """All of it, for a file or a pipe; of one site, where the node was asked for that."""
    first = head(snapshot, zone, 0)
    if "site" in snapshot:
        return [*first, "", *of_site(snapshot, zone)]
    found = rows(snapshot, "waiting", "", len(snapshot["sites"]))
    lines = [*first, "", *_table(COLUMNS, [cells(row, zone, snapshot["time"]) for row in found])]
    keeps = list(foot(snapshot, zone))
    return [*lines, "", *keeps] if keeps else lines


def of_site(snapshot: Json, zone: ZoneInfo) -> list[str]:
    """One site: its pools, its lanes, the pace of each source and what was last said to it, and what is in the way."""
    site, now = snapshot["site"], snapshot["time"]
    pools = [cells(row, zone, now) for row in top.arranged(snapshot["sites"], "waiting") if row["site"] == site["site"]]
    if not (pools or site["lanes"] or site["paces"] or site["standing"]):
        return [f"Nothing is known of {printable(site['site'])}: no mail waits for it, and none went there lately."]
    lanes = [
        (
            *(one["class"], one["stream"], f"{one['waiting']:,}", f"{one['due']:,}", f"{one['sending']:,}"),
            _time(one["next"], zone, now) if one["next"] else "-",
        )
        for one in site["lanes"]
    ]
    paces = [(one["source"] or "-", one["pool"], one["said"], one["last_reply"] or "-") for one in site["paces"]]
    blocks = [_table(COLUMNS, pools), _table(LANES, lanes), _table(PACES, paces), list(_in_the_way(site, zone, now))]
    return [line for block in blocks if block for line in (*block, "")][:-1]


def _in_the_way(site: Json, zone: ZoneInfo, now: str) -> Iterator[str]:
    for one in site["pauses"]:
        why = top.in_short(one["why"], site["site"])
        yield printable(f"WAITS      {one['class']} ({one['limit']}): {why} until {_ahead(one['until'], zone, now)}")
    for one in site["standing"]:
        until = _ahead(one["until"], zone, now)
        if one["kind"] == "order":
            pool = "" if one["pool"] == "*" else f" of pool {one['pool']}"
            yield printable(
                f"ORDERED    mail{pool} at most {one['rate']} from each source until {until}, by {one['by']}"
            )
        else:
            yield printable(f"ASIDE      {one['who']} until {until}, by {one['place']}: {one['why']}")


def _table(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns; none without cells, but for the list itself."""
    if not cells and names != COLUMNS:
        return []
    table = [names, *([_cut(printable(text), WIDEST) for text in one] for one in cells)]
    widths = [max(len(line[number]) for line in table) for number in range(len(names))]
    return [
        "  ".join(
            text.rjust(width) if name in NUMBERS else text.ljust(width)
            for name, text, width in zip(names, line, widths, strict=True)
        ).rstrip()
        for line in table
    ]


def _time(moment: str, zone: ZoneInfo, now: str) -> str:
    """Of today 14:09:40, else Sun 22 Nov 09:00"""
    at = datetime.fromisoformat(moment).astimezone(zone)
    today = datetime.fromisoformat(now).astimezone(zone).date() == at.date()
    return f"{at:%H:%M:%S}" if today else f"{at:%a %-d %b %H:%M}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
