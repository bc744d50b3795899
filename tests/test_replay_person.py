"""One person's mail of the past under caps: each way in which it can end, in the order of time."""

from typing import Any

import pytest

from relay.identity import Rate
from relay.message import MailClass, Message
from relay.policy.caps import Cap, Caps
from relay.policy.streams import Stream
from relay.replay_person import End, Life, Older, Under, relive
from relay.room import mark_of

NOW = 1_795_262_400_000  # 2026-11-21T12:00:00Z, a Saturday
HOUR, DAY = 3_600_000, 86_400_000
MARKETING, SERVICE = MailClass.MARKETING, MailClass.SERVICE
A_DAY = Rate(1, 90_000, "day", "1/day")
TWO_A_WEEK = Rate(2, 7 * 86_400, "", "2/7d")
MARK, OTHER = mark_of("a", "marketing"), mark_of("b", "marketing")


def cap(*limits: Rate, over: str = "postpone", brands: tuple[str, ...] = ("a",), **more: Any) -> Cap:
    classes = {"counts": frozenset({MARKETING}), "blocks": frozenset({MARKETING})} | more
    return Cap("one", frozenset(brands), limits=limits, over=over, **classes)


def under(*caps: Cap, **streams: Stream) -> Under:
    return Under(Caps(caps, {"a": "UTC", "b": "UTC"}), streams.get)


def message(at: int, mail_class: MailClass = MARKETING, brand: str = "a", **more: Any) -> Message:
    return Message("", NOW + at, "crm", brand, "news", mail_class, "", "", "", 0, **more)


def mail(at: int, *, lag: int = 1_000, **more: Any) -> tuple[Life, Message | None]:
    """Handed in at `at` (ms from NOW)."""
    life = {name: more.pop(name) for name in ("pauses", "arrived", "over", "free") if name in more}
    return Life(f"{at}", lag=lag, **life), message(at, **more)


def ends(found: list[End]) -> list[tuple[str, int]]:
    """How, and when by the hour from NOW."""
    return [(one.how, (one.at - NOW) // HOUR if one.at else 0) for one in found]


def test_without_caps_or_room_enough_everything_goes_at_once() -> None:
    some = [mail(0), mail(HOUR), mail(2 * HOUR, mail_class=MailClass.TRANSACTIONAL), mail(2 * HOUR, brand="")]
    assert {end.how for end in relive([], [], some, under())} == {"went"}
    assert {end.how for end in relive([], [], some, under(cap(TWO_A_WEEK)))} == {"went"}
    assert relive([], [], [(Life("x"), None)], under()) == [End("")], "refused, so nobody asks caps"


def test_over_the_cap_it_waits_until_the_window_lets_it_in() -> None:
    found = relive([], [], [mail(0), mail(HOUR), mail(2 * HOUR)], under(cap(TWO_A_WEEK)))
    assert ends(found) == [("went", 0), ("went", 1), ("postponed", 7 * 24)]
    assert found[2].cap == "one"
    assert ends(relive([], [], [mail(0), mail(HOUR)], under(cap(A_DAY)))) == [("went", 0), ("postponed", 12)], (
        "midnight"
    )


@pytest.mark.parametrize(("over", "how"), [("drop", "dropped"), ("reject", "refused")])
def test_dropped_and_refused_mail_uses_nothing_up(over: str, how: str) -> None:
    found = relive([], [], [mail(0), mail(HOUR), mail(DAY)], under(cap(A_DAY, over=over)))
    assert ends(found) == [("went", 0), (how, 0), ("went", 24)]


def test_what_was_sent_before_counts_and_other_brands_where_the_cap_says_so() -> None:
    before = [(NOW // 1000 - 86_400, MARK), (NOW // 1000 - 86_400, OTHER)]
    assert ends(relive(before, [], [mail(0), mail(1)], under(cap(TWO_A_WEEK)))) == [("went", 0), ("postponed", 6 * 24)]
    both = under(cap(TWO_A_WEEK, brands=("a", "b")))
    assert ends(relive(before, [], [mail(0)], both)) == [("postponed", 6 * 24)]


def test_older_mail_under_way_holds_its_place_and_then_counts_or_does_not() -> None:
    for arrived, how in ((True, "postponed"), (False, "went")):
        older = [Older(MARK, NOW - HOUR, NOW + HOUR, arrived)]
        found = relive([], older, [mail(30 * 60_000), mail(2 * HOUR)], under(cap(A_DAY, over="drop")))
        assert found[0].how == "dropped"
        assert found[1].how == {"postponed": "dropped", "went": "went"}[how]


def test_a_bounce_gives_its_place_back() -> None:
    some = [mail(0, arrived=False, lag=HOUR), mail(HOUR // 2), mail(2 * HOUR)]
    assert ends(relive([], [], some, under(cap(A_DAY)))) == [("went", 1), ("postponed", 1), ("postponed", 12)]


def test_room_goes_to_the_higher_priority_first() -> None:
    some = [mail(0), mail(HOUR), mail(2 * HOUR, priority=5)]
    patient = under(cap(A_DAY, Rate(9, 7 * 86_400, "", "9/7d")))
    assert ends(relive([], [], some, patient)) == [("went", 0), ("postponed", 36), ("postponed", 12)]


def test_what_waits_too_long_is_stale_or_given_up() -> None:
    some = [mail(0), mail(HOUR, valid_until=NOW + 3 * HOUR), mail(2 * HOUR)]
    found = relive([], [], some, under(cap(TWO_A_WEEK), cap(Rate(1, 7 * 86_400, "", "1/7d"))))
    assert [end.how for end in found] == ["went", "stale", "postponed"]
    by_stream = under(cap(A_DAY), news=Stream("news", "", valid_for=2 * HOUR))
    assert [end.how for end in relive([], [], [mail(0), mail(HOUR)], by_stream)] == ["went", "stale"]
    crowd = [mail(number * 60_000, lag=9 * DAY) for number in range(3)]
    assert ends(relive([], [], crowd, under(cap(A_DAY))))[1:] == [("given-up", 0), ("given-up", 0)]


def test_what_was_withheld_while_it_waited_ends_then() -> None:
    cancelled = mail(HOUR, over=NOW + 5 * HOUR, free=False)
    assert [end.how for end in relive([], [], [mail(0), cancelled], under(cap(A_DAY)))] == ["went", "gone"]
    assert ends(relive([], [], [mail(0), cancelled], under(cap(TWO_A_WEEK)))) == [("went", 0), ("went", 1)]


def test_other_waiting_leaves_the_place_to_others_and_is_waited_for_again() -> None:
    held = mail(0, pauses=[(NOW, NOW + 6 * HOUR)])
    assert ends(relive([], [], [held, mail(HOUR)], under(cap(A_DAY)))) == [("postponed", 12), ("went", 1)]
    later = mail(0, pauses=[(NOW + HOUR, NOW + HOUR), (NOW + HOUR, NOW + 6 * HOUR)])
    found = relive([], [], [later, mail(2 * HOUR)], under(cap(A_DAY)))
    assert ends(found) == [("postponed", 12), ("went", 2)], "it held its place for an hour"
    let_in = mail(0, pauses=[(NOW + HOUR, NOW + 6 * HOUR)], free=False)
    assert ends(relive([], [], [let_in], under(cap(A_DAY)))) == [("went", 0)], (
        "a cap held it until that pause, now none does"
    )
    send_at = mail(0, send_at=NOW + 3 * HOUR)
    assert ends(relive([], [], [send_at, mail(HOUR)], under(cap(A_DAY)))) == [("postponed", 12), ("went", 1)]


def test_mail_that_is_only_counted_and_rerouted_mail_are_never_held() -> None:
    counting = under(cap(A_DAY, counts=frozenset({MARKETING, SERVICE})))
    some = [mail(0, mail_class=SERVICE), mail(HOUR, contradiction="rerouted"), mail(2 * HOUR)]
    assert ends(relive([], [], some, counting)) == [("went", 0), ("went", 1), ("postponed", 12)]
