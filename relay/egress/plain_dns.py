"""Plain questions to a name server and its plain answers, octet by octet (RFC 1035 4.1). Pure.

A mailing to ten thousand domains asks forty thousand questions, and dnspython took half of all that a first message to a
domain cost. Most answers are alike: records of the very name that was asked about, or none with the SOA that says for how
long. Those are read here. Whatever is anything else (an alias, an error, a name with odd octets, one octet too few) is None,
and dnspython asks again: what is hard about DNS stays in one place.
"""

import re
import struct
from ipaddress import IPv6Address

from relay.egress.mx import Answer, Found

KINDS = {"A": 1, "MX": 15, "TXT": 16, "AAAA": 28}

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_EDNS = (
    b"\0" + b"\0\x29" + (1232).to_bytes(2, "big") + bytes(6)
)  # OPT (RFC 6891 6.1.2); the size that is not fragmented
_RECURSE, _AUTHENTIC = 0x0100, 0x0020  # RD, AD
_RESPONSE, _TRUNCATED, _OPCODE, _RCODE = 0x8000, 0x0200, 0x7800, 0x000F
_NO_ERROR, _NO_NAME = 0, 3
_IN, _SOA = 1, 6
_HEADER = 12
_POINTER = b"\xc0\x0c"  # to the name asked about, which most owners of records are
_HEAD = struct.Struct("!HHHHHH")  # id, flags, how many questions, answers, records of authority, others
_FIXED = struct.Struct("!HHIH")  # type, class, TTL, length
_JUMPS = 20  # pointers in one name: an honest one has two or three
_TOO_HIGH = 2**31  # a TTL that means 0 (RFC 2181 8)
_V4_MAPPED = b"\0" * 10 + b"\xff\xff"  # written in two ways: dnspython's is the one


class _Odd(Exception):
    """Not for here."""


def question(name: str, kind: str, number: int, *, authentic: bool) -> bytes | None:
    """A query with this id; None where dnspython is to ask. `authentic`: AD is wanted in the answer (RFC 6840 5.7)."""
    if kind not in KINDS or _NAME.fullmatch(name) is None:
        return None
    flags = _RECURSE | (_AUTHENTIC if authentic else 0)
    labels = b"".join([bytes((len(label),)) + label for label in name.encode().split(b".")])
    return _HEAD.pack(number, flags, 1, 0, 0, 1) + labels + b"\0" + KINDS[kind].to_bytes(2, "big") + b"\0\1" + _EDNS


def answers(response: bytes, query: bytes) -> bool:
    """It is to this query, and not somebody's guess: the same id, the same question (RFC 5452 9.1)."""
    asked = query[_HEADER : -len(_EDNS)]
    told = response[_HEADER : _HEADER + len(asked)]
    return response[:2] == query[:2] and response[4:6] == b"\0\1" and told.lower() == asked.lower()


def cut(response: bytes) -> bool:
    """It was too long for UDP, and is to be asked for by TCP."""
    return bool(response[2] << 8 & _TRUNCATED)


def read(response: bytes, query: bytes, *, authentic: bool) -> tuple[Answer, int] | None:
    """The Answer and the seconds it holds, or None. `response` is one that `answers` is true of."""
    flags = int.from_bytes(response[2:4], "big")
    code = flags & _RCODE
    if flags & (_RESPONSE | _TRUNCATED | _OPCODE) != _RESPONSE or code not in (_NO_ERROR, _NO_NAME):
        return None
    try:
        return _read(response, query, code, secure=authentic and bool(flags & _AUTHENTIC))
    except (_Odd, IndexError, struct.error):
        return None


def _read(response: bytes, query: bytes, code: int, *, secure: bool) -> tuple[Answer, int] | None:
    at = len(query) - len(_EDNS)
    kind = int.from_bytes(query[at - 4 : at - 2], "big")
    name, _ = _name(query, _HEADER)
    found: dict[tuple[int, str], None] = {}
    least = _TOO_HIGH
    _, _, _, records, authority, _ = _HEAD.unpack_from(response)
    for _ in range(records):
        owner, record, ttl, start, at = _record(response, at, name)
        if owner != name or record != kind:
            return None
        found[_value(response, kind, start, at)] = None
        least = min(least, ttl)
    if found and code == _NO_ERROR:
        return Answer(Found.RECORDS, tuple(found), "", secure, name), least
    for _ in range(authority):
        owner, record, ttl, start, at = _record(response, at, name)
        if record == _SOA and (not owner or name == owner or name.endswith("." + owner)):
            minimum = int.from_bytes(response[at - 4 : at], "big")  # RFC 2308 4: the smaller counts
            nothing = Answer(Found.NO_NAME if code else Found.NOTHING, secure=secure)
            return None if found or at - start < 22 else (nothing, min(ttl, minimum))
    return None


def _record(message: bytes, at: int, asked: str) -> tuple[str, int, int, int, int]:
    """Owner, type, TTL, and where its data begins and ends; `asked`: the name asked about."""
    if message.startswith(_POINTER, at):
        owner, at = asked, at + 2
    else:
        owner, at = _name(message, at)
    record, of_class, ttl, length = _FIXED.unpack_from(message, at)
    start = at + _FIXED.size
    end = start + length
    if of_class != _IN or end > len(message):
        raise _Odd
    return owner, record, ttl if ttl < _TOO_HIGH else 0, start, end


def _name(message: bytes, at: int) -> tuple[str, int]:
    """A name in lower case without the last dot, and where it ends; raises _Odd, IndexError."""
    labels: list[bytes] = []
    after = 0
    for _ in range(_JUMPS + 128):
        length = message[at]
        if length >= 0xC0:  # a pointer (RFC 1035 4.1.4)
            after = after or at + 2
            target = (length & 0x3F) << 8 | message[at + 1]
            if target >= at:  # forwards, or to itself
                raise _Odd
            at = target
        elif length > 63:
            raise _Odd
        elif not length:
            name = b".".join(labels).decode("latin-1").lower()
            if labels and _NAME.fullmatch(name) is None:
                raise _Odd
            return name, after or at + 1
        else:
            labels.append(message[at + 1 : at + 1 + length])
            at += 1 + length
    raise _Odd


def _value(message: bytes, kind: int, start: int, end: int) -> tuple[int, str]:
    """As Answer.records has it."""
    data = message[start:end]
    if kind == KINDS["A"] and len(data) == 4:
        return 0, ".".join(map(str, data))
    if kind == KINDS["AAAA"] and len(data) == 16 and not data.startswith(_V4_MAPPED):
        return 0, str(IPv6Address(data))
    if kind == KINDS["MX"] and len(data) > 2:
        host, after = _name(message, start + 2)
        if after == end:
            return int.from_bytes(data[:2], "big"), host
    if kind == KINDS["TXT"] and data:
        return 0, _strings(data).decode("latin-1")
    raise _Odd


def _strings(data: bytes) -> bytes:
    """The character-strings of a TXT record, joined."""
    joined, at = b"", 0
    while at < len(data):
        length = data[at]
        joined += data[at + 1 : at + 1 + length]
        at += 1 + length
    if at != len(data):
        raise _Odd
    return joined
