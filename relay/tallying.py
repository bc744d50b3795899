"""What became of mail, counted in State for the health of streams. It listens to effects (relay/effects.py) of one shard.

Each shard has sheets of its own in State (relay/policy/tallies.py), one for each stream and hour in which mail was sent, which it
alone writes: what all shards of all nodes counted is what their sheets say together. Effects come again after a crash; the sheets
know which of them they hold.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from relay.effects import Effect
from relay.policy.health import DAY, LATE, LONGEST
from relay.policy.tallies import HOUR, Sheet, alike
from relay.state.interface import State
from relay.tally import Kind, Tally

log = structlog.get_logger()

HOURS = "health/hours"  # board: the hours of which there are sheets, a note each
REPORTERS = "health/reporters"  # board: a site that reports complaints -> the day (since the epoch) of the latest
KEPT = 64  # sheets in memory: those of this hour and of late reports; each 30 KB at most
# Hours for which they stand in State for sure: any stream is judged by the last three days. What is older may be taken off there
# at any moment (relay/accounts.py), so nothing of it is remembered here.
STEADY = 48
OLDEST = (LONGEST + LATE * DAY) // HOUR  # hours after which nobody judges any stream by what was sent then
_COMPLAINT = Kind.COMPLAINT.value  # as a plain text, which is quicker to compare


def board(hour: int) -> str:
    """Of the sheets of what was sent in this hour since the epoch."""
    return f"health/{hour}"


class Tallying:
    """`shard`: its name in the cluster."""

    def __init__(self, state: State, shard: str) -> None:
        self._state = state
        self._shard = shard
        self._sheets: dict[tuple[int, str], Sheet] = {}  # the latest touched last
        self._hours: set[int] = set()  # known to be on their board
        self._reporters: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Tallying of {self._shard}, {len(self._sheets)} sheets>"

    async def count(self, effects: Sequence[Effect]) -> None:
        """Raises StateError where it has to be told again."""
        tallies = [one.tally for one in effects if one.tally is not None]
        if not tallies:
            return
        token = next(one.token for one in effects if one.tally is not None)
        first = f"{token} {tallies[0].kind}"  # one delivery has one of a kind, so no other batch begins like this
        this = self._state.now() // HOUR
        counts = {at: mine for at, mine in alike(tallies).items() if at[0] > this - OLDEST}
        adding = (self._add(at, mine, first, tallies) for at, mine in counts.items())
        for failed in await asyncio.gather(*adding, return_exceptions=True):
            if failed is not None:
                raise failed
        for site, at in {tally.site: tally.at for tally in tallies if tally.kind == _COMPLAINT}.items():
            await self._reports(site, at // DAY)
        self._forget(this - STEADY)

    def _forget(self, before: int) -> None:
        """What may change without us, and what is too much."""
        self._hours = {hour for hour in self._hours if hour >= before}
        self._sheets = {at: sheet for at, sheet in self._sheets.items() if at[0] >= before}
        while len(self._sheets) > KEPT:
            del self._sheets[next(iter(self._sheets))]

    async def _add(self, at: tuple[int, str], mine: Mapping[Tally, int], first: str, tallies: Sequence[Tally]) -> None:
        """`mine`: those of all the `tallies` that count there, with how many are alike."""
        sheet = await self._sheet(at)
        if sheet.first == first:  # some of them are in
            mine = alike(tallies[sheet.done :]).get(at, {})
        for tally, number in mine.items():
            sheet.add(tally, number)
        sheet.first, sheet.done = first, len(tallies)
        hour, stream = at
        if hour not in self._hours:
            await self._state.pin(HOURS, str(hour), "")
            self._hours.add(hour)
        await self._state.pin(board(hour), f"{self._shard} {stream}", sheet.dump())

    async def _sheet(self, at: tuple[int, str]) -> Sheet:
        """As it is in State, or is to be: what was counted and could not be told is told again."""
        hour, stream = at
        sheet = self._sheets.pop(at, None)
        if sheet is None:
            text = (await self._state.pinned(board(hour))).get(f"{self._shard} {stream}")
            sheet = Sheet(stream) if text is None else _read(stream, text)
        self._sheets[at] = sheet
        return sheet

    async def _reports(self, site: str, day: int) -> None:
        """A complaint came from it. What Google's users say is imported: were it said twice, it would count twice."""
        if self._reporters.get(site, 0) < day:
            await self._state.pin(REPORTERS, site, str(day))
            self._reporters[site] = day


def _read(stream: str, text: str) -> Sheet:
    try:
        return Sheet.load(text)
    except ValueError as error:
        log.error("a sheet of counts cannot be read and begins anew", error=str(error))
        return Sheet(stream)
