"""All phrases of all languages as one automaton, built once: what a search costs depends on the texts' length alone. Pure.

The automaton (Aho-Corasick) finds every head of a phrase (phrase.py) in one pass. Most heads prove their concept; where a
phrase asks for more, that is compared in place. Nothing is built or kept while mail goes through.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from ahocorasick_rs import BytesAhoCorasick, Implementation

from relay.policy.evidence.lexicon import Lexicon, phrases_of
from relay.policy.evidence.phrase import Reading, digits, readings

_SEAM = b" \0 "  # between texts: no phrase holds two blanks in a row, so none is found across it


class Phrases:
    """`concepts` that lexicons speak of; they are known by their number in it."""

    def __init__(self, lexicons: Mapping[str, Lexicon]) -> None:
        self.concepts = tuple(dict.fromkeys(chain.from_iterable(lexicons.values())))
        sure: list[dict[bytes, None]] = [{} for _ in self.concepts]  # for each concept the heads that prove it
        asking: dict[tuple[Reading, int], None] = {}
        for language, lexicon in lexicons.items():
            for concept, phrases in lexicon.items():
                number = self.concepts.index(concept)
                for reading in chain.from_iterable(readings(phrase, language) for phrase in phrases_of(phrases)):
                    if reading.sure:
                        sure[number][reading.head] = None
                    else:
                        asking[reading, number] = None
        # The heads are numbered: first those that prove a concept, whose number stands here, then those that ask for more.
        self._sure = bytes(number for number, heads in enumerate(sure) for _ in heads)
        self._asking = [(reading, number) for reading, number in asking if reading.head not in sure[number]]
        heads = [*chain.from_iterable(sure), *(reading.head for reading, _ in self._asking)]
        # Of the library's three kinds the one that takes 15 MB; the fastest one would take 400 and gain nothing.
        self._automaton = BytesAhoCorasick(heads, implementation=Implementation.ContiguousNFA)

    def __repr__(self) -> str:
        return f"<Phrases concepts={len(self.concepts)} heads={len(self._sure) + len(self._asking)}>"

    def found(self, texts: Sequence[bytes]) -> list[list[int]]:
        """The concepts of each of `texts`, which are as normal() gives them with a blank in front and behind."""
        flat = digits(_SEAM.join(texts))
        sure, first, asking = self._sure, len(self._sure), self._asking
        found: list[set[int]] = [set() for _ in texts]
        number, here, seam = 0, found[0], flat.find(b"\0")
        for head, start, end in self._automaton.find_matches_as_indexes(flat, overlapping=True):
            while start > seam >= 0:
                number += 1
                here, seam = found[number], flat.find(b"\0", seam + 1)
            if head < first:
                here.add(sure[head])
            else:
                reading, concept = asking[head - first]
                if concept not in here and reading.span(flat, start, end, texts[number]):
                    here.add(concept)
        return [sorted(concepts) for concepts in found]

    def quote(self, concept: str, text: bytes) -> str:
        """The words of `text` that stand for a concept, the first that do, as many as do; for people."""
        wanted = self.concepts.index(concept)
        spans = (span for number, span in self._spans(text) if span is not None and number == wanted)
        start, end = min(spans, key=lambda span: (span[0], -span[1]), default=(0, 0))
        places = [at for at in range(len(text)) if not (text[at : at + 1].isdigit() and text[at - 1 : at].isdigit())]
        places.append(len(text))
        return text[places[start] : places[end]].decode(errors="replace").strip(" :")

    def _spans(self, text: bytes) -> Iterator[tuple[int, tuple[int, int] | None]]:
        """The concept of each head in `text`, and from where to where in digits(text) the phrase stands, if it does."""
        flat = digits(text)
        for head, start, end in self._automaton.find_matches_as_indexes(flat, overlapping=True):
            if head < len(self._sure):
                yield self._sure[head], (start, end)
            else:
                reading, concept = self._asking[head - len(self._sure)]
                yield concept, reading.span(flat, start, end, text)
