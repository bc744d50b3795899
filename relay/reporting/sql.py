"""Questions as SQL for DuckDB, over counts, Parquet and JSON Lines at once. Pure.

Three kinds of files look alike to a question: a *relation* has for each quarter of an hour, and each combination of what events
are of (question.KEPT), how many there were. Counts (counting.py) are such rows already; of the others each event is one.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import orjson

from relay.feedback.eventarchive import COLUMNS, SHAPED
from relay.recipient import SAME, SIGNS, TAGS
from relay.reporting.budget import Allowance
from relay.reporting.figures import FINENESS
from relay.reporting.question import (
    DELAYS,
    FAILURE,
    KEPT,
    LEVELS,
    MEASURES,
    MOST,
    OTHERS,
    RECORDED,
    SELECTORS,
    SLOT,
    TEMPLATES,
    Question,
)
from relay.wildcard import AnyOf, re2

Statement = tuple[str, list[Any]]
Key = tuple[str | None, ...]  # values of `Question.keys`

# What is read of events besides KEPT. All are VARCHAR in both kinds of files but the last ones.
_TEXTS = tuple(dict.fromkeys((*KEPT, *RECORDED, "feedback_type", "via", "id", "recipient", "command")))
_LONGEST = (
    2 << 20
)  # octets of a line: an event has some hundreds, a thousand times as many at most. Each thread reserves twice that
_LINES = f"ignore_errors = true, maximum_object_size = {_LONGEST}"
_REASON = 'coalesce("reason", "feedback_type", "via")'  # of a complaint its type, of an unsubscription its way
_BUCKET = f"floor({FINENESS} * log2(greatest(delay_ms, 1)))::UTINYINT"
_BOUNCES = "('bounced', 'bounced-late')"
_FAILED = "'bounced', 'bounced-late', 'complained', 'unsubscribed'"
_HOUR = 3_600_000  # ms: the longest slot
_DELAYS = "+delays"
_SPELT = {
    **{one: one for one in TAGS},
    **SAME,
}  # domains whose addresses have several spellings, and the one they have then
# Which templates have a name in counts: all of an hour; where they are very many, those of most events and of most failures.
_NAMED = f"""
known AS MATERIALIZED (
    SELECT skeleton, sum(n) AS n, coalesce(sum(n) FILTER (type IN ({_FAILED})), 0) AS failed
    FROM templates WHERE skeleton IS NOT NULL GROUP BY skeleton
), few AS (SELECT count(*) <= {TEMPLATES} FROM known),
named AS MATERIALIZED (
    (SELECT skeleton FROM known WHERE n > 1 OR (FROM few) ORDER BY n DESC, skeleton LIMIT {TEMPLATES}) UNION
    (SELECT skeleton FROM known WHERE failed > 1 ORDER BY failed DESC, skeleton LIMIT {TEMPLATES})
)
"""
_TEMPLATES = f"""
SELECT 'templates' AS level, slot, {{kept}},
    CASE WHEN skeleton IS NULL OR skeleton IN (FROM named) THEN skeleton ELSE '{OTHERS}' END AS skeleton,
    NULL::UTINYINT AS bucket, sum(n)::UINTEGER AS n
FROM templates GROUP BY ALL
"""
CONTEXT = ("accepted", "delivered", "ended")  # what a share of failures is of, whatever its own category


class Source(NamedTuple):
    """Files that a question is put to; each event is in one of them. `mixed`: those in columns have not all the same ones;
    `extract`: a file that `extract` made of all of them."""

    counts: tuple[str, ...] = ()
    columnar: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    mixed: bool = True
    extract: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.counts, *self.columnar, *self.lines)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _nulls(names: Iterable[str]) -> str:
    return ", ".join(f"NULL::VARCHAR AS {_quoted(name)}" for name in names)


def _columnar(source: Source) -> str:
    """A file has the columns of its day: those that are missing are NULL, also where no file has one. DuckDB has to look at
    all of them for that, and to remember it: 100 MB for three hundred files. It raises an error where they are not `mixed` and
    one lacks a column."""
    if not source.mixed:
        return "FROM read_parquet(?)"
    return f"SELECT * FROM read_parquet(?, union_by_name = true) UNION ALL BY NAME SELECT {_nulls(_TEXTS)} WHERE false"


def moment(ms: int) -> str:
    """As DuckDB's TIMESTAMP, which knows no zone."""
    return f"TIMESTAMP '{datetime(1970, 1, 1) + timedelta(milliseconds=ms)}'"


def events(source: Source) -> Statement:
    """Every event of the files as a row: `time, delay_ms, reply` and the texts, NULL where it has none."""
    parts, values = [], []
    if source.columnar:
        parts.append(
            f"SELECT time, delay_ms, reply.text AS said, {', '.join(map(_quoted, _TEXTS))} FROM ({_columnar(source)})"
        )
        values.append(list(source.columnar))
    if source.lines:
        columns = {"time": "VARCHAR", "delay_ms": "BIGINT", "reply": "JSON", **dict.fromkeys(_TEXTS, "VARCHAR")}
        parts.append(
            f"SELECT TRY_CAST(time AS TIMESTAMP) AS time, delay_ms, coalesce(reply ->> '$.text', reply ->> '$') AS said, "
            f"{', '.join(map(_quoted, _TEXTS))} FROM read_ndjson(?, columns = {_struct(columns)}, {_LINES})"
        )
        values.append(list(source.lines))
    if not parts:
        parts.append(
            f"SELECT NULL::TIMESTAMP AS time, NULL::BIGINT AS delay_ms, {_nulls(('said', *_TEXTS))} WHERE false"
        )
    return " UNION ALL ".join(parts), values


def _struct(columns: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items()) + "}"


def relation(source: Source, question: Question, *, in_slots: bool = True) -> Statement:
    """`slot`, KEPT, RECORDED, `n`; of counts those of the smallest level. Where windows of whole slots are all that is asked of
    times, an event's own does as well, and is quicker than its slot."""
    parts, values = [], []
    if source.extract:
        parts.append("FROM read_parquet(?)")
        values.append([source.extract])
    if source.counts:
        parts.append(
            f"SELECT slot, {_kept()}, {_nulls(['domain'])}, skeleton, n FROM read_parquet(?) WHERE level = '{question.level()}'"
        )
        values.append(list(source.counts))
    if source.columnar or source.lines:
        told, more = events(source)
        slot = _slot() if in_slots else "time"
        parts.append(f"SELECT {slot} AS slot, {_asked_kept()}, {', '.join(RECORDED)}, 1 AS n FROM ({told})")
        values += more
    if not parts:
        parts.append(f"SELECT NULL::TIMESTAMP AS slot, {_nulls((*KEPT, *RECORDED))}, 0 AS n WHERE false")
    return " UNION ALL ".join(parts), values


def extract(question: Question, source: Source, names: Collection[str], target: str) -> Statement:
    """Into a file of its own a relation of what RECORDED of the selectors say, by type and these names: what it takes to answer
    this and every narrower question without reading all events again."""
    told, values = relation(source, question)
    asked, asked_values = conditions(question.where, [name for name in RECORDED if name in question.where])
    columns = ", ".join(_quoted(one) if one == "type" or one in names else _nulls([one]) for one in (*KEPT, *RECORDED))
    return (
        f"COPY (SELECT slot, {columns}, sum(n)::BIGINT AS n FROM ({told}) "
        f"WHERE {_within(question.windows)} AND {asked} GROUP BY ALL) TO {_text(target)} (FORMAT parquet)",
        [*values, *asked_values],
    )


def lumped(question: Question, source: Source) -> Statement:
    """A row, if counts have templates without a name among those asked for."""
    asked, values = conditions(question.where, [name for name in question.where if name not in (*FAILURE, "skeleton")])
    parts = [
        f"level = '{question.level()}' AND skeleton = '{OTHERS}'",
        _within(question.windows),
        *([asked] if asked else []),
    ]
    return f"SELECT 1 FROM read_parquet(?) WHERE {' AND '.join(parts)} LIMIT 1", [list(source.counts), *values]


def _kept() -> str:
    return ", ".join(map(_quoted, KEPT))


def _asked_kept() -> str:
    """KEPT of events."""
    return ", ".join(f"{_REASON} AS reason" if name == "reason" else _quoted(name) for name in KEPT)


def _slot(minutes: int = SLOT // 60_000) -> str:
    return f"time_bucket(INTERVAL '{minutes} minutes', time)"


def delays(source: Source, question: Question) -> Statement:
    """`slot`, KEPT, RECORDED, `bucket`, `n` of deliveries; of counts those of the smallest level."""
    parts, values = [], []
    if source.counts:
        level = question.level(DELAYS)
        parts.append(
            f"SELECT slot, {_kept()}, {_nulls(RECORDED)}, bucket, n FROM read_parquet(?) WHERE level = '{level}{_DELAYS}'"
        )
        values.append(list(source.counts))
    if source.columnar or source.lines:
        told, more = events(source)
        parts.append(
            f"SELECT {_slot()} AS slot, {_kept()}, {', '.join(RECORDED)}, {_BUCKET} AS bucket, 1 AS n FROM ({told}) "
            f"WHERE type = 'delivered' AND delay_ms IS NOT NULL"
        )
        values += more
    if not parts:
        parts.append(f"SELECT NULL::TIMESTAMP AS slot, {_nulls((*KEPT, *RECORDED))}, 0 AS bucket, 0 AS n WHERE false")
    return " UNION ALL ".join(parts), values


def counts_of(source: Source) -> Statement:
    """What a file of counts has, of files of events: `level`, `slot`, KEPT, `skeleton`, `bucket`, `n`, sorted so that a question
    to one level skips the others."""
    told, values = events(source)
    templates = (
        f"SELECT {_slot()} AS slot, {_asked_kept()}, skeleton, count(*) AS n "
        f"FROM (SELECT * REPLACE ({_nulls(('site', 'source'))}) FROM ({told})) WHERE time IS NOT NULL GROUP BY ALL"
    )
    everything = (
        f"SELECT {_slot()} AS slot, {_asked_kept()}, CASE WHEN type = 'delivered' THEN {_BUCKET} END AS bucket, count(*) AS n "
        f"FROM ({told}) WHERE time IS NOT NULL GROUP BY ALL"
    )
    levels = [
        *(_level(name, kept, "NULL::UTINYINT", "") for name, kept in LEVELS.items() if "skeleton" not in kept),
        *(_level(name + _DELAYS, kept, "bucket", " WHERE bucket IS NOT NULL") for name, kept in DELAYS.items()),
        _TEMPLATES.format(kept=_kept()),
    ]
    return (
        f"WITH everything AS MATERIALIZED ({everything}), templates AS MATERIALIZED ({templates}), {_NAMED} "
        f"{' UNION ALL '.join(levels)} ORDER BY level, type, slot, skeleton",
        [*values, *values],
    )


def _level(name: str, kept: Sequence[str], bucket: str, where: str) -> str:
    columns = ", ".join(_quoted(one) if one in kept else _nulls([one]) for one in KEPT)
    added = f"'{name}' AS level, slot, {columns}, {_nulls(['skeleton'])}, {bucket} AS bucket, sum(n)::UINTEGER AS n"
    return f"SELECT {added} FROM everything{where} GROUP BY ALL"


def added(minutes: int, levels: Sequence[str] = ()) -> str:
    """Several files of counts as one, by slots of so many minutes. Of these levels (all, where none is named) rows that are alike
    are added up; others are kept as they are, which needs no memory: one after the other, so that a question to one level finds
    it in a few groups of rows."""
    columns = f"{_kept()}, skeleton, bucket"
    some = f" WHERE level IN ({', '.join(repr(one) for one in levels)})" if levels else ""
    summed = (
        f"SELECT level, time_bucket(INTERVAL '{minutes} minutes', slot) AS slot, {columns}, sum(n)::UINTEGER AS n "
        f"FROM read_parquet($1){some} GROUP BY ALL ORDER BY level, type, slot"
    )
    if not levels:
        return summed
    others = (
        f"SELECT level, slot, {columns}, n FROM read_parquet($1) WHERE level = '{one}'"
        for one in _ALL
        if one not in levels
    )
    return " UNION ALL ".join([f"({summed})", *others])


_ALL = (*LEVELS, *(f"{name}{_DELAYS}" for name in DELAYS))
FEW = ("apps", "sources", f"apps{_DELAYS}", f"sources{_DELAYS}")
"""The levels that stay small, whoever gets the mail."""


def condition(column: str, wanted: AnyOf) -> Statement:
    """RE2 takes time in proportion to the text, whatever the pattern."""
    if wanted.wild:
        return f"regexp_full_match(lower({column}), ?)", [re2(wanted.patterns)]
    return f"lower({column}) IN ({', '.join('?' * len(wanted.patterns))})", list(wanted.patterns)


def conditions(where: Mapping[str, AnyOf], names: Iterable[str]) -> Statement:
    """All of these that are asked for, joined by AND; "" for none."""
    parts, values = [], []
    for name in names:
        if name in where:
            part, more = condition(_quoted(name), where[name])
            parts.append(part)
            values += more
    return " AND ".join(parts), values


def added_up(question: Question, source: Source, only: Sequence[Key] | None = None) -> Statement:
    """For each combination of `by` (times behind the others), type of event (`kind`), and whether it is of what FAILURE's
    selectors say (`wanted`): how many in each window. To lay this out as measures at once, a sum for each, would cost ten
    times as much for each of millions of rows. `only`: of these keys."""
    told, values = relation(source, question, in_slots=bool(question.step))
    failing, failing_values = conditions(question.where, sorted(FAILURE))
    other, other_values = conditions(question.where, [name for name in question.where if name not in FAILURE])
    sums = (f"sum(n) FILTER (WHERE {_in(window)}) AS {_quoted(name)}" for name, window in question.windows.items())
    wanted = f"coalesce({failing}, false)" if failing else "true"
    some, some_values = _one_of(question, only) if only is not None else ("", [])
    columns = [*map(_named, _keys(question)), "type AS kind", f"{wanted} AS wanted", *sums]
    return (
        f"SELECT {', '.join(columns)} FROM ({told}) "
        f"WHERE {' AND '.join(filter(None, (_within(question.windows), other, some)))} GROUP BY ALL",
        [*failing_values, *values, *other_values, *some_values],
    )


def ranked(question: Question, told: Statement) -> Statement:
    """Of what is added up the first keys by the report's order, as many as the question's limit, and how many there are in all.
    Where there may be millions of them this is little to remember of each."""
    names = ", ".join(map(_quoted, question.keys))
    parts = [_is_of(name) for name in question.shape.order]
    worth = f"SELECT {names}, sum(now) AS worth FROM ({told[0]}) WHERE {' OR '.join(parts)} GROUP BY {names}"
    shown = f"SELECT {names}, count(*) OVER () FROM ({worth}) WHERE worth > 0"
    return f"{shown} ORDER BY worth DESC, {names} LIMIT {int(question.limit)}", told[1]


def _is_of(measure: str) -> str:
    of = f"kind IN ({', '.join(repr(one) for one in MEASURES[measure])})"
    return of if measure in CONTEXT else f"({of} AND wanted)"


def counted(question: Question, told: Statement) -> Statement:
    """A row for each combination of `by` (times behind the others): its values, how many rows there are in all, and each measure
    of each window. The first rows by the report's order, as many as the question's limit; by time, in its order. `told`:
    as added_up."""
    names = [name for name, _ in _keys(question)]
    measures = _measures(question.windows)
    inner = f"SELECT {', '.join([*names, *(f'{how} AS {name}' for name, how in measures)])} FROM ({told[0]})"
    if names:
        inner += f" GROUP BY {', '.join(names)}"
    groups = f"count_if({_worth(question)} > 0) OVER ()"  # as count(*) FILTER it would take the square of their number
    outer = ", ".join([*names, groups, *(_outer(name, question) for name, _ in measures)])
    ordered = _ordered(question, names) if names else ""
    return f"SELECT {outer} FROM ({inner}){ordered}", told[1]


def those(question: Question, keys: Sequence[Key], table: str) -> Statement:
    """Of a table of what is added up."""
    where, values = _one_of(question, keys)
    return f"FROM {table} WHERE {where}", values


def _one_of(question: Question, keys: Sequence[Key]) -> Statement:
    """Of these keys, but for what a share of failures is of all mail beside."""
    places = [place for place, name in enumerate(question.keys) if name not in FAILURE]
    names = ", ".join(f"coalesce({_quoted(question.keys[place])}, '')" for place in places)
    listed = ", ".join(["unnest(?::VARCHAR[])"] * len(places))
    return f"({names}) IN (SELECT {listed})", [[key[place] or "" for key in keys] for place in places]


def _in(window: tuple[int, int]) -> str:
    return f"slot >= {moment(window[0])} AND slot < {moment(window[1])}"


def _keys(question: Question) -> list[tuple[str, str]]:
    """Their names, and what they are of a relation."""
    return [(_quoted(one), _begin(question) if one == question.step else _quoted(one)) for one in question.order]


def _named(key: tuple[str, str]) -> str:
    name, how = key
    return name if how == name else f"{how} AS {name}"


def _begin(question: Question) -> str:
    """Of the hour or the day in which a slot lies, there; of a day as a date."""
    if question.step == "hour":
        return f"time_bucket(INTERVAL '1 hour', slot, INTERVAL '{beyond_hours(question)} minutes')"
    return f"CAST(timezone('{question.zone}', timezone('UTC', slot)) AS DATE)"


def beyond_hours(question: Question) -> int:
    """The minutes past the hour of UTC at which an hour begins there: in India 30."""
    offset = datetime.fromtimestamp(question.since / 1000, ZoneInfo(question.zone)).utcoffset() or timedelta()
    return -round(offset.total_seconds() / 60) % 60


def _ordered(question: Question, names: Sequence[str]) -> str:
    """What nothing was counted of is no row, unless somebody draws a line through it."""
    worth = _worth(question)
    if question.step:
        some = f" QUALIFY {worth} > 0" if FAILURE.intersection(question.by) else ""
        return f"{some} ORDER BY {', '.join(reversed(names))} LIMIT {MOST}"
    return f" QUALIFY {worth} > 0 ORDER BY {worth} DESC, {', '.join(names)} LIMIT {int(question.limit)}"


def _worth(question: Question) -> str:
    return f"({' + '.join(f'now_{name}' for name in question.shape.order)})"


def _measures(windows: Iterable[str]) -> list[tuple[str, str]]:
    """Their names, and what they are of sums by `kind`, of which some are not `wanted`."""
    found: list[tuple[str, str]] = []
    for window in windows:
        for name, types in MEASURES.items():
            of = f"kind IN ({', '.join(repr(one) for one in types)})" + ("" if name in CONTEXT else " AND wanted")
            found.append((f"{window}_{name}", f"coalesce(sum({_quoted(window)}) FILTER (WHERE {of}), 0)::BIGINT"))
    return found


def _outer(name: str, question: Question) -> str:
    """Shares of failures are of all mail that has the rest of the key."""
    if not FAILURE.intersection(question.by) or name.partition("_")[2] not in CONTEXT:
        return name
    rest = [_quoted(one) for one in question.order if one not in FAILURE]
    partition = f"PARTITION BY {', '.join(rest)}" if rest else ""
    return f"sum({name}) OVER ({partition})::BIGINT AS {name}"


def _within(windows: Mapping[str, tuple[int, int]]) -> str:
    return "(" + " OR ".join(f"({_in(window)})" for window in windows.values()) + ")"


def delayed(question: Question, source: Source, keys: Sequence[tuple[Any, ...]]) -> Statement:
    """Of these keys (of all mail, where it is not asked by anything): the key, times behind the others, the bucket, and of each
    window how many."""
    told, values = delays(source, question)
    other, other_values = conditions(question.where, question.where)
    parts = [_within(question.windows), *([other] if other else [])]
    if question.keys:
        of_one = f"({', '.join('?' * len(question.keys))})"
        key = "(" + ", ".join(f"coalesce({_quoted(name)}, '')" for name in question.keys) + ")"
        parts.append(f"{key} IN ({', '.join([of_one] * len(keys))})" if keys else "false")
        other_values += ["" if value is None else value for one in keys for value in one]
    sums = (
        f"coalesce(sum(n) FILTER (WHERE {_in(window)}), 0)::BIGINT AS {_quoted(name)}"
        for name, window in question.windows.items()
    )
    columns = ", ".join([*map(_named, _keys(question)), "bucket", *sums])
    return f"SELECT {columns} FROM ({told}) WHERE {' AND '.join(parts)} GROUP BY ALL", [*values, *other_values]


def bounces(question: Question, source: Source, scopes: Sequence[str], limit: int) -> Statement:
    """Of each category and combination of these SCOPES how many bounces, those with most first."""
    told, values = relation(source, replace(question, by=("category", *scopes)), in_slots=False)
    asked, asked_values = conditions(question.where, question.where)
    parts = filter(None, [_in(question.windows["now"]), f"type IN {_BOUNCES}", asked])
    names = ", ".join(("category", *scopes))
    return (
        f"SELECT {names}, sum(n)::BIGINT AS many FROM ({told}) WHERE {' AND '.join(parts)} "
        f"GROUP BY ALL ORDER BY many DESC, {names} LIMIT {int(limit)}",
        [*values, *asked_values],
    )


def wholes(question: Question, source: Source, names: Sequence[str], scopes: Sequence[Sequence[str]]) -> Statement:
    """Of each of these scopes, values of `names`: the values, the category (None of what was delivered), what ended now, what
    ended usually, and the bounces there are, and usually were."""
    told, values = relation(source, replace(question, by=("category", *names)), in_slots=False)
    asked, asked_values = conditions(question.where, [name for name in question.where if name not in FAILURE])
    windows = {"now": question.windows["now"], "usual": question.windows.get("usual", (0, 0))}
    parts = [_within(windows), f"type IN ('delivered', {_BOUNCES[1:]}", *([asked] if asked else [])]
    if names:
        one = f"({', '.join('?' * len(names))})"
        parts.append(f"({', '.join(map(_quoted, names))}) IN ({', '.join([one] * len(scopes))})")
        asked_values += [value for scope in scopes for value in scope]
    ended = "type IN ('delivered', 'bounced')"
    columns = (
        f"coalesce(sum(n) FILTER (WHERE {_in(windows['now'])} AND {ended}), 0)::BIGINT",
        f"coalesce(sum(n) FILTER (WHERE {_in(windows['usual'])} AND {ended}), 0)::BIGINT",
        f"coalesce(sum(n) FILTER (WHERE {_in(windows['now'])} AND type IN {_BOUNCES}), 0)::BIGINT",
        f"coalesce(sum(n) FILTER (WHERE {_in(windows['usual'])} AND type IN {_BOUNCES}), 0)::BIGINT",
    )
    keys = ", ".join([*map(_quoted, names), "category"])
    return f"SELECT {keys}, {', '.join(columns)} FROM ({told}) WHERE {' AND '.join(parts)} GROUP BY {keys}", [
        *values,
        *asked_values,
    ]


def replies(question: Question, source: Source, types: Sequence[str], limit: int) -> Statement:
    """What was answered, the most frequent first: type, category, one of the replies alike, how many, and of the newest of them
    when, and EXAMPLE."""
    told, values = events(source)
    where, more = _of_events(question, types)
    alike = r"regexp_replace(lower(said), '[^ ]*[0-9@][^ ]*', '#', 'g')"  # without ids, addresses, times
    columns = ", ".join(f"arg_max({_quoted(name)}, time) AS {name}" for name in EXAMPLE)
    return (
        f"SELECT type, category, arg_max(said, time) AS reply, count(*) AS n, epoch_ms(max(time)) AS time, {columns} "
        f"FROM ({told}) WHERE {where} AND said IS NOT NULL GROUP BY type, category, {alike} "
        f"ORDER BY n DESC, reply LIMIT {int(limit)}",
        [*values, *more],
    )


def slots(question: Question, source: Source, types: Sequence[str]) -> Statement:
    """When there were events of these types (of any, where none is named): slots in ms, and how many, the newest first."""
    told, values = relation(source, question)
    asked, asked_values = conditions(question.where, question.where)
    parts = [f"slot >= {moment(question.since - _HOUR)} AND slot < {moment(question.until)}", asked]
    if types:
        parts.append(f"type IN ({', '.join('?' * len(types))})")
    return (
        f"SELECT epoch_ms(slot), sum(n)::BIGINT FROM ({told}) WHERE {' AND '.join(filter(None, parts))} "
        f"GROUP BY slot ORDER BY slot DESC",
        [*values, *asked_values, *types],
    )


def segment(question: Question, source: Source) -> Statement:
    """Who got mail that fits the selectors, each once: a table of `who`."""
    told, values = events(source)
    where, more = _of_events(question, ("delivered",))
    mail = f"SELECT recipient FROM ({told}) WHERE {where} AND recipient IS NOT NULL"
    return f"SELECT DISTINCT who FROM ({people(mail)})", [*values, *more]


def listed() -> str:
    """The same of the addresses that are its one value."""
    return f"SELECT DISTINCT who FROM ({people('SELECT unnest(?::VARCHAR[]) AS recipient')})"


def people(select: str) -> str:
    """These rows, with `who` for their `recipient`: `relay.recipient.normalised` of it where it is an address as nearly all are;
    of one with quotes, comments or letters beyond ASCII only case does not count."""
    names = ", ".join(f"('{one}', '{same}', '{SIGNS.get(same, '')}')" for one, same in sorted(_SPELT.items()))
    local = "split_part(who, '@', 1)"
    plain = f"coalesce(nullif(translate(split_part({local}, '+', 1), signs, ''), ''), {local}) || '@' || same"
    return (
        f"SELECT * EXCLUDE (who, same, signs, name), "
        f"CASE WHEN same IS NULL OR contains(who, '\"') THEN who ELSE {plain} END AS who "
        f"FROM (SELECT * EXCLUDE recipient, lower(recipient) AS who FROM ({select})) "
        f"LEFT JOIN (VALUES {names}) AS spelt (name, same, signs) ON split_part(who, '@', 2) = name"
    )


def arrived(allowance: Allowance, source: Source, until: int) -> Statement:
    """What is counted, of the people in the table `segment`: a table of `who, credential, stream, n`. Added up by address first:
    that costs less than to look at how each is spelled."""
    told, values = events(source)
    brands, classes = sorted(allowance.brands), sorted(allowance.classes)
    mail = (
        f"SELECT lower(recipient) AS recipient, credential, stream, count(*) AS n FROM ({told}) WHERE type = 'delivered' "
        f"AND time >= {moment(allowance.since)} AND time < {moment(until)} "
        f"AND brand IN ({', '.join('?' * len(brands))}) AND class IN ({', '.join('?' * len(classes))}) GROUP BY ALL"
    )
    return f"SELECT * FROM ({people(mail)}) WHERE who IN (SELECT who FROM segment)", [*values, *brands, *classes]


# Of such a table `arrived`: how many got how much, and whose mail it was.
USED = "SELECT n, count(*) FROM (SELECT who, sum(n)::BIGINT AS n FROM arrived GROUP BY who) GROUP BY n"
SHARES = (
    "SELECT credential, stream, sum(n)::BIGINT AS sends, count(DISTINCT who) FROM arrived "
    "GROUP BY ALL ORDER BY sends DESC, credential, stream"
)
EXAMPLE = ("id", "recipient", "site", "source", "stream", "command")


def found(question: Question, source: Source, types: Sequence[str], limit: int) -> Statement:
    """The newest events of these types, whole."""
    parts, values = [], []
    where, more = _of_events(question, types)
    if source.columnar:
        parts.append(f"SELECT time, event, event_id, {_asked(_quoted)} FROM ({_columnar(source)})")
        values.append(list(source.columnar))
    if source.lines:
        parts.append(
            "SELECT TRY_CAST(json ->> '$.time' AS TIMESTAMP) AS time, json::VARCHAR AS event, json ->> '$.event_id' AS event_id, "
            f"{_asked(_of_json)} FROM read_ndjson_objects(?, {_LINES})"
        )
        values.append(list(source.lines))
    told = " UNION ALL ".join(parts)
    return f"SELECT event FROM ({told}) WHERE {where} ORDER BY time DESC, event_id DESC LIMIT {int(limit)}", [
        *values,
        *more,
    ]


def _asked(column: Callable[[str], str]) -> str:
    def one(name: str) -> str:
        if name == "reason":
            return f"coalesce({', '.join(map(column, ('reason', 'feedback_type', 'via')))}) AS reason"
        return f"{column(name)} AS {_quoted(name)}"

    return ", ".join(map(one, SELECTORS))


def _of_json(name: str) -> str:
    return f"(json ->> '$.{name}')"


def _of_events(question: Question, types: Sequence[str]) -> Statement:
    asked, values = conditions(question.where, question.where)
    parts = [f"time >= {moment(question.since)} AND time < {moment(question.until)}"]
    if types:
        parts.append(f"type IN ({', '.join('?' * len(types))})")
    return " AND ".join([*parts, *filter(None, [asked])]), [*types, *values]


def view(source: Source, since: int, until: int) -> str:
    """`CREATE VIEW events`: a row for each event, with the columns that Parquet has (feedback/eventarchive.py)."""
    none = ", ".join(f"NULL::{_kind(kind)} AS {_quoted(name)}" for name, kind in COLUMNS.items())
    parts = [f"SELECT {none}, NULL::VARCHAR AS event WHERE false"]
    if source.columnar:
        parts.append(f"SELECT * FROM read_parquet({_listed(source.columnar)}, union_by_name = true)")
    if source.lines:
        shape = orjson.dumps(COLUMNS).decode().replace("'", "''")
        parts.append(
            f"SELECT unnest(json_transform({SHAPED}, '{shape}')), json::VARCHAR AS event "
            f"FROM read_ndjson_objects({_listed(source.lines)}, {_LINES}) WHERE json IS NOT NULL"
        )
    within = f"time >= {moment(since)} AND time < {moment(until)}"
    return f"CREATE VIEW events AS SELECT * FROM ({' UNION ALL BY NAME '.join(parts)}) WHERE {within}"


def _kind(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    return f"STRUCT({', '.join(f'{_quoted(name)} {of}' for name, of in kind.items())})"


def _listed(paths: Iterable[str]) -> str:
    return "[" + ", ".join(_text(path) for path in paths) + "]"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def confined(source: Source) -> str:
    """From here on nothing but these files can be read, nothing written but what does not fit into memory; this is for good."""
    return (
        f"SET allowed_paths = {_listed((*source.columnar, *source.lines))}; SET enable_external_access = false; "
        f"SET autoinstall_known_extensions = false; SET lock_configuration = true"
    )
