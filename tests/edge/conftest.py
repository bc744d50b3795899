"""A listener on loopback with a door that remembers, on both event loops: asyncio's, and uvloop's as in production."""

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from relay.edge.credentials import Directory, Login
from relay.edge.guesses import Guesses
from relay.edge.limits import ByteBudget, IPNetwork, Limits, ListenerSettings
from relay.edge.listener import Listener, server_context
from relay.edge.submission import Submission, TurnedAway
from relay.identity import Credential, Password
from relay.message import RcptTo
from relay.outcome import Reply
from tests.support.certificates import self_signed
from tests.support.smtp_dialogue import Client, connect

NOW = 1_795_000_000_000
SECRET = "correct horse"


def password(secret: str, until: int = 0) -> Password:
    return Password(b"salt", hashlib.sha256(b"salt" + secret.encode()).digest(), until)


def credential(name: str, **more: Any) -> Credential:
    more.setdefault("passwords", (password(SECRET),))
    return Credential(name, None, frozenset({"*"}), **more)


def plain(user: str, secret: str) -> str:
    """The initial response of AUTH PLAIN (RFC 4616)."""
    return base64.b64encode(f"\0{user}\0{secret}".encode()).decode()


class FakeDoor:
    """Takes everything. `gate` closed makes accept wait; `answer` may be a reply or an exception."""

    def __init__(self, *credentials: Credential) -> None:
        self.directory = Directory(credentials)
        self.submissions: list[Submission] = []
        self.saved: list[Submission] = []
        self.rejections: list[dict[str, object]] = []
        self.answer: Reply | Exception = Reply(250, "2.0.0", "OK id")
        self.checks: Callable[[RcptTo, float], TurnedAway | Awaitable[TurnedAway | None] | None] = lambda _, __: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()

    def login(self, user: str, password: str, on_this_machine: bool) -> Login | None:
        return self.directory.login(user, password, NOW, on_this_machine)

    def by_network(self, peer_ip: str, trust: Sequence[IPNetwork], local: str) -> Credential | None:
        return self.directory.by_network(peer_ip, trust, local)

    def check(
        self, credential: Credential, recipient: RcptTo, patience: float
    ) -> TurnedAway | Awaitable[TurnedAway | None] | None:
        return self.checks(recipient, patience)

    async def accept(self, submission: Submission) -> Reply:
        self.submissions.append(submission)
        self.arrived.set()
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        self.saved.append(submission)
        return self.answer

    def rejected(self, facts: dict[str, object]) -> None:
        self.rejections.append(facts)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what no event tells."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.002)


class House:
    """A running listener and its door. Peers on loopback are trusted unless the settings say otherwise."""

    def __init__(self, listener: Listener, door: FakeDoor, port: int) -> None:
        self.listener = listener
        self.door = door
        self.port = port
        self._clients: list[Client] = []

    async def connect(self, *, tls: bool = False, source: str = "") -> Client:
        client = await connect(self.port, tls=tls, source=source)
        self._clients.append(client)
        return client

    async def play(self, transcript: str, *, tls: bool = False, source: str = "") -> Client:
        client = await self.connect(tls=tls, source=source)
        await client.play(transcript)
        return client

    async def empty(self) -> None:
        """Until every session is gone."""
        await until(lambda: not self.listener.connections)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()
        await self.listener.stop_accepting()
        self.door.gate.set()
        await self.listener.drain(5)
        await self.empty()


Opener = Callable[..., AbstractAsyncContextManager[House]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every coroutine test of this folder runs on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def tls_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    pem: Path = self_signed(tmp_path_factory.mktemp("tls"), "localhost")
    return server_context(pem, pem)


@pytest.fixture
def open_house(tls_context: ssl.SSLContext) -> Opener:
    """`async with open_house(limits=..., budget=..., credential=..., tls="starttls", trusted=False) as house`"""

    @asynccontextmanager
    async def opener(
        *,
        limits: Limits | None = None,
        budget: int = 100_000_000,
        guesses: Guesses | None = None,
        identity: Credential | None = None,
        trusted: bool = True,
        **settings: Any,
    ) -> AsyncIterator[House]:
        known = identity or credential("local")
        door = FakeDoor(known)
        if trusted:
            door.by_network = lambda peer_ip, trust, local: known  # type: ignore[method-assign]
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        if settings.get("tls", "off") != "off":
            settings["context"] = tls_context
        listener = Listener(
            sock,
            settings=ListenerSettings("relay.test", **settings),
            limits=limits or Limits(sweep_seconds=0.02),
            door=door,
            budget=ByteBudget(budget),
            guesses=guesses or Guesses(),
            clock=lambda: NOW,
        )
        await listener.start()
        house = House(listener, door, port)
        with contextlib.closing(sock):
            try:
                yield house
            finally:
                await house.close()

    return opener
