"""A phrase of a lexicon as what an automaton of fixed strings can find: heads, and what must stand around them. Pure.

A phrase stands for many texts. Those are written out while they are few. What would multiply them, and what is no fixed
text at all (the rest of a word), is looked at where a head was found:

  your (order|parcel)    the heads " your order ", " your order:", " your parcel " and " your parcel:"
  request* to reset      the head " to reset " (or with a colon); the word that ends there must begin with " request"
  *rabatt                the head "rabatt " (or with a colon)

A number is one 0: digits() makes the text alike.
"""

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from relay.policy.evidence.lexicon import normal

UNSPACED = frozenset({"ja", "ko", "th", "zh"})  # written without blanks, or with endings joined to the word
# What may be joined to the front of a word: Hebrew's and Arabic's one-letter words and articles.
FRONTS = {
    language: frozenset("".join(letters).encode() for letters in product(*places))
    for language, places in {
        "he": (("", *"והבלמשכ"), ("", *"הבלמ")),
        "ar": (("", *"وف"), ("", *"بلك"), ("", "ال", "ل")),
    }.items()
}
_LONGEST_FRONT = max(len(front) for fronts in FRONTS.values() for front in fronts)

MOST = 64  # texts written out of one part of a phrase; more make the automaton large
MOST_AFTER = 512  # the same of what comes after the rest of a word; mostly they are heads themselves
LEAST = 12  # characters of them: heads are cut no shorter, because what is found often must be followed often

_REST = "\0"  # the rest of a word; stands in no normal text
_EVERY_WORD_ENDS = re.compile(f"{_REST}[ :]?$")
_SIGNS = re.compile(r"\{(?:n|p)\}|\[[^\]]*\]|(?:(?:[^\W_]| )(?!\?))+|[()|*?]|[^{}\[\]()|*?]")
_MEANINGS = {"{n}": ["0"], "{p}": ["0%", "0 %"], "*": [_REST], "#": ["#", "# "]}
_ALL_ZERO = bytes(48 if 48 <= c <= 57 else c for c in range(256))

Variants = list[str]  # the texts that a piece of a phrase may be


class Where(Enum):
    """Where a piece must stand, after what came before it."""

    AT_ONCE = 0
    WITHIN = 1  # in the same word, however far
    WORD_END = 2


class Step(NamedTuple):
    """One of `pieces` must follow."""

    where: Where
    pieces: tuple[bytes, ...]


class Reading(NamedTuple):
    """`head` is to be found in digits(text); then come the steps.

    fronts   one of these must stand between the head and the blank before it (no fronts: anything may)
    stems    one of these must stand before the head, which comes later in the word that the stem ends in, or at its end
    numeral  the head as it stands in the text, if its digits are meant as they are
    """

    head: bytes
    steps: tuple[Step, ...] = ()
    fronts: frozenset[bytes] = frozenset()
    stems: tuple[bytes, ...] = ()
    numeral: bytes = b""

    @property
    def sure(self) -> bool:
        """Is the head all there is to it?"""
        return not (self.steps or self.fronts or self.stems or self.numeral)

    def span(self, flat: bytes, start: int, end: int, text: bytes) -> tuple[int, int] | None:
        """Where in `flat`, which is digits(text), the phrase stands whose head stands at [start:end]; None: it does not."""
        if self.stems:
            start = self._stem(flat, start)
        elif self.fronts:
            blank = flat.rfind(b" ", max(0, start - _LONGEST_FRONT - 1), start)
            start = blank if flat[blank + 1 : start] in self.fronts else -1
        if start < 0 or (self.numeral and self.numeral not in text):
            return None
        places = {end}
        for step in self.steps:
            places = {further for place in places for further in _ends(flat, place, step)}
        return (start, max(places)) if places else None

    def _stem(self, flat: bytes, head: int) -> int:
        """Where the stem begins that stands before the head; -1 without one."""
        blank = flat.rfind(b" ", 0, head)
        for stem in self.stems:
            at = blank - stem.rfind(b" ")  # below 0 that is at the end of the text, where no stem is before the head
            if flat.startswith(stem, at, head):
                return at
        return -1


def _ends(text: bytes, place: int, step: Step) -> list[int]:
    """Where the pieces of a step end that stand there. Of the same piece further on in a word, the first says it all."""
    where, pieces = step
    if where is Where.WITHIN:
        word_end = text.find(b" ", place)
        found = [(text.find(piece, place, word_end + len(piece)), piece) for piece in pieces]
        return [at + len(piece) for at, piece in found if at >= 0]
    at = place if where is Where.AT_ONCE else text.find(b" ", place)
    if not text.startswith(pieces, at):
        return []
    return [at + len(piece) for piece in pieces if text.startswith(piece, at)]


def digits(text: bytes) -> bytes:
    """Each number as one 0."""
    text = text.translate(_ALL_ZERO)
    while b"00" in text:
        text = text.replace(b"00", b"0")
    return text


def readings(phrase: str, language: str) -> Iterator[Reading]:
    """What `phrase` stands for; ValueError if it is not written as lexicon.py says."""
    before: Variants = [" "]
    fronts: frozenset[bytes] = frozenset()
    if language in UNSPACED or phrase.startswith("*"):
        before = [""]
    elif language in FRONTS:
        before, fronts = [""], FRONTS[language]
    open_end = language in UNSPACED or phrase.endswith((":", "#", "*"))
    written = phrase.removeprefix("*").removesuffix("*").replace("# ", "#")
    signs = _SIGNS.findall(written)
    if "".join(signs) != written or written.count("(") != written.count(")"):
        raise ValueError(f"a bracket is missing: {phrase}")
    pieces = [before, *_pieces(signs[::-1])]
    if not open_end:
        pieces[-1] = _joined([pieces[-1], [" ", ":"]])
    if re.search("[0-9]", written):
        if "{" in written or "*" in written:
            raise ValueError(f"digits and signs in one phrase: {phrase}")
        yield from _numerals(pieces, fronts)
        return
    for way in _ways(_parts(pieces)):
        if not way:
            raise ValueError(f"stands for every text: {phrase}")
        first, steps = way[0], way[1:]
        if before == [" "] and len(steps) == 1 and steps[0].where is not Where.AT_ONCE and _rarer(steps[0], first):
            yield from (Reading(head, stems=first.pieces) for head in steps[0].pieces)
        else:
            yield from (Reading(head, steps, fronts) for head in first.pieces)


def _rarer(one: Step, other: Step) -> bool:
    """Which is better looked for? Longer texts are found less often."""
    return min(map(len, one.pieces)) >= min(map(len, other.pieces))


def _numerals(pieces: Sequence[Variants], fronts: frozenset[bytes]) -> Iterator[Reading]:
    """Of a phrase in which digits stand: all is written out."""
    if fronts:
        pieces = [[f" {front.decode()}" for front in sorted(fronts)], *pieces]
    for text in _joined(pieces):
        yield Reading(digits(text.encode()), numeral=text.encode())


def _pieces(signs: list[str]) -> list[Variants]:
    """One after the other, up to the end of a group or of all. `signs` is used up from its end."""
    pieces: list[Variants] = []
    while signs and signs[-1] not in (")", "|"):
        sign = signs.pop()
        if sign == "?":
            pieces[-1] = ["", *pieces[-1]]
        elif sign == "(":
            pieces.append(_group(signs))
        else:
            pieces.append(_meaning(sign))
    return pieces


def _group(signs: list[str]) -> Variants:
    variants: Variants = []
    closed = False
    while not closed:
        variants += _joined(_pieces(signs))
        closed = signs.pop() == ")"
    return variants


def _meaning(sign: str) -> Variants:
    """What one sign, or some letters, stand for."""
    if sign in _MEANINGS:
        return _MEANINGS[sign]
    if sign[0] == "[":
        return list(sign[1:-1])
    return _joined([_normal(character) for character in sign])


@lru_cache(maxsize=512)
def _normal(character: str) -> Variants:
    """One that parts words may have vanished beside a blank."""
    as_text = normal(f"x{character}x".encode()).decode()[1:-1]
    return ["", " "] if as_text in ("", " ") and character != " " else [as_text]


def _joined(pieces: Sequence[Variants]) -> Variants:
    """All texts; two blanks never follow each other."""
    return [text for text in map("".join, product(*pieces)) if "  " not in text]


def _parts(pieces: Sequence[Variants]) -> list[tuple[bool, Variants]]:
    """The texts that follow each other, at once or (True) after the rest of a word: cut at each `*`, and where they grow
    many."""
    parts: list[tuple[bool, Variants]] = []
    after_rest, part = False, [""]
    for piece in pieces:
        if piece and all(text.endswith(_REST) for text in piece):
            parts.append((after_rest, _joined([part, [text[:-1] for text in piece]])))
            after_rest, part = True, [""]
        elif len(part) * len(piece) > (MOST_AFTER if after_rest else MOST) and min(map(len, part)) >= LEAST:
            parts.append((after_rest, part))
            after_rest, part = False, piece
        else:
            part = _joined([part, piece])
    return [*parts, (after_rest, part)]


def _ways(parts: Sequence[tuple[bool, Variants]], after_rest: bool = False) -> Iterator[tuple[Step, ...]]:
    """The steps through all parts: one way, or several where a `*` stands in a group. `after_rest`: one stood before."""
    if not parts:
        yield ()
        return
    (own_rest, texts), *further = parts
    after_rest = after_rest or own_rest
    if not (further or after_rest or "" in texts or _REST in "".join(texts)):  # most phrases
        yield (Step(Where.AT_ONCE, tuple([text.encode() for text in texts])),)
        return
    if not further:
        texts = list(dict.fromkeys(_EVERY_WORD_ENDS.sub("", text) for text in texts))
    alike: dict[tuple[str, ...], list[str]] = {}  # what stands before a text's last `*` -> what stands behind it
    for text in texts:
        *starred, last = text.split(_REST)
        alike.setdefault(tuple(starred), []).append(last)
    for before, lasts in alike.items():
        way = [step for number, text in enumerate(before) for step in _steps(after_rest or number > 0, [text])]
        open_end = after_rest or bool(before)
        if "" in lasts:
            yield from ((*way, *following) for following in _ways(further, open_end))
        for step in _steps(open_end, [last for last in lasts if last]):
            yield from ((*way, step, *following) for following in _ways(further))


def _steps(after_rest: bool, texts: Variants) -> Iterator[Step]:
    """One for each place where the texts may stand."""
    pieces = [text.encode() for text in texts]
    if not after_rest:
        places = {Where.AT_ONCE: pieces}
    else:
        places = {
            Where.WORD_END: [piece for piece in pieces if piece[:1] == b" "],
            Where.WITHIN: [piece for piece in pieces if piece[:1] != b" "],
        }
    return (Step(where, tuple(found)) for where, found in places.items() if found)
