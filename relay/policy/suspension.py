"""Mail that an operator has stopped: which, since when, until when. Asked at accept and before each attempt. Pure; `now` in ms.

A suspension holds what all its selectors fit, mail that waits and mail to come, until it is resumed or its time is over.
Transactional mail is held only by one that names its class (`--class transactional`, or a pattern that fits it), as a route
must (INTERFACE, routes.toml): whoever stops a brand, a site or everything in a hurry does not stop password resets with it
(DESIGN, invariant 5). Mail that is rerouted (Message.spared) is as safe.

The id of a suspension stands in the spool's row of each delivery that it holds, so that its end frees those and no others.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from relay.event import Facts, iso
from relay.message import Delivery, MailClass
from relay.times import duration
from relay.wildcard import AnyOf, any_of

BOARD = "suspensions"  # where State keeps them
OLDER = "older-than"  # "2h": accepted longer ago than that when it is looked at, so mail comes under it as it waits
SELECTORS = ("domain", "site", "stream", "credential", "brand", "campaign", "pool", "class", "recipient", OLDER)
MAX = 200  # in force at once: each recipient is held against all of them, at a microsecond or two a piece
_DOMAINS = ("domain", "site")
_UNLESS_NAMED = frozenset({MailClass.SERVICE, MailClass.MARKETING})
_TEXTS: dict[str, Callable[[Delivery], str]] = {
    "domain": lambda d: d.domain,
    "site": lambda d: d.site,
    "recipient": lambda d: d.recipient,
    "stream": lambda d: d.message.stream,
    "credential": lambda d: d.message.credential,
    "brand": lambda d: d.message.brand,
    "campaign": lambda d: d.message.campaign or "",
}

What = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Suspension:
    """`what`: the selectors as they were given; none means everything. `until` None: until it is resumed.

    id       more than 1, unique in the cluster     by, node   who did it, and where
    waiting  deliveries that waited there then          older      ms, of OLDER; None: of any age
    """

    id: int
    what: What
    since: int
    until: int | None = None
    reason: str = ""
    by: str = ""
    node: str = ""
    waiting: int = 0
    classes: frozenset[MailClass] = field(init=False, compare=False)
    older: int | None = field(init=False, compare=False)
    _texts: tuple[tuple[Callable[[Delivery], str], AnyOf], ...] = field(init=False, compare=False, repr=False)
    _pools: AnyOf | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raises PatternError where a selector is longer than can be asked, ValueError where OLDER is no duration."""
        compiled = {key: any_of(values, domains=key in _DOMAINS) for key, values in self.what.items()}
        compiled.pop(OLDER, None)
        named = compiled.pop("class", None)
        classes = _UNLESS_NAMED if named is None else frozenset(c for c in MailClass if c.label in named)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "older", _oldest(self.what[OLDER]) if OLDER in self.what else None)
        object.__setattr__(self, "_pools", compiled.pop("pool", None))
        object.__setattr__(self, "_texts", tuple((_TEXTS[key], wanted) for key, wanted in compiled.items()))

    def covers(self, delivery: Delivery, pool_of: Callable[[Delivery], str], now: int) -> bool:
        """Is it this one's to hold? `pool_of`: the name of the pool that would carry it now."""
        message = delivery.message
        if (MailClass.TRANSACTIONAL if message.spared else message.mail_class) not in self.classes:
            return False
        if any(text(delivery) not in wanted for text, wanted in self._texts):
            return False
        if self.older is not None and now - message.accepted_at <= self.older:
            return False
        return self._pools is None or pool_of(delivery) in self._pools

    def over(self, now: int) -> bool:
        return self.until is not None and now >= self.until

    @property
    def said(self) -> str:
        """stream win-back, site google"""
        return ", ".join(f"{key} {' or '.join(values)}" for key, values in self.what.items()) or "all"

    @property
    def undo(self) -> str:
        """The command that ends it."""
        words = [f"--{key} {shlex.quote(value)}" for key, values in self.what.items() for value in values]
        return f"postlane resume {' '.join(words) or '--all'}"

    @property
    def facts(self) -> Facts:
        """Of the event of a delivery that it holds."""
        detail = f"suspended: {self.said}{f' ({self.reason})' if self.reason else ''}"
        return {"reason": "held", "detail": detail, "until": iso(self.until) if self.until is not None else None}

    def shown(self) -> dict[str, Any]:
        """For commands and pages, and of its own events."""
        return {
            "id": self.id,
            "what": shown_what(self.what),
            "said": self.said,
            "reason": self.reason,
            "by": self.by,
            "node": self.node,
            "since": iso(self.since),
            "until": iso(self.until) if self.until is not None else None,
            "undo": self.undo,
        }

    def dump(self) -> str:
        names = ("id", "what", "since", "until", "reason", "by", "node", "waiting")
        return orjson.dumps({name: getattr(self, name) for name in names}).decode()

    @classmethod
    def load(cls, text: str) -> "Suspension":
        facts = orjson.loads(text)
        return cls(**{**facts, "what": {key: tuple(values) for key, values in facts["what"].items()}})


def _oldest(spans: Sequence[str]) -> int:
    """In ms; of several one is enough, as of every selector."""
    found = [duration(span) for span in spans]
    if None in found or not found:
        raise ValueError(f"{OLDER} {' '.join(spans)} is no duration, such as 90s, 15m, 2h, 7d")
    return min(one for one in found if one is not None)


def shown_what(what: What) -> dict[str, str | list[str]]:
    """A selector given once as its value alone."""
    return {key: values[0] if len(values) == 1 else list(values) for key, values in what.items()}


def given(selectors: Mapping[str, str | Sequence[str]]) -> What:
    """Selectors of a command, in the order of SELECTORS."""
    found = {key: selectors[key] for key in SELECTORS if key in selectors}
    return {key: (values,) if isinstance(values, str) else tuple(values) for key, values in found.items()}


def meant(suspensions: Iterable[Suspension], what: What) -> list[Suspension]:
    """Those that `postlane resume` ends: all that is asked for stands among their own selectors. Nothing asked: all.

    So `--stream news` ends those of stream news, at one site only too, and none that hold that stream among others.
    """
    asked = {key: any_of(values, domains=key in _DOMAINS) for key, values in what.items()}
    return [
        one
        for one in suspensions
        if all(key in one.what and all(value in wanted for value in one.what[key]) for key, wanted in asked.items())
    ]


class Suspensions:
    """Those in force, as one worker knows them. `known` is False until State has told them for the first time: only
    transactional mail goes then (DESIGN, invariant 6)."""

    def __init__(self, pool_of: Callable[[Delivery], str]) -> None:
        self.known = False
        self._pool_of = pool_of
        self._all: tuple[Suspension, ...] = ()

    def __repr__(self) -> str:
        return f"<Suspensions {', '.join(one.said for one in self._all) or 'none'}{'' if self.known else ', unknown'}>"

    def __iter__(self) -> Iterator[Suspension]:
        return iter(self._all)

    def put(self, suspensions: Iterable[Suspension]) -> None:
        self._all = tuple(sorted(suspensions, key=lambda one: one.id))
        self.known = True

    def find(self, delivery: Delivery, now: int) -> Suspension | None:
        """The one that holds it: the oldest where there are several."""
        for one in self._all:
            if one.covers(delivery, self._pool_of, now):
                return one
        return None
