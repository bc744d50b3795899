"""What was read of the events themselves for one question, kept for the next ones: a page asks for a table, its total and its
chart of the same few messages, and to find these among fifty million takes more than a second each time.
"""

import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from relay.reporting import sql
from relay.reporting.database import Database
from relay.reporting.question import RECORDED, Question
from relay.wildcard import AnyOf

# Seconds: what the parts of a page and of a command take together, and new events are not missed for longer.
FRESH = 30.0


class _Made(NamedTuple):
    """By which selectors of RECORDED, of which times, and what else it knows of each message."""

    where: Mapping[str, AnyOf]
    windows: tuple[tuple[int, int], ...]
    names: frozenset[str]
    at: float
    path: Path

    def answers(self, question: Question) -> bool:
        return (
            self.where == _selectors(question)
            and _names(question) <= self.names
            and all(any(_lies(one, within) for within in self.windows) for one in question.windows.values())
        )


class Extract:
    """The last one; for one question at a time."""

    def __init__(self) -> None:
        self._made: _Made | None = None
        self._folder: Path | None = None
        self._number = 0

    def __repr__(self) -> str:
        return f"<Extract {self._made.where if self._made is not None else 'none'}>"

    def of(self, question: Question, source: sql.Source, database: Database) -> sql.Source:
        """In place of `source`, all events of the question's time."""
        now = time.monotonic()
        if self._made is None or now - self._made.at > FRESH or not self._made.answers(question):
            self._made = self._make(question, source, database, now)
        return sql.Source(extract=str(self._made.path))

    def _make(self, question: Question, source: sql.Source, database: Database, now: float) -> _Made:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="postlane-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        for old in self._folder.iterdir():
            old.unlink()
        self._number += 1
        path = self._folder / f"{self._number}.parquet"
        names = _names(question)
        database.execute(*sql.extract(question, source, names, str(path)))
        return _Made(_selectors(question), tuple(question.windows.values()), names, now, path)


def _selectors(question: Question) -> Mapping[str, AnyOf]:
    return {name: wanted for name, wanted in question.where.items() if name in RECORDED}


def _names(question: Question) -> frozenset[str]:
    return frozenset((*question.keys, *question.where))


def _lies(one: tuple[int, int], within: tuple[int, int]) -> bool:
    return within[0] <= one[0] and one[1] <= within[1]
