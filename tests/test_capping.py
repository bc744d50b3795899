"""Places between the stories and State: taken, confirmed once the mail is safe, settled by its end."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from relay import capping as module
from relay.capping import CONFIRM_AFTER, HELD, UNSAFE, Capping
from relay.effects import Effect
from relay.event import iso
from relay.identity import Rate
from relay.message import MailClass
from relay.policy.caps import Cap, Caps
from relay.recipient import Keys
from relay.room import Settled, mark_of
from relay.state.interface import StateError
from relay.state.places import FIRM, HOLDS, Place
from tests.support.house import NOW, FakePlaces, waiting_delivery

MARKETING = frozenset({MailClass.MARKETING})
TWO = Cap("two", frozenset({"a"}), MARKETING, MARKETING, (Rate(2, 86_400, "", "2/24h"),), "postpone")
MARK = mark_of("a", "marketing")
KEYS = Keys([b"s" * 32])
DANA = KEYS.key("dana@b.example")
MESSAGE = replace(waiting_delivery().message, mail_class=MailClass.MARKETING, priority=3)
TOKEN = f"{MESSAGE.id}/0"


class Desk:
    def __init__(self) -> None:
        self.now = NOW
        self.places = FakePlaces(lambda: self.now)
        self.capping = Capping(cast(Any, self.places), Caps([TWO], {"a": "UTC"}), KEYS, lambda: self.now)
        terms = self.capping.terms(MESSAGE)
        assert terms is not None
        self.terms = terms

    async def ask(self, *, firm: bool) -> Place:
        asks = self.capping.asks(MESSAGE, [(0, "dana@b.example")], self.terms, firm=firm)
        (room,) = await self.places.reserve(asks)
        assert room == ()
        return self.places.people[DANA].places[TOKEN]


async def test_a_place_is_held_shortly_until_its_mail_is_safe_and_firm_before_it_goes() -> None:
    desk = Desk()
    assert await desk.ask(firm=False) == Place(HOLDS, MARK, NOW, NOW + UNSAFE, 3, MESSAGE.accepted_at)
    assert await desk.ask(firm=True) == Place(FIRM, MARK, NOW, NOW + HELD, 3, MESSAGE.accepted_at)


async def test_what_waits_is_confirmed_and_what_went_at_once_is_not() -> None:
    desk = Desk()
    await desk.ask(firm=False)
    delivery, other = waiting_delivery(counted=True), waiting_delivery(counted=True)
    delivery.message, other.index = MESSAGE, 1
    desk.capping.saved([delivery, other, waiting_delivery()])
    assert "2 to confirm" in repr(desk.capping)
    await desk.ask(firm=True)
    desk.now += CONFIRM_AFTER - 1
    await desk.capping.look()
    assert desk.places.confirmed == []
    desk.now += 1
    await desk.capping.look()
    await desk.capping.look()
    assert desk.places.confirmed == [(DANA, f"{MESSAGE.id}/1")]


async def test_what_could_not_be_confirmed_is_confirmed_later() -> None:
    desk = Desk()
    desk.capping.saved([waiting_delivery(counted=True)])
    desk.now += CONFIRM_AFTER
    desk.places.down = True
    with pytest.raises(StateError):
        await desk.capping.look()
    desk.places.down = False
    await desk.capping.look()
    assert desk.places.confirmed == [(DANA, TOKEN)]


async def test_the_end_of_mail_settles_its_place() -> None:
    desk = Desk()
    await desk.ask(firm=True)
    ends = [
        Effect(TOKEN, "Dana@B.example", "a", MailClass.MARKETING, NOW + 2_500, True),
        Effect("x/0", "noa@b.example", "a", MailClass.MARKETING, NOW, False),
    ]
    await desk.capping.settle(ends)
    found = await desk.capping.standing("dana@b.example")
    assert (found.sends, found.under_way) == (((NOW // 1000 + 2, MARK),), ())
    desk.places.down = True
    await desk.capping.settle(ends[1:])
    with pytest.raises(StateError):
        await desk.capping.settle(ends)


async def test_how_much_of_each_limit_one_has_used_and_by_whose_mail() -> None:
    desk = Desk()
    service = replace(TWO, name="all", brands=frozenset({"a", "b"}), limits=(Rate(3, 90_000, "day", "3/day"),))
    desk.capping.caps = Caps([TWO, service], {"a": "UTC", "b": "Asia/Tokyo"})
    await desk.ask(firm=True)
    sends = [
        (NOW // 1000 - 86_401, MARK),
        (NOW // 1000 - 5, mark_of("b", "marketing")),
        (NOW // 1000 - 9, mark_of("b", "service")),
    ]
    desk.places.people[DANA].sends = sends
    assert await desk.capping.sends("dana@b.example") == [
        {"at": iso(NOW // 1000 * 1000 - 86_401_000), "of": "a marketing"},
        {"at": iso(NOW // 1000 * 1000 - 5_000), "of": "b marketing"},
        {"at": iso(NOW // 1000 * 1000 - 9_000), "of": "b service"},
    ]
    assert await desk.capping.used("dana@b.example") == [
        {"cap": "two", "limit": "2/24h", "used": 0, "under_way": 1, "by": {}},
        {"cap": "all", "limit": "3/day", "used": 1, "under_way": 1, "by": {"b marketing": 1}},
    ]


async def test_places_that_are_not_needed_are_given_back_where_state_can_hear_it() -> None:
    desk = Desk()
    await desk.ask(firm=False)
    desk.places.down = True
    await desk.capping.give_back(MESSAGE, [(0, "dana@b.example")])
    assert TOKEN in desk.places.people[DANA].places
    desk.places.down = False
    await desk.capping.give_back(MESSAGE, [(0, "dana@b.example")])
    assert desk.places.people[DANA].places == {}
    await desk.places.settle([Settled(DANA, TOKEN, NOW)], 1)
    assert desk.places.people[DANA].sends == []


async def test_it_looks_again_and_again_page_by_page_also_after_state_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.001)
    desk = Desk()
    desk.places.down = True
    running = asyncio.create_task(desk.capping.run())
    await asyncio.sleep(0.01)
    desk.places.down = False
    async with asyncio.timeout(10):
        while len(desk.places.swept) < 3:  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.001)
    running.cancel()
    assert desk.places.swept[:3] == [b"", b".", b".."]
