"""Values as people read them: times, sizes, spans, counts. Pure; the templates' filters."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from relay import times
from relay.event import iso
from relay.web.login.visitor import SEALED
from relay.web.metrics import CLASSES, Stats, lanes, totals
from relay.web.stories import Event

# Fields of an event that its line in the story shows elsewhere, or that only programs need.
_PLACED = {"v", "time", "type", "id", "rcpt", "message_id", "sender", "from", "recipient", "domain", "subject", "class"}
_PLACED |= {"stream", "credential", "brand", "campaign", "reply", "reason", "detail", "transcript"}
_FOR_PROGRAMS = {"event_id", "node", "policies", "metadata", "headers", "evidence", SEALED}


_ENDS = ("delivered", "deferred", "bounced")


@dataclass(frozen=True, slots=True)
class Tile:
    """One class's numbers on the dashboard. `waiting` is None where the node does not answer."""

    name: str
    waiting: int | None
    ended: dict[str, int]


def tiles(stats: Stats | None, events: Iterable[Event]) -> list[Tile]:
    """What waits now, and how attempts ended: since the workers started, or as far back as `events` reach."""
    seen = Counter((str(e.get("class")), str(e.get("type"))) for e in events)
    waiting: Counter[str] = Counter()
    counted: dict[str, dict[str, float]] = {}
    if stats is not None:
        for (mail_class, _), number in lanes(stats).items():
            waiting[mail_class] += number
        counted = {end: totals(stats, end) for end in _ENDS}
    known = any(counted.values())
    return [
        Tile(
            name,
            waiting[name] if stats is not None else None,
            {end: int(counted[end].get(name, 0)) if known else seen[name, end] for end in _ENDS},
        )
        for name in CLASSES
    ]


def clock(value: object, zone: tzinfo = UTC) -> str:
    """ "14:05:31" of an event's time, or of ms; "" if it is neither."""
    found = moment(value, zone)
    return f"{found:%H:%M:%S}" if found is not None else ""


def day(value: object, zone: tzinfo = UTC) -> str:
    """ "Sat 21 Nov 2026"."""
    found = moment(value, zone)
    return f"{found:%a %d %b %Y}" if found is not None else ""


def moment(value: object, zone: tzinfo) -> datetime | None:
    text = iso(value) if isinstance(value, int) else str(value or "")
    try:
        found = datetime.fromisoformat(text[:40])
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(zone)
    except (ValueError, OverflowError):
        return None


def size(octets: object) -> str:
    """ "38 KB": powers of 1,000, as mail servers announce SIZE."""
    if not isinstance(octets, int):
        return ""
    number, unit = float(octets), "B"
    for larger in ("KB", "MB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"


def span(ms: object) -> str:
    """ "38 ms", "2.4 s", "3 min", "5 h", "2 d"; "" of what is no time."""
    return times.span(ms) if isinstance(ms, int | float) else ""


def count(number: object) -> str:
    """ "182,406"; a dash where there is none."""
    return f"{number:,}" if isinstance(number, int) else "–"


def speed(rate: float) -> str:
    """ "412/s", "0.8/s"; a dash where nothing moves."""
    if not rate:
        return "–"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def facts(event: Event) -> list[tuple[str, str]]:
    """What else an event says, in its own words."""
    unshown = _PLACED | _FOR_PROGRAMS
    shown: list[tuple[str, Any]] = [
        (n, v) for n, v in event.items() if n not in unshown and v not in (None, "", [], {})
    ]
    return [(name.replace("_", " "), _plain(name, value)) for name, value in shown]


def transcript(event: Event) -> str:
    """What was said in the session of a failure, a line each; "" where it is not told."""
    said = event.get("transcript")
    return "\n".join(map(str, said)) if isinstance(said, list) else ""


def _plain(name: str, value: object) -> str:
    if name == "size":
        return size(value)
    if name.endswith("_ms"):
        return span(value)
    return str(value)[:500]
