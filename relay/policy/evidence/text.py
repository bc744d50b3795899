"""The visible text of a message and the counts of its structure, in bounded time whatever the octets are. Pure.

Only bounded windows are looked at: parts up to a number, a depth and a distance from the header; of each text part a
stretch at its beginning and one at its end, and of these no more than gives the text that is wanted. A message that is no
MIME is read as what it seems to be.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_qp
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html.entities import html5
from typing import NamedTuple

from relay.header import Field, readable
from relay.policy.evidence.lexicon import normal

MAX_FIELDS = 200  # header fields looked at
MAX_SUBJECT = 1200  # octets: a subject with encoded words of 300 characters
MAX_PARTS = 20
MAX_DEPTH = 6
MAX_REACH = 256 << 10  # octets behind the header within which parts are looked for
PART_HEADER = 4096  # octets of a part's own header
HEAD, TAIL = 16 << 10, 6 << 10  # octets of a text part at its beginning and its end
HEAD_BASE64, TAIL_BASE64 = 8 << 10, 4 << 10  # decoding takes 8 ns an octet, thrice what all the rest does
STYLES = 64 << 10  # octets of an HTML part in which <body> is looked for: large style sheets come before it
OPENING = 600  # octets of normal text: what a reader sees first
BODY, CLOSING = 1000, 700  # and what is read after that, at most: next in line, and from the end
LONG_WORD = 400  # octets in which a blank is looked for, not to cut a word or a link; or the next tag of a page
SHORTEST_STEP = 512  # octets read at once, as each stretch costs 2 us
SHORT_PLAIN = 300  # octets of normal text below which the HTML part is read too: "see this mail in your browser"

# No others: some codecs (punycode, idna) take quadratic time, and unknown names cost an import each.
_CHARSETS = frozenset(
    [f"iso-8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, "8-i", "8-e", 9, 10, 13, 14, 15, 16)]
    + [f"windows-{n}" for n in range(1250, 1259)]
    + ["latin1", "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "shift_jis", "iso-2022-jp", "euc-jp", "euc-kr"]
)
_TYPE = re.compile(rb"(?:^|\n)content-type:[ \t\r\n]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE)
_ENCODING = re.compile(rb"(?:^|\n)content-transfer-encoding:[ \t]*([\w-]+)", re.IGNORECASE)
_ATTACHED = re.compile(rb"(?:^|\n)content-disposition:[ \t]*attachment", re.IGNORECASE)
_BOUNDARY = re.compile(rb"boundary[ \t]*=[ \t]*(?:\"([^\"\r\n]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)
_CHARSET = re.compile(rb"charset[ \t]*=[ \t]*\"?([\w.:-]{1,40})", re.IGNORECASE)
_REFERENCE = re.compile(rb"&(?:#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})|[A-Za-z]{2,8});")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(c for c in range(256) if c not in _BASE64)
_LINK = re.compile(rb"https?://[^\s<>\"]*")  # its words are the programmer's, and often codes
_TAGS = re.compile(rb"<[^>]*+>?(?:\s*+<[^>]*+>?)*+")  # possessive: nothing is tried twice, so any octets cost the same
_LOOKS_HTML = re.compile(rb"<(?:html|body|table|div|p|br|a|!doctype)\b", re.IGNORECASE)


@dataclass(slots=True)
class Part:
    """One text part: its octets `content[start:end]`, still encoded."""

    kind: bytes
    charset: str
    encoding: bytes
    start: int
    end: int


class Leaf(NamedTuple):
    """Any part that is no multipart: its type, and which multipart of which type it stands in (0, b"": in none)."""

    kind: bytes
    number: int
    within: bytes


@dataclass(slots=True)
class Parts:
    """What a message consists of, as far as was looked."""

    texts: list[Part] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    attachments: int = 0
    calendar: bool = False
    seen: int = 0


@dataclass(slots=True)
class Text:
    """Normal text (lexicon.normal) with a blank in front and behind, in three sections, and the structure.

    length is that of all normal text in the windows, in octets, estimated where not all of it was read; links and images
    are those of the HTML part.
    """

    subject: bytes = b" "
    opening: bytes = b" "
    rest: bytes = b" "
    length: int = 0
    html: bool = False
    links: int = 0
    images: int = 0
    attachments: int = 0
    calendar: bool = False


def extract(content: bytes, fields: Sequence[Field], rest: int) -> Text:
    """`fields` and `rest` as relay.header.split() gives them."""
    subject = next((f for f in fields[:MAX_FIELDS] if f.name == "subject"), None)
    parts = parts_of(content, fields, rest)
    text = Text(attachments=parts.attachments, calendar=parts.calendar)
    if subject is not None:
        text.subject = b" " + normal(readable(bounded(subject, MAX_SUBJECT)).encode()) + b" "
    near, far, text.length = _visible(content, parts.texts, text)
    if len(near) <= OPENING:
        text.opening = b" " + near + b" "
        return text
    cut = near.find(b" ", OPENING, OPENING + 40) + 1 or OPENING
    text.opening = b" " + near[:cut].rstrip() + b" "
    further = (near[cut:] + b" " + far).strip()
    if len(further) > BODY + CLOSING:
        further = further[:BODY].rstrip() + b" " + further[-CLOSING:].lstrip()
    text.rest = b" " + further + b" "
    return text


def parts_of(content: bytes, fields: Sequence[Field], rest: int) -> Parts:
    """As far as is looked: the text parts with their places, and the types of all."""
    parts = Parts()
    header = b"\n".join([f.raw[:PART_HEADER] for f in fields[:MAX_FIELDS] if f.name in _MIME_FIELDS])
    _walk(content, header, rest, min(len(content), rest + MAX_REACH), Leaf(b"", 0, b""), 0, parts)
    return parts


_MIME_FIELDS = frozenset({"content-type", "content-transfer-encoding"})


def bounded(one: Field, octets: int) -> bytes:
    """The value of a field that may have any length."""
    return Field(one.name, one.raw[:octets]).value


class Described(NamedTuple):
    """What the header of an entity says of it: its type without parameters, and what matters of the rest."""

    kind: bytes
    boundary: bytes
    charset: str
    encoding: bytes
    attached: bool


@lru_cache(maxsize=256)  # of a part it is one of a few; 1 MB at most
def _described(header: bytes) -> Described:
    found = _TYPE.search(header)
    value = found[1] if found else b"text/plain"
    kind = value.partition(b";")[0].strip().lower()
    if kind.startswith(b"multipart/"):
        boundary = _BOUNDARY.search(value)
        return Described(kind, boundary[1] or boundary[2] if boundary else b"", "", b"", attached=False)
    charset = _CHARSET.search(value)
    encoding = _ENCODING.search(header)
    return Described(
        kind,
        b"",
        charset[1].decode("latin-1").lower() if charset else "",
        encoding[1].lower() if encoding else b"",
        attached=_ATTACHED.search(header) is not None,
    )


def _walk(content: bytes, header: bytes, start: int, end: int, parent: Leaf, depth: int, parts: Parts) -> None:
    """Collect the text parts of the entity with this header and the octets from its blank line on."""
    parts.seen += 1
    kind, boundary, charset, encoding, attached = _described(header)
    if kind.startswith(b"multipart/"):
        if boundary and depth < MAX_DEPTH:
            own = Leaf(kind, parts.seen, parent.kind)
            _walk_parts(content, b"--" + boundary, start, end, own, depth, parts)
        return
    parts.leaves.append(Leaf(kind, parent.number, parent.kind))
    if kind == b"text/calendar":
        parts.calendar = True
    if kind == b"text/x-amp-html":
        return
    if kind not in (b"text/plain", b"text/html", b"text") or (depth and attached):
        parts.attachments += 1
        return
    if not depth:
        end = len(content)  # its end can be read however far it is
    parts.texts.append(Part(kind, charset, encoding, start, end))


def _walk_parts(content: bytes, delimiter: bytes, start: int, end: int, own: Leaf, depth: int, parts: Parts) -> None:
    """Between delimiter lines (RFC 2046 5.1.1); the last part may lack its end."""
    at = content.find(delimiter, start, end)
    while at >= 0 and parts.seen < MAX_PARTS:
        at += len(delimiter)
        if content[at : at + 2] == b"--":
            return
        line = content.find(b"\n", at, end)
        if line < 0:
            return
        following = content.find(delimiter, line, end)
        stop = end if following < 0 else following
        blank = content.find(b"\r\n\r\n", line - 1, min(stop, line + PART_HEADER))
        body = blank + 4 if blank >= 0 else line + 1
        header = content[line + 1 : blank] if blank >= 0 else b""
        _walk(content, header, min(body, stop), stop, own, depth + 1, parts)
        at = following


class Read(NamedTuple):
    """Normal text from the beginning on, and at the end if that is not all; the length of all."""

    near: bytes = b""
    far: bytes = b""
    length: int = 0


def _visible(content: bytes, texts: Sequence[Part], text: Text) -> Read:
    """The first plain part, or the HTML part where that says too little; counts into `text`."""
    plain = next((p for p in texts if p.kind != b"text/html"), None)
    page = next((p for p in texts if p.kind == b"text/html"), None)
    visible = Read()
    if plain is not None:
        pieces = _window(content, plain)
        if page is None and b"<" in pieces[0][:2000] and _LOOKS_HTML.search(pieces[0], 0, 2000):
            page = plain
        else:
            text.links = sum(octets.count(b"http") for octets in pieces)
            visible = _read(as_utf8(b" ".join(pieces), plain.charset), _prose, b" ")
    if page is not None:
        pieces = _window(content, page)
        text.html = True
        for octets in pieces:
            text.links += octets.count(b"href=")
            text.images += octets.count(b"<img")
        if visible.length < SHORT_PLAIN:
            shown = b" ".join([_body(octets) for octets in pieces])
            from_page = _read(as_utf8(shown, page.charset), _prose_of_page, b"<")
            visible = from_page if from_page.length > visible.length else visible
    return visible


def _window(content: bytes, part: Part) -> list[bytes]:
    """The beginning and, if it is another, the end of a part, transfer encoding removed (RFC 2045 6)."""
    start = part.start
    if part.kind == b"text/html" and part.end - start > HEAD:
        start = max(start, content.find(b"<body", start, min(part.end, start + STYLES)))
    head, tail = (HEAD_BASE64, TAIL_BASE64) if part.encoding == b"base64" else (HEAD, TAIL)
    if part.end - start <= head + tail:
        return [_plain(content[start : part.end], part.encoding)]
    last = content[part.end - tail : part.end]
    last = last[last.find(b"\n") + 1 :]  # whole lines: base64 then starts at a quantum
    return [_plain(content[start : start + head], part.encoding), _plain(last, part.encoding)]


def _plain(octets: bytes, encoding: bytes) -> bytes:
    if encoding == b"quoted-printable":
        return a2b_qp(octets)
    return from_base64(octets) if encoding == b"base64" else octets


def from_base64(octets: bytes) -> bytes:
    """What of it can be decoded, whatever stands between."""
    try:
        return a2b_base64(octets + b"===")
    except Base64Error:  # a single character is left over: somebody cut the message
        letters = octets.translate(None, _NOT_BASE64)
        return a2b_base64(letters[: len(letters) // 4 * 4])


def _read(raw: bytes, prose: Callable[[bytes], bytes], before: bytes) -> Read:
    """What is wanted of a text: `prose` makes normal text of a stretch of it, which may begin at any `before`."""
    near, used = _from_start(raw, OPENING + BODY, prose, before)
    if used == len(raw):
        return Read(near, b"", len(near))
    far, used_at_end = _from_end(raw[used:], CLOSING, prose, before)
    used += used_at_end
    length = len(near) + len(far)
    return Read(near, far, length + (len(raw) - used) * length // used)


def _from_start(raw: bytes, enough: int, prose: Callable[[bytes], bytes], before: bytes) -> tuple[bytes, int]:
    """Normal text of the beginning, `enough` octets if there are as many, and how many octets of `raw` that took.

    Stretch by stretch, each as long as the last one says that it takes; to the end, where hardly more is there.
    """
    words, used, step = b"", 0, enough * 3 // 2
    while len(words) < enough and used < len(raw):
        cut = len(raw)
        if used + step * 5 // 4 < cut:
            at = used + step
            places = (raw.find(mark, at, at + LONG_WORD) for mark in (before, b" "))
            cut = next((place for place in places if place >= 0), at)
        more = prose(raw[used:cut])
        words = words + b" " + more if words and more else words or more
        used = cut
        step = _step(enough, len(words), used)
    return words, used


def _from_end(raw: bytes, enough: int, prose: Callable[[bytes], bytes], before: bytes) -> tuple[bytes, int]:
    """The same from the end."""
    words, used, step = b"", 0, enough * 3 // 2
    while len(words) < enough and used < len(raw):
        end, cut = len(raw) - used, 0
        if step * 5 // 4 < end:
            at = end - step
            places = (raw.rfind(mark, max(0, at - LONG_WORD), at) for mark in (before, b" "))
            cut = next((place for place in places if place >= 0), at)
        more = prose(raw[cut:end])
        words = more + b" " + words if words and more else words or more
        used = len(raw) - cut
        step = _step(enough, len(words), used)
    return words, used


def _step(enough: int, found: int, used: int) -> int:
    """How many octets to read next, where `used` gave `found`."""
    return max(SHORTEST_STEP, (enough - found) * used // max(found, used // 16, 1) * 9 // 8)


def _prose(text: bytes) -> bytes:
    """Normal text of plain text, links left out."""
    return normal(_LINK.sub(b" ", text) if b"://" in text else text)


def _prose_of_page(page: bytes) -> bytes:
    """Normal text of HTML, references resolved."""
    text = _without_tags(page)
    if b"&" in text:
        text = _REFERENCE.sub(_resolved, _without_filling(text))
    return _prose(text)


def _without_filling(text: bytes) -> bytes:
    """Without what fills preheaders, by the hundred."""
    return text.replace(b"&nbsp;", b" ").replace(b"&zwnj;", b"").replace(b"&#847;", b"").replace(b"&#8199;", b"")


def stripped(page: bytes) -> bytes:
    """The text of an HTML page, entities not yet resolved; head, styles and scripts left out."""
    return _without_tags(_body(page))


def _body(page: bytes) -> bytes:
    """A page without head, styles and scripts."""
    body = page.find(b"<body")
    if body >= 0:
        page = page[body:]
    page = _without(page, b"<style", b"</style")
    if body < 0:
        page = _without(_without(page, b"<script", b"</script"), b"<title", b"</title")
    return page


def _without_tags(page: bytes) -> bytes:
    """What stands between the tags; nothing from one on that the window cut."""
    return _TAGS.sub(b" ", page)


def _without(page: bytes, opening: bytes, closing: bytes) -> bytes:
    for _ in range(8):
        at = page.find(opening)
        if at < 0:
            break
        end = page.find(closing, at)
        page = page[:at] + b" " + (page[end:] if end >= 0 else b"")
    return page


def _resolved(match: "re.Match[bytes]") -> bytes:
    return _character(match[0])


@lru_cache(maxsize=1024)
def _character(reference: bytes) -> bytes:
    """What a character reference stands for, as UTF-8; a blank if there is no such character."""
    name = reference[1:-1].decode()
    if name[0] != "#":
        return html5.get(name + ";", " ").encode()
    number = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return chr(number).encode(errors="replace") if number <= 0x10FFFF else b" "


def as_utf8(octets: bytes, charset: str) -> bytes:
    """Text in a charset that is known and differs from UTF-8, as UTF-8; anything else as it is."""
    if charset not in _CHARSETS or (octets.isascii() and charset != "iso-2022-jp"):
        return octets
    return octets.decode(charset.removesuffix("-i").removesuffix("-e"), errors="replace").encode(errors="replace")
