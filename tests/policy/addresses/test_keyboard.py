"""How near spellings are: what fingers do easily costs less than what they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.addresses.keyboard import DOUBLED, LOST, NEIGHBOUR, OTHER, SWAPPED, distance, near

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("typed", "meant", "cost"),
    [
        ("gmail", "gmail", 0),
        ("gmial", "gmail", SWAPPED),
        ("gmaill", "gmail", DOUBLED),
        ("gogle", "google", DOUBLED),
        ("gmil", "gmail", LOST),
        ("gmaul", "gmail", NEIGHBOUR),
        ("gnail", "gmail", NEIGHBOUR),
        ("gmaiol", "gmail", NEIGHBOUR),
        ("gmxil", "gmail", OTHER),
    ],
)
def test_what_a_slip_costs(typed: str, meant: str, cost: float) -> None:
    assert distance(typed, meant) == cost


def test_two_slips_cost_both() -> None:
    assert distance("gmiall", "gmail") == SWAPPED + DOUBLED


def test_keys_touch_across_rows_too() -> None:
    assert near("g", "t")
    assert near("g", "v")
    assert near("9", "o")
    assert not near("g", "a")
    assert not near("g", "é")


@given(NAMES)
def test_what_is_the_same_costs_nothing(name: str) -> None:
    assert distance(name, name) == 0


@given(NAMES, NAMES)
def test_what_differs_costs_something_and_never_more_than_to_type_it_anew(typed: str, meant: str) -> None:
    cost = distance(typed, meant)
    assert (cost == 0) == (typed == meant)
    assert cost <= len(typed) + LOST * len(meant)
