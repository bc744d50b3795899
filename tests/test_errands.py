"""What nodes ask of each other about one person, over one State."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay import boards, control, dossier, errands
from relay.errands import AGAIN, ANSWERS, GONE, HEARD, LOST, NODES, PART, TIDY, WAITED, Alone, Errands, board_of, to
from relay.recipient import Keys
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock
from tests.support.desk_node import DeskNode

Json = dict[str, Any]
DANA = "dana@gmail.com"
KEYS = Keys([b"s" * 32])
SAID = {"by": "noa", "via": "cli", "reason": "letter", "kept": []}


class Rig:
    """Two nodes. `desks`: what each answers to its own web process, by its data_dir."""

    def __init__(self, folder: Path, state: SqliteState, clock: Clock) -> None:
        self.state, self.clock = state, clock
        self.down = False
        self.desks = {folder / name: DeskNode(folder) for name in ("one", "other")}
        self.one, self.other = (Errands(path.name, path, self.ask, lambda: KEYS) for path in self.desks)
        self.desk = self.desks[folder / "other"]

    async def ask(self, question: Json) -> Json:
        return {"error": "no answer"} if self.down else await boards.answer(self.state, question)

    def request(self, data_dir: Path, question: Json) -> Json:
        return self.desks[data_dir](data_dir, question)

    async def look(self, *nodes: Errands) -> None:
        """Each looks, and does to the end what it finds."""
        for node in nodes or (self.one, self.other):
            await node.look()
            if node._working is not None:
                await node._working

    async def send(self, errand: str) -> Json:
        return await self.one.answer(
            {"do": "errands", "what": "send", "errand": errand, "recipient": DANA, "said": SAID}
        )

    async def take(self, sent: Json) -> Json:
        return await self.one.answer({"do": "errands", "what": "take", "id": sent["id"], "recipient": DANA})

    async def notes(self, node: Errands) -> int:
        return len(await self.state.pinned(to(repr(node).split()[-1][:-1])))

    async def answers(self) -> list[str]:
        """What waits to be taken."""
        names = await self.state.pinned(ANSWERS)
        return [text for name in names for text in (await self.state.pinned(board_of(name))).values()]


@pytest.fixture
async def rig(tmp_path: Path, state: SqliteState, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(tmp_path, state, clock)
    monkeypatch.setattr(control, "request", made.request)
    monkeypatch.setattr(dossier, "_OUTBOX", 0.0)
    monkeypatch.setattr(errands, "POLL", 0.001)
    await made.look()
    return made


async def test_a_node_that_is_there_forgets_and_says_so(rig: Rig) -> None:
    rig.desk.queued = [{"id": "m9", "recipient": "Da.Na@gmail.com"}]
    sent = await rig.send("forget")
    assert (sent["node"], sent["asked"], sent["later"]) == ("one", ["other"], [])
    assert await rig.take(sent) == {}
    for note in (await rig.state.pinned(to("other"))).values():
        assert "dana" not in note
    await rig.look()
    assert rig.desk.cancelled == [{"id": "m9", "recipient": "Da.Na@gmail.com"}]
    (audit,) = rig.desk.events("audit")
    assert (audit["by"], audit["reason"]) == ("noa", "letter")
    done = {"cancelled": 1, "captures": 0, "events": 0, "untold": 0}
    assert await rig.take(sent) == {"node": "other", "done": done, "last": True}
    assert (await rig.notes(rig.other), await rig.state.pinned(ANSWERS)) == (0, {})
    await rig.look()
    assert len(rig.desk.events("audit")) == 1, "once"


async def test_a_node_that_is_down_forgets_when_it_is_back_and_answers_nobody(rig: Rig) -> None:
    rig.clock.now += HEARD
    await rig.look(rig.one)
    sent = await rig.send("forget")
    assert (sent["asked"], sent["later"]) == ([], ["other"])
    assert (await rig.send("export"))["later"] == ["other"]
    assert await rig.notes(rig.other) == 1, "an export is of use only now"
    rig.clock.now += WAITED
    await rig.look(rig.other)
    assert len(rig.desk.events("audit")) == 1
    assert (await rig.notes(rig.other), await rig.state.pinned(ANSWERS)) == (0, {})


async def test_what_is_counted_or_given_comes_in_parts_sealed(rig: Rig) -> None:
    rig.desk.queued = [{"id": f"m{n}", "recipient": DANA, "text": "x" * PART} for n in range(3)]
    rig.desk.sent = [{"id": "m1"}]
    counted = await rig.send("count")
    await rig.look()
    assert (await rig.take(counted))["done"] == {"events": 0, "waiting": 3}
    sent = await rig.send("export")
    await rig.other.look()
    items: list[Any] = []
    last = False
    while not last:
        parts = await rig.answers()
        assert len(parts) <= 1
        assert not any("waiting" in text for text in parts)
        part = await rig.take(sent)
        items += part.get("items", [])
        last = part.get("last", False)
        await asyncio.sleep(0)
    assert [kind for kind, _ in items] == ["waiting"] * 3 + ["sent"]
    assert [one["id"] for _, one in items] == [f"m{n}" for n in range(3)] + ["m1"]
    await rig.look()
    assert (await rig.notes(rig.other), await rig.state.pinned(ANSWERS)) == (0, {})


async def test_an_export_that_nobody_takes_ends(rig: Rig) -> None:
    rig.desk.queued = [{"id": f"m{n}", "recipient": DANA, "text": "x" * PART} for n in range(3)]
    sent = await rig.send("export")
    await rig.other.look()
    async with asyncio.timeout(20):
        while not await rig.answers():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.001)
    rig.clock.now += WAITED
    assert rig.other._working is not None
    await rig.other._working
    assert await rig.notes(rig.other) == 0
    await rig.one.answer({"do": "errands", "what": "end", "id": "another"})
    assert len(await rig.answers()) == 1
    (name,) = await rig.state.pinned(ANSWERS)
    await rig.one.answer({"do": "errands", "what": "end", "id": sent["id"]})
    assert (await rig.state.pinned(ANSWERS), await rig.state.pinned(board_of(name))) == ({}, {})


async def test_what_fails_is_said_and_tried_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(control, "request", lambda *_: {"error": "worker-0: it is gone"})
        sent = await rig.send("forget")
        await rig.look()
    assert [one["log_level"] for one in logs] == ["error"]
    assert await rig.take(sent) == {"node": "other", "failed": "worker-0: it is gone; it tries again", "last": True}
    await rig.look()
    assert rig.desk.events("audit") == [], "not at once"
    rig.clock.now += AGAIN
    await rig.look()
    assert len(rig.desk.events("audit")) == 1
    assert await rig.notes(rig.other) == 0


@pytest.mark.parametrize("note", ["{", json.dumps({"what": "dance", "key": "00", "at": 0, "sealed": "AA=="})])
async def test_what_cannot_be_read_stays_for_a_newer_postlane_and_holds_up_nothing(rig: Rig, note: str) -> None:
    await rig.state.pin(to("other"), "0", note)
    await rig.send("forget")
    with capture_logs() as logs:
        await rig.look()
        await rig.look()
    assert [one["log_level"] for one in logs if one["log_level"] == "error"] == ["error"]
    assert len(rig.desk.events("audit")) == 1
    assert list(await rig.state.pinned(to("other"))) == ["0"]


async def test_what_was_given_in_part_and_failed_is_not_given_once_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "request", lambda *_: {"error": "worker-0: it is gone"})
    sent = await rig.send("export")
    with capture_logs():
        await rig.look()
    assert await rig.take(sent) == {"node": "other", "failed": "worker-0: it is gone", "last": True}
    assert await rig.notes(rig.other) == 0


async def test_a_node_with_other_secrets_is_named_and_what_it_was_asked_stays(rig: Rig) -> None:
    rig.other._keys = lambda: Keys([b"t" * 32])
    sent = await rig.send("forget")
    with capture_logs():
        await rig.look()
    said = "what it says cannot be opened here: has it other secrets?"
    assert await rig.take(sent) == {"node": "other", "failed": said, "last": True}
    assert (await rig.notes(rig.other), await rig.state.pinned(ANSWERS)) == (1, {})


async def test_a_seat_that_cannot_be_read_hinders_nobody_and_loses_nothing(rig: Rig) -> None:
    await rig.state.pin(NODES, "newer", '{"at": 7}')
    sent = await rig.send("forget")
    assert (sent["asked"], sent["later"]) == (["other"], ["newer"])
    rig.clock.now += GONE
    await rig.look(rig.one)
    assert len(await rig.state.pinned(to("newer"))) == 1


async def test_what_nodes_say_at_once_is_no_more_than_fits(rig: Rig) -> None:
    """One read of a board goes through the control socket as one line."""
    rig.desk.queued = [{"id": f"m{n}", "recipient": DANA, "text": "x" * dossier.MOST_OCTETS} for n in range(6)]
    sent = await rig.send("export")
    await rig.other.look()
    async with asyncio.timeout(20):
        while not (found := await rig.state.pinned(ANSWERS)):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.001)
        (name,) = found
        while not await rig.answers():  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.001)
    answer = await rig.ask({"do": "board", "what": "read", "board": board_of(name)})
    assert len(json.dumps(answer)) < control.MAX_OBJECT
    await rig.one.answer({"do": "errands", "what": "end", "id": sent["id"]})
    assert rig.other._working is not None
    await rig.other._working
    assert (await rig.state.pinned(ANSWERS), await rig.answers()) == ({}, []), "whoever stops waiting frees the node"


async def test_an_errand_of_a_newer_postlane_is_not_taken_for_another(rig: Rig) -> None:
    sent = await rig.send("forget-all")
    with capture_logs():
        await rig.look()
    assert (await rig.take(sent))["failed"] == "a newer Postlane asks to forget-all; it tries again"


async def test_what_nobody_takes_and_nodes_that_never_come_back_are_forgotten(rig: Rig) -> None:
    await rig.send("forget")
    await rig.look(rig.other)
    await rig.send("forget")
    rig.clock.now += LOST
    await rig.look(rig.one)
    assert len(await rig.state.pinned(ANSWERS)) == 1
    rig.clock.now += TIDY
    await rig.look(rig.one)
    assert await rig.state.pinned(ANSWERS) == {}
    assert await rig.notes(rig.other) == 1
    rig.clock.now += GONE
    await rig.look(rig.one)
    assert (await rig.notes(rig.other), list(await rig.state.pinned(NODES))) == (0, ["one"])
    assert (await rig.send("forget"))["later"] == []


async def test_without_state_it_is_said_and_looked_again_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.down = True
    assert "cannot be asked" in (await rig.send("forget"))["error"]
    assert "error" in await rig.one.answer({"do": "errands", "what": "dance"})
    waits = iter((None, RuntimeError("enough")))

    async def sleep(_: float) -> None:
        if (fault := next(waits)) is not None:
            raise fault

    with monkeypatch.context() as quick, capture_logs() as logs:
        quick.setattr(asyncio, "sleep", sleep)
        with pytest.raises(RuntimeError, match="enough"):
            await rig.one.run()
    assert [one["log_level"] for one in logs] == ["debug", "debug"]
    rig.down = False
    await rig.send("forget")
    running = asyncio.create_task(rig.other.run())
    async with asyncio.timeout(20):
        while not rig.desk.events("audit"):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.001)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_fault_of_ours_is_logged_and_looked_past(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise KeyError("x")

    async def sleep(_: float) -> None:
        raise RuntimeError("enough")

    monkeypatch.setattr(rig.one, "look", broken)
    with monkeypatch.context() as quick, capture_logs() as logs:
        quick.setattr(asyncio, "sleep", sleep)
        with pytest.raises(RuntimeError, match="enough"):
            await rig.one.run()
    assert [one["log_level"] for one in logs] == ["error"]


async def test_who_is_alone_asks_nobody() -> None:
    one = Alone("relay-1")
    await one.run()
    sent = await one.answer({"do": "errands", "what": "send", "errand": "forget", "recipient": DANA})
    assert (sent["node"], sent["asked"], sent["later"]) == ("relay-1", [], [])
