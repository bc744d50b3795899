"""Checks at level `flag` that mail did not pass: counted for metrics, and standing, one alert for each brand and check,
until none has come for an hour. Pure.

Each worker keeps its own; as many entries as policies name checks of brands. The caller asks `news` about once a second,
and tells people of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relay.policy.checks import Failed

QUIET = 3_600_000  # ms without another one, after which a flag is taken down: a mailing goes out within hours


@dataclass(slots=True)
class Flag:
    """What stands: `messages` since it began, the last of them at `last` (ms); `lacks` and `source` are that one's."""

    brand: str
    check: str
    lacks: str
    source: str
    messages: int = 0
    last: int = 0
    told: bool = False


class Flags:
    def __init__(self) -> None:
        self.totals: Counter[tuple[str, str]] = Counter()  # (brand, check): since the worker began
        self._standing: dict[tuple[str, str], Flag] = {}

    def __repr__(self) -> str:
        return f"<Flags {', '.join(f'{brand}/{check}' for brand, check in self._standing) or 'none'}>"

    def count(self, brand: str, failed: Iterable[Failed], now: int) -> None:
        """One accepted message; of what it failed, what is to be flagged counts. `now` in ms."""
        for one in failed:
            if one.level != "flag":
                continue
            key = brand, one.name
            self.totals[key] += 1
            flag = self._standing.get(key)
            if flag is None:
                flag = self._standing[key] = Flag(brand, one.name, one.lacks, one.source)
            flag.messages += 1
            flag.last, flag.lacks, flag.source = now, one.lacks, one.source

    def news(self, now: int) -> Iterator[tuple[str, Flag]]:
        """("firing" or "resolved", flag) of what began and ended since it was asked last."""
        for key, flag in list(self._standing.items()):
            if not flag.told:
                flag.told = True
                yield "firing", flag
            if now - flag.last >= QUIET:
                del self._standing[key]
                yield "resolved", flag

    def standing(self) -> list[Flag]:
        return list(self._standing.values())
