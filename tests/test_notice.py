"""What is told of a delivery that does not end well, all of it in the transaction that ends it."""

from dataclasses import replace
from email import message_from_bytes

import orjson
import pytest

from relay.feedback.consequences import Report
from relay.message import Change, MailClass
from relay.notice import add_report, put_alert, withhold
from relay.outcome import Outcome, Reply
from relay.policy.relevance import Withheld
from relay.spool.errors import SpoolFull
from tests.support.house import LETTER, NOW, Rig, waiting_delivery
from tests.support.signatures import both_keys, verdicts

ALERT = b"From: Postlane <postlane@relay.example>\r\nSubject: state is lost\r\n\r\nfiring\r\n"
STALE = Withheld("stale", "its time is over", "5.4.7")
BUSY = Outcome(Reply(451, "4.3.0", "not now"), "RCPT", mx="mx.b.example")


async def test_stale_mail_is_an_event_and_nobody_hears_of_it_who_did_not_ask() -> None:
    change = Change()
    await withhold(change, waiting_delivery(), STALE, "attempt", Rig(BUSY).attempting())
    (event,) = map(orjson.loads, change.events)
    assert (event["type"], event["reason"], event["detail"]) == ("withheld", "stale", "its time is over")
    assert (event["at"], event["recipient"]) == ("attempt", "dana@b.example")
    assert (change.put, change.finished) == ([], [])


async def test_who_asked_is_told_why_with_the_header_read_back_from_the_spool() -> None:
    change, delivery = Change(), waiting_delivery(notify="FAILURE")
    delivery.message = replace(delivery.message, content=None)
    await withhold(change, delivery, STALE, "accept", Rig(BUSY).attempting())
    ((message, (note,)),) = change.put
    assert (note.recipient, note.sender, note.notify) == ("shop@a.example", "", "NEVER")
    assert message.content is not None
    assert b"Status: 5.4.7" in message.content
    assert b"its time is over" in message.content
    assert b"Subject: Order 77" in message.content
    assert [orjson.loads(event)["type"] for event in change.events] == ["withheld", "accepted"]


async def test_a_report_is_a_signed_transactional_message_of_ours() -> None:
    rig, change, about = Rig(BUSY), Change(), waiting_delivery()
    rig.keys_for = lambda domain: both_keys("relay.example") if domain == "relay.example" else ()  # type: ignore[method-assign]
    await add_report(change, Report.DELAYED, about, BUSY, LETTER, rig.attempting(), NOW + 60_000, NOW + 90_000)
    ((message, (note,)),) = change.put
    assert (message.mail_class, message.stream, message.accepted_at) == (MailClass.TRANSACTIONAL, "dsn", NOW)
    assert (note.next_attempt, note.site) == (NOW, "a.example")
    assert message.content is not None
    letter = note.head + message.content
    assert message_from_bytes(letter).get_content_type() == "multipart/report"
    assert verdicts(letter, both_keys("relay.example"), 2) == [True, True]
    assert b"Will-Retry-Until: Sat, 21 Nov 2026 13:27:01 +0000" in letter
    (event,) = map(orjson.loads, change.events)
    assert (event["type"], event["report_of"]) == ("accepted", about.message.id)
    assert len(message.signed) == 2


async def test_an_alert_is_mail_of_the_node_itself_signed_and_on_disk_before_anybody_is_told_so() -> None:
    rig = Rig(BUSY)
    rig.keys_for = lambda domain: both_keys("relay.example") if domain == "relay.example" else ()  # type: ignore[method-assign]
    await put_alert(ALERT, "state is lost", "01ab", ["a@b.example", "c@d.example"], rig.attempting())
    (change,) = rig.spool.puts
    ((message, notes),) = change.put
    assert rig.offered == notes
    assert (message.mail_class, message.stream, message.credential) == (MailClass.TRANSACTIONAL, "alert", "postlane")
    assert (message.author, message.many) == ("postlane@relay.example", True)
    assert [(note.recipient, note.site, note.sender, note.notify) for note in notes] == [
        ("a@b.example", "b.example", "", "NEVER"), ("c@d.example", "d.example", "", "NEVER"),
    ]  # fmt: skip
    for note in notes:
        assert verdicts(note.head + ALERT, both_keys("relay.example"), 2) == [True, True]
    assert [(event["type"], event["subject"]) for event in rig.spool.events()] == [("accepted", "state is lost")] * 2
    rig.spool.full = True
    with pytest.raises(SpoolFull):
        await put_alert(ALERT, "state is lost", "01ab", ["a@b.example"], rig.attempting())
    assert len(rig.offered) == 2
