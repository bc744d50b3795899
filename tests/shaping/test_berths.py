"""Berths under paces, budgets, orders and suspensions: relay/shaping/shaper.py with relay/shaping/pacemaker.py."""

from datetime import UTC, date, datetime

from relay.egress.pools import Pool, Source
from relay.identity import Rate
from relay.message import Delivery, MailClass
from relay.outcome import Outcome, Reply
from relay.pause import Pause
from relay.shaping.backoff import Action, Backoff, Rule
from relay.shaping.pacemaker import EVERY, Attempted, Order, Pacemaker, WarmUp
from relay.shaping.shape import Shapes
from relay.shaping.shaper import LOOK_AGAIN, Berth, Shaper
from tests.support.clocks import Clock
from tests.support.egress import delivery
from tests.support.house import FakeQuotas

ONE, TWO, NEW = Source("192.0.2.1", "a.example"), Source("192.0.2.2", "b.example"), "192.0.2.3"
START = date(2026, 11, 23)
NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1000)
SAID = {
    "connections": 10,
    "messages_per_connection": 100,
    "rate": Rate(40, 1, "", "40/second"),
    "pace_start": Rate(10, 1, "", "10/second"),
}
SLOW = Outcome(Reply(421, "4.7.28", "slow down"), "MAIL")


def pause(until: int, why: str, limit: str = "marketing") -> Pause:
    return Pause(until, why, "google", limit)


MAIL, URGENT = delivery(mail_class=MailClass.MARKETING), delivery()


class Dock:
    """A shaper, its quotas and its clock."""

    def __init__(self, *sources: Source) -> None:
        self.quotas = FakeQuotas()
        self.clock = Clock()
        self.clock.now = NOON
        self.maker = Pacemaker(warmup=WarmUp((250, 500)))
        self.pool = Pool("marketing", sources or (ONE,))
        self.shaper = Shaper(Shapes(SAID), self.quotas, lambda: self.clock.now, lambda: 0.0, self.maker)

    async def ask(self, mail: Delivery = MAIL, host: str = "") -> Berth[Source] | Pause:
        return await self.shaper.berth(mail, self.pool, "google", host)

    async def source(self, mail: Delivery = MAIL) -> str:
        found = await self.ask(mail)
        assert isinstance(found, Berth), found
        source: Source = found.source
        return source.address

    async def fill(self) -> Pause:
        """Ask until there is no more."""
        while isinstance(found := await self.ask(), Berth):
            pass
        return found

    def aside(self, source: Source, action: Action = Action.SUSPEND) -> None:
        rule = Rule(action, 7_200_000, place="shipped")
        self.maker.rules = Backoff([rule], lambda _: {0})
        shape = self.shaper.shapes.of("google", "marketing", "x")
        what = Attempted(source.address, "google", "stream", shape.bounds, NOON)
        berth = Berth(source, "marketing", "google", shape, [], self.quotas, what)
        assert self.shaper.observe(berth, SLOW) == rule


async def test_a_pace_holds_marketing_mail_and_says_why() -> None:
    dock = Dock()
    assert await dock.fill() == pause(NOON + 101, "google: pace 10/s")
    assert isinstance(await dock.ask(URGENT), Berth)
    dock.clock.now = (await dock.fill()).until
    assert isinstance(await dock.ask(), Berth)


async def test_what_a_rate_refuses_counts_in_no_pace() -> None:
    dock = Dock()
    dock.quotas.waits = {"rate/192.0.2.1/google": 500}
    assert [await dock.ask() for _ in range(30)] == [pause(NOON + 500, "192.0.2.1/google: 40/second")] * 30


async def test_where_one_source_is_slow_the_next_is_asked() -> None:
    dock = Dock(ONE, TWO)
    asked = [await dock.source() for _ in range(40)]
    assert asked == [ONE.address] * 20 + [TWO.address] * 20
    assert isinstance(await dock.ask(), Pause)


async def test_replies_slow_it_and_those_of_the_capture_server_do_not() -> None:
    dock = Dock()
    berth = await dock.ask()
    assert isinstance(berth, Berth)
    dock.shaper.observe(berth, Outcome(Reply(421, "4.7.28", "slow down"), "MAIL", captured=True))
    assert dock.maker.shown(NOON)[0]["direction"] == "free"
    dock.shaper.observe(berth, SLOW, "rate-limited")
    assert dock.maker.shown(NOON)[0]["direction"] == "down"


async def test_a_host_that_the_admin_named_has_no_slow_start() -> None:
    dock = Dock()
    assert all([isinstance(await dock.ask(host="relay.example"), Berth) for _ in range(100)])


async def test_a_suspended_source_carries_nothing_and_the_others_go_on() -> None:
    dock = Dock(ONE, TWO)
    dock.aside(ONE)
    assert {await dock.source(mail) for mail in (MAIL, URGENT)} == {TWO.address}


async def test_with_all_suspended_mail_waits_and_looks_again_soon() -> None:
    dock = Dock()
    dock.aside(ONE)
    for mail in (MAIL, URGENT):
        assert await dock.ask(mail) == pause(NOON + LOOK_AGAIN, "shipped: 421 4.7.28 slow down")
    dock.clock.now = NOON + 7_200_000
    assert await dock.source() == ONE.address


async def test_where_no_other_source_is_it_goes_by_the_one_that_should_not() -> None:
    dock = Dock(ONE, TWO)
    dock.aside(ONE, Action.OTHER_SOURCE)
    assert await dock.source() == TWO.address
    dock.aside(TWO, Action.OTHER_SOURCE)
    dock.clock.now += 3000
    assert await dock.source() == ONE.address


async def test_a_stopped_stream_waits_whatever_the_source() -> None:
    dock = Dock(ONE, TWO)
    dock.aside(ONE, Action.SUSPEND_STREAM)
    assert await dock.ask() == pause(NOON + LOOK_AGAIN, "shipped: 421 4.7.28 slow down", "stream/stream")
    assert isinstance(await dock.ask(URGENT), Berth), "transactional mail is not stopped"


async def test_an_order_of_an_operator_holds_all_but_transactional_mail() -> None:
    dock = Dock()
    dock.maker.order(Order("google", EVERY, Rate(1, 1, "", "1/second"), NOON + 60_000, "noa"))
    dock.quotas.waits = {"order/192.0.2.1/google/*": 700}
    assert await dock.ask() == pause(NOON + 700, "order/192.0.2.1/google/*: 1/second")
    assert dock.quotas.back == [("rate/192.0.2.1/google", 1)]
    assert isinstance(await dock.ask(URGENT), Berth)
    assert dock.quotas.back == [("rate/192.0.2.1/google", 1)], "what was refused is not given back"


async def test_an_order_for_its_pool_holds_transactional_mail_too() -> None:
    dock = Dock()
    dock.maker.order(Order("google", "marketing", Rate(1, 1, "", "1/second"), NOON + 60_000, "noa"))
    dock.quotas.waits = {"order/192.0.2.1/google/marketing": 700}
    assert isinstance(await dock.ask(URGENT), Pause)


def new(start: date = START) -> Source:
    return Source(NEW, "c.example", warmup=start)


async def test_a_new_source_takes_of_its_budget_of_the_day_and_the_rest_goes_by_the_warm_ones() -> None:
    dock = Dock(new(), ONE)
    assert await dock.source() == NEW
    assert dock.quotas.taken[-1] == (f"warmup/{NEW}/google", 1, "UTC")
    dock.quotas.waits = {f"warmup/{NEW}/google": 3_600_000}
    assert await dock.source() == ONE.address


async def test_before_its_day_a_new_source_carries_nothing() -> None:
    dock = Dock(new(date(2026, 12, 1)), ONE)
    assert await dock.source() == ONE.address
    assert all(name != f"warmup/{NEW}/google" for name, _, _ in dock.quotas.taken)


async def test_a_warm_source_has_no_budget() -> None:
    dock = Dock(new(date(2026, 11, 1)))
    assert await dock.source() == NEW
    assert [name for name, _, _ in dock.quotas.taken] == [f"rate/{NEW}/google"]


async def test_with_new_sources_alone_marketing_waits_for_tomorrow_and_transactional_mail_does_not() -> None:
    dock = Dock(new())
    dock.quotas.waits = {f"warmup/{NEW}/google": 3_600_000}
    assert await dock.ask() == pause(NOON + 3_600_000, f"warmup/{NEW}/google: 250/day")
    assert await dock.source(URGENT) == NEW


async def test_before_the_day_of_the_only_source_marketing_waits() -> None:
    dock = Dock(new(date(2026, 12, 1)))
    assert await dock.ask() == pause(NOON + LOOK_AGAIN, f"{NEW} begins on 1 Dec")


async def test_a_budget_that_nothing_came_of_is_given_back() -> None:
    dock = Dock(new())
    berth = await dock.ask()
    assert isinstance(berth, Berth)
    berth.leave()
    assert dock.quotas.back == [(f"rate/{NEW}/google", 1), (f"warmup/{NEW}/google", 1)]
