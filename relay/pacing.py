"""Where in line mail over its credential's quota stands. Pure; `now` in ms is an argument.

A quota of 20,000 an hour is one permit every 180 ms. What is accepted over it gets the next free place on that line, so
that it goes in the order it came, none polls for a permit before its turn, and newer mail cannot overtake it. Each worker
keeps a line of its own and forgets it when it ends; the places are in the spool, and whether a permit is to be had is
always State's word.
"""

from relay.identity import Rate


def spacing(rate: Rate) -> int:
    """Milliseconds from one permit to the next; at least one."""
    return max(1, rate.window * 1000 // rate.count)


class Pacer:
    """The line of each credential, by name."""

    def __init__(self) -> None:
        self._free: dict[str, int] = {}  # when the next place is free

    def __repr__(self) -> str:
        return f"<Pacer {len(self._free)} credentials>"

    def until(self, name: str, now: int) -> int:
        """How long (ms) the line of this credential still is; 0: nobody waits."""
        free = self._free.get(name, 0)
        if free <= now:
            self._free.pop(name, None)
            return 0
        return free - now

    def place(self, name: str, rate: Rate, count: int, earliest: int) -> int:
        """The first of `count` places in line, not before `earliest` (ms); the others follow by `spacing`."""
        first = max(self._free.get(name, 0), earliest)
        self._free[name] = first + count * spacing(rate)
        return first
