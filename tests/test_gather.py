"""What comes in a row of turns is taken together; what waits for it waits no longer than it was said."""

import asyncio

from relay.gather import TURNS, Gather


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_what_turns_bring_one_after_the_other_is_taken_together() -> None:
    taken: list[list[int]] = []
    gather = Gather(taken.append, 3600.0)
    for number in range(9):
        gather.add(number)
        assert len(gather) == number + 1
        await turns(1)
    assert taken == []
    await turns(TURNS + 1)
    assert taken == [[*range(9)]]
    gather.add(9)  # and begins anew
    await turns(TURNS + 1)
    assert taken[1:] == [[9]]


async def test_as_many_as_are_wanted_wait_for_no_more() -> None:
    taken: list[list[int]] = []
    gather = Gather(taken.append, 3600.0, most=3)
    for number in range(3):
        gather.add(number)
    await turns(2)
    assert taken == [[0, 1, 2]]


async def test_when_the_time_is_over_nothing_is_waited_for() -> None:
    taken: list[list[int]] = []
    gather = Gather(taken.append, 0.0)
    for number in range(6):
        gather.add(number)
        await turns(2)
    assert taken == [[number] for number in range(6)]


async def test_patience_may_depend_on_how_many_there_are() -> None:
    """One alone waits for nobody here, two wait for six turns."""
    taken: list[list[int]] = []
    gather = Gather(taken.append, 3600.0, patience=lambda number: 0 if number == 1 else 6)
    gather.add(1)
    await turns(2)
    assert taken == [[1]]
    gather.add(2)
    gather.add(3)
    await turns(6)
    assert len(gather) == 2
    await turns(3)
    assert taken == [[1], [2, 3]]


async def test_a_flush_takes_what_is_there_and_nothing_is_taken_again() -> None:
    taken: list[list[int]] = []
    gather = Gather(taken.append, 3600.0)
    gather.add(1)
    gather.flush()
    gather.flush()
    gather.add(2)
    await turns(TURNS + 1)
    assert taken == [[1], [], [2]]
