"""Back-off rules: what a site's reply makes us do beyond the pace that follows from it. Pure.

Rules are tried in this order, and the first that holds wins: the admin's for this provider, the admin's for all, those that
ship for this provider (backoff.toml), those that ship for all. They see what a peer wrote, "421 4.7.28 ...", and nothing
else: never our own words, so that no rule can react to what another has caused.

| action | what follows, for `for` |
|---|---|
| slow | the pace of this source at this site is cut `to` a part of what it was, and does not grow |
| suspend | this source carries nothing to this site; mail goes by the pool's others, at their own pace, or waits |
| other-source | the same, but where the pool has no other it goes on by this one |
| suspend-stream | mail of the message's stream to this site waits, whatever the source; transactional mail never does |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.outcome import Outcome

Matches = Callable[[str], set[int]]  # a text -> the numbers of the patterns that hold for it


class Action(StrEnum):
    SLOW = "slow"
    SUSPEND = "suspend"
    OTHER_SOURCE = "other-source"
    SUSPEND_STREAM = "suspend-stream"


@dataclass(frozen=True, slots=True)
class Rule:
    """span   ms      to   the part of the pace that is left, where it slows      place   where it stands, for people
    provider   whose replies it is for; "": everybody's"""

    action: Action
    span: int
    to: float = 1.0
    provider: str = ""
    place: str = "shipped"


class Backoff:
    """Rules in the order in which they are tried; `matches` tells by their numbers whose patterns hold."""

    def __init__(self, rules: Sequence[Rule] = (), matches: Matches = lambda _: set()) -> None:
        self._rules = rules
        self._matches = matches

    def __repr__(self) -> str:
        return f"<Backoff {len(self._rules)} rules>"

    def find(self, outcome: Outcome, site: str) -> Rule | None:
        """What is to be done about this reply of `site` (a provider's name, where it is one)."""
        if outcome.internal or outcome.captured or outcome.reply.ok:
            return None
        holding = (self._rules[number] for number in sorted(self._matches(str(outcome.reply))))
        return next((rule for rule in holding if rule.provider in ("", site)), None)
