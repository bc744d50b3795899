"""How much may be asked: calls of each credential, and tokens that are nobody's. Pure; times in seconds.

A credential's calls are limited by the token that was found right, so that no stranger can use up what is an app's. Wrong tokens
are limited for all together: they cost the node a question each, and a right one is never looked for among so many.
"""

from collections import OrderedDict
from dataclasses import dataclass

A_SECOND, AT_ONCE = 50.0, 200.0  # calls of one credential: a form asks once a person, engagement comes 500 in one
WRONG_A_SECOND, WRONG_AT_ONCE = 5.0, 50.0
TRUSTED = 60.0  # s that a token which was right is not counted as a possible wrong one
KNOWN = 1000  # credentials and tokens remembered


@dataclass(slots=True)
class Bucket:
    """Holds `most` calls, refilled by `rate` a second."""

    rate: float
    most: float
    left: float
    at: float = 0.0

    def take(self, now: float) -> float:
        """0, or the seconds until there is one."""
        self.left = min(self.most, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / self.rate


class Limits:
    """Of one process."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Bucket] = OrderedDict()  # by credential
        self._right: OrderedDict[str, float] = OrderedDict()  # proofs, until when
        self._wrong = Bucket(WRONG_A_SECOND, WRONG_AT_ONCE, WRONG_AT_ONCE)

    def __repr__(self) -> str:
        return f"<Limits of {len(self._calls)} credentials>"

    def before(self, credential: str, proof: str, now: float) -> float:
        """May this be asked? 0, or the seconds to wait."""
        if proof not in self._right or self._right[proof] < now:
            return 0.0 if self._wrong.left + (now - self._wrong.at) * self._wrong.rate >= 1 else 1 / self._wrong.rate
        bucket = self._calls.get(credential)
        if bucket is None:
            bucket = self._calls[credential] = Bucket(A_SECOND, AT_ONCE, AT_ONCE, now)
            _bound(self._calls)
        return bucket.take(now)

    def right(self, proof: str, now: float) -> None:
        """It was somebody's token."""
        self._right[proof] = now + TRUSTED
        self._right.move_to_end(proof)
        _bound(self._right)

    def wrong(self, proof: str, now: float) -> None:
        """It was nobody's, or is no more."""
        self._right.pop(proof, None)
        self._wrong.take(now)


def _bound(table: "OrderedDict[str, Bucket] | OrderedDict[str, float]") -> None:
    if len(table) > KNOWN:
        table.popitem(last=False)
