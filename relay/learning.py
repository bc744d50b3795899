"""What bounces and complaints teach of people, told to the desk: at once, or after failures on so many days within some time.

What is decided is relay/feedback/aftermath.py's; here it is asked with what State knows of the person and of the site. While a
site says of nearly everybody that there is no such user (relay/policy/badhour.py) what it says is left pending, and so is what
DNS says of domains unless it can be trusted with that (relay/denials.py). A second word settles it: the same answer on another
day, when the site is not doubted any more, suppresses; mail that arrives takes it off; so does an operator. What arrives also
ends a row of refusals of its stream's mail, which suppress where they come one after the other.

It listens to effects (relay/effects.py), which come again after a crash: the days counted of a person stand in State, each with
the delivery that failed first, so that none counts twice.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

import orjson
import structlog

from relay.control import Json
from relay.domain import a_label
from relay.effects import Effect
from relay.feedback.aftermath import believed, counted
from relay.people import People
from relay.person import NOBODY_THERE, person_of
from relay.recipient import Keys
from relay.state.interface import State, StateError
from relay.tally import DNS

log = structlog.get_logger()

TOGETHER = 50  # of the 500 that the desk takes in one question, which it answers in one turn of the loop

Among = Callable[[Collection[str]], Awaitable[Collection[str]]]  # those of some


async def _none(_: Collection[str]) -> Collection[str]:
    return ()


class Learning:
    """`keys` is replaced by the wiring at a reload."""

    def __init__(
        self,
        state: State,
        people: People,
        keys: Keys,
        clock: Callable[[], int],
        doubted: Among = _none,
        gone: Among = _none,
    ) -> None:
        """`doubted`: those of some sites whose word is not taken now; `gone`: those of some domains that do not exist, where
        DNS is to be believed."""
        self.keys = keys
        self._state = state
        self._people = people
        self._clock = clock
        self._doubted = doubted
        self._gone = gone

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
            if over := entry.get("over"):  # refusals suppress where they come one after the other
                await self._state.tell(self.keys.key(str(entry["recipient"])), dict.fromkeys(map(str, over)))
        entries = [
            _of_mail(token, entry)
            for token, entry in learnt
            if not entry.get("arrived") and await self._is_enough(token, entry)
        ]
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
        """What a doubted site says of a mailbox waits for a second word, and so does what it says the same day again."""
        dead = [entry for entry in entries if entry["reason"] in NOBODY_THERE]
        if not dead:
            return list(entries)
        denied = {_domain(entry) for entry in dead if entry.get("site") == DNS}
        gone = await self._gone(denied) if denied else ()
        doubted = await self._doubted({str(entry.get("site")) for entry in dead})
        found = await self._state.told([self.keys.key(str(entry["recipient"])) for entry in dead], left=True)
        now, said = self._clock(), [entry for entry in entries if entry["reason"] not in NOBODY_THERE]
        for entry, facts in zip(dead, found, strict=True):
            waits = [block.since for block in person_of(facts).blocks if block.pending and not block.over(now)]
            unsure = entry.get("site") in doubted or (entry.get("site") == DNS and _domain(entry) not in gone)
            done = believed(entry, waits, now, doubted=unsure)
            said += [done] if done is not None else []
        return said

    async def _is_enough(self, token: str, entry: Json) -> bool:
        """Has it happened on days enough? What has not yet is counted."""
        after = int(entry.get("after", 1))
        if after <= 1:
            return True
        at = int(entry.get("at") or self._clock())  # a former Postlane's effects do not say when
        key, name = self.keys.key(str(entry["recipient"])), f"f:{_counted_as(entry)}"
        (facts,) = await self._state.told([key])
        days = counted(orjson.loads(facts.get(name, "[]")), token, at, int(entry["within"]))
        await self._state.tell(key, {name: orjson.dumps(days).decode()})
        return len(days) >= after


def _counted_as(entry: Json) -> str:
    """What counts together: who refuses one stream's mail has not refused another's."""
    stop, brand = str(entry["stop"]), str(entry.get("brand") or "")
    return " ".join([str(entry["reason"]), *([stop] if stop != "all" else []), *([brand] if brand else [])])


def _domain(entry: Json) -> str:
    domain = str(entry["recipient"]).rpartition("@")[2]
    return a_label(domain) or domain


def _of_mail(token: str, entry: Json) -> Json:
    """With the delivery that taught it."""
    identifier, _, index = token.partition("/")
    return {**entry, "id": identifier, "rcpt": int(index)}
