"""Vocabulary of frequency caps: what is asked of State about one person's room for one more mail, and its answer. No I/O.

A *send* is a mail that arrived: when (s since the epoch), and its mark. A *mark* is a number below 2**24 that says of which
brand and class it was, so that other files than those of then still count it right.
A *place* is held by mail that is under way. It counts in every window until it is settled: as a send at the moment of the
attempt that delivered it, or given up. So sends and places of a window together never exceed a limit, whenever a window
ends, and it does not matter for how long mail is under way.
"""

from hashlib import blake2b
from typing import NamedTuple

from relay.identity import Rate

Send = tuple[int, int]  # when, mark


class Bound(NamedTuple):
    """At most `rate` of mail that has one of `marks`; calendar days are those of `timezone`."""

    rate: Rate
    timezone: str
    marks: frozenset[int]


class Ask(NamedTuple):
    """One recipient of one message wants a place.

    person    the key of a person (16 octets)      token     of this delivery, the same whenever it asks
    bounds    none of them may be exceeded; without any it is counted, and never refused
    priority  and since (ms): who waits is let in by the higher priority, then by the earlier time
    lease     ms it holds the place without being heard of again
    firm      it may be sent from now on: what is not heard of again then has been sent; else it is given up
    waits     where there is no room it comes again, so that others do not go before it
    """

    person: bytes
    token: str
    mark: int
    bounds: tuple[Bound, ...]
    priority: int
    since: int
    lease: int
    firm: bool
    waits: bool


class Full(NamedTuple):
    """A bound in the way: its number in the Ask. `wait`: ms until sends that use it up count no more; 0: they alone do not use
    it up, mail under way does, or mail that goes before. `used`: sends and mail under way, by mark."""

    bound: int
    wait: int
    used: tuple[tuple[int, int], ...]


Room = tuple[Full, ...]  # what is in the way; nothing: it has its place


class Settled(NamedTuple):
    """What became of a place. `at` (s): it arrived by an attempt of then; 0: it did not. Without effect where there is none."""

    person: bytes
    token: str
    at: int


class Standing(NamedTuple):
    """One person: sends that are remembered, the older first; and the mark of each mail that is under way."""

    sends: tuple[Send, ...]
    under_way: tuple[int, ...]


def mark_of(brand: str, mail_class: str) -> int:
    """The same on every node, for ever. Two of a hundred brands have one mark with a chance of one in a thousand: the files are
    checked for it (config/caps.py)."""
    return int.from_bytes(blake2b(f"{brand}\n{mail_class}".encode(), digest_size=3).digest())
