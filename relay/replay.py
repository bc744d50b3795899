"""Mail of the past decided again: what `accepted` events recorded, under the files in force and under those on disk. No I/O.

Messages are put together from the events of their recipients, decided under both, and what differs is counted. What the
events do not tell is said to be undecided, with the rule that asks for it; it is never guessed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

from relay.fate import Fate, Files, carrier, fate
from relay.message import MailClass
from relay.policy.recorded import Event, Past, past

EXAMPLES = 3  # of each change
_URGENT = MailClass.TRANSACTIONAL.label


class Undecided(NamedTuple):
    """`stream` (its rule at `rule`) asks for `key`, which was not recorded: a key of Match.texts, or "evidence"."""

    rule: str
    stream: str
    key: str


def asks(undecided: Undecided) -> str:
    """`streams.toml:40 (promo) asks for header x-job, which was not recorded`"""
    place = undecided.rule.removeprefix("policies/")
    who = f"{place} ({undecided.stream})" if place else f"stream {undecided.stream}"
    return f"{who} asks for {undecided.key.replace('header.', 'header ')}, which was not recorded"


class Answer(NamedTuple):
    """What is compared of a message; `refused` is the slug of the reason, "" where it is taken."""

    stream: str
    mail_class: str
    brand: str
    refused: str


class Decided(NamedTuple):
    """A message under the files in force and under those on disk; None: it cannot be decided."""

    before: Answer | None
    after: Answer | None


Carriers = tuple[str, ...]  # for each recipient the name of what carries it, "refused" where nothing does


def for_the_past(files: Files) -> Files:
    """`files` as they can be asked about what is over: of a message's content nothing is left, so what looks at that is
    left out."""
    return replace(files, law=replace(files.law, checks={}))


def messages(events: Iterable[Event]) -> Iterator[Past]:
    """The messages of `accepted` events, those of one message together, as `scan` gives them. Reports of our own are none;
    nor is a message whose first recipient is not there: it is older than what was asked for."""
    for _, group in groupby(events, key=lambda event: event.get("id")):
        together = list(group)
        if together[0].get("rcpt") == 0 and "report_of" not in together[0]:
            found = past(together)
            if found is not None:
                yield found


def again(message: Past, files: Files) -> Fate | Undecided:
    """`files` as `for_the_past` gives them."""
    found = fate(message.letter, message.credential, message.named, 0, files, message.judge)
    if found.weighed is None:
        return found
    decision, streams = found.weighed.decision, files.law.streams
    if not decision.named:
        doubt = streams.doubt(message.letter, message.credential, decision.author_domain, message.letter.known)
        if doubt is not None:
            return Undecided(doubt[0].rule, doubt[0].name, doubt[1])
    if decision.mail_class is None and message.judged is None:
        return Undecided(decision.rule or "", decision.stream, "evidence")
    return found


def answer(found: Fate) -> Answer:
    refused = found.refusal.reason if found.refusal is not None else ""
    if found.weighed is None:
        return Answer("", "", "", refused)
    decision = found.weighed.decision
    return Answer(decision.stream, found.weighed.mail_class.label, decision.brand, refused)


def carriers(found: Fate, domains: Sequence[str], files: Files) -> Carriers:
    if found.weighed is None or found.refusal is not None:
        return ("refused",) * len(domains)
    carriage = carrier(found.weighed, found.credential, files)
    return tuple(carriage(domain).name for domain in domains)


@dataclass(slots=True)
class Change:
    """Messages that would be decided alike, and otherwise than now.

    moves     recipients by what carries their copy now and then, where that differs
    fate      of the first of them, under the files on disk; `domain` is the first recipient's that moves, or the first
    """

    before: Answer
    after: Answer
    fate: Fate
    domain: str
    messages: int = 0
    recipients: int = 0
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Past] = field(default_factory=list)

    @property
    def urgent(self) -> bool:
        """Does transactional mail change class, pool or decision?"""
        if _URGENT not in (self.before.mail_class, self.after.mail_class):
            return False
        refused = self.before.refused != self.after.refused
        return refused or self.before.mail_class != self.after.mail_class or bool(self.moves)


class Comparison:
    """Counts what would change; memory grows with the kinds of change, not with the mail."""

    def __init__(self, before: Files, after: Files) -> None:
        self.before, self.after = for_the_past(before), for_the_past(after)
        self.messages = 0
        self.recipients = 0
        self.undecided: Counter[tuple[Undecided, bool]] = (
            Counter()
        )  # by what it lacks, and whether the files in force ask
        self.urgent_undecided = 0
        self._changes: dict[tuple[Answer, Answer], Change] = {}

    def __repr__(self) -> str:
        return f"<Comparison {self.messages} messages, {len(self._changes)} kinds of change>"

    def add(self, message: Past) -> Decided:
        self.messages += 1
        self.recipients += len(message.recipients)
        after = again(message, self.after)
        before = again(message, self.before)
        if isinstance(after, Undecided):
            self._lacks(message, after, in_force=False)
        elif isinstance(before, Undecided):
            self._lacks(message, before, in_force=True)
        else:
            self._compare(message, before, after)
        return Decided(*(None if isinstance(found, Undecided) else answer(found) for found in (before, after)))

    def _lacks(self, message: Past, what: Undecided, *, in_force: bool) -> None:
        self.undecided[what, in_force] += 1
        self.urgent_undecided += message.event.get("class") == _URGENT

    def _compare(self, message: Past, before: Fate, after: Fate) -> None:
        was, will = answer(before), answer(after)
        domains = message.letter.domains
        carried = zip(carriers(before, domains, self.before), carriers(after, domains, self.after), strict=True)
        moves = [(number, pair) for number, pair in enumerate(carried) if pair[0] != pair[1]]
        if was == will and not moves:
            return
        change = self._changes.get((was, will))
        if change is None:
            change = Change(was, will, after, domains[moves[0][0] if moves else 0])
            self._changes[was, will] = change
        change.messages += 1
        change.recipients += len(domains)
        change.moves.update(pair for _, pair in moves)
        if len(change.examples) < EXAMPLES:
            change.examples.append(message)

    @property
    def changes(self) -> list[Change]:
        """The most frequent first."""
        return sorted(self._changes.values(), key=lambda change: (-change.messages, change.before, change.after))

    @property
    def changed(self) -> int:
        """Messages."""
        return sum(change.messages for change in self._changes.values())
