"""What is known of one person, beside his key: what stops mail to him, what he chose, and when he last cared. Pure.

State keeps it as facts, each a short text under a name:

    b:STOP|BRAND|REASON   one block                          w:BRAND   what he chose on a brand's preference page
    e:BRAND               when he last engaged with it       u:BRAND   its marketing that he has not answered since
    address               sealed; gone where he asked to be forgotten

The texts are JSON lists without names, since fifty million of them take room; a newer Postlane may append to them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

ADDRESS = "address"
AT_MOST = ("", "1/day", "1/week", "1/month")  # the spool keeps their numbers

# Reasons of blocks that Postlane gives itself, beside the categories of failures; an operator's own are any slug.
UNSUBSCRIBED, COMPLAINT, MANUAL, IMPORTED, ERASED = "unsubscribed", "complaint", "manual", "imported", "erased"
NOBODY_THERE = ("bad-mailbox", "bad-domain")  # of failures the category; of these alone a second word may be waited for

FORGET = "recipient --forget"  # the action of an `audit` event, which tells what goes on to be stopped, by a hash alone
PENDING = "pending:"  # how the stop begins of a suppression that waits for a second word, and stops nothing meanwhile
PENDING_FOR = 30 * 86_400_000  # ms it waits so


@dataclass(frozen=True, slots=True)
class Block:
    """One suppression.

    stop    "all" | "marketing" | "topic:T" | "stream:S"; "pending:" before it: nothing yet     brand   "": of every brand
    reason  a slug                                           source  who or what said so: one-click, cli, dsn, import, ...
    since, until   ms; until None: for good                  note    an operator's words
    site, stream   of the mail that led to it, "" where there was none
    span    ms that a pending one stops mail for once it is confirmed; None: for good
    A person has one of each (stop, brand, reason).
    """

    stop: str
    brand: str
    reason: str
    source: str = ""
    since: int = 0
    until: int | None = None
    note: str = ""
    site: str = ""
    stream: str = ""
    span: int | None = None

    @property
    def name(self) -> str:
        """Of its fact."""
        return f"b:{self.stop}|{self.brand}|{self.reason}"

    def dump(self) -> str:
        return _dump(self.since, self.until, self.source, self.site, self.stream, self.note, self.span)

    @classmethod
    def load(cls, name: str, text: str) -> "Block":
        """Raises ValueError."""
        parts = name[2:].split("|")
        if len(parts) != 3:
            raise ValueError(f"{name} names no block")
        stop, brand, reason = parts
        since, until, source, site, stream, note, span = _load(text, 0, None, "", "", "", "", None)
        return cls(stop, brand, reason, source, since, until, note, site, stream, span)

    def over(self, now: int) -> bool:
        return self.until is not None and self.until <= now

    @property
    def pending(self) -> bool:
        return self.stop.startswith(PENDING)

    def doubted(self, now: int) -> "Block":
        """The same, waiting for a second word from `now` on."""
        span = self.until - self.since if self.until is not None else None
        return replace(self, stop=f"{PENDING}{self.stop}", until=now + PENDING_FOR, span=span)

    def confirmed(self, now: int) -> "Block":
        """Of a pending one: it stops mail from `now` on, as long as it was to."""
        until = now + self.span if self.span is not None else None
        return replace(self, stop=self.stop[len(PENDING) :], until=until, span=None)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person chose. `topics_off`: those not wanted; at_most: "" (each mail), "1/day", "1/week" or "1/month";
    `paused_until`, `since`: ms."""

    topics_off: frozenset[str] = frozenset()
    at_most: str = ""
    paused_until: int | None = None
    since: int = 0
    source: str = ""

    def dump(self) -> str:
        return _dump(sorted(self.topics_off), self.at_most, self.paused_until, self.since, self.source)

    @classmethod
    def load(cls, text: str) -> "Wish":
        """Raises ValueError."""
        off, at_most, paused_until, since, source = _load(text, [], "", None, 0, "")
        return cls(frozenset(off), at_most, paused_until, since, source)


@dataclass(frozen=True, slots=True)
class Engaged:
    """`last`: the day (since the epoch, UTC) he last engaged with a brand; None: he is known never to have. `told`: the day that
    was said of him then. `unanswered`: the brand's marketing that was delivered since, the last of it at `latest` (ms).

    The latter two are a fact of their own, because others tell it: the desk knows of answers, the outbox of mail.
    """

    last: int | None = None
    told: int = 0
    unanswered: int = 0
    latest: int = 0

    @property
    def since(self) -> int:
        """The day from which his silence counts."""
        return self.told if self.last is None else self.last

    def dump(self) -> str:
        return _dump(self.last, self.told or None)

    def dump_unanswered(self) -> str:
        """With the day it counts from: mail before an answer is no longer unanswered."""
        return _dump(self.unanswered, self.latest, self.since)

    @classmethod
    def load(cls, text: str, unanswered: str | None = None) -> "Engaged":
        """Raises ValueError."""
        last, told = _load(text, None, None)
        one = cls(last, told or 0)
        number, latest, since = _load(unanswered, 0, 0, 0) if unanswered else (0, 0, None)
        return cls(one.last, one.told, number, latest) if since == one.since else one


@dataclass(frozen=True, slots=True)
class Person:
    """All of it; `wishes` and `engaged` by brand. `sealed`: the address, "" where it is not kept. `refusals`: names of the facts
    that count on which days he refused whose mail (relay/learning.py)."""

    blocks: tuple[Block, ...] = ()
    wishes: Mapping[str, Wish] = field(default_factory=dict)
    engaged: Mapping[str, Engaged] = field(default_factory=dict)
    sealed: str = ""
    refusals: tuple[str, ...] = ()

    @property
    def pending_since(self) -> int:
        """Since when something waits for a second word, the latest of it; 0: nothing does."""
        return max((block.since for block in self.blocks if block.pending), default=0)

    @property
    def erased(self) -> bool:
        """He asked to be forgotten."""
        return any(block.reason == ERASED for block in self.blocks)


REFUSED = "f:recipient-refused"  # begins what counts them; then what they stop, if not all, and of which brand
NOBODY = Person()  # of whom nothing is known: most people


def person_of(facts: Mapping[str, str]) -> Person:
    """As State told it. Raises ValueError for a fact that cannot be read: who stops mail must never be passed over."""
    if not facts:
        return NOBODY
    return Person(
        tuple(Block.load(name, text) for name, text in _named(facts, "b:")),
        {name[2:]: Wish.load(text) for name, text in _named(facts, "w:")},
        {name[2:]: Engaged.load(text, facts.get(f"u:{name[2:]}")) for name, text in _named(facts, "e:")},
        facts.get(ADDRESS, ""),
        tuple(name for name in facts if name.startswith(REFUSED)),
    )


def _named(facts: Mapping[str, str], begin: str) -> Iterator[tuple[str, str]]:
    return ((name, text) for name, text in facts.items() if name.startswith(begin))


def _dump(*values: object) -> str:
    """Without what is empty at its end."""
    kept = list(values)
    while kept and kept[-1] in ("", None):
        kept.pop()
    return orjson.dumps(kept).decode()


def _load(text: str, *defaults: object) -> list[Any]:
    """As many values as there are defaults."""
    found = orjson.loads(text)
    if not isinstance(found, list):
        raise ValueError(f"{text} is no list")
    return [*found[: len(defaults)], *defaults[len(found) :]]
