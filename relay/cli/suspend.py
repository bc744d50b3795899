"""`postlane suspend` and `postlane resume`: stop and restart delivery of present and future mail, on all nodes of a cluster."""

import argparse
import getpass
import json
import sys
from pathlib import Path
from typing import Any

from relay.cli import slips
from relay.cli.events import class_pattern, duration_ms
from relay.cli.queue import pages
from relay.config import whereabouts
from relay.control import granted, request
from relay.policy.suspension import OLDER, SELECTORS

Json = dict[str, Any]
_LEFT_ALONE = "Transactional mail is left alone; to hold it too, name its class: --class transactional, or --class '*'."


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    suspend = subparsers.add_parser("suspend", help="stop delivery of some mail, present and future, on all nodes")
    _add_options(suspend)
    suspend.add_argument(
        "--for", dest="span", metavar="2h", type=duration_ms, help="it ends by itself (default: by resume)"
    )
    suspend.add_argument("--all", action="store_true", help="all mail but transactional")
    suspend.set_defaults(run=run_suspend)
    resume = subparsers.add_parser("resume", help="end suspensions: what they hold goes, spread over minutes")
    _add_options(resume)
    resume.add_argument("--all", action="store_true", help="all that is suspended")
    resume.set_defaults(run=run_resume)


def _add_options(parser: argparse.ArgumentParser) -> None:
    for name in SELECTORS:
        text = "only mail of this; may hold *, may be repeated" if name == "domain" else None
        kind = class_pattern if name == "class" else str
        if name != OLDER:
            parser.add_argument(
                f"--{name}", dest=f"by_{name}", metavar=name.upper(), action="append", type=kind, help=text
            )
    text = "accepted longer ago, when it is looked at: what waits comes under it in time"
    parser.add_argument(f"--{OLDER}", dest=f"by_{OLDER}", metavar="2h", nargs=1, type=_span, help=text)
    parser.add_argument("--reason", default="", help="why; kept in the events")
    parser.add_argument("--dry-run", action="store_true", help="only say what it would do")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _span(text: str) -> str:
    """A duration, as it was written."""
    duration_ms(text)
    return text


def _what(args: argparse.Namespace) -> dict[str, list[str]]:
    return {name: found for name in SELECTORS if (found := getattr(args, f"by_{name}"))}


def _misused(args: argparse.Namespace, command: str) -> bool:
    """Neither a selector nor --all."""
    if _what(args) or args.all:
        return False
    print(
        f"postlane {command}: say which mail: --stream, --domain, --site, --credential ... or --all.", file=sys.stderr
    )
    return True


def run_suspend(args: argparse.Namespace) -> int:
    if _misused(args, "suspend"):
        return 2
    data_dir, what = whereabouts(args.config).data_dir, _what(args)
    waiting, spared = _count(data_dir, what)
    if not waiting and not spared:
        slips.warn(request, data_dir, what)
    if args.dry_run:
        if args.json:
            print(json.dumps({"would_hold": waiting, "left_alone": spared}))
        else:
            print(f"{waiting:,} deliveries that wait on this node would be held. Nothing was changed.{_of(spared)}")
        return 0
    if (
        not args.yes
        and sys.stdin.isatty()
        and not _confirmed(f"This stops {waiting:,} deliveries and all mail to come")
    ):
        return _unchanged()
    question = {"do": "suspend", "what": what, "for": args.span, "waiting": waiting, **_by(args)}
    answer = granted(request(data_dir, question))
    if args.json:
        print(json.dumps({**answer["suspension"], "waiting": waiting, "left_alone": spared}))
        return 0
    one = answer["suspension"]
    ends = f"until {one['until']}, or {one['undo']}" if one["until"] else f"until: {one['undo']}"
    print(f"Suspended: {one['said']}; {waiting:,} deliveries wait on this node, {ends}")
    if "class" not in what:
        print(_LEFT_ALONE + _of(spared))
    return 0


def _count(data_dir: Path, what: dict[str, list[str]]) -> tuple[int, int]:
    """How many deliveries wait that it would hold, and how many it leaves alone because they are transactional."""
    by_class: dict[str, int] = {}
    selector: Json = {name: values for name, values in what.items() if name != OLDER}
    if OLDER in what:
        selector["older_than"] = duration_ms(what[OLDER][0])
    for page in pages(data_dir, {"do": "queue.count", "selector": {**selector, "held": False}}):
        for label, number in page["by_class"].items():
            by_class[label] = by_class.get(label, 0) + number
    spared = 0 if "class" in what else by_class.pop("transactional", 0)
    return sum(by_class.values()), spared


def _of(spared: int) -> str:
    return f" ({spared:,} transactional ones fit, and go on.)" if spared else ""


def run_resume(args: argparse.Namespace) -> int:
    if _misused(args, "resume"):
        return 2
    data_dir = whereabouts(args.config).data_dir
    question = {"do": "resume", "what": _what(args), **_by(args)}
    planned = granted(request(data_dir, {**question, "dry_run": True}))
    if not planned["ended"]:
        return _nothing(planned["left"], as_json=args.json)
    if args.dry_run:
        _tell(planned, "Would be resumed", as_json=args.json)
        return 0
    named = "; ".join(one["said"] for one in planned["ended"])
    if not args.yes and sys.stdin.isatty() and not _confirmed(f"This resumes {named}"):
        return _unchanged()
    _tell(granted(request(data_dir, question)), "Resumed", as_json=args.json)
    return 0


def _nothing(left: list[Json], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ended": [], "left": left}))
    else:
        print("No such suspension is in force." if left else "Nothing is suspended.", file=sys.stderr)
        for one in left:
            print(line(one), file=sys.stderr)
    return 1


def _tell(answer: Json, done: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer))
        return
    for one in answer["ended"]:
        print(f"{done}: {one['said']}")
    for one in answer["left"]:
        print(f"Still suspended: {line(one)}")


def line(one: Json) -> str:
    """stream win-back: list is being cleaned; since 2026-11-21T09:40:00.000Z by noa; postlane resume --stream win-back"""
    why = f": {one['reason']}" if one["reason"] else ""
    until = f" until {one['until']}" if one["until"] else ""
    by = f" by {one['by']}" if one["by"] else ""
    return f"{one['said']}{why}; since {one['since']}{by}{until}; {one['undo']}"


def _by(args: argparse.Namespace) -> Json:
    return {"by": getpass.getuser(), "via": "cli", "reason": args.reason}


def _confirmed(what: str) -> bool:
    return input(f"{what}. Go on? [y/N] ").strip().lower() in ("y", "yes")


def _unchanged() -> int:
    print("Nothing was changed.", file=sys.stderr)
    return 1
