"""Which stream a message belongs to: the ordered rules of streams.toml, compiled so that few are tried. Pure.

All conditions of a rule must hold; of several patterns of one condition, one. The first rule that holds wins. Rules are
indexed by credential first; of those that may concern one, each is found by its rarest pattern (all patterns of one key are
matched in one go), and only what was found is tried, in the order of the file. Facts of a message are worked out when a
rule asks for them, and once.

What rules may look at of a message beyond its envelope is noted in its `accepted` event, bounded, so that other rules can
be tried on it later (policy/recorded.py): `look` gives both.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from relay.domain import a_label
from relay.identity import Rate
from relay.message import MailClass
from relay.policy.letter import Letter
from relay.policy.patterns import Kind, Matcher, Pattern
from relay.policy.windows import Window

_HEADER = "header."
_MAX_RECIPIENTS = 1_000  # different domains of one message

CUT = "\u2026"  # ends a value that was noted in part, and a list that was
NOTED_VALUE = 200  # octets of one value: what rules look for stands at its beginning, but in links and tokens
_SHORT = NOTED_VALUE // 4  # characters that have no more octets, whatever they are
NOTED_FILES = 10  # names of attachments
NOTED = 2_000  # characters of all headers of one message, names included: every recipient's event carries them

Noted = dict[str, Any]  # "headers": {name: [value, ...]}, "attachments": [name, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """One `[[stream]]`. What it leaves open (None, "") the credential, the From domain or the evidence decides.

    rule              where it stands, "policies/streams.toml:38"
    also_remove       names of header fields that do not leave, in lower case
    on_contradiction  where the evidence says another class: trust | flag | reroute | enforce | refuse
    valid_for         how long (ms) its mail is worth anything once it is taken; None: for ever
    rate              its mail is paced by it, beside its credential's quota; None: by nothing
    window            when its mail may be sent, unless it is transactional; None: at any time
    priority          of its mail within the class, -9 to 9, and the most its app may ask for (policy/priority.py)
    unsubscribe       the List-Unsubscribe its app sets: "keep", or "replace" by ours, which tells the app's as well
    topic             of its brand, which people may turn off; "": none
    review_by         after this day people are to ask themselves whether it should go on; mail still goes
    """

    name: str
    rule: str
    mail_class: MailClass | None = None
    brand: str = ""
    also_remove: frozenset[str] = frozenset()
    on_contradiction: str = "flag"
    valid_for: int | None = None
    rate: Rate | None = None
    window: Window | None = None
    priority: int = 0
    review_by: date | None = None
    unsubscribe: str = "keep"
    topic: str = ""


class Size(NamedTuple):
    """Octets of a message as it was handed in, `least` and `most` included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Match:
    """The conditions of a rule.

    credentials  by name; empty: any
    texts        by key: subject, from_domain, sender, recipient_domain, attachment (of the file name), header.NAME
    sizes        empty: any
    attached     with an attachment, without one; None: either
    """

    credentials: frozenset[str] = frozenset()
    texts: Mapping[str, tuple[Pattern, ...]] = field(default_factory=dict)
    sizes: tuple[Size, ...] = ()
    attached: bool | None = None


class _Rule(NamedTuple):
    """`wanted`: for each key of texts the numbers of its patterns, one of which must be found."""

    stream: Stream
    wanted: tuple[tuple[str, frozenset[int]], ...]
    sizes: tuple[Size, ...]
    attached: bool | None
    own: bool  # it names credentials


class _Facts:
    """One message in the eyes of the rules: for each key the numbers of the patterns that hold."""

    __slots__ = ("_attachments", "_author_domain", "_headers", "_letter", "_matched", "_matchers", "names")

    def __init__(self, letter: Letter, author_domain: str, matchers: Mapping[str, Matcher]) -> None:
        self.names = {f.name for f in letter.fields}
        self._letter = letter
        self._author_domain = author_domain
        self._matchers = matchers
        self._matched: dict[str, set[int]] = {}
        self._headers: dict[str, list[str]] = {}
        self._attachments: list[str] | None = None

    def matched(self, key: str) -> set[int]:
        found = self._matched.get(key)
        if found is None:
            matches = self._matchers[key].matches
            found = self._matched[key] = set().union(*(matches(value) for value in self._values(key)))
        return found

    def _values(self, key: str) -> Iterable[str]:
        letter = self._letter
        match key:
            case "subject":
                return (letter.subject,)
            case "from_domain":
                return (self._author_domain,)
            case "sender":
                return (letter.sender, letter.sender.rpartition("@")[2]) if letter.sender else ("<>",)
            case "recipient_domain":
                return list(dict.fromkeys(letter.domains))[:_MAX_RECIPIENTS]
            case "attachment":
                return self.attachments
        return self._header(key.removeprefix(_HEADER))

    def _header(self, name: str) -> list[str]:
        if name not in self.names:
            return []
        found = self._headers.get(name)
        if found is None:
            found = self._headers[name] = self._letter.values(name)
        return found

    @property
    def attachments(self) -> list[str]:
        if self._attachments is None:
            self._attachments = self._letter.attachments()
        return self._attachments

    def fit(self, rule: _Rule) -> bool:
        """Do all conditions hold? The cheap ones first."""
        if rule.sizes and not any(size.least <= self._letter.size <= size.most for size in rule.sizes):
            return False
        if any(numbers.isdisjoint(self.matched(key)) for key, numbers in rule.wanted):
            return False
        return rule.attached is None or rule.attached == bool(self.attachments)

    def noted(self, names: Sequence[str]) -> Noted:
        """Fields of these names, an empty list where there is none; attachments if some rule has asked for them. A field
        that finds no room is left out: nothing is known of it."""
        noted: Noted = {}
        if names:
            headers = noted["headers"] = {}
            room = NOTED
            for name in names:
                values = self._header(name)
                size = sum(map(len, values)) if values else 0
                if size > _SHORT:
                    values = list(map(_cut, values))
                    size = sum(map(len, values))
                if size + len(name) <= room:
                    room -= size + len(name)
                    headers[name] = values
        if self._attachments is not None:
            found = self._attachments
            noted["attachments"] = [_cut(name) for name in found[:NOTED_FILES]] + [CUT] * (len(found) > NOTED_FILES)
        return noted


def _cut(value: str) -> str:
    octets = value.encode(errors="replace")
    return value if len(octets) <= NOTED_VALUE else octets[:NOTED_VALUE].decode(errors="ignore") + CUT


_ByNumber = dict[int, list[int]]  # number of a pattern -> places of the rules found by it


class _Group:
    """Rules that concern the same credentials. `rules` by their place in the file."""

    def __init__(self, rules: Mapping[int, _Rule]) -> None:
        self._headers: dict[str, _ByNumber] = {}  # by the field's name
        self._others: dict[str, _ByNumber] = {}
        self._loose: list[int] = []
        self.places = tuple(rules)
        shared = Counter((key, number) for rule in rules.values() for key, numbers in rule.wanted for number in numbers)
        for place, rule in rules.items():
            if not rule.wanted:
                self._loose.append(place)
                continue
            # Of equals a header field: where the message has none of that name, nothing need be matched.
            key, numbers = min(
                rule.wanted,
                key=lambda one: (max(shared[one[0], number] for number in one[1]), not one[0].startswith(_HEADER)),
            )
            name = key.removeprefix(_HEADER)
            index = self._others if name == key else self._headers
            for number in numbers:
                index.setdefault(name, {}).setdefault(number, []).append(place)

    def candidates(self, facts: _Facts) -> Iterator[int]:
        """Places of the rules that may hold; one may come twice."""
        yield from self._loose
        for key, by_number in self._others.items():
            for number in facts.matched(key):
                yield from by_number.get(number, ())
        if self._headers:
            for name in facts.names.intersection(self._headers):
                for number in facts.matched(_HEADER + name):
                    yield from self._headers[name].get(number, ())


class Streams:
    """All streams: `find` by rule, `named` by name; `on_contradiction`: of mail of no stream of these. Without any, finding
    costs nothing."""

    def __init__(self, streams: Sequence[tuple[Stream, Match | None]] = (), on_contradiction: str = "flag") -> None:
        """In the order of the file; a Match of None: reached by name alone."""
        self.named = {stream.name: stream for stream, _ in streams}
        self.on_contradiction = on_contradiction
        patterns: dict[str, dict[Pattern, int]] = {}
        own: dict[str, dict[int, _Rule]] = {}
        anybody: dict[int, _Rule] = {}
        self._rules: dict[int, _Rule] = {}
        for place, (stream, match) in enumerate(streams):
            if match is None:
                continue
            wanted = _numbered(match, patterns)
            rule = self._rules[place] = _Rule(stream, wanted, match.sizes, match.attached, bool(match.credentials))
            for name in match.credentials:
                own.setdefault(name, {})[place] = rule
            if not match.credentials:
                anybody[place] = rule
        self._matchers = {key: Matcher(tuple(known)) for key, known in patterns.items()}
        self._patterns = {key: tuple(known) for key, known in patterns.items()}
        self._headers = tuple(key.removeprefix(_HEADER) for key in patterns if key.startswith(_HEADER))
        self._own = {name: _Group(rules) for name, rules in own.items()}
        self._anybody = _Group(anybody) if anybody else None
        self._asking = lru_cache(maxsize=1024)(self._look_up_asking)

    def __repr__(self) -> str:
        return f"<Streams {len(self.named)} by name, {len(self._rules)} by rule>"

    @property
    def ask(self) -> bool:
        """May mail that says its class be held against the evidence?"""
        return any(
            said != "trust" for said in (self.on_contradiction, *(s.on_contradiction for s in self.named.values()))
        )

    def doing(self, name: str) -> str:
        """What is done about claims of this stream that the evidence contradicts."""
        stream = self.named.get(name)
        return stream.on_contradiction if stream is not None else self.on_contradiction

    def find(self, letter: Letter, credential: str, author_domain: str) -> Stream | None:
        """The stream of the first rule that holds. Never raises, whatever the message."""
        return self.look(letter, credential, author_domain)[0]

    def look(self, letter: Letter, credential: str, author_domain: str) -> tuple[Stream | None, Noted]:
        """The same, and what is to be noted of the message for the event."""
        if not (self._headers or self._anybody or credential in self._own):
            return None, {}
        facts = _Facts(letter, author_domain, self._matchers)
        place = self._first(facts, credential)
        return None if place is None else self._rules[place].stream, facts.noted(self._headers)

    def _first(self, facts: _Facts, credential: str) -> int | None:
        groups = [group for group in (self._own.get(credential), self._anybody) if group is not None]
        places = {place for group in groups for place in group.candidates(facts)}
        for place in sorted(places):
            if facts.fit(self._rules[place]):
                return place
        return None

    # For people: slow.

    def why(self, letter: Letter, credential: str, author_domain: str) -> list[tuple[str, str]]:
        """The conditions of the rule that `find` gives: (key, the pattern that holds, as written)."""
        facts = _Facts(letter, author_domain, self._matchers)
        place = self._first(facts, credential)
        if place is None:
            return []
        rule = self._rules[place]
        found = [("credential", credential)] if rule.own else []
        for key, numbers in rule.wanted:
            found.append((key, self._patterns[key][min(numbers & facts.matched(key))].written))
        if rule.sizes:
            found.append(("size", f"{letter.size:,} octets"))
        if rule.attached is not None:
            found.append(("attachment", "yes" if rule.attached else "none"))
        return found

    # For messages of which not all is known (policy/recorded.py).

    def doubt(
        self, letter: Letter, credential: str, author_domain: str, known: Callable[[str, bool], bool]
    ) -> tuple[Stream, str] | None:
        """The first rule, not below the one that `find` gives, that might hold if we knew what it asks for, and the key of
        Match.texts that it is. None: `find` is right, whatever the rest may be.

        known   of a key: is all of it known? With True: is it known whether there is such a thing at all?
        """
        asking = self._asking(credential)
        missing = [key for key in asking if not known(key, False)]
        if not missing:
            return None
        facts = _Facts(letter, author_domain, self._matchers)
        first = self._first(facts, credential)
        for place in sorted({place for key in missing for place in asking[key]}):
            if first is not None and place > first:
                break
            rule = self._rules[place]
            open_ones = [key for key in _asked(rule) if key in missing and not known(key, self._only_there(rule, key))]
            if open_ones and facts.fit(_without(rule, open_ones)):
                return rule.stream, open_ones[0]
        return None

    def _look_up_asking(self, credential: str) -> dict[str, list[int]]:
        """Keys that events may not hold -> places of the rules that name them and may concern this credential."""
        groups = [group for group in (self._own.get(credential), self._anybody) if group is not None]
        asking: dict[str, list[int]] = {}
        for place in sorted(place for group in groups for place in group.places):
            for key in _asked(self._rules[place]):
                asking.setdefault(key, []).append(place)
        return asking

    def _only_there(self, rule: _Rule, key: str) -> bool:
        """Does the rule ask no more than whether there is such a field, or an attachment?"""
        patterns = self._patterns.get(key, ())
        numbers = dict(rule.wanted).get(key, frozenset())
        return all(patterns[number].kind is Kind.GLOB and patterns[number].text == "*" for number in numbers)


def _asked(rule: _Rule) -> list[str]:
    """What the rule asks for that an event may not hold."""
    keys = [key for key, _ in rule.wanted if key.startswith(_HEADER) or key in ("attachment", "subject")]
    return keys if rule.attached is None or "attachment" in keys else [*keys, "attachment"]


def _without(rule: _Rule, keys: Sequence[str]) -> _Rule:
    """The rule with only its other conditions."""
    wanted = tuple(one for one in rule.wanted if one[0] not in keys)
    return rule._replace(wanted=wanted, attached=None if "attachment" in keys else rule.attached)


def _numbered(match: Match, patterns: dict[str, dict[Pattern, int]]) -> tuple[tuple[str, frozenset[int]], ...]:
    wanted = []
    for key, given in match.texts.items():
        known = patterns.setdefault(key, {})
        wanted.append((key, frozenset(known.setdefault(pattern, len(known)) for pattern in given)))
    return tuple(wanted)


def domain_text(written: str) -> str:
    """A domain pattern in the form tables use: each label without a wildcard as A-label (RFC 5890)."""
    if written.isascii() or written.startswith("re:"):
        return written
    return ".".join(label if "*" in label else a_label(label) or label for label in written.split("."))
