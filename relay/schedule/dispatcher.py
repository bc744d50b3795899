"""The only sleeping loop: carries out what `Ready` decides. Starts attempts, reads the spool, waits for the next time.

Every attempt is a task of its own. What it returns says what became of its delivery: None, it has ended; a time, its
row waits in the spool until then. Either is committed when it returns. A `Pause` says that its site has no room: nothing
is written, and its lane waits (gates.py). An attempt that raises met a fault of ours: its
row is as it was, and it goes again after a pause, from the spool. While the spool is not healthy nothing is started, as
no outcome could be recorded. What is offered with room to spare starts at once, without a look at the queue.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Coroutine, Iterable, Sequence
from typing import Protocol

import structlog

from relay.message import Delivery, LaneKey, MailClass
from relay.pause import Pause
from relay.schedule.flight import Key
from relay.schedule.lanes import Look
from relay.schedule.ready import DEFAULT_LIMITS, Limits, Load, Ready

log = structlog.get_logger()

LONGEST_SLEEP = 60_000  # a clock that is set forward is noticed within a minute
FEEL_EVERY = 0.01  # seconds: how often the loop's pulse is felt while that matters (flight.py)
HEALTH_CHECK = 1_000  # how often a spool that is not healthy is looked at


class DueMail(Protocol):
    """What the schedule needs of the spool."""

    @property
    def healthy(self) -> bool: ...

    async def due(self, lane: LaneKey, now: int, limit: int, known: Container[Key]) -> list[Delivery]:
        """Up to `limit` rows with next_attempt <= now that are neither held nor `known`, earliest first."""
        ...

    async def lanes(self, mail_class: MailClass, after: LaneKey | None, limit: int) -> list[tuple[LaneKey, int]]:
        """The lanes behind `after` (None: from the first) with waiting rows of this class, by priority (the highest first),
        site and stream, and the earliest next_attempt of each."""
        ...


class Dispatcher:
    """Runs the schedule of one spool shard. `attempt` is story 2; `clock` gives ms since the epoch."""

    def __init__(
        self,
        spool: DueMail,
        attempt: Callable[[Delivery], Awaitable[int | Pause | None]],
        clock: Callable[[], int],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._spool = spool
        self._attempt = attempt
        self._clock = clock
        self._ready = Ready(limits)
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._reads: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._wake_at = 0
        self._pulse: asyncio.TimerHandle | None = None
        self.ended = [0] * len(MailClass)  # attempts that came to something, by class
        self._stopped = False

    def __repr__(self) -> str:
        return f"<Dispatcher {self._ready!r}{' stopped' if self._stopped else ''}>"

    # -- mail in

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Just committed: start them now where there is room, else keep or leave them to their turn."""
        if self._stopped:
            return  # they are in the spool; the next start finds them
        now = self._clock()
        waiting = False
        for delivery in deliveries:
            if self._ready.offer(delivery, now):
                self._launch(delivery)
            else:
                waiting = True
        if waiting:
            self._poke()

    def wake(self, lane: LaneKey, at: int) -> None:
        """Rows of this lane were changed behind the schedule's back; the earliest is due at `at`."""
        self._ready.note(lane, at, self._clock())
        self._poke()

    def going(self, delivery: Delivery) -> None:
        """An attempt has all it needs from its site: where others wait to see whether there is room, the next may ask."""
        if self._ready.going(delivery, self._clock()):
            self._poke()

    def resume(self, site: str | None = None) -> int:
        """There may be room again at this site, as pauses named it (a pace recovered, an operator resumed): what paused begins
        at once, gently.
        None: limits are others now (a reload), and all is forgotten of who met which. Returns how many groups waited."""
        count = self._ready.resume(site, self._clock())
        if count:
            self._poke()
        return count

    # -- commands

    def in_flight(self, key: Key) -> bool:
        return self._ready.in_flight(key)

    def claim(self, keys: Iterable[Key]) -> list[Key]:
        """Neither start nor load these until `forget`. Returns them without those in flight, which go on."""
        return self._ready.claim(keys, self._clock())

    def forget(self, keys: Iterable[Key]) -> None:
        """Their rows were deleted, held or moved: drop them from memory (not what is in flight) and end the claim."""
        self._ready.forget(keys, self._clock())
        self._poke()

    def flying(self) -> Counter[LaneKey]:
        """Attempts in flight, by lane."""
        return self._ready.flying()

    def stats(self) -> dict[str, int]:
        """Numbers for metrics and status."""
        return self._ready.stats()

    def pause_of(self, lane: LaneKey) -> Pause | None:
        """What this lane waits for its site to have; None: nothing."""
        return self._ready.pause_of(lane)

    def pauses(self) -> list[tuple[MailClass, Pause]]:
        """The limits that have no room: of which site, until when, and why."""
        return self._ready.pauses()

    # -- the loop

    async def run(self) -> None:
        """Until `drain`: find what waits in the spool, do what is due and sleep until the next time."""
        self._ready.look_through()
        while not self._stopped:
            self._changed.clear()
            self._wake_at = self._pump()
            await self._sleep(self._wake_at - self._clock())

    async def drain(self, seconds: float) -> int:
        """Start nothing more and wait for what is in flight; returns how many are when the time is up."""
        self._stopped = True
        self._changed.set()
        for read in self._reads:
            read.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks.values()), timeout=seconds)
        return len(self._tasks)

    def _feel_soon(self) -> None:
        loop = asyncio.get_running_loop()
        self._pulse = loop.call_later(FEEL_EVERY, self._feel, loop, loop.time() + FEEL_EVERY)

    def _feel(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        """Other mail than transactional has fewer places while the loop is late (flight.py)."""
        self._pulse = None
        if self._ready.feel(loop.time() - due):
            self._poke()
        if self._pulse is None and self._ready.feels() and not self._stopped:
            self._feel_soon()

    async def _sleep(self, ms: int) -> None:
        try:
            async with asyncio.timeout(min(max(ms, 1), LONGEST_SLEEP) / 1000):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _poke(self) -> None:
        """Something happened: act on it now, and let the loop sleep no longer than it should."""
        if self._pump() < self._wake_at:
            self._changed.set()

    def _pump(self) -> int:
        """Do all there is to do; returns when to come again."""
        now = self._clock()
        if self._stopped:
            return now + LONGEST_SLEEP
        if not self._spool.healthy:
            return now + HEALTH_CHECK
        look = self._ready.look(now)
        if look is not None:
            self._begin(self._look(look))
        plan = self._ready.step(now)
        for delivery in plan.starts:
            self._launch(delivery)
        for load in plan.loads:
            self._begin(self._read(load))
        return now + LONGEST_SLEEP if plan.wake_at is None else plan.wake_at

    def _begin(self, read: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(read)
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)

    def _launch(self, delivery: Delivery) -> None:
        self._tasks[delivery.key] = asyncio.create_task(self._carry(delivery))
        if self._pulse is None and self._ready.feels():
            self._feel_soon()

    async def _carry(self, delivery: Delivery) -> None:
        try:
            again = await self._attempt(delivery)
        except BaseException as fault:  # a cancelled attempt too must leave the schedule in order
            self._ready.failed(delivery, self._clock())
            if not isinstance(fault, Exception):
                raise
            log.exception("an attempt failed by a fault of our own", id=delivery.message.id, rcpt=delivery.index)
        else:
            if isinstance(again, Pause):
                self._ready.paused(delivery, again, self._clock())
            else:
                self.ended[delivery.message.mail_class] += 1
                self._ready.finished(delivery, again, self._clock())
        finally:
            del self._tasks[delivery.key]
            self._poke()

    async def _look(self, look: Look) -> None:
        try:
            lanes = await self._spool.lanes(*look)
        except Exception:
            log.exception("the spool's lanes could not be read; trying again")
            self._ready.look_failed(look, self._clock())
        else:
            self._ready.looked(look, lanes, self._clock())
        self._poke()

    async def _read(self, load: Load) -> None:
        following: Load | None = load
        while following is not None:
            load = following
            try:
                rows = await self._spool.due(load.lane, load.until, load.limit, self._ready.known)
            except Exception:
                log.exception("due mail could not be read; trying again", site=load.lane[1])
                self._ready.load_failed(load, self._clock())
                following = None
            else:
                following = self._ready.loaded(load, rows, self._clock())
            self._poke()
