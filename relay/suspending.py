"""A worker's side of suspensions: what State says of them, known within a second, and the rows of its shards in keeping.

Whoever suspends or resumes tells State alone; each worker of each node reads it and does its own part. So a worker that was
down meanwhile does the same when it starts, and nothing has to be told twice. Rows are swept by what they say themselves:
held for something that is not in force any more, they are freed.

While State cannot be reached what was known stays in force, until its time is over.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import structlog

from relay.control import Json
from relay.event import Facts
from relay.message import MailClass
from relay.policy.suspension import BOARD, MAX, Suspension, Suspensions, given, meant
from relay.queue_commands import QueueCommands
from relay.spool.errors import SpoolError
from relay.state.interface import State, StateError
from relay.wildcard import PatternError

log = structlog.get_logger()

LOOK = 1.0  # s between looks at State: how long others go on after a suspension
_TELL = "postlane"  # who ends what is over by time


class Suspending:
    """`table` is what accept() and attempt() ask; `shards`: the rows; `record` writes an event of the node."""

    def __init__(
        self,
        state: State,
        table: Suspensions,
        shards: Sequence[QueueCommands],
        record: Callable[[str, Facts], None],
        node: str,
    ) -> None:
        self._state = state
        self._table = table
        self._shards = shards
        self._record = record
        self._node = node
        self._swept: set[int] = set()  # suspensions whose mail that waited here is held
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()  # what was read is put into force before anything else is read or done

    def __repr__(self) -> str:
        return f"<Suspending {self._table!r}>"

    # -- keeping in step

    async def run(self) -> None:
        await asyncio.gather(self._look_again(), self._sweep_again())

    async def _look_again(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def _sweep_again(self) -> None:
        """As often as the other, and beside it: a sweep through a million rows takes minutes."""
        while True:
            self._changed.clear()
            try:
                await self.sweep()
            except SpoolError as error:
                log.warning("suspensions: a sweep was broken off; again in a second", error=str(error))
            try:
                async with asyncio.timeout(LOOK):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Read what is in force; end what is over."""
        async with self._turn:
            try:
                found = await self._read()
            except StateError:
                found = list(self._table)
                if not self._table.known:
                    return
            now = self._state.now()
            self._put(one for one in found if not one.over(now))
        for one in found:
            if one.over(now):
                await self._end_in_time(one)

    async def _end_in_time(self, one: Suspension) -> None:
        try:
            if await self._state.unpin(BOARD, str(one.id)):  # the first of all workers tells
                self._tell_resumed(one, _TELL, "its time is over")
        except StateError:
            return  # the next look does it, of whoever comes first

    async def _read(self) -> list[Suspension]:
        found = []
        for text in (await self._state.pinned(BOARD)).values():
            try:
                found.append(Suspension.load(text))
            except (ValueError, TypeError, KeyError, PatternError) as error:
                log.error("a suspension cannot be read; a newer Postlane's?", text=text[:200], error=str(error))
        return found

    def _put(self, suspensions: Iterable[Suspension]) -> None:
        before = self._ids, self._table.known
        self._table.put(suspensions)
        if (self._ids, True) != before:
            self._changed.set()

    async def sweep(self) -> None:
        """Free what is held for nothing, hold what waits and should not."""
        if not self._table.known:
            return
        for shard in self._shards:
            for identity, count in (await shard.spool.holding()).items():
                if identity not in self._ids:
                    freed = await shard.resume(identity, count, self._table)
                    log.info("resumed", suspension=identity, deliveries=freed)
        self._swept &= self._ids
        for one in list(self._table):
            if one.id not in self._swept:
                for shard in self._shards:
                    held = await shard.suspend(one, partial(self._in_force, one.id))
                    log.info("suspended", what=one.said, deliveries=held)
                self._swept.add(one.id)

    def _in_force(self, identity: int) -> bool:
        return identity in self._ids

    @property
    def _ids(self) -> set[int]:
        return {one.id for one in self._table}

    # -- commands

    async def answer(self, question: Json) -> Json:
        return await (self.suspend if question["do"] == "suspend" else self.resume)(question)

    async def suspend(self, question: Json) -> Json:
        """{"what": selectors, "for" (ms; null: until resumed), "reason", "by", "via", "waiting"} -> {"suspension"}, or
        {"error"}"""
        async with self._turn:
            try:
                one = self._made(question)
                if len(await self._read()) >= MAX:
                    return {
                        "error": f"{MAX} suspensions are in force, the most there may be; postlane resume ends some"
                    }
                await self._state.pin(BOARD, str(one.id), one.dump())
            except StateError as error:
                return {"error": f"nothing is suspended: {error}"}
            except ValueError as error:
                return {"error": str(error)}
            self._put([*self._table, one])
        shown = one.shown()
        about = {name: shown[name] for name in ("what", "reason", "until", "by")}
        self._record("suspended", {**about, "waiting": one.waiting})
        self._audit("suspend", one, question)
        return {"suspension": shown}

    def _made(self, question: Json) -> Suspension:
        """Raises ValueError with words for who asked."""
        now = self._state.now()
        one = Suspension(
            id=now << 10 | random.randrange(1 << 10),
            what=given(question.get("what") or {}),
            since=now,
            until=now + question["for"] if question.get("for") else None,
            reason=str(question.get("reason", "")),
            by=str(question.get("by", "")),
            node=self._node,
            waiting=int(question.get("waiting", 0)),
        )
        if not one.classes:
            raise ValueError(f"no class is {' or '.join(one.what['class'])}")
        return one

    async def resume(self, question: Json) -> Json:
        """{"what": selectors (none: all), "reason", "by", "via", "dry_run"} -> {"ended": [...], "left": [...]}, or {"error"}"""
        dry = bool(question.get("dry_run"))
        async with self._turn:
            try:
                found = await self._read()
                chosen = meant(found, given(question.get("what") or {}))
                if not dry:
                    chosen = [one for one in chosen if await self._state.unpin(BOARD, str(one.id))]
            except StateError as error:
                return {"error": f"not resumed: {error}"}
            except PatternError as error:
                return {"error": str(error)}
            ids = {one.id for one in chosen}
            if not dry:
                self._put(one for one in self._table if one.id not in ids)
        for one in [] if dry else chosen:
            self._tell_resumed(one, str(question.get("by", "")), str(question.get("reason", "")))
            self._audit("resume", one, question)
        return {
            "ended": [one.shown() for one in chosen],
            "left": [one.shown() for one in found if one.id not in ids],
        }

    def _tell_resumed(self, one: Suspension, by: str, reason: str) -> None:
        """`waiting`: how much it was when it began; who lets it go is each worker of each node."""
        self._record("resumed", {"what": one.shown()["what"], "reason": reason, "waiting": one.waiting, "by": by})

    def _audit(self, action: str, one: Suspension, question: Json) -> None:
        said = {name: str(question.get(name, "")) for name in ("by", "via", "reason")}
        self._record("audit", {**said, "action": action, "what": one.shown()["what"]})

    # -- for health (relay/caring.py)

    def holds(self, identity: int) -> bool:
        """Is this suspension in force, or not known to be over?"""
        return not self._table.known or identity in self._ids

    def of_health(self, stream: str) -> int:
        """The id of the suspension of this stream that Postlane made itself; 0: there is none."""
        wanted = {"stream": (stream,)}
        return next((one.id for one in self._table if one.by == _TELL and dict(one.what) == wanted), 0)

    async def waiting(self, stream: str) -> int:
        """Deliveries of a stream that wait on this worker's shards and that a suspension of it would hold."""
        counts = [await shard.spool.counts() for shard in self._shards]
        lanes = [lane for one in counts for lane in one["lanes"].items()]
        return sum(
            n for (mail_class, _, name), n in lanes if name == stream and mail_class is not MailClass.TRANSACTIONAL
        )

    def shown(self) -> list[Json]:
        """Those in force, for `status`; `waiting`: here, when it began."""
        return [one.shown() for one in self._table]
