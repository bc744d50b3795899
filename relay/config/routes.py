"""policies/routes.toml: what only the whole of it shows to be wrong, and its routes compiled for each attempt."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from relay.config.problems import Problem, no_such
from relay.config.reader import Document
from relay.config.schema_routes import RouteMatchTable, RoutesFile, RouteTable
from relay.config.wording import Loc
from relay.message import MailClass
from relay.policy.patterns import Kind, Pattern, parse
from relay.policy.reach import shadowed
from relay.policy.routes import AnyOf, Route, RouteMatch, Routes
from relay.policy.streams import Match

_URGENT = MailClass.TRANSACTIONAL.label


@dataclass(frozen=True, slots=True)
class Names:
    """What routes name, by the key of match: (names, the file they stand in); without a file that cannot be read.
    `pools`: None where config/ cannot be read."""

    known: Mapping[str, tuple[Collection[str], str]]
    pools: Collection[str] | None
    pools_file: str


def compiled(file: RoutesFile, document: Document | None) -> Routes:
    if document is None:
        return Routes()
    return Routes(
        [
            (_match(table.match), _route(table, document.line(("route", number))))
            for number, table in enumerate(file.route)
        ]
    )


def _match(table: RouteMatchTable) -> RouteMatch:
    return RouteMatch(
        frozenset(MailClass[name.upper()] for name in table.mail_class or ()),
        AnyOf(table.stream or ()),
        AnyOf(table.brand or ()),
        AnyOf(table.credential or ()),
        AnyOf(table.recipient_domain or ()),
        frozenset(table.engagement or ()),
    )


def _route(table: RouteTable, line: int) -> Route:
    host, _, port = table.next_hop.rpartition(":")
    hop = (host.strip("[]"), int(port)) if host else None
    return Route(f"policies/routes.toml:{line}", table.pool, hop, table.discard)


def problems_of(file: RoutesFile, document: Document, names: Names) -> Iterator[Problem]:
    """Of `[[route]]`; [default] is checked by the caller."""
    for number, table in enumerate(file.route):
        loc: Loc = ("route", number)
        yield from _of_target(document, loc, table)
        if names.pools is not None and table.pool and table.pool not in names.pools:
            message = no_such("pool", table.pool, names.pools, names.pools_file)
            yield document.problem((*loc, "pool"), message, "unknown-name")
        yield from _of_names(document, loc, table.match, names)
        yield from _of_class(document, loc, table, file)
        if table.match.engagement is not None and table.match.mail_class != [MailClass.MARKETING.label]:
            message = 'only marketing has tiers; add match.class = "marketing"'
            yield document.problem((*loc, "match", "engagement"), message, "tiers")
    if document.broken:
        return
    for place, above in shadowed([_conditions(table.match) for table in file.route]):
        message = f"can never match: the route in line {document.line(('route', above))} takes all of it first"
        yield document.problem(("route", place, "match"), message, "shadowed", warning=True)


def _of_target(document: Document, loc: Loc, table: RouteTable) -> Iterator[Problem]:
    said = [
        key for key, value in (("pool", table.pool), ("next_hop", table.next_hop), ("discard", table.discard)) if value
    ]
    if len(said) > 1:
        message = f"stands beside {said[0]}; a route has one of pool, next_hop and discard"
        yield document.problem((*loc, said[1]), message, "target")
    if not said and not document.broken:
        yield document.problem(loc, "leads nowhere; write pool, next_hop or discard = true", "target")


def _of_names(document: Document, loc: Loc, match: RouteMatchTable, names: Names) -> Iterator[Problem]:
    for key, (known, where) in names.known.items():
        patterns: list[Pattern] = getattr(match, key) or []
        for number, pattern in enumerate(patterns):
            if pattern.kind is Kind.EXACT and pattern.text not in known:
                message = no_such(key, pattern.written, known, where)
                yield document.problem((*loc, "match", key, number), message, "unknown-name")


def _of_class(document: Document, loc: Loc, table: RouteTable, file: RoutesFile) -> Iterator[Problem]:
    """Transactional mail never shares what other mail may spoil (DESIGN, invariant 5)."""
    classes: set[str] = set(table.match.mail_class or ())
    urgent = file.default.transactional
    if not document.says((*loc, "match", "class")) and table.pool != urgent:
        what, key = f'carry transactional mail too, in pool "{table.pool}"', "pool"
        if table.next_hop:
            what, key = f"carry transactional mail too, to {table.next_hop}", "next_hop"
        if table.discard:
            what, key = "discard transactional mail too", "discard"
        if table.pool or table.next_hop or table.discard:
            yield document.problem((*loc, key), f"would {what}; add match.class", "mixed-pool")
    elif table.pool and not document.broken:
        others = sorted(classes - {_URGENT})
        bulk = {file.default.service, file.default.marketing} - {urgent}
        if table.pool == urgent and others:
            message = f'pool "{urgent}" carries transactional mail too: one complaint about {others[0]} mail harms both'
            yield document.problem((*loc, "pool"), message, "mixed-pool", warning=True)
        elif _URGENT in classes and table.pool in bulk:
            message = f'pool "{table.pool}" carries other mail too: one complaint about it harms transactional mail'
            yield document.problem((*loc, "pool"), message, "mixed-pool", warning=True)


def _conditions(table: RouteMatchTable) -> Match:
    """As rules of streams are compared."""
    texts: dict[str, tuple[Pattern, ...]] = {}
    if table.mail_class:
        texts["class"] = tuple(map(parse, table.mail_class))
    for key in ("stream", "brand", "credential", "recipient_domain"):
        if patterns := getattr(table, key):
            texts[key] = tuple(patterns)
    if table.engagement:
        texts["engagement"] = tuple(map(parse, table.engagement))
    return Match(texts=texts)
