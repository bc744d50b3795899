"""`postlane bounce [FILE...] [--reply TEXT --command CMD]`: what a returned mail or a reply means, and what follows."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from relay.config import ConfigErrors
from relay.config.bounces import compiled
from relay.config.places import find_policies
from relay.config.reader import read
from relay.config.schema_bounces import BouncesFile
from relay.feedback.consequences import follows
from relay.feedback.parts import MAX_OCTETS
from relay.feedback.replies import Diagnosis, diagnose
from relay.feedback.returned import Mail, Recipient, read_mail, ruled
from relay.feedback.rulings import NO_RULINGS, Rulings
from relay.feedback.taxonomy import MEANINGS
from relay.outcome import Reply

Reading = Callable[[str, str], tuple[Reply, Diagnosis]]  # of a reply's text and the command it answered

_REPLY = re.compile(r"\s*([245]\d\d)(?:[- ]|$)\s*(?:([245]\.\d{1,3}\.\d{1,3})(?=\s|$))?\s*(.*)", re.S)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "bounce", help="what a bounce, a complaint or a reply means, and what follows from it"
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="whole mails (RFC 5322)")
    parser.add_argument(
        "--reply", metavar="TEXT", help="an SMTP reply; -: JSON lines {id, reply, command} from the input"
    )
    parser.add_argument(
        "--command", dest="smtp_command", metavar="CMD", default="", help="what the reply answered: RCPT, END, ..."
    )
    parser.add_argument("--site", default="", help="whose reply it is, for [[reply]] rules of policies/bounces.toml")
    parser.set_defaults(run=run, anywhere=True, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Exit 1 if a file or line could not be read; the others are shown all the same."""
    if (args.reply is None) == (not args.files):
        args.parser.error("say files, or --reply")
    rulings = _rulings(find_policies(args.policies))
    if args.reply is None:
        return _files(args, rulings)
    reading = partial(_diagnosed, site=args.site, rulings=rulings)
    if args.reply == "-":
        return _replies(args, reading)
    _show_reply({"reply": args.reply, "command": args.smtp_command}, args.json, reading)
    return 0


def _rulings(policies: Path | None) -> Rulings:
    """Of the file on disk, where there is one; raises ConfigErrors."""
    path = policies / "bounces.toml" if policies is not None else None
    if path is None or not path.exists():
        return NO_RULINGS
    document, problems = read(path)
    file, found = document.validate(BouncesFile) if document is not None else (None, [])
    if file is None or problems or found:
        raise ConfigErrors([*problems, *found])
    return compiled(file, document)


def _files(args: argparse.Namespace, rulings: Rulings) -> int:
    failed = False
    for number, file in enumerate(args.files):
        try:
            with file.open("rb") as opened:
                mail = read_mail(opened.read(MAX_OCTETS))
            mail = replace(mail, recipients=tuple(ruled(one, rulings, args.site) for one in mail.recipients))
        except OSError as error:
            print(f"postlane bounce: {file}: {error.strerror}", file=sys.stderr)
            failed = True
            continue
        if args.json:
            print(json.dumps({"file": str(file), **as_facts(mail)}, ensure_ascii=False))
        else:
            print("\n".join(([""] if number else []) + list(as_text(str(file), mail))))
    return 1 if failed else 0


def as_facts(mail: Mail) -> dict[str, object]:
    return {
        "kind": mail.kind,
        "feedback_type": mail.feedback_type or None,
        "recipients": [
            {"address": one.address} | (_failure(one) if one.action else {})  # a complaint has no action
            for one in mail.recipients
        ],
        "found_by": mail.found_by or None,
        "message_id": mail.message_id or None,
        "reporter": mail.reporter or None,
    }


def _failure(one: Recipient) -> dict[str, object]:
    return {
        "action": one.action,
        "status": one.status or None,
        "category": one.category,
        "permanent": one.permanent,
        "rule": one.rule or None,
    }


def as_text(name: str, mail: Mail) -> Iterator[str]:
    kind = f"{mail.kind} ({mail.feedback_type})" if mail.feedback_type else str(mail.kind)
    yield f"{name}   {kind}" + (f", by {_one_line(mail.found_by)}" if mail.found_by else "")
    for label, value in (("Reported by", mail.reporter), ("Message-ID", mail.message_id)):
        if value:
            yield f"  {label:<12}{_one_line(value)}"
    for one in mail.recipients:
        yield ""
        yield from _recipient(one)


def _recipient(one: Recipient) -> Iterator[str]:
    yield f"  {_one_line(one.address)}" + (f"  (now {_one_line(one.final)})" if one.final else "")
    if one.action:
        yield f"    Action    {one.action}" + (f", {one.status}" if one.status else "")
    if one.category is None:
        return
    if one.reply:
        yield f"    Reply     {_one_line(one.reply)[:160]}" + (f"  (to {one.command})" if one.command else "")
    yield f"    Category  {one.category}, {_hardness(one.permanent)}, by {one.rule}"
    yield f"    Then      {follows(one.category, one.permanent, one.action)}"


def _replies(args: argparse.Namespace, reading: Reading) -> int:
    failed = False
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            asked = json.loads(line)
            _show_reply(
                {"id": asked.get("id"), "reply": str(asked["reply"]), "command": str(asked.get("command") or "")},
                args.json,
                reading,
            )
        except (ValueError, KeyError, AttributeError):
            print(f"postlane bounce: line {number}: no JSON object with a reply", file=sys.stderr)
            failed = True
    return 1 if failed else 0


def _show_reply(asked: dict[str, str | None], as_json: bool, reading: Reading) -> None:
    text, command = asked["reply"] or "", (asked["command"] or "").upper()
    reply, found = reading(text, _step(command))
    if as_json:
        facts = {"category": found.category, "permanent": found.permanent, "rule": found.rule}
        print(json.dumps(({"id": asked["id"]} if "id" in asked else {}) | facts, ensure_ascii=False))
        return
    print(f"{_one_line(str(reply))[:200]}" + (f"  (to {command})" if command else ""))
    print(f"  Category  {found.category}, {_hardness(found.permanent)}, by {found.rule}")
    print(f"  About     the {MEANINGS[found.category].reach.value}")
    print(f"  Then      {follows(found.category, found.permanent, 'failed' if found.permanent else '')}")


def _step(command: str) -> str:
    """The name we use for a command: "MAIL FROM:<x>" is MAIL, "end of DATA" is END."""
    if "END" in command or command in (".", "TEXT"):
        return "END"
    word = re.split(r"[ _:]", command, maxsplit=1)[0]
    return {"HELO": "EHLO"}.get(word, word)


def _diagnosed(text: str, command: str, site: str, rulings: Rulings) -> tuple[Reply, Diagnosis]:
    """A reply as it stands on the wire or in a log, the lines of a multiline one joined."""
    found = _REPLY.match(text)
    if found is None:
        reply = Reply(0, "", " ".join(text.split()))
    else:
        rest = re.sub(
            rf"\n{found[1]}[- ](?:{re.escape(found[2])}\s)?" if found[2] else rf"\n{found[1]}[- ]", " ", found[3]
        )
        reply = Reply(int(found[1]), found[2] or "", " ".join(rest.split()))
    return reply, diagnose(reply, command, site=site, rulings=rulings)


def _hardness(permanent: bool) -> str:
    return "permanent" if permanent else "temporary or not the address's"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
