"""What a form sends, in both encodings: application/x-www-form-urlencoded and multipart/form-data (RFC 7578). Pure.

RFC 8058 3.2 lets mailbox providers use either. Whatever else comes has no fields; nothing here raises for what was sent.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

MAX_FIELDS = 100
MAX_BODY = 16_384  # octets of a request that are read; a form of ours has some 300
_MAX_HEAD = 500  # octets of a part's header that are looked at: a pattern must not try each of many beginnings anew
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'content-disposition:\s*form-data\b[^\r\n]*?;\s*name=(?:"([^"\r\n]*)"|([^\s;"]+))', re.IGNORECASE)

Fields = Mapping[str, Sequence[str]]


def fields_of(content_type: str, body: bytes) -> Fields:
    """By name, each with its values in their order."""
    found: dict[str, list[str]] = {}
    pairs = _multipart(content_type, body) if content_type.lower().startswith("multipart/form-data") else _pairs(body)
    for name, value in pairs[:MAX_FIELDS]:
        found.setdefault(name, []).append(value)
    return found


def first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "")


def one_click(fields: Fields) -> bool:
    """Is this what RFC 8058 3.2 says a mailbox provider posts?"""
    return [value.strip() for value in fields.get("List-Unsubscribe", ())] == ["One-Click"]


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:  # more fields than any form has
        return []


def _multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    match = _BOUNDARY.search(content_type)
    if match is None:
        return []
    boundary = b"\r\n--" + (match[1] or match[2]).encode(errors="replace")
    pairs: list[tuple[str, str]] = []
    for part in (b"\r\n" + body).split(boundary)[1 : MAX_FIELDS + 1]:
        if part.startswith(b"--"):
            break
        head, blank, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head[:_MAX_HEAD])
        if blank and name is not None:
            pairs.append(((name[1] or name[2] or b"").decode(errors="replace"), content.decode(errors="replace")))
    return pairs
