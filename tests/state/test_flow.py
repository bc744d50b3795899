"""Short rates in parts: the arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.identity import Rate
from relay.state.flow import Flow, parts_of, short

TEN = Rate(10, 1, "", "10/second")


@pytest.mark.parametrize(
    ("count", "parts"),
    [(1, (1, 1)), (7, (7, 1)), (40, (40, 1)), (100, (20, 5)), (150, (25, 6)), (1_000, (20, 50)), (97, (24, 4))],
)
def test_parts_waste_little(count: int, parts: tuple[int, int]) -> None:
    assert parts_of(Rate(count, 1, "", "")) == parts


@given(st.integers(1, 1_000_000))
def test_parts_are_never_more_than_the_whole(count: int) -> None:
    parts, size = parts_of(Rate(count, 1, "", ""))
    assert 1 <= parts <= 50
    assert count * 0.95 <= parts * size <= count


def test_what_is_short() -> None:
    assert [short(Rate(5, window, "", "")) for window in (1, 10, 11, 60)] == [True, True, False, False]
    assert not short(Rate(5, 1, "day", ""))


def test_its_parts_have_room_again_a_window_after_a_message_left() -> None:
    flow = Flow(TEN, 100.0)
    assert not flow.take(100.0)
    assert flow.wait(100.0) == pytest.approx(0.0525), "a part is another's to give"
    flow.refused_until = 100.25
    assert flow.wait(100.0) == pytest.approx(0.25)
    flow.parts = 2
    assert [flow.take(100.0) for _ in range(3)] == [True, True, False]
    assert flow.wait(100.0) == pytest.approx(0.0525), "both wait for a connection, nobody knows how long"
    flow.depart(103.0)
    assert not flow.take(103.5)
    assert flow.wait(103.5) == pytest.approx(0.55)
    flow.give_back()
    assert flow.take(103.5)
    assert flow.full(104.0)
    assert flow.take(104.06)
    assert repr(flow) == "<Flow 10/second: 2 of 10 parts, 2 under way>"
    assert flow.take(104.06, most=3)
    assert not flow.take(104.06, most=1)


def test_what_was_sent_under_an_old_rate_still_counts() -> None:
    old = Flow(TEN, 0.0)
    old.parts = 2
    assert old.take(0.0)
    old.depart(0.0)
    new = Flow(Rate(3, 1, "", "3/second"), 0.1)
    new.inherit(old)
    new.parts = 2
    assert [new.take(0.1) for _ in range(2)] == [True, False]


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "take", "depart", "depart", "stay"]), st.floats(0, 0.3)),
    min_size=30,
    max_size=200,
)


@given(STEPS, st.integers(1, 4))
def test_no_window_at_the_far_end_ever_holds_more(steps: list[tuple[str, float]], parts: int) -> None:
    """Counted where each message leaves, whenever it got its permit."""
    flow, now, under_way = Flow(TEN, 0.0), 0.0, 0
    flow.parts = parts
    left: list[float] = []
    for step, pause in steps:
        now += pause
        if step == "take":
            under_way += flow.take(now)
        elif under_way:
            under_way -= 1
            if step == "depart":
                flow.depart(now)
                left.append(now)
            else:
                flow.give_back()
    assert all(sum(end - 1.0 < at <= end for at in left) <= parts for end in left)
