"""All of a message's text, for whoever has to be sure that something is not in it. Pure; takes some ms, so the windows of
text.py are asked first.

Still bounded: of all text parts together so many octets are read, of each the end rather than the beginning, because what
is looked for (an address, a name) stands in footers.
"""

import re
from binascii import a2b_qp
from collections.abc import Iterator, Sequence
from html import unescape

from relay.header import Field
from relay.policy.evidence.lexicon import normal
from relay.policy.evidence.text import Part, as_utf8, from_base64, parts_of, stripped

MAX_WHOLE = 160 << 10  # octets, still encoded, of all parts: the longest newsletters of shops have 150 KB
LINE = 1_000  # octets of a line that keeps to RFC 5322 2.1.1
MAX_REFERENCES = 5_000  # character references that are resolved, 1 us each
_REFERENCE = re.compile(r"&(?:#\w{1,7}|[A-Za-z]\w{1,24});", re.ASCII)
# Signs that normal() keeps because they mean something; between the words of an address they may stand or not.
_BARE = bytes(32 if c in b":#%$'&+-@" else c for c in range(256))


def words(text: bytes) -> bytes:
    """Normal text as bare words, a blank before and behind each."""
    return b" " + b" ".join(text.translate(_BARE).split()) + b" "


def whole(content: bytes, fields: Sequence[Field], rest: int) -> bytes:
    """`words` of all text parts. `fields` and `rest` as relay.header.split() gives them. Never raises."""
    return words(b" ".join(_texts(content, parts_of(content, fields, rest).texts)))


def _texts(content: bytes, parts: Sequence[Part]) -> Iterator[bytes]:
    left = MAX_WHOLE
    for part in parts:
        start = max(part.start, part.end - left)
        if start > part.start:  # whole lines: base64 then starts at a quantum, and no code of quoted-printable is cut
            start = content.find(b"\n", start, min(start + LINE, part.end)) + 1 or start
        left -= part.end - start
        yield normal(_read(content[start : part.end], part))


def _read(octets: bytes, part: Part) -> bytes:
    """As UTF-8, without transfer encoding (RFC 2045 6), tags and character references."""
    if part.encoding == b"quoted-printable":
        octets = a2b_qp(octets)
    elif part.encoding == b"base64":
        octets = from_base64(octets)
    if part.kind != b"text/html":
        return as_utf8(octets, part.charset)
    page = as_utf8(stripped(octets), part.charset)
    if b"&" not in page:
        return page
    return _REFERENCE.sub(_resolved, page.decode(errors="replace"), MAX_REFERENCES).encode(errors="replace")


def _resolved(match: "re.Match[str]") -> str:
    return unescape(match[0])
