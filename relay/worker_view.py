"""A worker under the eyes of others: its numbers, its part of `postlane queue top`, and the mail its watchdogs are shown.

The wiring (stages.py) owns all that is looked at here; nothing is changed.
"""

import asyncio
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from types import MappingProxyType

import structlog

from relay import __version__, top, top_site
from relay.control import Json
from relay.egress.pools import Pool
from relay.lately import Lately
from relay.message import LaneKey, MailClass
from relay.pause import Pause
from relay.policy.streams import Stream
from relay.schedule.dispatcher import Dispatcher
from relay.schedule.watchdog import Head, Seen, Watchdog
from relay.shaping.shape import Shapes
from relay.spool.errors import SpoolError
from relay.spool.store import Spool
from relay.stages import Shard, Stages, clock
from relay.worker_alerts import WorkerAlerts

log = structlog.get_logger()

WATCHED_SECONDS = 10  # over which rates are told
LOOK_AT_PROGRESS = 5.0  # seconds between two pages of lanes that are looked at for mail that does not move
LANES_LOOKED_AT = 2_000  # a page: 5 ms of the spool's thread


class Totals:
    """Counters of a worker as they were in each of the last seconds, and so the rates of what it does. `accepted`: messages."""

    def __init__(self, tally: Mapping[tuple[str, MailClass], int], accepted: Callable[[], int]) -> None:
        self._tally = tally
        self._accepted = accepted
        self._seen: deque[tuple[int, dict[str, int]]] = deque(maxlen=WATCHED_SECONDS)

    def note(self, now: int) -> None:
        """Each second."""
        self._seen.append((now, self._now()))

    def rates(self, now: int) -> dict[str, float]:
        totals = self._now()
        if not self._seen or now <= self._seen[0][0]:
            return dict.fromkeys(totals, 0.0)
        at, before = self._seen[0]
        return {name: (number - before[name]) * 1000 / (now - at) for name, number in totals.items()}

    def _now(self) -> dict[str, int]:
        totals = dict.fromkeys(("in", "delivered", "deferred", "bounced", "withheld"), 0)
        totals["in"] = self._accepted()
        for (kind, _), number in self._tally.items():
            totals[kind] += number
        return totals


async def part(
    shards: Sequence[tuple[Spool, Dispatcher]],
    pools: Mapping[MailClass, Pool],
    named: Mapping[str, Pool],
    open_connections: Mapping[tuple[str, str], int],
    lately: Lately,
    rates: Mapping[str, float],
    runaways: Sequence[str],
    now: int,
    limit_of: Callable[[str, Pool], int | None] = lambda _site, _pool: None,
    site: str = "",
    streams: Mapping[str, Stream] = MappingProxyType({}),
) -> Json:
    """This worker's part of `postlane queue top`, and of one `site` more. `open_connections`: by our address and site;
    `limit_of`: how many there may be to a site, from all sources of a pool; `streams`: with their windows."""
    waiting: dict[tuple[MailClass, str, str], top.Waiting] = {}
    flying: Counter[LaneKey] = Counter()
    pauses: list[tuple[MailClass, Pause]] = []
    held = guarded = 0
    for spool, dispatcher in shards:
        counts = await spool.counts()
        guarded += counts["guarded"]
        held += counts["held"] - counts["guarded"] - sum(counts["suspended"].values())
        flying.update(dispatcher.flying())
        pauses += dispatcher.pauses()
        for lane, number in counts["lanes"].items():
            due, first = counts["due"][lane]
            old = waiting.get(lane, top.Waiting(0, 0, first))
            waiting[lane] = top.Waiting(old.count + number, old.due + due, min(old.first, first))
    by_name = {**named, **{pool.name: pool for pool in pools.values()}}
    facts = top.Facts(
        pools={mail_class: pool.name for mail_class, pool in pools.items()},
        waiting=waiting,
        flying=flying,
        connections=_by_pool(open_connections, [*pools.values(), *named.values()]),
        limits=lambda place: limit_of(place[0], by_name[place[1]]) if place[1] in by_name else None,
        pauses=pauses,
        lately=lately,
        rates=rates,
        held=held,
        guarded=guarded,
        runaways=runaways,
        closed=partial(_closed, streams=streams, now=now),
    )
    found = top.part(facts, now)
    return {**found, "site": top_site.part(site, facts)} if site else found


def _closed(stream: str, streams: Mapping[str, Stream], now: int) -> tuple[str, int] | None:
    window = streams[stream].window if stream in streams else None
    if window is None or (opens := window.opens(now)) <= now:
        return None
    return window.name, opens


def connections_to(site: str, pool: Pool, shapes: Shapes) -> int:
    """How many there may be at once, from all sources of the pool."""
    host, colon, _ = site.rpartition(":")  # of a relay or next hop: its host and port
    shape = shapes.of_host(host) if colon else shapes.of(site, pool.name, site)
    each = shape.connections * len(pool.sources)
    return each if shape.site_connections is None else min(each, shape.site_connections)


def _by_pool(found: Mapping[tuple[str, str], int], pools: Sequence[Pool]) -> Counter[tuple[str, str]]:
    """Open connections by site and pool. A source that stands in several pools counts for the first."""
    pool_of = {source.address: pool.name for pool in reversed(pools) for source in pool.sources}
    counted: Counter[tuple[str, str]] = Counter()
    for (address, site), number in found.items():
        counted[site, pool_of.get(address, "")] += number
    return counted


async def stats(stages: Stages, alerts: WorkerAlerts, started: int) -> Json:
    """As relay/web/metrics.py reads it."""
    counters: Json = dict(stages.door.counters)
    for listener in stages.listeners:
        for name, value in asdict(listener.counters).items():
            counters[name] = counters.get(name, 0) + value
    for kind in ("delivered", "deferred", "bounced"):
        counters[kind] = [{"class": c.label, "value": stages.tally[kind, c]} for c in MailClass]
    counters["tls_failures"] = stages.tls_ledger.failures
    troubles = alerts.troubles()
    flags = stages.flags.totals.items()
    counters["checks_flagged"] = [{"brand": brand, "check": check, "value": n} for (brand, check), n in flags]
    counters["returned_mail"] = [{"kind": kind, "value": n} for kind, n in sorted(stages.returns.counters.items())]
    counters["returned_heard"] = [{"kind": kind, "value": n} for kind, n in sorted(stages.hindsight.counters.items())]
    return {
        "pid": os.getpid(),
        "version": __version__,
        "policies": stages.versions["version"],
        "config": stages.versions["config"],
        "started": started,
        "healthy": stages.healthy,
        "shards": [await _shard_stats(shard) for shard in stages.shards],
        "counters": counters,
        "gauges": {
            "connections": sum(listener.connections for listener in stages.listeners),
            "streams_contradicted": len(troubles),
            "state_up": int(not stages.state.trouble),
            "sts_policies": len(stages.sts),
            "state_sharers": max(stages.state.sharers, stages.order.workers),
            **stages.pacemaker.gauges(clock()),
        },
        "alerts": [asdict(alert) for alert in alerts.standing()],
        "needs": stages.caring.needs(),
        "health": stages.caring.gauges(),
        "troubles": [asdict(trouble) for trouble in troubles],
        "state_trouble": stages.state.trouble,
        "shaping": stages.steering.shown(slowed=True),
        "suspensions": stages.suspending.shown(),
        "suspensions_known": stages.suspensions.known,
        "suspensions_in_force": len(list(stages.suspensions)),
        "egress": stages.courier.stats(),
    }


async def _shard_stats(shard: Shard) -> Json:
    queue = dict(await shard.spool.counts())
    del queue["due"]
    lanes = [
        {"class": c.label, "site": site, "stream": stream, "waiting": count}
        for (c, site, stream), count in queue["lanes"].items()
    ]
    return {
        "shard": shard.number,
        "healthy": shard.spool.healthy,
        "queue": {**queue, "lanes": lanes, "suspended": {str(by): n for by, n in queue["suspended"].items()}},
        "schedule": shard.dispatcher.stats(),
    }


async def watch(shards: Sequence[tuple[Spool, Dispatcher, Watchdog]], clock: Callable[[], int]) -> None:
    """Show each watchdog the mail that has been due the longest, for ever."""
    while True:
        await asyncio.sleep(LOOK_AT_PROGRESS)
        for spool, dispatcher, watchdog in shards:
            try:
                await look(spool, dispatcher, watchdog, clock)
            except SpoolError as error:  # who ends with it says so
                log.warning("the watchdog cannot read the spool", error=str(error))


async def look(spool: Spool, dispatcher: Dispatcher, watchdog: Watchdog, clock: Callable[[], int]) -> None:
    """One page of lanes."""
    wanted = watchdog.look(clock())
    heads, last = await spool.overdue(*wanted, LANES_LOOKED_AT)
    lanes = (await spool.counts())["lanes"] if heads else {}
    seen = Seen(
        heads=[Head(*head) for head in heads],
        last=last,
        ended=dispatcher.ended[wanted.mail_class],
        waiting=sum(count for (mail_class, *_), count in lanes.items() if mail_class is wanted.mail_class),
        flies=dispatcher.in_flight,
        paused=lambda lane: dispatcher.pause_of(lane) is not None,
        healthy=spool.healthy,
    )
    watchdog.seen(seen, clock())
