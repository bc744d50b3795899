"""What is heard of mail after it was delivered: bounces that came later, and complaints. A worker's side of returned mail.

Whichever worker takes a returned mail pins what it says on the board of the maker of the message's id (relay/returns.py). The one
that has the shard reads it here, finds what was sent in the spool, and in one transaction records the event, what follows for
later mail, and the report that the app is owed. A note is taken off last: a crash between hears it twice, and the second time the
spool knows that it was heard. What nobody sent, or too long ago, is dropped.

Of the bounces of one delivery the first counts, and once more one that is clear after others that were not: systems on the way
say that they give up, and days later one says that there is no such user. So whoever forges them has two events and the
consequences of one.

A report that only tells Message-ID and address hangs on a board of all (UNPLACED): each worker looks for it once in what it sent,
and the one that finds it moves it to its own board. What nobody finds waits there for nodes that are down, HELD long.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from relay.clue import Sought
from relay.event import iso, reply_facts
from relay.feedback.aftermath import Aftermath, condemns, kind_told, unsubscription, unwanted
from relay.feedback.consequences import Report as Notification
from relay.feedback.consequences import owes_failure_report, told_of
from relay.feedback.matching import Facts, Report, failed_of
from relay.feedback.quoted import reply_of
from relay.feedback.returned import ruled
from relay.feedback.rulings import NO_RULINGS
from relay.house import House
from relay.ids import first_at, time_of
from relay.message import Change, Delivery
from relay.notice import add_report
from relay.outcome import Outcome, Reply, Scope
from relay.return_path import MAX_AGE, About
from relay.returns import CLEAR, MOST_UNPLACED, UNPLACED, board, dumped, loaded, name_of
from relay.spool.errors import SpoolError
from relay.state.interface import State, StateError
from relay.tally import LATE, Kind, fault, happened, unsubscribed

log = structlog.get_logger()

LOOK = 1.0  # s between looks at the boards
AT_ONCE = 48  # notes heard together, so that they share commits: in one turn of the loop 12 ms at most, with the reports to apps
FORGET = 60.0  # s between looks for what is too old to come back
HELD = 5 * 86_400_000  # ms for which a report waits for who sent its message to be back: as long as mail itself
SEARCHES = 20  # of UNPLACED in one look: each costs the spool's thread some ms where tens of millions were sent
BITS = {"bounced-late": 1, "complained": 2, "unsubscribed": 4, "left": 32}
MOST_LEFT = 20_000  # deliveries that are not remembered and that somebody left by, the latest: some 2 MB
_LEFT = ("stream", "brand", "credential", "campaign", "site")
CONDEMNED, COUNTED = 8, 16  # of bounces: one was clear; one has counted for the health of the stream


class Shard(Protocol):
    """What is needed of a spool."""

    async def sent(self, identifier: str, index: int) -> tuple[Delivery, int] | None: ...
    async def sent_as(self, sought: Sought) -> About | None: ...
    async def settle(self, change: Change) -> None: ...
    async def sent_before(self, before: str) -> bool: ...
    async def forget_sent(self, before: str) -> None: ...


class Hindsight:
    """`shards`: each spool with its house and the maker of its ids; `complained` is told the source and the site of mail that
    somebody complained about; `doubts`: is a site's word that there is no such user not taken now? `aftermath`, `rulings` and
    `max_age` (ms for which what was sent is remembered) are replaced by the wiring at a reload."""

    def __init__(
        self,
        state: State,
        shards: Sequence[tuple[Shard, House, str]],
        clock: Callable[[], int],
        complained: Callable[[str, str], None],
        doubts: Callable[[str], bool],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.aftermath, self.rulings, self.max_age = Aftermath(), NO_RULINGS, MAX_AGE
        self._looked_for: set[str] = set()
        self._left = dict[About, None]()
        self._oldest = 0  # when the oldest note began to wait for its sender, or before
        self._state = state
        self._shards = shards
        self._clock = clock
        self._complained = complained
        self._doubts = doubts

    def __repr__(self) -> str:
        return f"<Hindsight {dict(self.counters)}>"

    async def run(self) -> None:
        await asyncio.gather(self._look_again(), self._forget_again())

    async def _look_again(self) -> None:
        while True:
            with suppress(StateError, SpoolError):  # said where it came up; the notes stay
                await self.look()
            await asyncio.sleep(LOOK)

    async def _forget_again(self) -> None:
        while True:
            with suppress(SpoolError):
                await self.forget()
            await asyncio.sleep(FORGET)

    async def forget(self) -> None:
        """All that is too old to come back: a busy day leaves millions."""
        before = first_at(self._clock() - self.max_age)
        for shard, _, _ in self._shards:
            while await shard.sent_before(before):
                await shard.forget_sent(before)

    async def look(self) -> None:
        """All that is pinned for us."""
        await self._look_for_unplaced()
        for shard, house, maker in self._shards:
            notes = await self._state.pinned(board(maker))
            # Where a clear one is there the other is heard after it, and then tells nothing new.
            waiting = iter([(name, note) for name, note in notes.items() if f"{name}{CLEAR}" not in notes])
            hearing = (self._take_in_turn(waiting, maker, shard, house) for _ in range(AT_ONCE))
            for error in await asyncio.gather(*hearing, return_exceptions=True):
                if error is not None:  # when all have ended: no note is heard by this look and by the next
                    raise error

    async def _look_for_unplaced(self) -> None:
        """Strangers can put notes there, so how many are looked for at once, and how many wait, is bounded."""
        notes = await self._state.pinned(UNPLACED)
        self._looked_for &= notes.keys()
        new = [(name, note) for name, note in notes.items() if name not in self._looked_for]
        for name, note in new[:SEARCHES]:
            if await self._is_placed(note):
                await self._state.unpin(UNPLACED, name)
                del notes[name]
            self._looked_for.add(name)
        for name in self._too_old(notes):
            self.counters["unplaced"] += await self._state.unpin(UNPLACED, name)

    def _too_old(self, notes: Mapping[str, str]) -> list[str]:
        """Nobody sent what they are about, or is back in time; the oldest where too many wait."""
        if len(notes) <= MOST_UNPLACED and self._clock() < self._oldest + HELD:
            return []
        by_age = sorted((_begun(note), name) for name, note in notes.items())
        too_many, end = len(by_age) - MOST_UNPLACED, self._clock() - HELD
        gone = [name for place, (at, name) in enumerate(by_age) if place < too_many or at < end]
        self._oldest = by_age[len(gone)][0] if len(gone) < len(by_age) else self._clock()
        return gone

    async def _is_placed(self, note: str) -> bool:
        """Is the board of all rid of it? It is if one of our shards sent what it is about, and if nobody can read it."""
        try:
            return await self._place(loaded(note))
        except (StateError, SpoolError):
            raise
        except Exception as error:
            self._drop(note, error)
            return True

    def _drop(self, note: str, error: Exception) -> None:
        """Strangers cause it: a fault of ours with one must not end the worker, which would meet it again when it is back."""
        self.counters["failed"] += 1
        what = "a note of returned mail is dropped; a newer Postlane's, or a fault of ours"
        # The message's id alone: behind it stands what was said, and of whom.
        log.error(what, about=note[:30], exc_info=error)

    async def _place(self, report: Report) -> bool:
        for shard, _, maker in self._shards:
            about = await shard.sent_as(report.sought)
            if about is not None:
                told = report._replace(about=about)
                await self._state.pin(board(maker), name_of(told), dumped(told))
                return True
        return False

    async def _take_in_turn(self, waiting: Iterator[tuple[str, str]], maker: str, shard: Shard, house: House) -> None:
        for name, note in waiting:
            await self._take(name, note, maker, shard, house)

    async def _take(self, name: str, note: str, maker: str, shard: Shard, house: House) -> None:
        """Hear one note, and take it off."""
        try:
            report = loaded(note)
            await (self._count_left(report, shard) if report.kind == "left" else self._hear(report, shard, house))
        except (StateError, SpoolError):
            raise
        except Exception as error:
            self._drop(note, error)
        await self._state.unpin(board(maker), name)

    async def _count_left(self, report: Report, shard: Shard) -> None:
        """Somebody left by it, for the health of its stream: once, however often he comes back and leaves again, at the time and
        site of its delivery. What left by its app's return path is not remembered: of that as much counts as the desk was told,
        once in this worker's life."""
        found = await shard.sent(*report.about)
        if report.about in self._left or (found is not None and found[1] & BITS["left"]):
            self.counters["again"] += 1
            return
        identifier, index = report.about
        if found is not None:
            tally = happened(found[0], Kind.UNSUBSCRIBED, found[0].site, found[0].arrived)
        else:
            tally = unsubscribed(**{name: str(report.facts[name]) for name in _LEFT}, at=time_of(identifier) or 0)
        told_of, heard = [(f"{identifier}-{index}", tally)], [(identifier, index, BITS["left"])]
        await shard.settle(Change(told_of=told_of, heard=heard))
        self._left[report.about] = None
        if len(self._left) > MOST_LEFT:
            del self._left[next(iter(self._left))]
        self.counters["left"] += 1

    async def _hear(self, report: Report, shard: Shard, house: House) -> None:
        found = await shard.sent(*report.about)
        if found is None:
            self.counters["unknown"] += 1
            return
        delivery, heard = found
        facts, sure = self._facts(report, delivery), _is_sure(report, delivery)
        clear = sure and report.kind == "bounced-late" and condemns(facts)
        first = not heard & BITS[report.kind]
        if not first and (heard & CONDEMNED or not clear):
            self.counters["again"] += 1
            return
        change = Change()
        learnt = await self._learnt(report, facts, delivery, house) if sure else None
        if report.kind != "unsubscribed":  # the desk tells that
            suppressed = {"suppressed": learnt["told"] if learnt is not None else None}
            change.events.append(house.recorder.of_delivery(report.kind, delivery, _told(facts, delivery) | suppressed))
        counts = _counts(report.kind, facts) if sure and (first or not heard & COUNTED) else None
        if counts is not None:
            name = f"{report.about[0]}-{report.about[1]}"
            change.told_of.append((name, _happened(delivery, counts, facts)))
        if learnt is not None:
            change.learnt.append((delivery, learnt))
        if report.kind == "bounced-late" and first and owes_failure_report(delivery):
            await add_report(change, Notification.FAILED, delivery, _outcome(facts), _remembered(delivery), house)
        bits = BITS[report.kind] | CONDEMNED * clear | COUNTED * (counts in LATE.values())
        change.heard.append((*report.about, bits))
        await shard.settle(change)
        self.counters[report.kind] += 1
        if sure and report.kind == "complained" and unwanted(str(facts.get("feedback_type", ""))):
            self._complained(delivery.source, delivery.site)
        for _, waiting in change.put:
            house.offer(waiting)

    def _facts(self, report: Report, delivery: Delivery) -> Facts:
        """As the event tells them: a failure by the admin's rules, where one holds for its site."""
        facts = dict(report.facts)
        if report.kind == "bounced-late":
            one = ruled(failed_of(facts), self.rulings, delivery.site)
            facts |= {"category": one.category, "permanent": one.permanent, "rule": one.rule}
            facts |= {"reply": one.reply, "command": one.command}
        return facts

    async def _learnt(self, report: Report, facts: Facts, delivery: Delivery, house: House) -> Facts | None:
        """What follows for later mail."""
        now = self._clock()
        if report.kind == "unsubscribed":
            return unsubscription(delivery, now)
        if report.kind == "complained":
            called_for = self.aftermath.of_complaint(delivery, str(facts.get("feedback_type", "")), now)
        else:
            category, permanent = str(facts.get("category", "")), bool(facts.get("permanent"))
            called_for = self.aftermath.of_failure(delivery, category, permanent, delivery.site, now)
            if called_for is not None:
                with suppress(StateError):  # it is asked again, and heard, when the desk is told (relay/learning.py)
                    delivery.pending_since = (await house.known.of([delivery.recipient]))[0].pending_since
        return told_of(called_for, delivery, now, self._doubts)


def _begun(note: str) -> int:
    try:
        return loaded(note).at
    except (ValueError, TypeError):
        return 0


def _is_sure(report: Report, delivery: Delivery) -> bool:
    """Is it more than a Message-ID that says so? Of a message to several people each of them knows it, and could speak for the
    others: what they say is told, and nothing follows."""
    return report.sought == ("", "") or not delivery.message.many


def _counts(kind: str, facts: Facts) -> Kind | None:
    """For the health of its stream."""
    if kind == "complained":
        return Kind.COMPLAINT if unwanted(str(facts.get("feedback_type", ""))) else None
    if kind != "bounced-late":
        return None
    return LATE.get(kind_told(facts))


def _happened(delivery: Delivery, kind: Kind, facts: Facts) -> tuple[object, ...]:
    if kind is not Kind.LATE_FAULT:
        return happened(delivery, kind, delivery.site, delivery.arrived)
    return fault(delivery, kind, delivery.site, delivery.arrived, str(facts["category"]), _reply(facts))


def _told(facts: Facts, delivery: Delivery) -> Facts:
    """What the event says."""
    told = {name: value for name, value in facts.items() if name not in ("texts", "status")}
    if "reply" in told:
        told["reply"] = reply_facts(_reply(facts))
    # By whom and from where it was taken: reports of bounces and complaints are by provider and by source.
    way = {"site": delivery.site or None, "source": delivery.source or None}
    return told | way | {"delivered_at": iso(delivery.arrived)}


def _reply(facts: Facts) -> Reply:
    words, status = str(facts.get("reply") or ""), str(facts.get("status") or "5.0.0")
    if not words:
        return Reply(550, status, "It came back; the report gives no reason")
    return reply_of(words, status, "failed")


def _outcome(facts: Facts) -> Outcome:
    """As the app is told of it."""
    reply = _reply(facts)
    mx, category = str(facts.get("reported_by") or ""), str(facts.get("category") or "")
    return Outcome(reply, str(facts.get("command") or "END"), Scope.RECIPIENT, mx, category=category)


def _remembered(delivery: Delivery) -> bytes:
    """Of the header of a message that is here no more, what programs that read reports know it by."""
    message = delivery.message
    named = (("Message-ID", message.message_id), ("From", message.author), ("Subject", message.subject))
    fields = [f"{name}: {value}\r\n" for name, value in named if value.isascii() and value.isprintable() and value]
    return "".join(fields).encode() + b"\r\n"
