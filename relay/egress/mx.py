"""Where a domain's mail goes (RFC 5321 5.1, RFC 7505): answers of DNS in, hosts in the order to try out. Pure.

Rules: MX by preference, equal ones shuffled; no MX: the domain itself (implicit MX); "." : no mail at all. Hosts not
better than ourselves are dropped, as are addresses that are not public. Temporary trouble in DNS is never a reason to
bounce.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, zip_longest

from relay.egress.failure import ours
from relay.egress.settings import Relay
from relay.outcome import NO_DOMAIN, NO_MAIL, Outcome, Scope

MAX_HOSTS = 10  # looked up for one route: the largest real sets have 5 to 7; a hostile zone may list thousands
MAX_ADDRESSES = 8  # of one host and family

_NAT64 = int(IPv6Address("64:ff9b::")) >> 32  # the prefix of 96 bits


class Found(Enum):
    """How a look-up ended: records; the name exists without them; no such name; no usable answer now."""

    RECORDS = "records"
    NOTHING = "nothing"
    NO_NAME = "no such name"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """One look-up. `records` are (preference, host) for MX, (0, address) for A and AAAA, (0, text) for others; `detail` is
    for people.

    secure     DNSSEC vouches for it, also where it says that there is nothing      canonical  the name behind all aliases
    """

    found: Found
    records: tuple[tuple[int, str], ...] = ()
    detail: str = ""
    secure: bool = False
    canonical: str = ""


@dataclass(frozen=True, slots=True)
class MxHost:
    """A host that takes a domain's mail, with the addresses to try in order."""

    name: str
    preference: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Hosts in the order to try; never empty."""

    hosts: tuple[MxHost, ...]
    port: int

    @property
    def families(self) -> frozenset[int]:
        """4, 6, or both: what a source must be one of (Source.reaches)."""
        return frozenset(6 if ":" in address else 4 for host in self.hosts for address in host.addresses)


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be a next host: see EgressSettings."""

    port: int
    allow_private: bool
    own_hostnames: frozenset[str]
    own_addresses: frozenset[str]


CAPTURED = "capture"  # the site of mail that the capture server gets, on whatever port it listens this time


def site_of(relay: Relay) -> str:
    """The site of a host that the admin named: all mail it takes shares its limits."""
    return f"[{relay.host}]:{relay.port}" if ":" in relay.host else f"{relay.host}:{relay.port}"


def literal(domain: str) -> str | None:
    """The address of an address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3); None for a name."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    inner = domain[1:-1]
    address = parse_address(inner[5:] if inner[:5].lower() == "ipv6:" else inner)
    return str(address) if address else None


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_public(address: str) -> bool:
    """May mail for the world go there? Not to loopback, private, shared, documentation, multicast and the like
    (the IANA special-purpose registries, as `ipaddress` knows them); an IPv4 address in IPv6 dress counts as itself."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        ip = _inside(ip) or ip
    return ip.is_global and not ip.is_multicast


def _inside(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address at which what is sent there may arrive: mapped or compatible (RFC 4291 2.5.5), 6to4 (RFC 3056 2), behind a
    NAT64 (RFC 6052 2.1)."""
    number = int(ip)
    if number >> 32 == _NAT64 or 1 < number < 1 << 32:
        return IPv4Address(number & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour


def exchanges(domain: str, answer: Answer) -> tuple[tuple[int, str], ...] | Outcome:
    """The hosts an MX answer names, best first, at most MAX_HOSTS; or why there are none.

    A name that exists without MX is its own host (RFC 5321 5.1). A null MX is a single "." (RFC 7505 3); among others
    it is nonsense and ignored.
    """
    if answer.found is Found.FAILED:
        return ours(451, "4.4.3", f"DNS has no answer for {domain} now: {answer.detail}", "DNS", Scope.SITE)
    if answer.found is Found.NO_NAME:
        return replace(ours(550, "5.1.2", f"no such domain: {domain}", "DNS", Scope.RECIPIENT), dns=NO_DOMAIN)
    if answer.found is Found.NOTHING:
        return ((0, domain),)
    named = sorted((preference, host) for preference, host in answer.records if host)
    if not named:
        return replace(ours(556, "5.1.10", f"{domain} accepts no mail (null MX)", "DNS", Scope.RECIPIENT), dns=NO_MAIL)
    return tuple(named[:MAX_HOSTS])


def choose_hosts(
    domain: str,
    named: Sequence[tuple[int, str]],
    found: Mapping[str, Sequence[Answer]],
    rules: Rules,
    rand: Callable[[], float],
) -> Route | Outcome:
    """The route over `named` exchanges, given what AAAA and A look-ups `found` for each; `rand` shuffles equals."""
    hosts = [
        MxHost(name, preference, _interleave([_shuffled(answer, rand) for answer in found[name]]))
        for preference, name in sorted(named, key=lambda each: (each[0], rand()))
    ]
    hosts = [host for host in hosts if host.addresses]
    if not hosts:
        if [name for _, name in named] == [domain]:
            return _no_way(domain, found, 550, "5.1.2", f"{domain} has neither MX nor address")
        return _no_way(domain, found, 550, "5.4.4", f"no mail host of {domain} has an address")
    ours_at = min((host.preference for host in hosts if _is_ours(host, rules)), default=None)
    if ours_at is not None:
        hosts = [host for host in hosts if host.preference < ours_at]
        if not hosts:
            return _no_way(domain, found, 554, "5.4.6", f"mail for {domain} loops back to this server")
    public = hosts if rules.allow_private else [only for host in hosts if (only := _public(host)).addresses]
    if not public:
        text = f"{domain} leads to {hosts[0].addresses[0]}, which is no public address"
        return _no_way(domain, found, 550, "5.4.4", text)
    return Route(tuple(public), rules.port)


def _shuffled(answer: Answer, rand: Callable[[], float]) -> list[str]:
    return [address for _, address in sorted(answer.records, key=lambda _: rand())][:MAX_ADDRESSES]


def _interleave(families: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """AAAA, A, AAAA, A ...: one broken family costs a single timeout, not one an address."""
    return tuple(address for address in chain.from_iterable(zip_longest(*families)) if address)


def _is_ours(host: MxHost, rules: Rules) -> bool:
    return host.name in rules.own_hostnames or not rules.own_addresses.isdisjoint(host.addresses)


def _public(host: MxHost) -> MxHost:
    return MxHost(host.name, host.preference, tuple(filter(is_public, host.addresses)))


def _no_way(domain: str, found: Mapping[str, Sequence[Answer]], code: int, enhanced: str, text: str) -> Outcome:
    """Final (RFC 5321 5.1), unless a look-up failed: the host we know nothing of may be the one that takes the mail."""
    failed = [answer for answers in found.values() for answer in answers if answer.found is Found.FAILED]
    if failed:
        text = f"DNS does not know all hosts of {domain} now: {failed[0].detail}"
        return ours(451, "4.4.3", text, "DNS", Scope.SITE)
    return ours(code, enhanced, text, "DNS", Scope.RECIPIENT)
