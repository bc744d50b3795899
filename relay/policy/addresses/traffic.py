"""How much was delivered to which domain: what slips of the finger may mean here, and what exists though it looks like one. Pure.

Bounded: when there are too many domains all counts are halved and what is left with nothing goes (lossy counting), so that what
gets much is known well, and what gets little not at all. Halving also lets go what nobody mails any more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

MOST = 20_000  # domains: 2 MB


class Traffic:
    """Deliveries by domain, of one worker."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts: dict[str, int] = dict(counts or {})

    def __repr__(self) -> str:
        return f"<Traffic to {len(self._counts)} domains>"

    @property
    def counts(self) -> Mapping[str, int]:
        return self._counts

    def add(self, domain: str) -> None:
        """One more was delivered there."""
        counts = self._counts
        counts[domain] = counts.get(domain, 0) + 1
        if len(counts) > MOST:
            self._counts = {one: count // 2 for one, count in counts.items() if count > 1}


def together(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)
