"""The guard against apps that run away: the same transactional message to the same person, again and again. Pure; `now` in ms.

Nearly no message has one like it before it within the window, and to find that out must cost next to nothing. So a worker only
remembers, in a few bits, what it has seen (Seen): by the outline of a message, which is there without a look at its text, and
its recipient. Where it may have seen one, the template is looked at (evidence/skeleton.py), and State counts it, exactly. What
each worker sees first is never counted: of N that may go N, with several workers one more for each, and a restart forgets. A
guard need not be exact; an app that runs away sends hundreds.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.identity import Rate
from relay.message import MailClass, Message

BITS = 1 << 25  # of one window: 4 MB; a fiftieth of what is new among 4 million is then counted in vain
MOST = 4_000_000  # of one window; beyond that it begins anew, which one that is so busy does not remember for as long
QUIET = 3_600_000  # ms without another one, after which its alert ends
MAX_STANDING = 1_000  # templates told of at a time; of more nobody reads


@dataclass(frozen=True, slots=True)
class Guard:
    """`rate` of one message to one person; `exempt` streams; `by_itself`: what is held goes when the rate lets it, else when a
    person lets it."""

    rate: Rate
    exempt: frozenset[str] = frozenset()
    by_itself: bool = True

    def concerns(self, message: Message) -> bool:
        return message.mail_class is MailClass.TRANSACTIONAL and message.stream not in self.exempt

    @property
    def window(self) -> int:
        """ms; sliding, of a calendar day its longest."""
        return self.rate.window * 1000

    @property
    def counted(self) -> int:
        """How many State lets go: all but the first, of which it is not told."""
        return max(1, self.rate.count - 1)


class Seen:
    """What came in this window and the one before: maybe, or surely not."""

    def __init__(self, bits: int = BITS) -> None:
        self._bits = bits
        self._now = self._before = bytearray()
        self._number = self._since = 0

    def __repr__(self) -> str:
        return f"<Seen {self._number}>"

    def again(self, key: int, now: int, window: int) -> bool:
        """Was `key`, 64 bits of a hash, here within the last `window` ms, or longer ago? It is now."""
        if not self._now or now - self._since >= window or self._number >= MOST:
            self._turn(now, window)
        mine, before, seen, seen_before = self._now, self._before, True, True
        for shift in (0, 21, 42):
            at = (key >> shift) % self._bits
            octet, bit = at >> 3, 1 << (at & 7)
            if not mine[octet] & bit:
                seen = False
                mine[octet] |= bit
            if not before[octet] & bit:
                seen_before = False
        self._number += not seen
        return seen or seen_before

    def _turn(self, now: int, window: int) -> None:
        old = now - self._since >= 2 * window
        self._before = bytearray(self._bits >> 3) if old or not self._now else self._now
        self._now = bytearray(self._bits >> 3)
        self._number, self._since = 0, now


@dataclass(slots=True)
class Runaway:
    """One template of which too many came: `held` since `since`, the last at `last` (ms), to `recipient`."""

    credential: str
    stream: str
    skeleton: str
    limit: str
    since: int
    held: int = 0
    last: int = 0
    recipient: str = ""
    told: bool = False

    def __str__(self) -> str:
        return f"{self.credential} to {self.recipient}, more than {self.limit} (stream {self.stream})"


class Runaways:
    """What was held of late, for people: one for each template of a stream, until none has come for an hour."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()  # by credential, since the worker began
        self._standing: dict[tuple[str, str, str], Runaway] = {}

    def __repr__(self) -> str:
        return f"<Runaways {', '.join(f'{stream}/{skeleton}' for _, stream, skeleton in self._standing) or 'none'}>"

    def count(self, message: Message, skeleton: str, limit: str, held: Sequence[str], now: int) -> None:
        """One message that was held for these recipients."""
        self.totals[message.credential] += len(held)
        key = message.credential, message.stream, skeleton
        one = self._standing.get(key)
        if one is None:
            if len(self._standing) >= MAX_STANDING:
                return
            one = self._standing[key] = Runaway(*key, limit, now)
        one.held += len(held)
        one.last, one.limit, one.recipient = now, limit, held[-1]

    def news(self, now: int) -> Iterator[tuple[str, Runaway]]:
        """("firing" or "resolved", which) of what began and ended since it was asked last."""
        for key, one in list(self._standing.items()):
            if not one.told:
                one.told = True
                yield "firing", one
            if now - one.last >= QUIET:
                del self._standing[key]
                yield "resolved", one

    def standing(self) -> list[Runaway]:
        return list(self._standing.values())
