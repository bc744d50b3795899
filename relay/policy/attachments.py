"""Names of a message's attachments, as rules ask for them. Pure, and bounded whatever the message is.

Only what a part declares of itself counts (`Content-Disposition: attachment`, RFC 2183); nothing is decoded but the name
(RFC 2231, and the encoded words that many programs write there). The standard library's reader of such parameters takes
time that grows with the square of their number, so it is not used here.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from relay.header import readable, split

# Where headers of parts are looked for. An attachment that begins behind it is not seen by rules: finding it in a
# message of 25 MB would take longer than all the rest of accepting it.
_LOOKED_AT = 4 << 20
_MOST = 50  # parts; nobody attaches more, and a mail bomb is made of them
_HEADER = 1_000  # octets of a part's field
_SPELLINGS = (
    b"\nContent-Disposition:",
    b"\ncontent-disposition:",
    b"\nContent-disposition:",
    b"\nCONTENT-DISPOSITION:",
)
# A quote that is never closed ends with the field: searched for once, not from each of its octets.
_PARAMETER = re.compile(
    rb';\s*+filename(?:\*(\d{1,2}))?(\*?)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"?|([^;\s"]*+))', re.IGNORECASE | re.DOTALL
)


def attachments(content: bytes) -> list[str]:
    """A name for each attachment, "" where it has none; never raises."""
    return [name for place in _places(content) if (name := _name(content, place)) is not None]


def _places(content: bytes) -> Iterator[int]:
    """Where a Content-Disposition field begins."""
    left = _MOST
    end = min(len(content), _LOOKED_AT)
    for spelling in _SPELLINGS:
        at = content.find(spelling, 0, end)
        while at >= 0 and left:
            yield at + 1
            left -= 1
            at = content.find(spelling, at + len(spelling), end)


def _name(content: bytes, place: int) -> str | None:
    """The file name of the field at `place`; None if the part is no attachment."""
    fields, _ = split(content[place : place + _HEADER])
    value = fields[0].value
    if not value.lower().startswith(b"attachment"):
        return None
    segments = sorted(
        (int(number or 0), bool(encoded), re.sub(rb"\\(.)", rb"\1", quoted) or plain)
        for number, encoded, quoted, plain in _PARAMETER.findall(value)
    )
    if not any(encoded for _, encoded, _ in segments):
        return readable(b"".join(text for _, _, text in segments))
    return _extended([(encoded, text) for _, encoded, text in segments])


def _extended(segments: list[tuple[bool, bytes]]) -> str:
    """RFC 2231: `utf-8'en'%D7%A9`, in one piece or several; the first names the charset."""
    first = segments[0][1].split(b"'", 2)
    charset = first[0].decode("latin-1") if len(first) == 3 else ""
    texts = [(segments[0][0], first[-1] if len(first) == 3 else segments[0][1]), *segments[1:]]
    octets = b"".join(unquote_to_bytes(text) if encoded else text for encoded, text in texts)
    try:
        return octets.decode(charset or "utf-8", errors="replace")
    except (LookupError, ValueError):  # no such charset, or none of texts
        return octets.decode("latin-1")
