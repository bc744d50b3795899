"""A rate of some seconds, shared in parts: the arithmetic of one worker. Pure; `now` is in seconds of a clock that only goes on.

To ask State for each message of "100/second" would cost more than to carry it, and a lease of permits ends with its slot, a
hundredth of a second later. So such a rate is cut into parts, each so many messages in any window, and the parts are what
workers lease: for as long as they use them, renewed with all else they hold. Within its parts a worker counts by itself, and
since each part is one worker's at a time, no window ever holds more than the rate.

A message counts from when it gets its permit until a window after it left (its transaction began): so it is also where it
arrives, however long it waited for a connection in between. What the way there takes more at one time than at another is
allowed for by a window a twentieth longer. A part is given up a window after it was last used.
"""

from collections import deque

from relay.identity import Rate

LONGEST = 10  # seconds; of longer windows State counts each permit, which then are few, or leased by dozens
FINEST, COARSEST = 20, 50  # parts: two workers or twenty divide them well; so many leases a busy site costs at most
PAD = 1.05
_NONE: deque[float] = deque(
    maxlen=0
)  # of all flows that nothing has left by: an empty deque takes 600 bytes, and sites are many


def short(rate: Rate) -> bool:
    """Is it one that is shared in parts?"""
    return not rate.calendar and rate.window <= LONGEST


def parts_of(rate: Rate) -> tuple[int, int]:
    """(how many parts, messages of each): of 20 to 50 parts those that waste the least; 1 each where there are fewer."""
    if rate.count <= COARSEST:
        return rate.count, 1
    parts = max(range(FINEST, COARSEST + 1), key=lambda number: (rate.count // number * number, -number))
    return parts, rate.count // parts


class Flow:
    """What this worker sends of one rate.

    parts   those it holds, of `whole`; each is `size` messages a window    used   when it was last asked
    extra   of its parts, those that only urgent messages may use: they are of the reserved ones
    refused_until, empty_until   there were no more to be had: for all; for urgent ones, of the reserved ones either
    """

    __slots__ = (
        "_departed",
        "_flying",
        "empty_until",
        "extra",
        "parts",
        "peak",
        "rate",
        "refused_until",
        "size",
        "used",
        "whole",
        "window",
    )

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self.whole, self.size = parts_of(rate)
        self.window = rate.window * PAD
        self.parts = 0
        self.extra = 0
        self.peak = 0
        self.used = now
        self.refused_until = 0.0
        self.empty_until = 0.0
        self._flying = 0
        self._departed = _NONE

    def __repr__(self) -> str:
        return f"<Flow {self.rate.text}: {self.parts} of {self.whole} parts, {self._flying} under way>"

    def take(self, now: float, most: int | None = None) -> bool:
        """One message, where its parts, or only `most` of them, have room for it."""
        self.used = now
        counting = self.counting(now)
        if counting >= (self.parts if most is None else most) * self.size:
            return False
        self._flying += 1
        if counting >= self.peak:
            self.peak = counting + 1
        return True

    def kept(self, reserved: int, sharers: int) -> int:
        """How many parts are kept for urgent messages, where so many messages of a window are; one is left to each worker."""
        return max(0, min(-(-reserved // self.size), self.whole - max(1, sharers)))

    def drop(self, number: int) -> None:
        """So many parts are not its own any more: the reserved ones first."""
        self.parts -= number
        self.extra = max(0, self.extra - number)

    def spare(self, now: float) -> int:
        """How many parts nobody needed since this was last asked; one is kept."""
        need, self.peak = -(-self.peak // self.size), self.counting(now)
        if not self._departed:
            self._departed = _NONE
        return max(0, self.parts - max(1, need))

    def counting(self, now: float) -> int:
        """Messages that count against its parts."""
        departed, gone = self._departed, now - self.window
        while departed and departed[0] <= gone:
            departed.popleft()
        return self._flying + len(departed)

    def depart(self, now: float) -> None:
        """One that had a permit leaves."""
        self._flying -= 1
        if self._departed is _NONE:
            self._departed = deque()
        self._departed.append(now)

    def give_back(self) -> None:
        """One that had a permit stays."""
        self._flying -= 1

    def wait(self, now: float) -> float:
        """Seconds until there may be room, where there is none; a twentieth of a window where that is another's to say."""
        grain = self.window / 20
        if not self.parts:
            return max(grain, self.refused_until - now)
        if not self._departed or self._flying >= self.parts * self.size:
            return grain
        return max(self._departed[0] + self.window - now, 0.001)

    def inherit(self, other: "Flow") -> None:
        """`other` was the same under an old rate: what it sent still counts."""
        self._flying, self._departed = other._flying, other._departed

    def full(self, now: float) -> bool:
        return self.counting(now) >= self.parts * self.size
