"""Paces, orders and budgets as workers carry them to State and back, and the commands that change them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.egress.pools import Pool, Source
from relay.outcome import Outcome, Reply
from relay.shaping.backoff import Action, Backoff, Rule
from relay.shaping.pace import Bounds
from relay.shaping.pacemaker import Attempted, Pacemaker
from relay.shaping.warmup import FEW, key_of, rate_of
from relay.state.interface import StateError
from relay.state.permits import QuotaLeases
from relay.state.sqlite import SqliteState
from relay.steering import FORGET, Steering, board_of, clock_of, in_words
from tests.support.clocks import Clock

HERE, NEW, SITE = "192.0.2.1", "192.0.2.3", "google"
BOUNDS = Bounds(start=10, floor=0.1, ceiling=40)
START = date(2026, 11, 23)
NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1000)
SLOW = Outcome(Reply(421, "4.7.28", "slow down"), "MAIL")
POOLS = {
    "marketing": Pool("marketing", (Source(NEW, "c.example", warmup=START), Source(HERE, "a.example"))),
    "transactional": Pool("transactional", (Source("", ""),)),
}
BY = {"by": "noa", "via": "cli", "reason": "complaints"}


class FailingState(SqliteState):
    """While `down` nobody can read or write it."""

    down = False

    async def _ask(self, action: Callable[[Any, int], Any], durable: bool = False, quick: int = 0) -> Any:
        if self.down:
            raise StateError("gone")
        return await super()._ask(action, durable, quick)


class OneWorker:
    def __init__(self, folder: Path, name: str, clock: Clock) -> None:
        self.state = FailingState(folder / "state.db", clock)
        self.maker = Pacemaker(name)
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.opened: list[str] = []
        self.steering = Steering(
            self.state, self.maker, lambda: POOLS, lambda k, f: self.said.append((k, f)), 2, self.opened.append
        )

    def sent(self, outcome: Outcome = SLOW) -> None:
        bounds = self.maker.share(BOUNDS)
        self.maker.ask(HERE, SITE, "marketing", bounds, NOON, urgent=False)
        self.maker.learn(Attempted(HERE, SITE, "news", bounds, NOON), outcome, "", NOON)


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = NOON
    return clock


@pytest.fixture
async def workers(tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[OneWorker, OneWorker]]:
    pair = OneWorker(tmp_path, "one", clock), OneWorker(tmp_path, "other", clock)
    for one in pair:
        await one.state.open()
    yield pair
    for one in pair:
        await one.state.close()


async def test_what_one_learns_the_other_knows_after_its_next_look(workers: tuple[OneWorker, OneWorker]) -> None:
    one, other = workers
    for worker in workers:
        await worker.steering.look()
        worker.maker.ask(HERE, SITE, "marketing", worker.maker.share(BOUNDS), NOON, urgent=False)
    one.sent()
    await one.steering.look()
    await other.steering.look()
    assert [worker.maker.shown(NOON)[0]["direction"] for worker in workers] == ["down", "down"]
    assert other.maker.sharers == 2


async def test_while_state_is_down_nothing_is_forgotten_and_all_is_told_later(
    workers: tuple[OneWorker, OneWorker],
) -> None:
    one, other = workers
    one.maker.rules = Backoff([Rule(Action.SUSPEND, 60_000)], lambda _: {0})
    one.state.down = True
    one.sent()
    await one.steering.look()
    assert one.maker.away(HERE, SITE, NOON) is not None
    one.state.down = False
    await one.steering.look()
    await other.steering.look()
    assert other.maker.away(HERE, SITE, NOON) is not None


async def test_what_is_put_aside_and_let_back_are_events(workers: tuple[OneWorker, OneWorker], clock: Clock) -> None:
    one, _other = workers
    one.maker.rules = Backoff([Rule(Action.SUSPEND, 60_000, place="shipped")], lambda _: {0})
    one.sent()
    one.maker.rules = Backoff([Rule(Action.SUSPEND_STREAM, 60_000, place="shipped")], lambda _: {0})
    one.sent()
    await one.steering.look()
    facts = {"reason": "shipped: 421 4.7.28 slow down", "until": "2026-11-23T12:01:00.000Z", "by": "postlane"}
    assert one.said == [
        ("suspended", {"what": {"source": HERE, "site": SITE}, **facts}),
        ("suspended", {"what": {"stream": "news", "site": SITE}, **facts}),
    ]
    clock.now += 60_000
    for _ in range(2):
        for worker in workers:
            await worker.steering.look()
    assert set(one.opened) == {SITE}
    over = [kind for worker in workers for kind, _ in worker.said if kind == "resumed"]
    assert len(over) == 2, "one worker of all tells"


@pytest.mark.parametrize("text", ["{", '{"until": 1}', "[]"])
async def test_notes_that_cannot_be_read_change_nothing(workers: tuple[OneWorker, OneWorker], text: str) -> None:
    one, other = workers
    await one.steering.pace({"site": SITE, "rate": "10/second", "for": 60_000, **BY})
    await other.steering.look()
    for board in ("order", "pace"):
        await one.state.pin(board_of(board), f"{HERE} x", text)
    await other.steering.look()
    assert len(other.maker.orders(SITE, "x", NOON)) == 1


async def test_a_command_may_come_while_notes_are_told(workers: tuple[OneWorker, OneWorker]) -> None:
    """Two took the same note from the front once, and the second dropped what nobody had told; or ended the worker."""
    one, other = workers
    one.sent()
    questions = [{"site": f"site{number}", "rate": "10/second", "for": 60_000, **BY} for number in range(5)]
    await asyncio.gather(one.steering.look(), *map(one.steering.pace, questions), one.steering.look())
    await other.steering.look()
    assert len(other.steering.shown()["standing"]) == 5
    assert one.maker.news == []


async def test_a_note_is_read_again_where_it_changed_alone(
    workers: tuple[OneWorker, OneWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = workers
    for site in ("a", "b"):
        await one.steering.pace({"site": site, "rate": "10/second", "for": 60_000, **BY})
    await other.steering.look()
    read: list[str] = []

    def reading(text: str) -> Any:
        read.append(text)
        return json.loads(text)

    monkeypatch.setattr("relay.steering.orjson.loads", reading)
    await other.steering.look()
    assert read == []
    await one.steering.pace({"site": "b", "rate": "5/second", "for": 60_000, **BY})
    await other.steering.look()
    assert len(read) == 1
    assert [other.maker.orders(site, "x", NOON)[0].rate.text for site in "ab"] == ["10/second", "5/second"]


async def test_only_the_newest_note_of_a_name_is_told(workers: tuple[OneWorker, OneWorker]) -> None:
    one, other = workers
    for rate in ("10/second", "5/second"):
        one.state.down = rate == "10/second"
        await one.steering.pace({"site": SITE, "rate": rate, "for": 60_000, **BY})
    await other.steering.look()
    assert [order.rate.text for order in other.maker.orders(SITE, "x", NOON)] == ["5/second"]


async def test_an_order_is_given_told_and_ended(workers: tuple[OneWorker, OneWorker]) -> None:
    one, other = workers
    answer = await one.steering.pace({"site": SITE, "pool": "marketing", "rate": "10/second", "for": 7_200_000, **BY})
    what = {"site": SITE, "pool": "marketing", "rate": "10/second", "until": "2026-11-23T14:00:00.000Z"}
    assert answer == {"order": what}
    assert one.said == [("audit", {**BY, "action": "pace", "what": what})]
    await other.steering.look()
    (standing,) = other.steering.shown()["standing"]
    assert (standing["kind"], standing["rate"], standing["by"]) == ("order", "10/second", "noa")
    assert (one.opened, other.opened) == ([], [])
    ended = await other.steering.pace({"site": SITE, "end": True, **BY})
    assert len(ended["ended"]) == 1
    assert other.opened == [SITE], "what waits for it goes at once"
    assert other.said[0][1]["action"] == "pace end"
    await one.steering.look()
    assert not one.maker.orders(SITE, "marketing", NOON)
    assert one.opened == [SITE]
    assert await one.steering.pace({"site": SITE, "end": True, **BY}) == {"ended": []}
    assert len(one.said) == 1, "what changed nothing is no audit event"


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ({"rate": "fast"}, '"fast" is no rate'),
        ({"rate": "1/second", "pool": "cold"}, 'no pool "cold"; there are marketing, transactional'),
    ],
)
async def test_an_order_that_means_nothing_is_refused(
    workers: tuple[OneWorker, OneWorker], question: dict[str, str], error: str
) -> None:
    answer = await workers[0].steering.pace({"site": SITE, "for": 1000, **question, **BY})
    assert error in answer["error"]


async def test_budgets_are_shown_with_what_was_carried(workers: tuple[OneWorker, OneWorker]) -> None:
    one, _ = workers
    nobody = await one.steering.warmup({"action": "show"})
    assert [(row["site"], row["said"]) for row in nobody["rows"]] == [(None, "day 1 of 30: 250 a day")]
    quotas = QuotaLeases(one.state)
    for _ in range(7):
        await quotas.take(key_of(NEW, SITE), rate_of(250), 1)
    one.maker.ask(NEW, SITE, "marketing", BOUNDS, NOON, urgent=False)
    (row,) = (await one.steering.warmup({"action": "show"}))["rows"]
    assert (row["site"], row["budget"], row["used"], row["said"]) == (SITE, 250, 7, "day 1 of 30: 7 of 250")


async def test_growth_is_held_and_resumed_and_that_is_an_event(
    workers: tuple[OneWorker, OneWorker], clock: Clock
) -> None:
    one, other = workers
    (row,) = (await one.steering.warmup({"action": "hold", "source": NEW, "site": SITE, **BY}))["rows"]
    assert row["said"] == "day 1 of 30: 0 of 250 (held: complaints)"
    await other.steering.look()
    clock.now += 2 * 86_400_000
    assert other.maker.budget(NEW, SITE, START, clock.now) == 250
    assert other.maker.budget(NEW, "yahoo", START, clock.now) == 1000
    (row,) = (await other.steering.warmup({"action": "resume", **BY}))["rows"]
    assert (row["held"], row["said"]) == (False, "day 1 of 30: 0 of 250")
    assert [facts["action"] for _, facts in (*one.said, *other.said)] == ["warmup hold", "warmup resume"]
    refused = await one.steering.warmup({"action": "hold", "source": HERE, **BY})
    assert refused == {"error": f"no source of that name is being warmed up; there are: {NEW}"}


async def test_complaints_stop_the_growth_of_a_new_source_on_all_workers(
    workers: tuple[OneWorker, OneWorker], clock: Clock
) -> None:
    one, other = workers
    good = Outcome(Reply(250, "2.0.0", "OK"), "END")
    for _ in range(FEW):
        one.maker.learn(Attempted(NEW, SITE, "news", BOUNDS, NOON, START), good, "", NOON)
    for _ in range(2):
        one.steering.complained(HERE, SITE)  # warm: nothing to stop
        one.steering.complained(NEW, SITE)
    await one.steering.look()
    await other.steering.look()
    (row,) = (await other.steering.warmup({"action": "show"}))["rows"]
    assert row["why"] == "2 complaints about 20 messages"
    clock.now += 86_400_000
    assert other.maker.budget(NEW, SITE, START, clock.now) == 250


async def test_without_state_a_command_says_so(workers: tuple[OneWorker, OneWorker]) -> None:
    one, _ = workers
    one.state.down = True
    one.maker.ask(NEW, SITE, "marketing", BOUNDS, NOON, urgent=False)
    assert await one.steering.warmup({"action": "show"}) == {"error": "gone"}


async def test_paces_that_hold_something_are_told_apart(workers: tuple[OneWorker, OneWorker]) -> None:
    one, _ = workers
    one.maker.ask(HERE, "yahoo", "marketing", BOUNDS, NOON, urgent=False)
    one.sent()
    assert [row["site"] for row in one.steering.shown()["paces"]] == ["yahoo", SITE]
    assert [row["site"] for row in one.steering.shown(slowed=True)["paces"]] == [SITE]
    assert repr(one.steering) == "<Steering <Pacemaker 2 paces, 0 aside, 0 orders>>"


async def test_what_says_nothing_any_more_is_forgotten_in_time(
    workers: tuple[OneWorker, OneWorker], clock: Clock
) -> None:
    one, _ = workers
    one.maker.ask(HERE, SITE, "marketing", BOUNDS, NOON, urgent=False)
    clock.now += 3_600_000
    for _ in range(FORGET):
        await one.steering.look()
    assert one.steering.shown()["paces"] == []


def test_words_with_the_clock_of_the_node() -> None:
    zone = ZoneInfo("Asia/Jerusalem")
    row = {"pace": 31.2, "ceiling": 40, "direction": "recovering", "since": NOON, "why": "421 4.7.28"}
    assert clock_of(NOON, zone) == "14:00"
    assert in_words(row, zone) == "31 of 40/s, recovering since 14:00 (421 4.7.28)"
