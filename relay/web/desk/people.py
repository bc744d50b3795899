"""What is known of one recipient, and of all who are suppressed, as the desk of the node tells it (relay/people.py). Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from relay.masking import key_in, masked
from relay.people import SELECTORS
from relay.person import PENDING
from relay.recipient import normalised, spellings
from relay.reporting import Question
from relay.reporting.question import MEASURES
from relay.web.login.visitor import SEALED, Visitor
from relay.wildcard import AnyOf

Json = dict[str, Any]
SPANS = {
    "1h": 3_600_000,
    "24h": 86_400_000,
    "7d": 7 * 86_400_000,
}  # since when a suppression of the list may have begun
LOOKED = 31 * 86_400_000  # ms of events that are looked at: the longest window of a cap but a month's
EVENTS = 200  # shown of one recipient
TYPES = tuple(
    dict.fromkeys([*(kind for kinds in MEASURES.values() for kind in kinds), "unsuppressed", "preferences-changed"])
)


def events_of(address: str, key: str, visitor: Visitor, since: int, until: int) -> Question:
    """All that was recorded of him, whatever the spelling, or under his `key`; still to be compared by `is_his`."""
    who = normalised(address)
    where: dict[str, AnyOf] = {**spellings(who, key)}
    if "recipient" in where:
        # Of very many events his are found four times as fast: most are of another domain, most others begin with another letter.
        where["domain"] = AnyOf(tuple(one.rpartition("@")[2] for one in where["recipient"].patterns if one[0] == "*"))
        where["recipient"] = AnyOf(tuple(two for one in where["recipient"].patterns for two in _begun(one)))
    if visitor.limited:
        where["credential"] = AnyOf(tuple(one for one in visitor.credentials if "*" not in one))
    return Question("summary", since, until, (), where, usual=0)


def _begun(pattern: str) -> tuple[str, ...]:
    """A spelling begins with the first letter, or with a quote before it."""
    return (pattern[1:], f'"{pattern[1:]}') if pattern.startswith("*") else (pattern,)


def is_his(event: Mapping[str, Any], who: str, key: str) -> bool:
    recipient = event.get("recipient")
    if not isinstance(recipient, str):
        return False
    keyed = key_in(recipient)
    return normalised(recipient) == who if keyed is None else keyed.hex() == key


def shown_person(person: Json, visitor: Visitor) -> Json:
    return masked(person) if visitor.masked else person


def shown_row(row: Json, visitor: Visitor, seal: Callable[[str], str]) -> Json:
    """One suppression of the list, with the way to his page."""
    address = row.get("recipient")
    row = {**row, SEALED: seal(address) if address else ""}
    return masked(row) if visitor.masked else row


def filters_of(query: Mapping[str, str]) -> dict[str, str]:
    """Of the list, as they stand in addresses of pages and in forms. `since`: a key of SPANS, or ms; `pending`: "1" for those
    that wait for a second word."""
    filters = {name: value for name in SELECTORS if (value := query.get(name, "")[:100])}
    since = query.get("since", "")
    if since in SPANS or is_number(since):
        filters["since"] = since
    return filters | ({"pending": "1"} if query.get("pending") == "1" else {})


def is_number(text: str) -> bool:
    """In an address of a page: of a length that can be said as a time, and that int() takes."""
    return text.isascii() and text.isdigit() and len(text) < 15


def fixed(filters: Mapping[str, str], now: int) -> dict[str, str]:
    """The same, of a time that does not move on: what was counted is what is changed."""
    since = filters.get("since", "")
    return dict(filters) | ({"since": str(now - SPANS[since])} if since in SPANS else {})


def where_of(filters: Mapping[str, str], now: int) -> Json:
    """As the desk of the node is asked (relay/people.py). What waits stands apart, since it stops nothing."""
    said, pending = fixed(filters, now), "pending" in filters
    where: Json = {name: said[name] for name in SELECTORS if name in said}
    if pending and "stop" in where:
        where["stop"] = f"{PENDING}{where['stop']}"
    return where | ({"since": int(said["since"])} if "since" in said else {}) | {"pending": pending}


def block_in(fields: Callable[[str], str]) -> dict[str, str]:
    """Which block a form means: exactly one, of every brand where it names none."""
    return {name: fields(name) for name in ("stop", "brand", "reason")}
