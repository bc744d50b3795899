"""Messages, deliveries and changes as rows, and back. Pure.

What a query asks for stands in columns; the rest is JSON: an object for a message (a field that a later version adds
has its default in older rows), a bare array for the many recipients.
"""

from operator import attrgetter
from typing import Any

import orjson

from relay.clue import BITS, clue
from relay.message import Change, Delivery, MailClass, Message
from relay.person import AT_MOST

# Fields of Message that its `facts` hold; id, accepted_at and content are columns, row is the key.
_MESSAGE_FACTS = (
    "credential", "brand", "stream", "author", "message_id", "subject", "size", "campaign",
    "metadata", "ret", "envid", "dsn", "utf8", "eightbit", "many", "signed",
    "contradiction", "send_at", "valid_until", "priority", "tls",
    "copy", "collapse", "alike", "by", "by_trace", "skeleton",
)  # fmt: skip
_message_facts = attrgetter(*_MESSAGE_FACTS)
RECIPIENT_FACTS = ("recipient", "domain", "sender", "mail_from", "notify", "orcpt")
_recipient_facts = attrgetter(*RECIPIENT_FACTS)

MESSAGE_COLUMNS = ("row", "id", "accepted_at", "facts", "content")
RECIPIENT_COLUMNS = (
    "message", "idx", "class", "turn", "site", "stream", "next_attempt", "attempts", "held", "quota", "warned",
    "source", "last_reply", "facts", "head", "pool", "freed",
)  # fmt: skip

SENT_COLUMNS = ("id", "idx", "facts", "heard", "clue")
SUBJECT = 150  # characters of a subject that a report tells (feedback/reports.py)
# Of a message, and of a delivery, what `facts` of `sent` holds behind the first five.
_SENT_FACTS = (
    "credential", "brand", "stream", "message_id", "campaign", "metadata", "ret", "envid", "dsn", "many", "skeleton",
)  # fmt: skip
_SENT_NAMED = ("recipient", "domain", "sender", "notify", "orcpt", "site", "source")
_sent_facts = attrgetter(*_SENT_FACTS)

_QUOTA, _PACED, _COUNTED = 1, 2, 4  # bits of column quota
_WISHED = 3  # and its next two: which of AT_MOST

# A key packed into one integer: the index takes the low 16 bits (an envelope has at most some thousand recipients).
INDEX_BITS = 16
_INDEX_LIMIT = 1 << INDEX_BITS


def message_row(message: Message) -> tuple[int, str, int, str, bytes]:
    """In the order of MESSAGE_COLUMNS. Raises where a field cannot be stored."""
    if message.content is None:
        raise ValueError(f"message {message.id} has no content to store")
    facts: dict[str, Any] = dict(zip(_MESSAGE_FACTS, _message_facts(message), strict=True))
    facts["mail_class"] = int(message.mail_class)
    return message.row, message.id, message.accepted_at, orjson.dumps(facts).decode(), message.content


def message_of(row: int, identifier: str, accepted_at: int, facts: dict[str, Any]) -> Message:
    """The message without its content. Facts that this version does not know are left out."""
    known = {name: facts[name] for name in _MESSAGE_FACTS if name in facts}
    return Message(id=identifier, accepted_at=accepted_at, row=row, mail_class=MailClass(facts["mail_class"]), **known)


def recipient_row(row: int, delivery: Delivery) -> tuple[Any, ...]:
    """In the order of RECIPIENT_COLUMNS; `row` is the message's."""
    if not 0 <= delivery.index < _INDEX_LIMIT:
        raise ValueError(f"recipient {delivery.index} is beyond {_INDEX_LIMIT}")
    d = delivery
    facts = orjson.dumps(_recipient_facts(d)).decode()
    return (
        row, d.index, int(d.message.mail_class), -d.message.priority, d.site, d.message.stream, d.next_attempt,
        d.attempts, int(d.held), _permits(d), int(d.warned), d.source, d.last_reply, facts, d.head, d.pool,
        d.freed,
    )  # fmt: skip


def delivery_of(message: Message, columns: list[Any], head: bytes) -> Delivery:
    """`columns` are those of queries.py: idx, site, next_attempt, attempts, held, quota, warned, source, last_reply,
    facts, pool, freed."""
    index, site, next_attempt, attempts, held, quota, warned, source, last_reply, facts, pool, freed = columns
    return Delivery(
        message, index, facts[0], facts[1], site, facts[2], facts[3], head, facts[4], facts[5],
        attempts, next_attempt, source, last_reply, held, bool(quota & _QUOTA), bool(warned), bool(quota & _PACED), pool,
        bool(quota & _COUNTED), freed, at_most=AT_MOST[quota >> _WISHED & 3],
    )  # fmt: skip


def _permits(delivery: Delivery) -> int:
    """Column quota: the permits that it takes before its next attempt, whether it holds a place, what its recipient wished."""
    permits = _QUOTA * delivery.quota | _PACED * delivery.paced | _COUNTED * delivery.counted
    return permits | AT_MOST.index(delivery.at_most) << _WISHED if delivery.at_most else permits


def packed_key(delivery: Delivery) -> int:
    return delivery.message.row << INDEX_BITS | delivery.index


def again_row(delivery: Delivery) -> list[Any]:
    """What an attempt changes, in the order committer.UPDATE_AGAIN reads it."""
    d = delivery
    return [
        d.message.row, d.index, d.next_attempt, d.attempts, int(d.held), _permits(d), int(d.warned), d.source,
        d.last_reply, d.pool, d.freed,
    ]  # fmt: skip


def lines_of(change: Change) -> bytes:
    return b"\n".join(change.events) + b"\n" if change.events else b""


def effect_of(
    delivery: Delivery,
    *,
    counted: bool,
    learnt: dict[str, Any] | None = None,
    happened: tuple[object, ...] | None = None,
) -> bytes:
    """What State is to be told of its end, or of a place it gave up, as relay/effects.py reads it: id and index, recipient,
    brand, class, when it arrived (0: it did not), whether it held a place, what follows for later mail, and what counts for the
    health of its stream."""
    d, message = delivery, delivery.message
    arrived = d.arrived if learnt is None else 0  # another effect tells that
    facts = [
        message.id,
        d.index,
        d.recipient,
        message.brand,
        int(message.mail_class),
        arrived,
        counted,
        learnt,
        happened,
    ]
    return orjson.dumps(facts) + b"\n"


def told_of(name: str, happened: tuple[object, ...]) -> bytes:
    """The same of what was heard later, under a name of its own."""
    return orjson.dumps([name, -1, "", "", 0, 0, False, None, happened]) + b"\n"


def sent_row(delivery: Delivery, source: str, site: str, generation: int) -> tuple[str, int, str, int, int]:
    """In the order of SENT_COLUMNS: what a report about it needs, and no more, for there is one of each mail of two months. It
    left by `source` to `site`."""
    d, message = delivery, delivery.message
    author = "" if message.author == d.sender else message.author
    domain = "" if d.domain == _domain_of(d.recipient) else d.domain
    named = [d.recipient, domain, d.sender, d.notify, d.orcpt, site, source]
    facts = list(_sent_facts(message))
    packed = [
        message.accepted_at,
        d.arrived,
        int(message.mail_class),
        author,
        message.subject[:SUBJECT],
        *facts,
        *named,
    ]
    found_by = clue(message.message_id, d.recipient)
    return message.id, d.index, orjson.dumps(packed).decode(), 0, generation << BITS | found_by if found_by else 0


def sent_of(identifier: str, index: int, packed: str) -> Delivery:
    """The delivery as it was when it left, without content, head and return path; its site is the one that took it."""
    found = orjson.loads(packed)
    if isinstance(found[1], dict):
        return _sent_of_old(identifier, index, found)
    accepted_at, arrived, mail_class, author, subject, *facts = found[: -len(_SENT_NAMED)]
    recipient, domain, sender, notify, orcpt, site, source = found[-len(_SENT_NAMED) :]
    known = {"mail_class": mail_class, "author": author or sender, "subject": subject, "size": 0}
    told = dict(zip(_SENT_FACTS, facts, strict=False))  # an older row has no skeleton
    message = message_of(0, identifier, accepted_at, known | told)
    domain = domain or _domain_of(recipient)
    return Delivery(
        message, index, recipient, domain, site, sender, "", b"", notify, orcpt, source=source, arrived=arrived
    )


def _sent_of_old(identifier: str, index: int, found: list[Any]) -> Delivery:
    """A row as it was written before schema 6, with all facts of its message; the oldest know no source."""
    accepted_at, facts, named, site, arrived, *source = found
    known = (
        dict.fromkeys(("author", "message_id", "subject", "credential", "brand", "stream"), "") | {"size": 0} | facts
    )
    recipient, domain, sender, mail_from, notify, orcpt = named
    message = message_of(0, identifier, accepted_at, known)
    delivery = Delivery(message, index, recipient, domain, site, sender, mail_from, b"", notify, orcpt)
    delivery.arrived, delivery.source = arrived, source[0] if source else ""
    return delivery


def _domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()
