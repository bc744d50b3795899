"""One process under supervision: started, spoken to, started again when it ends."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from relay.control import Channel, Json, NodeDown
from relay.forked import Forked, Work, fork
from relay.order import DRAIN_SECONDS

log = structlog.get_logger()

RESTART_SECONDS = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0)  # waits after 1st, 2nd ... death in a row: mail waits meanwhile
STEADY_SECONDS = 10.0  # a child that ran this long does not "keep dying"
CANNOT = 126  # the status told of one that could not be started: a shell's of a command that it cannot run
STOP_SECONDS = DRAIN_SECONDS + 10.0  # then SIGKILL


class CannotStart(Exception):
    """No memory, processes or descriptors are left."""


@dataclass(slots=True, eq=False)
class Child:
    """`command` makes, anew each start, what a copy of this process is to do (forked.py), and the descriptors it keeps; the last
    of these is its end of the channel. When the channel closes, the supervisor is gone, and the child ends.

    deaths   in a row and unasked
    """

    name: str
    command: Callable[["Child"], tuple[Work, list[int]]]
    shards: tuple[int, ...] = ()
    process: Forked | None = None
    channel: Channel | None = None
    deaths: int = 0
    _renewing: bool = False
    _spawning: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __repr__(self) -> str:
        pid = self.process.pid if self.process else None
        return f"<Child {self.name} pid={pid} deaths={self.deaths}>"

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def connect(self) -> int:
        """A new channel to the process about to start; the descriptor of its end, which it must inherit."""
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        return theirs.detach()

    async def ask(self, question: Json, timeout: float = 60.0) -> Json:
        """Its answer; raises NodeDown if it is not there, or goes away meanwhile."""
        if self.channel is None or not self.up:
            raise NodeDown("it is not running")
        return await self.channel.ask(question, timeout)

    async def settled(self) -> None:
        """Wait while it is being started: between the making of its orders and the moment it can be asked."""
        async with self._spawning:
            pass

    def renew(self) -> None:
        """End it, so that it starts anew: it drains, and is killed if it does not end by that."""
        if self.process is not None and self.up and not self._renewing:
            self._renewing = True
            self.terminate()
            asyncio.get_running_loop().call_later(STOP_SECONDS, self._kill, self.process)

    def terminate(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    async def stop(self) -> None:
        """End it, within STOP_SECONDS."""
        if self.process is None:
            return
        self.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        self._kill(self.process)

    def _kill(self, process: Forked) -> None:
        if process.returncode is None:
            log.warning("a process did not stop in time", name=self.name, pid=process.pid)
            process.kill()

    async def keep(self, stopping: asyncio.Event) -> None:
        """Start it, and again whenever it ends before we stop."""
        while not stopping.is_set():
            started = time.monotonic()
            try:
                process = await self._start()
            except CannotStart as error:  # the others go on, and this one comes later
                log.error("a process cannot be started", name=self.name, error=str(error))
                if self.channel is not None:
                    self.channel.close()
                await self._pause(stopping, CANNOT, 0.0)
                continue
            if stopping.is_set():  # told to stop while it was being started: nobody else ends it
                self.terminate()
            status = await process.wait()
            if self.channel is not None:
                self.channel.close()
            if not stopping.is_set():
                await self._pause(stopping, status, time.monotonic() - started)

    async def _start(self) -> Forked:
        """Raises CannotStart."""
        async with self._spawning:
            try:
                work, descriptors = self.command(self)
                try:
                    self.process = fork(self.name, work, descriptors)
                finally:
                    os.close(descriptors[-1])  # the child's end of the pair: it must be the only holder
            except OSError as error:
                raise CannotStart(error.strerror) from error
            assert self.channel is not None
            await self.channel.open()
            return self.process

    async def _pause(self, stopping: asyncio.Event, status: int, ran: float) -> None:
        """At once if it was to start anew, or had run for a while; later and later if it keeps dying."""
        if self._renewing:
            self._renewing = False
            log.info("a process is started anew", name=self.name)
            return
        self.deaths = 1 if ran > STEADY_SECONDS else self.deaths + 1
        pause = RESTART_SECONDS[min(self.deaths, len(RESTART_SECONDS)) - 1]
        log.error("a process died and is started again", name=self.name, status=status, in_seconds=pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause)
