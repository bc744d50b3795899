"""The guard against runaways, asked at accept: how many of a kind this worker may have seen, and what State says of those.

What it thinks of as the same message is said in relay/policy/runaway.py. Where State cannot answer nothing is held.
"""

import asyncio
from collections.abc import Sequence

import structlog

from relay.message import Message
from relay.policy.copies import Hashes
from relay.policy.evidence.skeleton import skeleton
from relay.policy.letter import Letter
from relay.policy.relevance import Postponed
from relay.policy.runaway import Guard, Runaways, Seen
from relay.policy.sample import outline_of
from relay.state.interface import State, StateError
from relay.state.marks import TAKE, Change

log = structlog.get_logger()

PATIENCE = 1.0  # s that mail waits for an answer; saturated, SQLite has one in 0.7 s at worst
REST = 5.0  # s nobody asks after State has not answered
_POSITIVE = (1 << 63) - 1


class Guarding:
    """A worker's side. `guard` (None: there is none) and `hashes` are replaced by the wiring at a reload."""

    def __init__(self, state: State, hashes: Hashes) -> None:
        self.guard: Guard | None = None
        self.hashes = hashes
        self.runaways = Runaways()
        self._state = state
        self._seen = Seen()
        self._ask_from = 0.0  # by the loop's clock

    def __repr__(self) -> str:
        return f"<Guarding {self.guard.rate.text if self.guard else 'nothing'}: {self._seen!r} {self.runaways!r}>"

    async def look(self, letter: Letter, message: Message, recipients: Sequence[str]) -> list[Postponed | None]:
        """For each of them, whether this is one too many, and until when. Sets `message.alike` where it may be."""
        guard, now = self.guard, message.accepted_at
        if guard is None or not guard.concerns(message):
            return [None] * len(recipients)
        outline = outline_of(letter, message.credential, message.stream, message.mail_class)
        keys = [hash((outline, recipient.lower())) & _POSITIVE for recipient in recipients]
        again = [self._seen.again(key, now, guard.window) for key in keys]
        if not any(again):
            return [None] * len(recipients)
        name = skeleton(letter.text, letter.fields)
        message.alike = self.hashes.alike(message.credential, message.stream, name)
        asked = [recipient for recipient, seen in zip(recipients, again, strict=True) if seen]
        waits = dict(zip(asked, await self.waits(message, asked), strict=True))
        held = [recipient for recipient in asked if waits[recipient]]
        if held:
            self.runaways.count(message, name, guard.rate.text, held, now)
        return [self._postponed(guard, name, now, waits.get(recipient, 0)) for recipient in recipients]

    async def waits(self, message: Message, recipients: Sequence[str]) -> list[int]:
        """Of each in how many ms there is room for this message; 0: now, and it is taken."""
        guard, loop = self.guard, asyncio.get_running_loop()
        if guard is None or loop.time() < self._ask_from:
            return [0] * len(recipients)
        limit, key = b"%d" % guard.counted, self.hashes.key
        try:
            async with asyncio.timeout(PATIENCE):
                answers = await self._state.mark(
                    guard.window, [Change(TAKE, key(message.alike, one), limit, guard.window) for one in recipients]
                )
        except (StateError, TimeoutError) as error:
            self._ask_from = loop.time() + REST
            log.warning("runaways are not looked for", error=str(error) or f"no answer in {PATIENCE:.0f} s")
            return [0] * len(recipients)
        return [int(answer or b"0") for answer in answers]

    @staticmethod
    def _postponed(guard: Guard, name: str, now: int, wait: int) -> Postponed | None:
        if not wait:
            return None
        detail = f"more than {guard.rate.text} of template {name} to this recipient"
        return Postponed(now + wait, "runaway", detail, by_hand=not guard.by_itself)
