"""Questions to Redis, many in a round trip: what is asked in one turn of the loop, or while an answer is awaited.

One batch is under way at a time, so what an answer says is known when the next batch is made. Whatever goes wrong, each
who asked hears it as a StateError, at once where a connection has just failed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from relay.state.interface import StateError
from relay.state.redis_link import Call, RedisLink
from relay.state.redis_own import Lease
from relay.state.server_clock import Reading, ServerClock

log = structlog.get_logger()

BATCH = 256  # requests in a round trip: some 5 ms of the server's time, which is everybody's
REST = 0.5  # s nobody is made to wait for a connection after one has failed

Calls = Callable[[], list[Call]]
Settle = Callable[[list[Any]], Any]


@dataclass(slots=True, eq=False)
class Request:
    """One question. Its calls are made when the batch goes out, by what is known then; `settle` books the answers and
    says what the caller gets. `first`: its calls go before those that may change what they tell. `leases`: those whose
    number is uncertain if no answer comes."""

    calls: Calls
    settle: Settle
    answer: "asyncio.Future[Any]"
    leases: Sequence[Lease]
    first: bool


class Batches:
    """`corrections` makes calls that go before all others, and `corrected` hears that they were done; `failed` hears of
    leases whose fate is unknown when a round trip fails."""

    def __init__(
        self,
        link: RedisLink,
        clock: ServerClock,
        corrections: Calls,
        corrected: Callable[[], None],
        failed: Callable[[set[Lease]], None],
    ) -> None:
        self.link = link
        self.trouble = ""
        self._clock = clock
        self._corrections, self._corrected, self._failed = corrections, corrected, failed
        self._waiting: list[Request] = []
        self._asked: list[Request] = []  # of the batch that is under way
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._rest_until = 0.0

    def __repr__(self) -> str:
        state = self.trouble or ("open" if self._task else "closed")
        return f"<Batches {self.link.shown}: {len(self._waiting)} waiting, {state}>"

    def start(self) -> None:
        self._rest_until = 0.0
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Nobody who asked is left waiting."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._refuse_all(f"{self.link.shown} is closed")
        await self.link.close()

    def check(self, *, probe: bool = False) -> None:
        """Raises StateError where an answer is not to be expected now. A `probe` looks whether it is."""
        if self._task is None:
            raise StateError(self.trouble or f"{self.link.shown} is not open")
        if not probe and time.monotonic() < self._rest_until:
            raise StateError(self.trouble)

    async def ask(
        self, calls: Calls, settle: Settle, *, leases: Sequence[Lease] = (), first: bool = False, probe: bool = False
    ) -> Any:
        """What `settle` makes of the answers; raises StateError, or what it raises."""
        self.check(probe=probe)
        request = Request(calls, settle, asyncio.get_running_loop().create_future(), leases, first)
        self._waiting.append(request)
        self._wake.set()
        return await request.answer

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._asked, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._round_trip(sorted(self._asked, key=lambda request: not request.first))
                self._asked = []

    async def _round_trip(self, asked: list[Request]) -> None:
        try:
            corrections = self._corrections()
            groups = [corrections, *(request.calls() for request in asked)]
            calls = [call for group in groups for call in group]
            began = time.monotonic()
            answers = await self.link.send(calls)
            self._hear(calls, answers, began)
            self._settle(asked, groups[1:], answers[len(corrections) :])
            _check(answers[: len(corrections)])
        except Exception as error:  # whatever it is, those who asked must hear of it, and the next ones are served
            await self._fail(f"{self.link.shown}: {_said(error)}")
            return
        if corrections:
            self._corrected()
        if self.trouble:
            log.info("State is reached again", server=self.link.shown)
        self.trouble, self._rest_until = "", 0.0

    def _settle(self, asked: list[Request], groups: list[list[Call]], answers: list[Any]) -> None:
        """Raises the first error that a server answered, after all others have their answers."""
        at = 0
        faults: list[Exception] = []
        for request, calls in zip(asked, groups, strict=True):
            own = answers[at : at + len(calls)]
            at += len(calls)
            try:
                _check(own)
                value = request.settle(own)
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
            server = self.link.server_of(call)
            if isinstance(answer, list) and server not in heard:
                heard.add(server)
                self._clock.heard(server, Reading(answer[1], asked, answered))
                if not server:  # there is only one
                    return

    async def _fail(self, why: str) -> None:
        """All who wait hear of it; whether what they asked was done, nobody knows."""
        if not self.trouble:
            log.error("State cannot be reached", error=why)
        self.trouble = why
        self._rest_until = time.monotonic() + REST
        self._refuse_all(why)
        await self.link.close()

    def _refuse_all(self, why: str) -> None:
        asked, self._asked = self._asked, []
        waiting, self._waiting = self._waiting, []
        unanswered = [request for request in asked if not request.answer.done() or request.answer.cancelled()]
        self._failed({lease for request in unanswered for lease in request.leases})
        for request in (*asked, *waiting):
            if not request.answer.done():
                request.answer.set_exception(StateError(why))
                request.answer.exception()  # seen, also where who asked is gone


def _check(answers: list[Any]) -> None:
    """Raises what a server answered instead of running the script."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
