"""Places that other mail leaves for transactional mail."""

import asyncio

from relay.egress.urgency import URGENT, Places


async def test_others_leave_some_and_urgent_ones_may_have_all() -> None:
    places, end = Places(3, 1), asyncio.Event()
    inside: list[bool] = []

    async def enter(urgent: bool) -> None:
        URGENT.set(urgent)
        async with places.one():
            inside.append(urgent)
            await end.wait()

    tasks = [asyncio.create_task(enter(urgent)) for urgent in (False, False, False, True, True)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert inside == [False, False, True]
    end.set()
    await asyncio.gather(*tasks)
    assert sorted(inside) == [False, False, False, True, True]
    assert not URGENT.get(), "it is said for one task"
