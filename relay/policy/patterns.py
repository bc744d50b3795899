"""Text conditions of policy files: read once, matched together. Pure.

Four kinds: plain words (of a subject), exact text, `*` as wildcard, `re:` for RE2. Case never matters. All patterns of one
key are matched in one go (words by an index, exact text by a dict, the rest by an automaton), so that the cost does not
grow with their number. Values may be any text; none makes a match raise.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any
from unicodedata import category, normalize

import re2

# Chinese, Japanese and Thai write no blanks between words: each of their letters counts as a word.
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+")
_PATTERN_BYTES = 1 << 20  # program of one pattern: a thousand times what a usual one takes
_SET_BYTES = 32 << 20  # of all patterns of one key, automaton included: 2,000 patterns of 10 letters take 3 MB
_MAX_VALUE = 2_000  # characters of a value that are looked at; a line of a header has 998 octets (RFC 5322 2.1.1)


class Kind(Enum):
    WORDS = "words"
    EXACT = "exact"
    GLOB = "glob"
    RE2 = "re2"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One condition. `text` is what is compared: folded, for words with a blank before and behind each; of RE2 its source.

    `written` is what stood in the file.
    """

    kind: Kind
    text: str
    written: str

    def __str__(self) -> str:
        return self.written


class BadPattern(ValueError):
    """The text says what is wrong with a pattern."""


def parse(written: str, *, words: bool = False) -> Pattern:
    """`words`: plain text means these words anywhere, as in a subject. Raises BadPattern."""
    if written.startswith("re:"):
        source = written.removeprefix("re:")
        _compiled(source)
        return Pattern(Kind.RE2, source, written)
    text = folded(written)
    if "*" in text:
        return Pattern(Kind.GLOB, re.sub(r"\*+", "*", text), written)
    if not words:
        return Pattern(Kind.EXACT, text.strip(), written)
    found = _WORD.findall(text)
    if not found:
        raise BadPattern(f"holds no word; for these characters anywhere write '*{written}*'")
    return Pattern(Kind.WORDS, _spaced(found), written)


@lru_cache(maxsize=4096)
def _compiled(source: str) -> Any:
    try:
        return re2.compile(source, _options(_PATTERN_BYTES))
    except re2.error as error:
        why = error.args[0] if error.args else "not understood"
        raise BadPattern(f"is no RE2 pattern: {why.decode() if isinstance(why, bytes) else why}") from None


def _options(memory: int) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    options.max_mem = memory
    return options


def folded(text: str) -> str:
    """As texts are compared: without case, vowel points, other combining marks and direction marks."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in normalize("NFC", text.casefold()) if category(c) not in ("Mn", "Cf"))


def _spaced(words: Iterable[str]) -> str:
    return f" {' '.join(words)} "


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Is it certain that whatever `narrow` matches, `wide` matches too? False where that cannot be told."""
    if wide.kind is Kind.WORDS:
        return narrow.kind is Kind.WORDS and wide.text in narrow.text
    if wide.kind is not Kind.GLOB:
        return wide.kind is narrow.kind and wide.text == narrow.text
    if wide.text == "*":
        return True
    if narrow.kind is Kind.WORDS:  # the subject holds each of the words, with whatever around them
        inner = wide.text.strip("*")
        return wide.text == f"*{inner}*" and "*" not in inner and any(inner in word for word in narrow.text.split())
    # A wildcard of the narrow one is fine where it falls into one of the wide one.
    return narrow.kind is not Kind.RE2 and _glob_fits(wide.text, narrow.text)


def _glob_fits(glob: str, text: str) -> bool:
    first, *middle, last = glob.split("*")
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


class Matcher:
    """The patterns of one key; a pattern is known by its place in the sequence given."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._exact: dict[str, int] = {}
        self._words: dict[str, list[tuple[str, int]]] = {}
        globs: list[tuple[str, int]] = []
        sources: list[tuple[str, int]] = []
        common = Counter(word for one in patterns if one.kind is Kind.WORDS for word in one.text.split())
        for number, pattern in enumerate(patterns):
            if pattern.kind is Kind.EXACT:
                self._exact[pattern.text] = number
            elif pattern.kind is Kind.WORDS:
                rarest = min(pattern.text.split(), key=lambda word: common[word])
                self._words.setdefault(rarest, []).append((pattern.text, number))
            elif pattern.kind is Kind.GLOB:
                globs.append((_of_glob(pattern.text), number))
            else:
                sources.append((pattern.text, number))
        self._globs = _Automaton(globs) if globs else None
        self._sources = _Automaton(sources) if sources else None

    def __repr__(self) -> str:
        return f"<Matcher exact={len(self._exact)} words={len(self._words)} {self._globs} {self._sources}>"

    def any_of(self, texts: Iterable[str]) -> bool:
        """Does any pattern hold for any of `texts`?"""
        return any(self.matches(text) for text in texts)

    def matches(self, text: str) -> set[int]:
        """The patterns that hold for `text`."""
        text = text[:_MAX_VALUE]
        plain = folded(text)
        found: set[int] = set()
        exact = self._exact.get(plain.strip())
        if exact is not None:
            found.add(exact)
        if self._words:
            words = _WORD.findall(plain)
            line = _spaced(words)
            for word in set(words).intersection(self._words):
                found.update(number for phrase, number in self._words[word] if phrase in line)
        if self._globs is not None:
            found |= self._globs.search(plain)
        if self._sources is not None:
            found |= self._sources.search(text)
        return found


def _of_glob(text: str) -> str:
    """The wildcard pattern in RE2's words; without anchors where it begins or ends with a wildcard, which is faster."""
    inner = "(?s:.*)".join(re2.escape(part) for part in text.strip("*").split("*"))
    return ("" if text.startswith("*") else r"\A") + inner + ("" if text.endswith("*") else r"\z")


class _Automaton:
    """Many RE2 patterns searched for at once; each has the number it was given with."""

    def __init__(self, patterns: Sequence[tuple[str, int]]) -> None:
        self._patterns = patterns
        self._numbers = [number for _, number in patterns]
        self._set = _set_of([source for source, _ in patterns])

    def __repr__(self) -> str:
        return f"patterns={len(self._patterns)}"

    def search(self, text: str) -> set[int]:
        octets = text.encode(errors="replace")
        hits = self._set.Match(octets) if self._set is not None else None
        if hits is None or 0 not in hits:  # it has run out of memory and says nothing of it
            return {number for source, number in self._patterns if _compiled(source).search(octets)}
        return {self._numbers[hit - 1] for hit in hits if hit}


def _set_of(sources: Sequence[str]) -> Any:
    """The first pattern always matches: where it is not among the hits, the search has failed. None: too large for one."""
    together = re2.Set.SearchSet(_options(_SET_BYTES))
    try:
        for source in ("", *sources):
            together.Add(source)
        together.Compile()
    except re2.error:
        return None
    return together
