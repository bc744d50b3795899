"""Vocabulary: what an attempt says that found no room. No imports, no I/O."""

from typing import NamedTuple


class Pause(NamedTuple):
    """The site has no room before `until` (ms since the epoch): nothing was tried, and nothing is written.

    why  for people, one line: "google: 20/s from 192.0.2.10"; "" where there is nothing to say
    """

    until: int
    why: str = ""
