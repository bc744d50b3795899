"""The attempts in flight, and whether one more may start: places of each class, of each site, and bytes. Pure.

Everything an attempt does is done in turns of one loop, which it shares with all others and with the apps that hand in mail.
Where the processor does not keep up, each turn takes as long as there are attempts that have something to do in it, and
transactional mail needs a dozen turns. So `feel` is told how late the loop is, and other mail has fewer places the later
it is: down to LEAST, which is enough for what a processor can do, and up again to all of them once it keeps up.
"""

from typing import TYPE_CHECKING

from relay.message import Delivery, MailClass

if TYPE_CHECKING:
    from relay.schedule.lanes import Lane

LATE = 0.002  # seconds: what is due comes late by half a turn on average, and a dozen turns of 4 ms are a twentieth of a second
LEAST = 8  # attempts: what other mail always has, however late the loop is
SMALL = 64 * 1024  # content up to here is bounded by the number of attempts alone: 400 of them are 25 MB

Key = tuple[int, int]


class Flight:
    """`places`: how many attempts there may be for each class to start one more; `of_site`: of one group; `budget`: bytes of
    contents above SMALL, of which other mail than transactional leaves a quarter."""

    def __init__(self, places: list[int], of_site: int, budget: int) -> None:
        self.flying: dict[Key, Lane] = {}
        self.large = 0
        self.urgent = 0  # of these, bytes of transactional mail
        self._others = 0  # attempts with other mail
        self._places = places
        self._bulk = self._most = max(places[1:])
        self._of_site = of_site
        self._budget = budget

    def __repr__(self) -> str:
        return f"<Flight: {len(self.flying)}, {self.large} bytes of large ones>"

    def room(self, mail_class: MailClass) -> int:
        """How many of one group there may be for one more of it to start; below 1: none may. Never more of it than places
        are left: a few slow sites cannot take all."""
        places = self._places[mail_class]
        if mail_class and self._bulk < places:
            places = self._bulk
        return min(self._of_site, places - len(self.flying))

    def feels(self) -> bool:
        """Does it matter how late the loop is? Of transactional mail alone it does not, once other mail has all its places."""
        return self._others > 0 or self._bulk < self._most

    def feel(self, late: float) -> bool:
        """The loop came round `late` seconds after it should have. True: more may start than before."""
        if late > LATE:
            self._bulk = max(min(LEAST, self._most), self._bulk * 3 // 4)
            return False
        if self._bulk == self._most:
            return False
        self._bulk = min(self._most, self._bulk + 1 + self._bulk // 16)
        return True

    def fits(self, lane: "Lane", delivery: Delivery) -> bool:
        """One large message may always go, and one of transactional mail besides: it does not wait for others' to land."""
        size, bulk = delivery.message.size, lane.key[0] is not MailClass.TRANSACTIONAL
        if size <= SMALL or not (self.large if bulk else self.urgent):
            return True
        of_class, large = self._budget * 3 // 4 if bulk else self._budget, lane.group.large
        return self.large + size <= of_class and (not large or large + size <= of_class // 2)

    def start(self, lane: "Lane", delivery: Delivery) -> None:
        self.flying[delivery.key] = lane
        self._others += lane.key[0] is not MailClass.TRANSACTIONAL
        lane.in_flight += 1
        lane.group.in_flight += 1
        size = delivery.message.size
        if size > SMALL:
            self._carry(lane, size)

    def land(self, delivery: Delivery) -> "Lane":
        lane = self.flying.pop(delivery.key)
        self._others -= lane.key[0] is not MailClass.TRANSACTIONAL
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
        if lane.key[0] is MailClass.TRANSACTIONAL:
            self.urgent += size
