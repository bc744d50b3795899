"""What a failure or a complaint means for later mail to the same person: which suppression follows, as [suppress] of bounces.toml
says. Pure; a part of consequences.py, for what is heard after delivery too.

It follows the category, never the bare code (DESIGN, invariant 7): what blames us, the message or the hour stops nothing, and no
file can say otherwise. As shipped, a mailbox that does not exist stops all mail to it, whoever sends it; one that sleeps, for
half a year; a full one only after failures on several days; a complaint the marketing of the brand that it is about, not
its receipts.

It is decided in steps. What a failure calls for (`of_failure`) goes with the transaction that ends the delivery, and its event
says so at once (`announced`). relay/learning.py hears it some moments later and asks what only State knows: on how many days
it has failed (`counted`), and whether a site's word is taken now (`believed`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from relay.event import Facts, about
from relay.feedback.taxonomy import MEANINGS, Category, Reach
from relay.message import Delivery
from relay.person import COMPLAINT, NOBODY_THERE, PENDING, PENDING_FOR, UNSUBSCRIBED
from relay.tally import Kind

DAY = 86_400_000
MOST = 20  # days with failures that are kept of one person and reason
MAILTO = "mailto"  # the way by which he left, as one-click and page are
ON_COMPLAINT = "complaint"  # beside the categories of failures
# What may have consequences at all: failures that are about the recipient.
KINDS = (ON_COMPLAINT, *(one.value for one, meaning in MEANINGS.items() if meaning.reach is Reach.RECIPIENT))

# RFC 5965 7.3; virus and not-spam say nothing of what a person wants.
_ABUSE = frozenset({"abuse", "fraud", "other", ""})
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


def kind_told(facts: Facts) -> Kind:
    """The same of a failure as its event tells it."""
    return kind_of(str(facts.get("category", "")), permanent=bool(facts.get("permanent")))


def condemns(facts: Facts) -> bool:
    """Does a failure, as its event tells it, say for good that nobody is there?"""
    return kind_told(facts) is Kind.HARD


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
        return _entry(delivery, rule, category, site, now)

    def of_complaint(self, delivery: Delivery, feedback_type: str, now: int) -> Facts | None:
        """Likewise, of mail that somebody complained about."""
        kind, rule = feedback_type.lower(), self._rules.get(ON_COMPLAINT)
        if kind in _OPT_OUT:
            return _farewell(delivery, now)
        return _entry(delivery, rule, COMPLAINT, delivery.site, now) if rule is not None and kind in _ABUSE else None


def unsubscription(delivery: Delivery, now: int) -> Facts | None:
    """What follows from a mail by which its recipient unsubscribes: the same as from one click on the page."""
    entry = _farewell(delivery, now)
    return entry | {"source": MAILTO} if entry is not None else None


def _farewell(delivery: Delivery, now: int) -> Facts | None:
    """With what its event is to say of the message."""
    entry = _entry(delivery, SHIPPED[ON_COMPLAINT], UNSUBSCRIBED, delivery.site, now)
    return about(delivery) | entry if entry is not None else None


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
        "credential": delivery.message.credential,
        "at": now,
        "after": rule.after,
        "within": rule.within,
    }


def announced(called_for: Facts | None, waits: Sequence[int], now: int, *, doubted: bool) -> str | None:
    """What the event of a failure or a complaint says that it suppresses: as its `suppressed` event will, "pending:" before it
    where that waits for a second word. None: nothing, or nothing yet, since one failure is not enough. `waits`, `doubted`: as
    `believed` has them, of what is known at the time."""
    if called_for is None or called_for["after"] > 1:
        return None
    done = believed(called_for, waits, now, doubted=doubted)
    return str(done["stop"]) if done is not None else f"{PENDING}{called_for['stop']}"


def believed(called_for: Facts, waits: Collection[int], now: int, *, doubted: bool) -> Facts | None:
    """What is done by a site's word that there is no such mailbox: while the site is `doubted` (relay/policy/badhour.py) it is
    left pending; what is pending already (`waits`: since when) the same answer settles on another day. None: all stays."""
    if called_for["reason"] not in NOBODY_THERE:
        return called_for
    if doubted:
        return None if waits else pending(called_for, now)
    return called_for if all(is_older(since, now) for since in waits) else None


def pending(called_for: Facts, now: int) -> Facts:
    """The same, waiting for a second word; how long it is to stop mail then is kept."""
    until = called_for.get("until")
    span = until - int(called_for.get("at") or now) if until is not None else None
    return {**called_for, "stop": f"{PENDING}{called_for['stop']}", "until": now + PENDING_FOR, "span": span}


def is_older(since: int, now: int) -> bool:
    """Was it said on another day? A provider's bad hour may go over midnight."""
    return now // DAY > since // DAY and now - since >= DAY // 2


def counted(known: Sequence[tuple[str, int]], token: str, at: int, within: int) -> list[tuple[str, int]]:
    """The failures that count, this one too, each a delivery's token and when: of each day (UTC) the first, each delivery once.
    Days, because an evening's ten mails to a full mailbox say no more than one."""
    days = dict[int, tuple[str, int]]()
    for one, before in [*known, (token, at)]:
        if at - within < before and all(one != first for first, _ in days.values()):
            days.setdefault(before // DAY, (one, before))
    return list(days.values())[-MOST:]
