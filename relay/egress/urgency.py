"""For whom a stage is at work: so that what all attempts share (DNS, policies of MTA-STS) keeps places for transactional mail.

Who sends says it (`URGENT`), and it holds for all that its task begins; nothing in between has to pass it on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

URGENT: ContextVar[bool] = ContextVar("urgent", default=False)


class Places:
    """At most `most` at once; of these other than urgent ones leave `spare`."""

    def __init__(self, most: int, spare: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._bulk = asyncio.Semaphore(most - spare)

    def __repr__(self) -> str:
        return f"<Places {self._all!r}, not urgent {self._bulk!r}>"

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Waits for its turn: urgent ones only for each other."""
        if URGENT.get():
            async with self._all:
                yield
        else:
            async with self._bulk, self._all:
                yield
