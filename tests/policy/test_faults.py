"""Refusals that blame the sender are told where a handful is most of a stream's mail, and are over when mail goes through."""

from dataclasses import replace

from relay.policy.faults import DAY, Fault, look
from relay.policy.tallies import HOUR, QUARTER, Faults, Hour, Sums

NOW = 494_400 * HOUR + 3 * QUARTER + 60_000
AUTH = ("helpdesk", "auth-failure")


def hours(*parts: tuple[int, int, int], put_off: int = 0, urgent: bool = True) -> list[Hour]:
    """Of quarters ago: what was sent, what of it was refused."""
    made: dict[int, Hour] = {}
    for ago, sent, refused in parts:
        at = NOW // QUARTER * QUARTER - ago * QUARTER
        hour = made.setdefault(at // HOUR, Hour(at // HOUR * HOUR))
        hour.streams.setdefault((AUTH[0], urgent), {})[at] = Sums(sent - refused, refused)
        if refused or put_off:
            found = Faults(refused + put_off, put_off, "550 5.7.26", "a.example")
            hour.faults.setdefault(AUTH, {})[at] = found
    return list(made.values())


def found(parts: list[Hour], known: Fault | None = None, now: int = NOW) -> list[Fault]:
    return list(look(parts, {known.key: known} if known is not None else {}, now))


def test_a_handful_is_enough_where_all_are_refused() -> None:
    for urgent in (True, False):
        (one,) = found(hours((0, 12, 12), urgent=urgent))
        assert (one.key, one.refused, one.of, one.share, one.most) == (AUTH, 12, 12, 1.0, True)
        assert (one.said, one.domain, one.lasts) == ("550 5.7.26", "a.example", True)
    assert found(hours((0, 4, 4))) == []
    assert len(found(hours((9, 2, 2), (3, 2, 2), (0, 1, 1)))) == 1, "of little mail it takes hours"
    assert found(hours((97, 4, 4), (0, 4, 4))) == [], "but no more than a day"


def test_small_numbers_and_odd_sites_do_not_trip_it() -> None:
    assert found(hours((0, 11, 5))) == [], "not most of it"
    assert found(hours((0, 180, 9))) == [], "too few"
    assert found(hours((0, 300, 14))) == [], "of too many"
    (some,) = found(hours((0, 200, 10)))
    assert (some.share, some.most) == (0.05, False)


def test_what_went_well_before_hides_nothing() -> None:
    (one,) = found(hours((9, 400, 0), (2, 300, 0), (1, 5, 5), (0, 4, 4)))
    assert (one.refused, one.of) == (9, 9)


def test_what_is_put_off_counts_as_mail() -> None:
    (one,) = found(hours((0, 4, 0), put_off=8))
    assert (one.refused, one.of) == (8, 12)
    late = hours((0, 2, 0))
    late[0].faults[AUTH] = {NOW // QUARTER * QUARTER: Faults(6, 0, "550 5.7.26", "a.example")}
    assert [(late_one.refused, late_one.of) for late_one in found(late)] == [(6, 6)], "it was sent before"


def test_it_is_over_when_mail_goes_through_and_begins_anew_after_that() -> None:
    (bad,) = found(hours((5, 12, 12)))
    assert found(hours((5, 12, 12), (0, 4, 0)), bad) == [], "luck"
    assert found(hours((5, 12, 12), (1, 10, 1), (0, 4, 0)), bad) == []
    (over,) = found(hours((5, 12, 12), (0, 5, 0)), bad)
    assert over == replace(bad, until=NOW)
    assert not over.lasts
    assert found(hours((5, 12, 12), (0, 5, 1)), over) == [], "what was before does not count again"
    (again,) = found(hours((5, 12, 12), (0, 10, 5)), over)
    assert (again.refused, again.of, again.lasts) == (5, 10, True)


def test_a_node_whose_clock_is_ahead_makes_it_end_and_begin_at_no_look() -> None:
    (bad,) = found(hours((0, 12, 12), (-2, 50, 0)))
    assert found(hours((0, 12, 12), (-2, 50, 0)), bad) == []


def test_where_few_are_refused_more_has_to_go_through() -> None:
    (some,) = found(hours((5, 200, 10)))
    assert found(hours((5, 200, 10), (0, 99, 0)), some) == []
    assert len(found(hours((5, 200, 10), (0, 100, 0)), some)) == 1


def test_it_is_over_after_a_day_without_a_refusal() -> None:
    (bad,) = found(hours((0, 12, 12)))
    assert found(hours((0, 12, 12)), bad, NOW + DAY - QUARTER) == []
    assert [one.lasts for one in found(hours((0, 12, 12)), bad, NOW + DAY + QUARTER)] == [False]
    assert [one.lasts for one in found([], bad)] == [False]


def test_what_gets_worse_is_told_as_it_is_now() -> None:
    (some,) = found(hours((5, 200, 10)))
    (worse,) = found(hours((5, 200, 10), (0, 20, 20)), some)
    assert (worse.since, worse.share, worse.until) == (some.since, 1.0, None)
    assert found(hours((5, 200, 10), (0, 40, 40)), worse) == []


def test_it_is_kept_as_text() -> None:
    one = Fault(*AUTH, NOW, 5, 5, "550", "a.example")
    assert Fault.load(one.dump()) == one
    assert Fault.load(one.dump().replace("{", '{"newer": 1, ')) == one
    assert one.name == "auth-failure helpdesk"
