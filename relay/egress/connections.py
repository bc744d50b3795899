"""Connections kept and shared: who gets the next one, who may open another, when they close.

Strategy: an idle connection of the lane goes to whoever asks, the last used first; else, where all quays of the lane have
room (quay.py), and with a permit of each that all workers share, the task that asked opens one; else it waits. What comes
free is handed to the head of its lane's line, so a newcomer never overtakes. Where another lane waits for the room that a
connection takes, it closes instead of idling, after a turn instead of being handed on, and at once for urgent mail: the
domains of a provider share its few connections. Where the rate of new connections is used up for a second or longer, and the
lane has none that could come free, who waits is told when to come again (Later). The caller must `release` each connection it
got, whatever happened. While we shut down nobody gets one: who asks or waits is cancelled, since an outcome would count as an
attempt that never was.

What a lane and a quay know of themselves is in quay.py, how one connection is opened in dialer.py; the rest is long because who
waits, who has and who may open are one decision: each change of one is looked at for the others in the same turn of the loop.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from relay.egress.connection import Connection
from relay.egress.dialer import SLOW_FAILURE, Dialer, Wanted
from relay.egress.pools import Source
from relay.egress.quay import URGENT, Grant, Held, Lane, Quay, Turn
from relay.egress.settings import EgressSettings
from relay.identity import Rate
from relay.message import CLASSES, MailClass
from relay.outcome import Outcome
from relay.pause import Later

ZONE = "UTC"  # of a day of new connections
ASK_AGAIN = 0.25  # seconds after a refused permit: another worker's connection may have closed
TURN = 2.0  # seconds for which a lane keeps a connection while others wait for it: some hundred messages, or a slow one
LONG = 1.0  # seconds for which it is not worth standing in line: an attempt takes places that others could use
REST = 2 * ASK_AGAIN  # seconds after a turn at a site with fewer connections than workers: the others ask meanwhile
# Lanes or quays looked at in a turn of the loop: a fraction of a millisecond, or some ms where each says QUIT.
SWEPT = 50
REMEMBER = 30.0  # seconds at most that a site's long silence answers for the attempts that follow

Key = tuple[str, str, str, str, str]


def key_of(source: Source, way: str, security: str, apart: str = "") -> Key:
    """What connections are kept under: source address, EHLO name, where they lead (Way.key), what TLS they need
    (Security.label), whose limits count them beside those of all (Terms.apart).

    Pools that share an address but not the name share no connection. A kept connection fulfils what mail of its lane needs
    by the way it was opened; what TLS came of it stands in `Connection.tls`.
    """
    return source.address, source.ehlo, way, security, apart


class Permits(Protocol):
    """Connections by the name of a quay, counted over all workers."""

    async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool:
        """`urgent`: it does not wait for who counts, where they cannot be reached."""
        ...

    def release(self, name: str) -> None: ...


class Openings(Protocol):
    """New connections at a rate, counted over all workers: see RateLeases."""

    async def take(
        self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool, reserved: int = 0
    ) -> int: ...
    def receipt(self, rate: Rate) -> Any: ...
    def depart(self, name: str, rate: Rate) -> None: ...
    def give_back(self, name: str, rate: Rate, count: int, receipt: Any) -> None: ...


class Connections:
    """The pool. Its counts: `stats`; `close` says good-bye to all. A method for each step of a connection's life: waiting,
    permit, opening, lease, release, idleness, end."""

    def __init__(self, settings: EgressSettings, permits: Permits, openings: Openings) -> None:
        self._settings = settings
        self._dialer = Dialer(settings)
        self._permits = permits
        self._openings = openings
        self._lanes: dict[Key, Lane] = {}
        self._quays: dict[str, Quay] = {}
        self._open: dict[Connection, Held] = {}
        self._sweeper: asyncio.Handle | None = None
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

    def by_site(self) -> Counter[tuple[str, str]]:
        """Open connections by our address and the site."""
        return Counter(held.ends for held in self._open.values())

    @property
    def awaiting_final(self) -> int:
        return sum(connection.awaiting_final for connection in self._open)

    def reconfigure(self, settings: EgressSettings) -> None:
        """New settings from now on. New limits come with who asks next (Wanted.terms): where there are too many connections
        then, what is given back closes; where there is new room, the lines move up."""
        self._settings = self._dialer.settings = settings

    # -------------------------------------------------------------------------------------------------- lease

    def idle(self, key: Key, *, urgent: bool) -> Connection | None:
        """An idle connection right now, else None. While there is one, nobody waits in line."""
        lane = self._lanes.get(key)
        while lane is not None and lane.idle:
            connection = lane.idle[-1]
            if not self._put_to_use(connection, urgent=urgent):
                return None
            if connection.usable:
                return connection
        return None

    async def lease(self, wanted: Wanted) -> Connection | Outcome | Later:
        """A connection for one transaction; waits its turn. The outcome says why there is none, Later that none may be opened
        before; CancelledError, that we shut down."""
        lane = self._lane(wanted)
        self._sweep_later()
        grant = self._grant(lane, wanted) or await self._wait(lane, wanted)
        while isinstance(grant, Turn):
            if await self._permitted(lane, grant.quays, wanted):
                return await self._open_for(lane, grant.quays, wanted)
            grant = self._kept(lane, wanted) or await self._wait(lane, wanted, first=True)
        return grant

    def release(self, connection: Connection) -> None:
        """Give a connection back: to the next in line, to the idle ones, or to its end."""
        held = self._open.get(connection)
        if held is None or not connection.usable:
            return  # it is gone, or will report that it is
        lane = held.lane
        self._set_bulk(held, bulk=False)
        assert lane.terms is not None
        worn = connection.used >= lane.terms.messages_per_connection
        if worn or self._closing or self._given_up(held) or not self._hand_on(connection, held):
            connection.quit()

    def _hand_on(self, connection: Connection, held: Held) -> bool:
        """To the next in line, or to the idle ones; False: somebody else needs its place."""
        lane = held.lane
        for mail_class in CLASSES:
            urgent = mail_class is URGENT
            if lane.lines[mail_class] and (urgent or all(quay.bulk < quay.bulk_room for quay in held.quays)):
                self._set_bulk(held, bulk=not urgent)
                if lane.hand(mail_class, connection):
                    return True
                self._set_bulk(held, bulk=False)
        for quay in held.quays:
            if quay.contested or (any(quay.lines) and any(quay.awaited(each, lane) for each in CLASSES)):
                return False
        connection.idle_since = asyncio.get_running_loop().time()
        lane.idle.append(connection)
        for quay in held.quays:
            quay.idle[connection] = None
        return True

    def _given_up(self, held: Held) -> bool:
        """Must its place be given to another lane, or worker, although its own has a use for it?"""
        for quay in held.quays:
            if quay.open > quay.room:
                return True
            if not (quay.contested or any(quay.lines)):
                continue
            if not held.lane.lines[URGENT] and quay.awaited(URGENT, held.lane):
                return True
            if asyncio.get_running_loop().time() - held.since < TURN:
                continue
            if quay.contested:
                self._rest(quay, REST)
                return True
            if any(quay.awaited(mail_class, held.lane) for mail_class in CLASSES):
                return True
        return False

    def _lane(self, wanted: Wanted) -> Lane:
        """Where it counts, by the limits that hold now."""
        key = key_of(wanted.source, wanted.key, wanted.security.label, wanted.terms.apart)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane()
        if lane.terms is not wanted.terms:
            lane.terms = wanted.terms
            slots = wanted.terms.slots(wanted.source.address, wanted.site, shared=self._shared(wanted))
            lane.count_at(tuple(self._quay(*slot) for slot in slots))
        return lane

    def _shared(self, wanted: Wanted) -> bool:
        """Does transactional mail leave from there too?"""
        return wanted.source.address in self._settings.urgent_sources

    def _quay(self, name: str, limit: int, reserved: int) -> Quay:
        quay = self._quays.get(name)
        if quay is None:
            quay = self._quays[name] = Quay(name)
        if (quay.limit, quay.reserved) != (limit, min(reserved, limit - 1)):
            quay.allow(limit, reserved, self._settings.share)
            self._serve((quay,))
        return quay

    def _grant(self, lane: Lane, wanted: Wanted) -> Grant | None:
        """What can be had without waiting."""
        self._refuse_while_closing()
        if any(lane.lines[: wanted.mail_class + 1]):
            return None
        kept = self._kept(lane, wanted)
        if kept is not None:
            return kept
        if wanted.avoid or wanted.fresh:
            for unsuited in list(lane.idle):
                self._retire(unsuited)
        if lane.down is not None and asyncio.get_running_loop().time() < lane.down_until:
            return replace(lane.down)
        urgent = wanted.mail_class is URGENT
        if lane.full(urgent=urgent) is not None:
            return None
        return self._take_slot(lane, urgent=urgent)

    def _kept(self, lane: Lane, wanted: Wanted) -> Connection | None:
        suited = [] if wanted.fresh else [c for c in lane.idle if c.usable and c.target.address not in wanted.avoid]
        if suited and self._put_to_use(suited[-1], urgent=wanted.mail_class is URGENT):
            return suited[-1]
        return None

    async def _wait(self, lane: Lane, wanted: Wanted, *, first: bool = False) -> Grant:
        self._refuse_while_closing()
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        lane.join(wanted.mail_class, future, first=first)
        self._stand(lane, wanted.mail_class)
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                if future in (line := lane.lines[wanted.mail_class]):  # it may just have been its turn
                    line.remove(future)
            elif isinstance(grant := future.result(), Connection):
                self.release(grant)
            elif isinstance(grant, Turn):
                self._free_slot(lane, grant.quays, urgent=wanted.mail_class is URGENT)
            raise

    def _refuse_while_closing(self) -> None:
        if self._closing:
            raise asyncio.CancelledError("this server is shutting down")

    # -------------------------------------------------------------------------------------------------- rooms

    def _take_slot(self, lane: Lane, *, urgent: bool) -> Turn:
        """The right to open a connection: its slot counts from now on."""
        lane.slots += 1
        for quay in lane.quays:
            quay.open += 1
            quay.bulk += not urgent
        return Turn(lane.quays)

    def _free_slot(self, lane: Lane, quays: Sequence[Quay], *, urgent: bool, stand: bool = True) -> None:
        """A slot is empty: other lanes may use it, and then (`stand`) its own."""
        lane.slots -= 1
        for quay in quays:
            quay.open -= 1
            quay.bulk -= not urgent
        self._serve(quays)
        for mail_class in CLASSES:
            if stand and lane.lines[mail_class]:
                self._stand(lane, mail_class)

    def _stand(self, lane: Lane, mail_class: MailClass) -> None:
        """Somebody waits in this lane: it stands in line where there is no room, and what is idle there makes some; or the
        first may open a connection, where there is. Where none may be opened for long, and none is, all are told so."""
        urgent = mail_class is URGENT
        later = lane.dry(urgent=urgent, now=asyncio.get_running_loop().time())
        if later is not None:
            while lane.hand(mail_class, later):
                pass
            return
        quay = lane.stands[mail_class]
        if quay is None:
            quay = lane.full(urgent=urgent)
            if quay is None:
                self._invite(lane, mail_class)
                return
            quay.enter(mail_class, lane)
        if quay.idle and (quay.open >= quay.room or quay.resting[urgent] is not None):
            self._retire(next(iter(quay.idle)))

    def _serve(self, quays: Sequence[Quay]) -> None:
        """Let the first lane in line at each of them open a connection that has room at all of its quays. Whoever gets a
        permit for it calls the next."""
        for quay in quays:
            for mail_class in CLASSES:
                if quay.lines[mail_class] and self._serve_class(quay, mail_class):
                    break

    def _serve_class(self, quay: Quay, mail_class: MailClass) -> bool:
        line, urgent = quay.lines[mail_class], mail_class is URGENT
        while line and quay.has_room(urgent=urgent):
            lane = line.popleft()
            lane.stands[mail_class] = None
            if not lane.lines[mail_class]:
                continue
            elsewhere = lane.full(urgent=urgent)
            if elsewhere is None:
                self._invite(lane, mail_class)
                return True
            elsewhere.enter(mail_class, lane)
        return False

    def _invite(self, lane: Lane, mail_class: MailClass) -> None:
        """Let the head of the line open a connection; the others of its lane go on waiting, behind the other lanes."""
        turn = self._take_slot(lane, urgent=mail_class is URGENT)
        if not lane.hand(mail_class, turn):
            self._free_slot(lane, turn.quays, urgent=mail_class is URGENT)
        elif lane.lines[mail_class] and lane.stands[mail_class] is None and lane.quays:
            quay = lane.full(urgent=mail_class is URGENT) or lane.quays[0]
            quay.enter(mail_class, lane)

    def _set_bulk(self, held: Held, *, bulk: bool) -> None:
        """Who uses it now, or did."""
        if held.bulk is not bulk:
            held.bulk = bulk
            for quay in held.quays:
                quay.bulk += 1 if bulk else -1

    def _put_to_use(self, connection: Connection, *, urgent: bool) -> bool:
        """It is idle no longer, unless no more of them may be busy with such mail."""
        held = self._open[connection]
        if not urgent:
            for quay in held.quays:
                if quay.bulk >= quay.bulk_room:
                    return False
        self._not_idle(connection, held)
        if not urgent:
            self._set_bulk(held, bulk=True)
        return True

    def _not_idle(self, connection: Connection, held: Held) -> None:
        held.lane.idle.remove(connection)
        for quay in held.quays:
            del quay.idle[connection]

    def _retire(self, connection: Connection) -> None:
        """An idle connection ends."""
        self._not_idle(connection, self._open[connection])
        connection.quit()

    # ------------------------------------------------------------------------------------------------ permits

    async def _permitted(self, lane: Lane, quays: Sequence[Quay], wanted: Wanted) -> bool:
        """Ask for a permit of each quay, and for those of new connections; refused, the slot is given up, and who waits
        there asks again later."""
        urgent = wanted.mail_class is URGENT
        granted: list[Quay] = []
        try:
            refused, pause, why = await self._ask(quays, granted, wanted)
        except BaseException:
            self._give_back(granted)
            self._free_slot(lane, quays, urgent=urgent)
            raise
        if refused is None:
            self._serve([quay for quay in quays if any(quay.lines)])
            return True
        self._give_back(granted)
        self._rest(refused, pause, urgent=urgent)
        if why and pause >= LONG:
            refused.dry[urgent] = asyncio.get_running_loop().time() + pause, why
        self._free_slot(lane, quays, urgent=urgent)
        if why and pause >= LONG:
            self._send_away(refused, urgent=urgent)
        return False

    def _send_away(self, quay: Quay, *, urgent: bool) -> None:
        """Those who stand in line there, unless their lane has a connection that may come free."""
        for mail_class in CLASSES:
            if (mail_class is URGENT) is urgent:
                for lane in list(quay.lines[mail_class]):
                    self._stand(lane, mail_class)

    async def _ask(self, quays: Sequence[Quay], granted: list[Quay], wanted: Wanted) -> tuple[Quay | None, float, str]:
        """Where there is no permit, seconds until it is worth another question, and the rate that has none; `granted`: where
        there is."""
        urgent = wanted.mail_class is URGENT
        for quay in quays:
            if not await self._permits.acquire(quay.name, quay.limit_for(urgent=urgent), urgent=urgent):
                return quay, ASK_AGAIN, ""
            granted.append(quay)
        openings = wanted.terms.openings(wanted.source.address, wanted.site, shared=self._shared(wanted))
        receipts: list[Any] = []
        for name, rate, reserved in openings:
            wait = await self._openings.take(name, rate, 1, ZONE, urgent=urgent, reserved=reserved)
            if wait:
                for (taken, whose, _), receipt in zip(openings, receipts, strict=False):
                    self._openings.give_back(taken, whose, 1, receipt)
                quay = next((quay for quay in quays if name == f"open/{quay.name}"), quays[0])
                return quay, wait / 1000, f"new connections: {rate}"
            receipts.append(self._openings.receipt(rate))
        for name, rate, _ in openings:
            self._openings.depart(name, rate)
        return None, 0.0, ""

    def _give_back(self, granted: Sequence[Quay]) -> None:
        for quay in granted:
            self._permits.release(quay.name)

    def _rest(self, quay: Quay, seconds: float, *, urgent: bool | None = None) -> None:
        """Nobody asks for a permit of it for so long; `urgent` None: of either kind."""
        loop = asyncio.get_running_loop()
        for kind in (False, True) if urgent is None else (urgent,):
            if quay.resting[kind] is None and not self._closing:
                quay.resting[kind] = loop.call_later(seconds, self._rested, quay, kind)

    def _rested(self, quay: Quay, kind: bool) -> None:
        quay.resting[kind] = None
        self._serve((quay,))

    # ------------------------------------------------------------------------------------------------ opening

    async def _open_for(self, lane: Lane, quays: tuple[Quay, ...], wanted: Wanted) -> Connection | Outcome:
        """Open one, in the lane's slot and with its permits; all are given back when it fails."""
        loop = asyncio.get_running_loop()
        started, urgent = loop.time(), wanted.mail_class is URGENT
        try:
            result = await self._dialer.open(wanted, self._lost)
        except BaseException:
            self._give_back(quays)
            self._free_slot(lane, quays, urgent=urgent)
            raise
        if isinstance(result, Connection):
            self._open[result] = Held(lane, quays, (wanted.source.address, wanted.site), loop.time(), bulk=not urgent)
            if self._closing:
                result.quit()
            self._refuse_while_closing()
            return result
        self._give_back(quays)
        if wanted.avoid:  # it says nothing of the hosts that were not tried
            self._free_slot(lane, quays, urgent=urgent)
        else:
            lane.stand_back()
            self._free_slot(lane, quays, urgent=urgent, stand=False)
            self._failed(lane, result, loop.time() - started)
        return result

    def _failed(self, lane: Lane, outcome: Outcome, took: float) -> None:
        """Whoever still has a connection there serves the line. With none left, all in line hear the outcome."""
        if lane.slots:
            return
        if took >= SLOW_FAILURE:
            lane.down, lane.down_until = outcome, asyncio.get_running_loop().time() + min(took, REMEMBER)
        for mail_class in CLASSES:
            while lane.hand(mail_class, replace(outcome)):
                pass

    # ------------------------------------------------------------------------------------------------ closing

    def _lost(self, connection: Connection) -> None:
        held = self._open.pop(connection, None)
        if held is None:
            return
        if connection in held.lane.idle:
            self._not_idle(connection, held)
        self._give_back(held.quays)
        self._free_slot(held.lane, held.quays, urgent=not held.bulk)
        if not self._open and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _sweep_later(self) -> None:
        if self._sweeper is None and not self._closing:
            self._sweeper = asyncio.get_running_loop().call_later(self._settings.idle, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for long and forget empty lanes and quays; comes again while there are any. A few in each
        turn of the loop: to look at those of ten thousand sites takes longer than urgent mail should wait."""
        self._sweep_some([*self._lanes.items()], [*self._quays.items()])

    def _sweep_some(self, lanes: list[tuple[Key, Lane]], quays: list[tuple[str, Quay]]) -> None:
        """The last ones of these; the others follow."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for key, lane in lanes[-SWEPT:]:
            self._sweep_lane(key, lane, now)
        if not lanes:
            for name, quay in quays[-SWEPT:]:
                quay.prune()
                if quay.bare and not quay.lanes:
                    del self._quays[name]
            del quays[-SWEPT:]
        del lanes[-SWEPT:]
        self._sweeper = None
        if lanes or quays:
            self._sweeper = loop.call_soon(self._sweep_some, lanes, quays)
        elif self._lanes or self._quays:
            self._sweep_later()

    def _sweep_lane(self, key: Key, lane: Lane, now: float) -> None:
        for connection in [c for c in lane.idle if now - c.idle_since >= self._settings.idle]:
            self._retire(connection)
        if not (lane.slots or lane.queued or lane.down_until > now):
            lane.count_at(())
            del self._lanes[key]

    async def close(self, seconds: float) -> int:
        """QUIT what is idle, wait at most `seconds` for the rest, then cut it. Returns how many sessions were cut while
        their peer decided on a message: as many may be delivered twice."""
        self._closing = True
        for lane in self._lanes.values():
            lane.dismiss()
            for connection in list(lane.idle):
                self._retire(connection)
        for quay in self._quays.values():
            for timer in filter(None, quay.resting):
                timer.cancel()
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
