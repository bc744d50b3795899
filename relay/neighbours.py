"""The supervisor's side of what nodes see of each other at this moment: `queue top` and the page /queue show all of them.

    who watches     says so on a board of State, and reads what the others put there
    who is watched  puts what it does at this moment there each second, for as long as somebody watches

So nothing is told while nobody looks but that nobody does: one question to State a second.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog

from relay.control import Json
from relay.state.interface import StateError

log = structlog.get_logger()

BOARD = "top"
LOOK = 1.0  # s between two looks at the board
WATCHED = 8_000  # ms for which who asked is told: a screen asks every two seconds, some every five
FRESH = 6_000  # ms after which what a node said of this moment says nothing of it any more


class Neighbours:
    """Of this `node`. `ask` asks a worker of it that is up; `part` is what it does at this moment (relay/top.py, together)."""

    def __init__(self, node: str, ask: Callable[[Json], Awaitable[Json]], part: Callable[[], Awaitable[Json]]) -> None:
        self._node = node
        self._ask = ask
        self._part = part
        self._parts: dict[str, Json] = {}
        self._asked = -WATCHED  # ms of State's clock
        self._now = 0  # the same, as last seen
        self._pinned: set[str] = set()  # notes of ours that stand there

    def __repr__(self) -> str:
        return f"<Neighbours of {self._node}: {', '.join(sorted(self._parts)) or 'none seen'}>"

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except StateError as error:
                self._parts = {}
                log.debug("what other nodes do cannot be seen; again in a second", error=str(error))
            except Exception:
                log.exception("a look at what other nodes do failed")
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Read what others say, and say what we do where somebody wants to know. Raises StateError."""
        answer = await self._do("read")
        self._now = now = answer["now"]
        notes = {name: found for name, text in answer["notes"].items() if (found := _read(text))}
        kinds = {name: (*name.partition("/")[::2], now - note["at"]) for name, note in notes.items()}
        self._parts = {
            node: notes[name]["part"]
            for name, (kind, node, age) in kinds.items()
            if kind == "part" and node != self._node and age < FRESH
        }
        watched = any(kind == "asked" and node != self._node and age < WATCHED for kind, node, age in kinds.values())
        await self._say("part", {"part": await self._part()} if watched else None)
        if now - self._asked >= WATCHED:
            await self._say("asked", None)

    async def others(self) -> dict[str, Json]:
        """What the other nodes do, by name, as far as they have said so; from now on they say it for a while."""
        if self._now - self._asked >= WATCHED // 4:
            self._asked = self._now
            try:
                await self._say("asked", {})
            except StateError as error:
                log.debug("other nodes cannot be asked what they do", error=str(error))
        return dict(self._parts)

    async def _say(self, kind: str, note: Json | None) -> None:
        """None: nothing any more."""
        name = f"{kind}/{self._node}"
        if note is not None:
            self._pinned.add(name)
            await self._do("pin", name=name, text=orjson.dumps({"at": self._now, **note}).decode())
        elif name in self._pinned:
            await self._do("unpin", name=name)
            self._pinned.discard(name)

    async def _do(self, what: str, **more: Any) -> Json:
        """Raises StateError."""
        answer = await self._ask({"do": "board", "what": what, "board": BOARD, **more})
        if "error" in answer:
            raise StateError(answer["error"])
        return answer


def _read(text: str) -> Json | None:
    """A note; None: it cannot be read, as a newer Postlane's."""
    try:
        note = orjson.loads(text)
        return note if isinstance(note["at"], int) else None
    except (ValueError, TypeError, KeyError):
        return None
