"""What the guard against runaways holds goes by itself when its rate lets it: the oldest first, one place each.

Nothing here is in a hurry: who runs away waits. Where the guard is gone, or a stream is exempt by now, all of it goes.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from relay.guarding import Guarding
from relay.message import Delivery
from relay.queue_commands import QueueCommands
from relay.spool.errors import SpoolError

log = structlog.get_logger()

LOOK = 15.0  # s between looks


class Releasing:
    def __init__(self, guarding: Guarding, shards: Sequence[QueueCommands]) -> None:
        self._guarding = guarding
        self._shards = shards

    def __repr__(self) -> str:
        return f"<Releasing of {len(self._shards)} shards>"

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.look()
            except SpoolError as error:
                log.warning("what runaways hold is looked at again later", error=str(error))

    async def look(self) -> None:
        guard = self._guarding.guard
        if guard is not None and not guard.by_itself:
            return
        for shard in self._shards:
            refused: dict[tuple[str, str], int] = {}  # who has no room needs not be asked about the next
            freed = await shard.let_go(partial(self._wait, refused))
            if freed:
                log.info("released what had been held as a runaway", deliveries=freed)

    async def _wait(self, refused: dict[tuple[str, str], int], delivery: Delivery) -> int:
        guard, message = self._guarding.guard, delivery.message
        if guard is None or not guard.concerns(message):
            return 0
        key = message.alike, delivery.recipient.lower()
        if key not in refused:
            (wait,) = await self._guarding.waits(message, [delivery.recipient])
            if not wait:
                return 0
            refused[key] = wait
        return refused[key]
