"""`postlane explain FILE...`: what a message is taken for and why, and what a mailbox provider would object to."""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.config.evidence import load_model
from relay.header import Field, readable, split
from relay.policy.evidence.classify import Evidence, Model, Term, judge, quoted
from relay.policy.evidence.lint import Finding, lint
from relay.policy.evidence.skeleton import skeleton
from relay.policy.evidence.text import bounded, extract

_SHOWN = 300  # octets of a field in the first line


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("explain", help="what a message is taken for, and why")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="whole messages (RFC 5322)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit 1 if a file could not be read; the others are explained all the same."""
    model = load_model()
    failed = False
    for number, file in enumerate(args.files):
        try:
            content = file.read_bytes()
        except OSError as error:
            print(f"postlane explain: {file}: {error.strerror}", file=sys.stderr)
            failed = True
            continue
        one = explained(content, model)
        if args.json:
            print(json.dumps({"file": str(file), **as_facts(one)}, ensure_ascii=False))
        else:
            print("\n".join(([""] if number else []) + list(as_text(str(file), one))))
    return 1 if failed else 0


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known of one message."""

    fields: Sequence[Field]
    evidence: Evidence
    terms: Sequence[Term]
    findings: Sequence[Finding]


def explained(octets: bytes, model: Model) -> Explained:
    """As one message to one recipient, from a credential of class `auto`. Line ends are made CRLF, as on the wire."""
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    fields, rest = split(content)
    text = extract(content, fields, rest)
    evidence = judge(text, fields, 1, 0, model, skeleton(text, fields))
    return Explained(fields, evidence, quoted(evidence, text, model), lint(content, fields, rest, evidence.mail_class))


def as_facts(one: Explained) -> dict[str, object]:
    return {
        "credential": None,
        "stream": None,
        "class": one.evidence.mail_class.label,
        "claimed": None,
        "confidence": round(one.evidence.confidence, 2),
        "evidence": [
            {"term": t.term, "text": t.text, "for": t.mail_class.label, "weight": round(t.weight, 2)} for t in one.terms
        ],
        "skeleton": one.evidence.skeleton,
        "lint": [finding.slug for finding in one.findings],
    }


def as_text(name: str, one: Explained) -> Iterator[str]:
    sender, subject = _value(one.fields, "from"), _value(one.fields, "subject")
    yield f"{name}   From: {sender or '(none)'}   Subject: {subject or '(none)'}"
    yield ""
    yield f"  Class    {one.evidence.mail_class.label:<15} by evidence, {one.evidence.confidence:.2f}"
    yield ""
    yield f"  {'Evidence':<66}speaks for"
    for term in one.terms:
        yield f"    {_reason(term):<64}{term.mail_class.label:<15}{term.weight:+.1f}"
    for number, finding in enumerate(one.findings):
        yield from [""] if not number else []
        yield f"  {'Lint' if not number else '':<9}{finding.text}   [{finding.slug}]"


def _reason(term: Term) -> str:
    """order "your order" in subject and text"""
    name = term.term.replace("-", " ")
    if term.where:
        return f'{name} "{term.text}" in {term.where}'
    return f"{name}: {term.text}" if term.text else f"header field {term.term}"


def _value(fields: Sequence[Field], name: str) -> str:
    value = next((bounded(f, _SHOWN) for f in fields if f.name == name), b"")
    return "".join(c if c.isprintable() else "?" for c in readable(value))
