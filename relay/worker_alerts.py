"""What a worker alerts of: what stands, and what begins or ends.

Mail that is another than it claims or does not pass a check that its brand wants flagged, State that is lost, a source that
stands aside, a pool that has no other, mail that does not move or waits for want of TLS. Who finds it keeps it; here it is put
into words, and told once.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from relay.alert import (
    Alert,
    contradiction,
    contradiction_over,
    flagged,
    flagged_over,
    insecure,
    moving,
    people_lost,
    pool_moves,
    pool_stalled,
    runaway,
    runaway_over,
    secure,
    source_aside,
    source_back,
    sources_aside,
    stalled,
    state_back,
    state_lost,
)
from relay.egress.security.unmet import Unmet
from relay.policy.contradiction import Ledger, Trouble
from relay.policy.flags import Flags
from relay.policy.runaway import Runaways
from relay.schedule.watchdog import Watchdog
from relay.shaping.health import Aside, Health
from relay.state.interface import State

POOL_PATIENCE = 120_000  # ms that no source of a pool can be used: a proxy restarts, an address moves within less


class WorkerAlerts:
    """`doing`: what is done about contradictions in a stream, as the files in force say; `pools`: the addresses of each.
    `cared_for`: what stands of streams and sites, of which relay/caring.py tells the news itself, as all know the same."""

    def __init__(
        self,
        ledger: Ledger,
        flags: Flags,
        state: State,
        health: Health,
        watchdogs: Sequence[Watchdog],
        doing: Callable[[str], str],
        runaways: Runaways,
        cared_for: Callable[[], Sequence[Alert]],
        unmet: Unmet,
        pools: Callable[[], Mapping[str, Collection[str]]] = dict,
    ) -> None:
        self._ledger = ledger
        self._flags = flags
        self._state = state
        self._health = health
        self._watchdogs = watchdogs
        self._doing = doing
        self._runaways = runaways
        self._cared_for = cared_for
        self._unmet = unmet
        self._lost: Alert | None = None
        self._people = False  # it is of them
        self._pools = pools
        self._unusable: dict[str, int] = {}  # pools by name: since when
        self._stalled: dict[str, Alert] = {}  # those of them that were told of
        self._aside: dict[tuple[str, str], Aside] = {}  # sources that were told to stand aside, by address and site

    def __repr__(self) -> str:
        return f"<WorkerAlerts {len(self.standing())} standing>"

    def troubles(self) -> list[Trouble]:
        """Streams whose mail is another than it claims."""
        return list(self._ledger.troubles(self._trusts))

    def standing(self) -> list[Alert]:
        """Those that stand now."""
        alerts = [contradiction(one, self._doing(one.stream)) for one in self.troubles()]
        alerts += map(flagged, self._flags.standing())
        alerts += map(runaway, self._runaways.standing())
        alerts += [self._lost] if self._lost else []
        alerts += [*self._stalled.values(), *sources_aside(self._aside.values())]
        alerts += map(insecure, self._unmet.standing())
        alerts += self._cared_for()
        return alerts + [stalled(stall) for watchdog in self._watchdogs for stall in watchdog.standing()]

    def news(self, now: int) -> Iterator[tuple[str, Alert]]:
        """What is "firing" or "resolved" since it was last asked."""
        yield from self._of_claims(now)
        yield from self._of_flags(now)
        yield from self._of_runaways(now)
        yield from self._of_state()
        yield from self._of_sources(now)
        yield from self._of_pools(now)
        yield from self._of_progress()
        for state, one in self._unmet.news(now):
            yield state, insecure(one) if state == "firing" else secure(one)

    def _of_claims(self, now: int) -> Iterator[tuple[str, Alert]]:
        for state, trouble in self._ledger.news(now, self._trusts):
            firing = state == "firing"
            yield state, contradiction(trouble, self._doing(trouble.stream)) if firing else contradiction_over(trouble)

    def _of_flags(self, now: int) -> Iterator[tuple[str, Alert]]:
        for state, flag in self._flags.news(now):
            yield state, flagged(flag) if state == "firing" else flagged_over(flag)

    def _of_runaways(self, now: int) -> Iterator[tuple[str, Alert]]:
        for state, one in self._runaways.news(now):
            yield state, runaway(one) if state == "firing" else runaway_over(one)

    def _of_state(self) -> Iterator[tuple[str, Alert]]:
        trouble, forgot = self._state.trouble, self._state.forgot
        people = not trouble and bool(forgot)  # that it forgot them shows when it can be asked again
        if (trouble or forgot) and (self._lost is None or people is not self._people):
            self._lost, self._people = people_lost(forgot) if people else state_lost(trouble), people
            yield "firing", self._lost
        elif trouble == forgot == "" and self._lost is not None:
            self._lost = None
            yield "resolved", state_back()

    def _of_sources(self, now: int) -> Iterator[tuple[str, Alert]]:
        before, self._aside = self._aside, {(a.source, a.site): a for a in self._health.standing(now)}
        yield from (("firing", source_aside(aside)) for key, aside in self._aside.items() if key not in before)
        yield from (("resolved", source_back(*key)) for key in before if key not in self._aside)

    def _of_pools(self, now: int) -> Iterator[tuple[str, Alert]]:
        """Of what stands aside by now: see _of_sources."""
        everywhere = {aside.source: aside.why for aside in self._aside.values() if not aside.site}
        pools = {name: addresses for name, addresses in self._pools().items() if everywhere.keys() >= {*addresses}}
        self._unusable = {name: self._unusable.get(name, now) for name in pools}
        for name, since in self._unusable.items():
            if name not in self._stalled and now - since >= POOL_PATIENCE:
                self._stalled[name] = pool_stalled(name, since, everywhere[next(iter(pools[name]))])
                yield "firing", self._stalled[name]
        for name in [name for name in self._stalled if name not in self._unusable]:
            del self._stalled[name]
            yield "resolved", pool_moves(name)

    def _of_progress(self) -> Iterator[tuple[str, Alert]]:
        for watchdog in self._watchdogs:
            for state, stall in watchdog.news():
                yield state, stalled(stall) if state == "firing" else moving(stall)

    def _trusts(self, stream: str) -> bool:
        return self._doing(stream) == "trust"
