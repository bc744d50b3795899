"""The schema of [[backoff]] in policies/shaping.toml: what a provider's reply makes us do."""

import re
from typing import Annotated, Literal

from pydantic import Field

from relay.config.fields import ALONE_OR_LIST, Name, PositiveDuration, text_of
from relay.config.problems import Wrong
from relay.config.reader import Section, setting
from relay.config.schema_streams import pattern
from relay.config.units import shown
from relay.policy.patterns import Pattern, parse

_SHARE = re.compile(r"(\d{1,2})%", re.ASCII)


def share(value: object) -> float:
    """`25%` as 0.25"""
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        likely = f'"{value}%"' if isinstance(value, int) and 0 < value < 100 else '"25%"'
        raise Wrong("share", f"{shown(value)} is no part of a pace, from 1% to 99%; write {likely}")
    return int(match[1]) / 100


def reply_pattern(value: object) -> Pattern:
    """Plain text means these words anywhere: nobody writes a whole reply."""
    return pattern(value, lambda text: parse(text, words=True))


Share = Annotated[float, *text_of(share, "25%")]
Replies = Annotated[
    list[Annotated[Pattern, *text_of(reply_pattern, r"re:\bS3150\b")]], *ALONE_OR_LIST, Field(min_length=1)
]


class BackoffTable(Section):
    """One rule; the first whose pattern holds for a reply acts."""

    reply: Replies = Field(description="what a peer answers, such as 421 4.7.28 and its text")
    action: Literal["slow", "suspend", "other-source", "suspend-stream"]
    to: Share | None = setting(None, "of slow: the part of the pace that is left")
    span: PositiveDuration | None = setting(None, "how long; of slow: before the pace grows again", alias="for")


class _Provider(Section):
    backoff: list[BackoffTable] = setting([])


class ShippedFile(Section):
    """relay/shaping/backoff.toml"""

    provider: dict[Name, _Provider] = setting({})
    backoff: list[BackoffTable] = setting([])
