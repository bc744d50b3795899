"""Suspensions as workers keep in step with them: over State alone, each with its own rows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.egress.pools import Pool, Source
from relay.message import HELD, Change, Delivery, MailClass
from relay.outcome import Outcome, Reply
from relay.policy.suspension import BOARD
from relay.queue_commands import QueueCommands
from relay.schedule.dispatcher import Dispatcher
from relay.spool.store import Selector, Spool
from relay.state.interface import StateError
from relay.state.sqlite import Action, SqliteState
from relay.suspending import Suspending
from tests.support.clocks import Clock
from tests.support.house import Rig
from tests.support.letters import letter

MARKETING = MailClass.MARKETING


async def never(_: Delivery) -> int | None:
    raise AssertionError("nothing is sent in these tests")


class FailingState(SqliteState):
    """While `down` nobody can read or write it."""

    down = False

    async def _ask(self, action: Action, durable: bool = False, quick: int = 0) -> Any:
        if self.down:
            raise StateError("gone")
        return await super()._ask(action, durable, quick)


class OneWorker:
    """With a shard of its own; `said`: the events of the node it recorded."""

    def __init__(self, folder: Path, name: str, clock: Clock) -> None:
        rig = Rig(Outcome(Reply(250, "2.0.0", "OK"), "END"))
        self.state = FailingState(folder / "state.db", clock)
        self.spool = Spool(folder / f"{name}.db", clock=clock, on_fatal=lambda error: pytest.fail(repr(error)))
        house = rig.attempting()
        house.spool = self.spool
        house.pools = {c: Pool(c.label, (Source("", ""),)) for c in MailClass}
        self.table = house.suspensions
        self.table.known = False
        self.said: list[tuple[str, dict[str, Any]]] = []
        commands = QueueCommands(self.spool, Dispatcher(self.spool, never, lambda: 0), house)
        self.suspending = Suspending(self.state, self.table, [commands], lambda k, f: self.said.append((k, f)), name)

    async def step(self) -> None:
        await self.suspending.look()
        await self.suspending.sweep()

    async def held(self) -> list[int]:
        return [d.held for d in (await self.spool.page(Selector(), None, 100)).deliveries]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def workers(tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[OneWorker, OneWorker]]:
    """Two that share State, each with three deliveries of stream news and one of another."""
    both = OneWorker(tmp_path, "a", clock), OneWorker(tmp_path, "b", clock)
    for worker in both:
        await worker.state.open()
        await worker.spool.open()
        put = [letter(1, 3, mail_class=MARKETING, stream="news"), letter(2, mail_class=MARKETING)]
        await worker.spool.put(Change(put=put))
    yield both
    for worker in both:
        await worker.spool.close()
        await worker.state.close()


ASK = {"what": {"stream": "news"}, "reason": "list is cleaned", "by": "noa", "via": "cli", "waiting": 3}


async def test_what_one_worker_is_told_all_do(workers: tuple[OneWorker, OneWorker]) -> None:
    one, other = workers
    for worker in workers:
        await worker.step()
    assert "error" not in await one.suspending.suspend(ASK)
    assert [found.said for found in one.table] == ["stream news"], "at once where it was said"
    assert list(other.table) == []
    for worker in workers:
        await worker.step()
    (held,) = one.table
    assert await one.held() == await other.held() == [held.id] * 3 + [0]
    assert [kind for kind, _ in one.said] == ["suspended", "audit"]
    about = {"what": {"stream": "news"}, "reason": "list is cleaned", "until": None, "waiting": 3, "by": "noa"}
    assert one.said[0][1] == about
    assert other.said == [], "each event once"
    answer = await other.suspending.resume({"what": {"stream": "n*"}, "by": "dan", "reason": "clean"})
    assert [found["said"] for found in answer["ended"]] == ["stream news"]
    for worker in workers:
        await worker.step()
    assert await one.held() == await other.held() == [0] * 4
    assert [kind for kind, _ in other.said] == ["resumed", "audit"]
    assert other.said[0][1] == {"what": {"stream": "news"}, "reason": "clean", "waiting": 3, "by": "dan"}
    assert await other.state.pinned(BOARD) == {}


async def test_it_ends_by_time_and_one_alone_tells(workers: tuple[OneWorker, OneWorker], clock: Clock) -> None:
    one, other = workers
    await one.suspending.suspend({**ASK, "for": 3_600_000})
    for worker in workers:
        await worker.step()
    clock.now += 3_599_999
    for worker in workers:
        await worker.step()
    assert (await other.held())[:3] == [next(iter(other.table)).id] * 3
    clock.now += 1
    await asyncio.gather(*(worker.step() for worker in workers))
    assert await one.held() == await other.held() == [0] * 4
    ends = [facts for worker in workers for kind, facts in worker.said if kind == "resumed"]
    assert ends == [{"what": {"stream": "news"}, "reason": "its time is over", "waiting": 3, "by": "postlane"}]


async def test_while_state_is_down_what_was_known_holds_until_its_time(
    workers: tuple[OneWorker, OneWorker], clock: Clock
) -> None:
    one, other = workers
    await one.suspending.suspend(ASK)
    await one.suspending.suspend({"what": {"brand": "arava"}, "for": 1_000})
    one.state.down = other.state.down = True
    for worker in workers:
        await worker.step()
    assert {found.said for found in one.table} == {"stream news", "brand arava"}
    assert not other.table.known
    assert "error" in await one.suspending.suspend(ASK)
    assert "error" in await one.suspending.resume({})
    clock.now += 1_000
    for worker in workers:
        await worker.step()
    assert [found.said for found in one.table] == ["stream news"]
    assert await other.held() == [0] * 4, "who knows of nothing changes nothing"
    one.state.down = other.state.down = False
    for worker in workers:
        await worker.step()
    assert [found.said for found in other.table] == ["stream news"]
    assert len([facts for worker in workers for kind, facts in worker.said if kind == "resumed"]) == 1


async def test_a_new_life_sweeps_what_happened_meanwhile(workers: tuple[OneWorker, OneWorker]) -> None:
    one, other = workers
    gone, by_hand = letter(3, 2, mail_class=MARKETING, held=77), letter(4, mail_class=MARKETING, held=HELD)
    await other.spool.put(Change(put=[gone, by_hand]))
    await one.suspending.suspend(ASK)
    await other.step()
    identity = next(iter(other.table)).id
    assert await other.held() == [identity] * 3 + [0, 0, 0, HELD], "held for what is over: let go; by hand: not"


async def test_what_cannot_be_suspended_is_said(
    workers: tuple[OneWorker, OneWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = workers
    assert await one.suspending.suspend({"what": {"class": "bulk"}}) == {"error": "no class is bulk"}
    assert "none longer than" in (await one.suspending.suspend({"what": {"stream": "x" * 400}}))["error"]
    assert "none longer than" in (await one.suspending.resume({"what": {"stream": "x" * 400}}))["error"]
    monkeypatch.setattr("relay.suspending.MAX", 1)
    await one.suspending.suspend(ASK)
    assert "the most there may be" in (await one.suspending.suspend(ASK))["error"]
    dry = await one.suspending.resume({"dry_run": True})
    assert ([one["said"] for one in dry["ended"]], dry["left"]) == (["stream news"], [])
    assert (await one.suspending.resume({"what": {"site": "x"}}))["ended"] == []
    assert len(one.suspending.shown()) == 1
    assert "stream news" in repr(one.suspending)


async def test_a_note_that_cannot_be_read_is_passed_over(workers: tuple[OneWorker, OneWorker]) -> None:
    one, _ = workers
    await one.state.pin(BOARD, "1", '{"id": 1, "what": {"newer": ["x"]}, "since": 1}')
    await one.state.pin(BOARD, "2", "{")
    await one.suspending.suspend(ASK)
    await one.step()
    assert [found.said for found in one.table] == ["stream news"]


async def test_it_runs_by_itself(workers: tuple[OneWorker, OneWorker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.suspending.LOOK", 0.01)
    one, other = workers
    running = [asyncio.create_task(worker.suspending.run()) for worker in workers]
    await one.suspending.suspend(ASK)
    async with asyncio.timeout(20):
        while not all((await other.held())[:3]):  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.01)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_a_pool_that_is_gone_holds_nothing_and_breaks_nothing(workers: tuple[OneWorker, OneWorker]) -> None:
    """A reload took it away, or this node never had it: the sweep once ended with the worker, again and again."""
    one, other = workers
    await other.step()
    await one.suspending.suspend({**ASK, "what": {"pool": "cold"}})
    await one.step()
    await other.step()
    assert await one.held() == await other.held() == [0, 0, 0, 0]
    await one.suspending.suspend({**ASK, "what": {"pool": "mark*"}})
    await other.step()
    assert all(await other.held())
