"""An automation that fewer and fewer care for is told of; one that is as it was is not."""

from relay.policy.decay import KEPT, WEEK, Decay, Weeks, decay, decaying

HOURS = WEEK // 3_600_000
NOW = 3_000 * WEEK + WEEK // 2


def weeks(*shares: float, mails: int = 100) -> Weeks:
    """Of the weeks up to this one."""
    made = Weeks()
    for ago, share in zip(reversed(range(len(shares))), shares, strict=True):
        assert made.add((3_000 - ago) * HOURS, mails, round(mails * share))
    return made


def test_a_third_less_is_a_decay() -> None:
    assert decay("welcome", weeks(*[0.6] * 6, *[0.4] * 5), NOW) == Decay("welcome", 0.6, 0.4, 500)
    assert decay("welcome", weeks(*[0.6] * 6, *[0.5] * 5), NOW) is None
    assert decay("welcome", weeks(*[0.0] * 11), NOW) is None, "nobody ever cared"


def test_too_little_says_nothing() -> None:
    assert decay("welcome", weeks(*[0.6] * 3, *[0.1] * 5), NOW) is None, "three weeks before"
    assert decay("welcome", weeks(*[0.6] * 6, *[0.1] * 5, mails=39), NOW) is None
    assert decay("welcome", weeks(*[0.6] * 11), NOW + 30 * WEEK) is None, "it ended long ago"


def test_the_worst_comes_first() -> None:
    streams = {
        "b": weeks(*[0.6] * 6, *[0.3] * 5),
        "a": weeks(*[0.6] * 6, *[0.1] * 5),
        "well": weeks(*[0.6] * 11),
    }
    found = decaying(streams, NOW)
    assert [one.stream for one in found] == ["a", "b"]
    assert str(found[0]) == "stream a: 10 % of its mail goes to people who still care, 60 % did before"


def test_each_hour_counts_once_and_half_a_year_is_kept() -> None:
    made = weeks(*[0.5] * (KEPT + 4))
    assert len(made.counts) == KEPT
    assert not made.add(3_000 * HOURS, 100, 50), "it is in already"
    assert made.add(3_000 * HOURS + 1, 1, 1)
    assert made.counts[3_000] == [101, 51]
    assert Weeks.load(made.dump()) == made
