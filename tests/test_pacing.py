"""The line that mail over quota stands in."""

from relay.identity import Rate
from relay.message import MailClass
from relay.pacing import Pacer, of_credential, of_stream, spacing

HOURLY = Rate(20_000, 3600, "", "20000/hour")


def test_one_place_for_each_permit() -> None:
    assert spacing(HOURLY) == 180
    assert spacing(Rate(10_000, 1, "", "10000/second")) == 1


def test_first_come_first_served_and_none_before_there_is_a_permit() -> None:
    pacer = Pacer()
    assert pacer.until("shop", 1000) == 0
    assert pacer.place("shop", HOURLY, 1, 5000) == 5000
    assert pacer.place("shop", HOURLY, 10, 1000) == 5180
    assert pacer.place("shop", HOURLY, 1, 1000) == 5180 + 10 * 180
    assert pacer.until("shop", 1000) == 5180 + 11 * 180 - 1000
    assert pacer.until("crm", 1000) == 0


def test_the_line_ends_when_its_last_place_has_passed() -> None:
    pacer = Pacer()
    pacer.place("shop", HOURLY, 1, 5000)
    assert pacer.until("shop", 5179) == 1
    assert pacer.until("shop", 5180) == 0
    assert repr(pacer) == "<Pacer 0 lines>"


def test_a_stream_and_a_credential_of_one_name_are_two_limits_and_classes_stand_apart() -> None:
    limits = [of_credential("shop", HOURLY), *(of_stream("shop", HOURLY, one) for one in MailClass)]
    assert len({limit.line for limit in limits}) == 4
    assert len({limit.key for limit in limits}) == 2
    assert [str(limit) for limit in limits[:2]] == ["shop is over 20000/hour", "stream shop is over 20000/hour"]
