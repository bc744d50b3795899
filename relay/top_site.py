"""What a node does for one site at this moment, as `postlane queue top` shows it behind Enter: its lanes, why they wait, and how
fast the site takes mail from each source. Pure.

Each worker tells its own part (`part`), which goes with its part of the list (top.py); the supervisor adds them up (`joined`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from relay.event import iso
from relay.top import Facts, first_of

Json = dict[str, Any]


def part(site: str, facts: Facts) -> Json:
    """One worker's lanes, by class and stream, and pauses there."""
    lanes: dict[tuple[int, str], Json] = {}
    for (mail_class, at, stream, *_), lane in facts.waiting.items():
        if at == site:
            row = lanes.setdefault((mail_class, stream), _lane(mail_class.label, stream))
            row["waiting"] += lane.count
            row["due"] += lane.due
            row["next"] = first_of(row["next"], lane.first)
    for (mail_class, at, stream, *_), count in facts.flying.items():
        if at == site:
            lanes.setdefault((mail_class, stream), _lane(mail_class.label, stream))["sending"] += count
    pauses = [
        {"class": mail_class.label, "limit": pause.limit, "until": pause.until, "why": pause.why}
        for mail_class, pause in facts.pauses
        if pause.site == site
    ]
    return {"lanes": list(lanes.values()), "pauses": pauses}


def _lane(mail_class: str, stream: str) -> Json:
    return {"class": mail_class, "stream": stream, "waiting": 0, "due": 0, "sending": 0, "next": None}


def joined(site: str, parts: Iterable[Json], shaping: Mapping[str, list[Json]], now: int) -> Json:
    """All workers' as one, the largest lane first; `shaping`: paces and what stands beside them, of all sites."""
    lanes: dict[tuple[str, str], Json] = {}
    pauses: dict[tuple[str, str], Json] = {}
    for one in parts:
        for lane in one["lanes"]:
            known = lanes.setdefault((lane["class"], lane["stream"]), _lane(lane["class"], lane["stream"]))
            known |= {name: known[name] + lane[name] for name in ("waiting", "due", "sending")}
            known["next"] = first_of(known["next"], lane["next"])
        for pause in one["pauses"]:
            key = pause["class"], pause["limit"]
            if pause["until"] > max(now, pauses[key]["until"] if key in pauses else 0):
                pauses[key] = pause
    return {
        "site": site,
        "lanes": [_timed(one, now) for one in sorted(lanes.values(), key=lambda one: (-one["waiting"], one["stream"]))],
        "pauses": [{**one, "until": iso(one["until"])} for one in pauses.values()],
        "paces": [one for one in shaping["paces"] if one["site"] == site],
        "standing": [{**one, "until": iso(one["until"])} for one in shaping["standing"] if one["site"] == site],
    }


def _timed(lane: Json, now: int) -> Json:
    later = not lane["due"] and lane["next"] is not None and lane["next"] > now
    return {**lane, "next": iso(lane["next"]) if later else None}
