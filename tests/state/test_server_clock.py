"""Bounds of a server's clock, with a monotonic clock that goes when it is told to."""

from hypothesis import given
from hypothesis import strategies as st

from relay.state.server_clock import DRIFT, FORGET, Reading, ServerClock

NOON = 880_000_000_000  # ms since the epoch


def test_before_the_first_answer_nothing_is_known() -> None:
    clock = ServerClock()
    assert clock.earliest(5) is None
    assert clock.latest(5) is None


def test_the_server_spoke_between_question_and_answer() -> None:
    clock = ServerClock()
    clock.heard("", Reading(NOON, asked=10.0, answered=10.1))
    assert clock.earliest(10.1) == NOON
    assert NOON + 100 <= clock.latest(10.1) <= NOON + 103  # type: ignore[operator]
    assert repr(clock) == "<ServerClock of 1 servers>"


Rounds = list[tuple[float, float, float]]


@given(
    rounds=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 0.3), st.floats(0, 0.3)), min_size=1, max_size=30),
    rate=st.floats(1 - DRIFT, 1 + DRIFT),
    ahead=st.floats(-10_000, 10_000),
)
def test_the_true_time_is_never_outside(rounds: Rounds, rate: float, ahead: float) -> None:
    """Of a server whose clock is `ahead` and goes at another `rate`, heard on ways that take their time."""
    clock, at = ServerClock(), 1_000.0

    def true(when: float) -> float:
        return NOON + (when * rate + ahead) * 1000

    for pause, there, back in rounds:
        at += pause
        asked, said, at = at, true(at + there), at + there + back
        clock.heard("", Reading(int(said), asked, at))
        earliest, latest = clock.earliest(at), clock.latest(at)
        assert earliest is not None
        assert latest is not None
        assert earliest <= true(at) <= latest


def test_of_several_servers_the_earliest_and_the_latest_count() -> None:
    clock = ServerClock()
    clock.heard("one", Reading(NOON, 1.0, 1.0))
    clock.heard("other", Reading(NOON + 5_000, 1.0, 1.0))
    assert clock.earliest(1.0) == NOON
    assert (clock.latest(1.0) or 0) >= NOON + 5_000


def test_a_server_that_is_gone_is_forgotten() -> None:
    clock = ServerClock()
    clock.heard("gone", Reading(NOON, 1.0, 1.0))
    later = 2 * FORGET
    clock.heard("new", Reading(2 * NOON, later, later))
    assert clock.earliest(later) == 2 * NOON


def test_a_less_exact_reading_waits_until_the_exact_one_is_old() -> None:
    clock = ServerClock()
    clock.heard("", Reading(NOON, 1.0, 1.001))
    clock.heard("", Reading(NOON + 200, 1.1, 1.9))
    exact = clock.latest(1.9) or 0
    assert exact - NOON <= 905
    clock.heard("", Reading(NOON + 2_000, 3.0, 3.5))
    assert (clock.latest(3.5) or 0) - (clock.earliest(3.5) or 0) >= 500
