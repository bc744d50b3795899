"""What a worker learns of engagement: which brands are fed, and what stays unanswered."""

import pytest

from relay.effects import Effect
from relay.engaging import BOARD, Engaging
from relay.message import MailClass
from relay.person import Engaged, person_of
from relay.policy.engagement import DAY, Tiers
from relay.recipient import Keys
from relay.state.interface import StateError
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock

KEYS = Keys([b"s" * 32])


def mail(
    recipient: str = "dana@b.example",
    brand: str = "a",
    mail_class: MailClass = MailClass.MARKETING,
    arrived: int = 0,
) -> Effect:
    return Effect("0/0", recipient, brand, mail_class, arrived, False)


@pytest.fixture
def engaging(state: SqliteState, clock: Clock) -> Engaging:
    return Engaging(state, KEYS, Tiers(), clock)


async def engaged(state: SqliteState, brand: str = "a", address: str = "dana@b.example") -> Engaged | None:
    return person_of((await state.told([KEYS.key(address)]))[0]).engaged.get(brand)


async def test_all_workers_learn_that_a_brand_is_fed(engaging: Engaging, state: SqliteState, clock: Clock) -> None:
    other = Engaging(state, KEYS, Tiers(), clock)
    await engaging.feed({"a"})
    assert engaging.table.fed == {"a": clock.now // DAY}
    assert other.table.fed == {}
    await other.look()
    assert other.table.fed == {"a": clock.now // DAY}
    assert "fed={'a': " in repr(other)
    clock.now += 3 * DAY
    await engaging.feed({"a", "b"})
    await other.look()
    assert other.table.fed == {"a": clock.now // DAY, "b": clock.now // DAY}


async def test_once_a_day_it_is_said_and_never_taken_back(engaging: Engaging, state: SqliteState, clock: Clock) -> None:
    await engaging.feed({"a"})
    await state.unpin(BOARD, "a")
    await engaging.feed({"a"})
    assert await state.pinned(BOARD) == {}, "it was not said again"
    later = engaging.table.fed["a"]
    clock.now -= 2 * DAY
    await engaging.feed({"a"})
    assert engaging.table.fed["a"] == later


async def test_what_was_known_stays_where_nothing_can_be_read(engaging: Engaging, state: SqliteState) -> None:
    await engaging.feed({"a"})
    before = engaging.table
    await state.pin(BOARD, "b", "soon")
    await engaging.look()
    assert engaging.table == before
    await state.close()
    await engaging.look()
    assert engaging.table == before
    with pytest.raises(StateError):
        await engaging.feed({"b"})
    await state.open()


async def test_delivered_marketing_is_unanswered_until_somebody_engages(
    engaging: Engaging, state: SqliteState, clock: Clock
) -> None:
    today = clock.now // DAY
    await engaging.feed({"a"})
    key = KEYS.key("dana@b.example")
    await state.tell(key, {"e:a": Engaged(today - 40).dump(), "e:b": Engaged(today - 40).dump()})
    await engaging.count([mail(arrived=clock.now), mail("Dana@B.example", arrived=clock.now + 1)])
    assert await engaged(state) == Engaged(today - 40, 0, 2, clock.now + 1)
    later = clock.now + 5
    others = [
        mail(arrived=0),
        mail(mail_class=MailClass.SERVICE, arrived=later),
        mail(brand="b", arrived=later),
        mail("stranger@b.example", arrived=later),
    ]
    await engaging.count(others)
    assert (await engaged(state)) == Engaged(today - 40, 0, 2, clock.now + 1)
    assert (await engaged(state, "b")) == Engaged(today - 40), "nobody feeds b"
    assert await state.told([KEYS.key("stranger@b.example")]) == [{}], "of whom nothing is known nothing is kept"
    await state.tell(key, {"e:a": Engaged(today).dump()})
    assert await engaged(state) == Engaged(today)
    await engaging.count([mail(arrived=clock.now + 10)])
    assert await engaged(state) == Engaged(today), "the mail of that day may be what moved him"
    await engaging.count([mail(arrived=clock.now + DAY)])
    assert (await engaged(state)) == Engaged(today, 0, 1, clock.now + DAY)


async def test_told_twice_it_counts_once(engaging: Engaging, state: SqliteState, clock: Clock) -> None:
    await engaging.feed({"a"})
    await state.tell(KEYS.key("dana@b.example"), {"e:a": Engaged(None, clock.now // DAY - 9).dump()})
    mails = [mail(arrived=clock.now + 2), mail(arrived=clock.now + 1)]
    for _ in range(2):
        await engaging.count(mails)
    found = await engaged(state)
    assert found is not None
    assert (found.unanswered, found.latest) == (2, clock.now + 2)


async def test_while_nobody_feeds_the_brand_nothing_is_counted(
    engaging: Engaging, state: SqliteState, clock: Clock
) -> None:
    await engaging.feed({"a"})
    await state.tell(KEYS.key("dana@b.example"), {"e:a": Engaged(100).dump()})
    clock.now += 36 * DAY
    await engaging.count([mail(arrived=clock.now)])
    assert await engaged(state) == Engaged(100)
    engaging.apply(Tiers(fed_within=40))
    await engaging.count([mail(arrived=clock.now)])
    assert await engaged(state) == Engaged(100, 0, 1, clock.now)
