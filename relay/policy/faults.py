"""Faults of the sending side that sites refuse mail for: a key that is missing, a sender that does not exist, a protocol that we
do not speak as we should. Pure; times in ms.

No stream is slowed or stopped for them, transactional ones least of all: the postmaster is told, as only a person can mend them.
They are judged by stream over its latest mail of any class, of as long a time as shows the fault worst, a day at most: so a key
that is lost at noon is noticed at noon, however much went well before. Five refusals say so where they are half of all mail or
more; of a twentieth of it, ten: from there on reports, too, say that it needs a person (relay/reporting/needs.py). One odd site
does neither, unless most of the stream's mail goes there.

It is over when so much has gone through since the last quarter of an hour with a refusal that luck does not explain it, or when
for a day nobody has refused anything.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from relay.policy.note import Note
from relay.policy.tallies import HOUR, QUARTER, Faults, Hour

DAY = 24 * HOUR
# Refusals, and of how much of the mail: where most of it is refused, fewer are enough.
MOST, SOME = (5, 0.5), (10, 0.05)
LUCK = 5  # refusals that so much mail would have met at the same share: that it met none happens once in 150 times

Key = tuple[str, str]  # a stream and a category


@dataclass(frozen=True, slots=True)
class Fault(Note):
    """Of a stream's mail since `since`, `refused` of `of` for a fault of this category; `said`: by which codes the last;
    `domain`: of its From. `until`: None as long as it lasts."""

    stream: str
    category: str
    since: int
    refused: int
    of: int
    said: str
    domain: str
    until: int | None = None

    @property
    def key(self) -> Key:
        return self.stream, self.category

    @property
    def name(self) -> str:
        """Of its note."""
        return f"{self.category} {self.stream}"

    @property
    def share(self) -> float:
        return self.refused / self.of

    @property
    def lasts(self) -> bool:
        return self.until is None

    @property
    def most(self) -> bool:
        """Is most of it refused?"""
        return self.share >= MOST[1]


def look(hours: Collection[Hour], known: Mapping[Key, Fault], now: int) -> Iterator[Fault]:
    """Faults that begin, get worse, or are over. `known`: the latest of each."""
    recent = [hour for hour in hours if hour.begin > now - DAY - HOUR]
    lasting = {key for key, one in known.items() if one.lasts}
    for key in sorted(lasting | {key for hour in recent for key in hour.faults}):
        before = known.get(key)
        begin = now - DAY if before is None or before.until is None else max(now - DAY, before.until)
        refused = {at: found for hour in recent for at, found in hour.faults.get(key, {}).items()}
        refused = {at: found for at, found in refused.items() if at >= begin // QUARTER * QUARTER}
        sent = _sent(key[0], recent, begin)
        if before is not None and before.lasts:
            after = _still(before, refused, sent, now)
            if after != before:
                yield after
        elif (found := _worst(key, refused, sent)) is not None:
            yield found


def _sent(stream: str, hours: Collection[Hour], since: int) -> Counter[int]:
    """Its mail that arrived or bounced, by quarter."""
    sent: Counter[int] = Counter()
    for hour in hours:
        for urgent in (False, True):
            for at, sums in hour.streams.get((stream, urgent), {}).items():
                if at >= since // QUARTER * QUARTER:
                    sent[at] += sums.sent
    return sent


def _worst(key: Key, refused: Mapping[int, Faults], sent: Mapping[int, int]) -> Fault | None:
    """Of all whiles that end now, that with the largest share of enough refusals."""
    found: Fault | None = None
    number = of = 0
    for at in sorted({*refused, *sent}, reverse=True):
        of += sent.get(at, 0)
        if at not in refused:
            continue
        number, of = number + refused[at].number, of + refused[at].put_off
        last = refused[max(refused)]
        # What came back late may have been sent before.
        one = Fault(*key, at, number, max(of, number), last.said, last.domain)
        enough = any(number >= fewest and one.share >= share for fewest, share in (MOST, SOME))
        if enough and (found is None or (one.share, one.refused) >= (found.share, found.refused)):
            found = one
    return found


def _still(one: Fault, refused: Mapping[int, Faults], sent: Mapping[int, int], now: int) -> Fault:
    last = max(refused, default=None)
    if last is None:
        return replace(one, until=now)
    # What a node sent whose clock is ahead says nothing yet: it would end now, and begin again with what was refused just now.
    if sum(number for at, number in sent.items() if last < at <= now) * one.share >= LUCK:
        return replace(one, until=now)
    worse = _worst(one.key, refused, sent)
    return replace(worse, since=one.since) if worse is not None and worse.most and not one.most else one
