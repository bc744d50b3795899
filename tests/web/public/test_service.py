"""The public pages as a part of the web process: served, renewed, and ended."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from relay.config import load_deployment, load_policies, load_secret
from relay.control import Json
from relay.in_force import InForce
from relay.order import Place
from relay.signing.keys import KeyRing
from relay.tokens import Ticket, Tokens
from relay.web.public import service as module
from relay.web.public.service import PublicService
from relay.web.public.telling import Telling

CONFIG = """\
[node]
hostname = "relay.test.example"
[[listener]]
bind = "127.0.0.1:2525"
[delivery]
mode = "capture"
"""
BRANDS = """\
[brand.arava]
name = "{name}"
domains = ["arava.example"]
topics = {{ offers = "Offers", club = "Your points", both = "Fairs" }}
"""
STREAMS = """\
[[stream]]
name = "points"
class = "service"
topic = "club"
[[stream]]
name = "fair-news"
class = "marketing"
topic = "both"
[[stream]]
name = "fair-dates"
class = "service"
topic = "both"
"""


def in_force(folder: Path, name: str = "Arava Home") -> InForce:
    for file, text in (
        ("config/postlane.toml", CONFIG),
        ("policies/brands.toml", BRANDS.format(name=name)),
        ("policies/streams.toml", STREAMS),
    ):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
    deployment = load_deployment(folder / "config", {})
    policies = load_policies(folder / "policies", deployment, checked=False)
    return InForce(Place("", "", "", ""), deployment, policies, KeyRing([]))


async def nobody(question: Json) -> Json:
    return {"blocks": [], "preferences": {}}


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[PublicService, str, asyncio.Event]]:
    """The service, the path of a preference page with its host, and what ends it."""
    link = socket.create_server(("127.0.0.1", 0))
    service = PublicService(link, in_force(folder), folder / "policies", nobody)
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    token = Tokens([load_secret(load_deployment(folder / "config", {}))]).seal(Ticket("arava", "", "dana@b.example", 1))
    yield service, f"http://127.0.0.1:{link.getsockname()[1]}/p/{token}", stop
    stop.set()
    await task


async def page(url: str) -> str:
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
        assert answer.status_code == 200
        return answer.text


async def test_it_shows_what_is_in_force_now(tmp_path: Path) -> None:
    async with running(tmp_path) as (service, url, _):
        shown = await page(url)
        assert "Arava Home" in shown
        service.apply(in_force(tmp_path, "Arava Garden"))
        assert "Arava Garden" in await page(url)
        assert service.numbers == {"counters": {"pages_served": 2, "pages_shed": 0}, "gauges": {"journal_waiting": 0}}
        assert "served=2 shed=0" in repr(service)


async def test_what_is_service_mail_alone_cannot_be_chosen(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, url, _):
        chosen, _, aside = (await page(url)).partition('class="aside"')
        assert 'value="offers"' in chosen
        assert 'value="both"' in chosen, "marketing has it, too"
        assert 'value="club"' not in chosen
        assert "Your points" in aside


async def test_nothing_is_answered_before_the_journal_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_AGAIN", 0.01)
    in_the_way = tmp_path / "data" / "journal"
    in_the_way.parent.mkdir()
    in_the_way.write_text("no folder")
    async with running(tmp_path) as (service, url, _):
        asked = asyncio.create_task(page(url))
        await asyncio.sleep(0.05)
        assert service.numbers["counters"]["pages_served"] == 0
        in_the_way.unlink()
        assert "Arava Home" in await asked


async def test_where_nothing_can_be_told_any_more_the_process_is_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Telling, "run", fails)
    async with running(tmp_path) as (_, _, stop):
        async with asyncio.timeout(10):
            await stop.wait()
