"""What the wiring of a worker does by itself: the rest of it is shown by the scenarios."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relay import worker
from relay.feedback.eventlog import Exporter
from relay.message import Change, Delivery
from relay.outcome import Outcome, Reply
from relay.queue_commands import QueueCommands
from relay.schedule.dispatcher import Dispatcher
from relay.schedule.watchdog import OVERDUE, PATIENCE, Watchdog
from relay.spool.store import Spool
from tests.support.clocks import Clock
from tests.support.house import Rig
from tests.support.letters import letter


async def never(_: Delivery) -> int | None:
    raise AssertionError("nothing is sent in these tests")


async def shard_of(folder: Path, clock: Callable[[], int]) -> worker.Shard:
    """With a schedule that has stopped by itself, which is what a watchdog is for."""
    spool = Spool(folder / "0.db", clock=clock, on_fatal=lambda error: pytest.fail(repr(error)))
    await spool.open()
    dispatcher, house = Dispatcher(spool, never, clock), Rig(Outcome(Reply(250, "2.0.0", "OK"), "END")).attempting()
    exporter, commands = Exporter(spool, folder, 0, clock), QueueCommands(spool, dispatcher, house)
    return worker.Shard(0, spool, dispatcher, exporter, house, commands, Watchdog())


async def test_due_mail_that_nobody_starts_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(worker, "clock", clock)
    shard = await shard_of(tmp_path, clock)
    await shard.spool.put(Change(put=[letter(1, next_attempt=clock.now), letter(2, next_attempt=clock.now, held=1)]))
    for _ in range(6):
        await worker._watch(shard)
    assert list(shard.watchdog.news()) == [], "it is not overdue"
    clock.now += OVERDUE + 1
    for _ in range(6):
        await worker._watch(shard)
    clock.now += PATIENCE
    for _ in range(6):
        await worker._watch(shard)
    ((state, stall),) = shard.watchdog.news()
    assert (state, stall.sites, stall.lanes) == ("firing", ("google",), 1)
    await shard.spool.close()
