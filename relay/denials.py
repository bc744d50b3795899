"""DNS says that there is no such domain: is it to be believed?

A resolver that is broken, or a registry's zone that is cut short, denies domains by the thousand that exist; whoever believes it
loses good addresses. So before an address is suppressed because its domain does not exist, DNS is asked once more, at that moment
and past our cache, of the domain and of witnesses: domains to which this node delivers most, of the same top-level domain where
there are such. It is believed where it says the same again and still knows most of them. That tells a domain that nobody has from
one that DNS lost, however little mail goes, from the first minute on and after a restart; no usual share need be known, which the
new domains of each campaign would change. Where there is no witness yet, or no answer, what it said waits for a second word on
another day (relay/learning.py).

Whoever has domains can have them denied, and domains do end. So a witness that is denied for a day is none any more, and those
that took next to nothing of all mail speak for their top-level domain alone: what DNS says of others is believed as before.

A worker whose DNS denies most of its witnesses says so by a note in State, and asks them again until it knows them. From such
notes the one that judges makes a bad hour of DNS (relay/doubting.py): what DNS denied in the hour before is held back, too.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from heapq import nlargest

import orjson
import structlog

from relay.egress.mx import Answer, Found
from relay.state.interface import State, StateError

log = structlog.get_logger()

BOARD = "health/dns"  # board: a worker -> when (ms) its DNS denied how many of how many witnesses
WITNESSES = 3  # of a top-level domain: one of them may really be gone
AT_ONCE = 50  # questions on the way: a campaign to a million made-up domains leaves the resolver's places to the mail of others
PATIENCE = 3.0  # s for all answers: what comes later is none
AGAIN = 20.0  # s between looks at witnesses that were denied
ANEW = 60_000  # ms after which it is looked up anew who gets most mail
WEIGHT = 0.01  # of all that was delivered: what witnesses took that speak for more than their top-level domain
LOST = (
    86_400_000  # ms after which a witness that is denied does not exist: no registry takes that long to mend its zone
)
STALE = 120_000  # ms after which a note is that of a worker that is gone


class Denials:
    """`ask`: DNS for the MX of a domain, now; `delivered`: how much each domain took lately."""

    def __init__(
        self, state: State, ask: Callable[[str], Awaitable[Answer]], delivered: Callable[[], Mapping[str, int]]
    ) -> None:
        self._state = state
        self._ask = ask
        self._delivered = delivered
        self._name = secrets.token_hex(6)
        self._denied: frozenset[str] = frozenset()  # witnesses of whom our note tells
        self._most: Mapping[str, Sequence[str]] = {}
        self._counted = 0  # when that was looked up
        self._total = 0  # delivered to all of them
        self._places = asyncio.Semaphore(AT_ONCE)
        self._since: dict[str, int] = {}  # witnesses that are denied: since when (ms), as far as they were asked

    def __repr__(self) -> str:
        return f"<Denials, {len(self._denied)} of witnesses>"

    @property
    def doubtful(self) -> bool:
        """Is DNS not to be believed, as far as is known without asking?"""
        return bool(self._denied) or not self._delivered()

    async def gone(self, domains: Collection[str]) -> set[str]:
        """Those of them that DNS is believed not to exist. Raises StateError."""
        most, tops = self._most_mailed(), {top_level(one) for one in domains}
        lost = self._lost()
        witnesses = {top: chosen(most, top, {*domains, *lost}) for top in tops}
        called = {*lost, *(one for named in witnesses.values() for one in named)}  # who was lost may be back
        found = await self._answers([*called, *domains])  # without witnesses the others' answers are worth nothing
        self._note(called, found)
        denied = {name for name, answer in found.items() if answer is Found.NO_NAME}
        there = {name for name, answer in found.items() if answer in (Found.RECORDS, Found.NOTHING)}
        for named in witnesses.values():
            if mostly(named, denied, there) and self._weigh(denied.intersection(named)):
                await self._tell(named, denied)
        return {one for one in domains if one in denied and mostly(witnesses[top_level(one)], there, denied)}

    def _most_mailed(self) -> Mapping[str, Sequence[str]]:
        now = self._state.now()
        if not self._most.get("") or now - self._counted >= ANEW:
            delivered = self._delivered()
            self._most, self._counted, self._total = most_mailed(delivered), now, sum(delivered.values())
            known = {name for names in self._most.values() for name in names}
            self._since = {name: at for name, at in self._since.items() if name in known}
        return self._most

    def _weigh(self, names: Iterable[str]) -> bool:
        delivered = self._delivered()
        return sum(delivered.get(name, 0) for name in names) >= WEIGHT * self._total

    def _note(self, witnesses: Iterable[str], found: Mapping[str, Found]) -> None:
        now = self._state.now()
        for name in witnesses:
            if found.get(name) is Found.NO_NAME:
                self._since.setdefault(name, now)
            elif name in found:
                self._since.pop(name, None)

    def _lost(self) -> set[str]:
        """Witnesses that are gone; mostly none."""
        before = self._state.now() - LOST
        return {name for name, at in self._since.items() if at <= before}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(AGAIN)
            with suppress(StateError):  # said where it came up
                await self.look()

    async def look(self) -> None:
        """Does DNS know them again? Raises StateError."""
        if not self._denied:
            return
        found = await self._answers(self._denied)
        self._note(self._denied, found)
        denied = {name for name, answer in found.items() if answer is Found.NO_NAME} - self._lost()
        if mostly(self._denied, denied, found.keys() - denied):
            await self._tell(self._denied, denied)
        elif found:
            await self._state.unpin(BOARD, self._name)
            self._denied = frozenset()
            log.warning("DNS knows the domains again that take mail, or they are gone")

    async def _tell(self, witnesses: Collection[str], denied: Collection[str]) -> None:
        before, self._denied = self._denied, frozenset(denied).intersection(witnesses)
        if not before:
            log.error("DNS denies domains that take mail", domains=sorted(self._denied))
        note = [self._state.now(), len(self._denied), len(witnesses)]
        await self._state.pin(BOARD, self._name, orjson.dumps(note).decode())

    async def _answers(self, names: Iterable[str]) -> dict[str, Found]:
        """Those that come in time, but for failures. It never raises: whoever asks would ask again, for ever."""
        asked = {asyncio.ensure_future(self._answer(name)): name for name in dict.fromkeys(names)}
        done, late = await asyncio.wait(asked, timeout=PATIENCE)
        for one in late:
            one.cancel()
        found = {asked[one]: one.result().found for one in done if one.exception() is None}
        return {name: answer for name, answer in found.items() if answer is not Found.FAILED}

    async def _answer(self, name: str) -> Answer:
        async with self._places:
            return await self._ask(name)


async def fresh_denials(state: State, now: int) -> list[tuple[int, int]]:
    """Of the workers whose DNS denies witnesses, how many of how many. Notes of those that are gone are taken off."""
    fresh = []
    for name, note in (await state.pinned(BOARD)).items():
        at, denied, asked = orjson.loads(note)
        if at > now - STALE:
            fresh.append((denied, asked))
        else:
            await state.unpin(BOARD, name)
    return fresh


def top_level(domain: str) -> str:
    return domain.rpartition(".")[2]


def most_mailed(delivered: Mapping[str, int]) -> dict[str, list[str]]:
    """The domains that get most mail, of each top-level domain, and of all (""). Pure; some ms for 20,000."""
    named: dict[str, list[str]] = {"": list(delivered)}
    for name in delivered:
        named.setdefault(top_level(name), []).append(name)
    return {top: nlargest(2 * WITNESSES, names, key=delivered.__getitem__) for top, names in named.items()}


def chosen(most: Mapping[str, Sequence[str]], top: str, but: Collection[str]) -> list[str]:
    """Witnesses of a top-level domain: those in it first; where they are few, others too. Pure."""
    names = dict.fromkeys([*most.get(top, ()), *most.get("", ())])
    return [name for name in names if name not in but][:WITNESSES]


def mostly(names: Iterable[str], some: Collection[str], others: Collection[str]) -> bool:
    """Are more of them among `some` than among `others`? Pure."""
    names = list(names)
    return sum(name in some for name in names) > sum(name in others for name in names)
