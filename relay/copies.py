"""What State knows of messages that are one: which copy was the first, and which of those that take each other's place is the
newest. Asked at accept and before each attempt; what counts as one is said in relay/policy/copies.py.

A first copy is claimed before it is saved, kept once it is, and given up where it is not, or where it comes to nothing after
all. While it is claimed nobody knows yet whether there will be a first copy: whoever brings a second waits for that a little,
and then is no second. So a crash in between costs one more copy, and never the only one. Where State cannot answer nothing is
a copy: a mail twice is the lesser harm.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from relay.ids import pack, unpack
from relay.message import Delivery, Message
from relay.policy.copies import Hashes
from relay.policy.relevance import DUPLICATE, SUPERSEDED, Withheld
from relay.state.interface import State, StateError
from relay.state.marks import DROP, FIRST, MOST, PUT, Change

log = structlog.get_logger()

DAY = 86_400_000  # ms a first copy is known: apps give up before that
CLAIMED = (
    30_000  # ms a claim stays that nobody keeps or gives up, because a worker died: a commit takes seconds at worst
)
WAIT, LOOKS = 0.05, 40  # s between looks at what another worker has claimed, and how many
KEEP_AFTER = 0.05  # s that what is to be kept may wait for others, so that one question does for all
MONTH = 32 * 86_400_000  # ms the newest is known: as long as what it replaces may wait (Send-At, 30 days) and be tried
PATIENCE = 1.0  # s that mail waits for an answer; saturated, SQLite has one in 0.7 s at worst
REST = 5.0  # s nobody asks after State has not answered
MAX_OWED = 20_000  # changes that wait to be told; beyond that they are left out
_CLAIM = b"?"  # behind an id that is not saved yet

_Claim = tuple[Sequence[Change], "asyncio.Future[list[bytes]]"]
Replaced = Callable[[str, str, str], None]  # id of an older message, its recipient, id of the newer one


class Copies:
    """A worker's side. `hashes` may be replaced at a reload; `replaced` is told of an older message that a newer one has taken
    the place of."""

    def __init__(self, state: State, hashes: Hashes, replaced: Replaced = lambda *_: None) -> None:
        self.hashes = hashes
        self.replaced = replaced
        self._state = state
        self._owed: dict[tuple[bytes, bytes], Change] = {}  # by key and value: what is said last of one counts
        self._newer: list[tuple[Change, str]] = []  # and its recipient
        self._claims: list[_Claim] = []  # of this turn of the loop
        self._claiming: set[asyncio.Task[list[bytes]]] = set()
        self._telling: asyncio.Task[None] | None = None
        self._round: asyncio.Future[None] | None = None  # done when what is owed now has been told
        self._ask_from = 0.0  # by the loop's clock

    def __repr__(self) -> str:
        return f"<Copies: {len(self._owed) + len(self._newer)} to tell>"

    # -- the first copy

    async def claim(self, message: Message, recipients: Sequence[str]) -> list[Withheld | None]:
        """For each recipient: None, this is the first copy as far as anybody knows; or why it is not sent."""
        if not message.copy:
            return [None] * len(recipients)
        own = pack(message.id)
        changes = [Change(FIRST, key, own + _CLAIM, CLAIMED) for key in self._keys(message, recipients)]
        stood = await self._together(changes)
        for _ in range(LOOKS):
            if not any(_open(one, own) for one in stood):
                break
            await asyncio.sleep(WAIT)
            stood = await self._together(changes)
        return [_second(one) if _kept(one, own) else None for one in stood]

    def kept(self, message: Message, recipients: Sequence[str]) -> None:
        """Those are saved."""
        own = pack(message.id)
        if message.copy and recipients:
            self._owe(Change(PUT, key, own, DAY) for key in self._keys(message, recipients))
        if message.collapse and recipients:
            key = self.hashes.key
            self._newer += [(Change(MOST, key(message.collapse, one), own, MONTH), one) for one in recipients]
            self._tell_soon()

    def given_up(self, message: Message, recipients: Sequence[str]) -> None:
        """They were not saved, or come to nothing: the next one is a first copy."""
        if message.copy and recipients:
            own = pack(message.id)
            self._owe(Change(DROP, key, own) for key in self._keys(message, recipients))

    async def give_up(self, delivery: Delivery) -> None:
        """The same, and State has heard of it when this returns, if it can: the delivery is about to end, and after a crash
        nobody would know. For KEEP_AFTER, which what failed can wait."""
        self.given_up(delivery.message, [delivery.recipient])
        if delivery.message.copy and self._round is not None:
            await asyncio.shield(self._round)

    # -- the newest

    async def newer(self, delivery: Delivery) -> Withheld | None:
        """Why it is not sent any more; None: no newer one is known."""
        message = delivery.message
        if not message.collapse:
            return None
        own, key = pack(message.id), self.hashes.key(message.collapse, delivery.recipient)
        (stood,) = await self._ask([Change(MOST, key, own, MONTH)], MONTH)
        if stood <= own:
            return None
        newest = unpack(stood)
        return Withheld(SUPERSEDED, f"{newest} took its place", other=newest)

    # -- State

    def _keys(self, message: Message, recipients: Sequence[str]) -> list[bytes]:
        return [self.hashes.key(message.copy, one) for one in recipients]

    async def _together(self, changes: Sequence[Change]) -> list[bytes]:
        """What is asked in one turn of the loop is one question, which costs little more than each of them."""
        loop = asyncio.get_running_loop()
        if not self._claims:
            loop.call_soon(self._claim_all)
        answer: asyncio.Future[list[bytes]] = loop.create_future()
        self._claims.append((changes, answer))
        return await answer

    def _claim_all(self) -> None:
        claims, self._claims = self._claims, []
        changes = claims[0][0] if len(claims) == 1 else [change for claim in claims for change in claim[0]]
        task = asyncio.create_task(self._ask(changes))
        self._claiming.add(task)
        task.add_done_callback(lambda _: self._claimed(task, claims))

    def _claimed(self, task: "asyncio.Task[list[bytes]]", claims: Sequence[_Claim]) -> None:
        """Each has its part; where it came to nothing, as if nothing stood there."""
        self._claiming.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            log.error("claiming copies failed", exc_info=fault)
        failed, at = task.cancelled() or fault is not None, 0
        for changes, answer in claims:
            after = at + len(changes)
            if not answer.done():  # whoever asked may be gone
                answer.set_result([b""] * len(changes) if failed else task.result()[at:after])
            at = after

    async def _ask(self, changes: Sequence[Change], ttl: int = DAY) -> list[bytes]:
        """As if nothing stood there, where State does not say."""
        return await self._answer(changes, ttl) or [b""] * len(changes)

    async def _answer(self, changes: Sequence[Change], ttl: int) -> list[bytes] | None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._ask_from:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._state.mark(ttl, changes)
        except (StateError, TimeoutError) as error:
            self._ask_from = loop.time() + REST
            log.warning("copies are not looked for", error=str(error) or f"no answer in {PATIENCE:.0f} s")
            return None

    def _owe(self, changes: Iterable[Change]) -> None:
        self._owed.update({(change.key, change.value): change for change in changes})
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        """In rounds, until nothing is left to tell."""
        try:
            await self._tell_all()
        finally:
            self._telling = None

    async def _tell_all(self) -> None:
        while self._round is not None:
            await asyncio.sleep(KEEP_AFTER)
            done, self._round = self._round, None
            owed, self._owed = self._owed, {}
            newer, self._newer = self._newer, []
            try:
                if owed and await self._answer(list(owed.values()), DAY) is None:
                    self._keep_for_later(owed)
                if newer:
                    self._tell_replaced(newer, await self._ask([change for change, _ in newer], MONTH))
            finally:
                done.set_result(None)

    def _keep_for_later(self, owed: Mapping[tuple[bytes, bytes], Change]) -> None:
        """Without State what was given up stays so, or the next copy would be lost; that a copy is there may be forgotten."""
        drops = {name: change for name, change in owed.items() if change.what == DROP}
        self._owed = {**drops, **self._owed} if len(drops) + len(self._owed) < MAX_OWED else self._owed

    def _tell_replaced(self, newer: Sequence[tuple[Change, str]], stood: Sequence[bytes]) -> None:
        for (change, recipient), older in zip(newer, stood, strict=True):
            if older and older < change.value:
                self.replaced(unpack(older), recipient, unpack(change.value))

    async def close(self) -> None:
        """What was to be told is."""
        if self._telling is not None:
            await self._telling


def _open(stood: bytes, own: bytes) -> bool:
    """Another's claim, of which nobody knows what becomes."""
    return stood.endswith(_CLAIM) and not stood.startswith(own)


def _kept(stood: bytes, own: bytes) -> bool:
    """Another's copy, which is safe."""
    return len(stood) == len(own) and stood != own


def _second(stood: bytes) -> Withheld:
    first = unpack(stood)
    return Withheld(DUPLICATE, f"the same as {first}", other=first)
