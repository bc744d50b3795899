"""Where in line mail over a limit stands: a credential's quota, a stream's rate. Pure; `now` in ms is an argument.

A quota of 20,000 an hour is one permit every 180 ms. What is accepted over it gets the next free place on that line, so
that it goes in the order it came, none polls for a permit before its turn, and newer mail cannot overtake it. Each worker
keeps a line of its own and forgets it when it ends; the places are in the spool, and whether a permit is to be had is
always State's word.
"""

from typing import NamedTuple

from relay.identity import Rate
from relay.message import MailClass


class Limit(NamedTuple):
    """A rate that mail is paced by. `key`: whose permits State counts; `line`: where it stands; `who` and `reason`: in
    replies and events."""

    key: str
    line: str
    rate: Rate
    who: str
    reason: str

    def __str__(self) -> str:
        return f"{self.who} is over {self.rate.text}"


def of_credential(name: str, rate: Rate) -> Limit:
    return Limit(name, name, rate, name, "quota")


def of_stream(name: str, rate: Rate, mail_class: MailClass) -> Limit:
    """The classes of a stream share its permits, and stand in lines of their own: transactional mail never waits behind
    marketing (DESIGN, invariant 5). No credential has a colon in its name."""
    key = f"stream:{name}"
    return Limit(key, f"{key}:{mail_class.label}", rate, f"stream {name}", "rate")


def of_health(name: str, rate: int, why: str) -> Limit:
    """Of a stream that is slowed, to so many messages an hour. No credential has a colon in its name."""
    return Limit(
        f"health:{name}", f"health:{name}", Rate(rate, 3600, "", f"{rate}/hour"), f"stream {name} ({why})", "health"
    )


def spacing(rate: Rate) -> int:
    """Milliseconds from one permit to the next; at least one."""
    return max(1, rate.window * 1000 // rate.count)


class Pacer:
    """The lines, by name."""

    def __init__(self) -> None:
        self._free: dict[str, int] = {}  # when the next place is free

    def __repr__(self) -> str:
        return f"<Pacer {len(self._free)} lines>"

    def until(self, name: str, now: int) -> int:
        """How long (ms) this line still is; 0: nobody waits."""
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
