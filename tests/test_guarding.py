"""How many of a kind there may have been, and what State says of those: with several workers, and with none that answers."""

import asyncio
from dataclasses import replace

import pytest

from relay.guarding import Guarding
from relay.header import split
from relay.identity import Rate
from relay.message import MailClass, Message
from relay.policy.copies import Hashes
from relay.policy.letter import Letter
from relay.policy.runaway import Guard
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock
from tests.support.house import waiting_delivery

HOUR = 3_600_000
GUARD = Guard(Rate(6, 3600, "", "6/hour"), frozenset({"codes"}))
DANA, EVE = "dana@b.example", "eve@b.example"


def guarding(state: SqliteState) -> Guarding:
    made = Guarding(state, Hashes(b"s" * 32))
    made.guard = GUARD
    return made


def letter(number: int, words: str = "Thank you for order") -> Letter:
    content = f"From: a@a.example\r\nSubject: Order {number}\r\n\r\n{words} {number}, it is on its way.\r\n".encode()
    fields, rest = split(content)
    return Letter(fields, content, rest, f"Order {number}", domains=["b.example"])


def message(clock: Clock, **changes: object) -> Message:
    return replace(waiting_delivery().message, accepted_at=clock.now, **changes)  # type: ignore[arg-type]


async def test_the_seventh_of_an_hour_is_held_until_the_first_that_counts_is_an_hour_old(
    state: SqliteState, clock: Clock
) -> None:
    one, held = guarding(state), []
    for number in range(8):
        clock.now += 1000
        about = message(clock)
        held += await one.look(letter(number), about, [DANA.upper() if number % 2 else DANA])
    assert held[:6] == [None] * 6
    assert [wait.until - clock.now for wait in held[6:] if wait] == [HOUR - 6000, HOUR - 6000]
    assert held[7] is not None
    assert (held[7].reason, held[7].detail[:24]) == ("runaway", "more than 6/hour of temp")
    assert about.alike
    assert [(one.held, one.recipient) for one in one.runaways.standing()] == [(2, "DANA@B.EXAMPLE")]
    assert await one.look(letter(9), message(clock), [EVE]) == [None]
    clock.now += HOUR
    assert await one.look(letter(9), message(clock), [DANA]) == [None]
    assert await one.waits(about, [DANA]) == [0]


async def test_several_workers_let_one_more_go_for_each(state: SqliteState, clock: Clock) -> None:
    workers = [guarding(state) for _ in range(3)]
    found = await asyncio.gather(*(workers[n % 3].look(letter(n), message(clock), [DANA]) for n in range(30)))
    assert sum(one == [None] for one in found) == 6 + 2


async def test_of_several_recipients_each_has_his_own_count(state: SqliteState, clock: Clock) -> None:
    one = guarding(state)
    for number in range(6):
        await one.look(letter(number), message(clock), [DANA])
    found = await one.look(letter(7), message(clock), [EVE, DANA, "new@b.example"])
    assert [wait is not None for wait in found] == [False, True, False]


@pytest.mark.parametrize(
    ("other", "changes"),
    [
        (letter(1, "Your parcel has left us, number"), {}),
        (letter(1), {"credential": "crm"}),
        (letter(1), {"stream": "invoices"}),
        (letter(1), {"stream": "codes"}),
        (letter(1), {"mail_class": MailClass.MARKETING}),
    ],
)
async def test_what_is_not_the_same_or_not_its_business_goes(
    state: SqliteState, clock: Clock, other: Letter, changes: dict[str, object]
) -> None:
    one = guarding(state)
    for number in range(7):
        await one.look(letter(number), message(clock), [DANA])
    for _ in range(2):
        assert await one.look(other, message(clock, **changes), [DANA]) == [None]


async def test_without_state_or_a_guard_nothing_is_held(state: SqliteState, clock: Clock) -> None:
    one = guarding(state)
    for number in range(7):
        await one.look(letter(number), message(clock), [DANA])
    await state.close()
    assert await one.look(letter(7), message(clock), [DANA]) == [None]
    await state.open()
    assert await one.look(letter(7), message(clock), [DANA]) == [None], "it is left alone for a while"
    none = guarding(state)
    none.guard = None
    for number in range(9):
        assert await none.look(letter(number), message(clock), [DANA]) == [None]
    assert repr(none) == "<Guarding nothing: <Seen 0> <Runaways none>>"


async def test_what_only_a_person_releases_says_no_time(state: SqliteState, clock: Clock) -> None:
    one = guarding(state)
    one.guard = replace(GUARD, by_itself=False)
    for number in range(6):
        await one.look(letter(number), message(clock), [DANA])
    (held,) = await one.look(letter(7), message(clock), [DANA])
    assert held is not None
    assert held.facts["until"] is None
