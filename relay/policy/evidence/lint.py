"""What a mailbox provider would reject or show wrongly, whatever the class; for people, not in the path of mail. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from relay.header import Field
from relay.message import MailClass
from relay.policy.evidence.language import of_subject, of_text
from relay.policy.evidence.text import extract, parts_of
from relay.policy.evidence.whole import words

# At most one of each (RFC 5322 3.6; RFC 2045 3 for the MIME fields).
_ONCE = {
    *("from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references", "subject", "date"),
    *("mime-version", "content-type", "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post"),
}
_AMP = b"text/x-amp-html"


class Finding(NamedTuple):
    """`slug` for programs, `text` for people, with its source."""

    slug: str
    text: str


def lint(content: bytes, fields: Sequence[Field], rest: int, mail_class: MailClass) -> list[Finding]:
    """`fields`, `rest`: as relay.header.split() gives them; `mail_class`: what the message is taken for. Never raises."""
    return [*_header(fields, mail_class), *_amp(content, fields, rest), *_language(content, fields, rest)]


def _header(fields: Sequence[Field], mail_class: MailClass) -> Iterator[Finding]:
    counts = Counter(f.name for f in fields)
    if not counts["from"]:
        yield Finding("no-from", "no From field (RFC 5322 3.6)")
    for name in sorted(_ONCE & counts.keys()):
        if counts[name] > 1:
            yield Finding("duplicate-field", f"{counts[name]} {name} fields; one is allowed (RFC 5322 3.6)")
    for name in sorted({f.name for f in fields if not f.raw.isascii()}):
        where = f"the {name} field" if name else "a line of the header"
        yield Finding(
            "8bit-header", f"{where} holds octets above 127: encode them (RFC 2047), not all hosts take SMTPUTF8"
        )
    if mail_class is MailClass.MARKETING and not counts["list-unsubscribe"]:
        yield Finding(
            "no-list-unsubscribe", "marketing without List-Unsubscribe: large providers ask for one click (RFC 8058)"
        )


def _amp(content: bytes, fields: Sequence[Field], rest: int) -> Iterator[Finding]:
    """AMP for Email: within multipart/alternative, and before the HTML part, because some clients take the last they know."""
    leaves = parts_of(content, fields, rest).leaves
    for amp in (leaf for leaf in leaves if leaf.kind == _AMP):
        if amp.within != b"multipart/alternative":
            yield Finding("amp-place", "the AMP part is not inside multipart/alternative: nobody will show it")
            continue
        kinds = [leaf.kind for leaf in leaves if leaf.number == amp.number]
        place = kinds.index(_AMP)
        if b"text/plain" not in kinds[:place] or b"text/html" not in kinds[place:]:
            yield Finding("amp-order", "the AMP part does not stand between text/plain and text/html")


def _language(content: bytes, fields: Sequence[Field], rest: int) -> Iterator[Finding]:
    """A template whose subject was not translated with it; filters weigh that against the sender. Silent unless sure."""
    text = extract(content, fields, rest)
    subject = of_subject(words(text.subject).decode(errors="replace"))
    body = of_text(words(text.opening + text.rest).decode(errors="replace")) if subject else ""
    if subject and body and subject != body:
        yield Finding("language", f"Subject and text differ in language ({subject}, {body})")
