"""Mail that comes back to a live node, as other servers hand it in."""

import base64
import json
import smtplib
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from relay.identity import HookSecret
from relay.webhook import signed
from tests.scenario.test_queue import live
from tests.support.bad_returns import made
from tests.support.http_peer import HttpPeer
from tests.support.node import CREDENTIALS, Event, Node, free_port, wait_for
from tests.support.peer import serving
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

BRANDS = """\
[brand.test]
name = "Test"
domains = ["test.example"]
public_url = "https://mail.test.example"
return_path_domain = "bounce.test.example"
"""
BOUNCE = """\
From: Mail Delivery System <MAILER-DAEMON@mx.example.com>
To: {to}
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="=b"

--=b
Content-Type: text/plain

It did not work.
--=b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; dana@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <dana@example.com>: no such user here
--=b--
"""
COMPLAINT = """\
From: fbl@provider.example
To: {to}
Subject: complaint
Content-Type: multipart/report; report-type=feedback-report; boundary="=b"

--=b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Provider/1
Version: 1
--=b
Content-Type: message/rfc822

X-Postlane-Trace: {trace}
From: app@test.example
Subject: News

Hi
--=b--
"""


RULES = """\
feedback_addresses = ["fbl"]

[[reply]]
match.text = "box is asleep"
category = "inactive-mailbox"
"""
HOOK = """
[credential.local.webhook]
url = "http://127.0.0.1:{}/mail"
events = ["bounced-late", "suppressed"]
secret_file = "hook-secret"
allow_private = true
"""
KEY = b"k" * 32


def events(app: HttpPeer) -> list[Event]:
    return [event for post in app.posted for event in json.loads(post.content)["events"]]


def hand_in(port: int, to: str, letter: str, sender: str = "") -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail(sender, [to], letter.format(to=to).replace("\n", "\r\n").encode())


def returned(node: Node, kind: str) -> int:
    """How many, of all workers."""
    lines = [line for line in node.page("/metrics").splitlines() if line.startswith("postlane_returned_mail_total{")]
    return sum(int(line.split()[1]) for line in lines if f'kind="{kind}"' in line)


def test_a_bounce_and_a_complaint_days_later_are_traced_told_and_acted_on(tmp_path: Path) -> None:
    port = free_port()
    listener = f'\n[[listener]]\nbind = "127.0.0.1:{port}"\nrole = "bounces"\nmax_size = "3MB"\n'
    (tmp_path / "hook-secret").write_text(f"whsec_{base64.b64encode(KEY).decode()}\n")
    (tmp_path / "hook-secret").chmod(0o600)
    app = HttpPeer(port=free_port())
    files = {
        "policies/brands.toml": BRANDS,
        "policies/credentials.toml": CREDENTIALS + HOOK.format(app.port),
        "policies/bounces.toml": RULES,
    }
    alerts = '[alerts]\nmail = ["ops@example.com"]'
    with (
        Sink() as sink,
        serving(app),
        live(tmp_path, sink, files=files, listener=listener, more=alerts, workers=2) as node,
    ):
        checked = node.run("check")
        assert checked.returncode == 0, checked.stdout
        receipt = node.send("dana@example.com")
        assert node.final(receipt)["type"] == "delivered"
        news = node.send("noa@example.com", source="127.0.0.9")
        assert node.final(news)["type"] == "delivered"
        came = {message.recipients[0]: message for message in sink.messages}
        path = came["dana@example.com"].sender
        assert path.startswith("b-")
        assert path.endswith("@bounce.test.example")

        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            hand_in(port, "b-" + "0" * 32 + "@bounce.test.example", BOUNCE)
        assert list(refused.value.recipients.values()) == [(550, b"5.1.1 No such address here")]
        hand_in(port, path.upper(), BOUNCE)
        late = wait_for("the bounce", partial(node.events, id=receipt, type="bounced-late"))[0]
        assert (late["recipient"], late["category"], late["sender"]) == (
            "dana@example.com",
            "bad-mailbox",
            "app@test.example",
        )
        wait_for("the app's report", lambda: [one for one in sink.messages if one.recipients == ["app@test.example"]])
        blocked = wait_for("the suppression", partial(node.events, type="suppressed"))[0]
        assert (blocked["recipient"], blocked["reason"], blocked["stop"]) == ("dana@example.com", "bad-mailbox", "all")
        again = node.final(node.send("dana@example.com"))
        assert (again["type"], again["reason"]) == ("withheld", "suppressed")

        trace = came["noa@example.com"].header("X-Postlane-Trace")
        hand_in(port, came["noa@example.com"].sender, COMPLAINT.replace("{trace}", trace))
        complained = wait_for("the complaint", partial(node.events, id=news, type="complained"))[0]
        assert (complained["recipient"], complained["feedback_type"]) == ("noa@example.com", "abuse")
        wait_for("the suppression", partial(node.events, type="suppressed", recipient="noa@example.com"))
        assert node.final(node.send("noa@example.com", source="127.0.0.9"))["type"] == "withheld"
        assert node.final(node.send("noa@example.com"))["type"] == "delivered", "a password reset still arrives"

        told = wait_for(
            "the app to be told",
            lambda: (found := [one for one in events(app) if one.get("id") == receipt])[1:] and found,
        )
        assert sorted(told, key=lambda one: one["time"]) == [late, blocked], (
            "once, and nothing that it did not ask for; and what its own mail led to"
        )
        assert (late["suppressed"], blocked["stop"], blocked["by"]) == ("all", "all", "postlane")
        assert {one["credential"] for one in events(app) if "credential" in one} == {"local"}
        of_brand = wait_for(
            "the brand's people",
            lambda: [one for one in events(app) if (one["type"], one["brand"]) == ("suppressed", "test")],
        )
        assert [(one["recipient"], one["brand"]) for one in of_brand] == [("noa@example.com", "test")]
        for post in app.posted:
            about = {name: post.fields[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
            assert (
                signed(about["webhook-id"], post.content, [HookSecret(KEY)], int(about["webhook-timestamp"]) * 1000)
                == about
            )

        app.answer, before = None, len(app.posted)
        assert node.run("webhooks", "resend", "local", "--since", "1h", "--yes").returncode == 0
        wait_for("the post that hangs", lambda: len(app.posted) > before)
        assert {one["event_id"] for one in events(app)[-3:]} == {one["event_id"] for one in (late, blocked, *of_brand)}
        assert node.final(node.send("noa@example.com"))["type"] == "delivered", "nobody waits for it"
        assert "204" in node.run("webhooks", "log", "local").stdout
        assert 'postlane_webhook_waiting{credential="local"} 3' in node.page("/metrics")
        wait_for("its record", partial(node.events, type="audit", action="webhooks resend"))

        who_writes_to_leave_leaves_once(node, sink, port)
        providers_complain_and_ask_at_the_feedback_address(node, sink, port)
        an_admins_rule_says_what_it_means(node, sink, port)
        bad_mail_stops_nobody_and_changes_nothing_of_others(node, sink, port)


def who_writes_to_leave_leaves_once(node: Node, sink: Sink, port: int) -> None:
    headers = {"X-Postlane-Campaign": "weekend-47", "X-Postlane-Metadata-User": "8"}
    news = node.send("lea@example.com", source="127.0.0.9", headers=headers)
    delivered = node.final(news)
    assert delivered["type"] == "delivered"
    field = next(one for one in sink.messages if one.recipients == ["lea@example.com"]).header("List-Unsubscribe")
    address = field.partition("<mailto:")[2].partition("?")[0]
    assert address.startswith("u-")
    token = address.partition("@")[0][2:]
    for forged in (f"u-{token[:-1]}{'0' if token[-1] != '0' else '1'}", f"u-{'0' * 32}", f"b-{token}"):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            hand_in(port, f"{forged}@bounce.test.example", "Subject: unsubscribe\n\n", "lea@example.com")
    hand_in(port, address, "Auto-Submitted: auto-replied\nSubject: away\n\nI am away", "lea@example.com")
    hand_in(port, address, "Subject: unsubscribe\n\n", "")
    wait_for("what machines wrote", lambda: returned(node, "auto-reply") == 1 and returned(node, "other") == 1)
    assert node.events(type="unsubscribed") == []
    before = len(sink.messages)
    for _ in range(3):
        hand_in(port, address.upper(), "Subject: unsubscribe\n\n", "lea@example.com")
    left = wait_for("the event", partial(node.events, type="unsubscribed"))
    assert [(one["recipient"], one["brand"], one["via"], one["stop"]) for one in left] == [
        ("lea@example.com", "test", "mailto", "marketing")
    ]
    same = (
        "id",
        "rcpt",
        "message_id",
        "credential",
        "class",
        "stream",
        "campaign",
        "metadata",
        "sender",
        "from",
        "site",
    )
    assert {name: left[0][name] for name in same} == {name: delivered[name] for name in same}
    wait_for("its campaign in what streams are judged by", partial(counted, node, "weekend-47"))
    assert node.final(node.send("lea@example.com", source="127.0.0.9"))["type"] == "withheld"
    assert node.final(node.send("lea@example.com"))["type"] == "delivered", "a password reset still arrives"
    assert len(sink.messages) == before + 1, "and nobody was answered"


def counted(node: Node, campaign: str) -> bool:
    rows = [json.loads(line) for line in node.run("health", "show", "--by", "campaign", "--json").stdout.splitlines()]
    return [row["unsubscribes"] for row in rows if row["campaign"] == campaign and row["delivered"]] == [1.0]


def providers_complain_and_ask_at_the_feedback_address(node: Node, sink: Sink, port: int) -> None:
    """Without our trace id: by Message-ID and address, found by whichever worker sent it."""
    news = node.send("gal@example.com", source="127.0.0.9")
    assert node.final(news)["type"] == "delivered"
    came = next(one for one in sink.messages if one.recipients == ["gal@example.com"])
    complaint = COMPLAINT.replace("X-Postlane-Trace: {trace}", f"Message-ID: {came.header('Message-ID')}")
    complaint = complaint.replace("Version: 1\n", "Version: 1\nOriginal-Rcpt-To: Gal@example.com\n")
    hand_in(port, "fbl@bounce.test.example", complaint)
    complained = wait_for("the complaint", partial(node.events, id=news, type="complained"))[0]
    assert (complained["recipient"], complained["matched_by"]) == ("gal@example.com", "message-id")
    hand_in(port, "fbl@bounce.test.example", complaint.replace("Message-ID: <", "Message-ID: <never-sent-"))
    question = "From: fbl@provider.example\nSubject: Confirm your feedback loop\n\nhttps://provider.example/?code=7"
    hand_in(port, "fbl@bounce.test.example", question, "fbl@provider.example")
    asked = wait_for("the question", lambda: [one for one in sink.messages if b"?code=7" in one.content])
    assert [(one.recipients, one.sender) for one in asked] == [(["ops@example.com"], "")]


def an_admins_rule_says_what_it_means(node: Node, sink: Sink, port: int) -> None:
    receipt = node.send("tal@example.com")
    assert node.final(receipt)["type"] == "delivered"
    path = next(one for one in sink.messages if one.recipients == ["tal@example.com"]).sender
    told = BOUNCE.replace("dana@", "tal@").replace("5.1.1", "5.0.0")
    hand_in(port, path, told.replace("Action: failed", "Action: delayed"))
    hand_in(port, path, told.replace("<tal@example.com>: no such user here", "Box is asleep"))
    late = wait_for("the bounce", partial(node.events, id=receipt, type="bounced-late"))
    assert [(one["category"], one["rule"]) for one in late] == [("inactive-mailbox", "policies/bounces.toml:3")]
    wait_for("its suppression", partial(node.events, type="suppressed", recipient="tal@example.com"))
    assert returned(node, "delayed") == 1


def bad_mail_stops_nobody_and_changes_nothing_of_others(node: Node, sink: Sink, port: int) -> None:
    receipt = node.send("omer@example.com")
    assert node.final(receipt)["type"] == "delivered"
    path = next(one for one in sink.messages if one.recipients == ["omer@example.com"]).sender
    mailed = len(sink.messages)
    hand_in(port, path, BOUNCE.replace("dana@", "omer@"))  # of several that return to one path the first counts
    wait_for("its suppression", partial(node.events, type="suppressed", recipient="omer@example.com"))
    wait_for("the app's report", lambda: len(sink.messages) > mailed)
    known = len(node.events(type="suppressed"))
    taken = sum(returned(node, kind) for kind in ("bounce", "complaint", "auto-reply", "other", "delayed"))
    bad = made(path)
    for content in bad.values():
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            client.sendmail("", [path], content)
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo()
        assert client.docmd(f"MAIL FROM:<> SIZE={100 << 20}")[0] == 552
    assert hundred_megabytes(port, path) == 552, "of what comes all the same nothing is kept"
    wait_for(
        "both to be counted",
        lambda: [one["command"] for one in node.events(type="rejected", reason="size")] == ["MAIL", "DATA"],
    )
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo()
        client.mail("")
        answers = [client.rcpt(f"u-{number:032x}@bounce.test.example")[0] for number in range(1_000)]
    assert set(answers) == {550}
    kinds = ("bounce", "complaint", "auto-reply", "other", "delayed")
    wait_for("all to be counted", lambda: sum(returned(node, kind) for kind in kinds) == taken + len(bad))
    assert returned(node, "refused") >= 1_000
    assert node.final(node.send("dor@example.com"))["type"] == "delivered"
    assert [one.recipients for one in sink.messages[mailed:]] == [["app@test.example"], ["dor@example.com"]]
    assert len(node.events(id=receipt, type="bounced-late")) == 1
    assert len(node.events(type="suppressed")) == known
    assert node.run("status").returncode == 0
    assert 'postlane_worker_deaths{worker="worker-0"} 0' in node.page("/metrics")


def hundred_megabytes(port: int, to: str) -> int:
    """The answer to a mail that long."""
    block = (b"x" * 998 + b"\r\n") * 1_000
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo()
        client.mail("")
        client.rcpt(to)
        assert client.docmd("DATA")[0] == 354
        assert client.sock is not None
        with suppress(OSError):  # who closes says why first
            for _ in range(105):
                client.sock.sendall(block)
        code, _ = client.getreply()
        client.close()
    return code
