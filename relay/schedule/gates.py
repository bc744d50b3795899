"""Lanes whose site has no room: shut until a time, then opened gently, and few of their mail kept in memory. Pure.

An attempt that comes back as a Pause wrote nothing, and its lane starts nothing before the time it names. How much room
there is then only asking tells, and each question is an attempt. So a gate that opens lets one through, another after
PROBE, then two, four and so on; the first that comes back shuts it again; when as many have gone as a lane may have in
flight, there is room: the lane is free. A lane at its rate so asks in vain at most as often as it sends, and one that may send
a thousand a second is back at that within 20 ms.

Lanes that share a limit open at the same time and take the same steps, and one that was refused early in one turn is
early in the next: none of them takes all the room.

What gated lanes keep parked is a part of the window, divided among them: ten keep enough to read the spool once for
many messages, ten thousand keep next to nothing, and the window is for the others.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from relay.pause import Pause

if TYPE_CHECKING:
    from relay.schedule.lanes import Lane

PROBE = 2  # ms in which an attempt that finds no room comes back: State answers in 1, memory at once
LONGEST = 300_000  # ms; a limit lifted where we do not hear of it, and mail whose time is over, are noticed by then


class Gate:
    """What one lane may start: nothing before `opens_at` (None: it is open), then `left` more; `given`: since the pause."""

    __slots__ = ("given", "left", "opens_at", "why")

    def __init__(self) -> None:
        self.opens_at: int | None = None
        self.left = 0
        self.given = 0
        self.why = ""

    def __repr__(self) -> str:
        return f"<Gate: {'open' if self.opens_at is None else f'shut until {self.opens_at}'}, {self.given} given>"

    @property
    def shut(self) -> bool:
        return self.opens_at is not None

    @property
    def paused(self) -> bool:
        """It waits for its site, and not only to see whether the last ones come back."""
        return self.opens_at is not None and not self.given


class Gates:
    """The gates of one schedule. `enough`: so many given without a refusal make a lane free; `room`: parked in all."""

    def __init__(self, enough: int, room: int) -> None:
        self._enough = enough
        self._room = room
        self._kept = 0
        self._sites: dict[str, dict[Lane, None]] = {}
        self._count = 0
        self._openings: list[tuple[int, int, Lane]] = []
        self._sequence = count()  # of two that open at the same time the one that was shut first is first

    def __repr__(self) -> str:
        return f"<Gates: {self._count}, {self._kept} kept>"

    # -- shutting and opening

    def shut(self, lane: "Lane", pause: Pause, now: int) -> None:
        """An attempt of this lane came back. Of several the latest time counts."""
        gate = lane.gate
        if gate is None:
            gate = lane.gate = Gate()
            self._sites.setdefault(lane.key[1], {})[lane] = None
            self._count += 1
            self._kept += len(lane.parked)
        until = min(max(pause.until, now + PROBE), now + LONGEST)
        gate.why = pause.why
        if gate.paused and gate.opens_at is not None and gate.opens_at >= until:
            return
        gate.given = 0
        self._shut(lane, gate, until)

    def started(self, lane: "Lane", gate: Gate, now: int) -> None:
        """An attempt of a gated lane begins."""
        gate.left -= 1
        gate.given += 1
        if gate.left <= 0:
            self._shut(lane, gate, now + PROBE)

    def open(self, now: int) -> Iterator["Lane"]:
        """Opens what is due; each of these may start and load again."""
        while self._openings and self._openings[0][0] <= now:
            at, _, lane = heappop(self._openings)
            gate = lane.gate
            if gate is not None and gate.opens_at == at:
                self._open(lane, gate)
                yield lane

    def resume(self, site: str | None) -> list["Lane"]:
        """Ends the pauses of a site's lanes (None: of all) before their time."""
        sites = self._sites if site is None else {site: self._sites.get(site, {})}
        lanes = [lane for gated in sites.values() for lane in gated if lane.gate is not None and lane.gate.paused]
        for lane in lanes:
            assert lane.gate is not None
            self._open(lane, lane.gate)
        return lanes

    def drop(self, lane: "Lane") -> None:
        """The lane is free, or leaves memory."""
        if lane.gate is None:
            return
        lane.gate = None
        self._count -= 1
        self._kept -= len(lane.parked)
        gated = self._sites[lane.key[1]]
        del gated[lane]
        if not gated:
            del self._sites[lane.key[1]]

    def _shut(self, lane: "Lane", gate: Gate, until: int) -> None:
        gate.opens_at = until
        heappush(self._openings, (until, next(self._sequence), lane))
        if len(self._openings) > 2 * self._count + 1_000:  # superseded ones, which else stay until their time
            self._openings = [
                entry for entry in self._openings if (other := entry[2].gate) is not None and other.opens_at == entry[0]
            ]
            heapify(self._openings)

    def _open(self, lane: "Lane", gate: Gate) -> None:
        gate.opens_at = None
        gate.left = max(1, gate.given)
        if gate.given >= self._enough:
            self.drop(lane)

    # -- what they keep

    def keep(self, lane: "Lane") -> int:
        """How many deliveries a gated lane may keep parked: one that is open at least that which goes next."""
        share = max(1, self._room // self._count)
        left = self._room - (self._kept - len(lane.parked))
        return max(0 if lane.shut else 1, min(2 * self._enough, share, left))

    def parked(self, number: int) -> None:
        """So many more (or fewer) are parked in a gated lane."""
        self._kept += number

    # -- numbers

    def opens_at(self) -> int | None:
        return self._openings[0][0] if self._openings else None

    def paused(self) -> Iterator[tuple["Lane", Gate]]:
        """The lanes that wait for their site."""
        for gated in self._sites.values():
            for lane in gated:
                if lane.gate is not None and lane.gate.paused:
                    yield lane, lane.gate
