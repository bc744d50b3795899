"""The public pages as a part of the web process: the server on its socket, the journal, and what tells it on."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from relay.config import Policies, load_secrets, public_pages
from relay.control import Json
from relay.in_force import InForce
from relay.message import MailClass
from relay.tokens import Tokens
from relay.web.public.faces import looks_of
from relay.web.public.gate import Gate
from relay.web.public.journal import Journal
from relay.web.public.server import PublicServer
from relay.web.public.site import PublicSettings, create_public_app
from relay.web.public.telling import Telling

log = structlog.get_logger()

CALLS_AT_ONCE = 20  # files of apps' URLs in hand: one app that is down keeps no other waiting
OPEN_AGAIN = 5.0  # s


class PublicService:
    """`apply` puts other policies and secrets in force; `policies`: the folder on disk, where logos are."""

    def __init__(
        self, link: socket.socket, in_force: InForce, policies: Path, ask: Callable[[Json], Awaitable[Json]]
    ) -> None:
        deployment = in_force.deployment
        self._link = link
        self._policies = policies
        self._ask = ask
        folder = deployment.node.data_dir / "journal"
        self._asked, self._calls = Journal(folder), Journal(folder / "calls", CALLS_AT_ONCE)
        self._telling = Telling(self._asked, self._calls, ask, allow_private=deployment.delivery.allow_private)
        self._gate = Gate()
        self._app: ASGIApp
        self.apply(in_force)

    def __repr__(self) -> str:
        return f"<PublicService {self._telling!r} served={self._gate.served} shed={self._gate.shed}>"

    @property
    def numbers(self) -> dict[str, dict[str, int]]:
        """For metrics: counters and gauges."""
        counters = {"pages_served": self._gate.served, "pages_shed": self._gate.shed}
        return {"counters": counters, "gauges": {"journal_waiting": self._asked.waiting}}

    def apply(self, in_force: InForce) -> None:
        """Raises ConfigErrors for the secrets: then all stays as it was."""
        deployment, policies = in_force.deployment, in_force.policies
        shared = public_pages(deployment, policies.brands).get("", "")
        settings = PublicSettings(
            tokens=Tokens(load_secrets(deployment)),
            journal=self._asked,
            ask=self._ask,
            looks=looks_of([*policies.brands.values()], self._policies, _service_topics(policies)),
            host=urlsplit(shared).hostname or deployment.node.hostname,
        )
        self._app = create_public_app(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application: whatever is in force."""
        await self._app(scope, receive, send)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what was promised by then is on disk."""
        await self._open(stop)
        telling = asyncio.create_task(self._telling.run())
        server = PublicServer(self, self._gate)
        serving = asyncio.create_task(server.serve([self._link]))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([telling, serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            log.critical("what recipients ask for is not told any more", exc_info=telling.exception())
        server.should_exit = True
        await serving
        for task in (telling, waiting):
            task.cancel()
        await asyncio.gather(telling, waiting, return_exceptions=True)
        stop.set()

    async def _open(self, stop: asyncio.Event) -> None:
        """Nothing is answered before the journal can be written."""
        while not stop.is_set():
            try:
                self._asked.open()
                self._calls.open()
            except OSError as error:
                log.error("the journal of the public pages cannot be opened; trying again", error=str(error))
                await asyncio.sleep(OPEN_AGAIN)
            else:
                return


def _service_topics(policies: Policies) -> Mapping[str, frozenset[str]]:
    """By brand, topics of service mail: streams say which. A topic that marketing has as well can be chosen."""
    found: dict[str, frozenset[str]] = {}
    for name, brand in policies.brands.items():
        streams = [one for one in policies.streams.named.values() if one.brand in ("", name)]
        service = {one.topic for one in streams if one.mail_class is MailClass.SERVICE}
        other = {one.topic for one in streams if one.mail_class is not MailClass.SERVICE}
        found[name] = frozenset(topic for topic in brand.face.topics if topic in service - other)
    return found
