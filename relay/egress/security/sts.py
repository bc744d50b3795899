"""MTA-STS (RFC 8461): its record in DNS, its policy, and which hosts that allows. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_AGE = 31_557_600  # seconds; 3.2: about a year
MAX_PATTERNS = 200  # of a policy; real ones have one to ten
_ID = re.compile(r"[A-Za-z0-9]{1,32}")  # 3.1
_AGE = re.compile(r"[0-9]{1,10}")  # 3.2
_PATTERN = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:")
_KEYS = ("version", "mode", "max_age")
MODES = ("enforce", "testing", "none")


class BadPolicy(Exception):
    """A text that is no policy; the words say what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """mode     enforce | testing | none        max_age  seconds it holds from when it was fetched
    patterns    of hosts, lower case            lines    what counts of it, as written, for TLS reports (RFC 8460 4.4)
    """

    mode: str
    max_age: int
    patterns: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def active(self) -> bool:
        return self.mode != "none"

    def allows(self, host: str) -> bool:
        """4.1: the exact name, or for `*.domain` one label in front of it."""
        host = host.lower()
        parent = host.partition(".")[2]
        return any(parent == each[2:] if each.startswith("*.") else host == each for each in self.patterns)


def record_id(texts: Iterable[str]) -> str | None:
    """The id in the TXT records of _mta-sts.DOMAIN. None: the domain has no policy, as where there are two (3.1)."""
    ours = [text for text in texts if re.match(r"v=STSv1[ \t]*(;|$)", text)]
    if len(ours) != 1:
        return None
    for field in ours[0].split(";")[1:]:
        name, equals, value = field.strip(" \t").partition("=")
        if equals and name == "id":
            return value if _ID.fullmatch(value) else None
    return None


def parse(body: bytes) -> Policy:
    """A policy as its server gave it (3.2). Raises BadPolicy."""
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise BadPolicy("it is not ASCII") from None
    values: dict[str, str] = {}
    patterns: list[str] = []
    lines: list[str] = []
    for line in filter(None, (line.strip(" \t") for line in text.replace("\r\n", "\n").split("\n"))):
        match = _KEY.match(line)
        value = line[match.end() :].lstrip(" \t") if match is not None else ""
        if match is None or not value.isprintable():
            raise BadPolicy(f"a line is not `key: value`: {_shown(line)}")
        if match[1] == "mx":
            patterns.append(_pattern(value))
        elif match[1] in _KEYS and match[1] not in values:  # of a key that is there twice the first counts
            values[match[1]] = value
        else:
            continue
        lines.append(line)
    return _policy(values, patterns, lines)


def _policy(values: dict[str, str], patterns: list[str], lines: list[str]) -> Policy:
    if values.get("version") != "STSv1":
        raise BadPolicy("its version is not STSv1")
    mode, age = values.get("mode", ""), values.get("max_age", "")
    if mode not in MODES:
        raise BadPolicy(f"its mode is {_shown(mode)}" if mode else "it has no mode")
    if not _AGE.fullmatch(age) or int(age) > MAX_AGE:
        raise BadPolicy(f"its max_age is {_shown(age)}" if age else "it has no max_age")
    if mode != "none" and not patterns:
        raise BadPolicy("it names no mx")
    if len(patterns) > MAX_PATTERNS:
        raise BadPolicy(f"it names more than {MAX_PATTERNS} mx")
    return Policy(mode, int(age), tuple(patterns), tuple(lines))


def _pattern(text: str) -> str:
    lower = text.lower()
    if len(lower) > 253 or not _PATTERN.fullmatch(lower):
        raise BadPolicy(f"mx: {_shown(text)} is no host name")
    return lower


def _shown(text: str) -> str:
    return ascii(text[:60])
