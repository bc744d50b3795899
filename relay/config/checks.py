"""The checks of policies/brands.toml: what only the whole of it shows to be wrong, and those of each brand, compiled."""

import re
from collections.abc import Iterator, Mapping

from relay.config.problems import Problem, no_such
from relay.config.reader import Document
from relay.config.schema_brands import BrandsFile, BrandTable, CheckMatchTable, CheckTable
from relay.config.streams import boundary, fields_twice
from relay.config.wording import Loc
from relay.message import MailClass
from relay.policy.checks import BUILT_IN, Checks, Own, Phrase, Rule, Test, built_in, own, phrase
from relay.policy.patterns import Kind, Pattern

# Signs that are blanks in the text that a body is compared as (evidence/lexicon.py), as patterns write them.
_GONE = re.compile(r"\\[.,;!?()\[\]{}<>\"*_~=/\\|^`]")


def compiled(file: BrandsFile, document: Document | None) -> dict[str, Checks]:
    """By brand, of those that ask for some. Names that do not exist are left out: they are errors."""
    if document is None:
        return {}
    ours = {name: _own(name, table, document) for name, table in file.check.items()}
    return {name: _of_brand(brand, ours) for name, brand in file.brand.items() if brand.checks}


def _of_brand(brand: BrandTable, ours: dict[str, tuple[Rule, Test]]) -> Checks:
    names, addresses = _phrases(brand.name), _phrases(brand.postal_address)
    shipped = {name: (rule, built_in(name, names, addresses)) for name, rule in BUILT_IN.items()}
    known = (shipped | ours).items()  # a name in both is an error
    return Checks([(rule, brand.checks[name], test) for name, (rule, test) in known if name in brand.checks])


def _phrases(texts: Mapping[str, str]) -> list[Phrase]:
    return [found for text in texts.values() if (found := phrase(text))]


def _own(name: str, table: CheckTable, document: Document) -> tuple[Rule, Test]:
    match = table.match
    said = Own(
        headers={field.lower(): tuple(patterns) for field, patterns in match.header.items()},
        subject=tuple(match.subject or ()),
        body=tuple(match.body or ()),
        must=table.must,
    )
    classes = frozenset(MailClass[one.upper()] for one in table.mail_class or ()) or frozenset(MailClass)
    source = table.source or f"policies/brands.toml:{document.line(('check', name))}"
    return Rule(name, source, classes), own(said)


def problems_of(file: BrandsFile, document: Document) -> Iterator[Problem]:
    """What no single key shows."""
    known = list(dict.fromkeys((*BUILT_IN, *document.names("check"))))
    for name, brand in file.brand.items():
        for check in brand.checks:
            loc: Loc = ("brand", name, "checks", check)
            if check not in known:
                message = no_such("check", check, known, "the program or this file")
                yield document.problem(loc, message, "unknown-name")
        yield from _of_texts(document, name, brand)
    for name, table in file.check.items():
        yield from _of_match(document, ("check", name, "match"), table.match)
        if name in BUILT_IN:
            message = "is the name of a check that the program has; choose another"
            yield document.problem(("check", name), message, "duplicate")
        elif not document.broken and not any(name in brand.checks for brand in file.brand.values()):
            message = "no brand names it in its checks: it does nothing"
            yield document.problem(("check", name), message, "unused", warning=True)


def _of_texts(document: Document, name: str, brand: BrandTable) -> Iterator[Problem]:
    """What a check looks for has to be there."""
    for check, key, texts in (
        ("postal-address", "postal_address", brand.postal_address),
        ("sender-identified", "name", brand.name),
    ):
        if check in brand.checks and not _phrases(texts):
            message = f"looks for the brand's {key}; brand {name} has none"
            yield document.problem(("brand", name, "checks", check), message, "missing")


def _of_match(document: Document, loc: Loc, match: CheckMatchTable) -> Iterator[Problem]:
    if not match.model_fields_set and not document.broken:
        yield document.problem(loc, "is empty; say what is looked at: header.NAME, subject or body", "empty")
    yield from fields_twice(document, loc, match.header)
    for at, pattern in () if document.broken else _patterns(match):
        cure = boundary(pattern)
        gone = _GONE.search(pattern.text) if at[0] == "body" and pattern.kind is Kind.RE2 else None
        if gone is not None:
            cure = f"{gone[0]} never matches: signs are blanks in the text that it is compared with"
        if cure:
            yield document.problem((*loc, *at), cure, "pattern", warning=True)


def _patterns(match: CheckMatchTable) -> Iterator[tuple[Loc, Pattern]]:
    for name, patterns in match.header.items():
        yield from ((("header", name, number), pattern) for number, pattern in enumerate(patterns))
    yield from ((("subject", number), pattern) for number, pattern in enumerate(match.subject or ()))
    yield from ((("body", number), pattern) for number, pattern in enumerate(match.body or ()))
