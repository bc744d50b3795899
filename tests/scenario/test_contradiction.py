"""A live node whose app says that all its mail is transactional, and sends advertisements too."""

import smtplib
from functools import partial
from pathlib import Path

import pytest

from tests.scenario.test_queue import POOLS, live
from tests.support.node import Event, Node, wait_for
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

STREAMS = """\
[[stream]]
name = "account"
match.credential = "local"
class = "transactional"
on_contradiction = "{}"
"""
ROUTES = """\
[[route]]
match.class = "marketing"
match.recipient_domain = "discard.example"
discard = true
"""
OFFER = """\
Hello customer {number},

20% off everything in the shop until Sunday. Use code SAVE20 at the checkout. Free shipping on all orders.
Shop now: https://shop.example/sale

You receive this newsletter because you subscribed. Unsubscribe: https://shop.example/u/{number}
"""
RESET = """\
Hello Dana,

somebody asked to reset the password of your account. Reset it within 30 minutes:
https://shop.example/reset/abc

If it was not you, ignore this mail.
"""
LOUD_RESET = """\
Hello Dana, reset your password here: https://shop.example/reset/abc

While you are here: 20% off everything in our weekend sale. Free shipping. Shop now, the offer ends on Sunday.
Best sellers and new arrivals at low prices. Unsubscribe: https://shop.example/u/7
"""
URGENT, BULK = "127.0.0.2", "127.0.0.4"  # sources of the pools


def offer(node: Node, number: int, domain: str = "example.com") -> str:
    return node.send(f"r{number}@{domain}", subject="Weekend sale: 20% off tents", body=OFFER.format(number=number))


def accepted(node: Node, identifier: str) -> Event:
    found: Event = wait_for("the event", partial(node.events, id=identifier, type="accepted"))[0]
    return found


def alerts(node: Node) -> list[Event]:
    return node.events(type="alert", name="contradiction")


def test_advertisements_of_a_transactional_app_leave_by_the_other_pool_and_nothing_else_does(tmp_path: Path) -> None:
    files = {
        "config/pools.toml": POOLS,
        "policies/streams.toml": STREAMS.format("reroute"),
        "policies/routes.toml": ROUTES,
    }
    with Sink() as sink, live(tmp_path, sink, files=files) as node:
        checked = node.run("check")
        assert (checked.returncode, "on_contradiction" in checked.stdout) == (0, False), checked.stdout
        assert node.run("status").returncode == 0
        offers = [offer(node, number) for number in range(8)]
        sources = [node.final(one)["source"] for one in offers]
        assert sources == [URGENT] * 4 + [BULK] * 4
        events = [accepted(node, one) for one in offers]
        assert [event["contradiction"] for event in events] == [None] * 4 + ["rerouted"] * 4
        assert [event["class"] for event in events] == ["transactional"] * 4 + ["marketing"] * 4
        assert {(event["claimed"], event["judged"]) for event in events} == {("transactional", "marketing")}
        assert min(event["confidence"] for event in events) > 0.8
        assert len({event["skeleton"] for event in events}) == 1

        reset = node.final(node.send("dana@example.com", subject="Reset your password", body=RESET))
        loud = node.final(node.send("dana@example.com", subject="A new password, and 20% off", body=LOUD_RESET))
        assert (reset["source"], loud["source"]) == (URGENT, URGENT)
        assert accepted(node, loud["id"])["judged"] == "marketing", "which is the point"
        spared = node.final(offer(node, 9, "discard.example"))
        assert (spared["type"], spared["source"]) == ("delivered", BULK)

        firing = wait_for("the alert", partial(alerts, node))[0]
        skeleton = events[0]["skeleton"]
        assert firing["what"] == {"credential": "local", "stream": "account", "skeleton": skeleton}
        assert firing["state"] == "firing"
        status = node.run("status")
        assert status.returncode == 1
        assert f"messages of template {skeleton} read as marketing, so it goes by the pool" in status.stdout
        assert "postlane events --json --type accepted --credential local --stream account shows why" in status.stdout

        (tmp_path / "policies" / "streams.toml").write_text(STREAMS.format("refuse"))
        assert "version" in node.ask({"do": "reload"})
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            offer(node, 10)
        assert refused.value.smtp_code == 550
        assert "account is transactional, but mail like this reads as marketing" in str(refused.value)
        assert wait_for("the event", partial(node.events, type="rejected", reason="contradiction"))
        assert node.final(node.send("dana@example.com", subject="Reset your password", body=RESET))["source"] == URGENT

        (tmp_path / "policies" / "streams.toml").write_text(STREAMS.format("trust"))
        assert "version" in node.ask({"do": "reload"})
        trusted = offer(node, 11)
        assert node.final(trusted)["source"] == URGENT
        assert "judged" not in accepted(node, trusted)
        wait_for("the end of the alert", lambda: [one["state"] for one in alerts(node)] == ["firing", "resolved"])
        assert node.run("status").returncode == 0
