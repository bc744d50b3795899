"""Names of a message's attachments, as rules ask for them. Pure, and bounded whatever the message is.

Only what a part declares of itself counts (`Content-Disposition: attachment`, RFC 2183); nothing is decoded but the name.
"""

from collections.abc import Iterator
from email.errors import HeaderParseError
from email.message import Message

from relay.header import readable, split

# Where headers of parts are looked for. An attachment that begins behind it is not seen by rules: finding it in a
# message of 25 MB would take longer than all the rest of accepting it.
_LOOKED_AT = 4 << 20
_MOST = 100  # parts; nobody attaches more, and a mail bomb is made of them
_HEADER = 4_000  # octets of a part's header
_SPELLINGS = (
    b"\nContent-Disposition:",
    b"\ncontent-disposition:",
    b"\nContent-disposition:",
    b"\nCONTENT-DISPOSITION:",
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
    letter = Message()
    letter["Content-Disposition"] = value.decode(errors="replace").replace("\r", " ").replace("\n", " ")
    try:
        name = letter.get_filename("")  # RFC 2231 continuations and charsets
    except (LookupError, ValueError, HeaderParseError, TypeError, IndexError):
        return ""
    return readable(name.encode(errors="replace"))
