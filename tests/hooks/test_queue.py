"""What waits for endpoints: nothing lost, posts that stay what they were, bounds, and its story."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.hooks import queue as module
from relay.hooks.queue import GIVEN_UP, LOG_DAYS, POSTS, Found, Post, Queue, Resend, Try
from relay.hooks.telling import DAY, GIVE_UP, HOUR, MINUTE, Endpoint
from tests.support.clocks import START

SHOP = Endpoint("shop", "https://shop.example/hook")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path / "hooks.db")
    yield made
    made.close()


def events(*names: str, of: str = "shop", at: int = START) -> list[Found]:
    return [Found(of, name, at + number, b'{"event_id":"%s"}' % name.encode()) for number, name in enumerate(names)]


def due(queue: Queue, now: int = START, identifier: str = "msg_1", of: str = "shop") -> Post:
    found = queue.due(of, now, identifier)
    assert isinstance(found, Post)
    return found


def taken(at: int = START) -> Try:
    return Try(at, True, 204, "204", 12)


def refused(at: int = START) -> Try:
    return Try(at, False, 500, "shop.example answered 500", 12)


def test_what_is_taken_is_gone_and_on_record(queue: Queue) -> None:
    queue.take(events("a", "b"), {"h.0": 40}, START)
    assert queue.marks() == {"h.0": 40}
    post = due(queue)
    assert post == Post("msg_1", "shop", START, 0, [b'{"event_id":"a"}', b'{"event_id":"b"}'])
    queue.settle(post, taken(), 0)
    assert queue.due("shop", START, "msg_2") is None
    assert queue.shown(SHOP) == {
        "waiting": 0,
        "oldest": None,
        "failing": None,
        "beyond": None,
        "last": {
            "sequence": 1, "at": START, "post": "msg_1", "events": 2, "try": 1, "status": 204, "answer": "204", "ms": 12,
        },
    }  # fmt: skip


def test_a_post_that_failed_is_the_same_later_also_after_a_restart(queue: Queue, tmp_path: Path) -> None:
    queue.take(events("a"), {}, START)
    queue.settle(due(queue), refused(), START + 5_000)
    assert queue.due("shop", START + 4_999, "msg_2") == START + 5_000
    assert queue.shown(SHOP)["failing"] == START
    queue.close()
    with closing(Queue(tmp_path / "hooks.db")) as again:
        assert due(again, START + 5_000, "msg_3") == Post("msg_1", "shop", START, 1, [b'{"event_id":"a"}'])
        assert repr(again) == "<Queue {'shop': 1}>"


def test_events_that_the_app_cannot_take_hold_up_no_others(queue: Queue) -> None:
    queue.take(events("poison"), {}, START)
    queue.settle(due(queue), refused(), START + 5_000)
    queue.take(events("good"), {}, START + 1)
    other = due(queue, START + 1, "msg_2")
    assert other.events == [b'{"event_id":"good"}']
    queue.settle(other, taken(START + 1), 0)
    assert queue.shown(SHOP)["failing"] is None
    assert queue.due("shop", START + 2, "msg_3") == START + 5_000


def test_a_post_that_one_event_spoils_is_taken_apart(queue: Queue) -> None:
    """All but that one are told within a few rounds, and only where the app takes others."""
    queue.take(events("a", "b", "poison", "c", "d"), {}, START)
    told = list[bytes]()
    for number in range(8):
        now = START + number * 10
        while isinstance(found := queue.due("shop", now, f"msg_{number}"), Post):
            spoilt = any(b"poison" in line for line in found.events)
            queue.settle(found, refused(now) if spoilt else taken(now), now + 10)
            told += [] if spoilt else found.events
        queue.take(events(f"other{number}", at=now), {}, now)  # business goes on
    assert [line for line in told if b"other" not in line] == [
        b'{"event_id":"%s"}' % one for one in (b"a", b"b", b"c", b"d")
    ]
    alone = due(queue, START + 80, "msg_8")
    assert (alone.id, alone.events) == ("msg_0-2-1", [b'{"event_id":"poison"}'])


def test_a_post_without_an_answer_or_where_nothing_is_taken_stays_whole(queue: Queue) -> None:
    queue.take(events("a", "b"), {}, START)
    for number in range(5):
        queue.settle(due(queue, START + number), refused(START + number), START + number + 1)
    queue.take(events("c"), {}, START + 5)
    other = due(queue, START + 4, "msg_2")
    queue.settle(other, taken(START + 4), 0)
    queue.settle(due(queue, START + 5), Try(START + 5, False, 0, "no answer in 10 s", 10_000), START + 6)
    assert len(due(queue, START + 6).events) == 2


def test_a_dead_endpoint_gets_no_new_posts_but_few(queue: Queue) -> None:
    for number in range(POSTS):
        queue.take(events(f"e{number}"), {}, START)
        queue.settle(due(queue, START, f"msg_{number}"), refused(), START + HOUR)
    queue.take(events("later", "last"), {}, START + 1)
    assert queue.due("shop", START + 1, "msg_x") == START + HOUR
    assert queue.shown(SHOP)["waiting"] == POSTS + 2
    queue.take(events("a", of="crm"), {}, START)
    assert due(queue, identifier="msg_c", of="crm").events == [b'{"event_id":"a"}'], "others are told"

    back = START + HOUR
    queue.settle(due(queue, back), taken(back), 0)
    assert due(queue, back, "msg_y").tries == 1, "all that failed is tried at once"
    assert due(queue, back, "msg_y").id != "msg_y"


def test_one_success_after_a_moment_of_trouble_starts_no_round(queue: Queue) -> None:
    queue.take(events("a"), {}, START)
    queue.settle(due(queue), refused(), START + HOUR)
    queue.take(events("b"), {}, START)
    queue.settle(due(queue, START + 1, "msg_2"), taken(START + MINUTE - 1), 0)
    assert queue.due("shop", START + MINUTE, "msg_3") == START + HOUR


def test_a_post_is_bounded(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POST_EVENTS", 2)
    queue.take(events("a", "b", "c"), {}, START)
    assert len(due(queue).events) == 2
    monkeypatch.setattr(module, "POST_OCTETS", 1)
    queue.take(events("d"), {}, START)
    assert due(queue, START - 1, "msg_2").events == [b'{"event_id":"c"}'], "one goes, however large"


def test_an_event_waits_once(queue: Queue) -> None:
    queue.take(events("a"), {}, START)
    queue.take(events("a"), {}, START)
    queue.take(events("a", of="crm"), {}, START)
    assert queue.shown(SHOP)["waiting"] == 1
    assert len(due(queue).events) == 1


def test_what_finds_no_room_is_fetched_from_the_log_later(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    queue.take(events("a", "b", "c", "d"), {"h.0": 80}, START + 1_000)
    queue.take(events("e", at=START + 9), {}, START + 1_000)
    assert (queue.shown(SHOP)["waiting"], queue.shown(SHOP)["beyond"]) == (2, START + 2)
    queue.fetch_beyond(START + 2_000)
    assert queue.resends() == [], "there is no room yet"
    queue.settle(due(queue, START + 2_000), taken(), 0)
    queue.fetch_beyond(START + 3_000)
    (resend,) = queue.resends()
    assert resend == Resend(1, "shop", START + 2 - MINUTE, START + 3_000)
    assert queue.shown(SHOP)["beyond"] is None
    queue.resent(resend, events("c"), START + 4, START + 3_000)
    assert queue.resends() == [], "no room: the rest waits in the log"
    queue.settle(due(queue, START + 3_000, "msg_2"), taken(), 0)
    (rest,) = queue.resends()
    assert rest.since == START + 4
    queue.resent(rest, events("d"), rest.until, START + 3_000)
    assert queue.resends() == []
    assert due(queue, START + 3_000, "msg_3").events == [b'{"event_id":"d"}']


def test_what_was_given_up_by_then_is_not_fetched(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 0)
    queue.take(events("a"), {}, START)
    monkeypatch.setattr(module, "MOST", 2)
    queue.fetch_beyond(START + 4 * DAY)
    assert queue.resends()[0].since == START + 4 * DAY - GIVE_UP


def test_after_three_days_it_is_given_up(queue: Queue) -> None:
    queue.take(events("a", "b"), {}, START)
    queue.settle(due(queue), refused(), START + HOUR)
    queue.take(events("c"), {}, START + 1)
    assert queue.tidy(START + GIVE_UP - 1) == {}
    assert queue.tidy(START + GIVE_UP) == {"shop": 2}
    assert queue.shown(SHOP)["waiting"] == 1
    assert queue.tidy(START + GIVE_UP + 1) == {"shop": 1}
    assert queue.due("shop", START + GIVE_UP + 1, "msg_2") is None
    lost = queue.log("shop", 2)
    assert [(one["post"], one["events"], one["answer"]) for one in lost] == [("", 1, GIVEN_UP), ("msg_1", 2, GIVEN_UP)]


def test_the_log_of_tries_is_bounded_and_has_pages(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG", 3)
    for number in range(5):
        queue.note("shop", taken(START + number), f"msg_{number}")
    queue.note("crm", taken(), "msg_c")
    first = queue.log("shop", 2)
    assert [one["post"] for one in first + queue.log("shop", 2, first[-1]["sequence"])] == [
        "msg_4", "msg_3", "msg_2", "msg_1",
    ]  # fmt: skip
    queue.tidy(START)
    assert [one["post"] for one in queue.log("shop", 9)] == ["msg_4", "msg_3", "msg_2"]
    queue.tidy(START + LOG_DAYS * DAY + 3)
    assert ([one["post"] for one in queue.log("shop", 9)], queue.log("crm", 9)) == (["msg_4", "msg_3"], [])


def test_what_fails_half_way_changes_nothing(queue: Queue) -> None:
    def broken() -> Iterator[Found]:
        yield from events("a")
        raise OSError("torn")

    with pytest.raises(OSError, match="torn"):
        queue.take(broken(), {"h.0": 10}, START)
    assert (queue.marks(), queue.shown(SHOP)["waiting"], queue.due("shop", START, "msg_1")) == ({}, 0, None)
    queue.take((), {"h.0": 10, "h.1": 5}, START)
    queue.forget_marks(["h.0"])
    assert queue.marks() == {"h.1": 5}


def test_a_backlog_that_is_gone_leaves_the_disk(queue: Queue, tmp_path: Path) -> None:
    queue.take([Found("shop", f"e{number}", START, b"x" * 1_000) for number in range(2_000)], {}, START)
    queue.tidy(START)
    queue._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    full = (tmp_path / "hooks.db").stat().st_size
    queue.tidy(START + GIVE_UP)
    queue._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert (tmp_path / "hooks.db").stat().st_size < full / 10
