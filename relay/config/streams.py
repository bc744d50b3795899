"""policies/streams.toml: what only the whole of it shows to be wrong, and its rules compiled for the hot path.

Facts of other files come as `Others`. Where a file has errors already, warnings are left out: they may follow from those.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from relay.config.problems import Problem, listing, no_such
from relay.config.reader import Document
from relay.config.schema_brands import BrandTable
from relay.config.schema_policies import CredentialTable
from relay.config.schema_streams import DAYS, MatchTable, StreamsFile, StreamTable, WindowTable
from relay.config.wording import Loc
from relay.identity import Brand, Credential
from relay.message import MailClass
from relay.policy.decide import brand_of
from relay.policy.patterns import Kind, Matcher, Pattern
from relay.policy.reach import shadowed
from relay.policy.streams import Match, Stream, Streams
from relay.policy.windows import Window

_BOUNDARY = re.compile(r"\\b(?:\(\?:|\()?([^\W\d_])|([^\W\d_])\)?\\b")
_LATIN_ENDS = "\u0250"  # letters below it are Latin, above it other scripts' (Unicode blocks)


@dataclass(frozen=True, slots=True)
class Others:
    """What streams name: brands and credentials as far as their files can be read (None: they cannot)."""

    brands: Mapping[str, BrandTable] | None
    credentials: Mapping[str, CredentialTable] | None
    by_domain: Mapping[str, Brand]


def compiled(file: StreamsFile, document: Document | None, credentials: Mapping[str, Credential]) -> Streams:
    """For the hot path. `credentials`: all there are; patterns of names are settled here."""
    if document is None:
        return Streams()
    default = file.default.on_contradiction
    windows = {name: window for name, table in file.window.items() if (window := _window(name, table)) is not None}
    return Streams(
        [
            (_stream(table, document.line(("stream", number)), default, windows), _match(table.match, credentials))
            for number, table in enumerate(file.stream)
        ],
        default,
    )


def _window(name: str, table: WindowTable) -> Window | None:
    """None: it never opens, which is an error of its own."""
    week: list[list[tuple[int, int]]] = [[] for _ in DAYS]
    for key, days in table.opens():
        for day in days:
            week[DAYS.index(day)] += getattr(table, key.replace("-", "_"))
    if not any(week):
        return None
    return Window(name, ZoneInfo(table.tz), tuple(tuple(sorted(hours)) for hours in week), frozenset(table.closed))


def _stream(table: StreamTable, line: int, on_contradiction: str, windows: Mapping[str, Window]) -> Stream:
    return Stream(
        name=table.name,
        rule=f"policies/streams.toml:{line}",
        mail_class=MailClass[table.mail_class.upper()] if table.mail_class else None,
        brand=table.brand,
        also_remove=frozenset(table.also_remove),
        on_contradiction=table.on_contradiction or on_contradiction,
        rate=table.rate,
        valid_for=table.valid_for,
        window=windows.get(table.send_window),
        priority=table.priority,
        review_by=table.review_by,
        unsubscribe=table.unsubscribe,
        topic=table.topic or "",
    )


def _match(table: MatchTable | None, credentials: Iterable[str]) -> Match | None:
    if table is None:
        return None
    texts: dict[str, tuple[Pattern, ...]] = {}
    for key in ("from_domain", "sender", "recipient_domain", "subject"):
        if patterns := getattr(table, key):
            texts[key] = tuple(patterns)
    texts |= {f"header.{name.lower()}": tuple(patterns) for name, patterns in table.header.items()}
    attached = table.attachment if isinstance(table.attachment, bool) else None
    if isinstance(table.attachment, list):
        texts["attachment"] = tuple(table.attachment)
    return Match(_meant(table.credential or (), credentials), texts, tuple(table.size or ()), attached)


def _meant(patterns: Sequence[Pattern], names: Iterable[str]) -> frozenset[str]:
    """The credentials that patterns name; a lone wildcard is everybody, whoever comes later."""
    if not patterns or any(pattern.kind is Kind.GLOB and pattern.text == "*" for pattern in patterns):
        return frozenset()
    exact = {pattern.text for pattern in patterns if pattern.kind is Kind.EXACT}
    wild = [pattern for pattern in patterns if pattern.kind is not Kind.EXACT]
    matches = Matcher(wild).matches if wild else None
    return frozenset(exact.union(name for name in names if matches is not None and matches(name)))


def problems_of(file: StreamsFile, document: Document, others: Others) -> Iterator[Problem]:
    """What no single key shows."""
    yield from _of_windows(file, document)
    names: dict[str, Loc] = {}
    for number, stream in enumerate(file.stream):
        loc: Loc = ("stream", number)
        if stream.name in names:
            line = document.line(names[stream.name])
            message = f'"{stream.name}" is the name of the stream in line {line} too; a list means any of'
            yield document.problem((*loc, "name"), f"{message} several conditions", "duplicate")
        names.setdefault(stream.name, (*loc, "name"))
        yield from _of_names(document, loc, stream, file, others)
        yield from _of_match(document, loc, stream.match, others)
        yield from _of_holding_back(document, loc, stream, others)
        yield from _of_time_left(document, loc, stream, file)
    if not document.broken:
        yield from _of_reach(file, document, others)


def _of_windows(file: StreamsFile, document: Document) -> Iterator[Problem]:
    for name, window in file.window.items():
        loc: Loc = ("window", name)
        opens = sorted(window.opens(), key=lambda one: document.line(("window", name, one[0])))
        if not opens and not document.broken:
            yield document.problem(loc, 'never opens: no day has hours, such as mon-fri = "09:00-20:00"', "never")
        taken: dict[str, str] = {}
        for key, days in opens:
            twice = [day for day in days if day in taken]
            if twice:
                message = f"{twice[0] if len(twice) == 1 else 'a part of it'} is in {taken[twice[0]]} already"
                yield document.problem((*loc, key), message, "duplicate")
            taken |= dict.fromkeys(days, key)


def _of_names(
    document: Document, loc: Loc, stream: StreamTable, file: StreamsFile, others: Others
) -> Iterator[Problem]:
    """Names that do not exist."""
    windows = document.names("window")
    if stream.send_window and stream.send_window not in windows:
        message = no_such("window", stream.send_window, windows, "this file")
        yield document.problem((*loc, "send_window"), message, "unknown-name")
    if others.brands is None:
        return
    if stream.brand and stream.brand not in others.brands:
        message = no_such("brand", stream.brand, others.brands, "brands.toml")
        yield document.problem((*loc, "brand"), message, "unknown-name")
    elif stream.topic:
        brands = brands_of(stream, others) or set(others.brands)
        if not any(stream.topic in others.brands[brand].topics for brand in brands):
            yield document.problem(
                (*loc, "topic"), _no_topic(stream.topic, sorted(brands), others.brands), "unknown-name"
            )


def _no_topic(topic: str, brands: Sequence[str], tables: Mapping[str, BrandTable]) -> str:
    who = f"brand {brands[0]} has" if len(brands) == 1 else f"none of the brands {listing(brands)} has"
    known = sorted({one for brand in brands for one in tables[brand].topics})
    return f'{who} no topic "{topic}"; ' + (f"there are {listing(known)}" if known else "there are none")


def brands_of(stream: StreamTable, others: Others) -> set[str]:
    """The brands mail of a stream may be of, as far as files tell; empty: they do not."""
    if stream.brand:
        return {stream.brand}
    match = stream.match or MatchTable()
    domains = [pattern.text for pattern in match.from_domain or () if pattern.kind is Kind.EXACT]
    found: set[str] = set()
    if domains:
        found = {brand_of(domain, others.by_domain) for domain in domains}
    else:
        for credential in _credentials_of(stream, others):
            own = (
                {credential.brand} if credential.brand else {brand_of(d, others.by_domain) for d in credential.domains}
            )
            found |= own
    return {brand for brand in found if others.brands is not None and brand in others.brands}


def _credentials_of(stream: StreamTable, others: Others) -> list[CredentialTable]:
    """Those that its rule is for, and those that may name it."""
    known = others.credentials or {}
    named = [table for table in known.values() if stream.name in table.streams]
    if stream.match is None:
        return named
    meant = _meant(stream.match.credential or (), known) or known
    return [known[name] for name in meant if name in known] + named


def _of_match(document: Document, loc: Loc, match: MatchTable | None, others: Others) -> Iterator[Problem]:
    if match is None:
        return
    loc = (*loc, "match")
    if not match.model_fields_set and not document.broken:
        yield document.problem(loc, "is empty; leave it out for a stream that is reached by name alone", "empty")
    yield from fields_twice(document, loc, match.header)
    for number, pattern in enumerate(match.credential or () if others.credentials is not None else ()):
        known = others.credentials or {}
        if pattern.kind is Kind.EXACT and pattern.text not in known:
            message = no_such("credential", pattern.written, known, "credentials.toml")
            yield document.problem((*loc, "credential", number), message, "unknown-name")
        elif pattern.kind is not Kind.EXACT and known and not Matcher([pattern]).any_of(known):
            message = f'no credential of credentials.toml fits "{pattern}"; there are {listing(known)}'
            yield document.problem((*loc, "credential", number), message, "unknown-name")
    for at, pattern in () if document.broken else _patterns(match):
        if cure := boundary(pattern):
            yield document.problem((*loc, *at), cure, "pattern", warning=True)


def fields_twice(document: Document, loc: Loc, headers: Iterable[str]) -> Iterator[Problem]:
    """Names in the `header` of a match at `loc` that differ in case alone."""
    seen: dict[str, str] = {}
    for name in headers:
        if name.lower() in seen:
            message = f"is the field {seen[name.lower()]} again, whose case does not matter; write one list"
            yield document.problem((*loc, "header", name), message, "duplicate")
        seen.setdefault(name.lower(), name)


def _patterns(match: MatchTable) -> Iterator[tuple[Loc, Pattern]]:
    for key in ("credential", "from_domain", "sender", "recipient_domain", "subject", "attachment"):
        patterns = getattr(match, key)
        for number, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
            yield (key, number), pattern
    for name, patterns in match.header.items():
        for number, pattern in enumerate(patterns):
            yield ("header", name, number), pattern


def boundary(pattern: Pattern) -> str:
    r"""RE2's `\b` knows ASCII only: it does not match between a blank and a letter of another script. "" where none does."""
    found = _BOUNDARY.findall(pattern.text) if pattern.kind is Kind.RE2 else ()
    beside = [a or b for a, b in found if not (a or b).isascii()]
    if not beside:
        return ""
    what = "a non-Latin letter" if beside[0] >= _LATIN_ENDS else "an accented letter"
    words = pattern.text.replace(r"\b", "")
    plain = f'write the plain words, "{words}"' if re.fullmatch(r"[\w\s-]+", words) else "write the plain words"
    return rf"\b beside {what} never matches; {plain}"


def _of_holding_back(document: Document, loc: Loc, stream: StreamTable, others: Others) -> Iterator[Problem]:
    """Transactional mail never waits (DESIGN, invariant 5)."""
    classes = {stream.mail_class} if stream.mail_class else {one.mail_class for one in _credentials_of(stream, others)}
    if stream.send_window and classes == {"transactional"}:
        message = "would hold back transactional mail outside its hours; only service and marketing mail may wait"
        yield document.problem((*loc, "send_window"), message, "holds-back")


def _of_time_left(document: Document, loc: Loc, stream: StreamTable, file: StreamsFile) -> Iterator[Problem]:
    """Mail that comes just as its window closes must still be worth something when it opens again."""
    table = file.window.get(stream.send_window)
    window = _window(stream.send_window, table) if table is not None else None
    closed = window.shortest_closed() if window is not None else None
    if closed is not None and stream.valid_for is not None and stream.valid_for < closed:
        message = (
            f"ends before window {stream.send_window} could open: it stays closed for {_span(closed)} at least, so mail "
            "that just missed its hours would be postponed and never sent; make it longer, or leave send_window out"
        )
        yield document.problem((*loc, "valid_for"), message, "never")


def _span(ms: int) -> str:
    """12 h 30 min"""
    hours, minutes = divmod(ms // 60_000, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)


def _of_reach(file: StreamsFile, document: Document, others: Others) -> Iterator[Problem]:
    """Streams that no message can reach."""
    credentials = others.credentials or {}
    matches = [_match(stream.match, credentials) for stream in file.stream]
    for place, above in shadowed(matches):
        wide, name = file.stream[above].name, file.stream[place].name
        message = f"can never match: {wide} (line {document.line(('stream', above))}) takes all of it first"
        yield document.problem(("stream", place, "match"), f"{message}; put {name} above", "shadowed", warning=True)
    named = {name for table in credentials.values() for name in table.streams}.union(credentials)
    for number, stream in enumerate(file.stream):
        if stream.match is None and others.credentials is not None and stream.name not in named:
            message = "nobody can reach it: it has no match, and no credential's streams list it"
            yield document.problem(("stream", number), message, "unreachable", warning=True)


def unknown_streams(
    document: Document, credentials: Mapping[str, CredentialTable], known: Sequence[str]
) -> Iterator[Problem]:
    """Names in credentials.toml that no stream has; the one named as the credential is always there."""
    there = set(known)
    for name, table in credentials.items():
        for number, stream in enumerate(table.streams):
            if stream not in there and stream != name:
                message = no_such("stream", stream, known, "streams.toml")
                yield document.problem(("credential", name, "streams", number), message, "unknown-name")
