"""What the pages of reports show, asked of the reader at one go: in a thread, one at a time (asking.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from relay.reporting import Answer, Figures, Question
from relay.reporting.findings import Finding
from relay.reporting.question import RECORDED, ask
from relay.reporting.reader import Sample, Series
from relay.web.desk.asked import Asked
from relay.web.desk.chart import TONES, Drawing, Line, bars, curves

ROWS = 25  # of a table
SAMPLES = 12
MESSAGES = 100
IN_CSV = 10_000
SHORT = 6  # rows of the tables of today
HALF = 520.0  # width of a chart that has another beside it
CHARTS = {  # title, measure
    "bounces": ("Bounced", "bounces"),
    "complaints": ("Complaints", "complained"),
    "streams": ("Accepted", "accepted"),
    "sites": ("Delivered", "delivered"),
    "sources": ("Delivered", "delivered"),
    "latency": ("Time until delivered", "p50"),
}
OTHERS = "all others"
CLASS_TONES = {"transactional": 0, "service": 2, "marketing": 3}  # those of their chips (postlane.css)


class Reader(Protocol):
    """relay.reporting.Reader, or a fake."""

    def answer(self, question: Question) -> Answer: ...

    def series(self, question: Question, step: str, lines: int = ...) -> Series: ...

    def samples(self, question: Question, limit: int = ..., types: Sequence[str] | None = ...) -> list[Sample]: ...

    def findings(self, question: Question) -> list[Finding]: ...

    def messages(
        self, question: Question, limit: int = ..., types: Sequence[str] | None = ...
    ) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Report:
    answer: Answer
    chart: Drawing
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class Today:
    """`shares`: of bounces, beside the usual one."""

    summary: Answer
    delivered: Drawing
    shares: Drawing
    categories: Answer
    streams: Answer
    sites: Answer
    latency: Answer
    findings: list[Finding]


def question(asked: Asked, zone: str, by: Sequence[str] = (), limit: int = ROWS, report: str = "") -> Question:
    """Raises relay.web.desk.asked.Nothing."""
    return ask(report or asked.report, asked.since, asked.until, by=by, where=asked.selected(), limit=limit, zone=zone)


def report(reader: Reader, asked: Asked, zone: str) -> Report:
    answer = reader.answer(question(asked, zone, [asked.by]))
    samples = (
        reader.samples(answer.question, SAMPLES)
        if asked.report in ("bounces", "complaints", "sites", "sources")
        else []
    )
    return Report(answer, chart(reader, asked, zone, answer), samples)


def chart(reader: Reader, asked: Asked, zone: str, answer: Answer) -> Drawing:
    """In layers by what the table is by; what is not counted beforehand would be read a second time for that."""
    title, measure = CHARTS[asked.report]
    per = f"{title} per {asked.step}"
    if asked.report == "latency":
        return _latency(reader, asked, zone)
    total = reader.series(question(asked, zone).total(), asked.step)
    whole = [_of(figures, measure) for figures in total.lines[""]]
    if asked.by in RECORDED or len(answer.rows) <= 1:
        return bars(per, total.begins, asked.step, [Line("", whole)], ZoneInfo(zone))
    parts = reader.series(question(asked, zone, [asked.by]), asked.step, TONES - 1)
    lines = [Line(name or "(none)", [_of(one, measure) for one in figures]) for name, figures in parts.lines.items()]
    rest = [max(0.0, all_ - sum(line.values[at] or 0 for line in lines)) for at, all_ in enumerate(whole)]
    if any(rest):
        lines.append(Line(OTHERS, rest, TONES - 1))
    return bars(per, total.begins, asked.step, lines, ZoneInfo(zone))


def _latency(reader: Reader, asked: Asked, zone: str) -> Drawing:
    series = reader.series(question(asked, zone).total(), asked.step)
    (figures,) = series.lines.values()
    lines = [
        Line(said, [one.value(name) for one in figures])
        for name, said in (("p50", "half within"), ("p99", "99 % within"))
    ]
    return curves("Time until delivered", series.begins, asked.step, lines, ZoneInfo(zone), "ms")


def _of(figures: Figures, measure: str) -> float:
    return float(figures.value(measure) or 0)


def _together(at: int, series: Series) -> Figures:
    """Of all lines, of one hour or day."""
    found = Figures()
    for line in series.lines.values():
        found.add(line[at])
    return found


def _place(mail_class: str) -> int:
    return list(CLASS_TONES).index(mail_class) if mail_class in CLASS_TONES else len(CLASS_TONES)


def today(reader: Reader, asked: Asked, zone: str) -> Today:
    def of(report: str, by: Sequence[str], limit: int = SHORT) -> Question:
        return question(asked, zone, by, limit, report)

    summary = reader.answer(of("summary", []).total())
    by_class = reader.series(of("summary", ["class"]), asked.step, TONES - 1)
    there = ZoneInfo(zone)
    lines = [
        Line(name or "(none)", [_of(one, "delivered") for one in figures], CLASS_TONES.get(name))
        for name, figures in sorted(by_class.lines.items(), key=lambda line: _place(line[0]))
    ]
    shares = [_together(at, by_class).value("bounce_share") for at in range(len(by_class.begins))]
    usual = summary.usual(summary.total, "bounce_share")
    return Today(
        summary=summary,
        delivered=bars(f"Delivered per {asked.step}", by_class.begins, asked.step, lines, there, HALF),
        shares=curves(
            f"Bounced share per {asked.step}",
            by_class.begins,
            asked.step,
            [Line("bounced", shares)],
            there,
            "share",
            usual,
            HALF,
        ),
        categories=reader.answer(of("bounces", ["category"])),
        streams=reader.answer(of("streams", ["stream"])),
        sites=reader.answer(of("sites", ["site"])),
        latency=reader.answer(of("latency", ["class"])),
        findings=reader.findings(of("bounces", ["category"])),
    )
