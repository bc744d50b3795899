"""What came of mail, told to State until it has heard it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay import effects as module
from relay.effects import Effect, Effects
from relay.message import Change, Delivery, MailClass
from relay.spool.store import Spool
from relay.state.interface import StateError
from tests.support.house import NOW, waiting_delivery


def newsletter(index: int = 0, **changes: object) -> Delivery:
    delivery = waiting_delivery(**changes)
    delivery.index = index
    delivery.message = replace(delivery.message, id=f"{index:016d}", mail_class=MailClass.MARKETING)
    return delivery


async def opened(path: Path) -> Spool:
    spool = Spool(path, clock=lambda: NOW, on_fatal=lambda _: None)
    await spool.open()
    return spool


class Ear:
    """Hears; `deaf`: what it raises so many times before."""

    def __init__(self, *deaf: Exception) -> None:
        self.heard: list[Effect] = []
        self.deaf = list(deaf)
        self.told = asyncio.Event()

    async def __call__(self, effects: Sequence[Effect]) -> None:
        if self.deaf:
            raise self.deaf.pop()
        self.heard += effects
        self.told.set()


def effect(number: int, *, arrived: int = 0, counted: bool = True) -> Effect:
    return Effect(f"{number:016d}/{number}", "dana@b.example", "a", MailClass.MARKETING, arrived, counted)


async def test_ends_and_places_given_up_are_told_once_and_forgotten(tmp_path: Path) -> None:
    spool, ear = await opened(tmp_path / "0.db"), Ear()
    mails = [newsletter(n, counted=n < 3) for n in range(5)]
    for mail in mails:
        await spool.put(Change(put=[(mail.message, [mail])]))
    mails[0].arrived = mails[3].arrived = NOW
    mails[2].counted = False
    await spool.settle(Change(finished=mails[:2]))
    await spool.settle(Change(finished=mails[3:], again=[mails[2]], given_up=[mails[2]]))
    effects = Effects(spool, [ear])
    for _ in range(2):
        await effects.step()
        assert sorted(ear.heard) == [
            effect(0, arrived=NOW), effect(1), effect(2), effect(3, arrived=NOW, counted=False),
        ]  # fmt: skip
    assert await spool.effects(1) is None
    await spool.close()


async def test_one_look_tells_all_that_waits_and_leaves_what_comes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMITS", 2)
    spool, ear = await opened(tmp_path / "0.db"), Ear()

    async def ends(number: int) -> None:
        mail = newsletter(number, counted=True)
        await spool.put(Change(put=[(mail.message, [mail])]))
        await spool.settle(Change(finished=[mail]))

    async def comes(_: Sequence[Effect]) -> None:
        """As on a busy spool: while State is told, more ends."""
        if len(ear.heard) == 5:
            await ends(5)

    for number in range(5):
        await ends(number)
    effects = Effects(spool, [ear, comes])
    await effects.step()
    assert ear.heard == [effect(number) for number in range(5)]
    await effects.step()
    assert ear.heard[5:] == [effect(5)]
    await spool.close()


async def test_receipts_have_no_effect(tmp_path: Path) -> None:
    spool = await opened(tmp_path / "0.db")
    receipt = waiting_delivery()
    await spool.put(Change(put=[(receipt.message, [receipt])]))
    receipt.arrived = NOW
    await spool.settle(Change(finished=[receipt]))
    assert await spool.effects(1) is None
    await spool.close()


async def test_what_state_has_not_heard_is_told_by_the_next_life(tmp_path: Path) -> None:
    spool, ear = await opened(tmp_path / "0.db"), Ear(StateError("gone"))
    mail = newsletter(counted=True)
    await spool.put(Change(put=[(mail.message, [mail])]))
    await spool.settle(Change(finished=[mail]))
    with pytest.raises(StateError):
        await Effects(spool, [ear]).step()
    await spool.close()
    spool = await opened(tmp_path / "0.db")
    await Effects(spool, [ear]).flush()
    assert ear.heard == [effect(0)]
    await spool.close()


async def test_it_goes_on_whatever_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INTERVAL", "AGAIN"):
        monkeypatch.setattr(module, name, 0.001)
    spool, ear = await opened(tmp_path / "0.db"), Ear(StateError("gone"), ValueError("what?"))
    mail = newsletter(counted=True)
    await spool.put(Change(put=[(mail.message, [mail])]))
    await spool.settle(Change(finished=[mail]))
    effects = Effects(spool, [ear])
    with capture_logs() as logs:
        running = asyncio.create_task(effects.run())
        async with asyncio.timeout(10):
            await ear.told.wait()
        running.cancel()
        await asyncio.wait([running])
    assert [line["error"] for line in logs] == ["ValueError('what?')"]
    assert ear.heard == [effect(0)]
    assert "1 listeners" in repr(effects)
    await spool.close()


async def test_at_the_end_what_cannot_be_told_stays(tmp_path: Path) -> None:
    spool, ear = await opened(tmp_path / "0.db"), Ear(StateError("gone"))
    mail = newsletter(counted=True)
    await spool.put(Change(put=[(mail.message, [mail])]))
    await spool.settle(Change(finished=[mail]))
    with capture_logs() as logs:
        await Effects(spool, [ear]).flush()
    assert "stay in the spool" in logs[0]["event"]
    assert await spool.effects(1) is not None
    await spool.close()


async def test_a_place_and_when_it_was_free_are_known_after_a_restart(tmp_path: Path) -> None:
    spool = await opened(tmp_path / "0.db")
    mail = newsletter(counted=True, quota=True)
    await spool.put(Change(put=[(mail.message, [mail])]))
    mail.freed = NOW + 5
    await spool.settle(Change(again=[mail]))
    await spool.close()
    spool = await opened(tmp_path / "0.db")
    (found,) = await spool.due(mail.lane, NOW, 9, [])
    assert (found.counted, found.freed, found.quota, found.paced) == (True, NOW + 5, True, False)
    await spool.close()
