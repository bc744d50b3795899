"""All or none: whatever a process does, and whenever it dies, no two stay on different versions."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from relay.changeover import change_over
from relay.control import NodeDown

Json = dict[str, Any]
OLD, NEW = {"version": "old"}, {"version": "new"}
QUESTION = {"place": {"policies": "new"}}


class World:
    """What is on record as in force, and in which order things happened."""

    def __init__(self) -> None:
        self.record = OLD
        self.log: list[str] = []

    def decide(self) -> None:
        self.log.append("decide")
        self.record = NEW


class FakeMember:
    """A process that answers as `on` says: by step a function of the question, which may raise NodeDown."""

    def __init__(self, name: str, world: World, *, up: bool = True, **on: Callable[[], Json]) -> None:
        self.name, self.world, self.up = name, world, up
        self.on = on
        self.runs = OLD if up else None
        self.starting: asyncio.Event | None = None

    async def settled(self) -> None:
        if self.starting is not None:
            await self.starting.wait()

    async def ask(self, question: Json) -> Json:
        assert self.up, "who is down is not asked"
        step = question.pop("do")
        assert question == QUESTION
        self.world.log.append(f"{step} {self.name}")
        if step in self.on:
            return self.on[step]()
        if step == "commit":
            self.runs = NEW
        return NEW

    def die(self) -> Json:
        self.up, self.runs = False, None
        raise NodeDown("the worker is gone")

    def hang(self) -> Json:
        raise NodeDown("the worker gave no answer in 60 s")

    def renew(self) -> None:
        self.world.log.append(f"renew {self.name}")
        self.runs = self.world.record  # what is in force when it starts


async def change(world: World, *members: FakeMember) -> list[str]:
    return await change_over(members, QUESTION, NEW, world.decide)


async def agreed(world: World, refusals: list[str], *members: FakeMember) -> list[str]:
    """The same, where other nodes are asked as well."""

    async def agree() -> list[str]:
        world.log.append("agree")
        return refusals

    return await change_over(members, QUESTION, NEW, world.decide, agree)


@pytest.fixture
def world() -> World:
    return World()


async def test_all_are_asked_before_it_is_decided_and_told_after(world: World) -> None:
    members = [FakeMember(name, world) for name in "ab"]
    assert await change(world, *members) == []
    assert world.log == ["prepare a", "prepare b", "decide", "commit a", "commit b"]
    assert [member.runs for member in members] == [NEW, NEW]


async def test_other_nodes_are_asked_once_all_here_are_ready(world: World) -> None:
    member = FakeMember("a", world)
    assert await agreed(world, [], member) == []
    assert world.log == ["prepare a", "agree", "decide", "commit a"]
    assert member.runs == NEW


async def test_what_other_nodes_do_not_take_is_not_done_here(world: World) -> None:
    member = FakeMember("a", world)
    assert await agreed(world, ["relay-2: no such pool"], member) == ["relay-2: no such pool"]
    assert world.log == ["prepare a", "agree"]
    assert (member.runs, world.record) == (OLD, OLD)


async def test_what_cannot_be_had_here_is_not_asked_of_other_nodes(world: World) -> None:
    member = FakeMember("a", world, prepare=refuses)
    assert await agreed(world, [], member) == ["a: no such pool"]
    assert world.log == ["prepare a"]


def refuses() -> Json:
    return {"error": "no such pool"}


def reads_another() -> Json:
    return {"version": "other"}


@pytest.mark.parametrize(
    ("said", "why"),
    [(refuses, "b: no such pool"), (reads_another, "b: it read another version")],
)
async def test_one_that_cannot_keeps_all_as_they_were(world: World, said: Callable[[], Json], why: str) -> None:
    members = [FakeMember("a", world), FakeMember("b", world, prepare=said), FakeMember("c", world)]
    assert await change(world, *members) == [why]
    assert "decide" not in world.log
    assert [member.runs for member in members] == [OLD, OLD, OLD]


@pytest.mark.parametrize("how", ["die", "hang"])
async def test_one_that_dies_or_hangs_of_it_keeps_all_as_they_were(world: World, how: str) -> None:
    members = [FakeMember("a", world), FakeMember("b", world)]
    members[1].on["prepare"] = getattr(members[1], how)
    assert len(await change(world, *members)) == 1
    assert world.record == OLD, "and whoever starts anew starts with this"
    assert members[0].runs == OLD


async def test_one_that_is_down_has_no_say(world: World) -> None:
    members = [FakeMember("a", world), FakeMember("b", world, up=False)]
    assert await change(world, *members) == []
    assert members[0].runs == NEW
    assert world.log == ["prepare a", "decide", "commit a"]


async def test_one_that_dies_after_the_decision_starts_with_the_new(world: World) -> None:
    members = [FakeMember("a", world), FakeMember("b", world)]
    members[0].on["commit"] = members[0].die
    assert await change(world, *members) == []
    assert (members[1].runs, world.record) == (NEW, NEW)
    assert "renew a" not in world.log, "it is being started anew as it is"


@pytest.mark.parametrize("how", [refuses, reads_another])
async def test_one_that_fails_to_change_over_is_started_anew(world: World, how: Callable[[], Json]) -> None:
    members = [FakeMember("a", world, commit=how), FakeMember("b", world)]
    assert await change(world, *members) == []
    assert [member.runs for member in members] == [NEW, NEW]
    assert world.log.index("renew a") > world.log.index("decide")


async def test_one_that_hangs_in_it_is_started_anew(world: World) -> None:
    member = FakeMember("a", world)
    member.on["commit"] = member.hang
    assert await change(world, member) == []
    assert member.runs == NEW


async def test_one_that_was_just_being_started_with_the_old_is_told_too(world: World) -> None:
    """Its orders were made before the decision; it can be asked only after it."""
    down, up = FakeMember("down", world, up=False), FakeMember("up", world)
    decided = asyncio.Event()

    def begins() -> Json:
        down.starting = asyncio.Event()
        return NEW

    def commits() -> Json:
        decided.set()
        return NEW

    up.on |= {"prepare": begins, "commit": commits}
    changing = asyncio.create_task(change(world, down, up))
    await decided.wait()
    assert down.starting is not None
    down.up, down.runs = True, OLD
    down.starting.set()
    assert await changing == []
    assert down.runs == NEW


async def test_what_cannot_be_recorded_is_not_done(world: World) -> None:
    def full() -> None:
        raise OSError("No space left on device")

    member = FakeMember("a", world)
    with pytest.raises(OSError, match="No space left"):
        await change_over([member], QUESTION, NEW, full)
    assert member.runs == OLD
