"""Paces: slow start, cuts, recovery, and what is a sign of what."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.pace import simulate
from relay.identity import Rate
from relay.outcome import Outcome, Reply, Scope
from relay.shaping.pace import (
    BURST,
    GRAIN,
    HOLD,
    IDLE,
    MEASURED,
    QUIET,
    Bounds,
    Cut,
    Pace,
    Sign,
    View,
    in_short,
    per_second,
    rate_text,
    sign_of,
    words,
)

BOUNDS = Bounds(start=10, floor=0.1, ceiling=40)
FREE = Bounds(start=inf, floor=0.1)
WHY = "421 4.7.28"


def drained(pace: Pace, now: int, bounds: Bounds = BOUNDS, most: int = 100) -> int:
    """All that may go at once, and how much that was."""
    for count in range(most):
        if pace.ask(bounds, now):
            return count
    return most


def busy(bounds: Bounds = BOUNDS, now: int = 0) -> Pace:
    """Mail waits for it."""
    pace = Pace(bounds, now)
    drained(pace, now, bounds)
    return pace


def run(pace: Pace, seconds: int, start: int, bounds: Bounds = BOUNDS) -> int:
    """So long a large queue goes, and all of it is taken; the time after it."""
    for now in range(start, start + seconds * 1000, 100):
        for _ in range(drained(pace, now, bounds, most=4 if pace.rate >= bounds.ceiling else 100)):
            pace.good(bounds, now)
    return start + seconds * 1000


# Asking


def test_the_first_messages_to_a_site_go_at_once() -> None:
    assert drained(Pace(BOUNDS, 0), 0) == BURST


def test_who_is_told_to_wait_is_told_when_a_message_may_go_and_it_may() -> None:
    pace = busy()
    again = pace.ask(BOUNDS, 0)
    assert again == 0 + 101
    assert pace.ask(BOUNDS, again) == 0


def test_a_lane_is_asked_ten_times_a_second_at_most() -> None:
    pace = busy(Bounds(start=500, floor=1, ceiling=1000))
    assert pace.ask(Bounds(start=500, floor=1, ceiling=1000), 0) == GRAIN


def test_a_small_site_never_waits() -> None:
    """Five messages every ten minutes, to a site that never complained."""
    pace = Pace(BOUNDS, 0)
    waits = [pace.ask(BOUNDS, minute * 60_000) for minute in range(0, 600, 10) for _ in range(5)]
    assert not any(waits)


def test_transactional_mail_is_not_held_and_the_rest_waits_for_it() -> None:
    pace = busy()
    assert [pace.ask(BOUNDS, 0, urgent=True) for _ in range(5)] == [0] * 5
    assert pace.ask(BOUNDS, 0) == 601, "five and its own, at ten a second"


def test_mail_that_is_not_held_never_makes_the_rest_wait_for_longer_than_its_burst() -> None:
    pace = busy()
    for _ in range(10_000):
        pace.ask(BOUNDS, 0, urgent=True)
    assert pace.ask(BOUNDS, 0) == (BURST + 1) * 100 + 1


def test_what_does_not_go_for_another_reason_is_not_counted() -> None:
    pace = busy()
    pace.give_back()
    assert pace.ask(BOUNDS, 0) == 0


def test_at_its_ceiling_it_holds_nothing() -> None:
    bounds = Bounds(start=100, floor=1, ceiling=40)
    assert not any(Pace(bounds, 0).ask(bounds, 0) for _ in range(1000))


def test_without_slow_start_it_is_free() -> None:
    pace = Pace(FREE, 0)
    assert not any(pace.ask(FREE, 0) for _ in range(1000))
    assert pace.view(FREE, 0) == View(inf, inf, "free", 0, "")


# Slow start


def test_it_doubles_in_five_seconds_while_mail_waits() -> None:
    bounds = Bounds(start=10, floor=0.1)
    pace = busy(bounds)
    run(pace, 5, 0, bounds)
    assert pace.rate == pytest.approx(20, rel=0.2)
    run(pace, 10, 5_000, bounds)
    assert pace.rate == pytest.approx(80, rel=0.25)


def test_it_ends_at_the_ceiling() -> None:
    pace = busy()
    now = run(pace, 15, 0)
    assert pace.rate == 40
    assert pace.view(BOUNDS, now).direction == "free"


def test_a_pace_nobody_waits_for_does_not_grow() -> None:
    pace = Pace(BOUNDS, 0)
    for now in range(0, 600_000, 1000):
        pace.ask(BOUNDS, now)
        pace.good(BOUNDS, now)
    assert pace.rate == 10
    assert pace.view(BOUNDS, 600_000).direction == "free", "nothing ever waited"


# Cuts


def test_it_is_cut_to_half() -> None:
    pace = busy()
    run(pace, 15, 0)
    assert pace.trouble(BOUNDS, 15_000, 15_000, WHY) == Cut(15_000, 0.5, pace.rate, 30_000, WHY)
    assert pace.rate == pytest.approx(20, rel=0.1)


def test_forty_replies_of_a_second_are_one_signal() -> None:
    pace = busy()
    now = run(pace, 15, 0)
    cuts = [pace.trouble(BOUNDS, now - 500, now + step * 25, WHY) for step in range(40)]
    assert sum(cut is not None for cut in cuts) == 1


def test_replies_to_what_left_before_the_cut_are_that_signal_however_late_they_come() -> None:
    pace = busy()
    assert pace.trouble(BOUNDS, 0, 1000, WHY)
    assert pace.trouble(BOUNDS, 999, 1000 + 2 * HOLD, WHY) is None
    assert pace.trouble(BOUNDS, 1001, 1000 + 2 * HOLD, WHY)


def test_a_cut_begins_at_what_really_went_and_not_at_what_might_have() -> None:
    pace = Pace(FREE, 0)
    for now in range(0, 20_000, 500):
        pace.ask(FREE, now)
    cut = pace.trouble(FREE, 20_000, 20_000, WHY)
    assert cut is not None
    assert cut.rate == pytest.approx(1, rel=0.1)


def test_it_is_never_cut_below_its_floor() -> None:
    bounds = Bounds(start=10, floor=2, ceiling=40)
    pace, now = busy(bounds), 0
    for _ in range(10):
        now += 2 * HOLD
        drained(pace, now, bounds)
        pace.trouble(bounds, now, now, WHY)
    assert pace.rate == 2


def test_a_rule_says_how_far_and_for_how_long() -> None:
    pace = busy()
    cut = pace.trouble(BOUNDS, 0, 1000, WHY, to=0.25, hold=600_000)
    assert cut == Cut(1000, 0.25, 2.5, 601_000, WHY)
    run(pace, 500, 1000)
    assert pace.rate == 2.5, "good replies change nothing meanwhile"


def test_a_rule_that_says_more_of_the_same_trouble_deepens_the_cut_once() -> None:
    pace = busy()
    pace.trouble(BOUNDS, 0, 1000, WHY)
    deeper = pace.trouble(BOUNDS, 0, 1200, "451 4.7.650", to=0.25, hold=600_000)
    assert deeper == Cut(1000, 0.25, 2.5, 601_200, "451 4.7.650")
    assert pace.trouble(BOUNDS, 0, 1300, "451 4.7.650", to=0.25, hold=600_000) is None
    assert pace.rate == 2.5


def test_after_a_cut_nothing_goes_at_once() -> None:
    pace = Pace(BOUNDS, 0)
    pace.trouble(BOUNDS, 0, 0, WHY)
    assert pace.ask(BOUNDS, 0) > 0


# Recovery


def test_it_does_not_grow_while_the_cut_is_fresh() -> None:
    pace = busy()
    run(pace, 15, 0)
    pace.trouble(BOUNDS, 15_000, 15_000, WHY)
    run(pace, HOLD // 1000 - 1, 15_000)
    assert pace.rate == pytest.approx(20, rel=0.1)
    assert pace.view(BOUNDS, 16_000).direction == "down"


def test_it_is_back_in_five_minutes_in_a_straight_line() -> None:
    pace = busy()
    now = run(pace, 20, 0)
    pace.trouble(BOUNDS, now, now, WHY)
    now = run(pace, 15 + 150, now)
    assert pace.rate == pytest.approx(30, rel=0.1)
    view = pace.view(BOUNDS, now)
    assert (view.direction, view.since, view.why) == ("recovering", 20_000, WHY)
    run(pace, 160, now)
    assert pace.rate == 40


def test_above_where_the_trouble_began_it_doubles_slowly() -> None:
    bounds = Bounds(start=10, floor=0.1)
    pace = busy(bounds)
    pace.trouble(bounds, 0, 1000, WHY)
    now = run(pace, 15 + 300, 1000, bounds)
    assert pace.rate == pytest.approx(10, rel=0.1)
    run(pace, 180, now, bounds)
    assert pace.rate == pytest.approx(20, rel=0.15)


def test_after_an_hour_without_trouble_the_past_is_the_past() -> None:
    pace = busy()
    pace.trouble(BOUNDS, 0, 1000, WHY)
    pace.ask(BOUNDS, 1000 + QUIET + 1)
    assert (pace.rate, pace.why) == (10, "")


def test_without_slow_start_it_is_free_again_after_that_hour() -> None:
    pace = Pace(FREE, 0)
    pace.trouble(FREE, 0, 1000, WHY)
    run(pace, 60, 1000, FREE)
    assert pace.rate < inf
    pace.ask(FREE, 1000 + QUIET + 1)
    assert pace.rate == inf


def test_a_site_that_was_down_is_soon_given_what_it_took_before() -> None:
    """Cuts without a single good reply between them say nothing of the pace it takes."""
    pace = busy()
    now = run(pace, 20, 0)
    for _ in range(20):
        drained(pace, now)
        pace.trouble(BOUNDS, now, now, WHY)
        now += 2 * HOLD
    assert pace.rate == pytest.approx(0.1)
    run(pace, 300, now)
    assert pace.rate == pytest.approx(20, rel=0.1)


# Among workers


def test_a_cut_that_another_made_is_one_of_our_own() -> None:
    one, other = busy(), busy(Bounds(start=4, floor=0.1, ceiling=40))
    cut = one.trouble(BOUNDS, 0, 5000, WHY)
    assert cut is not None
    other.heard(BOUNDS, cut, 5500)
    assert other.rate == pytest.approx(2)
    assert other.trouble(BOUNDS, 5400, 6000, WHY) is None, "its own reply is the same signal"


def test_a_cut_heard_after_our_own_of_the_same_round_changes_nothing() -> None:
    pace = busy()
    pace.trouble(BOUNDS, 0, 5000, WHY)
    pace.heard(BOUNDS, Cut(5300, 0.5, 3.0, 20_300, WHY), 6000)
    assert pace.rate == 5


def test_old_news_is_no_news() -> None:
    pace = busy(now=QUIET)
    pace.heard(BOUNDS, Cut(1, 0.5, 3.0, 15_000, WHY), 2 * QUIET)
    assert pace.rate == 10


def test_one_that_is_new_begins_where_others_were_cut_to() -> None:
    pace = Pace(BOUNDS, 60_000)
    pace.begin_cut(BOUNDS, Cut(50_000, 0.5, 3.0, 65_000, WHY), 60_000)
    assert pace.view(BOUNDS, 60_000) == View(3.0, 40, "down", 50_000, WHY)
    assert drained(pace, 60_000) == 1
    later = Pace(BOUNDS, 2 * QUIET)
    later.begin_cut(BOUNDS, Cut(50_000, 0.5, 3.0, 65_000, WHY), 2 * QUIET)
    assert later.rate == 10


# Against a provider that tightens and loosens (bench/pace.py draws it)


@pytest.mark.parametrize("workers", [1, 4])
def test_it_finds_what_a_provider_takes_and_rarely_more(workers: int) -> None:
    series = simulate(lambda now: 12 if now < 600_000 else 60, 1300, workers=workers)
    tight, after = series[120:600], series[600:]
    taken = sum(second.taken for second in tight) / len(tight)
    assert 0.65 * 12 < taken <= 12
    assert sum(second.refused for second in tight) < 0.02 * sum(second.taken for second in tight)
    assert after[-1].pace == 40
    assert not sum(second.refused for second in after)


def test_telling_each_other_of_cuts_spares_refusals() -> None:
    alone, told = (simulate(lambda _: 12, 600, workers=8, tell=tell) for tell in (False, True))
    assert sum(s.refused for s in told) < sum(s.refused for s in alone)


@given(st.lists(st.sampled_from(["good", "trouble", "ask", "urgent", "tick", "hour", "back"]), max_size=200))
def test_whatever_happens_it_stays_between_floor_and_ceiling(steps: list[str]) -> None:
    pace, now = Pace(BOUNDS, 0), 0
    for step in steps:
        match step:
            case "good":
                pace.good(BOUNDS, now)
            case "trouble":
                pace.trouble(BOUNDS, now, now, WHY)
            case "ask" | "urgent":
                again = pace.ask(BOUNDS, now, urgent=step == "urgent")
                assert again == 0 or now < again <= now + 60_000 * 60
            case "tick":
                now += 700
            case "hour":
                now += QUIET
            case _:
                pace.give_back()
        assert BOUNDS.floor <= pace.rate <= BOUNDS.ceiling


# Signs


def outcome(code: int, enhanced: str = "", command: str = "END", text: str = "no") -> Outcome:
    return Outcome(Reply(code, enhanced, text), command)


def ours(code: int, enhanced: str, command: str, scope: Scope = Scope.HOST, text: str = "") -> Outcome:
    return Outcome(Reply(code, enhanced, text), command, scope, internal=True)


@pytest.mark.parametrize(
    ("said", "category", "sign"),
    [
        (outcome(250, "2.0.0"), "", Sign.GOOD),
        (outcome(421, "4.7.28", "MAIL"), "rate-limited", Sign.TROUBLE),
        (outcome(421, "", "CONNECT"), "remote-error", Sign.TROUBLE),
        (outcome(421, "4.2.1", "RCPT"), "", Sign.TROUBLE),
        (outcome(451, "4.7.650", "MAIL"), "rate-limited", Sign.TROUBLE),
        (outcome(451, "4.7.1", "RCPT"), "other", Sign.TROUBLE),
        (outcome(451, "4.7.1", "RCPT"), "greylisted", None),
        (outcome(454, "4.7.0", "STARTTLS"), "tls-failure", None),
        (outcome(452, "4.3.2", "MAIL"), "remote-error", Sign.TROUBLE),
        (outcome(450, "4.2.1", "RCPT"), "rate-limited", None),
        (outcome(452, "", "CONNECT"), "rate-limited", Sign.TROUBLE),
        (outcome(550, "5.7.1", "MAIL"), "reputation-block", Sign.TROUBLE),
        (outcome(550, "5.7.1"), "spam-block", None),
        (outcome(550, "5.1.1", "RCPT"), "bad-mailbox", None),
        (ours(421, "4.4.1", "CONNECT"), "", Sign.TROUBLE),
        (ours(421, "4.4.2", "DATA", Scope.SITE), "", Sign.TROUBLE),
        (ours(451, "4.4.3", "DNS", Scope.SITE), "", None),
        (ours(451, "4.4.4", "CONNECT", Scope.SOURCE), "", None),
        (ours(552, "5.3.4", "MAIL", Scope.MESSAGE), "", None),
        (ours(451, "4.7.10", "STARTTLS"), "", None),
    ],
)
def test_what_is_a_sign_of_what(said: Outcome, category: str, sign: Sign | None) -> None:
    assert sign_of(said, category) is sign


# For people


def test_words() -> None:
    assert words(View(31.2, 40, "recovering", 1, WHY), "14:02") == "31 of 40/s, recovering since 14:02 (421 4.7.28)"
    assert words(View(9, 25, "down", 1, WHY), "14:02") == "9 of 25/s, slower since 14:02 (421 4.7.28)"
    assert words(View(12, 40, "starting", 0, ""), "") == "12 of 40/s, starting"
    assert words(View(0.1, 40, "down", 1, WHY), "14:02") == "6/min of 40/s, slower since 14:02 (421 4.7.28)"
    assert words(View(3.5, inf, "recovering", 1, WHY), "14:02") == "3.5/s, recovering since 14:02 (421 4.7.28)"
    assert words(View(inf, 40, "free", 0, ""), "") == "free"


@pytest.mark.parametrize(
    ("rate", "text"),
    [(100.4, "100/s"), (9.0, "9/s"), (0.5, "0.5/s"), (0.1, "6/min"), (0.001, "0.06/min"), (inf, "free")],
)
def test_rates_as_people_write_them(rate: float, text: str) -> None:
    assert rate_text(rate) == text


def test_a_reply_in_short() -> None:
    assert in_short(outcome(421, "4.7.28")) == "421 4.7.28"
    assert in_short(outcome(421, text="too many connections from your address, slow down")) == (
        "421 too many connections from your address,"
    )
    assert in_short(ours(421, "4.4.1", "CONNECT", text="connection refused")) == "connection refused"


def test_only_short_limits_are_a_pace() -> None:
    assert per_second(Rate(40, 1, "", "40/second")) == 40
    assert per_second(Rate(600, 60, "", "600/minute")) == 10
    assert per_second(Rate(1000, 86_400, "", "1000/24h")) == inf
    assert per_second(Rate(1000, 90_000, "day", "1000/day")) == inf
    assert per_second(None) == inf


def test_what_says_nothing_any_more_is_forgotten() -> None:
    calm, cut = Pace(BOUNDS, 0), Pace(BOUNDS, 0)
    cut.trouble(BOUNDS, 0, 1, WHY)
    assert (calm.forgettable(IDLE), calm.forgettable(IDLE + 1)) == (False, True)
    assert (cut.forgettable(QUIET), cut.forgettable(QUIET + 1)) == (False, True)


def test_repr() -> None:
    pace = busy()
    assert repr(pace) == "<Pace 10/s>"
    pace.trouble(BOUNDS, 0, MEASURED, WHY)
    assert repr(pace) == "<Pace 5/s cut: 421 4.7.28>"
