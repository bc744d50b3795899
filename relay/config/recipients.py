"""policies/recipients.toml: what only the whole of it shows to be wrong, and its tables as the stages know them."""

from collections.abc import Collection, Iterator

from relay.config.problems import NOT_YET, Problem, no_such
from relay.config.reader import Document
from relay.config.schema_recipients import RecipientsFile
from relay.policy.addresses.check import Modes

LATER = ("engagement", "forget")


def modes(file: RecipientsFile) -> Modes:
    """[address-check]"""
    table = file.address_check
    return Modes(table.default, table.by_credential, frozenset(table.known))


def problems_of(file: RecipientsFile, document: Document, credentials: Collection[str] | None) -> Iterator[Problem]:
    """`credentials`: those of credentials.toml and the listeners; None where that is not known."""
    for name in file.address_check.by_credential if credentials is not None else ():
        if name not in (credentials or ()):
            message = no_such("credential", name, credentials or (), "credentials.toml")
            yield document.problem(("address-check", name), message, "unknown-name")
    for table in () if document.broken else LATER:
        if document.data.get(table):
            yield document.problem((table,), NOT_YET, "not-yet", warning=True)
