"""The languages of the public pages: their texts, and which of them a reader wants. Pure but for reading our own files once.

Texts are in texts/CODE.toml, all with the same keys; a brand may have its own for some (brands.toml). Values put into them are
marked up before, so that an address stays readable within Hebrew or Arabic.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

CODES = ("en", "he", "ar", "de", "es", "fr", "ru")  # as the page lists them; the first where none is wanted
_SAME = {"iw": "he"}  # Hebrew's code before 1989, still sent by old Android
_RANGE = re.compile(r"\s*([a-z]{1,8}|\*)(?:-[a-z0-9-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.IGNORECASE)
MAX_HEADER = 1_000  # characters of Accept-Language that are looked at


@dataclass(frozen=True, slots=True)
class Language:
    """`direction`: ltr or rtl; `months` in the form that stands in a date; `weeks`: a number of them -> words."""

    code: str
    name: str
    direction: str
    texts: Mapping[str, str]
    months: tuple[str, ...]
    weeks: Mapping[int, str]

    def say(self, key: str, **values: object) -> Markup:
        """The text with these values, which are escaped unless they are marked up."""
        return escape(self.texts[key]).format(**values)

    def date(self, ms: int) -> str:
        day = datetime.fromtimestamp(ms / 1000, UTC)
        return self.texts["date"].format(day=day.day, month=self.months[day.month - 1], year=day.year)


@cache
def language(code: str) -> Language:
    text = resources.files("relay.web.public").joinpath(f"texts/{code}.toml").read_text("utf-8")
    found: dict[str, Any] = tomllib.loads(text)
    return Language(
        code=code,
        name=found["name"],
        direction=found["direction"],
        texts={key: value for key, value in found.items() if isinstance(value, str)},
        months=tuple(found["months"]),
        weeks={int(number): words for number, words in found["weeks"].items()},
    )


def wanted(accept: str, asked: str = "") -> str:
    """The code of what was `asked` for on the page, else of what the browser accepts (RFC 9110 12.5.4), else of the first."""
    if asked in CODES:
        return asked
    best, best_quality = CODES[0], 0.0
    for part in accept[:MAX_HEADER].split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            continue
        code, quality = match[1].lower(), float(match[2] or 1)
        code = _SAME.get(code, code)
        if code in CODES and quality > best_quality:  # of equals the first: browsers list them in order
            best, best_quality = code, quality
    return best


def in_language(texts: Mapping[str, str], code: str) -> str:
    """What an admin wrote, in this language; else in English, else in whichever there is; "" for nothing."""
    return texts.get(code) or texts.get("en") or next(iter(texts.values()), "")


def isolated(text: str) -> Markup:
    """A name within a text that may run the other way (Unicode UAX 9, isolates)."""
    return Markup("<bdi>{}</bdi>").format(text)


def quoted(texts: Mapping[str, str], code: str) -> Markup:
    """The same of what an admin wrote; where it is in another language it says so, to be read aloud in that one (WCAG 2.2,
    3.1.2)."""
    text = in_language(texts, code)
    other = next((own for own, words in texts.items() if words == text), code) if texts.get(code) != text else code
    return isolated(text) if other == code else Markup('<bdi lang="{}">{}</bdi>').format(other, text)


def listed(texts: Iterable[Markup]) -> Markup:
    return Markup(", ").join(texts)


def masked(address: str) -> str:
    """Enough for its owner to know it by: the page may be seen by whoever the mail was forwarded to."""
    local, _, domain = address.rpartition("@")
    shown = local[:1] if len(local) < 4 else f"{local[0]}…{local[-1]}"
    return f"{shown}{'…' if len(local) < 4 else ''}@{domain}"
