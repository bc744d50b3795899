"""A berth: a source and all permits, or when to come again."""

from dataclasses import replace

from relay.egress.pools import Pool, Source
from relay.identity import Rate
from relay.message import Delivery, MailClass
from relay.pause import Pause
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
