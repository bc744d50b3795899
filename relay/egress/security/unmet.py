"""Domains whose mail waits because the TLS that is asked for cannot be had: by their own policy (DANE, MTA-STS), by `tls` of
shaping.toml, or by a host that takes nothing in clear. Pure; times in ms.

Certificates are renewed, and hosts come back, within minutes: people are told of what lasts longer. It is over when the domain
takes a message, or when nothing was tried for a day. Each worker finds out for itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

PATIENCE = 600_000
QUIET = 86_400_000  # as shipped mail is tried again within six hours
MOST = 1_000  # domains known of at a time: one host without TLS may serve many


@dataclass(slots=True)
class Demand:
    """`why`: what the last try came to, at `last`; `tries` since the first."""

    domain: str
    since: int
    last: int
    why: str = ""
    tries: int = 0
    told: bool = False

    @property
    def lasts(self) -> bool:
        return self.last - self.since >= PATIENCE


class Unmet:
    """The caller asks `news` about once a second."""

    def __init__(self) -> None:
        self._known: dict[str, Demand] = {}
        self._over: list[Demand] = []

    def __repr__(self) -> str:
        return f"<Unmet of {', '.join(one.domain for one in self.standing()) or 'none'}>"

    def waits(self, domain: str, why: str, now: int) -> None:
        """Mail to it was put off."""
        one = self._known.get(domain)
        if one is None:
            if len(self._known) >= MOST:
                return
            one = self._known[domain] = Demand(domain, now, now)
        one.last, one.why, one.tries = now, why, one.tries + 1

    def arrived(self, domain: str) -> None:
        """It took a message."""
        if self._known:
            self._end(domain)

    def _end(self, domain: str) -> None:
        one = self._known.pop(domain, None)
        if one is not None and one.told:
            self._over.append(one)

    def news(self, now: int) -> Iterator[tuple[str, Demand]]:
        """("firing" or "resolved", which) of what began and ended since it was asked last."""
        for one in [one for one in self._known.values() if now - one.last >= QUIET]:
            self._end(one.domain)
        over, self._over = self._over, []
        yield from (("resolved", one) for one in over)
        for one in self._known.values():
            if one.lasts and not one.told:
                one.told = True
                yield "firing", one

    def standing(self) -> list[Demand]:
        return [one for one in self._known.values() if one.told]
