"""TOML that does not parse, in words that name the cure: text without quotes, the wrong quotes, keys said twice.

The parser stops at its first error. Where that error is confined to one line, the line is blanked and the rest parsed
again, so that one run shows them all. Pure.
"""

import re
import tomllib
from collections.abc import Callable

from relay.config.problems import Problem

_AT = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_STATEMENT = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=\s*(.*?)\s*""")
_COMMENT = re.compile(r"\s+#.*$")
_HEADER = re.compile(r"\s*(\[\[?)\s*(.*?)\s*\]\]?\s*(?:#.*)?")
_MEASURE = re.compile(r"\d+\s*(?:[smhd]|[kmg]?b|%|/\s*\w+|[a-z]+)", re.IGNORECASE | re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?")
_MOST = 100  # errors of one file: beyond that it is not the file somebody meant to check

Explained = tuple[str, str]  # key, message


def problems_of(file: str, text: str, error: tomllib.TOMLDecodeError) -> list[Problem]:
    """Every syntax error of `text`, of which `error` is the first."""
    lines = text.replace("\r\n", "\n").split("\n")
    found: list[Problem] = []
    while len(found) < _MOST:
        number, what = _place(str(error), lines)
        key, message, confined = _explain(what, number, lines)
        found.append(Problem(file, number, key, message, "toml"))
        if not confined:
            break
        lines[number - 1] = ""
        try:
            tomllib.loads("\n".join(lines))
        except tomllib.TOMLDecodeError as following:
            error = following
        else:
            break
    return found


def _place(error: str, lines: list[str]) -> tuple[int, str]:
    match = _AT.fullmatch(error)
    if match is None:
        return 1, error
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=1)
    return (int(match[2]) if match[2] else last), match[1]


def _explain(what: str, number: int, lines: list[str]) -> tuple[str, str, bool]:
    """Key, message, and whether the fault is confined to that line."""
    line = lines[number - 1] if number <= len(lines) else ""
    for rule in (_backslash, _unquoted):
        explained = rule(what, line)
        if explained:
            return *explained, True
    for placed in (_table_twice, _key_twice, _unclosed):
        explained = placed(what, number, lines)
        if explained:
            return *explained, False
    statement = _STATEMENT.fullmatch(line)
    return (statement[1] if statement else ""), f"not TOML: {what[:1].lower()}{what[1:]}", False


def _backslash(what: str, line: str) -> Explained | None:
    statement = _STATEMENT.fullmatch(line)
    if not what.startswith(("Unescaped '\\'", "Invalid hex value", "Escaped character")) or not statement:
        return None
    value = _COMMENT.sub("", statement[2])
    sample = f": {statement[1]} = '{value[1:-1]}'" if value[:1] == value[-1:] == '"' and "'" not in value else ""
    return statement[1], f"a backslash in double quotes; put the pattern in single quotes{sample}"


def _unquoted(what: str, line: str) -> Explained | None:
    statement = _STATEMENT.fullmatch(line)
    if not what.startswith(("Invalid value", "Expected newline", "Invalid date")) or not statement:
        return None
    key, value = statement[1], _COMMENT.sub("", statement[2])
    if value[:1] in ("", '"', "'", "[", "{"):
        return None
    if _DATE.match(value):
        return key, f"{value} is no date; a date is year-month-day, such as 2026-11-23"
    if _MEASURE.fullmatch(value):
        return key, f'durations and rates are text: {key} = "{value}"'
    if value.lower() in ("true", "false", "yes", "no", "on", "off"):
        return key, f"{value} is neither true nor false; those two are written small"
    return key, f'text needs quotes: {key} = "{value}"'


def _table_twice(what: str, number: int, lines: list[str]) -> Explained | None:
    header = _HEADER.fullmatch(lines[number - 1])
    if not what.startswith(("Cannot declare", "Cannot overwrite")) or not header:
        return None
    first = _first(lines, number, lambda line: _same_header(line, header[2]))
    where = f" (first in line {first})" if first else ""
    return f"[{header[2]}]", f"stands here a second time{where}; merge the two"


def _same_header(line: str, name: str) -> bool:
    other = _HEADER.fullmatch(line)
    return other is not None and other[2] == name


def _key_twice(what: str, number: int, lines: list[str]) -> Explained | None:
    statement = _STATEMENT.fullmatch(lines[number - 1])
    if not what.startswith(("Cannot overwrite", "Cannot redefine", "Cannot mutate")) or not statement:
        return None
    start = next((at for at in range(number - 1, 0, -1) if _HEADER.fullmatch(lines[at - 1])), 0)
    first = _first(lines, number, lambda line: _same_key(line, statement[1]), start)
    where = f" (first in line {first})" if first else ""
    return statement[1], f"stands here a second time in one table{where}; keep one"


def _same_key(line: str, key: str) -> bool:
    other = _STATEMENT.fullmatch(line)
    return other is not None and other[1] == key


def _first(lines: list[str], before: int, fits: Callable[[str], bool], start: int = 0) -> int:
    """Number of the first line above `before` that fits; 0: none."""
    return next((at for at in range(start + 1, before) if fits(lines[at - 1])), 0)


def _unclosed(what: str, number: int, lines: list[str]) -> Explained | None:
    """Strings and lists that never end: the parser notices at the next line or at the end of the file."""
    ends = {"Unterminated string": '"', "Unclosed array": "]", "Illegal character '\\n'": '"', 'Expected "\'"': "'"}
    end = next((sign for start, sign in ends.items() if what.startswith(start)), None)
    if end is None:
        return None
    statement = _STATEMENT.fullmatch(lines[number - 1])
    return (statement[1] if statement else ""), f"opened and never closed; a {end} is missing"
