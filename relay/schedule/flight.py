"""The attempts in flight, and whether one more may start: places of each class, of each site, and bytes. Pure."""

from typing import TYPE_CHECKING

from relay.message import Delivery, MailClass

if TYPE_CHECKING:
    from relay.schedule.lanes import Lane

SMALL = 64 * 1024  # content up to here is bounded by the number of attempts alone: 400 of them are 25 MB

Key = tuple[int, int]


class Flight:
    """`places`: how many attempts there may be for each class to start one more; `of_site`: of one group; `budget`: bytes of
    contents above SMALL."""

    def __init__(self, places: list[int], of_site: int, budget: int) -> None:
        self.flying: dict[Key, Lane] = {}
        self.large = 0
        self._places = places
        self._of_site = of_site
        self._budget = budget

    def __repr__(self) -> str:
        return f"<Flight: {len(self.flying)}, {self.large} bytes of large ones>"

    def room(self, mail_class: MailClass) -> int:
        """How many of one group there may be for one more of it to start; below 1: none may. Never more of it than places
        are left: a few slow sites cannot take all."""
        return min(self._of_site, self._places[mail_class] - len(self.flying))

    def fits(self, lane: "Lane", delivery: Delivery) -> bool:
        size = delivery.message.size
        if size <= SMALL or not self.large:
            return True
        budget, large = self._budget, lane.group.large
        return self.large + size <= budget and (not large or large + size <= budget // 2)

    def start(self, lane: "Lane", delivery: Delivery) -> None:
        self.flying[delivery.key] = lane
        lane.in_flight += 1
        lane.group.in_flight += 1
        size = delivery.message.size
        if size > SMALL:
            self._carry(lane, size)

    def land(self, delivery: Delivery) -> "Lane":
        lane = self.flying.pop(delivery.key)
        lane.in_flight -= 1
        lane.group.in_flight -= 1
        size = delivery.message.size
        if size > SMALL:
            self._carry(lane, -size)
        return lane

    def _carry(self, lane: "Lane", size: int) -> None:
        lane.large += size
        lane.group.large += size
        self.large += size
