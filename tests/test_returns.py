"""The door of mail that comes back: what it takes, and what it tells whom."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay import returns
from relay.edge.submission import Submission
from relay.feedback.matching import NOBODY
from relay.feedback.returned import Kind, Mail, read_mail
from relay.ids import Ids, maker_of
from relay.message import Envelope, Peer, RcptTo
from relay.return_path import MAX_AGE, ReturnPaths
from relay.returns import (
    ANYBODY,
    CLEAR,
    FORWARDED_AN_HOUR,
    FORWARDED_HEADER,
    FORWARDED_OCTETS,
    GONE,
    HOUR,
    LATER,
    MOST_UNPLACED,
    NOBODY_HERE,
    READ_AT_ONCE,
    TAKEN,
    TOO_BIG,
    UNPLACED,
    UNREAD,
    Returns,
    board,
    loaded,
)
from relay.state.sqlite import SqliteState
from relay.trace import Tracer
from tests.support.bad_returns import made
from tests.support.house import Rig

NOW = 1_795_267_531_104
SECRETS = [b"s" * 32]
DOMAIN = "bounce.marom.example"
PATHS, TRACER = ReturnPaths(SECRETS), Tracer(SECRETS[0])
ID = Ids("n", 0, lambda: NOW).next()
BOUNCE = """From: MAILER-DAEMON@mx.example.net
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; lea@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
--b--
"""
VAGUE = BOUNCE.replace("5.1.1", "4.4.7").replace("550 4.4.7 no such user", "delivery time expired")
COMPLAINT = """From: fbl@provider.example
Subject: abuse
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Provider/1
Version: 1
--b
Content-Type: message/rfc822

X-Postlane-Trace: {}
From: news@marom.example
Subject: News

Hi
--b--
"""


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqliteState]:
    one = SqliteState(tmp_path / "state.db", lambda: NOW)
    await one.open()
    yield one
    await one.close()


def door(state: SqliteState, rig: Rig | None = None) -> Returns:
    return Returns(state, PATHS, (rig or Rig()).acceptance(), {DOMAIN}, lambda _: None)


def mail(text: str, *recipients: str, sender: str = "") -> Submission:
    named = [RcptTo(one, one.rpartition("@")[2]) for one in recipients]
    return Submission(
        Envelope(sender, named), text.replace("\n", "\r\n").encode(), ANYBODY, "", Peer("192.0.2.7", 25), NOW
    )


async def told(state: SqliteState) -> dict[str, str]:
    return await state.pinned(board(maker_of(ID)))


async def test_only_return_paths_of_ours_are_addresses_here(state: SqliteState) -> None:
    one, path = door(state), PATHS.address(ID, 3, DOMAIN)
    assert one.check(ANYBODY, RcptTo(path.upper(), DOMAIN), 0) is None
    for address in (f"b-{'0' * 32}@{DOMAIN}", f"lea@{DOMAIN}", PATHS.address(ID, 3, "other.example")):
        assert one.check(ANYBODY, RcptTo(address, address.rpartition("@")[2]), 0) is NOBODY_HERE


async def test_nobody_logs_in_and_everybody_is_let_in(state: SqliteState) -> None:
    one = door(state)
    assert one.login("shop", "secret", True) is None
    assert one.by_network("192.0.2.7", (), "") is ANYBODY


async def test_a_bounce_is_told_to_who_sent_the_message(state: SqliteState) -> None:
    one = door(state)
    for _ in range(3):
        assert await one.accept(mail(BOUNCE, PATHS.address(ID, 3, DOMAIN))) is TAKEN
    ((name, note),) = (await told(state)).items()
    report = loaded(note)
    assert (name, report.about, report.kind) == (f"{ID}/3/bounced-late/clear", (ID, 3), "bounced-late")
    assert (report.facts["category"], report.facts["permanent"]) == ("bad-mailbox", True)
    assert repr(one) == "<Returns {'bounce': 3}>"
    for _ in range(3):
        assert await one.accept(mail(VAGUE, PATHS.address(ID, 3, DOMAIN))) is TAKEN
    assert set(await told(state)) == {name, f"{ID}/3/bounced-late"}, "what says little takes no clear one's place"


async def test_a_complaint_finds_its_message_by_the_trace_id(state: SqliteState) -> None:
    one = door(state)
    assert await one.accept(mail(COMPLAINT.format(TRACER.token(ID, 2)), PATHS.address(ID, 3, DOMAIN))) is TAKEN
    assert list(await told(state)) == [f"{ID}/2/complained"]


async def test_a_complaint_finds_its_message_by_the_return_path_that_it_tells(state: SqliteState) -> None:
    """Where the recipient and all fields of our own are taken out (RFC 6590)."""
    one, path = door(state), PATHS.address(ID, 3, DOMAIN)
    one.feedback = {"fbl"}
    redacted = COMPLAINT.replace("X-Postlane-Trace: {}\n", "").replace(
        "Version: 1", "Version: 1\nOriginal-Mail-From: {}"
    )
    for forged in (path.replace(DOMAIN, "other.example"), f"b-{'0' * 32}@{DOMAIN}", "<>", PATHS.leaving(ID, 3, DOMAIN)):
        assert await one.accept(mail(redacted.format(forged), f"fbl@{DOMAIN}")) is TAKEN
    assert (await told(state), one.counters["unmatched"]) == ({}, 4)
    assert await one.accept(mail(redacted.format(f"<{path.upper()}>"), f"fbl@{DOMAIN}")) is TAKEN
    ((name, note),) = (await told(state)).items()
    assert (name, loaded(note).facts["matched_by"]) == (f"{ID}/3/complained", "token")


@pytest.mark.parametrize(
    "text", ["", "Subject: hi\n\nhello", COMPLAINT.format("0" * 32), "Auto-Submitted: auto-replied\n\naway"]
)
async def test_what_names_no_delivery_is_counted_and_dropped(state: SqliteState, text: str) -> None:
    one = door(state)
    assert await one.accept(mail(text, PATHS.address(ID, 3, DOMAIN))) is TAKEN
    assert await told(state) == {}
    assert sum(one.counters.values()) >= 1


async def test_what_cannot_be_kept_comes_again(state: SqliteState) -> None:
    one = door(state)
    await state.close()
    assert await one.accept(mail(BOUNCE, PATHS.address(ID, 3, DOMAIN))) is LATER
    await state.open()


def heard(letter: str, action: str) -> str:
    return letter.replace("Action: failed", f"Action: {action}").replace("5.1.1", "2.0.0").replace("550 ", "250 ")


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
async def test_what_has_not_failed_is_told_apart_and_changes_nothing(state: SqliteState, action: str) -> None:
    one = door(state)
    assert await one.accept(mail(heard(BOUNCE, action), PATHS.address(ID, 3, DOMAIN))) is TAKEN
    assert await told(state) == {}
    assert one.counters == {action: 1}


async def test_a_report_with_message_id_and_address_alone_is_looked_for_by_all(state: SqliteState) -> None:
    one, now = door(state), state.now()
    one.feedback = {f"fbl@{DOMAIN}"}
    original = (
        "--b\nContent-Type: message/rfc822\n\nMessage-ID: <order.7@marom.example>\nFrom: a@marom.example\n\nhi\n--b--"
    )
    for _ in range(2):
        assert await one.accept(mail(BOUNCE.replace("--b--", original), f"fbl@{DOMAIN}")) is TAKEN
    ((name, note),) = (await state.pinned(UNPLACED)).items()
    report = loaded(note)
    assert (report.about, report.sought, report.at) == (NOBODY, ("order.7@marom.example", "lea@example.com"), now)
    assert name.endswith("/bounced-late/clear")
    assert one.counters == {"bounce": 2}


async def test_of_such_no_more_than_a_number_waits(state: SqliteState) -> None:
    one = door(state)
    one.feedback = {"fbl"}
    for number in range(2 * MOST_UNPLACED):
        await state.pin(UNPLACED, str(number), "")
    original = "--b\nContent-Type: message/rfc822\n\nMessage-ID: <order.7@marom.example>\n\nhi\n--b--"
    for _ in range(2):
        assert await one.accept(mail(BOUNCE.replace("--b--", original), f"fbl@{DOMAIN}")) is TAKEN
    assert one.counters == {"bounce": 2, "crowded": 2}


# --- who leaves by mail

LEAVING = PATHS.leaving(ID, 3, DOMAIN)


async def test_who_writes_to_leave_is_told_to_who_sent_the_message(state: SqliteState) -> None:
    one = door(state)
    assert one.check(ANYBODY, RcptTo(LEAVING.upper(), DOMAIN), 0) is None
    for _ in range(3):
        assert await one.accept(mail("Subject: unsubscribe\n\n", LEAVING, sender="lea@example.com")) is TAKEN
    assert list(await told(state)) == [f"{ID}/3/unsubscribed"]


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("Subject: unsubscribe\n\n", ""),
        ("Auto-Submitted: auto-replied\n\nI am away", "lea@example.com"),
        (BOUNCE, "MAILER-DAEMON@mx.example.net"),
        (COMPLAINT.format("0" * 32), "fbl@provider.example"),
    ],
)
async def test_nobody_leaves_by_what_a_machine_answers(state: SqliteState, text: str, sender: str) -> None:
    rig = Rig()
    one = door(state, rig)
    assert await one.accept(mail(text, LEAVING, sender=sender)) is TAKEN
    assert await told(state) == {}
    assert rig.spool.puts == [], "and nobody is answered"


def test_who_comes_too_late_or_with_a_token_of_his_own_is_shown_to_the_link(state: SqliteState) -> None:
    one = door(state)
    old = PATHS.leaving(Ids("n", 0, lambda: NOW - MAX_AGE - 1).next(), 3, DOMAIN)
    for address in (old, f"u-{'0' * 32}@{DOMAIN}", f"U-x@{DOMAIN}"):
        assert one.check(ANYBODY, RcptTo(address, DOMAIN), 0) is GONE
    assert one.check(ANYBODY, RcptTo("u-x@other.example", "other.example"), 0) is NOBODY_HERE
    assert one.counters == {"refused": 4}


# --- feedback addresses

VERIFICATION = "From: fbl@provider.example\nSubject: Please confirm\n\nhttps://provider.example/confirm?code=7"


@pytest.mark.parametrize("address", [f"FBL@{DOMAIN}", "fbl@relay.example", "complaints@marom.example"])
async def test_providers_complain_where_bounces_toml_says(state: SqliteState, address: str) -> None:
    rig = Rig()
    one = door(state, rig)
    one.feedback, one.postmasters = {"fbl", "complaints@marom.example"}, ["ops@a.example"]
    assert one.check(ANYBODY, RcptTo(address, address.rpartition("@")[2]), 0) is None
    assert await one.accept(mail(COMPLAINT.format(TRACER.token(ID, 2)), address)) is TAKEN
    assert list(await told(state)) == [f"{ID}/2/complained"]
    assert await one.accept(mail("Auto-Submitted: auto-replied\n\naway", address)) is TAKEN
    assert rig.spool.puts == [], "what is understood is for no person"
    assert await one.accept(mail(VERIFICATION, address)) is TAKEN
    ((message, (delivery,)),) = rig.spool.puts[0].put
    assert (delivery.recipient, delivery.mail_from) == ("ops@a.example", "")
    assert b"confirm?code=7" in (message.content or b"")
    assert one.counters == {"complaint": 1, "auto-reply": 1, "other": 1, "forwarded": 1}
    for other in ("fbl@other.example", f"complaints@{DOMAIN}"):
        assert one.check(ANYBODY, RcptTo(other, other.rpartition("@")[2]), 0) is NOBODY_HERE


async def test_what_people_here_are_to_read_has_a_size(state: SqliteState) -> None:
    rig = Rig()
    one = door(state, rig)
    one.postmasters = ["ops@a.example"]
    for text in ("Subject: hi\n\n" + "x" * FORWARDED_OCTETS, "X: y\n" * (FORWARDED_HEADER // 5)):
        assert await one.accept(mail(text, f"abuse@{DOMAIN}")) is TOO_BIG
    assert rig.spool.puts == []
    assert one.counters == {"other": 2, "too_big": 2}
    assert await one.accept(mail("Subject: hi\n\n" + "x" * FORWARDED_HEADER, f"abuse@{DOMAIN}")) is TAKEN


@pytest.mark.parametrize("address", [f"Postmaster@{DOMAIN}", f"abuse@{DOMAIN}", "postmaster@relay.example"])
async def test_postmaster_and_abuse_reach_those_who_run_the_node(state: SqliteState, address: str) -> None:
    rig = Rig()
    one = door(state, rig)
    one.postmasters = ["ops@a.example"]
    assert one.check(ANYBODY, RcptTo(address, address.rpartition("@")[2]), 0) is None
    letter = mail("From: somebody@b.example\nSubject: spam from you\n\nplease look", address)
    assert await one.accept(letter) is TAKEN
    ((message, (delivery,)),) = rig.spool.puts[0].put
    assert (delivery.recipient, delivery.mail_from, delivery.notify) == ("ops@a.example", "", "NEVER")
    assert message.content == f"Delivered-To: {address.lower()}\r\n".encode() + letter.content
    letter.content = message.content
    assert await one.accept(letter) is TAKEN
    assert len(rig.spool.puts) == 1, "what they send back here ends here"
    assert one.counters["loop"] == 1
    assert one.check(ANYBODY, RcptTo("postmaster@other.example", "other.example"), 0) is NOBODY_HERE


async def test_mail_for_postmasters_is_bounded_and_never_lost_in_silence(state: SqliteState) -> None:
    rig = Rig()
    one = door(state, rig)
    letter = mail("Subject: hi\n\nhello", f"abuse@{DOMAIN}")
    assert await one.accept(letter) is UNREAD, (
        "with nobody to read it, it comes again: days in which somebody may be named"
    )
    report = mail(COMPLAINT.format(TRACER.token(ID, 2)), f"abuse@{DOMAIN}")
    assert await one.accept(report) is TAKEN
    assert (list(await told(state)), one.counters["unread"]) == ([f"{ID}/2/complained"], 2)
    one.postmasters = ["ops@a.example"]
    for _ in range(FORWARDED_AN_HOUR):
        assert await one.accept(letter) is TAKEN
    assert await one.accept(letter) is LATER
    assert one.counters["too_many"] == 1
    letter.received_at += HOUR
    assert await one.accept(letter) is TAKEN
    rig.spool.full = True
    letter.received_at += HOUR
    assert await one.accept(letter) is LATER


# --- what strangers may write

PATH = PATHS.address(ID, 3, DOMAIN)
BAD = made(PATH)
CPU = 0.5  # s of it that one may take, beside the loop; the worst takes a tenth of that, a thousand recipients


def handed(content: bytes, address: str) -> Submission:
    named = RcptTo(address, address.rpartition("@")[2])
    return Submission(Envelope("", [named]), content, ANYBODY, "", Peer("192.0.2.7", 25), NOW)


@pytest.mark.parametrize("name", BAD)
async def test_bad_mail_is_taken_and_counted_and_says_nothing_of_others(state: SqliteState, name: str) -> None:
    one, begun = door(state), time.process_time()
    assert await one.accept(handed(BAD[name], PATH)) is TAKEN
    assert time.process_time() - begun < CPU
    assert sum(one.counters[kind] for kind in ("bounce", "complaint", "auto-reply", "other")) == 1
    assert set(await told(state)) <= {f"{ID}/3/bounced-late{end}" for end in ("", CLEAR)}, (
        "at most of whom it came back from"
    )
    assert await state.pinned(UNPLACED) == {}


@pytest.mark.parametrize("name", BAD)
async def test_at_an_address_without_a_token_it_says_nothing_of_anybody(state: SqliteState, name: str) -> None:
    rig = Rig()
    one = door(state, rig)
    one.feedback = {"fbl"}
    for_people = read_mail(BAD[name]).kind is Kind.OTHER
    assert await one.accept(handed(BAD[name], f"fbl@{DOMAIN}")) is (UNREAD if for_people else TAKEN)
    assert await told(state) == {}
    assert await state.pinned(UNPLACED) == {}
    assert rig.spool.puts == []


async def test_the_loop_goes_on_while_the_worst_is_read(state: SqliteState) -> None:
    """A thousand recipients take tenths of a second where the machine is busy; the loop has had hundreds of turns by then."""
    one, turns = door(state), 0
    reading = asyncio.create_task(one.accept(handed(BAD["10,000 recipients"], PATH)))
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert await reading is TAKEN
    assert turns > 100


@pytest.mark.parametrize(("recipients", "beside"), [(1, False), (20, False), (150, True)])
async def test_a_short_report_of_many_is_read_beside_the_loop(
    state: SqliteState, monkeypatch: pytest.MonkeyPatch, *, recipients: int, beside: bool
) -> None:
    threads: list[threading.Thread] = []

    def noting(content: bytes) -> Mail:
        threads.append(threading.current_thread())
        return read_mail(content)

    monkeypatch.setattr(returns, "read_mail", noting)
    group = "\nFinal-Recipient: rfc822; x@y.example\nAction: failed\n"
    report = BOUNCE.replace("--b--", group * (recipients - 1) + "--b--")
    assert len(report.replace("\n", "\r\n")) <= READ_AT_ONCE
    assert await door(state).accept(mail(report, PATH)) is TAKEN
    assert [thread is not threading.main_thread() for thread in threads] == [beside]


async def test_forged_tokens_by_the_thousand_are_refused_one_as_the_other(state: SqliteState) -> None:
    one, draw = door(state), random.Random(6)
    for number in range(4_000):
        local = f"{'bu'[number % 2]}-{draw.getrandbits(128):032x}"
        assert one.check(ANYBODY, RcptTo(f"{local}@{DOMAIN}", DOMAIN), 0) in (NOBODY_HERE, GONE)
    assert one.counters == {"refused": 4_000}
    foreign = Tracer(b"o" * 32).token(ID, 2)
    assert await one.accept(mail(COMPLAINT.format(foreign), PATH)) is TAKEN
    assert await told(state) == {}
    assert one.counters["unmatched"] == 1
