"""A live node with mail that is worth something for a while only."""

from functools import partial
from pathlib import Path

import pytest

from tests.scenario.test_queue import live
from tests.support.node import wait_for
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
