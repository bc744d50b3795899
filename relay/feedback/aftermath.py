"""What a failure or a complaint means for later mail to the same person: which suppression follows. Pure.

It follows the category, never the bare code (DESIGN, invariant 7): what blames us, the message or the hour stops nothing. A
mailbox that does not exist stops all mail to it, whoever sends it; one that sleeps, for half a year. A complaint stops the
marketing of the brand that it is about, not its receipts.
"""

from relay.event import Facts
from relay.feedback.taxonomy import MEANINGS, Category
from relay.message import Delivery
from relay.person import COMPLAINT, DEAD_MAILBOX, UNSUBSCRIBED

DAY = 86_400_000
ASLEEP = 180 * DAY  # ms: providers close a mailbox for good after a year or two; its owner may come back before

_ABUSE = frozenset(
    {"abuse", "fraud", "other", ""}
)  # RFC 5965 7.3; virus and not-spam say nothing of what a person wants
_OPT_OUT = frozenset({"opt-out", "opt-out-list"})  # RFC 5965 once had them, some loops still do


def after_failure(delivery: Delivery, category: str, permanent: bool, site: str, now: int) -> Facts | None:
    """What the desk is to be asked for (relay/people.py, `block`); None: the address stays good."""
    if not permanent or category not in MEANINGS or not MEANINGS[Category(category)].condemns:
        return None
    asleep = category == Category.INACTIVE_MAILBOX
    reason = category if asleep else DEAD_MAILBOX
    return _entry(delivery, "all", "", reason, site, until=now + ASLEEP if asleep else None)


def after_complaint(delivery: Delivery, feedback_type: str) -> Facts | None:
    """Likewise, of mail that somebody complained about."""
    kind = feedback_type.lower()
    if kind in _OPT_OUT:
        return _entry(delivery, "marketing", delivery.message.brand, UNSUBSCRIBED, delivery.site)
    if kind in _ABUSE:
        return _entry(delivery, "marketing", delivery.message.brand, COMPLAINT, delivery.site)
    return None


def _entry(delivery: Delivery, stop: str, brand: str, reason: str, site: str, until: int | None = None) -> Facts:
    return {
        "recipient": delivery.recipient,
        "stop": stop,
        "brand": brand,
        "reason": reason,
        "source": "feedback",
        "until": until,
        "site": site or delivery.site,
        "stream": delivery.message.stream,
    }
