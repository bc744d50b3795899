"""The web process: joins admin and public pages, capture server and the care of the event log with the sockets the supervisor
hands over."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop

from relay import __version__, control, logs
from relay.config import Deployment, load_secrets
from relay.errands import Alone, Errands
from relay.feedback.eventfading import fade
from relay.feedback.eventlog import read, to_parquet
from relay.feedback.eventretention import remove_expired
from relay.feedback.fading import ADDRESSES, SUBJECTS, TRANSCRIPTS
from relay.hooks.service import Hooks
from relay.ids import time_of
from relay.in_force import InForce, load
from relay.order import Place
from relay.recipient import Keys
from relay.reporting import Reader
from relay.reporting.counting import count
from relay.signing.keys import KeyRing
from relay.web.api.site import alone, create_api
from relay.web.app import create_app
from relay.web.capture import CaptureServer
from relay.web.captures import Captures
from relay.web.connect import SubmissionPort
from relay.web.login.service import Login
from relay.web.public.gate import POSTS_A_SECOND, Allowance, Gate
from relay.web.public.server import PublicServer
from relay.web.public.service import PublicService
from relay.web.settings import WebSettings
from relay.web.stories import Event
from relay.web.tail import EventTail

log = structlog.get_logger()

ARCHIVE_EVERY = 60.0  # seconds between looks for hours that are over: Parquet is for reports, which can wait a minute
DAY = 86_400_000
NICE = 5  # mail comes first: where all want the processors, a third of a worker's share


def clock() -> int:
    return time.time_ns() // 1_000_000


class WebProcess:
    """`admin`, `api`, `public`, `capture`: listening sockets; None where there is no such server. When `supervisor` closes, it
    ends. `policies`: the folder on disk, where logos are.

    It is started anew when config/ changes; of policies/ the public pages and the webhooks take something, which are told."""

    def __init__(
        self,
        in_force: InForce,
        supervisor: socket.socket,
        admin: socket.socket | None,
        api: socket.socket | None,
        public: socket.socket | None,
        capture: socket.socket | None,
        policies: Path,
    ) -> None:
        self._deployment = deployment = in_force.deployment
        self._keys = in_force.keys
        self._supervisor = supervisor
        self._admin, self._api = admin, api
        self._directory = deployment.node.data_dir / "events"
        self._captures = Captures(deployment.node.data_dir / "capture") if capture else None
        self._public = PublicService(public, in_force, policies, self._ask) if public is not None else None
        self._hooks = Hooks(in_force, clock)
        node, shared = deployment.node, deployment.state.url != "sqlite:"
        keys = partial(_keys, deployment)
        self._errands = Errands(node.name, node.data_dir, self._ask, keys) if shared else Alone(node.name)
        self._server: CaptureServer | None = None
        if capture is not None and self._captures is not None:
            hostname = deployment.node.hostname
            self._server = CaptureServer(capture, self._captures, hostname=hostname, clock=clock, ask=self._ask)

    def __repr__(self) -> str:
        return f"<WebProcess admin={self._admin is not None} public={self._public!r} capture={self._server!r}>"

    async def run(self) -> None:
        """Until SIGTERM, or the supervisor is gone."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        watch = asyncio.create_task(control.answer_channel(self._supervisor, self._answer))
        watch.add_done_callback(lambda _: stop.set())
        archive = asyncio.create_task(self._archive())
        hooks = asyncio.create_task(self._hooks.run())
        errands = asyncio.create_task(self._errands.run())
        public = asyncio.create_task(self._public.run(stop)) if self._public is not None else None
        if self._server is not None:
            await self._server.start()
        servers = self._servers()
        serving = [asyncio.create_task(server.serve([link])) for server, link in servers]
        await stop.wait()
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        if public is not None:
            await public
        if self._server is not None:
            await self._server.stop()
        cares = (archive, hooks, errands, watch)
        for task in cares:
            task.cancel()
        await asyncio.gather(*cares, return_exceptions=True)
        await self._hooks.close()

    def _servers(self) -> list[tuple[uvicorn.Server, socket.socket]]:
        """The apps' API, where it has an address of its own, is bounded like the public pages: it may face the world."""
        servers: list[tuple[uvicorn.Server, socket.socket]] = []
        if self._admin is not None:
            reader = Reader([self._directory, *self._deployment.web.events])
            app = create_app(self._settings(), self._ask, self._login(), reader)
            servers.append((_Pages(app), self._admin))
        if self._api is not None:
            gate = Gate(pages=Allowance(POSTS_A_SECOND))  # an app may ask as often as it tells
            servers.append((PublicServer(alone(create_api(self._ask)), gate), self._api))
        return servers

    def _login(self) -> Login:
        loopback = ip_address(self._admin_host).is_loopback
        return Login(self._deployment.node.data_dir, loopback=loopback, clock=clock)

    @property
    def _admin_host(self) -> str:
        return self._deployment.web.admin.rpartition(":")[0].strip("[]")

    def _settings(self) -> WebSettings:
        deployment = self._deployment
        return WebSettings(
            node=deployment.node.name,
            hostname=deployment.node.hostname,
            mode=deployment.delivery.mode,
            only_to=tuple(deployment.only_to),
            events=EventTail(self._directory, self._find),
            clock=clock,
            version=__version__,
            timezone=deployment.node.timezone,
            ports=tuple(
                SubmissionPort(one.bind.host, one.bind.port, one.tls, login=one.auth == "required")
                for one in deployment.listeners
                if one.role == "submission"
            ),
            hosts=frozenset({deployment.node.hostname}),
            any_address=self._admin_host in ("0.0.0.0", "::"),  # noqa: S104 compared, not bound
            api=self._api is None,
            captures=self._captures,
            public_keys=_public_keys(self._keys),
        )

    async def _answer(self, question: control.Json) -> control.Json:
        if question.get("do") == "webhooks":
            return await self._hooks.answer(question)
        if question.get("do") == "errands":
            return await self._errands.answer(question)
        if question.get("do") != "pages":
            return {"error": f"the web process does not know how to {question.get('do')}"}
        in_force = await asyncio.to_thread(load, Place(**question["place"]), checked=False)
        self._hooks.apply(in_force)
        if self._public is not None:
            self._public.apply(in_force)
        return {"ok": True}

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        answer = await control.ask(self._deployment.node.data_dir, question)
        if question.get("do") == "stats" and self._public is not None:
            for kind, numbers in self._public.numbers.items():  # of this process, which the supervisor does not count
                answer[kind] = answer.get(kind, {}) | numbers
        return answer

    def _find(self, identifier: str) -> Iterable[Event]:
        """One message's events from the whole log; an id tells where in it to begin."""
        made = time_of(identifier)
        if made is None:
            return ()
        return read(self._directory, since=made - 60_000, until=clock() + DAY, match={"id": identifier})

    async def _archive(self) -> None:
        works: tuple[tuple[str, Callable[[Path, int], object]], ...] = (
            ("old events not removed; trying again", partial(remove_expired, keep=self._deployment.retention.events)),
            ("an hour of events not archived; trying again", partial(to_parquet, ready=self._hooks.read)),
            ("old events not cleared; trying again", self._fade),
            ("events not counted; trying again", partial(count, zone=self._deployment.node.timezone)),
        )
        while True:
            # A full disk, say: what cannot be done stays as it is until it can.
            for what, work in works:
                try:
                    await asyncio.to_thread(work, self._directory, clock())
                except Exception:
                    log.exception(what)
            await asyncio.sleep(ARCHIVE_EVERY)

    def _fade(self, directory: Path, now: int) -> None:
        kept = self._deployment.retention
        inside = {SUBJECTS: kept.subjects, TRANSCRIPTS: kept.transcripts, ADDRESSES: kept.addresses}
        fade(directory, now, inside, _keys(self._deployment).key, self._hooks.read)


class _Pages(uvicorn.Server):
    """uvicorn without its own signal handling: when to stop is this process's business."""

    def __init__(self, app: Any) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False))

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _keys(deployment: Deployment) -> Keys:
    return Keys(load_secrets(deployment))


def _public_keys(ring: KeyRing) -> Any:
    def find(selector: str, domain: str) -> bytes | None:
        keys = (*ring.keys, *ring.for_domain(domain))
        return next((k.dns_value.encode() for k in keys if (k.selector, k.domain) == (selector, domain)), None)

    return find


def work(place: Place, policies: Path, descriptors: Mapping[str, int]) -> int:
    """All that the web process does; its exit status. `descriptors`: of `control` and of the listening sockets there are."""
    logs.configure("web", os.environ.get("POSTLANE_LOG", "info"))
    links = {name: socket.socket(fileno=number) for name, number in descriptors.items()}
    admin, api, public, capture = (links.get(name) for name in ("admin", "api", "public", "capture"))
    process = WebProcess(load(place, checked=False), links["control"], admin, api, public, capture, policies)
    os.nice(NICE)
    uvloop.run(process.run())
    return 0
