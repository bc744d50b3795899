"""State in Redis, shared by all workers of all nodes: one server, or a cluster.

What is asked for in one turn of the loop, or while an answer is awaited, goes out together: one round trip. Each question
is one call of relay/state/redis.lua, atomic, counted by the server's clock, with all its keys under one of 16 hash tags.

Redis may lose what it was told: all of it where it is started without its data, the last second where its disk or a
failover says so. Each process therefore remembers what it was granted itself. Every hash tag has an epoch, made once; a
new one means that the data is gone, and for QUIET nothing is granted while all who live tell what they have. In that time
callers get StateError: what is urgent goes on within its share, the rest waits (DESIGN, invariants 6 and 12).

A lost answer leaves open whether a permit was taken. Of quotas it counts as taken, by the server alone: too tight, never
too wide. Of leases the exact number is told before anything else is asked.
"""

import asyncio
import contextlib
import secrets
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from relay.identity import Rate
from relay.state import limits
from relay.state.interface import StateError
from relay.state.redis_link import Call, RedisLink
from relay.state.server_clock import Reading, ServerClock

log = structlog.get_logger()

TAGS = 16  # hash tags that all keys are spread over: as many masters of a cluster share the work
BATCH = 256  # requests in a round trip: some 5 ms of the server's time, which is everybody's
HEARTBEAT = 2.0  # s between looks whether Redis is there and has kept its data
QUIET = 10_000  # ms after its data was lost: every process has looked four times by then
COUNTED = 30_000  # ms one that shares this State is counted after it was last heard
REST = 0.5  # s nobody is made to wait for a connection after one has failed
TRIES = 4  # of a question that came with an epoch or a calendar slot which has passed


@dataclass(slots=True, eq=False)
class Request:
    """One question. Its calls are made when the batch goes out, by what is known then; `settle` books the answers and
    says what the caller gets, before the next batch is made. `first`: it must not come behind what it counts."""

    calls: Callable[[], list[Call]]
    settle: Callable[[list[Any]], Any]
    answer: "asyncio.Future[Any]"
    leases: Sequence[tuple[str, str]] = ()
    first: bool = False


class RedisState:
    """The backend of relay.state.interface.State for several nodes. `member`: who shares it, a name of its own.

    `clock`: limits are counted by it instead of the server's clock. `quiet`: see QUIET.
    """

    def __init__(
        self,
        url: str,
        password_file: str = "",
        member: str = "",
        clock: Callable[[], int] | None = None,
        quiet: int = QUIET,
    ) -> None:
        self.trouble = ""
        self.sharers = 0
        self._member = member or secrets.token_hex(8)
        self._quiet = quiet
        self._link = RedisLink(url, password_file)
        self._given = clock
        self._clock = ServerClock()
        self._waiting: list[Request] = []
        self._asked: list[Request] = []  # of the batch that is under way
        self._wake = asyncio.Event()
        self._learning = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._rest_until = 0.0
        self._epochs = [""] * TAGS
        self._granted: dict[str, dict[int, tuple[int, int]]] = {}  # to us: name -> slot -> count, until when it counts
        self._held: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by holder: leases of each key
        self._noted: defaultdict[str, set[str]] = defaultdict(set)  # in Redis, of what we hold or held lately
        self._ttl: dict[str, int] = {}  # of a holder's leases
        self._unsure: set[tuple[str, str]] = set()  # holder and key of leases whose number Redis may have wrong

    def __repr__(self) -> str:
        state = self.trouble or ("open" if self._tasks else "closed")
        return f"<RedisState {self._link.shown}: {len(self._waiting)} waiting, {state}>"

    # -- the interface

    def now(self) -> int:
        return self._given() if self._given else self._clock.earliest(time.monotonic()) or _own_clock()

    def latest(self) -> int:
        return self._given() if self._given else self._clock.latest(time.monotonic()) or _own_clock()

    async def open(self) -> None:
        self._tasks = [asyncio.create_task(self._work())]
        self._rest_until = 0.0
        try:
            await self._learn()
        except BaseException:
            await self._end()
            raise
        self._tasks.append(asyncio.create_task(self._beat()))

    async def close(self) -> None:
        if self._tasks:
            with contextlib.suppress(StateError):
                await self._ask([self._call((_MEMBERS,), "leave", self._member)], _nothing)
            await self._end()

    async def take(self, key: str, rate: Rate, count: int, timezone: str = "UTC") -> int:
        zone = ZoneInfo(timezone)
        name = f"{key} {rate.calendar or rate.window}"

        def calls() -> list[Call]:
            return [self._take(name, rate, count, zone)]

        def settle(answers: list[Any]) -> tuple[bytes, int]:
            kind, _, value = answers[0]
            if kind == b"granted":
                self._remember(name, rate, value, count, zone)
            return kind, value

        kind, value = await self._ask_in_time(calls, settle)
        return 0 if kind == b"granted" else value

    async def acquire(self, key: str, limit: int, holder: str, ttl_ms: int) -> bool:
        def calls() -> list[Call]:
            tag = _tag(key)
            words = (self._epochs[tag], self._quiet, limit, holder, ttl_ms)
            acquire = self._call((_lease(key), _epoch(tag)), "acquire", *words)
            return [acquire] if key in self._noted[holder] else [self._note(holder, [key]), acquire]

        def settle(answers: list[Any]) -> tuple[bytes, int]:
            kind, _, value = answers[-1]
            if kind == b"granted":
                self._held[holder][key] += 1
            return kind, value

        self._ttl[holder] = ttl_ms
        kind, _ = await self._ask_in_time(calls, settle, leases=[(holder, key)])
        return bool(kind == b"granted")

    async def renew(self, holder: str, ttl_ms: int) -> None:
        def calls() -> list[Call]:
            held, noted = self._held[holder], self._noted[holder]
            calls = [self._call((_held_by(holder),), "forget", *(noted - held.keys()))] if noted - held.keys() else []
            if held:
                calls += [self._note(holder, held), *(self._tell(holder, key) for key in held)]
            self._noted[holder] &= held.keys()
            return calls

        self._ttl[holder] = ttl_ms
        if self._held[holder] or self._noted[holder]:
            await self._ask(calls, _nothing, first=True)
        elif self.trouble or not self._tasks:
            raise StateError(self.trouble or f"{self._link.shown} is not open")

    async def release(self, key: str, holder: str) -> None:
        def settle(_: list[Any]) -> None:
            held = self._held[holder]
            if held[key] > 1:
                held[key] -= 1
            else:
                del held[key]

        await self._ask([self._call((_lease(key),), "release", holder)], settle, leases=[(holder, key)])

    async def drop(self, holder: str) -> None:
        """What its former life held is noted in Redis: nobody else may know."""
        noted = self._call((_held_by(holder),), "noted")
        keys: set[str] = await self._ask(lambda: [noted], lambda answers: {key.decode() for key in answers[0][2]})
        keys |= self._held[holder].keys()
        drops = [self._call((_lease(key),), "drop", holder) for key in keys]

        def settle(_: list[Any]) -> None:
            self._held.pop(holder, None)
            self._noted.pop(holder, None)
            self._unsure -= {(holder, key) for key in keys}

        if drops:
            await self._ask(lambda: drops, settle, leases=[(holder, key) for key in keys])

    # -- questions

    def _call(self, keys: tuple[str, ...], what: str, *words: str | int) -> Call:
        return Call(keys, (what, self._given() if self._given else 0, *words))

    def _take(self, name: str, rate: Rate, count: int, zone: ZoneInfo) -> Call:
        tag = _tag(name)
        slice_ms, slot = 0 if rate.calendar else limits.slice_ms(rate), (0, 0, 0)
        if rate.calendar:  # Lua knows no time zones
            number = limits.slot_of(rate, self.now(), zone)
            slot = (number, limits.expiry(rate, number - 1, zone), limits.expiry(rate, number, zone))
        words = (self._epochs[tag], self._quiet, rate.count, count, rate.window * 1000, slice_ms, *slot)
        return self._call((_granted(name), _epoch(tag)), "take", *words)

    async def _ask_in_time(
        self,
        calls: Callable[[], list[Call]],
        settle: Callable[[list[Any]], tuple[bytes, int]],
        leases: Sequence[tuple[str, str]] = (),
    ) -> tuple[bytes, int]:
        """Again, where the answer is that an epoch or a slot is over."""
        for _ in range(TRIES):
            kind, value = await self._ask(calls, settle, leases=leases)
            if kind == b"rebuilding":
                raise StateError(f"{self._link.shown} lost its data: limits wait {value} ms for what all workers know")
            if kind == b"epoch":
                await self._learn()
            elif kind != b"another slot":
                return kind, value
        raise StateError(f"{self._link.shown}: its clock or its data changes all the time")

    async def _ask(
        self,
        calls: Callable[[], list[Call]] | list[Call],
        settle: Callable[[list[Any]], Any],
        *,
        leases: Sequence[tuple[str, str]] = (),
        first: bool = False,
        probe: bool = False,
    ) -> Any:
        if not self._tasks:
            raise StateError(self.trouble or f"{self._link.shown} is not open")
        if not probe and time.monotonic() < self._rest_until:
            raise StateError(self.trouble)
        known = calls if callable(calls) else lambda: calls
        request = Request(known, settle, asyncio.get_running_loop().create_future(), leases, first)
        self._waiting.append(request)
        self._wake.set()
        return await request.answer

    # -- round trips

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._asked, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._round_trip(sorted(self._asked, key=lambda request: not request.first))
                self._asked = []

    async def _round_trip(self, asked: list[Request]) -> None:
        unsure, self._unsure = self._unsure, set()
        try:
            corrections = [self._tell(holder, key) for holder, key in unsure]
            calls = [request.calls() for request in asked]
            began = time.monotonic()
            everything = [*corrections, *(call for some in calls for call in some)]
            answers = await self._link.send(everything)
            self._hear(everything, answers, began)
            self._settle(asked, calls, answers[len(corrections) :])
            _check(answers[: len(corrections)])
        except Exception as error:  # whatever it is, those who asked must hear of it, and the next ones are served
            self._unsure |= unsure
            await self._failed(f"{self._link.shown}: {_said(error)}")
        else:
            self._well()

    def _settle(self, asked: list[Request], calls: list[list[Call]], answers: list[Any]) -> None:
        """Raises the first error that a server answered, after all others have their answers."""
        at = 0
        faults: list[Exception] = []
        for request, own in zip(asked, calls, strict=True):
            mine = answers[at : at + len(own)]
            at += len(own)
            try:
                _check(mine)
                value = request.settle(mine)
            except Exception as error:  # translated by who catches it
                faults.append(error)
                continue
            if not request.answer.done():  # whoever asked may be gone
                request.answer.set_result(value)
        if faults:
            raise faults[0]

    def _hear(self, calls: list[Call], answers: list[Any], asked: float) -> None:
        answered, heard = time.monotonic(), set[str]()
        for call, answer in zip(calls, answers, strict=True):
            server = self._link.server_of(call)
            if isinstance(answer, list) and server not in heard:
                heard.add(server)
                self._clock.heard(server, Reading(answer[1], asked, answered))
                if not server:  # there is only one
                    return

    async def _failed(self, why: str) -> None:
        """All who wait hear of it; whether what they asked was done, nobody knows."""
        if not self.trouble:
            log.error("State cannot be reached", error=why)
        self.trouble = why
        self._rest_until = time.monotonic() + REST
        self._noted.clear()
        self._refuse_all(why)
        await self._link.close()

    def _refuse_all(self, why: str) -> None:
        asked, self._asked = self._asked, []
        waiting, self._waiting = self._waiting, []
        for request in asked:
            if not request.answer.done() or request.answer.cancelled():
                self._unsure.update(request.leases)
        for request in (*asked, *waiting):
            if not request.answer.done():
                request.answer.set_exception(StateError(why))
                request.answer.exception()  # seen, also where who asked is gone

    def _well(self) -> None:
        if self.trouble:
            log.info("State is reached again", server=self._link.shown)
        self.trouble, self._rest_until = "", 0.0

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._refuse_all(f"{self._link.shown} is closed")
        await self._link.close()

    # -- what Redis may have lost

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            with contextlib.suppress(StateError):  # said where it came up
                await self._learn()

    async def _learn(self) -> None:
        """The epochs, and how many share this State. Where an epoch is new, tell first what we were granted before it."""
        async with self._learning:
            word = secrets.token_hex(4)
            calls = [self._call((_epoch(tag),), "epoch", word) for tag in range(TAGS)]
            calls.append(self._call((_MEMBERS,), "beat", self._member, COUNTED))
            *epochs, sharers = await self._ask(calls, lambda answers: [answer[2] for answer in answers], probe=True)
            self.sharers = sharers
            told = [epoch.decode() for epoch in epochs]
            new = [tag for tag in range(TAGS) if told[tag] != self._epochs[tag]]
            if any(self._epochs[tag] for tag in new):
                log.error(
                    "Redis lost its data: limits wait until all workers have told theirs", server=self._link.shown
                )
            for tag in new:
                await self._restore(tag, told[tag])
                self._epochs[tag] = told[tag]

    async def _restore(self, tag: int, epoch: str) -> None:
        now, calls = self.now(), list[Call]()
        for name, slots in self._granted.items():
            still = {slot: count for slot, (count, until) in slots.items() if until > now}
            if still and _tag(name) == tag:
                ttl = max(until for _, until in slots.values()) - now
                pairs = [number for pair in still.items() for number in pair]
                calls.append(self._call((_granted(name), _epoch(tag)), "restore", epoch, ttl, *pairs))
        self._noted.clear()
        self._unsure |= {(holder, key) for holder, held in self._held.items() for key in held if _tag(key) == tag}
        if calls:
            kinds = await self._ask(calls, lambda answers: {answer[0] for answer in answers}, probe=True)
            if kinds != {b"done"}:
                raise StateError(f"{self._link.shown} lost its data again")

    def _remember(self, name: str, rate: Rate, slot: int, count: int, zone: ZoneInfo) -> None:
        slots = self._granted.setdefault(name, {})
        if slot not in slots:
            now = self.now()
            for old in [number for number, (_, until) in slots.items() if until <= now]:
                del slots[old]
        before = slots.get(slot, (0, 0))[0]
        slots[slot] = before + count, limits.expiry(rate, slot, zone)

    def _tell(self, holder: str, key: str) -> Call:
        """So many leases it has: as they were when the last batch was settled."""
        count = self._held[holder][key]
        if not count:
            return self._call((_lease(key),), "drop", holder)
        return self._call((_lease(key),), "tell", holder, count, self._ttl[holder])

    def _note(self, holder: str, keys: Iterable[str]) -> Call:
        """For the holder's next life, should this one end without a word."""
        self._noted[holder].update(keys)
        return self._call((_held_by(holder),), "note", self._ttl[holder], *keys)


# -- names of keys: what stands between braces decides where in a cluster a key lives

_MEMBERS = "postlane:members"


def _tag(name: str) -> int:
    return zlib.crc32(name.encode()) % TAGS


def _epoch(tag: int) -> str:
    return f"postlane:{{{tag}}}:epoch"


def _granted(name: str) -> str:
    return f"postlane:{{{_tag(name)}}}:granted:{name}"


def _lease(key: str) -> str:
    return f"postlane:{{{_tag(key)}}}:lease:{key}"


def _held_by(holder: str) -> str:
    return f"postlane:held:{holder}"


def _nothing(_: list[Any]) -> None:
    return None


def _own_clock() -> int:
    """Until Redis was heard, nothing is granted by its clock."""
    return time.time_ns() // 1_000_000


def _check(answers: list[Any]) -> None:
    """Raises what a server answered instead of running the script."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
