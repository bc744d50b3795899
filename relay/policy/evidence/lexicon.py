"""The words that speak for something: lexicon/LANGUAGE.toml, compiled into one RE2 set. Pure.

A file has one key for each concept; its phrases stand between semicolons:

  {n}      a number               {p}    a percentage
  (a|b)    one of these           [xy]   one of these characters
  x?       x, a character or a group, may be missing
  x*       the rest of the word after x, or nothing: `donat*`; at the front of a phrase any beginning: `*rabatt`

Everything else is the text as `normal()` leaves it: lower case, one blank between words, most punctuation gone. Phrases
match whole words; in languages written without blanks they match anywhere. The set is searched as octets, all concepts at
once, in time linear in the text whatever the phrases are. There is no sign for "any word": the automaton would be another
one after each word that may stand before it, and cost much more to build.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

import re2

Lexicon = Mapping[str, str]  # concept -> phrases

UNSPACED = frozenset({"ja", "ko", "th", "zh"})  # written without blanks, or with endings joined to the word
# What may be joined to the front of a word: Hebrew's and Arabic's one-letter words and articles.
OTHER_SCRIPTS = frozenset({"ar", "el", "fa", "he", "hi", "ja", "ko", "ru", "th", "uk", "zh"})
PREFIXES = {"he": "(ו|ה|ב|ל|מ|ש|כ)?(ה|ב|ל|מ)?", "ar": "(و|ف)?(ب|ل|ك)?(ال|ل)?", "fa": "", "ur": ""}

# Of each set's automaton, which grows as new words are met: mail in ten languages took 8 MB after 200 different templates.
# When it is full it is dropped and built anew; below 16 MB the patterns themselves would not fit.
MAX_MEMORY = 32 << 20

_TOKENS = re.compile(r"\{(?:n|p)\}|\[[^\]]*\]|[()|*?]|[^{}\[\]()|*?]")
_PLACES = {"{n}": "[0-9]+", "{p}": "[0-9]+ ?%"}

# Characters that part words; phrases and text are treated alike. `: # % $ ' & + - @` stay: they mean something.
_PARTING = b'\t\n\r\f\v\x00\x7f.,;!?()[]{}<>"*_~=/\\|^`'
# ASCII in lower case (A-Z are 65 to 90, a-z 32 further on), what parts words as blanks.
_LOWER = bytes(c + 32 if 65 <= c <= 90 else 32 if c in _PARTING else c for c in range(256))
# Octets of characters that have no case and one form: ASCII, Latin-1 (treated apart), Hebrew, Arabic, punctuation, CJK.
_PLAIN = bytes([*range(0xC0), 0xC2, 0xC3, *range(0xD6, 0xDC), *range(0xE2, 0xEA)])

_LATIN_CAPITAL = re.compile(rb"\xc3[\x80-\x9e]")
_LATIN_SIGN = re.compile(rb"\xc2[\x80-\xbf]")  # no-break space, guillemets, ordinals
_INVISIBLE = re.compile(rb"\xe2\x80[\x8b-\x8f\xaa-\xae]")  # zero-width, marks of direction
_PUNCTUATION = re.compile(rb"\xe2\x80[\x80-\xbf]")  # U+2000 to U+203F: dashes, quotes, ellipsis
_HEBREW_POINT = re.compile(rb"\xd6[\x91-\xbd\xbf]|\xd7[\x81-\x87]")
_ARABIC_SIGN = re.compile(rb"\xd8[\x8c\x9b\x9f]")
_ARABIC_POINT = re.compile(rb"\xd9[\x80\x8b-\x92]")  # tatweel and vowels
_WIDE_SIGN = re.compile(rb"\xe3\x80[\x80-\xbf]")  # CJK brackets, comma, full stop


def normal(text: bytes) -> bytes:
    """UTF-8 as phrases are compared: lower case, typographic signs as blanks, one blank between words, none at the ends.

    What is common is done on octets; only text in other scripts with case, or with composed forms, is decoded.
    """
    if not text.isascii():
        text = _without_signs(text)
        if text.translate(None, _PLAIN):
            text = _folded(text.decode(errors="replace"))
    return b" ".join(text.translate(_LOWER).split())


def _folded(text: str) -> bytes:
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    return text.lower().encode(errors="replace")


def _without_signs(text: bytes) -> bytes:
    if b"\xe2\x80" in text:
        text = text.replace(b"\xe2\x80\x99", b"'").replace(b"\xe2\x80\x91", b"-")
        text = _PUNCTUATION.sub(b" ", _INVISIBLE.sub(b"", text))
    if b"\xc2" in text:
        text = _LATIN_SIGN.sub(b" ", text.replace(b"\xc2\xad", b""))
    if b"\xc3" in text:
        text = _LATIN_CAPITAL.sub(_small, text)
    if b"\xd7" in text:
        text = text.replace(b"\xd7\xb4", b" ").replace(b"\xd7\xb3", b"'")
    if b"\xd6" in text:
        text = _HEBREW_POINT.sub(b"", text.replace(b"\xd6\xbe", b" "))
    if b"\xd8" in text:
        text = _ARABIC_POINT.sub(b"", _ARABIC_SIGN.sub(b" ", text))
    if b"\xe3\x80" in text:
        text = _WIDE_SIGN.sub(b" ", text)
    return text


def _small(match: "re.Match[bytes]") -> bytes:
    return bytes((0xC3, match[0][1] + 0x20))


class Phrases:
    """All lexicons as two sets, of which ASCII text needs one; `found` names the concepts of a text by their number in
    `concepts`, those found in both sets twice."""

    def __init__(self, lexicons: Mapping[str, Lexicon]) -> None:
        self.concepts = tuple(dict.fromkeys(concept for lexicon in lexicons.values() for concept in lexicon))
        self._options = re2.Options()
        self._options.max_mem = MAX_MEMORY
        self._options.encoding = re2.Options.Encoding.LATIN1  # a character is an octet
        latin = {language: lexicon for language, lexicon in lexicons.items() if language not in OTHER_SCRIPTS}
        other = {language: lexicon for language, lexicon in lexicons.items() if language in OTHER_SCRIPTS}
        self._patterns = [[_pattern(concept, of).encode() for concept in self.concepts] for of in (latin, other)]
        self._latin, self._other = (self._compiled(patterns) for patterns in self._patterns)

    def __repr__(self) -> str:
        return f"<Phrases concepts={len(self.concepts)}>"

    def _compiled(self, patterns: Sequence[bytes]) -> "re2.Set":
        compiled = re2.Set.SearchSet(self._options)
        for pattern in patterns:
            compiled.Add(pattern or _NOTHING)
        compiled.Compile()
        return compiled

    def found(self, text: bytes) -> Sequence[int]:
        """Of `text`, as normal() gives it with a blank in front and behind."""
        numbers: Sequence[int] = self._latin.Match(text) or ()  # None where nothing matches
        if text.isascii():
            return numbers
        return [*numbers, *(self._other.Match(text) or ())]

    def quote(self, concept: str, text: bytes) -> str:
        """The words of `text` that stand for a concept that was found there; slow: for people."""
        number = self.concepts.index(concept)
        for patterns in self._patterns:
            match = re2.search(patterns[number] or _NOTHING, text, self._options)
            if match:
                return str(match[0].decode(errors="replace")).strip(" :")
        return ""


_NOTHING = b"\xff\xff"  # in no UTF-8


def _pattern(concept: str, lexicons: Mapping[str, Lexicon]) -> str:
    """All languages' phrases of a concept: those that begin a word, sorted so that RE2 shares their beginnings, and others."""
    words: set[str] = set()
    anywhere: set[str] = set()
    for language, lexicon in lexicons.items():
        own: set[str] = set()
        for phrase in phrases_of(lexicon.get(concept, "")):
            free = language in UNSPACED or phrase.startswith("*")
            (anywhere if free else own).add(syntax(phrase.removeprefix("*")) + _end(phrase, language))
        if own and language in PREFIXES:
            own = {syntax(PREFIXES[language]) + _either(own)}
        words |= own
    return "|".join(([" " + _either(words)] if words else []) + sorted(anywhere))


def _either(patterns: Iterable[str]) -> str:
    return f"(?:{'|'.join(sorted(patterns))})"


def phrases_of(text: str) -> Iterator[str]:
    for phrase in text.split(";"):
        if phrase := " ".join(phrase.split()):
            yield phrase


def _end(phrase: str, language: str) -> str:
    """What shows that the last word ends, where it must."""
    return "" if language in UNSPACED or phrase.endswith((":", "#", "*")) else "[ :]"


def syntax(phrase: str) -> str:
    """One phrase as a pattern. What the last word may go on with is of no interest."""
    return "".join(_pieces(_TOKENS.findall(phrase.removesuffix("*")))).replace("# ? ", "# ?")


def _pieces(tokens: Iterable[str]) -> Iterator[str]:
    for piece in tokens:
        if piece in _PLACES:
            yield _PLACES[piece]
        elif piece == "(":
            yield "(?:"
        elif piece == "*":
            yield "[^ ]*"
        elif piece in (")", "|", "?"):
            yield piece
        elif piece[0] == "[":
            yield "(?:" + "|".join(re.escape(c) for c in piece[1:-1]) + ")"
        elif piece == "#":
            yield "# ?"
        elif piece.isspace():
            yield piece
        else:
            yield _literal(piece)


def _literal(character: str) -> str:
    """One character; one that parts words may have vanished beside a blank."""
    as_text = normal(f"x{character}x".encode()).decode()[1:-1]
    if as_text in (" ", ""):
        return " ?"
    return (
        re.escape(as_text) if as_text.isascii() else f"(?:{re.escape(as_text)})"
    )  # `?` behind it means all its octets
