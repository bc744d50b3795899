"""Does a message still make sense, and may it go now? Asked at accept, and again before each attempt. Pure; `now` in ms.

What its app said (X-Postlane-Send-At, X-Postlane-Valid-Until) is kept with the message; what its stream says is what the
files in force say, so a reload counts for what waits, when it is looked at next; a stream that is gone says nothing. Of two
ends the earlier holds. Transactional mail waits for no window, however the stream got it (DESIGN, invariant 5). Rerouted
mail (Message.spared) is neither withheld nor postponed.
"""

from dataclasses import dataclass

from relay.event import Facts, iso
from relay.message import Delivery, MailClass, Message
from relay.pacing import Limit, of_stream
from relay.policy.streams import Stream
from relay.policy.windows import Window

_TOO_LATE = "5.4.7"  # RFC 3463 3.5: also for a time-to-live of the sender's


@dataclass(frozen=True, slots=True)
class Postponed:
    """To be looked at again at `until`; `reason` is the slug of the event. `by_hand`: or not until a person says so."""

    until: int
    reason: str
    detail: str
    by_hand: bool = False

    @property
    def facts(self) -> Facts:
        """Of its event."""
        return {"reason": self.reason, "detail": self.detail, "until": None if self.by_hand else iso(self.until)}


@dataclass(frozen=True, slots=True)
class Withheld:
    """Not to be sent at all; `reason` is the slug of the event, `status` the enhanced code of a report (RFC 3463), `other` the
    id of the message that is sent instead."""

    reason: str
    detail: str
    status: str = "5.7.1"
    other: str = ""

    @property
    def facts(self) -> Facts:
        """Of its event."""
        facts: Facts = {"reason": self.reason, "detail": self.detail}
        return facts | {_OTHER[self.reason]: self.other} if self.other else facts


DUPLICATE, SUPERSEDED = "duplicate", "superseded"
_OTHER = {DUPLICATE: "duplicate_of", SUPERSEDED: "superseded_by"}


def stale(message: Message, stream: Stream | None, now: int) -> Withheld | None:
    """Why it is not to be sent any more; None: it is. `stream`: the message's, as the files in force have it."""
    end = end_of(message, stream)
    if end is None or now < end:
        return None
    if end == message.valid_until or stream is None:
        return Withheld("stale", f"X-Postlane-Valid-Until ended {iso(end)}", _TOO_LATE)
    return Withheld("stale", f"valid_for of stream {stream.name} ended {iso(end)}", _TOO_LATE)


def postponed(message: Message, stream: Stream | None, now: int) -> Postponed | None:
    """Why it does not go now, if it is not `stale`; None: it goes."""
    if message.send_at is not None and now < message.send_at and not message.spared:
        return Postponed(until_end(message.send_at, message, stream), "send-at", "as X-Postlane-Send-At asks")
    window = _window(message, stream)
    if window is None or (opens := window.opens(now)) <= now:
        return None
    until, closed = until_end(opens, message, stream), f"window {window.name} is closed"
    if until < opens:
        closed += f" until {iso(opens)}, when it will be stale"
    return Postponed(until, "send-window", closed)


def begin_of(message: Message, stream: Stream | None) -> int:
    """When it may go for the first time: what a retry policy counts from."""
    window, first = _window(message, stream), _first(message)
    return first if window is None else window.opens(first)


def end_of(message: Message, stream: Stream | None) -> int | None:
    """From when on it is worth nothing; None: never."""
    if message.spared:
        return None
    end = message.valid_until
    if stream is not None and stream.valid_for is not None:
        by_stream = _first(message) + stream.valid_for
        end = by_stream if end is None else min(end, by_stream)
    return end


def paced_by(message: Message, stream: Stream | None) -> Limit | None:
    """What it takes a permit of when it goes, beside its credential's quota."""
    if stream is None or stream.rate is None or message.spared:
        return None
    return of_stream(stream.name, stream.rate, message.mail_class)


def until_end(at: int, message: Message, stream: Stream | None) -> int:
    """When to look at it again that would be looked at `at`: no later than its end, which is when it is withheld."""
    end = end_of(message, stream)
    return at if end is None else min(at, end)


def by_then(at: int, delivery: Delivery) -> int:
    """The same of its sender, who is told when it is late (RFC 2852): looked at no later than that, once."""
    by = delivery.message.by
    return at if by is None or delivery.warned else min(at, by)


def late(delivery: Delivery, now: int) -> bool:
    """Is its sender to be told now that it is late, as he asked by BY=?"""
    by = delivery.message.by
    return by is not None and now >= by and not delivery.warned


def _first(message: Message) -> int:
    """When its app wants it to go."""
    if message.send_at is None or message.spared:
        return message.accepted_at
    return max(message.accepted_at, message.send_at)


def _window(message: Message, stream: Stream | None) -> Window | None:
    """What it has to wait for."""
    if stream is None or message.mail_class is MailClass.TRANSACTIONAL or message.spared:
        return None
    return stream.window
