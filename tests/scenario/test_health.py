"""A campaign to an old list, and a provider's bad hour: a live node, a real Postfix that bounces later, the app's webhook."""

import base64
import json
import smtplib
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from tests.scenario.test_returns import COMPLAINT, events, hand_in
from tests.support.dnsserver import DnsServer
from tests.support.http_peer import HttpPeer
from tests.support.node import CREDENTIALS, Node, free_port, submit, wait_for
from tests.support.peer import serving
from tests.support.postfix import PostfixMx
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.scenario

BULK = "127.0.0.9"  # the network of the app whose mail is marketing; its stream is named as it is
BRANDS = """\
[brand.test]
name = "Test"
domains = ["test.example"]
public_url = "https://mail.test.example"
return_path_domain = "bounce.test.example"
"""
LIMITS = """\
[health.stream.bulk]
min_messages = 200
hard_bounces = { slow = "1%", suspend = "3%" }
"""
HOOK = """
[credential.bulk.webhook]
url = "http://127.0.0.1:{}/mail"
events = ["bounced", "bounced-late", "complained", "suppressed"]
secret_file = "hook-secret"
allow_private = true
"""
SHAPING = '[default]\npace_start = "1000/second"\n'
CAMPAIGN = [f"u{number}@mail.example" for number in range(242)] + [f"gone{number}@mail.example" for number in range(8)]


def send(node: Node, to: Iterable[str], source: str) -> list[str]:
    """One message each, by one connection; their ids."""
    letter = (
        "From: Test <app@test.example>\r\nTo: {0}\r\nSubject: News\r\nX-Postlane-Campaign: old-list\r\n\r\nHi {0}\r\n"
    )
    with smtplib.SMTP("127.0.0.1", node.smtp, timeout=30, source_address=(source, 0)) as client:
        client.ehlo("app.test.example")
        return [submit(client, "app@test.example", [one], letter.format(one).encode(), ()) for one in to]


def test_an_old_list_is_stopped_and_a_providers_bad_hour_suppresses_nobody(tmp_path: Path) -> None:
    port, dns = free_port(), DnsServer()
    (tmp_path / "hook-secret").write_text(f"whsec_{base64.b64encode(b'k' * 32).decode()}\n")
    (tmp_path / "hook-secret").chmod(0o600)
    app = HttpPeer(port=free_port())
    with PostfixMx("mail.example", host="127.0.0.2", bounces=port) as mx:
        angry = SmtpPeer(host="127.0.0.3", port=mx.port, script={"RCPT": "550 5.1.1 no such user"})
        strict = SmtpPeer(host="127.0.0.4", port=mx.port, script={"END": "550 5.7.26 This mail is not authenticated"})
        hosts = {"mail.example": "127.0.0.2", "angry.example": "127.0.0.3", "strict.example": "127.0.0.4"}
        for domain, address in hosts.items():
            dns.add(domain, "MX", f"10 mx.{domain}.")
            dns.add(f"mx.{domain}", "A", address)
        with serving(dns, app, angry, strict):
            node = Node(
                tmp_path,
                delivery=f'mode = "live"\nport = {mx.port}\nallow_private = true',
                nameservers=f'"{dns.address}"',
                listener=f'\n[[listener]]\nbind = "127.0.0.1:{port}"\nrole = "bounces"\n',
                key_for=("test.example",),
                workers=2,
                files={
                    "policies/brands.toml": BRANDS,
                    "policies/bounces.toml": LIMITS,
                    "policies/shaping.toml": SHAPING,
                    "policies/credentials.toml": CREDENTIALS + HOOK.format(app.port),
                },
            )
            with node:
                an_old_list_is_stopped(node, app, mx, port)
                a_bad_hour_suppresses_nobody(node)
                what_sites_refuse_our_mail_for_is_told(node)
                a_domain_is_given_up_where_dns_can_be_trusted(node, dns)


def an_old_list_is_stopped(node: Node, app: HttpPeer, mx: PostfixMx, port: int) -> None:
    ids = send(node, CAMPAIGN, BULK)
    stopped = wait_for("the suspension", partial(node.events, type="suspended"), 60)
    reasons = [one["reason"] for one in stopped]
    assert [(one["what"], one["by"]) for one in stopped] == [({"stream": "bulk"}, "postlane")]
    share, _, of = reasons[0].removeprefix("hard bounces ").partition(" % of ")
    assert float(share) >= 3, reasons
    assert of.endswith(" in 24h, limit 3 %"), reasons
    assert 200 <= int(of.split()[0]) <= 250, reasons
    late = wait_for("all reports", lambda: found if len(found := node.events(type="bounced-late")) == 8 else None)
    assert {one["category"] for one in late} == {"bad-mailbox"}
    gone = {one["recipient"] for one in late}
    wait_for("their suppression", lambda: gone <= {one["recipient"] for one in node.events(type="suppressed")})

    came = next(
        one for one in mx.messages() if b"Delivered-To: u7@" in one or b"<u7@mail.example>" in one or b"Hi u7@" in one
    )
    trace = next(line for line in came.decode().splitlines() if line.startswith("X-Postlane-Trace:")).split()[1]
    path = next(line for line in came.decode().splitlines() if line.startswith("Return-Path:")).split()[1]
    hand_in(port, path.strip("<>"), COMPLAINT.replace("{trace}", trace))
    complained = wait_for("the complaint", partial(node.events, type="complained"))[0]
    assert complained["recipient"] == "u7@mail.example"

    rest = send(node, ["later@mail.example"], BULK)
    wait_for(
        "it to be held", lambda: [one for one in node.events(id=rest[0], type="postponed") if one["reason"] == "held"]
    )
    assert node.final(node.send("u7@mail.example"))["type"] == "delivered", "transactional mail is untouched"
    status = node.run("status")
    assert "suspended stream bulk, " in status.stdout
    assert f"stream bulk: {reasons[0]} (mostly campaign old-list (" in status.stdout
    told = wait_for(
        "the app to be told",
        lambda: found if len(found := [one for one in events(app) if one["type"] == "bounced-late"]) == 8 else None,
    )
    assert {one["id"] for one in told} <= set(ids)
    wait_for("the app to hear the complaint", lambda: [one for one in events(app) if one["type"] == "complained"])
    wait_for("complaints to count", lambda: rates(node)["bulk"]["complaints"])
    wait_for("transactional mail to count", lambda: "local" in rates(node))
    counted = rates(node)
    assert counted["bulk"]["sent"] == len(node.events(type="delivered", stream="bulk"))
    assert counted["bulk"]["hard_bounces"] == pytest.approx(8 / counted["bulk"]["sent"], abs=1e-6)
    assert counted["local"]["hard_bounces"] == 0
    assert len(node.events(type="suspended")) == 1
    page = node.page("/metrics")
    assert 'postlane_stream_standing{stream="bulk",transactional="no",state="suspended"} 1\n' in page
    assert 'postlane_stream_share{stream="bulk",transactional="no",measure="hard_bounces"} 0.03' in page


def rates(node: Node) -> dict[str, dict[str, float]]:
    rows = [json.loads(line) for line in node.run("health", "show", "--json").stdout.splitlines()]
    return {row["stream"]: row for row in rows}


def a_bad_hour_suppresses_nobody(node: Node) -> None:
    """Two streams hear of everybody that there is no such user; bulk is suspended, so another app's mail is the second."""
    ids = send(node, [f"c{number}@angry.example" for number in range(30)], "127.0.0.1")
    wait_for("them to bounce", lambda: set(ids) <= {one["id"] for one in node.events(type="bounced")})
    firing = wait_for("the alert", lambda: [one for one in node.events(type="alert") if one["name"] == "bad-hour"])
    assert (firing[0]["state"], firing[0]["what"]) == ("firing", {"site": "angry.example"})

    def nobody() -> bool:
        listed = node.run("suppress", "list", "--site", "angry.example")
        pending = node.run("suppress", "list", "--stop", "pending", "--site", "angry.example", "--json")
        return listed.stdout == "Nothing fits.\n" and len(pending.stdout.splitlines()) == 30

    wait_for("nobody to be suppressed", nobody)
    assert node.final(send(node, ["c1@angry.example"], "127.0.0.1")[0])["type"] == "bounced", "it was tried"
    dropped = node.run("suppress", "drop", "--site", "angry.example", "--yes")
    assert dropped.stdout == "30 pending suppressions dropped.\n"


def what_sites_refuse_our_mail_for_is_told(node: Node) -> None:
    """Of transactional mail, too; no more follows from it."""
    ids = send(node, [f"s{number}@strict.example" for number in range(12)], "127.0.0.1")
    found = wait_for("the alert", lambda: [one for one in node.events(type="alert") if one["name"] == "auth-failure"])
    assert (found[0]["state"], found[0]["what"]) == ("firing", {"stream": "local"})
    assert found[0]["summary"].startswith("stream local: ")
    assert found[0]["summary"].endswith("messages refused with 550 5.7.26")
    assert "postlane keys dns test.example" in found[0]["advice"]
    assert found[0]["summary"] in node.run("status").stdout
    wait_for("them to bounce", lambda: set(ids) <= {one["id"] for one in node.events(type="bounced")})
    assert node.run("suppress", "list", "--site", "strict.example").stdout == "Nothing fits.\n"


def a_domain_is_given_up_where_dns_can_be_trusted(node: Node, dns: DnsServer) -> None:
    """Only a worker that delivered something has a witness: mail is sent until one of the two that has takes some."""
    tried = iter(range(1000))

    def send_one() -> None:
        (identifier,) = send(node, [f"x@nowhere{next(tried)}.example"], "127.0.0.1")
        assert node.final(identifier)["type"] == "bounced"

    def listed(*more: str) -> list[dict[str, str]]:
        send_one()
        found = node.run("suppress", "list", "--site", "dns", *more, "--json").stdout.splitlines()
        return [json.loads(line) for line in found]

    gone = wait_for("a domain that does not exist to be given up", listed, 60)
    assert {one["reason"] for one in gone} == {"bad-domain"}

    for name in ("mail.example", "mx.mail.example"):
        dns.remove(name)

    def firing() -> list[dict[str, object]]:
        send_one()
        return [one for one in node.events(type="alert") if one["what"] == {"site": "dns"}]

    (told,) = wait_for("the alert", firing, 60)
    assert told["summary"].startswith("DNS denied 1 of 1 domains that took mail lately"), told
    wait_for("what it said before to be held back", lambda: not listed(), 60)
    held = {one["recipient"] for one in listed("--stop", "pending")}
    assert {one["recipient"] for one in gone} <= held

    def announced() -> bool:
        send_one()
        last = max(node.events(type="bounced"), key=lambda one: str(one["time"]))
        return bool(last["suppressed"] == "pending:all")

    wait_for("bounces to say so", announced)
