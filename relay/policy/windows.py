"""When mail may be sent: hours of the days of the week in a time zone, but for closed days. Pure; times are ms.

A window is open while a clock on the wall there shows an hour between the two: 09:00 is in `09:00-20:30`, 20:30 is not.
So in the hour that is skipped in spring nothing opens, and hours that begin in it open when it is over; the hour that
comes twice in autumn counts twice. Closed days are whole days there.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

_MINUTE = 60_000
_DAY = 86_400_000
_DAYS_TO_1970 = date(1970, 1, 1).toordinal()
_THURSDAY = 4  # 1 January 1970, where Sunday is 0
_REMEMBERED = 64  # minutes: what comes now, and when what is retried now was accepted; one look takes 10 us

Hours = tuple[tuple[int, int], ...]  # of a day, in minutes of it: from, until


class Window:
    """`week`: the hours of each day from Sunday on, the earlier first; at least one day has some."""

    def __init__(self, name: str, zone: tzinfo, week: Sequence[Hours], closed: frozenset[date] = frozenset()) -> None:
        if not any(week):
            raise ValueError(f"window {name} never opens")
        self.name, self.zone, self.week, self.closed = name, zone, week, closed
        self._known = lru_cache(maxsize=_REMEMBERED)(self._look_up)

    def __repr__(self) -> str:
        return f"<Window {self.name} {self.zone}>"

    def opens(self, now: int) -> int:
        """`now` where it is open, else when it opens next. It does some time: the closed days have an end."""
        return max(now, self._known(now // _MINUTE))

    def _look_up(self, minute: int) -> int:
        """When it is open first from the start of this minute on. It opens and closes, and clocks are changed, on whole
        minutes (tz database 2025, since 1972)."""
        at = minute * _MINUTE
        while True:
            # No zone has changed its offset from UTC twice within six days since 1970 (the same).
            offset, end = self._offset(at), at + _DAY
            if self._offset(end) != offset:
                end = self._change(at, end)
            found = next(self._open(at + offset, end + offset), None)
            if found is not None:
                return found - offset
            at = end

    def shortest_closed(self) -> int | None:
        """The shortest time for which it closes in a week without closed days; None: it never does."""
        spans = [(day * 1440 + start, day * 1440 + end) for day, hours in enumerate(self.week) for start, end in hours]
        spans.append((spans[0][0] + 7 * 1440, 0))
        pauses = []
        open_until = spans[0][1]
        for start, end in spans[1:]:
            if start > open_until:
                pauses.append(start - open_until)
            open_until = max(open_until, end)
        return min(pauses) * _MINUTE if pauses else None

    def _offset(self, at: int) -> int:
        offset = datetime.fromtimestamp(at // 1000, self.zone).utcoffset()
        assert offset is not None
        return offset // timedelta(milliseconds=1)

    def _change(self, at: int, later: int) -> int:
        """When, between these two whole minutes, the offset from UTC changes."""
        before, low, high = self._offset(at), at // _MINUTE, later // _MINUTE
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._offset(middle * _MINUTE) == before else (low, middle)
        return high * _MINUTE

    def _open(self, start: int, end: int) -> Iterator[int]:
        """The times at which it is open or opens from `start` until `end`, both by the clock on the wall."""
        for day in range(start // _DAY, (end - 1) // _DAY + 1):
            if self.closed and date.fromordinal(day + _DAYS_TO_1970) in self.closed:
                continue
            for opens, closes in self.week[(day + _THURSDAY) % 7]:
                at = max(start, day * _DAY + opens * _MINUTE)
                if at < min(end, day * _DAY + closes * _MINUTE):
                    yield at
