"""`postlane recipient`: all that is known of one person, what he may ask for (--export), and his being forgotten (--forget)."""

import argparse
import getpass
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay.cli.events import now_ms, printable, render_line
from relay.cli.suppress import ask, told, undo, what
from relay.config import whereabouts
from relay.control import granted, request
from relay.dossier import KINDS, Dossier, events_of

Json = dict[str, Any]
_LAST = 10  # events that are shown
_COUNTED = 31 * 86_400_000  # ms: the longest window of a cap but a month's
_POLL = 0.25  # s between looks for what other nodes answered
_PATIENCE = 60.0  # s without a word from any of them
_FOUND = "{events:,} events and {waiting:,} queued mails are of him"
_FORGOTTEN = "Forgotten: {events:,} events changed, {cancelled:,} queued mails cancelled"


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
        "--forget", action="store_true", help="for good, in all files of all nodes; queued mail is cancelled"
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


# -- what other nodes keep


class Others:
    """The other nodes of a cluster, asked to do something with what they keep of a person (relay/errands.py). `node`: this one;
    `later`: those that are not there. Raises Refused where they cannot be asked."""

    def __init__(self, data_dir: Path, errand: str, address: str, said: Json | None = None) -> None:
        self._data_dir, self._address = data_dir, address
        sent = self._ask({"what": "send", "errand": errand, "recipient": address, "said": said or {}})
        self._id: str = sent.get("id", "")
        self.node: str = sent.get("node", "")
        self.later: list[str] = sent.get("later", [])
        self.heard: list[str] = []  # those that have said all
        self.failed: dict[str, str] = {}  # those that could not, and why
        self.silent: list[str] = [*sent.get("asked", ())]

    def _ask(self, question: Json) -> Json:
        return granted(request(self._data_dir, {"do": "errands", **question}))

    def parts(self, patience: float) -> Iterator[Json]:
        """As they come, until each that is there has said its last, or nobody has said anything for so many seconds; `silent` are
        then those that have not."""
        end = time.monotonic() + patience
        try:
            while self.silent and time.monotonic() < end:
                part = self._ask({"what": "take", "id": self._id, "recipient": self._address})
                if not part:
                    time.sleep(_POLL)
                    continue
                yield part
                end = time.monotonic() + patience
                if part["last"]:
                    self._ended(part)
        finally:  # also when somebody has had enough: nodes go on to the next errand then
            if self._id:
                self._ask({"what": "end", "id": self._id})

    def _ended(self, part: Json) -> None:
        """A node has said its last; one that failed before may have tried again meanwhile."""
        if part["node"] in self.silent:
            self.silent.remove(part["node"])
            self.heard.append(part["node"])
        self.failed.pop(part["node"], None)
        if "failed" in part:
            self.failed[part["node"]] = part["failed"]


# -- giving


def run_export(args: argparse.Namespace) -> int:
    """One object; its events are written as they are read."""
    node = whereabouts(args.config)
    person = ask(node.data_dir, {"what": "show", "recipient": args.address, "all": True})
    head = json.dumps({"recipient": args.address, "known": person}, ensure_ascii=False)
    print(f'{head[:-1]}, "events": [')
    kept: dict[str, list[Json]] = {kind: [] for kind in KINDS if kind != "events"}
    before = ""
    others = Others(node.data_dir, "export", args.address)
    for of, kind, one in _everywhere(_dossier(node.data_dir, args.address, person), others):
        if kind != "events":
            kept[kind].append({"node": of, **one})
            continue
        print(f"{before}  {json.dumps(one, ensure_ascii=False)}", end="")
        before = ",\n"
    missing = sorted({*others.silent, *others.later, *others.failed})
    nodes = {"answered": sorted({others.node, *others.heard} - {*missing}), "silent": missing}
    tail = json.dumps({**kept, "nodes": nodes}, ensure_ascii=False)
    print(f"\n], {tail[1:]}")
    if missing:
        print(f"{', '.join(missing)} did not answer: ask again when all nodes are there.", file=sys.stderr)
    return 1 if missing else 0


def _everywhere(here: Dossier, others: Others) -> Iterator[tuple[str, str, Json]]:
    """What each node keeps, with the node."""
    for part in others.parts(_PATIENCE):
        yield from ((part["node"], kind, one) for kind, one in part.get("items", ()))
    yield from ((others.node, kind, one) for kind, one in here.found())


def _dossier(data_dir: Path, address: str, person: Json) -> Dossier:
    return Dossier(data_dir, partial(request, data_dir), address, bytes.fromhex(person["key"]))


# -- forgetting


def run_forget(args: argparse.Namespace) -> int:
    """First nothing more is known, then nothing more goes, then what was written down is changed, on each node: each step leaves
    less for the next one, and all of it may be done again."""
    node = whereabouts(args.config)
    data_dir = node.data_dir
    person = ask(data_dir, {"what": "show", "recipient": args.address})
    here = _dossier(data_dir, args.address, person)
    if args.dry_run:
        others = Others(data_dir, "count", args.address)
        return _say(args, {**here.counted(), "known": person}, _FOUND, others, "Nothing was changed.")
    if not args.yes and sys.stdin.isatty():
        waiting = sum(1 for _ in here.waiting())
        print(f"This forgets {printable(args.address)} for good: what he chose, {waiting:,} queued mails, all events.")
        if input("Type the address to go on: ").strip() != args.address:
            print("Nothing was changed.", file=sys.stderr)
            return 1
    stop = {} if args.stop is None else {"stop": args.stop.replace("nothing", "")}
    kept = ask(data_dir, {"what": "forget", "recipient": args.address, "via": "cli", **stop})["kept"]
    stopped = [{name: block[name] for name in ("stop", "brand", "reason")} for block in kept]
    said: Json = {"by": getpass.getuser(), "via": "cli", "reason": args.reason, "kept": stopped}
    others = Others(data_dir, "forget", args.address, said)
    done = here.forget(said)
    known = ", ".join(f"{what(block)} ({block['reason']})" for block in kept) or "nothing"
    text = f"By a hash alone it goes on to be known what is not sent: {known}."
    return _say(args, {"key": person["key"], **done, "kept": kept}, _FORGOTTEN, others, text)


def _say(args: argparse.Namespace, here: Json, words: str, others: Others, text: str) -> int:
    """What came of it, here and on the other nodes. 1 where one of them failed or has not ended."""
    nodes: dict[str, Json] = {part["node"]: part for part in others.parts(_PATIENCE)}
    if args.json:
        done = {name: part.get("done", {"failed": others.failed.get(name)}) for name, part in nodes.items()}
        print(json.dumps({**here, "nodes": done, "later": others.later, "silent": others.silent}))
    else:
        print(f"{words.format_map(here)}. {text}")
        for name, part in nodes.items():
            print(f"{name}: {words.format_map(part['done']) if 'done' in part else part['failed']}.")
        for name in others.later:
            print(f"{name} is not there{'; it follows when it is back' if words is _FORGOTTEN else ''}.")
        for name in others.silent:
            print(f"{name} has not ended yet: its log says when.")
    return 1 if others.silent or others.failed else 0
