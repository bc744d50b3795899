"""Rates of the last ten seconds and last replies, bounded."""

import pytest

from relay import lately
from relay.lately import SLOT, Lately, Rate
from relay.outcome import Reply

NOW = 1_763_800_000_000
OK, LATER = Reply(250, "2.0.0", "OK"), Reply(451, "4.3.0", "later")


def test_a_steady_stream_is_told_at_its_rate_whenever_it_is_asked() -> None:
    rate = Rate()
    for ms in range(0, 60_000, 100):
        rate.add(NOW + ms)
        if ms >= 2 * SLOT:
            assert rate.a_second(NOW + ms) == pytest.approx(10, rel=0.02)


def test_a_rate_fades_within_two_slots() -> None:
    rate = Rate()
    assert rate.a_second(NOW) == 0
    for _ in range(100):
        rate.add(NOW)
    assert rate.a_second(NOW) == 10
    assert rate.a_second(NOW + SLOT) == 10
    assert rate.a_second(NOW + SLOT + SLOT // 2) == 5
    assert rate.a_second(NOW + 2 * SLOT) == 0
    rate.add(NOW + 3 * SLOT)
    assert rate.a_second(NOW + 3 * SLOT) == 0.1, "what was two slots before is forgotten"


def test_each_place_has_its_rates_and_its_last_reply() -> None:
    seen = Lately()
    for _ in range(20):
        seen.note("google", "marketing", "delivered", OK, NOW)
    seen.note("google", "marketing", "deferred", LATER, NOW + 1)
    seen.note("yahoo", "marketing", "bounced", LATER, NOW)
    found = dict(seen.places())
    google = found["google", "marketing"]
    assert (google.delivered.a_second(NOW), google.failing.a_second(NOW), google.reply, google.at) == (
        2.0, 0.1, LATER, NOW + 1,
    )  # fmt: skip
    assert repr(seen) == "<Lately 2 places>"


def test_who_was_not_heard_of_for_long_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lately, "PLACES", 20)
    seen = Lately()
    for number in range(20):
        seen.note(f"s{number}", "p", "delivered", OK, NOW + number)
    seen.note("s0", "p", "delivered", OK, NOW + 50)
    seen.note("new", "p", "delivered", OK, NOW + 51)
    sites = {site for (site, _), _ in seen.places()}
    assert len(sites) == 19
    assert sites >= {"s0", "new"}
    assert not sites & {"s1", "s2"}


def test_the_slowest_of_a_hundred_is_left_out() -> None:
    seen = Lately()
    assert seen.p99() is None
    seen.took(50)
    assert seen.p99() == 50
    for ms in range(2, 101):
        seen.took(ms)
    assert seen.p99() == 99
    for _ in range(lately.DELAYS):
        seen.took(7)
    assert seen.p99() == 7
