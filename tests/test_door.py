"""The door: who comes in, and the record of who does not."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from relay.door import MAX_REJECTED_A_SECOND, Door
from relay.edge.credentials import Directory
from relay.edge.submission import TurnedAway
from relay.header import MAX_HEADER
from relay.identity import Credential
from relay.message import MailClass, RcptTo
from relay.outcome import Reply
from relay.policy.checks import BUILT_IN, Checks
from relay.tokens import Tokens
from relay.trace import Tracer
from tests.support.house import LETTER, SHOP, Rig, submission

TOKENS = Tokens([b"s" * 32])


def door(rig: Rig, *credentials: Credential) -> Door:
    house = rig.acceptance()
    made = Door(house)
    made.apply(Directory(credentials or (SHOP,)), house.law, rig.keys_for, house.site_of, house.tracer, TOKENS)
    return made


async def settled(made: Door) -> None:
    while made._recording:
        await asyncio.gather(*made._recording)


async def test_a_refusal_is_an_event() -> None:
    rig = Rig()
    made = door(rig)
    reply = await made.accept(submission(LETTER.replace(b"a.example", b"c.example")))
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    await settled(made)
    (event,) = rig.spool.events()
    assert (event["type"], event["reason"], event["credential"], event["peer"]) == (
        "rejected", "from-domain", "shop", "192.0.2.7",
    )  # fmt: skip
    assert made.counters["refused"] == 1


async def test_a_header_beyond_all_measure_is_refused_before_anybody_looks_at_it() -> None:
    rig = Rig()
    made = door(rig)
    reply = await made.accept(submission(b"X-Fold: a\r\n" + b" b\r\n" * (MAX_HEADER // 4) + LETTER))
    assert str(reply) == "552 5.3.4 The header has more than 256 KB or 10000 lines"
    await settled(made)
    assert [event["reason"] for event in rig.spool.events()] == ["header"]


async def test_the_event_of_a_refusal_by_a_check_names_it() -> None:
    rig = Rig()
    rig.checks = {"a": Checks([(BUILT_IN["postal-address"], "refuse", lambda case: "no address")])}
    made = door(rig, replace(SHOP, mail_class=MailClass.MARKETING))
    assert (await made.accept(submission())).code == 550
    await made.accept(submission(LETTER.replace(b"a.example", b"c.example")))
    await settled(made)
    check, other = rig.spool.events()
    assert (check["reason"], check["detail"]) == ("check", "postal-address")
    assert "no address" in check["reply"]["text"]
    assert "detail" not in other


async def test_events_of_refusals_are_bounded() -> None:
    rig = Rig()
    made = door(rig)
    for _ in range(3 * MAX_REJECTED_A_SECOND):
        made.rejected({"reason": "relay"})
    await settled(made)
    assert len(rig.spool.events()) == MAX_REJECTED_A_SECOND
    assert made.counters["unrecorded"] == 2 * MAX_REJECTED_A_SECOND
    rig.now += 1000
    made.rejected({"reason": "relay"})
    await settled(made)
    assert len(rig.spool.events()) == MAX_REJECTED_A_SECOND + 1


async def test_a_full_disk_loses_the_record_not_the_session() -> None:
    rig = Rig()
    made = door(rig)
    rig.spool.full = True
    made.rejected({"reason": "relay"})
    await settled(made)
    assert made.counters["unrecorded"] == 1


async def test_a_session_keeps_nobody_whom_a_reload_disabled_or_changed() -> None:
    rig = Rig()
    made = door(rig)
    sealed = Tracer(bytes(32))
    law = rig.acceptance().law
    made.apply(Directory([replace(SHOP, disabled=True)]), law, rig.keys_for, lambda _, d: d, sealed, TOKENS)
    assert str(await made.accept(submission())) == "550 5.7.1 shop may not send any more"
    made.apply(
        Directory([replace(SHOP, domains=frozenset({"c.example"}))]),
        rig.acceptance().law,
        rig.keys_for,
        lambda _, d: d,
        sealed,
        TOKENS,
    )
    assert "a.example is not one of shop's" in str(await made.accept(submission()))


async def test_our_own_fault_is_a_451() -> None:
    rig = Rig()
    made = door(rig)
    law, sealed = rig.acceptance().law, Tracer(bytes(32))
    made.apply(Directory([SHOP]), law, lambda domain: 1 / 0, lambda _, d: d, sealed, TOKENS)  # type: ignore[arg-type,return-value]
    assert str(await made.accept(submission())) == "451 4.3.0 A fault on our side; try again later"
    assert made.counters["failed"] == 1


class Addresses:
    """Refuses `bad`; of all else it says nothing, at once or after a while."""

    def __init__(self, waits: bool) -> None:
        self.waits = waits

    def at_rcpt(self, credential: str, recipient: RcptTo, patience: float) -> Reply | Awaitable[Reply | None] | None:
        reply = Reply(550, "5.1.2", "no such domain") if recipient.address.startswith("bad") else None
        return self._later(reply) if self.waits else reply

    async def _later(self, reply: Reply | None) -> Reply | None:
        return reply


async def turned_away(made: Door, credential: Credential, address: str) -> str:
    answer = made.check(credential, RcptTo(address, "b.example"), 1.0)
    if answer is not None and not isinstance(answer, TurnedAway):
        answer = await answer
    return f"{answer.reply.enhanced} {answer.reason}" if answer is not None else ""


@pytest.mark.parametrize("checking", [None, Addresses(waits=False), Addresses(waits=True)])
async def test_an_app_that_wants_it_hears_at_rcpt_whom_it_may_not_send_to(checking: Any) -> None:
    rig = Rig()
    made = Door(rig.acceptance(), checking)
    rig.people.block("gone@b.example", reason="bad-mailbox")
    rig.people.block("no@b.example")
    plain, eager = SHOP, replace(SHOP, on_suppressed="refuse")
    assert [await turned_away(made, plain, f"{who}@b.example") for who in ("gone", "no", "dana")] == [""] * 3
    found = [await turned_away(made, eager, f"{who}@b.example") for who in ("gone", "no", "dana")]
    assert found == ["5.1.1 suppressed", "5.7.1 suppressed", ""]
    if checking is not None:
        for app in (plain, eager):
            assert await turned_away(made, app, "bad@b.example") == "5.1.2 address-check"
    rig.people.down = True
    assert await turned_away(made, eager, "gone@b.example") == "", "without State it is asked again before each attempt"


async def test_who_unsubscribes_counts_for_the_health_of_that_stream() -> None:
    rig = Rig()
    made = door(rig)
    await made.record_all(
        [
            ("unsubscribed", {"brand": "a", "stream": "news"}),
            ("unsubscribed", {"brand": "a", "stream": None}),
            ("unsubscribed", {"brand": "a", "stream": "news", "id": "01m7z4h4b02vmt00", "rcpt": 0}),
            ("suppressed", {"brand": "a", "stream": "news"}),
        ]
    )
    (change,) = rig.spool.puts
    assert len(change.events) == 4
    assert [told for _, told in change.told_of] == [("u", "news", False, "", "a", "", "", rig.clock())], (
        "and by a message, where that is known"
    )
    await made.record_all([])
    assert len(rig.spool.puts) == 1
