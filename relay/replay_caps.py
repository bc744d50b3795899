"""What recorded mail would meet in other caps: rows of events, put together person by person, and lived again under both files.

    accepted (relay/replay.py) ─┐
    how it ended, what it waited for ─┤─▶ rows in heaps on disk, by person ─▶ relive() under both ─▶ what differs, counted
    what people got before ─┘

Exact for what was accepted since then, as far as events reach back; older mail is as it was recorded, counted and under way.
Memory holds one heap at a time, a 256th of all people: mail of ten million recipients takes some 50 octets each on disk.
"""

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from relay.fate import Files
from relay.masking import key_in
from relay.message import MailClass, Message
from relay.policy.caps import WISHES, Caps
from relay.policy.recorded import Past
from relay.replay import EXAMPLES, Answer
from relay.replay_person import NOT_ASKED, POSTPONED, WENT, End, Life, Older, Under, relive
from relay.room import Send, mark_of
from relay.times import moment

# Of the events that are read.
COLUMNS = ("type", "time", "id", "rcpt", "recipient", "brand", "class", "reason", "until", "detail")
TYPES = ("delivered", "bounced", "withheld", "postponed")

_HEAPS = 256
_FLUSH = 1 << 16  # octets of one heap that are kept back: 16 MB of all
_ROW = struct.Struct("<Q16sHqqIBb")
_NO_LIMIT = 1 << 62
_SAME = 60_000  # ms: what goes so much later goes at the same time, to people
_WISHES = tuple(WISHES)
_CLASSES = {one.label: one for one in MailClass}

Rows = Iterable[tuple[Any, ...]]  # as COLUMNS; times in ms


class _Is(IntEnum):
    """Kinds of rows; what happens in one ms happens in this order."""

    SENT = 0  # before
    LIFE = 1  # accepted; `until`: when its turn in a quota came
    SEND_AT = 2
    VALID_UNTIL = 3
    CAPPED = 4  # postponed by a cap
    WISH = 5  # the same by what the person wished; `priority`: which of WISHES
    PAUSED = 6  # postponed for another reason
    DELIVERED = 7
    BOUNCED = 8
    OVER_CAP = 9  # withheld by a cap
    WITHHELD = 10


_POSTPONED = {"capped": _Is.CAPPED, "preference": _Is.WISH}
_ENDS = (_Is.DELIVERED, _Is.BOUNCED, _Is.OVER_CAP, _Is.WITHHELD)


class Facts(NamedTuple):
    """What caps look at, of many mails alike. `spared`: it is rerouted."""

    brand: str
    mail_class: str
    stream: str
    spared: bool


_NOBODY = Facts("", "", "", spared=False)


class Named(NamedTuple):
    """The same under the files in force and under those on disk; None: these refuse it."""

    before: Facts | None
    after: Facts | None


class _Row(NamedTuple):
    """`at`, `until` in ms, 0: none; `named`: number of a Named."""

    person: int
    id: bytes
    rcpt: int
    at: int
    until: int
    named: int
    kind: int
    priority: int


@dataclass(slots=True)
class Shift:
    """Mail that would end otherwise. `cap`: the name of what is in its way, then or now. `was`, `will`: how (replay_person.py);
    `later`: where it is postponed both times, 1: for longer, -1: for less long."""

    cap: str
    mail_class: str
    was: str
    will: str
    later: int = 0
    recipients: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Effect:
    """What the caps of both files do to what was recorded.

    asked     recipients of mail that they were asked for, by brand and class
    shifts    the most frequent first
    """

    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    shifts: list[Shift] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Recipients."""
        return sum(shift.recipients for shift in self.shifts)


class CapReplay:
    """`since`, `now` in ms; `folder`: an empty one, for the rows; `key_of`: the key of the person behind an address."""

    def __init__(
        self, before: Files, after: Files, since: int, now: int, folder: Path, key_of: Callable[[str], bytes]
    ) -> None:
        self.before, self.after = before, after
        self._key_of = key_of
        self._since, self._now = since, now
        self._moved: set[str] = set()
        self._named: dict[Named, int] = {}
        self._heaps = _Heaps(folder)
        self._capped = frozenset(
            brand for caps in (before.caps, after.caps) for cap in caps.caps for brand in cap.brands
        )

    def __repr__(self) -> str:
        return f"<CapReplay of {self.before.caps!r} and {self.after.caps!r}, {self._heaps!r}>"

    @property
    def brands(self) -> frozenset[str]:
        """Whose mail may meet other caps than now: once all was taken. None: there is nothing to read."""
        return affected(self.before.caps, self.after.caps, self._moved)

    @property
    def begin(self) -> int:
        """From when on (ms) what people got counts."""
        limits = (limit for caps in (self.before.caps, self.after.caps) for cap in caps.caps for limit in cap.limits)
        return self._since - max((limit.window for limit in limits), default=0) * 1000

    def take(self, message: Past, was: Answer | None, will: Answer | None) -> None:
        """A message that was accepted, as the files decide it; None: that is not known."""
        event = message.event
        told = Facts(str(event.get("brand") or ""), str(event["class"]), str(event["stream"]), _spared(event))
        named = Named(_facts(was, told, event), _facts(will, told, event))
        sides = [told, *(side for side in named if side is not None)]
        if self._capped.isdisjoint(side.brand for side in sides):
            return
        if named.before is not None and named.after is not None and named.before[:2] != named.after[:2]:
            self._moved |= {side.brand for side in sides}
        number, at = self._number(named), _ms(event.get("time"))
        extra = [(kind, _ms(event.get(name))) for name, kind in _MOMENTS if event.get(name)]
        until = _ms(event.get("until")) if event.get("over_quota") else 0
        asked = event.get("priority")
        priority = max(-9, min(asked, 9)) if isinstance(asked, int) else 0  # RFC 6710
        for index, address in enumerate(message.recipients):
            key = self._person(address), message.id.encode()[:16], index
            self._heaps.add(_Row(*key, at, until, number, _Is.LIFE, priority))
            for kind, value in extra:
                self._heaps.add(_Row(*key, at, value, number, kind, 0))

    def take_refused(self, event: Mapping[str, Any]) -> None:
        """A `rejected` event whose reason is `capped`: mail that other caps let in."""
        brand, mail_class, stream, people = (event.get(name) for name in ("brand", "class", "stream", "recipients"))
        if brand not in self._capped or mail_class not in _CLASSES or not isinstance(people, list):
            return
        told = Facts(str(brand), str(mail_class), str(stream), spared=False)
        number, at = self._number(Named(told, told)), _ms(event.get("time"))
        for index, address in enumerate(people):
            key = self._person(str(address)), str(event.get("event_id"))[:16].encode(), index
            self._heaps.add(_Row(*key, at, 0, number, _Is.LIFE, 0))
            self._heaps.add(_Row(*key, at, 0, number, _Is.OVER_CAP, 0))

    def read(self, rows: Rows) -> None:
        """Events of `brands` from `begin` on, in any order."""
        for kind, at, identifier, rcpt, address, brand, mail_class, reason, until, detail in rows:
            row = self._kind(kind, at, reason, until)
            if row is None or mail_class not in _CLASSES or not address:  # forgotten: State does not count it any more
                continue
            number = self._number(Named(Facts(brand, mail_class, "", spared=False), None))
            key = self._person(address), (identifier or "").encode()[:16], rcpt or 0
            wish = _wish(detail or "") if row == _Is.WISH else 0
            self._heaps.add(_Row(*key, at, until or 0, number, row, wish))

    def _kind(self, kind: str, at: int, reason: str | None, until: int | None) -> _Is | None:
        if kind == "delivered":
            return _Is.SENT if at < self._since else _Is.DELIVERED
        if kind == "postponed":
            if at < self._since and until is not None and until <= self._since:
                return None  # what it waited for is over
            return _POSTPONED.get(reason or "", _Is.PAUSED)
        if at < self._since:
            return None
        if kind == "bounced":
            return _Is.BOUNCED
        return _Is.OVER_CAP if reason in _POSTPONED else _Is.WITHHELD

    def _person(self, address: str) -> int:
        """Who is behind it, by a half of his key: of ten million people two share it with a probability of three in a million."""
        return int.from_bytes((key_in(address) or self._key_of(address))[:8])

    def _number(self, named: Named) -> int:
        return self._named.setdefault(named, len(self._named))

    def result(self) -> Iterator[tuple[float, Effect]]:
        """How far it is (0 to 1), and what was found by then."""
        brands, effect = self.brands, Effect()
        shifts: dict[tuple[str, ...], Shift] = {}
        lives = _Lives(self, list(self._named), brands)
        for number, rows in enumerate(self._heaps.each()):
            by_person: defaultdict[int, list[_Row]] = defaultdict(list)
            for row in rows:
                by_person[row.person].append(row)
            for one in by_person.values():
                lives.of(one, effect.asked, shifts)
            effect.shifts = sorted(
                shifts.values(), key=lambda shift: (-shift.recipients, shift.cap, shift.was, shift.will)
            )
            yield (number + 1) / _HEAPS, effect


_MOMENTS = (("send_at", _Is.SEND_AT), ("valid_until", _Is.VALID_UNTIL))


class _Lives:
    """Of one person after the other: what became of his mail, and what would."""

    def __init__(self, replay: CapReplay, named: list[Named], brands: Collection[str]) -> None:
        self._since, self._now = replay._since, replay._now
        self._named = named
        self._brands = brands
        self._sides = tuple(Under(files.caps, files.law.streams.named.get) for files in (replay.before, replay.after))
        self._fewest = [_fewest(side.caps, brands) for side in self._sides]

    def of(self, rows: list[_Row], asked: Counter[tuple[str, str]], shifts: dict[tuple[str, ...], Shift]) -> None:
        sends: list[Send] = []
        by_mail: defaultdict[tuple[bytes, int], list[_Row]] = defaultdict(list)
        for row in rows:
            if row.kind == _Is.SENT:
                sends.append((row.at // 1000, self._mark(row)))
            else:
                by_mail[row.id, row.rcpt].append(row)
        # What was sent before may have been postponed before that: it is over.
        older: list[Older] = []
        mail: list[tuple[Life, Named, list[_Row]]] = []
        wishes = {self._brand(row): _WISHES[row.priority] for row in rows if row.kind == _Is.WISH}
        for one in by_mail.values():
            one.sort(key=lambda row: (row.at, row.kind))
            first = next((row for row in one if row.kind == _Is.LIFE), None)
            if first is None:
                older += self._older(one, self._since)
            elif self._concerned(named := self._named[first.named]) and not self._waits(one):
                life = self._life(first, one)
                if life is None:
                    older += self._older(one, first.at, first)
                else:
                    life.at_most = wishes.get((named.after or named.before or _NOBODY).brand, "")
                    mail.append((life, named, one))
        self._count(mail, asked)
        if wishes or len(sends) + len(older) + len(mail) > min(self._fewest):
            self._compare(sorted(sends), older, mail, shifts)

    def _mark(self, row: _Row) -> int:
        facts = self._named[row.named].before or _NOBODY
        return mark_of(facts.brand, facts.mail_class)

    def _brand(self, row: _Row) -> str:
        return (self._named[row.named].before or _NOBODY).brand

    def _concerned(self, named: Named) -> bool:
        return any(side is not None and side.brand in self._brands for side in named)

    @staticmethod
    def _waits(rows: list[_Row]) -> bool:
        """For something else than caps, as far as is known: nobody knows what becomes of it."""
        return rows[-1].kind == _Is.PAUSED

    def _older(self, rows: list[_Row], begin: int, first: _Row | None = None) -> Iterator[Older]:
        """Mail that caps are not asked for here. It held a place from `begin` on, unless it waited."""
        end = next((row for row in rows if row.kind in _ENDS), None)
        if end is None:
            return
        waited = any(row.kind in (_Is.CAPPED, _Is.WISH, _Is.PAUSED) for row in rows)
        mark = self._mark(end)
        yield Older(mark, end.at if waited else begin, end.at, end.kind == _Is.DELIVERED)

    def _life(self, first: _Row, rows: list[_Row]) -> Life | None:
        """None: it was withheld for a reason that caps have nothing to do with."""
        end = next((row for row in rows if row.kind in _ENDS), None)
        capped = [row for row in rows if row.kind in (_Is.CAPPED, _Is.WISH)]
        life = Life(f"{first.id!r}/{first.rcpt}", free=not capped and (end is None or end.kind != _Is.OVER_CAP))
        if end is not None and end.kind == _Is.WITHHELD:
            if not capped:
                return None
            life.over = end.at
        if first.until:
            following = next((row.at for row in rows if row.kind >= _Is.CAPPED), first.until)
            life.pauses.append((first.at, min(first.until, following)))
        for number, row in enumerate(rows):
            if row.kind == _Is.PAUSED:  # it is not the last one: see _waits
                following = rows[number + 1].at
                life.pauses.append((row.at, min(row.until or following, following)))
        life.arrived = end is None or end.kind != _Is.BOUNCED
        free = max([first.at, *(until for _, until in life.pauses), *(row.until for row in capped)])
        if end is not None and end.kind in (_Is.DELIVERED, _Is.BOUNCED):
            life.lag = max(0, end.at - free)
        elif end is None and not capped:
            life.lag = max(0, self._now - free)
        return life

    def _count(self, mail: list[tuple[Life, Named, list[_Row]]], asked: Counter[tuple[str, str]]) -> None:
        for _, named, _ in mail:
            side = named.after or named.before
            if side is not None:
                asked[side.brand, side.mail_class] += 1

    def _relived(
        self, side: int, sends: list[Send], older: list[Older], mail: list[tuple[Life, Named, list[_Row]]]
    ) -> list[End]:
        wished = any(life.at_most for life, _, _ in mail)
        if not wished and len(sends) + len(older) + len(mail) <= self._fewest[side]:
            return [End(NOT_ASKED if named[side] is None else WENT) for _, named, _ in mail]
        asking = [(life, _message(named[side], rows)) for life, named, rows in mail]
        return relive(sends, older, asking, self._sides[side])

    def _compare(
        self,
        sends: list[Send],
        older: list[Older],
        mail: list[tuple[Life, Named, list[_Row]]],
        shifts: dict[tuple[str, ...], Shift],
    ) -> None:
        before, after = (self._relived(side, sends, older, mail) for side in (0, 1))
        for (_, named, rows), was, will in zip(mail, before, after, strict=True):
            later = _later(was, will)
            if NOT_ASKED in (was.how, will.how) or (was.how == will.how and not later):
                continue
            cap, facts = will.cap or was.cap, named.after
            assert facts is not None  # it is asked for
            key = cap, facts.mail_class, was.how, will.how, str(later)
            shift = shifts.get(key)
            if shift is None:
                shift = shifts[key] = Shift(*key[:4], later)
            shift.recipients += 1
            if len(shift.examples) < EXAMPLES:
                shift.examples.append(rows[0].id.rstrip(b"\0").decode(errors="replace"))


def _fewest(caps: Caps, brands: Collection[str]) -> int:
    """Who has no more mails than that is held up by nothing: most people."""
    counts = [limit.count for cap in caps.caps if not cap.brands.isdisjoint(brands) for limit in cap.limits]
    return min(counts, default=_NO_LIMIT)


def _later(was: End, will: End) -> int:
    """Both postponed: does it go later (1) or earlier (-1)?"""
    if was.how != POSTPONED or will.how != POSTPONED or abs(was.at - will.at) < _SAME:
        return 0
    return 1 if will.at > was.at else -1


def _message(facts: Facts | None, rows: list[_Row]) -> Message | None:
    if facts is None:
        return None
    first = next(row for row in rows if row.kind == _Is.LIFE)
    moments = {row.kind: row.until for row in rows if row.kind in (_Is.SEND_AT, _Is.VALID_UNTIL)}
    return Message(
        id="",
        accepted_at=first.at,
        credential="",
        brand=facts.brand,
        stream=facts.stream,
        mail_class=_CLASSES[facts.mail_class],
        author="",
        message_id="",
        subject="",
        size=0,
        contradiction="rerouted" if facts.spared else None,
        send_at=moments.get(_Is.SEND_AT),
        valid_until=moments.get(_Is.VALID_UNTIL),
        priority=first.priority,
    )


def _facts(answer: Answer | None, told: Facts, event: Mapping[str, Any]) -> Facts | None:
    """None: it is refused. What several messages showed against a claim (policy/contradiction.py) holds as long as the claim is
    the same."""
    if answer is None:
        return told
    if answer.refused:
        return None
    contradicted = event.get("contradiction") in ("rerouted", "enforced")
    if contradicted and answer.mail_class == event.get("claimed"):
        return Facts(answer.brand, told.mail_class, answer.stream, told.spared)
    return Facts(answer.brand, answer.mail_class, answer.stream, spared=False)


def _spared(event: Mapping[str, Any]) -> bool:
    return event.get("contradiction") == "rerouted"


def _wish(detail: str) -> int:
    """Which of WISHES held it: the event says so in words; the first, the most that can be wished, where it does not."""
    return next((number for number, wish in enumerate(_WISHES) if f"at most {wish}" in detail), 0)


def _ms(value: object) -> int:
    """Of an event's time; 0: it is none."""
    return (isinstance(value, str) and moment(value)) or 0


def affected(before: Caps, after: Caps, moved: Collection[str] = ()) -> frozenset[str]:
    """The brands that other caps hold for, or whose mail changes (`moved`), and all that share a cap with one of them."""
    caps = (*before.caps, *after.caps)
    named = {brand for cap in caps for brand in cap.brands}
    found = {brand for brand in named if brand in moved or before.of(brand) != after.of(brand)}
    while more := {brand for cap in caps if not cap.brands.isdisjoint(found) for brand in cap.brands} - found:
        found |= more
    return frozenset(found)


class _Heaps:
    """Rows by person, in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting = [bytearray() for _ in range(_HEAPS)]
        self._rows = 0

    def __repr__(self) -> str:
        return f"<_Heaps of {self._rows} rows>"

    def add(self, row: _Row) -> None:
        waiting = self._waiting[row.person % _HEAPS]
        waiting += _ROW.pack(*row)
        self._rows += 1
        if len(waiting) >= _FLUSH:
            self._write(row.person % _HEAPS)

    def _write(self, number: int) -> None:
        with (self._folder / str(number)).open("ab") as out:
            out.write(self._waiting[number])
        self._waiting[number].clear()

    def each(self) -> Iterator[Iterator[_Row]]:
        """Each heap once."""
        for number in range(_HEAPS):
            path = self._folder / str(number)
            self._write(number)
            yield map(_Row._make, _ROW.iter_unpack(path.read_bytes()))
            path.unlink()
