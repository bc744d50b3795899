"""Messages that come at the same time go through accept() side by side: what they ask State, their signatures and their commit
are then one question, one batch and one transaction, and each change of threads (50 us and more, forth and back) is shared.

Rules
- Who comes while nobody else comes or is inside waits for nobody: where there is little to do nothing is delayed.
- Else the next ones are waited for while more keep coming, for `LONGEST` at most.
"""

import asyncio

from relay.gather import Gather

MOST = 16  # twice what is signed at a time (signing/multibuffer.py); a worker has some ten connections that are busy at once
PATIENCE = 12  # turns of the loop without another message, after which those that are there go
LONGEST = 0.005  # seconds, of the 50 ms that urgent mail has from accept to delivered


class Convoy:
    """For one event loop: `async with` it is one message's way in and out."""

    def __init__(self, longest: float = LONGEST) -> None:
        self._waiting: Gather[asyncio.Future[None]] = Gather(_let_in, longest, MOST, self._patience)
        self._inside = 0  # have gone in and not come out

    def __repr__(self) -> str:
        return f"<Convoy: {len(self._waiting)} wait, {self._inside} are inside>"

    async def __aenter__(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.add(turn)
        await turn
        self._inside += 1

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1

    def _patience(self, number: int) -> int:
        return PATIENCE + 1 if number + self._inside > 1 else 0


def _let_in(waiting: list[asyncio.Future[None]]) -> None:
    for turn in waiting:
        if not turn.done():  # whoever waited may be gone
            turn.set_result(None)
