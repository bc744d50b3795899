"""The schema of policies/recipients.toml: what we know of people, and when we stop."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from relay.config.fields import ALONE_OR_LIST, Domain, PositiveDuration
from relay.config.reader import Section, setting

Mode = Literal["off", "tag", "refuse"]


class AddressCheckTable(Section):
    """Whether an address is looked at when an app names it (RCPT TO); forms ask /api/v1/validate, which always answers. Beside
    these keys, each credential may have its own: NAME = "refuse"."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Mode] = Field(init=False)

    default: Mode = setting(
        "tag", "tag: said in the accepted event; refuse: 550 to slips of the finger and dead domains"
    )
    known: Annotated[list[Domain], *ALONE_OR_LIST] = setting([], "real look-alikes of large domains: never a slip")

    @property
    def by_credential(self) -> dict[str, Mode]:
        return dict(self.__pydantic_extra__ or {})


class SunsetTable(Section):
    """When marketing to a person ends; both must hold."""

    after: Annotated[int, Field(ge=1)] = setting(12, "delivered mails in a row that he did not answer")
    unanswered_for: PositiveDuration = setting("365d", "since he last did, and a day at least")


class EngagementTable(Section):
    """Tiers by the day a person last engaged with a brand: opened, clicked, bought, as its apps tell (postlane engagement
    import, or the API)."""

    engaged: PositiveDuration = setting("90d", "up to so long ago, in days")
    lapsing: PositiveDuration = setting("180d", "up to so long ago; older, or never: cold")
    sunset: SunsetTable | None = setting(None, "then no more marketing; without it, never")
    unknown: Literal["engaged", "lapsing", "cold"] = setting("engaged", "people of whom nobody told")
    fed_within: PositiveDuration = setting("35d", "nobody is sunset where apps have told nothing for so long")


class ForgetTable(Section):
    """People who ask to be forgotten: postlane recipient ADDRESS --forget."""

    stop: Literal["marketing", "all", "nothing"] = setting(
        "marketing", "what is not sent to them from then on, for which a hash of their address is kept"
    )


class RecipientsFile(Section):
    """policies/recipients.toml"""

    address_check: AddressCheckTable = Field(AddressCheckTable(), alias="address-check")
    engagement: EngagementTable = EngagementTable()
    forget: ForgetTable = ForgetTable()
