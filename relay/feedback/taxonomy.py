"""The 23 categories of failure, whom each is about, and whether it condemns an address. Pure.

`delivered`, complaint and auto-reply are kinds of report beside them, not categories.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum


class Reach(Enum):
    """Who or what the failure is about, and so what else would fail the same way."""

    RECIPIENT = "recipient"
    SENDER = "sender"
    MESSAGE = "message"
    CONNECTION = "connection"
    OTHER = "other"


class Category(StrEnum):
    BAD_MAILBOX = "bad-mailbox"
    INACTIVE_MAILBOX = "inactive-mailbox"
    BAD_DOMAIN = "bad-domain"
    RECIPIENT_REFUSED = "recipient-refused"
    QUOTA = "quota"
    SUPPRESSED = "suppressed"
    BAD_SENDER = "bad-sender"
    AUTH_FAILURE = "auth-failure"
    POLICY_BLOCK = "policy-block"
    REPUTATION_BLOCK = "reputation-block"
    RATE_LIMITED = "rate-limited"
    GREYLISTED = "greylisted"
    RELAY_DENIED = "relay-denied"
    SPAM_BLOCK = "spam-block"
    CONTENT_ERROR = "content-error"
    MESSAGE_TOO_LARGE = "message-too-large"
    EXPIRED = "expired"
    PROTOCOL_ERROR = "protocol-error"
    REMOTE_ERROR = "remote-error"
    DNS_FAILURE = "dns-failure"
    NETWORK_ERROR = "network-error"
    TLS_FAILURE = "tls-failure"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a category says: whom it is about, whether it condemns the address (when the reply is permanent), and whether it
    passes, however hard the code: 550 5.4.5 of a daily limit, 554 of greylisting."""

    reach: Reach
    condemns: bool = False
    passes: bool = False


MEANINGS: dict[Category, Meaning] = {
    Category.BAD_MAILBOX: Meaning(Reach.RECIPIENT, condemns=True),
    Category.INACTIVE_MAILBOX: Meaning(Reach.RECIPIENT, condemns=True),
    Category.BAD_DOMAIN: Meaning(Reach.RECIPIENT, condemns=True),
    Category.RECIPIENT_REFUSED: Meaning(Reach.RECIPIENT),
    Category.QUOTA: Meaning(Reach.RECIPIENT),
    Category.SUPPRESSED: Meaning(Reach.RECIPIENT),
    Category.BAD_SENDER: Meaning(Reach.SENDER),
    Category.AUTH_FAILURE: Meaning(Reach.SENDER),
    Category.POLICY_BLOCK: Meaning(Reach.SENDER),
    Category.REPUTATION_BLOCK: Meaning(Reach.CONNECTION),
    Category.RATE_LIMITED: Meaning(Reach.CONNECTION, passes=True),
    Category.GREYLISTED: Meaning(Reach.CONNECTION, passes=True),
    Category.RELAY_DENIED: Meaning(Reach.CONNECTION),
    Category.SPAM_BLOCK: Meaning(Reach.MESSAGE),
    Category.CONTENT_ERROR: Meaning(Reach.MESSAGE),
    Category.MESSAGE_TOO_LARGE: Meaning(Reach.MESSAGE),
    Category.EXPIRED: Meaning(Reach.MESSAGE),
    Category.PROTOCOL_ERROR: Meaning(Reach.CONNECTION),
    Category.REMOTE_ERROR: Meaning(Reach.CONNECTION),
    Category.DNS_FAILURE: Meaning(Reach.CONNECTION),
    Category.NETWORK_ERROR: Meaning(Reach.CONNECTION),
    Category.TLS_FAILURE: Meaning(Reach.CONNECTION),
    Category.OTHER: Meaning(Reach.OTHER),
}
