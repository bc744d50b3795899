"""What a message is and whether it may enter: stream, class and brand, or the refusal. Pure.

The order of words that count is INTERFACE's ("Whose word counts"): the app's own stream, if its credential lists it;
else that of the first rule that holds; else the stream named as the credential, with the credential's class. Where a
stream sets no class the credential's holds; for class `auto` nobody has said it, and the evidence decides (evidence/).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.header import Field
from relay.identity import Brand, Credential
from relay.message import MailClass
from relay.outcome import Reply
from relay.policy.checks import Checks
from relay.policy.feedback_id import FeedbackIds
from relay.policy.letter import Letter
from relay.policy.sender import domain_of, mailboxes, permitted
from relay.policy.streams import Noted, Stream, Streams
from relay.times import LATEST, duration, moment

# Postfix's hopcount_limit; RFC 5321 6.3 asks that a limit, if any, not be small (at least 100 in simple counters), but
# mail handed in by an app has passed one or two hosts, not fifty.
MAX_RECEIVED = 50
MAX_METADATA = 10  # INTERFACE: X-Postlane-Metadata-NAME, up to 10
MAX_AHEAD = 30 * 86_400_000  # ms: what is asked for later than a month ahead is more likely a slip of the year
MAX_LABEL = 200  # octets of a campaign or metadata value: it goes into every event of the message


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not taken; `reason` is the slug of the `rejected` event, `detail` says which of its kind, `about` are
    further facts of it."""

    reply: Reply
    reason: str
    detail: str = ""
    about: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(slots=True)
class Decision:
    """What the message is. `author` is the first mailbox of From, `author_domain` its A-label; `mail_class` is None where
    nobody has said it.

    rule              the place of the rule that chose the stream; None: no rule did
    also_remove       names of header fields that do not leave, in lower case
    on_contradiction  as Stream has it
    named             the app named the stream itself
    said              what streams.toml says of it; None: nothing
    co_authors        other domains in From and Sender, as A-labels
    noted             what rules look at, for the event (Streams.look)
    send_at           when (ms) its app wants it sent at the earliest; None: it did not say
    valid_until       when (ms) its app wants it sent no more; None: it did not say
    idempotency_key, collapse_key  as its app named them, "" where it did not
    """

    author: str
    author_domain: str
    stream: str
    mail_class: MailClass | None
    brand: str
    campaign: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    rule: str | None = None
    also_remove: frozenset[str] = frozenset()
    on_contradiction: str = "flag"
    named: bool = False
    said: Stream | None = None
    co_authors: tuple[str, ...] = ()
    noted: Noted = field(default_factory=dict)
    send_at: int | None = None
    valid_until: int | None = None
    idempotency_key: str = ""
    collapse_key: str = ""


@dataclass(frozen=True, slots=True)
class Law:
    """The policies in force, as one message meets them; a reload replaces it.

    version      of policies/: what was decided by them says so, whatever is in force when it is written down
    postmaster   whom a refused app may ask
    checks       by brand, of those that ask for some
    pages        where mail of a brand may be unsubscribed from; "": of brands that have no page of their own
    signer_of    From domain (A-label) -> the d= of the active keys that sign for it, "" without any
    subjects     are they told in events?
    feedback_ids by what Google tells complaints
    """

    version: str
    postmaster: str
    brands: Mapping[str, Brand]
    streams: Streams
    checks: Mapping[str, Checks] = field(default_factory=dict)
    signer_of: Callable[[str], str] = lambda domain: ""
    pages: Mapping[str, str] = field(default_factory=dict)
    subjects: bool = True
    feedback_ids: FeedbackIds = field(default_factory=FeedbackIds)


def decide(letter: Letter, credential: Credential, stream: str, now: int, law: Law) -> Decision | Refusal:
    """`stream` is the one of the user name (`name+stream`), "" if none; `now` in ms."""
    fields = letter.fields
    if len(fields) > MAX_RECEIVED and sum(f.name == "received" for f in fields) > MAX_RECEIVED:
        return Refusal(Reply(554, "5.4.6", "Too many Received fields: this message goes round in a loop"), "loop")
    authors = _authors(fields, credential, law.postmaster)
    if isinstance(authors, Refusal):
        return authors
    author, domain, *others = authors
    own = {f.name.removeprefix("x-postlane-"): text(f.value) for f in fields if f.name.startswith("x-postlane-")}
    too_long = _too_long(fields) if "idempotency-key" in own or "collapse-key" in own else None
    if too_long is not None:
        return too_long
    named = own.get("stream") or stream
    if named and named not in credential.streams:
        listed = ", ".join(credential.streams) or "none by name"
        reply = Reply(550, "5.7.1", f'No stream "{printable(named)}" for {credential.name}; it may use: {listed}')
        return Refusal(reply, "stream")
    times = _times(own, now)
    if isinstance(times, Refusal):
        return times
    by_rule, noted = (None, {}) if named else law.streams.look(letter, credential.name, domain)
    said = by_rule or law.streams.named.get(named or credential.name)
    claimed = said.mail_class if said is not None and (named or by_rule) else None
    if claimed is None:
        claimed = credential.mail_class
    return Decision(
        author=author,
        author_domain=domain,
        stream=by_rule.name if by_rule else named or credential.name,
        mail_class=claimed,
        brand=(said.brand if said is not None else "") or credential.brand or brand_of(domain, law.brands),
        campaign=own.get("campaign") or None,
        metadata=dict(_metadata(own)),
        rule=by_rule.rule if by_rule else None,
        also_remove=said.also_remove if said is not None else frozenset(),
        on_contradiction=said.on_contradiction if said is not None else law.streams.on_contradiction,
        named=bool(named),
        said=said,
        co_authors=tuple(dict.fromkeys(others)) if others else (),
        noted=noted,
        send_at=times.send_at,
        valid_until=times.valid_until,
        idempotency_key=own.get("idempotency-key", ""),
        collapse_key=own.get("collapse-key", ""),
    )


def _too_long(fields: Sequence[Field]) -> Refusal | None:
    """Of a key that were cut, two might look alike that are not."""
    for one in fields:
        if one.name in _KEYS and len(one.value) > MAX_LABEL:
            name = one.raw.partition(b":")[0].decode("latin-1")
            return Refusal(Reply(550, "5.6.0", f"{name} is longer than {MAX_LABEL} octets"), "key")
    return None


_KEYS = frozenset({"x-postlane-idempotency-key", "x-postlane-collapse-key"})


def _authors(fields: Sequence[Field], credential: Credential, postmaster: str) -> list[str] | Refusal:
    """RFC 6409 6.1 and 8.1: one From field, every mailbox in it and in Sender within the credential's domains. The first
    mailbox, its domain, and the domains that differ from that."""
    found = [f for f in fields if f.name == "from"]
    if len(found) != 1:
        what = "has no From field" if not found else f"has {len(found)} From fields; one is allowed"
        return Refusal(Reply(550, "5.6.0", f"The message {what}"), "from")
    senders = [f for f in fields if f.name == "sender"]
    if len(senders) > 1:
        return Refusal(Reply(550, "5.6.0", f"The message has {len(senders)} Sender fields; one is allowed"), "from")
    authors: list[str] = []
    for one in (*found, *senders):
        addresses = mailboxes(one.value)
        if not addresses:
            label = one.name.capitalize()
            return Refusal(
                Reply(550, "5.6.0", f"{label} field is no list of addresses: {printable(text(one.value))}"), "from"
            )
        for address in addresses:
            domain = domain_of(address)
            if not permitted(domain, credential.domains):
                return Refusal(_foreign(one.name.capitalize(), domain, credential, postmaster), f"{one.name}-domain")
            if not authors:
                authors = [address, domain]
            elif domain != authors[1]:
                authors.append(domain)
    return authors


def _foreign(label: str, domain: str, credential: Credential, postmaster: str) -> Reply:
    listed = ", ".join(sorted(credential.domains)) or "none"
    return Reply(
        550,
        "5.7.1",
        f"{label} domain {printable(domain)} is not one of {credential.name}'s: {listed}. Ask {postmaster}",
    )


def brand_of(domain: str, brands: Mapping[str, Brand]) -> str:
    """The brand that lists the domain, else the one that lists the nearest parent; "" if none does."""
    while domain:
        for brand in brands.values():
            if domain in brand.domains:
                return brand.name
        domain = domain.partition(".")[2]
    return ""


class _Times(NamedTuple):
    """What the app said of when to send it."""

    send_at: int | None = None
    valid_until: int | None = None


def _times(own: Mapping[str, str], now: int) -> _Times | Refusal:
    """A duration counts from the moment the message may go first."""
    send_at = valid_until = None
    if "send-at" in own:
        send_at = moment(own["send-at"])
        if send_at is None:
            return _unreadable("Send-At", own["send-at"])
        if send_at > now + MAX_AHEAD:
            text = f'X-Postlane-Send-At is more than 30 days ahead: "{printable(own["send-at"])}"'
            return Refusal(Reply(550, "5.6.0", text), "send-at")
    if "valid-until" in own:
        span = duration(own["valid-until"])
        valid_until = moment(own["valid-until"]) if span is None else min(max(now, send_at or now) + span, LATEST)
        if valid_until is None:
            return _unreadable("Valid-Until", own["valid-until"], " or a duration such as 2h")
    return _Times(send_at, valid_until)


def _unreadable(name: str, written: str, other: str = "") -> Refusal:
    text = f'X-Postlane-{name} is no time such as 2026-11-21T12:00:00Z (RFC 3339){other}: "{printable(written)}"'
    return Refusal(Reply(550, "5.6.0", text), name.lower())


def _metadata(own: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    names = [name for name in own if name.startswith("metadata-") and name != "metadata-"]
    for name in names[:MAX_METADATA]:
        yield name.removeprefix("metadata-"), own[name]


def text(value: bytes) -> str:
    """A field's value as bounded text; octets that are no UTF-8 are shown as U+FFFD."""
    return value[:MAX_LABEL].decode(errors="replace")


def printable(value: str) -> str:
    """`value` fit for an SMTP reply: printable ASCII, at most 80 characters."""
    return "".join(c if " " <= c <= "~" else "?" for c in value[:80])
