"""For whom a stage is at work: so that what all attempts share (DNS, policies of MTA-STS) keeps places for transactional mail.

Who sends says it (`URGENT`), and it holds for all that its task begins; nothing in between has to pass it on.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar

URGENT: ContextVar[bool] = ContextVar("urgent", default=False)


class Places:
    """At most `most` at once; of these other than urgent ones leave `spare`."""

    def __init__(self, most: int, spare: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._bulk = _Both(asyncio.Semaphore(most - spare), self._all)

    def __repr__(self) -> str:
        return f"<Places {self._all!r}, not urgent {self._bulk.first!r}>"

    def one(self) -> AbstractAsyncContextManager[None]:
        """Waits for its turn: urgent ones only for each other."""
        return self._all if URGENT.get() else self._bulk


class _Both:
    """A place of each. Without state of its own: many are inside at once."""

    def __init__(self, first: asyncio.Semaphore, second: asyncio.Semaphore) -> None:
        self.first = first
        self._second = second

    async def __aenter__(self) -> None:
        await self.first.acquire()
        try:
            await self._second.acquire()
        except BaseException:
            self.first.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._second.release()
        self.first.release()
