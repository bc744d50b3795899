"""Nodes that see what each other does, for as long as somebody watches."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay import boards
from relay.neighbours import BOARD, FRESH, WATCHED, Neighbours
from relay.state.interface import StateError
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

Json = dict[str, Any]


class Two:
    """Two nodes on one State. `parts`: how often each was asked what it does."""

    def __init__(self, state: SqliteState, clock: Clock) -> None:
        self.state, self.clock = state, clock
        self.down = False
        self.parts = {"one": 0, "other": 0}
        self.one, self.other = (Neighbours(name, self.ask, self.part_of(name)) for name in self.parts)

    async def ask(self, question: Json) -> Json:
        if self.down:
            return {"error": "no answer"}
        return await boards.answer(self.state, question)

    def part_of(self, name: str) -> Any:
        async def part() -> Json:
            self.parts[name] += 1
            return {"rows": [], "held": self.parts[name]}

        return part

    async def second(self) -> None:
        self.clock.now += 1_000
        await self.one.look()
        await self.other.look()

    async def notes(self) -> set[str]:
        return {*await self.state.pinned(BOARD)}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    clock = Clock()
    state = SqliteState(tmp_path / "state.db", clock)
    await state.open()
    yield Two(state, clock)
    await state.close()


async def test_who_watches_sees_the_others_and_they_say_nothing_before_nor_after(two: Two) -> None:
    await two.second()
    assert two.parts == {"one": 0, "other": 0}
    assert await two.one.others() == {}
    await two.second()
    await two.second()
    assert await two.one.others() == {"other": {"rows": [], "held": 1}}
    assert repr(two.one) == "<Neighbours of one: other>"
    assert two.parts["one"] == 0, "nobody watches it"
    for _ in range(WATCHED // 1_000 + 1):
        await two.second()
    assert await two.notes() == set(), "what is not asked for any more is taken off"
    told = dict(two.parts)
    await two.second()
    assert two.parts == told


async def test_a_node_that_ended_is_seen_no_more_after_a_while(two: Two) -> None:
    await two.second()
    await two.one.others()
    await two.second()
    two.clock.now += FRESH - 1
    await two.one.look()
    assert set(await two.one.others()) == {"other"}
    two.clock.now += 1
    await two.one.look()
    assert await two.one.others() == {}


async def test_without_state_each_is_alone_and_goes_on_when_it_is_back(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two.second()
    await two.one.others()
    await two.second()
    two.down = True
    with pytest.raises(StateError):
        await two.one.look()
    two.clock.now += WATCHED
    waits = iter((None, None, RuntimeError("enough")))

    async def sleep(_: float) -> None:
        if (fault := next(waits)) is not None:
            raise fault
        two.down = False

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with capture_logs() as logs, pytest.raises(RuntimeError, match="enough"):
        await two.one.run()
    assert [one["log_level"] for one in logs] == ["debug"]
    two.down = True
    assert await two.one.others() == {}


async def test_a_fault_of_ours_is_logged_and_looked_past(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Json) -> Json:
        raise KeyError("x")

    async def sleep(_: float) -> None:
        raise RuntimeError("enough")

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with capture_logs() as logs, pytest.raises(RuntimeError, match="enough"):
        await Neighbours("one", broken, two.part_of("one")).run()
    assert logs[0]["event"] == "a look at what other nodes do failed"


async def test_notes_that_cannot_be_read_are_passed_over(two: Two) -> None:
    for name, text in (("part/x", "{"), ("part/y", '{"at": "now"}'), ("asked/z", "[]")):
        await two.state.pin(BOARD, name, text)
    await two.second()
    assert await two.one.others() == {}
    assert two.parts["one"] == 0
