"""Message and event ids: 16 characters of Crockford base32 in lower case, unique in a cluster, sortable by time.

10 characters of milliseconds (as a ULID), 4 that stand for the maker (20 bits of a hash of node and shard), 2 of a
sequence within the millisecond. One shard never uses a millisecond twice; when it makes over 1,024 ids in one, it takes
the next. Twenty workers share a maker's 20 bits by chance with odds of 1 in 5,000, and then still need the same
millisecond and place in it.
"""

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2s

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_AS_PYTHON = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # the digits int() knows for base 32
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def _encode(number: int, length: int) -> str:
    out = ""
    for _ in range(length // 2):
        out = _PAIRS[number & 1023] + out
        number >>= 10
    return out


class Ids:
    """Makes ids for one shard of one node. `clock` gives milliseconds; a clock set back is not followed."""

    def __init__(self, node: str, shard: int, clock: Callable[[], int]) -> None:
        digest = blake2s(f"{node}/{shard}".encode()).digest()
        self.maker = _encode(int.from_bytes(digest[:3], "big") & 0xFFFFF, 4)
        self._clock = clock
        self._last = 0
        self._sequence = 0
        self._prefix = ""

    def next(self) -> str:
        now = self._clock()
        if now > self._last:
            self._last, self._sequence = now, 0
            self._prefix = _encode(now, 10) + self.maker
        elif self._sequence == 1023:
            self._last, self._sequence = self._last + 1, 0
            self._prefix = _encode(self._last, 10) + self.maker
        else:
            self._sequence += 1
        return self._prefix + _PAIRS[self._sequence]


def time_of(identifier: str) -> int | None:
    """When an id was made, in ms; None for what is no id."""
    if len(identifier) != 16 or not set(identifier) <= set(_ALPHABET):
        return None
    return int.from_bytes(pack(identifier), "big") >> 30


def first_at(ms: int) -> str:
    """Before all ids that are made at this time or later."""
    return _encode(max(0, ms), 10)


def maker_of(identifier: str) -> str:
    """The four characters that stand for the node and shard that made it."""
    return identifier[10:14]


@lru_cache(maxsize=1024)  # a message's is asked for three times until it is queued
def pack(identifier: str) -> bytes:
    """The 80 bits of an id as 10 octets."""
    return int(identifier.translate(_AS_PYTHON), 32).to_bytes(10, "big")


def unpack(octets: bytes) -> str:
    """The id whose 80 bits these 10 octets are."""
    return _encode(int.from_bytes(octets, "big"), 16)
