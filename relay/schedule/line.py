"""Lanes that stand in line, and whose turn it is. Pure; a turn costs the same however many stand there.

Higher priority goes first, but never alone: of each EIGHT turns one goes to the lower ones, in rotation, so that the lowest
of all 19 (RFC 6710) still gets one in 144. So it is among groups, which take turns with those of the same highest
priority, and so it is again among the lanes of a group, which share what one site takes. Lanes of one priority, which are
streams, take turns. No site gets more for having more streams, and no stream for having more mail.
"""

from bisect import insort
from collections import OrderedDict
from collections.abc import Sequence
from operator import neg
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.schedule.lanes import Group, Lane

EIGHT = 8


class Shelf:
    """The lanes of one group. `level`: the priority at which the group stands in line; None: it is passed over."""

    __slots__ = ("level", "order", "rows", "turn")

    def __init__(self) -> None:
        self.rows: dict[int, OrderedDict[Lane, None]] = {}
        self.order: list[int] = []  # priorities, the highest first
        self.turn = 0
        self.level: int | None = None

    def add(self, lane: "Lane") -> None:
        priority = lane.key[3]
        row = self.rows.get(priority)
        if row is None:
            row = self.rows[priority] = OrderedDict()
            insort(self.order, priority, key=neg)
        row[lane] = None

    def next(self) -> "Lane":
        priority = _choose(self.order, self.turn)
        self.turn += 1
        row = self.rows[priority]
        lane, _ = row.popitem(last=False)
        if not row:
            self._clear(priority)
        return lane

    def remove(self, lane: "Lane") -> None:
        row = self.rows[lane.key[3]]
        del row[lane]
        if not row:
            self._clear(lane.key[3])

    def _clear(self, priority: int) -> None:
        del self.rows[priority]
        self.order.remove(priority)


class Line:
    """Each lane stands in it once at most; who adds one knows whether it does."""

    __slots__ = ("_count", "_levels", "_order", "_shelves", "_turn")

    def __init__(self) -> None:
        self._shelves: dict[Group, Shelf] = {}
        self._levels: dict[int, OrderedDict[Group, None]] = {}
        self._order: list[int] = []  # priorities of groups whose turn it can be, the highest first
        self._turn = 0
        self._count = 0

    def __repr__(self) -> str:
        return f"<Line: {self._count} lanes of {len(self._shelves)} groups, priorities {self._order}>"

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        """Can it be anybody's turn?"""
        return bool(self._order)

    @property
    def lowest(self) -> int | None:
        return self._order[-1] if self._order else None

    def add(self, lane: "Lane") -> None:
        """Behind the others of its group and priority."""
        group = lane.group
        shelf = self._shelves.get(group)
        self._count += 1
        if shelf is None:
            shelf = self._shelves[group] = Shelf()
            shelf.add(lane)
            self._enter(group, shelf)
        else:
            shelf.add(lane)
            self._stand_right(group, shelf)

    def next(self, most: int | None = None) -> "Lane | None":
        """Whose turn it is, out of the line; None: nobody's. With `most`, groups that are shut or have so many attempts in
        flight are passed over until `restore`."""
        while self._order:
            priority = _choose(self._order, self._turn)
            level = self._levels[priority]
            group, _ = level.popitem(last=False)
            if not level:
                self._order.remove(priority)
            shelf = self._shelves[group]
            if most is not None and (group.in_flight >= most or group.shut):
                shelf.level = None
                group.out = True
                continue
            lane = shelf.next()
            if shelf.rows:
                self._enter(group, shelf)
            else:
                del self._shelves[group]
            self._turn += 1
            self._count -= 1
            return lane
        return None

    def remove(self, lane: "Lane") -> None:
        group = lane.group
        shelf = self._shelves[group]
        shelf.remove(lane)
        self._count -= 1
        if shelf.rows:
            self._stand_right(group, shelf)
        else:
            self._leave(group, shelf)
            del self._shelves[group]

    def restore(self, group: "Group") -> None:
        """It may start something again."""
        group.out = False
        shelf = self._shelves.get(group)
        if shelf is not None and shelf.level is None:
            self._enter(group, shelf)

    def again(self, lane: "Lane") -> None:
        """Its turn was for nothing: it does not count, and the next one is its own. Else whose turn it was might find no room
        each time."""
        shelf = self._shelves.get(lane.group)
        if shelf is not None and lane in shelf.rows.get(lane.key[3], ()):
            shelf.turn -= 1
            shelf.rows[lane.key[3]].move_to_end(lane, last=False)

    def of(self, group: "Group") -> list["Lane"]:
        """The lanes of a group that stand here."""
        shelf = self._shelves.get(group)
        return [lane for row in shelf.rows.values() for lane in row] if shelf is not None else []

    def _stand_right(self, group: "Group", shelf: Shelf) -> None:
        """Where its highest priority is."""
        if shelf.level is not None and shelf.level != shelf.order[0]:
            self._leave(group, shelf)
            self._enter(group, shelf)

    def _enter(self, group: "Group", shelf: Shelf) -> None:
        shelf.level = priority = shelf.order[0]
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = OrderedDict()
        if not level:
            insort(self._order, priority, key=neg)
        level[group] = None

    def _leave(self, group: "Group", shelf: Shelf) -> None:
        if shelf.level is None:
            return
        level = self._levels[shelf.level]
        del level[group]
        if not level:
            self._order.remove(shelf.level)
        shelf.level = None


def _choose(order: Sequence[int], turn: int) -> int:
    others = len(order) - 1
    if not others or (turn + 1) % EIGHT:
        return order[0]
    return order[1 + turn // EIGHT % others]
