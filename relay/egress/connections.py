"""Connections kept and shared: how many per (source, site), who gets the next one, when they close.

Strategy: a lane per (source, EHLO name, site, TLS requirement). An idle connection goes to whoever asks, the last
used first; else, below the limit and with a permit that all workers share, the task that asked opens one; else it
waits in line, by class and then by time. What comes free is handed to the head of the line, so a newcomer never
overtakes. The caller must `release` each connection it got, whatever happened. While we shut down nobody gets one: who
asks or waits is cancelled, since an outcome would count as an attempt that never was.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from relay.egress.connection import Connection
from relay.egress.dialer import SLOW_FAILURE, Dialer, Terms, Wanted
from relay.egress.pools import Source
from relay.egress.settings import EgressSettings
from relay.egress.tls import requirement_for
from relay.message import MailClass
from relay.outcome import Outcome

ASK_AGAIN = 0.25  # seconds after a refused permit: another worker's connection may have closed
REMEMBER = 30.0  # seconds at most that a site's long silence answers for the attempts that follow

Key = tuple[str, str, str, str]


def key_of(source: Source, way: str, requirement: str) -> Key:
    """What connections are kept under: source address, EHLO name, where they lead (Way.key), TLS requirement.

    Pools that share an address but not the name share no connection. A kept connection fulfils its requirement by the
    way it was opened; what TLS came of it stands in `Connection.tls`.
    """
    return source.address, source.ehlo, way, requirement


class Permits(Protocol):
    """Connections of one source to one site, counted over all workers."""

    async def acquire(self, source: str, site: str, limit: int, *, urgent: bool) -> bool:
        """`urgent`: it does not wait for who counts, where they cannot be reached."""
        ...

    def release(self, source: str, site: str) -> None: ...


class _Turn(Enum):
    """What a waiting task is handed besides a connection or an outcome: the right to open one."""

    OPEN = "open"


_Grant = Connection | Outcome | _Turn


@dataclass(slots=True)
class Lane:
    """One key. `slots` counts connections that are open, being opened, or about to be; who waits is in line by class.

    down   what the last one who tried to open heard, after a long wait: the answer for all until `down_until`
    """

    terms: Terms
    slots: int = 0
    idle: list[Connection] = field(default_factory=list)
    lines: tuple[deque["asyncio.Future[_Grant]"], ...] = field(
        default_factory=lambda: tuple(deque() for _ in MailClass)
    )
    asking: asyncio.TimerHandle | None = None
    down: Outcome | None = None
    down_until: float = 0.0

    @property
    def queued(self) -> int:
        return sum(map(len, self.lines))

    def hand(self, grant: _Grant) -> bool:
        """Give `grant` to the head of the line; False if nobody waits."""
        for line in self.lines:
            while line:
                future = line.popleft()
                if not future.done():
                    future.set_result(grant)
                    return True
        return False

    def invite(self, limit: int) -> None:
        """Let the head of the line open a connection, if there is room."""
        if self.slots < limit and self.hand(_Turn.OPEN):
            self.slots += 1

    def free_slot(self, limit: int) -> None:
        """A slot is empty: the head of the line may use it, unless a reload left fewer."""
        if self.slots > limit or not self.hand(_Turn.OPEN):
            self.slots -= 1

    def dismiss(self) -> None:
        """Cancel all who wait."""
        for line in self.lines:
            while line:
                line.popleft().cancel()


class Connections:
    """The pool. Its counts: `stats`; `close` says good-bye to all. A method for each step of a connection's life: waiting,
    permit, opening, lease, release, idleness, end."""

    def __init__(self, settings: EgressSettings, permits: Permits) -> None:
        self._settings = settings
        self._dialer = Dialer(settings)
        self._permits = permits
        self._lanes: dict[Key, Lane] = {}
        self._open: dict[Connection, tuple[Wanted, Lane]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self._drained: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return "<Connections " + " ".join(f"{name}={count}" for name, count in self.stats().items()) + ">"

    def stats(self) -> dict[str, int]:
        """Numbers of now: open, idle, tasks waiting for one, sessions waiting for the reply to their final dot."""
        lanes = self._lanes.values()
        return {
            "open": len(self._open),
            "idle": sum(len(lane.idle) for lane in lanes),
            "waiting": sum(lane.queued for lane in lanes),
            "awaiting_final": self.awaiting_final,
        }

    @property
    def awaiting_final(self) -> int:
        return sum(connection.awaiting_final for connection in self._open)

    def _room(self, lane: Lane) -> int:
        return max(1, lane.terms.connections // self._settings.workers)

    def reconfigure(self, settings: EgressSettings) -> None:
        """New numbers from now on. Where there are too many connections, what is given back closes; where there is new
        room, the lines move up."""
        self._settings = self._dialer.settings = settings
        for lane in self._lanes.values():
            if lane.asking is None:
                lane.invite(self._room(lane))

    # -------------------------------------------------------------------------------------------------- lease

    def idle(self, key: Key) -> Connection | None:
        """An idle connection right now, else None. While there is one, nobody waits in line."""
        lane = self._lanes.get(key)
        while lane is not None and lane.idle:
            connection = lane.idle.pop()
            if connection.usable:
                return connection
        return None

    async def lease(self, wanted: Wanted) -> Connection | Outcome:
        """A connection for one transaction; waits its turn. The outcome says why there is none; CancelledError, that
        we shut down."""
        lane = self._lanes.setdefault(_key(wanted), Lane(wanted.terms))
        lane.terms = wanted.terms
        self._sweep_later()
        grant = self._grant(lane, wanted) or await self._wait(lane, wanted)
        while isinstance(grant, _Turn):
            if await self._permitted(lane, wanted):
                return await self._open_for(lane, wanted)
            grant = self._kept(lane, wanted) or await self._wait(lane, wanted, first=True)
        return grant

    def release(self, connection: Connection) -> None:
        """Give a connection back: to the next in line, to the idle ones, or to its end."""
        known = self._open.get(connection)
        if known is None or not connection.usable:
            return  # it is gone, or will report that it is
        lane = known[1]
        worn = connection.used >= lane.terms.messages_per_connection
        if worn or self._closing or lane.slots > self._room(lane):
            connection.quit()
        elif not lane.hand(connection):
            connection.idle_since = asyncio.get_running_loop().time()
            lane.idle.append(connection)

    def _grant(self, lane: Lane, wanted: Wanted) -> _Grant | None:
        """What can be had without waiting."""
        self._refuse_while_closing()
        if lane.queued:
            return None
        kept = self._kept(lane, wanted)
        if kept is not None:
            return kept
        for unsuited in lane.idle:
            unsuited.quit()
        lane.idle.clear()
        if lane.down is not None and asyncio.get_running_loop().time() < lane.down_until:
            return replace(lane.down)
        if lane.slots < self._room(lane) and lane.asking is None:
            lane.slots += 1
            return _Turn.OPEN
        return None

    def _kept(self, lane: Lane, wanted: Wanted) -> Connection | None:
        suited = [] if wanted.fresh else [c for c in lane.idle if c.usable and c.target.address not in wanted.avoid]
        if not suited:
            return None
        lane.idle.remove(suited[-1])
        return suited[-1]

    async def _wait(self, lane: Lane, wanted: Wanted, *, first: bool = False) -> _Grant:
        self._refuse_while_closing()
        future: asyncio.Future[_Grant] = asyncio.get_running_loop().create_future()
        line = lane.lines[wanted.mail_class]
        (line.appendleft if first else line.append)(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                if future in line:  # it may just have been its turn
                    line.remove(future)
            elif isinstance(grant := future.result(), Connection):
                self.release(grant)
            elif isinstance(grant, _Turn):
                lane.free_slot(self._room(lane))
            raise

    def _refuse_while_closing(self) -> None:
        if self._closing:
            raise asyncio.CancelledError("this server is shutting down")

    async def _permitted(self, lane: Lane, wanted: Wanted) -> bool:
        """Ask for a permit; refused, the slot is given up and the head of the line asks again soon."""
        try:
            granted = await self._permits.acquire(
                wanted.source.address,
                wanted.site,
                wanted.terms.connections,
                urgent=wanted.mail_class is MailClass.TRANSACTIONAL,
            )
        except BaseException:
            lane.free_slot(self._room(lane))
            raise
        if not granted:
            lane.slots -= 1
            if lane.asking is None:
                lane.asking = asyncio.get_running_loop().call_later(ASK_AGAIN, self._ask_again, lane)
        elif lane.queued:
            lane.invite(self._room(lane))
        return granted

    def _ask_again(self, lane: Lane) -> None:
        lane.asking = None
        lane.invite(self._room(lane))

    # ------------------------------------------------------------------------------------------------ opening

    async def _open_for(self, lane: Lane, wanted: Wanted) -> Connection | Outcome:
        """Open one, in the lane's slot and with its permit; both are given back when it fails."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            result = await self._dialer.open(wanted, self._lost)
        except BaseException:
            self._permits.release(wanted.source.address, wanted.site)
            lane.free_slot(self._room(lane))
            raise
        if isinstance(result, Connection):
            self._open[result] = wanted, lane
            if self._closing:
                result.quit()
            self._refuse_while_closing()
            return result
        self._permits.release(wanted.source.address, wanted.site)
        if wanted.avoid:
            lane.free_slot(self._room(lane))  # it says nothing of the hosts that were not tried
        else:
            self._failed(lane, result, loop.time() - started)
        return result

    def _failed(self, lane: Lane, outcome: Outcome, took: float) -> None:
        """The slot stays empty: whoever still has a connection there serves the line. With none left, all in line hear
        the outcome."""
        lane.slots -= 1
        if lane.slots:
            return
        if took >= SLOW_FAILURE:
            lane.down, lane.down_until = outcome, asyncio.get_running_loop().time() + min(took, REMEMBER)
        while lane.hand(replace(outcome)):
            pass

    # ------------------------------------------------------------------------------------------------ closing

    def _lost(self, connection: Connection) -> None:
        known = self._open.pop(connection, None)
        if known is None:
            return
        wanted, lane = known
        self._permits.release(wanted.source.address, wanted.site)
        if connection in lane.idle:
            lane.idle.remove(connection)
        lane.free_slot(self._room(lane))
        if not self._open and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _sweep_later(self) -> None:
        if self._sweeper is None and not self._closing:
            self._sweeper = asyncio.get_running_loop().call_later(self._settings.idle, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for long and forget empty lanes; comes again while there are any."""
        self._sweeper = None
        now = asyncio.get_running_loop().time()
        for key, lane in list(self._lanes.items()):
            old = [c for c in lane.idle if now - c.idle_since >= self._settings.idle]
            lane.idle = [c for c in lane.idle if c not in old]
            for connection in old:
                connection.quit()
            if not (lane.slots or lane.queued or lane.asking or lane.down_until > now):
                del self._lanes[key]
        if self._lanes:
            self._sweep_later()

    async def close(self, seconds: float) -> int:
        """QUIT what is idle, wait at most `seconds` for the rest, then cut it. Returns how many sessions were cut while
        their peer decided on a message: as many may be delivered twice."""
        self._closing = True
        for lane in self._lanes.values():
            lane.dismiss()
            for connection in lane.idle:
                connection.quit()
            lane.idle.clear()
            if lane.asking is not None:
                lane.asking.cancel()
        await self._wait_for_end(seconds)
        doubtful = self.awaiting_final
        for connection in list(self._open):
            connection.abort()
        await self._wait_for_end(1.0)  # the loop tells of each end in its next turn
        if self._sweeper is not None:
            self._sweeper.cancel()
        return doubtful

    async def _wait_for_end(self, seconds: float) -> None:
        if self._open:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained], timeout=seconds)


def _key(wanted: Wanted) -> Key:
    return key_of(wanted.source, wanted.key, requirement_for(wanted.relay).value)
