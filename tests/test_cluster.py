"""One version on all nodes: supervisors that share State, without their processes. Whatever fails when, no two that can speak
end up on different versions."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay import adoption, boards, cluster, worker
from relay.kept import Store, read_decision
from relay.motion import BOARD, FILES, HEARD, Seat, dump
from relay.state.sqlite import SqliteState
from relay.supervisor import Supervisor
from relay.web import process
from tests.support.clocks import Clock

Json = dict[str, Any]
CONFIG = """\
[node]
name = "{name}"
hostname = "relay.test.example"
workers = 1
[web]
admin = ""
public = ""
[state]
url = "redis://nobody.example"
[[listener]]
bind = "127.0.0.1:0"
"""
RETRY = '[transactional]\nwait = ["1s"]\ngive_up = "{}h"\n'
POOLS = "".join(
    f'[pool.{name}]\nsources = [{{ address = "127.0.0.{n}" }}]\n'
    for n, name in enumerate(("transactional", "service", "marketing", "big"), 2)
)


class One:
    """A node without processes. `down`: what of State gives no answer; `lost`: answers that get lost on their way."""

    def __init__(self, folder: Path, name: str, state: SqliteState) -> None:
        self.folder, self.name, self.state = folder / name, name, state
        self.down: Callable[[Json], bool] = lambda _: False
        self.lost: Callable[[Json], bool] = lambda _: False
        self.told: list[Json] = []
        self.running: list[asyncio.Task[None]] = []
        for kind in ("config", "policies"):
            (self.folder / kind).mkdir(parents=True)
        (self.folder / "config" / "postlane.toml").write_text(CONFIG.format(name=name))
        self.write(1)

    def write(self, hours: int | str, file: str = "retry.toml") -> None:
        text = RETRY.format(hours) if isinstance(hours, int) else hours
        (self.folder / "policies" / file).write_text(text)

    def on_disk(self, file: str = "retry.toml") -> str:
        return (self.folder / "policies" / file).read_text()

    async def ask(self, question: Json) -> Json:
        if question["do"] == "record":
            self.told.append(question)
            return {"ok": True}
        if self.down(question):
            return {"error": "State is gone"}
        answer = await boards.answer(self.state, question)
        return {"error": "State is gone, and what it said"} if self.lost(question) else answer

    def start(self) -> "One":
        self.supervisor = Supervisor(self.folder / "config", self.folder / "policies", worker.work, process.work)
        assert self.supervisor.cluster is not None
        self.cluster = self.supervisor.cluster
        self.cluster._ask = self.supervisor._ask_any = self.ask  # type: ignore[method-assign]
        self.running = [asyncio.create_task(self.cluster.run())]
        return self

    async def stop(self) -> None:
        for task in [*self.running, *self.supervisor._tasks, *filter(None, [self.cluster._working])]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.supervisor._control.close()
        os.close(self.supervisor._lock)
        for link in (link for links in self.supervisor.sockets.listeners for link in links):
            link.close()
        self.running = []

    async def reload(self) -> Json:
        return await self.supervisor.reload("noa")

    @property
    def version(self) -> str:
        return self.supervisor.in_force.version

    @property
    def hours(self) -> float:
        """What tells versions apart."""
        retry = self.supervisor.in_force.policies.retry
        return next(iter(retry.values())).give_up / 3_600_000

    async def becomes(self, hours: float) -> None:
        await until(lambda: self.hours == hours)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.001)


async def until_noted(state: SqliteState, condition: Callable[[Json, Json], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition(await state.pinned(BOARD), await state.pinned(FILES)):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.001)


def about(what: str, name: str = "") -> Callable[[Json], bool]:
    return lambda question: question["what"] == what and question.get("name", "").startswith(name)


def everything(_: Json) -> bool:
    return True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK", "POLL"):
        monkeypatch.setattr(cluster, name, 0.005)


@pytest.fixture
def made(tmp_path: Path, state: SqliteState) -> tuple[One, One]:
    return One(tmp_path, "relay-1", state), One(tmp_path, "relay-2", state)


@pytest.fixture
async def nodes(made: tuple[One, One]) -> AsyncIterator[tuple[One, One]]:
    """Both run, and know of each other."""
    one, other = made[0].start(), made[1].start()
    await until(lambda: len(one.cluster.shown()) == len(other.cluster.shown()) == 2)
    yield one, other
    for node in made:
        if node.running:
            await node.stop()


async def test_a_reload_on_one_is_in_force_on_all(nodes: tuple[One, One], state: SqliteState) -> None:
    one, other = nodes
    before = one.version
    one.write(2)
    answer = await one.reload()
    assert (answer["before"], answer["version"]) == (before, one.version)
    assert [(node["node"], node["policies"], node["up"]) for node in answer["nodes"]] == [
        ("relay-2", one.version, True)
    ]
    assert other.version == one.version
    assert other.on_disk() == one.on_disk()
    decision = read_decision(other.folder / "data")
    assert decision is not None
    assert (decision.by, decision.how, decision.node, decision.instead_of) == ("noa", "reload", "relay-1", "")
    assert decision.ballot == one.supervisor.decision.ballot != ""
    await until(lambda: other.told)
    facts = other.told[0]["facts"]
    assert (facts["by"], facts["via"], facts["what"]["node"]) == ("noa", "cluster", "relay-1")
    assert {name.partition("/")[0] for name in await state.pinned(BOARD)} == {"node", "decided"}
    assert set(await state.pinned(FILES)) == {one.version}


async def test_what_is_in_force_already_concerns_nobody_else(nodes: tuple[One, One], state: SqliteState) -> None:
    one, _ = nodes
    one.down = everything
    answer = await one.reload()
    assert "nodes" not in answer
    assert "error" not in answer


async def test_a_node_that_cannot_take_it_keeps_all_as_they_were(nodes: tuple[One, One], state: SqliteState) -> None:
    one, other = nodes
    (one.folder / "config" / "pools.toml").write_text(POOLS)
    await one.reload()
    one.write('[[route]]\nmatch.stream = "x"\nmatch.class = "marketing"\npool = "big"\n', "routes.toml")
    versions = one.version, other.version
    answer = await one.reload()
    assert [line for line in answer["problems"] if line.startswith("relay-2: policies/routes.toml:4: route.#1.pool: ")]
    assert (one.version, other.version) == versions
    assert one.supervisor.alert is not None
    assert not (other.folder / "policies" / "routes.toml").exists()
    assert len(Store(other.folder / "data", "policies").versions()) == 1, (
        "what it could not take is no version of its own"
    )
    assert set(await state.pinned(FILES)) == set()


async def test_edits_of_another_node_are_named_and_not_lost(nodes: tuple[One, One]) -> None:
    one, other = nodes
    one.write(2)
    other.write(3)
    other.write("# new\n", "caps.toml")
    answer = await one.reload()
    expected = (
        "relay-2: policies/caps.toml, policies/retry.toml there have edits that are not in force: reload them there"
    )
    assert answer["problems"][0].startswith(expected)
    assert one.hours == other.hours == 1
    (other.folder / "policies" / "caps.toml").unlink()
    other.write(2)
    assert "error" not in await one.reload(), "the same edit everywhere is none to be lost"
    assert other.hours == 2


async def test_all_are_reloaded_at_once_as_after_a_deployment(nodes: tuple[One, One]) -> None:
    for node in nodes:
        node.write(2)
    answers = await asyncio.gather(*(node.reload() for node in nodes))
    assert ["error" in answer for answer in answers] == [False, False]
    assert [node.hours for node in nodes] == [2, 2]


async def test_two_different_edits_at_once_stay_out_of_force(nodes: tuple[One, One]) -> None:
    for number, node in enumerate(nodes):
        node.write(2 + number)
    answers = await asyncio.gather(*(node.reload() for node in nodes))
    assert ["error" in answer for answer in answers] == [True, True]
    assert [node.hours for node in nodes] == [1, 1]
    assert [node.on_disk() for node in nodes] == [RETRY.format(2), RETRY.format(3)]


async def test_who_was_down_follows_when_it_starts(nodes: tuple[One, One], clock: Clock) -> None:
    one, other = nodes
    await other.stop()
    clock.now += HEARD
    one.write(2)
    answer = await one.reload()
    assert [(node["up"], node["heard"]) for node in answer["nodes"]] == [(False, HEARD // 1000)]
    other.start()
    assert other.hours == 1
    await other.becomes(2)
    await until(lambda: other.on_disk() == RETRY.format(2))
    await other.stop()
    other.start()
    assert other.hours == 2


async def test_who_comes_back_with_edits_follows_and_keeps_them_on_disk(nodes: tuple[One, One], clock: Clock) -> None:
    one, other = nodes
    await other.stop()
    clock.now += HEARD
    one.write(2)
    await one.reload()
    other.write(3)
    other.start()
    await other.becomes(2)
    assert other.on_disk() == RETRY.format(3)
    stats = await other.supervisor.stats()
    assert stats["on_disk"] != stats["policies"]
    one.write(4)
    answer = await one.reload()
    assert "policies/retry.toml there has edits" in answer["problems"][0]
    await other.stop()
    other.start()
    assert other.hours == 2, "a restart puts nothing in force that the others do not have"
    one.write(2)
    assert "error" not in await other.reload()
    assert [one.hours, one.on_disk()] == [3, RETRY.format(3)]


async def test_what_a_node_began_with_alone_is_not_passed_over(made: tuple[One, One]) -> None:
    one, other = made
    other.write(3)
    for node in made:
        node.start()
    await until(lambda: len(one.cluster.shown()) == 2)
    one.write(2)
    answer = await one.reload()
    assert answer["problems"][0].startswith(
        f"relay-2: {other.version} is in force there, and nowhere else: put the same"
    )
    assert [node.hours for node in made] == [1, 3]
    other.write(2)
    assert "error" not in await one.reload()
    assert [node.hours for node in made] == [2, 2]
    for node in made:
        await node.stop()


async def test_who_comes_back_and_cannot_follow_says_so_until_it_can(nodes: tuple[One, One], clock: Clock) -> None:
    one, other = nodes
    await other.stop()
    clock.now += HEARD
    (one.folder / "config" / "pools.toml").write_text(POOLS)
    one.write('[[route]]\nmatch.stream = "x"\nmatch.class = "marketing"\npool = "big"\n', "routes.toml")
    await one.reload()
    other.start()
    await until(lambda: other.cluster.alert)
    alerts = (await other.supervisor.stats())["alerts"]
    assert alerts[0]["summary"].startswith(
        f"{one.version}, which relay-1 put in force on all nodes, cannot be taken here"
    )
    assert alerts[0]["problems"][0].startswith("policies/routes.toml:4: route.#1.pool")
    other.write(5)
    assert f"this node has to take {one.version} of relay-1 first" in (await other.reload())["problems"][0]
    other.write(1)
    (other.folder / "config" / "pools.toml").write_text(POOLS)
    await other.reload()
    await until(lambda: other.version == one.version)
    await until(lambda: other.cluster.alert is None)
    await until(lambda: [told["facts"]["state"] for told in other.told if told["kind"] == "alert"][-1] == "resolved")


async def test_a_rollback_is_one_of_all_nodes_and_leaves_all_disks(nodes: tuple[One, One]) -> None:
    one, other = nodes
    first = one.version
    one.write(2)
    second = (await one.reload())["version"]
    answer = await other.supervisor.roll_back(first, "noa", "too long")
    assert answer["version"] == first
    assert [node.hours for node in nodes] == [1, 1]
    assert [node.on_disk() for node in nodes] == [RETRY.format(2)] * 2
    assert [node.supervisor.decision.instead_of for node in nodes] == [second, second]
    one.write(3)
    assert "error" not in await one.reload()
    assert other.on_disk() == RETRY.format(3), "what was rolled back is no edit"
    assert "no version" in (await one.supervisor.roll_back("ffffff", "noa", ""))["error"]


async def test_a_disk_that_cannot_be_written_is_remembered_as_old(
    nodes: tuple[One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes

    def put_files(folder: Path, *_: object) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(adoption, "put_files", put_files)
    first = one.version
    for hours in (2, 3):
        one.write(hours)
        assert "error" not in await one.reload()
    assert other.hours == 3
    assert other.on_disk() == RETRY.format(1)
    assert other.supervisor.decision.instead_of == first
    await other.stop()
    other.start()
    assert other.hours == 3
    other.write(4)
    expected = (
        f"policies/ on disk could not be written when {one.version} of relay-1 came into force, so a reload would"
    )
    assert (await other.reload())["problems"][0].startswith(expected)
    assert other.hours == 3
    other.write(3)
    assert "error" not in await other.reload()
    other.write(4)
    assert "error" not in await other.reload(), "it was brought up to date first"
    assert other.hours == 4


# State is lost


async def test_nobody_changes_alone(nodes: tuple[One, One]) -> None:
    one, _ = nodes
    one.down = everything
    one.write(2)
    answer = await one.reload()
    assert answer["problems"] == ["the other nodes cannot be asked: State is gone"]
    assert one.hours == 1
    assert "cannot be asked" in (await one.supervisor.roll_back("ffffff", "noa", ""))["error"]


@pytest.mark.parametrize("name", ["asked/", ""])
async def test_lost_before_the_decision_all_stay(
    nodes: tuple[One, One], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    one, _ = nodes
    one.down = about("pin", "asked/") if name else about("pin")
    one.write(2)
    assert "error" in await one.reload()
    assert [node.hours for node in nodes] == [1, 1]


async def test_an_answer_that_is_lost_is_asked_for_again(nodes: tuple[One, One]) -> None:
    one, _ = nodes
    lost: list[Json] = []

    def first_of_decided(question: Json) -> bool:
        if about("pin", "decided/")(question):
            lost.append(question)
        return len(lost) == 1 and question is lost[0]

    one.lost = first_of_decided
    one.write(2)
    assert "error" not in await one.reload()
    assert len(lost) == 2
    assert [node.hours for node in nodes] == [2, 2]


async def test_whether_it_was_decided_is_known_when_state_is_back(
    nodes: tuple[One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    monkeypatch.setattr(cluster, "DECIDE", 0.05)
    one.lost = about("pin", "decided/")
    one.write(2)
    answer = await one.reload()
    assert "State was lost while it was decided" in answer["problems"][0]
    assert answer["open"]
    await other.becomes(2)
    await one.becomes(2)


async def test_what_was_never_decided_is_not_done(nodes: tuple[One, One], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = nodes
    monkeypatch.setattr(cluster, "DECIDE", 0.05)
    one.down = about("pin", "decided/")
    one.write(2)
    answer = await one.reload()
    assert "State was lost while it was decided" in answer["problems"][0]
    one.down = lambda _: False
    other.write(1)
    assert "error" not in await one.reload(), "nobody waits for it any more"
    assert [node.hours for node in nodes] == [2, 2]


async def test_who_voted_and_did_not_hear_the_end_follows(
    nodes: tuple[One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    monkeypatch.setattr(cluster, "FOLLOW", 0.02)

    def after_the_vote(question: Json) -> bool:
        return other.cluster._voted != ""

    other.down = after_the_vote
    one.write(2)
    assert "error" not in await one.reload()
    assert [node.hours for node in nodes] == [2, 1]
    other.down = lambda _: False
    await other.becomes(2)
    await until(lambda: other.on_disk() == RETRY.format(2))


async def test_what_state_forgot_is_told_to_it_again(nodes: tuple[One, One], state: SqliteState) -> None:
    one, other = nodes
    one.write(2)
    await one.reload()
    await other.stop()
    ballot = one.supervisor.decision.ballot
    for board in (FILES, BOARD):  # in this order: without the decision they are put back at once
        for name in await state.pinned(board):
            await state.unpin(board, name)
    other.supervisor.note(replace(other.supervisor.decision, ballot=""))
    other.start()
    await until_noted(state, lambda notes, files: f"decided/{ballot}" in notes and one.version in files)
    await until(lambda: other.supervisor.decision.ballot == ballot)


async def test_files_that_state_forgot_are_given_by_who_has_them(
    nodes: tuple[One, One], clock: Clock, state: SqliteState
) -> None:
    one, other = nodes
    await other.stop()
    clock.now += HEARD
    one.write(2)
    await one.reload()
    await state.unpin(FILES, one.version)
    other.start()
    await other.becomes(2)
    await until(lambda: other.cluster.alert is None)
    await until_noted(state, lambda notes, _: "wants/relay-2" not in notes)


# Who does not answer, or not as we do


async def test_a_node_that_gives_no_answer_ends_it(nodes: tuple[One, One], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = nodes
    monkeypatch.setattr(cluster, "VOTES", 0.05)
    async with other.supervisor.changing:
        one.write(2)
        answer = await one.reload()
    assert answer["problems"] == ["relay-2: it gave no answer in 0 s"]
    assert one.hours == 1


async def test_a_node_that_dies_while_it_is_asked_has_no_say(nodes: tuple[One, One], clock: Clock) -> None:
    one, other = nodes
    async with other.supervisor.changing:
        one.write(2)
        reloading = asyncio.create_task(one.reload())
        await until(lambda: one.cluster._table is not None and one.cluster._table.asked)
        other.running[0].cancel()
        clock.now += HEARD
        assert "error" not in await reloading
    assert one.hours == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"protocol": 2, "program": "9.0.0"}, "relay-3 runs Postlane 9.0.0, which changes policies in another way"),
        ({"workers": 0}, "2 workers that share State do not answer: an older Postlane"),
    ],
)
async def test_nodes_of_another_postlane_are_not_passed_over(
    nodes: tuple[One, One], state: SqliteState, monkeypatch: pytest.MonkeyPatch, change: Json, says: str
) -> None:
    one, _ = nodes
    monkeypatch.setattr(cluster, "MEET", 0.02)
    seat = replace(Seat("relay-3", state.now(), 2, "3f9a1c", "", "0.1.0"), **change)
    await state.pin(BOARD, "node/relay-3", dump(seat))
    state.sharers = 4
    one.write(2)
    assert (await one.reload())["problems"][0].startswith(says)
    assert one.hours == 1


async def test_a_node_that_just_starts_is_waited_for(made: tuple[One, One], state: SqliteState) -> None:
    state.sharers = 2
    one = made[0].start()
    one.write(2)
    reloading = asyncio.create_task(one.reload())
    await until(lambda: one.cluster._motion)
    other = made[1].start()
    answer = await reloading
    assert [node["node"] for node in answer["nodes"]] == ["relay-2"]
    assert other.hours == 2
    for node in made:
        await node.stop()


async def test_somebody_elses_turn_is_waited_for_and_named(
    nodes: tuple[One, One], state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = nodes
    monkeypatch.setattr(cluster, "TURN", 0.02)
    assert await state.acquire(cluster.LOCK, 1, "reload/relay-3", 60_000)
    one.write(2)
    assert (await one.reload())["problems"] == ["another node is changing policies at this moment; try again"]
    monkeypatch.setattr(cluster, "TURN", 20.0)
    reloading = asyncio.create_task(one.reload())
    await state.release(cluster.LOCK, "reload/relay-3")
    assert "error" not in await reloading


async def test_policies_that_are_too_large_for_a_note_are_refused(
    nodes: tuple[One, One], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = nodes
    monkeypatch.setattr("relay.motion.MOST_OCTETS", 10)
    one.write(2)
    assert "nodes pass on 10 at most" in (await one.reload())["problems"][0]
    assert one.hours == 1


async def test_files_that_were_tampered_with_are_not_taken(nodes: tuple[One, One], state: SqliteState) -> None:
    one, _ = nodes
    pin = state.pin

    async def bent(board: str, name: str, text: str) -> None:
        await pin(board, name, text.replace("2h", "9h") if board == FILES else text)

    state.pin = bent  # type: ignore[method-assign]
    one.write(2)
    assert (await one.reload())["problems"] == ["relay-2: the files did not arrive"]
    assert [node.hours for node in nodes] == [1, 1]


async def test_a_node_that_ends_is_asked_no_more(nodes: tuple[One, One]) -> None:
    one, other = nodes
    await other.stop()
    await other.cluster.leave()
    one.write(2)
    answer = await one.reload()
    assert answer["nodes"] == []
    assert [node["node"] for node in one.cluster.shown()] == ["relay-1"]
    other.down = everything
    await other.cluster.leave()
