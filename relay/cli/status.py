"""`postlane status`: is all well? Exit 1 if a worker is down or cannot write, or an alert fires."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from relay import times
from relay.alert import POLICIES, when
from relay.config import whereabouts
from relay.control import request
from relay.event import iso

_SHOWN = 5  # entries of only_to, or streams to be reviewed, in a line
_SURE_YEAR = timedelta(days=180)  # so far away a day without its year is the nearest of its name


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("status", help="is all well: workers, policies version, queue")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    place = whereabouts(args.config)
    facts = request(place.data_dir, {"do": "stats"})
    if "error" in facts:
        print(f"postlane: {facts['error']}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(facts))
    else:
        print("\n".join(describe(facts, time.time(), ZoneInfo(place.timezone))))
    return 0 if all_well(facts) else 1


def all_well(facts: dict[str, Any]) -> bool:
    return not facts["alerts"] and all(worker["up"] and worker.get("healthy") for worker in facts["workers"])


def describe(facts: dict[str, Any], now: float, zone: ZoneInfo) -> list[str]:
    """One line for the node, one for each worker that is not well, and what needs a person. `now` in seconds."""
    up = [worker for worker in facts["workers"] if worker["up"]]
    waiting = sum(shard["queue"]["waiting"] for worker in up for shard in worker["shards"])
    held = sum(shard["queue"]["held"] for worker in up for shard in worker["shards"])
    oldest = [shard["queue"]["oldest"] for worker in up for shard in worker["shards"] if shard["queue"]["oldest"]]
    queue = f"queue {waiting:,}"
    if oldest:
        queue += f" (oldest accepted {age(now - min(oldest) / 1000)} ago)"
    if held:
        queue += f", {held:,} held"
    line = (
        f"* {facts['node']}  running {age(now - facts['started'] / 1000)}, {len(up)} workers   "
        f"mode {facts['mode']}   policies {facts['policies']}   {queue}"
    )
    lines = [line]
    if facts.get("only_to"):
        lines.append(f"  {staging(facts['only_to'])}")
    for worker in facts["workers"]:
        if not worker["up"]:
            lines.append(f"  {worker['name']} is down, started {worker['deaths']} times again; see the log")
        elif not worker["healthy"]:
            lines.append(f"  {worker['name']} cannot write its spool (disk full?): mail is answered 452 until it can")
    lines += _of_nodes(facts)
    today = datetime.fromtimestamp(now, zone).date()
    lines += _of_suspensions(facts, zone) + _of_alerts(facts["alerts"]) + _of_reviews(facts["reviews"], today)
    lines += [f"  look     {one['what']}" for one in facts.get("needs", ())]
    return lines + _of_paces(facts.get("shaping", {})) + _of_warming(facts.get("warming", ())) + _of_files(facts, zone)


def _of_nodes(facts: dict[str, Any]) -> list[str]:
    """The other nodes of the cluster."""
    lines = []
    for one in facts.get("nodes", ()):
        if one["node"] == facts["node"]:
            continue
        heard = "up" if one["up"] else f"not heard for {age(one['heard'])}"
        other = "" if one["policies"] == facts["policies"] else " (another version than here)"
        lines.append(f"  node     {one['node']}  {heard}   policies {one['policies']}{other}")
    return lines


def _of_suspensions(facts: dict[str, Any], zone: ZoneInfo) -> list[str]:
    """What operators have stopped, and how much of it waits on this node."""
    lines = []
    for one in facts["suspensions"]:
        since = _day(one["since"], zone) + (f" until {_day(one['until'], zone)}" if one["until"] else "")
        why = f": {one['reason']}" if one["reason"] else ""
        lines.append(f"  suspended {one['said']}, {one['waiting']:,} waiting{why}; since {since}; {one['undo']}")
    return lines


def _day(moment: str, zone: ZoneInfo) -> str:
    return when(times.moment(moment) or 0, zone)


def _of_alerts(alerts: Sequence[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for alert in alerts:
        lines += [f"  alert    {alert['summary']}", *(f"           {problem}" for problem in alert["problems"])]
        if alert["advice"] and not alert["problems"]:
            lines.append(f"           {alert['advice']}")
    return lines


def _of_reviews(due: Sequence[dict[str, Any]], today: date) -> list[str]:
    """Streams that people should look at again: those that are late, and those that will be soon."""
    lines: list[str] = []
    for label, past in (("review", True), ("soon", False)):
        named = [_review(one, today) for one in due if one["past"] is past]
        if named:
            more = [f"and {len(named) - _SHOWN} more"] if len(named) > _SHOWN else []
            lines.append(f"  {label:<8} {' · '.join(named[:_SHOWN] + more)}")
    return lines


def _review(one: dict[str, Any], today: date) -> str:
    """stream win-back review_by 15 Jan; with the year where one might think of another"""
    day = date.fromisoformat(one["review_by"])
    year = f" {day.year}" if abs(today - day) > _SURE_YEAR else ""
    return f"stream {one['stream']} review_by {day:%-d %b}{year}"


def _of_paces(shaping: dict[str, Any]) -> list[str]:
    """Sites that slow us down, the slowest first, and what an operator ordered."""
    rows = sorted(shaping.get("paces", ()), key=lambda row: row["pace"] or 0)
    lines = [f"  pace     {_from(row)}: {row['said']}" for row in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        lines.append(f"           {len(rows) - _SHOWN} more: postlane pace")
    orders = [one for one in shaping.get("standing", ()) if one["kind"] == "order"]
    return lines + [f"  ordered  {ordered(one)}" for one in orders]


def _from(row: dict[str, Any]) -> str:
    return f"{row['site']} from {row['source']}" if row["source"] else str(row["site"])


def ordered(order: dict[str, Any]) -> str:
    """google: at most 10/second from each source until 2026-11-21T16:05:00.000Z, by noa (complaints)"""
    pool = "" if order["pool"] == "*" else f" of pool {order['pool']}"
    reason = f" ({order['reason']})" if order["reason"] else ""
    by = f", by {order['by']}" if order["by"] else ""
    return f"{order['site']}: at most {order['rate']} from each source{pool} until {iso(order['until'])}{by}{reason}"


def _of_warming(rows: Sequence[dict[str, Any]]) -> list[str]:
    """198.51.100.22 google day 4 of 30: 1,600 of 2,000 · microsoft ..."""
    by_source: dict[str, list[str]] = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(f"{row['site']} {row['said']}" if row["site"] else row["said"])
    return [f"  warming  {source}  {' · '.join(said[:_SHOWN])}" for source, said in by_source.items()]


def _of_files(facts: dict[str, Any], zone: ZoneInfo) -> list[str]:
    """What is in force, where it is not what stands on disk and no alert says so."""
    lines: list[str] = []
    if facts["on_disk"] != facts["policies"] and all(alert["name"] != POLICIES for alert in facts["alerts"]):
        lines.append(f"  note     policies/ on disk is {facts['on_disk']}, {_why_not(facts, zone)}")
    return lines + [f"  restart  {waiting}" for waiting in facts["waits"]]


def _why_not(facts: dict[str, Any], zone: ZoneInfo) -> str:
    decision = facts["decision"]
    other = decision.get("node") or facts["node"]
    if decision["instead_of"] and decision["how"] == "reload" and other != facts["node"]:
        return f"and could not be written: {decision['policies']} of {other} is in force"
    if decision["instead_of"]:
        return f"rolled back to {decision['policies']} on {when(decision['at'], zone)} by {decision['by']}"
    if other != facts["node"]:
        return f"not in force, {decision['policies']} of {other} is: postlane policies diff, then postlane reload"
    return "not in force: postlane reload"


def staging(only_to: Sequence[str]) -> str:
    """What [delivery] only_to means for the mail of this node, in one sentence."""
    shown = ", ".join(only_to[:_SHOWN]) + (f" and {len(only_to) - _SHOWN} more" if len(only_to) > _SHOWN else "")
    return f"only_to: mail leaves for {shown} alone; all other mail is captured here"


def age(seconds: float) -> str:
    """A span as people say it: 41 s, 12 min, 3 h, 12 d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
