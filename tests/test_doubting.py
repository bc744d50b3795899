"""Sites in a bad hour, end to end over State: sheets of shards, one judge, notes, suppressions."""

from relay.doubting import SITES
from relay.effects import Effect
from relay.egress.mx import Found
from relay.message import MailClass
from relay.policy.badhour import CONFIRMED, DROPPED
from relay.policy.health import DAY
from relay.policy.tallies import HOUR, QUARTER
from relay.tally import DNS, Kind
from tests.test_caring import Worker, denied, one, workers

__all__ = ["one", "workers"]  # fixtures


async def test_after_an_hour_in_which_everybody_was_unknown_nobody_is_suppressed(
    workers: tuple[Worker, Worker],
) -> None:
    """Google's December of 2020: first a usual day, then an hour, of which both workers hear a part."""
    one, other = workers
    clock = one.clock
    for _ in range(24):
        await one.hear(Kind.DELIVERED, 20, site="google")
        await one.hear(Kind.DELIVERED, 20, site="google", stream="order")
        clock.now += HOUR
    (gone,) = await one.hear(Kind.HARD, 1, site="google")
    await one.look()
    assert await one.suppressed() == 1
    clock.now += 2 * HOUR
    unknown: list[str] = []
    for minute in range(60):
        for worker in workers:
            unknown += await worker.hear(Kind.HARD, 2, site="google", stream="news" if minute % 2 else "order")
            await worker.look()
        clock.now += 58_000
    assert len(unknown) == 240
    await one.look(40)
    assert {tuple(await one.stops(address)) for address in unknown} == {("pending:all",)}
    assert await one.stops(gone) == ["all"], "what was said before is believed"
    firing = [told for worker in workers for told in worker.events("alert") if told["name"] == "bad-hour"]
    assert [(told["state"], told["what"]) for told in firing] == [("firing", {"site": "google"})]
    for worker in workers:
        (summary,) = [text for text in worker.alerts if text.startswith("google")]
        assert "nobody is suppressed on its word" in summary
    assert not one.events("suspended") + other.events("suspended"), "nor is a stream stopped for it"

    clock.now += 2 * QUARTER
    await one.hear(Kind.DELIVERED, 30, site="google")
    await one.look()
    assert [bad["until"] is None for bad in (await one.caring.answer({"what": "show"}))["sites"]] == [False]
    await one.arrives(unknown[0])
    assert await one.stops(unknown[0]) == [], "mail arrived there"
    await one.bounce_again(unknown[1], "google")
    assert await one.stops(unknown[1]) == ["pending:all"], "the same day's word is no second one"
    clock.now += DAY
    await one.bounce_again(unknown[1], "google", "bad-domain")
    assert await one.stops(unknown[1]) == ["all"], "whether it says so of the mailbox or of its domain"
    await one.look()
    assert one.alerts, "it is told of until a person has looked"

    where = {"site": "google", "pending": True}
    assert (await one.people.answer({"what": "clear", "where": where}))["removed"] == 238
    assert await one.caring.answer({"what": "settle", "site": "google", "word": DROPPED}) == {}
    await other.look()
    assert [worker.alerts for worker in workers] == [[], []]
    assert one.events("alert")[-1]["state"] == "resolved"
    assert await one.suppressed() == 2
    clock.now += 9 * DAY
    await one.look(2)
    assert await one.state.pinned(SITES) == {}


async def test_whoever_confirms_is_believed(one: Worker) -> None:
    unknown = await one.hear(Kind.HARD, 20, site="b")
    assert await one.suppressed() == 20, "before anybody could notice"
    await one.look()
    assert await one.suppressed() == 0
    events = [told for told in one.events("unsuppressed") if told["was"] == "bad-mailbox"]
    assert len(events) == 20
    assert (one.caring.doubting.doubts("b"), one.caring.doubting.doubts("c")) == (True, False)
    more = await one.hear(Kind.HARD, 1, site="b")
    assert await one.stops(more[0]) == ["pending:all"]
    await one.bounce_again(more[0], "b")
    assert await one.stops(more[0]) == ["pending:all"]
    assert (await one.people.answer({"what": "confirm", "where": {"site": "b"}}))["changed"] == 21
    assert await one.caring.answer({"what": "settle", "site": "", "word": CONFIRMED}) == {}
    assert await one.suppressed() == 21
    assert await one.stops(unknown[0]) == ["all"]
    assert not one.caring.doubting.doubts("b")
    await one.hear(Kind.HARD, 20, site="b")
    await one.look(5)
    assert await one.suppressed() == 41


async def test_a_dead_domain_of_an_old_list_counts_against_its_stream(one: Worker) -> None:
    await one.hear(Kind.DELIVERED, 180)
    await one.hear(Kind.HARD, 20, site="dead")
    await one.look()
    assert [told["reason"] for told in one.events("suspended")] == ["hard bounces 10 % of 200 in 24h, limit 5 %"]
    assert [told["severity"] for told in one.events("alert") if told["name"] == "bad-hour"] == ["warning"]
    assert await one.suppressed() == 0, "and yet it may be a bad hour: a second word settles it"


async def test_a_drop_while_it_goes_on_leaves_it_doubted(one: Worker) -> None:
    await one.hear(Kind.HARD, 20, site="b")
    await one.look()
    assert await one.caring.answer({"what": "settle", "site": "b", "word": DROPPED}) == {}
    await one.hear(Kind.HARD, 5, site="b")
    await one.look()
    assert await one.suppressed() == 0
    assert len(one.alerts) == 1


async def deny(worker: Worker, domain: str, *, stream: str = "news") -> str:
    """A mail to somebody there ends since DNS says that there is no such domain."""
    (address,) = await worker.hear(Kind.HARD, 1, site=DNS, there=domain, stream=stream)
    return address


async def test_after_an_hour_in_which_dns_denied_everybody_nobody_is_suppressed(workers: tuple[Worker, Worker]) -> None:
    """Its cache keeps large domains a while, so at first it only denies the small ones; one worker's DNS alone lies."""
    one, other = workers
    clock = one.clock
    for worker in workers:
        worker.delivered = {"gmail.example": 90, "yahoo.example": 9, "shop.example": 3, "gone.test": 1}
    await one.hear(Kind.DELIVERED, 600)
    one.dns["typo.example"] = other.dns["nobody.example"] = Found.NO_NAME
    typo, nobody = await deny(one, "typo.example"), await deny(other, "nobody.example")
    assert await one.stops(typo) == await one.stops(nobody) == ["all"], "at once, where DNS can be trusted with it"
    await one.look(3)
    assert one.alerts == []

    clock.now += 2 * HOUR
    before = await deny(one, "typo.example")
    one.dns |= dict.fromkeys((f"d{number}.example" for number in range(60)), Found.NO_NAME)
    one.dns["shop.example"] = Found.NO_NAME
    early = [await deny(one, f"d{number}.example") for number in range(20)]
    assert {tuple(await one.stops(address)) for address in early} == {("all",)}, "most witnesses are known still"
    await one.look(3)
    one.dns |= dict.fromkeys(one.delivered, Found.NO_NAME)
    late = [await deny(one, f"d{number}.example") for number in range(20, 60)]
    assert {tuple(await one.stops(address)) for address in late} == {("pending:all",)}, "from the first one on"
    await one.look(40)
    assert {tuple(await one.stops(address)) for address in [*early, before]} == {("pending:all",)}, "of the hour before"
    assert await one.stops(typo) == ["all"], "what was said earlier is believed"
    assert {tuple(await one.stops(await deny(other, f"e{number}.example"))) for number in range(3)} == {
        ("pending:all",)
    }
    other.dns["f.example"] = Found.NO_NAME
    assert await other.stops(await deny(other, "f.example")) == ["pending:all"], (
        "whose DNS is right waits with the others"
    )
    firing = [told for worker in workers for told in worker.events("alert")]
    assert [(told["name"], told["state"], told["what"]) for told in firing] == [("bad-hour", "firing", {"site": "dns"})]
    assert one.alerts[0].startswith("DNS denied 3 of 3 domains that took mail lately: nobody is suppressed on its word")
    assert not one.events("suspended"), "64 of 664 bounced hard"

    one.dns.clear()
    await one.denials.look()
    await one.look(2)
    assert [bad["until"] is None for bad in (await one.caring.answer({"what": "show"}))["sites"]] == [False]
    clock.now += DAY
    one.dns["d30.example"] = Found.NO_NAME
    await one.learning.learn([effect(late[10])])
    await one.learning.learn([effect(late[11])])
    assert await one.stops(late[10]) == ["all"], "a second word on another day"
    assert await one.stops(late[11]) == ["pending:all"], "DNS has taken it back"
    assert await one.caring.answer({"what": "settle", "site": DNS, "word": DROPPED}) == {}
    assert one.events("alert")[-1]["summary"] == "what dns said of missing domains is dropped"


async def test_a_worker_that_died_leaves_no_doubt_behind(workers: tuple[Worker, Worker]) -> None:
    one, other = workers
    one.delivered = {"gmail.example": 2}
    one.dns = {"gmail.example": Found.NO_NAME, "d.example": Found.NO_NAME}
    await deny(one, "d.example")
    await other.look()
    assert [bad.doubted for bad in other.caring.doubting.sites.values()] == [True]
    await other.look(60)
    assert [bad.doubted for bad in other.caring.doubting.sites.values()] == [True]
    await one.denials.look()
    await other.look(100)
    assert [bad.doubted for bad in other.caring.doubting.sites.values()] == [True], "it has said so again"
    await other.look(30)
    assert [bad.doubted for bad in other.caring.doubting.sites.values()] == [False]
    await one.state.pin("health/dns", "newer", "?")
    await other.look()
    assert other.caring._looks == 192


def effect(address: str) -> Effect:
    return Effect("again/0", address, "arava", MailClass.MARKETING, 0, False, denied(address, DNS))
