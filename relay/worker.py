"""The wiring of one worker process: the one place that turns the configuration into stages and joins them.

A worker runs edge, schedule and egress in one uvloop, and owns its shard of the spool; shards that have no worker (there
were more workers before) are adopted: their mail goes out, new mail goes to the worker's own. The supervisor hands it
listening sockets and one end of a socket pair; when that pair closes, the worker drains and ends.
"""

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain

import structlog
import uvloop

from relay import __version__, logs, settings, worker_view
from relay.accept import Acceptance
from relay.alert import (
    Alert,
    contradiction,
    contradiction_over,
    flagged,
    flagged_over,
    moving,
    source_aside,
    source_back,
    sources_aside,
    stalled,
    state_back,
    state_lost,
)
from relay.alert_news import Change, letter, subject_of
from relay.attempt import Attempting, attempt, pool_for
from relay.config.evidence import load_model
from relay.control import Json, answer_channel
from relay.door import Door
from relay.edge.guesses import Guesses
from relay.edge.limits import ByteBudget
from relay.edge.listener import Listener
from relay.egress.courier import Courier
from relay.egress.resolver import Resolver
from relay.egress.security.guard import Guard
from relay.egress.security.ledger import Ledger as TlsLedger
from relay.egress.security.policies import StsPolicies
from relay.egress.security.store import Store as TlsStore
from relay.egress.settings import Share
from relay.event import Recorder
from relay.feedback.eventlog import Exporter
from relay.identity import Rate
from relay.ids import Ids
from relay.in_force import law_of, load
from relay.lately import Lately
from relay.message import MailClass
from relay.notice import put_alert
from relay.order import DRAIN_SECONDS, Order, Place
from relay.pacing import Pacer
from relay.policy.contradiction import Ledger
from relay.policy.evidence.judge import Judge
from relay.policy.flags import Flags
from relay.policy.sample import Sample
from relay.policy.suspension import Suspensions
from relay.policy.weigh import Memory
from relay.queue_commands import QueueCommands
from relay.schedule.dispatcher import Dispatcher
from relay.schedule.watchdog import Watchdog
from relay.settings import WorkerSettings
from relay.shaping.health import Aside
from relay.shaping.pacemaker import Pacemaker
from relay.shaping.shaper import Shaper
from relay.signing.signer import Signer
from relay.spare import SparePower
from relay.spool.errors import SpoolError
from relay.spool.store import Spool
from relay.state.choice import state_at
from relay.state.interface import StateError
from relay.state.permits import ConnectionPermits, QuotaLeases
from relay.state.rates import RateLeases
from relay.steering import Steering
from relay.suspending import Suspending
from relay.tls_reports import TlsReports
from relay.trace import Tracer

log = structlog.get_logger()


OPEN_STATE_AGAIN = 5.0  # seconds
YIELD = 0.0005  # seconds a thread that reads files keeps Python's lock from the loop; the default is ten times that
LOOK_AT_CERTIFICATE = 60.0  # seconds; certificates are renewed weeks before they end
LAST_COUNTS = 2.0  # seconds at the end in which counts for TLS reports are written down
LOOK_AT_ALERTS = 1.0  # seconds between what begins or ends and its alert


def clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Shard:
    """One spool file with what works on it."""

    number: int
    spool: Spool
    dispatcher: Dispatcher
    exporter: Exporter
    attempting: Attempting
    commands: QueueCommands
    watchdog: Watchdog


class Worker:
    """Built from an Order; `run()` returns the exit status when it has drained. Long, because all wiring is in one place."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._share = Share(order.workers, order.shards[0])
        self.settings = settings.worker_settings(load(order.place, checked=False), order.capture, self._share)
        self._prepared: WorkerSettings | None = None
        self._stop = asyncio.Event()
        self._fatal = False
        self._state_lost: Alert | None = None
        self._open = False  # the spool is: questions about it can be answered
        self._started = clock()
        node = self.settings.in_force.deployment.node
        self.hostname, self.data_dir = node.hostname, node.data_dir  # of the node's start, like all of [node]
        self.ids = Ids(node.name, order.shards[0], clock)
        self.recorder = Recorder(node.name, clock, self.ids.next)
        said, name = self.settings.in_force.deployment.state, f"{node.name}/{order.shards[0]}"
        self.state = state_at(said.url, said.password_file, self.data_dir, node.name, order.shards[0])
        self.permits = ConnectionPermits(self.state, name, order.workers)
        self.quotas = QuotaLeases(self.state, order.workers)
        self.pacer = Pacer()
        self.suspensions = Suspensions(lambda delivery: pool_for(delivery, self.shards[0].attempting).name)
        self.signer = Signer(spare=SparePower())
        self.lately = Lately()
        self.tally: Counter[tuple[str, MailClass]] = Counter()
        self.judge = Judge(load_model)
        self.ledger = Ledger()
        self.memory = Memory(Sample(self.judge), self.ledger)
        self.flags = Flags()
        shaping = self.settings.in_force.policies.shaping
        self._aside: dict[tuple[str, str], Aside] = {}  # sources that were told to stand aside, by address and site
        # A holder of this life alone: what a former one used lately still counts, and ends by itself.
        self.parts = ConnectionPermits(self.state, f"{name}/{secrets.token_hex(4)}", order.workers)
        self.rates = RateLeases(self.parts, self.quotas, time.monotonic)
        self.pacemaker = Pacemaker(name, shaping.rules, shaping.warmup)
        self.shaper = Shaper(shaping.shapes, self.rates, clock, pacemaker=self.pacemaker)
        self.tls_store = TlsStore(self.data_dir / "tls.db")
        self.courier = self._build_courier()
        self.budget = ByteBudget(self.settings.bytes_in_hand)
        self.shards = [self._build_shard(number) for number in order.shards]
        self.tls_reports = self._build_tls_reports(node.name)
        self.door = self._build_door(self.shards[0])
        self.steering = Steering(
            self.state, self.pacemaker, lambda: self.shards[0].attempting.named, self.door.record, order.workers
        )
        self.totals = worker_view.Totals(self.tally, lambda: self.door.counters["accepted"])
        self.suspending = Suspending(
            self.state,
            self.suspensions,
            [shard.commands for shard in self.shards],
            self.door.record,
            node.name,
        )
        self.listeners = self._build_listeners()
        self._get_ready(self.settings)
        self._apply(self.settings)

    def __repr__(self) -> str:
        return f"<Worker shards={self.order.shards} listeners={len(self.listeners)} {self._versions}>"

    @property
    def _versions(self) -> dict[str, str]:
        return self.settings.in_force.place.versions

    # --- wiring -------------------------------------------------------------------------------------------------

    def _build_courier(self) -> Courier:
        egress, sites = self.settings.egress, self.settings.in_force.policies.shaping.sites
        resolver = Resolver(self.settings.nameservers, trust_ad=egress.trust_ad)
        self.tls_ledger = TlsLedger(resolver, self.tls_store, clock)
        self.sts = StsPolicies(
            resolver, self.tls_store, clock, self.tls_ledger.count, allow_private=egress.allow_private
        )
        guard = Guard(resolver, self.sts, self.tls_ledger, clock, trust_ad=egress.trust_ad, port=egress.port)
        return Courier(egress, resolver, self.permits, self.rates, sites, guard)

    def _build_tls_reports(self, node: str) -> TlsReports:
        house, lead = self.shards[0].attempting, 0 in self.order.shards
        return TlsReports(house, self.sts, self.tls_ledger, self.tls_store, node=node, lead=lead)

    def _build_shard(self, number: int) -> Shard:
        """What a reload may change is put into it by `_apply`."""
        spool = Spool(self.data_dir / "spool" / f"{number}.db", clock=clock, on_fatal=self._spool_failed)
        in_force = self.settings.in_force
        attempting = Attempting(
            hostname=self.hostname,
            clock=clock,
            next_id=self.ids.next,
            pools=self.settings.pools,
            named=in_force.deployment.pools,
            routes=in_force.policies.exceptions,
            retry=in_force.policies.retry,
            streams=in_force.policies.streams.named,
            quota_of=self._quota_of,
            timezone_of=self._timezone_of,
            keys_for=in_force.keys.for_domain,
            site_of=settings.site_chooser(self.settings.egress, in_force.policies.shaping.sites),
            signer=self.signer,
            tracer=Tracer(self.settings.secret),
            quotas=self.quotas,
            pacer=self.pacer,
            suspensions=self.suspensions,
            spool=spool,
            courier=self.courier,
            going=lambda delivery: dispatcher.going(delivery),  # noqa: PLW0108 it does not exist yet
            shaper=self.shaper,
            offer=lambda deliveries: dispatcher.offer(deliveries),  # noqa: PLW0108 it does not exist yet
            recorder=self.recorder,
            tally=self.tally,
            lately=self.lately,
        )
        dispatcher = Dispatcher(spool, partial(attempt, house=attempting), clock)
        exporter = Exporter(spool, self.data_dir / "events", number, clock)
        return Shard(
            number, spool, dispatcher, exporter, attempting, QueueCommands(spool, dispatcher, attempting), Watchdog()
        )

    def _build_door(self, own: Shard) -> Door:
        in_force = self.settings.in_force
        house = Acceptance(
            hostname=self.hostname,
            clock=clock,
            next_id=self.ids.next,
            law=law_of(in_force.policies, in_force.keys, self.hostname),
            judge=self.judge,
            memory=self.memory,
            flags=self.flags,
            keys_for=in_force.keys.for_domain,
            site_of=own.attempting.site_of,
            signer=self.signer,
            tracer=own.attempting.tracer,
            quotas=self.quotas,
            pacer=self.pacer,
            suspensions=self.suspensions,
            spool=own.spool,
            offer=own.dispatcher.offer,
            recorder=self.recorder,
        )
        return Door(house)

    def _build_listeners(self) -> list[Listener]:
        guesses = Guesses()
        pairs = zip(self.order.listeners, self.settings.listeners, strict=True)
        return [
            Listener(
                socket.socket(fileno=descriptor),
                settings=said,
                limits=limits,
                door=self.door,
                budget=self.budget,
                guesses=guesses,
                clock=clock,
            )
            for descriptor, (said, limits) in pairs
        ]

    def _apply(self, wanted: WorkerSettings) -> None:
        """Put it in force: whole objects are replaced, nothing that runs sees half of them. The listeners follow by
        `_listen_as`. Nothing here waits or fails."""
        asked = (self.settings.nameservers, self.settings.egress.trust_ad)
        others = (wanted.nameservers, wanted.egress.trust_ad) != asked
        resolver = Resolver(wanted.nameservers, trust_ad=wanted.egress.trust_ad) if others else None
        policies, keys_for = wanted.in_force.policies, wanted.in_force.keys.for_domain
        sites = policies.shaping.sites
        self.courier.reconfigure(wanted.egress, sites, resolver)
        self.shaper.shapes = policies.shaping.shapes
        self.pacemaker.rules, self.pacemaker.warmup = policies.shaping.rules, policies.shaping.warmup
        pools = wanted.in_force.deployment.pools.values()
        self.shaper.health.keep(source.address for pool in pools for source in pool.sources)
        self.settings = wanted
        self.budget.limit = wanted.bytes_in_hand
        site_of, tracer = settings.site_chooser(wanted.egress, sites), Tracer(wanted.secret)
        self.recorder.policies = policies.version
        law = law_of(policies, wanted.in_force.keys, self.hostname)
        self.door.apply(wanted.credentials, law, keys_for, site_of, tracer)
        for shard in self.shards:
            shard.dispatcher.resume()  # rates may be others now
            house = shard.attempting
            house.pools, house.retry, house.tracer = wanted.pools, policies.retry, tracer
            house.named, house.routes = wanted.in_force.deployment.pools, policies.exceptions
            house.streams = policies.streams.named
            house.keys_for, house.site_of = keys_for, site_of

    def _get_ready(self, wanted: WorkerSettings) -> None:
        """What takes long and would otherwise be done with the first message that needs it."""
        if wanted.credentials.undecided or wanted.in_force.policies.streams.ask:
            self.judge.ready()

    async def _listen_as(self, wanted: WorkerSettings) -> None:
        for listener, (said, limits) in zip(self.listeners, wanted.listeners, strict=True):
            await listener.reconfigure(said, limits)

    def _quota_of(self, credential: str) -> Rate | None:
        found = self.settings.in_force.policies.credentials.get(credential)
        return found.quota if found is not None else None

    def _timezone_of(self, brand: str) -> str:
        found = self.settings.in_force.policies.brands.get(brand)
        return found.timezone if found is not None else "UTC"

    # --- life ---------------------------------------------------------------------------------------------------

    def _spool_failed(self, error: BaseException) -> None:
        """A failed fsync may have lost what SQLite thinks is written: stop; a fresh process recovers the file."""
        log.critical("spool failed; this worker stops and is started anew", error=str(error))
        self._fatal = True
        self._stop.set()

    async def run(self) -> int:
        """Until told to stop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        control = asyncio.create_task(answer_channel(socket.socket(fileno=self.order.control), self._answer))
        control.add_done_callback(lambda _: self._stop.set())
        opening = await self._open_state()
        await (
            self.sts.load()
        )  # before mail goes: who takes a policy's record out of DNS is to gain nothing by our restart
        for shard in self.shards:
            await shard.spool.open()
        self._open = True
        running = [
            asyncio.create_task(loop_)
            for loop_ in (
                self.permits.run(),
                self.parts.run(),
                self.rates.run(),
                self.tls_reports.run(),
                *(s.exporter.run() for s in self.shards),
            )
        ]
        await self.suspending.look()
        await self.steering.look()
        running += [asyncio.create_task(s.dispatcher.run()) for s in self.shards]
        watched = [(shard.spool, shard.dispatcher, shard.watchdog) for shard in self.shards]
        running += [asyncio.create_task(self.suspending.run()), asyncio.create_task(worker_view.watch(watched, clock))]
        running.append(asyncio.create_task(self.steering.run()))
        running += [asyncio.create_task(self._watch_certificate()), asyncio.create_task(self._watch_alerts())]
        running += opening
        for task in running:
            task.add_done_callback(self._task_ended)
        for listener in self.listeners:
            await listener.start()
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process: the collector need not look at it again
        gc.set_threshold(50_000, 20, 20)  # a message's objects die by reference count; 700 would look 30 times a second
        log.info("worker runs", shards=self.order.shards, **self._versions)
        await self._stop.wait()
        if self._fatal:
            return 1
        await self._drain(running, control)
        return 0

    async def _open_state(self) -> list[asyncio.Task[None]]:
        """State, or the task that tries again until it opens: meanwhile mail is taken, and transactional mail goes."""

        async def again() -> None:
            while True:
                await asyncio.sleep(OPEN_STATE_AGAIN)
                if await opened():
                    return

        async def opened() -> bool:
            try:
                await self.state.open()
            except StateError as error:
                log.error("State cannot be opened; trying again", error=str(error))
                return False
            return True

        return [] if await opened() else [asyncio.create_task(again())]

    async def _watch_certificate(self) -> None:
        """Renewed files are noticed (INTERFACE, [tls])."""
        while True:
            await asyncio.sleep(LOOK_AT_CERTIFICATE)
            files = self.settings.certificate
            if files is not None and files.changed():
                for listener in self.listeners:
                    listener.renew_certificate(files.cert, files.key)

    async def _watch_alerts(self) -> None:
        """Say when mail begins to be another than it claims, or not to pass a check that its brand wants flagged, or when
        State is lost, or a source stands aside; and when that ends."""
        while True:
            await asyncio.sleep(LOOK_AT_ALERTS)
            self.totals.note(clock())
            news = chain(self._claims(), self._flags(), self._of_state(), self._of_sources(), self._of_progress())
            for state, alert in news:
                log.warning("alert", state=state, summary=alert.summary)
                self.door.record("alert", alert.event(state))

    def _of_state(self) -> Iterator[tuple[str, Alert]]:
        if self.state.trouble and self._state_lost is None:
            self._state_lost = state_lost(self.state.trouble)
            yield "firing", self._state_lost
        elif not self.state.trouble and self._state_lost is not None:
            self._state_lost = None
            yield "resolved", state_back()

    def _of_sources(self) -> Iterator[tuple[str, Alert]]:
        before, self._aside = self._aside, {(a.source, a.site): a for a in self.shaper.health.standing(clock())}
        yield from (("firing", source_aside(aside)) for key, aside in self._aside.items() if key not in before)
        yield from (("resolved", source_back(*key)) for key in before if key not in self._aside)

    def _of_progress(self) -> Iterator[tuple[str, Alert]]:
        for shard in self.shards:
            for state, stall in shard.watchdog.news():
                yield state, stalled(stall) if state == "firing" else moving(stall)

    def _claims(self) -> Iterator[tuple[str, Alert]]:
        doing = self.settings.in_force.policies.streams.doing
        for state, trouble in self.ledger.news(clock(), self._trusts):
            firing = state == "firing"
            yield state, contradiction(trouble, doing(trouble.stream)) if firing else contradiction_over(trouble)

    def _flags(self) -> Iterator[tuple[str, Alert]]:
        for state, flag in self.flags.news(clock()):
            yield state, flagged(flag) if state == "firing" else flagged_over(flag)

    def _trusts(self, stream: str) -> bool:
        return self.settings.in_force.policies.streams.doing(stream) == "trust"

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the worker failed", exc_info=error)
            self._fatal = True
            self._stop.set()

    async def _drain(self, running: Sequence[asyncio.Task[None]], control: asyncio.Task[None]) -> None:
        """Finish what is under way within the bound; new connections wait in the supervisor's sockets."""
        for listener in self.listeners:
            await listener.stop_accepting()
        saved = sum(await asyncio.gather(*(listener.drain(DRAIN_SECONDS / 2) for listener in self.listeners)))
        # Together: what waits for a connection is let go at once, to be tried by the next worker.
        drains = [shard.dispatcher.drain(DRAIN_SECONDS / 2) for shard in self.shards]
        cut, *left = await asyncio.gather(self.courier.close(DRAIN_SECONDS / 2), *drains)
        flying = sum(left)
        log.info("drained", attempts_left=flying)
        if saved or cut:
            log.warning("cut at the end of the bound; may arrive twice", handed_in=saved, awaiting_final_reply=cut)
        for task in (*running, control):
            task.cancel()
        await asyncio.gather(*running, control, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.tls_ledger.flush(), LAST_COUNTS)
        self.tls_store.close()
        for shard in self.shards:
            await shard.exporter.flush()
            await shard.spool.close()
        await self.rates.close()
        await self.parts.give_back()
        await self.permits.close()
        await self.state.close()
        self.signer.close()

    # --- commands -----------------------------------------------------------------------------------------------

    async def _answer(self, question: Json) -> Json:
        match question.get("do"):
            case "prepare":
                return await self._prepare(question)
            case "commit":
                return await self._commit(question)
        if not self._open:
            return {"error": "the worker is still opening its spool"}
        return await self._do(question)

    async def _do(self, question: Json) -> Json:
        match question.get("do"):
            case "stats":
                return await self._stats()
            case "queue.page" | "queue.change" | "queue.count":
                return await self._commands(question).answer(question)
            case "queue.top":
                return await self._top()
            case "alerts":
                healthy = all(shard.spool.healthy for shard in self.shards)
                return {"alerts": [asdict(alert) for alert in self._alerts()], "healthy": healthy}
            case "alert.mail":
                return await self._mail_alerts(question)
            case "suspend":
                return await self.suspending.suspend(question)
            case "resume":
                return await self.suspending.resume(question)
            case "record":
                self.door.record(question["kind"], question["facts"])
                return {"ok": True}
            case "pace" | "warmup" | "paces":
                return await self.steering.answer(question)
        return {"error": f"a worker does not know how to {question.get('do')}"}

    def _commands(self, question: Json) -> QueueCommands:
        return next(shard for shard in self.shards if shard.number == question["shard"]).commands

    async def _prepare(self, question: Json) -> Json:
        """Read what is to be in force and keep it ready; `commit` puts it in force (relay/changeover.py). In a thread: it
        takes up to a second, and mail does not wait for it; for each turn of the loop no longer than YIELD."""

        def read() -> WorkerSettings:
            place = load(Place(**question["place"]), checked=False)
            wanted = settings.worker_settings(place, question["capture"], self._share)
            self._get_ready(wanted)
            return wanted

        usual = sys.getswitchinterval()
        sys.setswitchinterval(YIELD)
        try:
            self._prepared = await asyncio.to_thread(read)
        finally:
            sys.setswitchinterval(usual)
        return self._prepared.in_force.place.versions

    async def _commit(self, question: Json) -> Json:
        """It is decided: also for a worker that was started meanwhile and has prepared nothing."""
        if self._prepared is None or asdict(self._prepared.in_force.place) != question["place"]:
            await self._prepare(question)
        assert self._prepared is not None
        wanted, self._prepared = self._prepared, None
        self._apply(wanted)
        await self._listen_as(wanted)
        return self._versions

    async def _top(self) -> Json:
        shards = [(shard.spool, shard.dispatcher) for shard in self.shards]
        named, rates = self.settings.in_force.deployment.pools, self.totals.rates(clock())
        return await worker_view.part(
            shards, self.settings.pools, named, self.courier.connections(), self.lately, rates, clock()
        )

    def _alerts(self) -> list[Alert]:
        """Those that stand now."""
        doing = self.settings.in_force.policies.streams.doing
        contradicted = [contradiction(one, doing(one.stream)) for one in self.ledger.troubles(self._trusts)]
        alerts = [*contradicted, *map(flagged, self.flags.standing())]
        alerts += [self._state_lost] if self._state_lost else []
        alerts += sources_aside(self._aside.values())
        return alerts + [stalled(stall) for shard in self.shards for stall in shard.watchdog.standing()]

    async def _mail_alerts(self, question: Json) -> Json:
        """{"to": addresses, "changes": [{"state", "alert"}]}: one mail, saved and queued when it answers."""
        changes = [Change(one["state"], one["alert"]) for one in question["changes"]]
        house, to, identifier = self.shards[0].attempting, question["to"], self.ids.next()
        content = letter(changes, self.recorder.node, self.hostname, to, identifier, clock())
        try:
            await put_alert(content, subject_of(changes), identifier, to, house)
        except SpoolError as error:
            return {"error": str(error)}
        return {"id": identifier}

    async def _stats(self) -> Json:
        """As relay/web/metrics.py reads it."""
        counters: Json = dict(self.door.counters)
        for listener in self.listeners:
            for name, value in asdict(listener.counters).items():
                counters[name] = counters.get(name, 0) + value
        for kind in ("delivered", "deferred", "bounced"):
            counters[kind] = [{"class": c.label, "value": self.tally[kind, c]} for c in MailClass]
        counters["tls_failures"] = self.tls_ledger.failures
        troubles = list(self.ledger.troubles(self._trusts))
        flags = self.flags.totals.items()
        counters["checks_flagged"] = [{"brand": brand, "check": check, "value": n} for (brand, check), n in flags]
        return {
            "pid": os.getpid(),
            "version": __version__,
            "policies": self._versions["version"],
            "config": self._versions["config"],
            "started": self._started,
            "healthy": all(shard.spool.healthy for shard in self.shards),
            "shards": [await _shard_stats(shard) for shard in self.shards],
            "counters": counters,
            "gauges": {
                "connections": sum(listener.connections for listener in self.listeners),
                "streams_contradicted": len(troubles),
                "state_up": int(not self.state.trouble),
                "sts_policies": len(self.sts),
                "state_sharers": max(self.state.sharers, self.order.workers),
                **self.pacemaker.gauges(clock()),
            },
            "alerts": [asdict(alert) for alert in self._alerts()],
            "troubles": [asdict(trouble) for trouble in troubles],
            "state_trouble": self.state.trouble,
            "shaping": self.steering.shown(slowed=True),
            "suspensions": self.suspending.shown(),
            "suspensions_known": self.suspensions.known,
            "suspensions_in_force": len(list(self.suspensions)),
            "egress": self.courier.stats(),
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


def main() -> int:
    order = Order.load(sys.argv[1])
    logs.configure(f"worker-{order.shards[0]}", os.environ.get("POSTLANE_LOG", "info"))

    async def run() -> int:
        return await Worker(order).run()

    return uvloop.run(run())


if __name__ == "__main__":
    sys.exit(main())
