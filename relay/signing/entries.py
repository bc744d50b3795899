"""keys.toml: the state of each DKIM key, and how a problem with keys is told.

[key."example.com".2026b]
state = "active"                  # pending | active | retired
created = 2026-11-21T12:00:00Z
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import spanned_toml

STATES = ("pending", "active", "retired")


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """What is wrong with one key or its entry, as `file:line: key: what; cure [slug]`."""

    file: Path
    message: str
    line: int = 0
    key: str = ""
    slug: str = "dkim-key"
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        parts = (place, self.key, "warning" if self.warning else "", f"{self.message}   [{self.slug}]")
        return ": ".join(part for part in parts if part)


class KeysError(Exception):
    """The keys cannot be used as they are; `problems` names all that is wrong."""

    def __init__(self, problems: Iterable[KeyProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Entry:
    """What keys.toml says of one key. `created` in ms, 0 where it does not say."""

    state: str = "active"
    created: int = 0


def unreadable(path: Path, error: OSError) -> str:
    """Why a file cannot be read, with the cure where it is the usual one: root made it, Postlane runs as another."""
    cure = f"; give it to the user Postlane runs as (uid {os.geteuid()})" if isinstance(error, PermissionError) else ""
    return f"cannot be read ({error.strerror}){cure}"


def read_entries(file: Path) -> dict[tuple[str, str], Entry]:
    """keys.toml by (domain, selector); empty where there is none. Raises KeysError."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KeysError([KeyProblem(file, unreadable(file, error))]) from error
    except UnicodeDecodeError as error:
        raise KeysError([KeyProblem(file, "is not UTF-8; save it as UTF-8", slug="toml")]) from error
    try:
        document = spanned_toml.loads(text)
    except spanned_toml.TOMLDecodeError as error:
        raise KeysError([KeyProblem(file, str(error), slug="toml")]) from error
    reader = _EntryReader(file, text)
    entries = reader.read(document)
    if reader.problems:
        raise KeysError(reader.problems)
    return entries


def states_text(states: Iterable[tuple[str, str, str]]) -> str:
    """keys.toml of these (domain, selector, state), and nothing else in it."""
    return "".join(f'[key."{domain}"."{selector}"]\nstate = "{state}"\n' for domain, selector, state in sorted(states))


class _EntryReader:
    """Takes keys.toml apart: only [key.DOMAIN.SELECTOR] with state and created, the rest are problems."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text
        self.problems: list[KeyProblem] = []

    def read(self, document: Any) -> dict[tuple[str, str], Entry]:
        entries: dict[tuple[str, str], Entry] = {}
        for kind, domains in document.items():
            if kind.inner() != "key":
                self._wrong(kind, kind.inner(), 'unknown; expected [key."DOMAIN".SELECTOR]', "unknown-key")
                continue
            for domain, selectors in self._tables(domains, kind, "key"):
                path = f'key."{domain.inner()}"'
                for selector, facts in self._tables(selectors, domain, path):
                    entries[domain.inner(), selector.inner()] = self._entry(
                        facts, selector, f"{path}.{selector.inner()}"
                    )
        return entries

    def _tables(self, table: Any, at: Any, path: str) -> Any:
        if isinstance(table.inner(), dict):
            return table.items()
        self._wrong(at, path, 'is no table; expected [key."DOMAIN".SELECTOR], the domain in quotes', "toml")
        return ()

    def _entry(self, facts: Any, at: Any, path: str) -> Entry:
        state, created = "active", 0
        for name, value in self._tables(facts, at, path):
            where = f"{path}.{name.inner()}"
            if name.inner() == "state" and value.inner() in STATES:
                state = value.inner()
            elif name.inner() == "state":
                self._wrong(value, where, f'"{value.inner()}" is no state; write {", ".join(STATES)}', "key-state")
            elif name.inner() == "created" and isinstance(value.inner(), date):
                created = _milliseconds(value.inner())
            elif name.inner() == "created":
                self._wrong(value, where, "is no date; write 2026-11-21T12:00:00Z, without quotes", "date")
            elif isinstance(value.inner(), dict):
                self._wrong(name, where, 'a domain needs quotes: [key."DOMAIN".SELECTOR]', "domain-quotes")
            else:
                self._wrong(name, where, "unknown key; expected state, created", "unknown-key")
        return Entry(state, created)

    def _wrong(self, at: Any, key: str, message: str, slug: str) -> None:
        line = self._text.count("\n", 0, at.span().start) + 1
        self.problems.append(KeyProblem(self._file, message, line, key, slug))


def _milliseconds(moment: date) -> int:
    """A TOML date or time; one without an offset is UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
