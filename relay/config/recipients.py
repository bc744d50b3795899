"""policies/recipients.toml: what only the whole of it shows to be wrong, and its tables as the stages know them."""

from collections.abc import Collection, Iterator

from relay.config.problems import Problem, no_such
from relay.config.reader import Document
from relay.config.schema_recipients import EngagementTable, RecipientsFile
from relay.config.wording import Loc
from relay.policy.addresses.check import Modes
from relay.policy.engagement import DAY, Sunset, Tiers


def modes(file: RecipientsFile) -> Modes:
    """[address-check]"""
    table = file.address_check
    return Modes(table.default, table.by_credential, frozenset(table.known))


def tiers(file: RecipientsFile) -> Tiers:
    """[engagement]"""
    table, sunset = file.engagement, file.engagement.sunset
    return Tiers(
        table.engaged // DAY,
        table.lapsing // DAY,
        table.unknown,
        table.fed_within // DAY,
        Sunset(sunset.after, sunset.unanswered_for // DAY) if sunset is not None else None,
    )


def problems_of(file: RecipientsFile, document: Document, credentials: Collection[str] | None) -> Iterator[Problem]:
    """`credentials`: those of credentials.toml and the listeners; None where that is not known."""
    for name in file.address_check.by_credential if credentials is not None else ():
        if name not in (credentials or ()):
            message = no_such("credential", name, credentials or (), "credentials.toml")
            yield document.problem(("address-check", name), message, "unknown-name")
    yield from _of_engagement(file.engagement, document)


def _of_engagement(table: EngagementTable, document: Document) -> Iterator[Problem]:
    """Engagement is told by the day, and each tier comes after the one before."""
    times: dict[Loc, int] = {
        ("engaged",): table.engaged,
        ("lapsing",): table.lapsing,
        ("fed_within",): table.fed_within,
    }
    if table.sunset is not None:
        times["sunset", "unanswered_for"] = table.sunset.unanswered_for
    for loc, span in times.items():
        if span < DAY:
            yield document.problem(("engagement", *loc), 'engagement is known by the day; "1d" at least', "duration")
    if table.lapsing < table.engaged:
        message = "is over before engaged is: then nobody is lapsing"
        yield document.problem(("engagement", "lapsing"), message, "order")
    if table.sunset is not None and table.sunset.unanswered_for < table.engaged:
        message = "would end marketing to people who count as engaged"
        yield document.problem(("engagement", "sunset", "unanswered_for"), message, "order")
