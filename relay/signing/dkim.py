"""DKIM signatures (RFC 6376, 8301, 8463), relaxed/relaxed: what is hashed and how the field looks. Pure.

Strategy: nearly every body that apps send is already in relaxed form, so it is hashed where it lies; a few searches
tell. Any other is put in that form by bytes.replace(), whose time is linear. dkimpy's canonicalisation is not used:
its `[\\t ]+\\r\\n` tries each suffix of a run of blanks anew (30 KB of blanks took it 2 s), and it walks back over
trailing empty lines one by one (25 MB: 4 s), so one hostile message could stop a worker. Tests hold ours against
dkimpy's verification.

The header is made canonical once a message; each key then signs it with its own DKIM-Signature field at the end:
`signed_header()`, then per key `draft()`, `digest()`, the key's signature, `finish()`.
"""

from binascii import b2a_base64
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

from relay.header import Field
from relay.needle import Needle

OVERSIGNED = (
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "sender",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "feedback-id",
)
"""Named once more than present, also where absent: nobody can add one and send our signed message on (RFC 6376 8.15).

A field stands here when it may occur once only (RFC 5322 3.6, 2045, 2369, 8058) and changes what is shown, whom an
answer or an unsubscribe request reaches, or whom complaints are counted against. The price: a mailing list that adds
its own List-Unsubscribe or Sender breaks the signature, as it mostly does anyway by its footer.
"""

SIGNED = frozenset(OVERSIGNED) | {
    # RFC 6376 5.4.1; "Resent-" fields come in blocks, one for each resending, so more of them are no attack
    "resent-date",
    "resent-from",
    "resent-sender",
    "resent-to",
    "resent-cc",
    "resent-message-id",
    # RFC 2369, 2919; not oversigned: lists add theirs
    "list-id",
    "list-help",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
    # RFC 2045, 2183: how the body is shown
    "content-id",
    "content-description",
    "content-disposition",
    "content-language",
    # RFC 3834: our own reports
    "auto-submitted",
}
"""Signed as often as present. Never: Return-Path, Received, Bcc, Resent-Bcc, DKIM-Signature (RFC 6376 5.4.1, 3.7)."""

MOST = 20
"""Occurrences of one field that are signed, from the bottom up. Twenty resendings are beyond any real message; without
a bound a header of a million To fields would make an h= of a million names."""

_COMMON = 100  # fields; the plan of a longer header is not kept
_OVERSIGNED = frozenset(OVERSIGNED)
_PREFIX = {name: name.encode() + b":" for name in SIGNED}
_LINE = 76  # octets of a line of our field: below the 78 of RFC 5322 2.1.1
_FIRST = 72  # of a 76-octet line, what is left for base64 behind " b="
_BLANKS, _BLANK_AT_END = Needle(b"  "), Needle(b" \r\n")
_EMPTY_LINES = b"\r\n" * 4096  # so that 25 MB of empty lines are 3,000 steps, not 12 million


def body_hash(content: bytes, body_start: int) -> bytes:
    """SHA-256 of the relaxed body: `content` from `body_start`, the octet after the blank line, to its end.

    A body without a final CRLF is hashed as with one: it gains it on the wire (DESIGN, invariant 4).
    """
    if _is_relaxed(content, body_start):
        return _hash_lines(content, body_start)
    return _hash_lines(_relax(content[body_start:]), 0)


def _is_relaxed(content: bytes, start: int) -> bool:
    """Is all but the end of the body as relaxed has it (RFC 6376 3.4.4)? Base64 has no blank at all."""
    if content.find(b"\t", start) >= 0:
        return False
    return content.find(b" ", start) < 0 or (
        _BLANKS.find(content, start) < 0 and _BLANK_AT_END.find(content, start) < 0 and not content.endswith(b" ")
    )


def _relax(body: bytes) -> bytes:
    """RFC 6376 3.4.4 (a): runs of blanks become one, those at the end of a line none."""
    lines = _single_blanks(body).replace(b" \r\n", b"\r\n")
    return lines.removesuffix(b" ")


def _single_blanks(text: bytes) -> bytes:
    """Each run of blanks and tabs as one blank. A run shrinks 8-fold with each pass (indented HTML is done in one or
    two), then halves: a dozen passes at most for 25 MB, each linear, 0.3 s in all. A regex takes up to 2.6 s there, and
    holds a list of every piece."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    for width in (8, 2):
        blanks = b" " * width
        while blanks in text:
            text = text.replace(blanks, b" ")
    return text


def _hash_lines(content: bytes, start: int) -> bytes:
    """Hash of the lines from `start` on, without the empty ones at the end; no line at all: of nothing (3.4.4 (b))."""
    end = len(content)
    while content.endswith(_EMPTY_LINES, start, end):
        end -= len(_EMPTY_LINES)
    while content.endswith(b"\r\n", start, end):
        end -= 2
    if end <= start:
        return sha256().digest()
    hashed = sha256(memoryview(content)[start:end])
    hashed.update(b"\r\n")
    return hashed.digest()


def signed_header(fields: Sequence[Field]) -> tuple[tuple[str, ...], bytes]:
    """The names for h=, and the fields they stand for in relaxed form; of one name the bottom one first (5.4.2)."""
    present = tuple([name if name in _PREFIX else "" for name, _ in fields])
    names, places = _plan(present) if len(present) <= _COMMON else _plan.__wrapped__(present)
    canonical: list[bytes] = []
    for prefix, place in places:
        value = fields[place].raw.partition(b":")[2].replace(b"\r\n", b"")
        if b"  " in value or b"\t" in value:
            value = _single_blanks(value)
        canonical.append(prefix + value.strip(b" ") + b"\r\n")  # relaxed (3.4.2)
    return names, b"".join(canonical)


@lru_cache(maxsize=256)  # an app's messages share a handful of shapes; working one out takes 10 us
def _plan(present: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[bytes, int], ...]]:
    """For a header of these names ("" for those that are never signed): the names for h=, and which fields they stand
    for, each with its relaxed name."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(present):
        if name in _PREFIX:
            found.setdefault(name, []).append(place)
    names: list[str] = []
    places: list[tuple[bytes, int]] = []
    for name in (*OVERSIGNED, *(name for name in found if name not in _OVERSIGNED)):
        signed = found.get(name, [])[: -MOST - 1 : -1]
        names += [name] * len(signed)
        places += [(_PREFIX[name], place) for place in signed]
        if name in _OVERSIGNED and len(found.get(name, ())) <= MOST:
            names.append(name)
    return tuple(names), tuple(places)


@lru_cache(maxsize=256)  # an app's messages share a handful of shapes; folding 30 names costs 10 us
def _folded(names: tuple[str, ...]) -> str:
    """The names joined by colons, folded after a colon where a line would grow too long (3.5, h=)."""
    lines, line = [], " h="
    for name in names:
        if len(line) + len(name) >= _LINE:
            lines.append(line)
            line = " "
        line += name + ":"
    lines.append(line[:-1])
    return "\r\n".join(lines)


def draft(
    domain: str, selector: str, algorithm: str, *, names: tuple[str, ...], content_hash: bytes, now: int
) -> bytes:
    """A DKIM-Signature field up to and with `b=`. `now` in ms; no l= (8.2), no x=; i= is what it defaults to: @d."""
    return (
        f"DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed;\r\n"
        f" d={domain}; s={selector}; t={now // 1000};\r\n"
        f"{_folded(names)};\r\n"
        f" bh={b2a_base64(content_hash, newline=False).decode()};\r\n"
        " b="
    ).encode()


def digest(canonical_header: bytes, unfinished: bytes) -> bytes:
    """What the key signs: SHA-256 over the signed fields and the draft itself, relaxed, without final CRLF (3.7)."""
    own = unfinished.removeprefix(b"DKIM-Signature: ").replace(b"\r\n ", b" ")
    return sha256(canonical_header + b"dkim-signature:" + own).digest()


def finish(unfinished: bytes, signature: bytes) -> bytes:
    """The whole field with its final CRLF; the folds in b= are not part of what was signed (3.5, b=)."""
    text = b2a_base64(signature, newline=False)
    lines = [text[:_FIRST]] + [text[i : i + _LINE - 1] for i in range(_FIRST, len(text), _LINE - 1)]
    return unfinished + b"\r\n ".join(lines) + b"\r\n"
