"""Reports as people read them on a terminal. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from relay.cli.events import printable
from relay.event import iso
from relay.feedback.taxonomy import MEANINGS, Reach
from relay.reporting.budget import Budget
from relay.reporting.figures import SHARES, SPANS, Answer, Row
from relay.reporting.findings import Finding
from relay.reporting.needs import Need
from relay.reporting.question import DAY
from relay.reporting.reader import Sample
from relay.times import span

_LABELS = {
    "bounces": "BOUNCED", "bounce_share": "SHARE", "complaint_share": "SHARE", "unsubscribe_share": "SHARE",
    "deferral_share": "SHARE",
}  # fmt: skip
_OF_RECIPIENTS = frozenset(one.value for one, meaning in MEANINGS.items() if meaning.reach is Reach.RECIPIENT)
_SAID = 150  # characters of a reply in a line
_NEEDS = 12  # that are shown


@dataclass(frozen=True, slots=True)
class Page:
    """`compared`: somebody asked for another time beside it, which else is in the head alone."""

    answer: Answer
    zone: tzinfo
    compared: bool = False


def head(page: Page) -> list[str]:
    """Bounces, Fri 20 Nov 14:05 to Sat 21 Nov 14:05 (Asia/Jerusalem)   612,480 sent   ...   4,569 bounced  0.75 %"""
    question, total = page.answer.question, page.answer.total
    since, until = question.windows["now"]
    name = question.report.capitalize()
    title = f"{name}, {_at(since, page.zone)} to {_at(min(until, question.until), page.zone)} ({question.zone})"
    now = total.now
    counts = f"{now['ended']:,} sent   {now['delivered']:,} delivered   {now.value('bounces'):,} bounced"
    lines = [f"{title}   {counts}  {share(now.value('bounce_share'))}"]
    if total.then is not None:
        when = "the day before" if question.compare == DAY else f"{span(question.compare)} before"
        before = f"{when}: {share(total.then.value('bounce_share'))}"
        lines.append(" " * (len(title) + 3) + before)
    return lines


def table(page: Page) -> list[str]:
    """A row for each, with what is usual beside shares and times."""
    answer, question = page.answer, page.answer.question
    beside = "usual" in question.windows
    names = [one.upper() for one in question.by]
    for name in question.shape.shown:
        names.append(_LABELS.get(name, name.upper().replace("_", " ")))
        if name in SHARES | SPANS:
            names += ["USUAL"] if beside else []
            names += [f"{span(question.compare).upper()} AGO"] if page.compared else []
    rows = [[*_keys(row, page), *_values(row, page)] for row in answer.rows]
    if answer.others is not None:
        hidden = f"({answer.groups - len(answer.rows):,} more)"
        rows.append([hidden, *[""] * (len(question.by) - 1), *_values(answer.others, page)])
    if not rows:
        return ["  none"]
    return columns([names, *rows], left=len(question.by))


def _keys(row: Row, page: Page) -> list[str]:
    return [_key(name, value, page.zone) for name, value in zip(page.answer.question.by, row.key, strict=True)]


def _key(name: str, value: Any, zone: tzinfo) -> str:
    if name == "day":
        return f"{datetime.fromtimestamp(value / 1000, zone):%a %d %b}"
    if name == "hour":
        return _at(value, zone)
    return printable(str(value)) if value is not None else "-"


def _values(row: Row, page: Page) -> list[str]:
    question, values = page.answer.question, []
    for name in question.shape.shown:
        values.append(number(name, row.now.value(name)))
        if name in SHARES | SPANS:
            values += [number(name, page.answer.usual(row, name))] if "usual" in question.windows else []
            values += [number(name, row.then.value(name) if row.then is not None else None)] if page.compared else []
    return values


def findings_table(
    found: Sequence[Finding], suppressed: Mapping[str, int], stopped: Sequence[Mapping[str, Any]]
) -> list[str]:
    """`suppressed`: recipients, by reason; `stopped`: what suspensions are of."""
    if not found:
        return ["  none"]
    rows = [["CATEGORY", "COUNT", "SHARE", "USUAL", "STREAM", "CREDENTIAL", "SITE", "SOURCE", "DONE"]]
    told: set[str | None] = set()
    for one in found:
        scope = [_scope(one, name) for name in ("stream", "credential", "site", "source")]
        shares = [share(one.share), share(one.usual)]
        rows.append([one.category or "-", f"{one.count:,}", *shares, *scope, _done(one, suppressed, stopped, told)])
        told.add(one.category)
    return columns(rows, left=1, right=3)


def _scope(finding: Finding, name: str) -> str:
    value = finding.scope.get(name)
    if value is not None:
        return printable(value)
    if name == "stream":
        return f"({finding.spread[name]} streams)"
    return f"({finding.spread[name]})" if name == "credential" else "all"


def _done(
    finding: Finding, suppressed: Mapping[str, int], stopped: Sequence[Mapping[str, Any]], told: set[str | None]
) -> str:
    """What followed: who gets no more mail, and what was stopped."""
    parts = []
    if finding.category not in _OF_RECIPIENTS:
        parts.append("nobody suppressed")
    elif finding.category not in told:
        count = suppressed.get(finding.category, 0)
        parts.append(f"{count:,} suppressed" if count else "nobody suppressed yet")
    stream = finding.scope.get("stream")
    if stream is not None and any(stream == what.get("stream") for what in stopped):
        parts.append("stream suspended")
    return "; ".join(parts)


def sample_lines(samples: Sequence[Sample]) -> list[str]:
    """The very replies."""
    if not samples:
        return ["Replies", "  none"]
    lines = ["Replies, those that are alike but for ids and addresses together"]
    for one in samples:
        lines.append(f'  {one.many:>7,}  {one.category or "-"}: "{printable(one.reply)[:_SAID]}"')
        lines.append(
            f"           such as {one.id or '?'} to {printable(one.recipient or '?')}: postlane message {one.id}"
        )
    return lines


def needs_lines(needs: Sequence[Need]) -> list[str]:
    """Worst first."""
    if not needs:
        return ["Nothing needs you."]
    lines = ["What needs you, worst first"]
    for need in needs[:_NEEDS]:
        said = f': "{printable(need.said)[:_SAID]}"' if need.said else ""
        lines.append(f"  {printable(need.what)}{said}")
        cure = ". ".join(filter(None, (need.advice, need.see)))
        if cure:
            lines.append(f"    {printable(cure)}")
    if len(needs) > _NEEDS:
        lines.append(f"  ({len(needs) - _NEEDS} more)")
    return lines


def budget_facts(one: Budget) -> dict[str, Any]:
    """One object: `used` says how many people got so much, the last number all that got so much or more."""
    by = [{**mine._asdict(), "share": mine.sends / one.sends} for mine in one.shares]
    limit = one.allowance
    return {
        "cap": limit.cap,
        "limit": limit.limit,
        "since": iso(limit.since),
        "people": one.people,
        "used": one.used,
        "by": by,
    }


def budget_lines(one: Budget, zone: tzinfo) -> list[str]:
    """cap arava 3/week, since Sun 15 Nov 00:00: 182,406 people, 12,004 (6.6 %) have no place left"""
    limit, full = one.allowance, share(one.full / one.people if one.people else None)
    lines = [
        f"cap {limit.cap} {limit.limit}, since {_at(limit.since, zone)}: {one.people:,} people, "
        f"{one.full:,} ({full}) have no place left"
    ]
    used = "   ".join(f"{many:,} used {count}" for count, many in one.used.items() if many)
    lines.append(f"  {used or 'nobody is of it'}")
    rows = [
        [mine.credential or "-", mine.stream or "-", f"{mine.sends:,}", share(mine.sends / one.sends), f"{mine.people:,}"]
        for mine in one.shares
    ]  # fmt: skip
    if rows:
        lines += columns([["CREDENTIAL", "STREAM", "SENDS", "SHARE", "PEOPLE"], *rows], left=2)
    return lines


def columns(rows: Sequence[Sequence[str]], left: int = 99, right: int = 99) -> list[str]:
    """As a table: the first `left` columns and those behind the next `right` to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (
            one.rjust(width) if left <= place < left + right else one.ljust(width)
            for place, (one, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines


def number(name: str, value: float | int | None) -> str:
    """4.8 %, 61 ms, 1,336"""
    if value is None:
        return "-"
    if name in SHARES:
        return share(value)
    return span(value) if name in SPANS else f"{value:,}"


def share(value: float | None) -> str:
    """4.8 %, 0.75 %, 100 %"""
    if value is None:
        return "-"
    hundred = 100 * value
    if hundred >= 99.95:
        return f"{hundred:.0f} %"
    return f"{hundred:.1f} %" if hundred >= 1 or not hundred else f"{hundred:.2f} %"


def shown(value: Any) -> str:
    """A value of somebody's own question."""
    return "-" if value is None else printable(str(value))


def _at(ms: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, zone):%a %-d %b %H:%M}"
