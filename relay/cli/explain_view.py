"""A message that was explained, as people and programs see it: a screen, a line or two, the facts of `--json`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap

from relay.cli import checks_view
from relay.cli.events import printable
from relay.cli.explain_pace import Limit
from relay.cli.reasons import of_brand, of_class, of_contradiction, of_stream, short
from relay.config.origin import Places
from relay.event import iso, reply_facts
from relay.fate import Carriage, Fate, Files
from relay.header import Field, covered, readable, split
from relay.message import MailClass
from relay.policy.contradiction import surely_contradicts
from relay.policy.decide import Decision
from relay.policy.evidence.classify import Evidence, Term
from relay.policy.evidence.lint import Finding
from relay.policy.evidence.text import bounded
from relay.policy.letter import Letter
from relay.policy.unsubscribe import FIELDS, header
from relay.rewrite import Rewritten
from relay.signing.keyfile import RSA
from relay.signing.keys import SANDBOX_SELECTOR
from relay.trace import FIELD as TRACE

ANYBODY = "(any)"  # the app of a message that none was named for; no credential can have this name
_SHOWN = 300  # octets of a field in the first line


@dataclass(frozen=True, slots=True)
class Recipient:
    """decision  send | postpone | withhold | refuse      reason  why, if it is not sent, not now, or not to the world
    until     when (ms) it would be looked at again
    place     the route, or the class's own line      site  whose limits it shares; None: it does not leave
    limits    that hold for it there       paces, now   how fast its sources go there at this moment, as the node says"""

    address: str
    decision: str
    reason: str = ""
    place: str = ""
    carriage: Carriage | None = None
    site: str | None = None
    until: int | None = None
    limits: Sequence[Limit] = ()
    paces: Sequence[Mapping[str, object]] = ()
    now: Sequence[str] = ()

    @property
    def sources(self) -> list[str]:
        """Addresses of ours it may leave from; "": the system's choice."""
        leaves = self.carriage is not None and self.site is not None
        return [source.address for source in self.carriage.pool.sources] if self.carriage and leaves else []


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known of one message. `mail_class`: as it would be carried, or, refused unread, as the evidence has it."""

    name: str
    letter: Letter
    fate: Fate
    files: Files
    places: Places
    mail_class: MailClass
    evidence: Evidence
    terms: Sequence[Term]
    findings: Sequence[Finding]
    recipients: Sequence[Recipient]
    rewritten: Rewritten | None

    @property
    def decision(self) -> Decision | None:
        return self.fate.weighed.decision if self.fate.weighed is not None else None


def as_facts(one: Explained) -> dict[str, object]:
    """For --json. `confidence` is that of the evidence, whoever said the class in the end."""
    decision, refusal = one.decision, one.fate.refusal
    carriage = one.recipients[0].carriage
    return {
        "file": one.name,
        "credential": _name(one.fate.credential),
        "stream": _name(decision.stream) if decision is not None else None,
        "class": one.mail_class.label,
        "claimed": decision.mail_class.label if decision is not None and decision.mail_class is not None else None,
        "confidence": round(one.evidence.confidence, 2),
        "contradiction": one.fate.weighed.contradiction if one.fate.weighed is not None else None,
        "brand": decision.brand or None if decision is not None else None,
        "pool": carriage.pool.name if carriage is not None and not carriage.discarded else None,
        "rule": decision.rule if decision is not None else None,
        "policies": one.files.version or None,
        "refused": {**reply_facts(refusal.reply), "reason": refusal.reason} if refusal is not None else None,
        "evidence": [
            {"term": t.term, "text": t.text, "for": t.mail_class.label, "weight": round(t.weight, 2)} for t in one.terms
        ],
        "skeleton": one.evidence.skeleton,
        "recipients": [_recipient_facts(recipient) for recipient in one.recipients],
        "signed": [key.named for key in one.fate.keys],
        "adds": added(one),
        "removes": removed(one),
        "drops": [{"d": d, "covers": names} for d, names in dropped(one)],
        "checks": checks_view.as_facts(one.fate.weighed.checks) if one.fate.weighed is not None else [],
        "lint": [finding.slug for finding in one.findings],
    }


def _recipient_facts(one: Recipient) -> dict[str, object]:
    return {
        "recipient": one.address,
        "decision": one.decision,
        "reason": one.reason or None,
        "until": iso(one.until) if one.until is not None else None,
        "site": one.site,
        "pool": one.carriage.name if one.carriage is not None else None,
        "route": one.place or None,
        "sources": one.sources,
        "limits": [limit.facts for limit in one.limits],
        "paces": [dict(row) for row in one.paces],
    }


def _name(name: str) -> str | None:
    """Of the app, and of the stream that is named as it."""
    return None if name == ANYBODY else name


# What is done to the header.


def added(one: Explained) -> list[str]:
    """Names of fields, as they leave."""
    if one.rewritten is None or one.fate.refusal is not None:
        return []
    ours, _ = split(one.rewritten.added)
    if one.fate.weighed is not None and one.fate.weighed.offer is not None:
        ours += split(header("", ""))[0]
    return [TRACE, *("DKIM-Signature" for _ in one.fate.keys), *(_written(f) for f in ours)]


def _told(name: str, one: Explained) -> str:
    """What it says, where that is for people to see."""
    if name != "Feedback-ID" or one.rewritten is None:
        return name
    return next((f"{name}: {readable(f.value)}" for f in one.rewritten.fields if f.name == "feedback-id"), name)


def removed(one: Explained) -> list[str]:
    """Names of fields, as the app wrote them."""
    names = one.rewritten.removed if one.rewritten is not None else frozenset()
    return list(dict.fromkeys(_written(f) for f in one.letter.fields if f.name in names))


def dropped(one: Explained) -> list[tuple[str, list[str]]]:
    """The app's signatures that do not leave: d=, and the removed or replaced fields that it covers."""
    if one.rewritten is None:
        return []
    return [(_signer(f), sorted(covered(f.value, one.rewritten.removed | FIELDS))) for f in one.rewritten.dropped]


def _written(one: Field) -> str:
    return one.raw.partition(b":")[0].decode("latin-1").strip()


def _signer(signature: Field) -> str:
    tags = (tag.partition(b"=") for tag in signature.value.split(b";"))
    found = next((value for name, _, value in tags if name.strip() == b"d"), b"")
    return "".join(found.decode("latin-1").split())


# For people.


def as_text(one: Explained) -> Iterator[str]:
    sender, subject = _value(one.letter.fields, "from"), _value(one.letter.fields, "subject")
    yield f"{one.name}   From: {sender or '(none)'}   Subject: {subject or '(none)'}"
    yield ""
    if one.fate.refusal is not None:
        yield f"  Refused  {one.fate.refusal.reply}   [{one.fate.refusal.reason}]"
    yield from _decided(one)
    yield ""
    yield f"  {'Evidence':<66}speaks for"
    for term in one.terms:
        yield f"    {_reason(term):<64}{term.mail_class.label:<15}{term.weight:+.1f}"
    if one.fate.refusal is None:
        yield ""
        yield from _recipients(one)
        yield from _limits(one)
        yield ""
        yield from _header(one)
        yield from _checks(one)
    for number, finding in enumerate(one.findings):
        yield from [""] if not number and one.fate.refusal is not None else []
        yield f"  {'Lint' if not number else '':<9}{finding.text}   [{finding.slug}]"
    if advice := _advice(one):
        yield ""
        yield advice


def as_brief(one: Explained) -> Iterator[str]:
    decision, refusal = one.decision, one.fate.refusal
    words = [one.name]
    if decision is not None and _name(decision.stream):
        words.append(decision.stream + (f" ({short(decision.rule)})" if decision.rule else ""))
    words.append(_class_brief(one))
    if decision is not None and decision.brand:
        words.append(f"brand {decision.brand}")
    yield "  ".join(words)
    width = max(len(recipient.address) for recipient in one.recipients) + 2
    for recipient in one.recipients:
        carriage = recipient.carriage
        why = recipient.reason or (f"pool {carriage.name}" if carriage is not None else "")
        why = str(refusal.reply) if refusal is not None else why
        yield f"  {recipient.address:<{width}}{recipient.decision:<10}{why}".rstrip()


def _class_brief(one: Explained) -> str:
    said, confidence = one.evidence.mail_class, f"{one.evidence.confidence:.2f}"
    if said is one.mail_class:
        return f"{said.label} {confidence}"
    return f"{one.mail_class.label} (evidence: {said.label} {confidence})"


def _decided(one: Explained) -> Iterator[str]:
    """Stream, class, brand and pool, each with who says so."""
    decision = one.decision
    if decision is None:
        yield _line("Class", one.mail_class.label, f"by evidence, {one.evidence.confidence:.2f}, if it were taken")
        return
    if _name(decision.stream):
        yield _line("Stream", decision.stream, of_stream(one.fate, one.letter, one.files, one.places))
    yield _line("Class", one.mail_class.label, _class_words(one, decision))
    if decision.brand or one.files.version:
        yield _line("Brand", decision.brand or "none", of_brand(one.fate, one.files, one.places))
    carriages = {recipient.carriage.name: recipient for recipient in one.recipients if recipient.carriage is not None}
    for name, recipient in carriages.items():
        parts = (short(recipient.place), _sources(recipient.sources) if one.files.version else "")
        yield _line("Pool", name, " · ".join(part for part in parts if part))


def _class_words(one: Explained, decision: Decision) -> str:
    reason, evidence = of_class(one.fate, one.places), one.evidence
    if decision.mail_class is None:
        who = f"; {short(reason.place)} leaves it to that" if reason.place else ""
        return f"by evidence, {evidence.confidence:.2f}{who}"
    done = one.fate.weighed.contradiction if one.fate.weighed is not None else None
    if done in ("rerouted", "enforced"):
        place = of_contradiction(one.fate, one.places)
        claimed = f"{reason.words.removesuffix(' so')} {decision.mail_class.label}"
        where = f" ({place})" if place.place else ""
        return f"{done}{where}: {claimed}, the evidence {evidence.mail_class.label}, {evidence.confidence:.2f}"
    if evidence.mail_class is one.mail_class:
        return f"{reason}; so does the evidence, {evidence.confidence:.2f}"
    return f"{reason}; the evidence says {evidence.mail_class.label}, {evidence.confidence:.2f}{f': {done}' if done else ''}"


def _line(what: str, value: str, words: object) -> str:
    return f"  {what:<9}{value:<15} {words}".rstrip()


def _sources(addresses: Sequence[str]) -> str:
    """`sources 198.51.100.20, .21, .22`"""
    named = [address for address in addresses if address]
    if not named:
        return ""
    shown = [named[0]]
    for before, address in pairwise(named):
        net, dot, host = address.rpartition(".")
        shown.append(dot + host if dot and net == before.rpartition(".")[0] else address)
    return f"{'source' if len(shown) == 1 else 'sources'} {', '.join(shown)}"


def _recipients(one: Explained) -> Iterator[str]:
    width = max(22, *(len(recipient.address) + 2 for recipient in one.recipients))
    yield f"  {'Recipient':<{width}}{'Decision':<11}Why"
    for recipient in one.recipients:
        carriage = recipient.carriage
        route = short(recipient.place) if carriage is not None and carriage.route is not None else ""
        name = f"pool {carriage.name}" if carriage is not None and not carriage.discarded else ""
        parts = (recipient.reason, name, route)
        yield f"  {recipient.address:<{width}}{recipient.decision:<11}{', '.join(part for part in parts if part)}"
        for line in recipient.now:
            yield f"  {'':<{width + 11}}{printable(line)}"


def _limits(one: Explained) -> Iterator[str]:
    """Once for each site and pool, however many recipients share them."""
    shown = dict[tuple[object, ...], str]()
    for recipient in one.recipients:
        if recipient.site is not None and recipient.carriage is not None and recipient.limits:
            key = recipient.site, recipient.carriage.pool.name, *recipient.limits
            shown[key] = f"{recipient.site}: {', '.join(map(str, recipient.limits))}"
    for number, text in enumerate(shown.values()):
        yield from [""] if not number else []
        yield from wrap(text, 118, initial_indent=f"  {'' if number else 'Limits':<9}", subsequent_indent=" " * 13)


def _header(one: Explained) -> Iterator[str]:
    yield f"  {'Signed':<9}{_signed(one)}"
    if names := added(one):
        yield f"  {'Adds':<9}{', '.join(_told(name, one) for name in dict.fromkeys(names))}"
    lines = [", ".join(removed(one))] if removed(one) else []
    lines += [
        f"the app's DKIM-Signature d={signer or '?'}: it covers {', '.join(names)}" for signer, names in dropped(one)
    ]
    for number, line in enumerate(lines):
        yield f"  {'Removes' if not number else '':<9}{line}"


def _signed(one: Explained) -> str:
    keys = one.fate.keys
    if not one.files.version:
        return "not known: the keys are in config/"
    if not keys:
        domain = one.decision.author_domain if one.decision is not None else ""
        return f"no: there is no key for {domain}, and its brand sends unsigned"
    each = " and ".join(f"s={key.selector} ({'RSA' if key.algorithm == RSA else 'Ed25519'})" for key in keys)
    sandbox = ", a throw-away key of capture mode" if keys[0].selector == SANDBOX_SELECTOR else ", aligned with From"
    return f"d={keys[0].domain} {each}{sandbox}"


def _advice(one: Explained) -> str:
    """What to do, where it is more than the reply says."""
    refusal, app = one.fate.refusal, one.fate.credential
    if refusal is not None and app != ANYBODY:
        senders = {"from-domain": "domain", "sender-domain": "domain"}
        if refusal.reason in senders:
            return f"If that domain is the app's own: postlane credentials set {app} --domain DOMAIN"
        if refusal.reason == "stream":
            return f"To let the app name it: postlane credentials set {app} --stream STREAM"
    if contradicted := _of_contradiction(one):
        return contradicted
    apps = [name for name in one.files.credentials if name != ANYBODY]
    if app == ANYBODY and apps:
        return "Rules, domains and class of an app count with --credential NAME."
    return ""


_ONCE_SEVERAL = {
    "flag": "it is recorded, and postlane status names the stream",
    "reroute": "such mail leaves by the pool of that class, and nothing holds it back",
    "enforce": "such mail is treated as of that class",
    "refuse": "such mail is refused",
}


def _of_contradiction(one: Explained) -> str:
    """The evidence says otherwise than the app: what that comes to, and what to do."""
    weighed = one.fate.weighed
    claimed = weighed.decision.mail_class if weighed is not None else None
    if weighed is None or claimed is None or not surely_contradicts(claimed, one.evidence):
        return ""
    act, place = weighed.decision.on_contradiction, str(of_contradiction(one.fate, one.places))
    where = f"in {place}" if place else f'for stream "{weighed.decision.stream}" in streams.toml'
    if weighed.contradiction in ("rerouted", "enforced"):
        cure = f'set on_contradiction = "flag" {where}, or take out what reads as {one.evidence.mail_class.label}'
        return f"To carry it as {claimed.label}: {cure}."
    if weighed.contradiction or act == "trust" or one.evidence.mail_class < claimed:
        return ""
    said = f'on_contradiction = "{act}"{f" ({place})" if place else ""}'
    return f"One message alone changes nothing. Once several read like this, {_ONCE_SEVERAL[act]}: {said}."


def _checks(one: Explained) -> Iterator[str]:
    """What the brand asks of its mail."""
    weighed = one.fate.weighed
    checks = one.files.law.checks.get(weighed.decision.brand) if weighed is not None else None
    if weighed is None or checks is None:
        return
    yield from checks_view.as_text(checks, weighed.asked_as, weighed.checks)


def _reason(term: Term) -> str:
    """order "your order" in subject and text"""
    name = term.term.replace("-", " ")
    if term.where:
        return f'{name} "{term.text}" in {term.where}'
    return f"{name}: {term.text}" if term.text else f"header field {term.term}"


def _value(fields: Sequence[Field], name: str) -> str:
    value = next((bounded(f, _SHOWN) for f in fields if f.name == name), b"")
    return "".join(c if c.isprintable() else "?" for c in readable(value))
