"""What is known of the recipients of a message, asked of State, and what follows: asked at accept, and before each attempt.

Without State nobody can say whom mail may not go to: transactional mail goes on, all other waits (DESIGN, invariant 6). At accept
nothing has to wait for that, since each attempt asks again.
"""

from collections.abc import Sequence
from typing import Protocol

from relay.message import Delivery, MailClass, Message
from relay.pause import Pause
from relay.person import NOBODY, Person, person_of
from relay.policy.consent import class_of, judge
from relay.policy.relevance import Postponed, Withheld
from relay.policy.streams import Stream
from relay.recipient import Keys
from relay.state.interface import State, StateError

LOOK_AGAIN = 1_000  # ms until State is asked again that did not answer

Standing = Withheld | Postponed | None  # None: it goes


class Known:
    """Who asks State; `keys` may be replaced by the wiring at a reload."""

    def __init__(self, state: State, keys: Keys) -> None:
        self._state = state
        self.keys = keys

    def __repr__(self) -> str:
        return f"<Known of {self._state!r}>"

    async def of(self, addresses: Sequence[str]) -> list[Person]:
        """The persons behind them, in one question. Raises StateError, and ValueError for facts that cannot be read."""
        key = self.keys.key
        return [
            person_of(facts) if facts else NOBODY for facts in await self._state.told([key(one) for one in addresses])
        ]


class Asked(Protocol):
    """What is asked of the house here."""

    @property
    def known(self) -> Known: ...


async def at_accept(
    message: Message, recipients: Sequence[str], stream: Stream | None, now: int, house: Asked
) -> Sequence[Standing]:
    """Of each recipient."""
    try:
        people = await house.known.of(recipients)
    except StateError:
        return [None] * len(recipients)
    return [judge(person, message, stream, now) for person in people]


async def at_attempt(delivery: Delivery, stream: Stream | None, now: int, house: Asked) -> Standing | Pause:
    """Of this one; a Pause where nobody can say, and that matters."""
    message = delivery.message
    try:
        (person,) = await house.known.of([delivery.recipient])
    except StateError:
        if class_of(message) is MailClass.TRANSACTIONAL:
            return None
        return Pause(now + LOOK_AGAIN, "State cannot say whether its recipients still want it")
    return judge(person, message, stream, now)
