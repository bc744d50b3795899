"""`postlane recipient`: all that is known of one person, what he may ask for (--export), and his being forgotten (--forget)."""

import argparse
import getpass
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay.cli.events import now_ms, printable, render_line
from relay.cli.queue import pages
from relay.cli.suppress import ask, told, undo, what
from relay.cli.suppress_restore import FORGET
from relay.config import whereabouts
from relay.control import request
from relay.feedback.eventarchive import read
from relay.feedback.eventforget import forget
from relay.masking import key_in
from relay.person import ERASED
from relay.recipient import normalised, spellings

Json = dict[str, Any]
_LAST = 10  # events that are shown
_COUNTED = 31 * 86_400_000  # ms: the longest window of a cap but a month's
_OUTBOX = 1.0  # seconds by when an event has left its outbox (feedback/eventlog.py: INTERVAL)
_PASSES = 20  # through the event files: one that is being turned into Parquet may take some
_SENT_PAGE = 1_000  # deliveries in one question


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "recipient",
        help="all that is known of one recipient",
        description="Caps used and by whom, preferences, suppression, last events, and the command that undoes each block.",
    )
    parser.add_argument("address", metavar="ADDRESS")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--export", action="store_true", help="everything, events too, as JSON: for a request for access")
    way.add_argument(
        "--forget", action="store_true", help="for good, in all files of this node; queued mail is cancelled"
    )
    parser.add_argument(
        "--stop",
        choices=["marketing", "all", "nothing"],
        help="with --forget: what is not sent from now on, by a hash alone (default: [forget] of recipients.toml)",
    )
    parser.add_argument("--reason", default="", help="why; kept in the events")
    parser.add_argument("--dry-run", action="store_true", help="with --forget: only count")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.forget:
        return run_forget(args)
    if args.export:
        return run_export(args)
    return run_show(args)


# -- looking


def run_show(args: argparse.Namespace) -> int:
    node = whereabouts(args.config)
    zone, now = ZoneInfo(node.timezone), now_ms()
    person = ask(node.data_dir, {"what": "show", "recipient": args.address})
    events = list(events_of(node.data_dir / "events", args.address, person["key"], since=now - _COUNTED))
    used = marketing_by_brand(events)
    if args.json:
        undos = [{**block, "undo": undo(args.address, block)} for block in person["blocks"]]
        print(json.dumps({**person, "blocks": undos, "marketing_31d": used, "last_events": events[-_LAST:]}))
        return 0
    lines = [f"{printable(args.address)}   key {person['key']}"]
    lines += ["", "Suppression", *(_blocks(args.address, person["blocks"]) or ["  none: all mail goes"])]
    lines += ["", "Preferences", *(_wishes(person["preferences"]) or ["  none: each mail"])]
    lines += ["", "Engagement", *(_engaged(person["engaged"]) or ["  nothing is known"])]
    if person.get("caps"):
        lines += ["", "Caps", *map(_of_cap, person["caps"])]
    lines += ["", "Marketing that arrived, last 31 days", *(_used(used) or ["  none"])]
    lines += ["", "Last events", *(f"  {_day(event)} {render_line(event, zone)}" for event in events[-_LAST:])]
    print("\n".join(lines if events else [*lines, "  none in 31 days"]))
    return 0


def _blocks(address: str, blocks: Iterable[Json]) -> list[str]:
    lines = []
    for block in blocks:
        lines += [f"  {told(block)}", f"      {undo(address, block)}"]
    return lines


def _of_cap(one: Json) -> str:
    """arava 3/week: 2 used (arava marketing 2), 1 under way"""
    by = f" ({', '.join(f'{name} {count}' for name, count in one['by'].items())})" if one["by"] else ""
    return f"  {one['cap']} {one['limit']}: {one['used']} used{by}, {one['under_way']} under way"


def _wishes(wishes: Json) -> list[str]:
    lines = []
    for brand, wish in wishes.items():
        off = f"topics off: {', '.join(wish['topics_off'])}" if wish["topics_off"] else ""
        often = f"at most {wish['at_most']}" if wish["at_most"] != "each" else ""
        paused = f"paused until {wish['paused_until']}" if wish["paused_until"] else ""
        lines.append(f"  {brand or 'every brand'}: {'; '.join(filter(None, (off, often, paused)))}")
    return lines


def _engaged(engaged: Json) -> list[str]:
    """arava: cold, last on 2025-10-04; 12 unanswered since"""
    return [
        f"  {brand}: {one['tier'] and one['tier'] + ', '}last on {one['last_engaged'] or 'no day'}; "
        f"{one['unanswered']} unanswered since"
        for brand, one in engaged.items()
    ]


def marketing_by_brand(events: Iterable[Json]) -> Json:
    """{"arava": {"crm": 2, "club": 1}}: whose mail took the places that caps count."""
    counts: dict[str, Counter[str]] = {}
    for event in events:
        if event["type"] == "delivered" and event.get("class") == "marketing":
            counts.setdefault(event.get("brand") or "", Counter())[event.get("credential") or ""] += 1
    return {brand: dict(by.most_common()) for brand, by in sorted(counts.items())}


def _used(used: Json) -> list[str]:
    return [
        f"  {brand or 'no brand'}: {sum(by.values())} ({', '.join(f'{name} {count}' for name, count in by.items())})"
        for brand, by in used.items()
    ]


def _day(event: Json) -> str:
    return str(event.get("time", ""))[:10]


def events_of(directory: Path, address: str, key: str, since: int = 0) -> Iterator[Json]:
    """His, by whatever spelling, in time order; also those from which addresses were removed, by his key."""
    who, keyed = normalised(address), bytes.fromhex(key)
    for event in read(directory, since=since, match=spellings(who, key)):
        recipient = event.get("recipient")
        if isinstance(recipient, str) and (normalised(recipient) == who or key_in(recipient) == keyed):
            yield event


def run_export(args: argparse.Namespace) -> int:
    """One object; its events are written as they are read."""
    node = whereabouts(args.config)
    person = ask(node.data_dir, {"what": "show", "recipient": args.address})
    waiting = list(_queued(node.data_dir, args.address))
    head = json.dumps({"recipient": args.address, "known": person, "waiting": waiting}, ensure_ascii=False)
    print(f'{head[:-1]}, "events": [')
    before = ""
    for event in events_of(node.data_dir / "events", args.address, person["key"]):
        print(f"{before}  {json.dumps(event, ensure_ascii=False)}", end="")
        before = ",\n"
    print("\n]}")
    return 0


def _queued(data_dir: Path, address: str) -> Iterator[Json]:
    """What waits for him."""
    who = normalised(address)
    domain = who.rpartition("@")[2]
    selector = {"domain": [domain, "googlemail.com"] if domain == "gmail.com" else domain}
    for page in pages(data_dir, {"do": "queue.page", "selector": selector}):
        yield from (item for item in page["items"] if normalised(item["recipient"]) == who)


# -- forgetting


def run_forget(args: argparse.Namespace) -> int:
    """First nothing more is known, then nothing more goes, then what was written down is changed: each step leaves less for the
    next one, and all of it may be done again."""
    node = whereabouts(args.config)
    data_dir, directory = node.data_dir, node.data_dir / "events"
    person = ask(data_dir, {"what": "show", "recipient": args.address})
    waiting = [(item["id"], item["recipient"]) for item in _queued(data_dir, args.address)]
    if args.dry_run:
        found = {"events": sum(1 for _ in events_of(directory, args.address, person["key"])), "waiting": len(waiting)}
        return _say(
            args,
            {**found, "known": person},
            f"{found['events']:,} events and {found['waiting']:,} queued mails are of him. Nothing was changed.",
        )
    if not args.yes and sys.stdin.isatty():
        print(
            f"This forgets {printable(args.address)} for good: what he chose, {len(waiting):,} queued mails, all events."
        )
        if input("Type the address to go on: ").strip() != args.address:
            print("Nothing was changed.", file=sys.stderr)
            return 1
    stop = {} if args.stop is None else {"stop": args.stop.replace("nothing", "")}
    answer = ask(data_dir, {"what": "forget", "recipient": args.address, "via": "cli", **stop})
    cancelled = _cancel(data_dir, waiting)
    _unsend(data_dir, events_of(directory, args.address, person["key"]))
    captures = _forget_captures(data_dir / "capture", normalised(args.address))
    changed = _forget_events(directory, args.address, bytes.fromhex(person["key"]))
    done = {"key": answer["key"], "cancelled": cancelled, "events": changed, "kept": answer["kept"]}
    done |= {"captures": captures} if captures else {}
    facts: Json = {"by": getpass.getuser(), "via": "cli", "action": FORGET, "what": {"key": answer["key"]}}
    stopped = [{name: block[name] for name in ("stop", "brand", "reason")} for block in answer["kept"]]
    facts |= {"reason": args.reason, "cancelled": cancelled, "events": changed, "kept": stopped}
    request(data_dir, {"do": "record", "kind": "audit", "facts": facts})
    kept = ", ".join(f"{what(block)} ({block['reason']})" for block in answer["kept"]) or "nothing"
    return _say(
        args,
        done,
        f"Forgotten: {changed:,} events changed, {cancelled:,} queued mails cancelled. By a hash alone it goes on to be "
        f"known what is not sent: {kept}.\nNodes of a cluster have their own events: run it on each.",
    )


def _cancel(data_dir: Path, waiting: Iterable[tuple[str, str]]) -> int:
    count = 0
    for identity, recipient in waiting:
        question = {"do": "queue.change", "action": "cancel", "reason": ERASED}
        for page in pages(data_dir, {**question, "selector": {"id": identity, "recipient": recipient}}):
            count += page["changed"]
    return count


def _unsend(data_dir: Path, events: Iterable[Json]) -> None:
    """What the spools remember of mail to him, so that bounces find it, page by page."""
    delivered = ((event["id"], event["rcpt"]) for event in events if event["type"] == "delivered")
    while page := list(islice(delivered, _SENT_PAGE)):
        for _ in pages(data_dir, {"do": "queue.unsend", "sent": page}):
            pass


def _forget_captures(directory: Path, who: str) -> int:
    """Captured mail that went to him, also with others."""
    count = 0
    for envelope in directory.glob("*.json"):
        try:
            recipients = json.loads(envelope.read_bytes())["recipients"]
        except (OSError, ValueError, KeyError):  # dropped meanwhile, or none of ours
            continue
        if who in map(normalised, recipients):
            envelope.unlink(missing_ok=True)
            envelope.with_suffix(".eml").unlink(missing_ok=True)
            count += 1
    return count


def _forget_events(directory: Path, address: str, key: bytes) -> int:
    """Until a pass finds nothing: what was in an outbox comes later, what was being turned into Parquet changes its file."""
    total = 0
    for _ in range(_PASSES):
        time.sleep(_OUTBOX)
        changed = forget(directory, address, key)
        total += changed
        if not changed:
            break
    return total


def _say(args: argparse.Namespace, facts: Json, text: str) -> int:
    print(json.dumps(facts) if args.json else text)
    return 0
