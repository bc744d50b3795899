"""`postlane events` and `postlane message`: the event log, and one message's story, for people and for scripts."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay.config import whereabouts
from relay.config.problems import Wrong
from relay.config.units import duration
from relay.feedback.eventlog import Tail, matches, read
from relay.ids import time_of
from relay.message import MailClass
from relay.person import PENDING
from relay.wildcard import AnyOf, any_of

Event = Mapping[str, Any]
Match = dict[str, AnyOf]

_FIELDS = ("id", "recipient", "domain", "site", "stream", "credential", "brand", "campaign", "pool")
OPEN = frozenset({"accepted", "deferred", "postponed"})  # a recipient whose last event this is still waits
_DAY_MS = 86_400_000
_LOOK_AGAIN = 0.2  # seconds between looks with --follow
_CLOCKS_APART = 60_000  # ms by which an event may be older than its message's id says: two clocks of one machine


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("events", help="the event log")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--follow", action="store_true", help="go on with what happens now (with --since: from then on)")
    end.add_argument("--until", metavar="1h", help="as --since (default: now)")
    for name in _FIELDS:
        text = "only events of this; may hold *, may be repeated" if name == "id" else None
        parser.add_argument(f"--{name}", metavar=name.upper(), action="append", help=text)
    parser.add_argument(
        "--type",
        metavar="TYPE",
        action="append",
        help="accepted, delivered, deferred, bounced ...; several with commas",
    )
    parser.add_argument("--class", dest="mail_class", metavar="CLASS", action="append", type=class_pattern)
    parser.add_argument("--since", metavar="24h", help="a time ago or an RFC 3339 time (default 24h)")
    parser.set_defaults(run=run_events)
    message = subparsers.add_parser("message", help="one message's whole story")
    message.add_argument("id", metavar="ID|MESSAGE-ID")
    message.set_defaults(run=run_message)


def run_events(args: argparse.Namespace) -> int:
    node = whereabouts(args.config)
    directory, zone, now = node.data_dir / "events", ZoneInfo(node.timezone), now_ms()
    try:
        since = parse_since(args.since, now, zone) if args.since else None
        until = parse_since(args.until, now, zone) if args.until else None
        match = chosen(args)
    except ValueError as error:
        print(f"postlane events: {error}", file=sys.stderr)
        return 2
    events: Iterable[Event]
    if args.follow:
        events = _followed(directory, since, match)
    else:
        start = _first_accepted(args.id) if since is None else since
        events = read(directory, since=now - _DAY_MS if start is None else start, until=until, match=match)
    _show(events, zone, now, as_json=args.json)
    return 0


def run_message(args: argparse.Namespace) -> int:
    node = whereabouts(args.config)
    directory, zone = node.data_dir / "events", ZoneInfo(node.timezone)
    field = "id" if time_of(args.id) is not None else "message_id"
    name = args.id if field == "id" or args.id.startswith("<") else f"<{args.id}>"
    events = list(read(directory, since=accepted_after(args.id) or 0, match={field: name}))
    if not events:
        print(f"postlane message: no event of {name} in {directory}", file=sys.stderr)
        return 1
    if args.json:
        _show(events, zone, now_ms(), as_json=True)
    else:
        told = (story(of_one, zone) + _not_yet(of_one, node.data_dir, zone) for of_one in _by_message(events))
        print("\n\n".join(told))
    return 0


def _not_yet(events: Sequence[Event], data_dir: Path, zone: tzinfo) -> str:
    """Of what waits: why, and when it goes next, as the running node says; nothing where it does not run."""
    last = {event.get("rcpt"): _kind(event) for event in events}
    if not OPEN.intersection(last.values()):
        return ""
    from relay.cli.queue import pages  # noqa: PLC0415 (it needs this module)
    from relay.control import NodeDown, Refused  # noqa: PLC0415 (of no use to who lists events)

    try:
        found = list(pages(data_dir, {"do": "queue.page", "selector": {"id": _text(events[0], "id")}}))
    except (NodeDown, Refused):
        return ""
    return "".join(f"\n{printable(_waits(item, zone))}" for page in found for item in page["items"])


def _waits(item: Event, zone: tzinfo) -> str:
    following = "" if item["in_flight"] else _later({**item, "time": item["accepted"]}, zone, "next_attempt", "next")
    return _joined("; ", f"  {item['recipient']} is not delivered yet: {item['why']}", following)


def parse_since(text: str, now: int, zone: tzinfo = UTC) -> int:
    """`90s 15m 2h 7d` before `now`, or an RFC 3339 time or date (of `zone` unless it says). Raises ValueError."""
    with contextlib.suppress(Wrong):
        return max(0, now - duration(text))
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f'"{text}" is no time: say 2h (90s, 15m, 7d) or 2026-11-21T12:00:00Z') from None
    return max(0, round(seconds * 1000))


def duration_ms(text: str) -> int:
    """`90s 15m 2h 7d` in ms, as argparse wants it."""
    try:
        return duration(text)
    except Wrong as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def class_pattern(text: str) -> str:
    """A class, or a pattern that fits one, as argparse wants it."""
    if any(mail_class.label in any_of(text) for mail_class in MailClass):
        return text
    raise argparse.ArgumentTypeError(f'"{text}" is none of {", ".join(one.label for one in MailClass)}')


def chosen(args: argparse.Namespace) -> Match:
    """The selectors that were given, by the events' field names. Raises PatternError."""
    given = {
        **vars(args),
        "class": args.mail_class,
        "type": [one for text in args.type or () for one in text.split(",")],
    }
    return {
        name: any_of(given[name], domains=name in ("domain", "site"))
        for name in (*_FIELDS, "type", "class")
        if given[name]
    }


def _followed(directory: Path, since: int | None, match: Match) -> Generator[Event, None, None]:
    """Events since then, if asked for, and then new ones for ever. The tail is opened first, so that none is missed."""
    with contextlib.closing(Tail(directory)) as tail:
        shown = set()
        if since is not None:
            recent = datetime.fromtimestamp(now_ms() / 1000 - 60, UTC).isoformat()  # older ones cannot come again
            for event in read(directory, since=since, match=match):
                if event["time"] >= recent:
                    shown.add(event["event_id"])
                yield event
        while True:
            for event in tail.poll():
                if matches(event, match) and event.get("event_id") not in shown:
                    yield event
            time.sleep(_LOOK_AGAIN)


def _show(events: Iterable[Event], zone: tzinfo, now: int, *, as_json: bool) -> None:
    day = _local(now, zone).date()
    for event in events:
        if as_json:
            print(json.dumps(event, ensure_ascii=False), flush=True)
            continue
        moment = _moment(event, zone)
        if moment and moment.date() != day:
            day = moment.date()
            print(f"-- {moment:%a %d %b %Y}")
        print(render_line(event, zone), flush=True)


def render_line(event: Event, zone: tzinfo) -> str:
    """One event as one line of a console, without line end; it leaves out what the event does not hold."""
    moment = _moment(event, zone)
    head = f"{moment:%H:%M:%S}" if moment else "--:--:--"
    return printable(_joined("  ", f"{head} {_kind(event):<9}", _text(event, "id"), _told(event, zone)).rstrip())


def _told(event: Event, zone: tzinfo) -> str:
    """What an event says behind time, type and id."""
    kind = _kind(event)
    if kind == "accepted":
        label = f"{_text(event, 'class'):<10}" if _text(event, "class") else ""
        return _joined("  ", _text(event, "credential"), label, _text(event, "recipient"), _subject(event))
    if kind == "delivered":
        return _delivered(event)
    if kind in ("bounced", "bounced-late", "deferred", "rejected"):
        return _refused(event, zone)
    if kind in ("withheld", "postponed"):
        why = _joined(": ", _joined(" ", _text(event, "recipient"), _text(event, "reason")), _text(event, "detail"))
        return _joined("; ", why, _later(event, zone, "until", "until"))
    if kind in ("suppressed", "unsuppressed"):
        return _joined("  ", _text(event, "recipient"), _stopped(event))
    return _other(event)


def _stopped(event: Event) -> str:
    """What no longer goes, or goes again, and why."""
    stop = _text(event, "stop")
    mail = "all mail" if stop == "all" else stop
    return _joined(": ", _joined(" of ", mail, _text(event, "brand")), _text(event, "reason"))


def _delivered(event: Event) -> str:
    captured = event.get("captured") is True
    to = "to the capture server" if captured else _joined(" to ", _text(event, "recipient"), _text(event, "mx"))
    took = f"in {_span(event['delay_ms'])}" if isinstance(event.get("delay_ms"), int) else ""
    signed = ", ".join(f"signed d={name}" for name in _signers(event))
    return _joined(", ", _joined(" ", to, took), _text(event, "tls"), signed)


def _refused(event: Event, zone: tzinfo) -> str:
    """bounced, deferred, rejected: whose, what kind, the words, what follows."""
    who = "" if "(simulated)" in _reply(event) else _text(event, "recipient") or _text(event, "peer")
    what = _text(event, "category") or _text(event, "reason")
    words = _joined(": ", _joined("  ", who, what), _reply(event))
    again = _later(event, zone, "next_attempt", "next attempt")
    return _joined("; ", words, again, _suppressed(_text(event, "suppressed")))


def _suppressed(stop: str) -> str:
    """What a failure stops: address suppressed; stream news suppressed; suppression pending"""
    if stop.startswith(PENDING):
        return "suppression pending"
    what = "address" if stop == "all" else stop.replace(":", " ")
    return f"{what} suppressed" if stop else ""


def _later(event: Event, zone: tzinfo, field: str, label: str) -> str:
    """A time that the event tells of; with its day where that is another."""
    at, now = _moment(event, zone, field), _moment(event, zone)
    if at is None:
        return ""
    return f"{label} {at:%H:%M:%S}" if now and at.date() == now.date() else f"{label} {at:%a %d %b %H:%M:%S}"


def _other(event: Event) -> str:
    """Types with a shape of their own: who and what, in the order of the fields, without what all events have."""
    common = {"v", "time", "type", "event_id", "node", "policies", "id", "rcpt", "message_id", "metadata"}
    facts = {name: value for name, value in event.items() if name not in common and value not in (None, "", {}, [])}
    return " ".join(f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in facts.items())


def story(events: list[Event], zone: tzinfo) -> str:
    """One message from accept to its last event, each line with its date, recipient by recipient in time order; of each one's
    last failure what was said in the session."""
    first = events[0]
    about = ("credential", "brand", "stream", "class", "campaign")
    lines = [
        _joined("  ", _text(first, "id"), _subject(first), _text(first, "message_id")),
        _joined("  ", f"  from {_text(first, 'from') or _text(first, 'sender') or '<>'}", _size(first)),
        "  " + ", ".join(f"{name} {first[name]}" for name in about if first.get(name)),
        *_contradicted(first),
    ]
    last_session = {event.get("rcpt"): event for event in events if event.get("transcript")}
    for event in events:
        moment = _moment(event, zone)
        when = f"{moment:%d %b %H:%M:%S}.{moment.microsecond // 1000:03d}" if moment else "?"
        told = _text(event, "recipient") if _kind(event) == "accepted" else _told(event, zone)
        lines.append(f"  {when}  {_kind(event):<9}  {told}".rstrip())
        if last_session.get(event.get("rcpt")) is event:
            lines += _session(event)
    return "\n".join(printable(line) for line in lines)


def _session(event: Event) -> list[str]:
    """What was said in the session of a failure (egress/transcript.py)."""
    said = event["transcript"]
    return [f"      {line}" for line in said] if isinstance(said, list) else []


def _contradicted(accepted: Event) -> list[str]:
    """What was done about its app's word, and why."""
    done = _text(accepted, "contradiction")
    if not done:
        return []
    reasons = accepted.get("evidence")
    why = ", ".join(map(str, reasons)) if isinstance(reasons, list) else ""
    reads = f"reads as {_text(accepted, 'judged')} {accepted.get('confidence', '')}".rstrip()
    return [_joined(": ", f"  {done}: says {_text(accepted, 'claimed')}, {reads}", why)]


def _by_message(events: list[dict[str, Any]]) -> list[list[Event]]:
    """One Message-ID may belong to several messages: an app that sends to each recipient by itself."""
    groups: dict[str, list[Event]] = {}
    for event in events:
        groups.setdefault(str(event.get("id")), []).append(event)
    return list(groups.values())


def _kind(event: Event) -> str:
    return _text(event, "type") or "?"


def _subject(event: Event) -> str:
    return f'"{_text(event, "subject")}"' if _text(event, "subject") else ""


def _size(event: Event) -> str:
    size = event.get("size")
    return f"{size / 1000:.1f} kB" if isinstance(size, int) else ""


def _span(ms: int) -> str:
    if ms < 10_000:
        return f"{ms} ms"
    return f"{ms / 1000:.0f} s" if ms < 600_000 else f"{ms / 60_000:.0f} min"


def _signers(event: Event) -> list[str]:
    signed = event.get("signed")
    names = [one.get("d") for one in signed if isinstance(one, dict)] if isinstance(signed, list) else []
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def _reply(event: Event) -> str:
    reply = event.get("reply")
    if not isinstance(reply, Mapping):
        return ""
    return _joined(" ", *(str(reply.get(part) or "") for part in ("code", "enhanced", "text")))


def _text(event: Event, name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


def _joined(by: str, *parts: str) -> str:
    return by.join(part for part in parts if part)


def printable(text: str) -> str:
    """Without what a stranger's subject or reply could do to a terminal: control characters become one blank each."""
    return "".join(" " if ord(one) < 32 or 127 <= ord(one) < 160 else one for one in text)


def _moment(event: Event, zone: tzinfo, field: str = "time") -> datetime | None:
    try:
        return datetime.fromisoformat(_text(event, field)).astimezone(zone)
    except (ValueError, OverflowError):
        return None


def _local(ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(ms / 1000, zone)


def _first_accepted(identifiers: list[str] | None) -> int | None:
    """From when on the events of these messages are to be looked for; None where not every one of them tells."""
    times = [accepted_after(identifier) for identifier in identifiers or ()]
    known = [at for at in times if at is not None]
    return min(known) if known and len(known) == len(times) else None


def accepted_after(identifier: str) -> int | None:
    """From when on a message's events are to be looked for."""
    at = time_of(identifier)
    return None if at is None else at - _CLOCKS_APART


def now_ms() -> int:
    return time.time_ns() // 1_000_000
