"""Which copy was the first, and which message is the newest: by a real State, with several workers and some that die."""

import asyncio
from collections.abc import Sequence

import pytest

from relay import copies as module
from relay.copies import CLAIMED, DAY, MONTH, Copies
from relay.message import Delivery, Message
from relay.policy.copies import Hashes
from relay.policy.relevance import Withheld
from relay.state.marks import Change
from relay.state.sqlite import SqliteState
from tests.support.clocks import Clock
from tests.support.house import waiting_delivery

DANA, EVE = "dana@b.example", "eve@b.example"
HASHES = Hashes(b"s" * 32)


def message(number: int, copy: str = "c", collapse: str = "") -> Message:
    made = waiting_delivery().message
    made.id, made.copy, made.collapse = f"{number:016d}", copy, collapse
    return made


def delivery(about: Message, recipient: str = DANA) -> Delivery:
    made = waiting_delivery()
    made.message, made.recipient = about, recipient
    return made


def firsts(found: Sequence[Withheld | None]) -> list[str]:
    return [one.other if one is not None else "" for one in found]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 0.001)


async def test_a_copy_is_withheld_once_the_first_is_kept_for_a_day(state: SqliteState, clock: Clock) -> None:
    one, other = Copies(state, HASHES), Copies(state, HASHES)
    assert firsts(await one.claim(message(1), [DANA, EVE])) == ["", ""]
    one.kept(message(1), [DANA, EVE])
    await one.close()
    assert firsts(await other.claim(message(2), [DANA, "x@b.example", EVE])) == [message(1).id, "", message(1).id]
    clock.now += DAY - 1
    assert firsts(await other.claim(message(3), [DANA])) == [message(1).id]
    clock.now += 1
    assert firsts(await other.claim(message(3), [DANA])) == [""]


async def test_the_second_waits_until_it_is_known_whether_the_first_is_kept(state: SqliteState) -> None:
    one, other = Copies(state, HASHES), Copies(state, HASHES)
    await one.claim(message(1), [DANA])
    second = asyncio.create_task(other.claim(message(2), [DANA]))
    await asyncio.wait([second], timeout=0.1)
    assert not second.done()
    one.kept(message(1), [DANA])
    assert firsts(await second) == [message(1).id]


async def test_what_is_given_up_leaves_the_next_copy_the_first(state: SqliteState) -> None:
    one, other = Copies(state, HASHES), Copies(state, HASHES)
    await one.claim(message(1), [DANA])
    second = asyncio.create_task(other.claim(message(2), [DANA]))
    one.given_up(message(1), [DANA])
    assert firsts(await second) == [""]
    other.kept(message(2), [DANA])
    await other.close()
    one.given_up(message(1), [DANA])  # of another's copy it takes nothing
    await one.close()
    assert firsts(await one.claim(message(3), [DANA])) == [message(2).id]


@pytest.mark.usefixtures("impatient")
async def test_a_worker_that_dies_between_claim_and_commit_swallows_nothing(state: SqliteState, clock: Clock) -> None:
    await Copies(state, HASHES).claim(message(1), [DANA])
    other = Copies(state, HASHES)
    assert firsts(await other.claim(message(2), [DANA])) == [""], "it goes, though nobody said what became of the first"
    clock.now += CLAIMED
    assert firsts(await other.claim(message(3), [DANA])) == [""]
    other.kept(message(3), [DANA])
    await other.close()
    assert firsts(await other.claim(message(4), [DANA])) == [message(3).id]


async def test_what_ends_at_once_after_it_was_kept_is_given_up_last(state: SqliteState) -> None:
    one = Copies(state, HASHES)
    await one.claim(message(1), [DANA])
    one.kept(message(1), [DANA])
    await one.give_up(delivery(message(1)))
    assert firsts(await one.claim(message(2), [DANA])) == [""]


async def test_what_has_no_name_is_not_asked_about(state: SqliteState) -> None:
    one = Copies(state, HASHES)
    await state.close()
    assert firsts(await one.claim(message(1, copy=""), [DANA])) == [""]
    one.kept(message(1, copy=""), [DANA])
    await one.give_up(delivery(message(1, copy="")))
    assert await one.newer(delivery(message(1, copy=""))) is None
    assert repr(one) == "<Copies: 0 to tell>"


async def test_the_same_recipient_twice_in_an_envelope_is_no_copy_of_himself(state: SqliteState) -> None:
    assert firsts(await Copies(state, HASHES).claim(message(1), [DANA, DANA])) == ["", ""]


async def test_while_state_is_down_nothing_is_a_copy_and_what_was_given_up_is_told_later(
    state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Copies(state, HASHES)
    await one.claim(message(1), [DANA])
    one.kept(message(1), [DANA])
    await one.close()
    await state.close()
    monkeypatch.setattr(module, "REST", 0.0)
    assert firsts(await one.claim(message(2), [DANA])) == [""]
    await one.give_up(delivery(message(1)))
    await state.open()
    one.kept(message(9, copy="other"), [DANA])
    await one.close()
    assert firsts(await one.claim(message(3), [DANA])) == [""]


async def test_state_that_did_not_answer_is_left_alone_for_a_while(state: SqliteState) -> None:
    one = Copies(state, HASHES)
    await state.close()
    await one.claim(message(1), [DANA])
    await state.open()
    await Copies(state, HASHES).claim(message(1), [DANA])
    assert firsts(await one.claim(message(2), [DANA])) == [""], "else each message would wait for it"


async def test_the_newest_of_a_collapse_key_goes_and_older_ones_do_not(state: SqliteState, clock: Clock) -> None:
    said: list[tuple[str, str, str]] = []
    one = Copies(state, HASHES, lambda *replaced: said.append(replaced))
    other = Copies(state, HASHES, lambda *replaced: said.append(replaced))
    older, newer, apart = message(1, "", "k"), message(2, "", "k"), message(3, "", "k2")
    for number, copies in ((newer, one), (older, other), (apart, other)):
        copies.kept(number, [DANA])  # whichever worker tells of his first
        await copies.close()
    assert said == []
    found = await other.newer(delivery(older))
    assert found is not None
    assert (found.reason, found.other, found.facts["superseded_by"]) == ("superseded", newer.id, newer.id)
    for goes in (delivery(newer), delivery(apart), delivery(message(0, "", "k"), EVE)):
        assert await one.newer(goes) is None
    newest = message(4, "", "k")
    one.kept(newest, [EVE, DANA])
    await one.close()
    assert said == [(message(0).id, EVE, newest.id), (newer.id, DANA, newest.id)]
    clock.now += MONTH
    assert await one.newer(delivery(newer)) is None


async def test_an_attempt_brings_back_what_state_has_lost(state: SqliteState) -> None:
    one = Copies(state, HASHES)
    newer, older = message(2, "", "k"), message(1, "", "k")
    assert await one.newer(delivery(newer)) is None
    assert await one.newer(delivery(older)) is not None


async def test_without_state_an_older_message_goes_too(state: SqliteState) -> None:
    one = Copies(state, HASHES)
    await one.newer(delivery(message(2, "", "k")))
    await state.close()
    assert await one.newer(delivery(message(1, "", "k"))) is None


async def test_claims_of_one_turn_are_one_question_and_each_has_its_answer(
    state: SqliteState, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    mark = state.mark

    async def counted(ttl_ms: int, changes: Sequence[Change]) -> list[bytes]:
        asked.append(len(changes))
        return await mark(ttl_ms, changes)

    monkeypatch.setattr(state, "mark", counted)
    one = Copies(state, HASHES)
    one.kept(message(1, copy="first"), [EVE])
    await one.close()
    found = await asyncio.gather(
        one.claim(message(2), [DANA, EVE]),
        one.claim(message(3, copy="first"), [EVE, DANA]),
        one.claim(message(4, "x"), [DANA]),
    )
    assert [firsts(part) for part in found] == [["", ""], [message(1).id, ""], [""]]
    assert asked == [1, 5]


async def test_a_fault_of_ours_makes_nothing_a_copy(state: SqliteState, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(ttl_ms: int, changes: Sequence[Change]) -> list[bytes]:
        raise LookupError("a fault")

    monkeypatch.setattr(state, "mark", broken)
    assert firsts(await Copies(state, HASHES).claim(message(1), [DANA])) == [""]
