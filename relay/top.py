"""What a node does at this moment, by site and pool, as `postlane queue top` and the page /queue show it. Pure.

Each worker tells its own part (`part`); the supervisor adds them up (`snapshot`). Rows name a site and the pool that carries its
mail: what waits is counted for the pool of its class, what was tried lately for the pool that carried it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.event import iso
from relay.lately import Lately
from relay.message import LaneKey, MailClass
from relay.pause import Pause

Json = dict[str, Any]
Place = tuple[str, str]  # site and pool
FREE = "free"  # the pace of a site that nothing slows
_FOLDER = re.compile(r"\bpolicies/(?=[\w-]+\.toml)")
MOST = 300  # places of a node that others hear of: 100 KB
QUIET = 600_000  # ms after which a site that has nothing waiting leaves the list


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of a lane in the spool: how many wait, how many of them are due, when the first is."""

    count: int
    due: int
    first: int


@dataclass(slots=True, kw_only=True)
class Facts:
    """What a worker knows. Of lanes by class, site and what else they differ in; of places by site and pool.

    flying    deliveries being sent        connections  open, by place      limits  how many there may be
    paces     how fast a site is taken, in words; a place that is missing is free
    pauses    limits without room: of which class, until when, and why
    rates     a second: in, delivered, deferred, bounced, withheld
    closed    of a stream: the window that is closed, and when it opens; None: none is
    held      by hand      guarded   held as runaways      runaways  these, in words
    """

    pools: Mapping[MailClass, str]
    waiting: Mapping[tuple[MailClass, str, str], Waiting]
    flying: Mapping[LaneKey, int]
    connections: Mapping[Place, int]
    limits: Callable[[Place], int | None]
    pauses: Iterable[tuple[MailClass, Pause]]
    paces: Mapping[Place, str] = field(default_factory=dict)
    lately: Lately
    rates: Mapping[str, float]
    held: int = 0
    guarded: int = 0
    runaways: Sequence[str] = ()
    closed: Callable[[str], tuple[str, int] | None] = lambda _: None


def part(facts: Facts, now: int) -> Json:
    """One worker's rows and totals."""
    rows: dict[Place, Json] = {}
    for (mail_class, site, stream), lane in facts.waiting.items():
        closed = facts.closed(stream) if mail_class is not MailClass.TRANSACTIONAL else None
        row = rows.setdefault((site, facts.pools[mail_class]), _row(site, facts.pools[mail_class]))
        row["waiting"] += lane.count
        row["due"] += lane.due
        row["next"] = first_of(row["next"], lane.first)
        row["windows"].append(closed)
    for (mail_class, site, *_), count in facts.flying.items():
        rows.setdefault((site, facts.pools[mail_class]), _row(site, facts.pools[mail_class]))["sending"] += count
    for mail_class, pause in facts.pauses:
        place = pause.site, pause.limit or facts.pools[mail_class]
        row = rows.setdefault(place, _row(*place))
        row["until"], row["why"] = pause.until, pause.why
    for place, lately in facts.lately.places():
        if place in rows or now - lately.at < QUIET:
            row = rows.setdefault(place, _row(*place))
            row["rate"], row["failing"] = lately.delivered.a_second(now), lately.failing.a_second(now)
            row["reply"], row["reply_at"] = _text(lately.reply), lately.at
    for place, row in rows.items():
        row["connections"], row["limit"] = facts.connections.get(place, 0), facts.limits(place)
        row["pace"] = facts.paces.get(place, FREE)
        row["windows"] = _first_window(row["windows"])
    oldest = [(lane.first, mail_class.label) for (mail_class, *_), lane in facts.waiting.items() if lane.due]
    return {
        "rows": list(rows.values()),
        "totals": dict(facts.rates),
        "p99_ms": facts.lately.p99(),
        "oldest": min(oldest, default=None),
        "held": facts.held,
        "guarded": facts.guarded,
        "runaways": list(facts.runaways),
    }


def _first_window(windows: Sequence[tuple[str, int] | None]) -> list[tuple[str, int]]:
    """Where all that waits does so for a window, the one that opens first; else nothing."""
    closed = [one for one in windows if one is not None]
    return [min(closed, key=lambda one: one[1])] if closed and len(closed) == len(windows) else []


def _row(site: str, pool: str) -> Json:
    return {
        "site": site, "pool": pool, "waiting": 0, "due": 0, "sending": 0, "connections": 0, "limit": None,
        "rate": 0.0, "failing": 0.0, "pace": FREE, "reply": "", "reply_at": 0, "next": None, "until": None, "why": "",
        "windows": [],
    }  # fmt: skip


def _text(reply: Any) -> str:
    return "" if reply is None else " ".join(f"{reply.code} {reply.enhanced} {reply.text}".split())


def first_of(one: int | None, other: int | None) -> int | None:
    """The earlier of two times, where there are any."""
    found = [at for at in (one, other) if at is not None]
    return min(found, default=None)


def together(parts: Sequence[Json], paces: Mapping[Place, str]) -> Json:
    """The parts of a node's workers as one for other nodes: the MOST places with the most, and one row of the rest."""
    rows = _places(parts)
    for place, row in rows.items():
        row["pace"] = paces.get(place, row["pace"])
    by_weight = sorted(rows.values(), key=lambda row: (-row["waiting"] - row["sending"], -row["rate"], row["site"]))
    more = rest(by_weight[MOST:])
    return {
        "rows": [*by_weight[:MOST], *([{**more, "windows": []}] if more is not None else [])],
        "totals": {kind: sum(one["totals"].get(kind, 0) for one in parts) for one in parts for kind in one["totals"]},
        "p99_ms": max((one["p99_ms"] for one in parts if one["p99_ms"] is not None), default=None),
        "oldest": min((tuple(one["oldest"]) for one in parts if one["oldest"]), default=None),
        "held": sum(one["held"] for one in parts),
        "guarded": sum(one["guarded"] for one in parts),
        "runaways": sorted({said for one in parts for said in one["runaways"]}),
    }


def snapshot(parts: Sequence[Json], about: Json, suspensions: Sequence[Json], now: int) -> Json:
    """One or more nodes, as one JSON object: times as in events. `about`: node, policies, workers that did not answer, `nodes`:
    those that are in it."""
    rows = _places(parts)
    totals: dict[str, float] = {}
    for one in parts:
        for kind, rate in one["totals"].items():
            totals[kind] = round(totals.get(kind, 0) + rate, 1)
    oldest = min((tuple(one["oldest"]) for one in parts if one["oldest"]), default=None)
    return {
        "time": iso(now),
        **about,
        "totals": totals,
        "p99_ms": max((one["p99_ms"] for one in parts if one["p99_ms"] is not None), default=None),
        "oldest_due": {"class": oldest[1], "ms": now - oldest[0]} if oldest else None,
        "sites": [_shown(row, now) for row in sorted(rows.values(), key=_order)],
        "suspensions": list(suspensions),
        "held": sum(one["held"] for one in parts),
        "guarded": sum(one["guarded"] for one in parts),
        "runaways": sorted({said for one in parts for said in one["runaways"]}),
    }


def _places(parts: Sequence[Json]) -> dict[Place, Json]:
    """The rows of all."""
    rows: dict[Place, Json] = {}
    for one in parts:
        for row in one["rows"]:
            place = row["site"], row["pool"]
            rows[place] = _joined(rows[place], row) if place in rows else row
    return rows


def _joined(one: Json, other: Json) -> Json:
    """Of two workers' rows of a place: numbers add up, of what was said last the last counts."""
    last, paused = max(one, other, key=lambda row: row["reply_at"]), max(one, other, key=lambda row: row["until"] or 0)
    sums = {
        name: one[name] + other[name]
        for name in ("waiting", "due", "sending", "connections", "rate", "failing")
    }  # fmt: skip
    limits = [row["limit"] for row in (one, other) if row["limit"] is not None]
    return {
        **one,
        **sums,
        "limit": max(limits, default=None),
        "pace": next((row["pace"] for row in (one, other) if row["pace"] != FREE), FREE),
        "reply": last["reply"],
        "reply_at": last["reply_at"],
        "next": first_of(one["next"], other["next"]),
        "windows": _joined_windows(one, other),
        "until": paused["until"],
        "why": paused["why"],
    }


def _joined_windows(one: Json, other: Json) -> list[tuple[str, int]]:
    """Of those of the two where something waits."""
    windows = [tuple(row["windows"][0]) if row["windows"] else None for row in (one, other) if row["waiting"]]
    return _first_window(windows)


def _order(row: Json) -> tuple[int, str, str]:
    return -row["waiting"], row["site"], row["pool"]


def _shown(row: Json, now: int) -> Json:
    soon = row["due"] or row["next"] is None or row["next"] <= now
    window = None if soon or not row["windows"] else row["windows"][0]
    return {
        **{name: value for name, value in row.items() if name != "windows"},
        "window": None if window is None else {"name": window[0], "opens": iso(window[1])},
        "rate": round(row["rate"], 1),
        "failing": round(row["failing"], 1),
        "reply_at": iso(row["reply_at"]) if row["reply_at"] else None,
        "next": None if soon else iso(row["next"]),
        "until": iso(row["until"]) if row["until"] is not None and row["until"] > now else None,
        "why": row["why"] if row["until"] is not None and row["until"] > now else "",
    }


def pace(sites: Iterable[Json], paces: Mapping[Place, str], ends: Mapping[tuple[str, str], int]) -> None:
    """Say of each row how fast its site is taken, all workers together, and until when (ms) it waits for what a rule has put
    aside, by site and why: its lane looks again sooner."""
    for row in sites:
        row["pace"] = paces.get((row["site"], row["pool"]), row["pace"])
        end = ends.get((row["site"], row["why"]))
        if row["until"] is not None and end is not None:
            row["until"] = iso(end)


def in_short(why: str, site: str) -> str:
    """Of a row that names the site already, and on a screen that is narrow: "40/second (shaping.toml:15) from 192.0.2.1"."""
    return _FOLDER.sub("", why.removeprefix(f"{site}: ")) or "no room"


def filtered(sites: Iterable[Json], words: str) -> list[Json]:
    """Those whose site, pool, reply or reason hold all of `words`."""
    wanted = words.lower().split()
    return [
        row
        for row in sites
        if all(word in f"{row['site']} {row['pool']} {row['reply']} {row['why']}".lower() for word in wanted)
    ]


SORTS = ("waiting", "due", "sending", "rate", "failing", "site")


def arranged(sites: Iterable[Json], by: str) -> list[Json]:
    """The largest first; sites by name."""
    if by == "site":
        return sorted(sites, key=lambda row: (row["site"], row["pool"]))
    return sorted(sites, key=lambda row: (-row[by], row["site"], row["pool"]))


def rest(sites: Sequence[Json]) -> Json | None:
    """Rows that do not fit, as one; None: there are none."""
    if not sites:
        return None
    sums = {
        name: sum(row[name] for row in sites)
        for name in ("waiting", "due", "sending", "connections", "rate", "failing")
    }  # fmt: skip
    pools = {row["pool"] for row in sites}
    row = _row(f"({len(sites):,} more)", pools.pop() if len(pools) == 1 else "")
    return {**row, **sums, "window": None}
