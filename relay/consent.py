"""What is known of the recipients of a message, asked of State, and what follows: asked at accept, and before each attempt.

Without State nobody can say whom mail may not go to: transactional mail goes on, all other waits (DESIGN, invariant 6). At accept
nothing has to wait for that, since each attempt asks again.

What a person wants and whether there is room for more of it (relay/capping.py) are asked together: one question to State.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import structlog

from relay.capping import Capping
from relay.message import Delivery, MailClass, Message
from relay.pause import Pause
from relay.person import NOBODY, Person, person_of
from relay.policy.caps import Terms, refused
from relay.policy.consent import class_of, judge
from relay.policy.relevance import Postponed, Withheld
from relay.policy.streams import Stream
from relay.recipient import Keys
from relay.room import Ask, Room
from relay.state.interface import State, StateError

log = structlog.get_logger()
T = TypeVar("T")

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
        return _persons(await self._answer(self._state.told([self.keys.key(one) for one in addresses])))

    async def consult(self, asks: Sequence[Ask]) -> tuple[list[Person], list[Room]]:
        """The same of those who ask for a place, and what is in their way."""
        found = await self._answer(self._state.consult(asks))
        return _persons([facts for facts, _ in found]), [room for _, room in found]

    async def _answer(self, question: Coroutine[Any, Any, T]) -> T:
        now = asyncio.get_running_loop().time()
        if self._down_until:
            if now < self._down_until:
                question.close()
                raise StateError("it did not answer lately")
            self._down_until = now + STATE_DOWN  # we look; others do not wait for this answer
        try:
            async with asyncio.timeout_at(now + PATIENCE):
                found = await question
        except (StateError, TimeoutError) as error:
            if not self._down_until:
                log.warning("what people want is not known", error=str(error) or f"no answer in {PATIENCE:.0f} s")
            self._down_until = now + STATE_DOWN
            raise StateError(str(error)) from error
        self._down_until = 0.0
        return found


def _persons(told: Sequence[dict[str, str]]) -> list[Person]:
    return [person_of(facts) if facts else NOBODY for facts in told]


class Asked(Protocol):
    """What is asked of the house here."""

    @property
    def known(self) -> Known: ...

    @property
    def capping(self) -> Capping: ...


class Accepted(NamedTuple):
    """Of each recipient. `placed`: those that go hold a place; `refused`: a cap refuses each, and the app shall hear of it."""

    stands: Sequence[Consent]
    placed: bool = False
    refused: bool = False


async def at_accept(
    message: Message,
    recipients: Sequence[str],
    withheld: Sequence[Withheld | None],
    stream: Stream | None,
    now: int,
    house: Asked,
    *,
    later: bool = False,
) -> Accepted:
    """`withheld`: those that it is known of already why it is not sent to them. `later`: it has to wait anyway, and takes its
    places when it goes."""
    if all(withheld):
        return Accepted(withheld)
    terms = None if later else house.capping.terms(message)
    each = [(index, address) for index, address in enumerate(recipients) if withheld[index] is None]
    try:
        if terms is None or not terms.bounds:
            people = await house.known.of(recipients)
            return Accepted(_judged(people, message, withheld, stream, now))
        known, asked = await house.known.consult(house.capping.asks(message, each, terms, firm=False))
        people = [NOBODY] * len(recipients)
        for (index, _), person in zip(each, known, strict=True):
            people[index] = person
    except StateError:
        return Accepted(withheld)
    stands = _judged(people, message, withheld, stream, now)
    rooms = {index: room for (index, _), room in zip(each, asked, strict=True)}
    unwanted = [(index, address) for index, address in each if stands[index] is not None and not rooms[index]]
    if unwanted:
        await house.capping.give_back(message, unwanted)
    turned_away = not any(stands) and all(refused(terms, room) for room in asked)
    for index, room in rooms.items():
        stands[index] = stands[index] or house.capping.caps.judge(terms, room, message, stream, now)
    return Accepted(stands, True, turned_away)


def _judged(
    people: Sequence[Person], message: Message, withheld: Sequence[Withheld | None], stream: Stream | None, now: int
) -> list[Consent]:
    return [why or judge(person, message, stream, now) for why, person in zip(withheld, people, strict=True)]


async def at_attempt(delivery: Delivery, stream: Stream | None, now: int, house: Asked) -> Consent | Pause:
    """Of this one; a Pause where nobody can say, and that matters. Where it goes, it holds the place that it needs."""
    message, terms = delivery.message, house.capping.terms(delivery.message)
    try:
        if terms is None:
            (person,) = await house.known.of([delivery.recipient])
            standing = judge(person, message, stream, now)
        else:
            asks = house.capping.asks(message, [(delivery.index, delivery.recipient)], terms, firm=True)
            (person,), (room,) = await house.known.consult(asks)
            standing = judge(person, message, stream, now)
            if standing is None:
                standing = house.capping.caps.judge(terms, room, message, stream, now)
            _book(delivery, terms, room, now)
        wish = person.wishes.get(message.brand)
        if standing is None and wish is not None and wish.at_most:
            standing = await _as_wished(delivery, wish.at_most, stream, now, house)
    except StateError:
        if class_of(message) is MailClass.TRANSACTIONAL:
            return None
        return Pause(now + LOOK_AGAIN, "State cannot say whether its recipients still want it")
    return standing


async def _as_wished(delivery: Delivery, at_most: str, stream: Stream | None, now: int, house: Asked) -> Consent:
    """The person's own wish is one more cap. Few have one, so it is asked in its turn."""
    terms = house.capping.terms(delivery.message, at_most)
    if terms is None:
        return None
    asks = house.capping.asks(delivery.message, [(delivery.index, delivery.recipient)], terms, firm=True)
    _, (room,) = await house.known.consult(asks)
    _book(delivery, terms, room, now)
    return house.capping.caps.judge(terms, room, delivery.message, stream, now)


def _book(delivery: Delivery, terms: Terms, room: Room, now: int) -> None:
    """A place that it did not hold before it has waited for, or State could not be asked when it came."""
    if terms.bounds and not (room or delivery.counted or delivery.attempts):
        delivery.freed = now
    delivery.counted = not room
