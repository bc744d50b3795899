"""What bounces teach: at once, or after several."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.effects import Effect
from relay.learning import Learning
from relay.message import MailClass
from relay.people import failures_of
from relay.person import REFUSED, person_of
from relay.recipient import Keys
from relay.state.interface import StateError
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

DAY = 86_400_000
FULL = {"recipient": "dana@b.example", "stop": "all", "reason": "quota", "after": 3, "within": 14 * DAY}
GONE = {"recipient": "noa@b.example", "stop": "all", "reason": "bad-mailbox", "after": 1, "within": DAY}


class Desk:
    """`asked`: the entries of its questions; `answer`: what it says."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.says: dict[str, Any] = {"changed": 1}
        self.settles = False  # what it is asked is about what is pending

    async def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if self.settles:
            assert (question["what"], question["where"]) == ("unblock", {"pending": True})
            return {"changed": 0}
        assert (question["what"], question["via"]) == ("block", "feedback")
        self.asked += question["entries"]
        return self.says


class Scene:
    def __init__(self, state: SqliteState, clock: Clock) -> None:
        self.state, self.clock, self.desk = state, clock, Desk()
        desk: Any = self.desk
        self.learning = Learning(state, desk, Keys([b"s" * 32]), clock)

    async def learn(self, token: str, entry: dict[str, Any] | None) -> None:
        await self.learning.learn([Effect(token, "x@b.example", "a", MailClass.MARKETING, 0, False, entry)])


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    state = SqliteState(tmp_path / "state.db", clock)
    await state.open()
    yield Scene(state, clock)
    await state.close()


async def test_a_mailbox_that_is_gone_is_told_at_once(scene: Scene) -> None:
    await scene.learn("a/0", None)
    await scene.learn("a/0", GONE)
    assert scene.desk.asked == [GONE | {"id": "a", "rcpt": 0}], "and by which mail it came to it"


async def test_a_full_one_after_failures_on_three_days(scene: Scene) -> None:
    for token in ("a/0", "a/0", "b/0", "c/0", "d/0"):
        await scene.learn(token, FULL)
    scene.clock.now += DAY
    await scene.learn("e/0", FULL)
    scene.clock.now += DAY
    for token in ("a/0", "e/0"):
        await scene.learn(token, FULL)
    assert scene.desk.asked == [], "two days, however many messages, and however often they were told"
    await scene.learn("f/0", FULL)
    assert scene.desk.asked == [FULL | {"id": "f", "rcpt": 0}]


async def test_who_refuses_one_streams_mail_has_not_refused_anothers(scene: Scene) -> None:
    refused = {"recipient": "dana@b.example", "reason": "recipient-refused", "after": 2, "within": 30 * DAY}
    news, offers = ({**refused, "stop": f"stream:{name}", "brand": ""} for name in ("news", "offers"))
    for token, entry in (("a/0", news), ("b/0", offers), ("c/0", {**news, "brand": "arava"})):
        await scene.learn(token, entry)
        scene.clock.now += DAY
    assert scene.desk.asked == []
    await scene.learn("d/0", offers)
    assert scene.desk.asked == [offers | {"id": "d", "rcpt": 0}]
    (facts,) = await scene.state.told([scene.learning.keys.key("dana@b.example")])
    assert sorted(failures_of(facts)) == [
        "recipient-refused stream:news",
        "recipient-refused stream:news arava",
        "recipient-refused stream:offers",
    ]


async def test_refusals_suppress_where_they_come_one_after_the_other(scene: Scene) -> None:
    refused = {"recipient": "dana@b.example", "reason": "recipient-refused", "after": 2, "within": 30 * DAY}
    news, offers = ({**refused, "stop": f"stream:{name}", "brand": ""} for name in ("news", "offers"))
    key = scene.learning.keys.key("dana@b.example")
    await scene.learn("a/0", news)
    await scene.learn("b/0", offers)
    scene.clock.now += DAY
    (facts,) = await scene.state.told([key])
    counted = person_of(facts).refusals
    assert sorted(counted) == [f"{REFUSED} stream:news", f"{REFUSED} stream:offers"]
    scene.desk.settles = True
    await scene.learn("c/0", {"recipient": "dana@b.example", "arrived": True, "over": [f"{REFUSED} stream:news"]})
    scene.desk.settles = False
    await scene.learn("d/0", news)
    assert scene.desk.asked == []
    await scene.learn("e/0", offers)
    assert scene.desk.asked == [offers | {"id": "e", "rcpt": 0}]


async def test_a_failure_counts_for_the_day_on_which_it_was(scene: Scene) -> None:
    yesterday = FULL | {"after": 2, "at": scene.clock.now}
    scene.clock.now += DAY
    await scene.learn("a/0", yesterday)
    await scene.learn("b/0", yesterday)
    assert scene.desk.asked == [], "one day, told late"
    await scene.learn("c/0", yesterday | {"at": scene.clock.now})
    assert len(scene.desk.asked) == 1


async def test_failures_long_ago_do_not_count(scene: Scene) -> None:
    for token in ("a/0", "b/0"):
        await scene.learn(token, FULL)
        scene.clock.now += DAY
    scene.clock.now += 12 * DAY
    await scene.learn("c/0", FULL)
    assert scene.desk.asked == [], "the first is 14 days ago"


async def test_it_is_told_again_where_state_did_not_hear(scene: Scene) -> None:
    scene.desk.says = {"error": "State cannot be reached", "again": True}
    with pytest.raises(StateError):
        await scene.learn("a/0", GONE)
    scene.desk.says = {"error": "no address"}
    await scene.learn("a/0", GONE)
