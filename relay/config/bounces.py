"""policies/bounces.toml: what only the whole of it shows to be wrong, and its rules compiled."""

from collections.abc import Iterator

from relay.config.problems import NOT_YET, Problem
from relay.config.reader import Document
from relay.config.schema_bounces import BouncesFile, ReplyTable
from relay.config.streams import boundary
from relay.feedback.aftermath import SHIPPED, Aftermath, Rule
from relay.feedback.rulings import Ruling, Rulings
from relay.policy.patterns import Matcher, Pattern
from relay.policy.routes import AnyOf

LATER = ("health",)


def compiled(file: BouncesFile, document: Document | None) -> Rulings:
    patterns: list[Pattern] = []
    rules = [
        _ruling(table, f"policies/bounces.toml:{document.line(('reply', number)) if document else 0}", patterns)
        for number, table in enumerate(file.reply)
    ]
    return Rulings(rules, Matcher(patterns).matches)


def aftermath(file: BouncesFile) -> Aftermath:
    """[suppress], over what ships."""
    said = {
        kind: Rule(table.stop, table.brand == "same", table.after, table.within, table.span)
        for kind, table in file.suppress.items()
    }
    return Aftermath({**SHIPPED, **said})


def _ruling(table: ReplyTable, place: str, patterns: list[Pattern]) -> Ruling:
    """`patterns` of all rules so far grows by those of this one."""
    match = table.match
    first = len(patterns)
    patterns += match.text or ()
    return Ruling(
        table.category,
        place,
        AnyOf(match.site) if match.site is not None else None,
        frozenset(range(first, len(patterns))) if match.text is not None else None,
        frozenset(match.code) if match.code is not None else None,
        frozenset(match.command) if match.command is not None else None,
    )


def problems_of(file: BouncesFile, document: Document) -> Iterator[Problem]:
    for number, table in enumerate(file.reply):
        match = table.match
        if not (match.site or match.text or match.code or match.command):
            message = "names nothing: it would hold for every failure; add match.text, match.code or match.site"
            yield document.problem(("reply", number, "match"), message, "empty")
        for at, pattern in enumerate(match.text or ()):
            if cure := boundary(pattern):
                yield document.problem(("reply", number, "match", "text", at), cure, "pattern", warning=True)
    for table_name in () if document.broken else LATER:
        if document.data.get(table_name):
            yield document.problem((table_name,), NOT_YET, "not-yet", warning=True)
