"""The note by which away@sim.test says that it is away, as a program that knows the rules writes one (RFC 3834). Pure.

It goes to the return path (4), from nobody, marked as what it is (5), and answers no machine and no list (2): so never a mail
from <>, which is how two such programs would write to each other for ever.
"""

from email.utils import formatdate

from relay.header import Field, split

LONGEST = 500  # octets of a subject or an id that are repeated
_LISTS = (b"bulk", b"list", b"junk")  # Precedence of mail to many


def note(away: str, sender: str, content: bytes, now: int, hostname: str) -> bytes | None:
    """What `away` answers to `content`, sent by `sender` at `now` (ms); None: nothing."""
    fields, _ = split(content)
    if not sender or _is_no_persons(fields):
        return None
    lines = [
        f"From: <{away}>".encode(errors="surrogateescape"),
        f"To: <{sender}>".encode(errors="surrogateescape"),
        b"Subject: Auto: " + _value(fields, "subject"),
        f"Date: {formatdate(now // 1000)}".encode(),
        f"Message-ID: <away.{now}@{hostname}>".encode(),
        b"Auto-Submitted: auto-replied",
    ]
    original = _value(fields, "message-id")
    if original:
        lines += [b"In-Reply-To: " + original, b"References: " + original]
    return b"\r\n".join([*lines, b"", b"I am away (simulated), and nobody reads what you sent.", b""])


def _is_no_persons(fields: list[Field]) -> bool:
    """Was it sent by a machine in answer to something, or to a list?"""
    automatic = _value(fields, "auto-submitted").lower() or b"no"
    return (
        not automatic.startswith(b"no")
        or _value(fields, "precedence").lower() in _LISTS
        or any(one.name.startswith("list-") for one in fields)
    )


def _value(fields: list[Field], name: str) -> bytes:
    value = next((one.value for one in fields if one.name == name), b"")
    return b" ".join(value.split())[:LONGEST]
