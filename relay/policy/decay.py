"""Automations that fewer and fewer care for: of which stream's mail less goes to engaged recipients than it used to. Pure.

Nobody looks at an automation that runs: its mail goes on to people who have stopped reading, until somebody complains. What
is looked at is the share of a stream's delivered marketing whose recipients were engaged with the brand
(relay/policy/engagement.py), of those of whom that is known: of the last four weeks against the weeks before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

WEEK = 7 * 86_400_000  # ms
KEPT = 26  # weeks: half a year shows what became of it
LATELY, BEFORE = 4, 4  # weeks: so many now, and as many before them at least
FEWEST = 200  # mails in either: fewer say little
LOSS = 1 / 3  # of its former share: so much less is a decay


@dataclass(slots=True)
class Weeks:
    """Of one stream, by week since the epoch: mails whose recipients' engagement is known, and those who were engaged. `until`:
    the hours (since the epoch) before this one are in."""

    until: int = 0
    counts: dict[int, list[int]] = field(default_factory=dict)

    def add(self, hour: int, known: int, engaged: int) -> bool:
        """What was delivered in that hour; False: it is in already."""
        if hour < self.until:
            return False
        week = hour * 3_600_000 // WEEK
        sums = self.counts.setdefault(week, [0, 0])
        sums[0], sums[1] = sums[0] + known, sums[1] + engaged
        self.counts = {one: sums for one, sums in self.counts.items() if one > week - KEPT}
        self.until = hour + 1
        return True

    def dump(self) -> str:
        return orjson.dumps([self.until, [[week, *sums] for week, sums in self.counts.items()]]).decode()

    @classmethod
    def load(cls, text: str) -> "Weeks":
        """Raises ValueError, TypeError."""
        until, rows = orjson.loads(text)
        return cls(until, {week: [known, engaged] for week, known, engaged in rows})


@dataclass(frozen=True, slots=True)
class Decay:
    """`before` and `lately`: shares of engaged recipients; `mails`: to whom that is known, lately."""

    stream: str
    before: float
    lately: float
    mails: int

    def __str__(self) -> str:
        return (
            f"stream {self.stream}: {100 * self.lately:.0f} % of its mail goes to people who still care, "
            f"{100 * self.before:.0f} % did before"
        )


def decay(stream: str, weeks: Weeks, now: int) -> Decay | None:
    """None: it is as it was, or too little is known."""
    this = now // WEEK
    lately = [sums for week, sums in weeks.counts.items() if this - LATELY <= week]
    before = [sums for week, sums in weeks.counts.items() if week < this - LATELY]
    mails, past = sum(known for known, _ in lately), sum(known for known, _ in before)
    if mails < FEWEST or past < FEWEST or len(before) < BEFORE:
        return None
    found = Decay(stream, sum(one for _, one in before) / past, sum(one for _, one in lately) / mails, mails)
    return found if found.before and found.lately <= (1 - LOSS) * found.before else None


def decaying(streams: Mapping[str, Weeks], now: int) -> list[Decay]:
    """The worst first."""
    found = [one for name, weeks in streams.items() if (one := decay(name, weeks, now)) is not None]
    return sorted(found, key=lambda one: (one.lately / one.before, one.stream))
