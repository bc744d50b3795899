"""Whose turn it is: the higher priority, but never for ever; sites in turns, then streams."""

from collections import Counter

from relay.schedule.gates import Gate, Gates
from relay.schedule.lanes import Lane, Table
from relay.schedule.line import EIGHT, Line
from tests.support.queued import MARKETING, lane_of

MANY = 40  # attempts a group may have


def standing(*keys: tuple[str, str, int]) -> Line:
    """Lanes of (site, stream, priority), in this order."""
    line = Line()
    table = Table(MARKETING, 10_000, Gates(enough=1, room=0))
    for site, stream, priority in keys:
        line.add(table.lane(lane_of(site, stream=stream, priority=priority)))
    return line


def turns(line: Line, number: int, *, stays: bool = True) -> list[Lane]:
    """Whose turns come; who had one stands behind the others again."""
    had = []
    for _ in range(number):
        lane = line.next(MANY)
        if lane is None:
            break
        had.append(lane)
        if stays:
            line.add(lane)
    return had


def test_sites_take_turns_however_many_streams_they_have() -> None:
    line = standing(*(("google", f"s{n}", 0) for n in range(50)), ("yahoo", "a", 0), ("gmx", "a", 0))
    assert Counter(lane.key[1] for lane in turns(line, 300)) == {"google": 100, "yahoo": 100, "gmx": 100}


def test_streams_of_a_site_take_turns() -> None:
    line = standing(("google", "a", 0), ("google", "b", 0), ("google", "c", 0))
    assert [lane.key[2] for lane in turns(line, 7)] == ["a", "b", "c", "a", "b", "c", "a"]


def test_the_higher_priority_goes_first_and_the_lower_ones_share_an_eighth() -> None:
    line = standing(("a", "x", -5), ("b", "x", 3), ("c", "x", 9), ("d", "x", 0))
    _shares_an_eighth(turns(line, 240))


def test_so_do_the_lanes_of_one_site() -> None:
    line = standing(("a", "x", -5), ("a", "y", 3), ("a", "z", 9), ("a", "x", 0))
    _shares_an_eighth(turns(line, 240))


def _shares_an_eighth(had: list[Lane]) -> None:
    assert Counter(lane.key[3] for lane in had) == {9: 210, 3: 10, 0: 10, -5: 10}
    assert {lane.key[3] for lane in had[: EIGHT - 1]} == {9}


def test_of_all_19_priorities_none_is_forgotten() -> None:
    line = standing(*(("a", "x", priority) for priority in range(-9, 10)))
    assert len({lane.key[3] for lane in turns(line, EIGHT * 18)}) == 19
    line = standing(*((f"{priority}", "x", priority) for priority in range(-9, 10)))
    assert len({lane.key[3] for lane in turns(line, EIGHT * 18)}) == 19


def test_a_site_stands_where_its_highest_mail_is_and_no_longer() -> None:
    line = standing(("a", "x", 0), ("b", "x", 5))
    urgent = standing(("a", "x", 9)).next()
    assert urgent is not None
    low = line.next(MANY)
    assert low is not None
    assert low.key[1] == "b"
    line.add(low)
    urgent.group = next(lane.group for lane in turns(line, 16) if lane.key[1] == "a")
    line.add(urgent)
    assert line.next(MANY) is urgent
    line.add(urgent)
    line.remove(urgent)
    assert [lane.key[1] for lane in turns(line, 3)] == ["b"] * 3


def every_other(line: Line, count: int) -> list[str]:
    """The streams of `count` lanes that found room where each next one found none."""
    took = []
    for _ in range(count):
        for room in (True, False):
            lane = line.next(MANY)
            assert lane is not None
            line.add(lane)
            if room:
                took.append(lane.key[2])
            else:
                line.again(lane)
    return took


def test_a_turn_for_nothing_does_not_count() -> None:
    """The site takes one of two that ask: without it the low one would ask in vain for ever."""
    line = standing(("a", "x", 9), ("a", "y", 0))
    took = every_other(line, 80)
    assert Counter(took) == {"x": 70, "y": 10}


def test_who_had_a_turn_for_nothing_has_the_next() -> None:
    line = standing(("a", "x", 0), ("a", "y", 0))
    took = every_other(line, 20)
    assert took == ["x", "y"] * 10


def test_a_priority_alone_has_all_turns_and_an_empty_line_none() -> None:
    line = standing(("a", "x", -9))
    assert len(turns(line, 100)) == 100
    assert len(turns(line, 100, stays=False)) == 1
    assert not line
    assert len(line) == 0
    assert line.next(MANY) is None


def test_groups_that_may_not_start_are_passed_over_until_they_may() -> None:
    line = standing(("a", "x", 0), ("a", "y", 5), ("b", "x", 0), ("c", "x", 0))
    groups = {lane.key[1]: lane.group for lane in turns(line, 24)}
    a, b = groups["a"], groups["b"]
    a.in_flight = MANY
    b.gate = Gate()
    b.gate.opens_at = 1
    assert {lane.key[1] for lane in turns(line, 20)} == {"c"}
    assert a.out
    assert b.out
    assert len(line) == 4
    assert {lane.key[1:3] for lane in line.of(a)} == {("a", "x"), ("a", "y")}
    a.in_flight = MANY - 1
    line.restore(a)
    assert {lane.key[1:3] for lane in turns(line, 16)} == {("a", "x"), ("a", "y"), ("c", "x")}
    b.gate = None
    line.restore(b)
    assert "b" in {lane.key[1] for lane in turns(line, 24)}


def test_who_leaves_is_not_called_whether_passed_over_or_not() -> None:
    line = standing(("a", "x", 0), ("a", "y", 0), ("b", "x", 7))
    found = {lane.key[1:3]: lane for lane in turns(line, 24)}
    x, y, b = found["a", "x"], found["a", "y"], found["b", "x"]
    line.remove(x)
    y.group.in_flight = MANY
    assert {lane.key[1] for lane in turns(line, 9)} == {"b"}
    line.remove(y)
    line.remove(b)
    assert len(line) == 0
    line.restore(y.group)
    assert line.next(MANY) is None


def test_a_line_tells_its_state() -> None:
    assert repr(standing(("a", "x", 0), ("a", "x", 9))) == "<Line: 2 lanes of 1 groups, priorities [9]>"
