"""What became of mail is counted once, whatever is told again, by whichever shard."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay import tallying
from relay.effects import Effect, Effects
from relay.message import Change, MailClass
from relay.policy.tallies import HOUR, Sheet
from relay.spool.store import Spool
from relay.state.interface import StateError
from relay.state.sqlite import SqliteState
from relay.tally import Kind, Tally, happened
from relay.tallying import HOURS, REPORTERS, Tallying, board
from tests.support.clocks import Clock
from tests.support.house import waiting_delivery


def effect(number: int, kind: str = Kind.DELIVERED, stream: str = "news", at: int = 0, site: str = "google") -> Effect:
    tally = Tally(kind, stream, False, "crm", "arava", "", site, at)
    return Effect(f"m/{number}", "x@b.example", "arava", MailClass.MARKETING, at, False, None, tally)


class Scene:
    def __init__(self, state: SqliteState, now: int) -> None:
        self.state, self.now = state, now
        self.tallying = Tallying(state, "relay-1/0")

    async def counts(self, stream: str = "news", shard: str = "relay-1/0") -> list[int]:
        """Of all rows: delivered, bounced, hard, spam, complaints, unsubscribed."""
        text = (await self.state.pinned(board(self.now // HOUR))).get(f"{shard} {stream}")
        rows = Sheet.load(text).counts.values() if text else []
        return [sum(column) for column in zip(*rows, strict=True)][:6] if rows else [0] * 6


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    state = SqliteState(tmp_path / "state.db", clock)
    await state.open()
    yield Scene(state, clock.now)
    await state.close()


async def test_each_is_counted_where_it_belongs(scene: Scene) -> None:
    at = scene.now
    effects = [effect(1, at=at), effect(2, Kind.HARD, at=at), effect(3, stream="order", at=at)]
    plain = effects[0]._replace(tally=None)
    await scene.tallying.count([plain])
    assert await scene.state.pinned(HOURS) == {}
    await scene.tallying.count([*effects, plain])
    assert await scene.counts() == [1, 1, 1, 0, 0, 0]
    assert await scene.counts("order") == [1, 0, 0, 0, 0, 0]
    assert await scene.state.pinned(HOURS) == {str(at // HOUR): ""}
    assert repr(scene.tallying) == "<Tallying of relay-1/0, 2 sheets>"


async def test_what_is_told_again_is_not_counted_again(scene: Scene) -> None:
    """A crash after State was told and before the spool forgot: a new life hears the same, and more behind it."""
    effects = [effect(n, at=scene.now, stream="news" if n % 2 else "order") for n in range(6)]
    await scene.tallying.count(effects[:4])
    again = Tallying(scene.state, "relay-1/0")
    await again.count(effects)
    await again.count(effects)
    assert [await scene.counts(), await scene.counts("order")] == [[3, 0, 0, 0, 0, 0]] * 2
    await again.count([effect(7, at=scene.now)])
    assert await scene.counts() == [4, 0, 0, 0, 0, 0]


async def test_what_was_told_in_part_is_told_whole(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = [effect(n, at=scene.now, stream="news" if n % 2 else "order") for n in range(4)]
    pin, failed = scene.state.pin, list[str]()

    async def lame(where: str, name: str, text: str) -> None:
        if name.endswith("order") and not failed:
            failed.append(name)
            raise StateError("gone")
        await pin(where, name, text)

    monkeypatch.setattr(scene.state, "pin", lame)
    with pytest.raises(StateError):
        await scene.tallying.count(effects)
    assert [await scene.counts(), await scene.counts("order")] == [[2, 0, 0, 0, 0, 0], [0] * 6]
    for who in (scene.tallying, Tallying(scene.state, "relay-1/0")):
        await who.count(effects)
        assert [await scene.counts(), await scene.counts("order")] == [[2, 0, 0, 0, 0, 0]] * 2


async def test_each_shard_has_sheets_of_its_own(scene: Scene) -> None:
    await scene.tallying.count([effect(1, at=scene.now)])
    await Tallying(scene.state, "relay-1/1").count([effect(2, at=scene.now)])
    assert await scene.counts() == await scene.counts(shard="relay-1/1") == [1, 0, 0, 0, 0, 0]


async def test_late_reports_count_for_the_hour_in_which_the_mail_was_sent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallying, "KEPT", 1)
    await scene.tallying.count([effect(1, at=scene.now)])
    await scene.tallying.count([effect(2, at=scene.now + HOUR)])
    await scene.tallying.count([effect(1, Kind.LATE_HARD, at=scene.now)])
    assert await scene.counts() == [1, 0, 1, 0, 0, 0], "also where the sheet was not in memory any more"
    assert len(await scene.state.pinned(HOURS)) == 2


async def test_what_the_judge_took_off_meanwhile_is_not_put_back_and_stands_where_he_looks(scene: Scene) -> None:
    late, hour = scene.now - 5 * 24 * HOUR, (scene.now - 5 * 24 * HOUR) // HOUR
    for _ in range(2):
        await scene.tallying.count([effect(1, at=late), effect(2, at=scene.now)])
        await scene.state.unpin(HOURS, str(hour))
        await scene.state.unpin(board(hour), "relay-1/0 news")
    await scene.tallying.count([effect(3, Kind.UNSUBSCRIBED, at=late)])
    assert str(hour) in await scene.state.pinned(HOURS), "or nobody would ever take it off"
    (text,) = (await scene.state.pinned(board(hour))).values()
    assert [sum(column) for column in zip(*Sheet.load(text).counts.values(), strict=True)][:6] == [0, 0, 0, 0, 0, 1]


async def test_of_what_nobody_is_judged_by_any_more_nothing_is_kept(scene: Scene) -> None:
    for at in (0, scene.now - tallying.OLDEST * HOUR):
        await scene.tallying.count([effect(1, Kind.UNSUBSCRIBED, at=at)])
        assert await scene.state.pinned(board(at // HOUR)) == {}
    assert await scene.state.pinned(HOURS) == {}


async def test_a_site_that_complaints_come_from_reports_them(scene: Scene) -> None:
    day = scene.now // 86_400_000
    for number, at in enumerate((scene.now, scene.now - 86_400_000)):
        await scene.tallying.count([effect(number, Kind.COMPLAINT, site="yahoo", at=at)])
    assert await scene.state.pinned(REPORTERS) == {"yahoo": str(day)}


async def test_a_sheet_that_cannot_be_read_begins_anew(scene: Scene) -> None:
    await scene.state.pin(board(scene.now // HOUR), "relay-1/0 news", "nonsense")
    await scene.tallying.count([effect(1, at=scene.now)])
    assert await scene.counts() == [1, 0, 0, 0, 0, 0]


async def test_from_the_spool_to_the_sheet_through_a_crash_between(scene: Scene, tmp_path: Path) -> None:
    """State has counted, and the process dies before the spool forgets; more ends before the next life hears of it."""
    spool = Spool(tmp_path / "0.db", clock=lambda: scene.now, on_fatal=lambda _: None)
    await spool.open()

    async def end(number: int, kind: str) -> None:
        delivery = waiting_delivery()
        delivery.index, delivery.message = number, replace(delivery.message, id=f"{number:016d}", stream="news")
        await spool.put(Change(put=[(delivery.message, [delivery])]))
        delivery.happened = happened(delivery, kind, "yahoo", scene.now)
        told = [(f"late-{number}", happened(delivery, Kind.LATE_SPAM, "yahoo", scene.now))]
        await spool.settle(Change(finished=[delivery], told_of=told))

    async def dies(_: object) -> None:
        raise KeyboardInterrupt

    for number in range(3):
        await end(number, Kind.DELIVERED)
    with pytest.raises(KeyboardInterrupt):
        await Effects(spool, [scene.tallying.count, dies]).step()
    assert await scene.counts() == [3, 0, 0, 3, 0, 0]
    await end(3, Kind.HARD)
    for _ in range(2):
        await Effects(spool, [Tallying(scene.state, "relay-1/0").count]).step()
    assert await scene.counts() == [3, 1, 1, 4, 0, 0]
    assert await spool.effects(10) is None
    await spool.close()
