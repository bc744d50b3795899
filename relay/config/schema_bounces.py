"""The schema of policies/bounces.toml: what replies mean where the admin knows better, and what follows from failures."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from relay.config.fields import ALONE_OR_LIST, Name, OwnAddress, PositiveDuration, text_of
from relay.config.problems import Wrong, did_you_mean, listing
from relay.config.reader import Section, setting
from relay.config.schema_backoff import Replies
from relay.config.schema_streams import pattern
from relay.config.units import positive_duration, shown
from relay.feedback.aftermath import DAY, KINDS, MOST, SHIPPED
from relay.feedback.taxonomy import Category
from relay.policy.health import LONGEST
from relay.policy.patterns import Pattern, parse

HOUR = 3_600_000


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
    after: Annotated[int, Field(ge=1, le=MOST)] = setting(1, "days (UTC) with a failure until then")
    within: PositiveDuration = setting("14d", "in which they count")
    span: PositiveDuration | None = setting(None, "for how long; else until it is undone", alias="for")


def _over_shipped(value: object) -> object:
    """What the program ships is overridden key by key."""
    if not isinstance(value, dict):
        return value
    said = {
        kind: {**_shipped(str(kind)), **table} if isinstance(table, dict) else table for kind, table in value.items()
    }
    return {kind: _shipped(kind) for kind in SHIPPED} | said


def _shipped(kind: str) -> dict[str, Any]:
    rule = SHIPPED.get(kind)
    if rule is None:
        return {}
    said = {"stop": rule.stop, "brand": "same" if rule.same_brand else "every", "after": rule.after}
    return (
        said | {"within": f"{rule.within // DAY}d"} | ({"for": f"{rule.span // DAY}d"} if rule.span is not None else {})
    )


OFF = float("inf")  # a limit that is never reached
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?) ?%", re.ASCII)


def share(value: object) -> float:
    """ "0.3%" as 0.003; "off": never."""
    if value == "off":
        return OFF
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 0 < float(match[1]) <= 100:
        raise Wrong("share", f'{shown(value)} is no share: a number up to 100 and %, such as "0.3%", or "off"')
    return round(float(match[1]) / 100, 8)


Share = Annotated[float, *text_of(share, "0.3%")]


def over(value: object) -> int:
    span = positive_duration(value)
    if not HOUR <= span <= LONGEST:
        raise Wrong("range", f"{shown(value)} is too {'short' if span < HOUR else 'long'}; 1h to {LONGEST // DAY}d")
    return span


Over = Annotated[int, *text_of(over, "24h")]
Few = Annotated[int, Field(ge=1, le=10_000_000)]


class LimitTable(Section):
    """From which share on; what is not said is as in [health.default]."""

    alert: Share | None = setting(None, "it is told of")
    slow: Share | None = setting(None, "the stream goes slower, until its mail is better")
    suspend: Share | None = setting(None, "it is suspended, until an operator resumes it")


class HealthTable(Section):
    """Of one stream; what is not said is as in [health.default]."""

    over: Over | None = setting(None, "in which mail is counted, rolling")
    min_messages: Few | None = setting(
        None, "fewer that a share is of say nothing; and how many go in the first hour after it was resumed"
    )
    complaints: LimitTable = setting(LimitTable(), "of mail delivered to sites that report complaints")
    hard_bounces: LimitTable = setting(LimitTable(), "of what was delivered or bounced: there is no such recipient")
    spam_blocks: LimitTable = setting(LimitTable(), "of the same: taken for spam")
    unsubscribes: LimitTable = setting(LimitTable(), "of what was delivered")


class NoLimit(LimitTable):
    """As shipped."""

    alert: Share = setting("off", "it is told of")
    slow: Share = setting("off", "the stream goes slower, until its mail is better")
    suspend: Share = setting("off", "it is suspended, until an operator resumes it")


class ComplaintLimits(NoLimit):
    """As shipped: what Google and Yahoo ask of senders is less than 0.1 %, and never 0.3 %."""

    slow: Share = setting("0.1%", "the stream goes slower, until its mail is better")
    suspend: Share = setting("0.3%", "it is suspended, until an operator resumes it")


class BounceLimits(NoLimit):
    """As shipped."""

    suspend: Share = setting("5%", "it is suspended, until an operator resumes it")


class DefaultHealthTable(Section):
    """Of each stream that has no table of its own, and of all that those do not say."""

    over: Over = setting("24h", "in which mail is counted, rolling")
    min_messages: Few = setting(
        500, "fewer that a share is of say nothing; and how many go in the first hour after a stream was resumed"
    )
    complaints: ComplaintLimits = setting(ComplaintLimits(), "of mail delivered to sites that report complaints")
    hard_bounces: BounceLimits = setting(BounceLimits(), "of what was delivered or bounced: there is no such recipient")
    spam_blocks: NoLimit = setting(NoLimit(), "of the same: taken for spam")
    unsubscribes: NoLimit = setting(NoLimit(), "of what was delivered")


class HealthTables(Section):
    """Shares of a stream's mail that slow or suspend it; transactional mail is told of alone."""

    default: DefaultHealthTable = setting(DefaultHealthTable())
    stream: dict[Name, HealthTable] = setting({}, "by the stream's name")


class BouncesFile(Section):
    """policies/bounces.toml"""

    reply: list[ReplyTable] = setting([])
    suppress: Annotated[
        dict[Annotated[str, *text_of(suppressing, "quota")], SuppressTable], BeforeValidator(_over_shipped)
    ] = setting({}, "per category, or complaint: what is stopped, after failures on how many days, for how long")
    health: HealthTables = setting(HealthTables())
    feedback_addresses: list[OwnAddress] = setting(
        [], "where providers send complaints: fbl@shop.example, or fbl alone for that at each return_path_domain"
    )
