"""One captured message, read for people: fields, text, HTML, attachments, and what its signatures are worth. Pure.

What is read comes from anybody. Everything is bounded, and the email package's faults on hostile MIME end here: a part
that cannot be read is shown as such, never an exception.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

import dkim

from relay.header import Field, readable, split

MAX_PARTS = 200  # MIME parts looked at
MAX_TEXT = 1_000_000  # characters of text, HTML or source shown
MAX_INLINE = 5_000_000  # octets of inline images put into the HTML
MAX_CHECKED = 10_000_000  # octets of a message, once for each signature that is checked: dkimpy takes 1 s for them
MAX_SIGNATURES = 10
LONGEST_FIELD = 20_000  # octets of a header field shown
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})  # no SVG: it is a document

PublicKeys = Callable[[str, str], bytes | None]  # (selector, domain) -> TXT record, None if the key is not ours
# What a browser would act on before any policy is asked, or that no policy covers: connections made ahead (preconnect,
# dns-prefetch), another page after a moment (refresh), another place for links. A tag begins so and no other way (HTML 13.2.5.6).
_HEAD_TAGS = re.compile(r"<(?=(?:link|meta|base)[\s/>])", re.IGNORECASE)
_CID = re.compile(r"""cid:([^"'\s>)]{1,200})""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """One DKIM-Signature. `good` is None where it could not be checked; `detail` says why or what is wrong."""

    domain: str
    selector: str
    algorithm: str
    good: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """`text` and `html` are "" where the message has none; `html` without link, meta and base, which are unknown tags there."""

    fields: tuple[tuple[str, str], ...]
    text: str
    html: str
    attachments: tuple[Attachment, ...]
    source: str


def read(content: bytes) -> Reading:
    fields, _ = split(content)
    texts: dict[str, str] = {}
    attachments: list[Attachment] = []
    pictures: dict[str, str] = {}
    try:
        for part in _leaves(content):
            _sort(part, texts, attachments, pictures)
    except Exception as fault:  # the email package raises all sorts on hostile MIME; the source is still shown
        texts.setdefault("text/plain", f"(This message's MIME structure cannot be read: {type(fault).__name__})")
    return Reading(
        fields=tuple((_name(f), unfolded(f)) for f in fields),
        text=texts.get("text/plain", ""),
        html=_with_pictures(_HEAD_TAGS.sub("<x-", texts.get("text/html", "")), pictures),
        attachments=tuple(attachments),
        source=content[:MAX_TEXT].decode(errors="replace").replace("\r\n", "\n"),
    )


def _leaves(content: bytes) -> Iterator[Message]:
    """The parts that are no multipart and not inside a message/rfc822."""
    waiting: list[Message] = [message_from_bytes(content)]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop(0)
        inner = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(inner, list):
            waiting[:0] = [p for p in inner if isinstance(p, Message)]
        else:
            yield part


def _sort(part: Message, texts: dict[str, str], attachments: list[Attachment], pictures: dict[str, str]) -> None:
    """One leaf: the first text and the first HTML to read, an inline picture, or an attachment."""
    kind, name = part.get_content_type(), part.get_filename()
    raw = part.get_payload(decode=True)
    payload = raw if isinstance(raw, bytes) else b""
    if kind in ("text/plain", "text/html") and not name and kind not in texts:
        texts[kind] = _decoded(payload, part.get_content_charset())[:MAX_TEXT]
        return
    picture = str(part.get("Content-ID", "")).strip().strip("<>")
    room = MAX_INLINE - sum(map(len, pictures.values()))
    if picture and kind in PICTURES and len(payload) * 4 // 3 < room:
        pictures[picture] = f"data:{kind};base64,{b64encode(payload).decode()}"
    attachments.append(Attachment(str(name or "(no name)")[:200], kind, len(payload)))


def _decoded(payload: bytes, charset: str | None) -> str:
    try:
        return payload.decode(charset or "utf-8", errors="replace")
    except (LookupError, ValueError):  # no such charset, or one that is no text encoding
        return payload.decode(errors="replace")


def _with_pictures(html: str, pictures: dict[str, str]) -> str:
    """Inline pictures in place of their cid: links (RFC 2392)."""
    return _CID.sub(lambda m: pictures.get(m[1], m[0]), html) if pictures else html


def _name(field: Field) -> str:
    return field.raw.partition(b":")[0].decode(errors="replace").strip() if field.name else ""


def unfolded(field: Field) -> str:
    """A field's value on one line, its RFC 2047 words decoded where they can be."""
    value = field.value[:LONGEST_FIELD]
    return " ".join(readable(value).split()) or value.decode(errors="replace")


def verdicts(content: bytes, public_keys: PublicKeys) -> tuple[Verdict, ...]:
    """What each DKIM-Signature is worth, checked by dkimpy against our own published halves (no DNS is asked)."""
    fields, _ = split(content)
    signatures = [f for f in fields if f.name == "dkim-signature"][:MAX_SIGNATURES]
    return tuple(_verdict(content, index, _tags(f), public_keys) for index, f in enumerate(signatures))


def _tags(signature: Field) -> dict[str, str]:
    pairs = (item.partition("=") for item in signature.value.decode(errors="replace").split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}


def _verdict(content: bytes, index: int, tags: dict[str, str], public_keys: PublicKeys) -> Verdict:
    domain, selector, algorithm = (tags.get(tag, "")[:255] for tag in ("d", "s", "a"))
    good: bool | None = None
    if len(content) * (index + 1) > MAX_CHECKED:
        detail = "not checked: the message is too large"
    elif (record := public_keys(selector, domain)) is None:
        detail = "not checked: no key of ours"
    else:
        good, detail = _check(content, index, record)
    return Verdict(domain, selector, algorithm, good, detail)


def _check(content: bytes, index: int, record: bytes) -> tuple[bool | None, str]:
    try:
        good = bool(dkim.DKIM(content).verify(idx=index, dnsfunc=lambda _name, timeout=5: record))
    except dkim.NaClNotFoundError:
        return None, "not checked: Ed25519 needs the package pynacl"
    except Exception as fault:  # dkimpy raises more than its own DKIMException on malformed signatures
        return False, str(fault)[:200]
    return good, "" if good else "the signature does not match"
