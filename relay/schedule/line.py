"""Lanes that stand in line, and whose turn it is. Pure; a turn costs the same however many stand there.

Higher priority goes first, but never alone: of each EIGHT turns one goes to the lower ones, in rotation, so that the lowest
of all 19 (RFC 6710) still gets one in 144. Within a priority sites take turns, within a site its lanes, which are its
streams: none gets more for having more of them, nor for having more mail.
"""

from bisect import insort
from collections import OrderedDict
from operator import neg
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.schedule.lanes import Group, Lane

EIGHT = 8


class Level:
    """The lanes of one priority, by group; `out`: groups that must not start anything now."""

    __slots__ = ("groups", "out")

    def __init__(self) -> None:
        self.groups: OrderedDict[Group, OrderedDict[Lane, None]] = OrderedDict()
        self.out: dict[Group, OrderedDict[Lane, None]] = {}


class Line:
    """Each lane stands in it once at most; who adds one knows whether it does."""

    __slots__ = ("_count", "_levels", "_order", "_turn")

    def __init__(self) -> None:
        self._levels: dict[int, Level] = {}
        self._order: list[int] = []  # priorities with groups whose turn it can be, highest first
        self._turn = 0
        self._count = 0

    def __repr__(self) -> str:
        return f"<Line: {self._count} lanes of priorities {sorted(self._levels, reverse=True)}>"

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        """Can it be anybody's turn?"""
        return bool(self._order)

    @property
    def lowest(self) -> int | None:
        return self._order[-1] if self._order else None

    def add(self, lane: "Lane") -> None:
        """Behind the others of its group."""
        priority = lane.key[3]
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = Level()
        group = lane.group
        lanes = level.groups.get(group)
        if lanes is None:
            lanes = level.out.get(group)
            if lanes is None:
                lanes = OrderedDict()
                self._enter(priority, level, group, lanes)
        lanes[lane] = None
        self._count += 1

    def next(self, most: int | None = None) -> "Lane | None":
        """Whose turn it is, out of the line; None: nobody's. With `most`, groups that are shut or have so many attempts in
        flight are passed over until `restore`."""
        while self._order:
            priority = self._choose()
            level = self._levels[priority]
            group, lanes = level.groups.popitem(last=False)
            if most is not None and (group.in_flight >= most or group.shut):
                level.out[group] = lanes
                group.out = True
                self._leave(priority, level)
                continue
            lane, _ = lanes.popitem(last=False)
            if lanes:
                level.groups[group] = lanes
            else:
                self._leave(priority, level)
            self._turn += 1
            self._count -= 1
            return lane
        return None

    def remove(self, lane: "Lane") -> None:
        level = self._levels[lane.priority]
        for groups in (level.groups, level.out):
            lanes = groups.get(lane.group)
            if lanes is not None:
                del lanes[lane]
                self._count -= 1
                if not lanes:
                    del groups[lane.group]
                    self._leave(lane.priority, level)

    def restore(self, group: "Group") -> None:
        """It may start something again."""
        group.out = False
        for priority, level in self._levels.items():
            lanes = level.out.pop(group, None)
            if lanes is not None:
                self._enter(priority, level, group, lanes)

    def of(self, group: "Group") -> list["Lane"]:
        """The lanes of a group that stand here."""
        both = [found for level in self._levels.values() for found in (level.groups.get(group), level.out.get(group))]
        return [lane for lanes in both if lanes is not None for lane in lanes]

    def _choose(self) -> int:
        order = self._order
        others = len(order) - 1
        if not others or (self._turn + 1) % EIGHT:
            return order[0]
        return order[1 + self._turn // EIGHT % others]

    def _enter(self, priority: int, level: Level, group: "Group", lanes: "OrderedDict[Lane, None]") -> None:
        if not level.groups:
            insort(self._order, priority, key=neg)
        level.groups[group] = lanes

    def _leave(self, priority: int, level: Level) -> None:
        if not level.groups and priority in self._order:
            self._order.remove(priority)
