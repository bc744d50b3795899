"""One worker process: what runs in it, its end, and the questions it answers.

A worker runs edge, schedule and egress (stages.py) in one uvloop. It is forked from the supervisor (forked.py), which hands it
listening sockets and one end of a socket pair; when that pair closes, the worker drains and ends.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict

import structlog
import uvloop

from relay import boards, logs, worker_view
from relay.alert_news import Change, letter, subject_of
from relay.config.evidence import load_model
from relay.config.names import unheard
from relay.config.policies import everybody
from relay.control import Json, answer_channel
from relay.edge.credentials import Directory
from relay.in_force import InForce
from relay.masking import mask_text
from relay.notice import put_alert
from relay.order import DRAIN_SECONDS, Order, Place
from relay.queue_commands import QueueCommands
from relay.settings import WorkerSettings, asks_evidence
from relay.signing.multibuffer import LANES, load_multibuffer
from relay.spool.errors import SpoolError
from relay.stages import Stages, clock
from relay.state.interface import StateError
from relay.worker_alerts import WorkerAlerts

log = structlog.get_logger()


OPEN_STATE_AGAIN = 5.0  # seconds
YIELD = 0.0005  # seconds a thread that reads files keeps Python's lock from the loop; the default is ten times that
LOOK_AT_CERTIFICATE = 60.0  # seconds; certificates are renewed weeks before they end
LOOK_AT_ALERTS = 1.0  # seconds between what begins or ends and its alert


class Worker:
    """Built from an Order; `run()` returns the exit status when it has drained."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._prepared: WorkerSettings | None = None
        self._stop = asyncio.Event()
        self._fatal = False
        self._open = False  # the spool is: questions about it can be answered
        self._started = clock()
        self.stages = stages = Stages(order, self._spool_failed)
        self.alerts = WorkerAlerts(
            stages.ledger,
            stages.flags,
            stages.state,
            stages.shaper.health,
            [shard.watchdog for shard in stages.shards],
            stages.doing,
            stages.guarding.runaways,
            stages.caring.standing,
            stages.unmet,
            stages.addresses,
        )
        self.totals = worker_view.Totals(stages.tally, lambda: stages.door.counters["accepted"])

    def __repr__(self) -> str:
        return f"<Worker {self.stages!r}>"

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
        stages = self.stages
        opening = await self._open_state()
        # Before mail goes: who takes a policy's record out of DNS is to gain nothing by our restart.
        await stages.sts.load()
        for shard in stages.shards:
            await shard.spool.open()
        self._open = True
        upkeep = (
            stages.permits.run(),
            stages.parts.run(),
            stages.rates.run(),
            stages.tls_reports.run(),
            stages.checking.run(),
            *(shard.exporter.run() for shard in stages.shards),
            *(shard.effects.run() for shard in stages.shards),
            stages.capping.run(),
            stages.hindsight.run(),
        )
        running = [*map(asyncio.create_task, upkeep)]
        await stages.suspending.look()
        await stages.steering.look()
        await stages.caring.know()
        watched = [(shard.spool, shard.dispatcher, shard.watchdog) for shard in stages.shards]
        work = (
            *(shard.dispatcher.run() for shard in stages.shards),
            stages.suspending.run(),
            stages.releasing.run(),
            stages.steering.run(),
            stages.engaging.run(),
            stages.caring.run(),
            stages.denials.run(),
            worker_view.watch(watched, clock),
            self._watch_certificate(),
            self._watch_alerts(),
        )
        running += [*map(asyncio.create_task, work), *opening]
        for task in running:
            task.add_done_callback(self._task_ended)
        for listener in stages.listeners:
            await listener.start()
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process: the collector need not look at it again
        gc.set_threshold(50_000, 20, 20)  # a message's objects die by reference count; 700 would look 30 times a second
        log.info(
            "worker runs", shards=self.order.shards, rsa_at_a_time=LANES if load_multibuffer() else 1, **stages.versions
        )
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
                await self.stages.state.open()
            except StateError as error:
                log.error("State cannot be opened; trying again", error=str(error))
                return False
            return True

        return [] if await opened() else [asyncio.create_task(again())]

    async def _watch_certificate(self) -> None:
        """Renewed files are noticed (INTERFACE, [tls])."""
        while True:
            await asyncio.sleep(LOOK_AT_CERTIFICATE)
            files = self.stages.settings.certificate
            if files is not None and files.changed():
                for listener in self.stages.listeners:
                    listener.renew_certificate(files.cert, files.key)

    async def _watch_alerts(self) -> None:
        """Say what begins to stand, and what ends."""
        while True:
            await asyncio.sleep(LOOK_AT_ALERTS)
            self.totals.note(clock())
            for state, alert in self.alerts.news(clock()):
                log.warning("alert", state=state, summary=mask_text(alert.summary))
                self.stages.door.record("alert", alert.event(state))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the worker failed", exc_info=error)
            self._fatal = True
            self._stop.set()

    async def _drain(self, running: Sequence[asyncio.Task[None]], control: asyncio.Task[None]) -> None:
        """Finish what is under way within the bound; new connections wait in the supervisor's sockets."""
        for listener in self.stages.listeners:
            await listener.stop_accepting()
        saved = sum(await asyncio.gather(*(listener.drain(DRAIN_SECONDS / 2) for listener in self.stages.listeners)))
        # Together: what waits for a connection is let go at once, to be tried by the next worker.
        drains = [shard.dispatcher.drain(DRAIN_SECONDS / 2) for shard in self.stages.shards]
        cut, *left = await asyncio.gather(self.stages.courier.close(DRAIN_SECONDS / 2), *drains)
        flying = sum(left)
        log.info("drained", attempts_left=flying)
        if saved or cut:
            log.warning("cut at the end of the bound; may arrive twice", handed_in=saved, awaiting_final_reply=cut)
        for task in (*running, control):
            task.cancel()
        await asyncio.gather(*running, control, return_exceptions=True)
        await self.stages.close()

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
                return await worker_view.stats(self.stages, self.alerts, self._started)
            case "queue.page" | "queue.change" | "queue.count" | "queue.sent" | "queue.unsend":
                return await self._commands(question).answer(question)
            case "queue.top":
                return await self._top(str(question.get("site", "")))
            case "alerts":
                alerts = [asdict(alert) for alert in self.alerts.standing()]
                return {"alerts": alerts, "healthy": self.stages.healthy}
            case "alert.mail":
                return await self._mail_alerts(question)
            case "suspend" | "resume":
                return await self.stages.suspending.answer(question)
            case "names":
                return {"unheard": unheard(question["what"], self.stages.settings.in_force.policies)}
            case "record":
                self.stages.door.record(question["kind"], question["facts"])
                return {"ok": True}
            case "board":
                return await boards.answer(self.stages.state, question)
            case "pace" | "warmup" | "paces":
                return await self.stages.steering.answer(question)
            case "people" | "api" | "would" | "health" as does:
                return await self.stages.desk(does).answer(question)
        return {"error": f"a worker does not know how to {question.get('do')}"}

    def _commands(self, question: Json) -> QueueCommands:
        return next(shard for shard in self.stages.shards if shard.number == question["shard"]).commands

    async def _prepare(self, question: Json) -> Json:
        """Read what is to be in force and keep it ready; `commit` puts it in force (relay/changeover.py). In a thread: it
        takes up to a second, and mail does not wait for it; for each turn of the loop no longer than YIELD."""
        place = Place(**question["place"])
        usual = sys.getswitchinterval()
        sys.setswitchinterval(YIELD)
        try:
            self._prepared = await asyncio.to_thread(self.stages.read, place, question["capture"])
        finally:
            sys.setswitchinterval(usual)
        return self._prepared.in_force.place.versions

    async def _commit(self, question: Json) -> Json:
        """It is decided: also for a worker that was started meanwhile and has prepared nothing."""
        if self._prepared is None or asdict(self._prepared.in_force.place) != question["place"]:
            await self._prepare(question)
        assert self._prepared is not None
        wanted, self._prepared = self._prepared, None
        self.stages.apply(wanted)
        await self.stages.listen_as(wanted)
        return self.stages.versions

    async def _top(self, site: str) -> Json:
        stages = self.stages
        shards = [(shard.spool, shard.dispatcher) for shard in stages.shards]
        named, rates = stages.settings.in_force.deployment.pools, self.totals.rates(clock())
        return await worker_view.part(
            shards,
            stages.settings.pools,
            named,
            stages.courier.connections(),
            stages.lately,
            rates,
            [str(one) for one in stages.guarding.runaways.standing()],
            clock(),
            lambda at, pool: worker_view.connections_to(at, pool, stages.shaper.shapes),
            site,
            stages.settings.in_force.policies.streams.named,
        )

    async def _mail_alerts(self, question: Json) -> Json:
        """{"to": addresses, "changes": [{"state", "alert"}]}: one mail, saved and queued when it answers."""
        changes = [Change(one["state"], one["alert"]) for one in question["changes"]]
        house, to, identifier = self.stages.shards[0].attempting, question["to"], self.stages.ids.next()
        content = letter(changes, self.stages.recorder.node, self.stages.hostname, to, identifier, clock())
        try:
            await put_alert(content, subject_of(changes), identifier, to, house)
        except SpoolError as error:
            return {"error": str(error)}
        return {"id": identifier}


def ready(in_force: InForce) -> None:
    """Load what workers of these files will need, before they are forked: they share it."""
    credentials = Directory(everybody(in_force.deployment, in_force.policies).values())
    if asks_evidence(credentials, in_force.policies):
        load_model()


def work(order: Order) -> int:
    """All that a worker's process does; its exit status."""
    logs.configure(f"worker-{order.shards[0]}", os.environ.get("POSTLANE_LOG", "info"))

    async def run() -> int:
        return await Worker(order).run()

    return uvloop.run(run())
