"""Faults of the sending side (relay/policy/faults.py): noticed, told, over.

What is known of them are notes in State, which all workers read; the one that judges (relay/caring.py) writes them.
"""

from collections.abc import Callable, Collection

import structlog

from relay.accounts import loaded
from relay.alert import Alert, at_fault, at_fault_no_more
from relay.event import Facts
from relay.policy import faults
from relay.policy.faults import Fault, Key
from relay.policy.tallies import Hour
from relay.state.interface import State

log = structlog.get_logger()

FAULTS = "health/faults"  # board: category and stream -> Fault


class Blaming:
    """`record` writes an event of the node. What is asynchronous raises StateError."""

    def __init__(self, state: State, record: Callable[[str, Facts], None]) -> None:
        self.faults: dict[Key, Fault] = {}
        self._state = state
        self._record = record

    def __repr__(self) -> str:
        return f"<Blaming {', '.join(one.name for one in self.faults.values() if one.lasts) or 'nobody'}>"

    async def read(self) -> None:
        """What is known."""
        self.faults = {one.key: one for one in loaded(await self._state.pinned(FAULTS), Fault.load).values()}

    async def look(self, hours: Collection[Hour], now: int) -> None:
        """For who judges. `hours`: all that count."""
        for one in list(faults.look(hours, self.faults, now)):
            before = self.faults.get(one.key)
            await self._state.pin(FAULTS, one.name, one.dump())
            self.faults[one.key] = one
            if before is None or (before.lasts, before.most) != (one.lasts, one.most):
                self._tell(one)
        for one in list(self.faults.values()):
            if one.until is not None and one.until <= now - faults.DAY:
                await self._state.unpin(FAULTS, one.name)
                del self.faults[one.key]

    def _tell(self, one: Fault) -> None:
        if one.lasts:
            log.warning("mail is refused for a fault of the sender", stream=one.stream, category=one.category)
            self._record("alert", at_fault(one).event("firing"))
        else:
            self._record("alert", at_fault_no_more(one).event("resolved"))

    def standing(self) -> list[Alert]:
        """What is told of as long as it lasts."""
        return [at_fault(one) for one in self.faults.values() if one.lasts]
