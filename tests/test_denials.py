"""DNS is believed that a domain does not exist where it knows those that take mail, asked in the same moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay import denials
from relay.denials import BOARD, STALE, Denials, chosen, fresh_denials, most_mailed
from relay.egress.mx import Answer, Found
from relay.state.interface import StateError
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

LOST = Found.NO_NAME


class Dns:
    """`says`: of which domains something else than RECORDS; `silent`: of which nothing; `asked`, in turn."""

    def __init__(self) -> None:
        self.says: dict[str, Found] = {}
        self.silent: set[str] = set()
        self.asked: list[str] = []

    async def mx(self, domain: str) -> Answer:
        self.asked.append(domain)
        if domain in self.silent:
            await asyncio.Event().wait()
        return Answer(self.says.get(domain, Found.RECORDS))


class Scene:
    def __init__(self, state: SqliteState, clock: Clock) -> None:
        self.state, self.clock, self.dns = state, clock, Dns()
        self.delivered = {"big.com": 9, "mid.com": 8, "low.com": 7, "gmx.de": 6, "web.de": 5, "one.org": 4}
        self.denials = Denials(state, self.dns.mx, lambda: self.delivered)

    async def gone(self, *domains: str) -> set[str]:
        self.dns.says |= dict.fromkeys(domains, LOST)
        return await self.denials.gone(domains)

    async def notes(self) -> list[tuple[int, int]]:
        return await fresh_denials(self.state, self.clock.now)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    state = SqliteState(tmp_path / "state.db", clock)
    await state.open()
    yield Scene(state, clock)
    await state.close()


async def test_it_is_believed_where_it_knows_witnesses(scene: Scene) -> None:
    assert await scene.gone("typo.com", "typo.de") == {"typo.com", "typo.de"}
    assert sorted(scene.dns.asked) == ["big.com", "gmx.de", "low.com", "mid.com", "typo.com", "typo.de", "web.de"]
    scene.dns.says["big.com"] = LOST
    assert await scene.gone("typo.com") == {"typo.com"}, "one of three may really be gone"
    assert await scene.notes() == []
    assert repr(scene.denials) == "<Denials, 0 of witnesses>"


async def test_what_it_knows_by_now_or_cannot_say_is_not_gone(scene: Scene) -> None:
    scene.dns.says = {"a.com": Found.NOTHING, "b.com": Found.FAILED}
    assert await scene.denials.gone({"a.com", "b.com", "c.com"}) == set()
    assert not scene.denials.doubtful


async def test_where_it_denies_witnesses_it_is_not_believed_and_that_is_told(scene: Scene) -> None:
    scene.dns.says = dict.fromkeys(scene.delivered, LOST)
    assert await scene.gone("typo.com") == set()
    assert await scene.notes() == [(3, 3)]
    assert scene.denials.doubtful
    scene.dns.says = {"big.com": LOST}
    await scene.denials.look()
    assert await scene.notes() == []
    await scene.denials.look()


async def test_a_registry_that_lost_most_of_its_domains_is_not_believed_of_these(scene: Scene) -> None:
    scene.dns.says = {"gmx.de": LOST, "web.de": LOST}
    assert await scene.gone("typo.com", "typo.de", "typo.org") == {"typo.com", "typo.org"}
    assert await scene.notes() == [(2, 3)]


async def test_it_is_asked_again_until_it_knows_them(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.dns.says = dict.fromkeys(scene.delivered, LOST)
    await scene.gone("typo.com")
    scene.clock.now += STALE - 1
    assert len(await scene.notes()) == 1
    await scene.denials.look()
    scene.clock.now += STALE - 1
    assert len(await scene.notes()) == 1, "it said so again"
    scene.dns.says = dict.fromkeys(scene.delivered, Found.FAILED)
    await scene.denials.look()
    assert len(await scene.notes()) == 1, "no answer is none"
    scene.clock.now += 1
    assert await scene.notes() == []
    assert await scene.state.pinned(BOARD) == {}
    scene.dns.says = {}
    known = asyncio.Event()
    failing = [StateError("down")]

    async def unpin(board: str, name: str) -> bool:
        if failing:
            raise failing.pop()
        known.set()
        return True

    monkeypatch.setattr(scene.state, "unpin", unpin)
    monkeypatch.setattr(denials, "AGAIN", 0.001)
    running = asyncio.create_task(scene.denials.run())
    await scene.gone("typo.com")
    scene.denials._denied = frozenset({"big.com"})
    async with asyncio.timeout(5):
        await known.wait()
    running.cancel()


async def test_a_witness_that_is_gone_for_good_is_none_any_more(scene: Scene) -> None:
    """Two of three that took most mail of a top-level domain end: DNS must not be in doubt for ever."""
    scene.dns.says = {"gmx.de": LOST, "web.de": LOST}
    assert await scene.gone("typo.de") == set()
    for _ in range(denials.LOST // (STALE - 1)):
        scene.clock.now += STALE - 1
        await scene.denials.look()
        assert len(await scene.notes()) == 1
    scene.clock.now += STALE - 1
    await scene.denials.look()
    assert (await scene.notes(), scene.denials.doubtful) == ([], False)
    assert await scene.gone("typo.de") == {"typo.de"}, "by those that are left"
    assert await scene.notes() == []
    scene.delivered.pop("web.de")
    scene.clock.now += denials.ANEW
    await scene.gone("typo.de")
    assert list(scene.denials._since) == ["gmx.de"], "of what is no witness nothing is remembered"
    scene.dns.says = dict.fromkeys(scene.delivered, LOST) | {"gmx.de": Found.RECORDS}
    assert await scene.gone("typo.de") == set()
    assert "gmx.de" not in scene.denials._since, "it is back"


async def test_strangers_cannot_make_dns_doubtful_by_domains_of_their_own(scene: Scene) -> None:
    """Who has mail sent to three domains that nobody else has mail for, and gives them up, speaks for these alone."""
    scene.delivered |= {"gmail.com": 10_000, "a.zip": 3, "b.zip": 3, "c.zip": 3}
    scene.dns.says = dict.fromkeys(("a.zip", "b.zip", "c.zip"), LOST)
    assert await scene.gone("typo.zip", "typo.com") == {"typo.com"}
    assert (await scene.notes(), scene.denials.doubtful) == ([], False)


async def test_a_million_made_up_domains_leave_places_to_others_and_witnesses_go_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = most = 0

    async def ask(domain: str) -> Answer:
        nonlocal under_way, most
        under_way, most = under_way + 1, max(most, under_way + 1)
        await asyncio.sleep(0)
        under_way -= 1
        return await scene.dns.mx(domain)

    monkeypatch.setattr(scene.denials, "_ask", ask)
    made_up = [f"made-up-{number}.com" for number in range(1_000)]
    assert await scene.gone(*made_up) == {*made_up}
    assert most == denials.AT_ONCE
    assert {*scene.dns.asked[:3]} == {"big.com", "mid.com", "low.com"}


async def test_a_fault_of_ours_with_one_name_is_no_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(domain: str) -> Answer:
        if domain == "odd.com":
            raise UnicodeError("no name")
        return await scene.dns.mx(domain)

    monkeypatch.setattr(scene.denials, "_ask", ask)
    assert await scene.gone("typo.com", "odd.com") == {"typo.com"}


async def test_without_witnesses_or_answers_nobody_knows(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "PATIENCE", 0.01)
    scene.dns.silent = {"typo.com"}
    assert await scene.gone("typo.com", "other.com") == {"other.com"}
    scene.dns.silent = {*scene.delivered}
    assert await scene.gone("other.com") == set()
    assert await scene.notes() == []
    scene.dns.silent = set()
    scene.delivered.clear()
    assert scene.denials.doubtful
    scene.clock.now += denials.ANEW
    assert await scene.gone("other.com") == set()
    scene.delivered["new.example"] = 1
    assert await scene.gone("other.com") == {"other.com"}, "as soon as anything was delivered"


def test_witnesses_are_of_the_same_top_level_domain_and_never_who_is_asked_about() -> None:
    delivered = {f"d{number}.com": number for number in range(20)} | {"a.de": 50, "b.de": 1}
    most = most_mailed(delivered)
    assert chosen(most, "com", {"d19.com", "x.com"}) == ["d18.com", "d17.com", "d16.com"]
    assert chosen(most, "de", {"x.de"}) == ["a.de", "b.de", "d19.com"]
    assert chosen(most, "net", ()) == ["a.de", "d19.com", "d18.com"]
