"""The door of the spool: one shard, as the loop sees it. What `put` and `settle` returned from is on the disk.

The caller offers a message it has put to the schedule in the same turn of the loop in which `put` returns: from then on
`due` may return it too, so `due` is told what is known already.
"""

import asyncio
import time
from collections.abc import Callable, Container, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw

from relay.clue import Sought
from relay.message import Change, Delivery, LaneKey, MailClass, Message
from relay.spool import queries, rows
from relay.spool.committer import HOUSEKEEPING, Committer, Read
from relay.spool.errors import SpoolBusy, SpoolError, SpoolFull
from relay.spool.queries import Selector
from relay.spool.shard import Write

__all__ = ["Page", "Selector", "Spool", "SpoolBusy", "SpoolError", "SpoolFull"]

T = TypeVar("T")
Key = tuple[int, int]

# Of the queue for one page: some 100,000 recipients, a tenth of a second of the thread's time between the commits.
LOOKS = 50

# Deliveries of one generation of the index by clue: 4 MB of it, which stay in memory while they are filled. Looking one up
# takes a step for each generation there is.
GENERATION = 131_072

# Counting a million recipients takes a tenth of a second in which nothing is committed: that is done seldom enough to
# cost at most a hundredth of the time.
_COUNTS_SHARE = 100
_COUNTS_FREE = 0.005  # seconds: a count that is quicker is made afresh each time


class Page(NamedTuple):
    """Some of the deliveries a command means. `after`: where the next page begins; None: there is none."""

    deliveries: list[Delivery]
    after: Key | None


class Spool:
    """One shard's file. One thread owns the SQLite connection and does everything with it: group commit, reads.

    put and settle raise SpoolError when the change is not saved (SpoolFull: there was no room). `on_fatal` is called in
    the loop when the file can no longer be trusted: the process should end and be started again.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int],
        on_fatal: Callable[[BaseException], None],
        vfs: str = "",
        housekeeping: float = HOUSEKEEPING,
    ) -> None:
        self.path = path
        self._clock = clock
        self._committer = Committer(path, on_fatal, vfs, housekeeping)
        self._next_row = 1
        self._generation = self._sent = 0
        self._counts: dict[str, Any] | None = None
        self._counted_until = 0.0

    def __repr__(self) -> str:
        return f"<Spool {self.path}, next row {self._next_row}, {self._committer}>"

    @property
    def healthy(self) -> bool:
        """There is room and the file is sound. While it is False new mail is refused; it turns True again by itself."""
        return self._committer.healthy

    async def open(self) -> None:
        """Raises SpoolBusy while another process has the shard open, SpoolError where it cannot be read."""
        self._loop = asyncio.get_running_loop()
        self._next_row = await self._committer.start(self._loop) + 1
        self._generation = await self._read(queries.generation)

    async def close(self) -> None:
        """Everything asked for before is done first."""
        await self._committer.stop()

    async def put(self, change: Change) -> None:
        """Saves new mail, or refuses it. `message.row` of each new message is set before this first waits."""
        await self._write(change, patient=False)

    async def settle(self, change: Change) -> None:
        """Saves outcomes: with the next put, at latest after a few ms; while there is no room it waits, and loses
        nothing. What strangers can cause without end (rejections) goes through `put`, which does not wait."""
        await self._write(change, patient=True)

    async def due(self, lane: LaneKey, now: int, limit: int, known: Container[Key]) -> list[Delivery]:
        """The earliest deliveries of the lane due at `now` that are not `known` and not held, without content.

        Deliveries of one message share its Message.
        """
        return await self._read(lambda db: queries.due(db, lane, now, limit, known))

    async def lanes(self, mail_class: MailClass, after: LaneKey | None, limit: int) -> list[tuple[LaneKey, int]]:
        """The lanes behind `after` (None: from the first) with waiting mail of the class, by priority (the highest first),
        site and stream, at most `limit`, and the earliest next_attempt of each."""
        return await self._read(lambda db: queries.lanes(db, mail_class, after, limit))

    async def overdue(
        self, mail_class: MailClass, after: LaneKey | None, before: int, limit: int
    ) -> tuple[list[tuple[LaneKey, int, Key]], LaneKey | None]:
        """Of the next `limit` lanes behind `after` (in the order of `lanes`) those with mail that was due before `before`: when
        and which was the first; and the last of these lanes, None where there is none behind them."""
        return await self._read(lambda db: queries.overdue(db, mail_class, after, before, limit))

    async def content(self, message: Message) -> bytes:
        """Raises LookupError when the message has left."""
        return await self._read(lambda db: queries.content(db, message.row))

    async def page(self, selector: Selector, after: Key | None, limit: int) -> Page:
        """The next deliveries that `selector` means, by key, at most `limit`; fewer do not mean that there are no more.

        `after` is that of the page before.
        """
        now = self._clock()
        found: list[Delivery] = []
        start: Key = after or (0, -1)
        for _ in range(LOOKS):
            part = partial(queries.scan, selector=selector, now=now, after=start, limit=limit - len(found))
            more, last = await self._read(part)
            found += more
            if len(found) >= limit:
                return Page(found, found[-1].key)
            if last is None:
                return Page(found, None)
            start = last
        return Page(found, start)

    async def counts(self) -> dict[str, Any]:
        """{"waiting", "held", "guarded": of these as runaways, "suspended": {id: held by it}, "oldest" (accepted_at or None),
        "lanes": {(class, site, stream): waiting}, "due": {the same: (how many are due, when the first is)}}, of lanes the
        longest.

        Of a spool with very many recipients they may be some seconds old.
        """
        now = time.monotonic()
        if self._counts is None or now >= self._counted_until:
            clock = self._clock()
            counted, seconds = await self._read(lambda db: _timed_counts(db, clock))
            self._counts = counted
            self._counted_until = now + (seconds * _COUNTS_SHARE if seconds > _COUNTS_FREE else 0.0)
            return counted
        return self._counts

    async def holding(self) -> dict[int, int]:
        """The ids of the suspensions that hold deliveries here, and how many each."""
        return await self._read(queries.holding)

    async def outbox(self, limit_bytes: int) -> tuple[int, bytes] | None:
        """The earliest events not yet exported: sequence of the last, and lines that each end in LF. None: all are."""
        return await self._read(lambda db: queries.outbox(db, limit_bytes))

    async def effects(self, commits: int) -> tuple[int, bytes, bool] | None:
        """Of the earliest commits that State was not told of: sequence of the last, lines (rows.effect_of), and whether others
        may wait behind them. None: it was told of all."""
        return await self._read(lambda db: queries.effects(db, commits))

    async def told(self, sequence: int) -> None:
        """State has been told of all up to `sequence`."""
        write = Write(self._loop.create_future(), patient=True, told=sequence)
        self._committer.submit(write)
        await write.future

    async def sent(self, identifier: str, index: int) -> tuple[Delivery, int] | None:
        """What was delivered by a return path of ours (without content), and the bits of what was heard of it since."""
        return await self._read(lambda db: queries.sent(db, identifier, index))

    async def sent_as(self, sought: Sought) -> tuple[str, int] | None:
        """Id and index of what left with this Message-ID to this address (relay/clue.py)."""
        return await self._read(lambda db: queries.sent_as(db, sought))

    async def sent_to(
        self, signs: Sequence[str], after: tuple[str, int], scanned: int
    ) -> tuple[list[tuple[Delivery, int]], tuple[str, int] | None]:
        """A page of what was delivered by return paths of ours, of it what may be to somebody: see queries.sent_to."""
        return await self._read(lambda db: queries.sent_to(db, signs, after, scanned))

    async def sent_before(self, before: str) -> bool:
        """Is anything kept of what left under an id before this one?"""
        return await self._read(lambda db: queries.sent_before(db, before))

    async def forget_sent(self, before: str) -> None:
        """Some of those whose ids are before this one: nothing comes back any more."""
        write = Write(self._loop.create_future(), patient=True, forget=before)
        self._committer.submit(write)
        await write.future

    async def unsend(self, which: Sequence[tuple[str, int]]) -> None:
        """Forget that these (id, index) were sent: whatever comes back of them is of nobody who is known."""
        write = Write(self._loop.create_future(), patient=True, unsent=list(which))
        self._committer.submit(write)
        await write.future

    async def export_mark(self) -> tuple[str, int]:
        """The file of the event log being written ("" before the first), and how much of it is known to be good."""
        return await self._read(queries.export_mark)

    async def exported(self, sequence: int, file: str, offset: int) -> None:
        """The outbox up to `sequence` is safe in `file` up to `offset`: forgets the one, notes the other, at once."""
        write = Write(self._loop.create_future(), patient=True, export=(sequence, file, offset))
        self._committer.submit(write)
        await write.future

    def _write(self, change: Change, *, patient: bool) -> asyncio.Future[None]:
        write = Write(self._loop.create_future(), patient, lines=rows.lines_of(change))
        write.size = len(write.lines)
        for message, deliveries in change.put:
            self._add(write, message, deliveries)
        for delivery in change.finished:
            write.finished.append(rows.packed_key(delivery))
            (write.shared if delivery.message.many else write.singles).append(delivery.message.row)
            happened = delivery.happened
            if (
                happened is not None
                or delivery.counted
                or (delivery.arrived and delivery.message.mail_class is MailClass.MARKETING)
            ):
                write.effects += rows.effect_of(delivery, counted=delivery.counted, happened=happened)
        for delivery in change.again:
            write.again.append(rows.again_row(delivery))
        for delivery in change.given_up:
            write.effects += rows.effect_of(delivery, counted=True)
        for delivery, learnt in change.learnt:
            write.effects += rows.effect_of(delivery, counted=False, learnt=learnt)
        for name, happened in change.told_of:
            write.effects += rows.told_of(name, happened)
        for delivery, source, site in change.sent:
            self._sent += 1
            write.sent.append(rows.sent_row(delivery, source, site, self._generation + self._sent // GENERATION))
        write.heard += [(bit, identifier, index) for identifier, index, bit in change.heard]
        write.size += len(write.effects)
        self._committer.submit(write)
        return write.future

    def _add(self, write: Write, message: Message, deliveries: list[Delivery]) -> None:
        message.row = self._next_row
        self._next_row += 1
        message.many = message.many or len(deliveries) > 1
        write.messages.append(rows.message_row(message))
        write.size += len(message.content or b"")
        for delivery in deliveries:
            write.recipients.append(rows.recipient_row(message.row, delivery))
            write.size += len(delivery.head)

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        read = Read(self._loop.create_future(), work)
        self._committer.submit(read)
        result: T = await read.future
        return result


def _timed_counts(db: apsw.Connection, now: int) -> tuple[dict[str, Any], float]:
    start = time.monotonic()
    counted = queries.counts(db, now)
    return counted, time.monotonic() - start
