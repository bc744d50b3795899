"""Processes, signals, and what is in force: the parent of all workers and of the web process.

It owns what must outlive a worker: the listening sockets (one per worker and port, SO_REUSEPORT, so that the kernel
spreads connections and a restarting worker's queue of connections waits for it) and the control socket. It alone reads
config/ and policies/ on disk, at start and at reload; its processes read the copy it keeps. It carries no mail itself.

Long, because whatever outlives a worker is joined here; what it joins (children, changes, the cluster, alerts) has modules.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import structlog

from relay import __version__, control, top, top_site
from relay.alert import Alert, files_refused, not_taken, one_each, reviews, started_with_last_good
from relay.alerting import Alerting, Listeners
from relay.changeover import Agree, alone, change_over
from relay.child import Child
from relay.cluster import Cluster, NotNow
from relay.config import ConfigErrors, Deployment, Problem, load_hook_secret, load_secret, load_webhook_secret
from relay.config.reader import contents, fingerprint, shown_path
from relay.control import Json, NodeDown
from relay.forked import Work
from relay.hook_watch import dead, gauges, webhooks
from relay.in_force import FilesChanged, InForce, OnDisk, accept, examine_files, last_good, load
from relay.kept import Decision, Store, read_decision, tidy, write_decision
from relay.neighbours import Neighbours
from relay.order import Order, Place
from relay.settings import certificate_trouble
from relay.shaping.pacemaker import brief, ends, merged
from relay.signing.entries import KeysError
from relay.sockets import StartError, bind_all
from relay.steering import in_words

log = structlog.get_logger()

PACES = 200  # that metrics name: a series each, for as long as Prometheus keeps them
TELL_AGAIN = 1.0  # seconds: an event of the node waits for a worker that is up


class Supervisor:
    """Bind first (constructor), then `run()` until SIGTERM or SIGINT. `work`: what a worker does; `web`: what the web process
    does with what is in force, policies/ on disk, and the descriptors it has. Both give their exit status."""

    def __init__(
        self,
        config: Path,
        policies: Path,
        work: Callable[[Order], int],
        web: Callable[[Place, Path, Mapping[str, int]], int],
    ) -> None:
        self.config, self.policies = config, policies
        self._work, self._serve = work, web
        self.alert: Alert | None = None
        self.in_force, self.decision = self._begin()
        node = self.in_force.deployment.node  # of the start: what is in force later has the same
        self.data_dir = node.data_dir
        self._name = node.name
        self.workers = node.workers or os.cpu_count() or 1
        self.sockets = bind_all(self.in_force.deployment, self.workers)
        self._control = control.bind(self.data_dir)
        self.children = [self._worker(number) for number in range(self.workers)]
        self.web = Child("web", self._web_command)
        self._listeners = _listeners(self.in_force.deployment)
        self.alerting = Alerting(
            node=self._name,
            workers=self.children,
            own=self._own_alerts,
            listeners=lambda: self._listeners,
            ask_any=self._ask_any,
            record=self._tell_alert,
            others=partial(dead, self.web),
        )
        shared = self.in_force.deployment.state.url != "sqlite:"
        self.cluster = Cluster(self._name, self.workers, self._ask_any, self, self._tell_alert) if shared else None
        self.neighbours = Neighbours(self._name, self._ask_any, self._moment) if shared else None
        self._stopping = asyncio.Event()
        self.changing = asyncio.Lock()  # one change at a time
        self._telling = asyncio.Lock()  # events in the order in which things happened
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = _now()

    def __repr__(self) -> str:
        return f"<Supervisor {self._name} workers={self.workers} policies={self.in_force.version}>"

    # --- start --------------------------------------------------------------------------------------------------

    def _begin(self) -> tuple[InForce, Decision]:
        """What to run: the files on disk; the last good ones if those are broken, or were rolled back."""
        examined = examine_files(self.config, self.policies)
        errors = [problem for problem in examined.problems if not problem.warning]
        last = last_good(self.config) if errors else None
        if examined.value is None or errors:
            if last is None:
                raise ConfigErrors(examined.problems)
            deployment = last[1].deployment
        else:
            deployment = examined.value.deployment
        if trouble := certificate_trouble(deployment):
            raise StartError(trouble)
        for warning in examined.warnings:
            log.warning("config", problem=str(warning))
        _make_folders(deployment.node.data_dir)
        self._lock = _lock(deployment.node.data_dir)
        load_secret(deployment)
        load_webhook_secret(deployment)
        if last is None:
            return self._take(examined.accepted())
        self.alert = started_with_last_good(errors, last[0], deployment.node.timezone, self.policies)
        return last[1], last[0]

    def _take(self, on_disk: OnDisk) -> tuple[InForce, Decision]:
        """The files on disk, or what they were rolled back to; kept and on record. The last good ones, and an alert, where
        they cannot be kept."""
        data_dir = on_disk.deployment.node.data_dir
        before = read_decision(data_dir)
        try:
            found, decision = _as_decided(accept(self.config, self.policies, data_dir, on_disk.policies), before)
            if decision != before:
                write_decision(data_dir, decision)
                tidy(data_dir, decision, found.place.started)
        except FilesChanged as error:
            raise StartError(f"{error}; start again") from error
        except OSError as error:
            why = f"the files in force cannot be kept in {data_dir}: {error.strerror}"
            last = last_good(self.config)
            if last is None:
                raise StartError(why) from error
            # A full disk, above all: what waits in the queue must leave, or there never is room again.
            self.alert = not_taken([why], "What is on disk", last[1].version)
            return last[1], last[0]
        return found, decision

    # --- children -----------------------------------------------------------------------------------------------

    def _worker(self, number: int) -> Child:
        spool = self.data_dir / "spool"
        on_disk = {int(path.stem) for path in spool.glob("*.db") if path.stem.isdigit()}
        adopted = sorted(n for n in on_disk if n >= self.workers and n % self.workers == number)
        if adopted:
            log.info("a worker adopts shards that have none", worker=number, shards=adopted)
        return Child(f"worker-{number}", self._worker_command, (number, *adopted))

    def _worker_command(self, child: Child) -> tuple[Work, list[int]]:
        control_end = child.connect()
        listeners = tuple(link.fileno() for link in self.sockets.listeners[child.shards[0]])
        order = Order(
            place=self.in_force.place,
            shards=child.shards,
            listeners=listeners,
            control=control_end,
            capture=self.sockets.capture_address if self.in_force.deployment.captures else "",
            workers=self.workers,
        )
        return partial(self._work, order), [*listeners, order.control]

    def _web_command(self, child: Child) -> tuple[Work, list[int]]:
        links = self.sockets
        capture = links.capture if self.in_force.deployment.captures else None
        named = {"admin": links.admin, "api": links.api, "public": links.public, "capture": capture}
        fds = {name: link.fileno() for name, link in named.items() if link is not None}
        fds["control"] = child.connect()
        return partial(self._serve, self.in_force.place, self.policies, fds), list(fds.values())

    # --- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._do(self.reload("SIGHUP")))
        server = await control.serve(self._control, self._answer)
        keeping = [asyncio.create_task(child.keep(self._stopping)) for child in (*self.children, self.web)]
        for task in keeping:
            task.add_done_callback(lambda _: self._stopping.set())  # a fault of ours: stop, rather than run on in part
        self._do(self.alerting.run())
        if self.cluster is not None:
            self._do(self.cluster.run())
        if self.neighbours is not None:
            self._do(self.neighbours.run())
        if self.alert is not None:
            self._tell_alert("firing", self.alert)
        log.info("node runs", node=self._name, workers=self.workers, version=__version__)
        if only_to := self.in_force.deployment.only_to:
            log.warning("mail leaves for these recipients alone; all other is captured", only_to=only_to)
        await self._stopping.wait()
        log.info("node stops")
        if self.cluster is not None:
            await self.cluster.leave()
        for group in (
            self.children,
            [self.web],
        ):  # workers first: what they deliver last may go through the web process
            await asyncio.gather(*(child.stop() for child in group))
        faults = [fault for fault in await asyncio.gather(*keeping, return_exceptions=True) if fault is not None]
        server.close()
        for task in self._tasks:
            task.cancel()
        (self.data_dir / control.SOCKET_NAME).unlink(missing_ok=True)
        if faults:
            raise ExceptionGroup("the supervisor failed", [f for f in faults if isinstance(f, Exception)])

    def stop(self) -> None:
        self._stopping.set()

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let it run by itself; a fault of ours in it is logged."""

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (fault := task.exception()) is not None:
                log.error("a task of the supervisor failed", exc_info=fault)

        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)

    async def _tell(self, kind: str, facts: Json) -> None:
        """An event of the node itself, recorded by whichever worker is up; it waits for one."""
        async with self._telling:
            question = {"do": "record", "kind": kind, "facts": facts}
            while not self._stopping.is_set() and "error" in await self._ask_any(question):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), TELL_AGAIN)

    def _tell_alert(self, state: str, alert: Alert) -> None:
        self._do(self._tell("alert", alert.event(state)))

    def _own_alerts(self) -> list[Alert]:
        """What no worker can say."""
        behind = self.cluster.alert if self.cluster is not None else None
        return [alert for alert in (self.alert, behind) if alert is not None]

    # --- commands -----------------------------------------------------------------------------------------------

    async def _answer(self, question: Json) -> Json:
        by = str(question.get("by", ""))
        match question.get("do"):
            case "stats":
                return await self.stats()
            case "queue.top":
                return await self._top(str(question.get("site", "")))
            case "versions":
                versions = {"policies": self.decision.policies, "config": self.decision.config}
                return {"node": self._name, "others": self._others_up(), **versions, "ports": self.sockets.ports}
            case "reload":
                return await self.reload(by)
            case "rollback":
                return await self.roll_back(str(question.get("version")), by, str(question.get("reason", "")))
            case "queue.page" | "queue.change" | "queue.count" | "queue.sent" | "queue.unsend":
                return await self._page(question)
            case "record" | "suspend" | "resume" | "pace" | "warmup" | "people" | "api" | "would" | "health" | "board":
                return await self._ask_any(question)
            case "names":
                return await self._ask_any(question)
            case "errands":
                return await self._ask_web(question)
            case "paces":
                return await self._paces()
            case "webhooks":
                return await self._webhooks(question)
        return {"error": f"unknown request {question.get('do')!r}"}

    async def _webhooks(self, question: Json) -> Json:
        """They are the web process's business; what is told again, or signed by another secret, is on record."""
        answer = await self._ask_web(question)
        if question.get("what") in ("resend", "rotate") and "error" not in answer:
            said = {name: str(question.get(name, "")) for name in ("by", "via", "reason")}
            what = {name: value for name, value in answer.items() if name != "secret"}
            self._do(self._tell("audit", {**said, "action": f"webhooks {question['what']}", "what": what}))
        return answer

    async def _ask_web(self, question: Json) -> Json:
        try:
            return await self.web.ask(question)
        except NodeDown as error:
            return {"error": f"the web process, which does this: {error}; try again"}

    async def stats(self) -> Json:
        """The node and each worker, for `status`, the admin page and metrics. What several workers met is one alert."""
        workers, rows, standing = list[Json](), list[Json](), list[Json]()
        alerts = [asdict(alert) for alert in self._own_alerts() + self.alerting.found]
        suspended: dict[int, Json] = {}  # what any worker knows of
        needs, health = dict[str, Json](), Json()
        waiting: Counter[int] = Counter()
        for child in self.children:
            facts: Json = {"name": child.name, "up": False, "deaths": child.deaths}
            with contextlib.suppress(NodeDown):
                answer = await child.ask({"do": "stats"}, timeout=5.0)
                facts |= {**answer, "up": "error" not in answer}
            alerts += facts.pop("alerts", [])
            needs |= {str(one["what"]): one for one in facts.pop("needs", [])}
            health |= facts.pop("health", {})  # of all the same, but for shares, which the one knows that judges
            shaping = facts.pop("shaping", {})
            rows += shaping.get("paces", [])
            standing += shaping.get("standing", [])
            suspended |= {one["id"]: one for one in facts.pop("suspensions", [])}
            waiting.update({int(by): n for shard in facts.get("shards", ()) for by, n in _suspended(shard).items()})
            workers.append(facts)
        suspensions = [{**one, "waiting": waiting[identity]} for identity, one in sorted(suspended.items())]
        due, shaping = self._reviews(), self._together(rows, standing)
        hooks = await webhooks(self.web)
        return {
            **self._itself(),
            "alerts": one_each(alerts),
            "reviews": due,
            "needs": list(needs.values()),
            "shaping": shaping,
            "warming": await self._warming(),
            "suspensions": suspensions,
            "gauges": {
                "policies_last_reload_successful": int(not self._own_alerts()),
                "streams_past_review": sum(one["past"] for one in due),
                **_gauges(shaping["paces"]),
                "suspensions": len(suspensions),
                **gauges(hooks, _now()),
                **health,
            },
            "counters": {"webhook_posts": hooks.get("counts", [])},
            "workers": workers,
        }

    def _itself(self) -> Json:
        """What it knows without asking anybody."""
        deployment = self.in_force.deployment
        return {
            "node": self._name,
            "version": __version__,
            "policies": self.in_force.version,
            "config": self.in_force.place.versions["config"],
            "mode": deployment.delivery.mode,
            "only_to": deployment.only_to,
            "started": self._started,
            "web": self.web.up,
            "waits": [str(problem) for problem in self.in_force.waits],
            "decision": asdict(self.decision),
            "nodes": self.cluster.shown() if self.cluster is not None else [],
            "on_disk": fingerprint(contents(self.policies)),
        }

    async def _warming(self) -> list[Json]:
        """Sources that are being warmed up, by site."""
        pools = self.in_force.deployment.pools.values()
        if not any(source.warmup for pool in pools for source in pool.sources):
            return []
        rows: list[Json] = (await self._ask_any({"do": "warmup", "action": "show"})).get("rows", [])
        return rows

    async def _top(self, site: str) -> Json:
        """What all nodes do at this moment (relay/top.py), and for one `site` what this one does (relay/top_site.py)."""
        answers = await asyncio.gather(*(self._part(child, site) for child in self.children))
        others = await self.neighbours.others() if self.neighbours is not None and not site else {}
        about = {
            "node": self._name,
            "nodes": [self._name, *sorted(others)],
            "unseen": [one for one in self._others_up() if one not in others],
            "policies": self.in_force.version,
            "silent": [child.name for child, answer in zip(self.children, answers, strict=True) if answer is None],
        }
        stats = await self.stats()
        parts = [one for one in answers if one is not None]
        found = top.snapshot([*parts, *others.values()], about, stats["suspensions"], _now())
        top.pace(found["sites"], brief(stats["shaping"]["paces"]), ends(stats["shaping"]["standing"]))
        if site:
            told = [one["site"] for one in answers if one is not None]
            found["site"] = top_site.joined(site, told, await self._paces(), _now())
        return found

    def _others_up(self) -> list[str]:
        """Nodes that are there, but for this one."""
        seen = self.cluster.shown() if self.cluster is not None else []
        return [str(one["node"]) for one in seen if one["up"] and one["node"] != self._name]

    async def _moment(self) -> Json:
        """What this node does now, for the others."""
        answers = await asyncio.gather(*(self._part(child, "") for child in self.children))
        paces = brief((await self._paces())["paces"])
        return top.together([one for one in answers if one is not None], paces)

    async def _part(self, child: Child, site: str) -> Json | None:
        with contextlib.suppress(NodeDown):
            answer = await child.ask({"do": "queue.top", "site": site}, timeout=5.0)
            return None if "error" in answer else answer
        return None

    def _reviews(self) -> list[Json]:
        """A day is one of [node] timezone, like all that is told to people."""
        zone = ZoneInfo(self.in_force.deployment.node.timezone)
        today = datetime.fromtimestamp(_now() / 1000, UTC).astimezone(zone).date()
        return reviews(self.in_force.policies.streams.named.values(), today)

    async def reload(self, by: str) -> Json:
        """The files on disk into force, in all processes or in none (DESIGN, invariant 9); what is in policies/ on all nodes."""
        of_policies = fingerprint(contents(self.policies)) != self.in_force.version
        try:
            if self.cluster is not None and of_policies:
                if why := self.cluster.stale():
                    raise NotNow(why)
                return await self.cluster.in_turn(partial(self._reload, by))
            return await self._reload(by)
        except NotNow as error:
            return self._refused(not_taken([str(error)], "What is on disk", self.in_force.version))

    async def _reload(self, by: str) -> Json:
        async with self.changing:
            now = self.in_force.version
            try:
                wanted = self._from_disk()
            except ConfigErrors as error:
                return self._refused(files_refused(error.problems, now, self.policies))
            except (FilesChanged, OSError) as error:
                return self._refused(not_taken([str(error)], "What is on disk", now))
            decision, agree = self._agreed(_decision(wanted, by, "reload"))
            answer = await self.change(wanted, decision, agree=agree)
            if "error" in answer:
                return self._refused(not_taken(answer["problems"], wanted.version, now))
            if self.alert is not None:
                self._tell_alert("resolved", self.alert)
            self.alert = None
            return answer

    def _agreed(self, decision: Decision, reason: str = "") -> tuple[Decision, Agree]:
        """How the other nodes come to it, where there are any; they are not concerned by config/."""
        if self.cluster is None:
            return decision, alone
        if decision.policies == self.decision.policies:
            return replace(decision, ballot=self.decision.ballot, node=self.decision.node), alone
        return self.cluster.move(decision, reason)

    def _from_disk(self) -> InForce:
        """The files on disk, checked and kept; raises ConfigErrors, FilesChanged, OSError."""
        on_disk = examine_files(self.config, self.policies).accepted()
        wanted = accept(self.config, self.policies, self.data_dir, on_disk.policies, self.in_force.place.started)
        load_secret(wanted.deployment)
        load_webhook_secret(wanted.deployment)
        for credential in wanted.policies.credentials.values():
            if credential.webhook is not None:
                load_hook_secret(wanted.deployment, credential)
        file = shown_path(self.config / "postlane.toml")
        if trouble := certificate_trouble(wanted.deployment):
            raise ConfigErrors([Problem(file, 0, "tls", trouble, "tls")])
        if self.in_force.capture and not wanted.capture:
            why = "a restart is needed to leave capture mode: whoever is connected now was let in as anybody"
            raise ConfigErrors(
                [replace(on_disk.deployment.document.problem(("delivery", "mode"), why, "restart"), file=file)]
            )
        return wanted

    async def roll_back(self, version: str, by: str, reason: str) -> Json:
        """A kept version of policies/ into force, under the config/ that is; in all processes, of all nodes, or in none."""
        if self.cluster is None:
            return await self._roll_back(version, by, reason)
        try:
            return await self.cluster.in_turn(partial(self._roll_back, version, by, reason))
        except NotNow as error:
            return {"error": str(error)}

    async def _roll_back(self, version: str, by: str, reason: str) -> Json:
        async with self.changing:
            kept = Store(self.data_dir, "policies").find(version)
            if kept is None:
                return {"error": f"no version {version} is kept; postlane policies list"}
            if version == self.in_force.version:
                return {"error": f"{version} is in force already"}
            try:
                wanted = load(replace(self.in_force.place, policies=str(kept.folder)))
            except (ConfigErrors, KeysError) as error:
                why = f"{version} does not go with config/ as it is now; {self.in_force.version} stays in force"
                return {"error": why, "problems": [str(problem) for problem in error.problems]}
            on_disk = fingerprint(contents(self.policies))
            decision = _decision(wanted, by, "rollback", on_disk if on_disk != version else "")
            decision, agree = self._agreed(decision, reason)
            answer = await self.change(wanted, decision, reason, agree)
            return answer | ({"on_disk": on_disk} if "error" not in answer else {})

    async def change(
        self, wanted: InForce, decision: Decision, reason: str = "", agree: Agree = alone, via: str = ""
    ) -> Json:
        """Put it in force, and say so: to who asked, in the log, and as an event. `via`: who brought it, "" for a person."""
        before, begun = self.in_force, time.monotonic()
        captures = wanted.deployment.captures
        if captures:
            self.sockets.open_capture()
        capture = self.sockets.capture_address if captures else ""
        question = {"place": asdict(wanted.place), "capture": capture}
        listeners = _listeners(wanted.deployment)

        def decide() -> None:
            self.note(decision)
            self.in_force, self._listeners = wanted, listeners

        try:
            refusals = await change_over(self.children, question, wanted.place.versions, decide, agree)
        except OSError as error:
            refusals = [f"it cannot be recorded in {self.data_dir}: {error.strerror}"]
        if refusals:
            return {"error": f"not every process could take it; {before.version} stays in force", "problems": refusals}
        if wanted.place.config != before.place.config:
            self.web.renew()  # it serves a few people, who wait a second
        else:
            self._do(self._renew_pages(wanted))
        tidy(self.data_dir, decision, wanted.place.started)
        what = {"policies": wanted.version, "before": before.version, "config": decision.config}
        if via:
            what["node"] = decision.node
        action = "reload" if decision.how == "reload" else "policies rollback"
        via = via or ("signal" if decision.by == "SIGHUP" else "cli")
        self._do(self._tell("audit", {"by": decision.by, "via": via, "action": action, "what": what, "reason": reason}))
        log.info("in force", policies=wanted.version, before=before.version, config=decision.config, by=decision.by)
        return {
            "node": self._name,
            **wanted.place.versions,
            "before": before.version,
            "config_before": before.place.versions["config"],
            "seconds": round(time.monotonic() - begun, 2),
            "waits": [str(problem) for problem in wanted.waits],
            "only_to": wanted.deployment.only_to,
        }

    def note(self, decision: Decision) -> None:
        """What is to be remembered of what is in force; raises OSError."""
        write_decision(self.data_dir, decision)
        self.decision = decision

    async def _renew_pages(self, wanted: InForce) -> None:
        """What recipients see follows policies/ and the secrets. A web process that is just starting reads them itself."""
        with contextlib.suppress(NodeDown):
            answer = await self.web.ask({"do": "pages", "place": asdict(wanted.place)})
            if "error" in answer:
                log.error("the public pages stay as they were", error=answer["error"])

    def _refused(self, alert: Alert) -> Json:
        """What runs stays as it was, and that is an alert until a reload succeeds."""
        log.error("reload refused", summary=alert.summary, problems=alert.problems)
        if self.alert is None:
            self._tell_alert("firing", alert)
        self.alert = alert
        return {"error": alert.summary, "problems": list(alert.problems)}

    async def _paces(self) -> Json:
        """Every pace of this node and what stands beside it, as `queue top` and `postlane pace` show them."""
        rows, standing = list[Json](), list[Json]()
        for child in self.children:
            with contextlib.suppress(NodeDown):
                answer = await child.ask({"do": "paces"}, timeout=5.0)
                rows += answer.get("paces", [])
                standing += answer.get("standing", [])
        return self._together(rows, standing)

    def _together(self, rows: list[Json], standing: list[Json]) -> Json:
        zone = ZoneInfo(self.in_force.deployment.node.timezone)
        paces = [{**row, "said": in_words(row, zone)} for row in merged(rows)]
        return {"paces": paces, "standing": list({orjson.dumps(one): one for one in standing}.values())}

    async def _ask_any(self, question: Json) -> Json:
        for child in self.children:
            with contextlib.suppress(NodeDown):
                return await child.ask(question)
        return {"error": "no worker is running"}

    async def _page(self, question: Json) -> Json:
        """One page of one shard; the cursor walks through all shards: [shard, row, recipient] or null at the end."""
        order = [(shard, child) for child in self.children for shard in child.shards]
        cursor: list[Any] = question.get("cursor") or [order[0][0], None, None]
        places = [shard for shard, _ in order]
        if cursor[0] not in places:
            return {"error": "this cursor is not of this node"}
        place = places.index(cursor[0])
        child = order[place][1]
        try:
            after = None if cursor[1] is None else cursor[1:]
            answer = await child.ask({**question, "shard": cursor[0], "after": after})
        except NodeDown as error:
            return {"error": f"{child.name}: {error}"}
        rest = answer.pop("after", None)
        if rest is not None:
            answer["cursor"] = [cursor[0], *rest]
        elif place + 1 < len(order):
            answer["cursor"] = [places[place + 1], None, None]
        else:
            answer["cursor"] = None
        return answer


def _gauges(paces: list[Json]) -> Json:
    """Of paces that hold mail, the slowest first, so many that Prometheus has a series of each."""
    slowest = sorted((row for row in paces if row["pace"] is not None), key=lambda row: row["pace"])[:PACES]
    named = [{"site": row["site"], "source": row["source"], "value": row["pace"]} for row in slowest]
    return {"pace_per_second": named, "paces_slowed": len(paces)}


def _listeners(deployment: Deployment) -> Listeners:
    said = deployment.alerts
    return Listeners(tuple(said.mail), said.webhook, load_webhook_secret(deployment), said.allow_private)


def _suspended(shard: Json) -> dict[str, int]:
    """Deliveries that each suspension holds in it, by its id."""
    found: dict[str, int] = shard["queue"]["suspended"]
    return found


def _now() -> int:
    return time.time_ns() // 1_000_000


def _decision(of: InForce, by: str, how: str, instead_of: str = "") -> Decision:
    versions = of.place.versions
    return Decision(versions["version"], versions["config"], _now(), by, how, instead_of)


def _as_decided(accepted: InForce, before: Decision | None) -> tuple[InForce, Decision]:
    """At a start: the files on disk, unless they are those that an operator rolled back. A restart of the machine must
    not undo that; a change of the files, or a reload, does. In a cluster that has decided for a version only a reload does:
    no node takes other files than the rest."""
    decision = _decision(accepted, "postlane", "start")
    if before is None:
        return accepted, decision
    shared = accepted.deployment.state.url != "sqlite:" and before.ballot != ""
    if shared and decision.policies == before.policies:
        decision = replace(decision, ballot=before.ballot, node=before.node)
    if before.instead_of == accepted.version or (shared and before.policies != accepted.version):
        kept = Path(accepted.place.policies).with_name(before.policies)
        try:
            found = load(replace(accepted.place, policies=str(kept)))
        except (ConfigErrors, KeysError) as error:
            log.warning("what policies/ was rolled back to does not serve any more", problems=str(error))
        else:
            log.warning(
                "policies/ on disk is not in force: postlane status", on_disk=accepted.version, in_force=found.version
            )
            return found, replace(before, config=decision.config)
    same = (before.policies, before.config) == (decision.policies, decision.config)
    return accepted, replace(before, instead_of="") if same else decision


def _make_folders(data_dir: Path) -> None:
    for folder in (data_dir, data_dir / "spool", data_dir / "events"):
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"data_dir {folder} cannot be made: {error.strerror}; set node.data_dir") from error


def _lock(data_dir: Path) -> int:
    """One node per data directory; the lock goes with the process, however that ends."""
    file = data_dir / "postlane.lock"
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        cure = f"give data_dir to the user Postlane runs as (uid {os.geteuid()}), or set node.data_dir"
        raise StartError(f"{file} cannot be opened: {error.strerror}; {cure}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartError(f"{data_dir} is in use by a running Postlane; stop that first") from None
    return descriptor
