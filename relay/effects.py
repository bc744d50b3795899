"""Effects of outcomes on State: what came of mail whose recipient it counts for, told from the spool until State has heard it.

The spool writes them in the transaction that ends the delivery (or gives its place up), and forgets them when all listeners have
heard; a crash between repeats them, so listeners are idempotent (DESIGN, invariant 3). While State cannot be reached they wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
import structlog

from relay.message import CLASSES, MailClass
from relay.state.interface import StateError
from relay.tally import Tally

log = structlog.get_logger()

# s between looks: a place that mail gave up is free to others soon; each look writes sheets of some 100 KB.
INTERVAL = 1.0
COMMITS = 256  # of the spool in one go: what a busy one makes in that time; some thousand effects at most
AGAIN = 1.0  # s until State is asked again that could not be reached


class Effect(NamedTuple):
    """`arrived`: ms, when it was delivered; 0: it ended otherwise, or gave its place up. `counted`: it held one. `learnt`: what
    follows for later mail, as the desk is asked for it (relay/people.py, `block`). `tally`: what counts for a stream's health."""

    token: str
    recipient: str
    brand: str
    mail_class: MailClass
    arrived: int
    counted: bool
    learnt: dict[str, Any] | None = None
    tally: Tally | None = None


Listener = Callable[[Sequence[Effect]], Awaitable[None]]


class Source(Protocol):
    """What is needed of a spool."""

    async def effects(self, commits: int) -> tuple[int, bytes, bool] | None: ...
    async def told(self, sequence: int) -> None: ...


class Effects:
    """Of one shard. Listeners raise StateError where they have to be told again."""

    def __init__(self, spool: Source, listeners: Sequence[Listener]) -> None:
        self._spool = spool
        self._listeners = listeners

    def __repr__(self) -> str:
        return f"<Effects for {len(self._listeners)} listeners>"

    async def run(self) -> None:
        """Until cancelled; then `flush` once."""
        while True:
            try:
                await self.step()
            except StateError:  # said where it came up
                await asyncio.sleep(AGAIN)
            except Exception as error:  # the spool keeps them meanwhile
                log.exception("outcomes not told to State; trying again", error=repr(error))
                await asyncio.sleep(AGAIN)
            await asyncio.sleep(INTERVAL)

    async def flush(self) -> None:
        """What waits at the end of a worker's life, so that nobody holds places for it until its next one."""
        try:
            await self.step()
        except Exception as error:
            log.warning("outcomes not told to State; they stay in the spool", error=repr(error))

    async def step(self) -> None:
        """All that waits now. What comes meanwhile waits for the next look, or a busy spool were looked at all the time, for a
        few outcomes at once."""
        more = True
        while more and (batch := await self._spool.effects(COMMITS)) is not None:
            sequence, lines, more = batch
            effects = [_effect(line) for line in lines.splitlines()]
            for listener in self._listeners:
                await listener(effects)
            await self._spool.told(sequence)


def _effect(line: bytes) -> Effect:
    identifier, index, recipient, brand, mail_class, arrived, counted, *more = orjson.loads(line)
    learnt, happened = more if len(more) == 2 else (*more, None, None)[:2]  # a former Postlane's said less
    tally = Tally(*happened) if happened is not None else None
    return Effect(f"{identifier}/{index}", recipient, brand, CLASSES[mail_class], arrived, counted, learnt, tally)
