"""What `postlane plan` says of caps: which are others on disk, and what they would do to recorded mail (relay/replay_caps.py)."""

import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from relay.cli.progress import Progress
from relay.cli.reasons import short
from relay.config.origin import Places
from relay.feedback.eventlog import columns, first_hour, scan
from relay.message import MailClass
from relay.policy.caps import Cap, Caps
from relay.replay_caps import COLUMNS, TYPES, CapReplay, Effect, Shift
from relay.replay_person import DROPPED, GIVEN_UP, GONE, POSTPONED, REFUSED, STALE, WENT

Json = dict[str, object]

_LATER = (POSTPONED, STALE, GIVEN_UP, GONE)  # ways to be postponed
_WAS = {
    WENT: "went out",
    POSTPONED: "were postponed",
    STALE: "became stale while they waited",
    GIVEN_UP: "were given up after a long wait",
    GONE: "ended while they waited",
    DROPPED: "were withheld",
    REFUSED: "were refused",
}
_WILL = {
    WENT: "go out at once",
    POSTPONED: "go out later",
    STALE: "become stale before their turn",
    GIVEN_UP: "be given up after the longest window",
    GONE: "end while they wait",
    DROPPED: "be withheld",
    REFUSED: "be refused",
}


class CapPlan(NamedTuple):
    """What there is to say. `told`: each cap of either file that differs, or that mail meets otherwise, with its change."""

    effect: Effect
    brands: frozenset[str]
    told: list[tuple[str, Cap | None, Cap | None]]
    lacking: tuple[int, int] | None

    @property
    def changed(self) -> int:
        return self.effect.changed


def read(replay: CapReplay, folders: Sequence[Path], since: int, progress: Progress) -> CapPlan:
    """Once `replay` has taken all that was accepted. `folders` of events, this node's first; `since` in ms."""
    effect, lacking = Effect(), None
    if replay.brands:
        match = {"type": TYPES, "brand": replay.brands, "class": ("marketing", "service")}
        progress.show(0.0, "what people got before")
        for folder in folders:
            for event in scan(folder, since=since, match={"type": "rejected", "reason": "capped"}):
                replay.take_refused(event)
            replay.read(columns(folder, COLUMNS, since=max(0, replay.begin), match=match))
        for share, found in replay.result():
            effect = found
            progress.show(share, "people")
        first = first_hour(folders[0])
        if first is not None and first > replay.begin:
            lacking = replay.begin, first
    told = _told(replay.before.caps, replay.after.caps, {shift.cap for shift in effect.shifts})
    return CapPlan(effect, replay.brands, told, lacking)


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """For the rows of a CapReplay."""
    return tempfile.TemporaryDirectory(prefix="postlane-plan-")


def _told(before: Caps, after: Caps, met: set[str]) -> list[tuple[str, Cap | None, Cap | None]]:
    """By name, those on disk first, in their order; "" are people's own wishes."""
    was, will = ({cap.name: cap for cap in caps.caps} for caps in (before, after))
    names = [*will, *(name for name in was if name not in will), ""]
    return [(name, was.get(name), will.get(name)) for name in names if was.get(name) != will.get(name) or name in met]


# For people.


def as_text(plan: CapPlan, places: Places, timezone: str) -> Iterator[str]:
    for name, was, will in plan.told:
        place = short(places.of("caps.toml", "cap", name, *_keys(was, will)[:1]) or places.of("caps.toml", "cap", name))
        yield f"  {place}  {_difference(name, was, will)}" if place else f"  {_difference(name, was, will)}"
        mine = [shift for shift in plan.effect.shifts if shift.cap == name]
        if not mine:
            yield "       no recorded message would meet it otherwise"
        for group in _groups(mine):
            total = _asked(plan.effect, group[0].mail_class, was, will)
            yield f"       {_sentence(group, total)}"
            yield f"         such as {', '.join([one for shift in group for one in shift.examples][:3])}"
    if plan.lacking is not None and plan.told:
        begin, first = (
            datetime.fromtimestamp(ms / 1000, ZoneInfo(timezone)).strftime("%d %b %H:%M") for ms in plan.lacking
        )
        yield f"       caps look back to {begin}, the events here to {first}: what people got before that is not counted"


def _keys(was: Cap | None, will: Cap | None) -> list[str]:
    """What differs between two of one name."""
    if was is None or will is None:
        return []
    return [key for key in ("limits", "over", "brands", "counts", "blocks") if getattr(was, key) != getattr(will, key)]


def _difference(name: str, was: Cap | None, will: Cap | None) -> str:
    """`limits of cap.arava: 3/week -> 2/week`"""
    if was is will is None:
        return "what people wished themselves"
    if was is None and will is not None:
        return f"cap.{name} is new: {_values(will, 'limits')}, {will.over}"
    if will is None and was is not None:
        return f"cap.{name} is gone: {_values(was, 'limits')}, {was.over}"
    assert was is not None
    assert will is not None
    changes = [f"{key} of cap.{name}: {_change(was, will, key)}" for key in _keys(was, will)]
    return "; ".join(changes) or f"cap.{name} is the same: {_values(will, 'limits')}"


def _change(was: Cap, will: Cap, key: str) -> str:
    """Of lists only what differs."""
    if key == "over":
        return f"{was.over} -> {will.over}"
    gone, new = ([one for one in _list(a, key) if one not in _list(b, key)] for a, b in ((was, will), (will, was)))
    if not gone or not new:
        return ", ".join([*(f"{one} is gone" for one in gone), *(f"{one} is new" for one in new)]) or "another order"
    return f"{', '.join(gone)} -> {', '.join(new)}"


def _values(cap: Cap, key: str) -> str:
    return ", ".join(_list(cap, key))


def _list(cap: Cap, key: str) -> list[str]:
    values = getattr(cap, key)
    if key == "limits":
        return [limit.text for limit in values]
    return sorted(value.label if isinstance(value, MailClass) else value for value in values)


def _groups(shifts: list[Shift]) -> list[list[Shift]]:
    """Those that one sentence tells: of one class, and alike but for how it ends that they are postponed."""
    groups: dict[tuple[object, ...], list[Shift]] = {}
    for shift in shifts:
        will = _LATER if _newly_postponed(shift) else (shift.will, shift.later)
        groups.setdefault((shift.mail_class, shift.was, will), []).append(shift)
    return sorted(groups.values(), key=lambda group: -sum(shift.recipients for shift in group))


def _newly_postponed(shift: Shift) -> bool:
    return shift.will in _LATER and shift.was not in _LATER


def _sentence(group: list[Shift], total: int) -> str:
    """`11,204 of 241,300 marketing messages would be postponed that went out; 1,890 of them would become stale before their
    turn`"""
    first, count = group[0], sum(shift.recipients for shift in group)
    what = f"{count:,} of {total:,} {first.mail_class} message{'' if total == 1 else 's'} would"
    if first.later:
        return f"{what} wait {'longer' if first.later > 0 else 'less long'}"
    if not _newly_postponed(first):
        return f"{what} {_WILL[first.will]} that {_WAS[first.was]}"
    ends = [f"; {one.recipients:,} of them would {_WILL[one.will]}" for one in group if one.will != POSTPONED]
    return f"{what} be postponed that {_WAS[first.was]}{''.join(ends)}"


def _asked(effect: Effect, mail_class: str, was: Cap | None, will: Cap | None) -> int:
    """Of the brands of a cap; without one, of all."""
    brands = {brand for cap in (was, will) if cap is not None for brand in cap.brands}
    return sum(
        number for (brand, one), number in effect.asked.items() if one == mail_class and brand in (brands or [brand])
    )


# For programs.


def as_json(plan: CapPlan, places: Places) -> Iterator[Json]:
    """A line for each cap."""
    for name, was, will in plan.told:
        keys = _keys(was, will)
        mine = [shift for shift in plan.effect.shifts if shift.cap == name]
        yield {
            "kind": "cap",
            "cap": name,
            "place": places.of("caps.toml", "cap", name, *keys[:1]) or places.of("caps.toml", "cap", name) or None,
            "before": _cap(was),
            "after": _cap(will),
            "asked": {one: _asked(plan.effect, one, was, will) for one in ("service", "marketing")},
            "changes": [_shift(shift) for shift in mine],
            "counted_since": _since(plan),
        }


def _since(plan: CapPlan) -> str | None:
    """From when on what people got is counted, where that is later than caps look back."""
    return datetime.fromtimestamp(plan.lacking[1] / 1000).astimezone().isoformat() if plan.lacking is not None else None


def _cap(cap: Cap | None) -> Json | None:
    if cap is None:
        return None
    return {key: _list(cap, key) for key in ("brands", "counts", "blocks", "limits")} | {"over": cap.over}


def _shift(shift: Shift) -> Json:
    return {
        "class": shift.mail_class,
        "before": shift.was,
        "after": shift.will,
        "waits": {1: "longer", -1: "less"}.get(shift.later),
        "recipients": shift.recipients,
        "examples": shift.examples,
    }
