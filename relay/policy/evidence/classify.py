"""What a message is by its own evidence: class, confidence and the reasons, term by term. Pure.

A multinomial logistic model: each term that shows adds its weights to the classes, and the softmax of the sums is the
confidence. A term is a concept of the lexicons, found in the subject, in the opening or further down, or a fact of header,
structure or envelope. A concept counts once for each of these places, in however many words or languages it stands there.

The model is its source: weights.toml and lexicon/*.toml are written by hand, versioned with the code and read as they are
when a process starts. Nothing is learned, generated or kept, so there is no other file to make again; `make eval` measures
what they achieve.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from relay.header import Field
from relay.message import MailClass
from relay.policy.evidence.lexicon import Lexicon
from relay.policy.evidence.phrases import Phrases
from relay.policy.evidence.skeleton import skeleton
from relay.policy.evidence.text import MAX_FIELDS, Text, bounded, extract

Weights = tuple[float, float, float]  # by MailClass

CLASSES = tuple(MailClass)


class Term(NamedTuple):
    """One reason: `text` is what the message says (or the count that speaks), `where` it says so ("" for facts), `weight` by
    how much that speaks for `mail_class` rather than for the others."""

    term: str
    text: str
    mail_class: MailClass
    weight: float
    where: str = ""


# A term that was found: its name, the section of the text it stands in ("" for facts), what is said, its weights. A plain
# tuple: a message has a dozen, and few are ever read.
Shown = tuple[str, str, str, Weights]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a message is; `skeleton` names its template. `terms` are made of what was shown when somebody asks."""

    mail_class: MailClass
    confidence: float
    skeleton: str = ""
    shown: tuple[Shown, ...] = ()

    @property
    def terms(self) -> tuple[Term, ...]:
        """The reasons, each once, the strongest first; what speaks for all classes alike is none."""
        terms: dict[str, Term] = {}
        for name, section, said, weights in self.shown:
            best = max(weights)
            worth = best - (sum(weights) - best) / 2
            if worth <= 0:
                continue
            before = terms.get(name)
            if before is None:
                terms[name] = Term(name, said, CLASSES[weights.index(best)], worth, section)
            else:
                where = f"{before.where} and {section}"
                terms[name] = before._replace(weight=before.weight + worth, where=where)
        return tuple(sorted(terms.values(), key=lambda term: -term.weight))


class Model:
    """Lexicons and weights, compiled; immutable once made. About half a second and 20 MB: one a process."""

    def __init__(self, lexicons: Mapping[str, Lexicon], weights: Mapping[str, Any]) -> None:
        self.version = str(weights["version"])
        self.phrases = Phrases(lexicons)
        self.bias = _by_class(weights["bias"])
        self.facts = {name: _by_class(given) for name, given in weights["fact"].items()}
        concepts = {name: _by_class(weights["concept"].get(name, {})) for name in self.phrases.concepts}
        # For each section what is shown for each concept that is found there.
        self.sections: dict[str, tuple[Shown, ...]] = {
            section: tuple((name, section, "", _times(concepts[name], factor)) for name in self.phrases.concepts)
            for section, factor in weights["section"].items()
        }

    def __repr__(self) -> str:
        return f"<Model version={self.version} {self.phrases!r} facts={len(self.facts)}>"


def _by_class(given: Mapping[str, float]) -> Weights:
    transactional, service, marketing = (float(given.get(c.label, 0.0)) for c in CLASSES)
    return transactional, service, marketing


def _times(weights: Weights, factor: float) -> Weights:
    return weights[0] * factor, weights[1] * factor, weights[2] * factor


def classify(
    content: bytes, fields: Sequence[Field], rest: int, recipients: int, bulkness: int, model: Model
) -> Evidence:
    """`fields`, `rest`: as relay.header.split() gives them. `recipients` of this message; `bulkness`: how many got one
    with the same skeleton from the same credential lately. Never raises, whatever `content` is."""
    text = extract(content, fields, rest)
    return judge(text, fields, recipients, bulkness, model, skeleton(text, fields))


def judge(
    text: Text, fields: Sequence[Field], recipients: int, bulkness: int, model: Model, template: str = ""
) -> Evidence:
    """The same, from text that was extracted before; `template` is its skeleton."""
    subject, opening, further = model.phrases.found((text.subject, text.opening, text.rest))
    said = model.sections
    shown = [said["subject"][c] for c in subject]
    shown += [said["opening"][c] for c in opening]
    # What the opening said already is not said again further down.
    shown += [said["text"][c] for c in further if c not in opening]
    for name, in_words in facts(text, fields, recipients, bulkness):
        weights = model.facts.get(name)
        if weights is not None:
            shown.append((name, "", in_words, weights))
    return _weighed(tuple(shown), model.bias, template)


def _weighed(shown: tuple[Shown, ...], bias: Weights, template: str) -> Evidence:
    t, s, m = bias
    for _, _, _, weights in shown:
        t += weights[0]
        s += weights[1]
        m += weights[2]
    best = max(t, s, m)
    # Where two classes are equal the one that goes first in line is meant: to hold mail back wrongly harms more.
    index = (t, s, m).index(best)
    confidence = 1 / (math.exp(t - best) + math.exp(s - best) + math.exp(m - best))
    return Evidence(CLASSES[index], confidence, template, shown)


def quoted(evidence: Evidence, text: Text, model: Model) -> tuple[Term, ...]:
    """The reasons with the message's own words; slow, for people."""
    sections = {"subject": text.subject, "opening": text.opening, "text": text.rest}
    return tuple(
        term._replace(text=model.phrases.quote(term.term, sections[term.where.partition(" ")[0]]))
        if term.where
        else term
        for term in evidence.terms
    )


_BULK_WORDS = (b"bulk", b"list", b"junk")


def facts(text: Text, fields: Sequence[Field], recipients: int, bulkness: int) -> Iterator[tuple[str, str]]:
    """What header, structure and envelope say: (term, in words)."""
    for one in fields[:MAX_FIELDS]:
        name = one[0]
        if name not in _TELLING:
            continue
        if name == "precedence":
            if bounded(one, 99).lower() in _BULK_WORDS:
                yield "precedence-bulk", ""
        elif name != "auto-submitted" or bounded(one, 99).lower() != b"no":
            yield name, ""
    if recipients > 1:
        yield "several-recipients", f"{recipients} recipients"
    if bulkness >= MANY:
        yield ("bulk" if bulkness >= BULK else "many-alike"), f"{bulkness} recipients got the same lately"
    yield from _structure(text)


MANY, BULK = 50, 1000  # recipients of one skeleton: a template in use; a mailing
_TELLING = frozenset(
    {"list-unsubscribe", "list-id", "list-unsubscribe-post", "feedback-id", "precedence", "auto-submitted"}
)


def _structure(text: Text) -> Iterator[tuple[str, str]]:
    if text.calendar:
        yield "calendar", "an invitation"
    if text.attachments:
        yield "attachment", f"{text.attachments} attached"
    if not text.html:
        yield "plain-text", "no HTML"
    if b"\xf0\x9f" in text.subject:  # U+1F000 to U+1FFFF: pictures
        yield "picture-in-subject", "a picture in the subject"
    for number, unit, (bounds, names) in (
        (text.length, "octets of text", _LENGTHS),
        (text.links, "links", _LINKS),
        (text.images, "images", _IMAGES),
    ):
        if name := names[bisect_left(bounds, number)]:
            yield name, f"{number} {unit}"
    if text.links > FEW_LINKS and text.length < OCTETS_A_LINK * text.links:
        yield "dense-links", f"{text.links} links in {text.length} octets of text"


# (up to which numbers; names of the facts, or ""): what a receipt has, what lies between, what a mailing has.
FEW_LINKS = 5
_Sizes = tuple[tuple[int, ...], tuple[str, ...]]
_LENGTHS: _Sizes = ((700, 2500), ("short", "", "long"))
_LINKS: _Sizes = ((2, FEW_LINKS, 14), ("few-links", "", "links", "many-links"))
_IMAGES: _Sizes = ((0, 2, 5), ("no-images", "", "images", "many-images"))
OCTETS_A_LINK = 150  # less text than two lines to a link: a page of teasers
