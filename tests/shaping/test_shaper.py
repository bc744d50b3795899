"""A berth: a source and all permits, or when to come again."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from structlog.testing import capture_logs

from relay.egress.pools import Pool, Source
from relay.identity import Rate
from relay.message import Delivery, MailClass
from relay.outcome import Outcome, Reply, Scope
from relay.pause import Later, Pause
from relay.shaping.backoff import Action, Backoff, Rule
from relay.shaping.health import BLOCK_PAUSE, FAULT_PAUSE
from relay.shaping.pacemaker import EVERY, Attempted, Order, Pacemaker, WarmUp
from relay.shaping.shape import ProviderTable, Shapes
from relay.shaping.shaper import LOOK_AGAIN, Berth, Refusal, Shaper
from relay.shaping.warmup import ENGAGED_ONLY
from tests.support.clocks import Clock
from tests.support.egress import delivery
from tests.support.house import NOW, FakeQuotas, waiting_delivery

POOL = Pool("marketing", (Source("192.0.2.1", "m1.example"), Source("192.0.2.2", "m2.example", 3)))
TEN, TWENTY = Rate(10, 1, "", "10/second"), Rate(20, 1, "", "20/second")
SAID_OF_ALL = {"connections": 10, "messages_per_connection": 100}
SHAPES = Shapes(
    SAID_OF_ALL,
    {"google": ProviderTable({"rate": TEN, "site_rate": TWENTY}, {})},
)


def mail(mail_class: MailClass = MailClass.MARKETING, source: str = "") -> Delivery:
    waiting = waiting_delivery(source=source)
    waiting.message = replace(waiting.message, mail_class=mail_class)
    return waiting


def shaper(quotas: FakeQuotas, rand: float = 0.0) -> Shaper:
    return Shaper(SHAPES, quotas, lambda: NOW, lambda: rand)


async def test_a_source_with_all_permits() -> None:
    quotas = FakeQuotas()
    berth = await shaper(quotas).berth(mail(), POOL, "google")
    assert isinstance(berth, Berth)
    assert (berth.source.ehlo, berth.pool, berth.site) == ("m1.example", "marketing", "google")
    assert berth.shape is SHAPES.of("google", "marketing", "b.example")
    assert quotas.taken == [("rate/192.0.2.1/google", 1, "UTC"), ("rate/*/google", 1, "UTC")]
    assert not quotas.urgent
    other = await shaper(quotas, 0.9).berth(mail(), POOL, "google")
    assert isinstance(other, Berth)
    assert other.source.ehlo == "m2.example"
    assert repr(shaper(quotas)) == "<Shaper <Shapes of 1 providers, 0 domains> <Pacemaker 0 paces, 0 aside, 0 orders>>"


async def test_what_a_greylisting_host_has_seen_is_kept() -> None:
    berth = await shaper(FakeQuotas()).berth(mail(source="192.0.2.2"), POOL, "google")
    assert isinstance(berth, Berth)
    assert berth.source.address == "192.0.2.2"


async def test_over_a_rate_it_comes_again_and_what_the_others_gave_goes_back() -> None:
    quotas = FakeQuotas()
    quotas.waits = {"rate/*/google": 40}
    assert await shaper(quotas).berth(mail(), POOL, "google") == Pause(
        NOW + 40, "google: 20/second from all sources", "google", "marketing"
    )
    assert quotas.back == [("rate/192.0.2.1/google", 1)]


async def test_a_site_without_rates_asks_nobody_and_transactional_mail_does_not_wait_for_who_counts() -> None:
    quotas = FakeQuotas()
    assert isinstance(await shaper(quotas).berth(mail(), POOL, "small.example"), Berth)
    assert isinstance(await shaper(quotas).berth(mail(), POOL, "10.0.0.9:25", "10.0.0.9"), Berth)
    assert quotas.taken == []
    await shaper(quotas).berth(mail(MailClass.TRANSACTIONAL), POOL, "google")
    assert quotas.urgent


async def test_of_a_rate_that_transactional_mail_needs_too_a_part_is_left_to_it() -> None:
    quotas = FakeQuotas()
    one = Shaper(
        Shapes({**SAID_OF_ALL, "reserved": 2, "rate": TEN, "site_rate": TWENTY}), quotas, lambda: NOW, lambda: 0.0
    )
    await one.berth(mail(), POOL, "s.example")
    assert quotas.reserved == {"rate/192.0.2.1/s.example": 0, "rate/*/s.example": 4}, "it leaves from another source"
    one.urgent_sources = frozenset({"192.0.2.1"})
    await one.berth(mail(), POOL, "s.example")
    assert quotas.reserved["rate/192.0.2.1/s.example"] == 2


async def test_once_more_takes_of_each_rate_once_more() -> None:
    quotas = FakeQuotas()
    berth = await shaper(quotas).berth(mail(), POOL, "google")
    assert isinstance(berth, Berth)
    berth.depart()
    quotas.taken.clear()
    assert await berth.again() is None
    assert [name for name, *_ in quotas.taken] == ["rate/192.0.2.1/google", "rate/*/google"]
    berth.depart()
    berth.leave()
    assert quotas.departed == ["rate/192.0.2.1/google", "rate/*/google"] * 2
    quotas.waits = {"rate/*/google": 40}
    assert await berth.again() == Later(40, "google: 20/second from all sources")
    berth.leave()
    assert quotas.back == [("rate/192.0.2.1/google", 1)], "all or none"


async def test_sources_that_were_tried_are_left_out() -> None:
    one = shaper(FakeQuotas())
    found = await one.berth(mail(source="192.0.2.1"), POOL, "small.example", but={"192.0.2.1"})
    assert isinstance(found, Berth)
    assert found.source.address == "192.0.2.2"
    assert await one.berth(mail(), POOL, "small.example", but={"192.0.2.1", "192.0.2.2"}) is None


# -- sources that stand aside

FIRST, SECOND = POOL.sources
DEAD = Outcome(Reply(451, "4.4.0", "cannot send"), "CONNECT", Scope.SOURCE, internal=True)
BLOCK = Outcome(Reply(554, "5.7.1", "blocked"), "CONNECT", Scope.SITE)
TAKEN = Outcome(Reply(250, "2.0.0", "taken"), "END")


async def berthed(one: Shaper, site: str = "small.example", families: frozenset[int] | None = None) -> Berth[Source]:
    berth = await one.berth(mail(), POOL, site, families=families)
    assert isinstance(berth, Berth), berth
    return berth


async def test_a_dead_source_leaves_all_mail_to_its_sibling() -> None:
    one = shaper(FakeQuotas())
    with capture_logs() as logs:
        one.observe(await berthed(one), DEAD)
    assert [(line["source"], line["site"], line["away"]) for line in logs] == [("192.0.2.1", "all", "5 s")]
    assert (await berthed(one)).source is SECOND
    assert (await berthed(one, "google")).source is SECOND


async def test_a_blocked_source_leaves_that_site_to_its_sibling_and_the_last_makes_it_wait() -> None:
    one = shaper(FakeQuotas())
    one.observe(await berthed(one), BLOCK, "reputation-block")
    berth = await berthed(one)
    assert berth.source is SECOND
    assert (await berthed(one, "google")).source is FIRST
    one.observe(berth, BLOCK, "reputation-block")
    assert await one.berth(mail(), POOL, "small.example") == Pause(
        NOW + BLOCK_PAUSE[0], "192.0.2.1 stands aside", "small.example", "marketing"
    )


async def test_what_the_capture_server_says_puts_no_source_aside() -> None:
    one = shaper(FakeQuotas())
    for _ in range(5):
        assert one.observe(await berthed(one), replace(BLOCK, captured=True), "reputation-block") is None
    assert (await berthed(one)).source is FIRST


async def test_a_source_that_returns_tries_once_and_is_back() -> None:
    now = NOW
    one = Shaper(SHAPES, FakeQuotas(), lambda: now, lambda: 0.0)
    one.observe(await berthed(one), DEAD)
    now += FAULT_PAUSE[0]
    trial = await berthed(one)
    assert trial.source is FIRST
    assert (await berthed(one)).source is SECOND, "until it is known how that went"
    one.observe(trial, TAKEN)
    assert (await berthed(one)).source is FIRST
    assert one.health.calm


async def test_over_a_rate_no_source_has_tried() -> None:
    now, quotas = NOW, FakeQuotas()
    one = Shaper(SHAPES, quotas, lambda: now, lambda: 0.0)
    one.observe(await berthed(one, "google"), DEAD)
    now += FAULT_PAUSE[0]
    quotas.waits = {"rate/*/google": 40}
    assert isinstance(await one.berth(mail(), POOL, "google"), Pause)
    quotas.waits = {}
    assert (await berthed(one, "google")).source is FIRST


async def test_the_family_of_the_hosts_decides() -> None:
    six = Source("2001:db8::1", "m6.example")
    pool, one = Pool("mixed", (FIRST, six)), shaper(FakeQuotas())

    async def chosen(families: frozenset[int] | None) -> Source:
        berth = await one.berth(mail(), pool, "small.example", families=families)
        assert isinstance(berth, Berth)
        source: Source = berth.source
        return source

    assert await chosen(frozenset({6})) is six
    assert await chosen(frozenset({4})) is FIRST
    assert await chosen(None) is FIRST
    assert (await berthed(one, families=frozenset({6}))).source is FIRST, "none reaches it: the attempt says why"


# -- under paces, budgets, orders and suspensions

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
        found = await self.shaper.berth(mail, self.pool, "google", host)
        assert found is not None
        return found

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
    assert [await dock.ask() for _ in range(30)] == [pause(NOON + 500, "google: 40/second from 192.0.2.1")] * 30


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rate/192.0.2.1/google", "google: 5/day (policies/shaping.toml:20) from 192.0.2.1"),
        ("rate//google", "google: 5/day (policies/shaping.toml:20)"),
        ("rate/*/google#marketing", "google: 5/day (policies/shaping.toml:20) from all sources, pool marketing"),
        ("rate/2001:db8::1/google#*", "google: 5/day (policies/shaping.toml:20) from 2001:db8::1"),
        ("rate/*/@bank.example", "bank.example: 5/day (policies/shaping.toml:20) from all sources"),
        (
            "order/192.0.2.1/google/news",
            "google: an operator's order, 5/day (policies/shaping.toml:20) from 192.0.2.1, pool news",
        ),
    ],
)
def test_a_refusal_names_the_limit_and_where_it_stands(name: str, said: str) -> None:
    assert Refusal(40, name, Rate(5, 90_000, "day", "5/day", "policies/shaping.toml:20")).why == said


async def test_what_found_no_connection_counts_in_no_pace_either() -> None:
    dock = Dock()
    for _ in range(30):
        berth = await dock.ask()
        assert isinstance(berth, Berth)
        dock.shaper.unused(berth)


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
    assert await dock.ask() == pause(NOON + 700, "google: an operator's order, 1/second from 192.0.2.1")
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
    assert await dock.ask() == pause(NOON + 3_600_000, f"google: warm-up, 250/day from {NEW}")
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


async def test_those_who_do_not_read_go_by_a_new_source_only_when_it_is_known() -> None:
    dock = Dock(new(), ONE)
    dock.maker.warmup = WarmUp((250,) * 30)
    cold, engaged = (replace(MAIL, tier=tier) for tier in ("cold", "engaged"))
    assert [await dock.source(mail) for mail in (MAIL, engaged, cold)] == [NEW, NEW, ONE.address]
    dock.pool = Pool("marketing", (new(),))
    assert await dock.source(cold) == NEW, "there is no other"
    dock.pool = Pool("marketing", (new(), ONE))
    dock.clock.now += 86_400_000 * ENGAGED_ONLY
    assert await dock.source(cold) == NEW


async def test_while_the_others_are_busy_those_who_do_not_read_wait() -> None:
    dock = Dock(new(), ONE)
    dock.maker.warmup = WarmUp((250,) * 30)
    dock.quotas.waits = {f"rate/{ONE.address}/google": 2 * LOOK_AGAIN}
    found = await dock.ask(replace(MAIL, tier="lapsing"))
    assert found == pause(NOON + LOOK_AGAIN, f"{NEW} is new: those who read come first")
