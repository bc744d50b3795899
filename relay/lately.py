"""What came of the last attempts, by site and pool: rates and the last reply, for who watches. Pure; `now` in ms.

Bounded, whatever the number of sites: who was not heard of for the longest goes first. Rates are over the last ten seconds,
from two slots that slide.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.outcome import Reply

SLOT = 10_000  # ms
PLACES = 2_000  # sites and pools remembered: half a KB each
DELAYS = 1_000  # of the last transactional deliveries


@dataclass(slots=True)
class Rate:
    """Things in ten seconds."""

    slot: int = 0
    here: int = 0
    before: int = 0

    def add(self, now: int) -> None:
        slot = now // SLOT
        if slot != self.slot:
            self.before = self.here if slot == self.slot + 1 else 0
            self.here, self.slot = 0, slot
        self.here += 1

    def a_second(self, now: int) -> float:
        """The last whole slot counts for as much of it as is no more than ten seconds ago."""
        slot, into = divmod(now, SLOT)
        here = self.here if slot == self.slot else 0
        before = self.before if slot == self.slot else self.here if slot == self.slot + 1 else 0
        return (here + before * (1 - into / SLOT)) / (SLOT / 1000)


@dataclass(slots=True)
class Place:
    """One site from one pool. `failing`: deferred and bounced."""

    delivered: Rate = field(default_factory=Rate)
    failing: Rate = field(default_factory=Rate)
    reply: Reply | None = None
    at: int = 0


class Lately:
    """A worker's."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], Place] = {}
        self._delays: deque[int] = deque(maxlen=DELAYS)

    def __repr__(self) -> str:
        return f"<Lately {len(self._places)} places>"

    def note(self, site: str, pool: str, kind: str, reply: Reply, now: int) -> None:
        """An attempt ended as `kind` (delivered, deferred, bounced), with this reply, ours or theirs."""
        key = site, pool
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= PLACES:
                self._make_room()
            place = self._places[key] = Place()
        (place.delivered if kind == "delivered" else place.failing).add(now)
        place.reply, place.at = reply, now

    def took(self, ms: int) -> None:
        """A transactional message was delivered so long after it was accepted, at its first attempt."""
        self._delays.append(ms)

    def p99(self) -> int | None:
        """Ms that 99 of 100 of the last transactional deliveries took at most."""
        if not self._delays:
            return None
        return sorted(self._delays)[(len(self._delays) * 99 - 1) // 100]

    def places(self) -> Iterator[tuple[tuple[str, str], Place]]:
        yield from self._places.items()

    def _make_room(self) -> None:
        """A tenth at once: looking for the oldest takes a millisecond."""
        for key, _ in sorted(self._places.items(), key=lambda item: item[1].at)[: max(1, PLACES // 10)]:
            del self._places[key]
