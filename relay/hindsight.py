"""What is heard of mail after it was delivered: bounces that came later, and complaints. A worker's side of returned mail.

Whichever worker takes a returned mail pins what it says on the board of the maker of the message's id (relay/returns.py). The one
that has the shard reads it here, finds what was sent in the spool, and in one transaction records the event, what follows for
later mail, and the report that the app is owed. A note is taken off last: a crash between hears it twice, and the second time the
spool knows that it was heard. What nobody sent, or too long ago, is dropped.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from relay.feedback.aftermath import Aftermath, kind_of, unwanted
from relay.feedback.consequences import Report as Notification
from relay.feedback.consequences import owes_failure_report
from relay.feedback.matching import Report
from relay.house import House
from relay.ids import first_at
from relay.message import Change, Delivery
from relay.notice import add_report
from relay.outcome import Outcome, Reply, Scope
from relay.return_path import MAX_AGE
from relay.returns import board, loaded
from relay.spool.errors import SpoolError
from relay.state.interface import State, StateError
from relay.tally import LATE, Kind, happened

log = structlog.get_logger()

LOOK = 1.0  # s between looks at the boards
AT_ONCE = 64  # notes heard together
FORGET = 60.0  # s between looks for what is too old to come back
BITS = {"bounced-late": 1, "complained": 2}


class Shard(Protocol):
    """What is needed of a spool."""

    async def sent(self, identifier: str, index: int) -> tuple[Delivery, int] | None: ...
    async def settle(self, change: Change) -> None: ...
    async def sent_before(self, before: str) -> bool: ...
    async def forget_sent(self, before: str) -> None: ...


class Hindsight:
    """`shards`: each spool with its house and the maker of its ids; `complained` is told the source and the site of mail that
    somebody complained about. `aftermath` is replaced by the wiring at a reload."""

    def __init__(
        self,
        state: State,
        shards: Sequence[tuple[Shard, House, str]],
        clock: Callable[[], int],
        complained: Callable[[str, str], None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.aftermath = Aftermath()
        self._state = state
        self._shards = shards
        self._clock = clock
        self._complained = complained

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
        before = first_at(self._clock() - MAX_AGE)
        for shard, _, _ in self._shards:
            while await shard.sent_before(before):
                await shard.forget_sent(before)

    async def look(self) -> None:
        """All that is pinned for us; some at once, so that they share commits."""
        for shard, house, maker in self._shards:
            notes = list((await self._state.pinned(board(maker))).items())
            for first in range(0, len(notes), AT_ONCE):
                some = notes[first : first + AT_ONCE]
                await asyncio.gather(*(self._take(name, note, maker, shard, house) for name, note in some))

    async def _take(self, name: str, note: str, maker: str, shard: Shard, house: House) -> None:
        """Hear one note, and take it off. Strangers cause it: a fault of ours with one must not end the worker, which would
        meet it again as soon as it is back."""
        try:
            await self._hear(loaded(note), shard, house)
        except (StateError, SpoolError):
            raise
        except Exception:
            self.counters["failed"] += 1
            log.exception("a note of returned mail is dropped; a newer Postlane's, or a fault of ours", note=note[:200])
        await self._state.unpin(board(maker), name)

    async def _hear(self, report: Report, shard: Shard, house: House) -> None:
        found = await shard.sent(*report.about)
        if found is None:
            self.counters["unknown"] += 1
            return
        delivery, heard = found
        bit = BITS[report.kind]
        if heard & bit:
            return
        change = Change(
            heard=[(*report.about, bit)], events=[house.recorder.of_delivery(report.kind, delivery, report.facts)]
        )
        counts = _counts(report)
        if counts is not None:
            name = f"{report.about[0]}-{report.about[1]}"
            change.told_of.append((name, happened(delivery, counts, delivery.site, delivery.arrived)))
        learnt = self._learnt(report, delivery)
        if learnt is not None:
            change.learnt.append((delivery, learnt))
        if report.kind == "bounced-late" and owes_failure_report(delivery):
            await add_report(change, Notification.FAILED, delivery, _outcome(report), b"", house)
        await shard.settle(change)
        self.counters[report.kind] += 1
        if report.kind == "complained" and unwanted(str(report.facts.get("feedback_type", ""))):
            self._complained(delivery.source, delivery.site)
        for _, waiting in change.put:
            house.offer(waiting)

    def _learnt(self, report: Report, delivery: Delivery) -> dict[str, object] | None:
        facts = report.facts
        if report.kind == "complained":
            return self.aftermath.of_complaint(delivery, str(facts.get("feedback_type", "")), self._clock())
        category, permanent = str(facts.get("category", "")), bool(facts.get("permanent"))
        return self.aftermath.of_failure(delivery, category, permanent, delivery.site, self._clock())


def _counts(report: Report) -> Kind | None:
    """For the health of its stream."""
    facts = report.facts
    if report.kind == "complained":
        return Kind.COMPLAINT if unwanted(str(facts.get("feedback_type", ""))) else None
    return LATE.get(kind_of(str(facts.get("category", "")), permanent=bool(facts.get("permanent"))))


def _outcome(report: Report) -> Outcome:
    """As the app is told of it."""
    facts = report.facts
    reply = Reply(
        550, str(facts.get("status") or "5.0.0"), str(facts.get("reply") or "It came back; the report gives no reason")
    )
    mx, category = str(facts.get("reporter") or ""), str(facts.get("category") or "")
    return Outcome(reply, str(facts.get("command") or "END"), Scope.RECIPIENT, mx, category=category)
