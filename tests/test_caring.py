"""Streams over their limits, end to end over State: sheets of shards, one judge, notes, suspensions."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.accounts import hour_of
from relay.caring import LEASE, SELDOM, STANDING, Caring
from relay.denials import Denials
from relay.effects import Effect
from relay.egress.mx import Answer, Found
from relay.egress.pools import Pool, Source
from relay.engaging import Engaging
from relay.identity import Brand
from relay.learning import Learning
from relay.message import Change, MailClass
from relay.outcome import Outcome, Reply
from relay.people import People
from relay.policy.engagement import Tiers
from relay.policy.health import DAY, Health, Limits, Slowed
from relay.policy.tallies import HOUR, QUARTER, Hour
from relay.queue_commands import QueueCommands
from relay.recipient import Keys
from relay.schedule.dispatcher import Dispatcher
from relay.spool.store import Spool
from relay.state.interface import StateError
from relay.suspending import Suspending
from relay.tally import DNS, Kind, Tally
from relay.tallying import HOURS, Tallying, board
from relay.web.metrics import exposition
from tests.support.clocks import Clock
from tests.support.house import Rig
from tests.support.letters import letter
from tests.test_suspending import FailingState, never

Json = dict[str, Any]
BRANDS = {"arava": Brand("arava", domains=frozenset({"arava.example"}))}
LIMITS = Health(Limits(min_messages=100))


def denied(address: str, site: str) -> Json:
    """What follows where a site, or DNS, says that nobody is there."""
    reason = "bad-domain" if site == DNS else "bad-mailbox"
    return {"recipient": address, "stop": "all", "reason": reason, "source": "feedback", "site": site}


class Worker:
    """`said`: the events of the node that it recorded, but for audits."""

    def __init__(self, folder: Path, name: str, clock: Clock) -> None:
        rig = Rig(Outcome(Reply(250, "2.0.0", "OK"), "END"))
        self.clock = clock
        self.state = FailingState(folder / "state.db", clock)
        self.spool = Spool(folder / f"{name}.db", clock=clock, on_fatal=lambda error: pytest.fail(repr(error)))
        house = rig.attempting()
        house.spool = self.spool
        house.pools = {c: Pool(c.label, (Source("", ""),)) for c in MailClass}
        commands = QueueCommands(self.spool, Dispatcher(self.spool, never, lambda: 0), house)
        self.said: list[tuple[str, Json]] = []
        keys = Keys([b"s" * 32])
        engaging = Engaging(self.state, keys, Tiers(), clock)
        self.people = People(self.state, keys, self._record, lambda _, domain: domain, ["arava"], engaging)
        self.suspending = Suspending(self.state, house.suspensions, [commands], self._say, name)
        self.slowed = Slowed()
        self.caring = Caring(self.state, self.suspending, self.people, self._say, LIMITS, BRANDS, self.slowed)
        self.dns: dict[str, Found] = {}  # what it says but RECORDS
        self.delivered: dict[str, int] = {}
        self.denials = Denials(self.state, self._mx, lambda: self.delivered)
        doubted, gone = self.caring.doubting.doubted, self.denials.gone
        self.learning = Learning(self.state, self.people, keys, clock, doubted, gone)
        self.tallying = Tallying(self.state, f"{name}/0")
        self._number = 0
        self._name = name

    async def _mx(self, domain: str) -> Answer:
        return Answer(self.dns.get(domain, Found.RECORDS))

    def _say(self, kind: str, facts: Json) -> None:
        if kind != "audit":
            self.said.append((kind, facts))

    async def _record(self, records: Any) -> None:
        self.said += records

    def events(self, kind: str) -> list[Json]:
        return [facts for one, facts in self.said if one == kind]

    async def hear(
        self, kind: str, count: int, *, stream: str = "news", site: str = "yahoo", there: str = "", **more: Any
    ) -> list[str]:
        """Tells what became of so much mail, as the spool does. The addresses, of what bounced hard or arrived."""
        effects, addresses = [], []
        facts = {"urgent": False, "credential": "crm", "brand": "arava", "campaign": "", "at": self.clock.now, **more}
        for _ in range(count):
            self._number += 1
            address = f"u{self._number}@{there or f'{site}.example'}"
            entry = denied(address, site) | {"stream": stream, "until": None}
            learnt = entry if kind in (Kind.HARD, Kind.LATE_HARD) else None
            tally = Tally(str(kind), stream, site=site, **facts)
            token = f"{self._name}{self._number}/0"
            effects.append(Effect(token, address, "arava", MailClass.MARKETING, 0, False, learnt, tally))
            addresses.append(address)
        await self.tallying.count(effects)
        await self.learning.learn(effects)
        return addresses

    async def bounce_again(self, address: str, site: str, reason: str = "bad-mailbox") -> None:
        self._number += 1
        entry, token = denied(address, site) | {"reason": reason}, f"{self._name}{self._number}/0"
        await self.learning.learn([Effect(token, address, "arava", MailClass.MARKETING, 0, False, entry)])

    async def arrives(self, address: str) -> None:
        self._number += 1
        entry = {"recipient": address, "arrived": True}
        token = f"{self._name}{self._number}/0"
        await self.learning.learn([Effect(token, address, "arava", MailClass.MARKETING, 0, False, entry)])

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.suspending.look()
            await self.caring.look()
            self.clock.now += 1_000

    async def stops(self, address: str) -> list[str]:
        """What is known of one person, by what it stops."""
        found = await self.people.answer({"what": "show", "recipient": address})
        return [block["stop"] for block in found["blocks"]]

    async def suppressed(self) -> int:
        """How many are."""
        question = {"what": "list", "where": {"pending": False}, "count": True}
        return int((await self.people.answer(question))["found"])

    @property
    def alerts(self) -> list[str]:
        return [alert.summary for alert in self.caring.standing()]


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    clock = Clock()
    clock.now = clock.now // HOUR * HOUR + QUARTER + 60_000
    both = Worker(tmp_path, "a", clock), Worker(tmp_path, "b", clock)
    for worker in both:
        await worker.state.open()
        await worker.spool.open()
    yield both
    for worker in both:
        await worker.spool.close()
        await worker.state.close()


@pytest.fixture
def one(workers: tuple[Worker, Worker]) -> Worker:
    return workers[0]


async def test_hard_bounces_over_the_limit_suspend_that_stream_alone(workers: tuple[Worker, Worker]) -> None:
    one, other = workers
    waiting = [letter(1, 3, mail_class=MailClass.MARKETING, stream="news"), letter(2, stream="news")]
    await one.spool.put(Change(put=waiting))
    for worker in workers:  # neither knows by itself
        await worker.hear(Kind.DELIVERED, 70)
        await worker.hear(Kind.HARD, 4, site="b")
        await worker.hear(Kind.DELIVERED, 200, stream="digest")
        await worker.look()
    await one.look()
    (told,) = one.events("suspended")
    assert told == {
        "what": {"stream": "news"},
        "reason": "hard bounces 5.4 % of 148 in 24h, limit 5 %",
        "until": None,
        "by": "postlane",
        "waiting": 3,
    }
    assert other.events("suspended") == [], "one judges"
    (alert,) = one.events("alert")
    assert (alert["name"], alert["state"], alert["what"]) == ("health", "firing", {"stream": "news"})
    await other.look()
    for worker in workers:
        await worker.look(3)
        (summary,) = worker.alerts
        assert (
            "stream news: hard bounces 5.4 % of 148 in 24h, limit 5 % (mostly credential crm (8 of 8), site b"
            in summary
        )
        assert "so it is suspended; postlane resume --stream news lets it go" in summary
        assert [found.said for found in worker.suspending._table] == ["stream news"]
    assert len(one.events("suspended")) == 1


async def test_resumed_it_comes_back_by_steps_and_old_counts_do_not_stop_it_again(one: Worker) -> None:
    await one.hear(Kind.DELIVERED, 180)
    await one.hear(Kind.HARD, 20)
    await one.look()
    assert one.slowed, "as soon as somebody resumes it"
    assert "error" not in await one.suspending.resume({"what": {"stream": "news"}, "by": "noa"})
    await one.look(2)
    assert [state["state"] for _, state in one.said if "state" in state] == ["firing", "resolved"]
    assert one.alerts == []
    (row,) = (await one.caring.answer({"what": "show"}))["streams"]
    assert (row["stream"], row["state"], row["rate"]) == ("news", "returning", "100/hour")
    assert len(one.events("suspended")) == 1
    one.clock.now += HOUR
    await one.hear(Kind.LATE_HARD, 30, at=one.clock.now - HOUR - QUARTER)
    await one.look(60)
    (row,) = (await one.caring.answer({"what": "show"}))["streams"]
    assert row["rate"] == "200/hour", "late reports of what was sent before are not held against it"
    for _ in range(2):
        one.clock.now += HOUR
        await one.look()
    assert not one.slowed, "it went at twice what is usual"
    assert (await one.caring.answer({"what": "show"}))["streams"] == []
    assert len(await one.state.pinned(STANDING)) == 1, "what was before still does not count"
    one.clock.now += 6 * DAY
    await one.look()
    assert await one.state.pinned(STANDING) == await one.state.pinned(HOURS) == {}


async def test_complaints_slow_and_suspend_transactional_mail_is_only_told_of(one: Worker) -> None:
    await one.hear(Kind.DELIVERED, 1000)
    await one.hear(Kind.DELIVERED, 5000, site="silent")
    await one.look()
    assert one.alerts == []
    await one.hear(Kind.COMPLAINT, 1)
    await one.look()
    assert not one.events("suspended")
    (summary,) = one.alerts
    whose = "mostly credential crm (1 of 1), site yahoo (1 of 1)"
    assert summary == f"stream news: complaints 0.1 % of 1000 in 24h, limit 0.1 % ({whose}), so it goes at 1,500/hour"
    assert one.slowed
    await one.hear(Kind.COMPLAINT, 2)
    await one.look()
    assert [told["reason"] for told in one.events("suspended")] == ["complaints 0.3 % of 1000 in 24h, limit 0.3 %"]
    await one.hear(Kind.DELIVERED, 500, stream="reset", urgent=True)
    await one.hear(Kind.HARD, 100, stream="reset", urgent=True, site="b")
    await one.look()
    assert [told["what"] for told in one.events("suspended")] == [{"stream": "news"}]
    whose = "mostly credential crm (100 of 100), site b (100 of 100)"
    reset = f"transactional mail of stream reset: hard bounces 16.7 % of 600 in 24h, limit 5 % ({whose}), which is told only"
    assert reset in one.alerts


async def test_googles_own_figures_count_for_its_mail(one: Worker) -> None:
    day = one.clock.now // DAY
    await one.hear(Kind.DELIVERED, 1000, site="google", campaign="may")
    await one.hear(Kind.DELIVERED, 1000, site="google", stream="digest")
    await one.look()
    assert one.alerts == []
    entries = [["arava.example", day, "", 0.0005], ["arava.example", day, "may", 0.004]]
    assert await one.caring.answer({"what": "figures", "entries": entries}) == {"changed": 2}
    assert await one.caring.answer({"what": "figures", "entries": entries}) == {"changed": 0}
    await one.look()
    assert [told["reason"] for told in one.events("suspended")] == ["complaints 0.4 % of 1000 in 24h, limit 0.3 %"]
    rows = (await one.caring.answer({"what": "show", "by": "campaign"}))["rows"]
    assert {row["campaign"]: row["complaints"] for row in rows} == {"may": 0.004, None: 0.0005}
    one.clock.now += 40 * DAY
    await one.look()
    assert await one.state.pinned("health/figures") == {}


async def test_an_automation_that_fewer_and_fewer_care_for_is_told_of(one: Worker) -> None:
    for week in range(12):
        await one.hear(Kind.DELIVERED, 60 if week < 7 else 20, tier=1)
        await one.hear(Kind.DELIVERED, 40 if week < 7 else 80, tier=2)
        one.clock.now += 7 * DAY
        await one.look()
    assert one.caring.needs() == []
    for _ in range(SELDOM):
        await one.look()
    (need,) = one.caring.needs()
    assert need["what"] == "stream news: 20 % of its mail goes to people who still care, 55 % did before"
    assert len(await one.state.pinned(HOURS)) <= 1, "of what was counted nothing else is kept"
    await one.state.pin("health/weeks", "x", "nonsense")
    assert list(await one.caring._accounts.weeks()) == ["news"]


async def test_rates_are_shown_by_whatever_is_asked(one: Worker) -> None:
    await one.hear(Kind.DELIVERED, 6)
    await one.hear(Kind.UNSUBSCRIBED, 3)
    await one.hear(Kind.SPAM, 2, site="gmx")
    (row,) = (await one.caring.answer({"what": "show", "by": "stream"}))["rows"]
    assert row == {
        "stream": "news", "sent": 8, "delivered": 6, "reporting": 0,
        "complaints": None, "hard_bounces": 0.0, "spam_blocks": 0.25, "unsubscribes": 0.5,
    }  # fmt: skip
    by_site = (await one.caring.answer({"what": "show", "by": "site"}))["rows"]
    assert [(row["site"], row["sent"]) for row in by_site] == [("yahoo", 6), ("gmx", 2)]
    assert (await one.caring.answer({"what": "show", "since": one.clock.now + HOUR}))["rows"] == []
    assert "error" in await one.caring.answer({"what": "dance"})
    one.state.down = True
    assert "error" in await one.caring.answer({"what": "show"})


async def test_metrics_have_the_shares_of_who_judges_and_how_each_stream_stands(
    workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = workers
    await one.hear(Kind.DELIVERED, 1000)
    await one.hear(Kind.COMPLAINT, 1)
    await one.hear(Kind.HARD, 5, stream="reset", urgent=True, site="b")
    await one.look()
    await other.look()
    standing = [{"stream": "news", "transactional": "no", "state": "slow", "value": 1}]
    slowed = [{"stream": "news", "value": 250}]
    assert other.caring.gauges() == {"stream_standing": standing, "stream_slowed_to": slowed}
    told = one.caring.gauges()
    assert {name: told[name] for name in ("stream_standing", "stream_slowed_to")} == other.caring.gauges()
    news = {"stream": "news", "transactional": "no"}
    assert told["stream_sent"] == [{**news, "value": 1000}, {"stream": "reset", "transactional": "yes", "value": 5}]
    assert told["stream_share"][:2] == [
        {**news, "measure": "complaints", "value": 0.001},
        {**news, "measure": "hard_bounces", "value": 0.0},
    ]
    page = exposition({"gauges": told}, one.clock.now)
    assert 'postlane_stream_share{stream="reset",transactional="yes",measure="hard_bounces"} 1\n' in page
    assert 'stream="reset",transactional="yes",measure="complaints"' not in page, "where nobody could complain"
    monkeypatch.setattr("relay.caring.GRAPHED", 1)
    assert [row["stream"] for row in one.caring.gauges()["stream_sent"]] == ["news"]
    one.clock.now += LEASE
    await other.look()
    await one.look()
    assert "stream_share" in other.caring.gauges()
    assert "stream_share" not in one.caring.gauges(), "another judges now"
    one.clock.now += 2 * DAY
    await other.look()
    assert other.caring.gauges()["stream_share"] == [], "that was long ago"


async def test_another_worker_judges_where_the_one_that_did_is_gone(workers: tuple[Worker, Worker]) -> None:
    one, other = workers
    await one.look()
    await other.look()
    await other.hear(Kind.DELIVERED, 90)
    await other.hear(Kind.HARD, 10, site="b")
    await other.look()
    assert not other.events("suspended")
    other.clock.now += LEASE
    await other.look()
    assert len(other.events("suspended")) == 1
    await one.look()
    assert not one.events("suspended")


async def test_what_was_suspended_before_a_crash_is_not_suspended_twice(one: Worker) -> None:
    await one.suspending.suspend({"what": {"stream": ["news"]}, "reason": "x", "by": "postlane"})
    await one.hear(Kind.DELIVERED, 90)
    await one.hear(Kind.HARD, 10, site="b")
    await one.look()
    assert len(one.events("suspended")) == 1
    assert len(list(one.suspending._table)) == 1


async def test_a_stream_that_cannot_be_suspended_hinders_no_other(one: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.suspending.MAX", 0)
    for stream in ("news", "digest"):
        await one.hear(Kind.DELIVERED, 90, stream=stream)
        await one.hear(Kind.HARD, 10, stream=stream)
    await one.hear(Kind.DELIVERED, 1000, stream="offers", site="gmx")
    await one.hear(Kind.COMPLAINT, 1, stream="offers", site="gmx")
    await one.look()
    assert (one.events("suspended"), len(one.alerts)) == ([], 1)
    monkeypatch.setattr("relay.suspending.MAX", 9)
    await one.look()
    assert sorted(told["what"]["stream"] for told in one.events("suspended")) == ["digest", "news"]


async def test_a_note_that_nobody_understands_stops_nothing(one: Worker) -> None:
    await one.state.pin(HOURS, "some day", "")
    await one.look()
    await one.state.unpin(HOURS, "some day")
    await one.hear(Kind.DELIVERED, 90)
    await one.hear(Kind.HARD, 10)
    await one.look()
    assert len(one.events("suspended")) == 1


async def test_without_state_what_was_known_stays(one: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    await one.hear(Kind.DELIVERED, 1000)
    await one.hear(Kind.COMPLAINT, 1)
    await one.look()
    one.state.down = True
    await one.look()
    await one.caring.know()
    assert one.slowed
    with pytest.raises(StateError):
        await one.caring.doubting.doubted(["b"])
    one.state.down = False
    await one.state.pin(STANDING, "x", "nonsense")
    await one.caring.know()
    assert [stream.stream for stream in one.caring.streams.values()] == ["news"]
    assert repr(one.caring).startswith("<Caring for 1 streams, 0 sites")
    monkeypatch.setattr("relay.caring.LOOK", 0.001)
    done = asyncio.Event()
    monkeypatch.setattr(one.suspending, "_record", lambda kind, facts: done.set())
    await one.hear(Kind.COMPLAINT, 20)
    running = asyncio.create_task(one.caring.run())
    async with asyncio.timeout(5):
        await done.wait()
    running.cancel()


async def test_what_did_not_change_is_not_added_up_again(one: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []

    async def noted(begin: int, sheets: Any, facts: Any) -> Hour:
        added.append(begin)
        return await hour_of(begin, sheets, facts)

    monkeypatch.setattr("relay.accounts.hour_of", noted)
    await one.hear(Kind.DELIVERED, 5, at=one.clock.now - 5 * HOUR)
    await one.hear(Kind.DELIVERED, 5)
    await one.look()
    assert len(added) == 2
    assert repr(one.caring._accounts) == "<Accounts of 2 hours>"
    this, old = one.clock.now // HOUR * HOUR, (one.clock.now - 5 * HOUR) // HOUR * HOUR
    await one.look()
    assert added[2:] == [old], "the older ones in turn"
    await one.hear(Kind.DELIVERED, 1)
    await one.look()
    assert sorted(added[3:]) == [old, this]
    await one.state.pin(board(this // HOUR), "elsewhere/0 x", "nonsense")
    await one.look()
    assert (await one.caring.answer({"what": "show"}))["rows"][0]["sent"] == 11
