"""How often a password may be tried. Pure; times in seconds.

Who is limited by name alone can be locked out by anybody who knows the name; by address alone, can be guessed at by ten
thousand. So strangers are limited by both, and a browser that once logged in as a user, which it can prove, by neither of them
but by itself (OWASP: device cookies). Nobody is ever locked: whoever is limited waits.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil

KNOWN = 2_000  # addresses, names and browsers remembered of each kind, the oldest forgotten first


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


@dataclass(frozen=True, slots=True)
class Pace:
    """`most` at once, then one each `seconds`."""

    most: int
    seconds: float


OF_PEER = Pace(10, 6.0)  # an office behind one address
OF_NAME = Pace(10, 60.0)  # by strangers: 1,450 guesses a day, of passwords of 12 characters at least
OF_BROWSER = Pace(10, 6.0)  # that once knew the password


class _Table:
    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: str, now: float) -> float:
        """0, or the seconds until there is one."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        left = self._refilled(bucket, now)
        return 0.0 if left >= 1 else (1 - left) * self._pace.seconds

    def take(self, key: str, now: float, keep: Collection[str] = ()) -> None:
        bucket = self._buckets.pop(key, None)
        left = self._refilled(bucket, now) if bucket is not None else float(self._pace.most)
        self._buckets[key] = _Bucket(left - 1, now)
        if len(self._buckets) > KNOWN:
            del self._buckets[next((one for one in self._buckets if one not in keep), key)]

    def _refilled(self, bucket: _Bucket, now: float) -> float:
        return min(float(self._pace.most), bucket.left + max(0.0, now - bucket.at) / self._pace.seconds)


class Tries:
    """Of one process."""

    def __init__(self) -> None:
        self._peers, self._names, self._browsers = _Table(OF_PEER), _Table(OF_NAME), _Table(OF_BROWSER)

    def __repr__(self) -> str:
        return f"<Tries of {len(self._peers)} peers, {len(self._names)} names, {len(self._browsers)} browsers>"

    def wait(self, name: str, peer: str, browser: str, users: Collection[str], now: float) -> int:
        """May it be tried? 0, and then it counts; or the whole seconds to wait.

        browser  of one that proved to have logged in as `name` before; "" of a stranger's
        users    names that there are: a flood of others must not push them out of memory
        """
        if browser:
            asked = [(self._browsers, browser)]
        else:
            asked = [(self._peers, network(peer)), (self._names, name)]
        longest = max(table.wait(key, now) for table, key in asked)
        if longest > 0:
            return ceil(longest)
        for table, key in asked:
            table.take(key, now, users if table is self._names else ())
        return 0


def network(peer: str) -> str:
    """Whom an address stands for: of IPv6 the /64, which one host may have all of."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer[:64]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
