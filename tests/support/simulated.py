"""A node in this process, on a clock that the test moves: the real worker with its spool, its State and its listener, which
delivers to a server on loopback. A week of mail then takes seconds.

    async with Simulated(node, start) as here:
        await here.at(moment)        it is that time now, and what is due has gone
        await here.run("recipient", "dana@example.com")    the command line, as of the real clock

What waits by the loop's own clock (timeouts, idle connections) takes its real time.
"""

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Self
from unittest.mock import patch

from relay import control, stages, worker
from relay.message import MailClass
from relay.order import Order
from relay.state.sqlite import SqliteState
from relay.supervisor import Supervisor
from relay.web import process
from tests.support.node import Node

LOOK = 0.01  # s of real time between two looks, in which a second passes
PATIENCE = 3_000  # looks until what is due must have gone


async def until(ready: Callable[[], object]) -> None:
    """Fails after twenty seconds."""
    for _ in range(int(20 / LOOK)):
        if ready():
            return
        await asyncio.sleep(LOOK)
    raise AssertionError("waited in vain for twenty seconds")


class Simulated:
    """`node`: its files; it is not started. `now`: ms since the epoch."""

    def __init__(self, node: Node, start: datetime) -> None:
        self.node = node
        self.now = int(start.timestamp() * 1000)
        self._patches = ExitStack()

    async def __aenter__(self) -> Self:
        supervisor = Supervisor(self.node.folder / "config", self.node.folder / "policies", worker.work, process.work)
        self._lock, links = supervisor._lock, supervisor.sockets
        listeners = tuple(os.dup(link.fileno()) for link in links.listeners[0])
        for link in (*links.listeners[0], links.admin, links.api, links.public, links.capture):
            if link is not None:
                link.close()
        self._ours, theirs = socket.socketpair()
        order = Order(supervisor.in_force.place, (0,), listeners, theirs.detach(), "", 1)
        self._patches.enter_context(patch.object(stages, "clock", self._clock))
        self._patches.enter_context(patch.object(worker, "clock", self._clock))
        self._patches.enter_context(patch.object(stages, "state_at", self._state))
        self._worker = worker.Worker(order)
        self._run = asyncio.create_task(self._worker.run())
        self._control = await control.serve(supervisor._control, self._worker._answer)
        await until(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._control.close()
        self._ours.close()  # as if the supervisor were gone
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(self._run, 60)
        os.close(self._lock)
        self._patches.close()
        gc.unfreeze()
        gc.set_threshold(700, 10, 10)

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now / 1000, UTC)

    def _clock(self) -> int:
        return self.now

    def _state(self, url: str, password_file: str, data_dir: Path, *_: object) -> SqliteState:
        return SqliteState(data_dir / "state.db", self._clock)

    def _open(self) -> bool:
        assert not self._run.done(), "the worker ended"
        return self._worker.stages.suspensions.known and self._worker._open

    async def at(self, moment: datetime) -> None:
        """It is that time, and what was due by then has gone or waits for later. A second passes with each look."""
        self.now = max(self.now, int(moment.timestamp() * 1000))
        await self.settle()

    async def settle(self) -> None:
        shard = self._worker.stages.shards[0]
        for _ in range(PATIENCE):
            shard.dispatcher.forget([])  # it looks at its clock again
            await asyncio.sleep(LOOK)
            if not shard.dispatcher.stats()["in_flight"] and not await self._due():
                await shard.effects.step()
                return
            self.now += 1_000
        raise AssertionError(f"mail is due and does not go: {shard.dispatcher!r}")

    async def _due(self) -> bool:
        spool = self._worker.stages.shards[0].spool
        lanes = [lane for kind in MailClass for lane in await spool.lanes(kind, None, 100)]
        return any(at <= self.now for _, at in lanes)

    async def ask(self, **question: object) -> control.Json:
        """The desk."""
        answer = await self._worker._answer({"do": "people", **question})
        assert "error" not in answer, answer
        return answer

    async def run(self, *words: str) -> CompletedProcess[str]:
        return await asyncio.to_thread(self.node.run, *words)
