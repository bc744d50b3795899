"""A bar for commands that take a while; on a terminal only, and gone when they are done."""

import sys
import time
from typing import TextIO

_WIDTH = 30
_PAUSE = 0.1  # seconds between two drawings


class Progress:
    """`share` of the whole, 0 to 1, and a word on it. Draws nothing where `out` is no terminal."""

    def __init__(self, what: str, out: TextIO | None = None) -> None:
        """`out`: standard error unless it is said."""
        out = out or sys.stderr
        self._what = what
        self._out = out if out.isatty() else None
        self._drawn = 0.0

    def __enter__(self) -> "Progress":
        self.show(0.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._out is not None:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def show(self, share: float, word: str = "") -> None:
        now = time.monotonic()
        if self._out is None or now - self._drawn < _PAUSE:
            return
        self._drawn = now
        share = min(1.0, max(0.0, share))
        bar = f"{'#' * round(share * _WIDTH):.<{_WIDTH}}"
        self._out.write(f"\r\x1b[K{self._what} [{bar}] {100 * share:3.0f} %  {word}".rstrip())
        self._out.flush()
