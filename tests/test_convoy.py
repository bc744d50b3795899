"""Messages go through accept() together where several come at a time, and alone where they come alone."""

import asyncio

from relay.convoy import MOST, PATIENCE, Convoy


class Gate:
    """A convoy, who has left with it, and in which turn of the loop."""

    def __init__(self, convoy: Convoy | None = None) -> None:
        self.convoy = convoy or Convoy()
        self.turn = 0
        self.left: list[tuple[str, int]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def come(self, *names: str) -> None:
        self._tasks += [asyncio.ensure_future(self._pass(name)) for name in names]

    async def _pass(self, name: str) -> None:
        await self.convoy.join()
        self.left.append((name, self.turn))

    async def turns(self, number: int) -> None:
        for _ in range(number):
            self.turn += 1
            await asyncio.sleep(0)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.left]


async def test_who_is_alone_waits_for_nobody() -> None:
    gate = Gate()
    for name in "abc":
        gate.come(name)
        await gate.turns(4)
        assert gate.names[-1] == name


async def test_those_who_come_together_wait_for_more_and_leave_together() -> None:
    gate = Gate()
    gate.come("a", "b")
    await gate.turns(PATIENCE)
    assert gate.names == []
    gate.come("c")
    await gate.turns(PATIENCE)
    assert gate.names == []  # patience begins anew with each who comes
    await gate.turns(4)
    assert gate.names == ["a", "b", "c"]
    assert len({turn for _, turn in gate.left}) == 1


async def test_the_next_one_after_company_waits_and_the_one_after_him_does_not() -> None:
    gate = Gate()
    gate.come("a", "b")
    await gate.turns(PATIENCE + 4)
    gate.come("c")
    await gate.turns(4)
    assert gate.names == ["a", "b"]
    await gate.turns(PATIENCE)
    assert gate.names == ["a", "b", "c"]
    gate.come("d")
    await gate.turns(4)
    assert gate.names == ["a", "b", "c", "d"]


async def test_a_full_convoy_leaves_at_once() -> None:
    gate = Gate()
    gate.come(*map(str, range(MOST)))
    await gate.turns(4)
    assert len(gate.left) == MOST


async def test_nobody_waits_longer_than_the_bound() -> None:
    gate = Gate(Convoy(longest=0.0))
    gate.come("a", "b")
    await gate.turns(4)
    assert gate.names == ["a", "b"]


async def test_who_is_gone_keeps_nobody_back() -> None:
    convoy = Convoy()
    gone, stays = asyncio.ensure_future(convoy.join()), asyncio.ensure_future(convoy.join())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait_for(stays, 5)
    assert gone.cancelled()
    assert repr(convoy) == "<Convoy: 0 wait, 2 went last>"
