"""What is told to whom, in which words, and when it is tried again. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from relay.event import MAIL, VERSION, iso
from relay.identity import HookSecret

Event = Mapping[str, Any]

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
# A deploy of the app takes seconds, an outage hours: it is told within an hour of its end, and asked 24 times a day meanwhile.
WAITS = (5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR)
JITTER = 0.2  # of a wait: apps that failed together are not asked together for ever
GIVE_UP = 3 * DAY  # since an event was queued
DEAD = HOUR  # without a success, and with something to tell: a person should look
OF_PEOPLE = frozenset({"unsubscribed", "preferences-changed", "suppressed", "unsuppressed"})
_OURS = frozenset({"transcript"})
_ANOTHERS = (_OURS | {*MAIL}) - {"class"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A credential's webhook. `brands`: those the credential speaks for; `events`: the types it wants, none: all; `trouble`: why
    its secret cannot be used, "" where it can."""

    credential: str
    url: str
    secrets: tuple[HookSecret, ...] = ()
    events: frozenset[str] = frozenset()
    brands: frozenset[str] = frozenset()
    allow_private: bool = False
    secret_path: str = ""
    trouble: str = ""


def wants(endpoint: Endpoint, event: Event) -> bool:
    """Events of its own mail; and what people chose about its brand, or an operator for them, whoever's mail it came by. What
    holds for every brand is told to none: it would name people that an app may never have written to."""
    if endpoint.events and event.get("type") not in endpoint.events:
        return False
    if event.get("credential") == endpoint.credential:
        return True
    return event.get("type") in OF_PEOPLE and event.get("brand") in endpoint.brands


def told(event: Event, endpoint: Endpoint, line: bytes = b"") -> bytes:
    """What of it an app is told; `line`, as it stands in the log, where that is all. What was said in a session names our
    addresses, hosts and return paths: it is for those who run the node. What a person chose by another app's mail is told without
    what that app said of its mail."""
    hidden = _OURS if event.get("credential", endpoint.credential) == endpoint.credential else _ANOTHERS
    if line and hidden.isdisjoint(event):
        return line
    return orjson.dumps({name: value for name, value in event.items() if name not in hidden})


def body(events: Sequence[bytes], node: str, at: int, kind: str = "events") -> bytes:
    """`events` as they stand in the event log; `at`: when the post was made, the same at each try."""
    lines = [orjson.Fragment(line) for line in events]
    return orjson.dumps({"type": kind, "timestamp": iso(at), "node": node, "events": lines})


def wait(tries: int, chance: float) -> int:
    """ms until a post that failed `tries` times is tried again; `chance`: 0 to 1."""
    base = WAITS[min(tries, len(WAITS)) - 1]
    return round(base * (1 + JITTER * (chance - 0.5)))


def example(kind: str, endpoint: Endpoint, node: str, identifier: str, now: int) -> bytes:
    """An event as the app would get it, of a message that never was."""
    common = {
        "v": VERSION,
        "time": iso(now),
        "type": kind,
        "event_id": identifier,
        "node": node,
        "policies": "",
        "test": True,
    }
    brand = min(endpoint.brands, default="")
    person = {"recipient": "dana@example.com", "domain": "example.com"}
    mail = {"id": "0" * 16, "rcpt": 0, "credential": endpoint.credential, "class": "marketing", "campaign": None}
    if kind in OF_PEOPLE:
        by = mail if kind == "unsubscribed" else {}
        return orjson.dumps({**common, **by, "brand": brand, **person, "stop": "marketing", "via": "one-click"})
    reply = {"code": 550, "enhanced": "5.1.1", "text": "no such user here"}
    about = {**mail, "message_id": "<example@example.com>", "brand": brand}
    return orjson.dumps({**common, **about, "metadata": {}, **person, "reply": reply})
