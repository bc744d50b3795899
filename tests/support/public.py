"""The public pages over a desk made of a dict, for tests through their ASGI door and in a browser."""

import asyncio
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from relay.control import NodeDown
from relay.event import iso
from relay.identity import Brand, Face
from relay.tokens import DAY, Ticket, Tokens
from relay.web.public.faces import looks_of
from relay.web.public.gate import Gate
from relay.web.public.journal import Journal
from relay.web.public.server import PublicServer
from relay.web.public.site import PublicSettings, create_public_app
from relay.web.public.telling import Telling
from tests.support.serving import on_loopback

NOW = 1_795_262_731_104
TOKENS = Tokens([b"s" * 32])
TICKET = Ticket("arava", "arava-newsletter", "dana.levi@gmail.com", NOW // DAY)
TOKEN = TOKENS.seal(TICKET)
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 216 48" width="216" height="48" role="img">'
    '<g fill="none" stroke="#0b6e4f" stroke-width="5" stroke-linecap="round" stroke-linejoin="round">'
    '<path d="M8 40V24L28 8l20 16v16z"/><path d="M28 40V26m0 6c-8 0-9-6-9-9 6 0 9 4 9 9zm0-2c0-6 3-9 8-9 0 5-3 9-8 9z"/></g>'
    '<text x="62" y="32" font-family="sans-serif" font-size="22" font-weight="600" fill="#0b6e4f">Arava Home</text></svg>'
)
ARAVA = Face(
    names={"en": "Arava Home", "he": "ערבה לבית"},
    topics={
        "offers": {"en": "Offers and sales", "he": "מבצעים"},
        "tips": {"en": "Home and garden tips", "he": "טיפים לבית ולגינה"},
        "new": {"en": "What is new in the shops", "he": "מה חדש בחנויות"},
        "club": {"en": "Club points and benefits", "he": "נקודות והטבות של מועדון הלקוחות"},
    },
    logo="arava.svg",
    colors={"accent": "#0b6e4f"},
)
BRANDS = (
    Brand("arava", face=ARAVA),
    Brand("marom", face=Face(names={"en": "Marom Outdoor"}, texts={"intro": {"en": "Pick <your> trails."}})),
)


class Desk:
    """What relay/people.py answers, kept in a dict. `down`: nobody answers."""

    def __init__(self) -> None:
        self.down = False
        self.asked: list[dict[str, Any]] = []
        self.blocks: list[dict[str, Any]] = []
        self.preferences: dict[str, dict[str, Any]] = {}

    @property
    def changes(self) -> list[dict[str, Any]]:
        return [one for one in self.asked if one["what"] != "show"]

    async def __call__(self, question: dict[str, Any]) -> dict[str, Any]:
        if self.down:
            raise NodeDown("nobody is here")
        self.asked.append(question)
        for change in question.get("changes") or [question]:
            self._change(change)
        return {"blocks": self.blocks, "preferences": self.preferences}

    def _change(self, question: dict[str, Any]) -> None:
        match question["what"]:
            case "block":
                for one in question["entries"]:
                    self.block(one["stop"], one["brand"], one["reason"])
            case "unblock":
                asked = question["where"]
                where = (asked["stop"], asked["brand"] or None, asked["reason"])
                self.blocks = [b for b in self.blocks if (b["stop"], b["brand"], b["reason"]) != where]
            case "wish":
                until = question["paused_until"]
                self.preferences[question["brand"]] = {
                    "topics_off": question["topics_off"],
                    "at_most": question["at_most"] or "each",
                    "paused_until": iso(until) if until else None,
                }

    def block(self, stop: str, brand: str, reason: str) -> None:
        self.blocks.append({"stop": stop, "brand": brand or None, "reason": reason, "over": False})


class Site:
    """The application with its journal in `folder`; `async with` runs what tells the desk. `now`: what its clock says."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "arava.svg").write_text(LOGO)
        self.now = NOW
        self.desk = Desk()
        self.journal, self.calls = Journal(folder / "journal"), Journal(folder / "calls")
        self.telling = Telling(self.journal, self.calls, self.desk)
        looks = looks_of(BRANDS, folder, {"arava": frozenset({"club"})})
        facts: dict[str, Any] = {"tokens": TOKENS, "looks": looks, "host": "mail.relay.example"}
        self.app: Starlette = create_public_app(
            PublicSettings(journal=self.journal, ask=self.desk, clock=lambda: self.now, **(facts | changes))
        )

    async def __aenter__(self) -> "Site":
        self.journal.open()
        self.calls.open()
        self._running = asyncio.create_task(self.telling.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="https://mail.arava.example", headers=headers
        )


def served(site: Site, gate: Gate | None = None) -> AbstractContextManager[int]:
    """The site on a port of loopback, in a thread of its own."""
    return on_loopback(lambda: PublicServer(site.app, gate or Gate()), site)
