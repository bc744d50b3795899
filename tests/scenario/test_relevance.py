"""A live node with mail that has its time: worth something for a while only, or not to be sent yet."""

import smtplib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.scenario.test_queue import live
from tests.support.node import Node, wait_for
from tests.support.sink import Received, Sink

pytestmark = pytest.mark.scenario

CODES = """\
[[stream]]
name = "codes"
match.subject = "your code"
valid_for = "1s"
"""


def busy_but_for_reports(received: Received) -> str:
    return "451 4.3.0 not now" if received.sender else "250 2.0.0 taken"


def test_what_cannot_be_delivered_in_its_time_is_withheld_and_who_asked_is_told(tmp_path: Path) -> None:
    files = {"policies/streams.toml": CODES}
    with Sink(answer=busy_but_for_reports) as sink, live(tmp_path, sink, files=files) as node:
        checked = node.run("check")
        assert (checked.returncode, "valid_for" in checked.stdout) == (0, False), checked.stdout
        code = node.send("dana@example.com", subject="Your code", options=("NOTIFY=FAILURE",))
        end = node.final(code)
        assert (end["type"], end["reason"], end["at"]) == ("withheld", "stale", "attempt")
        ended = end["detail"].removeprefix("valid_for of stream codes ended ")
        assert all(event["next_attempt"] == ended for event in node.events(id=code, type="deferred"))
        told = wait_for("the report", lambda: [m for m in sink.messages if not m.sender])[0]
        assert told.recipients == ["app@test.example"]
        assert b"Status: 5.4.7" in told.content

        late = node.send("dana@example.com", headers={"X-Postlane-Valid-Until": "2026-01-01T00:00:00Z"})
        assert (node.final(late)["type"], node.final(late)["at"]) == ("withheld", "accept")
        other = node.send("dana@example.com", headers={"X-Postlane-Valid-Until": "1h"})
        wait_for("its attempt", partial(node.events, id=other, type="deferred"))
        listed = node.run("queue", "list").stdout
        assert (other in listed, code in listed, late in listed) == (True, False, False)
        told_on = node.run("message", late).stdout
        assert "withheld" in told_on
        assert "stale: X-Postlane-Valid-Until ended 2026-01-01T00:00:00.000Z" in told_on


OFFERS = """\
[window.shop]
sun-sat = "00:00-24:00"
tz = "Asia/Jerusalem"
closed = [{closed}]

[[stream]]
name = "offers"
match.subject = "our offer"
send_window = "shop"
"""
BULK = "127.0.0.9"  # the app whose mail is marketing


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_on_a_closed_day_marketing_waits_for_the_next_and_nothing_else_does(tmp_path: Path) -> None:
    there = ZoneInfo("Asia/Jerusalem")
    today = datetime.now(there).date()
    tomorrow = today + timedelta(days=1)  # closed as well: the day may end while this runs
    opens = datetime.combine(today + timedelta(days=2), time(0), there)
    files = {"policies/streams.toml": OFFERS.format(closed=f"{today}, {tomorrow}")}
    with Sink() as sink, live(tmp_path, sink, files=files) as node:
        checked = node.run("check")
        assert (checked.returncode, "send_window" in checked.stdout) == (0, False), checked.stdout
        offer = node.send("dana@example.com", subject="Our offer", source=BULK)
        waits = wait_for("the event", partial(node.events, id=offer, type="postponed"))[0]
        assert (waits["reason"], waits["detail"]) == ("send-window", "window shop is closed")
        assert waits["until"] == iso(opens)
        assert node.final(node.send("dana@example.com", subject="Our offer"))["class"] == "transactional"
        assert "send-window: window shop is closed" in node.run("queue", "list").stdout

        retried = node.run("queue", "retry", "--stream", "offers", "--yes")
        assert retried.stdout == "1 due now.\n", retried.stderr
        wait_for("another look", lambda: len(node.events(id=offer, type="postponed")) == 2)
        (tmp_path / "policies" / "streams.toml").write_text(OFFERS.format(closed=""))
        assert "version" in node.ask({"do": "reload"})
        assert node.final(node.send("dana@example.com", subject="Our offer", source=BULK))["type"] == "delivered"
        assert len(sink.messages) == 2
        assert node.run("queue", "retry", "--stream", "offers", "--yes").returncode == 0
        assert node.final(offer)["type"] == "delivered"
        assert node.events(id=offer, type="delivered")[0]["attempt"] == 1


def test_what_is_to_be_sent_later_waits_through_a_restart(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with Sink() as sink:
        node = live(tmp_path, sink)
        with node:
            later = (now + timedelta(hours=1)).isoformat()
            greeting = node.send("dana@example.com", headers={"X-Postlane-Send-At": later})
            waits = wait_for("the event", partial(node.events, id=greeting, type="postponed"))[0]
            assert (waits["reason"], waits["until"]) == ("send-at", iso(now + timedelta(hours=1)))
            past = node.send("dana@example.com", headers={"X-Postlane-Send-At": "2026-01-01T00:00:00Z"})
            assert node.final(past)["type"] == "delivered"
            with pytest.raises(smtplib.SMTPResponseException, match="more than 30 days ahead") as refused:
                node.send("a@example.com", headers={"X-Postlane-Send-At": (now + timedelta(days=31)).isoformat()})
            assert refused.value.smtp_code == 550
        with node:
            assert node.run("queue", "retry", "--all", "--yes").stdout == "1 due now.\n"
            wait_for("another look", lambda: len(node.events(id=greeting, type="postponed")) == 2)
            assert "send-at: as X-Postlane-Send-At asks" in node.run("queue", "show", greeting).stdout
            assert [message.header("Message-ID") for message in sink.messages] == [node.final(past)["message_id"]]


DIGEST = """\
[[stream]]
name = "digest"
match.subject = "digest"
rate = "1/hour"
"""


RUNAWAY = '[runaway]\nsame_message = "6/hour"\n'


def test_all_workers_together_keep_to_a_stream_s_rate(tmp_path: Path) -> None:
    files = {"policies/streams.toml": DIGEST, "policies/caps.toml": RUNAWAY}
    with Sink() as sink, live(tmp_path, sink, files=files, workers=2) as node:
        checked = node.run("check")
        assert (checked.returncode, "rate" in checked.stdout) == (0, False), checked.stdout
        sent = [node.send(f"r{number}@example.com", subject="Your digest", source=BULK) for number in range(6)]
        found = wait_for("all of it", lambda: (e := node.events(type="accepted", stream="digest"))[5:] and e)
        within = [event["id"] for event in found if "over_rate" not in event]
        assert within == sent[:1]
        assert node.final(within[0])["type"] == "delivered"
        assert node.final(node.send("dana@example.com", source=BULK))["type"] == "delivered"
        assert node.run("queue", "list", "--stream", "digest").stdout.count("  rate\n") == 5
        assert len(sink.messages) == 2
        sends_one_copy_whichever_worker_has_it(node, sink)
        the_newest_takes_the_place_of_all(node, sink)
        holds_what_an_app_sends_again_and_again(node, sink)


def holds_what_an_app_sends_again_and_again(node: Node, sink: Sink) -> None:
    """Of either worker, until a person lets it go."""
    sink.messages.clear()
    sent = [node.send("noa@example.com", subject=f"Order {number} was shipped") for number in range(20)]
    held = wait_for("them", lambda: (e := node.events(type="postponed", reason="runaway"))[12:] and e)
    assert len(held) in (13, 14), "one more may go for the second worker"
    assert {event["id"] for event in held} <= set(sent)
    (alert, *_) = wait_for("the alert", partial(node.events, type="alert", state="firing", name="runaway"))
    assert "the same again and again: local to noa@example.com, more than 6/hour (stream local)" in alert["summary"]
    assert node.run("status").returncode == 1
    assert f"HELD       {len(held)} messages by runaway: local to noa@" in node.run("queue", "top").stdout
    listed = node.run("queue", "list", "--held").stdout
    assert all(event["id"] in listed for event in held)
    assert node.run("queue", "release", "--recipient", "noa@*", "--yes").stdout == f"{len(held)} released.\n"
    wait_for("all of them", lambda: len(sink.messages) == 20)


def sends_one_copy_whichever_worker_has_it(node: Node, sink: Sink) -> None:
    """A job that runs twice, on six machines at once."""
    sink.messages.clear()
    headers = {"X-Postlane-Idempotency-Key": "receipt-77"}
    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(node.send, "dana@example.com", subject="Receipt", headers=headers) for _ in range(6)]
        ids = {one.result() for one in sent}
    ends = [node.final(one) for one in ids]
    (first,) = [end["id"] for end in ends if end["type"] == "delivered"]
    others = [(end["type"], end["reason"], end["duplicate_of"]) for end in ends if end["id"] != first]
    assert others == [("withheld", "duplicate", first)] * 5
    assert node.final(node.send("dana@example.com", subject="Refund", headers=headers))["type"] == "delivered"
    assert [message.header("Subject") for message in sink.messages] == ["Receipt", "Refund"]


def the_newest_takes_the_place_of_all(node: Node, sink: Sink) -> None:
    """What waits in this worker or another until somebody looks at it."""
    sink.messages.clear()
    later = {"X-Postlane-Collapse-Key": "balance", "X-Postlane-Send-At": iso(datetime.now(UTC) + timedelta(hours=1))}
    older = [node.send("dana@example.com", subject=f"{number}", headers=later) for number in range(4)]
    node.send("eve@example.com", subject="Other", headers=later)
    newest = node.send("dana@example.com", subject="Newest", headers={"X-Postlane-Collapse-Key": "balance"})
    assert node.final(newest)["type"] == "delivered"
    node.run("queue", "retry", "--recipient", "dana@example.com", "--yes")
    for one in older:
        assert (node.final(one)["reason"], node.final(one)["superseded_by"] > one) == ("superseded", True)
    assert [message.header("Subject") for message in sink.messages] == ["Newest"]
    assert node.run("queue", "cancel", "--recipient", "eve@*", "--yes").stdout.startswith("1 cancelled")
