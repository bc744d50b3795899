"""Reports that only people can read: whom they are about and what they say. Pure; never raises.

There is no list of products here. Nearly all such reports are built alike: an introduction, then each recipient on a line
of its own or behind a label ("Recipient:", "Unable to deliver message to"), the reason behind or below it, then a mark and
the returned message. So the text is cut at that mark, each line with an address is weighed by where the address stands in
it, and only the strongest kind found counts. Lines of an account of the original message ("From:", "Message-ID:", "Hello x")
never name a recipient.

Some thirty lines before the mark decide; MAX_LINES bounds the work.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from relay.feedback.status import addresses

MAX_LINES = 400
MAX_LINE = 1000  # characters
MAX_NAMED = 200  # recipients
MAX_IN_LINE = 20
MAX_REASON = 700  # characters
MAX_REASON_LINES = 16

# The mark behind which the returned message stands: a line drawn around words, or the first lines of a header.
_DRAWN = re.compile(
    r"[\s>#|*=_.-]*(?:(?:this|below|included|enclosed|attached|attachment|here)\b.{0,40}\bcopy of|"
    r"(?:the )?(?:first|original|returned|unsent|bounced|rejected|undelivered|unsent|old|source|"
    r"failed)(?: \d+ lines of)?(?: your| the)?(?: original)? (?:message|mail|e-mail|email|letter|text|"
    r"headers?)\b(?! (?:was|were|could|to|has|is|could|delivery|received|with|delivered|as|from))|"
    r"(?:the )?(?:header|text|contents?|body|first \d+ lines|beginning)s? of (?:the|your) (?:original |"
    r"returned |source )?(?:message|mail)|(?:message|mail) (?:headers?|text|contents?|header) (?:follow|"
    r"attached|are|is)|(?:your|the) (?:original )?(?:message|mail) (?:follows|reads|was as follows)|"
    r"original message headers|message header follows|begin (?:message|copy|original)|start of (?:returned|"
    r"original) message|a summary of the undelivered|non-?delivered message|ursprüngliche nachricht|"
    r"mensaje original|message d'origine|(?:исходное|копия)\b.{0,20}(?:сообщени|письм))",
    re.I,
)
_HEADER_LINE = re.compile(
    r"(?:Received|Return-Path|DKIM-Signature|X-[\w-]+|Delivered-To|Message-ID|MIME-Version)[ \t]*:",
    re.I,
)
_REPORT_LINE = re.compile(
    r"(?:X-Supplementary-Info|X-Display-Name|X-Postfix|X-Actual|X-Mailer-)",
    re.I,
)

# Lines of an account of the message that was sent, and of whom to ask: they name others.
_ABOUT_US = re.compile(
    r"^[\s>*#|-]*(?:from|sender|mail from|>>> mail from|reply-to|cc|message[- ]id|return-path|subject|date|"
    r"sent|received|envelope[- ](?:from|sender)|x-[\w-]+|dear|hello|hi|hola|bonjour|reporting-mta|remote-mta|"
    r"von|de|absender)\b\s*[:,<]|\bmail from:|\bcontact\b|please (?:send|e-?mail|write|reply)|reply to|"
    r"for (?:further )?assistance|\bhelp\s?desk\b|from address|sender address|expanded from|message-id",
    re.I,
)
_TO_LINE = re.compile(
    r"^[\s>*#|-]*(?:to|an|à|para|destinataire|rcpt|e?mail to)\s*:\s*",
    re.I,
)
_LABEL = re.compile(
    r"(?:recipient(?:'s)?(?: e?-?mail)?(?: address)?(?:es)?|intended recipient|original (?:recipient|address)|"
    r"addressed to|rcpt to|failed (?:recipient|address)(?:es)?|target (?:mail )?address|"
    r"destination(?: address)?|undeliverable (?:to|address)|unknown (?:user|recipient|address)|"
    r"invalid (?:user|recipient|address)|bad (?:user|recipient|address)|user unknown|(?:un)?known address|"
    r"no such user|user not (?:known|found)|mail(?:ed)? to|email address|bounced address|delivery to|"
    r"failed to|forward to|(?:could not|cannot|can't|couldn't|unable to|not|wasn't|never) (?:be )?(?:deliver|"
    r"delivered|reach)(?: (?:the |your |this )?(?:message|mail|e-?mail))?(?: to)?|undelivered to|addressee|"
    r"empfänger(?:adresse)?|destinataire|destinatario|destinatário|получатель|adresse)(?: is| was|"
    r"\(s\))?\s*[:=-]*\s*[<\[\"'(]*(?:smtp:|mailto:|rfc822;\s*)?$",
    re.I,
)
_SENTENCE = re.compile(
    r"(?:your (?:message|mail|e-?mail|letter)(?: addressed| sent| for)? (?:to|for)|(?:message|mail|"
    r"e-?mail) (?:to|for)|deliver(?:ed|y|ing)?(?: [\w' ]{0,40})? (?:to|for)|mailbox|account|user|recipient|"
    r"recipients?|rejected recipient|group|inbox|address|rejected for|send(?:ing)? to|sent to|errors|of|for|"
    r"to|did not exist|unknown|full|exist|an|para|à|per|aan|для|:)\s*:?\s*[<\[\"'(]*$",
    re.I,
)
_HEAD = re.compile(
    r"^[\s>*#|•·\d.)-]*(?:\w{1,40}:\d{1,9}:)?[<\[\"'(]*(?:smtp:|mailto:)?$",
    re.I,
)
_WORDLESS = re.compile(r"\.\.\. (?:remote protocol error|service unavailable)\s*$", re.I)
_GENERATED = re.compile(
    r"\(?(?:generated|expanded|forwarded|redirected|ultimately generated) from",
    re.I,
)


class Strength(IntEnum):
    """How surely an address in a text is a recipient, by where it stands."""

    NONE = 0
    TO = 1  # "To:" in an account of the message
    SENTENCE = 2  # "your message to x was not delivered"
    HEAD = 3  # at the beginning of a line
    LABEL = 4  # behind "Recipient:"
    GENERATED = 5  # "generated from x": the address we sent to, of the one named before


@dataclass(slots=True)
class Named:
    """A recipient that a text names."""

    address: str
    strength: Strength
    lines: list[str]

    @property
    def reason(self) -> str:
        """The words behind the address and on the lines that follow, up to the next recipient."""
        return " ".join(" ".join(self.lines)[: 2 * MAX_REASON].split()).lstrip(">:)]\"'., ")[:MAX_REASON]


def human(text: str) -> tuple[list[str], str]:
    """The lines in front of the returned message, and what stands from its mark on."""
    lines = text.split("\n", MAX_LINES + 1)[:MAX_LINES]
    for number, line in enumerate(lines):
        short = line[:200]
        if _HEADER_LINE.match(short) and not _REPORT_LINE.match(short):
            return _bounded(lines[:number]), "\n".join(lines[number:])
        if number and _DRAWN.match(short):
            return _bounded(lines[:number]), "\n".join(lines[number:])
    return _bounded(lines), ""


def _bounded(lines: Sequence[str]) -> list[str]:
    return [line[:MAX_LINE].rstrip() for line in lines]


def named(lines: Sequence[str], own: frozenset[str]) -> list[Named]:
    """The recipients that these lines name, in their order. `own` are addresses (lower case) of the report's own header:
    whom it was sent to is whom the original came from."""
    found: list[Named] = []
    for number, line in enumerate(lines):
        begun = False
        for start, end, address in addresses(line)[:MAX_IN_LINE]:
            strength = _strength(lines, number, start, end)
            if strength is Strength.GENERATED and found:
                found[-1].address = address
            elif strength is Strength.NONE or (address.lower() in own and strength < Strength.HEAD):
                continue
            elif not found or _begins(found[-1], address, strength):
                found.append(Named(address, strength, _heard(lines, number) or [line[end:]]))
                begun = True
        if found and not begun and len(found[-1].lines) < MAX_REASON_LINES:
            found[-1].lines.append(line)
        if len(found) >= MAX_NAMED:
            break
    return _strongest(found, own)


def _heard(lines: Sequence[str], number: int) -> list[str]:
    """What the peer said, where the line before is its reply in a transcript of sendmail and this one has no words of its own."""
    before = lines[number - 1] if number else ""
    return [before[4:]] if before.startswith("<<< ") and _WORDLESS.search(lines[number]) else []


def _begins(last: Named, address: str, strength: Strength) -> bool:
    """Is this a new entry, and not a second mention or a word about the last one?"""
    if address.lower() == last.address.lower():
        return strength > max(last.strength, Strength.SENTENCE) and last.strength < Strength.HEAD
    return strength >= min(last.strength, Strength.HEAD)


def _strength(lines: Sequence[str], number: int, start: int, end: int) -> Strength:
    line = lines[number]
    before = line[:start]
    if _GENERATED.search(before[-40:]):
        return Strength.GENERATED
    if _TO_LINE.match(before):
        return Strength.TO
    if _ABOUT_US.search(line[: start + 12]):
        return Strength.NONE
    if _LABEL.search(before[-80:]):
        return Strength.LABEL
    if _HEAD.match(before) and _ends_well(line[end:], lines[number - 1] if number else ""):
        return Strength.HEAD
    if not before.strip(" <[\"'(*") and number and _LABEL.search(lines[number - 1][-80:]):
        return Strength.LABEL
    return Strength.SENTENCE if _SENTENCE.search(before[-70:]) else Strength.NONE


def _ends_well(after: str, line_before: str) -> bool:
    """Does the line go on as an entry of a list does, and not as a sentence about somebody?"""
    rest = after.lstrip(">])\"'")
    if not rest.strip() or rest[0] in ":.,;(-[<":
        return True
    within_a_sentence = line_before.rstrip()[-1:].isalpha() or line_before.rstrip()[-1:] == ","
    return rest[0] in " \t" and (rest[1:2].isspace() or not within_a_sentence)


def _strongest(found: list[Named], own: frozenset[str]) -> list[Named]:
    """One entry an address, of the strongest kind there is; labels and heads of lines count alike."""
    top = max((one.strength for one in found), default=Strength.NONE)
    level = Strength.HEAD if top >= Strength.HEAD else top
    strong = [one for one in found if one.strength >= level]
    others = [one for one in strong if one.address.lower() not in own]
    chosen: dict[str, Named] = {}
    for one in others or strong:
        known = chosen.setdefault(one.address.lower(), one)
        if known is not one and len(known.lines) < MAX_REASON_LINES:
            known.lines.append(one.reason)
    return list(chosen.values())
