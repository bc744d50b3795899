"""One TOML file: its data, the place of each key, and its validation against a schema.

Places take five times as long as the data, so they are found when the first of them is asked for: of files without a
fault, hardly ever. Where `[[rules]]` stand, which compiled rules carry with them, is seen without that.

A file is read in three steps, each reporting all it finds: syntax (relay/config/syntax.py), schema (pydantic, worded by
relay/config/wording.py), and what only the whole shows, which the callers check with `Document.problem`. So that the
third step sees as much as it can, what failed in the second is left out and the rest validated again.
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import spanned_toml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relay.config import syntax
from relay.config.problems import ConfigErrors, Problem
from relay.config.wording import Loc, explain, misplaced

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = {"\b": ("a backspace", r"\b"), "\f": ("a form feed", r"\f"), "\x1b": ("an escape", r"\e")}


class Section(BaseModel):
    """A table of a file: unknown keys are errors, no value is bent into another type. Its validator is built when first used:
    most commands read no file but one, and all of them together take a tenth of a second."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True, defer_build=True)


def setting(default: Any, description: str = "", **limits: Any) -> Any:
    """A key that need not be there. `default` is what an admin would write, so that samples and defaults read alike."""
    return Field(default=default, description=description or None, **limits)


@dataclass(slots=True)
class Examined(Generic[T]):
    """What became of files: all problems, and a value where there is enough for one, even if it must not be used."""

    value: T | None
    problems: list[Problem]
    files: int

    def accepted(self) -> T:
        """The value; raises ConfigErrors if anything is wrong with it."""
        if self.value is None or any(not problem.warning for problem in self.problems):
            raise ConfigErrors(self.problems)
        return self.value

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.warning)


@dataclass(slots=True)
class Document:
    """A file that parses. `data` is plain, `text` as the parser counts.

    `broken` is set once the schema found an error: what is said of the whole is then incomplete.
    """

    file: str
    text: str
    data: dict[str, Any]
    broken: bool = False
    _found: "_Places | None" = field(default=None, repr=False)
    _headers: dict[Loc, int] | None = field(default=None, repr=False)  # of [[tables]] of the first level
    _left: dict[Loc, list[int]] = field(default_factory=dict, repr=False)  # elements of lists that some were taken from
    _ends: list[int] = field(default_factory=list, repr=False)  # of lines

    @property
    def places(self) -> Mapping[Loc, int]:
        """The offset of each key, and of each element of a list."""
        return self._placed().of

    def line(self, loc: Loc) -> int:
        """The line of a key; of the nearest table around it, where it is not there."""
        if self._headers is None:
            self._headers = _headers(self.text, self.data)
        at = self._headers.get(loc)
        while at is None and loc:
            at = self.places.get(loc)
            loc = loc[:-1]
        if at is None:
            return 1
        if not self._ends:  # found once: a file may have ten thousand lines, and a line be asked for each rule
            self._ends.extend(end.start() for end in _END.finditer(self.text))
        return bisect_left(self._ends, at) + 1

    def says(self, loc: Loc) -> bool:
        """Is there anything at `loc`, be it wrong?"""
        return self._as_written(loc) in self.places

    def label(self, loc: Loc) -> str:
        """`stream.password-reset.match.subject[2]`: rules by their name, or `#1`; elements of lists counted from 1."""
        path = ""
        here: Any = self.data
        for at, step in enumerate(loc):
            inside = _step(here, step)
            if isinstance(step, str):
                path += f".{step}" if _BARE.fullmatch(step) else f'."{step}"'
            elif not isinstance(here, list):  # one value that stands for a list of one
                continue
            elif loc[: at + 1] in self._placed().tables:
                title = inside.get("name") if isinstance(inside, dict) else None
                path += f".{title}" if isinstance(title, str) else f".#{step + 1}"
            else:
                path += f"[{step + 1}]"
            here = inside
        return path.removeprefix(".")

    def problem(self, loc: Loc, message: str, slug: str, *, warning: bool = False, cure: str = "") -> Problem:
        """A problem at `loc` as `validate`'s model counts."""
        loc = self._as_written(loc)
        return Problem(self.file, self.line(loc), self.label(loc), message, slug, warning, cure)

    def names(self, kind: str) -> list[str]:
        """The names of all `[kind.NAME]`, those with errors included."""
        tables = self.data.get(kind)
        return list(tables) if isinstance(tables, dict) else []

    def titles(self, kind: str) -> list[str]:
        """The `name` of all `[[kind]]`, those with errors included."""
        tables = self.data.get(kind)
        named = [table.get("name") for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
        return [name for name in named if isinstance(name, str)]

    def validate(self, model: type[M]) -> tuple[M | None, list[Problem]]:
        """The file as `model`, and its errors; with errors, what is left without them (None: nothing is)."""
        problems = list(self._control_characters())
        data: Any = self.data
        while True:
            try:
                valid = model.model_validate(data)
            except ValidationError as wrong:
                data = deepcopy(data)
                if not self.broken:
                    problems += self._problems(model, wrong)
                    self.broken = True
                if not self._prune(data, wrong):
                    return None, problems
            else:
                return valid, problems

    def _problems(self, model: type[BaseModel], wrong: ValidationError) -> Iterator[Problem]:
        for error in wrong.errors(include_url=False):
            slug, message = explain(model, error)
            loc = _real(error["loc"])
            if slug == "unknown-key" and self._under_own_header(loc):
                slug, message = misplaced(model, loc, self.data) or (slug, message)
            yield self.problem(loc, message, slug)

    def _under_own_header(self, loc: Loc) -> bool:
        """Is the table of the key at `loc` made by a header, `[stream.match]`, and not by dotted keys or in braces?"""
        place = self.places.get(self._as_written(loc), 0)
        start = self.text.rfind("\n", 0, place) + 1
        return len(loc) > 2 and place > 0 and not self.text[start:place].strip()

    def _prune(self, data: Any, wrong: ValidationError) -> bool:
        """Leave out what is wrong, in place; where something is missing, the table it is missing in. False: all is."""
        locations = {_real(error["loc"])[: -1 if error["type"] == "missing" else None] for error in wrong.errors()}
        # From the end of lists to their start, so that what is left keeps its numbers until it is its turn.
        backwards = sorted(locations, key=lambda loc: [str(part).zfill(6) for part in loc], reverse=True)
        return all(self._remove(data, loc) for loc in backwards)

    def _remove(self, data: Any, loc: Loc) -> bool:
        """Remove what stands at `loc`, or the nearest around it that is there. False: nothing around it is."""
        while loc:
            here = data
            for step in loc[:-1]:
                here = _step(here, step)
            last = loc[-1]
            if isinstance(here, dict) and last in here:
                del here[last]
                return True
            if isinstance(here, list) and isinstance(last, int) and last < len(here):
                self._left.setdefault(self._as_written(loc[:-1]), list(range(len(here)))).pop(last)
                del here[last]
                return True
            loc = loc[:-1]
        return False

    def _as_written(self, loc: Loc) -> Loc:
        """`loc` in the file's own counting of list elements."""
        written: Loc = ()
        for step in loc:
            left = self._left.get(written) if isinstance(step, int) else None
            written += (left[step] if left and isinstance(step, int) else step,)
        return written

    def _placed(self) -> "_Places":
        if self._found is None:
            self._found = _places(spanned_toml.loads(self.text), self.text)
        return self._found

    def _control_characters(self) -> Iterator[Problem]:
        r"""`"\b"` is a legal backspace in TOML: a pattern with it would never match, and nobody would know."""
        for loc, text in _texts(self.data, ()):
            for character, (what, escape) in _ESCAPED.items():
                if character in text:
                    self.broken = True
                    cure = f"in double quotes {escape} means that; put the pattern in single quotes"
                    yield self.problem(loc, f"holds {what}: {cure}", "pattern")


def _step(here: Any, step: str | int) -> Any:
    if isinstance(here, dict):
        return here.get(step)
    if isinstance(here, list) and isinstance(step, int) and step < len(here):
        return here[step]
    return None


def _real(loc: Loc) -> Loc:
    """pydantic's location without its own words (`[key]`: the name of a table is at fault)."""
    return tuple(part for part in loc if part != "[key]")


def _texts(value: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, (dict, list)):
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inside, (*loc, key))


def toml_files(folder: Path) -> list[Path]:
    """The files of config/ or policies/, sorted; without hidden ones, which are an editor's own (locks, copies)."""
    return sorted(folder.glob("[!.]*.toml"))


def contents(folder: Path) -> dict[str, bytes]:
    """The octets of these files by name; what cannot be read, `read` reports."""
    found: dict[str, bytes] = {}
    for path in toml_files(folder):
        with suppress(OSError):
            found[path.name] = path.read_bytes()
    return found


def fingerprint(files: Mapping[str, bytes]) -> str:
    """The version of a set of files by name: six hexadecimal digits, enough to tell those of one installation apart."""
    digest = sha256()
    for name, content in sorted(files.items()):
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(content), content))
    return digest.hexdigest()[:6]


def shown_path(path: Path) -> str:
    """As short as it can be and still open from here: relative below the working directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def read(path: Path, octets: bytes | None = None) -> tuple[Document | None, list[Problem]]:
    """The file at `path`, or `octets` in its stead: what was read of it before, or an edit that is to be checked."""
    file = shown_path(path)
    try:
        # A byte order mark is what Windows editors put in front; it is no part of the text.
        text = (path.read_bytes() if octets is None else octets).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return None, [Problem(file, line, "", "is not UTF-8; save the file in that encoding", "encoding")]
    except OSError as error:
        return None, [Problem(file, 0, "", f"cannot be read: {error.strerror}", "file")]
    try:
        return Document(file, text.replace("\r\n", "\n"), tomllib.loads(text)), []
    except tomllib.TOMLDecodeError as error:
        return None, syntax.problems_of(file, text, error)
    except RecursionError:
        return None, [Problem(file, 1, "", "is nested too deeply", "toml")]


_END = re.compile("\n")
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*([A-Za-z0-9_-]+)[ \t]*\]\]", re.MULTILINE)


def _headers(text: str, data: Mapping[str, Any]) -> dict[Loc, int]:
    """Where the `[[tables]]` of the first level begin. Of a kind with more or fewer headers than tables (some within a
    text of several lines, others with quotes) none is said."""
    found: dict[str, list[int]] = {}
    for header in _HEADER.finditer(text):
        found.setdefault(header[1], []).append(header.start())
    return {
        (kind, number): at
        for kind, offsets in found.items()
        if isinstance(tables := data.get(kind), list) and len(tables) == len(offsets)
        for number, at in enumerate(offsets)
    }


class _Places(NamedTuple):
    """The offset of each key and of each element of a list, and which elements are `[[tables]]`."""

    of: dict[Loc, int]
    tables: set[Loc]


def _places(spanned: Any, text: str) -> _Places:
    found = _Places({}, set())
    _find(spanned, (), text, found.of, found.tables)
    return found


def _find(value: Any, loc: Loc, text: str, places: dict[Loc, int], tables: set[Loc]) -> None:
    """Note the offset of all keys and elements below `value`, and which elements are `[[tables]]`."""
    inner = value.inner()
    if isinstance(inner, dict):
        for key, inside in inner.items():
            places[*loc, key.inner()] = key.span().start
            _find(inside, (*loc, key.inner()), text, places, tables)
    elif isinstance(inner, list):
        for number, inside in enumerate(inner):
            here = (*loc, number)
            _find(inside, here, text, places, tables)
            if inside.span().stop:
                places[here] = inside.span().start
            else:  # the parser gives no position for [[tables]]: the header above its first key
                tables.add(here)
                first = min((places[(*here, key.inner())] for key in inside.inner()), default=None)
                if first is not None:
                    places[here] = _header_above(text, first)


def _header_above(text: str, offset: int) -> int:
    """Where the `[[header]]` of the table stands whose first key is at `offset`; only comments lie between."""
    start = offset
    while start > 0:
        start = text.rfind("\n", 0, start - 1) + 1
        if text.startswith("[", start) or text[start:offset].lstrip(" \t").startswith("["):
            return start
    return offset
