"""What became of mail, as it counts for the health of its stream (relay/policy/health.py). Pure."""

from enum import StrEnum
from typing import NamedTuple

from relay.message import Delivery, MailClass


class Kind(StrEnum):
    """How a delivery ended, or what was heard of it later. One letter: it stands in the spool for each delivery."""

    DELIVERED = "d"
    HARD = "h"  # bounced: there is no such recipient, or not any more
    SPAM = "s"  # bounced: taken for spam
    BOUNCED = "b"  # for another reason
    LATE_HARD = "H"  # it was delivered, and came back for such a reason
    LATE_SPAM = "S"
    COMPLAINT = "c"
    UNSUBSCRIBED = "u"


LATE = {Kind.HARD: Kind.LATE_HARD, Kind.SPAM: Kind.LATE_SPAM}  # of what had been delivered; the rest counts no more


class Tally(NamedTuple):
    """One of them. `urgent`: it is transactional, or carried as such; `at`: ms, when it was sent; `tier`: of its recipient, 1
    engaged, 2 another, 0 not known."""

    kind: str
    stream: str
    urgent: bool
    credential: str
    brand: str
    campaign: str
    site: str
    at: int
    tier: int = 0


def happened(delivery: Delivery, kind: str, site: str, at: int) -> tuple[object, ...]:
    """A Tally as the spool keeps it."""
    message = delivery.message
    urgent = message.mail_class is MailClass.TRANSACTIONAL or message.spared
    what = str(kind), message.stream, urgent, message.credential, message.brand, message.campaign or "", site, at
    return what if not delivery.tier else (*what, 1 if delivery.engaged else 2)


def unsubscribed(
    stream: str, brand: str, at: int, credential: str = "", campaign: str = "", site: str = ""
) -> tuple[object, ...]:
    """The same, of who left, where what was sent is not remembered: what the link says of its mail, and no tier."""
    return Kind.UNSUBSCRIBED.value, stream, False, credential, brand, campaign, site, at
