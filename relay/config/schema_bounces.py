"""The schema of policies/bounces.toml: what replies mean where the admin knows better, and what follows from failures."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from relay.config.fields import ALONE_OR_LIST, Name, OwnAddress, PositiveDuration, text_of
from relay.config.problems import Wrong, did_you_mean, listing
from relay.config.reader import Section, setting
from relay.config.schema_backoff import Replies
from relay.config.schema_streams import pattern
from relay.config.units import shown
from relay.feedback.aftermath import DAY, KINDS, SHIPPED
from relay.feedback.taxonomy import Category
from relay.policy.patterns import Pattern, parse

MOST = 20  # failures that are kept of a person (relay/learning.py)


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


def suppressing(value: object) -> str:
    """A key of [suppress]."""
    if value in KINDS:
        return str(value)
    if value in set(Category):
        raise Wrong("no-effect", f"{shown(value)} blames another than the recipient: no address is suppressed for it")
    likely = did_you_mean(str(value), KINDS)
    hint = f'; did you mean "{likely}"?' if likely else f"; there are {listing(KINDS)}"
    raise Wrong("choice", f"{shown(value)} is nothing that addresses are suppressed for{hint}")


class SuppressTable(Section):
    """What follows for later mail to the address."""

    # A file need not say what the program ships; editors shall not ask for it.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None))

    stop: Literal["all", "marketing", "stream", "nothing"] = Field(description="stream: that of the message")
    brand: Literal["same", "every"] = setting("every", "same: mail of the message's brand alone")
    after: Annotated[int, Field(ge=1, le=MOST)] = setting(1, "failures of different messages until then")
    within: PositiveDuration = setting("14d", "in which they count")
    span: PositiveDuration | None = setting(None, "for how long; else until it is undone", alias="for")


def _over_shipped(value: object) -> object:
    """What the program ships is overridden key by key."""
    if not isinstance(value, dict):
        return value
    return {
        kind: {**_shipped(str(kind)), **table} if isinstance(table, dict) else table for kind, table in value.items()
    }


def _shipped(kind: str) -> dict[str, Any]:
    rule = SHIPPED.get(kind)
    if rule is None:
        return {}
    said = {"stop": rule.stop, "brand": "same" if rule.same_brand else "every", "after": rule.after}
    return (
        said | {"within": f"{rule.within // DAY}d"} | ({"for": f"{rule.span // DAY}d"} if rule.span is not None else {})
    )


class BouncesFile(Section):
    """policies/bounces.toml"""

    reply: list[ReplyTable] = setting([])
    suppress: Annotated[
        dict[Annotated[str, *text_of(suppressing, "quota")], SuppressTable], BeforeValidator(_over_shipped)
    ] = setting({}, "per category, or complaint: what is stopped, after how many failures, for how long")
    health: dict[Name, Any] = setting({}, "rates of a stream that slow or suspend it")
    feedback_addresses: list[OwnAddress] = setting(
        [], "where providers send complaints: fbl@shop.example, or fbl alone for that at each return_path_domain"
    )
