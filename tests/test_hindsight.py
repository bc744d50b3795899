"""What is heard of mail after it was delivered, over a real spool and State."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from relay.effects import Effects
from relay.feedback.aftermath import Aftermath
from relay.feedback.matching import NOBODY, Report
from relay.feedback.rulings import Ruling, Rulings
from relay.feedback.taxonomy import Category
from relay.hindsight import AT_ONCE, HELD, SEARCHES, Hindsight, _counts, _happened
from relay.ids import Ids, first_at, maker_of
from relay.message import Change, Delivery, MailClass
from relay.return_path import MAX_AGE
from relay.returns import MOST_UNPLACED, UNPLACED, board, dumped, loaded, name_of
from relay.spool.errors import SpoolError
from relay.spool.store import Spool
from relay.state.interface import StateError
from relay.state.sqlite import SqliteState
from relay.tally import Kind, Tally
from tests.support.house import NOW, Rig, waiting_delivery

ID = Ids("test", 0, lambda: NOW).next()
MAKER = maker_of(ID)
FAILED = Report(
    (ID, 0),
    "bounced-late",
    {"category": "bad-mailbox", "permanent": True, "status": "5.1.1", "reply": "550 no such user"},
)
COMPLAINED = Report(
    (ID, 0), "complained", {"feedback_type": "abuse", "reported_by": "fbl.example", "matched_by": "trace-id"}
)


LEFT = Report((ID, 0), "unsubscribed", {})
SAID = {"stream": "news", "brand": "arava", "credential": "crm", "campaign": "may", "site": "b.example"}
TOLD_LEFT = Report((ID, 0), "left", dict(SAID))


class Scene:
    """`learnt`: what the desk was asked for; `tallies`: what then was counted for the health of streams."""

    def __init__(self, spool: Spool, state: SqliteState) -> None:
        self.spool, self.state = spool, state
        self.rig = Rig()
        house = self.rig.acceptance()
        house.spool = spool
        self.complained: list[tuple[str, str]] = []
        self.tallies: list[Any] = []
        self.hindsight = Hindsight(
            state,
            [(spool, house, MAKER)],
            self.rig.clock,
            lambda *told: self.complained.append(told),
            self.rig.doubted.__contains__,
        )

    async def deliver(self) -> Delivery:
        delivery = waiting_delivery()
        message = delivery.message
        message.id, message.brand, message.content = ID, "arava", b"Subject: hi\r\n\r\n"
        message.skeleton = "0ffe12345678"
        delivery.mail_from, delivery.arrived = "b-1@bounce.arava.example", NOW
        await self.spool.put(Change(put=[(message, [delivery])]))
        await self.spool.settle(Change(finished=[delivery], sent=[(delivery, "192.0.2.3", "google")]))
        return delivery

    async def hear(self, report: Report) -> None:
        await self.state.pin(board(MAKER), name_of(report), dumped(report))
        await self.hindsight.look()
        assert await self.state.pinned(board(MAKER)) == {}

    async def events(self) -> list[dict[str, Any]]:
        found = await self.spool.outbox(1 << 20)
        return [json.loads(line) for line in found[1].splitlines()] if found else []

    async def learnt(self) -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []

        async def listen(effects: Any) -> None:
            heard.extend(cast(dict[str, Any], one.learnt) for one in effects if one.learnt)
            self.tallies.extend(one.tally for one in effects if one.tally is not None)

        await Effects(self.spool, [listen]).step()
        return heard


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    spool = Spool(tmp_path / "0.db", clock=lambda: NOW, on_fatal=lambda error: pytest.fail(repr(error)))
    state = SqliteState(tmp_path / "state.db", lambda: NOW)
    await spool.open()
    await state.open()
    yield Scene(spool, state)
    await spool.close()
    await state.close()


async def test_a_bounce_after_delivery_is_on_record_reported_and_learnt_from(scene: Scene) -> None:
    delivery = await scene.deliver()
    await scene.hear(FAILED)
    late, report = await scene.events()
    assert late["skeleton"] == "0ffe12345678"
    assert (late["type"], late["id"], late["recipient"], late["category"]) == (
        "bounced-late",
        ID,
        delivery.recipient,
        "bad-mailbox",
    )
    assert (late["brand"], late["stream"], late["sender"]) == ("arava", delivery.message.stream, delivery.sender)
    assert (report["type"], report["recipient"], report["report_of"]) == ("accepted", delivery.sender, ID)
    assert [one.recipient for one in scene.rig.offered] == [delivery.sender], "the app's report is on its way"
    (entry,) = await scene.learnt()
    assert (entry["recipient"], entry["stop"], entry["reason"]) == (delivery.recipient, "all", "bad-mailbox")
    assert late["suppressed"] == "all"


async def test_a_late_bounce_whose_word_is_not_taken_says_that_it_is_pending(scene: Scene) -> None:
    await scene.deliver()
    scene.rig.people.block("dana@b.example", "pending:all", "bad-mailbox", since=NOW)
    await scene.hear(FAILED)
    assert (await scene.events())[0]["suppressed"] == "pending:all", "the same day's word is no second one"
    assert [entry["told"] for entry in await scene.learnt()] == ["pending:all"]


async def test_a_late_bounce_of_a_doubted_site_says_so_too_and_without_state_as_much_as_is_known(scene: Scene) -> None:
    await scene.deliver()
    scene.rig.doubted.add("google")
    scene.rig.people.down = True
    await scene.hear(FAILED)
    assert (await scene.events())[0]["suppressed"] == "pending:all"


async def test_a_report_from_further_on_reaches_the_app_under_the_names_that_the_app_gave(scene: Scene) -> None:
    """RFC 3461 5.2: Original-Envelope-Id and Original-Recipient are the app's, whatever the next hop wrote."""
    delivery = waiting_delivery()
    message = delivery.message
    message.id, message.brand, message.content, message.envid = ID, "arava", b"Subject: hi\r\n\r\n", "order+2B77"
    delivery.orcpt, delivery.notify = "rfc822;Dana+2Bshop@b.example", "FAILURE"
    delivery.mail_from, delivery.arrived = "b-1@bounce.arava.example", NOW
    await scene.spool.put(Change(put=[(message, [delivery])]))
    await scene.spool.settle(Change(finished=[delivery], sent=[(delivery, "192.0.2.3", "google")]))
    facts = {**FAILED.facts, "reply": "550 5.1.1 <x7@in.example>: no such user", "reported_by": "mx.in.example"}
    await scene.hear(FAILED._replace(facts=facts))
    (report,) = scene.rig.offered
    told = (await scene.spool.content(report.message)).decode()
    assert report.recipient == delivery.sender
    for line in (
        "Original-Envelope-Id: order+77",
        "Original-Recipient: rfc822; Dana+shop@b.example",
        f"Final-Recipient: rfc822; {delivery.recipient}",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.in.example",
        "Diagnostic-Code: smtp; 550 5.1.1 <x7@in.example>: no such user",
        f"Message-ID: {message.message_id}",
    ):
        assert f"\r\n{line}\r\n" in told, line


async def test_a_complaint_is_no_failure_and_stops_marketing(scene: Scene) -> None:
    await scene.deliver()
    await scene.hear(COMPLAINED)
    (event,) = await scene.events()
    assert (event["type"], event["feedback_type"]) == ("complained", "abuse")
    assert (event["site"], event["source"], event["suppressed"]) == ("google", "192.0.2.3", "marketing")
    (entry,) = await scene.learnt()
    assert (entry["stop"], entry["brand"], entry["reason"]) == ("marketing", "arava", "complaint")
    assert entry["site"] == "google", "the site that took it, also where that was not known when it was accepted"
    assert scene.complained == [("192.0.2.3", "google")]


async def test_what_comes_back_counts_for_the_health_of_its_stream_once(scene: Scene) -> None:
    delivery = await scene.deliver()
    message = delivery.message
    quota = FAILED._replace(facts={**FAILED.facts, "category": "quota"})
    forged = {**FAILED.facts, "category": "auth-failure", "status": "5.7.26", "reply": "550 5.7.26 not authenticated"}
    for report in (COMPLAINED, COMPLAINED, FAILED, FAILED, LEFT):
        await scene.hear(report)
    tallies: list[Any] = []

    async def listen(effects: Any) -> None:
        tallies.extend((one.token, one.tally) for one in effects if one.tally is not None)

    await Effects(scene.spool, [listen]).step()
    urgent = message.mail_class is MailClass.TRANSACTIONAL
    about = (message.stream, urgent, message.credential, "arava", "", "google", NOW, 0)
    assert [tuple(tally) for _, tally in tallies] == [("c", *about, "", "", ""), ("H", *about, "", "", "")]
    assert len({token + tally.kind for token, tally in tallies}) == 2
    assert _counts("bounced-late", quota.facts) is None
    assert _counts("bounced-late", forged) is Kind.LATE_FAULT
    late = _happened(delivery, Kind.LATE_FAULT, forged)
    assert late[:2] == ("F", message.stream)
    assert late[8:] == (0, "auth-failure", "550 5.7.26", message.author.partition("@")[2])
    assert _counts("complained", {"feedback_type": "not-spam"}) is None


async def test_a_complaint_speaks_against_its_source_also_where_no_address_is_suppressed_for_it(scene: Scene) -> None:
    scene.hindsight.aftermath = Aftermath({})
    await scene.deliver()
    await scene.hear(COMPLAINED)
    assert await scene.learnt() == []
    assert scene.complained == [("192.0.2.3", "google")]


async def test_what_is_no_complaint_about_us_speaks_against_no_source(scene: Scene) -> None:
    await scene.deliver()
    await scene.hear(Report((ID, 0), "complained", {"feedback_type": "not-spam"}))
    await scene.hear(FAILED)
    assert scene.complained == []


async def test_what_is_heard_again_counts_once(scene: Scene) -> None:
    await scene.deliver()
    for report in (FAILED, FAILED, COMPLAINED, FAILED, COMPLAINED):
        await scene.hear(report)
    assert [event["type"] for event in await scene.events()] == ["bounced-late", "accepted", "complained"]
    assert scene.hindsight.counters == {"bounced-late": 1, "complained": 1, "again": 3}
    assert repr(scene.hindsight).startswith("<Hindsight {'bounced-late': 1")


def said(category: str, status: str = "5.0.0", *, permanent: bool = True) -> Report:
    return FAILED._replace(facts={"category": category, "permanent": permanent, "status": status, "reply": ""})


async def test_a_clear_bounce_counts_after_those_that_said_little(scene: Scene) -> None:
    delivery = await scene.deliver()
    expired = said("expired", "4.4.7", permanent=False)
    for report in (expired, said("other"), said("bad-mailbox", permanent=False), FAILED, FAILED, said("bad-domain")):
        await scene.hear(report)
    events = await scene.events()
    assert [event.get("category") for event in events if event["type"] == "bounced-late"] == ["expired", "bad-mailbox"]
    assert [event["type"] for event in events].count("accepted") == 1, "the app is told by one report"
    assert scene.hindsight.counters == {"bounced-late": 2, "again": 4}
    (entry,) = await scene.learnt()
    assert (entry["recipient"], entry["reason"]) == (delivery.recipient, "bad-mailbox")
    assert [tally.kind for tally in scene.tallies] == ["H"]


async def test_of_bounces_of_one_delivery_one_counts_for_the_health_of_its_stream(scene: Scene) -> None:
    await scene.deliver()
    for report in (said("spam-block", "5.7.1"), said("spam-block", "5.7.1"), FAILED, said("spam-block", "5.7.1")):
        await scene.hear(report)
    assert [entry["reason"] for entry in await scene.learnt()] == ["bad-mailbox"]
    assert [tally.kind for tally in scene.tallies] == ["S"]
    assert scene.hindsight.counters == {"bounced-late": 2, "again": 2}


async def test_a_clear_bounce_counts_also_where_both_wait_for_the_node_that_sent_it(scene: Scene) -> None:
    await scene.deliver()
    for report in (said("other"), FAILED, COMPLAINED, said("remote-error", "4.3.0", permanent=False)):
        await scene.state.pin(board(MAKER), name_of(report), dumped(report))
    assert len(await scene.state.pinned(board(MAKER))) == 3, "however many come, there are two of bounces"
    for _ in range(2):
        await scene.hindsight.look()
    assert await scene.state.pinned(board(MAKER)) == {}
    assert scene.hindsight.counters == {"bounced-late": 1, "complained": 1, "again": 1}
    assert {entry["reason"] for entry in await scene.learnt()} == {"bad-mailbox", "complaint"}


async def test_a_rule_of_the_admin_can_say_what_makes_a_later_bounce_clear(scene: Scene) -> None:
    ruling = Ruling(Category.BAD_MAILBOX, "policies/bounces.toml:4", codes=frozenset({"5.7.99"}))
    scene.hindsight.rulings = Rulings([ruling])
    await scene.deliver()
    gone = said("other", "5.7.99")
    for report in (said("other"), gone._replace(facts={**gone.facts, "texts": ["550 5.7.99 gone"]})):
        await scene.hear(report)
    assert [entry["reason"] for entry in await scene.learnt()] == ["bad-mailbox"]


async def test_of_what_nobody_sent_nothing_follows(scene: Scene) -> None:
    await scene.hear(FAILED)
    assert await scene.events() == []
    assert scene.hindsight.counters == {"unknown": 1}


async def test_a_note_that_cannot_be_read_is_dropped(scene: Scene) -> None:
    for number, note in enumerate(("{", "[1]", '["a", 0, "unheard-of", {}]', "null")):
        await scene.state.pin(board(MAKER), str(number), note)
    await scene.hindsight.look()
    assert await scene.state.pinned(board(MAKER)) == {}


async def test_who_asked_for_no_report_gets_none(scene: Scene) -> None:
    delivery = waiting_delivery()
    delivery.notify, delivery.mail_from = "NEVER", "b-1@bounce.arava.example"
    delivery.message.id, delivery.message.content = ID, b"\r\n"
    await scene.spool.put(Change(put=[(delivery.message, [delivery])]))
    await scene.spool.settle(Change(finished=[delivery], sent=[(delivery, "192.0.2.3", "google")]))
    await scene.hear(FAILED)
    assert [event["type"] for event in await scene.events()] == ["bounced-late"]


async def test_a_fault_of_ours_with_one_note_ends_neither_the_worker_nor_the_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.deliver()
    monkeypatch.setattr("relay.hindsight.owes_failure_report", lambda _: 1 / 0)
    for report in (FAILED, COMPLAINED):
        await scene.state.pin(board(MAKER), name_of(report), dumped(report))
    with capture_logs() as logs:
        await scene.hindsight.look()
    (line,) = [line for line in logs if "dropped" in line["event"]]
    assert (ID in line["about"], "@" in line["about"]) == (True, False)
    assert [event["type"] for event in await scene.events()] == ["complained"]
    assert await scene.state.pinned(board(MAKER)) == {}
    assert scene.hindsight.counters["failed"] == 1


async def test_who_left_by_it_counts_once_for_the_day_and_the_site_of_its_delivery(scene: Scene) -> None:
    delivery = await scene.deliver()
    scene.rig.now = NOW + 3 * 86_400_000
    for _ in range(2):
        await scene.hear(TOLD_LEFT)
    assert await scene.learnt() == []
    message = delivery.message
    (tally,) = scene.tallies
    assert (tally.kind, tally.stream, tally.brand) == (Kind.UNSUBSCRIBED, message.stream, "arava")
    assert (tally.credential, tally.campaign) == (message.credential, message.campaign or "")
    assert (tally.at, tally.site) == (NOW, "google")
    assert scene.hindsight.counters == {"left": 1, "again": 1}
    assert await scene.events() == [], "the desk has told it"


async def test_of_what_is_not_remembered_as_much_counts_as_the_link_said(scene: Scene) -> None:
    scene.rig.now = NOW + 3 * 86_400_000
    await scene.hear(TOLD_LEFT)
    await scene.learnt()
    assert scene.tallies == [Tally("u", "news", False, "crm", "arava", "may", "b.example", NOW)]
    await scene.hear(TOLD_LEFT._replace(about=(ID, 1), facts={}))
    assert scene.hindsight.counters == {"left": 1, "failed": 1}, "a note that is none"


async def test_who_comes_back_and_leaves_again_and_again_counts_once_against_the_stream(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.hindsight.MOST_LEFT", 2)
    for _ in range(30):
        await scene.hear(TOLD_LEFT)
    for index in (1, 2):
        await scene.hear(TOLD_LEFT._replace(about=(ID, index)))
    await scene.learnt()
    assert len(scene.tallies) == 3
    await scene.hear(TOLD_LEFT)
    await scene.learnt()
    assert len(scene.tallies) == 4, "who is remembered is bounded"


async def test_a_busy_days_mail_is_forgotten_to_the_last(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.spool.shard.FORGET_ROWS", 2)
    delivery = await scene.deliver()
    for index in range(1, 8):
        await scene.spool.settle(Change(sent=[(replace(delivery, index=index), "", "")]))
    scene.rig.now = NOW + MAX_AGE
    await scene.hindsight.forget()
    assert await scene.spool.sent(ID, 7) is not None, "as old as may be"
    scene.rig.now += 1
    await scene.hindsight.forget()
    assert [await scene.spool.sent(ID, index) for index in range(8)] == [None] * 8


async def test_a_look_that_state_breaks_off_has_ended_before_the_next_begins(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = await scene.deliver()
    count = 2 * AT_ONCE + 1
    for index in range(1, count):
        await scene.spool.settle(Change(sent=[(replace(delivery, index=index), "", "")]))
    for index in range(count):
        report = COMPLAINED._replace(about=(ID, index))
        await scene.state.pin(board(MAKER), name_of(report), dumped(report))
    unpin, left = scene.state.unpin, [AT_ONCE // 2]

    async def breaks(at: str, name: str) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise StateError("no answer")
        return await unpin(at, name)

    with monkeypatch.context() as broken:
        broken.setattr(scene.state, "unpin", breaks)
        with pytest.raises(StateError):
            await scene.hindsight.look()
        assert len(asyncio.all_tasks()) == 1, "nothing goes on behind our back"
    await scene.hindsight.look()
    assert len(await scene.events()) == count, "each once"
    assert await scene.state.pinned(board(MAKER)) == {}


async def test_what_can_come_back_no_more_is_forgotten(scene: Scene) -> None:
    await scene.deliver()
    await scene.spool.forget_sent(first_at(NOW))
    assert await scene.spool.sent(ID, 0) is not None
    await scene.spool.forget_sent(first_at(NOW + 1))
    assert await scene.spool.sent(ID, 0) is None


async def test_of_who_is_forgotten_nothing_comes_back(scene: Scene) -> None:
    await scene.deliver()
    await scene.spool.unsend([(ID, 5), ("other", 0)])
    assert await scene.spool.sent(ID, 0) is not None
    await scene.spool.unsend([(ID, 0)])
    assert await scene.spool.sent(ID, 0) is None


async def test_who_wrote_to_leave_has_left_once_and_for_all(scene: Scene) -> None:
    delivery = await scene.deliver()
    await scene.hear(LEFT)
    (entry,) = await scene.learnt()
    assert (entry["recipient"], entry["stop"], entry["brand"]) == (delivery.recipient, "marketing", "arava")
    assert (entry["reason"], entry["source"]) == ("unsubscribed", "mailto")
    assert await scene.events() == [], "the desk tells it, and nobody is answered"
    await scene.hear(LEFT)
    assert scene.hindsight.counters == {"unsubscribed": 1, "again": 1}, "a token that is used again changes nothing"
    assert scene.complained == []


async def test_the_admins_rules_say_what_a_late_bounce_means_at_the_site_that_took_the_mail(scene: Scene) -> None:
    ruling = Ruling(Category.INACTIVE_MAILBOX, "policies/bounces.toml:4", sites={"google"}, codes=frozenset({"5.7.99"}))
    scene.hindsight.rulings = Rulings([ruling])
    await scene.deliver()
    facts = {"category": "other", "permanent": True, "status": "5.7.99", "reply": "", "texts": ["550 5.7.99 asleep"]}
    await scene.hear(Report((ID, 0), "bounced-late", facts))
    late = (await scene.events())[0]
    assert (late["category"], late["rule"], late["reply"]["text"]) == ("inactive-mailbox", ruling.place, "asleep")
    assert "texts" not in late
    (entry,) = await scene.learnt()
    assert entry["reason"] == "inactive-mailbox"


# --- reports that tell Message-ID and address alone

SOUGHT = ("order.7@a.example", "DANA@b.example")


def sought(report: Report, about: tuple[str, str] = SOUGHT, at: int = NOW) -> Report:
    return report._replace(about=NOBODY, sought=about, at=at)


async def sent_as(scene: Scene, recipient: str = "dana@b.example", *, many: bool = False) -> Delivery:
    delivery = waiting_delivery()
    message = delivery.message
    message.id, message.brand, message.content, message.many = ID, "arava", b"Subject: hi\r\n\r\n", many
    message.message_id = "<order.7@a.example>"
    delivery.recipient, delivery.mail_from, delivery.arrived = recipient, "b-1@bounce.arava.example", NOW
    await scene.spool.put(Change(put=[(message, [delivery])]))
    await scene.spool.settle(Change(finished=[delivery], sent=[(delivery, "192.0.2.3", "google")]))
    return delivery


async def test_it_is_looked_for_in_what_each_worker_sent(scene: Scene) -> None:
    await sent_as(scene)
    report = sought(FAILED)
    await scene.state.pin(UNPLACED, name_of(report), dumped(report))
    await scene.hindsight.look()
    late, told = await scene.events()
    assert (late["type"], late["id"]) == ("bounced-late", ID)
    assert late["reply"] == {"code": 550, "enhanced": "5.1.1", "text": "no such user"}, "as of any other failure"
    assert late["delivered_at"] <= late["time"]
    assert told["report_of"] == ID
    assert [entry["reason"] for entry in await scene.learnt()] == ["bad-mailbox"]
    assert len(scene.tallies) == 1
    assert await scene.state.pinned(UNPLACED) == await scene.state.pinned(board(MAKER)) == {}


async def test_a_search_that_failed_is_made_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await sent_as(scene)
    report = sought(FAILED)
    await scene.state.pin(UNPLACED, name_of(report), dumped(report))
    with monkeypatch.context() as broken:

        async def fails(_: tuple[str, str]) -> None:
            raise SpoolError("the disk does not answer")

        broken.setattr(scene.spool, "sent_as", fails)
        with pytest.raises(SpoolError):
            await scene.hindsight.look()
    await scene.hindsight.look()
    assert scene.hindsight.counters == {"bounced-late": 1}


async def test_what_cannot_be_read_is_taken_off(scene: Scene) -> None:
    for number, note in enumerate(("{", "[1]", '["", 0, "bounced-late", {}, 1, 2]')):
        await scene.state.pin(UNPLACED, str(number), note)
    await scene.hindsight.look()
    assert await scene.state.pinned(UNPLACED) == {}
    assert scene.hindsight.counters == {"failed": 3}


async def test_a_report_without_any_reason_is_told_as_such(scene: Scene) -> None:
    await scene.deliver()
    await scene.hear(Report((ID, 0), "bounced-late", {"permanent": True}))
    (told,) = scene.rig.offered
    content = (await scene.spool.content(told.message)).decode()
    assert "Diagnostic-Code: smtp; 550 5.0.0 It came back; the report gives no reason" in content
    assert await scene.learnt() == []


async def test_what_others_may_have_said_does_not_hide_what_is_sure(scene: Scene) -> None:
    await sent_as(scene, many=True)
    report = sought(FAILED)
    await scene.state.pin(UNPLACED, name_of(report), dumped(report))
    await scene.hindsight.look()
    assert await scene.learnt() == []
    await scene.hear(FAILED)
    assert [entry["reason"] for entry in await scene.learnt()] == ["bad-mailbox"]


async def test_where_others_know_the_message_id_nothing_is_learnt_from_it(scene: Scene) -> None:
    await sent_as(scene, many=True)
    for report in (sought(FAILED), sought(COMPLAINED)):
        await scene.state.pin(UNPLACED, name_of(report), dumped(report))
    await scene.hindsight.look()
    assert [event["type"] for event in await scene.events()] == ["bounced-late", "accepted", "complained"]
    assert await scene.learnt() == []
    assert (scene.complained, scene.tallies) == ([], []), "nor does it speak against a source or a stream"


@pytest.mark.parametrize("about", [("other@a.example", "dana@b.example"), ("order.7@a.example", "noa@b.example")])
async def test_what_others_sent_waits_for_them_and_ends_with_time(scene: Scene, about: tuple[str, str]) -> None:
    await sent_as(scene)
    report = sought(FAILED, about)
    await scene.state.pin(UNPLACED, name_of(report), dumped(report))
    for _ in range(2):
        await scene.hindsight.look()
    assert list(await scene.state.pinned(UNPLACED)) == [name_of(report)]
    scene.rig.now = NOW + HELD + 1
    await scene.hindsight.look()
    assert await scene.state.pinned(UNPLACED) == {}
    assert scene.hindsight.counters == {"unplaced": 1}
    assert await scene.events() == []


async def test_the_node_that_was_down_finds_its_own_when_it_is_back(scene: Scene, tmp_path: Path) -> None:
    """By trace id its board is known; by Message-ID the others have looked, and left it there."""
    other = Spool(tmp_path / "1.db", clock=lambda: NOW, on_fatal=lambda error: pytest.fail(repr(error)))
    await other.open()
    shards = [(other, scene.rig.acceptance(), "0000")]
    elsewhere = Hindsight(scene.state, shards, scene.rig.clock, lambda *_: None, lambda _: False)
    for report in (sought(FAILED), COMPLAINED):
        await scene.state.pin(board("" if report.about == NOBODY else MAKER), name_of(report), dumped(report))
    await elsewhere.look()
    assert elsewhere.counters == {}
    await sent_as(scene)
    await scene.hindsight.look()
    assert scene.hindsight.counters == {"bounced-late": 1, "complained": 1}
    assert await scene.state.pinned(UNPLACED) == await scene.state.pinned(board(MAKER)) == {}
    await other.close()


async def test_strangers_cannot_make_us_search_or_keep_without_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(MOST_UNPLACED + 30):
        report = sought(FAILED, (f"{number}@nobody.example", "dana@b.example"), at=NOW + number)
        await scene.state.pin(UNPLACED, name_of(report), dumped(report))
    await scene.state.pin(UNPLACED, "unreadable", "{")
    searched: list[object] = []
    search = scene.spool.sent_as

    async def counted(about: tuple[str, str]) -> tuple[str, int] | None:
        searched.append(about)
        return await search(about)

    monkeypatch.setattr(scene.spool, "sent_as", counted)
    await scene.hindsight.look()
    assert len(searched) <= SEARCHES
    kept = await scene.state.pinned(UNPLACED)
    assert len(kept) == MOST_UNPLACED
    assert min(loaded(note).at for note in kept.values()) == NOW + 30, "the oldest go"
    assert await scene.events() == []
