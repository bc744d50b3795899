"""State: what all workers of a node, or of all nodes, must agree on. One interface, several backends, one contract suite.

A permit is taken before it is used, so a crash wastes permits and never exceeds a limit.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from relay.identity import Rate
from relay.room import Ask, Room, Send, Settled, Standing
from relay.state.marks import Change


class StateError(Exception):
    """State cannot answer now (disk full, locked for too long). Nothing was granted; ask again later."""


class State(Protocol):
    """All coroutines but `close` raise StateError. Keys and holders are any text; times are ms. A holder asks one State;
    one that asks another (a new life of the same name) begins with `drop`."""

    @property
    def trouble(self) -> str:
        """Why it could not answer when last asked; "" while it can."""
        ...

    @property
    def sharers(self) -> int:
        """How many workers share it, those of other nodes too; 0 where nobody knows."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def now(self) -> int:
        """The clock by which limits are counted, in ms since the epoch; never ahead of it."""
        ...

    def latest(self) -> int:
        """The same, never behind it: what is granted for a time is used until this says that it is over."""
        ...

    async def take(self, key: str, rate: Rate, count: int, timezone: str = "UTC") -> int:
        """Take `count` permits of `key`, all or none. 0: granted; else in how many ms it may be asked again.

        Never more than rate.count are granted in any window, whoever asks and whatever crashes; more than that in one
        call never is. `timezone` is where a calendar day, week or month begins. A rate with another window starts anew.
        """
        ...

    async def granted(self, key: str, rate: Rate, timezone: str = "UTC") -> int:
        """How many permits of `key` count now; for people to look at."""
        ...

    async def acquire(self, key: str, limit: int, holder: str, ttl_ms: int) -> bool:
        """One more lease of `key` for `holder`, unless `limit` are held. It ends after the ttl.

        A holder may have several of one key; they end together, when the last one would.
        """
        ...

    async def renew(self, holder: str, ttl_ms: int) -> None:
        """All leases of `holder` live for another ttl."""
        ...

    async def release(self, key: str, holder: str) -> None:
        """Give one lease back; without effect where it has ended."""
        ...

    async def drop(self, holder: str) -> None:
        """Give back all that `holder` has: it starts anew, or ends."""
        ...

    async def pin(self, board: str, name: str, text: str) -> None:
        """Put a note on a board, for all to read; what was there under that name is replaced. It stays until `unpin`."""
        ...

    async def unpin(self, board: str, name: str) -> bool:
        """Take a note off. True for one asker alone; False where it is not, or no more, there."""
        ...

    async def pinned(self, board: str) -> dict[str, str]:
        """All notes on a board, by name. Never an empty board that has only lost its notes: then StateError."""
        ...

    # What people get (relay/room.py). All of one call is done together.

    async def reserve(self, asks: Sequence[Ask]) -> list[Room]:
        """Of each what is in its way; nothing: it has its place. Whoever asks, sends and places of a person's window never
        exceed a bound by mail that was refused for it."""
        ...

    async def consult(self, asks: Sequence[Ask]) -> list[tuple[dict[str, str], Room]]:
        """The same, with what is `told` of the person of each."""
        ...

    async def confirm(self, places: Sequence[tuple[bytes, str]], lease: int) -> None:
        """The mail of these places (person, token) is safe: they are held for `lease` ms from now. What is gone stays so."""
        ...

    async def settle(self, settled: Sequence[Settled], keep: int) -> None:
        """What became of places; sends are remembered for `keep` s at least."""
        ...

    async def standing(self, people: Sequence[bytes]) -> list[Standing]: ...

    async def recall(self, sends: Sequence[tuple[bytes, Sequence[Send]]]) -> None:
        """Sends of people that may have been lost: those that are not there are added."""
        ...

    async def sweep(self, after: bytes, keep: int) -> bytes:
        """Of a page of people behind `after`, forget what is older than `keep` s; where the next begins, b"": none is left."""
        ...

    # What is known of people (relay/person.py).

    async def tell(self, key: bytes, facts: Mapping[str, str | None]) -> None:
        """Of one person (relay/recipient.py: Keys): these facts, by name, are so from now on; None: no more. All or none."""
        ...

    async def told(self, keys: Sequence[bytes], *, left: bool = False) -> list[dict[str, str]]:
        """What is known of each of them, in one question; {} of most. Never {} of one whose facts were only lost: then
        StateError, unless whatever is `left` will do."""
        ...

    @property
    def forgot(self) -> str:
        """Why `told` has nothing to say until somebody says that it was `brought_back`; "" where it has."""
        ...

    async def brought_back(self) -> None: ...

    async def everyone(self, cursor: str, limit: int) -> tuple[list[tuple[bytes, dict[str, str]]], str]:
        """A page of all of whom something is known, with some `limit` of them, perhaps none, and the cursor of the next;
        "" is the first, and after the last. Who is told of meanwhile may be left out or come twice. Raises ValueError for a
        cursor that no page had."""
        ...

    async def mark(self, ttl_ms: int, changes: Sequence[Change]) -> list[bytes]:
        """Do all `changes` (relay/state/marks.py), each atomically, in one question. Of each what stood there before, b"" for
        nothing.

        `ttl_ms`: the longest that a mark of this kind stays, the same in all questions about a key. Where State lost its data
        they are gone: a mark may spare somebody a second copy, and nothing may rest on it.
        """
        ...
