"""Which stream a message belongs to: the ordered rules of streams.toml, compiled so that few are tried. Pure.

All conditions of a rule must hold; of several patterns of one condition, one. The first rule that holds wins. Rules are
indexed by credential first; of those that may concern one, each is found by its rarest pattern (all patterns of one key are
matched in one go), and only what was found is tried, in the order of the file. Facts of a message are worked out when a
rule asks for them, and once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import NamedTuple

from relay.domain import a_label
from relay.header import readable
from relay.identity import Rate
from relay.message import MailClass
from relay.policy.attachments import attachments
from relay.policy.letter import Letter
from relay.policy.patterns import Kind, Matcher, Pattern, covers
from relay.policy.windows import Window

_HEADER = "header."
_MAX_VALUE = 1_000  # octets of one value that are looked at; a line of a header has 998 at most (RFC 5322 2.1.1)
_MAX_REPEATED = 5  # fields of one name that are looked at
_MAX_RECIPIENTS = 1_000  # different domains of one message


@dataclass(frozen=True, slots=True)
class Stream:
    """One `[[stream]]`. What it leaves open (None, "") the credential, the From domain or the evidence decides.

    rule              where it stands, "policies/streams.toml:38"
    also_remove       names of header fields that do not leave, in lower case
    on_contradiction  where the evidence says another class: trust | flag | reroute | enforce | refuse
    valid_for         how long (ms) its mail is worth anything once it is taken; None: for ever
    rate              its mail is paced by it, beside its credential's quota; None: by nothing
    window            when its mail may be sent, unless it is transactional; None: at any time
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
    review_by: date | None = None


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


class _Facts:
    """One message in the eyes of the rules: for each key the numbers of the patterns that hold."""

    __slots__ = ("_attachments", "_author_domain", "_letter", "_matched", "_matchers", "names")

    def __init__(self, letter: Letter, author_domain: str, matchers: Mapping[str, Matcher]) -> None:
        self.names = {f.name for f in letter.fields}
        self._letter = letter
        self._author_domain = author_domain
        self._matchers = matchers
        self._matched: dict[str, set[int]] = {}
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
        name = key.removeprefix(_HEADER)
        if name not in self.names:
            return ()
        found = (readable(f.value[:_MAX_VALUE]) for f in letter.fields if f.name == name)
        return list(islice(found, _MAX_REPEATED))

    @property
    def attachments(self) -> list[str]:
        if self._attachments is None:
            self._attachments = attachments(self._letter.content)
        return self._attachments

    def fit(self, rule: _Rule) -> bool:
        """Do all conditions hold? The cheap ones first."""
        if rule.sizes and not any(size.least <= len(self._letter.content) <= size.most for size in rule.sizes):
            return False
        if any(numbers.isdisjoint(self.matched(key)) for key, numbers in rule.wanted):
            return False
        return rule.attached is None or rule.attached == bool(self.attachments)


_ByNumber = dict[int, list[int]]  # number of a pattern -> places of the rules found by it


class _Group:
    """Rules that concern the same credentials. `rules` by their place in the file."""

    def __init__(self, rules: Mapping[int, _Rule]) -> None:
        self._headers: dict[str, _ByNumber] = {}  # by the field's name
        self._others: dict[str, _ByNumber] = {}
        self._loose: list[int] = []
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
            rule = self._rules[place] = _Rule(stream, _numbered(match, patterns), match.sizes, match.attached)
            for name in match.credentials:
                own.setdefault(name, {})[place] = rule
            if not match.credentials:
                anybody[place] = rule
        self._matchers = {key: Matcher(tuple(known)) for key, known in patterns.items()}
        self._own = {name: _Group(rules) for name, rules in own.items()}
        self._anybody = _Group(anybody) if anybody else None

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
        groups = [group for group in (self._own.get(credential), self._anybody) if group is not None]
        if not groups:
            return None
        facts = _Facts(letter, author_domain, self._matchers)
        places = {place for group in groups for place in group.candidates(facts)}
        for place in sorted(places):
            rule = self._rules[place]
            if facts.fit(rule):
                return rule.stream
        return None


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


# What no message can reach.


def takes_all_of(wide: Match, narrow: Match) -> bool:
    """Is it certain that every message that `narrow` fits, `wide` fits too?"""
    if wide.credentials and not (narrow.credentials and narrow.credentials <= wide.credentials):
        return False
    attached = True if "attachment" in narrow.texts else narrow.attached
    if wide.attached is not None and wide.attached != attached:
        return False
    if wide.sizes and not (narrow.sizes and all(_within(size, wide.sizes) for size in narrow.sizes)):
        return False
    for key, patterns in wide.texts.items():
        theirs = narrow.texts.get(key)
        if theirs is None or not all(any(covers(one, other) for one in patterns) for other in theirs):
            return False
    return True


def _within(size: Size, sizes: Iterable[Size]) -> bool:
    return any(wide.least <= size.least and size.most <= wide.most for wide in sizes)


def shadowed(matches: Sequence[Match | None]) -> Iterator[tuple[int, int]]:
    """(rule that can never match, first rule above that takes all of it), by their places.

    Every rule is kept under the rarest of its conditions; of those above, a rule meets only the ones kept under something
    that it could be taken by. So 2,000 rules are not 2 million comparisons.
    """
    kept: dict[_Handle, list[int]] = {}
    common = Counter(handle for match in matches if match is not None for one in _handles(match) for handle in one)
    lengths = {len(text) for _, kind, text in common if kind == "glob"}
    for place, match in enumerate(matches):
        if match is None:
            continue
        near = {above for handle in _may_be_taken_by(match, lengths) for above in kept.get(handle, ())}
        for above in sorted(near):
            wide = matches[above]
            if wide is not None and takes_all_of(wide, match):
                yield place, above
                break
        rarest = min(_handles(match), key=lambda one: max(common[handle] for handle in one))
        for handle in set(rarest):
            kept.setdefault(handle, []).append(place)


_Handle = tuple[str, str, str]  # key, kind, text
_ANY: _Handle = ("", "", "")
_SLICE = 12  # last letters of a wildcard pattern's longest part, which it is kept under: numbers commonly end a name


def _handles(match: Match) -> list[list[_Handle]]:
    """For each key the handles of its patterns; a rule without texts and credentials is kept under _ANY."""
    keys = [[_handle(key, pattern) for pattern in patterns] for key, patterns in match.texts.items()]
    if match.credentials:
        keys.append([("credential", "", name) for name in match.credentials])
    return keys or [[_ANY]]


def _handle(key: str, pattern: Pattern) -> _Handle:
    if pattern.kind is Kind.GLOB:
        return key, "glob", max(pattern.text.split("*"), key=len)[-_SLICE:]
    if pattern.kind is Kind.WORDS:
        return key, "words", max(pattern.text.split(), key=len)
    return key, pattern.kind.value, pattern.text


def _may_be_taken_by(match: Match, lengths: Iterable[int]) -> Iterator[_Handle]:
    """Under what a rule is kept that `covers` all patterns of this one: it covers the first of each key. `lengths`: those
    of all slices that wildcard patterns are kept under."""
    yield _ANY
    for name in match.credentials:
        yield "credential", "", name
    for key, (pattern, *_) in match.texts.items():
        if pattern.kind is Kind.RE2:
            yield key, "re2", pattern.text
        elif pattern.kind is Kind.EXACT:
            yield key, "exact", pattern.text
        elif pattern.kind is Kind.WORDS:
            yield from ((key, "words", word) for word in pattern.text.split())
        text = pattern.text
        slices = {text[at : at + length] for length in lengths for at in range(len(text) - length + 1)}
        yield from ((key, "glob", one) for one in slices)
