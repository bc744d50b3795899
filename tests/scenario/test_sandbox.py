"""The sandbox of `make run`: mail from anybody is taken, signed, captured; the simulated recipients play their parts."""

import smtplib
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.node import ROOT, Node, submit, wait_for

pytestmark = pytest.mark.scenario


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    as_shipped = {"policies/streams.toml": ""}
    with Node(tmp_path_factory.mktemp("sandbox"), workers=2, files=as_shipped) as running:
        yield running


def captured(node: Node, identifier: str) -> bytes:
    """The message as the capture server got it."""

    def look() -> bytes | None:
        for path in (node.data / "capture").glob("*.eml"):
            content = path.read_bytes()
            if identifier.encode() in content.partition(b"\r\n\r\n")[0]:
                return content
        return None

    found: bytes = wait_for(f"the capture of {identifier}", look)
    return found


def sandbox_record(node: Node) -> bytes:
    """The TXT record of the throw-away key, as DNS would give it."""
    pem = next(node.data.glob("sandbox*.pem")).read_bytes()
    key = serialization.load_pem_private_key(pem, None).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    import base64

    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


def test_a_message_is_taken_signed_delivered_and_captured(node: Node) -> None:
    identifier = node.send("dana@example.com", sender="shop@anything.example", subject="שלום")
    event = node.final(identifier)
    assert event["type"] == "delivered"
    assert event["attempt"] == 1
    content = captured(node, identifier)
    message = message_from_bytes(content, policy=policy.default)
    assert message["Subject"] == "שלום"
    assert message["DKIM-Signature"].replace(" ", "").find("d=anything.example") > 0
    assert f"id {identifier}" in message["Received"]
    record = sandbox_record(node)
    assert dkim.verify(content, dnsfunc=lambda name, timeout=5: record)


def test_accepted_and_delivered_say_what_interface_promises(node: Node) -> None:
    identifier = node.send(
        "dana@example.com",
        headers={"X-Postlane-Campaign": "weekend", "X-Postlane-Metadata-Order": "1042", "Bcc": "hidden@example.com"},
    )
    node.final(identifier)
    accepted, delivered = node.events(id=identifier)
    assert (accepted["type"], delivered["type"]) == ("accepted", "delivered")
    for event in (accepted, delivered):
        assert event["node"] == "test-1"
        assert event["credential"] == event["stream"] == "local"
        assert event["class"] == "transactional"
        assert event["campaign"] == "weekend"
        assert event["metadata"] == {"order": "1042"}
        assert event["recipient"] == "dana@example.com"
    assert delivered["reply"]["code"] == 250
    assert delivered["delay_ms"] >= 0
    header = captured(node, identifier).partition(b"\r\n\r\n")[0].lower()
    assert b"x-postlane-campaign" not in header
    assert b"\r\nbcc:" not in header, "three letters of a signature are none"


def test_bounce_is_told_to_the_sender_and_suppressed(node: Node) -> None:
    identifier = node.send("bounce@sim.test", sender="shop@anything.example")
    event = node.final(identifier)
    assert (event["type"], event["category"], event["permanent"]) == ("bounced", "bad-mailbox", True)
    assert event["suppressed"] == "all"
    assert (
        node.run("events", "--id", identifier)
        .stdout.splitlines()[1]
        .endswith("bad-mailbox: 550 5.1.1 no such user (simulated); address suppressed")
    )
    (stopped,) = wait_for("the event", partial(node.events, type="suppressed", id=identifier))
    assert (stopped["recipient"], stopped["stop"], stopped["by"]) == ("bounce@sim.test", "all", "postlane")
    again = node.final(node.send("bounce@sim.test"))
    assert (again["type"], again["reason"]) == ("withheld", "suppressed")
    assert event["reply"]["code"] == 550
    report = wait_for("the report", lambda: node.events(type="accepted", stream="dsn", report_of=identifier))[0]
    assert node.final(report["id"])["type"] == "delivered"
    content = captured(node, report["id"])
    message = message_from_bytes(content, policy=policy.default)
    assert message.get_content_type() == "multipart/report"
    assert "bounce@sim.test" in content.decode()
    assert message["To"] == "shop@anything.example"


def test_a_bounce_of_a_bounce_is_never_sent(node: Node) -> None:
    with smtplib.SMTP("127.0.0.1", node.smtp) as client:
        client.ehlo("app")
        message = EmailMessage()
        message["From"] = "mailer@anything.example"
        identifier = submit(client, "", ["bounce+2@sim.test"], message.as_bytes(policy=SMTP))
    assert node.final(identifier)["type"] == "bounced"
    last = node.send("dana@example.com")  # goes the same way behind it
    node.final(last)
    assert not node.events(report_of=identifier)


def test_later_is_deferred_and_then_delivered(node: Node) -> None:
    identifier = node.send("later@sim.test")
    event = node.final(identifier)
    assert (event["type"], event["attempt"]) == ("delivered", 2)
    deferred = node.events(id=identifier, type="deferred")[0]
    assert deferred["category"] == "greylisted"


def test_blocked_is_a_block_and_no_dead_mailbox(node: Node) -> None:
    event = node.final(node.send("blocked@sim.test"))
    assert (event["type"], event["reply"]["enhanced"]) == ("bounced", "5.7.1")
    assert event["category"] not in ("bad-mailbox", "inactive-mailbox", "bad-domain")


def test_who_plays_somebody_that_unsubscribes_is_suppressed_from_then_on(node: Node) -> None:
    for part, kind in (("unsubscribe", "unsubscribed"), ("complaint", "suppressed")):
        assert node.final(node.send(f"{part}@sim.test"))["type"] == "delivered"
        (event,) = wait_for("the event", partial(node.events, type=kind, recipient=f"{part}@sim.test"))
        assert event["stop"] == "marketing"
        shown = node.run("suppress", "show", f"{part}@sim.test")
        assert shown.returncode == 0, shown.stderr
        assert f"postlane suppress remove {part}@sim.test --stop marketing" in shown.stdout


def test_each_recipient_of_one_message_has_an_end_of_its_own(node: Node) -> None:
    identifier = node.send(["dana@example.com", "bounce+3@sim.test", "noa@example.org"])
    ends = wait_for(
        "three ends",
        lambda: (
            (found := [e for e in node.events(id=identifier) if e["type"] in ("delivered", "bounced")])
            and len(found) == 3
            and found
        ),
    )
    assert sorted((e["rcpt"], e["type"]) for e in ends) == [(0, "delivered"), (1, "bounced"), (2, "delivered")]


def test_any_user_and_password_are_taken_on_loopback(node: Node) -> None:
    with smtplib.SMTP("127.0.0.1", node.smtp) as client:
        client.login("whoever", "whatever")
        message = EmailMessage()
        message["From"] = "a@b.example"
        identifier = submit(client, "a@b.example", ["dana@example.com"], message.as_bytes(policy=SMTP))
    assert node.final(identifier)["type"] == "delivered"


def test_command_line_shows_what_happened(node: Node, tmp_path: Path) -> None:
    sent = node.run_program("send", "--to", "dana@example.com")
    assert sent.returncode == 0, sent.stderr
    assert "250" not in sent.stderr
    assert "delivered" in sent.stdout
    refused = node.run("send", "--to", "bounce+4@sim.test")
    assert refused.returncode == 1
    assert "bad-mailbox" in refused.stdout
    status = node.run("status")
    assert status.returncode == 0
    assert "2 workers" in status.stdout
    (bounced,) = node.events(recipient="bounce+4@sim.test", type="bounced", id=refused.stdout.split()[3])
    said = ["> DATA", "< 250 2.1.0 OK", "< 550 5.1.1 no such user (simulated)", "< 503 Error: need RCPT command"]
    assert bounced["transcript"][-4:] == said
    assert "\n      > DATA\n" in node.run("message", bounced["id"]).stdout
    identifier = sent.stdout.split()[3]
    story = node.run("message", identifier)
    assert story.returncode == 0, story.stderr
    assert "delivered" in story.stdout
    assert node.run("queue", "list").stdout.strip() == "Nothing waits."
    assert node.run("queue", "cancel").returncode == 2
    events = node.run_program("events", "--json", "--id", identifier)
    assert '"type":"accepted"' in events.stdout.replace(" ", "")


def test_the_policies_that_ship_sort_what_apps_send(tmp_path: Path) -> None:
    shipped = {f"policies/{path.name}": path.read_text("utf-8") for path in (ROOT / "policies").glob("*.toml")}
    with Node(tmp_path, files=shipped) as node:
        reset = node.final(node.send("dana@example.com", sender="shop@anything.example", subject="איפוס סיסמה"))
        assert (reset["stream"], reset["class"], reset["brand"]) == ("password-reset", "transactional", "")
        header = {"List-Unsubscribe": "<https://u.shop.example/1>"}
        news = node.send("dana@example.com", sender="shop@news.shop.example", subject="Your order #77", headers=header)
        assert (node.final(news)["stream"], node.final(news)["class"]) == ("newsletter", "marketing")
        (accepted,) = node.events(id=news, type="accepted")
        assert accepted["brand"] == "shop"
        assert [check["name"] for check in accepted["checks"]] == [
            "sender-identified",
            "one-click-unsubscribe",
            "postal-address",
        ]
        named = node.send("dana@example.com", subject="Hello", headers={"X-Postlane-Stream": "order"})
        assert (node.final(named)["stream"], node.final(named)["class"]) == ("order", "transactional")
        assert node.run("status").returncode == 0
