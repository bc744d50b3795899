"""When a deferred delivery goes again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.schedule.retry import SPREAD, RetryPolicy, next_attempt, warn_due

MINUTE = 60_000
POLICY = RetryPolicy(wait=(15_000, MINUTE, 5 * MINUTE), give_up=60 * MINUTE, warn_after=10 * MINUTE)


@pytest.mark.parametrize(
    ("attempts", "wait"), [(0, 15_000), (1, 15_000), (2, MINUTE), (3, 5 * MINUTE), (9, 5 * MINUTE)]
)
def test_each_attempt_has_its_step_and_the_last_repeats(attempts: int, wait: int) -> None:
    assert next_attempt(POLICY, attempts, accepted_at=0, now=MINUTE, rand=0.0) == MINUTE + wait


@given(st.integers(0, 20), st.integers(0, 60 * MINUTE - 1), st.floats(0, 1, exclude_max=True))
def test_jitter_only_lengthens_and_never_past_the_end(attempts: int, now: int, rand: float) -> None:
    plain = next_attempt(POLICY, attempts, 0, now, 0.0)
    again = next_attempt(POLICY, attempts, 0, now, rand)
    assert plain is not None
    assert again is not None
    assert now < plain <= again <= min(60 * MINUTE, now + (plain - now) * (1 + SPREAD))


def test_what_failed_together_comes_back_apart() -> None:
    assert len({next_attempt(POLICY, 3, 0, 0, rand / 100) for rand in range(100)}) == 100


def test_the_last_attempt_is_at_the_give_up_time_and_then_it_is_given_up() -> None:
    assert next_attempt(POLICY, 5, 0, 58 * MINUTE, 0.5) == 60 * MINUTE
    assert next_attempt(POLICY, 6, 0, 60 * MINUTE, 0.5) is None


def test_a_warning_is_due_after_its_time_if_there_is_one() -> None:
    assert not warn_due(POLICY, 0, 10 * MINUTE - 1)
    assert warn_due(POLICY, 0, 10 * MINUTE)
    assert not warn_due(RetryPolicy((MINUTE,), MINUTE), 0, 99 * MINUTE)


@pytest.mark.parametrize(("wait", "give_up"), [((), 1), ((0,), 1), ((-1,), 1), ((1,), 0)])
def test_a_policy_without_steps_or_end_is_our_own_fault(wait: tuple[int, ...], give_up: int) -> None:
    with pytest.raises(ValueError, match="retry policy"):
        RetryPolicy(wait, give_up)
