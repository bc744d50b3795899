"""By what a report without any token finds what it is about."""

import pytest

from relay.clue import BITS, clue, plain, same

SENT = ("<order.7@shop.example>", "Dana@example.com")


@pytest.mark.parametrize(
    "sought", [SENT, ("order.7@shop.example", "dana@EXAMPLE.com"), (" <order.7@shop.example> ", "dana@example.com")]
)
def test_brackets_and_case_of_the_address_do_not_matter(sought: tuple[str, str]) -> None:
    assert clue(*sought) == clue(*SENT) < 1 << BITS
    assert same(*SENT, sought)


@pytest.mark.parametrize(
    "sought", [("order.8@shop.example", "dana@example.com"), ("order.7@shop.example", "noa@example.com"), ("", "")]
)
def test_all_else_is_another(sought: tuple[str, str]) -> None:
    assert clue(*sought) != clue(*SENT)
    assert not same(*SENT, sought)


def test_without_a_message_id_there_is_nothing_to_find() -> None:
    assert clue("", "dana@example.com") == clue("<>", "dana@example.com") == 0
    assert plain("<>") == ""
