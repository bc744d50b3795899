"""Return paths of our own (VERP): MAIL FROM is `b-TOKEN@return_path_domain`, so that a bounce says by where it arrives which
message to whom it is about. Pure.

The token is a trace id (trace.py) under a key of its own: 32 hexadecimal digits, so it survives folded case and is far from the
64 octets of a local part (RFC 5321 4.5.3.1.1). It proves its origin and carries the message id, hence when it was made: a
forged one, or one older than any honest bounce, is nobody's. It is fixed at accept; what comes back to `<>` does not.
"""

from collections.abc import Sequence

from relay.ids import time_of
from relay.trace import Tracer

PREFIX = "b-"
MAX_AGE = 30 * 86_400_000  # ms: queues give up within five days (RFC 5321 4.5.4.1), and people return from holidays
AHEAD = 3_600_000  # ms by which clocks of nodes may differ


class ReturnPaths:
    """`secrets`: the node's, oldest first; the last one makes, all of them open."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._tracers = [Tracer(secret, b"return") for secret in secrets]

    def __repr__(self) -> str:
        return f"<ReturnPaths of {len(self._tracers)} secrets>"

    def address(self, message_id: str, index: int, domain: str) -> str:
        """The return path of one recipient of one message."""
        return f"{PREFIX}{self._tracers[-1].token(message_id, index)}@{domain}"

    def open(self, local: str, now: int) -> tuple[str, int] | None:
        """(message id, recipient index) of a local part; None for what we did not make, or made too long ago."""
        token = local.lower()
        if not token.startswith(PREFIX) or len(token) != len(PREFIX) + 32:
            return None
        found = (tracer.open(token.removeprefix(PREFIX)) for tracer in self._tracers)
        about = next(filter(None, found), None)
        made = time_of(about[0]) if about is not None else None
        return about if made is not None and now - MAX_AGE <= made <= now + AHEAD else None
