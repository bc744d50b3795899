"""A worker under the eyes of others: what it tells for `queue top`, what its watchdog is shown."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path

import pytest

from relay import worker_view
from relay.egress.pools import Pool, Source
from relay.lately import Lately
from relay.message import Change, Delivery, MailClass
from relay.policy.streams import Stream
from relay.policy.windows import Window
from relay.schedule.dispatcher import Dispatcher
from relay.schedule.watchdog import OVERDUE, PATIENCE, Look, Watchdog
from relay.shaping.shape import ProviderTable, Shapes
from relay.spool.store import Spool, SpoolError
from relay.worker_view import Totals
from tests.support.clocks import Clock
from tests.support.letters import letter


async def never(_: Delivery) -> int | None:
    raise AssertionError("nothing is sent in these tests")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def spool(tmp_path: Path, clock: Clock) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path / "0.db", clock=clock, on_fatal=lambda error: pytest.fail(repr(error)))
    await spool.open()
    yield spool
    await spool.close()


async def test_due_mail_that_nobody_starts_is_noticed(spool: Spool, clock: Clock) -> None:
    """The schedule is one that has stopped by itself, which is what a watchdog is for."""
    dispatcher, watchdog = Dispatcher(spool, never, clock), Watchdog()

    async def rounds() -> None:
        for _ in range(2 * len(MailClass)):
            await worker_view.look(spool, dispatcher, watchdog, clock)

    await spool.put(Change(put=[letter(1, next_attempt=clock.now), letter(2, next_attempt=clock.now, held=1)]))
    await rounds()
    assert list(watchdog.news()) == [], "it is not overdue"
    clock.now += OVERDUE + 1
    await rounds()
    clock.now += PATIENCE
    await rounds()
    ((state, stall),) = watchdog.news()
    assert (state, stall.sites, stall.lanes) == ("firing", ("google",), 1)


async def test_the_watch_goes_on_when_the_spool_cannot_be_read(
    spool: Spool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_view, "LOOK_AT_PROGRESS", 0.001)
    dispatcher, looks = Dispatcher(spool, never, clock), 0

    class Counting(Watchdog):
        def look(self, now: int) -> Look:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise SpoolError("it is closed")
            if looks == 3:
                raise KeyboardInterrupt
            return super().look(now)

    with pytest.raises(KeyboardInterrupt):
        await worker_view.watch([(spool, dispatcher, Counting())], clock)
    assert looks == 3


async def test_its_part_counts_what_waits_by_the_pools_in_force(spool: Spool, clock: Clock) -> None:
    put = [
        letter(1, 3, mail_class=MailClass.MARKETING, next_attempt=clock.now),
        letter(2, 2, mail_class=MailClass.MARKETING, next_attempt=clock.now + 9),
        letter(3, held=1),
        letter(4, held=99),
        letter(5, held=2),
    ]
    await spool.put(Change(put=put))
    pools = {c: Pool(c.label, (Source(f"192.0.2.{c.value}", ""),)) for c in MailClass}
    shards = [(spool, Dispatcher(spool, never, clock))] * 2
    open_connections = {("192.0.2.2", "google"): 4, ("192.0.2.9", "google"): 1, ("192.0.2.77", "google"): 1}
    named = {"cold": Pool("cold", (Source("192.0.2.9", ""), Source("192.0.2.2", "")))}
    found = await worker_view.part(shards, pools, named, open_connections, Lately(), {"in": 2.0}, ["it"], clock.now)
    assert (found["held"], found["totals"], found["oldest"]) == (2, {"in": 2.0}, (clock.now, "marketing"))
    assert (found["guarded"], found["runaways"]) == (2, ["it"])
    (row,) = found["rows"]
    assert (row["site"], row["pool"], row["waiting"], row["due"]) == ("google", "marketing", 10, 6)
    assert row["connections"] == 4, "a source of several pools counts for the class's own"
    assert row["limit"] is None
    limited = await worker_view.part(
        *(shards, pools, named, open_connections, Lately(), {"in": 2.0}, (), clock.now), lambda site, pool: 7, "google"
    )
    assert [row["limit"] for row in limited["rows"]] == [7]
    assert [(lane["class"], lane["waiting"]) for lane in limited["site"]["lanes"]] == [("marketing", 10)]


async def test_its_part_knows_which_windows_are_closed(spool: Spool, clock: Clock) -> None:
    await spool.put(Change(put=[letter(1, 3, mail_class=MailClass.MARKETING, next_attempt=clock.now + 60_000)]))
    pools = {c: Pool(c.label, (Source("192.0.2.1", ""),)) for c in MailClass}
    minute = clock.now // 60_000 % 1440
    soon, open_now = (Window("il", UTC, [((start, start + 30),)] * 7) for start in ((minute + 60) % 1440, minute))

    async def windows(stream: Stream | None) -> object:
        (name,) = {stream for _, _, stream in (await spool.counts())["lanes"]}
        streams = {} if stream is None else {name: stream}
        found = await worker_view.part(
            [(spool, Dispatcher(spool, never, clock))], pools, {}, {}, Lately(), {}, (), clock.now, streams=streams
        )
        return found["rows"][0]["windows"]

    assert await windows(Stream("news", "x", window=soon)) == [("il", soon.opens(clock.now))]
    assert await windows(Stream("news", "x", window=open_now)) == []
    assert await windows(Stream("news", "x")) == await windows(None) == []


def test_how_many_connections_there_may_be_from_all_sources_of_a_pool() -> None:
    said = {"connections": 4, "messages_per_connection": 9}
    shapes = Shapes(said, {"google": ProviderTable({"site_connections": 6}, {})}, {"10.0.0.9": {"connections": 1}})
    pool = Pool("p", (Source("192.0.2.1", ""), Source("192.0.2.2", "")))
    found = [worker_view.connections_to(site, pool, shapes) for site in ("b.example", "google", "10.0.0.9:25")]
    assert found == [8, 6, 2]


def test_rates_are_those_of_the_last_ten_seconds() -> None:
    tally: Counter[tuple[str, MailClass]] = Counter()
    accepted = [0]
    totals = Totals(tally, lambda: accepted[0])
    assert totals.rates(0) == dict.fromkeys(("in", "delivered", "deferred", "bounced", "withheld"), 0.0)
    for second in range(1, 31):
        totals.note(second * 1_000)
        accepted[0] += 5
        tally["delivered", MailClass.MARKETING] += 3
        tally["delivered", MailClass.SERVICE] += 1
    assert totals.rates(31_000) == {"in": 5.0, "delivered": 4.0, "deferred": 0.0, "bounced": 0.0, "withheld": 0.0}
    assert totals.rates(41_000)["in"] == 2.5
