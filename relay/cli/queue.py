"""`postlane queue`: what waits, and an operator's hand on it."""

import argparse
import getpass
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relay.cli import slips, top
from relay.cli.events import class_pattern, duration_ms
from relay.config import whereabouts
from relay.control import granted, request

Json = dict[str, Any]
_SELECTORS = ("domain", "site", "stream", "credential", "brand", "campaign", "pool", "class", "recipient")
_DONE = {"hold": "held", "release": "released", "retry": "due now", "cancel": "cancelled", "move": "moved"}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("queue", help="list, show, hold, release, retry, cancel, move what waits")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what waits, oldest first within a shard")
    _add_selectors(listing)
    listing.add_argument("--limit", type=int, default=100, help="rows at most (default 100; 0: all)")
    listing.set_defaults(run=run_list)
    show = actions.add_parser("show", help="one message: each recipient, why it waits, when it goes next")
    show.add_argument("ids", metavar="ID", nargs="*")
    _add_selectors(show)
    show.set_defaults(run=run_show)
    top.add_parser(actions)
    helps = {
        "hold": "keep from being sent until released",
        "release": "let held mail go",
        "retry": "try deferred mail now",
        "cancel": "end it: it is never sent",
        "move": "send it from another pool",
    }
    for action, text in helps.items():
        one = actions.add_parser(action, help=text)
        one.add_argument("ids", metavar="ID", nargs="*")
        _add_selectors(one)
        one.add_argument("--all", action="store_true", help="everything that waits")
        one.add_argument("--reason", default="", help="why; kept in the events")
        one.add_argument("--dry-run", action="store_true", help="only count")
        one.add_argument("--yes", action="store_true", help="do not ask")
        if action == "move":
            one.add_argument("--to", metavar="POOL", required=True, help="a pool of config/pools.toml")
        one.set_defaults(run=run_change)


def _add_selectors(parser: argparse.ArgumentParser) -> None:
    for name in _SELECTORS:
        text = "only mail of this; may hold *, may be repeated" if name == "domain" else None
        kind = class_pattern if name == "class" else str
        parser.add_argument(f"--{name}", dest=f"by_{name}", metavar=name.upper(), action="append", type=kind, help=text)
    parser.add_argument(
        "--older-than", dest="by_older_than", metavar="2h", type=duration_ms, help="accepted longer ago"
    )
    parser.add_argument("--held", dest="by_held", action="store_const", const=True, help="only held mail")


def chosen(args: argparse.Namespace) -> Json:
    """The selectors that were given; of one that was given once, its value alone."""
    given = {name.removeprefix("by_"): value for name, value in vars(args).items() if name.startswith("by_")}
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in given.items()
        if value is not None
    }


def _meant(args: argparse.Namespace) -> list[Json]:
    """One selector for each ID named, or one for all mail."""
    return [{**chosen(args), "id": one} for one in args.ids] or [chosen(args)]


def pages(data_dir: Path, question: Json) -> Iterator[Json]:
    cursor: list[int] | None = None
    while True:
        answer = granted(request(data_dir, {**question, "cursor": cursor}))
        yield answer
        cursor = answer["cursor"]
        if cursor is None:
            return


def run_list(args: argparse.Namespace) -> int:
    data_dir = whereabouts(args.config).data_dir
    shown = 0
    for page in pages(data_dir, {"do": "queue.page", "selector": chosen(args)}):
        for item in page["items"]:
            if args.limit and shown >= args.limit:
                print(f"(more; --limit {args.limit})", file=sys.stderr)
                return 0
            print(json.dumps(item) if args.json else line(item))
            shown += 1
    if not shown and not args.json:
        print("Nothing waits." if not chosen(args) else "Nothing that waits fits.")
        slips.warn(request, data_dir, chosen(args))
    _tell_of_others(args, data_dir)
    return 0


def _tell_of_others(args: argparse.Namespace, data_dir: Path) -> None:
    """Each node of a cluster has its own queue."""
    if args.json:
        return
    found = request(data_dir, {"do": "versions"})
    if others := found.get("others"):
        print(f"This is the queue of {found['node']}; ask {', '.join(others)}, too.", file=sys.stderr)


def line(item: Json) -> str:
    when = "held" if item["held"] else "sending now" if item["in_flight"] else f"next {item['next_attempt']}"
    why = "".join(f"  {item[name]}" for name in ("waits_for", "last_reply") if item[name])
    return f"{item['id']}  {item['class']:<13}  {item['recipient']}  attempts {item['attempts']}  {when}{why}"


def run_show(args: argparse.Namespace) -> int:
    data_dir = whereabouts(args.config).data_dir
    selectors = _meant(args)
    if selectors == [{}]:
        print("postlane queue show: say which mail: an ID, or --stream, --domain, --credential ...", file=sys.stderr)
        return 2
    status = 0
    for selector in selectors:
        shown = False
        for page in pages(data_dir, {"do": "queue.page", "selector": selector}):
            for item in page["items"]:
                print(json.dumps(item) if args.json else _all_of(item))
                shown = True
        if not shown:
            print(_not_here(selector), file=sys.stderr)
            status = 1
    if status:
        _tell_of_others(args, data_dir)
    return status


def _all_of(item: Json) -> str:
    """First why it is not delivered yet and when it goes next, then all there is to know."""
    following = "now" if item["in_flight"] else item["next_attempt"] or "when it is let go"
    facts = {"why": item["why"], "next": following, **item}
    shown = {name: value["said"] if name == "suspension" and value else value for name, value in facts.items()}
    return "\n".join(f"{name:<13} {value}" for name, value in shown.items()) + "\n"


def _not_here(selector: Json) -> str:
    if "id" in selector:
        return f"{selector['id']} does not wait here. Its story: postlane message {selector['id']}"
    return "Nothing that waits fits."


def run_change(args: argparse.Namespace) -> int:
    data_dir = whereabouts(args.config).data_dir
    selectors = _meant(args)
    if not args.all and selectors == [{}]:
        print(
            f"postlane queue {args.action}: say which mail: an ID, --stream, --domain, --credential ... or --all.",
            file=sys.stderr,
        )
        return 2
    counts = [count(data_dir, selector) for selector in selectors]
    waiting, absent = sum(counts), [one for one, n in zip(selectors, counts, strict=True) if "id" in one and not n]
    for selector in absent:
        print(_not_here(selector), file=sys.stderr)
    if not waiting:
        slips.warn(request, data_dir, chosen(args))
    if args.dry_run:
        print(
            json.dumps({"would_change": waiting}) if args.json else f"{waiting:,} deliveries fit. Nothing was changed."
        )
        return 1 if absent else 0
    if not args.yes and sys.stdin.isatty() and not confirmed(args.action, waiting):
        print("Nothing was changed.", file=sys.stderr)
        return 1
    done, left = _change(args, data_dir, selectors, waiting)
    what = chosen(args) or ({"id": args.ids} if args.ids else {})
    audit = {"by": getpass.getuser(), "via": "cli", "action": f"queue {args.action}", "what": what}
    if args.action == "move":
        audit["to"] = args.to
    request(data_dir, {"do": "record", "kind": "audit", "facts": {**audit, "reason": args.reason, **done}})
    if args.json:
        print(json.dumps({**done, "left": left} if args.action == "move" else done))
    else:
        busy = f"; {done['in_flight']:,} are being sent at this moment and were left alone" if done["in_flight"] else ""
        print(f"{done['changed']:,} {_DONE[args.action]}{busy}.")
        for line in _why_left(left):
            print(line)
        _tell_of_others(args, data_dir)
    return 1 if absent else 0


def _change(
    args: argparse.Namespace, data_dir: Path, selectors: list[Json], waiting: int
) -> tuple[dict[str, int], Counter[str]]:
    """How many it was; of a move, how many may not go there, by class."""
    done, left = {"changed": 0, "in_flight": 0}, Counter[str]()
    for selector in selectors:
        question = {"do": "queue.change", "action": args.action, "selector": selector, "reason": args.reason}
        question |= {"total": waiting, "to": getattr(args, "to", "")}
        for page in pages(data_dir, question):
            done["changed"] += page["changed"]
            done["in_flight"] += page["in_flight"]
            left.update(page.get("left", {}))
    return done, left


def _why_left(left: Counter[str]) -> Iterator[str]:
    """What may not go to the pool it was to go to (relay/queue_commands.py)."""
    urgent, other = left["transactional"], left.total() - left["transactional"]
    if urgent:
        yield f"{urgent:,} transactional ones stay: they move where they are named, by --class transactional or an ID."
    if other:
        yield f"{other:,} stay: that pool is for transactional mail alone."


def count(data_dir: Path, selector: Json) -> int:
    return sum(page["count"] for page in pages(data_dir, {"do": "queue.count", "selector": selector}))


def confirmed(action: str, waiting: int) -> bool:
    if action != "cancel":
        return input(f"This changes {waiting:,} deliveries ({action}). Go on? [y/N] ").strip().lower() in ("y", "yes")
    return input(f"This cancels {waiting:,} deliveries for good. Type {waiting} to go on: ").strip() == str(waiting)
