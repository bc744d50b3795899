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


_FOLLOWS: dict[Category, str] = {
    Category.RECIPIENT_REFUSED: "give up; stop this sender's mail to the address after several refusals in a row",
    Category.QUOTA: "retry slowly; suppress the address only after several such bounces over days",
    Category.SUPPRESSED: "nothing more: the address stands on a suppression list already",
    Category.BAD_SENDER: "give up; tell the postmaster: the sender's address or domain is not accepted",
    Category.AUTH_FAILURE: "tell the postmaster: SPF, DKIM, DMARC or reverse DNS of the sending side",
    Category.POLICY_BLOCK: "give up; the address stays good",
    Category.REPUTATION_BLOCK: "retry later or from another address; alert: a source or domain of ours is blocked",
    Category.RATE_LIMITED: "slow down to this site and retry",
    Category.GREYLISTED: "retry in some minutes from the same address",
    Category.RELAY_DENIED: "give up; the host contacted does not take mail for this domain",
    Category.SPAM_BLOCK: "give up; counted against the stream and campaign, never against the address",
    Category.CONTENT_ERROR: "give up; tell the app: the message is at fault",
    Category.MESSAGE_TOO_LARGE: "give up; tell the app: the message is too large",
    Category.EXPIRED: "count; the address stays good",
    Category.PROTOCOL_ERROR: "tell the postmaster: most likely a fault of ours",
    Category.REMOTE_ERROR: "retry: the receiving system is in trouble",
    Category.DNS_FAILURE: "retry: DNS did not answer",
    Category.NETWORK_ERROR: "retry, also by another host of the site",
    Category.TLS_FAILURE: "retry; alert where policy demands TLS",
    Category.OTHER: "by the code alone: retry 4xx, give up 5xx; the address stays good",
}


def follows(category: Category, permanent: bool, action: str) -> str:
    """What is to be done about a failure, in words for people. `action` of a report: "delayed" changes nothing yet."""
    if action == "delayed":
        return "wait: delayed is no failure, the other side goes on trying"
    if MEANINGS[category].condemns:
        return "suppress the address" if permanent else "retry; suppress the address if the message expires like this"
    return _FOLLOWS[category]
