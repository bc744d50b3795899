"""Values as people write them in selectors and lists: several mean any of them, `*` stands for anything, case never
matters (INTERFACE, "Files: four rules"). Pure.

There is one meaning and three ways to ask: `fits` here, a GLOB for SQLite, a regular expression for RE2 (DuckDB). None
of them backtracks over more than one `*`, so no pattern costs more than its length times the text's.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.domain import a_label

MAX_LENGTH = 320  # of a pattern: the longest address (RFC 5321 4.5.3.1), and no other value is as long
MAX_COUNT = 200  # of patterns in one selector


class PatternError(ValueError):
    """More than can be asked at once; the words are for whoever asked."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The patterns one selector was given, in lower case. `text in any_of`: does one of them fit?"""

    patterns: tuple[str, ...]

    def __contains__(self, text: str) -> bool:
        lower = text.lower()
        return any(fits(pattern, lower) for pattern in self.patterns)

    @property
    def wild(self) -> bool:
        return any("*" in pattern for pattern in self.patterns)


def any_of(values: str | Iterable[str], *, domains: bool = False) -> AnyOf:
    """One value or several. With `domains` internationalised labels become A-labels, the form tables hold (RFC 5890).

    Raises PatternError beyond MAX_LENGTH and MAX_COUNT.
    """
    each = [values] if isinstance(values, str) else list(values)
    if len(each) > MAX_COUNT or any(len(value) > MAX_LENGTH for value in each):
        raise PatternError(f"at most {MAX_COUNT} values at once, none longer than {MAX_LENGTH} characters")
    return AnyOf(tuple(domain_pattern(value) if domains else value.lower() for value in each))


class Recipients:
    """Some people: addresses (`dana@shop.example`), domains (`shop.example`, without those under it), and patterns of
    either (`*@shop.example`, `*.shop.example`, `test-*@*`)."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(recipient_pattern(pattern) for pattern in patterns)
        self._plain = frozenset(pattern for pattern in self.patterns if "*" not in pattern)
        self._wild = tuple(pattern for pattern in self.patterns if "*" in pattern)

    def __repr__(self) -> str:
        return f"<Recipients {', '.join(self.patterns) or 'nobody'}>"

    def mean(self, address: str, domain: str) -> bool:
        """`domain` is the address's, as A-label."""
        if domain in self._plain:
            return True
        whole = f"{address.rpartition('@')[0].lower()}@{domain}"
        return whole in self._plain or any(fits(one, whole if "@" in one else domain) for one in self._wild)


def recipient_pattern(value: str) -> str:
    """In lower case, the domain as A-label."""
    local, at, domain = value.rpartition("@")
    return f"{local.lower()}{at}{domain_pattern(domain)}"


def domain_pattern(value: str) -> str:
    """`*.Bücher.example` as `*.xn--bcher-kva.example`; labels with a `*`, or that are none, stay as they are."""
    if value.isascii():
        return value.lower()
    return ".".join(label if "*" in label else a_label(label) or label for label in value.lower().split("."))


def fits(pattern: str, text: str) -> bool:
    """Both in lower case. The pieces between `*` must stand in `text` in their order, the first and last at its ends."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    at, end = len(first), len(text) - len(rest[-1])
    if end < at or not text.startswith(first) or not text.endswith(rest[-1]):
        return False
    return _in_order(rest[:-1], text, at, end)


def _in_order(pieces: Sequence[str], text: str, at: int, end: int) -> bool:
    """The earliest place of each piece is as good as any: what comes behind it has the most room."""
    for piece in pieces:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def sqlite_glob(pattern: str) -> str:
    """For SQLite's `text GLOB ...`: each letter as the set of its cases, since GLOB tells them apart and lower() of SQLite
    knows ASCII only; `?` and `[`, which mean something there, as sets of themselves."""
    return "".join(_one(character) for character in pattern)


def _one(character: str) -> str:
    if character == "*":
        return character
    cases = "".join(dict.fromkeys(c for c in (character, character.lower(), character.upper()) if len(c) == 1))
    return cases if len(cases) == 1 and cases not in "?[" else f"[{cases}]"


def re2(patterns: Iterable[str]) -> str:
    """One regular expression for a whole lower-case text (RE2 and `re` alike; `.` takes line ends too)."""
    return "(?s)(?:" + "|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns) + ")"
