"""The schema of policies/caps.toml: how much mail one person gets."""

from typing import Annotated, Literal

from pydantic import Field

from relay.config.fields import ALONE_OR_LIST, Name, Rate, text_of
from relay.config.reader import Section, setting
from relay.config.units import cap_limit
from relay.identity import Rate as RateValue

HeldClass = Literal["service", "marketing"]
HeldClasses = Annotated[list[HeldClass], *ALONE_OR_LIST, Field(min_length=1)]
Limit = Annotated[RateValue, *text_of(cap_limit, "4/7d")]


class CapTable(Section):
    """Every cap whose brand fits applies; the tightest decides."""

    brands: Annotated[list[Name], *ALONE_OR_LIST, Field(min_length=1)]
    counts: HeldClasses = setting(["marketing"], "what uses it up")
    blocks: HeldClasses = setting(["marketing"], "what it holds once it is used up")
    limits: Annotated[list[Limit], *ALONE_OR_LIST, Field(min_length=1)] = Field(
        description="day, week and month: calendar, in the brand's time zone; 7d, 24h: sliding"
    )
    over: Literal["postpone", "drop", "reject"] = setting("postpone", "what becomes of what it holds")


class RunawayTable(Section):
    """The same message to the same person again and again: an app gone wild."""

    same_message: Rate | None = setting(None, "transactional mail; more are held, with an alert")
    exempt_streams: list[Name] = setting([])
    release: Literal["auto", "hand"] = setting("auto", "auto: what is held goes when same_message lets it")


class CapsFile(Section):
    """policies/caps.toml"""

    cap: dict[Name, CapTable] = setting({})
    runaway: RunawayTable = setting({})
