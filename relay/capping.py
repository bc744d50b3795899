"""Frequency caps asked of State: places taken at accept, made firm before each attempt, settled by how mail ended.

    accept    reserve (holds, for a minute) ─▶ spool.put ─▶ confirm (holds, for days)
    attempt   reserve (firm: it may leave now) ─▶ send ─▶ spool.settle with its effect ─▶ State.settle (relay/effects.py)

A crash between two steps leaves a place whose lease ends: before it was firm nothing can have been sent, so it is free again;
after that it counts as sent. Each attempt asks anew, so nothing goes by a place that is gone. What begins at once is not
confirmed: its attempt does that.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from relay.effects import Effect
from relay.event import iso
from relay.identity import Rate
from relay.message import Delivery, Message
from relay.policy.caps import Cap, Caps, Terms, begin_of
from relay.recipient import Keys
from relay.room import Ask, Room, Settled, Standing
from relay.state.interface import State, StateError
from relay.state.places import HOLDS, Person, Place, ask, window

UNSAFE = 60_000  # ms a place is held for mail that is not yet on disk: a commit takes ms, on a bad disk seconds
HELD = 3 * 86_400_000  # ms for mail that is: longer than retries wait, and a node takes to come back
CONFIRM_AFTER = 5_000  # ms: what begins at once has asked again by then
LOOK = 5.0  # s between two looks at what is to be confirmed; a page of the sweep goes with it


class Capping:
    """Of one worker. The wiring replaces `caps` and `keys` at a reload."""

    def __init__(self, state: State, caps: Caps, keys: Keys, clock: Callable[[], int]) -> None:
        self.caps = caps
        self.keys = keys
        self._state = state
        self._clock = clock
        self._saved: dict[str, tuple[int, str]] = {}  # token -> when it was saved, its recipient
        self._swept = b""

    def __repr__(self) -> str:
        return f"<Capping {self.caps!r}, {len(self._saved)} to confirm>"

    def terms(self, message: Message, at_most: str = "") -> Terms | None:
        return self.caps.terms(message, at_most)

    def asks(self, message: Message, recipients: Sequence[tuple[int, str]], terms: Terms, *, firm: bool) -> list[Ask]:
        """What State is asked for each recipient (index, address). `firm`: it leaves now."""
        lease, come_again, since = HELD if firm else UNSAFE, terms.waits, begin_of(message)
        asks = [
            Ask(
                self.keys.key(address), f"{message.id}/{index}", terms.mark, terms.bounds, message.priority, since,
                lease, firm, come_again,
            )
            for index, address in recipients
        ]  # fmt: skip
        if firm and self._saved:
            for wish in asks:
                self._saved.pop(wish.token, None)
        return asks

    async def give_back(self, message: Message, recipients: Sequence[tuple[int, str]]) -> None:
        """Places that mail got which does not go after all. Where State cannot be reached, their leases end."""
        settled = [Settled(self.keys.key(address), f"{message.id}/{index}", 0) for index, address in recipients]
        with contextlib.suppress(StateError):
            await self._state.settle(settled, self.caps.keep)

    def saved(self, deliveries: Sequence[Delivery]) -> None:
        """They are on disk: places of theirs are held for longer."""
        now = self._clock()
        for delivery in deliveries:
            if delivery.counted:
                self._saved[f"{delivery.message.id}/{delivery.index}"] = now, delivery.recipient

    async def settle(self, effects: Sequence[Effect]) -> None:
        """How mail ended. Raises StateError."""
        key = self.keys.key
        settled = [Settled(key(one.recipient), one.token, one.arrived // 1000) for one in effects if one.counted]
        if settled:
            await self._state.settle(settled, self.caps.keep)

    async def standing(self, address: str) -> Standing:
        """What one person got, and what is under way to him. Raises StateError."""
        (found,) = await self._state.standing([self.keys.key(address)])
        return found

    async def room(self, message: Message, address: str, terms: Terms) -> Room:
        """What would be in its way, who waits before it apart; no place is taken. Raises StateError."""
        found, now = await self.standing(address), self._state.now()
        held = {f"{n}": Place(HOLDS, mark, now, now + HELD, 0, 0) for n, mark in enumerate(found.under_way)}
        (wish,) = self.asks(message, [(0, address)], terms, firm=False)
        room, _ = ask(Person([*found.sends], held), wish, now)
        return room

    async def used(self, address: str) -> list[dict[str, Any]]:
        """How much of each limit one person has used up, and by which brands' mail. Raises StateError."""
        found, now = await self.standing(address), self._state.now()
        return [self._used(cap, limit, found, now) for cap in self.caps.caps for limit in cap.limits]

    async def sends(self, address: str) -> list[dict[str, Any]]:
        """What arrived that caps count, oldest first, as far as it is remembered. Raises StateError."""
        found = await self.standing(address)
        return [{"at": iso(at * 1000), "of": self.caps.names.get(mark, "another brand")} for at, mark in found.sends]

    def _used(self, cap: Cap, limit: Rate, found: Standing, now: int) -> dict[str, Any]:
        begin, _ = window(limit, self.caps.timezone(cap), now)
        sends = Counter(mark for at, mark in found.sends if at >= begin and mark in cap.marks)
        by = {self.caps.names.get(mark, "another brand"): number for mark, number in sends.most_common()}
        under_way = sum(mark in cap.marks for mark in found.under_way)
        return {"cap": cap.name, "limit": limit.text, "used": sends.total(), "under_way": under_way, "by": by}

    async def run(self) -> None:
        """Confirm and sweep, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            with contextlib.suppress(StateError):  # said where it came up
                await self.look()

    async def look(self) -> None:
        """What was saved a while ago and still waits holds its place for longer; a page of what is old is forgotten."""
        before = self._clock() - CONFIRM_AFTER
        due = [(token, address) for token, (at, address) in self._saved.items() if at <= before]
        if due:
            await self._state.confirm([(self.keys.key(address), token) for token, address in due], HELD)
            for token, _ in due:
                self._saved.pop(token, None)
        self._swept = await self._state.sweep(self._swept, self.caps.keep)
