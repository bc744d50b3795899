"""What is known of the recipients of a message, asked of State, and what follows: asked at accept, and before each attempt.

Without State nobody can say whom mail may not go to: transactional mail goes on, all other waits (DESIGN, invariant 6). At accept
nothing has to wait for that, since each attempt asks again.

What a person wants and whether there is room for more of it (relay/capping.py) are asked together: one question to State.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Protocol

import structlog

from relay.capping import Capping
from relay.engaging import Engaging
from relay.identity import Credential
from relay.message import Delivery, MailClass, Message
from relay.outcome import Reply
from relay.pause import Pause
from relay.person import NOBODY, Person, person_of
from relay.policy.caps import Terms, refused, wished_of
from relay.policy.consent import class_of, judge, refused_at_rcpt
from relay.policy.relevance import Postponed, Withheld
from relay.policy.streams import Stream
from relay.recipient import Keys
from relay.room import Ask, Room
from relay.state.interface import State, StateError

log = structlog.get_logger()

PATIENCE = 1.0  # seconds mail waits for an answer; saturated, SQLite answers in 0.7 s at worst
STATE_DOWN = 5.0  # seconds for which nobody waits again after that, but one who looks whether it is back
LOOK_AGAIN = 1_000  # ms until mail is tried again that waits for State
FRESH = 1_000  # ms for which "nothing is known of him" is not asked again: as long as a suspension takes to reach all workers

Consent = Withheld | Postponed | None  # None: it goes


Told = asyncio.Future[list[Any]]  # an answer of State; StateError soon where it has none


class _Question(NamedTuple):
    """Of people by their keys, or of those who ask for places: of one of the two."""

    keys: Sequence[bytes]
    asks: Sequence[Ask]
    answer: Told


class Known:
    """Who asks State: once for all that is asked in one turn of the loop. `keys` may be replaced by the wiring at a reload."""

    def __init__(self, state: State, keys: Keys) -> None:
        self._state = state
        self.keys = keys
        self._asked: list[_Question] = []  # in this turn
        self._asking: set[asyncio.Task[None]] = set()
        self._down_until = 0.0  # by the loop's clock

    def __repr__(self) -> str:
        return f"<Known of {self._state!r}{', which is down' if self._down_until else ''}>"

    def ask(self, addresses: Sequence[str]) -> Told:
        """Of the persons behind them, whom `persons` makes of the answer. Nobody has to wait for it."""
        key = self.keys.key
        return self._question([key(one) for one in addresses], ())

    async def of(self, addresses: Sequence[str]) -> list[Person]:
        """The persons behind them. Raises StateError soon; also where facts of one cannot be read, as a newer Postlane's."""
        return persons(await self.ask(addresses))

    async def consult(self, asks: Sequence[Ask]) -> tuple[list[Person], list[Room]]:
        """The same of those who ask for a place, and what is in their way."""
        found = await self._question((), asks)
        return persons([facts for facts, _ in found]), [room for _, room in found]

    def _question(self, keys: Sequence[bytes], asks: Sequence[Ask]) -> Told:
        loop = asyncio.get_running_loop()
        question = _Question(keys, asks, loop.create_future())
        if self._down_until and loop.time() < self._down_until:
            self._tell([question], StateError("it did not answer lately"))
            return question.answer
        if not self._asked:
            loop.call_soon(self._ask)
        self._asked.append(question)
        return question.answer

    def _ask(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.create_task(self._hear(asked))
        self._asking.add(task)
        task.add_done_callback(lambda _: self._asked_for(task, asked))

    def _asked_for(self, task: "asyncio.Task[None]", asked: Sequence[_Question]) -> None:
        """Nobody is left waiting, whatever ended it: the worker's end, a fault of ours."""
        self._asking.discard(task)
        self._tell(asked, StateError("it was not asked to the end"))
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("asking what people want failed", exc_info=fault)

    async def _hear(self, asked: Sequence[_Question]) -> None:
        """Whoever asked has an answer, or the StateError, in time."""
        began = asyncio.get_running_loop().time()
        if self._down_until:
            self._down_until = began + STATE_DOWN  # we look; others do not wait for this answer
        keys = [key for question in asked for key in question.keys]
        asks = [wish for question in asked for wish in question.asks]
        try:
            async with asyncio.timeout_at(began + PATIENCE):
                told, held = await self._both(keys, asks)
        except (StateError, TimeoutError) as error:
            why = str(error) or f"no answer in {PATIENCE:.0f} s"
            if not self._down_until:
                log.warning("what people want is not known", error=why)
            self._down_until = began + STATE_DOWN
            self._tell(asked, StateError(why))
        else:
            self._down_until = 0.0
            at = after = 0  # how many answers of each kind were given on
            for own, wishes, answer in asked:
                found = held[after : after + len(wishes)] if wishes else told[at : at + len(own)]
                at, after = at + len(own), after + len(wishes)
                if not answer.done():  # whoever asked may be gone
                    answer.set_result(found)

    async def _both(self, keys: Sequence[bytes], asks: Sequence[Ask]) -> tuple[list[Any], list[Any]]:
        """Of most turns of the loop there is one kind."""
        if not asks:
            return await self._state.told(keys), []
        if not keys:
            return [], await self._state.consult(asks)
        return await asyncio.gather(self._state.told(keys), self._state.consult(asks))

    def _tell(self, asked: Sequence[_Question], error: StateError) -> None:
        for question in asked:
            if not question.answer.done():
                question.answer.set_exception(error)
                question.answer.exception()  # or asyncio complains where whoever asked does not wait for it any more


def persons(told: Sequence[dict[str, str]]) -> list[Person]:
    """Raises StateError where one cannot be read."""
    try:
        return [person_of(facts) if facts else NOBODY for facts in told]
    except ValueError as error:
        log.error("what is known of a recipient cannot be read; a newer Postlane's?", error=str(error))
        raise StateError(f"what is known of a recipient cannot be read: {error}") from error


class Asked(Protocol):
    """What is asked of the house here."""

    @property
    def known(self) -> Known: ...

    @property
    def capping(self) -> Capping: ...

    @property
    def engaging(self) -> Engaging: ...


class Accepted(NamedTuple):
    """Of each recipient. `placed`: those that go hold a place; `refused`: a cap refuses each, and the app shall hear of it.
    `nobody`: indexes of those of whom State said that nothing is known."""

    stands: Sequence[Consent]
    placed: bool = False
    refused: bool = False
    nobody: Collection[int] = ()


def ask_early(message: Message, recipients: Sequence[str], house: Asked) -> Told | None:
    """What at_accept() asks, asked before: State looks for copies of the message at the same time, which saves half of the
    questions. None where a place is to be taken: what is a copy must not take one."""
    terms = house.capping.terms(message)
    return house.known.ask(recipients) if terms is None or not terms.bounds else None


async def at_accept(
    message: Message,
    recipients: Sequence[str],
    withheld: Sequence[Withheld | None],
    stream: Stream | None,
    now: int,
    house: Asked,
    early: Told | None = None,
    *,
    later: bool = False,
) -> Accepted:
    """`withheld`: those that it is known of already why it is not sent to them. `early`: what ask_early() has asked. `later`: it
    has to wait anyway, and takes its places when it goes."""
    if all(withheld):
        return Accepted(withheld)
    terms = None if later else house.capping.terms(message)
    try:
        if terms is None or not terms.bounds:
            people = persons(await (early if early is not None else house.known.ask(recipients)))
            nobody = [index for index, person in enumerate(people) if person is NOBODY]
            return Accepted(_judged(people, message, withheld, stream, now, house), nobody=nobody)
        each = [(index, address) for index, address in enumerate(recipients) if withheld[index] is None]
        known, asked = await house.known.consult(house.capping.asks(message, each, terms, firm=False))
        people = [NOBODY] * len(recipients)
        for (index, _), person in zip(each, known, strict=True):
            people[index] = person
    except StateError:
        return Accepted(withheld)
    stands = _judged(people, message, withheld, stream, now, house)
    if not any(stands) and not any(asked):
        return Accepted(stands, True)
    rooms = {index: room for (index, _), room in zip(each, asked, strict=True)}
    unwanted = [(index, address) for index, address in each if stands[index] is not None and not rooms[index]]
    if unwanted:
        await house.capping.give_back(message, unwanted)
    turned_away = not any(stands) and all(refused(terms, room) for room in asked)
    for index, room in rooms.items():
        stands[index] = stands[index] or house.capping.caps.judge(terms, room, message, stream, now)
    return Accepted(stands, True, turned_away)


async def at_rcpt(address: str, credential: Credential, now: int, house: Asked) -> Reply | None:
    """Why this app may not send to it, for one that wants to hear so at RCPT TO; None: it may, or nobody can say."""
    try:
        (person,) = await house.known.of([address])
    except StateError:
        return None
    return refused_at_rcpt(person, credential, now)


def _judged(
    people: Sequence[Person],
    message: Message,
    withheld: Sequence[Withheld | None],
    stream: Stream | None,
    now: int,
    house: Asked,
) -> list[Consent]:
    return [why or _wanted(person, message, stream, now, house) for why, person in zip(withheld, people, strict=True)]


def _wanted(person: Person, message: Message, stream: Stream | None, now: int, house: Asked) -> Consent:
    return judge(person, message, stream, now) or house.engaging.table.judge(person, message, now)


async def at_attempt(delivery: Delivery, stream: Stream | None, now: int, house: Asked) -> Consent | Pause:
    """Of this one; a Pause where nobody can say, and that matters. Where it goes, it holds the place that it needs. Its tier is
    set, and what its recipient wishes: that is one more cap, asked with the others once it is known."""
    message = delivery.message
    try:
        person, standing = await _stands(delivery, stream, now, house)
        at_most = wished_of(person, message)
        if at_most != delivery.at_most and not isinstance(standing, Withheld):
            delivery.at_most = at_most
            person, standing = await _stands(delivery, stream, now, house)
    except StateError:
        if class_of(message) is MailClass.TRANSACTIONAL:
            return None
        return Pause(now + LOOK_AGAIN, "State cannot say whether its recipients still want it")
    delivery.pending_since = person.pending_since if person is not NOBODY else 0
    delivery.refusals = person.refusals
    delivery.tier = house.engaging.table.tier(person, message)
    return standing


async def _stands(delivery: Delivery, stream: Stream | None, now: int, house: Asked) -> tuple[Person, Consent]:
    message = delivery.message
    terms = house.capping.terms(message, delivery.at_most)
    if terms is None:
        lately = 0 <= now - delivery.free_at < FRESH
        person = NOBODY if lately else (await house.known.of([delivery.recipient]))[0]
        return person, _wanted(person, message, stream, now, house)
    asks = house.capping.asks(message, [(delivery.index, delivery.recipient)], terms, firm=True)
    (person,), (room,) = await house.known.consult(asks)
    _book(delivery, terms, room, now)
    standing = _wanted(person, message, stream, now, house)
    return person, standing or house.capping.caps.judge(terms, room, message, stream, now)


async def would(message: Message, address: str, stream: Stream | None, now: int, house: Asked) -> Consent:
    """What an attempt would be told now; nothing is taken. Raises StateError."""
    (person,) = await house.known.of([address])
    wanted = _wanted(person, message, stream, now, house)
    terms = house.capping.terms(message, wished_of(person, message))
    if wanted is not None or terms is None:
        return wanted
    return house.capping.caps.judge(terms, await house.capping.room(message, address, terms), message, stream, now)


def _book(delivery: Delivery, terms: Terms, room: Room, now: int) -> None:
    """A place that it did not hold before it has waited for, or State could not be asked when it came."""
    if terms.bounds and not (room or delivery.counted or delivery.attempts):
        delivery.freed = now
    delivery.counted = not room
