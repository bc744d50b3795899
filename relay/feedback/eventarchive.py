"""Past events: complete JSON Lines files into Parquet, and questions to both, by DuckDB.

Parquet has a column for each field of INTERFACE's events and, in `event`, the record as it was written, so nothing is
lost that a column does not hold, and any tool can read the files.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import structlog

from relay.durable import sync
from relay.wildcard import AnyOf, re2

if TYPE_CHECKING:
    import duckdb

log = structlog.get_logger()

Event = dict[str, Any]
Wanted = str | Collection[str] | AnyOf
Match = Mapping[str, Wanted] | Callable[[Event], bool]

COLUMNS: dict[str, Any] = {
    "v": "INTEGER", "time": "TIMESTAMP", "type": "VARCHAR", "event_id": "VARCHAR", "node": "VARCHAR",
    "policies": "VARCHAR", "id": "VARCHAR", "rcpt": "INTEGER", "message_id": "VARCHAR", "credential": "VARCHAR",
    "brand": "VARCHAR", "stream": "VARCHAR", "class": "VARCHAR", "campaign": "VARCHAR", "metadata": "JSON",
    "sender": "VARCHAR", "from": "VARCHAR", "recipient": "VARCHAR", "domain": "VARCHAR", "subject": "VARCHAR",
    "site": "VARCHAR", "pool": "VARCHAR", "source": "VARCHAR", "mx": "VARCHAR", "tls": "VARCHAR", "attempt": "INTEGER",
    "reply": {"code": "INTEGER", "enhanced": "VARCHAR", "text": "VARCHAR"}, "command": "VARCHAR",
    "category": "VARCHAR", "permanent": "BOOLEAN", "next_attempt": "TIMESTAMP", "until": "TIMESTAMP",
    "delay_ms": "BIGINT", "size": "BIGINT", "contradiction": "VARCHAR", "reason": "VARCHAR", "detail": "VARCHAR",
    "duplicate_of": "VARCHAR", "captured": "BOOLEAN", "skeleton": "VARCHAR", "feedback_type": "VARCHAR", "via": "VARCHAR",
}  # fmt: skip

_SHAPE = orjson.dumps(COLUMNS).decode()
_TIME = "TRY_CAST(json ->> '$.time' AS TIMESTAMP)"
_ANY_CASE = frozenset({"recipient", "domain", "site", "sender", "from"})
_ROWS = 1_000  # events fetched at a time
_MEMORY = "256MB"  # of one question; what does not fit goes to temporary files
# Parquet is written by groups of rows, and one must fit into memory several times over: DuckDB's own 122,880 ended with an hour
# of 200,000 events. A large group is read faster; a small one holds events of 5 KB, as an hour of failures has them.
ROWS_IN_GROUP, ROWS_AT_LEAST = 20_480, 2_048
MODE = 0o640  # of event files: people's addresses are in them
_TRIES = 3  # of a question whose files are turned into Parquet under its hands


class _Kind(NamedTuple):
    """How SQL asks one kind of file: `column` with the name of a field."""

    table: str
    time: str
    column: str
    record: str


_KINDS = (".parquet", ".jsonl", ".open.jsonl")  # the best one first, where a conversion has just made two of one
_PARQUET = _Kind("read_parquet(?, union_by_name = true)", "time", '"{}"', "event")
_LINES = _Kind("read_ndjson_objects(?, ignore_errors = true)", _TIME, "(json ->> '$.\"{}\"')", "json::VARCHAR")


# A report that came back has its reply as one text.
SHAPED = """
CASE WHEN json_type(json, '$.reply') = 'VARCHAR'
     THEN json_merge_patch(json, json_object('reply', json_object('enhanced', json -> '$.status', 'text', json -> '$.reply')))
     ELSE json END
"""
_TO_PARQUET = """
COPY (SELECT unnest(json_transform({shaped}, ?)), json::VARCHAR AS event
        FROM read_ndjson_objects(?, ignore_errors = true) WHERE json IS NOT NULL)
  TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows})
"""
_STRIPPED = """
COPY (SELECT * REPLACE ({columns}CASE WHEN {found} THEN json_merge_patch(event::JSON, CASE
        WHEN contains(event, '"headers":{{') THEN ? ELSE ? END)::VARCHAR ELSE event END AS event) FROM read_parquet(?))
  TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows})
"""
_UNREADABLE = "SELECT count(*) FROM read_ndjson_objects(?, ignore_errors = true) WHERE json IS NULL"


def to_parquet(directory: Path, now: int, ready: Callable[[Path], bool] = lambda _: True) -> list[Path]:
    """Converts the complete files of hours before that of `now` (ms), if they are `ready`; the new files. Safe to repeat after a
    crash.

    A file with unreadable lines is kept beside its Parquet form, as `.damaged`, for a person to look at.
    """
    hour = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%dT%H")
    made = []
    for source in sorted(directory.glob("*.jsonl")):
        if source.name.endswith(".open.jsonl") or source.name[:13] >= hour or not ready(source):
            continue
        try:
            with alone(directory):
                made.append(_turned(source))
        except Exception as error:  # one bad file must not keep the others from being converted
            log.error("events not converted", file=str(source), error=repr(error))
    return made


def _turned(source: Path) -> Path:
    target = source.with_suffix(".parquet")
    if not target.exists() and _convert(source, target):
        log.error("unreadable lines in an event file", file=str(source))
        source.rename(source.with_suffix(".damaged"))
    else:
        source.unlink()
    return target


def read(directory: Path, *, since: int = 0, until: int | None = None, match: Match | None = None) -> Iterator[Event]:
    """Events of `since` <= time < `until` (ms) in time order, of JSON Lines and Parquet alike.

    match: field names with the value, or the values, one of which it must have (addresses, domains and sites in any
    case), or patterns of which one must fit; or a function of the event. Raises KeyError for a field that is no column.
    """
    asked = {} if match is None or callable(match) else dict(match)
    for field in asked:
        if COLUMNS[field] != "VARCHAR":
            raise KeyError(field)
    with _database() as database:
        rows = _ask(database, directory, since, until, asked)
        while chunk := rows.fetchmany(_ROWS):
            for (record,) in chunk:
                event = orjson.loads(record)
                if not callable(match) or match(event):
                    yield event


def scan(directory: Path, *, since: int = 0, match: Mapping[str, Wanted] | None = None) -> Iterator[Event]:
    """The same for very many events: file after file, hour by hour, in the order they were written; what one transaction
    wrote stands together. Nothing is sorted, so memory does not grow with their number."""
    with _database() as database:
        for stem in _stems(directory, since):
            found = _ask_file(database, directory / stem, since, match or {})
            while found is not None and (chunk := found.fetchmany(_ROWS)):
                yield from (orjson.loads(record) for (record,) in chunk)


def columns(
    directory: Path, fields: Sequence[str], *, since: int = 0, match: Mapping[str, Wanted] | None = None
) -> Iterator[tuple[Any, ...]]:
    """As `scan`, of each event these fields alone, which are columns; times in ms. A fifth of the time."""
    with _database() as database:
        for stem in _stems(directory, since):
            found = _ask_file(database, directory / stem, since, match or {}, fields)
            while found is not None and (chunk := found.fetchmany(_ROWS)):
                yield from chunk


def first_hour(directory: Path) -> int | None:
    """The first hour (ms) that events are kept of; None: there are none."""
    first = next(iter(_stems(directory, 0)), None)
    return int(datetime.fromisoformat(f"{first[:13]}:00:00+00:00").timestamp()) * 1000 if first else None


def events_of(path: Path, containing: Sequence[str] = ()) -> Iterator[Event]:
    """Of one Parquet file, in its order; with `containing`, those alone whose record holds one of these texts, in any case.
    Raises FileNotFoundError where it is gone."""
    one_of = " OR ".join(["contains(lower(event), ?)"] * len(containing)) or "true"
    with _database() as database:
        values = [str(path), *(text.lower() for text in containing)]
        rows = _opened(database, f"SELECT event FROM read_parquet(?) WHERE {one_of}", values, path)  # noqa: S608 - our own words
        while chunk := rows.fetchmany(_ROWS):
            yield from (orjson.loads(record) for (record,) in chunk)


def _opened(
    database: "duckdb.DuckDBPyConnection", sql: str, values: Sequence[Any], path: Path
) -> "duckdb.DuckDBPyConnection":
    """Of a file that may be put in place anew, or given up, while it is opened: then once more."""
    import duckdb  # noqa: PLC0415 - as above

    try:
        return database.execute(sql, values)
    except duckdb.IOException:
        if not path.exists():
            raise FileNotFoundError(path) from None
        return database.execute(sql, values)


def write_parquet(events: Iterable[Event], target: Path) -> None:
    """Whole or not at all, and then in place of what was there, which `events` may be read from."""
    lines, partial = target.with_suffix(".lines"), target.with_suffix(".rewritten")
    try:
        lines.touch(MODE)
        with lines.open("wb") as file:
            file.writelines(orjson.dumps(event) + b"\n" for event in events)
        with _database() as database:
            _copy(database, _TO_PARQUET, partial, [_SHAPE, str(lines)], shaped=SHAPED)
        _put(partial, target)
    finally:
        lines.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)


def strip(path: Path, fields: Sequence[str]) -> bool:
    """Takes fields of text out of one Parquet file, wherever an event has them, also among its headers; False: none has. The way
    that is quick: 7 us of CPU for an event, a fifth of what `write_parquet` takes with the events to be read."""
    found = " OR ".join(f"contains(event, '\"{field}\":')" for field in fields)
    columns = "".join(f"NULL::VARCHAR AS {field}, " for field in fields if field in COLUMNS)
    gone = dict.fromkeys(fields)  # RFC 7396: null takes a field out
    patches = [orjson.dumps(patch).decode() for patch in (gone | {"headers": gone}, gone)]
    partial = path.with_suffix(".rewritten")
    with _database() as database:
        asked = f"SELECT 1 FROM read_parquet(?) WHERE {found} LIMIT 1"  # noqa: S608 - our own words
        if _opened(database, asked, [str(path)], path).fetchone() is None:
            return False
        try:
            _copy(database, _STRIPPED, partial, [*patches, str(path)], columns=columns, found=found)
            _put(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return True


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Waits until no other process writes files of the log anew, and keeps them from it: each reads a file, writes it aside and
    puts it in place, and who read it before the other did would bring back what that one took out."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def matches(event: Event, match: Mapping[str, Wanted]) -> bool:
    """Is it one that `read` would give out for the same `match`?"""
    return all(isinstance(event.get(field), str) and _fits(field, event[field], match[field]) for field in match)


def _fits(field: str, text: str, value: Wanted) -> bool:
    if isinstance(value, AnyOf):
        return text in value
    fold = str.lower if field in _ANY_CASE else str
    return fold(text) in {fold(one) for one in ([value] if isinstance(value, str) else value)}


@contextmanager
def _database() -> Iterator["duckdb.DuckDBPyConnection"]:
    import duckdb  # noqa: PLC0415 - it takes a tenth of a second, and workers never ask

    with tempfile.TemporaryDirectory(prefix="postlane-") as scratch:
        settings = {"threads": 1, "memory_limit": _MEMORY, "temp_directory": scratch}
        with duckdb.connect(config=settings) as database:
            database.execute("SET enable_progress_bar = false")  # it would stand in the middle of what a command prints
            yield database


def _convert(source: Path, target: Path) -> bool:
    """Writes `target` whole or not at all. True: some lines of `source` are no events."""
    partial = target.with_suffix(".partial")
    with _database() as database:
        _copy(database, _TO_PARQUET, partial, [_SHAPE, str(source)], shaped=SHAPED)
        unreadable = database.execute(_UNREADABLE, [str(source)]).fetchone()
    _put(partial, target)
    return bool(unreadable and unreadable[0])


def _copy(database: "duckdb.DuckDBPyConnection", sql: str, target: Path, values: list[Any], **parts: str) -> None:
    """Runs a COPY of above; where its row groups do not fit into memory, with small ones."""
    import duckdb  # noqa: PLC0415 - as above

    for tries_left, rows in ((1, ROWS_IN_GROUP), (0, ROWS_AT_LEAST)):
        try:
            database.execute(sql.format(target=_quoted(target), rows=rows, **parts), values)
            return
        except duckdb.OutOfMemoryException:
            if not tries_left:
                raise


def _put(partial: Path, target: Path) -> None:
    """In place, for good, and for as few eyes as JSON Lines (eventlog.py): DuckDB leaves that to the umask."""
    partial.chmod(MODE)
    sync(partial)
    partial.rename(target)
    sync(target.parent)


def _ask(
    database: "duckdb.DuckDBPyConnection", directory: Path, since: int, until: int | None, asked: Mapping[str, Wanted]
) -> "duckdb.DuckDBPyConnection":
    import duckdb  # noqa: PLC0415 - as above

    for tries_left in reversed(range(_TRIES)):
        columnar, lines = _files(directory, since)
        sql, values = _question(columnar, lines, since, until, asked)
        try:
            return database.execute(sql, values)  # sorts, so every file has been read when this returns
        except duckdb.IOException:
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def _files(directory: Path, since: int) -> tuple[list[str], list[str]]:
    """Parquet and JSON Lines files that may hold events of `since` or later. Each event is in one of them, once."""
    first = _hour_before(since)
    lines = [path for path in sorted(directory.glob("*.jsonl")) if path.name[:13] >= first]
    columnar = [path for path in sorted(directory.glob("*.parquet")) if path.name[:13] >= first]
    done = set(columnar)
    return [str(path) for path in columnar], [str(p) for p in lines if p.with_suffix(".parquet") not in done]


def _hour_before(since: int) -> str:
    """Of the first file that may matter: a file has no events later than its hour, bar a clock set back a bit."""
    return (datetime.fromtimestamp(since / 1000, UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H") if since else ""


def _stems(directory: Path, since: int) -> list[str]:
    """The names of the files that may hold events of `since` or later, without what says their kind."""
    names = [path.name for path in directory.glob("*") if path.name.endswith(_KINDS)]
    first = _hour_before(since)
    stems = {name.removesuffix(".jsonl").removesuffix(".parquet").removesuffix(".open") for name in names}
    return sorted(stem for stem in stems if stem[:13] >= first)


def _ask_file(
    database: "duckdb.DuckDBPyConnection",
    stem: Path,
    since: int,
    asked: Mapping[str, Wanted],
    fields: Sequence[str] = (),
) -> "duckdb.DuckDBPyConnection | None":
    """Of a file that may meanwhile be ended, converted or given up; None: it was given up. Without `fields` whole records."""
    import duckdb  # noqa: PLC0415 - as above

    for tries_left in reversed(range(_TRIES)):
        names = (stem.with_name(stem.name + end) for end in _KINDS)
        path = next((name for name in names if name.exists()), None)
        if path is None:
            return None
        kind = _PARQUET if path.suffix == ".parquet" else _LINES
        conditions, values = _conditions(kind, since, None, asked)
        shown = ", ".join(_column(kind, field) for field in fields) or kind.record
        try:
            return database.execute(f"SELECT {shown} FROM {kind.table} WHERE {conditions}", [str(path), *values])  # noqa: S608
        except duckdb.IOException:
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def _column(kind: _Kind, field: str) -> str:
    value = f"TRY_CAST({kind.column.format(field)} AS {COLUMNS[field]})"
    return f"epoch_ms({value})" if COLUMNS[field] == "TIMESTAMP" else value


def _conditions(kind: _Kind, since: int, until: int | None, asked: Mapping[str, Wanted]) -> tuple[str, list[Any]]:
    conditions = [f"{kind.time} >= ?"]
    values: list[Any] = [_moment(since)]
    if until is not None:
        conditions.append(f"{kind.time} < ?")
        values.append(_moment(until))
    for field, value in asked.items():
        condition, more = _condition(field, kind.column.format(field), value)
        conditions.append(condition)
        values += more
    return " AND ".join(conditions), values


def _question(
    columnar: list[str], lines: list[str], since: int, until: int | None, asked: Mapping[str, Wanted]
) -> tuple[str, list[Any]]:
    """One SELECT over both kinds of files, in time order, and its values."""
    parts: list[str] = []
    values: list[Any] = []
    for files, kind in ((columnar, _PARQUET), (lines, _LINES)):
        if not files:
            continue
        conditions, wanted = _conditions(kind, since, until, asked)
        shown = f"{kind.time} AS moment, {kind.column.format('event_id')} AS event_id, {kind.record} AS event"
        parts.append(f"SELECT {shown} FROM {kind.table} WHERE {conditions}")  # noqa: S608 - our own words
        values += [files, *wanted]
    empty = "SELECT NULL::TIMESTAMP AS moment, NULL::VARCHAR AS event_id, NULL::VARCHAR AS event WHERE false"
    return f"SELECT event FROM ({' UNION ALL '.join(parts or [empty])}) ORDER BY moment, event_id", values  # noqa: S608


def _condition(field: str, column: str, value: Wanted) -> tuple[str, list[str]]:
    """What `matches` asks, in SQL. RE2 takes time in proportion to the text, whatever the pattern."""
    if isinstance(value, AnyOf):
        if value.wild:
            return f"regexp_full_match(lower({column}), ?)", [re2(value.patterns)]
        one_of, fold = list(value.patterns), True
    else:
        fold = field in _ANY_CASE
        one_of = [one.lower() if fold else one for one in ([value] if isinstance(value, str) else value)]
    return f"{'lower' if fold else ''}({column}) IN ({','.join('?' * len(one_of))})", one_of


def _moment(ms: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(milliseconds=ms)


def _quoted(path: Path) -> str:
    """A file name inside SQL quotes: COPY takes no parameter there."""
    return str(path).replace("'", "''")
