"""All calls of /api/v1: routes, checks and the description are made of this table, so that none can say other than the rest."""

from dataclasses import dataclass

from pydantic import BaseModel

from relay.web.api import models

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Parameter:
    """Of the query. `pattern`: what it may be."""

    name: str
    description: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One call.

    does      what the node is asked              of_one    the path names a recipient
    of_brand  ?brand= may choose one              conflict  what 409 means, where there is one
    """

    method: str
    path: str
    does: str
    summary: str
    answer: type[BaseModel]
    body: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    of_one: bool = True
    of_brand: bool = True
    conflict: str = ""


_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
BRAND = Parameter("brand", "which of the credential's brands; needed where it has several", _NAME)
STOP = Parameter("stop", "only those that stop this", models.STOP_PATTERN)
REASON = Parameter("reason", "only those with this reason", r"^[a-z0-9][a-z0-9-]{0,39}$")

_ONE = "/recipients/{address}"
OPERATIONS = (
    Operation(
        "POST", "/validate", "validate", "Is this address worth mail? For sign-up forms", models.CheckedAddress,
        models.AddressToCheck, of_one=False, of_brand=False,
    ),
    Operation("GET", _ONE, "show", "All that is known of a recipient at the brand", models.Recipient),
    Operation(
        "PUT", f"{_ONE}/consent", "consent", "Agreed to marketing or topics, or withdrawn", models.Recipient, models.Consent,
        conflict="it stays stopped for another reason, such as a complaint",
    ),
    Operation("DELETE", f"{_ONE}/consent", "withdraw", "Marketing ends, as if unsubscribed", models.Recipient),
    Operation(
        "PUT", f"{_ONE}/preferences", "prefer", "Replace what the recipient chose", models.Recipient, models.Preferences
    ),
    Operation("DELETE", f"{_ONE}/preferences", "forget-preferences", "Back to what holds for everybody", models.Recipient),
    Operation(
        "PUT", f"{_ONE}/suppression", "suppress", "Stop the brand's mail, or part of it", models.Recipient, models.Suppression
    ),
    Operation(
        "DELETE", f"{_ONE}/suppression", "unsuppress", "Take suppressions of the brand off", models.Recipient,
        parameters=(STOP, REASON), conflict="only operators take off what follows from a complaint or a dead mailbox",
    ),
    Operation(
        "POST", "/engagement", "engaged", "When recipients last engaged with the brand", models.Taken, models.Engagement,
        of_one=False,
    ),
)  # fmt: skip
