"""The priority of a message within its class (RFC 6710): what its app asked for, within what its stream may have. Pure.

-9 to 9, all 19 levels of their own; 9 goes first. The stream's `priority` is what its mail has where the app says nothing,
and the most it can ask for; a stream without one has 0. Asking for less is for everybody. Above the class it means
nothing: marketing of priority 9 goes behind all transactional mail.
"""

from relay.policy.streams import Stream


def of_stream(stream: Stream | None) -> int:
    return stream.priority if stream is not None else 0


def granted(asked: int | None, stream: Stream | None) -> int:
    """`asked`: None, the app did not say."""
    most = of_stream(stream)
    return most if asked is None else min(asked, most)
