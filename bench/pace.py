"""Pace towards a provider that tightens and loosens, over time: `python -m bench.pace` writes bench/results/pace.svg and
pace.md.

The pace is relay/shaping/pace.py itself, the provider and the clock are simulated: an hour takes a second, and every run is
the same. The provider takes so many messages a second, counted over its last ten seconds, and answers 421 4.7.28 above;
its replies take 300 ms. There is always mail.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.result import publish
from relay.shaping.pace import Bounds, Pace

LATENCY = 300  # ms from a message to its reply
WINDOW = 10_000  # ms over which the provider counts
STEP = 50  # ms
CEILING = 40.0
BOUNDS = Bounds(start=10, floor=0.1, ceiling=CEILING)

# From minute to minute: what the provider takes in a second, and why.
STORY: Sequence[tuple[float, float, str]] = (
    (0, 60, "takes more than the admin's 40/s"),
    (10, 12, "tightens to 12/s"),
    (25, 3, "tightens to 3/s"),
    (35, 25, "loosens to 25/s"),
    (55, 0, "takes nothing for 5 minutes"),
    (60, 60, "takes all again"),
)
MINUTES = 80


@dataclass(slots=True)
class Provider:
    """Takes `allowed(now)` messages a second, and says 421 to the others."""

    allowed: Callable[[int], float]
    _taken: deque[int] = field(default_factory=deque)

    def takes(self, now: int) -> bool:
        while self._taken and self._taken[0] <= now - WINDOW:
            self._taken.popleft()
        if len(self._taken) >= self.allowed(now) * WINDOW / 1000:
            return False
        self._taken.append(now)
        return True


@dataclass(slots=True)
class Second:
    """What happened in one of them, of all workers together; `pace` at its end."""

    pace: float = 0.0
    taken: int = 0
    refused: int = 0


def simulate(
    allowed: Callable[[int], float], seconds: int, bounds: Bounds = BOUNDS, workers: int = 1, tell: bool = True
) -> list[Second]:
    """`workers` that send as fast as their paces let them, each with a pace of its own and a share of start and floor;
    `tell`: they tell each other of cuts. Both, and the ceiling of all together, as State has it among real ones."""
    provider, ceiling = Provider(allowed), Provider(lambda _: bounds.ceiling)
    bounds = Bounds(bounds.start / workers, bounds.floor / workers, bounds.ceiling)
    paces = [Pace(bounds, 0) for _ in range(workers)]
    series = [Second() for _ in range(seconds)]
    due = [(0, number) for number in range(workers)]  # when each asks again
    flying: deque[tuple[int, int, int, bool]] = deque()  # reply at, worker, sent at, taken
    for now in range(0, seconds * 1000, STEP):
        second = series[now // 1000]
        while flying and flying[0][0] <= now:
            _, number, sent, taken = flying.popleft()
            pace = paces[number]
            if taken:
                pace.good(bounds, now)
            elif (cut := pace.trouble(bounds, sent, now, "421 4.7.28")) and tell:
                for other in paces:
                    if other is not pace:
                        other.heard(bounds, cut, now)
        while due and due[0][0] <= now:
            _, number = heapq.heappop(due)
            again = _send(paces[number], bounds, now, second, (ceiling, provider), flying, number)
            heapq.heappush(due, (again, number))
        second.pace = min(bounds.ceiling, sum(pace.rate for pace in paces))
    return series


def _send(
    pace: Pace,
    bounds: Bounds,
    now: int,
    second: Second,
    passes: tuple[Provider, Provider],
    flying: deque[tuple[int, int, int, bool]],
    number: int,
) -> int:
    """All that may go now; when to ask again."""
    ceiling, provider = passes
    while not (again := pace.ask(bounds, now)):
        if not ceiling.takes(now):
            pace.give_back()
            return now + 100
        taken = provider.takes(now)
        second.taken, second.refused = second.taken + taken, second.refused + (not taken)
        flying.append((now + LATENCY, number, now, taken))
    return again


def told(story: Sequence[tuple[float, float, str]]) -> Callable[[int], float]:
    def allowed(now: int) -> float:
        return next(rate for minute, rate, _ in reversed(story) if now >= minute * 60_000)

    return allowed


# --- the picture

WIDTH, HEIGHT, LEFT, TOP = 960, 320, 50, 40
MOST = 64.0  # messages a second at the top
_COLOURS = {"takes": "#c9d7e8", "pace": "#1f6f50", "taken": "#8a5a00", "refused": "#b3261e"}


def _x(second: float) -> float:
    return LEFT + second * (WIDTH - LEFT - 20) / (MINUTES * 60)


def _y(rate: float) -> float:
    return TOP + (HEIGHT - TOP - 40) * (1 - rate / MOST)


def _line(points: Sequence[tuple[float, float]], colour: str, width: float = 1.6) -> str:
    path = " ".join(f"{_x(second):.1f},{_y(min(rate, MOST)):.1f}" for second, rate in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def svg(series: Sequence[Second], story: Sequence[tuple[float, float, str]] = STORY) -> str:
    """Pace and what is taken, over what the provider takes; a red mark where it refused."""
    bottom = _y(0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    ends = [minute for minute, _, _ in story[1:]] + [MINUTES]
    for (begin, rate, words), end in zip(story, ends, strict=True):
        top, x = _y(rate), _x(begin * 60)
        parts.append(
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{_x(end * 60) - x:.1f}" height="{bottom - top:.1f}" '
            f'fill="{_COLOURS["takes"]}"/>'
        )
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#9fb3c8" stroke-width="0.6"/>'
        )
        parts.append(_text(x + 3, TOP - 8 - 12 * (story.index((begin, rate, words)) % 2), words))
    parts += [_text(LEFT - 6, _y(rate) + 4, str(rate), anchor="end") for rate in range(0, int(MOST) + 1, 10)]
    minutes = range(0, MINUTES + 1, 10)
    parts += [_text(_x(minute * 60), bottom + 14, f"{minute} min", anchor="middle") for minute in minutes]
    by_ten = [sum(second.taken for second in series[at : at + 10]) / 10 for at in range(0, len(series), 10)]
    parts.append(_line([(at * 10 + 5, rate) for at, rate in enumerate(by_ten)], _COLOURS["taken"], 1.0))
    parts.append(_line([(at * 5, second.pace) for at, second in enumerate(series[::5])], _COLOURS["pace"]))
    for at, second in enumerate(series):
        if second.refused:
            parts.append(f'<circle cx="{_x(at):.1f}" cy="{bottom - 4:.1f}" r="1.6" fill="{_COLOURS["refused"]}"/>')
    legend = (("pace", "pace"), ("taken", "messages a second that were taken"), ("refused", "refusals, 421 4.7.28"))
    for number, (name, words) in enumerate(legend):
        x = LEFT + 10 + number * 230
        parts.append(f'<rect x="{x}" y="{HEIGHT - 18}" width="14" height="4" fill="{_COLOURS[name]}"/>')
        parts.append(_text(x + 20, HEIGHT - 12, words))
    return "\n".join([*parts, "</svg>", ""])


def table(series: Sequence[Second], story: Sequence[tuple[float, float, str]] = STORY) -> str:
    """Of each part of the story: what the provider would have taken, what it was given, and how often it had to refuse."""
    lines = [
        "| minutes | the provider | pace at its end | taken | of what it takes | refused |",
        "|---|---|---|---|---|---|",
    ]
    ends = [minute for minute, _, _ in story[1:]] + [MINUTES]
    for (begin, rate, words), end in zip(story, ends, strict=True):
        part = series[int(begin * 60) : int(end * 60)]
        taken, refused = sum(one.taken for one in part), sum(one.refused for one in part)
        could = min(rate, CEILING) * len(part)
        share = f"{taken / could:.0%}" if could else "-"
        spoilt = f"{refused:,} ({refused / max(1, taken + refused):.1%})"
        lines.append(f"| {begin:g} to {end:g} | {words} | {part[-1].pace:.3g}/s | {taken:,} | {share} | {spoilt} |")
    return "\n".join(lines)


PAGE = """\
# Pace towards a provider that tightens and loosens

`python -m bench.pace`: the paces of relay/shaping/pace.py against a simulated provider, {workers}, a backlog that never ends.
The provider counts over its last ten seconds and answers 421 4.7.28 above what it takes; its replies take 300 ms. The admin's
bounds: 10/s at the start, 6/min at least, 40/s at most.

![pace over time](pace.svg)

{table}
"""


def main(results: Path = Path(__file__).parent / "results") -> None:
    series = simulate(told(STORY), MINUTES * 60, workers=2)
    (results / "pace.svg").write_text(svg(series))
    publish([PAGE.format(workers="two workers", table=table(series)).rstrip()], str(results / "pace.md"))


if __name__ == "__main__":
    main()
