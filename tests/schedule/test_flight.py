"""Places while the loop keeps up, and while it does not."""

from relay.message import MailClass
from relay.schedule.flight import LATE, LEAST, SMALL, Flight
from relay.schedule.ready import Limits, Ready
from tests.support.queued import NOW, TRANSACTIONAL, queued

PLACES = [400, 350, 300]


def room(flight: Flight) -> list[int]:
    return [flight.room(mail_class) for mail_class in MailClass]


def test_while_the_loop_keeps_up_each_class_has_its_places() -> None:
    flight = Flight(PLACES, 1_000, 1)
    assert not flight.feel(0.0)
    assert room(flight) == PLACES


def test_the_later_the_loop_the_fewer_places_other_mail_has_and_transactional_mail_keeps_all() -> None:
    flight = Flight(PLACES, 1_000, 1)
    before = room(flight)
    for _ in range(20):
        assert not flight.feel(2 * LATE)
        now = room(flight)
        assert now[0] == PLACES[0]
        assert all(fewer <= more for fewer, more in zip(now, before, strict=True))
        before = now
    assert room(flight) == [PLACES[0], LEAST, LEAST]


def test_while_the_loop_is_late_transactional_mail_goes_at_once_and_little_other_mail() -> None:
    ready = Ready()
    for _ in range(20):
        ready.feel(2 * LATE)
    started = [row for row in range(1, 100) if ready.offer(queued(row, f"m{row}.example"), NOW)]
    assert len(started) == LEAST
    assert ready.offer(queued(100, "t.example", TRANSACTIONAL), NOW)
    while ready.feel(0.0):
        pass
    assert len(ready.step(NOW).starts) == 99 - LEAST


def test_a_loop_that_keeps_up_again_gives_the_places_back_step_by_step() -> None:
    flight = Flight(PLACES, 1_000, 1)
    for _ in range(20):
        flight.feel(2 * LATE)
    steps = 0
    while flight.feel(0.0):
        steps += 1
    assert room(flight) == PLACES
    assert 10 < steps < 100, "a second, felt a hundred times a second"


def test_how_late_the_loop_is_matters_while_other_mail_flies_or_lacks_places() -> None:
    ready = Ready()
    urgent, bulk = queued(1, "t.example", TRANSACTIONAL), queued(2)
    assert ready.offer(urgent, NOW)
    assert not ready.feels()
    assert ready.offer(bulk, NOW)
    assert ready.feels()
    ready.feel(2 * LATE)
    ready.finished(bulk, None, NOW)
    ready.finished(urgent, None, NOW)
    assert ready.feels()
    while ready.feel(0.0):
        pass
    assert not ready.feels()


def test_large_marketing_in_flight_does_not_hold_up_a_large_transactional_message() -> None:
    ready = Ready(Limits(flight_bytes=16 * SMALL))
    bulk = [queued(row, f"m{row}.example", size=4 * SMALL) for row in range(1, 10)]
    assert sum(ready.offer(one, NOW) for one in bulk) == 3, "a quarter is left"
    assert ready.offer(queued(100, "t.example", TRANSACTIONAL, size=6 * SMALL), NOW), "one goes in any case"
    assert not ready.offer(queued(101, "u.example", TRANSACTIONAL, size=2 * SMALL), NOW), "memory is bounded"
