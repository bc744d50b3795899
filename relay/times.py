"""Times as people and apps write and read them, in ms. Pure; the clock is the caller's."""

import re
from datetime import UTC, datetime, timedelta

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
LATEST = 253_402_300_799_999  # the end of the year 9999, the last that RFC 3339 can write


def duration(text: str) -> int | None:
    """`90s 15m 2h 7d`; None: it is none."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNIT_MS[match[2]] if match else None


def span(ms: float) -> str:
    """As people read how long something took or takes: "61 ms", "4.2 s", "12 min", "3 h", "7 d"."""
    for letter, unit in (("d", "d"), ("h", "h"), ("m", "min")):
        if ms >= _UNIT_MS[letter]:
            return f"{ms / _UNIT_MS[letter]:.0f} {unit}"
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def moment(text: str) -> int | None:
    """A date-time of RFC 3339 (5.6), with its offset from UTC, since the epoch; None: it is none."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # there is no such day, or its year is none in UTC
        return None
    return (at - _EPOCH) // _MS
