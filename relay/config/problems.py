"""What is wrong with a file, where, and what was expected: one line each, worded for the person who has to cure it.

Format: `file:line: key.path: what is wrong; what was expected   [slug]`. The slug is the anchor of the documentation
and the `code` of `--json`; it never changes, the wording may. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

NOT_YET = "not yet supported in this version"
IN_CLEAR = "is in clear; https, or allow_private = true where it stays on a network of yours"  # of a webhook
_LISTED = 12  # names a message lists at most: more would bury the message


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning. `line` 0: it concerns the whole file; `key` "": no key in particular.

    `cure` becomes a `help:` line, where the cure is more than a word.
    """

    file: str
    line: int
    key: str
    message: str
    slug: str
    warning: bool = False
    cure: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = [place, self.key, "warning" if self.warning else "", f"{self.message}   [{self.slug}]"]
        line = ": ".join(part for part in parts if part)
        return f"{line}\nhelp: {self.cure}" if self.cure else line


class ConfigErrors(Exception):
    """Files that must not come into force. `problems` holds every error, and the warnings beside them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Wrong(ValueError):
    """A value that says nothing we understand; raised by whoever reads it, given its place by the reader."""

    def __init__(self, slug: str, message: str) -> None:
        super().__init__(message)
        self.slug = slug
        self.message = message


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely is a slip of. 0.6 is difflib's own cutoff: `maron` finds `marom`."""
    candidates = {candidate.casefold(): candidate for candidate in known}
    found = get_close_matches(name.casefold(), candidates, n=1, cutoff=0.6)
    return candidates[found[0]] if found else None


def listing(names: Iterable[str]) -> str:
    """Names for a message, in order; the rest counted."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
    return ", ".join(ordered[:_LISTED]) + more


def no_such(kind: str, name: str, known: Iterable[str], where: str) -> str:
    """`no pool "cold" in config/pools.toml; there are marketing, transactional`"""
    names = list(known)
    close = did_you_mean(name, names)
    if close is not None:
        hint = f'did you mean "{close}"?'
    else:
        hint = f"there are {listing(names)}" if names else "there are none"
    return f'no {kind} "{name}" in {where}; {hint}'
