"""`postlane report`: what became of mail in a time, with what is usual beside it, and what needs a person.

The event log answers (relay/reporting); the node, if it runs, says which alerts fire and what is suspended. `report sql` is for
questions of one's own: a view `events` of all recorded events, read-only.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relay.cli.events import Event, class_pattern, duration_ms, now_ms, parse_since, render_line
from relay.cli.report_view import (
    Page,
    budget_facts,
    budget_lines,
    columns,
    findings_table,
    head,
    needs_lines,
    sample_lines,
    shown,
    table,
)
from relay.config import Whereabouts, load_deployment, load_policies, whereabouts
from relay.control import NodeDown, request
from relay.in_force import last_good
from relay.reporting import DIMENSIONS, REPORTS, Question, Reader
from relay.reporting.budget import allowances
from relay.reporting.needs import NOT_RUNNING, Need, of_findings, of_status, worst_first
from relay.reporting.question import SELECTORS, ask
from relay.reporting.reader import Sample
from relay.reporting.spreadsheet import harmless
from relay.wildcard import PatternError, any_of

Json = dict[str, Any]

_HINT = f"More: --by {'|'.join(DIMENSIONS)}   --samples   --csv   --json   --compare 7d"
_CAPS = (
    "The segment is the people of --people, or those who got mail that the selectors fit since --since. Used is what arrived in "
    "the window of each limit until now, by person: tags and dots are ignored where the provider does so. Of one person postlane "
    "recipient ADDRESS knows what is under way, too."
)
MEMORY = "512MB"  # of one question: a command may take more than the admin site, and gives it back
MOST_SHOWN = 1_000  # rows of somebody's own question, on a terminal
_QUOTED = 4  # needs that are shown with a reply: each takes a look at the events
_ROWS, _MESSAGES, _SAMPLES = 50, 100, 10
_HELP = {
    "summary": "the day at a glance",
    "bounces": "what did not arrive, why, whose, and what was done about it",
    "complaints": "complaints and unsubscriptions",
    "streams": "how each stream fares",
    "sites": "how each site takes our mail",
    "sources": "how mail fares from each address of ours",
    "latency": "how long delivery takes",
    "suppressions": "recipients that get no more mail, and why",
    "messages": "the very messages, the newest first",
    "caps": "how much of its caps a segment has used, and by whom",
    "sql": "a question of one's own",
}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("report", help="what was delivered, refused, complained about; what needs you")
    reports = parser.add_subparsers(dest="report", metavar="REPORT", required=True)
    for name in (*REPORTS, "messages"):
        one = reports.add_parser(name, help=_HELP[name])
        _add_times(one)
        _add_selectors(one)
        if name != "messages":
            what = f"{', '.join(DIMENSIONS)}; several with commas (default {','.join(REPORTS[name].by)})"
            one.add_argument("--by", metavar="NAME", help=what)
            one.add_argument(
                "--compare", metavar="7d", type=duration_ms, help="beside it the same time so much earlier"
            )
            one.add_argument("--samples", action="store_true", help="the very replies, those that are alike together")
            one.add_argument("--csv", action="store_true", help="as CSV")
        one.add_argument(
            "--limit", type=int, metavar="N", help=f"rows (default {_MESSAGES if name == 'messages' else _ROWS})"
        )
        one.set_defaults(run=run_messages if name == "messages" else run)
    caps = reports.add_parser("caps", help=_HELP["caps"], description=_CAPS)
    _add_times(caps)
    _add_selectors(caps)
    caps.add_argument("--cap", metavar="NAME", action="append", help="of caps.toml; may be repeated (default: all)")
    caps.add_argument("--people", metavar="FILE", type=Path, help="the segment: an address a line")
    caps.set_defaults(run=run_caps, limit=None)
    sql = reports.add_parser(
        "sql", help=_HELP["sql"], description="Read-only; the view events has a row for each event."
    )
    _add_times(sql)
    sql.add_argument("query", metavar="QUERY", help='"SELECT site, count(*) FROM events GROUP BY site"')
    sql.add_argument("--csv", action="store_true", help="as CSV")
    sql.set_defaults(run=run_sql)


def _add_times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="24h", default="24h", help="a time ago or an RFC 3339 time (default 24h)")
    parser.add_argument("--until", metavar="1h", help="as --since (default: now)")


def _add_selectors(parser: argparse.ArgumentParser) -> None:
    for name in SELECTORS:
        kind = class_pattern if name == "class" else str
        text = "only of this; may hold *, may be repeated" if name == "node" else None
        parser.add_argument(
            f"--{name}", dest=f"where_{name}", metavar=name.upper(), action="append", type=kind, help=text
        )


def run(args: argparse.Namespace) -> int:
    node = whereabouts(args.config)
    try:
        question = _question(args, node, args.report)
    except (ValueError, PatternError) as error:
        return _misuse(args, error)
    reader = _reader(node)
    if args.samples and (args.json or args.csv):
        _write(Sample._fields, reader.samples(question, args.limit or _SAMPLES), as_csv=args.csv)
        return 0
    if args.json or args.csv:
        _write(*reader.answer(question).table(), as_csv=args.csv)
        return 0
    print("\n".join(_page(args, node, reader, question)))
    return 0


def _page(args: argparse.Namespace, node: Whereabouts, reader: Reader, question: Question) -> list[str]:
    """For people: figures, what the replies were if they are asked for, and always what needs them."""
    status = _status(node)
    found = reader.findings(question)
    as_found = args.report == "bounces" and args.by is None
    answer = reader.answer(question.total() if as_found else question)
    page = Page(answer, ZoneInfo(node.timezone), compared=args.compare is not None)
    lines = head(page)
    if as_found:
        lines += ["", *findings_table(found, _suppressed(reader, question), _stopped(status))]
    else:
        lines += ["", *table(page)]
    if args.samples:
        lines += ["", *sample_lines(reader.samples(question, _SAMPLES))]
    of_node = [NOT_RUNNING] if status is None else of_status(status)
    needs = worst_first([*of_node, *of_findings(found, of_node)])
    return [*lines, "", *needs_lines([*_with_words(reader, question, needs)]), "", _HINT]


def _with_words(reader: Reader, question: Question, needs: Sequence[Need]) -> Iterator[Need]:
    """The first ones with a reply as it came, which often says it all."""
    for number, need in enumerate(needs):
        where = {**question.where, **{name: any_of(value) for name, value in need.where.items()}}
        samples = reader.samples(replace(question, where=where), 1) if need.where and number < _QUOTED else []
        yield replace(need, said=samples[0].reply) if samples else need


def _status(node: Whereabouts) -> Json | None:
    """None: it does not run."""
    try:
        facts = request(node.data_dir, {"do": "stats"})
    except NodeDown:
        return None
    return {} if "error" in facts else facts


def _stopped(status: Json | None) -> list[Json]:
    return [one["what"] for one in (status or {}).get("suspensions", ())]


def _suppressed(reader: Reader, question: Question) -> dict[str, int]:
    """Recipients that get no more mail since, by why."""
    by_reason = reader.answer(replace(question, report="suppressions", by=("reason",), where={}, usual=0, compare=0))
    return {str(row.key[0]): row.now["suppressed"] for row in by_reason.rows}


def run_messages(args: argparse.Namespace) -> int:
    node = whereabouts(args.config)
    try:
        question = _question(args, node, "bounces")
    except (ValueError, PatternError) as error:
        return _misuse(args, error)
    types = () if args.where_type else None
    events = _reader(node).messages(question, args.limit or _MESSAGES, types)
    zone = ZoneInfo(node.timezone)
    for event in events:
        print(json.dumps(event, ensure_ascii=False) if args.json else _dated(event, zone))
    if not events and not args.json:
        print("No event fits.")
    return 0


def run_caps(args: argparse.Namespace) -> int:
    """Of the caps in force; of those on disk where nothing is."""
    node, now = whereabouts(args.config), now_ms()
    last = last_good(args.config)
    caps = (
        last[1].policies.caps if last is not None else load_policies(args.policies, load_deployment(args.config)).caps
    )
    try:
        question = replace(_question(args, node, "summary"), until=now)
        unknown = {*(args.cap or ())} - {cap.name for cap in caps.caps}
        if unknown:
            raise ValueError(f"no cap {', '.join(sorted(unknown))} in caps.toml")
        people = _people(args.people) if args.people is not None else None
    except (ValueError, OSError) as error:
        return _misuse(args, error)
    for one in _reader(node).budgets(allowances(caps, now, args.cap or ()), question, people):
        print(json.dumps(budget_facts(one)) if args.json else "\n".join(budget_lines(one, ZoneInfo(node.timezone))))
    return 0


def _people(file: Path) -> list[str]:
    """An address a line; what has none, a heading say, is passed over."""
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return [address for line in lines if "@" in (address := line.partition(",")[0].strip().strip('"'))]


def run_sql(args: argparse.Namespace) -> int:
    node, now = whereabouts(args.config), now_ms()
    zone = ZoneInfo(node.timezone)
    try:
        since, until = _times(args, zone, now)
        with _reader(node).query(args.query, since, until) as (names, rows):
            if args.json or args.csv:
                _write(names, rows, as_csv=args.csv)
            else:
                first = ([shown(one) for one in row] for row in islice(rows, MOST_SHOWN))
                print("\n".join(columns([names, *first])))
                if next(rows, None) is not None:
                    print(f"... only the first {MOST_SHOWN:,} rows are shown: --csv or --json has them all")
    except ValueError as error:
        return _misuse(args, error)
    return 0


def _question(args: argparse.Namespace, node: Whereabouts, report: str) -> Question:
    """Raises QuestionError, PatternError, and ValueError for a time that is none."""
    zone = ZoneInfo(node.timezone)
    since, until = _times(args, zone, now_ms())
    where = {name: getattr(args, f"where_{name}") or () for name in SELECTORS}
    by = [one.strip() for one in (getattr(args, "by", None) or "").split(",") if one.strip()]
    compare = getattr(args, "compare", None) or until - since
    limit = args.limit or _ROWS
    return ask(report, since, until, by=by, where=where, compare=compare, limit=limit, zone=node.timezone)


def _times(args: argparse.Namespace, zone: ZoneInfo, now: int) -> tuple[int, int]:
    return parse_since(args.since, now, zone), parse_since(args.until, now, zone) if args.until else now


def _reader(node: Whereabouts) -> Reader:
    return Reader(node.events, MEMORY)


def _write(names: Sequence[str], rows: Iterable[Sequence[Any]], *, as_csv: bool) -> None:
    """As CSV, or an object a line."""
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([harmless(value) for value in row] for row in rows)
        return
    for row in rows:
        print(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=str))


def _dated(event: Event, zone: ZoneInfo) -> str:
    return f"{str(event.get('time', ''))[:10]} {render_line(event, zone)}"


def _misuse(args: argparse.Namespace, error: Exception) -> int:
    print(f"postlane report {args.report}: {error}", file=sys.stderr)
    return 2
