"""policies/caps.toml: what only the whole shows to be wrong, and the caps of all brands, compiled."""

from collections.abc import Iterator, Mapping, Sequence

from relay.config.problems import Problem, no_such
from relay.config.reader import Document
from relay.config.schema_caps import CapsFile, CapTable
from relay.identity import Brand
from relay.message import MailClass
from relay.policy.caps import Cap, Caps
from relay.policy.runaway import Guard
from relay.room import mark_of


def compiled(file: CapsFile, brands: Mapping[str, Brand]) -> Caps:
    return Caps(
        [_cap(name, table) for name, table in file.cap.items()],
        {name: brand.timezone for name, brand in brands.items()},
    )


def _cap(name: str, table: CapTable) -> Cap:
    return Cap(
        name=name,
        brands=frozenset(table.brands),
        counts=frozenset(MailClass[one.upper()] for one in table.counts),
        blocks=frozenset(MailClass[one.upper()] for one in table.blocks),
        limits=tuple(table.limits),
        over=table.over,
    )


def guard(file: CapsFile) -> Guard | None:
    table = file.runaway
    if table.same_message is None:
        return None
    return Guard(table.same_message, frozenset(table.exempt_streams), table.release == "auto")


def runaway_problems(file: CapsFile, document: Document, streams: Sequence[str] | None) -> Iterator[Problem]:
    """`streams`: all there are, None where that is not known."""
    rate = file.runaway.same_message
    if rate is not None and rate.count < 2:
        message = f'"{rate.text}" would hold the first repetition, which people ask for; 2 or more'
        yield document.problem(("runaway", "same_message"), message, "range")
    for number, name in enumerate(file.runaway.exempt_streams):
        if streams is not None and name not in streams:
            message = no_such("stream", name, streams, "streams.toml")
            yield document.problem(("runaway", "exempt_streams", number), message, "unknown-name")


def problems_of(file: CapsFile, document: Document, brands: Sequence[str] | None) -> Iterator[Problem]:
    """What no single key shows. `brands`: all there are, None where that is not known."""
    for name, table in file.cap.items():
        unknown = [brand for brand in table.brands if brands is not None and brand not in brands]
        nobody = len(unknown) == len(table.brands)
        for number, brand in enumerate(table.brands):
            if brand in unknown and brands is not None:
                message = no_such("brand", brand, brands, "brands.toml")
                if nobody:
                    message += " This cap would count nobody" if message[-1] == "?" else "; this cap would count nobody"
                yield document.problem(("cap", name, "brands", number), message, "unknown-name")
        for number, limit in enumerate(table.limits):
            if not limit.count and table.over == "postpone":
                message = (
                    f'"{limit.text}" with over = "postpone" would postpone for ever; use over = "drop" or "reject"'
                )
                yield document.problem(("cap", name, "limits", number), message, "never")
    yield from _of_marks(file, document, brands or ())


def _of_marks(file: CapsFile, document: Document, brands: Sequence[str]) -> Iterator[Problem]:
    """What two brands got could not be told apart: one in a thousand companies with a hundred brands meets this."""
    marks: dict[int, str] = {}
    for brand in brands:
        for mail_class in MailClass:
            other = marks.setdefault(mark_of(brand, mail_class.label), brand)
            if other != brand and file.cap:
                message = f"brands {other} and {brand} would be counted as one, since their names have the same mark; rename one"
                yield document.problem(("cap",), message, "duplicate")
