"""The schema of policies/recipients.toml: what we know of people, and when we stop."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from relay.config.fields import ALONE_OR_LIST, Domain
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


class RecipientsFile(Section):
    """policies/recipients.toml"""

    address_check: AddressCheckTable = Field(AddressCheckTable(), alias="address-check")
    engagement: dict[str, Any] = setting({}, "tiers by the last-engaged date, and when marketing ends")
    forget: dict[str, Any] = setting({}, "what is kept of people who ask to be forgotten")
