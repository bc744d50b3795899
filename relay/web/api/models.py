"""What is said at /api/v1, both ways. Unknown keys and other types are errors, so that a slip is heard of."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

MOST_ENGAGED = 500  # of one call: what the desk takes at once
STOP_PATTERN = r"^(all|marketing|(topic|stream):[a-z0-9][a-z0-9._-]{0,62})$"
_TOPIC = r"^[a-z0-9][a-z0-9._-]{0,62}$"

Address = Annotated[str, Field(min_length=3, max_length=320, examples=["ada@shop.example"])]
Topic = Annotated[str, Field(pattern=_TOPIC)]
Stop = Annotated[
    str,
    Field(
        pattern=STOP_PATTERN,
        description="what it stops: all, marketing, topic:NAME or stream:NAME",
        examples=["marketing"],
    ),
]
Reason = Literal["manual", "unsubscribed", "complaint", "bad-mailbox", "bad-domain", "imported"]
AtMost = Literal["each", "1/day", "1/week", "1/month"]
Tag = Literal["typo", "no-domain", "no-host", "null-mx", "no-mx", "disposable", "role", "syntax"]


class Body(BaseModel):
    """What an app sends."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AddressToCheck(Body):
    """What somebody typed into a form, whatever it is."""

    address: Annotated[str, Field(max_length=1000, examples=["ada@gmial.com"])]


class Suppression(Body):
    """Stop mail to a recipient."""

    stop: Stop = "marketing"
    reason: Reason = "manual"
    until: AwareDatetime | None = Field(None, description="when it ends; null: never")
    note: Annotated[str, Field(max_length=500)] = ""


class Preferences(Body):
    """What the recipient chose; all of it, since it replaces what was."""

    topics_off: Annotated[list[Topic], Field(max_length=100)] = []
    at_most: AtMost = "each"
    paused_until: AwareDatetime | None = Field(None, description="marketing waits until then")


class Consent(Body):
    """What the recipient agreed to. Only what is said is changed."""

    marketing: bool | None = Field(None, description="false: as if unsubscribed; true: that is undone")
    topics: Annotated[dict[Topic, bool], Field(max_length=100)] = {}


class EngagedOn(Body):
    """The day on which a recipient last did something: opened the app, bought, clicked."""

    recipient: Address
    on: date = Field(description="UTC; an earlier one than is known changes nothing")


class Engagement(Body):
    """Many at once."""

    engaged: Annotated[list[EngagedOn], Field(min_length=1, max_length=MOST_ENGAGED)]


class CheckedAddress(BaseModel):
    """verdict: `bad` cannot be mailed, `doubtful` asks for a second look, `good` is neither."""

    address: str
    verdict: Literal["good", "doubtful", "bad"]
    tags: list[Tag]
    did_you_mean: str | None = Field(None, description="the whole address, corrected")
    detail: str | None = Field(None, description="why, for people")


class SuppressionShown(BaseModel):
    """A suppression in force."""

    stop: str
    every_brand: bool = Field(description="it holds for all brands, not for this one alone")
    reason: str
    since: AwareDatetime
    until: AwareDatetime | None
    note: str


class PreferencesShown(BaseModel):
    topics_off: list[str]
    at_most: AtMost
    paused_until: AwareDatetime | None


class EngagementShown(BaseModel):
    last_engaged: date | None
    unanswered: int = Field(ge=0, description="marketing delivered since")
    tier: Literal["engaged", "lapsing", "cold", ""] = Field(
        description="empty: nobody tells who engages with the brand"
    )


class Recipient(BaseModel):
    """All that is known of a recipient at one brand."""

    recipient: str
    brand: str
    marketing: bool = Field(description="may the brand send marketing?")
    suppressions: list[SuppressionShown]
    preferences: PreferencesShown
    engagement: EngagementShown


class Taken(BaseModel):
    """`changed`: how many were news."""

    taken: int
    changed: int


class Fault(BaseModel):
    """One thing that is wrong with a body or a parameter."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the body, or the parameter's name")
    detail: str


class Problem(BaseModel):
    """RFC 9457. `code` never changes, the words may."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[Fault] | None = None
