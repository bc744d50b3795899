"""Warm-up: a source that no provider knows carries a little mail to each site, and more each day. Pure; days are dates.

Each site has a budget of its own, since each provider makes up its own mind; what is over it goes by the pool's other
sources. From the day that pools.toml names, the budget of a day is the schedule's of that day; after its last there is none.

Growth stops for a site that answers badly: the next day has the budget of this one, and so on while days are bad. What an
operator holds stays as it is until it is resumed. Both make another Progress, which says where on the schedule the source
was on which day; the rest is arithmetic, so nothing has to run at midnight.

A budget is a rate by the calendar day (relay/state/limits.py): exact over restarts and over all workers and nodes, because
State counts it, by source, site and day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from relay.identity import Rate

# Messages a day and site. What senders publish doubles each day from 50 to 200 in all (SendGrid, Salesforce, Adobe: 30 to 60
# days), of which one provider gets a quarter to a half; providers name no figures ("start with a low volume to engaged
# users, and increase slowly": Google, "Email sender guidelines"). Doubling for four days, then by a third a day, since a
# day's reputation shows on the next; a fifth in the last ten, where each step is large. Then a source is as good as any.
SCHEDULE: tuple[int, ...] = (
    *(250, 500, 1_000, 2_000, 2_700, 3_600, 4_900, 6_600, 9_000, 12_000),
    *(16_000, 22_000, 30_000, 40_000, 54_000, 73_000, 99_000, 130_000, 180_000, 240_000),
    *(290_000, 350_000, 420_000, 500_000, 600_000, 720_000, 860_000, 1_000_000, 1_250_000, 1_500_000),
)
FEW = 20  # replies of a day, below which a share of them says nothing
BAD_SHARE = 0.05  # of a day's messages: greylisting and single blocks are fewer at a provider that is content
COMPLAINTS = 0.003  # of a day's messages: "never reach 0.3 %" (Google, Yahoo: requirements for bulk senders, 2024)
ENGAGED_ONLY = (
    10  # levels on which only those who read go by a new source, where it is known who does and others carry the rest
)

_DAY = 90_000  # seconds at most, as relay/config/units.py has it of a calendar day


@dataclass(frozen=True, slots=True)
class Progress:
    """One source at one site: on `level` of the schedule (0: its first day) on `day`; up by one each day, unless `held`.

    why   of what was held, or did not grow; "" else
    """

    level: int
    day: date
    held: bool = False
    why: str = ""

    def level_on(self, day: date) -> int:
        return self.level if self.held else self.level + max(0, (day - self.day).days)

    def hold(self, day: date, why: str) -> "Progress":
        """It stays where it is until it is resumed."""
        return Progress(self.level_on(day), max(day, self.day), True, why)

    def resume(self, day: date) -> "Progress":
        """It grows again from today's level, as from tomorrow."""
        if self.held:
            return Progress(self.level, max(day, self.day))
        return Progress(self.level_on(day), day) if self.why else self

    def stall(self, day: date, why: str) -> "Progress":
        """The next day has this day's level."""
        return self if self.held else Progress(self.level_on(day), max(day + timedelta(days=1), self.day), why=why)

    def budget(self, schedule: Sequence[int], day: date) -> int | None:
        """Of `day`, from the source's first on; None: it is warm."""
        level = self.level_on(day)
        return schedule[level] if level < len(schedule) else None


@dataclass(frozen=True, slots=True)
class Hold:
    """A source whose growth an operator stopped for all sites at once, on `since`, or that goes on: then `lost` days late."""

    since: date | None = None
    lost: int = 0
    why: str = ""

    def day(self, today: date) -> date:
        """What today is on its schedules: all days of Progress are such."""
        return (self.since or today) - timedelta(days=self.lost)

    def hold(self, today: date, why: str) -> "Hold":
        return Hold(self.since or today, self.lost, why)

    def resume(self, today: date) -> "Hold":
        return Hold(None, self.lost + (today - self.since).days) if self.since else self


def day_of(now: int, zone: tzinfo) -> date:
    """The day there at `now` (ms)."""
    return datetime.fromtimestamp(now / 1000, zone).date()


def midnight(day: date, zone: tzinfo) -> int:
    """When it begins there, in ms."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def rate_of(budget: int) -> Rate:
    return Rate(budget, _DAY, "day", f"{budget}/day")


def key_of(source: str, site: str) -> str:
    """What its permits are counted under."""
    return f"warmup/{source}/{site}"


def may_carry(engaged: bool | None, level: int) -> bool:
    """Engaged recipients first: may mail to one go by this source? None: nobody knows."""
    return engaged is not False or level >= ENGAGED_ONLY


@dataclass(slots=True)
class Day:
    """What one worker saw of one source at one site on a day."""

    day: date
    replies: int = 0
    bad: int = 0
    complaints: int = 0
    told: bool = False

    @property
    def weight(self) -> tuple[date, int]:
        """How much would be lost with it."""
        return self.day, self.replies + self.complaints

    def turned(self) -> str:
        """Why growth has to stop, said once; "" while all is well."""
        if self.told or self.replies < FEW:
            return ""
        if self.bad >= self.replies * BAD_SHARE:
            self.told = True
            return f"{self.bad} of {self.replies} replies bad"
        if self.complaints >= max(2, self.replies * COMPLAINTS):
            self.told = True
            return f"{self.complaints} complaints about {self.replies} messages"
        return ""


def words(progress: Progress, hold: Hold, schedule: Sequence[int], start: date, today: date, used: int | None) -> str:
    """day 4 of 30: 1,600 of 2,000; with (held: why) or (stopped: why)"""
    if today < start:
        return f"begins on {start:%-d %b}"
    day = hold.day(today)
    budget = progress.budget(schedule, day)
    if budget is None:
        return "warm"
    text = f"day {progress.level_on(day) + 1} of {len(schedule)}: {budget:,}" + (" a day" if used is None else "")
    if used is not None:
        text = f"day {progress.level_on(day) + 1} of {len(schedule)}: {used:,} of {budget:,}"
    if hold.since is not None:
        return f"{text} (held{f': {hold.why}' if hold.why else ''})"
    if progress.held or progress.why:
        return f"{text} ({'held' if progress.held else 'stopped'}{f': {progress.why}' if progress.why else ''})"
    return text
