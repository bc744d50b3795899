"""Sites: which recipient domains share limits. Pure.

Mail for two domains meets the same servers, and the same patience, where their mail is one provider's or their MX sets are
the same. So a site is, in this order:

1. the provider that names the domain, or the most preferred of its MX hosts; of several the first, the admin's before those
   that ship. Hosts of lesser preference do not count: they are spares, and often forgotten ones;
2. the domain itself, where all its hosts lie within it (implicit MX too, RFC 5321 5.1), or it is an address literal;
3. the set of hosts, whatever their preferences: `mx.host.example`, or for several the first by name and a few digits of all
   of them, `mx1.host.example+3f9a1c`. Nothing in a name needs quotes in a shell.

Before its MX is known a domain is taken for the provider's that names it, for what this worker has seen of it, or for
itself: that chooses the lane in which mail waits, and costs no look-up. What limits count is always the site of the route.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

MAX_LEARNED = 50_000  # domains whose site is not their name; some 200 octets each, 10 MB


class Hosts(Protocol):
    """Names of hosts, in lower case."""

    def __contains__(self, name: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Provider:
    """A mailbox provider: whose mail goes to `domains`, or to MX hosts that are in `mx`; all in lower case."""

    name: str
    domains: frozenset[str]
    mx: Hosts


class Sites:
    """The sites of one set of policies: a reload makes another, and what was learned is learned again. `hosts`: the MX hosts
    of all providers, if that is known; a host is looked for there first, since most are no provider's."""

    def __init__(self, providers: Iterable[Provider] = (), hosts: Hosts | None = None) -> None:
        self._providers = tuple(providers)
        self._hosts = hosts
        self._by_domain = {domain: one.name for one in reversed(self._providers) for domain in one.domains}
        self._learned: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Sites of {len(self._providers)} providers, {len(self._learned)} learned>"

    @property
    def providers(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.name for one in self._providers)

    def expected(self, domain: str) -> str:
        """The site of a domain as far as it is known without DNS."""
        return self._by_domain.get(domain) or self._learned.get(domain, domain)

    def of(self, domain: str, exchanges: Sequence[tuple[int, str]]) -> str:
        """The site of a domain with these MX hosts, (preference, name) with the best first; never empty. It is remembered
        for `expected`."""
        site = self._by_domain.get(domain) or self._by_mx(exchanges) or named(domain, {host for _, host in exchanges})
        self._learn(domain, site)
        return site

    def _by_mx(self, exchanges: Sequence[tuple[int, str]]) -> str | None:
        best = sorted(host for preference, host in exchanges if preference == exchanges[0][0])
        if self._hosts is not None:
            best = [host for host in best if host in self._hosts]
        return next((one.name for one in self._providers if any(host in one.mx for host in best)), None)

    def _learn(self, domain: str, site: str) -> None:
        if self.expected(domain) == site:
            return
        self._learned.pop(domain, None)
        if site != domain:
            if len(self._learned) >= MAX_LEARNED:
                del self._learned[next(iter(self._learned))]  # the one learned first
            self._learned[domain] = site


def named(domain: str, hosts: set[str]) -> str:
    """The name of a site that is no provider's: see 2 and 3 above."""
    if domain.startswith("[") or all(host == domain or host.endswith(f".{domain}") for host in hosts):
        return domain
    first, *others = sorted(hosts)
    if not others:
        return first
    return f"{first}+{sha256(' '.join((first, *others)).encode()).hexdigest()[:6]}"
