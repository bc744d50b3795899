"""What turns of the event loop bring one after the other is taken together, so that what it costs to take it is shared: a change
of threads and back, a transaction, an fsync.

A busy loop's turn takes a quarter of a millisecond, an idle one's some microseconds: patience that is counted in turns is short
where there is little to do.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

TURNS = 2  # the first look is before what its turn brings


class Gather(Generic[T]):
    """For one event loop. `take` gets all that was added, once `patience` turns brought nothing more, `longest` seconds are over
    or `most` are there. `patience` is told how many there are."""

    def __init__(
        self,
        take: Callable[[list[T]], object],
        longest: float,
        most: int = sys.maxsize,
        patience: Callable[[int], int] = lambda _: TURNS,
    ) -> None:
        self.longest = longest
        self._take = take
        self._most = most
        self._patience = patience
        self._items: list[T] = []
        self._look: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        self._items.append(item)
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_soon(self._turn, loop, 1, 0, loop.time() + self.longest)

    def flush(self) -> None:
        """What is there is taken now."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        items, self._items = self._items, []
        self._take(items)

    def _turn(self, loop: asyncio.AbstractEventLoop, seen: int, still: int, until: float) -> None:
        """`seen`: how many there were at the last look; `still`: turns since one came."""
        number = len(self._items)
        still = 0 if number > seen else still + 1
        if number < self._most and still < self._patience(number) and loop.time() < until:
            self._look = loop.call_soon(self._turn, loop, number, still, until)
        else:
            self.flush()
