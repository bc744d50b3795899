"""What a failure or a complaint means for later mail to the same person: which suppression follows, as [suppress] of bounces.toml
says. Pure.

It follows the category, never the bare code (DESIGN, invariant 7): what blames us, the message or the hour stops nothing, and no
file can say otherwise. As shipped, a mailbox that does not exist stops all mail to it, whoever sends it; one that sleeps, for
half a year; a full one only after failures on several days; a complaint the marketing of the brand that it is about, not
its receipts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from relay.event import Facts
from relay.feedback.taxonomy import MEANINGS, Category, Reach
from relay.message import Delivery
from relay.person import COMPLAINT, DEAD_MAILBOX, UNSUBSCRIBED
from relay.tally import Kind

DAY = 86_400_000
MAILTO = "mailto"  # the way by which he left, as one-click and page are
ON_COMPLAINT = "complaint"  # beside the categories of failures
# What may have consequences at all: failures that are about the recipient.
KINDS = (ON_COMPLAINT, *(one.value for one, meaning in MEANINGS.items() if meaning.reach is Reach.RECIPIENT))

_ABUSE = frozenset(
    {"abuse", "fraud", "other", ""}
)  # RFC 5965 7.3; virus and not-spam say nothing of what a person wants
_OPT_OUT = frozenset({"opt-out", "opt-out-list"})  # RFC 5965 once had them, some loops still do
# Of the sending side: the postmaster is told, as only a person can mend them.
FAULTS = frozenset({Category.AUTH_FAILURE.value, Category.BAD_SENDER.value, Category.PROTOCOL_ERROR.value})
_HARD = frozenset(one.value for one, meaning in MEANINGS.items() if meaning.condemns)


def unwanted(feedback_type: str) -> bool:
    """Does a complaint of this type say that somebody did not want the mail?"""
    return feedback_type.lower() in _ABUSE | _OPT_OUT


def kind_of(category: str, *, permanent: bool) -> Kind:
    """What a failure counts as for the health of its stream."""
    if category in FAULTS:
        return Kind.FAULT
    if permanent and category in _HARD:
        return Kind.HARD
    return Kind.SPAM if category == Category.SPAM_BLOCK else Kind.BOUNCED


def condemns(facts: Facts) -> bool:
    """Does a failure, as its event tells it, say for good that nobody is there?"""
    return kind_of(str(facts.get("category", "")), permanent=bool(facts.get("permanent"))) is Kind.HARD


@dataclass(frozen=True, slots=True)
class Rule:
    """stop     all | marketing | stream (of the message) | nothing      same_brand   of its brand alone
    after    days (UTC) with such a failure before it does, within so many ms
    span     for how many ms; None: until somebody undoes it"""

    stop: str
    same_brand: bool = False
    after: int = 1
    within: int = 14 * DAY
    span: int | None = None


SHIPPED: Mapping[str, Rule] = MappingProxyType(
    {
        "bad-mailbox": Rule("all"),
        "bad-domain": Rule("all"),
        # Providers close a mailbox for good after a year or two; its owner may come back before.
        "inactive-mailbox": Rule("all", span=180 * DAY),
        "quota": Rule("all", after=3, within=14 * DAY, span=30 * DAY),
        "recipient-refused": Rule("stream", after=3, within=30 * DAY, span=90 * DAY),
        ON_COMPLAINT: Rule("marketing", same_brand=True),
    }
)


class Aftermath:
    """`rules`: by what happened, of KINDS."""

    def __init__(self, rules: Mapping[str, Rule] = SHIPPED) -> None:
        self._rules = rules

    def __repr__(self) -> str:
        return f"<Aftermath of {', '.join(sorted(self._rules))}>"

    def of_failure(self, delivery: Delivery, category: str, permanent: bool, site: str, now: int) -> Facts | None:
        """What follows from a delivery that ended so, for relay/learning.py; None: the address stays good."""
        rule = self._rules.get(category)
        if rule is None or (MEANINGS[Category(category)].condemns and not permanent):
            return None
        reason = DEAD_MAILBOX if category in (Category.BAD_MAILBOX, Category.BAD_DOMAIN) else category
        return _entry(delivery, rule, reason, site, now)

    def of_complaint(self, delivery: Delivery, feedback_type: str, now: int) -> Facts | None:
        """Likewise, of mail that somebody complained about."""
        kind, rule = feedback_type.lower(), self._rules.get(ON_COMPLAINT)
        if kind in _OPT_OUT:
            return _entry(delivery, SHIPPED[ON_COMPLAINT], UNSUBSCRIBED, delivery.site, now)
        return _entry(delivery, rule, COMPLAINT, delivery.site, now) if rule is not None and kind in _ABUSE else None


def unsubscription(delivery: Delivery, now: int) -> Facts | None:
    """What follows from a mail by which its recipient unsubscribes: the same as from one click on the page."""
    entry = _entry(delivery, SHIPPED[ON_COMPLAINT], UNSUBSCRIBED, delivery.site, now)
    return entry | {"source": MAILTO} if entry is not None else None


def _entry(delivery: Delivery, rule: Rule, reason: str, site: str, now: int) -> Facts | None:
    if rule.stop == "nothing":
        return None
    stream = delivery.message.stream
    return {
        "recipient": delivery.recipient,
        "stop": f"stream:{stream}" if rule.stop == "stream" else rule.stop,
        "brand": delivery.message.brand if rule.same_brand else "",
        "reason": reason,
        "source": "feedback",
        "until": now + rule.span if rule.span is not None else None,
        "site": site or delivery.site,
        "stream": stream,
        "at": now,
        "after": rule.after,
        "within": rule.within,
    }
