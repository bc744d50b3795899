"""What is known of the recipients of a message, asked of State, and what follows: asked at accept, and before each attempt.

Without State nobody can say whom mail may not go to: transactional mail goes on, all other waits (DESIGN, invariant 6). At accept
nothing has to wait for that, since each attempt asks again.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from relay.engaging import Engaging
from relay.message import Delivery, MailClass, Message
from relay.pause import Pause
from relay.person import NOBODY, Person, person_of
from relay.policy.consent import class_of, judge
from relay.policy.relevance import Postponed, Withheld
from relay.policy.streams import Stream
from relay.recipient import Keys
from relay.state.interface import State, StateError

log = structlog.get_logger()

PATIENCE = 1.0  # seconds mail waits for an answer; saturated, SQLite answers in 0.7 s at worst
STATE_DOWN = 5.0  # seconds for which nobody waits again after that, but one who looks whether it is back
LOOK_AGAIN = 1_000  # ms until mail is tried again that waits for State

Consent = Withheld | Postponed | None  # None: it goes


class Known:
    """Who asks State; `keys` may be replaced by the wiring at a reload."""

    def __init__(self, state: State, keys: Keys) -> None:
        self._state = state
        self.keys = keys
        self._down_until = 0.0  # by the loop's clock

    def __repr__(self) -> str:
        return f"<Known of {self._state!r}{', which is down' if self._down_until else ''}>"

    async def of(self, addresses: Sequence[str]) -> list[Person]:
        """The persons behind them, in one question. Raises StateError soon, and ValueError for facts that cannot be read."""
        key = self.keys.key
        now = asyncio.get_running_loop().time()
        if self._down_until:
            if now < self._down_until:
                raise StateError("it did not answer lately")
            self._down_until = now + STATE_DOWN  # we look; others do not wait for this answer
        try:
            async with asyncio.timeout_at(now + PATIENCE):
                found = await self._state.told([key(one) for one in addresses])
        except (StateError, TimeoutError) as error:
            if not self._down_until:
                log.warning("what people want is not known", error=str(error) or f"no answer in {PATIENCE:.0f} s")
            self._down_until = now + STATE_DOWN
            raise StateError(str(error)) from error
        self._down_until = 0.0
        return [person_of(facts) if facts else NOBODY for facts in found]


class Asked(Protocol):
    """What is asked of the house here."""

    @property
    def known(self) -> Known: ...

    @property
    def engaging(self) -> Engaging: ...


async def at_accept(
    message: Message,
    recipients: Sequence[str],
    withheld: Sequence[Withheld | None],
    stream: Stream | None,
    now: int,
    house: Asked,
) -> Sequence[Consent]:
    """Of each recipient; `withheld`: those that it is known of already why it is not sent to them."""
    if all(withheld):
        return withheld
    try:
        people = await house.known.of(recipients)
    except StateError:
        return withheld
    return [why or _judged(person, message, stream, now, house) for why, person in zip(withheld, people, strict=True)]


async def at_attempt(delivery: Delivery, stream: Stream | None, now: int, house: Asked) -> Consent | Pause:
    """Of this one; a Pause where nobody can say, and that matters. Sets the delivery's tier."""
    message = delivery.message
    try:
        (person,) = await house.known.of([delivery.recipient])
    except StateError:
        if class_of(message) is MailClass.TRANSACTIONAL:
            return None
        return Pause(now + LOOK_AGAIN, "State cannot say whether its recipients still want it")
    delivery.tier = house.engaging.table.tier(person, message)
    return _judged(person, message, stream, now, house)


def _judged(person: Person, message: Message, stream: Stream | None, now: int, house: Asked) -> Consent:
    return judge(person, message, stream, now) or house.engaging.table.judge(person, message, now)
