"""A worker's side of `postlane queue`: pages of its shards, and what an operator does to the deliveries in them.

Each call handles one page, so a command over a million rows never holds a worker up for long; a delivery that is being
sent at this moment is left alone and counted as `in_flight`.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.event import Recorder, iso
from relay.message import Change, Delivery, LaneKey, MailClass
from relay.policy import relevance
from relay.policy.streams import Stream
from relay.schedule.dispatcher import Dispatcher
from relay.spool.store import Page, Selector, Spool
from relay.wildcard import PatternError, any_of

Json = dict[str, Any]
SPREAD = 20  # ms for each delivery set free together: a page of 500 within 10 s
PAGE = 500  # deliveries a page: some 300 KB of JSON, a few ms of the spool's thread


@dataclass(slots=True)
class QueueCommands:
    """One shard under an operator's hands. `pool_of`: where mail of a class goes under the routes in force; `stream_of`: the
    stream of a name, None if there is none."""

    spool: Spool
    dispatcher: Dispatcher
    recorder: Recorder
    clock: Callable[[], int]
    pool_of: Callable[[MailClass], str]
    stream_of: Callable[[str], Stream | None]

    async def page(self, question: Json) -> Json:
        """{"selector", "after"} -> {"items", "after" (null: no more)}, or {"error"} where no mail can be meant"""
        try:
            rows, after = await self._rows(question)
        except SelectorError as error:
            return {"error": str(error)}
        return {"items": [self._describe(d) for d in rows], "after": after}

    async def change(self, question: Json) -> Json:
        """{"action": hold|release|retry|cancel, "selector", "after", "reason"} -> {"changed", "in_flight", "after"}, or
        {"error"} where no mail can be meant"""
        try:
            rows, after = await self._rows(question)
        except SelectorError as error:
            return {"error": str(error)}
        claimed = set(self.dispatcher.claim([d.key for d in rows]))
        # What was read before it was claimed may have been sent since; what is read now stays as it is.
        free = [d for d in (await self._rows(question)).deliveries if d.key in claimed]
        act = {"hold": self._hold, "release": self._release, "retry": self._retry, "cancel": self._cancel}
        try:
            chosen, change = act[question["action"]](free, str(question.get("reason", "")))
            if chosen:
                await self.spool.settle(change)
        finally:
            self.dispatcher.forget(claimed)
        for lane, at in _earliest(d for d in free if not d.held).items():
            self.dispatcher.wake(lane, at)
        return {"changed": len(chosen), "in_flight": len(rows) - len(claimed), "after": after}

    async def _rows(self, question: Json) -> Page:
        wanted = selector(question.get("selector") or {}, {c: self.pool_of(c) for c in MailClass})
        if wanted.classes == frozenset():
            return Page([], None)
        after = question.get("after")
        return await self.spool.page(wanted, (after[0], after[1]) if after else None, PAGE)

    def _hold(self, rows: Sequence[Delivery], reason: str) -> tuple[list[Delivery], Change]:
        chosen = [d for d in rows if not d.held]
        for delivery in chosen:
            delivery.held = True
        facts = {"reason": "held", "detail": reason, "until": None}
        return chosen, Change(again=chosen, events=[self.recorder.of_delivery("postponed", d, facts) for d in chosen])

    def _release(self, rows: Sequence[Delivery], _: str) -> tuple[list[Delivery], Change]:
        chosen = [d for d in rows if d.held]
        for delivery in chosen:
            delivery.held = False
            delivery.next_attempt = max(delivery.next_attempt, self._soon(len(chosen)))
        return chosen, Change(again=chosen)

    def _retry(self, rows: Sequence[Delivery], _: str) -> tuple[list[Delivery], Change]:
        chosen = [d for d in rows if not d.held]
        for delivery in chosen:
            delivery.next_attempt = min(delivery.next_attempt, self._soon(len(chosen)))
        return chosen, Change(again=chosen)

    def _soon(self, count: int) -> int:
        """When one of `count` deliveries set free together goes: one at once, many spread, so that no site is stormed."""
        return self.clock() + random.randrange(max(1, (count - 1) * SPREAD))

    def _cancel(self, rows: Sequence[Delivery], reason: str) -> tuple[list[Delivery], Change]:
        facts = {"reason": "cancelled", "detail": reason}
        chosen = list(rows)
        return chosen, Change(finished=chosen, events=[self.recorder.of_delivery("withheld", d, facts) for d in chosen])

    def _describe(self, delivery: Delivery) -> Json:
        message = delivery.message
        return {
            "id": message.id,
            "rcpt": delivery.index,
            "recipient": delivery.recipient,
            "domain": delivery.domain,
            "site": delivery.site,
            "sender": delivery.sender,
            "from": message.author,
            "subject": message.subject,
            "credential": message.credential,
            "brand": message.brand,
            "stream": message.stream,
            "class": message.mail_class.label,
            "priority": message.priority,
            "campaign": message.campaign,
            "accepted": iso(message.accepted_at),
            "size": message.size,
            "attempts": delivery.attempts,
            "next_attempt": None if delivery.held else iso(delivery.next_attempt),
            "held": delivery.held,
            "in_flight": self.dispatcher.in_flight(delivery.key),
            "last_reply": delivery.last_reply,
            "waits_for": self._waits_for(delivery),
        }

    def _waits_for(self, delivery: Delivery) -> str | None:
        """What is in the way by our own rules, as they are now; None: nothing of it, or an operator."""
        message, now = delivery.message, self.clock()
        stream = self.stream_of(message.stream)
        if delivery.held or relevance.stale(message, stream, now) is not None:
            return None
        postponed = relevance.postponed(message, stream, now)
        if postponed is not None:
            return f"{postponed.reason}: {postponed.detail}"
        limits = [name for name, owed in (("quota", delivery.quota), ("rate", delivery.paced)) if owed]
        return ", ".join(limits) or None


def _earliest(deliveries: Iterable[Delivery]) -> dict[LaneKey, int]:
    """For each lane, when the first of these is due: what the schedule must look at again."""
    times: dict[LaneKey, int] = {}
    for delivery in deliveries:
        times[delivery.lane] = min(delivery.next_attempt, times.get(delivery.lane, delivery.next_attempt))
    return times


class SelectorError(ValueError):
    """Nothing can be meant by this; the words are for the person who asked."""


_TEXTS = ("recipient", "domain", "site", "credential", "brand", "stream", "campaign")
_DOMAINS = ("domain", "site")


def selector(wanted: Json, pools: Mapping[MailClass, str]) -> Selector:
    """The selectors of `postlane queue` as the spool understands them. Each text is a value or a list of them.

    The spool knows a message's class, not its pool: `pool` means the classes that go to it now (`pools`). Raises
    SelectorError.
    """
    try:
        texts = {name: any_of(wanted[name], domains=name in _DOMAINS) for name in _TEXTS if name in wanted}
        return Selector(
            id=wanted.get("id"),
            classes=_classes(wanted, pools),
            held=wanted.get("held"),
            older_than=wanted.get("older_than"),
            **texts,
        )
    except PatternError as error:
        raise SelectorError(str(error)) from error


def _classes(wanted: Json, pools: Mapping[MailClass, str]) -> frozenset[MailClass] | None:
    """The classes that `class` and `pool` leave; None: all."""
    left = frozenset(MailClass)
    for key, names in (("class", {c: c.label for c in MailClass}), ("pool", pools)):
        if key in wanted:
            patterns = any_of(wanted[key])
            found = frozenset(c for c in MailClass if names[c] in patterns)
            if not found:
                raise SelectorError(_no_such(key, wanted[key], names.values()))
            left &= found
    return None if left == frozenset(MailClass) else left


def _no_such(key: str, values: str | list[str], names: Iterable[str]) -> str:
    asked = values if isinstance(values, str) else ", ".join(values)
    what = "no class is" if key == "class" else "no mail goes to pool"
    return f'{what} "{asked}"; there are {", ".join(sorted(set(names)))}'
