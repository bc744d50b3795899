"""What time it is on a server that said so a moment ago. Pure: the caller brings readings of its own monotonic clock.

An answer gives the server's time somewhere between question and answer. So there are two bounds, a round trip apart, and
both matter: permits are counted by the lower one, so that a lease never outlasts the slot it was counted in, and used up
to the upper one.
"""

from dataclasses import dataclass

DRIFT = 0.0005  # two clocks part by this at most: what ntpd corrects a clock by, and more than crystals are off by
STALE = 1.0  # s: a reading that is older is replaced by one that is less exact
FORGET = 600.0  # s: a server that was not heard for so long is gone, unless it is the only one


@dataclass(frozen=True, slots=True)
class Reading:
    """Server's time in ms, which was true at some time between `asked` and `answered` (s, our monotonic clock)."""

    said: int
    asked: float
    answered: float


class ServerClock:
    """Of one server, or of those of a cluster, whose clocks may differ."""

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}

    def __repr__(self) -> str:
        return f"<ServerClock of {len(self._readings)} servers>"

    def heard(self, server: str, reading: Reading) -> None:
        """The more exact of two readings is kept, for a while."""
        known = self._readings.get(server)
        if known is None or reading.answered - known.answered > STALE or _width(reading) <= _width(known):
            self._readings[server] = reading
        if known is None and len(self._readings) > 1:
            old = reading.answered - FORGET
            self._readings = {name: one for name, one in self._readings.items() if one.answered > old}

    def earliest(self, at: float) -> int | None:
        """No server's clock shows less; None where none was heard yet."""
        found = [one.said + (at - one.answered) * 1000 * (1 - DRIFT) for one in self._readings.values()]
        return int(min(found)) if found else None

    def latest(self, at: float) -> int | None:
        """No server's clock shows more. The server cut off its fraction of a millisecond."""
        found = [one.said + 1 + (at - one.asked) * 1000 * (1 + DRIFT) for one in self._readings.values()]
        return int(max(found)) + 1 if found else None


def _width(reading: Reading) -> float:
    return reading.answered - reading.asked
