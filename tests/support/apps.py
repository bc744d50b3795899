"""A worker's side of the apps' API with a real desk and State, and the web's side of it, joined in memory."""

from pathlib import Path
from typing import Any

import httpx

from relay.apps import Apps
from relay.checking import Checking
from relay.config.passwords import hashed, parse_token
from relay.control import NodeDown
from relay.edge.credentials import Directory
from relay.engaging import Engaging
from relay.event import Facts
from relay.identity import Brand, Credential, Face, proof_of
from relay.people import People, Records
from relay.policy.addresses.check import Modes
from relay.policy.engagement import Tiers
from relay.recipient import Keys
from relay.state.sqlite import SqliteState
from relay.web.api.site import alone, create_api
from tests.support.clocks import Clock

TOKEN = "shop." + "a2" * 16
BRANDS = {
    "arava": Brand("arava", domains=frozenset({"arava.example"}), face=Face(topics={"news": {}, "offers": {}})),
    "marom": Brand("marom", domains=frozenset({"marom.example"})),
}


def token_of(name: str) -> str:
    return f"{name}.{'a2' * 16}"


def app(name: str, *domains: str, **more: Any) -> Credential:
    tokens = (parse_token(hashed(proof_of(token_of(name)))),)
    return Credential(name, None, frozenset(domains), tokens=tokens, **more)


CREDENTIALS = (
    app("shop", "arava.example"),
    app("club", "arava.example", "marom.example"),
    app("erp", "arava.example", brand="marom"),
    app("stranger", "other.example"),
    app("gone", "arava.example", disabled=True),
)


class Node:
    """`said`: the events it recorded. `down`: it does not answer."""

    def __init__(self, tmp_path: Path, clock: Clock, dns: Any = None) -> None:
        self.clock = clock
        self.state = SqliteState(tmp_path / "state.db", clock)
        self.said: list[tuple[str, Facts]] = []
        self.asked: list[dict[str, Any]] = []
        self.down = False
        keys = Keys([b"s" * 32])
        self.engaging = Engaging(self.state, keys, Tiers(), clock)
        self.people = People(self.state, keys, self.record, lambda _, domain: domain, BRANDS, self.engaging)
        checking = Checking(tmp_path, 0)
        checking.apply(Modes(), dns)
        self.apps = Apps(checking, self.people, clock)
        self.apps.apply(Directory(CREDENTIALS), BRANDS)
        self.seconds = 0.0
        self.site = alone(create_api(self.ask, lambda: self.seconds))

    async def record(self, records: Records) -> None:
        self.said += records

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(question)
        if self.down:
            raise NodeDown("nobody")
        return await self.apps.answer(question)

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, **more: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        transport = httpx.ASGITransport(self.site, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://relay.test/api/v1") as client:
            given = {"json": body} if body is not None else {}
            return await client.request(method, path, headers=headers | more.pop("headers", {}), **given, **more)
