"""Header fields of a message as bytes (RFC 5322 2.2): found, never rewritten. Pure.

A field is kept as it came, folds and line end included. A line in the header that is no field (no colon, or a blank
before it) is kept as a nameless field, so that what leaves is what came.
"""

import re
from collections.abc import Callable, Sequence, Set
from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache, partial
from typing import NamedTuple

MAX_HEADER = 256 << 10  # octets: a thousand recipients named in To take 40 KB; Postfix cuts at 100 (header_size_limit)
MAX_LINES = 10_000
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_SIGNED_LIST = re.compile(rb"(?:^|;)\s*h\s*=([^;]*)")


class Field(NamedTuple):
    """One header field: `name` in lower case ("" for a line that is none), `raw` with its folds and final CRLF."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """Everything after the colon, unfolded (CRLF removed, the blanks after it kept) and stripped."""
        return self.raw.partition(b":")[2].replace(b"\r\n", b"").strip()


# Without the Python frame of Field(): there is one of these for every field of every message.
_field: Callable[[tuple[str, bytes]], Field] = partial(tuple.__new__, Field)


@lru_cache(maxsize=1024)  # apps write the same few names; one of more than 998 octets is in no message
def _name(octets: bytes) -> str:
    """What stands before the colon, in lower case; "" if that is no name."""
    name = octets.rstrip(b" \t")
    return "" if b" " in name else name.decode("latin-1").lower()


def is_overlong(content: bytes) -> bool:
    """Whether its header has more octets or lines than MAX_HEADER and MAX_LINES: to look at each would hold up all others."""
    if content.startswith(b"\r\n"):
        return False
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER + 2)
    if end < 0:
        return len(content) > MAX_HEADER or content.count(b"\r\n") > MAX_LINES
    return end > 2 * MAX_LINES and content.count(b"\r\n", 0, end) >= MAX_LINES


def split(content: bytes) -> tuple[list[Field], int]:
    """Header fields of `content` (CRLF line ends), and where the rest starts: at the blank line, or at the end.

    `content[rest:]` is therefore "" or begins with the CRLF that separates header and body.
    """
    if content.startswith(b"\r\n"):
        return [], 0
    end = content.find(b"\r\n\r\n")
    end = len(content) if end < 0 else end + 2
    header, fields = content[:end].removesuffix(b"\r\n"), []
    folded = b"\r\n " in header or b"\r\n\t" in header
    for line in _FIELD_END.split(header) if folded else header.split(b"\r\n"):
        name, colon, _ = line.partition(b":")
        fields.append(_field((_name(name) if colon else "", line + b"\r\n")))
    return fields, end


def first(fields: Sequence[Field], name: str) -> bytes:
    """The value of the first field of this name (in lower case); b"" without one."""
    for field in fields:
        if field.name == name:
            return field.value
    return b""


def readable(value: bytes) -> str:
    """A field's value as people read it, its encoded words (RFC 2047) decoded where they can be; never raises.

    What holds none is text as it stands; else runs of blanks are one. The caller bounds `value`.
    """
    plain = value.decode(errors="replace")
    if "=?" not in plain:
        return plain
    try:
        words = decode_header(plain)
        decoded = "".join(w if isinstance(w, str) else w.decode(c or "latin-1", errors="replace") for w, c in words)
    except (LookupError, ValueError, HeaderParseError):
        decoded = plain
    # Some charsets (utf-7) make lone surrogates, which are no text that JSON could carry.
    return " ".join(decoded.encode(errors="replace").decode().split())


def covered(signature: bytes, names: Set[str]) -> set[str]:
    """Those of `names` that the value of a DKIM-Signature field says it signs (RFC 6376 3.5, h=)."""
    match = _SIGNED_LIST.search(signature)
    signed = {name.strip().decode("latin-1").lower() for name in match[1].split(b":")} if match else set()
    return signed & names
