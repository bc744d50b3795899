"""A worker does for the supervisor what it has to do with State."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay import boards
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqliteState]:
    state = SqliteState(tmp_path / "state.db", Clock())
    await state.open()
    yield state
    await state.close()


async def ask(state: SqliteState, what: str, **more: Any) -> dict[str, Any]:
    return await boards.answer(state, {"do": "board", "what": what, **more})


async def test_notes_are_pinned_read_and_taken_off(state: SqliteState) -> None:
    assert await ask(state, "pin", board="b", name="n", text="t") == {}
    assert await ask(state, "read", board="b") == {"notes": {"n": "t"}, "now": state.now(), "sharers": 0}
    assert await ask(state, "unpin", board="b", name="n") == {}
    assert (await ask(state, "read", board="b"))["notes"] == {}


async def test_one_holder_has_the_lock_also_by_way_of_another_worker(state: SqliteState) -> None:
    assert await ask(state, "lock", name="l", holder="a", ms=1_000) == {"locked": True}
    assert await ask(state, "lock", name="l", holder="a", ms=1_000) == {"locked": True}
    assert await ask(state, "lock", name="l", holder="b", ms=1_000) == {"locked": False}
    assert await ask(state, "unlock", holder="a") == {}
    assert await ask(state, "lock", name="l", holder="b", ms=1_000) == {"locked": True}


async def test_what_it_cannot_do_is_an_error(state: SqliteState) -> None:
    assert "how to burn a board" in (await ask(state, "burn"))["error"]
    closed = SqliteState(Path("nowhere/state.db"), Clock())
    assert "error" in await ask(closed, "read", board="b")
