"""What Postlane changes in a header, exactly as INTERFACE's table says. Pure; called by accept() alone.

The message is taken apart into what is the same for all recipients (`content`: the kept fields, blank line and body,
every octet as it came) and what is put in front of it (`added`; the trace id per recipient). Fields are removed by
leaving them out, so where nothing is removed `content` is the very bytes the app sent.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from relay.header import Field, covered, first, readable
from relay.message import Peer

_REMOVED = frozenset({"bcc", "resent-bcc", "return-path"})
_FEEDBACK_ID = frozenset({"feedback-id"})
_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\-\[\]]")
MAX_SUBJECT = 300  # characters of a subject kept in events


@dataclass(slots=True)
class Rewritten:
    """fields: those that leave, ours first (what is signed); added: ours as bytes; content: the app's, kept.

    ours       how many of `fields` are ours
    removed    names of the app's fields that do not leave      dropped  its signatures that went with them
    """

    fields: list[Field]
    added: bytes
    content: bytes
    body_start: int
    message_id: str
    removed: Set[str]
    dropped: Sequence[Field]
    ours: int


def rewrite(
    fields: Sequence[Field],
    rest: int,
    content: bytes,
    *,
    message_id: str,
    received: bytes,
    now: int,
    also_remove: frozenset[str] = frozenset(),
    replaced: frozenset[str] = frozenset(),
    feedback_id: bytes = b"",
) -> Rewritten:
    """`rest` is where header.split() found the blank line; `message_id` is used if the app set none, and the field
    `feedback_id`; `also_remove` names fields that the message's stream does without, `replaced` those that ours take the place
    of, in lower case."""
    if not content.endswith(b"\r\n"):  # only BDAT can bring this about (DESIGN, invariant 4)
        rest += 2 * (rest == len(content))
        content += b"\r\n"
    if rest == len(content):
        content += b"\r\n"  # a header alone: the blank line that ends it (RFC 5322 2.1)
    unwanted = _REMOVED | also_remove | replaced if also_remove or replaced else _REMOVED
    kept, removed, dropped = _kept(fields, unwanted, replaced)
    if len(kept) != len(fields):
        header = b"".join([f.raw for f in kept])
        content, rest = header + content[rest:], len(header)
    ours = [Field("received", received)]
    there = {f.name: f for f in reversed(kept)}
    own_id = there.get("message-id")
    if own_id is None:
        ours.append(Field("message-id", b"Message-ID: " + message_id.encode() + b"\r\n"))
    if "date" not in there:
        ours.append(Field("date", b"Date: " + date(now).encode() + b"\r\n"))
    if feedback_id and "feedback-id" not in there and not ("dkim-signature" in there and _signed(kept)):
        ours.append(Field("feedback-id", feedback_id))
    return Rewritten(
        fields=ours + kept,
        added=b"".join([f.raw for f in ours]),
        content=content,
        body_start=rest + 2,
        message_id=message_id if own_id is None else own_id.value[:998].decode(errors="replace"),
        removed=removed,
        dropped=dropped,
        ours=len(ours),
    )


def _kept(
    fields: Sequence[Field], unwanted: frozenset[str], replaced: frozenset[str]
) -> tuple[list[Field], set[str], list[Field]]:
    """All but the removed ones, their names, and the app's signatures that go with them: those that cover one of them, or
    say that there is none where we set one, and so would fail (RFC 6376 3.7, 5.4.2)."""
    removed = {f.name for f in fields if f.name in unwanted or f.name.startswith("x-postlane-")}
    changed = removed | replaced
    if not changed:
        return list(fields), removed, []
    kept = [f for f in fields if f.name not in removed]
    dropped = [f for f in kept if f.name == "dkim-signature" and covered(f.value, changed)]
    return [f for f in kept if f not in dropped] if dropped else kept, removed, dropped


def _signed(fields: Sequence[Field]) -> bool:
    """Does a signature of the app's say that there is no Feedback-ID?"""
    return any(f.name == "dkim-signature" and covered(f.value, _FEEDBACK_ID) for f in fields)


def received_field(peer: Peer, hostname: str, message_id: str, now: int, priority: int = 0) -> bytes:
    """Received, as RFC 5321 4.4 asks; no `for` clause, because a copy may go to others who must not see it. A priority that
    is not the usual one is said in the clause that RFC 6710 has for it."""
    helo = _UNSAFE.sub("?", peer.helo)[:255] or "unknown"
    address = f"IPv6:{peer.ip}" if ":" in peer.ip else peer.ip
    tls = f"\r\n\t(using {peer.tls})" if peer.tls else ""
    clause = f"\r\n\tPRIORITY {priority}" if priority else ""
    line = (
        f"Received: from {helo} ([{address}])\r\n\tby {hostname} (Postlane) with {peer.protocol} id {message_id}"
        f"{clause}{tls};\r\n\t{date(now)}\r\n"
    )
    return line.encode()


def date(now: int) -> str:
    """RFC 5322 3.3, in UTC; `now` in ms."""
    return _date(now // 1000)


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


def subject_of(fields: Sequence[Field]) -> str:
    """The subject as people read it (RFC 2047 decoded), bounded; never raises."""
    return readable(first(fields, "subject")[: MAX_SUBJECT * 4])[:MAX_SUBJECT]
