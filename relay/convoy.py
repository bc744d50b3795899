"""Messages that come at the same time go through accept() side by side: what they ask State, their signatures and their commit
are then one question, one batch and one transaction, and each change of threads (50 us and more, forth and back) is shared.

Rules
- Who comes while nobody else comes or is inside waits for nobody: where there is little to do nothing is delayed.
- Else the next ones are waited for while more keep coming, for `LONGEST` at most. A turn of a busy loop takes a quarter of a
  millisecond, an idle one's some microseconds, so that patience counted in turns is short where nobody else is busy.
"""

import asyncio

MOST = 16  # twice what is signed at a time (signing/multibuffer.py); a worker has some ten connections that are busy at once
PATIENCE = 12  # turns of the loop without another message, after which those that are there go
LONGEST = 0.005  # seconds, of the 50 ms that urgent mail has from accept to delivered


class Convoy:
    """For one event loop: `async with` it is one message's way in and out."""

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        self._waiting: list[asyncio.Future[None]] = []
        self._inside = 0  # have gone in and not come out
        self._seen = 0  # waited when the last turn ended
        self._still = 0  # turns since one came
        self._until = 0.0

    def __repr__(self) -> str:
        return f"<Convoy: {len(self._waiting)} wait, {self._inside} are inside>"

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self._until = loop.time() + self._longest
            loop.call_soon(self._turn, loop)
        await turn
        self._inside += 1

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waits(len(self._waiting), loop.time()):
            loop.call_soon(self._turn, loop)
            return
        waiting, self._waiting = self._waiting, []
        self._seen = self._still = 0
        for turn in waiting:
            if not turn.done():  # whoever waited may be gone
                turn.set_result(None)

    def _waits(self, number: int, now: float) -> bool:
        """Are more likely to come?"""
        if number >= MOST or number + self._inside == 1 or now >= self._until:
            return False
        self._still = 0 if number > self._seen else self._still + 1
        self._seen = number
        return self._still <= PATIENCE
