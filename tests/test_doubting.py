"""Sites in a bad hour, end to end over State: sheets of shards, one judge, notes, suppressions."""

from relay.doubting import SITES
from relay.policy.badhour import CONFIRMED, DROPPED
from relay.policy.health import DAY
from relay.policy.tallies import HOUR, QUARTER
from relay.tally import Kind
from tests.test_caring import Worker, one, workers

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
    await one.bounce_again(unknown[1], "google")
    assert await one.stops(unknown[1]) == ["all"]
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
    events = [told for told in one.events("unsuppressed") if told["was"] == "dead-mailbox"]
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
