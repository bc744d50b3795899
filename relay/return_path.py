"""Addresses of our own in mail that leaves, each with a token that says which message to whom it is about. Pure.

MAIL FROM is `b-TOKEN@return_path_domain` (VERP), so that a bounce tells it by where it arrives. It is fixed at accept; what
comes back to `<>` does not. `u-TOKEN@` there is the mailto: of List-Unsubscribe (RFC 2369 3.2): whoever writes to it leaves.

The token is a trace id (trace.py) under a key of its own for each of the two: 32 hexadecimal digits, so it survives folded case
and is far from the 64 octets of a local part (RFC 5321 4.5.3.1.1). It proves its origin and carries the message id, hence when it
was made: a forged one, or one of mail that is not remembered any more, is nobody's.
"""

from collections.abc import Sequence

from relay.ids import time_of
from relay.trace import Tracer

PREFIX = "b-"
LEAVING = "u-"
# ms. A message may wait 30 days for its time, its recipient may leave for 30 days after it (15 U.S.C. 7704(a)(3)(A)(ii)), and
# queues on its way give up within five (RFC 5321 4.5.4.1).
MAX_AGE = 60 * 86_400_000
AHEAD = 3_600_000  # ms by which clocks of nodes may differ

About = tuple[str, int]  # message id, recipient index


class ReturnPaths:
    """`secrets`: the node's, oldest first; the last one makes, all of them open. `max_age`: for how long (ms) what was sent is
    remembered."""

    def __init__(self, secrets: Sequence[bytes], max_age: int = MAX_AGE) -> None:
        self._bounces = [Tracer(secret, b"return") for secret in secrets]
        self._leaving = [Tracer(secret, b"leave") for secret in secrets]
        self._max_age = max_age

    def __repr__(self) -> str:
        return f"<ReturnPaths of {len(self._bounces)} secrets>"

    def address(self, message_id: str, index: int, domain: str) -> str:
        """The return path of one recipient of one message."""
        return f"{PREFIX}{self._bounces[-1].token(message_id, index)}@{domain}"

    def leaving(self, message_id: str, index: int, domain: str) -> str:
        """By writing to which one recipient of one message unsubscribes."""
        return f"{LEAVING}{self._leaving[-1].token(message_id, index)}@{domain}"

    def open(self, local: str, now: int) -> About | None:
        """(message id, recipient index) of a return path's local part; None for what we did not make, or made too long ago."""
        return self._opened(local, PREFIX, self._bounces, now)

    def leaver(self, local: str, now: int) -> About | None:
        """Likewise, of who writes to such an address to unsubscribe."""
        return self._opened(local, LEAVING, self._leaving, now)

    def _opened(self, local: str, prefix: str, tracers: Sequence[Tracer], now: int) -> About | None:
        token = local.lower()
        if not token.startswith(prefix) or len(token) != len(prefix) + 32:
            return None
        found = (tracer.open(token.removeprefix(prefix)) for tracer in tracers)
        about = next(filter(None, found), None)
        made = time_of(about[0]) if about is not None else None
        return about if made is not None and now - self._max_age <= made <= now + AHEAD else None
