"""What a process knows of its own share of State in Redis, so that it can tell it again. Pure.

`Grants`: permits of quotas, by slot, until they no longer count. `Holdings`: leases, by holder and key.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from relay.identity import Rate
from relay.state import limits

Lease = tuple[str, str]  # holder and key


class Grants:
    """What was granted to us. A name is a key with its window; slots are those of relay/state/limits.py."""

    def __init__(self) -> None:
        self._granted: dict[str, dict[int, tuple[int, int]]] = {}  # name -> slot -> count, until when it counts

    def __repr__(self) -> str:
        return f"<Grants of {len(self._granted)} names>"

    def add(self, name: str, rate: Rate, slot: int, count: int, zone: ZoneInfo, now: int) -> None:
        slots = self._granted.setdefault(name, {})
        if slot not in slots:
            for old in [number for number, (_, until) in slots.items() if until <= now]:
                del slots[old]
        before = slots.get(slot, (0, 0))[0]
        slots[slot] = before + count, limits.expiry(rate, slot, zone)

    def still(self, now: int) -> Iterable[tuple[str, int, dict[int, int]]]:
        """Of each name what counts now: for how many ms more, and the counts by slot."""
        for name, slots in self._granted.items():
            counts = {slot: count for slot, (count, until) in slots.items() if until > now}
            if counts:
                yield name, max(until for _, until in slots.values()) - now, counts


class Holdings:
    """Leases that Redis has granted to holders of this process.

    noted     keys that stand in Redis as a holder's, for its next life, should this one end without a word
    unsure    leases whose number Redis may have wrong: they are told anew before anything else is asked
    """

    def __init__(self) -> None:
        self._held: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._ttl: dict[str, int] = {}
        self.noted: defaultdict[str, set[str]] = defaultdict(set)
        self.unsure: set[Lease] = set()

    def __repr__(self) -> str:
        return f"<Holdings of {len(self._held)} holders, unsure of {len(self.unsure)}>"

    def lives(self, holder: str, ttl: int) -> None:
        """For how long (ms) its leases are taken and told from now on."""
        self._ttl[holder] = ttl

    def ttl(self, holder: str) -> int:
        return self._ttl[holder]

    def keys(self, holder: str) -> set[str]:
        return set(self._held[holder])

    def count(self, holder: str, key: str) -> int:
        return self._held[holder][key]

    def all(self) -> Iterable[Lease]:
        return [(holder, key) for holder, held in self._held.items() for key in held]

    def add(self, holder: str, key: str) -> None:
        self._held[holder][key] += 1

    def subtract(self, holder: str, key: str) -> None:
        held = self._held[holder]
        if held[key] > 1:
            held[key] -= 1
        else:
            del held[key]

    def drop(self, holder: str) -> None:
        self._held.pop(holder, None)
        self.noted.pop(holder, None)
        self.unsure = {lease for lease in self.unsure if lease[0] != holder}
