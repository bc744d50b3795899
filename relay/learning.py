"""What bounces and complaints teach of people, told to the desk: at once, or after failures on so many days within some time.

While a site says of nearly everybody that there is no such user (relay/policy/badhour.py) what it says is left pending, and so is
what DNS says of domains unless it can be trusted with that (relay/denials.py). A second word settles it: the same answer on
another day, when the site is not doubted any more, suppresses; mail that arrives takes it off; so does an operator.

It listens to effects (relay/effects.py), which come again after a crash: the days counted of a person stand in State, each with
the delivery that failed first, so that none counts twice. Days, because an evening's ten mails to a full mailbox say no more than
one.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

import orjson
import structlog

from relay.control import Json
from relay.denials import Said
from relay.domain import a_label
from relay.effects import Effect
from relay.people import PENDING_FOR, People
from relay.person import DEAD_MAILBOX, PENDING, person_of
from relay.recipient import Keys
from relay.state.interface import State, StateError
from relay.tally import DNS

log = structlog.get_logger()

TOGETHER = 50  # of the 500 that the desk takes in one question, which it answers in one turn of the loop
DAY = 86_400_000
MOST = 20  # days with failures that are kept of one person and reason


Doubted = Callable[[Collection[str]], Awaitable[Collection[str]]]
Denied = Callable[[Collection[str]], Awaitable[Said]]


async def _believed(_: Collection[str]) -> Collection[str]:
    return ()


async def _nobody_knows(_: Collection[str]) -> Said:
    return Said()


class Learning:
    """`keys` is replaced by the wiring at a reload."""

    def __init__(
        self,
        state: State,
        people: People,
        keys: Keys,
        clock: Callable[[], int],
        doubted: Doubted = _believed,
        denied: Denied = _nobody_knows,
    ) -> None:
        """`doubted`: those of some sites whose word is not taken now; `denied`: what DNS says of domains now."""
        self.keys = keys
        self._state = state
        self._people = people
        self._clock = clock
        self._doubted = doubted
        self._denied = denied

    def __repr__(self) -> str:
        return f"<Learning for {self._people!r}>"

    async def learn(self, effects: Sequence[Effect]) -> None:
        """Raises StateError where it has to be told again."""
        learnt = [(one.token, one.learnt) for one in effects if one.learnt is not None]
        if not learnt:
            return
        for entry in (entry for _, entry in learnt if entry.get("arrived")):
            where = {"pending": True}
            await self._ask({"what": "unblock", "recipient": entry["recipient"], "where": where, "via": "feedback"})
        entries = [entry for token, entry in learnt if not entry.get("arrived") and await self._is_enough(token, entry)]
        entries = await self._believable(entries)
        for start in range(0, len(entries), TOGETHER):
            await self._ask({"what": "block", "via": "feedback", "entries": entries[start : start + TOGETHER]})

    async def _ask(self, question: Json) -> None:
        answer = await self._people.answer(question)
        if answer.get("again"):
            raise StateError(str(answer["error"]))
        if "error" in answer:  # ours: telling it again helps nobody
            log.error("what a bounce calls for is not done", error=answer["error"])

    async def _believable(self, entries: Sequence[Json]) -> list[Json]:
        """What a doubted site says of a mailbox waits for a second word, and so does what it says the same day again. What DNS
        takes back is not learnt at all."""
        dead = [entry for entry in entries if entry["reason"] == DEAD_MAILBOX]
        if not dead:
            return list(entries)
        denied = {_domain(entry) for entry in dead if entry.get("site") == DNS}
        told = await self._denied(denied) if denied else Said()
        dead = [entry for entry in dead if entry.get("site") != DNS or _domain(entry) not in told.there]
        doubted = await self._doubted({str(entry.get("site")) for entry in dead})
        found = await self._state.told([self.keys.key(str(entry["recipient"])) for entry in dead], left=True)
        now, said = self._clock(), [entry for entry in entries if entry["reason"] != DEAD_MAILBOX]
        for entry, facts in zip(dead, found, strict=True):
            waits = [block for block in person_of(facts).blocks if block.pending and not block.over(now)]
            unsure = entry.get("site") in doubted or (entry.get("site") == DNS and _domain(entry) not in told.gone)
            if unsure and not waits:
                said.append({**entry, "stop": f"{PENDING}{entry['stop']}", "until": now + PENDING_FOR})
            elif not unsure and all(is_older(block.since, now) for block in waits):
                said.append(entry)
        return said

    async def _is_enough(self, token: str, entry: Json) -> bool:
        """Has it happened on days enough? What has not yet is counted."""
        after = int(entry.get("after", 1))
        if after <= 1:
            return True
        at = int(entry.get("at") or self._clock())  # a former Postlane's effects do not say when
        key, name = self.keys.key(str(entry["recipient"])), f"f:{entry['reason']}"
        (facts,) = await self._state.told([key])
        days = counted(facts.get(name, "[]"), token, at, int(entry["within"]))
        await self._state.tell(key, {name: orjson.dumps(days).decode()})
        return len(days) >= after


def _domain(entry: Json) -> str:
    domain = str(entry["recipient"]).rpartition("@")[2]
    return a_label(domain) or domain


def is_older(since: int, now: int) -> bool:
    """Was it said on another day? A provider's bad hour may go over midnight. Pure."""
    return now // DAY > since // DAY and now - since >= DAY // 2


def counted(known: str, token: str, at: int, within: int) -> list[tuple[str, int]]:
    """The failures that count, this one too: of each day (UTC) the first, each delivery once. Pure."""
    days = dict[int, tuple[str, int]]()
    for one, before in [*orjson.loads(known), (token, at)]:
        if at - within < before and all(one != first for first, _ in days.values()):
            days.setdefault(before // DAY, (one, before))
    return list(days.values())[-MOST:]
