"""Who a peer is: by user and password, or by its address. Pure; built anew from the policies at each reload.

Passwords are generated with 160 random bits, so one salted sha256 is enough and a check takes microseconds. Every path
does the same work (an unknown user is compared with a dummy), and digests are compared in constant time.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from relay.identity import Credential, Password

MOST_KNOWN = 1024  # peers whose network is remembered: app servers are few, and a look-up costs 20 us a connection
_NOBODY = Password(b"nobody", bytes(32))


@dataclass(frozen=True, slots=True)
class Login:
    """A peer's identity, and the stream its user name asked for ("" if none). May it have that one? Policy says."""

    credential: Credential
    stream: str = ""


class _Known(NamedTuple):
    """What by_network last said of an address, and what it was asked. To hash networks would cost more than the look-up."""

    trust: Sequence[IPv4Network | IPv6Network]
    local: str
    credential: Credential | None


class Directory:
    """All credentials, by name and by network."""

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._by_name = {credential.name: credential for credential in credentials}
        self._open = next((one for one in self._by_name.values() if one.open and not one.disabled), None)
        self._by_prefix: dict[tuple[int, int], dict[int, Credential]] = {}
        for credential in self._by_name.values():
            for network in () if credential.disabled else credential.networks:
                table = self._by_prefix.setdefault((network.version, network.prefixlen), {})
                table.setdefault(int(network.network_address), credential)
        self._known: dict[str, _Known] = {}
        self._prefixes = sorted(self._by_prefix, reverse=True)  # longest first: the narrowest network names the peer

    def __repr__(self) -> str:
        return f"<Directory {len(self._by_name)} credentials, {sum(map(len, self._by_prefix.values()))} networks>"

    @property
    def undecided(self) -> bool:
        """Does one of them leave the class of its mail to the evidence?"""
        return any(one.mail_class is None and not one.disabled for one in self._by_name.values())

    def get(self, name: str) -> Credential | None:
        return self._by_name.get(name)

    def login(self, user: str, password: str, now: int, on_this_machine: bool) -> Login | None:
        """The identity of `user`, which is `name` or `name+stream`.

        Where a credential is open (capture mode), a peer on this machine that nobody else vouches for gets that one.
        """
        name, _, stream = user.partition("+")
        credential = self._by_name.get(name)
        if (
            _matches(credential.passwords if credential else (), password, now)
            and credential
            and not credential.disabled
        ):
            return Login(credential, stream)
        if on_this_machine and self._open is not None:
            return Login(self._open, stream)
        return None

    def caller(self, name: str, proof: str, now: int) -> Credential | None:
        """Whose token of /api/v1 this is the proof of (identity.proof_of); None for nobody's."""
        credential = self._by_name.get(name)
        right = _matches(credential.tokens if credential else (), proof, now)
        return credential if right and credential is not None and not credential.disabled else None

    def by_network(
        self, ip: str, trust: Sequence[IPv4Network | IPv6Network] = (), local: str = ""
    ) -> Credential | None:
        """The credential whose narrowest network holds `ip`; else the one named `local`, where `trust` holds it."""
        known = self._known.get(ip)
        if known is None or known.trust is not trust or known.local != local:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[ip] = _Known(trust, local, self._by_network(ip, trust, local))
        return known.credential

    def _by_network(self, ip: str, trust: Sequence[IPv4Network | IPv6Network], local: str) -> Credential | None:
        address = _address(ip)
        if address is None:
            return None
        number = int(address)
        for version, length in self._prefixes:
            if version == address.version:
                found = self._by_prefix[version, length].get(
                    number >> (address.max_prefixlen - length) << (address.max_prefixlen - length)
                )
                if found is not None:
                    return found
        if not any(address.version == network.version and address in network for network in trust):
            return None
        known = self._by_name.get(local)
        return None if known is None or known.disabled else known


def _matches(passwords: Sequence[Password], given: str, now: int) -> bool:
    """Is `given` one of them? All are compared, so that time tells neither which nor whether there was one."""
    octets = given.encode("utf-8", "surrogatepass")
    right = False
    for password in passwords or (_NOBODY,):
        digest = hashlib.sha256(password.salt + octets).digest()
        same = hmac.compare_digest(digest, password.digest)
        right |= same and (not password.until or now <= password.until)
    return right


def _address(ip: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(ip: str) -> bool:
    return ip.startswith(("127.", "::ffff:127.")) or ip == "::1"
