"""How much mail one person gets: which caps (caps.toml) hold for a message, and what follows where there is no room. Pure.

Every cap that has the brand and blocks the class is asked; all must have room. A person's own wish ("at most one a week") is one
more, of the brand's marketing. Transactional mail is neither counted nor held; rerouted mail (Message.spared) is counted as
what it is carried as, and never held.

Over a cap, mail is dropped or refused, or it waits: until so many sends count no more that there is room. Where it is mail under
way that uses a cap up, nobody knows how that ends, so it is looked at again after half as long as it has waited by then. It
waits until its end; mail without one, for as long as the longest window it waits for, and is then withheld.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from relay.event import iso
from relay.identity import Rate
from relay.message import MailClass, Message
from relay.person import Person
from relay.policy.relevance import Postponed, Withheld, end_of, until_end
from relay.policy.streams import Stream
from relay.room import Bound, Full, Room, mark_of

SOONEST, LATEST = 1_000, 900_000  # ms until mail is looked at again that waits for mail under way
TURN = 15_000  # ms at most where only others go first: they come now, or are given up soon (state/places.py, GRACE)
MONTH = 31 * 86_400  # s: the longest window a person's wish has
SPARE = 2 * 86_400  # s sends are kept beyond that: a month has an hour more where clocks change, and nodes differ

# What a person may choose; "" is each mail.
WISHES: Mapping[str, Rate] = {
    "1/day": Rate(1, 90_000, "day", "1/day"),
    "1/week": Rate(1, 608_400, "week", "1/week"),
    "1/month": Rate(1, 2_682_000, "month", "1/month"),
}


@dataclass(frozen=True, slots=True)
class Cap:
    """`over`: postpone | drop | reject. `counts`: what uses it up; `blocks`: what it holds."""

    name: str
    brands: frozenset[str]
    counts: frozenset[MailClass]
    blocks: frozenset[MailClass]
    limits: tuple[Rate, ...]
    over: str

    @property
    def marks(self) -> frozenset[int]:
        return frozenset(mark_of(brand, one.label) for brand in self.brands for one in self.counts)


class Terms(NamedTuple):
    """What State is asked for one message. `caps`: whose each bound is, None: the person's own wish. `waits`: would mail without
    room come again?"""

    mark: int
    bounds: tuple[Bound, ...]
    caps: tuple[Cap | None, ...]
    waits: bool


class Caps:
    """All of caps.toml. `timezones`: of each brand."""

    def __init__(self, caps: Sequence[Cap] = (), timezones: Mapping[str, str] | None = None) -> None:
        self.caps = tuple(caps)
        self._timezones = timezones or {}
        self._known: dict[tuple[str, MailClass, bool, str], Terms | None] = {}

    def __repr__(self) -> str:
        return f"<Caps {', '.join(cap.name for cap in self.caps)}>"

    @cached_property
    def keep(self) -> int:
        """For how long (s) sends are remembered."""
        return max([MONTH, *(limit.window for cap in self.caps for limit in cap.limits)]) + SPARE

    @cached_property
    def names(self) -> Mapping[int, str]:
        """What marks stand for: "arava marketing"."""
        pairs = [(brand, one.label) for brand in self._timezones for one in MailClass]
        return {mark_of(brand, label): f"{brand} {label}" for brand, label in pairs}

    def terms(self, message: Message, at_most: str = "") -> Terms | None:
        """None: it is neither counted nor held. `at_most`: as the person wished."""
        key = message.brand, message.mail_class, message.spared, at_most
        try:
            return self._known[key]
        except KeyError:
            terms = self._known[key] = self._terms(*key)
            return terms

    def _terms(self, brand: str, mail_class: MailClass, spared: bool, at_most: str) -> Terms | None:
        if mail_class is MailClass.TRANSACTIONAL or brand not in self._timezones:
            return None
        mine = [cap for cap in self.caps if brand in cap.brands]
        timezone, mark = self._timezones[brand], mark_of(brand, mail_class.label)
        holding = [cap for cap in mine if mail_class in cap.blocks and not spared]
        bounds = [Bound(limit, timezone, cap.marks) for cap in holding for limit in cap.limits]
        caps: list[Cap | None] = [cap for cap in holding for _ in cap.limits]
        wished = WISHES.get(at_most) if mail_class is MailClass.MARKETING else None
        if wished is not None and not spared:
            bounds.append(Bound(wished, timezone, frozenset({mark})))
            caps.append(None)
        counted = wished is not None or any(mail_class in cap.counts for cap in mine)
        waits = all(cap is None or cap.over == "postpone" for cap in caps)
        return Terms(mark, tuple(bounds), tuple(caps), waits) if counted or bounds else None

    def of(self, brand: str) -> tuple[str, frozenset[Cap]]:
        """All that says how much mail of this brand a person gets, and by which days: equal where nothing differs."""
        return self._timezones.get(brand, ""), frozenset(cap for cap in self.caps if brand in cap.brands)

    def used(self, marks: Iterable[tuple[int, int]]) -> str:
        """ "arava marketing 2, arava service 1\""""
        return ", ".join(f"{self.names.get(mark, 'another brand')} {number}" for mark, number in marks)

    def timezone(self, cap: Cap) -> str:
        """By which a cap is looked at: of brands in several, the first one's. Mail is counted by its own brand's."""
        return next((self._timezones[brand] for brand in sorted(cap.brands) if brand in self._timezones), "UTC")

    def judge(
        self, terms: Terms, room: Room, message: Message, stream: Stream | None, now: int
    ) -> Withheld | Postponed | None:
        """What follows from State's answer to `terms`; None: it has its place."""
        if not room:
            return None
        last = decisive(terms, room)
        if _over(terms, last) != "postpone":
            return Withheld("capped", self._detail(terms, last))
        reason = "preference" if all(terms.caps[full.bound] is None for full in room) else "capped"
        detail, begin = self._detail(terms, last), begin_of(message)
        end = end_of(message, stream)
        patience = begin + max(bound.rate.window for bound in terms.bounds) * 1000
        if end is None and now >= patience:
            return Withheld(reason, f"{detail}; waited for {(now - begin) // 86_400_000} days")
        most = LATEST if _is_full(terms, last) else TURN
        opens = now + (last.wait or min(max((now - begin) // 2, SOONEST), most))
        until = until_end(opens, message, stream) if end is not None else min(opens, patience)
        if until < opens and end is not None:
            detail += f"; room again {iso(opens)}, when it will be stale"
        return Postponed(until, reason, detail)

    def _detail(self, terms: Terms, full: Full) -> str:
        cap, rate = terms.caps[full.bound], terms.bounds[full.bound].rate
        whose = f"cap {cap.name}: {rate.text}" if cap is not None else f"the recipient's own wish: at most {rate.text}"
        if not _is_full(terms, full):
            return f"{whose}: others that wait go first"
        return f"{whose}, used up by {self.used(full.used)}" if full.used else whose


def decisive(terms: Terms, room: Room) -> Full:
    """What of all that is in the way says what follows: what ends it, else what it waits for the longest. There is some."""
    over = next((full for full in room if _over(terms, full) != "postpone"), None)
    return over or max(room, key=lambda full: full.wait)


def _is_full(terms: Terms, full: Full) -> bool:
    """Else there is room, and others that wait go first."""
    return sum(number for _, number in full.used) >= terms.bounds[full.bound].rate.count


def _over(terms: Terms, full: Full) -> str:
    cap = terms.caps[full.bound]
    return cap.over if cap is not None else "postpone"


def refused(terms: Terms, room: Room) -> bool:
    """Is it a cap's word that the app shall hear of it?"""
    return any(_over(terms, full) == "reject" for full in room)


def wished_of(person: Person, message: Message) -> str:
    """What the person wants at most of mail like this one, a key of WISHES; "" each mail."""
    wish = person.wishes.get(message.brand)
    if wish is None or message.mail_class is not MailClass.MARKETING or wish.at_most not in WISHES:
        return ""
    return wish.at_most


def begin_of(message: Message) -> int:
    """Since when it waits."""
    return max(message.accepted_at, message.send_at or 0)
