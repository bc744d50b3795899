"""A site that says "no such user" to everybody is doubted, one that says it of a bad list or as ever is not."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from relay.policy.badhour import CONFIRMED, DAY, SILENT, BadHour, look, of_dns
from relay.policy.tallies import HOUR, QUARTER, Hour
from relay.tally import DNS

NOW = 494_400 * HOUR + 3 * QUARTER + 60_000
SITE = "google"


def hours(*parts: tuple[int, str, int, int]) -> list[Hour]:
    """Of quarters ago: a stream, what it sent, what bounced hard."""
    made: dict[int, Hour] = {}
    for ago, stream, sent, hard in parts:
        at = NOW // QUARTER * QUARTER - ago * QUARTER
        by_stream = made.setdefault(at // HOUR, Hour(at // HOUR * HOUR)).sites.setdefault(SITE, {})
        by_stream[at, stream] = (sent, hard)
    return list(made.values())


def found(parts: list[Hour], known: Mapping[str, BadHour] | None = None, now: int = NOW) -> list[BadHour]:
    return list(look(parts, known or {}, now))


def test_everybody_unknown_for_two_streams_or_half_of_all_of_one_is_a_bad_hour() -> None:
    (one,) = found(hours((0, "news", 40, 10), (0, "order", 20, 6)))
    assert (one.site, one.of, one.until) == (SITE, 60, None)
    assert one.share == pytest.approx(16 / 60)
    assert one.doubted
    assert not one.known
    assert not one.covers(NOW), "nobody knows that it ever took mail: it may be a dead domain of an old list"
    assert found(hours((0, "news", 40, 16))) == [], "one stream may have a bad list"
    assert [two.share for two in found(hours((1, "news", 40, 20)))] == [0.5]
    assert found(hours((0, "news", 9, 9))) == [], "so few may be a typing error"
    assert found(hours((0, "news", 15, 8), (0, "order", 100, 2))) == [], "nor is one stream among others a bad hour"


def test_what_is_usual_there_is_none() -> None:
    usual = [(ago, "news", 100, 30) for ago in range(6, 20)]
    assert found(hours(*usual, (0, "news", 100, 60), (0, "order", 100, 60))) == []
    low = [(ago, "news", 100, 1) for ago in range(6, 20)]
    (one,) = found(hours(*low, (0, "news", 100, 60)))
    assert one.usual == pytest.approx(0.01)
    assert one.known
    assert one.covers(NOW)
    assert not one.covers(NOW - HOUR)


def test_it_goes_on_while_it_is_seen_and_is_over_when_mail_is_taken_again() -> None:
    (bad,) = found(hours(*((ago, "news", 100, 1) for ago in range(6, 9)), (0, "news", 20, 20)))
    known = {SITE: bad}
    assert found(hours((0, "news", 20, 20)), known) == [], "nothing new"
    later = NOW + QUARTER
    (still,) = found(hours((0, "news", 20, 20)), known, later)
    assert (still.last, still.until) == (later, None)
    assert found(hours((0, "news", 4, 0)), known, NOW) == []
    (over,) = found(hours((0, "news", 5, 0)), known, NOW)
    assert over.until == NOW
    assert not over.doubted
    assert not over.covers(NOW)
    assert over.covers(NOW - 60_000)


def test_it_is_over_where_nothing_more_is_heard() -> None:
    bad = BadHour(SITE, NOW - HOUR, 1.0, 20, 0.02, NOW)
    assert found([], {SITE: bad}, NOW + SILENT - 1) == []
    assert [one.until for one in found([], {SITE: bad}, NOW + SILENT)] == [NOW + SILENT]


def test_another_one_is_of_what_came_after_the_first() -> None:
    over = BadHour(SITE, NOW // QUARTER * QUARTER - 2 * HOUR, 1.0, 200, 0.02, NOW, until=NOW - QUARTER)
    old = hours(*((ago, "news", 100, 100) for ago in range(2, 9)))
    assert found(old, {SITE: over}) == []
    (again,) = found([*old, *hours((0, "news", 20, 20))], {SITE: over})
    assert again.of == 20
    assert (again.usual, again.known) == (0.02, False), "what was bad is not usual"


def test_whoever_confirms_it_is_believed_for_a_day() -> None:
    said = BadHour(SITE, NOW - HOUR, 1.0, 20, 0.02, NOW, until=NOW - QUARTER, word=CONFIRMED)
    assert not said.covers(NOW - HOUR)
    assert found(hours((0, "news", 20, 20)), {SITE: said}) == []
    assert len(found(hours((0, "news", 20, 20)), {SITE: said}, NOW + DAY)) == 0, "that was long ago"
    long_ago = BadHour(SITE, 0, 1.0, 20, 0.02, 0, until=NOW - 2 * DAY, word=CONFIRMED)
    assert len(found(hours((0, "news", 20, 20)), {SITE: long_ago})) == 1


def test_dns_has_a_bad_hour_as_long_as_workers_say_so() -> None:
    assert of_dns([], None, NOW) is None
    begun = of_dns([(1, 2), (3, 3)], None, NOW)
    assert begun == BadHour(DNS, NOW // QUARTER * QUARTER - HOUR + QUARTER, 1.0, 3, 0.0, NOW)
    assert begun.doubted
    assert begun.covers(NOW)
    assert of_dns([(3, 3)], begun, NOW + 9 * HOUR) is None
    assert found([], {DNS: begun}, NOW + 9 * HOUR) == [], "it is not over because nothing bounces"
    over = of_dns([], begun, NOW + 60_000)
    assert over is not None
    assert over == replace(begun, until=NOW + 60_000)
    assert of_dns([], over, NOW + HOUR) is None
    again = of_dns([(3, 3)], over, NOW + 120_000)
    assert again is not None
    assert again.since == over.until
    confirmed = replace(over, word=CONFIRMED)
    assert of_dns([(3, 3)], confirmed, NOW + HOUR) is None
    assert of_dns([(3, 3)], confirmed, NOW + 2 * DAY) is not None


def test_it_is_kept_as_text() -> None:
    one = BadHour(SITE, NOW, 0.5, 20, 0.02, NOW)
    assert BadHour.load(one.dump()) == one
    assert BadHour.load(one.dump().replace("{", '{"newer": 1, ')) == one
