"""What State knows of the recipients, and what follows where it cannot tell."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from relay import consent
from relay.consent import LOOK_AGAIN, Known, at_accept, at_attempt
from relay.engaging import Engaging
from relay.message import MailClass
from relay.pause import Pause
from relay.person import NOBODY, Engaged
from relay.policy.engagement import COLD, DAY, Sunset, Tiers
from relay.policy.relevance import Withheld
from relay.recipient import Keys
from relay.state.interface import StateError
from tests.support.house import NOW, FakePeople, waiting_delivery


class House:
    def __init__(self, known: Known) -> None:
        self.known = known
        nobody: Any = None
        self.engaging = Engaging(nobody, known.keys, Tiers(sunset=Sunset(2, 30)), ["a"], lambda: NOW)


async def test_each_recipient_has_an_answer_of_his_own() -> None:
    people, message = FakePeople(), waiting_delivery().message
    people.block("dana@b.example")
    found = await at_accept(message, ["x@b.example", "Dana@B.example"], [None, None], None, NOW, House(people))
    assert found[0] is None
    assert isinstance(found[1], Withheld)


async def test_what_is_withheld_already_is_not_asked_about_where_that_is_all() -> None:
    people, message = FakePeople(), waiting_delivery().message
    people.block("dana@b.example")
    twice = Withheld("duplicate", "", other="x")
    found = await at_accept(message, ["x@b.example", "dana@b.example"], [twice, None], None, NOW, House(people))
    assert [one.reason for one in found if one is not None] == ["duplicate", "suppressed"]
    people.down = True
    assert await at_accept(message, ["x@b.example", "y@b.example"], [twice, None], None, NOW, House(people)) == [
        twice,
        None,
    ]
    assert await at_accept(message, ["dana@b.example"], [twice], None, NOW, House(people)) == [twice]


async def test_without_state_all_is_taken_transactional_mail_goes_and_the_rest_waits() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    people.block("dana@b.example")
    people.down = True
    assert await at_accept(delivery.message, ["dana@b.example"] * 2, [None, None], None, NOW, House(people)) == [
        None,
        None,
    ]
    assert await at_attempt(delivery, None, NOW, House(people)) is None
    for mail_class in (MailClass.SERVICE, MailClass.MARKETING):
        delivery.message = replace(delivery.message, mail_class=mail_class)
        found = await at_attempt(delivery, None, NOW, House(people))
        assert isinstance(found, Pause)
        assert found.until == NOW + LOOK_AGAIN
    delivery.message = replace(delivery.message, contradiction="rerouted")
    assert await at_attempt(delivery, None, NOW, House(people)) is None


async def test_an_attempt_hears_what_was_said_since() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    assert await at_attempt(delivery, None, NOW, House(people)) is None
    people.block("dana@b.example", reason="dead-mailbox")
    found = await at_attempt(delivery, None, NOW, House(people))
    assert isinstance(found, Withheld)
    assert found.status == "5.1.1"


async def test_other_secrets_know_other_people() -> None:
    people = FakePeople()
    people.block("dana@b.example")
    (dana,) = await people.of(["dana@b.example"])
    assert dana.blocks[0].stop == "all"
    people.keys = Keys([b"x" * 32])
    (stranger,) = await people.of(["dana@b.example"])
    assert stranger.blocks == ()


class Slow:
    """A State that answers when it is told to; `asked` counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()

    async def told(self, keys: Sequence[bytes]) -> list[dict[str, str]]:
        self.asked += 1
        await self.answers.wait()
        return [{} for _ in keys]


async def test_nobody_waits_long_for_state_and_for_a_while_only_one_looks_whether_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state: Any = Slow()
    known = Known(state, Keys([b"s" * 32]))
    monkeypatch.setattr(consent, "PATIENCE", 0.02)
    with pytest.raises(StateError):
        await known.of(["dana@b.example"])
    for _ in range(3):
        with pytest.raises(StateError, match="lately"):
            await known.of(["dana@b.example"])
    assert state.asked == 1
    assert "which is down" in repr(known)
    monkeypatch.setattr(consent, "STATE_DOWN", 0.0)
    with pytest.raises(StateError, match="lately"):
        await known.of(["dana@b.example"])
    known._down_until = asyncio.get_running_loop().time()
    state.answers.set()
    assert await known.of(["dana@b.example"]) == [NOBODY]
    assert await known.of(["dana@b.example"]) == [NOBODY]
    assert state.asked == 3
    assert "down" not in repr(known)


async def test_the_tier_is_looked_up_with_the_rest_and_marketing_may_have_ended() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    delivery.message = replace(delivery.message, mail_class=MailClass.MARKETING)
    people.engaged("dana@b.example", "a", Engaged(NOW // DAY - 200, 0, 1, NOW))
    house = House(people)
    assert await at_attempt(delivery, None, NOW, house) is None
    assert delivery.tier == "", "nobody tells"
    house.engaging.table = replace(house.engaging.table, fed={"a": NOW // DAY})
    assert await at_attempt(delivery, None, NOW, house) is None
    assert (delivery.tier, delivery.engaged) == (COLD, False)
    people.engaged("dana@b.example", "a", Engaged(NOW // DAY - 200, 0, 2, NOW))
    ended = Withheld("sunset", "last engaged 200 days ago, 2 unanswered since")
    assert await at_attempt(delivery, None, NOW, house) == ended
    found = await at_accept(delivery.message, ["x@b.example", "dana@b.example"], [None, None], None, NOW, house)
    assert found == [None, ended]
