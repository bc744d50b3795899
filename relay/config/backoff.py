"""Back-off rules of policies/shaping.toml: what only a whole one shows to be wrong, and all of them compiled."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import relay.shaping
from relay.config.problems import Problem
from relay.config.reader import Document
from relay.config.schema_backoff import BackoffTable, ShippedFile
from relay.config.streams import boundary
from relay.config.wording import Loc
from relay.policy.patterns import Matcher, Pattern
from relay.shaping.backoff import Action, Backoff, Rule
from relay.shaping.pace import HOLD

Tables = Sequence[BackoffTable]


@lru_cache(maxsize=1)
def shipped() -> ShippedFile:
    """What the program knows of the large providers' replies."""
    text = (Path(relay.shaping.__file__).parent / "backoff.toml").read_text("utf-8")
    return ShippedFile.model_validate(tomllib.loads(text))


def compiled(everybodys: Tables, providers: Mapping[str, Tables], document: Document | None) -> Backoff:
    """Those of a file, before those that ship; of both, a provider's own before everybody's."""
    known = shipped()
    ours = {name: table.backoff for name, table in known.provider.items()}
    ranked: list[tuple[Rule, Pattern]] = []
    for file, own, general in ((document, providers, everybodys), (None, ours, known.backoff)):
        for name, tables in own.items():
            ranked += _rules(tables, file, ("provider", name, "backoff"), name)
        ranked += _rules(general, file, ("backoff",), "")
    return Backoff([rule for rule, _ in ranked], Matcher([pattern for _, pattern in ranked]).matches)


def _rules(tables: Tables, document: Document | None, loc: Loc, provider: str) -> Iterator[tuple[Rule, Pattern]]:
    for number, table in enumerate(tables):
        place = f"policies/shaping.toml:{document.line((*loc, number))}" if document is not None else "shipped"
        rule = Rule(Action(table.action), table.span or HOLD, table.to or 1.0, provider, place)
        yield from ((rule, pattern) for pattern in table.reply)


def problems_of(tables: Tables, document: Document, loc: Loc) -> Iterator[Problem]:
    """Of one list of rules, at `loc`."""
    for number, table in enumerate(tables):
        here: Loc = (*loc, number)
        if table.action == "slow":
            if table.to is None and not document.says((*here, "to")):
                yield document.problem(here, 'slow says not how far; add to = "25%"', "missing")
        elif table.to is not None:
            message = f"has no effect beside {table.action}: only slow leaves a part of the pace"
            yield document.problem((*here, "to"), message, "no-effect")
        if table.action != "slow" and table.span is None and not document.says((*here, "for")):
            yield document.problem(here, f'{table.action} says not how long; add for = "2h"', "missing")
        for at, pattern in enumerate(table.reply):
            if cure := boundary(pattern):
                yield document.problem((*here, "reply", at), cure, "pattern", warning=True)
