"""Is there a processor with nothing to do while this process has too much? Then it pays to hand work to threads.

A thread for each signature costs a wake-up and a fight for Python's lock: some 10 % of a message's CPU. Where all workers
are busy that is all it does; where one worker has all the connections (with few of them the kernel may well give them
to one) a second processor signs meanwhile, which is worth half as much again.
"""

import time
from collections.abc import Callable
from pathlib import Path

LOOK_EVERY = 0.25  # seconds: reading /proc/stat takes 50 us
BUSY = 0.6  # of one processor: below it this process has time to do its work on the spot
IDLE = 0.2  # of all processors: with two, the better half of one has nothing to do
EXHAUSTED = 0.02  # below it threads take time from others


def spare(before: bool, own: float, idle: float) -> bool:
    """`own`: share of one processor this process used; `idle`: share of all that nobody used; `before`: what was said last.

    Once threads are in use they take the idle time, so less of it is asked for to go on than to begin.
    """
    if own < BUSY:
        return False
    return idle > (EXHAUSTED if before else IDLE)


class SparePower:
    """`spare` over the last quarter of a second; call it as often as you like."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        own: Callable[[], float] = time.process_time,
        stat: Path = Path("/proc/stat"),
    ) -> None:
        self._clock, self._own, self._stat = clock, own, stat
        self._spare = False
        self._looked = clock()
        self._used = own()
        self._ticks = _ticks(stat)

    def __repr__(self) -> str:
        return f"<SparePower {'some' if self._spare else 'none'}>"

    def __call__(self) -> bool:
        now = self._clock()
        if now - self._looked >= LOOK_EVERY:
            used, ticks = self._own(), _ticks(self._stat)
            idle, total = (new - old for new, old in zip(ticks, self._ticks, strict=True))
            self._spare = spare(self._spare, (used - self._used) / (now - self._looked), idle / total if total else 0.0)
            self._looked, self._used, self._ticks = now, used, ticks
        return self._spare


def _ticks(stat: Path) -> tuple[int, int]:
    """(idle, all) ticks of all processors since the start (proc(5)); (0, 0) where there is no such file."""
    try:
        numbers = [int(word) for word in stat.read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return numbers[3] + numbers[4], sum(numbers)
