"""`postlane pace`: how fast each site takes our mail and why, and an operator's order to go slower for a while."""

import argparse
import getpass
import json
import sys
from collections.abc import Sequence
from typing import Any

from relay.cli import slips
from relay.cli.events import duration_ms
from relay.cli.status import ordered
from relay.config import whereabouts
from relay.control import granted, request
from relay.event import iso

Json = dict[str, Any]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "pace",
        help="how fast each site takes our mail; slower for a while",
        description="Without --rate: the paces. With it: from each source at most so fast to a site, on all nodes; "
        "transactional mail is counted and not held, unless --pool names its pool.",
    )
    parser.add_argument("--site", metavar="SITE", help="such as google, or a domain")
    parser.add_argument("--pool", metavar="POOL", help="only mail of this pool")
    parser.add_argument("--rate", metavar="RATE", help="from each source, such as 10/second")
    parser.add_argument("--for", dest="span", metavar="2h", type=duration_ms, help="how long")
    parser.add_argument(
        "--end", action="store_true", help="end what was ordered, and what rules have put aside, at --site"
    )
    parser.add_argument("--all", action="store_true", help="also the paces that hold nothing")
    parser.add_argument("--reason", default="", help="why; kept in the events")
    parser.add_argument("--dry-run", action="store_true", help="only say what it would do")
    parser.add_argument("--yes", action="store_true", help="accepted for scripts; nothing is asked")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.rate is None and not args.end:
        return _show(args)
    if not args.site or (args.rate is not None and (args.end or args.span is None)):
        print("postlane pace: say --site SITE --rate RATE --for 2h, or --site SITE --end.", file=sys.stderr)
        return 2
    return _end(args) if args.end else _order(args)


def _order(args: argparse.Namespace) -> int:
    asked = {"site": args.site, "pool": args.pool or "", "rate": args.rate, "for": args.span}
    slips.warn(request, whereabouts(args.config).data_dir, {"site": args.site})
    if args.dry_run:
        where = f"{args.site}, pool {args.pool}" if args.pool else args.site
        _say(args, asked, f"{where}: would be at most {args.rate} from each source. Nothing was changed.")
        return 0
    order = granted(request(whereabouts(args.config).data_dir, {"do": "pace", **asked, **_by(args)}))["order"]
    where = f"{order['site']}, pool {order['pool']}" if order["pool"] else order["site"]
    pool = f" --pool {order['pool']}" if order["pool"] else ""
    undo = f"postlane pace --site {order['site']}{pool} --end"
    text = f"{where}: at most {order['rate']} from each source, on all nodes, until {order['until']}, or {undo}"
    _say(args, {**order, "undo": undo}, text)
    return 0


def _end(args: argparse.Namespace) -> int:
    data_dir = whereabouts(args.config).data_dir
    if args.dry_run:
        standing = granted(request(data_dir, {"do": "paces"}))["standing"]
        found = [one for one in standing if one["site"] == args.site and args.pool in (None, one.get("pool"))]
    else:
        question = {"do": "pace", "site": args.site, "pool": args.pool or "", "end": True, **_by(args)}
        found = granted(request(data_dir, question))["ended"]
    if args.json:
        print(json.dumps({"would_end" if args.dry_run else "ended": found}))
    elif found:
        print("\n".join(f"{'Would end' if args.dry_run else 'Ended'}: {_standing(one)}" for one in found))
    else:
        print(f"Nothing is ordered or put aside at {args.site}.", file=sys.stderr)
    return 0 if found else 1


def _show(args: argparse.Namespace) -> int:
    answer = granted(request(whereabouts(args.config).data_dir, {"do": "paces"}))
    rows = [
        row for row in answer["paces"] if _meant(args, row) and (args.all or args.site or row["direction"] != "free")
    ]
    if args.json:
        for row in rows:
            print(json.dumps(row))
        return 0
    for one in answer["standing"]:
        if _meant(args, one):
            print(_standing(one))
    for line in table(rows):
        print(line)
    if not rows:
        print("No site that mail went to lately slows it down." if not args.site else "No mail went there lately.")
    return 0


def _meant(args: argparse.Namespace, row: Json) -> bool:
    return args.site in (None, row["site"]) and (args.pool is None or row.get("pool") in (args.pool, "*"))


def table(rows: Sequence[Json]) -> list[str]:
    """A line for each site and source, the slowest first."""
    ordered_rows = sorted(rows, key=lambda row: (row["pace"] is None, row["pace"] or 0, row["site"], row["source"]))
    width = max((len(row["site"]) for row in ordered_rows), default=0)
    lines = []
    for row in ordered_rows:
        until = f", until {iso(row['until'])}" if row["until"] else ""
        last = f"   last reply: {row['last_reply']}" if row["last_reply"] else ""
        lines.append(
            f"{row['site']:<{width}}  {row['source'] or '-':<15}  {row['pool']:<14}  {row['said']}{until}{last}"
        )
    return lines


def _standing(one: Json) -> str:
    if one["kind"] == "order":
        return f"ordered  {ordered(one)}"
    return f"aside    {one['who']} for {one['site']} until {iso(one['until'])}, by {one['place']}: {one['why']}"


def _by(args: argparse.Namespace) -> Json:
    return {"by": getpass.getuser(), "via": "cli", "reason": args.reason}


def _say(args: argparse.Namespace, facts: Json, text: str) -> None:
    print(json.dumps(facts) if args.json else text)
