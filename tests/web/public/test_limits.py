"""How often one recipient's links may be used, whatever number of them he has."""

from relay.web.public import limits
from relay.web.public.limits import A_MINUTE, MINUTE, PerTicket
from tests.support.public import NOW, TICKET

NOA = TICKET._replace(recipient="noa@gmail.com")


def test_so_many_a_minute_for_each_recipient_of_a_brand() -> None:
    counts = PerTicket()
    assert all(counts.allows(TICKET._replace(stream=f"s{number}"), NOW) for number in range(A_MINUTE))
    assert not counts.allows(TICKET, NOW), "all his links are one"
    assert counts.allows(NOA, NOW)
    assert counts.allows(TICKET._replace(brand="marom"), NOW)
    assert counts.allows(TICKET, NOW + MINUTE)
    assert repr(counts) == "<PerTicket of 3 recipients>"


def test_a_one_click_is_known_for_a_minute_or_until_something_else_was_chosen() -> None:
    counts = PerTicket()
    assert not counts.done_lately(TICKET, NOW)
    counts.done(TICKET, NOW)
    assert counts.done_lately(TICKET, NOW + MINUTE - 1)
    assert not counts.done_lately(NOA, NOW)
    assert not counts.done_lately(TICKET, NOW + MINUTE)
    counts.changed(TICKET)
    assert not counts.done_lately(TICKET, NOW)
    counts.changed(NOA)


def test_each_app_whose_link_is_used_is_to_be_told() -> None:
    counts, shop = PerTicket(), TICKET._replace(calls="https://shop.example/u")
    counts.done(TICKET, NOW)
    assert not counts.done_lately(shop, NOW)
    counts.done(shop, NOW + 1)
    assert counts.done_lately(shop, NOW + 1)
    assert counts.done_lately(TICKET, NOW + 1)
    counts.done(TICKET, NOW + 1 + MINUTE)
    assert not counts.done_lately(shop, NOW + 1 + MINUTE)


def test_the_oldest_is_forgotten() -> None:
    counts = PerTicket()
    for number in range(limits.KNOWN + 1):
        counts.done(TICKET._replace(recipient=f"p{number}@b.example"), NOW)
    assert not counts.done_lately(TICKET._replace(recipient="p0@b.example"), NOW)
    assert counts.done_lately(TICKET._replace(recipient="p1@b.example"), NOW)
