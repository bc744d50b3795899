"""Reports from the event log, by DuckDB. One question at a time, in bounded memory: what does not fit goes to temporary files."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import orjson

from relay.reporting import files, sql
from relay.reporting.budget import Allowance, Budget, Share, budget
from relay.reporting.counting import copy_lines
from relay.reporting.database import THREADS, Database, opened
from relay.reporting.extract import Extract
from relay.reporting.figures import Answer, Figures, Row, begins
from relay.reporting.findings import SCOPES, Bounces, Finding, Line, Whole, completed, finding, lines
from relay.reporting.question import DELAYS, FAILURE, KEPT, MEASURES, RECORDED, Question, QuestionError
from relay.times import LATEST
from relay.wildcard import any_of

Event = dict[str, Any]
Found = TypeVar("Found")

MEMORY = "128MB"  # of one question; the admin site has 300 MB in all
_COMBINATIONS = 5_000  # of categories, streams, sites and sources that findings are made of: the largest
_FETCHED = 1_000  # rows at a time
_ASIDE = "added_up"
_FEW_KEYS = 2  # dimensions whose combinations are not that many
SAMPLED = 5_000  # events of which replies are shown: a second's worth of reading
TRIES = 3  # of a question whose files are turned into Parquet, or given up, under its hands


class Sample(NamedTuple):
    """Replies that are alike but for ids, addresses and times: the newest of them, how many there were, when it came, and whose
    it was."""

    type: str
    category: str | None
    reply: str
    many: int
    time: int
    id: str | None
    recipient: str | None
    site: str | None
    source: str | None
    stream: str | None
    command: str | None


class Series(NamedTuple):
    """A chart: `begins` of each hour or day (ms), and for each line (a value of `by`; of all mail under "") its figures there."""

    begins: tuple[int, ...]
    lines: dict[str, tuple[Figures, ...]]


class Reader:
    """`folders`: of events, this node's first. May be asked from several threads; each waits for its turn."""

    def __init__(self, folders: Sequence[Path], memory: str = MEMORY) -> None:
        self.folders = tuple(folders)
        self._memory = memory
        self._turn = threading.Lock()
        self._extract = Extract()
        self._mixed = False

    def __repr__(self) -> str:
        return f"<Reader of {', '.join(map(str, self.folders))}>"

    def answer(self, question: Question) -> Answer:
        """Rows by `question.by`, the first ones by the report's order; by time, all of them."""

        def ask(database: Database, scratch: Path) -> Answer:
            rows, groups = _rows(database, question, self._source(question, question.level(), database, scratch))
            whole = question.total()
            total = _rows(database, whole, self._source(whole, whole.level(), database, scratch))[0][0]
            if question.report == "latency":
                for one, some in ((question, rows), (whole, [total])):
                    _add_delays(database, one, self._of_delays(one, database, scratch), some)
            others = _others(rows, total, question) if groups > len(rows) and not question.step else None
            return Answer(question, rows, total, others, groups, self._span(question))

        return self._asked(ask)

    def findings(self, question: Question) -> list[Finding]:
        """The bounces of a time as lines that a person can act on; `question.by` says nothing."""
        question = replace(question, report="bounces", by=("stream",), compare=0)

        def ask(database: Database, scratch: Path) -> list[Finding]:
            rows = completed(
                [Bounces(*row) for row in self._bounces(question, SCOPES, database, scratch)],
                self._bounces(question, ("stream", "credential"), database, scratch),
            )
            whose = {name: wanted for name, wanted in question.where.items() if name not in FAILURE}
            by_stream = self._ended(replace(question, where=whose, limit=_COMBINATIONS), database, scratch)
            found = lines(rows, by_stream)
            wholes: dict[tuple[tuple[str, ...], tuple[str, ...], str | None], Whole] = {}
            for names in dict.fromkeys(tuple(line.scope) for line in found):
                scopes = list(dict.fromkeys(tuple(line.scope.values()) for line in found if tuple(line.scope) == names))
                wholes |= self._wholes(question, names, scopes, database, scratch)
            return [finding(line, _whole(line, wholes)) for line in found]

        return self._asked(ask)

    def _bounces(
        self, question: Question, scopes: tuple[str, ...], database: Database, scratch: Path
    ) -> list[tuple[Any, ...]]:
        asked = replace(question, by=("category", *scopes))
        source = self._source(asked, asked.level(), database, scratch)
        return list(database.execute(*sql.bounces(question, source, scopes, _COMBINATIONS)).fetchall())

    def _ended(self, question: Question, database: Database, scratch: Path) -> dict[str | None, int]:
        """Of each stream."""
        rows, _ = _rows(database, question, self._source(question, question.level(), database, scratch))
        return {row.key[0]: row.now["ended"] for row in rows}

    def _wholes(
        self,
        question: Question,
        names: tuple[str, ...],
        scopes: list[tuple[str, ...]],
        database: Database,
        scratch: Path,
    ) -> dict[tuple[tuple[str, ...], tuple[str, ...], str | None], Whole]:
        """By names, values and category; under the category "" all that ended."""
        asked = replace(question, by=("category", *names))
        source = self._source(asked, asked.level(), database, scratch)
        found: dict[tuple[tuple[str, ...], tuple[str, ...], str | None], Whole] = {}
        for row in database.execute(*sql.wholes(question, source, names, scopes)).fetchall():
            values, (category, ended, usual_ended, bounces, usual) = tuple(row[: len(names)]), row[len(names) :]
            found[names, values, category] = Whole(bounces=bounces, usual_bounces=usual)
            before = found.get((names, values, ""), Whole())
            found[names, values, ""] = Whole(before.ended + ended, before.usual_ended + usual_ended)
        return found

    def series(self, question: Question, step: str, lines: int = 6) -> Series:
        """By hour or day, empty ones too; of at most so many values of the first of `question.by`, those with most."""
        of = question.keys[:1]
        names = [""]
        if of:
            top = self.answer(replace(question, by=of, limit=lines, usual=0, compare=0)).rows
            names = [str(row.key[0] or "") for row in top]
            if all(names):
                question = replace(
                    question,
                    where={**question.where, of[0]: any_of(names)} if of[0] not in question.where else question.where,
                )
        by_time = self.answer(question.in_time(step, of)).rows
        every = begins(*question.windows["now"], step, ZoneInfo(question.zone))
        place = {begin: index for index, begin in enumerate(every)}
        found = {name: tuple(Figures() for _ in every) for name in names}
        for row in by_time:
            name, begin = str(row.key[0] or "") if of else "", row.key[-1]
            if name in found and begin in place:
                found[name][place[begin]].add(row.now)
        return Series(tuple(every), found)

    def samples(self, question: Question, limit: int = 10, types: Sequence[str] | None = None) -> list[Sample]:
        """What was answered lately, the most frequent first, of the newest SAMPLED events at least. `types` of events: those that
        the report is about."""
        wanted = question.shape.of if types is None else tuple(types)

        def ask(database: Database, scratch: Path) -> list[Sample]:
            since = newest(self._hours(question, wanted, database, scratch), SAMPLED)
            lately = replace(question, since=max(question.since, since))
            source = self._recorded(lately, database)
            if since >= question.until or not source.files:
                return []
            return [Sample(*row) for row in database.execute(*sql.replies(lately, source, wanted, limit)).fetchall()]

        return self._asked(ask)

    def messages(self, question: Question, limit: int = 100, types: Sequence[str] | None = None) -> list[Event]:
        """Their events, the newest first. Counts tell in which hours they are, and no other's files are read."""
        wanted = question.shape.of if types is None else tuple(types)

        def ask(database: Database, scratch: Path) -> list[Event]:
            hours = self._hours(question, wanted, database, scratch)
            least, found = limit, list[Event]()
            while hours and len(found) < limit:
                since = newest(hours, least)
                lately = replace(question, since=max(question.since, since))
                source = self._recorded(lately, database)
                if source.files:
                    rows = database.execute(*sql.found(lately, source, wanted, limit)).fetchall()
                    found = [orjson.loads(record) for (record,) in rows]
                if lately.since == question.since or since <= hours[-1][0]:
                    break
                least *= 8  # counts do not know every selector: a recipient may be rarer than they say
            return found

        return self._asked(ask)

    def budgets(
        self, allowances: Sequence[Allowance], question: Question, people: Sequence[str] | None = None
    ) -> list[Budget]:
        """Who used the places of these limits: of the people of a list, or of those who got mail that fits the question's
        selectors in its time. It reads the events themselves; what does not fit into memory goes to disk."""

        def ask(database: Database, _: Path) -> list[Budget]:
            if people is None:
                statement, values = sql.segment(question, self._recorded(question, database))
            else:
                statement, values = sql.listed(), [list(people)]
            database.execute(f"CREATE TEMP TABLE segment AS {statement}", values)
            ((known,),) = database.execute("SELECT count(*) FROM segment").fetchall()
            return [self._budget(one, question, known, database) for one in allowances]

        return self._asked(ask)

    def _budget(self, allowance: Allowance, question: Question, people: int, database: Database) -> Budget:
        source = self._set(database, files.recorded(self.folders, allowance.since, question.until))
        statement, values = sql.arrived(allowance, source, question.until)
        database.execute(f"CREATE OR REPLACE TEMP TABLE arrived AS {statement}", values)
        by_number = dict(database.execute(sql.USED).fetchall())
        return budget(allowance, by_number, [Share(*row) for row in database.execute(sql.SHARES).fetchall()], people)

    @contextmanager
    def query(self, query: str, since: int, until: int) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
        """Somebody's own question to the view `events`, all recorded events of a time: the names of its columns, and its rows as
        they are fetched. One SELECT, which reads nothing but the files of the view. Raises QuestionError for what is none, or
        fails."""
        import duckdb  # noqa: PLC0415 - relay/reporting/database.py says why

        with self._turn:
            for left in reversed(range(TRIES)):
                with opened(self._memory) as database:
                    try:
                        names, result = self._put(database, query, since, until)
                    except duckdb.IOException as error:  # as in _asked
                        if not left:
                            raise QuestionError(str(error)) from error
                        continue
                    except duckdb.Error as error:
                        raise QuestionError(str(error)) from error
                    yield names, _fetched(result)
                    return

    def _put(self, database: Database, query: str, since: int, until: int) -> tuple[list[str], Database]:
        """Raises duckdb.Error, and QuestionError for what is not one SELECT."""
        import duckdb  # noqa: PLC0415 - relay/reporting/database.py says why

        source = _threads(database, files.recorded(self.folders, since, until))
        database.execute(sql.view(source, since, until))
        database.execute(sql.confined(source))
        statements = duckdb.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QuestionError("one SELECT, and nothing else")
        result = database.execute(statements[0])
        return [column[0] for column in result.description], result

    def _hours(
        self, question: Question, types: Sequence[str], database: Database, scratch: Path
    ) -> list[tuple[int, int]]:
        """In which slots there are such events, and how many at most, the newest first."""
        where = {name: wanted for name, wanted in question.where.items() if name in KEPT}
        rough = replace(question, by=("type",), where=where, usual=0, compare=0)
        source = self._source(rough, rough.level(), database, scratch)
        return [(begin, count) for begin, count in database.execute(*sql.slots(rough, source, types)).fetchall()]

    def _source(self, question: Question, level: str, database: Database, scratch: Path) -> sql.Source:
        """Counts, where they know enough; else the events, or an extract of them."""
        if level:
            source = self._counted(question, database, scratch)
            named = "skeleton" not in question.where or not source.counts
            if named or database.execute(*sql.lumped(question, source)).fetchone() is None:
                return source
        source = self._recorded(question, database)
        if question.boundless or not {*RECORDED}.intersection(question.where):
            return source
        return self._extract.of(question, source, database)

    def _of_delays(self, question: Question, database: Database, scratch: Path) -> sql.Source:
        known = question.level(DELAYS)
        return self._counted(question, database, scratch) if known else self._recorded(question, database)

    def _counted(self, question: Question, database: Database, scratch: Path) -> sql.Source:
        """Counts; of files that are being written the lines since they were counted."""
        found = files.counted(self.folders, question.first, question.until)
        lines = [*found.source.lines]
        for number, (path, offset) in enumerate(found.tails):
            tail = scratch / f"{number}.jsonl"
            if copy_lines(path, offset, tail):
                lines.append(str(tail))
        return self._set(database, found.source._replace(lines=tuple(lines)))

    def _recorded(self, question: Question, database: Database) -> sql.Source:
        return self._set(database, files.recorded(self.folders, question.first, question.until))

    def _set(self, database: Database, source: sql.Source) -> sql.Source:
        return _threads(database, source._replace(mixed=self._mixed))

    def _span(self, question: Question) -> int:
        """Of what is usual: how much of that time there are files of, in ms."""
        oldest = files.earliest(self.folders)
        since = question.windows["now"][0]
        return max(0, since - max(oldest, since - question.usual)) if oldest is not None else 0

    def _asked(self, ask: Callable[[Database, Path], Found]) -> Found:
        """Files may be turned into Parquet, added up, or given up, between being listed and being opened: then once more."""
        import duckdb  # noqa: PLC0415 - relay/reporting/database.py says why

        with self._turn:
            for left in reversed(range(TRIES)):
                try:
                    with opened(self._memory) as database, tempfile.TemporaryDirectory(prefix="postlane-") as scratch:
                        return ask(database, Path(scratch))
                except (duckdb.IOException, FileNotFoundError):
                    if not left:
                        raise
                except (duckdb.BinderException, duckdb.InvalidInputException):
                    if self._mixed:
                        raise
                    self._mixed = True  # a file of another version lacks a column
        raise AssertionError("unreachable")


def _whole(line: Line, wholes: Mapping[tuple[tuple[str, ...], tuple[str, ...], str | None], Whole]) -> Whole:
    key = tuple(line.scope), tuple(line.scope.values())
    mine = wholes.get((*key, line.category), Whole())
    return wholes.get((*key, ""), Whole())._replace(bounces=mine.bounces, usual_bounces=mine.usual_bounces)


def newest(hours: Sequence[tuple[int, int]], least: int) -> int:
    """Since when there were so many; `hours` are slots (ms) and how many each has, the newest first. Pure."""
    many = 0
    for begin, count in hours:
        many += count
        if many >= least:
            return begin
    return hours[-1][0] if hours else LATEST


def _fetched(result: Database) -> Iterator[tuple[Any, ...]]:
    import duckdb  # noqa: PLC0415 - relay/reporting/database.py says why

    try:
        while rows := result.fetchmany(_FETCHED):
            yield from rows
    except duckdb.Error as error:
        raise QuestionError(str(error)) from error


def _threads(database: Database, source: sql.Source) -> sql.Source:
    """Each thread that reads lines takes 64 MB for them."""
    database.execute(f"SET threads = {1 if source.lines else THREADS}")
    return source


def _rows(database: Database, question: Question, source: sql.Source) -> tuple[list[Row], int]:
    """And how many there are in all."""
    told, all_groups = sql.added_up(question, source), None
    if _may_be_many(question, source):
        if not source.counts:  # events take long to read a second time
            database.execute(f"CREATE OR REPLACE TEMP TABLE {_ASIDE} AS {told[0]}", told[1])
            told = f"FROM {_ASIDE}", []
        first = database.execute(*sql.ranked(question, told)).fetchall()
        if not first:
            return [], 0
        only, all_groups = [values[:-1] for values in first], first[0][-1]
        told = sql.added_up(question, source, only) if source.counts else sql.those(question, only, _ASIDE)
    rows, groups, many = [], 0, len(question.by)
    for values in database.execute(*sql.counted(question, told)).fetchall():
        groups = values[many] if all_groups is None else all_groups
        found = dict(zip(question.windows, _chunks(values[many + 1 :]), strict=True))
        rows.append(Row(_key(values, question), found["now"], found.get("usual"), found.get("then")))
    return rows, groups


def _may_be_many(question: Question, source: sql.Source) -> bool:
    """May there be hundreds of thousands of rows, of which a few are asked for? Counts have names for few templates."""
    return not question.step and (len(question.keys) > _FEW_KEYS or (question.boundless and not source.counts))


def _key(values: Sequence[Any], question: Question) -> tuple[Any, ...]:
    """In the order of `by`, times in ms."""
    return tuple(_in_ms(values[question.order.index(name)], question.zone) for name in question.by)


def _in_ms(value: Any, zone: str) -> Any:
    if isinstance(value, datetime):  # an hour of UTC
        return round(value.replace(tzinfo=UTC).timestamp() * 1000)
    if isinstance(value, date):
        return round(datetime(value.year, value.month, value.day, tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    return value


def _chunks(values: Sequence[int]) -> list[Figures]:
    """Of each window."""
    each = len(MEASURES)
    chunks = (values[at : at + each] for at in range(0, len(values), each))
    return [Figures({name: count for name, count in zip(MEASURES, chunk, strict=True) if count}) for chunk in chunks]


def _add_delays(database: Database, question: Question, source: sql.Source, rows: Sequence[Row]) -> None:
    by_key = {row.key: row for row in rows}
    place = [question.by.index(name) for name in question.keys]
    wanted = list(dict.fromkeys(tuple(row.key[at] for at in place) for row in rows))
    bucket = len(question.by)
    for values in database.execute(*sql.delayed(question, source, wanted)).fetchall():
        row = by_key.get(_key(values, question))
        for window, count in zip(question.windows, values[bucket + 1 :], strict=True):
            figures = row.of(window) if row is not None else None
            if count and figures is not None:
                figures.delays[values[bucket]] = count


def _others(rows: Sequence[Row], total: Row, question: Question) -> Row:
    """What the limit left out. Of shares of failures all mail is the whole, as of the rows above it."""
    failures = bool(FAILURE.intersection(question.by))
    whole = sql.CONTEXT if failures else ()

    def rest(of: Callable[[Row], Figures]) -> Figures:
        return Figures({
            name: of(total)[name] - (0 if name in whole else sum(of(row)[name] for row in rows)) for name in MEASURES
        })  # fmt: skip

    def beside(window: str) -> Figures | None:
        return rest(lambda row: row.of(window) or Figures()) if total.of(window) is not None else None

    return Row((), rest(lambda row: row.now), beside("usual"), beside("then"))
