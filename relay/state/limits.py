"""The arithmetic of rates: slots of time, and how much was granted in each. Pure.

A sliding window is counted in slots of 1/96 of it. What counts at any time is the current slot and the 96 before it:
one more than a window has, because a window begins somewhere within a slot and all of that slot must count. So no
window of the full length ever holds more than the rate, at the price of one part in 96 when mail flows at the limit.
(A token bucket with a burst of 1,000 a day lets 1,994 through in 24 hours.)

A calendar day, week or month is one slot.
"""

from collections.abc import Iterable
from datetime import date, datetime, tzinfo

from relay.identity import Rate

SLICES = 96  # a quarter of an hour of a day: fine enough to lose little, coarse enough for 97 small rows a key
LARGEST_LEASE = 50  # beyond it a look-up costs less than a tenth of a microsecond a permit


def slice_ms(rate: Rate) -> int:
    """The length of a sliding window's slot, rounded up so that 96 of them cover the window."""
    return -(-rate.window * 1000 // SLICES)


def slot_of(rate: Rate, now: int, zone: tzinfo) -> int:
    """The slot that a grant at `now` is counted in."""
    if not rate.calendar:
        return now // slice_ms(rate)
    day = datetime.fromtimestamp(now / 1000, zone)
    if rate.calendar == "month":
        return day.year * 12 + day.month - 1
    ordinal = day.toordinal()  # 1 January of year 1 was a Monday and has number 1
    return ordinal if rate.calendar == "day" else (ordinal - 1) // 7


def oldest_slot(rate: Rate, slot: int) -> int:
    """The oldest slot that still counts while `slot` is the current one."""
    return slot if rate.calendar else slot - SLICES


def expiry(rate: Rate, slot: int, zone: tzinfo) -> int:
    """When what was granted in `slot` stops to count, in ms since the epoch."""
    if not rate.calendar:
        return (slot + SLICES + 1) * slice_ms(rate)
    if rate.calendar == "month":
        first = date((slot + 1) // 12, (slot + 1) % 12 + 1, 1)
    else:
        first = date.fromordinal(slot + 1 if rate.calendar == "day" else (slot + 1) * 7 + 1)
    return int(datetime(first.year, first.month, first.day, tzinfo=zone).timestamp() * 1000)


def wait(rate: Rate, granted: Iterable[tuple[int, int]], count: int, now: int, zone: tzinfo) -> int:
    """0 where `count` more may be granted; else the ms until enough of `granted` (slot, count) has stopped to count."""
    by_age = sorted(granted)
    excess = sum(number for _, number in by_age) + count - rate.count
    if excess <= 0:
        return 0
    for slot, number in by_age:
        excess -= number
        if excess <= 0:
            return max(1, expiry(rate, slot, zone) - now)
    return rate.window * 1000  # more than the whole rate: never


def lease_size(rate: Rate) -> int:
    """The most permits worth taking ahead of use. Unused ones are lost with their slot; at 1/2000 of the rate, a worker
    that wastes nearly a lease in each of the 96 slots wastes a twentieth of the rate."""
    return max(1, min(LARGEST_LEASE, rate.count // 2000))


def lease_end(rate: Rate, now: int, zone: tzinfo) -> int:
    """Until when permits granted at `now` may be used: never beyond the slot in which they were counted."""
    end = (now // slice_ms(rate) + 1) * slice_ms(rate)
    return min(end, expiry(rate, slot_of(rate, now, zone), zone)) if rate.calendar else end
