"""Charts of time as geometry, which a template draws as SVG: bars in layers for counts, lines for shares and times. Pure.

A chart is a picture for some and a table for others: each column has words for both. Lengths are in units of the view box, which
is shown at its own size on a desktop, so that letters have the size of those around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from math import floor, log10

from relay.web.desk import words

HEIGHT = 230.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 10.0, 12.0, 26.0  # around what is drawn: room for the words at both axes
RULES = 4  # steps of the upright axis, about
TONES = 7  # colours that are told apart; what is beyond them has the last one
_LABEL = 74.0  # a word at the lower axis takes so much room
_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Line:
    """A value for each column; None where there is none. `tone`: None: that of its place."""

    name: str
    values: Sequence[float | None]
    tone: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    tone: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """`x`, `width`: of the whole slot, so that a thin bar is easy to point at. `said`: all of it in words, for who points there.
    `values`: for the table."""

    begin: int
    x: float
    width: float
    when: str
    said: str
    values: tuple[str, ...]
    blocks: tuple[Block, ...] = ()
    worth: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the template draws. `names`: of lines, with their tones; `usual`: how high what is usual stands; None: unknown."""

    title: str
    description: str
    names: tuple[tuple[str, int], ...]
    width: float
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    marks: tuple[Mark, ...]
    paths: tuple[tuple[int, str], ...] = ()
    usual: Rule | None = None
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    bottom: float = HEIGHT - BOTTOM

    @property
    def empty(self) -> bool:
        return not any(column.worth for column in self.columns)


def bars(
    title: str, begins: Sequence[int], step: str, lines: Sequence[Line], zone: tzinfo, width: float = 1060.0
) -> Drawing:
    """Counts, one line on top of the other."""
    sums = [sum(line.values[at] or 0 for line in lines) for at in range(len(begins))]
    scale = _Scale(max(sums, default=0), "count")
    columns = [
        _column(at, begins, step, lines, zone, width, "count", _stacked(at, lines, scale)) for at in range(len(begins))
    ]
    described = _described(begins, sums, step, zone, "count")
    return _drawing(title, described, begins, step, lines, zone, width, columns, scale)


def curves(
    title: str,
    begins: Sequence[int],
    step: str,
    lines: Sequence[Line],
    zone: tzinfo,
    unit: str,
    usual: float | None = None,
    width: float = 1060.0,
) -> Drawing:
    """Shares (of 1) or times (ms), each line for itself. `usual`: one value that stands for all of the time before."""
    known = [value for line in lines for value in line.values if value is not None]
    scale = _Scale(max([*known, usual or 0], default=0), unit)
    columns = [_column(at, begins, step, lines, zone, width, unit, ()) for at in range(len(begins))]
    highest = [max((line.values[at] or 0 for line in lines), default=0) for at in range(len(begins))]
    described = _described(begins, highest, step, zone, unit)
    drawn = _drawing(title, described, begins, step, lines, zone, width, columns, scale)
    paths = tuple((tone(at, line), _path(line.values, columns, scale)) for at, line in enumerate(lines))
    mark = Rule(scale.y(usual), f"usually {words.figure(usual, unit)}") if usual is not None else None
    return replace(drawn, paths=paths, usual=mark)


def tone(place: int, line: Line) -> int:
    return min(place, TONES - 1) if line.tone is None else line.tone


class _Scale:
    """Values to heights: from 0 to a round number above the largest."""

    def __init__(self, largest: float, unit: str) -> None:
        self.unit = unit
        self.step = _round_step(largest / RULES if largest > 0 else _least(unit), unit)
        self.top = self.step
        while self.top < largest:
            self.top += self.step

    def y(self, value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / self.top), 2)

    def rules(self) -> tuple[Rule, ...]:
        many = round(self.top / self.step)
        return tuple(
            Rule(self.y(at * self.step), words.figure(at * self.step, self.unit, short=True)) for at in range(many + 1)
        )


def _least(unit: str) -> float:
    return {"count": 1.0, "share": 0.0025, "ms": 250.0}[unit]


def _round_step(rough: float, unit: str) -> float:
    """1, 2, 2.5 or 5 times a power of ten, and of what is counted a whole number."""
    power = 10.0 ** floor(log10(rough))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough * 0.999)
    return max(1.0, float(round(step))) if unit == "count" else step


def _stacked(at: int, lines: Sequence[Line], scale: _Scale) -> tuple[Block, ...]:
    blocks, below = [], 0.0
    for place, line in enumerate(lines):
        value = line.values[at] or 0
        if value:
            top, foot = scale.y(below + value), scale.y(below)
            blocks.append(Block(tone(place, line), top, round(foot - top, 2)))
            below += value
    return tuple(blocks)


def _column(
    at: int,
    begins: Sequence[int],
    step: str,
    lines: Sequence[Line],
    zone: tzinfo,
    width: float,
    unit: str,
    blocks: tuple[Block, ...],
) -> Column:
    each = (width - LEFT - RIGHT) / len(begins)
    when = words.slot(begins[at], step, zone)
    values = tuple(words.figure(line.values[at], unit) for line in lines)
    told = [f"{line.name} {value}".strip() for line, value in zip(lines, values, strict=True) if line.values[at]]
    said = f"{when}: {', '.join(told) or 'nothing'}"
    return Column(begins[at], round(LEFT + at * each, 2), round(each, 2), when, said, values, blocks, bool(told))


def _path(values: Sequence[float | None], columns: Sequence[Column], scale: _Scale) -> str:
    """With a gap where nothing can be said; what stands alone between gaps is a short stroke."""
    steps, drawing = [], False
    for value, column in zip(values, columns, strict=True):
        if value is None:
            drawing = False
            continue
        middle = round(column.x + column.width / 2, 2)
        steps.append(f"{'L' if drawing else 'M'}{middle:g} {scale.y(value):g}" + ("" if drawing else "h.01"))
        drawing = True
    return "".join(steps)


def _drawing(
    title: str,
    described: str,
    begins: Sequence[int],
    step: str,
    lines: Sequence[Line],
    zone: tzinfo,
    width: float,
    columns: Sequence[Column],
    scale: _Scale,
) -> Drawing:
    names = tuple((line.name, tone(at, line)) for at, line in enumerate(lines))
    marks = _marks(begins, step, zone, width)
    return Drawing(title, described, names, width, tuple(columns), scale.rules(), marks)


def _described(begins: Sequence[int], heights: Sequence[float], step: str, zone: tzinfo, unit: str) -> str:
    """What one sees at once, for who does not see it."""
    if not any(heights):
        return "Nothing in this time."
    at = max(range(len(heights)), key=heights.__getitem__)
    first, last = words.slot(begins[0], step, zone), words.slot(begins[-1], step, zone)
    most = f"the most is {words.figure(heights[at], unit)}, {words.slot(begins[at], step, zone)}"
    return f"From {first} to {last}; {most}."


def _marks(begins: Sequence[int], step: str, zone: tzinfo, width: float) -> tuple[Mark, ...]:
    """Words below: round hours of one or two days, midnights of more, some of many days."""
    if not begins:
        return ()
    each = (width - LEFT - RIGHT) / len(begins)
    days = (begins[-1] - begins[0]) / (24 * _HOUR)
    chosen = [at for at, begin in enumerate(begins) if step == "day" or _shown_hour(begin, days, zone)]
    room = max(1, int(_LABEL / each) + 1) if step == "day" else 1
    found: list[Mark] = []
    for at in chosen[::room]:
        moment = datetime.fromtimestamp(begins[at] / 1000, zone)
        midnight = step == "day" or moment.hour == 0
        label = words.slot(begins[at], "day", zone) if midnight else f"{moment:%H:%M}"
        x = LEFT + (at + 0.5) * each
        if not found or x - found[-1].x >= _LABEL * 0.75:
            found.append(Mark(round(x, 2), label))
    return tuple(found)


def _shown_hour(begin: int, days: float, zone: tzinfo) -> bool:
    moment = datetime.fromtimestamp(begin / 1000, zone)
    return moment.hour % (3 if days <= 1.5 else 6 if days <= 2.5 else 24) == 0
