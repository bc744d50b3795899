"""What a mail that came back says: a bounce, a complaint, an auto-reply or none of these, and about whom. Pure.

The order is by how surely each kind of mail tells itself: a feedback report (RFC 5965), a delivery status with recipients
(RFC 3464), X-Failed-Recipients (Exim, Google), a report in prose by somebody who looks like a mail system, an auto-reply
(RFC 3834). Whatever bytes come, read_mail() answers; what is not understood is OTHER.

Recipients are never taken from inside the message that was returned: it names its sender, its copies, whole mailing
lists. Only what leads back to our own record of it is read there: Message-ID and our trace id.

The action is that of the report: "delayed" is no failure. Where the report gives no reply, the words for people are
classified instead.

How a part is found and read is in parts.py, status.py, prose.py and telltale.py; the readers of all kinds stand here together,
long as they are, because they share what was seen of a mail (_Seen) and their order is the rule.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from relay.feedback import parts, prose, status, telltale
from relay.feedback.parts import Fields, Part
from relay.feedback.providers import provider_of
from relay.feedback.quoted import LENGTH, command_of, reply_of
from relay.feedback.replies import Diagnosis, diagnose
from relay.feedback.rulings import Rulings
from relay.feedback.taxonomy import MEANINGS, Category
from relay.header import readable
from relay.outcome import Reply

TRACE_FIELD = "x-postlane-trace"


class Kind(StrEnum):
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    AUTO_REPLY = "auto-reply"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a report.

    address, final  as status.Told
    action          failed, delayed, delivered, relayed or expanded; "" in complaints
    status          enhanced status code, "" where the report gives none
    reply           the words that were classified, in one line; "" for successes and complaints
    command         the SMTP command they answered, "" where the report does not say
    category, rule  what diagnose() made of them; None and "" where nothing failed
    permanent       failed for good: not by an address's full mailbox, a limit, or trouble on the way
    texts           where its reply may stand, likeliest first, each cut, up to the one that is clear; for ruled()
    """

    address: str
    final: str = ""
    action: str = ""
    status: str = ""
    reply: str = ""
    command: str = ""
    category: Category | None = None
    permanent: bool = False
    rule: str = ""
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mail:
    """What was read. `found_by` says by what: feedback report, delivery status, header field, text, or how it shows itself.

    message_id, trace   of the message that came back, "" where it did not
    envelope_id         Original-Envelope-Id (RFC 3461 ENVID)
    reporter            the reporting MTA or the feedback loop's name
    unnamed             what a report says that names nobody: who knows by its return path whom it is about knows all
    return_path         that of the message that came back, as far as the report tells
    """

    kind: Kind
    found_by: str = ""
    feedback_type: str = ""
    recipients: tuple[Recipient, ...] = ()
    message_id: str = ""
    trace: str = ""
    envelope_id: str = ""
    reporter: str = ""
    unnamed: Recipient | None = None
    return_path: str = ""


_LINK = re.compile(r"https?://\S{1,200}")
_JSON = json.JSONDecoder()
_FAILED_RECIPIENTS = "x-failed-recipients"
_HOTMAIL = "x-hmxmroriginalrecipient"


def read_mail(content: bytes) -> Mail:
    """What the mail says; never raises for any bytes. Octets behind parts.MAX_OCTETS are not looked at."""
    fields, leaves = parts.read(parts.normal(content))
    seen = _Seen(fields, leaves)
    for reader in (
        _complaint,
        _delivery_status,
        _amazon,
        _failed_recipients,
        _rejected_by_filter,
        _in_prose,
        _auto_reply,
    ):
        mail = reader(seen)
        if mail is not None:
            unnamed = _spared(mail.unnamed, seen.senders) if mail.unnamed is not None else None
            people = tuple(_spared(one, seen.senders) for one in mail.recipients)
            return_path = mail.return_path or seen.return_path
            return replace(mail, recipients=people, unnamed=unnamed, return_path=return_path)
    return Mail(Kind.OTHER)


def ruled(one: Recipient, rulings: Rulings, site: str) -> Recipient:
    """The recipient as the admin's rules say, where one holds for what the report tells: any of its texts may be the reply that
    the rule is about. `site`: as Rulings.find."""
    if one.category is None or not rulings:
        return one
    for text in (*one.texts, ""):
        reply = reply_of(text, one.status, one.action)
        command = one.command or command_of(text)
        if rulings.find(reply, command, site) is not None:
            found = diagnose(reply, command, site=site, rulings=rulings)
            permanent = _permanent(found, one.action)
            said = str(reply) if reply.text else one.reply
            return replace(
                one, category=found.category, permanent=permanent, rule=found.rule, reply=said, command=command
            )
    return one


def _spared(one: Recipient, senders: frozenset[str]) -> Recipient:
    """A reply that says it of the sender, by name and without the recipient's, does not condemn the recipient."""
    if one.category is None or not MEANINGS[one.category].condemns:
        return one
    names = {address.lower() for _, _, address in status.addresses(one.reply)}
    if not names & senders or names & {one.address.lower(), one.final.lower()}:
        return one
    return replace(one, category=Category.BAD_SENDER, rule=f"{one.rule}, said of the sender")


class _Seen:
    """A mail taken apart, with what several readers ask for."""

    def __init__(self, fields: Fields, leaves: Sequence[Part]) -> None:
        self.fields = fields
        self.leaves = leaves
        self.subject = " ".join(_readable(fields.get("subject", "")).split())[:300]

    def of_kind(self, *kinds: str) -> list[Part]:
        return [part for part in self.leaves if part.kind in kinds]

    @cached_property
    def human(self) -> tuple[list[str], str]:
        """The lines meant for people, in front of what was returned, and what stands behind the mark in the text."""
        kinds = ("text/", "multipart/")  # a multipart that could not be taken apart is text
        lines: list[str] = []
        rest = ""
        plain = any(part.kind == "text/plain" and part.text.strip() for part in self.leaves if not part.returned)
        for part in self.leaves:
            if part.returned:
                break
            if part.kind.startswith(kinds) and not (plain and part.kind == "text/html") and not rest:
                more, rest = prose.human(part.text)
                lines += more
        return lines[: prose.MAX_LINES], rest

    @cached_property
    def senders(self) -> frozenset[str]:
        """Whom the report was sent to (lower case): who sent the original."""
        return frozenset(address.lower() for _, _, address in status.addresses(self.fields.get("to", "")))

    @property
    def own(self) -> frozenset[str]:
        """The addresses of the report's own header (lower case), which rarely are the recipients it is about."""
        reporters = status.addresses(self.fields.get("from", ""))
        return self.senders | {address.lower() for _, _, address in reporters}

    @cached_property
    def words(self) -> str:
        return " ".join(" ".join(self.human[0])[: 4 * LENGTH].split())

    @cached_property
    def links(self) -> str:
        """The links for people: providers name the error in them, whatever the language around them."""
        return " ".join(_LINK.findall("\n".join(self.human[0])))

    @cached_property
    def reasons(self) -> dict[str, str]:
        """What the words for people say of each address (lower case)."""
        return {one.address.lower(): one.reason for one in prose.named(self.human[0], frozenset())}

    @cached_property
    def original(self) -> tuple[str, str]:
        """Message-ID and trace id of the message that came back."""
        for header in self.originals:
            found = header.get("message-id", "").strip(), header.get(TRACE_FIELD, "").strip()
            if any(found):
                return found
        rest = self.human[1]
        for name in ("message-id", TRACE_FIELD):
            if name in rest.lower():
                return _line_of(rest, "message-id"), _line_of(rest, TRACE_FIELD)
        return "", ""

    @cached_property
    def originals(self) -> list[Fields]:
        """The header of each part that came back."""
        return [part.header for part in self.leaves if part.returned]

    @property
    def return_path(self) -> str:
        """Of the message that came back, where the last host on its way wrote it down (RFC 5321 4.4)."""
        named = (status.address_of(header.get("return-path", "")) for header in self.originals)
        return next(filter(None, named), "")

    @property
    def from_daemon(self) -> bool:
        """Does the sender's name say that it is a mail system, or that of the report that somebody forwarded?"""
        sender = self.fields.get("from", "<>")
        if not sender.strip() or telltale.DAEMON.search(sender):
            return True
        begin = [line.lstrip("> ").lower() for line in self.human[0][:12]]
        return any(line.startswith("from:") and "daemon" in line for line in begin)

    @property
    def automatic(self) -> bool:
        """Was it sent so that nobody answers? By bounces (RFC 5321 6.1), by auto-replies too (RFC 3834 3.3)."""
        null = self.fields.get("return-path", "").strip() == "<>"
        return null or self.fields.get("auto-submitted", "no").lower().startswith("auto")

    @property
    def returns_something(self) -> bool:
        return bool(self.human[1]) or any(part.returned for part in self.leaves)


def _readable(value: str) -> str:
    return readable(value[:1000].encode(errors="replace"))


def _line_of(text: str, name: str) -> str:
    found = re.search(rf"^{name}[ \t]*:[ \t]*(\S{{1,998}})", text, re.I | re.M)
    return found[1] if found else ""


def _complaint(seen: _Seen) -> Mail | None:
    """A feedback report, or what Microsoft sends in its place. Removed addresses (RFC 6590) leave no recipient."""
    reports = seen.of_kind("message/feedback-report")
    message_id, trace = seen.original
    if reports:
        text = reports[0].text
        told = status.blocks(text)
        head = told[0] if told else {}
        people = [address for line in text.split("\n")[:200] if line.lower().startswith("original-rcpt-to")
                  if (address := status.address_of(line.partition(":")[2]))]  # fmt: skip
        people += [
            a for name in ("removal-recipient", "redacted-address") if (a := status.address_of(head.get(name, "")))
        ]
        kind = head.get("feedback-type", "").lower().strip() or "other"
        return Mail(
            Kind.COMPLAINT,
            "feedback report",
            kind,
            tuple(Recipient(address) for address in dict.fromkeys(people)),
            message_id,
            trace,
            head.get("original-envelope-id", ""),
            head.get("user-agent", ""),
            return_path=status.address_of(head.get("original-mail-from", "")),
        )
    sender = seen.fields.get("from", "").lower()
    if "staff@hotmail.com" in sender or "complaint about message from" in seen.subject.lower():
        header = next(iter(seen.originals), {})
        address = status.address_of(header.get(_HOTMAIL, ""))  # put there by the provider, above the returned message
        people = [address] if address else []
        return Mail(Kind.COMPLAINT, "sender", "abuse", tuple(map(Recipient, people)), message_id, trace, "", "hotmail")
    return None


def _delivery_status(seen: _Seen) -> Mail | None:
    reports = seen.of_kind("message/delivery-status", "message/global-delivery-status")
    groups = [group for part in reports for group in status.blocks(part.text)]
    if not groups:
        groups = _embedded(seen)
    told = list(status.recipients(groups))[: status.MAX_RECIPIENTS]
    if not told:
        return None
    head = groups[0]
    people: dict[str, Recipient] = {}
    by_words = len(told) == 1 or any(not one.diagnostic for one in told)
    reporter = status.typed(head.get("reporting-mta", ""))
    for one in told:
        people.setdefault(one.address.lower(), _of_status(one, seen, one.remote or reporter, by_words=by_words))
    return Mail(
        Kind.BOUNCE,
        "delivery status",
        "",
        tuple(people.values()),
        *seen.original,
        head.get("original-envelope-id", ""),
        reporter,
    )


def _embedded(seen: _Seen) -> list[Fields]:
    """A delivery status written into the text, as some mailers that do without its own part do."""
    text = "\n".join(seen.human[0])
    if "final-recipient:" not in text.lower():
        return []
    return status.blocks(text)


def _of_status(one: status.Told, seen: _Seen, host: str, *, by_words: bool) -> Recipient:
    """`host`: who refused it, which says by whose own codes it is to be read."""
    if one.action not in ("failed", "delayed"):
        return Recipient(one.address, one.final, one.action, one.status)
    texts = _texts(one, seen, by_words=by_words)
    return _failure(one.address, one.final, one.action, one.status, texts, provider_of(host))


def _texts(one: status.Told, seen: _Seen, *, by_words: bool) -> Iterator[str]:
    """Where the reply may stand, likeliest first. The words for people are read only where the fields say nothing clear."""
    yield one.diagnostic
    if by_words:
        yield seen.reasons.get(one.address.lower()) or seen.reasons.get(one.final.lower(), "")
    yield seen.links
    yield seen.words


def _failure(address: str, final: str, action: str, code: str, texts: Iterable[str], provider: str = "") -> Recipient:
    """The recipient with the first of `texts` that says something clear.

    The words of a text are heard before the status `code` of the report: many mailers make that up from the three digits.
    """
    best = _Heard(Diagnosis(Category.OTHER, False, "nothing known"), reply_of("", code, action), "")
    kept = []
    for text in filter(None, texts):
        kept.append(text[:LENGTH])
        command = command_of(text)
        quoted = reply_of(text, "", action)
        whole = Reply(quoted.code, quoted.enhanced, " ".join(text.split())[:LENGTH])
        for reply in (quoted, reply_of(text, code, action), whole):
            heard = _Heard(diagnose(reply, command, provider), reply, command)
            if heard.weight > best.weight:
                best = heard
            if best.weight == _CLEAR_ENOUGH:
                break
        if best.weight == _CLEAR_ENOUGH:
            break
    if best.weight < _CLEAR_ENOUGH and code:
        heard = _Heard(diagnose(reply_of("", code, action), best.command, provider), best.reply, best.command)
        best = heard if heard.weight > best.weight else best
    found = best.found
    if found.category is Category.OTHER and action == "delayed":
        found = Diagnosis(Category.EXPIRED, False, "a warning of delay")
    said = str(best.reply) if best.reply.text else ""
    told = best.reply.enhanced or status.status_of(best.reply.text)
    code = told if told and (not code or code.endswith(".0.0")) else code
    permanent = _permanent(found, action)
    return Recipient(
        address, final, action, code, said, best.command, found.category, permanent, found.rule, tuple(kept)
    )


def _permanent(found: Diagnosis, action: str) -> bool:
    return action == "failed" and (found.permanent or MEANINGS[found.category].condemns)


_CLEAR_ENOUGH = 2


@dataclass(frozen=True, slots=True)
class _Heard:
    found: Diagnosis
    reply: Reply
    command: str

    @property
    def weight(self) -> int:
        """2: clear words, or a code that means one thing; 1: what a code or a vague word suggests; 0: nothing."""
        if self.found.category is Category.OTHER:
            return 0
        return _CLEAR_ENOUGH if self.found.rule.startswith(("words", "code x")) or " to " in self.found.rule else 1


def _failed_recipients(seen: _Seen) -> Mail | None:
    value = _readable(seen.fields.get(_FAILED_RECIPIENTS, ""))
    people = list(dict.fromkeys(address for _, _, address in status.addresses(value)))
    if not people:
        return None
    action = _action(seen)
    found = [
        _failure(one, "", action, "", (seen.reasons.get(one.lower(), ""), seen.links, seen.words)) for one in people
    ]
    return Mail(Kind.BOUNCE, "X-Failed-Recipients", "", tuple(found), *seen.original)


def _amazon(seen: _Seen) -> Mail | None:
    """A notification of Amazon SES (its "notification contents"), as its SNS mails it: JSON in a text."""
    text = next((part.text for part in seen.leaves if part.kind == "text/plain"), "")
    start = text.find("{", 0, 2000)
    if start < 0 or "notificationType" not in text[start : start + 2000]:
        return None
    try:
        told, _ = _JSON.raw_decode(text[start:].replace("\n", ""))
        if "Message" in told:  # in the envelope of SNS
            told = json.loads(told["Message"])
        kind = told["notificationType"]
        people = _people_of(told[kind.lower()])
        message_id = str(told.get("mail", {}).get("commonHeaders", {}).get("messageId", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if kind == "Bounce":
        return Mail(Kind.BOUNCE, "Amazon SES", "", tuple(_failure(*one) for one in people), message_id)
    if kind == "Complaint":
        return Mail(Kind.COMPLAINT, "Amazon SES", "abuse", tuple(Recipient(one[0]) for one in people), message_id)
    return Mail(
        Kind.BOUNCE, "Amazon SES", "", tuple(Recipient(one[0], action="delivered") for one in people), message_id
    )


def _people_of(event: dict[str, Any]) -> list[tuple[str, str, str, str, tuple[str, ...]]]:
    """The recipients of a notification, as the arguments of _failure()."""
    told = event.get("bouncedRecipients") or event.get("complainedRecipients")
    told = told or [{"emailAddress": address} for address in event["recipients"]]
    found: list[tuple[str, str, str, str, tuple[str, ...]]] = []
    for one in told[: status.MAX_RECIPIENTS]:
        address = status.first_address(str(one["emailAddress"]))
        words = status.typed(str(one.get("diagnosticCode", "")))
        if address:
            found.append((address, "", "failed", status.status_of(str(one.get("status", ""))), (words,)))
    return found


def _rejected_by_filter(seen: _Seen) -> Mail | None:
    """Dovecot's Sieve refuses (RFC 5429) by a disposition notification that says it deleted the message."""
    for part in seen.of_kind("message/disposition-notification"):
        told = status.blocks(part.text)
        head = told[0] if told else {}
        address = status.address_of(head.get("original-recipient", "")) or status.address_of(
            head.get("final-recipient", "")
        )
        if (
            address
            and re.search(r"deleted|failed|denied", head.get("disposition", ""), re.I)
            and telltale.FAILED.search(seen.words)
        ):
            found = _failure(address, "", "failed", "", (seen.words,))
            return Mail(Kind.BOUNCE, "disposition notification", "", (found,), *seen.original)
    return None


def _in_prose(seen: _Seen) -> Mail | None:
    """A report in words: by who sends it and what it is called, and because it tells of a failure."""
    subject, daemon, back = bool(telltale.SUBJECT.search(seen.subject)), seen.from_daemon, seen.returns_something
    looks_like_one = daemon or (subject and (back or seen.automatic)) or (back and seen.automatic)
    if not looks_like_one or _is_auto_reply(seen, daemon, subject):
        return None
    words = seen.words
    told = bool(telltale.FAILED.search(words) or telltale.DELAYED.search(words))
    if not told and not (daemon and (subject or back)):
        return None
    named = prose.named(seen.human[0], seen.own)
    action = _action(seen)
    if action == "delivered":
        return Mail(
            Kind.BOUNCE, "text", "", tuple(Recipient(one.address, action=action) for one in named), *seen.original
        )
    nobody = back or seen.automatic or "daemon" in seen.fields.get("from", "").lower()  # a postmaster is also a person
    enough = prose.Strength.TO if subject or (daemon and nobody) else prose.Strength.HEAD
    if not (daemon and (subject or back)) and not any(one.strength >= enough for one in named):
        return None
    alone = len(named) == 1
    people = [
        _failure(n.address, "", action, "", (n.reason, words if alone else "", seen.subject if alone else ""))
        for n in named
    ]
    unnamed = _failure("", "", action, "", (words, seen.subject)) if told and not people else None
    return Mail(Kind.BOUNCE, "text", "", tuple(people), *seen.original, unnamed=unnamed)


def _action(seen: _Seen) -> str:
    words = seen.words
    if telltale.DELAYED.search(words) or (
        telltale.DELAY_SUBJECT.search(seen.subject) and not re.search(r"permanent", words, re.I)
    ):
        return "delayed"
    if telltale.SUCCESS_SUBJECT.search(seen.subject) and telltale.DELIVERED.search(words):
        return "delivered"
    return "failed"


def _is_auto_reply(seen: _Seen, daemon: bool, subject: bool) -> bool:
    marked = _auto_submitted(seen) or bool(telltale.AUTO_SUBJECT.search(seen.subject))
    return marked and not (daemon and subject)


def _auto_submitted(seen: _Seen) -> bool:
    """RFC 3834 5, and what programs wrote before it."""
    fields = seen.fields
    if fields.get("auto-submitted", "no").lower().startswith("auto-replied"):
        return True
    if any(
        name in fields
        for name in ("x-autoreply", "x-autorespond", "x-autoresponder", "x-autogenerated", "x-auto-reply-from")
    ):
        return True
    return fields.get("precedence", "").lower().strip() in ("auto_reply", "auto-reply")


def _auto_reply(seen: _Seen) -> Mail | None:
    if _auto_submitted(seen) or telltale.AUTO_SUBJECT.search(seen.subject):
        return Mail(Kind.AUTO_REPLY, "Auto-Submitted" if "auto-submitted" in seen.fields else "header")
    return None
