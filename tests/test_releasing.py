"""What is held as a runaway goes when there is room for it, or when nothing holds it any more."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from relay import releasing
from relay.guarding import Guarding
from relay.identity import Rate
from relay.message import Delivery
from relay.policy.copies import Hashes
from relay.policy.runaway import Guard
from relay.releasing import Releasing
from relay.spool.errors import SpoolError
from tests.support.house import NOW, FakeMarks, waiting_delivery


class Shard:
    """Holds deliveries; `broken`: its disk is, for two looks."""

    def __init__(self, held: list[Delivery]) -> None:
        self.held = held
        self.went: list[Delivery] = []
        self.looks = 0
        self.broken = False
        self.looked = asyncio.Event()

    async def let_go(self, wait_of: Callable[[Delivery], Awaitable[int]]) -> int:
        self.looks += 1
        if self.broken and self.looks < 3:
            raise SpoolError("no room")
        before, self.held = self.held, []
        for delivery in before:
            (self.held if await wait_of(delivery) else self.went).append(delivery)
        self.looked.set()
        return len(before) - len(self.held)


def held(recipient: str, alike: str = "a") -> Delivery:
    delivery = waiting_delivery()
    delivery.recipient, delivery.message = recipient, replace(delivery.message, alike=alike)
    return delivery


class Desk:
    def __init__(self, *deliveries: Delivery) -> None:
        self.marks = FakeMarks()
        self.guarding = Guarding(self.marks.state, Hashes(b"s" * 32))
        self.guarding.guard = Guard(Rate(3, 3600, "", "3/hour"))
        self.shard = Shard(list(deliveries))
        shard: Any = self.shard
        self.releasing = Releasing(self.guarding, [shard])


async def test_each_person_gets_as_many_as_the_rate_lets_go() -> None:
    desk = Desk(*[held("dana@b.example") for _ in range(5)], held("Noa@b.example"), held("noa@b.example"))
    await desk.releasing.look()
    assert [delivery.recipient for delivery in desk.shard.went] == [
        "dana@b.example", "dana@b.example", "Noa@b.example", "noa@b.example",
    ]  # fmt: skip
    desk.marks.now = NOW + 3_600_000
    await desk.releasing.look()
    assert len(desk.shard.held) == 1
    assert repr(desk.releasing) == "<Releasing of 1 shards>"


async def test_where_nothing_guards_it_any_more_all_of_it_goes() -> None:
    for guard in (None, Guard(Rate(3, 3600, "", "3/hour"), frozenset({"order"}))):
        desk = Desk(*[held("dana@b.example") for _ in range(5)])
        desk.guarding.guard = guard
        await desk.releasing.look()
        assert desk.shard.held == []


async def test_what_a_person_is_to_release_stays() -> None:
    desk = Desk(held("dana@b.example"))
    desk.guarding.guard = Guard(Rate(3, 3600, "", "3/hour"), by_itself=False)
    await desk.releasing.look()
    assert desk.shard.looks == 0


async def test_it_looks_again_and_again_whatever_becomes_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releasing, "LOOK", 0.0)
    desk = Desk(held("dana@b.example"))
    desk.shard.broken = True
    running = asyncio.create_task(desk.releasing.run())
    await desk.shard.looked.wait()
    assert desk.shard.held == []
    running.cancel()
