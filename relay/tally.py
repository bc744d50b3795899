"""What became of mail, as it counts for the health of its stream (relay/policy/health.py). Pure."""

from enum import StrEnum
from typing import NamedTuple

from relay.message import Delivery, MailClass
from relay.outcome import Reply

DNS = "dns"  # in place of a site: by whose word domains do not exist, all of them together


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
    FAULT = "f"  # bounced: the sending side is at fault (relay/policy/faults.py)
    LATE_FAULT = "F"
    PUT_OFF = "w"  # for such a fault, when it was first tried; how it ends is told then


LATE = {  # of what had been delivered; the rest counts no more
    Kind.HARD: Kind.LATE_HARD,
    Kind.SPAM: Kind.LATE_SPAM,
    Kind.FAULT: Kind.LATE_FAULT,
}


class Tally(NamedTuple):
    """One of them. `urgent`: it is transactional, or carried as such; `at`: ms, when it was sent; `tier`: of its recipient, 1
    engaged, 2 another, 0 not known. Of a fault: its category, by which codes it was `said`, and the `domain` of its From."""

    kind: str
    stream: str
    urgent: bool
    credential: str
    brand: str
    campaign: str
    site: str
    at: int
    tier: int = 0
    fault: str = ""
    said: str = ""
    domain: str = ""


def happened(delivery: Delivery, kind: str, site: str, at: int) -> tuple[object, ...]:
    """A Tally as the spool keeps it."""
    message = delivery.message
    urgent = message.mail_class is MailClass.TRANSACTIONAL or message.spared
    what = str(kind), message.stream, urgent, message.credential, message.brand, message.campaign or "", site, at
    return what if not delivery.tier else (*what, 1 if delivery.engaged else 2)


def fault(delivery: Delivery, kind: str, site: str, at: int, category: str, reply: Reply) -> tuple[object, ...]:
    """The same of what was refused for a fault of ours."""
    said, domain = f"{reply.code} {reply.enhanced}".rstrip(), delivery.message.author.rpartition("@")[2].lower()
    return *happened(delivery, kind, site, at)[:8], 0, category, said, domain


def unsubscribed(
    stream: str, brand: str, at: int, credential: str = "", campaign: str = "", site: str = ""
) -> tuple[object, ...]:
    """The same, of who left, where what was sent is not remembered: what the link says of its mail, and no tier."""
    return Kind.UNSUBSCRIBED.value, stream, False, credential, brand, campaign, site, at
