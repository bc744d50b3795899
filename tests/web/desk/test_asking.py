import asyncio
import threading

import pytest

from relay.web.desk import asking
from relay.web.desk.asking import ANSWERS, FRESH, KEPT, WAITING, Asking, Unanswered
from tests.support.logins import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_an_answer_is_kept_while_it_is_fresh(clock: Clock) -> None:
    ask, asked = Asking(clock), []

    def work() -> int:
        asked.append(threading.current_thread().name)
        return len(asked)

    assert await ask("key", work) == (1, clock.now)
    began, clock.now = clock.now, clock.now + FRESH - 1
    assert await ask("key", work) == (1, began)
    assert await ask("other", work) == (2, clock.now)
    assert all(name.startswith("reports") for name in asked), "in a thread, never in the loop"
    ask.close()


async def test_of_what_is_a_little_old_the_answer_comes_at_once_and_a_newer_one_is_made(clock: Clock) -> None:
    ask = Asking(clock)
    await ask("key", lambda: "old")
    clock.now += FRESH
    gate = threading.Event()

    def slow() -> str:
        gate.wait(20)
        return "new"

    assert (await ask("key", slow))[0] == "old"
    gate.set()
    assert (await ask("other", lambda: "later"))[0] == "later"
    assert (await ask("key", lambda: "unasked"))[0] == "new"
    clock.now += KEPT
    assert (await ask("key", lambda: "newest"))[0] == "newest", "too old is no answer"
    ask.close()


async def test_one_at_a_time_the_same_once_and_few_wait(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, gate, at_once = Asking(clock), threading.Event(), []
    inside = threading.Lock()

    def slow() -> int:
        at_once.append(inside.acquire(blocking=False))
        gate.wait(20)
        inside.release()
        return len(at_once)

    waiting = [asyncio.create_task(ask(number, slow)) for number in range(WAITING)]
    again = asyncio.create_task(ask(0, slow))
    await asyncio.sleep(0)
    with pytest.raises(Unanswered) as error:
        await ask("one more", slow)
    assert error.value.busy
    gate.set()
    await asyncio.gather(*waiting, again)
    assert at_once == [True] * WAITING
    assert again.result() == waiting[0].result()
    assert repr(ask) == f"<Asking kept={WAITING} waiting=0>"
    ask.close()


async def test_who_waits_too_long_is_told_and_finds_the_answer_later(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.01)
    ask, gate = Asking(clock), threading.Event()

    def slow() -> str:
        gate.wait(20)
        return "at last"

    with pytest.raises(Unanswered) as error:
        await ask("key", slow)
    assert error.value.busy
    gate.set()
    monkeypatch.setattr(asking, "PATIENCE", 20.0)
    assert (await ask("key", lambda: "unasked"))[0] == "at last"
    ask.close()


async def test_what_cannot_be_answered_is_no_answer_and_not_kept(clock: Clock) -> None:
    ask = Asking(clock)

    def broken() -> str:
        raise OSError("disk")

    with pytest.raises(Unanswered) as error:
        await ask("key", broken)
    assert not error.value.busy
    assert (await ask("key", lambda: "good"))[0] == "good"
    clock.now += FRESH
    assert (await ask("key", broken))[0] == "good", "the older one is better than none"
    ask.close()


async def test_answers_do_not_pile_up(clock: Clock) -> None:
    ask = Asking(clock)
    for number in range(ANSWERS + 10):
        await ask(number, lambda: "x")
    assert repr(ask) == f"<Asking kept={ANSWERS} waiting=0>"
    ask.close()
