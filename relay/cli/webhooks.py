"""`postlane webhooks`: how it stands with the webhooks of credentials, what was tried, an example, and telling again."""

import argparse
import getpass
import itertools
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any, get_args
from zoneinfo import ZoneInfo

from relay.cli.events import duration_ms, now_ms, parse_since
from relay.config import Whereabouts, whereabouts
from relay.config.schema_policies import EventType
from relay.control import Refused, granted, request
from relay.hooks.reading import past
from relay.hooks.telling import Endpoint

Json = dict[str, Any]

_OVERLAP = 86_400_000  # ms: time to give an app its new secret and to deploy it
LINES = 50  # of the log that people are shown unasked


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("webhooks", help="what apps are told: list, test, log, resend")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="each credential's webhook, what waits for it, and its last answer")
    test = actions.add_parser("test", help="send an example now, signed as all are")
    test.add_argument("--type", choices=get_args(EventType), default="delivered", help="of the event (delivered)")
    log = actions.add_parser("log", help="what was tried, and what was answered, newest first (30 days)")
    log.add_argument("--failed", action="store_true", help="only what was not taken")
    log.add_argument("--since", metavar="24h", help="a time ago or an RFC 3339 time")
    resend = actions.add_parser("resend", help="tell events of a time again; their event_id stays the same")
    resend.add_argument("--since", metavar="24h", required=True, help="a time ago or an RFC 3339 time")
    resend.add_argument("--until", metavar="1h", help="as --since (default: now)")
    resend.add_argument("--reason", default="", help="why; kept in the events")
    resend.add_argument("--dry-run", action="store_true", help="only count them")
    resend.add_argument("--yes", action="store_true", help="do not ask")
    rotate = actions.add_parser("rotate", help="a new secret, shown once; those of before sign beside it for a while")
    rotate.add_argument(
        "--overlap", metavar="24h", default=_OVERLAP, type=duration_ms, help="for so long (default 24h)"
    )
    rotate.add_argument("--reason", default="", help="why; kept in the events")
    rotate.add_argument("--yes", action="store_true", help="do not ask")
    for one in (test, log, resend, rotate):
        one.add_argument("credential", metavar="CREDENTIAL")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    node = whereabouts(args.config)
    try:
        does = {"list": _list, "test": _test, "log": _log, "resend": _resend, "rotate": _rotate}
        return does[args.action](args, node)
    except ValueError as error:
        print(f"postlane webhooks {args.action}: {error}", file=sys.stderr)
        return 2


def _ask(node: Whereabouts, what: str, **more: Any) -> Json:
    return granted(request(node.data_dir, {"do": "webhooks", "what": what, **more}))


def _list(args: argparse.Namespace, node: Whereabouts) -> int:
    rows = _ask(node, "list")["rows"]
    for row in rows:
        print(json.dumps(row) if args.json else "\n".join(_lines(row, ZoneInfo(node.timezone))))
    if not rows and not args.json:
        print("No credential has a webhook: webhook = { url = ... } in policies/credentials.toml.")
    return 0


def _lines(row: Json, zone: tzinfo) -> Iterator[str]:
    yield f"{row['credential']:<20}  {row['url']}"
    yield f"  events   {', '.join(row['events']) or 'all'}"
    yield f"  secret   {row['secret_file']}{': ' + row['trouble'] if row['trouble'] else ''}{_beside(row, zone)}"
    state = "taken" if row["failing"] is None else f"nothing taken since {_at(row['failing'], zone)}"
    oldest = f", the oldest since {_at(row['oldest'], zone)}" if row["oldest"] else ""
    if row["last"] is None:
        state = "nothing was told yet"
    yield f"  waiting  {row['waiting']:,}{oldest}; {state}"
    if row["beyond"] is not None:
        yield f"  more     from {_at(row['beyond'], zone)} on is fetched from the event log when there is room"
    if row["last"] is not None:
        yield f"  last     {_tried(row['last'], zone)}"


def _beside(row: Json, zone: tzinfo) -> str:
    """An older secret signs, too."""
    ends = [one["until"] for one in row["secrets"] if one["until"]]
    return f"; an older one signs beside it until {_at(max(ends), zone)}" if ends else ""


def _tried(row: Json, zone: tzinfo) -> str:
    events = "1 event" if row["events"] == 1 else f"{row['events']:,} events"
    return f"{_at(row['at'], zone)}  {row['post'] or '-'}  {events}, try {row['try']}, {row['ms']} ms: {row['answer']}"


def _test(args: argparse.Namespace, node: Whereabouts) -> int:
    answer = _ask(node, "test", credential=args.credential, type=args.type)
    if args.json:
        print(json.dumps(answer))
    else:
        print(f"sent {answer['id']}: {answer['sent']}")
        print(f"{'taken' if answer['ok'] else 'not taken'} after {answer['ms']} ms: {answer['answer']}")
    return 0 if answer["ok"] else 1


def _log(args: argparse.Namespace, node: Whereabouts) -> int:
    zone, now = ZoneInfo(node.timezone), now_ms()
    since = parse_since(args.since, now, zone) if args.since else 0
    wanted = (row for row in _tries(args.credential, node) if not (args.failed and 200 <= row["status"] < 300))
    recent = itertools.takewhile(lambda row: row["at"] >= since, wanted)
    for row in recent if args.json or args.since else itertools.islice(recent, LINES):
        print(json.dumps(row) if args.json else _tried(row, zone))
    return 0


def _tries(credential: str, node: Whereabouts) -> Iterator[Json]:
    before: int | None = None
    while rows := _ask(node, "log", credential=credential, before=before)["rows"]:
        yield from rows
        before = rows[-1]["sequence"]


def _resend(args: argparse.Namespace, node: Whereabouts) -> int:
    zone, now = ZoneInfo(node.timezone), now_ms()
    since = parse_since(args.since, now, zone)
    until = parse_since(args.until, now, zone) if args.until else now
    if until <= since:
        raise ValueError("--until is not after --since")
    span = f"{_at(since, zone)} to {_at(until, zone)}"
    if args.dry_run or (sys.stdin.isatty() and not args.yes):
        count = _count(args.credential, node, since, until)
        if args.dry_run:
            print(json.dumps({"credential": args.credential, "events": count}) if args.json else _would(count, span))
            return 0
        if input(f"Tell {args.credential} {count:,} events of {span} again? [y/N] ").strip().lower() != "y":
            print("Nothing was sent.")
            return 1
    about = {"by": getpass.getuser(), "via": "cli", "reason": args.reason}
    answer = _ask(node, "resend", credential=args.credential, since=since, until=until, **about)
    done = f"{args.credential} is told events of {span} again: postlane webhooks log {args.credential}"
    print(json.dumps(answer) if args.json else done)
    return 0


def _rotate(args: argparse.Namespace, node: Whereabouts) -> int:
    if sys.stdin.isatty() and not args.yes:
        question = f"Make a new secret for the webhook of {args.credential}? The one of now ends after a while. [y/N] "
        if input(question).strip().lower() != "y":
            print("Nothing was changed.")
            return 1
    about = {"by": getpass.getuser(), "via": "cli", "reason": args.reason}
    answer = _ask(node, "rotate", credential=args.credential, overlap=args.overlap, **about)
    if args.json:
        print(json.dumps(answer))
        return 0
    print(f"The new secret of {args.credential}, which stands in {answer['secret_file']}:\n\n  {answer['secret']}\n")
    print(f"Posts are signed by both until {_at(answer['until'], ZoneInfo(node.timezone))}; give it to the app before.")
    return 0


def _would(count: int, span: str) -> str:
    return f"{count:,} events of {span} would be told again. Nothing was sent."


def _count(credential: str, node: Whereabouts, since: int, until: int) -> int:
    row = next((one for one in _ask(node, "list")["rows"] if one["credential"] == credential), None)
    if row is None:
        raise Refused(f"{credential} has no webhook in credentials.toml")
    endpoint = Endpoint(credential, "", events=frozenset(row["events"]), brands=frozenset(row["brands"]))
    return sum(1 for _ in past(node.data_dir / "events", endpoint, since, until))


def _at(ms: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).strftime("%-d %b %H:%M:%S")
