"""policies/shaping.toml: what only the whole of it shows to be wrong, and its tables compiled for each attempt."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from zoneinfo import ZoneInfo

from relay.config import backoff
from relay.config.problems import Problem, no_such
from relay.config.reader import Document
from relay.config.schema_shaping import DefaultTable, ProviderTable, ShapeTable, ShapingFile
from relay.config.wording import Loc
from relay.identity import Rate
from relay.policy.patterns import Pattern
from relay.policy.routes import AnyOf
from relay.shaping import shape
from relay.shaping.backoff import Backoff
from relay.shaping.pacemaker import WarmUp
from relay.shaping.shape import Said, Shape, Shapes
from relay.shaping.sites import Hosts, Provider, Sites

_KEYS = tuple(field.name for field in fields(Shape) if field.name in DefaultTable.model_fields)


@dataclass(frozen=True, slots=True)
class Shaping:
    """What shaping.toml makes: which domains are one site, and how mail may go to it."""

    sites: Sites
    shapes: Shapes
    rules: Backoff
    warmup: WarmUp


def compiled(file: ShapingFile, document: Document | None) -> Shaping:
    providers = [
        Provider(name, frozenset(table.domains), _hosts(table.mx))
        for name, table in file.provider.items()
        if table.domains or table.mx
    ]
    tables = {
        name: shape.ProviderTable(
            _placed(table, document, ("provider", name)),
            {pool: _placed(one, document, ("provider", name, "pool", pool)) for pool, one in table.pool.items()},
        )
        for name, table in file.provider.items()
    }
    domains = {domain: _placed(table, document, ("domain", domain)) for domain, table in file.domain.items()}
    rules = backoff.compiled(file.backoff, {name: table.backoff for name, table in file.provider.items()}, document)
    warmup = WarmUp(tuple(file.warmup.schedule), ZoneInfo(file.warmup.timezone), file.warmup.timezone)
    default = _placed(file.default, document, ("default",))
    hosts = _hosts([pattern for table in file.provider.values() for pattern in table.mx])
    return Shaping(Sites(providers, hosts), Shapes(default, tables, domains), rules, warmup)


def _hosts(patterns: Sequence[Pattern]) -> Hosts:
    """Without patterns no host."""
    return AnyOf(patterns) if patterns else frozenset()


def _placed(table: DefaultTable | ShapeTable, document: Document | None, loc: Loc) -> Said:
    """What it says, its rates with where they stand."""

    def place(key: str) -> str:
        if document is not None and document.says((*loc, key)):
            return f"policies/shaping.toml:{document.line((*loc, key))}"
        return "policies/shaping.toml" if loc[0] == "domain" else "shipped"  # a domain may be written in another way

    said = _said(table)
    return {key: replace(value, place=place(key)) if isinstance(value, Rate) else value for key, value in said.items()}


def _said(table: DefaultTable | ShapeTable) -> Said:
    values = {key: getattr(table, key) for key in _KEYS}
    return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Pools:
    """The pools of config/, by name; None where it cannot be read."""

    names: Collection[str] | None
    file: str


def problems_of(file: ShapingFile, document: Document, pools: Pools) -> Iterator[Problem]:
    yield from _unquoted_domains(document)
    yield from _of_reserved(document, ("default",), {}, _said(file.default))
    owners: dict[str, str] = {}
    for name in document.names("provider"):
        if table := file.provider.get(name):
            yield from _of_provider(document, name, table, file, pools)
            yield from _domains_twice(document, name, table, owners)
    for domain in document.names("domain"):
        if one := file.domain.get(domain):
            yield from _of_reserved(document, ("domain", domain), _said(file.default), _said(one))
    yield from backoff.problems_of(file.backoff, document, ("backoff",))
    for name in document.names("provider"):
        if table := file.provider.get(name):
            yield from backoff.problems_of(table.backoff, document, ("provider", name, "backoff"))
    yield from _of_schedule(document, file.warmup.schedule)


def _of_schedule(document: Document, schedule: Sequence[int]) -> Iterator[Problem]:
    loc: Loc = ("warmup", "schedule")
    for number, (before, day) in enumerate(pairwise(schedule), 1):
        if day < before and not document.broken:
            yield document.problem((*loc, number), f"{day} is less than the day before, {before}", "schedule")


def _of_provider(
    document: Document, name: str, table: ProviderTable, file: ShapingFile, pools: Pools
) -> Iterator[Problem]:
    loc: Loc = ("provider", name)
    if not (table.mx or table.domains) and not document.broken:
        message = 'names no mx and no domains, so no mail is its; write mx = ["*.host.example"]'
        yield document.problem(loc, message, "empty")
    above = _said(file.default)
    said = _said(table)
    yield from _of_reserved(document, loc, above, said)
    for pool, inner in table.pool.items():
        here = (*loc, "pool", pool)
        if pools.names is not None and pool not in pools.names:
            yield document.problem(here, no_such("pool", pool, pools.names, pools.file), "unknown-name")
        yield from _of_reserved(document, here, {**above, **said}, _said(inner))


def _of_reserved(document: Document, loc: Loc, above: Said, said: Said) -> Iterator[Problem]:
    """Reserving all connections leaves the rest of the mail none. What is reserved above is not held against a table that
    has fewer connections: it counts as one less than there are."""
    if "reserved" not in said or not document.says((*loc, "reserved")):
        return
    for key in ("connections", "site_connections"):
        most = {**above, **said}.get(key)
        if most is not None and said["reserved"] >= most:
            message = f"{said['reserved']} of {most} {key} leave none for other mail; {most - 1} at most"
            yield document.problem((*loc, "reserved"), message, "range")
            return


def _domains_twice(document: Document, name: str, table: ProviderTable, owners: dict[str, str]) -> Iterator[Problem]:
    for number, domain in enumerate(table.domains):
        loc = ("provider", name, "domains", number)
        if domain in owners and document.says(loc[:3]):
            message = f'"{domain}" belongs to provider {owners[domain]} already; a domain has one site'
            yield document.problem(loc, message, "duplicate")
        owners.setdefault(domain, name)


def _unquoted_domains(document: Document) -> Iterator[Problem]:
    """`[domain.bank.example]`: TOML makes a table in a table of it, and nothing would hold for bank.example."""
    domains = document.data.get("domain")
    for name, table in domains.items() if isinstance(domains, dict) else ():
        loc: Loc = ("domain", name)
        inner = table
        while isinstance(inner, dict) and len(inner) == 1 and isinstance(next(iter(inner.values())), dict):
            step, inner = next(iter(inner.items()))
            loc = (*loc, step)
        if len(loc) > 2:
            document.broken = True
            whole = ".".join(map(str, loc[1:]))
            yield document.problem(loc, f'a domain needs quotes: [domain."{whole}"]', "domain-quotes")
