"""What would become of mail to somebody, and that asking changes nothing."""

from typing import Any

from relay.identity import Rate
from relay.message import MailClass
from relay.person import Wish
from relay.policy.caps import Cap
from relay.prospect import Prospects
from tests.support.house import NOW, FakePeople
from tests.test_consent import House, got

MARKETING = frozenset({MailClass.MARKETING})
TWO = Cap("two", frozenset({"a"}), MARKETING, MARKETING, (Rate(2, 86_400, "", "2/24h"),), "postpone")


class Home(House):
    streams: Any = {}  # noqa: RUF012  none is asked to change it

    def clock(self) -> int:
        return self.now


async def ask(home: Home, *recipients: str, **question: Any) -> Any:
    return await Prospects(home).answer(
        {"do": "would", "recipients": recipients, "brand": "a", "stream": "s", "class": "marketing", **question}
    )


async def test_each_recipient_is_told_what_an_attempt_would_be_told() -> None:
    people = FakePeople()
    home = Home(people, TWO)
    people.block("off@b.example", "marketing", brand="a")
    got(home, "full@b.example", 5, 9)
    people.wish("once@b.example", "a", Wish(at_most="1/day"))
    got(home, "once@b.example", 5)
    found = (await ask(home, "off@b.example", "full@b.example", "once@b.example", "new@b.example"))["stands"]
    assert [one and (one["decision"], one["reason"]) for one in found] == [
        ("withhold", "suppressed"),
        ("postpone", "capped"),
        ("postpone", "preference"),
        None,
    ]
    assert found[1]["detail"] == "cap two: 2/24h, used up by a marketing 2"
    assert found[1]["until"] > NOW
    assert all(not one.places for one in home.places.people.values()), "no place is taken"


async def test_rerouted_and_transactional_mail_goes() -> None:
    people = FakePeople()
    home = Home(people, TWO)
    people.block("dana@b.example", "marketing")
    got(home, "dana@b.example", 5, 9)
    assert await ask(home, "dana@b.example", contradiction="rerouted") == {"stands": [None]}
    assert await ask(home, "dana@b.example", **{"class": "transactional"}) == {"stands": [None]}


async def test_what_cannot_be_answered_is_said() -> None:
    people = FakePeople()
    home = Home(people, TWO)
    assert "cannot be read" in (await ask(home, "dana@b.example", **{"class": "junk"}))["error"]
    people.down = True
    assert (await ask(home, "dana@b.example"))["again"]
    assert "Prospects of" in repr(Prospects(home))
