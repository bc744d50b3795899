"""A worker's side of `postlane queue`, `suspend` and `resume`: pages of its shards, and what is done to the deliveries in them.

Each call handles one page, so a command over a million rows never holds a worker up for long; a delivery that is being
sent at this moment is left alone and counted as `in_flight`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from relay.attempt import Attempting, pool_for
from relay.event import about, iso
from relay.message import HELD, RUNAWAY, Change, Delivery, LaneKey, MailClass
from relay.policy import relevance
from relay.policy.suspension import OLDER, Suspension, Suspensions
from relay.recipient import domains_of, normalised
from relay.schedule.dispatcher import Dispatcher
from relay.spool.store import Page, Selector, Spool
from relay.wildcard import AnyOf, PatternError, any_of

Json = dict[str, Any]
Act = Callable[[list[Delivery]], tuple[list[Delivery], Change]]
SPREAD = 20  # ms for each delivery set free together: a page of 500 within 10 s
SPREAD_AT_MOST = 600_000  # ms: what was held for a day need not wait for another; sites have limits of their own
PAGE = 500  # deliveries a page: some 300 KB of JSON, a few ms of the spool's thread
SENT_FOUND = (
    2_000  # of these told in one answer, which has bounds (control.MAX_LINE): an app's own address may get all mail
)
SENT_PAGE = 10_000  # rows of what was sent that are looked through: some 15 ms of the spool's thread
COUNT_PAGE = 5_000  # of which only numbers are told
BREATH = 0.02  # s between the pages of what nobody waits for, so that it takes a third of the loop at most


@dataclass(slots=True)
class QueueCommands:
    """One shard under an operator's hands. `house`: that of its attempts, with routes, pools and streams as they are in force."""

    spool: Spool
    dispatcher: Dispatcher
    house: Attempting

    async def answer(self, question: Json) -> Json:
        do = {
            "queue.page": self.page,
            "queue.count": self.count,
            "queue.change": self.change,
            "queue.sent": self.sent,
            "queue.unsend": self.unsend,
        }
        return await do[question["do"]](question)

    async def sent(self, question: Json) -> Json:
        """{"recipient", "after"} -> {"items", "after"}: what was delivered to somebody, and is remembered for what comes back."""
        who = normalised(str(question["recipient"]))
        begin = question.get("after") or ["", 0]
        signs = [f"@{domain}" for domain in sorted(domains_of(who))]
        found, after = await self.spool.sent_to(signs, (begin[0], begin[1]), SENT_PAGE)
        his = [one for one in found if normalised(one[0].recipient) == who]
        if len(his) > SENT_FOUND:
            his = his[:SENT_FOUND]
            last, _ = his[-1]
            after = last.message.id, last.index
        return {"items": [_sent(*one) for one in his], "after": after}

    async def unsend(self, question: Json) -> Json:
        """{"sent": [[id, index], ...]} -> {"after": null}: what was delivered to somebody who is to be forgotten."""
        await self.spool.unsend([(str(identifier), int(index)) for identifier, index in question["sent"]])
        return {"after": None}

    async def page(self, question: Json) -> Json:
        """{"selector", "after"} -> {"items", "after" (null: no more)}, or {"error"} where no mail can be meant"""
        try:
            rows, after = await self._rows(question, PAGE)
        except SelectorError as error:
            return {"error": str(error)}
        return {"items": [self._describe(d) for d in rows], "after": after}

    async def count(self, question: Json) -> Json:
        """The same, as numbers: {"count", "by_class", "after"}"""
        try:
            rows, after = await self._rows(question, COUNT_PAGE)
        except SelectorError as error:
            return {"error": str(error)}
        by_class = Counter(d.message.mail_class.label for d in rows)
        return {"count": len(rows), "by_class": by_class, "after": after}

    async def change(self, question: Json) -> Json:
        """{"action": hold|release|retry|cancel|move, "selector", "after", "reason"; "total": how many it will be in all pages;
        "to": the pool} -> {"changed", "in_flight", "after"; of a move "left": deliveries that may not go there, by class}, or
        {"error"} where no mail can be meant"""
        reason, total = str(question.get("reason", "")), int(question.get("total", 0))
        left: Counter[str] = Counter()
        acts: dict[str, Act] = {
            "hold": lambda rows: self._hold(rows, HELD, {"reason": "held", "detail": reason, "until": None}),
            "release": lambda rows: self._release([d for d in rows if d.held in (HELD, RUNAWAY)], total),
            "retry": lambda rows: self._retry(rows, total),
            "cancel": lambda rows: self._cancel(rows, reason),
            "move": lambda rows: self._move(rows, question, left),
        }
        try:
            if question["action"] == "move":
                self._check_move(question)
            answer = await self._change(question, acts[question["action"]])
            return {**answer, "left": +left} if +left else answer
        except SelectorError as error:
            return {"error": str(error)}

    async def suspend(self, one: Suspension, still: Callable[[], bool]) -> int:
        """Hold what waits and is this suspension's, for as long as it is `still` in force. How many."""
        # Of pools `covers` asks, row by row.
        selectors: Json = {key: values for key, values in one.what.items() if key not in ("pool", OLDER)}
        if one.older is not None:
            selectors["older_than"] = one.older
        question: Json = {"selector": {**selectors, "class": [c.label for c in one.classes], "held": False}}

        def act(rows: list[Delivery]) -> tuple[list[Delivery], Change]:
            now = self.house.clock()
            return self._hold([d for d in rows if one.covers(d, self._pool_of, now)], one.id, one.facts)

        return await self._through(question, act, still) if one.classes else 0

    async def let_go(self, wait_of: Callable[[Delivery], Awaitable[int]]) -> int:
        """Of what is held as a runaway and is due, what need not wait any more, by `wait_of` (ms). How many go."""
        freed, after = 0, None
        while True:
            question: Json = {"selector": {"suspended": RUNAWAY}, "after": after}
            rows, _ = await self._rows(question, PAGE)
            now = self.house.clock()
            waits = {d.key: 0 if self._stale(d, now) else await wait_of(d) for d in rows if d.next_attempt <= now}
            answer = await self._change(question, partial(self._let_go, waits))
            freed, after = freed + int(answer["changed"]), answer["after"]
            if after is None:
                return freed
            await asyncio.sleep(BREATH)

    def _let_go(self, waits: Mapping[tuple[int, int], int], rows: Sequence[Delivery]) -> tuple[list[Delivery], Change]:
        goes = [delivery for delivery in rows if waits.get(delivery.key) == 0]
        later = [delivery for delivery in rows if waits.get(delivery.key)]
        for delivery in later:
            stream, at = self.house.streams.get(delivery.message.stream), self.house.clock() + waits[delivery.key]
            delivery.next_attempt = relevance.until_end(at, delivery.message, stream)
        chosen, change = self._release(goes, len(goes))
        change.again = [*change.again, *later]
        return chosen, change

    def _stale(self, delivery: Delivery, now: int) -> bool:
        """Its attempt withholds it then, and takes nobody's place."""
        return relevance.stale(delivery.message, self.house.streams.get(delivery.message.stream), now) is not None

    async def look_at(self, identifier: str, recipient: str) -> None:
        """Something has changed for this one: what waits is looked at now, and its attempt says what follows."""

        def act(rows: list[Delivery]) -> tuple[list[Delivery], Change]:
            return self._retry([d for d in rows if d.recipient.lower() == recipient.lower()], 1)

        await self._through({"selector": {"id": identifier}}, act, lambda: True)

    async def resume(self, suspension: int, total: int, others: Suspensions) -> int:
        """Free what a suspension that is over holds; what is another's stays held, by that. How many go."""

        def act(rows: list[Delivery]) -> tuple[list[Delivery], Change]:
            kept = []
            for delivery in rows:
                delivery.held = 0
                other = others.find(delivery, self.house.clock())
                if other is not None:
                    delivery.held = other.id
                    kept.append(delivery)
            chosen, change = self._release([d for d in rows if not d.held], total)
            change.again = [*change.again, *kept]
            return chosen, change

        return await self._through({"selector": {"suspended": suspension}}, act, lambda: True)

    async def _through(self, question: Json, act: Act, still: Callable[[], bool]) -> int:
        changed, after = 0, None
        while still():
            answer = await self._change({**question, "after": after}, act)
            changed, after = changed + answer["changed"], answer["after"]
            if after is None:
                break
            await asyncio.sleep(BREATH)
        return changed

    async def _change(self, question: Json, act: Act) -> Json:
        rows, after = await self._rows(question, PAGE)
        claimed = set(self.dispatcher.claim([d.key for d in rows]))
        try:
            # What was read before it was claimed may have been sent since; what is read now stays as it is.
            free = [d for d in (await self._rows(question, PAGE)).deliveries if d.key in claimed] if claimed else []
            chosen, change = act(free)
            if change.again or change.finished:
                await self.spool.settle(change)
        finally:
            self.dispatcher.forget(claimed)
        for lane, at in _earliest(d for d in free if not d.held).items():
            self.dispatcher.wake(lane, at)
        return {"changed": len(chosen), "in_flight": len(rows) - len(claimed), "after": after}

    async def _rows(self, question: Json, limit: int) -> Page:
        wanted, pools = self._meant(question.get("selector") or {})
        if wanted.classes == frozenset():
            return Page([], None)
        after = question.get("after")
        found, end = await self.spool.page(wanted, (after[0], after[1]) if after else None, limit)
        return Page(found if pools is None else [d for d in found if self._pool_of(d) in pools], end)

    def _meant(self, asked: Json) -> tuple[Selector, AnyOf | None]:
        """The spool knows a message's class, not its pool: that is looked at row by row. Raises SelectorError."""
        if "pool" not in asked:
            return selector(asked), None
        pools = any_of(asked["pool"])
        names = self._pools()
        if not any(name in pools for name in names):
            raise SelectorError(_no_such("no mail goes to pool", asked["pool"], names))
        return selector(asked), pools

    def _pools(self) -> set[str]:
        return {*self.house.named, *(pool.name for pool in self.house.pools.values())}

    def _pool_of(self, delivery: Delivery) -> str:
        return pool_for(delivery, self.house).name

    def _hold(self, rows: Sequence[Delivery], by: int, facts: Json) -> tuple[list[Delivery], Change]:
        chosen = [d for d in rows if not d.held or (by == HELD and d.held != HELD)]
        given_up = [delivery for delivery in chosen if delivery.counted]
        for delivery in chosen:
            delivery.held, delivery.counted = by, False
        events = [self.house.recorder.of_delivery("postponed", d, facts) for d in chosen]
        return chosen, Change(again=list(chosen), given_up=given_up, events=events)

    def _release(self, chosen: Sequence[Delivery], total: int) -> tuple[list[Delivery], Change]:
        spread = self._spread(max(total, len(chosen)))
        for delivery in chosen:
            waits = 0 if delivery.held == RUNAWAY else delivery.next_attempt  # that was how long it is held
            delivery.held = 0
            delivery.next_attempt = max(waits, self.house.clock() + random.randrange(spread))
        return list(chosen), Change(again=list(chosen))

    def _retry(self, rows: Sequence[Delivery], total: int) -> tuple[list[Delivery], Change]:
        chosen = [d for d in rows if not d.held]
        spread = self._spread(max(total, len(chosen)))
        for delivery in chosen:
            delivery.next_attempt = min(delivery.next_attempt, self.house.clock() + random.randrange(spread))
        return chosen, Change(again=chosen)

    def _spread(self, count: int) -> int:
        """Over how many ms `count` deliveries set free together go: one at once, many spread, so that no site is stormed."""
        return max(1, min((count - 1) * SPREAD, SPREAD_AT_MOST))

    def _cancel(self, rows: Sequence[Delivery], reason: str) -> tuple[list[Delivery], Change]:
        facts = {"reason": "cancelled", "detail": reason}
        chosen = list(rows)
        for delivery in chosen:
            self.house.copies.given_up(delivery.message, [delivery.recipient])
        events = [self.house.recorder.of_delivery("withheld", d, facts) for d in chosen]
        return chosen, Change(finished=chosen, events=events)

    def _check_move(self, question: Json) -> None:
        to, names = str(question.get("to", "")), self._pools()
        if to not in names:
            raise SelectorError(_no_such("there is no pool", to, names))

    def _move(self, rows: Sequence[Delivery], question: Json, left: Counter[str]) -> tuple[list[Delivery], Change]:
        """Transactional mail goes elsewhere only where its class or the message was named, as with a route; other mail never
        goes where transactional mail has its own pool (DESIGN, invariant 5). What may not go is counted in `left`, by class."""
        to, asked = str(question["to"]), question.get("selector") or {}
        named, urgent = "id" in asked or "class" in asked, MailClass.TRANSACTIONAL
        own = {pool.name for c, pool in self.house.pools.items() if c is not urgent}
        reserved = to == self.house.pools[urgent].name and to not in own
        elsewhere = [d for d in rows if self._pool_of(d) != to]
        chosen = [d for d in elsewhere if (named if d.message.mail_class is urgent else not reserved)]
        left.update(d.message.mail_class.label for d in elsewhere)
        left.subtract(d.message.mail_class.label for d in chosen)
        for delivery in chosen:
            delivery.pool = to
            delivery.source = ""  # one of the pool it leaves
        return chosen, Change(again=chosen)

    # -- what is told of one

    def _describe(self, delivery: Delivery) -> Json:
        message = delivery.message
        held = self._held_by(delivery)
        return {
            "id": message.id,
            "rcpt": delivery.index,
            "recipient": delivery.recipient,
            "domain": delivery.domain,
            "site": delivery.site,
            "pool": self._pool_of(delivery),
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
            "held": bool(delivery.held),
            "suspension": held.shown() if held is not None else None,
            "in_flight": self.dispatcher.in_flight(delivery.key),
            "last_reply": delivery.last_reply,
            "waits_for": self._waits_for(delivery, held),
            "why": self._why(delivery, held),
        }

    def _why(self, delivery: Delivery, held: Suspension | None) -> str:
        """Why it is not delivered yet, in a sentence for people."""
        if self.dispatcher.in_flight(delivery.key):
            return "it is being sent at this moment"
        if delivery.held == HELD:
            return f"held by hand; postlane queue release {delivery.message.id}"
        if delivery.held == RUNAWAY:
            return f"held, as one too many of its kind to this recipient; postlane queue release {delivery.message.id}"
        waits = self._waits_for(delivery, held)
        if waits is not None:
            return waits
        if delivery.held:
            return "held by a suspension that is over; it is being let go"
        if delivery.next_attempt <= self.house.clock():
            pause = self.dispatcher.pause_of(delivery.lane)
            if pause is not None:
                at = f", again {iso(pause.until)}" if pause.until > self.house.clock() else ""
                return f"its site has no room: {pause.why or pause.site}{at}"
            return "it is due, and goes when those before it have gone"
        if delivery.attempts:
            times = "once" if delivery.attempts == 1 else f"{delivery.attempts} times"
            return f"tried {times}, then put off: {delivery.last_reply or 'no reply'}"
        return "its time has not come; its events say what put it off"

    def _held_by(self, delivery: Delivery) -> Suspension | None:
        """The suspension that holds it, or will when it is looked at."""
        if delivery.held in (HELD, RUNAWAY):
            return None
        if not delivery.held:
            return self.house.suspensions.find(delivery, self.house.clock())
        return next((one for one in self.house.suspensions if one.id == delivery.held), None)

    def _waits_for(self, delivery: Delivery, held: Suspension | None) -> str | None:
        """What is in the way by our own rules, as they are now; None: nothing of it, or an operator by hand."""
        message, now = delivery.message, self.house.clock()
        stream = self.house.streams.get(message.stream)
        if held is not None:
            return f"{held.facts['detail']}; {held.undo}"
        if delivery.held or relevance.stale(message, stream, now) is not None:
            return None
        postponed = relevance.postponed(message, stream, now)
        if postponed is not None:
            return f"{postponed.reason}: {postponed.detail}"
        limits = [name for name, owed in (("quota", delivery.quota), ("rate", delivery.paced)) if owed]
        return ", ".join(limits) or None


def _sent(delivery: Delivery, heard: int) -> Json:
    return {
        **about(delivery),
        "subject": delivery.message.subject,
        "site": delivery.site,
        "accepted": iso(delivery.message.accepted_at),
        "delivered": iso(delivery.arrived) if delivery.arrived else None,
        "came_back": bool(heard),
    }


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


def selector(wanted: Json) -> Selector:
    """The selectors of `postlane queue` as the spool understands them, all but `pool`. Each text is a value or a list of
    them. Raises SelectorError."""
    try:
        texts = {name: any_of(wanted[name], domains=name in _DOMAINS) for name in _TEXTS if name in wanted}
        return Selector(
            id=wanted.get("id"),
            classes=_classes(wanted),
            held=wanted.get("held"),
            older_than=wanted.get("older_than"),
            suspended=wanted.get("suspended"),
            **texts,
        )
    except PatternError as error:
        raise SelectorError(str(error)) from error


def _classes(wanted: Json) -> frozenset[MailClass] | None:
    """The classes that are asked for; None: all."""
    if "class" not in wanted:
        return None
    patterns = any_of(wanted["class"])
    found = frozenset(c for c in MailClass if c.label in patterns)
    if not found:
        raise SelectorError(_no_such("no class is", wanted["class"], (c.label for c in MailClass)))
    return None if found == frozenset(MailClass) else found


def _no_such(what: str, values: str | list[str], names: Iterable[str]) -> str:
    asked = values if isinstance(values, str) else ", ".join(values)
    return f'{what} "{asked}"; there are {", ".join(sorted(set(names)))}'
