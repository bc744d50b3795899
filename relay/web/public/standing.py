"""What a person has chosen of a brand, as the desk tells it (relay/people.py), and what a page's form asks the desk for. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from relay.control import Json
from relay.message import MailClass
from relay.person import UNSUBSCRIBED
from relay.tokens import Ticket
from relay.web.public.forms import Fields, first

FREQUENCIES = {"each": "", "daily": "1/day", "weekly": "1/week", "monthly": "1/month"}  # as forms say it -> the desk
WEEK = 7 * 86_400_000
MAX_WEEKS = 52


@dataclass(frozen=True, slots=True)
class Standing:
    """paused_until: ms. left: he unsubscribed from the brand, and may come back. blocked: something else stops its marketing.
    known: False where the desk did not answer, and the rest is what a new recipient has."""

    topics_off: frozenset[str] = frozenset()
    frequency: str = "each"
    paused_until: int | None = None
    left: bool = False
    blocked: bool = False
    known: bool = True


UNKNOWN = Standing(known=False)


def standing_of(answer: Json, brand: str, now: int) -> Standing:
    """`answer`: the desk's to `shown`; of `brand`, "" for mail of none."""
    if "error" in answer:
        return UNKNOWN
    blocks = [one for one in answer["blocks"] if not one["over"] and (one["brand"] or "") in ("", brand)]
    stopping = [one for one in blocks if one["stop"] in ("all", "marketing")]
    own = [one for one in stopping if _own(one, brand)]
    off = {one["stop"].removeprefix("topic:") for one in blocks if one["stop"].startswith("topic:")}
    wish = answer["preferences"].get(brand, {})
    paused = wish.get("paused_until")
    until = int(datetime.fromisoformat(paused).timestamp() * 1000) if paused else None
    names = {desk: name for name, desk in FREQUENCIES.items()} | {"each": "each"}
    return Standing(
        topics_off=frozenset(off.union(wish.get("topics_off", ()))),
        frequency=names.get(wish.get("at_most", "each"), "each"),
        paused_until=until if until is not None and until > now else None,
        left=bool(own),
        blocked=len(own) < len(stopping),
    )


def _own(block: Json, brand: str) -> bool:
    """What the person did and can undo, without undoing what concerns other brands."""
    return block["reason"] == UNSUBSCRIBED and block["stop"] == "marketing" and (block["brand"] or "") == brand


# --- questions to the desk


def shown(ticket: Ticket) -> Json:
    return {"do": "people", "what": "show", "recipient": ticket.recipient}


def leaves(ticket: Ticket, via: str, now: int) -> list[Json]:
    """`via`: one-click or page."""
    block = {
        "recipient": ticket.recipient,
        "stop": "marketing",
        "brand": ticket.brand,
        "reason": UNSUBSCRIBED,
        "source": via,
        "since": now,
        "stream": ticket.stream,
        **_of_message(ticket),
    }
    return [{"do": "people", "what": "block", "via": via, "entries": [block]}]


def _of_message(ticket: Ticket) -> Json:
    """Of that which brought the link, as events say it: it is marketing, others have none."""
    if not ticket.message:
        return {}
    about = {"id": ticket.message, "rcpt": ticket.rcpt, "credential": ticket.credential}
    about |= {"skeleton": ticket.skeleton} if ticket.skeleton else {}
    return about | {"class": MailClass.MARKETING.label, "campaign": ticket.campaign or None}


def returns(ticket: Ticket) -> list[Json]:
    return [_his(ticket, **_lifted(ticket, "marketing"))]


def _his(ticket: Ticket, **asked: object) -> Json:
    why = {"reason": "subscribed again", "by": "recipient", "via": "page"}
    return {"do": "people", "recipient": ticket.recipient, **why, **asked}


def _lifted(ticket: Ticket, stop: str) -> Json:
    return {"what": "unblock", "where": {"brand": ticket.brand, "stop": stop, "reason": UNSUBSCRIBED}}


def chosen(fields: Fields, topics: Collection[str], weeks: Collection[int], now: int) -> Standing:
    """What the form says; what it does not know of is left as a new recipient has it. `topics`: those the page shows."""
    wanted = set(fields.get("topic", ()))
    frequency = first(fields, "frequency")
    return Standing(
        topics_off=frozenset(topic for topic in topics if topic not in wanted),
        frequency=frequency if frequency in FREQUENCIES else "each",
        paused_until=_pause(first(fields, "pause"), first(fields, "until"), weeks, now),
    )


def _pause(words: str, until: str, weeks: Collection[int], now: int) -> int | None:
    if words == "keep" and until.isascii() and until.isdigit() and len(until) < 16:
        kept = int(until)
        return kept if now < kept <= now + MAX_WEEKS * WEEK else None
    if words.isascii() and words.isdigit() and int(words[:4]) in weeks:
        return now + int(words[:4]) * WEEK
    return None


def wishes(ticket: Ticket, choice: Standing, topics: Collection[str]) -> list[Json]:
    """The wish; and a topic that is on is not stopped by an earlier unsubscription from it."""
    wish = {
        "what": "wish",
        "brand": ticket.brand,
        "topics_off": sorted(choice.topics_off),
        "at_most": FREQUENCIES[choice.frequency],
        "paused_until": choice.paused_until,
    }
    lifted = [_lifted(ticket, f"topic:{topic}") for topic in topics if topic not in choice.topics_off]
    return [_his(ticket, what="together", changes=[wish, *lifted])]
