"""The wiring of one worker process: the one place that turns the configuration into stages and joins them.

A worker runs edge, schedule and egress in one uvloop, and owns its shard of the spool; shards that have no worker (there
were more workers before) are adopted: their mail goes out, new mail goes to the worker's own. The supervisor hands it
listening sockets and one end of a socket pair; when that pair closes, the worker drains and ends.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import uvloop

from relay import __version__, logs, settings
from relay.accept import Acceptance
from relay.attempt import Attempting, attempt
from relay.config import Deployment, Policies, load_deployment, load_policies, load_secret, sandbox_credential
from relay.config.evidence import load_model
from relay.control import Json, answer_channel
from relay.door import Door
from relay.edge.certificate import Certificate
from relay.edge.credentials import Directory
from relay.edge.listener import Listener
from relay.egress.courier import Courier
from relay.egress.resolver import Resolver
from relay.event import Recorder
from relay.feedback.eventlog import Exporter
from relay.identity import Rate
from relay.ids import Ids
from relay.message import Delivery, MailClass, Message
from relay.order import DRAIN_SECONDS, Order
from relay.pacing import Pacer
from relay.policy.evidence.judge import Judge
from relay.queue_commands import QueueCommands
from relay.schedule.dispatcher import Dispatcher
from relay.signing.keys import KeyRing, load_keys
from relay.signing.signer import Signer
from relay.spare import SparePower
from relay.spool.store import Spool
from relay.state.permits import ConnectionPermits, QuotaLeases
from relay.state.sqlite import SqliteState
from relay.trace import Tracer

log = structlog.get_logger()


LOOK_AT_CERTIFICATE = 60.0  # seconds; certificates are renewed weeks before they end


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


class Worker:
    """Built from an Order; `run()` returns the exit status when it has drained."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.deployment: Deployment = load_deployment(Path(order.config))
        self.policies: Policies = load_policies(Path(order.policies), self.deployment)
        self.keys: KeyRing = _load_keys(self.deployment)
        self._prepared: tuple[Deployment, Policies, KeyRing] | None = None
        self._stop = asyncio.Event()
        self._fatal = False
        self._open = False  # the spool is: questions about it can be answered
        self._started = clock()
        node, data_dir = self.deployment.node, self.deployment.node.data_dir
        self.ids = Ids(node.name, order.shards[0], clock)
        self.recorder = Recorder(node.name, clock, self.ids.next)
        self.state = SqliteState(data_dir / "state.db")
        self.permits = ConnectionPermits(self.state, f"{node.name}/{order.shards[0]}")
        self.quotas = QuotaLeases(self.state)
        self.pacer = Pacer()
        self.signer = Signer(spare=SparePower())
        self.tally: Counter[tuple[str, MailClass]] = Counter()
        self.tracer = Tracer(load_secret(self.deployment))
        egress = settings.egress_settings(self.deployment, self.policies, order.capture, order.workers)
        self.site_of = settings.site_chooser(egress)
        self.courier = Courier(egress, Resolver(self.deployment.dns.nameservers), self.permits)
        self.shards = [self._build_shard(number) for number in order.shards]
        self.door = self._build_door(self.shards[0])
        tls = self.deployment.tls
        self.certificate = Certificate(Path(tls.cert), Path(tls.key)) if tls.cert else None
        self.listeners = self._build_listeners()
        self._apply(self.deployment, self.policies, self.keys)

    def __repr__(self) -> str:
        return f"<Worker shards={self.order.shards} listeners={len(self.listeners)} policies={self.policies.version}>"

    # --- wiring -------------------------------------------------------------------------------------------------

    def _build_shard(self, number: int) -> Shard:
        data_dir = self.deployment.node.data_dir
        spool = Spool(data_dir / "spool" / f"{number}.db", clock=clock, on_fatal=self._spool_failed)
        attempting = Attempting(
            hostname=self.deployment.node.hostname,
            clock=clock,
            next_id=self.ids.next,
            pools={},  # with the other policies: _apply
            retry=self.policies.retry,
            quota_of=self._quota_of,
            keys_for=self.keys.for_domain,
            site_of=self.site_of,
            signer=self.signer,
            tracer=self.tracer,
            quotas=self.quotas,
            pacer=self.pacer,
            spool=spool,
            courier=self.courier,
            offer=lambda deliveries: dispatcher.offer(deliveries),  # noqa: PLW0108 it does not exist yet
            recorder=self.recorder,
            tally=self.tally,
        )

        async def try_once(delivery: Delivery) -> int | None:
            return await attempt(delivery, attempting)

        dispatcher = Dispatcher(spool, try_once, clock)
        exporter = Exporter(spool, data_dir / "events", number, clock)
        commands = QueueCommands(spool, dispatcher, self.recorder, clock)
        return Shard(number, spool, dispatcher, exporter, attempting, commands)

    def _build_door(self, own: Shard) -> Door:
        house = Acceptance(
            hostname=self.deployment.node.hostname,
            postmaster=f"postmaster@{self.deployment.node.hostname}",
            clock=clock,
            next_id=self.ids.next,
            brands=self.policies.brands,
            keys_for=self.keys.for_domain,
            site_of=self.site_of,
            judge=Judge(load_model()),
            signer=self.signer,
            tracer=self.tracer,
            quotas=self.quotas,
            pacer=self.pacer,
            spool=own.spool,
            offer=own.dispatcher.offer,
            recorder=self.recorder,
        )
        return Door(house, own.spool)

    def _build_listeners(self) -> list[Listener]:
        budget = settings.byte_budget(self.deployment)
        pairs = zip(self.order.listeners, self.deployment.listeners, strict=True)
        return [
            Listener(
                socket.socket(fileno=descriptor),
                settings=settings.listener_settings(self.deployment, listener),
                limits=settings.limits(listener),
                door=self.door,
                budget=budget,
                clock=clock,
            )
            for descriptor, listener in pairs
        ]

    def _apply(self, deployment: Deployment, policies: Policies, keys: KeyRing) -> None:
        """Put it in force: whole objects are replaced, nothing that runs sees half of them. Of config/, [node], binds and
        [state] need a restart (INTERFACE), and so do the listeners' settings and [dns]."""
        self.deployment, self.policies, self.keys = deployment, policies, keys
        egress = settings.egress_settings(deployment, policies, self.order.capture, self.order.workers)
        self.courier.reconfigure(egress)
        site_of = settings.site_chooser(egress)
        self.recorder.policies = policies.version
        stranger = sandbox_credential(self.deployment, policies)
        everybody = {**policies.credentials, **({stranger.name: stranger} if stranger else {})}
        self.door.apply(Directory(everybody.values()), policies.brands, keys.for_domain, site_of)
        pools = {mail_class: self.deployment.pools[name] for mail_class, name in policies.routes.items()}
        for shard in self.shards:
            house = shard.attempting
            house.pools, house.retry = pools, policies.retry
            house.keys_for, house.site_of = keys.for_domain, site_of

    def _quota_of(self, message: Message) -> tuple[Rate, str] | None:
        credential = self.policies.credentials.get(message.credential)
        if credential is None or credential.quota is None:
            return None
        brand = self.policies.brands.get(message.brand)
        return credential.quota, brand.timezone if brand is not None else "UTC"

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
        await self.state.open()
        for shard in self.shards:
            await shard.spool.open()
        self._open = True
        running = [
            asyncio.create_task(loop_) for loop_ in (self.permits.run(), *(s.exporter.run() for s in self.shards))
        ]
        running += [asyncio.create_task(s.dispatcher.run()) for s in self.shards]
        running.append(asyncio.create_task(self._watch_certificate()))
        for task in running:
            task.add_done_callback(self._task_ended)
        for listener in self.listeners:
            await listener.start()
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process: the collector need not look at it again
        gc.set_threshold(50_000, 20, 20)  # a message's objects die by reference count; 700 would look 30 times a second
        log.info("worker runs", shards=self.order.shards, policies=self.policies.version)
        await self._stop.wait()
        if self._fatal:
            return 1
        await self._drain(running, control)
        return 0

    async def _watch_certificate(self) -> None:
        """Renewed files are noticed (INTERFACE, [tls])."""
        files = self.certificate
        while files is not None:
            await asyncio.sleep(LOOK_AT_CERTIFICATE)
            if files.changed():
                for listener in self.listeners:
                    listener.renew_certificate(files.cert, files.key)

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
        for shard in self.shards:
            await shard.exporter.flush()
            await shard.spool.close()
        await self.permits.close()
        await self.state.close()
        self.signer.close()

    # --- commands -----------------------------------------------------------------------------------------------

    async def _answer(self, question: Json) -> Json:
        if not self._open:
            return {"error": "the worker is still opening its spool"}
        match question.get("do"):
            case "stats":
                return await self._stats()
            case "queue.page":
                return await self._commands(question).page(question)
            case "queue.change":
                return await self._commands(question).change(question)
            case "prepare":
                return self._prepare(Path(question["policies"]))
            case "commit":
                return self._commit()
            case "record":
                self.door.record(question["kind"], question["facts"])
                return {"ok": True}
        return {"error": f"a worker does not know how to {question.get('do')}"}

    def _commands(self, question: Json) -> QueueCommands:
        return next(shard for shard in self.shards if shard.number == question["shard"]).commands

    def _prepare(self, folder: Path) -> Json:
        """Read the files anew and keep them ready; `commit` puts them in force (all workers or none)."""
        deployment = load_deployment(Path(self.order.config))
        policies = load_policies(folder, deployment)
        self._prepared = deployment, policies, _load_keys(deployment)
        return {"version": policies.version}

    def _commit(self) -> Json:
        if self._prepared is not None:
            self._apply(*self._prepared)
            self._prepared = None
        return {"version": self.policies.version}

    async def _stats(self) -> Json:
        """As relay/web/metrics.py reads it."""
        counters: Json = dict(self.door.counters)
        for listener in self.listeners:
            for name, value in asdict(listener.counters).items():
                counters[name] = counters.get(name, 0) + value
        for kind in ("delivered", "deferred", "bounced"):
            counters[kind] = [{"class": c.label, "value": self.tally[kind, c]} for c in MailClass]
        return {
            "pid": os.getpid(),
            "version": __version__,
            "policies": self.policies.version,
            "started": self._started,
            "healthy": all(shard.spool.healthy for shard in self.shards),
            "shards": [await _shard_stats(shard) for shard in self.shards],
            "counters": counters,
            "gauges": {"connections": sum(listener.connections for listener in self.listeners)},
            "egress": self.courier.stats(),
        }


def _load_keys(deployment: Deployment) -> KeyRing:
    captured = deployment.delivery.mode == "capture"
    return load_keys(deployment.dkim_dir, deployment.node.data_dir if captured else None)


async def _shard_stats(shard: Shard) -> Json:
    queue = await shard.spool.counts()
    lanes = [{"class": c.label, "site": site, "waiting": count} for (c, site), count in queue["lanes"].items()]
    return {
        "shard": shard.number,
        "healthy": shard.spool.healthy,
        "queue": {**queue, "lanes": lanes},
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
