"""Pace towards a provider that tightens and loosens, over time: `python -m bench.pace` writes bench/results/pace.svg and
pace.md.

The pace is relay/shaping/pace.py itself, the provider and the clock are simulated: an hour takes a second, and every run is
the same. The provider takes so many messages a second, counted over its last ten seconds, and answers 421 4.7.28 above;
its replies take 300 ms. There is always mail.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.shaping.pace import Bounds, Pace

LATENCY = 300  # ms from a message to its reply
WINDOW = 10_000  # ms over which the provider counts
STEP = 50  # ms
CEILING = 40.0
BOUNDS = Bounds(start=10, floor=0.1, ceiling=CEILING)

# From minute to minute: what the provider takes in a second, and why.
STORY: Sequence[tuple[float, float, str]] = (
    (0, 60, "takes more than the admin's 40/s"),
    (10, 12, "tightens to 12/s"),
    (25, 3, "tightens to 3/s"),
    (35, 25, "loosens to 25/s"),
    (55, 0, "takes nothing for 5 minutes"),
    (60, 60, "takes all again"),
)
MINUTES = 80


@dataclass(slots=True)
class Provider:
    """Takes `allowed(now)` messages a second, and says 421 to the others."""

    allowed: Callable[[int], float]
    _taken: deque[int] = field(default_factory=deque)

    def takes(self, now: int) -> bool:
        while self._taken and self._taken[0] <= now - WINDOW:
            self._taken.popleft()
        if len(self._taken) >= self.allowed(now) * WINDOW / 1000:
            return False
        self._taken.append(now)
        return True


@dataclass(slots=True)
class Second:
    """What happened in one of them, of all workers together; `pace` at its end."""

    pace: float = 0.0
    taken: int = 0
    refused: int = 0


def simulate(
    allowed: Callable[[int], float], seconds: int, bounds: Bounds = BOUNDS, workers: int = 1, tell: bool = True
) -> list[Second]:
    """`workers` that send as fast as their paces let them, each with a pace of its own and a share of start and floor;
    `tell`: they tell each other of cuts. Both, and the ceiling of all together, as State has it among real ones."""
    provider, ceiling = Provider(allowed), Provider(lambda _: bounds.ceiling)
    bounds = Bounds(bounds.start / workers, bounds.floor / workers, bounds.ceiling)
    paces = [Pace(bounds, 0) for _ in range(workers)]
    series = [Second() for _ in range(seconds)]
    due = [(0, number) for number in range(workers)]  # when each asks again
    flying: deque[tuple[int, int, int, bool]] = deque()  # reply at, worker, sent at, taken
    for now in range(0, seconds * 1000, STEP):
        second = series[now // 1000]
        while flying and flying[0][0] <= now:
            _, number, sent, taken = flying.popleft()
            pace = paces[number]
            if taken:
                pace.good(bounds, now)
            elif (cut := pace.trouble(bounds, sent, now, "421 4.7.28")) and tell:
                for other in paces:
                    if other is not pace:
                        other.heard(bounds, cut, now)
        while due and due[0][0] <= now:
            _, number = heapq.heappop(due)
            again = _send(paces[number], bounds, now, second, (ceiling, provider), flying, number)
            heapq.heappush(due, (again, number))
        second.pace = min(bounds.ceiling, sum(pace.rate for pace in paces))
    return series


def _send(
    pace: Pace,
    bounds: Bounds,
    now: int,
    second: Second,
    passes: tuple[Provider, Provider],
    flying: deque[tuple[int, int, int, bool]],
    number: int,
) -> int:
    """All that may go now; when to ask again."""
    ceiling, provider = passes
    while not (again := pace.ask(bounds, now)):
        if not ceiling.takes(now):
            pace.give_back()
            return now + 100
        taken = provider.takes(now)
        second.taken, second.refused = second.taken + taken, second.refused + (not taken)
        flying.append((now + LATENCY, number, now, taken))
    return again


def told(story: Sequence[tuple[float, float, str]]) -> Callable[[int], float]:
    def allowed(now: int) -> float:
        return next(rate for minute, rate, _ in reversed(story) if now >= minute * 60_000)

    return allowed
