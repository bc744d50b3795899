import asyncio
import threading

import pytest

from relay.web.login import checking
from relay.web.login.checking import MOST, OF_ONE_PEER, OF_STRANGERS, Busy, Checker
from tests.support.logins import PASSWORD, hash_of


async def test_right_wrong_and_nobodys() -> None:
    checker = Checker()
    kept = hash_of(PASSWORD)
    assert await checker.fits(PASSWORD, kept, "p", stranger=True)
    assert not await checker.fits("another", kept, "p", stranger=True)
    assert not await checker.fits("nobody's", None, "p", stranger=True), "the stand-in's password opens nothing"
    assert repr(checker) == "<Checker waiting=0>"
    checker.close()


async def test_for_an_unknown_user_a_hash_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(_password: str, kept: str) -> bool:
        looked.append(kept)
        return False

    monkeypatch.setattr(checking, "fits", look)
    checker = Checker()
    await checker.fits("x", hash_of(PASSWORD), "p", stranger=True)
    await checker.fits("x", None, "p", stranger=True)
    assert [one.split("$")[1:4] for one in looked] == [["argon2id", "v=19", "m=32768,t=3,p=1"]] * 2
    checker.close()


async def test_the_loop_goes_on_one_is_looked_at_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, at_once = threading.Event(), []
    inside = threading.Lock()

    def slow(_password: str, _kept: str) -> bool:
        at_once.append(inside.acquire(blocking=False))
        gate.wait(20)
        inside.release()
        return True

    monkeypatch.setattr(checking, "fits", slow)
    checker = Checker()
    strangers = [
        asyncio.create_task(checker.fits("x", "kept", f"peer-{number // OF_ONE_PEER}", stranger=True))
        for number in range(OF_STRANGERS)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await checker.fits("x", "kept", "another", stranger=True)
    known = [asyncio.create_task(checker.fits("x", "kept", "home", stranger=False)) for _ in range(MOST - OF_STRANGERS)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await checker.fits("x", "kept", "home", stranger=False)
    assert repr(checker) == f"<Checker waiting={MOST}>"
    gate.set()
    assert all(await asyncio.gather(*strangers, *known))
    assert at_once == [True] * MOST
    assert await checker.fits("x", "kept", "another", stranger=True)
    checker.close()


async def test_one_peer_does_not_use_up_what_is_all_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(checking, "fits", lambda *_: gate.wait(20))
    checker = Checker()
    tasks = [asyncio.create_task(checker.fits("x", "k", "one", stranger=True)) for _ in range(OF_ONE_PEER)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await checker.fits("x", "k", "one", stranger=True)
    tasks.append(asyncio.create_task(checker.fits("x", "k", "two", stranger=True)))
    await asyncio.sleep(0)
    gate.set()
    assert all(await asyncio.gather(*tasks))
    checker.close()
