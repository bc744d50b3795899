"""`postlane warmup`: the budgets of new sources, and an operator's hand on their growth."""

import argparse
import getpass
import json
import sys
from typing import Any

from relay.config import whereabouts
from relay.control import granted, request

Json = dict[str, Any]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("warmup", help="budgets of new sources: show, hold, resume")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    helps = {
        "show": "each source that is being warmed up, and what it carried today",
        "hold": "its budget does not grow until resumed",
        "resume": "it grows again from where it is, also where bad replies stopped it",
    }
    for action, text in helps.items():
        one = actions.add_parser(action, help=text)
        one.add_argument("--source", metavar="ADDRESS", help="only this source")
        one.add_argument("--pool", metavar="POOL", help="only sources of this pool")
        one.add_argument("--site", metavar="SITE", help="only at this site")
        if action != "show":
            one.add_argument("--all", action="store_true", help="all sources that are being warmed up, at all sites")
            one.add_argument("--reason", default="", help="why; kept in the events")
            one.add_argument("--dry-run", action="store_true", help="only say what it would do")
            one.add_argument("--yes", action="store_true", help="accepted for scripts; nothing is asked")
        one.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.action != "show" and not (args.source or args.pool or args.site or args.all):
        print(f"postlane warmup {args.action}: say which: --source, --pool, --site or --all.", file=sys.stderr)
        return 2
    dry = args.action != "show" and args.dry_run
    question = {
        "do": "warmup",
        "action": "show" if dry else args.action,
        **{name: getattr(args, name) or "" for name in ("source", "pool", "site")},
        "by": getpass.getuser(),
        "via": "cli",
        "reason": getattr(args, "reason", ""),
    }
    answer = granted(request(whereabouts(args.config).data_dir, question))
    for row in answer["rows"]:
        print(json.dumps(row) if args.json else line(row))
    if not args.json:
        _sum_up(args.action, len({row["source"] for row in answer["rows"]}), dry=dry)
    return 0


def _sum_up(action: str, sources: int, *, dry: bool) -> None:
    if not sources:
        print("No source is being warmed up: warmup = DATE in config/pools.toml begins it.")
    elif dry:
        print(f"{action} would change {sources} of them. Nothing was changed.")


def line(row: Json) -> str:
    return f"{row['source']:<15}  {row['pool']:<14}  {row['site'] or 'all sites':<14}  {row['said']}"
