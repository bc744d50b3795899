"""How the words are written that speak for something, lexicon/LANGUAGE.toml, and how text is made like them. Pure.

A file has one key for each concept; its phrases stand between semicolons:

  {n}      a number               {p}    a percentage
  (a|b)    one of these           [xy]   one of these characters
  x?       x, a character or a group, may be missing
  x*       the rest of the word after x, or nothing: `donat*`; at the front of a phrase any beginning: `*rabatt`

Everything else is the text as `normal()` leaves it: lower case, one blank between words, most punctuation gone. Phrases
match whole words; in languages written without blanks they match anywhere. Digits mean themselves; where they stand there
is no {n}, no {p}, and no `*` but at the ends.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping

Lexicon = Mapping[str, str]  # concept -> phrases

# Characters that part words; phrases and text are treated alike. `: # % $ ' & + - @` stay: they mean something.
_PARTING = b'\t\n\r\f\v\x00\x7f.,;!?()[]{}<>"*_~=/\\|^`'
# ASCII in lower case (A-Z are 65 to 90, a-z 32 further on), what parts words as blanks.
_LOWER = bytes(c + 32 if 65 <= c <= 90 else 32 if c in _PARTING else c for c in range(256))
# Octets of characters that have no case and one form: ASCII, Latin-1 (treated apart), Hebrew, Arabic, punctuation, CJK.
_PLAIN = bytes([*range(0xC0), 0xC2, 0xC3, *range(0xD6, 0xDC), *range(0xE2, 0xEA)])

# What characters are replaced by, by their last octet.
_LATIN_SIGNS = {
    bytes([c]): b"" if c == 0xAD else b" " for c in range(0x80, 0xC0)
}  # no-break space, guillemets, ordinals
_PUNCTUATION = {  # U+2000 to U+203F: dashes, quotes, ellipsis; zero-width characters and marks of direction vanish
    bytes([c]): b"" if 0x8B <= c <= 0x8F or 0xAA <= c <= 0xAE else b" " for c in range(0x80, 0xC0)
} | {b"\x99": b"'", b"\x91": b"-"}
_LATIN_CAPITAL = re.compile(rb"\xc3[\x80-\x9e]")
_HEBREW_POINT = re.compile(rb"\xd6[\x91-\xbd\xbf]|\xd7[\x81-\x87]")
_ARABIC_SIGN = re.compile(rb"\xd8[\x8c\x9b\x9f]")
_ARABIC_POINT = re.compile(rb"\xd9[\x80\x8b-\x92]")  # tatweel and vowels
_WIDE_SIGN = re.compile(rb"\xe3\x80[\x80-\xbf]")  # CJK brackets, comma, full stop

MAX_COMPOSED = 4_000  # characters: more than any window of text.py has; 2 us each at worst


def normal(text: bytes) -> bytes:
    """UTF-8 as phrases are compared: lower case, typographic signs as blanks, one blank between words, none at the ends.

    What is common is done on octets; only text in other scripts with case, or with composed forms, is decoded.
    """
    if not text.isascii():
        text = _without_signs(text)
        if text.translate(None, _PLAIN):
            text = _folded(text.decode(errors="replace"))
    text = text.translate(_LOWER)
    if b" " * 9 in text:  # indented, or filled
        return b" ".join(text.split())
    if b"  " not in text:
        return text.strip()
    # Thrice halves runs of eight to one, in a third of the time.
    return text.replace(b"  ", b" ").replace(b"  ", b" ").replace(b"  ", b" ").strip()


def _folded(text: str) -> bytes:
    """Composed forms are taken apart at the end only, where names and addresses stand: some characters become eighteen."""
    head, tail = text[:-MAX_COMPOSED], text[-MAX_COMPOSED:]
    if not unicodedata.is_normalized("NFKC", tail):
        tail = unicodedata.normalize("NFKC", tail)
    return (head + tail).lower().encode(errors="replace")


def _without_signs(text: bytes) -> bytes:
    if b"\xe2\x80" in text:
        text = _replaced(text, b"\xe2\x80", _PUNCTUATION)
    if b"\xc2" in text:
        text = _replaced(text, b"\xc2", _LATIN_SIGNS)
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


def _replaced(text: bytes, lead: bytes, by: Mapping[bytes, bytes]) -> bytes:
    """With the characters that begin with these octets replaced, in half the time of a regular expression."""
    first, *others = text.split(lead)
    return first + b"".join([by.get(other[:1], lead + other[:1]) + other[1:] for other in others])


def _small(match: "re.Match[bytes]") -> bytes:
    return bytes((0xC3, match[0][1] + 0x20))


def phrases_of(text: str) -> Iterator[str]:
    for phrase in text.split(";"):
        if phrase := " ".join(phrase.split()):
            yield phrase
