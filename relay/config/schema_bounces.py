"""The schema of policies/bounces.toml: what replies mean where the admin knows better, and what follows from failures."""

from typing import Annotated, Any, Literal

from pydantic import Field

from relay.config.fields import ALONE_OR_LIST, Name, text_of
from relay.config.problems import Wrong, did_you_mean, listing
from relay.config.reader import Section, setting
from relay.config.schema_backoff import Replies
from relay.config.schema_streams import pattern
from relay.config.units import shown
from relay.feedback.taxonomy import Category
from relay.policy.patterns import Pattern, parse


def site_pattern(value: object) -> Pattern:
    return pattern(value, parse)


def failure_code(value: object) -> str:
    """550 or "5.7.1", as text"""
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    basic = text.isascii() and text.isdigit() and 400 <= int(text) <= 599
    enhanced = text.split(".")
    if basic or (
        len(enhanced) == 3 and enhanced[0] in ("4", "5") and all(part.isascii() and part.isdigit() for part in enhanced)
    ):
        return text
    raise Wrong("code", f'{shown(value)} is no code of a failure; write 550 or "5.7.1"')


def category_name(value: object) -> Category:
    try:
        return Category(value) if isinstance(value, str) else Category("")
    except ValueError:
        likely = did_you_mean(value, Category) if isinstance(value, str) else None
        hint = f'; did you mean "{likely}"?' if likely else f"; there are {listing(Category)}"
        raise Wrong("choice", f"{shown(value)} is no category{hint}") from None


Sites = Annotated[list[Annotated[Pattern, *text_of(site_pattern, "google")]], *ALONE_OR_LIST, Field(min_length=1)]
Codes = Annotated[list[Annotated[str, *text_of(failure_code, "5.7.1")]], *ALONE_OR_LIST, Field(min_length=1)]
Command = Literal["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END"]


class ReplyMatchTable(Section):
    """All keys must hold; a list means any."""

    site: Sites | None = setting(None, "a provider of shaping.toml, or a site as events name it")
    text: Replies | None = setting(None, "what the peer wrote, codes too; plain text means these words anywhere")
    code: Codes | None = setting(None, "550, or an enhanced code")
    command: Annotated[list[Command], *ALONE_OR_LIST] | None = setting(None, "what it answered; END: the final dot")


class ReplyTable(Section):
    """One rule; the first that holds wins, before all that ships."""

    match: ReplyMatchTable = Field(description="when")
    category: Annotated[Category, *text_of(category_name, "inactive-mailbox")] = Field(
        description="what the reply means, as `postlane bounce --reply` names it"
    )


class BouncesFile(Section):
    """policies/bounces.toml"""

    reply: list[ReplyTable] = setting([])
    suppress: dict[Name, Any] = setting({}, "per category: what is stopped, after how many failures, for how long")
    health: dict[Name, Any] = setting({}, "rates of a stream that slow or suspend it")
    feedback_addresses: list[str] = setting([], "where providers send complaints")
