"""`postlane explain FILE...|ID`: what would happen to a message under the files on disk, and why.

A file is looked at as if an app handed it in now: by the functions live mail goes through, with keys, routes and pools as
they are on disk. Nothing is sent, nothing changes. Of a message that was taken, its events tell what was decided then.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay.cli import explain_past, explain_view
from relay.cli.explain_pace import NOTHING_SAID, Pacing
from relay.cli.explain_people import Knowing, words
from relay.cli.explain_view import Explained, Recipient
from relay.cli.on_disk import on_disk
from relay.cli.reasons import of_carriage
from relay.config import (
    Deployment,
    MissingDirectory,
    find_directories,
)
from relay.config.evidence import load_model
from relay.config.origin import Places
from relay.config.problems import no_such
from relay.control import NodeDown, request
from relay.edge import commands, framing, replies
from relay.egress.mx import site_of
from relay.egress.pools import Pool, Source
from relay.egress.settings import Relay
from relay.event import iso
from relay.fate import Carriage, Fate, Files, carrier, fate, hindrance
from relay.header import Field, split
from relay.identity import Brand, Credential
from relay.ids import time_of
from relay.message import MailClass, Peer, RcptTo
from relay.outcome import Reply
from relay.policy.contradiction import Told, Trouble, trouble_of
from relay.policy.decide import Law, Refusal
from relay.policy.evidence.classify import quoted
from relay.policy.evidence.judge import Judge
from relay.policy.evidence.lint import lint
from relay.policy.evidence.text import extract
from relay.policy.letter import Letter
from relay.policy.relevance import Postponed, Withheld
from relay.policy.routes import Routes
from relay.policy.sample import Sample
from relay.policy.sender import mailboxes
from relay.policy.streams import Streams
from relay.policy.unsubscribe import FIELDS
from relay.policy.weigh import Memory, Weighed
from relay.rewrite import Rewritten, received_field, rewrite, subject_of
from relay.wildcard import Recipients

_NEUTRAL = "somebody@example.com"  # RFC 2606: nobody's; for a message that names no recipient
_PEER = Peer("192.0.2.1", 0, "app.example")  # RFC 5737, 2606


class Misuse(Exception):
    """The words on the command line make no sense together, or name what is not there."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("explain", help="what would happen to a message, and why")
    parser.add_argument(
        "files", nargs="+", metavar="FILE|ID", help="whole messages (RFC 5322), or ids of accepted ones"
    )
    parser.add_argument("--credential", metavar="C", help="the app that hands it in (default: any, of class auto)")
    parser.add_argument("--stream", metavar="S", default="", help="as user C+S")
    parser.add_argument("--from", dest="sender", metavar="A", help="MAIL FROM (default: the From address)")
    parser.add_argument("--to", metavar="A", action="append", help="RCPT TO, may be repeated (default: To and Cc)")
    parser.add_argument("--brief", action="store_true", help="a line for the message and one for each recipient")
    parser.set_defaults(run=run, anywhere=True)


def run(args: argparse.Namespace) -> int:
    """Exit 1 if one could not be read; the others are explained all the same. 2 on misuse."""
    try:
        basis = basis_of(args)
        asked = _asked(args, basis)
    except (Misuse, MissingDirectory) as error:
        print(f"postlane explain: {error}", file=sys.stderr)
        return 2
    failed = False
    for number, name in enumerate(args.files):
        try:
            facts, lines = _told(name, args.brief, asked, basis)
        except (OSError, LookupError) as error:
            text = error.strerror if isinstance(error, OSError) else error.args[0]
            print(f"postlane explain: {name}: {text}", file=sys.stderr)
            failed = True
            continue
        if args.json:
            print(json.dumps(facts, ensure_ascii=False))
        else:
            print("\n".join(([""] if number and not args.brief else []) + list(lines)))
    return 1 if failed else 0


# What it is asked of: the files on disk, an app and an envelope.


@dataclass(frozen=True, slots=True)
class Basis:
    """`deployment`: None where there is no config/ at all; `troubles`: contradictions that the running node says stand; `pacing`:
    how mail may go, and goes now; `knowing`: what is known of people."""

    files: Files
    places: Places
    deployment: Deployment | None
    troubles: Sequence[Trouble] = ()
    pacing: Pacing = NOTHING_SAID
    knowing: Knowing = field(default_factory=Knowing)


@dataclass(frozen=True, slots=True)
class Asked:
    """`sender`, `recipients`: None where the message itself is to say."""

    credential: str
    stream: str
    sender: str | None
    recipients: tuple[RcptTo, ...] | None


def basis_of(args: argparse.Namespace) -> Basis:
    """Raises MissingDirectory where one is needed, ConfigErrors and KeysError."""
    try:
        args.config, args.policies = find_directories(args.config, args.policies)
    except MissingDirectory:
        if args.config or args.policies or args.credential or args.stream:
            raise
        print("postlane explain: no config/ and policies/ here: as for any app of class auto", file=sys.stderr)
        return Basis(_nothing(), Places(None), None)
    deployment, files = on_disk(args.config, args.policies)
    data_dir = deployment.node.data_dir
    troubles = _troubles(data_dir) if args.credential else ()
    pacing = Pacing(args.policies, _paces(data_dir))
    return Basis(_with_anybody(files), Places(args.policies), deployment, troubles, pacing, Knowing(data_dir))


def _paces(data_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """As the running node says; nothing where it does not run."""
    try:
        return request(data_dir, {"do": "paces"}, timeout=10)
    except NodeDown:
        return {}


def _troubles(data_dir: Path) -> tuple[Trouble, ...]:
    """What the node's workers found; nothing where it does not run."""
    try:
        stats = request(data_dir, {"do": "stats"}, timeout=10)
    except NodeDown:
        return ()
    facts = (one for worker in stats.get("workers", ()) for one in worker.get("troubles", ()))
    return tuple(trouble_of(one) for one in facts)


def _nothing() -> Files:
    """What holds without files: no rules, no brands; of keys nothing is known, so their lack is no reason to refuse."""
    law = Law(version="", postmaster="postmaster@localhost", brands={"": Brand("", unsigned="send")}, streams=Streams())
    pools = {mail_class: Pool(mail_class.label, (Source("", ""),)) for mail_class in MailClass}
    return _with_anybody(Files("", law, {}, lambda _: (), pools, {}, Routes()))


def _with_anybody(files: Files) -> Files:
    """With the app that a message is explained for where none is named: any From domain, any stream, class auto."""
    anybody = Credential(explain_view.ANYBODY, None, frozenset({"*"}), streams=tuple(files.law.streams.named))
    return replace(files, credentials={**files.credentials, anybody.name: anybody})


def _asked(args: argparse.Namespace, basis: Basis) -> Asked:
    apps = [name for name in basis.files.credentials if name != explain_view.ANYBODY]
    if args.credential and args.credential not in apps:
        raise Misuse(no_such("credential", args.credential, apps, "policies/credentials.toml"))
    listed = {name for app in basis.files.credentials.values() for name in app.streams}
    streams = {*basis.files.law.streams.named, *listed, *apps}
    if args.stream and args.stream not in streams:
        raise Misuse(no_such("stream", args.stream, streams, "policies/streams.toml"))
    recipients = tuple(_recipient(address) for address in args.to) if args.to else None
    sender = None if args.sender is None else _sender(args.sender)
    return Asked(args.credential or explain_view.ANYBODY, args.stream, sender, recipients)


def _sender(address: str) -> str:
    envelope = commands.mail(f"FROM:<{address.strip('<>')}> SMTPUTF8")
    if isinstance(envelope, Reply):
        raise Misuse(f"--from {address}: {envelope}")
    return envelope.sender


def _recipient(address: str) -> RcptTo:
    recipient = commands.rcpt(f"TO:<{address}>", utf8=True)
    if isinstance(recipient, Reply):
        raise Misuse(f"--to {address}: {recipient}")
    return recipient


# One message.


def _told(name: str, brief: bool, asked: Asked, basis: Basis) -> tuple[dict[str, object], Iterator[str]]:
    """For programs, and for people. Raises OSError, or LookupError for an id nobody knows."""
    file = Path(name)
    if time_of(name) is not None and not file.exists():
        if basis.deployment is None:
            raise LookupError("is no file; and without a config/ nobody knows where messages with ids are")
        found = explain_past.of(name, basis.deployment, basis.files, basis.places, basis.pacing)
        zone = ZoneInfo(basis.deployment.node.timezone)
        return explain_past.as_facts(found), explain_past.as_text(found, zone)
    one = explained(name, file.read_bytes(), asked, basis)
    return explain_view.as_facts(one), explain_view.as_brief(one) if brief else explain_view.as_text(one)


def explained(name: str, octets: bytes, asked: Asked, basis: Basis) -> Explained:
    """Line ends are made CRLF, as on the wire."""
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    now, files = time.time_ns() // 1_000_000, basis.files
    fields, rest = split(content)
    sender = asked.sender if asked.sender is not None else next(iter(_addresses(fields, "from")), "")
    recipients = asked.recipients or _of_header(fields) or (_recipient(_NEUTRAL),)
    letter = Letter(fields, content, rest, subject_of(fields), sender, [one.domain for one in recipients])
    judge = Judge(load_model)  # a fresh one: what was explained before is no mailing
    memory = Memory(Sample(judge), Told(basis.troubles))
    found = fate(letter, asked.credential, asked.stream, now, files, judge, memory)
    at_the_door = _at_the_door(content, files.credentials[asked.credential], basis.deployment)
    if at_the_door is not None:
        found = replace(found, keys=(), refusal=at_the_door)
    weighed = found.weighed
    evidence = weighed.evidence if weighed is not None else None
    evidence = evidence or judge(letter, asked.credential, now)
    mail_class = weighed.mail_class if weighed is not None else evidence.mail_class
    return Explained(
        name=name,
        letter=letter,
        fate=found,
        files=files,
        places=basis.places,
        mail_class=mail_class,
        evidence=evidence,
        terms=quoted(evidence, extract(content, fields, rest), judge.ready()),
        findings=lint(content, fields, rest, mail_class),
        recipients=_carried(recipients, found, now, basis),
        rewritten=_rewritten(letter, weighed, asked.credential, files.law, now) if weighed is not None else None,
    )


def _rewritten(letter: Letter, weighed: Weighed, credential: str, law: Law, now: int) -> Rewritten:
    """Of what is added only the names are shown, and Feedback-ID."""
    decision = weighed.decision
    return rewrite(
        letter.fields,
        letter.rest,
        letter.content,
        message_id=f"<ID@{decision.author_domain}>",
        received=received_field(_PEER, "localhost", "ID", now),
        now=now,
        also_remove=decision.also_remove,
        replaced=FIELDS if weighed.offer is not None else frozenset(),
        feedback_id=law.feedback_ids.field(decision.campaign or decision.stream, credential, decision.brand),
    )


def _at_the_door(content: bytes, app: Credential, deployment: Deployment | None) -> Refusal | None:
    """What a session refuses before it hands a message over (edge/session.py)."""
    fix, long_lines = app.line_endings == "fix", app.long_lines == "allow"
    checked = framing.checked(content, fix=fix, long_lines=long_lines)
    if isinstance(checked, Reply):
        return Refusal(checked, replies.REASONS[checked])
    largest = max((listener.max_size for listener in deployment.listeners), default=0) if deployment else 0
    if largest and len(checked) > largest:
        return Refusal(replies.TOO_BIG, replies.REASONS[replies.TOO_BIG])
    return None


def _addresses(fields: Sequence[Field], *names: str) -> Iterator[str]:
    for one in fields:
        if one.name in names:
            yield from mailboxes(one.value) or ()


def _of_header(fields: Sequence[Field]) -> tuple[RcptTo, ...]:
    """To and Cc, as most apps address their mail; what is no address that could be mailed to is left out."""
    found = (commands.rcpt(f"TO:<{address}>", utf8=True) for address in _addresses(fields, "to", "cc"))
    return tuple({one.address: one for one in found if isinstance(one, RcptTo)}.values())


def _carried(recipients: Sequence[RcptTo], found: Fate, now: int, basis: Basis) -> list[Recipient]:
    if found.weighed is None or found.refusal is not None:
        return [Recipient(one.address, "refuse") for one in recipients]
    hindered = hindrance(found.weighed, found.credential, now, basis.files)
    carriage_to = carrier(found.weighed, found.credential, basis.files)
    known = basis.knowing.stands([one.address for one in recipients], found.weighed)
    rows = []
    for one in recipients:
        carriage = carriage_to(one.domain)
        place = of_carriage(carriage, found.weighed.mail_class, basis.places).place
        if carriage.discarded:
            rows.append(Recipient(one.address, "withhold", "discarded", place, carriage))
            continue
        if isinstance(hindered, Withheld):
            rows.append(Recipient(one.address, "withhold", f"{hindered.reason}: {hindered.detail}"))
            continue
        stands = known.get(one.address)
        if stands is not None and stands["decision"] == "withhold":
            rows.append(Recipient(one.address, "withhold", words(one.address, stands)))
            continue
        captured = _captured(one, basis.deployment)
        row = Recipient(one.address, "send", captured, place, carriage, _site(one, carriage, captured, basis))
        if row.site is not None:
            row = replace(row, **_pacing(row, one.domain, found.weighed, basis))
        rows.append(_postponed(row, hindered, stands, captured))
    return rows


def _postponed(row: Recipient, hindered: Postponed | None, stands: dict[str, Any] | None, captured: str) -> Recipient:
    """By the message itself, by what is known of its recipient, or both: then until the later of the two."""
    waits = [] if hindered is None else [(hindered.until, f"{hindered.reason}: {hindered.detail}")]
    if stands is not None:
        waits.append((stands["until"], words(row.address, stands)))
    if not waits:
        return row
    why = [f"{said} until {iso(until)}" for until, said in waits]
    return replace(
        row,
        decision="postpone",
        reason="; ".join(filter(None, (*why, captured))),
        until=max(until for until, _ in waits),
    )


def _captured(recipient: RcptTo, deployment: Deployment | None) -> str:
    """Why it stays on this machine; "" where it leaves."""
    if deployment is None or not deployment.captures:
        return ""
    if deployment.capture:
        return 'captured: mode = "capture"'
    leaves = Recipients(deployment.only_to).mean(recipient.address, recipient.domain)
    return "" if leaves else "captured: not one of only_to"


def _site(recipient: RcptTo, carriage: Carriage, captured: str, basis: Basis) -> str | None:
    """As far as it is known without a look-up."""
    if captured:
        return None
    host = _host(carriage, basis)
    return site_of(host) if host is not None else basis.files.sites.expected(recipient.domain)


def _host(carriage: Carriage, basis: Basis) -> Relay | None:
    """The route's next hop, or the relay that all mail goes to; None: it goes by MX."""
    hop = carriage.route.next_hop if carriage.route is not None else None
    relay = basis.deployment.relay if basis.deployment is not None else None
    return Relay(*hop) if hop else Relay(*relay) if relay else None


def _pacing(row: Recipient, domain: str, weighed: Weighed, basis: Basis) -> dict[str, Any]:
    """The fields of `row` that say how fast it may go, and goes now."""
    assert row.site is not None
    assert row.carriage is not None
    host, pool, pacing = _host(row.carriage, basis), row.carriage.pool.name, basis.pacing
    about = (pool, weighed.decision.stream, weighed.mail_class)
    return {
        "limits": pacing.limits(row.site, pool, domain, host.host if host is not None else ""),
        "paces": pacing.paces(row.site, row.sources),
        "now": list(pacing.said(row.site, row.sources, *about)),
    }
