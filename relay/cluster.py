"""The supervisor's side of a cluster: one version of policies/ on all nodes that share their State, or none changes.

    who reloads      asks all others that are there (a motion, relay/motion.py), with the files; waits for their votes; decides
    who is asked     keeps the files, lets its processes prepare, votes, waits for the decision, changes over
    who was away     sees a decision that is later than its own, and takes it over

What was decided is one note in State, and the highest ballot counts for good: a node that was down or cut off, or that voted and
did not hear the end, follows as soon as it reads it. Where Redis forgot the note, whoever has it in force puts it back. So a
loss of State at any moment ends with all on the old version or all on the new.

The files go through State, as a note of their own. Each node keeps them as a version of its own (relay/kept.py), and puts them
into its policies/ where that holds nothing but what was in force before. A node with other edits there says no. config/ is
each machine's own, and so is what config/ makes of a version: a node where it has errors says no.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from relay import __version__
from relay.adoption import Adoption, Desk
from relay.alert import Alert, behind
from relay.changeover import Agree, alone
from relay.config.reader import contents, fingerprint
from relay.control import Json
from relay.kept import Decision, Store
from relay.motion import BOARD, FILES, PROTOCOL, Motion, Seat, Table, dump, pack, table, unpack, vote
from relay.state.interface import StateError

log = structlog.get_logger()

LOCK = "policies/reload"  # who reloads: a lease, so that one who dies of it does not hinder the next for long
LOOK = 1.0  # s between two looks at the board
POLL = 0.25  # s the same, while somebody waits
LEASE = 180_000  # ms: longer than all below until the decision
TURN = 60.0  # s to wait while another node reloads
MEET = 6.0  # s for a node that has just started to take its seat
VOTES = 60.0  # s the others have to read the files, with all their workers
DECIDE = 20.0  # s in which State may come back to hear the decision
FOLLOW = 15.0  # s in which the others have changed over
AGAIN = 30.0  # s between tries to take what could not be taken
WITHDRAWN = "it was withdrawn"


class NotNow(Exception):
    """Why this node cannot ask the others."""


class Cluster:
    """`ask` asks a worker of this node that is up; `workers`: how many there are; `tell` records an alert's begin and end.

    Its many methods are the steps of three roles, which are one object's because all compare the table with the same decision and
    what this node voted: who asks catches up with the others first."""

    def __init__(
        self,
        node: str,
        workers: int,
        ask: Callable[[Json], Awaitable[Json]],
        desk: Desk,
        tell: Callable[[str, Alert], None],
    ) -> None:
        self._node = node
        self._workers = workers
        self._ask = ask
        self._desk = desk
        self._here = Adoption(desk)
        self._tell = tell
        self.alert: Alert | None = None
        self._table: Table | None = None  # as last read
        self._working: asyncio.Task[None] | None = None
        self._voted = ""
        self._failed = ("", "")  # ballot and config/ of what could not be taken
        self._again = 0.0
        self._turn = 0.0  # when ours began
        self._motion: Motion | None = None  # ours, of this turn
        self._open = False  # it is, or may be, decided

    def __repr__(self) -> str:
        return f"<Cluster {self._node} ballot={self._desk.decision.ballot or None}>"

    # --- State, by way of a worker

    async def _do(self, what: str, **more: Any) -> Json:
        """Raises StateError."""
        answer = await self._ask({"do": "board", "what": what, **more})
        if "error" in answer:
            raise StateError(answer["error"])
        return answer

    async def _read(self) -> Table:
        answer = await self._do("read", board=BOARD)
        self._table = table(answer["notes"], answer["now"], answer["sharers"])
        return self._table

    async def _pin(self, name: str, text: str, board: str = BOARD) -> None:
        await self._do("pin", board=board, name=name, text=text)

    async def _unpin(self, name: str, board: str = BOARD) -> None:
        await self._do("unpin", board=board, name=name)

    # --- keeping in step

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except StateError as error:
                log.debug("the other nodes cannot be seen; again in a second", error=str(error))
            except Exception:
                log.exception("a look at the other nodes failed")
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Say that we are there; begin what there is to do."""
        mine = self._desk.decision.ballot  # as it was before the look: what was decided since is no news
        seen = await self._read()
        await self._sit(seen)
        if self._working is None or self._working.done():
            work = self._due(seen, mine)
            if work is not None:
                self._working = asyncio.create_task(self._guarded(work))

    async def leave(self) -> None:
        """This node ends: nobody waits for its vote any more."""
        with contextlib.suppress(StateError, TimeoutError):
            async with asyncio.timeout(2.0):
                await self._sit(await self._read(), ended=True)

    async def _sit(self, seen: Table, *, ended: bool = False) -> None:
        version, ballot = self._desk.in_force.version, self._desk.decision.ballot
        seat = Seat(self._node, seen.now, self._workers, version, ballot, __version__, PROTOCOL, ended)
        await self._pin(f"node/{self._node}", dump(seat))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StateError as error:
            log.warning("State was lost while nodes changed over; what was decided counts", error=str(error))
        except Exception:
            log.exception("this node could not take part in a change of versions")

    def _due(self, seen: Table, mine: str) -> Coroutine[Any, Any, None] | None:
        last = seen.decided
        if mine and (last is None or last.ballot < mine):
            return self._remind()
        if last is not None and last.ballot > mine:
            tried = self._failed == (last.ballot, self._desk.decision.config) and time.monotonic() < self._again
            return None if tried else self._follow(last)
        if any(version == self._desk.in_force.version for version in seen.wants.values()):
            return self._give(seen)
        asked = seen.awaited(self._node, mine)
        return self._vote(asked) if asked is not None else None

    async def _remind(self) -> None:
        """State has forgotten what was decided."""
        async with self._desk.changing:
            now = self._desk.decision
            motion = Motion(now.ballot, now.policies, now.by, now.how, "", now.node, now.at)
            await self._pin(motion.version, pack(self._here.files_in_force()), FILES)
            await self._pin(f"decided/{motion.ballot}", dump(motion))
        log.warning("State had forgotten what all nodes decided, and is told", policies=motion.version)

    async def _give(self, seen: Table) -> None:
        """Another node follows, and State has lost the files."""
        version = self._desk.in_force.version
        await self._pin(version, pack(self._here.files_in_force()), FILES)
        for node in [node for node, wanted in seen.wants.items() if wanted == version]:
            await self._unpin(f"wants/{node}")

    # --- taking part

    async def _follow(self, motion: Motion) -> None:
        """It was decided without us."""
        desk = self._desk
        async with desk.changing:
            if motion.ballot <= desk.decision.ballot:
                return
            files = await self._files(motion)
            if files is None:
                await self._pin(f"wants/{self._node}", motion.version)
                refusals = ["its files are not in State; another node that has them will put them there"]
            else:
                log.info("other nodes decided without this one; it follows", policies=motion.version, of=motion.node)
                refusals = await self._here.take(motion, files, alone)
        self._failed = (motion.ballot, desk.decision.config) if refusals else ("", "")
        self._again = time.monotonic() + (AGAIN if files is not None else LOOK)
        self._say(behind(motion.version, motion.node, desk.in_force.version, refusals) if refusals else None)

    def _say(self, alert: Alert | None) -> None:
        before, self.alert = self.alert, alert
        if before is not None and (alert is None or alert.what != before.what):
            self._tell("resolved", before)
        if alert is not None and (before is None or alert.what != before.what):
            log.error("this node is behind", summary=alert.summary, problems=alert.problems)
            self._tell("firing", alert)

    async def _vote(self, motion: Motion) -> None:
        async with self._desk.changing:
            if motion.ballot <= self._desk.decision.ballot:
                return
            files = await self._files(motion)
            if edits := self._here.edits(motion):
                refusals = [edits]
            elif files is None:
                refusals = ["the files did not arrive"]
            else:
                refusals = await self._here.take(motion, files, partial(self._wait_for_it, motion))
            if refusals and self._voted != motion.ballot:
                await self._pin(f"vote/{motion.ballot}/{self._node}", vote(refusals))
                log.error("not taken, so no node takes it", policies=motion.version, of=motion.node, problems=refusals)

    async def _wait_for_it(self, motion: Motion) -> list[str]:
        """All here are ready: say so, and wait for the decision. Without one we stay as we are, and follow if it comes."""
        await self._pin(f"vote/{motion.ballot}/{self._node}", vote([]))
        self._voted = motion.ballot
        end = time.monotonic() + VOTES + DECIDE
        while time.monotonic() < end:
            seen = await self._read()
            if seen.decided is not None and seen.decided.ballot >= motion.ballot:
                return [] if seen.decided.ballot == motion.ballot else ["another version was decided"]
            if motion.ballot not in seen.asked:
                return [WITHDRAWN]
            await asyncio.sleep(POLL)
        return ["it was not decided in time"]

    async def _files(self, motion: Motion) -> dict[str, bytes] | None:
        """Of the version that a motion is about; None where nobody has given them."""
        kept = Store(self._desk.data_dir, "policies").find(motion.version)
        if kept is not None:
            return contents(kept.folder)
        text = (await self._do("read", board=FILES))["notes"].get(motion.version)
        if text is None:
            return None
        files = unpack(text)
        return files if fingerprint(files) == motion.version else None

    def stale(self) -> str:
        """See Adoption."""
        return self._here.stale()

    # --- asking the others

    async def in_turn(self, work: Callable[[], Awaitable[Json]]) -> Json:
        """What `work` answers, while no other node of the cluster does such a thing; with how it went on each (`nodes`), or,
        beside an `error`, whether the others may have it all the same (`open`). Raises NotNow."""
        holder = f"reload/{self._node}"
        try:
            await self._lock(holder)
            self._turn = time.monotonic()
            try:
                await self._catch_up()
                answer = await work()
                if "error" in answer:
                    answer["open"] = self._open
                elif self._motion is not None:
                    answer["nodes"] = await self._others(self._motion)
                return answer
            finally:
                await self._tidy(holder)
                self._turn, self._motion, self._open = 0.0, None, False
        except StateError as error:
            raise NotNow(f"the other nodes cannot be asked: {error}") from error

    async def _lock(self, holder: str) -> None:
        end = time.monotonic() + TURN
        while not (await self._do("lock", name=LOCK, holder=holder, ms=LEASE))["locked"]:
            if time.monotonic() > end:
                asked = (await self._read()).asked.values()
                who = ", ".join(f"{one.by} on {one.node}" for one in asked) or "another node"
                raise NotNow(f"{who} is changing policies at this moment; try again")
            await asyncio.sleep(2 * POLL)

    async def _catch_up(self) -> None:
        """What others decided meanwhile is what we begin with."""
        last = (await self._read()).decided
        if last is not None and last.ballot > self._desk.decision.ballot:
            await self._follow(last)
            if last.ballot > self._desk.decision.ballot:
                why = "; ".join(self.alert.problems) if self.alert else ""
                raise NotNow(f"this node has to take {last.version} of {last.node} first, and cannot: {why}")

    def move(self, decision: Decision, reason: str) -> tuple[Decision, Agree]:
        """The decision as it would be, and how all nodes come to it. Raises NotNow outside of `in_turn`."""
        seen = self._table
        if not self._turn or seen is None:
            raise NotNow("the files changed while they were read; reload again")
        ballot = seen.next_ballot(self._desk.decision.ballot, secrets.token_hex(3))
        before = self._desk.in_force.version
        motion = Motion(ballot, decision.policies, decision.by, decision.how, reason, self._node, seen.now, before)
        self._motion = motion
        return replace(decision, ballot=ballot, node=self._node), partial(self._carry, motion)

    async def _carry(self, motion: Motion) -> list[str]:
        folder = Store(self._desk.data_dir, "policies").folder / motion.version
        try:
            files = pack(contents(folder))
            seen = await self._complete()
            asked = replace(motion, nodes=tuple(seat.node for seat in seen.there(self._node)))
            await self._pin(motion.version, files, FILES)
            await self._pin(f"asked/{motion.ballot}", dump(asked))
            refusals = await self._votes(asked)
        except (StateError, NotNow, ValueError) as error:
            refusals = [str(error)]
        if not refusals and time.monotonic() - self._turn > LEASE / 1000 - DECIDE:
            refusals = ["it took too long"]
        if refusals:
            with contextlib.suppress(StateError):
                await self._unpin(f"asked/{motion.ballot}")
            return refusals
        return await self._decide(asked)

    async def _complete(self) -> Table:
        """All who share State, each known to be able to take part. Raises NotNow, StateError."""
        end = time.monotonic() + MEET
        seen = await self._read()
        while seen.strangers() and time.monotonic() < end:
            await asyncio.sleep(POLL)
            seen = await self._read()
        if strangers := seen.strangers():
            raise NotNow(
                f"{strangers} workers that share State do not answer: an older Postlane, or one that ended half a minute ago"
            )
        for seat in seen.there(self._node):
            if seat.protocol != PROTOCOL:
                raise NotNow(f"{seat.node} runs Postlane {seat.program}, which changes policies in another way")
        return seen

    async def _votes(self, motion: Motion) -> list[str]:
        """Who goes down meanwhile has no say: it takes what is decided when it is back."""
        end = time.monotonic() + VOTES
        while True:
            seen = await self._read()
            there = {seat.node for seat in seen.there(self._node)}
            said = {node: seen.votes.get((motion.ballot, node)) for node in motion.nodes}
            refusals = [f"{node}: {line}" for node, lines in said.items() for line in lines or ()]
            silent = [node for node, lines in said.items() if lines is None and node in there]
            if refusals or not silent:
                return refusals
            if time.monotonic() > end:
                return [f"{node}: it gave no answer in {VOTES:.0f} s" for node in silent]
            await asyncio.sleep(POLL)

    async def _decide(self, motion: Motion) -> list[str]:
        """One note, once it is there, for all and for good. An answer that is lost leaves open whether it is: it is put again."""
        self._open = True
        end = time.monotonic() + DECIDE
        while True:
            try:
                await self._pin(f"decided/{motion.ballot}", dump(motion))
            except StateError as error:
                if time.monotonic() > end:
                    return [
                        f"State was lost while it was decided ({error}). Where the decision has arrived, all nodes follow it "
                        "when State is back: see postlane status"
                    ]
                await asyncio.sleep(2 * POLL)
            else:
                return []

    async def _others(self, motion: Motion) -> list[Json]:
        """How it stands on the other nodes, once all that are up have changed over."""
        end = time.monotonic() + FOLLOW
        with contextlib.suppress(StateError):
            while any(seat.ballot < motion.ballot for seat in (await self._read()).there(self._node)):
                if time.monotonic() > end:
                    break
                await asyncio.sleep(POLL)
        return [one for one in self.shown() if one["node"] != self._node]

    async def _tidy(self, holder: str) -> None:
        """The turn is over: notes that say nothing any more go, and so do files of versions that nobody will ask for."""
        with contextlib.suppress(StateError):
            seen = await self._read()
            for name in seen.litter():
                await self._unpin(name)
            last = seen.decided.version if seen.decided else ""
            old = {one.version for one in (*seen.motions.values(), *seen.asked.values())}
            old |= {self._motion.version} if self._motion else set()
            for version in old - {last}:
                await self._unpin(version, FILES)
        with contextlib.suppress(StateError):
            await self._do("unlock", holder=holder)

    # --- for people

    def shown(self) -> list[Json]:
        """All nodes as last seen; `heard`: seconds ago."""
        seen = self._table
        if seen is None:
            return []
        up = {seat.node for seat in seen.there("")}
        return [
            {
                "node": seat.node,
                "policies": seat.policies,
                "ballot": seat.ballot,
                "up": seat.node in up,
                "heard": (seen.now - seat.at) // 1000,
                "postlane": seat.program,
            }
            for seat in sorted((*seen.there(""), *seen.away("")), key=lambda seat: seat.node)
        ]
