"""What an app that runs away is known by."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.identity import Rate
from relay.message import MailClass
from relay.policy import runaway
from relay.policy.runaway import MAX_STANDING, QUIET, Guard, Runaways, Seen
from tests.support.house import waiting_delivery

HOUR = 3_600_000
NOW = 1_795_267_531_104


def test_of_what_was_not_seen_some_one_in_a_hundred_is_thought_to_be() -> None:
    seen = Seen(1 << 20)
    keys = [hash(("key", number, "x")) & (1 << 63) - 1 for number in range(100_000)]
    assert sum(seen.again(key, NOW, HOUR) for key in keys) < 1000
    assert all(seen.again(key, NOW + HOUR - 1, HOUR) for key in keys)
    assert repr(seen).startswith("<Seen 99")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, HOUR)), max_size=30))
def test_nothing_within_the_window_is_forgotten(steps: list[tuple[int, int]]) -> None:
    seen, now, last = Seen(1 << 12), NOW, dict[int, int]()
    for key, pause in steps:
        now += pause
        again = seen.again(key << 40 | key, now, HOUR)
        if now - last.get(key, 0) < HOUR:
            assert again
        last[key] = now


def test_after_two_windows_all_is_new() -> None:
    seen = Seen(1 << 12)
    assert [seen.again(7, NOW + at, HOUR) for at in (0, HOUR, 3 * HOUR, 3 * HOUR)] == [False, True, False, True]


def test_who_sees_very_much_remembers_what_came_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runaway, "MOST", 2)
    seen = Seen(1 << 20)
    keys = [number << 5 | number << 30 for number in range(1, 6)]
    assert [seen.again(key, NOW, HOUR) for key in keys] == [False] * 5
    assert [seen.again(key, NOW, HOUR) for key in keys[::-1]][:3] == [True, True, False]


def test_it_is_about_transactional_mail_of_streams_that_are_not_exempt() -> None:
    message = waiting_delivery().message
    guard = Guard(Rate(6, 3600, "", "6/hour"), frozenset({"codes"}))
    assert guard.concerns(message)
    assert not guard.concerns(replace(message, stream="codes"))
    assert not guard.concerns(replace(message, mail_class=MailClass.SERVICE))
    assert (guard.window, guard.counted) == (HOUR, 5)


def test_what_was_held_is_told_once_until_none_has_come_for_an_hour() -> None:
    message, found = waiting_delivery().message, Runaways()
    found.count(message, "5ce1", "6/hour", ["dana@b.example", "noa@b.example"], NOW)
    found.count(message, "5ce1", "7/hour", ["eve@b.example"], NOW + 5)
    (said,) = [(state, str(one)) for state, one in found.news(NOW + 6)]
    assert said == ("firing", "shop to eve@b.example, more than 7/hour (stream order)")
    assert [one.held for one in found.standing()] == [3]
    assert list(found.news(NOW + 4 + QUIET)) == []
    assert [state for state, _ in found.news(NOW + 5 + QUIET)] == ["resolved"]
    assert (found.standing(), found.totals["shop"], repr(found)) == ([], 3, "<Runaways none>")


def test_of_very_many_templates_some_are_told_of() -> None:
    message, found = waiting_delivery().message, Runaways()
    for number in range(MAX_STANDING + 5):
        found.count(message, f"{number}", "6/hour", ["dana@b.example"], NOW)
    assert len(found.standing()) == MAX_STANDING
    assert found.totals["shop"] == MAX_STANDING + 5
