"""Shares over limits, what follows from them, and the way back."""

from dataclasses import replace

import pytest

from relay.message import MailClass
from relay.policy.health import (
    COMPLAINTS,
    DAY,
    NEVER,
    RETURNING,
    SLOW,
    SUSPENDED,
    WATCHED,
    WELL,
    Finding,
    Health,
    Limit,
    Limits,
    Slowed,
    Standing,
    find,
    next_of,
    percent,
    usual_of,
)
from relay.policy.tallies import HOUR, QUARTER, Hour, Sums
from tests.support.house import waiting_delivery

NOW = 494_400 * HOUR + QUARTER
KEY = ("win-back", False)
LIMITS = Limits(min_messages=100, hard_bounces=Limit(slow=0.01, suspend=0.03), unsubscribes=Limit(alert=0.01))


def hours(*parts: tuple[int, Sums]) -> list[Hour]:
    """Of ms ago."""
    made = []
    for ago, sums in parts:
        at = (NOW - ago) // QUARTER * QUARTER
        made.append(Hour(at // HOUR * HOUR, {KEY: {at: sums}}, {KEY: sums}))
    return made


def found(*parts: tuple[int, Sums], limits: Limits = LIMITS, since: int = 0) -> Finding | None:
    return find(hours(*parts), KEY, limits, since, NOW)


def test_a_share_over_its_limit_is_said_as_screens_have_it() -> None:
    one = found((HOUR, Sums(delivered=1239, bounced=41, hard=41)))
    assert one is not None
    assert one.action == "suspend"
    assert str(one) == "hard bounces 3.2 % of 1280 in 24h, limit 3 %"
    assert [percent(share) for share in (0.0035, 0.001, 0.05, 0.125, 1.0)] == [
        "0.35 %",
        "0.1 %",
        "5 %",
        "12.5 %",
        "100 %",
    ]


def test_few_messages_say_nothing() -> None:
    assert found((HOUR, Sums(delivered=50, bounced=49, hard=49))) is None
    assert found((HOUR, Sums(delivered=50, bounced=50, hard=50))) is not None
    assert found((2 * DAY, Sums(delivered=99, unsubscribed=99, bounced=0))) is None


def test_the_worst_is_told() -> None:
    bad = Sums(delivered=970, bounced=30, hard=20, unsubscribed=300)
    one = found((HOUR, bad))
    assert one is not None
    assert (one.action, one.measure) == ("slow", "hard_bounces"), "an alert is less than that"
    assert found((HOUR, Sums(delivered=1000, unsubscribed=10))) == Finding(
        "alert", "unsubscribes", 0.01, 1000, 0.01, DAY
    )
    assert found((HOUR, Sums(delivered=1000, spam=900))) is None, "there is no limit"


def test_complaints_are_of_mail_to_sites_that_report_them() -> None:
    shipped = Limits()
    assert found((HOUR, Sums(delivered=90_000, reporting=1000, complaints=3)), limits=shipped) is not None
    assert found((HOUR, Sums(delivered=90_000, reporting=499, complaints=40)), limits=shipped) is None
    one = found((HOUR, Sums(delivered=90_000, reporting=10_000, complaints=12.5)), limits=shipped)
    assert one is not None
    assert str(one) == "complaints 0.12 % of 10000 in 24h, limit 0.1 %"
    assert (shipped.complaints, shipped.hard_bounces.suspend, shipped.spam_blocks) == (COMPLAINTS, 0.05, NEVER)


def test_what_came_late_suspends_and_does_not_slow() -> None:
    late = (2 * DAY, Sums(delivered=1000, bounced=0, hard=40))
    good = (HOUR, Sums(delivered=1000))
    one = found(late, good)
    assert one is not None
    assert one.action == "suspend"
    assert " before 20" in str(one)
    assert found((2 * DAY, Sums(delivered=1000, hard=20)), good) is None, "later mail was good"
    slow = found((2 * DAY, Sums(delivered=1000, hard=20)), (HOUR, Sums(delivered=50)))
    assert slow is not None
    assert slow.action == "slow", "nothing later says better"
    assert found((5 * DAY, Sums(delivered=1000, hard=1000))) is None


def test_what_was_sent_before_it_was_resumed_does_not_count() -> None:
    bad = (3 * HOUR, Sums(delivered=1000, hard=400))
    assert found(bad) is not None
    assert found(bad, since=NOW - 2 * HOUR) is None
    assert found(bad, since=NOW) is None


def step(
    before: Standing | None,
    one: Finding | None,
    now: int = NOW,
    *,
    usual: int = 8000,
    held: bool = True,
    urgent: bool = False,
) -> Standing | None:
    return next_of(before, one, ("win-back", urgent), usual, LIMITS, now, held=held)


SUSPEND = Finding("suspend", "hard_bounces", 0.032, 1280, 0.03, DAY)
SLOWER = SUSPEND._replace(action="slow", limit=0.01)
ALERT = Finding("alert", "unsubscribes", 0.02, 1000, 0.01, DAY)


def test_a_stream_is_suspended_and_comes_back_by_and_by() -> None:
    one = step(None, SUSPEND)
    assert one is not None
    assert (one.state, one.rate, one.reason) == (SUSPENDED, 100, "hard bounces 3.2 % of 1280 in 24h, limit 3 %")
    assert one.troubled
    assert step(one, None) == one, "as long as nobody resumes it"
    back = step(one, SUSPEND, NOW + 1, held=False)
    assert back is not None
    assert (back.state, back.rate, back.since) == (RETURNING, 100, NOW + QUARTER)
    assert back.slowed
    assert not back.troubled
    rates = []
    while back is not None and back.rate:
        rates.append(back.rate)
        assert step(back, None, back.changed + HOUR - 1) == back
        back = step(back, None, back.changed + HOUR)
    assert rates == [100 * 2**n for n in range(8)]
    assert back is not None
    assert back.state == WELL
    assert back.since == NOW + QUARTER, "the old counts do not suspend it again"
    assert step(back, None, NOW + 2 * DAY) == back
    assert step(back, None, NOW + 5 * DAY) is None


def test_it_is_suspended_again_where_its_mail_is_no_better() -> None:
    back = Standing("win-back", RETURNING, rate=200, usual=8000, since=NOW - HOUR, changed=NOW - HOUR)
    again = step(back, SUSPEND)
    assert again is not None
    assert (again.state, again.rate, again.since) == (SUSPENDED, 100, NOW - HOUR)


def test_a_stream_is_slowed_until_nothing_is_found() -> None:
    one = step(None, SLOWER)
    assert one is not None
    assert (one.state, one.rate, one.usual) == (SLOW, 2000, 8000)
    assert step(one, SLOWER, NOW + DAY) == one
    better = step(one, None, NOW + HOUR)
    assert better is not None
    assert (better.state, better.rate) == (RETURNING, 4000)
    worse = step(better, SLOWER, NOW + 2 * HOUR)
    assert worse is not None
    assert (worse.state, worse.rate) == (SLOW, 2000)
    small = step(None, SLOWER, usual=100)
    assert small is not None
    assert small.rate == 100
    suspended = step(one, SUSPEND)
    assert suspended is not None
    assert suspended.state == SUSPENDED


def test_a_stream_is_only_told_of_where_the_limit_says_so() -> None:
    one = step(None, ALERT)
    assert one is not None
    assert (one.state, one.rate, one.slowed, one.troubled) == (WATCHED, 0, False, True)
    assert step(one, ALERT._replace(share=0.03), NOW + 1) == one
    assert step(one, None) is None
    slow = step(one, SLOWER)
    assert slow is not None
    assert slow.state == SLOW
    well = Standing("win-back", WELL, since=NOW - HOUR)
    told = step(well, ALERT)
    assert told is not None
    assert (told.state, told.since) == (WATCHED, NOW - HOUR)
    after = step(told, None)
    assert after is not None
    assert after.state == WELL


def test_transactional_mail_is_only_told_of() -> None:
    one = step(None, SUSPEND, urgent=True)
    assert one is not None
    assert (one.state, one.rate, one.name, one.slowed) == (WATCHED, 0, "win-back urgent", False)
    assert step(one, SUSPEND, NOW + 1, urgent=True) == one
    assert step(one, None, urgent=True) is None


def test_slowed_streams_hold_back_what_is_not_transactional() -> None:
    slowed = Slowed()
    assert not slowed
    assert repr(slowed) == "<Slowed none>"
    slowed.put([Standing("news", SLOW, "it is so", rate=300), Standing("other", WELL)])
    assert slowed
    delivery = waiting_delivery()
    message = delivery.message
    for mail_class, paced in ((MailClass.TRANSACTIONAL, False), (MailClass.SERVICE, True), (MailClass.MARKETING, True)):
        delivery.message = replace(message, stream="news", mail_class=mail_class)
        assert (slowed.pace(delivery) is not None) is paced
    pace = slowed.pace(delivery)
    assert pace is not None
    assert (pace.rate.count, pace.rate.window, str(pace)) == (300, 3600, "stream news (it is so) is over 300/hour")
    delivery.message.contradiction = "rerouted"
    assert slowed.pace(delivery) is None
    delivery.message = replace(message, stream="other", mail_class=MailClass.MARKETING)
    assert slowed.pace(delivery) is None


def test_limits_by_stream_and_how_long_mail_counts() -> None:
    health = Health(Limits(), {"win-back": LIMITS, "digest": Limits(over=7 * DAY)})
    assert health.of("win-back") is LIMITS
    assert health.of("news") == Limits()
    assert health.horizon == 10 * DAY
    assert str(Finding("slow", "spam_blocks", 0.5, 10, 0.1, 7 * DAY)) == "spam blocks 50 % of 10 in 7d, limit 10 %"


def test_what_is_usual_is_the_busiest_hour() -> None:
    several = hours((HOUR, Sums(delivered=5, bounced=1)), (2 * HOUR, Sums(delivered=3)))
    assert usual_of(several, KEY) == 6
    assert usual_of(several, ("other", False)) == 0


def test_it_is_kept_as_text() -> None:
    one = Standing("win-back", SLOW, "because", "complaints", 100, 200, 1, 2, 3)
    assert Standing.load(one.dump()) == one
    assert Standing.load(one.dump().replace("{", '{"newer": 1, ')) == one
    with pytest.raises(TypeError):
        Standing.load("{}")
