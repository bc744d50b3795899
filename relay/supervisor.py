"""Processes, sockets, signals: the parent of all workers and of the web process.

It owns what must outlive a worker: the listening sockets (one per worker and port, SO_REUSEPORT, so that the kernel
spreads connections and a restarting worker's queue of connections waits for it) and the control socket. It carries no
mail itself. A child that dies is started again, at once if it had run for a while, later and later if it keeps dying.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from relay import __version__, control
from relay.config import ConfigErrors, Deployment, load_deployment, load_policies, load_secret
from relay.control import Channel, Json, NodeDown
from relay.edge.listener import server_context
from relay.kept_policies import keep
from relay.order import DRAIN_SECONDS, Order
from relay.signing.entries import KeysError
from relay.signing.keys import load_keys

log = structlog.get_logger()

BACKLOG = 1024  # connections that wait while a worker restarts; the kernel caps it at net.core.somaxconn
RESTART_SECONDS = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0)  # waits after 1st, 2nd ... death in a row: mail waits meanwhile
STEADY_SECONDS = 10.0  # a child that ran this long does not "keep dying"
STOP_SECONDS = DRAIN_SECONDS + 10.0  # then SIGKILL


class StartError(Exception):
    """Why the node cannot start, in words for the person who started it."""


@dataclass(slots=True)
class Child:
    """One process under supervision. `command` makes its argument list and the descriptors it inherits, anew each start;
    the last of these is its end of the channel. When the channel closes, the supervisor is gone, and the child ends."""

    name: str
    command: Callable[["Child"], tuple[list[str], list[int]]]
    process: asyncio.subprocess.Process | None = None
    channel: Channel | None = None
    deaths: int = 0
    started: float = 0.0
    shards: tuple[int, ...] = ()
    renewing: bool = False  # it ends because we told it to, to start again with what is in force now

    def __repr__(self) -> str:
        pid = self.process.pid if self.process else None
        return f"<Child {self.name} pid={pid} deaths={self.deaths}>"

    def connect(self) -> int:
        """A new channel to the process about to start; the descriptor of its end, which it must inherit."""
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        return theirs.detach()

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.returncode is None


@dataclass(slots=True)
class Sockets:
    """Everything bound before any child starts. `listeners[worker][i]` belongs to the deployment's listener i."""

    listeners: list[list[socket.socket]] = field(default_factory=list)
    admin: socket.socket | None = None
    capture: socket.socket | None = None  # listens once there is something to capture, and from then on
    capturing: bool = False

    def capture_from_now_on(self) -> None:
        """Connections wait for the web process, which serves them once it is started anew."""
        if self.capture is not None and not self.capturing:
            self.capture.listen(128)
            self.capturing = True


class Supervisor:
    """Bind first (constructor), then `run()` until SIGTERM or SIGINT."""

    def __init__(self, config: Path, policies: Path) -> None:
        self.config, self.policies = config, policies
        self.deployment: Deployment = load_deployment(config)
        in_force = load_policies(policies, self.deployment)
        self.version = in_force.version
        load_keys(self.deployment.dkim_dir)  # a key that cannot be read is told before anything starts
        for warning in (*self.deployment.warnings, *in_force.warnings):
            log.warning("config", problem=str(warning))
        _try_certificate(self.deployment)
        data_dir = self.deployment.node.data_dir
        _make_folders(data_dir)
        self._lock = _lock(data_dir)
        load_secret(self.deployment)
        # In force; the rest of config/ is as it was at the start.
        self.delivery, self.retention = self.deployment.delivery, self.deployment.retention
        # Workers read a copy: what is being edited must not reach one that starts anew.
        self._store = data_dir / "policies"
        self.kept = keep(policies, self._store, self.version)
        self.workers = self.deployment.node.workers or os.cpu_count() or 1
        self.sockets = _bind_all(self.deployment, self.workers)
        if self.deployment.captures:
            self.sockets.capture_from_now_on()
        self._control = control.bind(data_dir)
        self.children = [self._worker(number) for number in range(self.workers)]
        self.web = Child("web", self._web_command)
        self._stopping = asyncio.Event()
        self._started = time.time()

    def __repr__(self) -> str:
        return f"<Supervisor {self.deployment.node.name} workers={self.workers} policies={self.version}>"

    # --- children -----------------------------------------------------------------------------------------------

    def _worker(self, number: int) -> Child:
        spool = self.deployment.node.data_dir / "spool"
        on_disk = {int(path.stem) for path in spool.glob("*.db") if path.stem.isdigit()}
        adopted = sorted(n for n in on_disk if n >= self.workers and n % self.workers == number)
        if adopted:
            log.info("a worker adopts shards that have none", worker=number, shards=adopted)
        return Child(f"worker-{number}", self._worker_command, shards=(number, *adopted))

    def _worker_command(self, child: Child) -> tuple[list[str], list[int]]:
        control_end = child.connect()
        listeners = tuple(link.fileno() for link in self.sockets.listeners[child.shards[0]])
        assert self.sockets.capture is not None
        order = Order(
            config=str(self.config),
            policies=str(self.kept),
            shards=child.shards,
            listeners=listeners,
            control=control_end,
            capture=f"127.0.0.1:{self.sockets.capture.getsockname()[1]}",
            sandbox=self.delivery.mode == "capture",
            workers=self.workers,
        )
        return [sys.executable, "-m", "relay.worker", order.dump()], [*listeners, order.control]

    def _web_command(self, child: Child) -> tuple[list[str], list[int]]:
        fds = {
            name: link.fileno()
            for name, link in (("admin", self.sockets.admin), ("capture", self.sockets.capture))
            if link is not None and (name != "capture" or self.sockets.capturing)
        }
        fds["control"] = child.connect()
        order = orjson.dumps({"config": str(self.config), **fds}).decode()
        return [sys.executable, "-m", "relay.web", order], list(fds.values())

    async def _start(self, child: Child) -> None:
        arguments, descriptors = child.command(child)
        child.process = await asyncio.create_subprocess_exec(
            *arguments,
            pass_fds=descriptors,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us alone; we tell the children
        )
        child.started = time.monotonic()
        os.close(descriptors[-1])  # the child's end of the pair: it must be the only holder
        assert child.channel is not None
        await child.channel.open()

    async def _keep(self, child: Child) -> None:
        """Start the child, and again whenever it ends before we stop."""
        while not self._stopping.is_set():
            await self._start(child)
            assert child.process is not None
            if self._stopping.is_set():  # told to stop while it was being started: nobody else ends it
                child.process.terminate()
            status = await child.process.wait()
            if child.channel is not None:
                child.channel.close()
            if self._stopping.is_set():
                return
            if child.renewing:
                child.renewing = False
                continue
            steady = time.monotonic() - child.started > STEADY_SECONDS
            child.deaths = 1 if steady else child.deaths + 1
            pause = RESTART_SECONDS[min(child.deaths, len(RESTART_SECONDS)) - 1]
            log.error("a process died and is started again", name=child.name, status=status, in_seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    # --- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        reloads: set[asyncio.Task[Json]] = set()

        def hup() -> None:
            task = asyncio.create_task(self.reload())
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, hup)
        server = await control.serve(self._control, self._answer)
        keeping = [asyncio.create_task(self._keep(child)) for child in (*self.children, self.web)]
        for task in keeping:
            task.add_done_callback(lambda _: self._stopping.set())  # a fault of ours: stop, rather than run on in part
        log.info("node runs", node=self.deployment.node.name, workers=self.workers, version=__version__)
        if self.only_to:
            log.warning("mail leaves for these recipients alone; all other is captured", only_to=self.only_to)
        await self._stopping.wait()
        log.info("node stops")
        await self._stop_children()
        faults = [fault for fault in await asyncio.gather(*keeping, return_exceptions=True) if fault is not None]
        server.close()
        (self.deployment.node.data_dir / control.SOCKET_NAME).unlink(missing_ok=True)
        if faults:
            raise ExceptionGroup("the supervisor failed", [f for f in faults if isinstance(f, Exception)])

    async def _stop_children(self) -> None:
        """Workers first: what they deliver in their last seconds may go through the web process (capture)."""
        for group in (self.children, [self.web]):
            living = [c.process for c in group if c.up and c.process is not None]
            for process in living:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            waits = [asyncio.ensure_future(process.wait()) for process in living]
            if waits:
                await asyncio.wait(waits, timeout=STOP_SECONDS)
            for process in living:
                if process.returncode is None:
                    log.warning("a process did not stop in time", pid=process.pid)
                    process.kill()

    def stop(self) -> None:
        self._stopping.set()

    # --- commands -----------------------------------------------------------------------------------------------

    async def _answer(self, question: Json) -> Json:
        match question.get("do"):
            case "stats":
                return await self.stats()
            case "reload":
                return await self.reload()
            case "queue.page" | "queue.change":
                return await self._page(question)
            case "record":
                return await self._ask_any(question)
        return {"error": f"unknown request {question.get('do')!r}"}

    async def stats(self) -> Json:
        """The node and each worker, for `status`, the admin page and metrics."""
        workers: list[Json] = []
        for child in self.children:
            facts: Json = {"name": child.name, "up": False, "deaths": child.deaths}
            if child.channel is not None and child.up:
                with contextlib.suppress(NodeDown):
                    answer = await child.channel.ask({"do": "stats"}, timeout=5.0)
                    facts |= {**answer, "up": "error" not in answer}
            workers.append(facts)
        return {
            "node": self.deployment.node.name,
            "version": __version__,
            "policies": self.version,
            "mode": self.delivery.mode,
            "only_to": self.only_to,
            "started": int(self._started * 1000),
            "web": self.web.up,
            "workers": workers,
        }

    @property
    def only_to(self) -> list[str]:
        """In live mode, whose mail leaves while all other is captured; empty: everybody's."""
        return [] if self.delivery.mode == "capture" else list(self.delivery.only_to)

    async def reload(self) -> Json:
        """Policies, keys, [delivery] and [retention] on disk into force, in all workers or none (DESIGN, invariant 9)."""
        try:
            deployment = load_deployment(self.config)
            wanted = load_policies(self.policies, deployment).version
            load_keys(self.deployment.dkim_dir)
        except (ConfigErrors, KeysError) as error:
            problems = [str(problem) for problem in error.problems]
            log.error("reload refused; what runs stays as it was", problems=problems)
            return {"error": "policies have errors; what runs stays as it was", "problems": problems}
        if self.delivery.mode == "capture" and not deployment.capture:
            log.error("reload refused: leaving capture mode needs a restart")
            why = "delivery.mode: a restart is needed to leave capture mode: until then, what listens here lets anybody in"
            return {"error": f"{why}; what runs stays as it was"}
        kept = keep(self.policies, self._store, wanted)
        ready = await self._ask_all({"do": "prepare", "policies": str(kept)})
        if any(answer.get("version") != wanted for answer in ready):
            log.error("reload refused: not every worker could read the files", answers=ready)
            return {"error": "not every worker could read the files; what runs stays as it was", "workers": ready}
        if deployment.captures:
            self.sockets.capture_from_now_on()
        await self._ask_all({"do": "commit"})
        before, self.version, self.kept = self.version, wanted, kept
        if (deployment.delivery, deployment.retention) != (self.delivery, self.retention):
            self.delivery, self.retention = deployment.delivery, deployment.retention
            self._renew_web()
        log.info("policies in force", version=wanted, before=before, only_to=self.only_to)
        return {"version": wanted, "before": before, "only_to": self.only_to}

    def _renew_web(self) -> None:
        """Its files are read at its start; what connects meanwhile waits in its sockets."""
        if self.web.up and self.web.process is not None:
            self.web.renewing = True
            self.web.process.terminate()

    async def _ask_all(self, question: Json) -> list[Json]:
        async def one(child: Child) -> Json:
            if child.channel is None:
                return {"error": f"{child.name} is not running"}
            try:
                return await child.channel.ask(question)
            except NodeDown as error:
                return {"error": f"{child.name}: {error}"}

        return list(await asyncio.gather(*(one(child) for child in self.children)))

    async def _ask_any(self, question: Json) -> Json:
        for child in self.children:
            if child.channel is not None and child.up:
                with contextlib.suppress(NodeDown):
                    return await child.channel.ask(question)
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
        if child.channel is None:
            return {"error": f"{child.name} is not running"}
        try:
            after = None if cursor[1] is None else cursor[1:]
            answer = await child.channel.ask({**question, "shard": cursor[0], "after": after})
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


def _try_certificate(deployment: Deployment) -> None:
    """A certificate that does not load is told here, before workers die of it again and again."""
    if all(listener.tls == "off" for listener in deployment.listeners):
        return
    files = [Path(deployment.tls.cert), Path(deployment.tls.key)]
    for file in files:  # OpenSSL does not say which it was
        try:
            file.open("rb").close()
        except OSError as error:
            raise StartError(
                f"{file} cannot be read: {error.strerror}; "
                f"set cert and key in [tls] to files that the user Postlane runs as (uid {os.geteuid()}) may read"
            ) from error
    try:
        server_context(*files)
    except OSError as error:  # ssl.SSLError is one
        raise StartError(
            f"{files[0]} and {files[1]} do not serve TLS: {error}; "
            "cert in [tls] is a chain in PEM, its own certificate first, and key the private key of that, in PEM "
            "without passphrase"
        ) from error


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


def _bind_all(deployment: Deployment, workers: int) -> Sockets:
    sockets = Sockets(listeners=[[] for _ in range(workers)])
    for listener in deployment.listeners:
        host, port = listener.bind
        if port:
            _bind(host, port, shared=False).close()  # SO_REUSEPORT alone would share the port with a stranger
        for worker in range(workers):
            link = _bind(host, port, shared=True)
            port = link.getsockname()[1]  # port 0: the kernel chose one for the first worker, the others join it
            sockets.listeners[worker].append(link)
    if deployment.web.admin:
        host, _, number = deployment.web.admin.rpartition(":")
        sockets.admin = _bind(host.strip("[]"), int(number), shared=False)
        sockets.admin.listen(128)
    sockets.capture = _bind("127.0.0.1", 0, shared=False)
    return sockets


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """A bound socket; `shared` ones (SO_REUSEPORT) listen at once, so that no connection is refused while workers start."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    link = socket.socket(family)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
    try:
        link.bind((host, port))
    except OSError as error:
        raise PortTaken(host, port, error) from error
    if shared:
        link.listen(BACKLOG)
    return link


class PortTaken(StartError):
    """An address we were told to listen on cannot be bound."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {error.strerror}")
        self.host, self.port = host, port
