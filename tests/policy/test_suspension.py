"""What a suspension holds and what it leaves alone, and which of them a resume means."""

from dataclasses import replace
from typing import Any

import pytest

from relay.message import Delivery, MailClass
from relay.policy.suspension import Suspension, Suspensions, given, meant
from relay.wildcard import PatternError
from tests.support.letters import letter

NOW = 1_763_800_000_000
TRANSACTIONAL, SERVICE, MARKETING = MailClass


def delivery(mail_class: MailClass = MARKETING, **changes: Any) -> Delivery:
    return letter(1, mail_class=mail_class, **changes)[1][0]


def suspension(**what: Any) -> Suspension:
    return Suspension(5, given({name.rstrip("_"): value for name, value in what.items()}), NOW)


def covers(one: Suspension, about: Delivery, pool: str = "bulk", now: int = NOW) -> bool:
    return one.covers(about, lambda _: pool, now)


@pytest.mark.parametrize(
    ("what", "held"),
    [
        ({}, True),
        ({"stream": "ORDER"}, True),
        ({"stream": "order", "site": "goo*"}, True),
        ({"stream": "order", "site": "yahoo"}, False),
        ({"stream": ["news", "ord*"]}, True),
        ({"domain": "gmail.com", "credential": "shop-*", "brand": "arava", "campaign": "weekend-47"}, True),
        ({"recipient": "*@gmail.com"}, True),
        ({"recipient": "eve@gmail.com"}, False),
        ({"pool": "bulk"}, True),
        ({"pool": "fast"}, False),
        ({"class_": "marketing"}, True),
        ({"class_": "service"}, False),
        ({"campaign": "other"}, False),
    ],
)
def test_all_selectors_must_fit(what: dict[str, Any], held: bool) -> None:
    assert covers(suspension(**what), delivery()) is held


def test_mail_comes_under_it_when_it_is_old_enough() -> None:
    one, about = suspension(stream="order", **{"older-than": "2h"}), delivery()
    accepted = about.message.accepted_at
    assert not covers(one, about, now=accepted + 7_200_000)
    assert covers(one, about, now=accepted + 7_200_001)
    assert one.undo == "postlane resume --stream order --older-than 2h"
    assert Suspension.load(one.dump()).older == 7_200_000
    assert suspension(**{"older-than": ["2h", "90s"]}).older == 90_000
    assert suspension(stream="order").older is None
    for wrong in (["two hours"], []):
        with pytest.raises(ValueError, match="is no duration"):
            suspension(**{"older-than": wrong})


def test_mail_without_a_campaign_is_of_none() -> None:
    assert not covers(suspension(campaign="weekend-47"), delivery(campaign=None))
    assert covers(suspension(campaign="*"), delivery(campaign=None))


def test_transactional_mail_is_held_only_where_its_class_is_named() -> None:
    for what in ({}, {"stream": "order"}, {"pool": "*"}):
        assert not covers(suspension(**what), delivery(TRANSACTIONAL))
        assert covers(suspension(**what), delivery(SERVICE))
    assert not covers(suspension(class_="marketing"), delivery(TRANSACTIONAL))
    assert covers(suspension(class_="transactional"), delivery(TRANSACTIONAL))
    assert covers(suspension(class_="*"), delivery(TRANSACTIONAL))
    rerouted = delivery(MARKETING, contradiction="rerouted")
    assert not covers(suspension(stream="order"), rerouted), "it is transactional by its app's word"
    assert covers(suspension(class_="*"), rerouted)


def test_it_ends_by_time() -> None:
    assert not suspension().over(NOW + 10**12)
    one = replace(suspension(), until=NOW + 10)
    assert [one.over(NOW + 9), one.over(NOW + 10)] == [False, True]


def test_it_is_kept_as_text() -> None:
    one = Suspension(7, given({"stream": ["a", "b"], "class": "marketing"}), NOW, NOW + 5, "why", "noa", "relay-1", 12)
    assert Suspension.load(one.dump()) == one
    assert Suspension.load(one.dump()).classes == {MARKETING}


def test_what_is_said_of_it() -> None:
    one = Suspension(7, given({"class": "marketing", "stream": ["a b", "c*"]}), NOW, None, "list is cleaned", "noa")
    assert one.said == "stream a b or c*, class marketing"
    assert one.undo == "postlane resume --stream 'a b' --stream 'c*' --class marketing"
    assert one.facts == {
        "reason": "held",
        "detail": "suspended: stream a b or c*, class marketing (list is cleaned)",
        "until": None,
    }
    assert one.shown()["what"] == {"stream": ["a b", "c*"], "class": "marketing"}
    everything = replace(suspension(), until=NOW)
    assert (everything.said, everything.undo) == ("all", "postlane resume --all")
    assert everything.facts["until"] == everything.shown()["until"] == "2025-11-22T08:26:40.000Z"


def test_a_selector_that_is_too_long_is_refused() -> None:
    with pytest.raises(PatternError):
        suspension(stream="x" * 400)


@pytest.mark.parametrize(
    ("asked", "ended"),
    [
        ({}, {1, 2, 3, 4}),
        ({"stream": "news"}, {1, 2}),
        ({"stream": "n*"}, {1, 2, 3}),
        ({"stream": ["news", "notes"]}, {1, 2, 3}),
        ({"stream": "news", "site": "google"}, {2}),
        ({"brand": "arava"}, {4}),
        ({"class": "marketing"}, set()),
    ],
)
def test_resume_means_what_stands_in_the_suspension_itself(asked: dict[str, Any], ended: set[int]) -> None:
    each: list[dict[str, Any]] = [
        {"stream": "News"},
        {"stream": "news", "site": "google"},
        {"stream": ["news", "notes"]},
        {"brand": "arava"},
    ]
    standing = [Suspension(number, given(what), NOW) for number, what in enumerate(each, 1)]
    assert {one.id for one in meant(standing, given(asked))} == ended


def test_the_oldest_holds_where_there_are_several() -> None:
    table = Suspensions(lambda _: "bulk")
    assert repr(table) == "<Suspensions none, unknown>"
    assert table.find(delivery(), NOW) is None
    table.put([Suspension(9, given({"pool": "bulk"}), NOW), Suspension(3, given({"stream": "order"}), NOW)])
    assert table.known
    assert [one.id for one in table] == [3, 9]
    assert repr(table) == "<Suspensions stream order, pool bulk>"
    held = table.find(delivery(), NOW)
    assert held is not None
    assert held.id == 3
    assert table.find(delivery(TRANSACTIONAL), NOW) is None
