"""Events as records: one JSON object a line, named and shaped as INTERFACE.md says. Pure; orjson because it is on the hot path.

Every accepted recipient ends in exactly one of `delivered`, `bounced`, `withheld`; the functions here build the record,
the transaction that changes the spool carries it (DESIGN, invariant 2).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from relay.message import Delivery
from relay.outcome import Outcome, Reply

VERSION = 1
Facts = dict[str, Any]


def iso(ms: int) -> str:
    """2026-11-21T12:05:31.104Z"""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=64)  # strftime takes 5 us, two events a message; nearly all are of this second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def reply_facts(reply: Reply) -> Facts:
    return {"code": reply.code, "enhanced": reply.enhanced, "text": reply.text}


# Of what `about` says, that which is the app's own: brand, stream and the recipient are not.
MAIL = ("id", "rcpt", "message_id", "credential", "class", "campaign", "metadata", "sender", "from", "skeleton")


def about(delivery: Delivery) -> Facts:
    """Of which message to whom an event is, as all events of one say it."""
    message = delivery.message
    said: Facts = {
        "id": message.id,
        "rcpt": delivery.index,
        "message_id": message.message_id,
        "credential": message.credential,
        "brand": message.brand,
        "stream": message.stream,
        "class": message.mail_class.label,
        "campaign": message.campaign,
        "metadata": message.metadata,
        "sender": delivery.sender,
        "from": message.author,
        "recipient": delivery.recipient,
        "domain": delivery.domain,
    }
    if message.skeleton:
        said["skeleton"] = message.skeleton
    return said


class Recorder:
    """Builds records with the fields every event has: v, time, type, event_id, node, policies.

    `policies` is the version in force; the wiring sets it at start and reload.
    """

    def __init__(self, node: str, clock: Callable[[], int], next_id: Callable[[], str], policies: str = "") -> None:
        self.node = node
        self.policies = policies
        self._clock = clock
        self._next_id = next_id

    def record(self, kind: str, facts: Facts) -> bytes:
        return orjson.dumps(self._common(kind) | facts)

    def _common(self, kind: str) -> Facts:
        return {
            "v": VERSION,
            "time": iso(self._clock()),
            "type": kind,
            "event_id": self._next_id(),
            "node": self.node,
            "policies": self.policies,
        }

    def of_delivery(self, kind: str, delivery: Delivery, *facts: Facts) -> bytes:
        """An event of one recipient of one message; of `facts` of the same name the last one counts."""
        said = self._common(kind)
        said |= about(delivery)
        for some in facts:
            said |= some
        return orjson.dumps(said)

    def of_attempt(self, kind: str, delivery: Delivery, outcome: Outcome, pool: str, facts: Facts) -> bytes:
        """delivered, deferred or bounced: what one attempt came to. `delay_ms` counts from accept; `captured` is there,
        and true, where it went to the capture server instead of the world."""
        about: Facts = {
            "site": outcome.site or delivery.site,
            "pool": pool,
            "source": outcome.source,
            "mx": outcome.mx,
            "tls": outcome.tls,
            "attempt": delivery.attempts,
            "reply": reply_facts(outcome.reply),
            "command": outcome.command,
            "delay_ms": self._clock() - delivery.message.accepted_at,
            "size": delivery.message.size,
            "signed": delivery.message.signed,
        }
        if outcome.captured:
            about["captured"] = True
        return self.of_delivery(kind, delivery, about, facts)
