"""All stages of one worker, built from an Order and joined: the one place that turns the configuration into stages.

A worker has its shard of the spool and adopts shards that have no worker (there were more workers before): their mail goes out,
new mail goes to the worker's own. Nothing here runs; relay/worker.py starts and ends what has to run.
"""

import asyncio
import contextlib
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from relay import settings
from relay.accept import Acceptance
from relay.apps import Apps
from relay.attempt import Attempting, attempt, pool_for
from relay.capping import Capping
from relay.caring import Caring
from relay.checking import Checking
from relay.config.evidence import load_model
from relay.consent import Known
from relay.copies import Copies
from relay.denials import Denials
from relay.door import Door
from relay.edge.guesses import Guesses
from relay.edge.limits import ByteBudget, ListenerSettings
from relay.edge.listener import Listener
from relay.effects import Effects
from relay.egress.courier import Courier
from relay.egress.resolver import Resolver
from relay.egress.security.guard import Guard
from relay.egress.security.ledger import Ledger as TlsLedger
from relay.egress.security.policies import StsPolicies
from relay.egress.security.store import Store as TlsStore
from relay.egress.security.unmet import Unmet
from relay.egress.settings import Share
from relay.engaging import Engaging
from relay.event import Recorder
from relay.feedback.eventlog import Exporter
from relay.guarding import Guarding
from relay.hindsight import Hindsight
from relay.identity import Rate
from relay.ids import Ids
from relay.in_force import law_of, load
from relay.lately import Lately
from relay.learning import Learning
from relay.message import MailClass
from relay.order import Order, Place
from relay.pacing import Pacer
from relay.people import People
from relay.policy.contradiction import Ledger
from relay.policy.copies import Hashes
from relay.policy.evidence.judge import Judge
from relay.policy.flags import Flags
from relay.policy.health import Slowed
from relay.policy.sample import Sample
from relay.policy.suspension import Suspensions
from relay.policy.weigh import Memory
from relay.prospect import Prospects
from relay.queue_commands import QueueCommands
from relay.recipient import Keys
from relay.releasing import Releasing
from relay.return_path import ReturnPaths
from relay.returns import Returns
from relay.schedule.dispatcher import Dispatcher
from relay.schedule.watchdog import Watchdog
from relay.settings import WorkerSettings
from relay.shaping.pacemaker import Pacemaker
from relay.shaping.shaper import Shaper
from relay.signing.multibuffer import load_multibuffer
from relay.signing.signer import Signer
from relay.spare import SparePower
from relay.spool.store import Spool
from relay.state.choice import state_at
from relay.state.permits import ConnectionPermits, QuotaLeases
from relay.state.rates import RateLeases
from relay.steering import Steering
from relay.suspending import Suspending
from relay.tally import DNS
from relay.tallying import Tallying
from relay.tls_reports import TlsReports
from relay.tokens import Tokens
from relay.trace import Tracer

LAST_COUNTS = 2.0  # seconds at the end in which counts for TLS reports are written down


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
    effects: Effects
    attempting: Attempting
    commands: QueueCommands
    watchdog: Watchdog


class Stages:
    """What a reload may change is put into them by `apply`; `on_fatal` hears of a failed fsync. Long, because all wiring is in
    one place."""

    def __init__(self, order: Order, on_fatal: Callable[[BaseException], None]) -> None:
        self.order = order
        self._on_fatal = on_fatal
        self._share = Share(order.workers, order.shards[0])
        self.settings = settings.worker_settings(load(order.place, checked=False), order.capture, self._share)
        node = self.settings.in_force.deployment.node
        self.hostname, self.data_dir = node.hostname, node.data_dir  # of the node's start, like all of [node]
        self.ids = Ids(node.name, order.shards[0], clock)
        self.recorder = Recorder(node.name, clock, self.ids.next)
        said, name = self.settings.in_force.deployment.state, f"{node.name}/{order.shards[0]}"
        self.state = state_at(
            said.url, said.password_file, self.data_dir, node.name, order.shards[0], said.sentinel_password_file
        )
        self.permits = ConnectionPermits(self.state, name, order.workers)
        self.quotas = QuotaLeases(self.state, order.workers)
        self.pacer = Pacer()
        self.slow = Slowed()
        self.suspensions = Suspensions(lambda delivery: pool_for(delivery, self.shards[0].attempting).name)
        self.known = Known(self.state, Keys(self.settings.secrets))
        self.capping = Capping(self.state, self.settings.in_force.policies.caps, self.known.keys, clock)
        self.copies = Copies(self.state, Hashes(self.settings.secret), self._replaced)
        self.paths = ReturnPaths(self.settings.secrets, self.settings.in_force.deployment.retention.sent)
        self.guarding = Guarding(self.state, self.copies.hashes)
        self._looking: set[asyncio.Task[None]] = set()
        self.engaging = Engaging(self.state, self.known.keys, self.settings.in_force.policies.tiers, clock)
        self.signer = Signer(spare=SparePower(), multibuffer=load_multibuffer())
        self.lately, self.unmet = Lately(), Unmet()
        self.tally: Counter[tuple[str, MailClass]] = Counter()
        self.judge = Judge(load_model)
        self.ledger, self.flags = Ledger(), Flags()
        self.memory = Memory(Sample(self.judge), self.ledger)
        shaping = self.settings.in_force.policies.shaping
        # A holder of this life alone: what a former one used lately still counts, and ends by itself.
        self.parts = ConnectionPermits(self.state, f"{name}/{secrets.token_hex(4)}", order.workers)
        self.rates = RateLeases(self.parts, self.quotas, time.monotonic)
        self.pacemaker = Pacemaker(name, shaping.rules, shaping.warmup)
        self.shaper = Shaper(shaping.shapes, self.rates, clock, pacemaker=self.pacemaker)
        self.tls_store = TlsStore(self.data_dir / "tls.db")
        self.courier = self._build_courier()
        self.checking = Checking(self.data_dir, order.shards[0])
        self.budget = ByteBudget(self.settings.bytes_in_hand)
        self.shards = [self._build_shard(number) for number in order.shards]
        self.tls_reports = self._build_tls_reports(node.name)
        self.door = self._build_door(self.shards[0])
        self.returns, self.hindsight = self._build_returns(), self._build_hindsight(node.name)
        self.people = People(
            self.state,
            self.known.keys,
            self.door.record_all,
            self.shards[0].attempting.site_of,
            self.settings.in_force.policies.brands,
            self.engaging,
        )
        self.people.used, self.people.sends = self.capping.used, self.capping.sends
        self.steering = Steering(
            self.state,
            self.pacemaker,
            lambda: self.shards[0].attempting.named,
            self.door.record,
            order.workers,
            opened=self._opened,
        )
        self._build_caring(node.name)
        self.releasing = Releasing(self.guarding, [shard.commands for shard in self.shards])
        self.apps = Apps(self.checking, self.people, clock)
        self.listeners = self._build_listeners()
        self._get_ready(self.settings)
        self.apply(self.settings)

    def __repr__(self) -> str:
        return f"<Stages of shards={self.order.shards} listeners={len(self.listeners)} {self.versions}>"

    def addresses(self) -> dict[str, list[str]]:
        """Of each pool in force, by name."""
        pools = self.shards[0].attempting.named
        return {name: [source.address for source in pool.sources] for name, pool in pools.items()}

    def _opened(self, site: str) -> None:
        """Mail that waits there need not wait any longer."""
        for shard in self.shards:
            shard.dispatcher.resume(site)

    def desk(self, name: str) -> People | Apps | Prospects | Caring:
        """Who answers such questions: people, api, would, health."""
        if name == "would":
            return Prospects(self.shards[0].attempting)
        if name == "health":
            return self.caring
        return self.people if name == "people" else self.apps

    @property
    def versions(self) -> dict[str, str]:
        """Of what is in force."""
        return self.settings.in_force.place.versions

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
        """What a reload may change is put into it by `apply`."""
        spool = Spool(self.data_dir / "spool" / f"{number}.db", clock=clock, on_fatal=self._on_fatal)
        in_force = self.settings.in_force
        attempting = Attempting(
            hostname=self.hostname,
            clock=clock,
            next_id=self.ids.next,
            pools=self.settings.pools,
            named=in_force.deployment.pools,
            routes=in_force.policies.exceptions,
            retry=in_force.policies.retry,
            rulings=in_force.policies.rulings,
            aftermath=in_force.policies.aftermath,
            doubts=self._doubts,
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
            known=self.known,
            engaging=self.engaging,
            capping=self.capping,
            copies=self.copies,
            spool=spool,
            courier=self.courier,
            going=lambda delivery: dispatcher.going(delivery),  # noqa: PLW0108 it does not exist yet
            shaper=self.shaper,
            offer=lambda deliveries: dispatcher.offer(deliveries),  # noqa: PLW0108 it does not exist yet
            recorder=self.recorder,
            return_path=self._return_path,
            tally=self.tally,
            lately=self.lately,
            delivered_to=self.checking.traffic.add,
            unmet=self.unmet,
            slow=self.slow,
        )
        dispatcher = Dispatcher(spool, partial(attempt, house=attempting), clock)
        exporter = Exporter(spool, self.data_dir / "events", number, clock)
        effects = Effects(
            spool,
            [
                self.capping.settle,
                self.engaging.count,
                # Before what is counted: that DNS is in doubt is known when its denials count against a stream.
                lambda effects: self.learning.learn(effects),  # noqa: PLW0108 not yet there
                Tallying(self.state, f"{in_force.deployment.node.name}/{number}").count,
            ],
        )
        return Shard(
            number,
            spool,
            dispatcher,
            exporter,
            effects,
            attempting,
            QueueCommands(spool, dispatcher, attempting),
            Watchdog(),
        )

    def _build_door(self, own: Shard) -> Door:
        in_force = self.settings.in_force
        house = Acceptance(
            hostname=self.hostname,
            clock=clock,
            next_id=self.ids.next,
            law=law_of(in_force.deployment, in_force.policies, in_force.keys, self.hostname),
            judge=self.judge,
            memory=self.memory,
            flags=self.flags,
            guarding=self.guarding,
            tokens=Tokens(self.settings.secrets),
            keys_for=in_force.keys.for_domain,
            site_of=own.attempting.site_of,
            signer=self.signer,
            tracer=own.attempting.tracer,
            quotas=self.quotas,
            pacer=self.pacer,
            suspensions=self.suspensions,
            known=self.known,
            engaging=self.engaging,
            capping=self.capping,
            copies=self.copies,
            spool=own.spool,
            offer=own.dispatcher.offer,
            recorder=self.recorder,
            return_path=self._return_path,
            leaving=self._leaving,
        )
        return Door(house, self.checking)

    def _build_returns(self) -> Returns:
        domains = settings.return_path_domains(self.settings.in_force)
        own = self.shards[0].attempting
        return Returns(self.state, self.paths, own, domains, self.door.rejected)

    def _build_hindsight(self, node: str) -> Hindsight:
        makers = [(shard, Ids(node, shard.number, clock).maker) for shard in self.shards]
        shards = [(shard.spool, shard.attempting, maker) for shard, maker in makers]
        return Hindsight(
            self.state,
            shards,
            clock,
            lambda source, site: self.steering.complained(source, site),  # noqa: PLW0108 it does not exist yet
            self._doubts,
        )

    def _doubts(self, site: str) -> bool:
        return self.caring.doubting.doubts(site) or (site == DNS and self.denials.doubtful)

    def _build_caring(self, node: str) -> None:
        """What operators stop, what the health of streams does, and what bounces teach of people."""
        policies, commands = self.settings.in_force.policies, [shard.commands for shard in self.shards]
        self.suspending = Suspending(self.state, self.suspensions, commands, self.door.record, node)
        self.caring = Caring(
            self.state,
            self.suspending,
            self.people,
            self.door.record,
            policies.health,
            policies.brands,
            self.slow,
        )
        self.denials = Denials(
            self.state,
            lambda domain: self.courier.resolver.mx_now(domain),  # noqa: PLW0108 a reload may bring another
            lambda: self.checking.traffic.counts,
        )
        doubted, gone = self.caring.doubting.doubted, self.denials.gone
        self.learning = Learning(self.state, self.people, self.known.keys, clock, doubted, gone)

    def _return_path(self, message_id: str, index: int, brand: str) -> str:
        domain = settings.return_path_domain(self.settings.in_force, brand)
        return self.paths.address(message_id, index, domain) if domain else ""

    def _leaving(self, message_id: str, index: int, brand: str) -> str:
        domain = settings.return_path_domain(self.settings.in_force, brand)
        return self.paths.leaving(message_id, index, domain) if domain else ""

    def _build_listeners(self) -> list[Listener]:
        guesses = Guesses()
        pairs = zip(self.order.listeners, self.settings.listeners, strict=True)
        return [
            Listener(
                socket.socket(fileno=descriptor),
                settings=said,
                limits=limits,
                door=self._door_of(said),
                budget=self.budget,
                guesses=guesses,
                clock=clock,
            )
            for descriptor, (said, limits) in pairs
        ]

    def _door_of(self, said: ListenerSettings) -> Door | Returns:
        return self.returns if said.role == "bounces" else self.door

    def doing(self, stream: str) -> str:
        """What is done about a contradiction in this stream, as the files in force say."""
        return self.settings.in_force.policies.streams.doing(stream)

    def _replaced(self, older: str, recipient: str, newer: str) -> None:
        """Where the older message waits here it is looked at now; elsewhere when its time comes."""
        for shard in self.shards:
            task = asyncio.create_task(shard.commands.look_at(older, recipient))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    @property
    def healthy(self) -> bool:
        return all(shard.spool.healthy for shard in self.shards)

    async def close(self) -> None:
        """When nothing runs any more."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.tls_ledger.flush(), LAST_COUNTS)
        await self.checking.write()
        self.tls_store.close()
        await self.copies.close()
        for shard in self.shards:
            await shard.exporter.flush()
            await shard.effects.flush()
            await shard.spool.close()
        await self.rates.close()
        await self.parts.give_back()
        await self.permits.close()
        await self.state.close()
        self.signer.close()

    # --- what a reload changes

    def read(self, place: Place, capture: str) -> WorkerSettings:
        """What is to be in force, for `apply`. Up to a second of reading."""
        wanted = settings.worker_settings(load(place, checked=False), capture, self._share)
        self._get_ready(wanted)
        return wanted

    def _get_ready(self, wanted: WorkerSettings) -> None:
        """What takes long and would otherwise be done with the first message that needs it."""
        if settings.asks_evidence(wanted.credentials, wanted.in_force.policies):
            self.judge.ready()

    def apply(self, wanted: WorkerSettings) -> None:
        """Put it in force: whole objects are replaced, nothing that runs sees half of them. The listeners follow by
        `listen_as`. Nothing here waits or fails."""
        asked = (self.settings.nameservers, self.settings.egress.trust_ad)
        others = (wanted.nameservers, wanted.egress.trust_ad) != asked
        resolver = Resolver(wanted.nameservers, trust_ad=wanted.egress.trust_ad) if others else None
        policies, keys_for = wanted.in_force.policies, wanted.in_force.keys.for_domain
        sites = policies.shaping.sites
        self.courier.reconfigure(wanted.egress, sites, resolver)
        by_mx = wanted.egress.relay is None and not wanted.in_force.capture
        self.checking.apply(policies.address_check, self.courier.resolver if by_mx else None)
        self.shaper.shapes, self.shaper.urgent_sources = policies.shaping.shapes, wanted.egress.urgent_sources
        self.pacemaker.rules, self.pacemaker.warmup = policies.shaping.rules, policies.shaping.warmup
        pools = wanted.in_force.deployment.pools.values()
        self.shaper.health.keep(source.address for pool in pools for source in pool.sources)
        self.settings = wanted
        self.budget.limit = wanted.bytes_in_hand
        site_of, tracer = settings.site_chooser(wanted.egress, sites), Tracer(wanted.secret)
        self.recorder.policies = policies.version
        self.known.keys = self.people.keys = self.capping.keys = self.engaging.keys = Keys(wanted.secrets)
        self.learning.keys = self.people.keys
        self.capping.caps = policies.caps
        remembered = wanted.in_force.deployment.retention.sent
        self.paths = self.returns.paths = ReturnPaths(wanted.secrets, remembered)
        self.hindsight.aftermath, self.hindsight.rulings = policies.aftermath, policies.rulings
        self.hindsight.max_age = remembered
        self.returns.domains = settings.return_path_domains(wanted.in_force)
        self.returns.postmasters = tuple(wanted.in_force.deployment.alerts.mail)
        self.returns.feedback = policies.feedback
        self.engaging.apply(policies.tiers)
        self.copies.hashes = self.guarding.hashes = Hashes(wanted.secret)
        self.guarding.guard = policies.runaway
        self.people.site_of, self.people.brands = site_of, frozenset(policies.brands)
        self.people.stop_forgotten = policies.forget
        law = law_of(wanted.in_force.deployment, policies, wanted.in_force.keys, self.hostname)
        self.door.apply(wanted.credentials, law, keys_for, site_of, tracer, Tokens(wanted.secrets))
        self.apps.apply(wanted.credentials, policies.brands)
        self.caring.limits, self.caring.brands = policies.health, policies.brands
        self.caring.feedback_ids = law.feedback_ids
        for shard in self.shards:
            shard.dispatcher.resume()  # rates may be others now
            house = shard.attempting
            house.pools, house.retry, house.tracer = wanted.pools, policies.retry, tracer
            house.named, house.routes = wanted.in_force.deployment.pools, policies.exceptions
            house.streams, house.rulings = policies.streams.named, policies.rulings
            house.aftermath = policies.aftermath
            house.keys_for, house.site_of = keys_for, site_of

    async def listen_as(self, wanted: WorkerSettings) -> None:
        for listener, (said, limits) in zip(self.listeners, wanted.listeners, strict=True):
            listener.desk.door = self._door_of(said)
            await listener.reconfigure(said, limits)

    def _quota_of(self, credential: str) -> Rate | None:
        found = self.settings.in_force.policies.credentials.get(credential)
        return found.quota if found is not None else None

    def _timezone_of(self, brand: str) -> str:
        found = self.settings.in_force.policies.brands.get(brand)
        return found.timezone if found is not None else "UTC"
