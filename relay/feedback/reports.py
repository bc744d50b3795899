"""Delivery status notifications: what a sender is told of a failure, a delay or a hand-over. Pure: bytes out.

A multipart/report (RFC 6522) of three parts: words for a person, a delivery-status for programs (RFC 3464), and the
header of the message, or all of it where the credential's `dsn` allows (RET may ask for less, never for more; what did
not fail returns the header alone, RFC 3461 4.3). Addresses with octets above 127 take the global forms of RFC 6533.

Everything quoted comes from outsiders: a remote's reply, addresses, ORCPT, ENVID, the message. None of it can start a
header field or a MIME part: control characters become blanks before anything is written, every field is folded and no
line is over 998 octets (RFC 5322 2.1.1), and the boundary occurs in no part. The caller sends the report from `<>`
(RFC 5321 6.1) and never asks for one about a message that came from `<>`.
"""

import re
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.quoprimime import body_encode
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256

from relay.domain import a_label
from relay.feedback.taxonomy import Category
from relay.message import Delivery
from relay.outcome import Outcome

MAX_HEADER = 64 * 1024  # octets of a header returned: the longest honest ones (ARC chains, lists) stay under 32 KB
MAX_FULL = 1024 * 1024  # octets of a message returned whole; a longer one is returned as its header
MAX_LINE = 998  # RFC 5322 2.1.1, without CRLF
MAX_WORDS = 1000  # characters of a remote's reply we repeat
FOLD = 76  # where people's programs fold

_HEADLINES = {
    "failed": "Your message could not be delivered",
    "delayed": "Your message is delayed; you need not send it again",
    "relayed": "Your message was handed on",
}
_LEADS = {
    "failed": "it was not delivered, and it will not be tried again.",
    "delayed": "it has not been delivered yet. Delivery is tried again without your doing anything",
    "relayed": (
        "it was handed to the recipient's mail server, which does not send confirmations of its own. "
        "This is the last notice about it unless that server reports a problem."
    ),
}
_CAUSES: dict[str, tuple[str, str]] = {
    Category.BAD_MAILBOX: (
        "The address does not exist at the recipient's provider.",
        "Check the address for spelling mistakes. If it is right, ask the recipient for a new one by other means.",
    ),
    Category.INACTIVE_MAILBOX: (
        "The recipient's mailbox is disabled or has moved.",
        "Ask the recipient for a current address by other means.",
    ),
    Category.BAD_DOMAIN: (
        "The domain of the address does not exist or takes no mail.",
        "Check the part of the address behind the @ for spelling mistakes.",
    ),
    Category.RECIPIENT_REFUSED: (
        "The recipient, or the recipient's own rules, refused the message.",
        "Ask the recipient by other means to allow your address.",
    ),
    Category.QUOTA: (
        "The recipient's mailbox is full.",
        "Tell the recipient by other means, or send the message again later.",
    ),
    Category.BAD_SENDER: (
        "The recipient's server does not accept your sender address.",
        "Ask your mail administrator whether the sender address and its domain are set up to receive mail.",
    ),
    Category.AUTH_FAILURE: (
        "The recipient's server could not verify that the message comes from your domain (SPF, DKIM, DMARC).",
        "Hand this report to your mail administrator.",
    ),
    Category.POLICY_BLOCK: (
        "A rule of the recipient's server forbids the message.",
        "Hand this report to your mail administrator.",
    ),
    Category.REPUTATION_BLOCK: (
        "The recipient's server does not take mail from our server at present. It is not about the address.",
        "Hand this report to your mail administrator.",
    ),
    Category.RATE_LIMITED: (
        "The recipient's server took in too much mail in too short a time.",
        "Send the message again later.",
    ),
    Category.RELAY_DENIED: (
        "The server that the domain names for its mail says that it is not responsible for it.",
        "Check the part of the address behind the @. If it is right, its administrator has to correct the settings.",
    ),
    Category.SPAM_BLOCK: (
        "The recipient's server takes the message for spam.",
        "Change the content, above all links and attachments, or reach the recipient by other means.",
    ),
    Category.CONTENT_ERROR: (
        "The recipient's server does not accept something in the message.",
        "Look at its words above: they may name an attachment, a virus or a fault in the format.",
    ),
    Category.MESSAGE_TOO_LARGE: (
        "The message is too large for the recipient's server or mailbox.",
        "Send it without its attachments, or share them as a link.",
    ),
    Category.EXPIRED: (
        "The recipient's server could not be reached, or did not take the message, for as long as we tried.",
        "Check the part of the address behind the @ for spelling mistakes, or send the message again later.",
    ),
    Category.TLS_FAILURE: (
        "No secure connection to the recipient's server could be made.",
        "Hand this report to your mail administrator.",
    ),
    Category.DNS_FAILURE: (
        "The recipient's domain could not be found just now.",
        "Check the part of the address behind the @ for spelling mistakes.",
    ),
}
_OURS = {  # by the command of an outcome that no server had a part in: why it was withheld
    "STALE": (
        "The time after which it is worth nothing, which its sender had set, was over before it could be delivered.",
        "Send a new one, if it still matters.",
    ),
    "SUPPRESSED": (
        "The address is on the list of those that mail is not sent to, and the message was not sent.",
        "Ask your mail administrator why it is there; he can take it off.",
    ),
    "UNSUBSCRIBED": (
        "The recipient does not want such mail any more, and the message was not sent.",
        "Take the address off your list.",
    ),
    "PREFERENCE": (
        "The recipient does not want mail of this topic, and the message was not sent.",
        "Leave the address out where you send to this topic.",
    ),
    "CAPPED": (
        "The recipient has had as much mail as he may have in this time, and the message was not sent.",
        "Send it later, if it still matters.",
    ),
    "SUNSET": (
        "The recipient has not answered to such mail for very long, and the message was not sent.",
        "Take the address off your list.",
    ),
    "SUPERSEDED": ("A newer message took the place of this one before it was sent.", "Nothing has to be done."),
    "LATE": (
        "It could not be delivered in the time that its sender set.",
        "Nothing has to be done: delivery is tried on.",
    ),
    "DUPLICATE": ("The same message was handed in before, and is sent once.", "Nothing has to be done."),
}
_UNKNOWN = (
    "The recipient's server, or the way to it, reports a problem.",
    "Hand this report to your mail administrator.",
)

_XTEXT = re.compile(rb"\+([0-9A-F]{2})")  # RFC 3461 4
_UNITEXT = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 3
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_MSG_ID = re.compile(r"[\x21-\x3b\x3d\x3f-\x7e]{1,250}")


@dataclass(frozen=True, slots=True)
class _Case:
    """One report to be written, and what several parts of it ask."""

    action: str  # failed | delayed | relayed
    delivery: Delivery
    outcome: Outcome
    now: int
    again: int | None
    until: int | None
    hostname: str
    identifier: str

    @property
    def recipient(self) -> str:
        return _recipient(self.delivery)

    @property
    def worldwide(self) -> bool:
        """Does the status part need UTF-8 (RFC 6533)?"""
        return not (self.recipient + _original(self.delivery.orcpt)[1]).isascii()


def report(
    action: str,
    delivery: Delivery,
    content: bytes,
    outcome: Outcome,
    *,
    now: int,
    again: int | None = None,
    until: int | None = None,
    hostname: str,
    identifier: str,
) -> bytes:
    """The whole notification, CRLF line ends, for `delivery.sender`.

    action      "failed", "delayed" or "relayed" (RFC 3464 2.3.3)
    content     of the message, without `delivery.head`
    again       for "delayed": when (ms) it is tried next
    until       for "delayed": when (ms) it is given up, for Will-Retry-Until (RFC 3464 2.3.9)
    identifier  the report's own id: its Message-ID is `<identifier@hostname>`

    The header holds octets above 127 only where the sender's address does; the parts may hold them (8BITMIME).
    """
    if not delivery.sender:
        raise ValueError("a message from <> is never reported on (RFC 5321 6.1)")
    case = _Case(action, delivery, outcome, now, again, until, hostname, identifier)
    parts = [_words(case), _status(case), _returned(case, delivery.head + content)]
    boundary = _boundary(identifier, parts)
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return _header(case, boundary) + b"\r\n" + body + b"--" + boundary + b"--\r\n"


def _header(case: _Case, boundary: bytes) -> bytes:
    subject = clean(case.delivery.message.subject, 150)
    lines = [
        _field("From", f"Mail Delivery System <MAILER-DAEMON@{case.hostname}>"),
        _field("To", f"<{_ascii_domain(clean(case.delivery.sender, 320))}>"),
        _encoded("Subject", f"{_HEADLINES[case.action]}: {subject}" if subject else _HEADLINES[case.action]),
        _field("Date", _date(case.now)),
        _field("Message-ID", f"<{case.identifier}@{case.hostname}>"),
    ]
    original = case.delivery.message.message_id.strip().removeprefix("<").removesuffix(">")
    if _MSG_ID.fullmatch(original):  # RFC 3834 3.1.5, 3.1.6: answers thread with what they answer
        lines += [_field("In-Reply-To", f"<{original}>"), _field("References", f"<{original}>")]
    kind = "global-delivery-status" if case.worldwide else "delivery-status"
    lines += [
        _field("Auto-Submitted", "auto-replied"),  # RFC 3834 5
        _field("MIME-Version", "1.0"),
        _field("Content-Type", f'multipart/report; report-type={kind}; boundary="{boundary.decode()}"'),
    ]
    return b"".join(lines)


def _words(case: _Case) -> bytes:
    """The part for people: what happened, the remote's words, what to do."""
    message, reply = case.delivery.message, case.outcome.reply
    lead = f"This is an automatic message from the mail server {case.hostname}. About the message below: "
    lead += _LEADS[case.action]
    if case.again is not None:
        lead += f", next at {_date(case.again)}"
    if case.until is not None:
        lead += f", and given up at {_date(case.until)}"
    paragraphs = [
        _filled(lead.rstrip(".") + "."),
        f"  To:       {case.recipient}\n  Subject:  {clean(message.subject, 150)}\n"
        f"  Sent:     {_date(message.accepted_at)}\n  Our id:   {message.id}",
    ]
    if case.action != "relayed":
        cause, advice = _cause(case)
        paragraphs.append("What happened\n" + _indented(cause))
    speaker = "We noted" if case.outcome.internal or not case.outcome.mx else f"{clean(case.outcome.mx, 255)} said"
    paragraphs.append(f"{speaker}\n" + _indented(clean(str(reply), MAX_WORDS)))
    if case.action == "failed":
        paragraphs.append("What you can do\n" + _indented(advice))
    return _text("\n\n".join(paragraphs) + "\n")


@lru_cache(maxsize=16)
def _filled(text: str) -> str:
    return textwrap.fill(text, 72)


def _cause(case: _Case) -> tuple[str, str]:
    ours = _OURS.get(case.outcome.command)
    if ours is not None:
        return ours
    return _CAUSES.get(case.outcome.category, _UNKNOWN)


@lru_cache(maxsize=128)  # most of what is said is one of our own sentences
def _indented(text: str) -> str:
    return textwrap.fill(text, 72, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _text(text: str) -> bytes:
    """A text/plain part, in 7 bits."""
    if text.isascii():
        return _part("text/plain; charset=us-ascii", "7bit", text.replace("\n", "\r\n").encode())
    octets = "".join(chr(octet) for octet in text.encode())  # body_encode wants one character an octet
    body = body_encode(octets, eol="\n").replace("\n", "\r\n").encode("ascii")
    return _part("text/plain; charset=utf-8", "quoted-printable", body)


def _status(case: _Case) -> bytes:
    """message/delivery-status (RFC 3464 2.2, 2.3), or its global form."""
    delivery, message = case.delivery, case.delivery.message
    host = clean(case.outcome.mx, 255)
    lines = [_field("Reporting-MTA", f"dns; {case.hostname}")]
    if message.envid:
        lines.append(_field("Original-Envelope-Id", _printable(_unxtext(message.envid))))
    lines += [_field("Arrival-Date", _date(message.accepted_at)), b"\r\n"]
    kind, original = _original(delivery.orcpt)
    if original:
        lines.append(_field("Original-Recipient", f"{kind}; {original}"))
    lines += [
        _field("Final-Recipient", f"{'rfc822' if case.recipient.isascii() else 'utf-8'}; {case.recipient}"),
        _field("Action", case.action),
        _field("Status", _enhanced(case)),
    ]
    if host and not case.outcome.internal:
        lines.append(_field("Remote-MTA", f"dns; {_printable(host)}"))
    words = clean(str(case.outcome.reply), MAX_WORDS)
    speaker = "x-postlane" if case.outcome.internal else "smtp"
    lines += [
        _field("Diagnostic-Code", f"{speaker}; {words if case.worldwide else _printable(words)}"),
    ]
    if case.outcome.command not in _OURS:  # this was none
        lines.append(_field("Last-Attempt-Date", _date(case.now)))
    lines.append(_field("Final-Log-ID", message.id))
    if case.until is not None:
        lines.append(_field("Will-Retry-Until", _date(case.until)))
    body = b"".join(lines)
    if case.worldwide:
        return _part("message/global-delivery-status; charset=utf-8", "8bit", body)
    return _part("message/delivery-status", "7bit", body)


def _enhanced(case: _Case) -> str:
    """The status in RFC 3463's form; made from the code where a remote gave none."""
    reply = case.outcome.reply
    if _ENHANCED.fullmatch(reply.enhanced):
        return reply.enhanced
    return {"failed": "5.0.0", "delayed": "4.0.0", "relayed": "2.0.0"}[case.action]


def _returned(case: _Case, original: bytes) -> bytes:
    """The third part: the message's header, or the whole message where that is allowed, short and clean enough."""
    end = original.find(b"\r\n\r\n")
    header = original if end < 0 else original[: end + 2]
    worldwide = not header.isascii() and _is_utf8(header)
    if case.action == "failed" and _may_be_whole(case.delivery) and _fits(original) and (worldwide or header.isascii()):
        kind = "message/global" if worldwide else "message/rfc822"
        return _part(kind, "7bit" if original.isascii() else "8bit", original)
    if worldwide:
        return _part("message/global-headers", "8bit", _bounded(header))
    return _part("text/rfc822-headers", "7bit", _bounded(header.decode("ascii", "replace").encode("ascii", "replace")))


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _may_be_whole(delivery: Delivery) -> bool:
    """The credential's `dsn` is the ceiling; RET can only lower it (RFC 3461 4.3)."""
    return delivery.message.dsn == "full" and delivery.message.ret != "HDRS"


def _fits(original: bytes) -> bool:
    if len(original) > MAX_FULL or b"\0" in original:
        return False
    ends = original.count(b"\r\n")
    if original.count(b"\r") != ends or original.count(b"\n") != ends:
        return False
    return max(map(len, original.split(b"\r\n"))) <= MAX_LINE


def _bounded(header: bytes) -> bytes:
    """At most MAX_HEADER octets of whole lines, none over-long, no bare CR or LF, no NUL, no empty line."""
    kept: list[bytes] = []
    room = MAX_HEADER
    for line in header.removesuffix(b"\r\n").split(b"\r\n"):
        safe = line[:MAX_LINE].decode(errors="ignore").encode().translate(_BLANKS)
        room -= len(safe) + 2
        if room < 0:
            break
        if safe.strip():
            kept.append(safe + b"\r\n")
    return b"".join(kept)


_BLANKS = bytes(32 if octet in (0, 10, 13) else octet for octet in range(256))


def _part(kind: str, encoding: str, body: bytes) -> bytes:
    header = _field("Content-Type", kind) + _field("Content-Transfer-Encoding", encoding)
    return header + b"\r\n" + body


def _boundary(identifier: str, parts: list[bytes]) -> bytes:
    """One that occurs in no part: a sender who could foresee it could write parts of our report."""
    digest = sha256(identifier.encode())
    while True:
        boundary = b"report-" + digest.hexdigest()[:32].encode()
        if not any(boundary in part for part in parts):
            return boundary
        digest.update(b"again")


def clean(text: str, limit: int) -> str:
    """One line of printable characters: controls, line ends of every script and lone surrogates become blanks."""
    cut = text[: limit * 4]
    if cut.isprintable():  # nearly all are, and to look at each character takes as long as the rest of the report
        return " ".join(cut.split())[:limit]
    return " ".join("".join(c if c.isprintable() else " " for c in cut).split())[:limit]


def _printable(text: str) -> str:
    """ASCII only, for fields that have no global form."""
    return text.encode("ascii", "replace").decode()


def _field(name: str, value: str) -> bytes:
    """A field folded at blanks (RFC 5322 2.2.3); a word no line can hold is cut."""
    words = value.split()
    whole = f"{name}: {' '.join(words)}"
    if words and len(whole) <= FOLD:
        return whole.encode() + b"\r\n"
    lines = [f"{name}:"]
    for word in words:
        short = word.encode()[: MAX_LINE - len(name) - 2].decode(errors="ignore")
        if len(lines[-1]) + 1 + len(short) > FOLD and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += " " + short
    return "\r\n".join(lines).encode() + b"\r\n"


def _encoded(name: str, value: str) -> bytes:
    """An unstructured field; RFC 2047 words where it is not ASCII."""
    if value.isascii():
        return _field(name, value)
    words = Header(value, "utf-8", header_name=name).encode(linesep="\r\n")
    return f"{name}: {words}\r\n".encode("ascii")


def _recipient(delivery: Delivery) -> str:
    """The address as reports name it: all ASCII where its local part is (the domain as A-label), else UTF-8."""
    address = clean(delivery.recipient, 320)
    local, at, _ = address.rpartition("@")
    return f"{local}@{clean(delivery.domain, 255)}" if at and local.isascii() and not address.isascii() else address


def _ascii_domain(address: str) -> str:
    """A-label for the domain where the local part is ASCII, so that no SMTPUTF8 is needed to answer."""
    local, at, domain = address.rpartition("@")
    if not at or address.isascii() or not local.isascii():
        return address
    label = a_label(domain)
    return f"{local}@{label}" if label else address


def _unxtext(value: str) -> str:
    """xtext decoded (RFC 3461 4) and made one clean line."""
    octets = _XTEXT.sub(lambda m: bytes([int(m[1], 16)]), value.encode(errors="replace"))
    return clean(octets.decode(errors="replace"), 500)


def _original(orcpt: str) -> tuple[str, str]:
    """(address type, address) of an ORCPT, decoded (RFC 3461 4.2; utf-8 addresses RFC 6533 3); ("", "") if none."""
    kind, separator, encoded = orcpt.partition(";")
    if not separator:
        return "", ""
    address = _unxtext(encoded)
    if kind.lower() == "utf-8":
        address = clean(_UNITEXT.sub(_scalar, address), 500)
    elif not address.isascii():
        address = _printable(address)
    return _printable(clean(kind, 40)).replace(" ", "?"), address


def _scalar(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    return chr(number) if number < 0x110000 else "?"


@lru_cache(maxsize=16)
def _date(ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(ms / 1000, UTC))
