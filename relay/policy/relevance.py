"""Does a message still make sense when its turn comes? Asked at accept, and again before each attempt. Pure; `now` in ms.

What its app said (X-Postlane-Valid-Until) is kept with the message; what its stream says is what the files in force say,
so a reload counts for what waits, at its next attempt; a stream that is gone says nothing. The tighter of both holds.
Rerouted mail (Message.spared) is never withheld: it is of a class that its app did not ask for.
"""

from relay.event import iso
from relay.message import Message
from relay.policy.streams import Stream


def end_of(message: Message, stream: Stream | None) -> int | None:
    """From when on it is worth nothing; None: never. `stream`: the message's, as the files in force have it."""
    if message.spared:
        return None
    end = message.valid_until
    if stream is not None and stream.valid_for is not None:
        by_stream = message.accepted_at + stream.valid_for
        end = by_stream if end is None else min(end, by_stream)
    return end


def stale(message: Message, stream: Stream | None, now: int) -> str | None:
    """Why it is not to be sent any more; None: it is."""
    end = end_of(message, stream)
    if end is None or now < end:
        return None
    if end == message.valid_until or stream is None:
        return f"X-Postlane-Valid-Until ended {iso(end)}"
    return f"valid_for of stream {stream.name} ended {iso(end)}"


def until_end(at: int, message: Message, stream: Stream | None) -> int:
    """When to look at it again that would be looked at `at`: no later than its end, which is when it is withheld."""
    end = end_of(message, stream)
    return at if end is None else min(at, end)
