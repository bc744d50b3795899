"""The parts of a returned mail: bounded, forgiving, never raising. Pure.

Bounces come from programs of thirty years, so whatever is not MIME is text: a boundary that does not occur, a part without
header, an unknown charset. What was returned with the report (message/rfc822 and its relatives) is one part and is never
looked into, so that nothing inside can be taken for a part of the report (parts.returned tells the two fields we ask for).
Line ends may be CRLF, LF or CR. Time grows with the octets read, at most MAX_OCTETS.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape

MAX_OCTETS = 256 * 1024  # of a mail looked at: a report stands in front of what it returns
MAX_TEXT = 128 * 1024  # octets of one part looked at as text: 1,000 recipients of a delivery status
MAX_PARTS = 40
MAX_DEPTH = 6  # multiparts within multiparts; the deepest report seen is a report in a mixed in a signed one
MAX_HEADER_LINES = 2000  # of one header; the rest of it is passed over
MAX_VALUE = 4000  # characters of a field

RETURNED = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers", "message/partial")

Fields = dict[str, str]  # names in lower case; of fields that occur twice the first

_FIELD = re.compile(rb"([!-9;-~]{1,80})[ \t]*:[ \t]*(.*)")
_PARAMETER = re.compile(r';\s*([a-z0-9_-]+)\*?(?:0\*?)?\s*=\s*(?:"([^"]*)"|([^;]*))', re.I)
_DASHES = re.compile(rb"(?:^|\n)--([^\s-][^\n]{3,200}|-{1,40}[^\s-][^\n]{3,200})(?=\n)")
_CHARSET = re.compile(
    r"(?:utf-?[78]|(?:x-)?(?:iso|windows|cp|mac|koi8|gb|big5|euc|shift|sjis|us|ascii|ks_c)[\w-]*)\Z", re.I
)
_NO_ADDRESS_TAG = re.compile(r'<(?![^<>\s="]+@[^<>\s="]+>)[^<>]*>')
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6]|p|/td)\b[^<>]*>", re.I)
_HIDDEN = re.compile(r"<(style|script|head|title)\b")
_ALIASES = {"unicode-1-1-utf-7": "utf-7", "x-sjis": "shift_jis", "ks_c_5601-1987": "euc-kr", "x-euc-jp": "euc-jp"}


@dataclass(slots=True)
class Part:
    """One leaf of a mail: its header fields, its media type in lower case, its octets as they came (line ends are LF)."""

    fields: Fields
    kind: str
    parameters: dict[str, str]
    body: bytes
    within: bool = False  # a multipart; else it is the mail itself
    _text: str | None = field(default=None, repr=False)

    @property
    def returned(self) -> bool:
        """Is this (of) the message that came back, and not what is said about it?"""
        if self.kind in RETURNED:
            return True
        bare = self.within and "content-type" not in self.fields
        return bare and ("received" in self.fields or {"from", "to"} <= self.fields.keys())

    @property
    def header(self) -> Fields:
        """Of one that was returned: the header of the message. It may be encoded (RFC 6522 4, RFC 6532 3.5), against the rules
        (RFC 2046 5.2.1) a whole message, too."""
        if self.kind not in RETURNED:
            return self.fields
        return split(_unwrapped(self, self.body[:MAX_TEXT]))[0]

    @property
    def text(self) -> str:
        """The part as text: decoded as far as that goes, HTML without its tags."""
        if self._text is None:
            self._text = _decoded(self)
        return self._text


def normal(content: bytes) -> bytes:
    """The first MAX_OCTETS with LF as line end."""
    head = content[:MAX_OCTETS]
    if b"\r" in head:
        head = head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return head


def read(content: bytes) -> tuple[Fields, list[Part]]:
    """The mail's own header fields and its leaves, in their order. `content` as normal() makes it."""
    fields, body = split(content.lstrip(b"\n"))
    parts: list[Part] = []
    for part in _leaves(fields, body, 0):
        parts.append(part)
        if len(parts) >= MAX_PARTS:
            break
    return fields, parts


def split(octets: bytes) -> tuple[Fields, bytes]:
    """Header fields, unfolded, and the rest. What does not begin with a field has no header."""
    fields: Fields = {}
    last = fields
    position, name, lines = 0, "", 0
    if octets.startswith(b"\n"):
        return fields, octets[1:]
    if octets.startswith((b"From ", b">From ")):  # an mbox kept its first line
        position = octets.find(b"\n") + 1
    while 0 <= position < len(octets):
        end = octets.find(b"\n", position)
        end = len(octets) if end < 0 else end
        line = octets[position:end]
        lines += 1
        if lines > MAX_HEADER_LINES:
            blank = octets.find(b"\n\n", position)
            return fields, octets[blank + 2 :] if blank >= 0 else b""
        if not line.strip():
            return fields, octets[end + 1 :]
        if line[:1] in (b" ", b"\t") and name:
            if len(last[name]) < MAX_VALUE:
                last[name] += " " + _latin(line[:MAX_VALUE].strip())
        else:
            found = _FIELD.match(line[:MAX_VALUE])
            if found is None:
                break
            name = found[1].decode("ascii").lower()
            last = fields if name not in fields else {}  # of one that is repeated, the folds go nowhere either
            last[name] = _latin(found[2])
        position = end + 1
    return fields, octets[position:]


def _latin(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _leaves(fields: Fields, body: bytes, depth: int) -> Iterator[Part]:
    kind, parameters = content_type(fields.get("content-type", ""))
    boundary = parameters.get("boundary", "").encode("latin-1", "replace").strip()
    if kind.startswith("multipart/") and depth < MAX_DEPTH:
        sections = _sections(body, boundary) if boundary else []
        sections = sections or _sections(body, _guessed(body))
        if sections:
            for section in sections:
                yield from _leaves(*split(section), depth + 1)
            return
    yield Part(fields, kind, parameters, body, depth > 0)


def _guessed(body: bytes) -> bytes:
    """The boundary of a multipart whose header got lost or broken: what its first line of two dashes says."""
    found = _DASHES.search(body[:MAX_VALUE])
    return found[1] if found else b""


def _sections(body: bytes, boundary: bytes) -> list[bytes]:
    """What stands between the boundary lines (RFC 2046 5.1.1), without preamble and epilogue; [] if there is none."""
    sections: list[bytes] = []
    if not boundary:
        return sections
    body = b"\n" + body
    mark = b"\n--" + boundary
    start = _next(body, mark, 0)
    while start >= 0 and len(sections) < MAX_PARTS:
        line_end = body.find(b"\n", start + len(mark))
        if line_end < 0 or body.startswith(b"--", start + len(mark)):
            break
        end = _next(body, mark, line_end)
        sections.append(body[line_end + 1 : end if end >= 0 else len(body)])
        start = end
    return sections


def _next(body: bytes, mark: bytes, position: int) -> int:
    """Where the next boundary line begins, -1 if there is none; not at a boundary that only begins like this one."""
    while (position := body.find(mark, position)) >= 0:
        if body[position + len(mark) : position + len(mark) + 1] in (b"", b"\n", b" ", b"\t", b"-"):
            break
        position += len(mark)
    return position


def content_type(value: str) -> tuple[str, dict[str, str]]:
    """The media type ("text/plain" where there is none) and its parameters, in lower case but for their values."""
    kind = (value.replace(";", " ").replace("(", " ").split() or [""])[0].lower()
    if "/" not in kind:
        kind = "text/plain"
    found = {m[1].lower(): (m[2] if m[2] is not None else m[3]).strip() for m in _PARAMETER.finditer(value)}
    return kind, found


def _decoded(part: Part) -> str:
    octets = _unwrapped(part, part.body[:MAX_TEXT])
    text = _characters(octets, part.parameters.get("charset", "")).replace("\r\n", "\n").replace("\r", "\n")
    return _plain(text) if part.kind == "text/html" or _looks_like_html(text) else text


def _unwrapped(part: Part, octets: bytes) -> bytes:
    """`octets` of it without its transfer encoding (RFC 2045 6)."""
    encoding = part.fields.get("content-transfer-encoding", "").strip().lower()
    if encoding == "base64":
        return _base64(octets)
    return binascii.a2b_qp(octets) if encoding == "quoted-printable" else octets


def _base64(octets: bytes) -> bytes:
    """As far as it is base64; a cut group at the end is left out."""
    clean = re.sub(rb"[^A-Za-z0-9+/]", b"", octets.partition(b"=")[0])
    return binascii.a2b_base64(clean[: len(clean) // 4 * 4] + _padded(clean[len(clean) // 4 * 4 :]))


def _padded(rest: bytes) -> bytes:
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _characters(octets: bytes, charset: str) -> str:
    charset = charset.strip("\"' ").lower()
    charset = _ALIASES.get(charset, charset)
    if _CHARSET.match(charset) and charset not in ("us-ascii", "ascii"):
        try:
            return octets.decode(charset, "replace").encode(errors="replace").decode()
        except (LookupError, UnicodeError):
            pass
    return _latin(octets)


def _looks_like_html(text: str) -> bool:
    return text[:200].lstrip()[:15].lower().startswith(("<html", "<!doctype"))


def _plain(html: str) -> str:
    """The words of a page, a line for each block; addresses in angle brackets are kept."""
    html = _shown(html)
    flat = re.sub(r"[ \t]*\n[ \t]*", " ", html)
    return unescape(_NO_ADDRESS_TAG.sub("", _BREAK.sub("\n", flat)))


def _shown(html: str) -> str:
    """Without what stands in _HIDDEN elements; one that is never closed hides nothing."""
    kept: list[str] = []
    position = 0
    low = html.lower()
    while (found := _HIDDEN.search(low, position)) is not None:
        end = low.find(f"</{found[1]}", found.end())
        if end < 0:
            break
        kept.append(html[position : found.start()])
        position = end
    return "".join([*kept, html[position:]])
