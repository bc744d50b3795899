"""Engagement as a worker learns it: which brands are fed, and how much of their marketing nobody answered.

    answers    told to the desk (relay/people.py): a fact of the person, e:BRAND; that the brand was fed today is a note in State
    mail       delivered marketing, told by the outbox: a fact of the person, u:BRAND; of people alone of whom an answer is known

What follows from both is relay/policy/engagement.py. Mail is counted by reading and writing, not in one step: of two mails that
reach one person by two workers within the same moment one may count for both, never one for two. Told twice, because a worker
died between, mail that is not newer than what was counted counts no more.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import structlog

from relay.effects import Effect
from relay.message import MailClass
from relay.person import Engaged, Person, person_of
from relay.policy.engagement import DAY, Engagement, Tiers
from relay.recipient import Keys
from relay.state.interface import State, StateError

log = structlog.get_logger()

BOARD = "engagement"  # of notes: brand -> the day it was last fed
LOOK = 10.0  # seconds between looks at them


class Engaging:
    """`table` is what stories ask. At a reload the wiring replaces `keys` and calls `apply`."""

    def __init__(self, state: State, keys: Keys, tiers: Tiers, clock: Callable[[], int]) -> None:
        self.keys = keys
        self.table = Engagement(tiers)
        self._state = state
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Engaging fed={dict(self.table.fed)}>"

    def apply(self, tiers: Tiers) -> None:
        self.table = replace(self.table, tiers=tiers)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """What was known stays while State cannot be reached."""
        try:
            notes = await self._state.pinned(BOARD)
            fed = {brand: int(day) for brand, day in notes.items()}
        except StateError as error:
            log.debug("engagement: State has no answer; again soon", error=str(error))
        except ValueError as error:
            log.error("notes of engagement cannot be read; a newer Postlane's?", error=str(error))
        else:
            self.table = replace(self.table, fed=fed)

    async def feed(self, brands: Collection[str]) -> None:
        """Apps told who answers mail of these. Raises StateError."""
        today, fed = self._clock() // DAY, self.table.fed
        for brand in brands:
            if fed.get(brand, 0) < today:
                await self._state.pin(BOARD, brand, str(today))
        self.table = replace(self.table, fed={**self.table.fed, **{b: max(today, fed.get(b, 0)) for b in brands}})

    async def count(self, effects: Sequence[Effect]) -> None:
        """Marketing that arrived is unanswered until its recipient engages. Raises StateError."""
        now = self._clock()
        mine = [
            one
            for one in effects
            if one.arrived and one.mail_class is MailClass.MARKETING and self.table.fresh(one.brand, now)
        ]
        if not mine:
            return
        by_person: dict[bytes, list[Effect]] = {}
        for one in mine:
            by_person.setdefault(self.keys.key(one.recipient), []).append(one)
        found = await self._state.told(list(by_person))
        changes = [
            self._state.tell(key, facts)
            for (key, mails), known in zip(by_person.items(), found, strict=True)
            if (facts := counted(person_of(known), mails))
        ]
        await asyncio.gather(*changes)


def counted(person: Person, mails: Iterable[Effect]) -> dict[str, str | None]:
    """What becomes of the person's facts. Mail of the day he engaged on may have moved him to."""
    changed: dict[str, Engaged] = {}
    for mail in sorted(mails, key=lambda mail: mail.arrived):
        before = changed.get(mail.brand) or person.engaged.get(mail.brand)
        if before is not None and mail.arrived > before.latest and mail.arrived // DAY > before.since:
            changed[mail.brand] = replace(before, unanswered=before.unanswered + 1, latest=mail.arrived)
    return {f"u:{brand}": one.dump_unanswered() for brand, one in changed.items()}
