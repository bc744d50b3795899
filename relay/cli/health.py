"""`postlane health`: how welcome the mail of each stream, app, campaign is, and what Google says of it (Postmaster Tools)."""

import argparse
import getpass
import itertools
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from relay.cli.events import duration_ms, now_ms, printable
from relay.config import whereabouts
from relay.control import granted, request
from relay.policy.health import percent
from relay.policy.postmaster import Fault, Figure, read

Json = dict[str, Any]
_BY = ("stream", "credential", "brand", "campaign", "site")
_MEASURES = ("complaints", "hard_bounces", "spam_blocks", "unsubscribes")
_PAGE = 500  # figures of one question
_SHOWN = 20  # bad lines that are shown


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("health", help="how welcome mail is: show, import FILE of Google's Postmaster Tools")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="complaints, hard bounces, spam blocks and unsubscribes of what was sent")
    show.add_argument("--by", choices=_BY, default="stream", help="(default stream)")
    show.add_argument(
        "--since", metavar="24h", type=duration_ms, help="sent within (default: as [health.default] over)"
    )
    show.set_defaults(run=run_show)
    take = actions.add_parser(
        "import",
        help="Google's own spam rates",
        description="What Postmaster Tools tells: JSON of its API (trafficStats), or CSV with the columns date, rate and, "
        "if they are there, domain and id (a value of Feedback-ID). A rate is a share such as 0.0031, or 0.31%. Google sends "
        "no complaints: without this its users' count in no rate. A day that is told again is replaced.",
    )
    take.add_argument("file", metavar="FILE", help="-: standard input")
    take.add_argument("--domain", default="", help="of all lines, where the file has no such column")
    take.add_argument("--skip-bad", action="store_true", help="take the good lines of a file that has bad ones")
    take.add_argument("--reason", default="", help="why; kept in the audit")
    take.add_argument("--dry-run", action="store_true", help="only look at the file")
    take.set_defaults(run=run_import)


def run_show(args: argparse.Namespace) -> int:
    question = {"what": "show", "by": args.by} | ({"since": now_ms() - args.since} if args.since else {})
    found = ask(whereabouts(args.config).data_dir, question)
    if args.json:
        for row in found["rows"]:
            print(json.dumps(row))
        return 0
    print("\n".join(table(found, args.by)))
    return 0


def table(found: Json, by: str) -> Iterator[str]:
    if not found["rows"]:
        yield "Nothing was sent lately."
    else:
        yield f"{by.upper():<28} {'SENT':>10}  {'COMPLAINTS':>10}  {'HARD':>7}  {'SPAM':>7}  {'UNSUBSCRIBED':>12}"
    for row in found["rows"]:
        shares = ["-" if row[name] is None else percent(row[name]) for name in _MEASURES]
        cells = zip(shares, (10, 7, 7, 12), strict=True)
        name = printable(str(row[by] or "-"))
        yield f"{name:<28} {row['sent']:>10,}  {'  '.join(f'{share:>{width}}' for share, width in cells)}".rstrip()
    for one in found["streams"]:
        rate = f", goes at {one['rate']}" if one["rate"] else ""
        yield f"{one['state']:<9} stream {one['stream']}{rate}: {one['reason']}"
    for one in found["sites"]:
        state = "bad hour" if one["until"] is None else "was bad"
        word = one["word"] or "pending"
        yield f"{state:<9} site {one['site']}: {percent(one['share'])} of {one['of']:,} unknown users, {word}"


def run_import(args: argparse.Namespace) -> int:
    try:
        text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"is no text in UTF-8: {error}"
        print(f"postlane health import: {args.file} {why}", file=sys.stderr)
        return 1
    found = list(read(text, args.domain, datetime.now(UTC).date()))
    good, bad = [one for one in found if isinstance(one, Figure)], [one for one in found if isinstance(one, Fault)]
    for fault in bad[:_SHOWN]:
        print(f"{args.file}:{fault.line}: {printable(fault.why)}", file=sys.stderr)
    if bad and not args.skip_bad:
        print(f"{len(bad):,} of {len(found):,} lines are wrong; nothing was imported (--skip-bad)", file=sys.stderr)
        return 1
    changed = 0 if args.dry_run else _send(args, good)
    if args.json:
        print(json.dumps({"figures": len(good), "bad": len(bad), "changed": changed}))
    elif args.dry_run:
        print(f"{len(good):,} figures are good. Nothing was changed.")
    else:
        print(f"{changed:,} of {len(good):,} figures are news.")
    return 0


def _send(args: argparse.Namespace, figures: list[Figure]) -> int:
    """In pages; how many were news."""
    data_dir, changed, rest = whereabouts(args.config).data_dir, 0, iter(figures)
    while page := list(itertools.islice(rest, _PAGE)):
        changed += ask(data_dir, {"what": "figures", "entries": page})["changed"]
    what = {"file": Path(args.file).name, "figures": len(figures)}
    facts = {"action": "health import", "what": what, "done": changed, "reason": args.reason}
    request(data_dir, {"do": "record", "kind": "audit", "facts": {**facts, "by": getpass.getuser(), "via": "cli"}})
    return changed


def ask(data_dir: Path, question: Json) -> Json:
    """Of a worker (relay/caring.py). Raises Refused."""
    return granted(request(data_dir, {"do": "health", **question}))
