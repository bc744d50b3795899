"""Flagged checks: counted, and standing until an hour has passed without."""

from relay.policy.checks import Failed
from relay.policy.flags import QUIET, Flags

ADDRESS = Failed("postal-address", "flag", "no address", "CAN-SPAM")
WARNED = Failed("israel-30a", "warn", "no word", "30A(e)")


def news(flags: Flags, now: int) -> list[tuple[str, str, str, int]]:
    return [(state, one.brand, one.check, one.messages) for state, one in flags.news(now)]


def test_one_alert_for_each_brand_and_check() -> None:
    flags = Flags()
    flags.count("arava", [WARNED, ADDRESS], 1000)
    flags.count("arava", [ADDRESS._replace(lacks="no address again")], 2000)
    flags.count("marom", [ADDRESS], 2000)
    assert news(flags, 2000) == [("firing", "arava", "postal-address", 2), ("firing", "marom", "postal-address", 1)]
    flags.count("arava", [ADDRESS], 3000)
    assert news(flags, 3000) == []
    assert flags.totals == {("arava", "postal-address"): 3, ("marom", "postal-address"): 1}
    assert [(one.lacks, one.messages, one.last) for one in flags.standing()] == [
        ("no address", 3, 3000),
        ("no address", 1, 2000),
    ]
    assert repr(flags) == "<Flags arava/postal-address, marom/postal-address>"


def test_it_is_over_when_none_has_come_for_an_hour_and_may_come_again() -> None:
    flags = Flags()
    flags.count("arava", [ADDRESS], 1000)
    assert news(flags, 1000) == [("firing", "arava", "postal-address", 1)]
    flags.count("arava", [ADDRESS], 2000)
    assert news(flags, 2000 + QUIET - 1) == []
    assert news(flags, 2000 + QUIET) == [("resolved", "arava", "postal-address", 2)]
    assert (flags.standing(), repr(flags)) == ([], "<Flags none>")
    flags.count("arava", [ADDRESS], 3 * QUIET)
    assert news(flags, 3 * QUIET) == [("firing", "arava", "postal-address", 1)]
    assert flags.totals == {("arava", "postal-address"): 3}


def test_what_nobody_asked_about_for_hours_is_told_from_its_beginning() -> None:
    flags = Flags()
    flags.count("arava", [ADDRESS], 1000)
    assert [state for state, *_ in news(flags, 2 * QUIET)] == ["firing", "resolved"]


def test_what_is_only_a_warning_does_not_stand() -> None:
    flags = Flags()
    flags.count("arava", [WARNED], 1000)
    assert (news(flags, 1000), flags.totals) == ([], {})
