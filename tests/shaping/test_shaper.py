"""A berth: a source and all permits, or when to come again."""

from dataclasses import replace

from structlog.testing import capture_logs

from relay.egress.pools import Pool, Source
from relay.identity import Rate
from relay.message import Delivery, MailClass
from relay.outcome import Outcome, Reply, Scope
from relay.pause import Pause
from relay.shaping.health import BLOCK_PAUSE, FAULT_PAUSE
from relay.shaping.shape import ProviderTable, Shapes
from relay.shaping.shaper import Berth, Shaper
from tests.support.house import NOW, FakeQuotas, waiting_delivery

POOL = Pool("marketing", (Source("192.0.2.1", "m1.example"), Source("192.0.2.2", "m2.example", 3)))
TEN, TWENTY = Rate(10, 1, "", "10/second"), Rate(20, 1, "", "20/second")
SHAPES = Shapes(
    {"connections": 10, "messages_per_connection": 100},
    {"google": ProviderTable({"rate": TEN, "site_rate": TWENTY}, {})},
)


def mail(mail_class: MailClass = MailClass.MARKETING, source: str = "") -> Delivery:
    delivery = waiting_delivery(source=source)
    delivery.message = replace(delivery.message, mail_class=mail_class)
    return delivery


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
        NOW + 40, "*/google: 20/second", "google", "marketing"
    )
    assert quotas.back == [("rate/192.0.2.1/google", 1)]


async def test_a_site_without_rates_asks_nobody_and_transactional_mail_does_not_wait_for_who_counts() -> None:
    quotas = FakeQuotas()
    assert isinstance(await shaper(quotas).berth(mail(), POOL, "small.example"), Berth)
    assert isinstance(await shaper(quotas).berth(mail(), POOL, "10.0.0.9:25", "10.0.0.9"), Berth)
    assert quotas.taken == []
    await shaper(quotas).berth(mail(MailClass.TRANSACTIONAL), POOL, "google")
    assert quotas.urgent


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
