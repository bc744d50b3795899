"""Sites without room: shut until a time, then opened gently, and little of their mail kept in memory. Pure.

An attempt that comes back as a Pause wrote nothing, and its group, the lanes of its class and site that met the same
limit, starts nothing before the time it names. How much room there is then only asking tells, and each question is an
attempt. So a gate that opens lets one through, another after PROBE, then two, four and so on; the first that comes back
shuts it again; when as many have gone as a site may have in flight, there is room: the gate is taken away. A site at its
rate is so asked in vain no more often than it takes mail, and one that takes a thousand a second is back at that within
20 ms. Who goes through is for the line to say (line.py): the higher priority, and streams in turns.

What gated lanes keep parked is a part of the window, divided among them: ten keep enough to read the spool once for
many messages, ten thousand keep next to nothing, and the window is for the others.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from relay.pause import Pause

if TYPE_CHECKING:
    from relay.schedule.lanes import Group, Lane

PROBE = 2  # ms in which an attempt that finds no room comes back: State answers in 1, memory at once
LONGEST = 300_000  # ms; a limit lifted where we do not hear of it, and mail whose time is over, are noticed by then


class Gate:
    """What one group may start: nothing before `opens_at` (None: it is open), then `left` more. `given`: since the pause."""

    __slots__ = ("given", "left", "opens_at", "why")

    def __init__(self) -> None:
        self.opens_at: int | None = None
        self.left = 0
        self.given = 0
        self.why = ""

    def __repr__(self) -> str:
        return f"<Gate: {'open' if self.opens_at is None else f'shut until {self.opens_at}'}, {self.given} given>"

    @property
    def paused(self) -> bool:
        """It waits for its site, and not only to see whether the last ones come back."""
        return self.opens_at is not None and not self.given


class Gates:
    """The gates of one schedule. `enough`: so many given without a refusal make a group free; `room`: parked in all.

    `openings`: a heap of when gates open (some of it superseded), for the caller to see when to come.
    """

    def __init__(self, enough: int, room: int) -> None:
        self._enough = enough
        self._room = room
        self._count = 0
        self._lanes = 0
        self._kept = 0
        self._sites: dict[str, dict[Group, None]] = {}
        self.openings: list[tuple[int, int, Group]] = []
        self._sequence = count()  # so that the heap never compares groups

    def __repr__(self) -> str:
        return f"<Gates: {self._count} before {self._lanes} lanes, {self._kept} kept>"

    # -- shutting and opening

    def shut(self, group: "Group", pause: Pause, now: int) -> bool:
        """An attempt of this group came back. Of several the latest time counts. True: the gate is new."""
        gate = group.gate
        new = gate is None
        if gate is None:
            gate = group.gate = Gate()
            self._sites.setdefault(group.site, {})[group] = None
            self._count += 1
            self._lanes += group.lanes
            self._kept += group.parked
        until = min(max(pause.until, now + PROBE), now + LONGEST)
        gate.why = pause.why
        if not (gate.paused and gate.opens_at is not None and gate.opens_at >= until):
            gate.given = 0
            self._shut(group, gate, until)
        return new

    def started(self, group: "Group", gate: Gate, now: int) -> None:
        """An attempt of a gated group begins."""
        gate.left -= 1
        gate.given += 1
        if gate.left <= 0:
            self._shut(group, gate, now + PROBE)

    def open(self, now: int) -> Iterator["Group"]:
        """Opens what is due; each of these may start and load again."""
        while self.openings and self.openings[0][0] <= now:
            at, _, group = heappop(self.openings)
            gate = group.gate
            if gate is not None and gate.opens_at == at:
                self._open(group, gate)
                yield group

    def resume(self, site: str) -> list["Group"]:
        """Ends the pauses at a site before their time."""
        found = [(group, group.gate) for group in self._sites.get(site, ())]
        opened = [(group, gate) for group, gate in found if gate is not None and gate.paused]
        for group, gate in opened:
            self._open(group, gate)
        return [group for group, _ in opened]

    def at(self, site: str) -> list["Group"]:
        """The groups with a gate whose site this is."""
        return list(self._sites.get(site, ()))

    def clear(self) -> list["Group"]:
        """Takes all gates away: what is known of limits is not true any more."""
        groups = [group for gated in self._sites.values() for group in gated]
        for group in groups:
            self.drop(group)
        return groups

    def drop(self, group: "Group") -> None:
        """The group is free, or leaves memory."""
        if group.gate is None:
            return
        group.gate = None
        self._count -= 1
        self._lanes -= group.lanes
        self._kept -= group.parked
        gated = self._sites[group.site]
        del gated[group]
        if not gated:
            del self._sites[group.site]

    def _shut(self, group: "Group", gate: Gate, until: int) -> None:
        gate.opens_at = until
        heappush(self.openings, (until, next(self._sequence), group))
        if len(self.openings) > 2 * self._count + 1_000:  # superseded ones, which else stay until their time
            self.openings = [
                entry for entry in self.openings if (now := entry[2].gate) is not None and now.opens_at == entry[0]
            ]
            heapify(self.openings)

    def _open(self, group: "Group", gate: Gate) -> None:
        gate.opens_at = None
        gate.left = max(1, gate.given)
        if gate.given >= self._enough:
            self.drop(group)

    # -- what they keep

    def keep(self, lane: "Lane") -> int:
        """How many deliveries a gated lane may keep parked: one that may start at least that which goes next."""
        share = max(1, self._room // max(1, self._lanes))
        left = self._room - (self._kept - len(lane.parked))
        return max(0 if lane.group.shut else 1, min(2 * self._enough, share, left))

    def changed(self, lanes: int, parked: int) -> None:
        """So many lanes, and deliveries parked in them, came to gated groups (below 0: left them)."""
        self._lanes += lanes
        self._kept += parked

    # -- numbers

    def paused(self) -> Iterator[tuple["Group", Gate]]:
        """The groups that wait for their site."""
        for gated in self._sites.values():
            for group in gated:
                if group.gate is not None and group.gate.paused:
                    yield group, group.gate
