"""What the admin says replies mean: `[[reply]]` of policies/bounces.toml, asked before all that ships (replies.py). Pure.

First match wins. A rule sees what a peer wrote and for which site it spoke, never our own words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.feedback.taxonomy import Category
from relay.outcome import Reply

Matches = Callable[[str], set[int]]  # a text -> the numbers of the patterns that hold for it


class Sites(Protocol):
    def __contains__(self, site: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule; what it does not name may be anything.

    texts     numbers of its patterns, any of which must hold; None: whatever was said
    codes     "550", or an enhanced code: "5.7.1"
    commands  as Outcome.command
    place     where it stands, "policies/bounces.toml:4"
    """

    category: Category
    place: str
    sites: Sites | None = None
    texts: frozenset[int] | None = None
    codes: frozenset[str] | None = None
    commands: frozenset[str] | None = None


class Rulings:
    """Rules in the order of the file; `matches` tells by their numbers which patterns hold for a text."""

    def __init__(self, rules: Sequence[Ruling] = (), matches: Matches = lambda _: set()) -> None:
        self._rules = rules
        self._matches = matches

    def __repr__(self) -> str:
        return f"<Rulings {len(self._rules)}>"

    def __bool__(self) -> bool:
        return bool(self._rules)

    def find(self, reply: Reply, command: str, site: str) -> Ruling | None:
        """The first that holds for this answer of `site` (a provider's name, where it is one) to `command`."""
        if not self._rules:
            return None
        said, codes = self._matches(str(reply)), {str(reply.code), reply.enhanced}
        for rule in self._rules:
            if (
                (rule.sites is None or site in rule.sites)
                and (rule.texts is None or not rule.texts.isdisjoint(said))
                and (rule.codes is None or not rule.codes.isdisjoint(codes))
                and (rule.commands is None or command in rule.commands)
            ):
                return rule
        return None


NO_RULINGS = Rulings()
