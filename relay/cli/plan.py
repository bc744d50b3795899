"""`postlane plan --since 24h`: what the files on disk would change against those in force, in mail that was accepted.

Each message is decided again under both, from what its `accepted` events recorded (relay/replay.py). Nothing is sent or
changed. Exit 1 with --fail-on-change where a message would be decided otherwise, or cannot be decided. What other caps would do
is told by plan_caps.py.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from relay.cli import plan_caps
from relay.cli.events import now_ms, parse_since, printable
from relay.cli.on_disk import on_disk
from relay.cli.plan_caps import CapPlan
from relay.cli.policies import Refused
from relay.cli.progress import Progress
from relay.cli.reasons import Reason, of_brand, of_carriage, of_class, of_refusal, of_stream, short
from relay.config import whereabouts
from relay.config.origin import Places
from relay.config.secret import load_secrets
from relay.fate import Files, carrier, files_of
from relay.feedback.eventlog import scan
from relay.in_force import last_good
from relay.policy.recorded import Event, Past
from relay.recipient import Keys
from relay.replay import Answer, Change, Comparison, asks, messages
from relay.replay_caps import CapReplay
from relay.times import moment

Json = dict[str, object]

_STEP = 256  # messages between two looks at the clock of the bar


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("plan", help="what the files on disk would change, tried on recorded mail")
    parser.add_argument("--since", metavar="24h", default="24h", help="a time ago or an RFC 3339 time (default 24h)")
    parser.add_argument(
        "--events",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="also what another node recorded: its data_dir/events, or a copy; may be repeated",
    )
    parser.add_argument(
        "--fail-on-change", action="store_true", help="exit 1 if any message would be decided otherwise"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    node, now = whereabouts(args.config), now_ms()
    try:
        since = parse_since(args.since, now, ZoneInfo(node.timezone))
    except ValueError as error:
        print(f"postlane plan: {error}", file=sys.stderr)
        return 2
    last = last_good(args.config)
    if last is None:
        raise Refused(f"nothing is in force here that could be compared (no {node.data_dir}/versions): start the node")
    in_force = last[1]
    before = files_of(in_force.deployment, in_force.policies, in_force.keys)
    _, after = on_disk(args.config, args.policies)
    comparison = Comparison(before, after)
    with Progress("Deciding again") as progress, plan_caps.scratch() as folder:
        caps = CapReplay(before, after, since, now, Path(folder), Keys(load_secrets(in_force.deployment)).key)
        folders = [node.data_dir / "events", *args.events]
        _decide(comparison, caps, folders, since, progress)
        plan = plan_caps.read(caps, folders, since, progress)
    if args.json:
        for line in as_json(comparison, plan, Places(args.policies)):
            print(json.dumps(line, ensure_ascii=False))
    else:
        for text in as_text(comparison, plan, Places(args.policies), args.since, node.timezone):
            print(printable(text))
        if plan.told and len(folders) == 1 and in_force.deployment.state.url != "sqlite:":
            print("  (other nodes' events are not here: --events DIR; what people got from them is not counted)")
    return 1 if args.fail_on_change and (comparison.changed or plan.changed or comparison.undecided) else 0


def _decide(comparison: Comparison, caps: CapReplay, folders: Iterable[Path], since: int, progress: Progress) -> None:
    """All that was accepted, under both files."""
    accepted = (event for folder in folders for event in scan(folder, since=since, match={"type": "accepted"}))
    now = now_ms()
    for number, message in enumerate(messages(accepted)):
        if not number % _STEP:
            progress.show(_share(message.event, since, now), f"{number:,} messages")
        caps.take(message, *comparison.add(message))


def _share(event: Event, since: int, now: int) -> float:
    """How far it lies between then and now."""
    at = moment(str(event.get("time")))
    return (at - since) / max(1, now - since) if at is not None else 0.0


# For people.


def as_text(all_of: Comparison, caps: CapPlan, places: Places, since: str, timezone: str) -> Iterator[str]:
    versions = f"Policies on disk ({all_of.after.version}) against those in force ({all_of.before.version})"
    span = (
        f"of the last {since}" if since[:1].isdigit() and since[-1:].isalpha() and len(since) < 9 else f"since {since}"
    )
    yield f"{versions}, over {_messages(all_of.messages, 'recorded ')} {span}. Nothing is sent or changed."
    for change in all_of.changes:
        yield from _change(change, all_of.after, places)
    yield from plan_caps.as_text(caps, places, timezone)
    for (lacks, in_force), count in all_of.undecided.most_common():
        where = " (of the files in force)" if in_force else ""
        yield f"  undecided: {_messages(count)}: {asks(lacks)}{where}"
    yield f"  transactional: {_urgent(all_of)}"


def _change(change: Change, files: Files, places: Places) -> Iterator[str]:
    yield f"  {_reason(change, files, places)}"
    yield f"       {_messages(change.messages)} {_what(change)}"
    for (was, will), count in change.moves.most_common():
        if not (change.before.refused or change.after.refused):
            yield f"         pool {was} -> {will}: {_count(count, 'recipient')}"
    for message in change.examples:
        yield f"         {_example(message)}"


def _what(change: Change) -> str:
    """`change stream: order -> receipts, class: service -> marketing`"""
    before, after, one = change.before, change.after, change.messages == 1
    if after.refused and not before.refused:
        reply = change.fate.refusal.reply if change.fate.refusal is not None else ""
        return f"of stream {before.stream} would be refused: {reply}"
    if before.refused and not after.refused:
        now = f"{'is' if one else 'are'} refused now [{before.refused}]"
        return f"would be taken that {now}, as {after.stream}, {after.mail_class}"
    if before.refused:
        return f"would be refused for another reason: {before.refused} -> {after.refused}"
    named = zip(("stream", "class", "brand"), before, after, strict=False)
    said = [f"{name}: {was or 'none'} -> {will or 'none'}" for name, was, will in named if was != will]
    where = "" if before.stream != after.stream else f" (stream {after.stream})"
    return f"{'changes' if one else 'change'} {', '.join(said or ['pool'])}{where}"


def _reason(change: Change, files: Files, places: Places) -> str:
    """What on disk says so: of the first thing that differs."""
    reason = reason_of(change, files, places)
    return f"{short(reason.place)}  {reason.words}".strip() or "(no file says why)"


def reason_of(change: Change, files: Files, places: Places) -> Reason:
    before, after, found = change.before, change.after, change.fate
    if found.weighed is None or after.refused:
        words = f"credential {found.credential}"
        return Reason(of_refusal(found, places).place, words)
    if before.stream != after.stream or before.refused:
        reason = of_stream(found, change.examples[0].letter, files, places)
        return Reason(reason.place, f"stream {after.stream}: {reason.words}")
    if before.mail_class != after.mail_class:
        return of_class(found, places)
    if before.brand != after.brand:
        return of_brand(found, files, places)
    carriage = carrier(found.weighed, found.credential, files)(change.domain)
    return Reason(of_carriage(carriage, found.weighed.mail_class, places).place, f"pool {carriage.name}")


def _example(message: Past) -> str:
    return f'{message.id}  {message.recipients[0]}  "{message.letter.subject}"'


def _urgent(all_of: Comparison) -> str:
    changed = sum(change.messages for change in all_of.changes if change.urgent)
    undecided = f"; {_messages(all_of.urgent_undecided)} undecided" if all_of.urgent_undecided else ""
    if not changed:
        return f"no message changes class, pool or decision{undecided}"
    return f"{_messages(changed)} {'change' if changed > 1 else 'changes'} class, pool or decision{undecided}"


def _messages(number: int, adjective: str = "") -> str:
    return _count(number, f"{adjective}message")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


# For programs.


def as_json(all_of: Comparison, caps: CapPlan, places: Places) -> Iterator[Json]:
    """A line for each change, one for each cap, one for each thing that was not recorded, and one for the whole."""
    for change in all_of.changes:
        yield {
            "kind": "change",
            "place": reason_of(change, all_of.after, places).place or None,
            "before": _facts(change.before),
            "after": _facts(change.after),
            "messages": change.messages,
            "recipients": change.recipients,
            "pools": [{"before": was, "after": will, "recipients": n} for (was, will), n in change.moves.most_common()],
            "examples": list(_examples(change.examples)),
        }
    yield from plan_caps.as_json(caps, places)
    for (lacks, in_force), count in all_of.undecided.most_common():
        yield {
            "kind": "undecided",
            "place": lacks.rule or None,
            "files": "in force" if in_force else "on disk",
            "stream": lacks.stream,
            "asks": lacks.key,
            "messages": count,
        }
    yield {
        "kind": "summary",
        "on_disk": all_of.after.version,
        "in_force": all_of.before.version,
        "messages": all_of.messages,
        "recipients": all_of.recipients,
        "changed": all_of.changed,
        "capped_otherwise": caps.changed,
        "undecided": sum(all_of.undecided.values()),
        "transactional": {
            "changed": sum(change.messages for change in all_of.changes if change.urgent),
            "undecided": all_of.urgent_undecided,
        },
    }


def _facts(answer: Answer) -> Json:
    stream, mail_class, brand, refused = (text or None for text in answer)
    return {"stream": stream, "class": mail_class, "brand": brand, "refused": refused}


def _examples(of: Iterable[Past]) -> Iterator[Json]:
    for message in of:
        yield {"id": message.id, "recipient": message.recipients[0], "subject": message.letter.subject}
