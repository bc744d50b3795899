"""Tiers and sunset: what silence means, and when it means nothing."""

from dataclasses import replace

import pytest

from relay.message import MailClass, Message
from relay.person import NOBODY, Engaged, Person
from relay.policy.engagement import COLD, DAY, ENGAGED, LAPSING, Engagement, Sunset, Tiers
from relay.policy.relevance import Withheld
from tests.support.house import NOW, waiting_delivery

TODAY = NOW // DAY
TIERS = Tiers(90, 180, ENGAGED, 35, Sunset(12, 365))


def message(mail_class: MailClass = MailClass.MARKETING, brand: str = "a", spared: bool = False) -> Message:
    contradiction = "rerouted" if spared else None
    return replace(waiting_delivery().message, mail_class=mail_class, brand=brand, contradiction=contradiction)


def silent_for(days: int, unanswered: int = 0, until: int = TODAY) -> Person:
    return Person(engaged={"a": Engaged(until - days, 0, unanswered, NOW)})


@pytest.mark.parametrize(
    ("days", "tier"), [(-1, ENGAGED), (0, ENGAGED), (90, ENGAGED), (91, LAPSING), (180, LAPSING), (181, COLD)]
)
def test_tiers_follow_the_days_since_somebody_engaged(days: int, tier: str) -> None:
    assert Engagement(TIERS, {"a": TODAY}).tier(silent_for(days), message()) == tier


def test_who_never_did_is_cold_and_of_whom_nobody_told_is_what_the_files_say() -> None:
    fed = {"a": TODAY}
    never = Person(engaged={"a": Engaged(None, TODAY - 3)})
    assert Engagement(TIERS, fed).tier(never, message()) == COLD
    assert Engagement(TIERS, fed).tier(NOBODY, message()) == ENGAGED
    assert Engagement(replace(TIERS, unknown=COLD), fed).tier(NOBODY, message()) == COLD


def test_only_marketing_of_a_brand_that_is_fed_has_tiers() -> None:
    table, cold = Engagement(TIERS, {"a": TODAY}), silent_for(500)
    for mail_class in (MailClass.TRANSACTIONAL, MailClass.SERVICE):
        assert table.tier(cold, message(mail_class)) == ""
    assert table.tier(cold, message(brand="b")) == ""
    assert table.tier_of(cold.engaged["a"], "b") == ""
    assert Engagement(TIERS).tier(cold, message()) == ""


def test_silence_after_the_last_import_makes_nobody_colder() -> None:
    person = silent_for(30, until=TODAY - 400)
    assert Engagement(TIERS, {"a": TODAY - 400}).tier(person, message()) == ENGAGED
    assert Engagement(TIERS, {"a": TODAY}).tier(person, message()) == COLD


def test_marketing_ends_after_so_many_mails_and_so_long() -> None:
    table = Engagement(TIERS, {"a": TODAY})
    ended = table.judge(silent_for(365, 12), message(), NOW)
    assert ended == Withheld("sunset", "last engaged 365 days ago, 12 unanswered since")
    assert table.judge(silent_for(365, 11), message(), NOW) is None
    assert table.judge(silent_for(364, 50), message(), NOW) is None
    never = Person(engaged={"a": Engaged(None, TODAY - 365, 12, NOW)})
    assert table.judge(never, message(), NOW) == Withheld("sunset", "never engaged, 12 unanswered since")
    assert table.judge(Person(engaged={"a": Engaged(None, TODAY - 1, 12, NOW)}), message(), NOW) is None


def test_nothing_else_ends_and_rerouted_mail_does_not() -> None:
    table, gone = Engagement(TIERS, {"a": TODAY, "b": TODAY}), silent_for(1_000, 100)
    for other in (
        message(MailClass.TRANSACTIONAL),
        message(MailClass.SERVICE),
        message(brand="b"),
        message(spared=True),
    ):
        assert table.judge(gone, other, NOW) is None
    assert Engagement(replace(TIERS, sunset=None), {"a": TODAY}).judge(gone, message(), NOW) is None


def test_nobody_is_sunset_by_a_missing_import() -> None:
    gone = silent_for(1_000, 100)
    assert Engagement(TIERS).judge(gone, message(), NOW) is None
    assert Engagement(TIERS, {"a": TODAY - 36}).judge(gone, message(), NOW) is None
    assert Engagement(TIERS, {"a": TODAY - 35}).judge(gone, message(), NOW) is not None
    assert Engagement(TIERS, {"a": TODAY}).judge(NOBODY, message(), NOW) is None
