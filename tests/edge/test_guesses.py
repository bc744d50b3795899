"""Guessing is bounded by peer, and a neighbour's old password stops nobody who has logged in before."""

from hypothesis import given
from hypothesis import strategies as st

from relay.edge.guesses import Guesses

PEER, OTHER = "192.0.2.1", "192.0.2.2"


def fail(guesses: Guesses, times: int, now: float, name: str = "shop") -> None:
    for _ in range(times):
        guesses.failed(PEER, name, now)


def test_a_peer_that_failed_too_often_is_put_off_until_the_window_has_passed() -> None:
    guesses = Guesses(failures=3, seconds=60)
    fail(guesses, 2, 0)
    assert guesses.may_try(PEER, "shop", 59)
    fail(guesses, 1, 59)
    assert not guesses.may_try(PEER, "shop", 59)
    assert not guesses.may_try(PEER, "blog", 118), "whatever the name"
    assert guesses.may_try(OTHER, "shop", 59)
    assert guesses.may_try(PEER, "shop", 119)
    fail(guesses, 2, 119)
    assert guesses.may_try(PEER, "shop", 119), "the count begins anew"


def test_failures_are_forgotten_one_window_after_the_first() -> None:
    guesses = Guesses(failures=3, seconds=60)
    fail(guesses, 2, 0)
    fail(guesses, 2, 60)
    assert guesses.may_try(PEER, "shop", 60)
    fail(guesses, 1, 61)
    assert not guesses.may_try(PEER, "shop", 61)


def test_a_single_failure_may_be_the_last() -> None:
    guesses = Guesses(failures=1, seconds=60)
    fail(guesses, 1, 0)
    assert not guesses.may_try(PEER, "shop", 59)


def test_success_clears_no_count() -> None:
    guesses = Guesses(failures=3, seconds=60)
    for _ in range(3):
        guesses.succeeded(PEER, "mine")
        fail(guesses, 1, 0)
    assert not guesses.may_try(PEER, "shop", 1)


def test_who_logged_in_from_there_before_may_until_he_fails() -> None:
    guesses = Guesses(failures=3, seconds=60)
    guesses.succeeded(PEER, "shop")
    fail(guesses, 3, 0, "blog")
    assert guesses.may_try(PEER, "shop", 1)
    assert not guesses.may_try(PEER, "blog", 1)
    fail(guesses, 1, 1, "shop")
    assert not guesses.may_try(PEER, "shop", 1)
    assert guesses.may_try(PEER, "shop", 60), "which does not make it longer"


def test_a_name_is_known_from_where_it_logged_in_only() -> None:
    guesses = Guesses(failures=3, seconds=60)
    guesses.succeeded(OTHER, "shop")
    fail(guesses, 3, 0)
    assert not guesses.may_try(PEER, "shop", 1)


def test_both_tables_are_bounded_and_what_ends_soonest_goes() -> None:
    guesses = Guesses(failures=2, seconds=60, most=3)
    fail(guesses, 2, 0)
    for number in range(2):
        guesses.failed(f"198.51.100.{number}", "shop", 1)
    assert not guesses.may_try(PEER, "shop", 1)
    guesses.failed("198.51.100.2", "shop", 1)
    assert guesses.may_try(PEER, "shop", 1)
    for name in ("a", "b", "a", "c", "d"):
        guesses.succeeded(PEER, name)
    assert repr(guesses) == "<Guesses of 3 peers, 3 names known>"
    fail(guesses, 2, 1, "x")
    assert [guesses.may_try(PEER, name, 1) for name in "abcd"] == [True, False, True, True]


peers, names = st.sampled_from([PEER, OTHER, "2001:db8::/64"]), st.sampled_from(["shop", "blog"])
steps = st.lists(st.tuples(st.floats(0, 40), peers, names, st.booleans()), max_size=80)


@given(steps)
def test_never_more_than_twice_the_failures_in_a_window(steps: list[tuple[float, str, str, bool]]) -> None:
    """Twice: those just before a window's end, and those just behind it. Each login of a known name allows one more,
    but needs its password."""
    guesses = Guesses(failures=3, seconds=60)
    now, guessed, known = 0.0, list[tuple[float, str]](), set[tuple[str, str]]()
    for passed, peer, name, right in steps:
        now += passed
        if not guesses.may_try(peer, name, now):
            assert (peer, name) not in known
        elif right:
            guesses.succeeded(peer, name)
            known.add((peer, name))
        else:
            guesses.failed(peer, name, now)
            if (peer, name) not in known:
                guessed.append((now, peer))
            known.discard((peer, name))
    for start, peer in guessed:
        assert sum(start <= when < start + 60 for when, who in guessed if who == peer) <= 6


@given(steps)
def test_neither_table_grows_beyond_its_bound(steps: list[tuple[float, str, str, bool]]) -> None:
    guesses, now = Guesses(failures=3, seconds=60, most=2), 0.0
    for passed, peer, name, right in steps:
        now += passed
        if right:
            guesses.succeeded(peer, name)
        else:
            guesses.failed(peer, name, now)
        assert len(guesses._counts) <= 2
        assert len(guesses._known) <= 2
        ends = [until for _, until in guesses._counts.values()]
        assert ends == sorted(ends)
