"""What bounces and complaints teach of people, told to the desk: at once, or after so many failures within some time.

It listens to effects (relay/effects.py), which come again after a crash: the failures counted of a person are kept in State by
the token of their delivery, so that none counts twice.
"""

from collections.abc import Callable, Sequence

import orjson
import structlog

from relay.control import Json
from relay.effects import Effect
from relay.people import People
from relay.recipient import Keys
from relay.state.interface import State, StateError

log = structlog.get_logger()

TOGETHER = 50  # of the 500 that the desk takes in one question, which it answers in one turn of the loop
MOST = 20  # failures that are kept of one person and reason


class Learning:
    """`keys` is replaced by the wiring at a reload."""

    def __init__(self, state: State, people: People, keys: Keys, clock: Callable[[], int]) -> None:
        self.keys = keys
        self._state = state
        self._people = people
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Learning for {self._people!r}>"

    async def learn(self, effects: Sequence[Effect]) -> None:
        """Raises StateError where it has to be told again."""
        entries = [
            one.learnt for one in effects if one.learnt is not None and await self._is_enough(one.token, one.learnt)
        ]
        for start in range(0, len(entries), TOGETHER):
            question = {"what": "block", "via": "feedback", "entries": entries[start : start + TOGETHER]}
            answer = await self._people.answer(question)
            if answer.get("again"):
                raise StateError(str(answer["error"]))
            if "error" in answer:  # ours: telling it again helps nobody
                log.error("what a bounce calls for is not done", error=answer["error"])

    async def _is_enough(self, token: str, entry: Json) -> bool:
        """Has it happened often enough? What has not yet is counted."""
        after, now = int(entry.get("after", 1)), self._clock()
        if after <= 1:
            return True
        key, name = self.keys.key(str(entry["recipient"])), f"f:{entry['reason']}"
        (facts,) = await self._state.told([key])
        failures = counted(facts.get(name, "[]"), token, now, int(entry["within"]))
        await self._state.tell(key, {name: orjson.dumps(failures).decode()})
        return len(failures) >= after


def counted(known: str, token: str, now: int, within: int) -> list[tuple[str, int]]:
    """The failures that count, this one too: each delivery once. Pure."""
    lately = {one: at for one, at in orjson.loads(known) if now - within < at}
    lately.setdefault(token, now)
    return list(lately.items())[-MOST:]
