"""How long reports take over very many events, and in how much memory.

    python -m bench.reports [--events 50000000] [--folder DIR]

It lays out event folders as a node of two workers leaves them after a week (in a temporary folder, or where one says, to be
used again), counts them as the web process does, then asks each shipped question in a process of its own with the memory that
the admin site gives it, three times, and prints markdown. The first part takes half an hour of two cores, and 3 GB of disk.
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import duckdb

from relay.feedback.eventarchive import ROWS_IN_GROUP
from relay.feedback.eventlog import hour_of
from relay.reporting.counting import count
from relay.reporting.files import COUNTS
from relay.reporting.question import DAY, REPORTS, ask
from relay.reporting.reader import Reader

HOUR = 3_600_000
HOURS = 7 * 24
SHARDS = 2
WEEK = 7 * DAY
BEGIN = round(datetime(2026, 11, 14, tzinfo=UTC).timestamp() * 1000)
END = BEGIN + WEEK

# A company's mail: a dozen apps, forty streams, a campaign a day for each brand, three thousand sites of which ten get most, and
# five hundred templates; one app makes a new one for each message.
_EVENTS = """
COPY (
  SELECT 1 AS v, time, type, 'e' || lpad((n + {first})::VARCHAR, 15, '0') AS event_id, 'relay-1' AS node, '3f9a1c' AS policies,
         id, 0 AS rcpt, '<' || id || '@arava.example>' AS message_id, credential, brand, stream, class, campaign,
         '{{}}'::JSON AS metadata, 'news@' || brand || '.example' AS sender, 'news@' || brand || '.example' AS "from",
         'p' || person || '@' || domain AS recipient, domain, NULL::VARCHAR AS subject, site, pool, source,
         'mx.' || site AS mx, 'TLSv1.3' AS tls, 1 AS attempt, reply, 'END' AS command, category, type = 'bounced' AS permanent,
         NULL::TIMESTAMP AS next_attempt, NULL::TIMESTAMP AS until, delay_ms, 18000 + n % 997 AS size,
         NULL::VARCHAR AS contradiction, reason, NULL::VARCHAR AS detail, NULL::VARCHAR AS duplicate_of,
         false AS captured, skeleton, feedback_type, via,
         '{{"v":1,"time":"' || time || '","type":"' || type || '","event_id":"e' || n || '","id":"' || id || '","credential":"'
         || credential || '","stream":"' || stream || '","recipient":"p' || person || '@' || domain || '","site":"'
         || coalesce(site, '') || '","reply":{{"code":250,"text":"' || coalesce(reply.text, '') || '"}},"delay_ms":'
         || coalesce(delay_ms, 0) || ',"skeleton":"' || skeleton || '"}}' AS event
  FROM (
    SELECT *, CASE class WHEN 'transactional' THEN 't' ELSE 'm' END || '-' || (h // 7 % 20) AS stream,
           left(md5(CASE WHEN h // 7 % 12 = 11 THEN 'x' || (n + {first})
                    ELSE 't' || (h // 7 % 60) || '-' || (h // 41 % 8) END), 12) AS skeleton,
           'app-' || (h // 7 % 12) AS credential, 'brand-' || (h // 7 % 6) AS brand,
           CASE WHEN class = 'marketing' THEN 'c-' || (h // 7 % 6) || '-' || {day} END AS campaign,
           CASE WHEN sent THEN domain END AS site, CASE WHEN sent THEN class END AS pool,
           CASE WHEN sent THEN '198.51.100.' || (h // 11 % 8) END AS source,
           CASE WHEN type = 'delivered' THEN (exp(4 + (h // 13 % 600) / 100.0))::BIGINT END AS delay_ms,
           CASE WHEN sent THEN {{'code': 250, 'enhanced': '2.0.0', 'text': 'OK queued as ' || (h // 17)}} END AS reply,
           CASE WHEN type IN ('bounced', 'deferred')
                THEN ['bad-mailbox', 'quota', 'spam-block', 'reputation-block', 'greylisted', 'rate-limited'][1 + h // 19 % 6] END
             AS category,
           CASE WHEN type = 'withheld' THEN 'capped' END AS reason,
           CASE WHEN type = 'complained' THEN 'abuse' END AS feedback_type,
           CASE WHEN type = 'unsubscribed' THEN 'one-click' END AS via
    FROM (
      SELECT *, CASE WHEN h % 1000 < 480 THEN 'accepted' WHEN h % 1000 < 920 THEN 'delivered' WHEN h % 1000 < 965 THEN 'deferred'
                     WHEN h % 1000 < 980 THEN 'bounced' WHEN h % 1000 < 995 THEN 'withheld'
                     WHEN h % 1000 < 998 THEN 'unsubscribed' ELSE 'complained' END AS type,
             type IN ('delivered', 'deferred', 'bounced') AS sent,
             ['transactional', 'marketing', 'marketing', 'service'][1 + h // 23 % 4] AS class,
             CASE WHEN h // 29 % 10 < 8 THEN 'big-' || (h // 31 % 10) ELSE 'small-' || (h // 31 % 3000) END || '.example'
               AS domain,
             h // 37 % 10000000 AS person, lpad(to_base(n + {first}, 32), 16, '0') AS id,
             make_timestamp(({begin} + n * {hour} // {count}) * 1000) AS time
      FROM (SELECT n, (hash(n + {first}) >> 8)::BIGINT AS h FROM range({count}) t(n))
    )
  ) ORDER BY n
) TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows})
"""


def generate(folder: Path, events: int, hours: int = HOURS) -> None:
    """Files of events, so many in all; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    count = events // (hours * SHARDS)
    for hour in range(hours):
        for shard in range(SHARDS):
            begin = BEGIN + hour * HOUR
            target = folder / f"{hour_of(begin)}.{shard}.parquet"
            if target.exists():
                continue
            first = (hour * SHARDS + shard) * count
            partial = target.with_suffix(".partial")
            facts = {
                "first": first,
                "day": hour // 24,
                "begin": begin,
                "hour": HOUR,
                "count": count,
                "rows": ROWS_IN_GROUP,
            }
            with duckdb.connect(config={"threads": 1, "memory_limit": "1GB"}) as database:
                database.execute(_EVENTS.format(target=partial, **facts))
            partial.rename(target)


class Taken(NamedTuple):
    """`seconds` of a question by the clock and of the processors, and the `memory` of its process at the most, in MB: Python,
    DuckDB and all."""

    seconds: float
    processor: float
    memory: int


def one(work: Callable[[Reader], object], folder: Path) -> Taken:
    """Asked in a process of its own, that has asked something small before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return Taken(*pool.apply(_timed, (work, folder)))


def _timed(work: Callable[[Reader], object], folder: Path) -> tuple[float, float, int]:
    reader = Reader([folder])
    with reader.query("SELECT 1", 0, 1) as (_, rows):
        list(rows)
    began, used = time.perf_counter(), time.process_time()
    work(reader)
    return (
        time.perf_counter() - began,
        time.process_time() - used,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    )


def _answer(report: str, by: Sequence[str], where: dict[str, list[str]], reader: Reader) -> None:
    reader.answer(ask(report, BEGIN, END, by=by, where=where, usual=WEEK // 7))


def _findings(reader: Reader) -> None:
    reader.findings(ask("bounces", BEGIN, END, usual=0))


def _series(reader: Reader) -> None:
    reader.series(ask("bounces", BEGIN, END, by=["category"]), "hour")


def _samples(reader: Reader) -> None:
    reader.samples(ask("bounces", BEGIN, END))


def _messages(reader: Reader) -> None:
    reader.messages(ask("bounces", BEGIN, END, where={"category": ["quota"], "site": ["big-3.example"]}))


def _day(reader: Reader) -> None:
    reader.answer(ask("summary", END - DAY, END))


TEMPLATE = "07f66d534b1f"  # one of those that _EVENTS makes

QUESTIONS: dict[str, Callable[[Reader], object]] = {
    "summary of the last day, usual week beside it": _day,
    **{f"{name}, the whole week": partial(_answer, name, (), {}) for name in REPORTS if name != "bounces"},
    "bounces as findings": _findings,
    "bounces by category, stream": partial(_answer, "bounces", ("category", "stream"), {}),
    "bounces by category of one campaign": partial(_answer, "bounces", ("category",), {"campaign": ["c-1-*"]}),
    "sites of one stream": partial(_answer, "sites", ("site",), {"stream": ["m-3"]}),
    "latency by site": partial(_answer, "latency", ("site",), {}),
    "chart: bounces by category and hour": _series,
    "samples of replies": _samples,
    "messages: the newest 100 of a category and site": _messages,
    "bounces by template": partial(_answer, "bounces", ("skeleton",), {}),
    "complaints by template": partial(_answer, "complaints", ("skeleton",), {}),
    "bounces by template and category of one app": partial(
        _answer, "bounces", ("skeleton", "category"), {"credential": ["app-3"]}
    ),
    "bounces by site, stream, source": partial(_answer, "bounces", ("site", "stream", "source"), {}),
    "bounces by domain (from the events, as the next ones)": partial(_answer, "bounces", ("domain",), {}),
    "bounces of one domain by category": partial(_answer, "bounces", ("category",), {"domain": ["small-579.example"]}),
    "bounces of one template by category": partial(_answer, "bounces", ("category",), {"skeleton": [TEMPLATE]}),
    "bounces of one site by template": partial(_answer, "bounces", ("skeleton",), {"site": ["big-3.example"]}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, help="kept, and used again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postlane-reports-") as scratch:
        folder = args.folder or Path(scratch) / "events"
        generate(folder, args.events)
        began = time.process_time()
        while made := count(folder, END):
            print(f"counted {made} files", file=sys.stderr)
        _print(folder, args.events, time.process_time() - began)


def _print(folder: Path, events: int, counting: float) -> None:
    files = [*folder.glob("*.parquet")]
    octets, counts = (
        sum(path.stat().st_size for path in paths) for paths in (files, (folder / COUNTS).glob("*.parquet"))
    )
    print(
        f"{events:,} events in {len(files)} files, {octets / 1e9:.1f} GB; counts of them {counts / 1e6:.0f} MB", end=""
    )
    print(f", made in {counting:.0f} s of CPU\n" if counting > 10 else "\n")
    print("| question | s, median of 3 (longest) | s of CPU | memory, MB |")
    print("|---|---|---|---|")
    for name, work in QUESTIONS.items():
        taken = [one(work, folder) for _ in range(3)]
        seconds = [each.seconds for each in taken]
        longest = f"{statistics.median(seconds):.2f} ({max(seconds):.2f})"
        processor = statistics.median(each.processor for each in taken)
        print(f"| {name} | {longest} | {processor:.2f} | {max(each.memory for each in taken)} |", flush=True)


if __name__ == "__main__":
    main()
