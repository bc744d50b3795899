"""Questions to the event log: one at a time, in a thread, so that neither the loop nor memory suffers, and few that wait.

What was answered is kept for a while, since several people look at the same page, and one person loads it again. Of what is a
little old the old answer is given at once while a newer one is made; pages say of when they are.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

log = structlog.get_logger()

WAITING = 12  # questions: a page asks one or two
FRESH = 20_000  # ms
KEPT = 600_000  # ms that an older answer is better than none
ANSWERS = 64
PATIENCE = 25.0  # s that a page waits; the answer is kept for who tries again

Found = TypeVar("Found")


class Unanswered(Exception):
    """Too many questions wait already, or this one takes too long (`busy`: worth another try soon), or it cannot be answered: the
    log says why."""

    def __init__(self, *, busy: bool) -> None:
        super().__init__(busy)
        self.busy = busy


@dataclass(slots=True)
class _Kept:
    answer: Any
    at: int


class Asking:
    """`clock`: ms."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reports")
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Future[Any]] = {}

    def __repr__(self) -> str:
        return f"<Asking kept={len(self._kept)} waiting={len(self._under_way)}>"

    async def __call__(
        self, key: Hashable, work: Callable[[], Found], patience: float | None = None
    ) -> tuple[Found, int]:
        """What `work` finds, and of when (ms) that is. `key`: all that the answer depends on. Raises Unanswered."""
        kept = self._kept.get(key)
        if kept is not None:
            age = self._clock() - kept.at
            if 0 <= age < FRESH:
                return kept.answer, kept.at
            if 0 <= age < KEPT:
                if key in self._under_way or len(self._under_way) < WAITING:
                    self._begin(key, work)
                return kept.answer, kept.at
        if key not in self._under_way and len(self._under_way) >= WAITING:
            raise Unanswered(busy=True)
        try:
            async with asyncio.timeout(PATIENCE if patience is None else patience):
                found: tuple[Found, int] = await asyncio.shield(self._begin(key, work))
                return found
        except TimeoutError:
            raise Unanswered(busy=True) from None
        except Exception as error:
            raise Unanswered(busy=False) from error

    def _begin(self, key: Hashable, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        """The same question under way is not asked twice."""
        there = self._under_way.get(key)
        if there is None:
            there = self._under_way[key] = asyncio.ensure_future(self._look(key, work))
            there.add_done_callback(_heard)
        return there

    async def _look(self, key: Hashable, work: Callable[[], Any]) -> tuple[Any, int]:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            at = self._clock()
            self._kept[key] = _Kept(answer, at)
            self._kept.move_to_end(key)
            while len(self._kept) > ANSWERS:
                self._kept.popitem(last=False)
            return answer, at
        finally:
            del self._under_way[key]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _heard(done: "asyncio.Future[Any]") -> None:
    """Of an answer that was made anew behind an older one nobody else hears what went wrong."""
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("a question to the event log failed", error=repr(error))
