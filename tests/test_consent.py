"""What State knows of the recipients, and what follows where it cannot tell."""

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from relay import consent
from relay.capping import Capping
from relay.consent import FRESH, LOOK_AGAIN, Accepted, Known, ask_early, at_accept, at_attempt
from relay.engaging import Engaging
from relay.identity import Rate
from relay.message import Delivery, MailClass, Message
from relay.pause import Pause
from relay.person import NOBODY, REFUSED, Engaged, Wish
from relay.policy.caps import Cap, Caps
from relay.policy.engagement import COLD, DAY, Sunset, Tiers
from relay.policy.relevance import Postponed, Withheld
from relay.recipient import Keys
from relay.room import mark_of
from relay.state.interface import StateError
from relay.state.places import Person
from tests.support.house import NOW, FakePeople, FakePlaces, waiting_delivery


class House:
    """What is known of people, and caps; `places`: what State has of them."""

    def __init__(self, known: Known, *caps: Cap) -> None:
        self.now = NOW
        self.known = known
        nobody: Any = None
        self.engaging = Engaging(nobody, known.keys, Tiers(sunset=Sunset(2, 30)), lambda: NOW)
        self.places = FakePlaces(lambda: self.now)
        if isinstance(known, FakePeople):
            known.places = self.places
        self.capping = Capping(cast(Any, self.places), Caps(caps, {"a": "UTC"}), known.keys, lambda: self.now)


async def test_each_recipient_has_an_answer_of_his_own() -> None:
    people, message = FakePeople(), waiting_delivery().message
    people.block("dana@b.example")
    found = (await at_accept(message, ["x@b.example", "Dana@B.example"], [None, None], None, NOW, House(people))).stands
    assert found[0] is None
    assert isinstance(found[1], Withheld)


async def test_what_is_withheld_already_is_not_asked_about_where_that_is_all() -> None:
    people, message = FakePeople(), waiting_delivery().message
    people.block("dana@b.example")
    twice = Withheld("duplicate", "", other="x")
    found = await at_accept(message, ["x@b.example", "dana@b.example"], [twice, None], None, NOW, House(people))
    assert [one.reason for one in found.stands if one is not None] == ["duplicate", "suppressed"]
    people.down = True
    found = await at_accept(message, ["x@b.example", "y@b.example"], [twice, None], None, NOW, House(people))
    assert found == Accepted([twice, None])
    assert await at_accept(message, ["dana@b.example"], [twice], None, NOW, House(people)) == Accepted([twice])


async def test_without_state_all_is_taken_transactional_mail_goes_and_the_rest_waits() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    people.block("dana@b.example")
    people.down = True
    nobody = await at_accept(delivery.message, ["dana@b.example"] * 2, [None, None], None, NOW, House(people))
    assert nobody == Accepted([None, None])
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
    people.block("dana@b.example", reason="bad-mailbox")
    found = await at_attempt(delivery, None, NOW, House(people))
    assert isinstance(found, Withheld)
    assert found.status == "5.1.1"


async def test_an_attempt_knows_which_refusals_its_arrival_would_end() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    people.facts[people.keys.key("dana@b.example")] = {f"{REFUSED} stream:order": "[]", "f:quota": "[]"}
    assert await at_attempt(delivery, None, NOW, House(people)) is None
    assert list(delivery.refusals) == [f"{REFUSED} stream:order"]
    people.facts.clear()
    assert await at_attempt(delivery, None, NOW, House(people)) is None
    assert list(delivery.refusals) == []


async def test_of_whom_nothing_is_known_nothing_is_asked_again_for_a_second() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    people.block("lea@b.example", stop="topic:news")
    both = ["dana@b.example", "lea@b.example"]
    found = await at_accept(delivery.message, both, [None, None], None, NOW, House(people))
    assert found == Accepted([None, None], nobody=[0])
    people.block("dana@b.example")
    delivery.free_at = NOW
    assert await at_attempt(delivery, None, NOW + FRESH - 1, House(people)) is None
    for now in (NOW + FRESH, NOW - 1):
        assert isinstance(await at_attempt(delivery, None, now, House(people)), Withheld)


async def test_a_place_is_asked_for_however_lately_nothing_was_known() -> None:
    house, delivery = House(FakePeople(), ONE), newsletter()
    delivery.free_at = NOW
    got(house, "dana@b.example", 5)
    assert isinstance(await at_attempt(delivery, None, NOW, house), Postponed)


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


MARKETING = frozenset({MailClass.MARKETING})
ONE = Cap("one", frozenset({"a"}), MARKETING, MARKETING, (Rate(1, 86_400, "", "1/24h"),), "postpone")
MARK = mark_of("a", "marketing")


def newsletter(index: int = 0, **changes: Any) -> Delivery:
    delivery = waiting_delivery(**changes)
    delivery.index = index
    delivery.message = replace(delivery.message, mail_class=MailClass.MARKETING, accepted_at=NOW)
    return delivery


def got(house: House, address: str = "dana@b.example", *ago: int) -> None:
    """A day's marketing, so many ms ago."""
    person = house.places.people.setdefault(house.known.keys.key(address), Person())
    person.sends += [((NOW - one) // 1000, MARK) for one in ago]


def held(house: House) -> list[int]:
    """The marks of what is under way to dana."""
    person = house.places.people.get(house.known.keys.key("dana@b.example"), Person())
    return [place.mark for place in person.places.values() if place.kind]


async def taken(message: Message, recipients: Sequence[str], house: House, *, later: bool = False) -> Accepted:
    return await at_accept(message, recipients, [None] * len(recipients), None, NOW, house, later=later)


async def test_recipients_take_places_at_accept_and_who_has_none_waits() -> None:
    house, message = House(FakePeople(), ONE), newsletter().message
    got(house, "full@b.example", DAY // 2)
    found = await taken(message, ["dana@b.example", "full@b.example"], house)
    assert found.placed
    assert not found.refused
    dana, full = found.stands
    assert dana is None
    assert isinstance(full, Postponed)
    assert full.reason == "capped"
    assert full.detail == "cap one: 1/24h, used up by a marketing 1"
    assert NOW + DAY // 2 < full.until <= NOW + DAY // 2 + 1_000
    assert held(house) == [MARK]


async def test_what_waits_for_something_else_takes_no_place_yet() -> None:
    house = House(FakePeople(), ONE)
    assert await taken(newsletter().message, ["dana@b.example"], house, later=True) == Accepted([None], nobody=[0])
    assert not house.places.people


async def test_who_does_not_want_it_leaves_the_place_to_others() -> None:
    people = FakePeople()
    house = House(people, ONE)
    people.block("dana@b.example", "marketing")
    found = await taken(newsletter().message, ["dana@b.example"], house)
    assert isinstance(found.stands[0], Withheld)
    assert held(house) == []


@pytest.mark.parametrize("blocked", [False, True])
async def test_a_cap_refuses_where_every_recipient_is_over_it(*, blocked: bool) -> None:
    people = FakePeople()
    house = House(people, replace(ONE, over="reject"))
    got(house, "dana@b.example", 5)
    got(house, "noa@b.example", 5)
    if blocked:
        people.block("noa@b.example", "marketing")
    found = await taken(newsletter().message, ["dana@b.example", "noa@b.example"], house)
    assert [type(stand) for stand in found.stands] == [Withheld, Withheld]
    assert found.refused is not blocked


async def test_an_attempt_makes_its_place_firm_or_waits() -> None:
    house, first, second = House(FakePeople(), ONE), newsletter(), newsletter(index=1)
    await taken(first.message, ["dana@b.example"], house)
    first.counted = True
    assert await at_attempt(first, None, NOW, house) is None
    assert (first.counted, first.freed) == (True, 0)
    house.now += 10_000
    found = await at_attempt(second, None, house.now, house)
    assert isinstance(found, Postponed)
    assert found.until == house.now + 5_000, "mail under way: half as long again as it waits"
    assert not second.counted
    person = house.places.people[house.known.keys.key("dana@b.example")]
    person.places.pop(f"{first.message.id}/0")
    assert await at_attempt(second, None, house.now, house) is None
    assert (second.counted, second.freed) == (True, house.now)


async def test_mail_in_retry_keeps_the_time_it_was_let_go() -> None:
    house = House(FakePeople(), ONE)
    delivery = newsletter(attempts=2, freed=NOW - 10)
    assert await at_attempt(delivery, None, NOW, house) is None
    assert delivery.freed == NOW - 10


async def test_a_persons_own_wish_is_a_tighter_cap() -> None:
    people = FakePeople()
    house = House(people, replace(ONE, limits=(Rate(9, 86_400, "", "9/24h"),)))
    people.wish("dana@b.example", "a", Wish(at_most="1/week"))
    got(house, "dana@b.example", 5)
    found = await at_attempt(newsletter(), None, NOW, house)
    assert isinstance(found, Postponed)
    assert (found.reason, held(house)) == ("preference", [])
    assert found.detail == "the recipient's own wish: at most 1/week, used up by a marketing 1"
    people.wish("dana@b.example", "a", Wish())
    assert await at_attempt(newsletter(), None, NOW, house) is None


async def test_a_wish_holds_without_any_cap() -> None:
    people = FakePeople()
    house = House(people)
    people.wish("dana@b.example", "a", Wish(at_most="1/day"))
    first, second = newsletter(), newsletter(index=1)
    assert await at_attempt(first, None, NOW, house) is None
    assert first.counted
    assert isinstance(await at_attempt(second, None, NOW, house), Postponed)
    receipt = waiting_delivery()
    assert await at_attempt(receipt, None, NOW, house) is None
    assert not receipt.counted


async def test_of_two_that_wait_for_a_wish_the_one_of_higher_priority_goes_first() -> None:
    people = FakePeople()
    house = House(people, replace(ONE, limits=(Rate(9, 86_400, "", "9/24h"),)))
    people.wish("dana@b.example", "a", Wish(at_most="1/day"))
    got(house, "dana@b.example", 5)
    low, high = newsletter(), newsletter(index=1)
    high.message = replace(high.message, priority=5)
    opens = [await at_attempt(one, None, NOW, house) for one in (low, high)]
    assert [one.at_most for one in (low, high)] == ["1/day", "1/day"]
    assert isinstance(opens[0], Postponed)
    house.now = opens[0].until
    for _ in range(2):
        found = await at_attempt(low, None, house.now, house)
        assert isinstance(found, Postponed)
        assert found.detail == "the recipient's own wish: at most 1/day: others that wait go first"
    assert await at_attempt(high, None, house.now, house) is None
    assert held(house) == [MARK]


async def test_a_wish_that_is_gone_holds_nothing_and_what_a_newer_postlane_says_is_none() -> None:
    people = FakePeople()
    house = House(people)
    got(house, "dana@b.example", 5)
    people.wish("dana@b.example", "a", Wish(at_most="1/day"))
    delivery = newsletter()
    assert isinstance(await at_attempt(delivery, None, NOW, house), Postponed)
    people.wish("dana@b.example", "a", Wish(at_most="1/year"))
    assert await at_attempt(delivery, None, NOW, house) is None
    assert (delivery.at_most, delivery.counted) == ("", False)
    assert held(house) == []


async def test_rerouted_mail_is_counted_and_never_held() -> None:
    house, delivery = House(FakePeople(), ONE), newsletter()
    got(house, "dana@b.example", 5)
    delivery.message = replace(delivery.message, contradiction="rerouted")
    assert await taken(delivery.message, ["dana@b.example"], house) == Accepted([None], nobody=[0])
    assert await at_attempt(delivery, None, NOW, house) is None
    assert delivery.counted
    assert held(house) == [MARK]


async def test_where_places_cannot_be_asked_for_marketing_waits() -> None:
    house, delivery = House(FakePeople(), ONE), newsletter()
    house.places.down = True
    assert await taken(delivery.message, ["dana@b.example"], house) == Accepted([None])
    assert isinstance(await at_attempt(delivery, None, NOW, house), Pause)
    delivery.message = replace(delivery.message, contradiction="rerouted")
    assert await at_attempt(delivery, None, NOW, house) is None


async def test_a_pause_of_the_brand_gives_the_place_up() -> None:
    people = FakePeople()
    house, delivery = House(people, ONE), newsletter()
    people.wish("dana@b.example", "a", Wish(paused_until=NOW + DAY))
    assert isinstance(await at_attempt(delivery, None, NOW, house), Postponed)
    assert delivery.counted, "and so its postponement tells State"


async def test_a_copy_takes_no_place() -> None:
    house, message = House(FakePeople(), ONE), newsletter().message
    twice = Withheld("duplicate", "", other="x")
    found = await at_accept(message, ["dana@b.example", "noa@b.example"], [twice, None], None, NOW, house)
    assert (found.stands, found.placed) == ([twice, None], True)
    assert held(house) == []


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
    assert found.stands == [None, ended]


async def test_what_is_asked_in_one_turn_is_one_question_and_each_hears_of_his_own() -> None:
    state: Any = Slow()
    state.answers.set()
    known = Known(state, Keys([b"s" * 32]))
    one, none, gone, two = (
        asyncio.create_task(known.of(addresses)) for addresses in (["a@b.example"], [], ["c@b.example"], ["d", "e"])
    )
    await asyncio.sleep(0)
    gone.cancel()
    assert [await one, await none, await two] == [[NOBODY], [], [NOBODY, NOBODY]]
    assert state.asked == 1
    assert gone.cancelled()


async def test_what_was_asked_early_is_not_asked_again_and_who_wants_a_place_asks_late() -> None:
    state: Any = Slow()
    house = House(Known(state, Keys([b"s" * 32])), ONE)
    message, dana, twice = waiting_delivery().message, ["dana@b.example"], Withheld("duplicate", "", other="x")
    early = ask_early(message, dana, house)
    assert await at_accept(message, dana, [twice], None, NOW, house, early) == Accepted(
        [twice]
    )  # and waits for nothing
    state.answers.set()
    assert await at_accept(message, dana, [None], None, NOW, house, early) == Accepted([None], nobody=[0])
    assert state.asked == 1
    assert ask_early(newsletter().message, dana, house) is None


async def test_nobody_need_wait_for_what_was_asked_early(caplog: pytest.LogCaptureFixture) -> None:
    state: Any = None
    known = Known(state, Keys([b"s" * 32]))
    asked = known.ask(["dana@b.example"])
    await asyncio.wait([asked])
    del asked
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("begun", [False, True])
async def test_who_waits_hears_of_it_when_all_ends(begun: bool) -> None:
    state: Any = Slow()
    known = Known(state, Keys([b"s" * 32]))
    waiting = asyncio.create_task(known.of(["a@b.example"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if begun:
        await asyncio.sleep(0)
    (task,) = known._asking
    assert state.asked == int(begun)
    task.cancel()
    with pytest.raises(StateError, match="not asked to the end"):
        await waiting


async def test_a_fault_of_ours_is_logged_and_nobody_is_left_waiting() -> None:
    state: Any = None
    with pytest.raises(StateError, match="not asked to the end"):
        await Known(state, Keys([b"s" * 32])).of(["a@b.example"])


async def test_where_facts_cannot_be_read_it_is_as_if_state_were_down() -> None:
    people, delivery = FakePeople(), waiting_delivery()
    people.facts[people.keys.key("dana@b.example")] = {"b:all||manual": "{}"}
    assert await at_attempt(delivery, None, NOW, House(people)) is None
    delivery.message = replace(delivery.message, mail_class=MailClass.MARKETING)
    assert isinstance(await at_attempt(delivery, None, NOW, House(people)), Pause)
