"""Mail that is due and does not move is told; mail that has a reason to wait is not."""

from typing import Any

import pytest

from relay.message import LaneKey, MailClass
from relay.schedule import watchdog
from relay.schedule.watchdog import HANGS, OVERDUE, PATIENCE, SLACK, Head, Look, Seen, Stall, Watchdog

NOW = 1_763_800_000_000
TRANSACTIONAL, SERVICE, MARKETING = MailClass


def at(site: str, stream: str = "news", priority: int = 0) -> LaneKey:
    return MARKETING, site, stream, priority


STUCK = Head(at("b.example"), NOW - OVERDUE - 1, (1, 0))


class Dog:
    """A watchdog that is shown one class, marketing, by looks a second apart or as told."""

    def __init__(self) -> None:
        self.dog = Watchdog()
        self.now = NOW
        self.ended, self.waiting = 0, 10
        self.news: list[tuple[str, Stall]] = []

    def shown(self, *heads: Head, after: int = 1_000, **changes: Any) -> list[tuple[str, Stall]]:
        """What a round over all classes brings, where `heads` are marketing."""
        self.now += after
        for mail_class in MailClass:
            look = self.dog.look(self.now)
            assert look == Look(mail_class, None, self.now - OVERDUE)
            usual: dict[str, Any] = {
                "heads": heads if mail_class is MARKETING else (), "last": None, "ended": self.ended,
                "waiting": self.waiting, "flies": lambda _: False, "paused": lambda _: False,
            }  # fmt: skip
            self.dog.seen(Seen(**{**usual, **changes}), self.now)
        return list(self.dog.news())

    def stands(self) -> bool:
        return bool(self.dog.standing())


def test_mail_that_stands_still_is_told_once_and_so_is_its_end() -> None:
    dog = Dog()
    assert dog.shown(STUCK) == []
    assert dog.shown(STUCK, after=PATIENCE - 1) == []
    (told,) = dog.shown(STUCK, after=1)
    assert told == ("firing", Stall(MARKETING, 1, ("b.example",), STUCK.due))
    assert dog.shown(STUCK) == []
    assert dog.stands()
    assert repr(dog.dog) == "<Watchdog 1 suspects, 1 stand still>"
    assert [state for state, _ in dog.shown()] == ["resolved"]
    assert dog.shown() == []
    assert not dog.stands()


def test_a_head_that_changes_is_mail_that_moves() -> None:
    dog = Dog()
    for number in range(50):
        assert dog.shown(Head(at("b.example"), STUCK.due, (number, 0)), after=PATIENCE // 2) == []
    for number in range(50):
        assert dog.shown(Head(at("b.example"), STUCK.due + number, (1, 0)), after=PATIENCE // 2) == [], (
            "put off, and due again"
        )


def test_what_is_being_sent_moves_unless_it_never_ends() -> None:
    dog = Dog()
    flies: dict[str, Any] = {"flies": lambda key: key == STUCK.key}
    dog.shown(STUCK, **flies)
    dog.shown(STUCK, **flies)
    assert dog.shown(STUCK, after=HANGS - 1, **flies) == []
    assert [state for state, _ in dog.shown(STUCK, after=1, **flies)] == ["firing"]


def test_what_an_attempt_left_as_it_was_met_a_fault() -> None:
    dog = Dog()
    for _ in range(9):
        dog.shown(STUCK, after=PATIENCE // 20)
        assert dog.shown(STUCK, after=PATIENCE // 20, flies=lambda _: True) == []
    assert [state for state, _ in dog.shown(STUCK, after=PATIENCE // 5)] == ["firing"]


def test_a_site_without_room_is_no_stall() -> None:
    dog = Dog()
    for _ in range(100):
        assert dog.shown(STUCK, after=PATIENCE, paused=lambda lane: lane == at("b.example")) == []
    assert dog.shown(STUCK, after=PATIENCE - 1) == [], "from the end of the pause it has its time"
    assert [state for state, _ in dog.shown(STUCK, after=1)] == ["firing"]
    assert [state for state, _ in dog.shown(STUCK, paused=lambda _: True)] == ["resolved"]


def test_a_full_spool_is_told_elsewhere() -> None:
    dog = Dog()
    dog.shown(STUCK)
    assert dog.shown(STUCK, after=PATIENCE, healthy=False) == []
    assert dog.shown(STUCK, after=PATIENCE - 1) == []


def test_others_may_go_first_for_as_long_as_there_are_others() -> None:
    dog = Dog()
    dog.waiting = 1_000_000
    dog.shown(STUCK)
    for _ in range(20):
        dog.ended += 100_000
        assert dog.shown(STUCK, after=PATIENCE) == []
    dog.ended += SLACK + 1
    assert [state for state, _ in dog.shown(STUCK)] == ["firing"], "it was passed over: all others went twice"


def test_sites_of_a_class_are_one_alert() -> None:
    dog = Dog()
    heads = [Head(at(f"s{number}.example"), STUCK.due - number, (number, 0)) for number in range(5)]
    dog.shown(*heads)
    ((state, stall),) = dog.shown(*heads, after=PATIENCE)
    assert (state, stall.lanes, stall.due) == ("firing", 5, STUCK.due - 4)
    assert stall.sites == ("s0.example", "s1.example", "s2.example")
    assert dog.shown(*heads[:1]) == []
    assert len(dog.shown()) == 1


def test_pages_follow_each_other_and_forget_only_what_they_looked_at() -> None:
    dog, none = Watchdog(), {"ended": 0, "waiting": 1, "flies": lambda _: False, "paused": lambda _: False}
    urgent, a, b = ((TRANSACTIONAL, site, "news", priority) for site, priority in (("z", 5), ("a", 0), ("b", 0)))
    heads = [Head(lane, NOW - OVERDUE, (number, 0)) for number, lane in enumerate((urgent, a, b))]

    def step(now: int, *found: Head, last: LaneKey | None) -> Look:
        look = dog.look(now)
        dog.seen(Seen(heads=found, last=last, **none), now)  # type: ignore[arg-type]
        return look

    assert step(NOW, *heads[:2], last=a).after is None
    assert step(NOW, heads[2], last=None) == Look(TRANSACTIONAL, a, NOW - OVERDUE)
    assert step(NOW, last=None).mail_class is SERVICE
    assert step(NOW, last=None) == Look(MARKETING, None, NOW - OVERDUE)
    assert step(NOW + PATIENCE, heads[0], last=a).mail_class is TRANSACTIONAL
    assert step(NOW + PATIENCE, heads[2], last=None).after == a
    ((state, stall),) = dog.news()
    assert (state, stall.sites, stall.lanes) == ("firing", ("z", "b"), 2)


def test_streams_of_a_site_name_it_once() -> None:
    dog = Dog()
    heads = [Head(at("b.example", stream), STUCK.due, (number, 0)) for number, stream in enumerate("abc")]
    dog.shown(*heads)
    ((_, stall),) = dog.shown(*heads, after=PATIENCE)
    assert (stall.lanes, stall.sites) == (3, ("b.example",))


def test_what_is_followed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "SUSPECTS", 2)
    dog = Dog()
    heads = [Head(at(f"s{number}.example"), STUCK.due, (number, 0)) for number in range(5)]
    dog.shown(*heads)
    ((_, stall),) = dog.shown(*heads, after=PATIENCE)
    assert stall.lanes == 2


def test_many_lanes_of_one_class_hide_none_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "SUSPECTS", 2)
    dog, now = Watchdog(), NOW
    crowd = [Head(at(f"s{number}.example"), STUCK.due, (number, 0)) for number in range(5)]
    urgent = Head((TRANSACTIONAL, "t.example", "", 0), STUCK.due, (9, 0))
    for round_ in range(3):
        now += PATIENCE
        for mail_class in MailClass:
            dog.look(now)
            waits = (urgent,) if round_ and mail_class is TRANSACTIONAL else ()
            heads = crowd if mail_class is MARKETING else waits
            dog.seen(Seen(heads, None, 0, 10, lambda _: False, lambda lane: lane[0] is MARKETING), now)
    assert [stall.sites for stall in dog.standing()] == [("t.example",)]
