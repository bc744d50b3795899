"""What carries a message: a pool of ours, another host instead of the MX, or nothing. Asked again at each attempt. Pure.

First match wins; where none does, the class's own pool. The answers are remembered, since mail of one stream to one domain
comes in hundreds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

from relay.message import MailClass
from relay.policy.engagement import ENGAGED
from relay.policy.patterns import Kind, Matcher, Pattern

T = TypeVar("T")

_REMEMBERED = 4096  # answers; a campaign goes to thousands of domains, most of its mail to ten


class Marked(Protocol):
    """What routes look at of a message."""

    @property
    def mail_class(self) -> MailClass: ...
    @property
    def stream(self) -> str: ...
    @property
    def brand(self) -> str: ...
    @property
    def credential(self) -> str: ...
    @property
    def spared(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Route:
    """One `[[route]]`: exactly one of pool, next_hop (host, port) and discard is set.

    rule   where it stands, "policies/routes.toml:9"
    """

    rule: str
    pool: str = ""
    next_hop: tuple[str, int] | None = None
    discard: bool = False


class AnyOf:
    """Texts that fit one of some patterns; without patterns all do."""

    def __init__(self, patterns: Sequence[Pattern] = ()) -> None:
        self._exact = frozenset(pattern.text for pattern in patterns if pattern.kind is Kind.EXACT)
        wild = [pattern for pattern in patterns if pattern.kind is not Kind.EXACT]
        self._matcher = Matcher(wild) if wild else None
        self._all = not patterns

    def __contains__(self, text: str) -> bool:
        return self._all or text in self._exact or (self._matcher is not None and bool(self._matcher.matches(text)))


ANY = AnyOf()


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """The conditions of a route; `classes`, `tiers` empty: any."""

    classes: frozenset[MailClass] = frozenset()
    streams: AnyOf = ANY
    brands: AnyOf = ANY
    credentials: AnyOf = ANY
    domains: AnyOf = ANY
    tiers: frozenset[str] = frozenset()


class Routes:
    """All routes in their order. Without any, finding costs nothing."""

    def __init__(self, routes: Sequence[tuple[RouteMatch, Route]] = ()) -> None:
        self._by_class = {c: [(m, r) for m, r in routes if not m.classes or c in m.classes] for c in MailClass}
        self._known = lru_cache(maxsize=_REMEMBERED)(self._look_up)
        self._count = len(routes)
        self.by_tier = any(match.tiers for match, _ in routes)

    def __repr__(self) -> str:
        return f"<Routes {self._count}>"

    def find(self, message: Marked, domain: str, tier: str = "") -> Route | None:
        """What carries `message` to a recipient at `domain` (A-label) of this `tier` (engagement.py), who counts as engaged where
        it is not known; None: its class's own pool. Nothing discards mail that is rerouted: the next route that fits carries
        it. `by_tier`: is there any route that asks for it?"""
        if not self._count:
            return None
        return self._known(
            message.mail_class, message.stream, message.brand, message.credential, domain, message.spared,
            (tier or ENGAGED) if self.by_tier else "",
        )  # fmt: skip

    def pools_of(self, mail_class: MailClass) -> set[str]:
        """The pools that may carry mail of a class, beside its own."""
        return {route.pool for _, route in self._by_class[mail_class] if route.pool}

    def _look_up(
        self, mail_class: MailClass, stream: str, brand: str, credential: str, domain: str, spared: bool, tier: str
    ) -> Route | None:
        for match, route in self._by_class[mail_class]:
            if route.discard and spared:
                continue
            if (
                stream in match.streams
                and brand in match.brands
                and credential in match.credentials
                and domain in match.domains
                and (not match.tiers or tier in match.tiers)
            ):
                return route
        return None


def pool_of(route: Route | None, mail_class: MailClass, own: Mapping[MailClass, T], named: Mapping[str, T]) -> T:
    """The pool that carries mail of a class under `route`: the one it names, else the class's `own`."""
    return own[mail_class] if route is None or not route.pool else named[route.pool]
