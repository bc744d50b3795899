"""Real peers: five clients hand in, a real haproxy passes on, a real Postfix found through a real DNS server takes over
STARTTLS, OpenDKIM verifies."""

import base64
import smtplib
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization

from relay.config.passwords import hashed
from tests.support import clients, opendkim
from tests.support.certificates import self_signed
from tests.support.dnsserver import DnsServer
from tests.support.haproxy import Haproxy
from tests.support.node import Node, free_port, submit, wait_for
from tests.support.peer import serving
from tests.support.postfix import PostfixMx
from tests.support.sink import Sink
from tests.support.smtp_dialogue import trusting

pytestmark = pytest.mark.scenario


def record_of(pem: Path) -> str:
    key = serialization.load_pem_private_key(pem.read_bytes(), None).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode()


def assert_both_verify(content: bytes, record: str, selector: str, domain: str) -> None:
    """dkimpy and OpenDKIM, two programs that share no code, call the signature good."""
    assert dkim.verify(content, dnsfunc=lambda name, timeout=5: record.encode())
    verdicts = opendkim.verify(content, {f"{selector}._domainkey.{domain}": record})
    assert verdicts
    assert all(verdict.good for verdict in verdicts), verdicts


SENDERS = {
    "swaks": clients.send_swaks,
    "msmtp": clients.send_msmtp,
    "smtplib": clients.send_smtplib,
    "nodemailer": clients.send_nodemailer,
    "django": clients.send_django,
}


@pytest.fixture(scope="module")
def taken_over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Sink, str]]:
    """A node that passes all mail on to a sink, and the record of its key."""
    with Sink() as sink:
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        with Node(tmp_path_factory.mktemp("node"), delivery=delivery) as node:
            record = record_of(node.add_key("test.example"))
            assert "version" in node.ask({"do": "reload"})
            yield node, sink, record


@pytest.mark.parametrize("client", SENDERS)
def test_a_message_of_each_client_arrives_signed(client: str, taken_over: tuple[Node, Sink, str]) -> None:
    node, sink, record = taken_over
    subject = f"From {client}"
    mail = clients.Mail(sender="app@test.example", recipient="dana@example.com", subject=subject, text="Shalom שלום\n")
    SENDERS[client](clients.Server("127.0.0.1", node.smtp), mail)
    (received,) = wait_for("the message", lambda: [one for one in sink.messages if one.header("Subject") == subject])
    assert received.sender == "app@test.example"
    assert received.recipients == ["dana@example.com"]
    message = message_from_bytes(received.content, policy=policy.default)
    assert message["Subject"] == subject
    body = message.get_body(("plain",))
    assert body is not None
    assert "Shalom שלום".encode() in bytes(body.get_payload(decode=True))
    assert_both_verify(received.content, record, "s1", "test.example")


def test_through_a_real_haproxy_the_app_is_the_peer(tmp_path: Path) -> None:
    """Version 2 before implicit TLS, version 1 before STARTTLS; haproxy's own checks are no trouble."""
    implicit, starttls, pem = free_port(), free_port(), self_signed(tmp_path, "relay.test.example")
    tables = [f'[tls]\ncert = "{pem}"\nkey = "{pem}"\n']
    for port, tls in ((implicit, "implicit"), (starttls, "starttls")):
        tables.append(
            f'[[listener]]\nbind = "127.0.0.1:{port}"\ntls = "{tls}"\nproxy_protocol = ["127.0.0.1"]\n'
            'auth = "optional"\ntrust = ["127.0.0.0/8"]\ncredential = "local"\n'
        )
    more = "".join(tables)
    shop = f'[credential.shop]\nclass = "transactional"\ndomains = ["*"]\npassword = "{hashed("secret")}"\n'
    credentials = {"policies/credentials.toml": shop + '[credential.local]\nclass = "service"\ndomains = ["*"]\n'}
    app, content = ("127.0.0.9", 0), b"From: app@test.example\r\n\r\nHello\r\n"
    with Sink() as sink:
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        with (
            Node(tmp_path / "node", delivery=delivery, more=more, files=credentials, key_for=("test.example",)) as node,
            Haproxy(tmp_path, {implicit: "send-proxy-v2", starttls: "send-proxy"}) as proxy,
        ):
            with smtplib.SMTP_SSL(
                "127.0.0.1", proxy.ports[implicit], timeout=30, source_address=app, context=trusting()
            ) as client:
                client.ehlo()
                assert client.mail("app@test.example")[0] == 530, "its address is loopback's, but it came by a proxy"
                client.login("shop", "secret")
                submit(client, "app@test.example", ["dana@example.com"], content)
            with smtplib.SMTP("127.0.0.1", proxy.ports[starttls], timeout=30, source_address=app) as client:
                client.starttls(context=trusting())
                client.login("shop", "secret")
                submit(client, "app@test.example", ["dana@example.com"], content)
            wait_for("the messages", lambda: len(sink.messages) == 2)
            wait_for("the refusal", lambda: node.events(type="rejected", peer="127.0.0.9"))
            (worker,) = node.ask({"do": "stats"})["workers"]
            assert worker["counters"]["proxy_failures"] == 0
    assert all(b"([127.0.0.9])" in message.content.partition(b"\r\n\r\n")[0] for message in sink.messages)


def live(folder: Path, dns: DnsServer, port: int) -> Node:
    delivery = f'mode = "live"\nport = {port}\nallow_private = true'
    return Node(folder, delivery=delivery, nameservers=f'"{dns.address}"')


def test_a_real_postfix_found_by_dns_takes_mail_over_starttls(tmp_path: Path) -> None:
    dns = DnsServer()
    with serving(dns), PostfixMx("recipient.example", host="127.0.0.2") as mx:
        dns.add("recipient.example", "MX", "10 mx1.recipient.example.", "20 mx2.recipient.example.")
        dns.add("mx1.recipient.example", "A", "127.0.0.3")  # nobody listens there: the next host takes it
        dns.add("mx2.recipient.example", "A", "127.0.0.2")
        with live(tmp_path / "node", dns, mx.port) as node:
            record = record_of(node.add_key("test.example"))
            assert "version" in node.ask({"do": "reload"})
            identifier = node.send("dana@recipient.example", body="..a line of dots\n.\nשלום\n")
            event = node.final(identifier, 60)
            assert event["type"] == "delivered", event
            assert event["tls"].startswith("TLSv1.")
            assert event["mx"] == "mx2.recipient.example"
        content = mx.wait(1)[0].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert b"with ESMTPS" in content
    assert b"using TLS" in content.partition(b"\r\n\r\n")[0]
    body = message_from_bytes(content, policy=policy.default).get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines()[:3] == ["..a line of dots", ".", "שלום"]
    assert dkim.verify(content, dnsfunc=lambda name, timeout=5: record.encode())


@pytest.fixture(scope="module")
def among_domains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, DnsServer]]:
    """A node that looks up where mail goes; `example.com` is a domain with a host."""
    dns = DnsServer()
    dns.add("example.com", "MX", "10 mx.example.com.")
    dns.add("mx.example.com", "A", "127.0.0.1")
    with serving(dns), Sink() as sink, live(tmp_path_factory.mktemp("node"), dns, sink.port) as node:
        node.add_key("test.example")
        assert "version" in node.ask({"do": "reload"})
        yield node, dns


def test_dns_down_means_mail_waits_and_nothing_bounces(among_domains: tuple[Node, DnsServer]) -> None:
    node, dns = among_domains
    dns.fail("example.com")
    identifier = node.send("dana@example.com")
    deferred = wait_for("the deferral", lambda: node.events(id=identifier, type="deferred"))[0]
    assert (deferred["category"], deferred["permanent"]) == ("dns-failure", False)
    dns.fail()
    assert node.final(identifier)["type"] == "delivered"


def test_what_dns_says_for_good_bounces_and_says_why(among_domains: tuple[Node, DnsServer]) -> None:
    node, dns = among_domains
    dns.add("nomail.example", "MX", "0 .")
    dns.add("loop.example", "MX", "10 relay.test.example.")
    dns.add("relay.test.example", "A", "127.0.0.1")
    expected = {"nomail.example": "5.1.10", "nowhere.example": "5.1.2", "loop.example": "5.4.6"}
    for domain, enhanced in expected.items():
        event = node.final(node.send(f"dana@{domain}"))
        assert (domain, event["type"], event["reply"]["enhanced"]) == (domain, "bounced", enhanced)


def test_an_address_that_cannot_be_mailed_is_told_of_and_refused_where_wanted(
    among_domains: tuple[Node, DnsServer],
) -> None:
    """As the node starts it only tells, in the accepted event; with `refuse` it answers at RCPT TO, with what was meant."""
    node, dns = among_domains
    dns.add("null.example", "MX", "0 .")
    node.final(node.send("dana@null.example"))  # slow DNS is not waited for long: now it is known
    again = node.send("dana@null.example")
    (tagged,) = wait_for("the event", lambda: node.events(id=again, type="accepted"))
    assert tagged["address"] == {"tags": ["null-mx"]}

    dns.add("taken.example", "MX", "10 mx.example.com.")
    recipients = node.folder / "policies/recipients.toml"
    recipients.write_text('[address-check]\nlocal = "refuse"\nknown = ["gmaill.example"]\n')
    assert node.run("reload").returncode == 0
    asked = ("null.example", "gone.example", "gmaill.com", "gmaill.example", "taken.example")
    with smtplib.SMTP("127.0.0.1", node.smtp, timeout=30) as client:
        client.ehlo("app.test.example")
        client.mail("app@test.example")
        answers = {f"dana@{domain}": client.rcpt(f"dana@{domain}") for domain in asked}
    recipients.unlink()
    assert node.run("reload").returncode == 0
    assert {to: code for to, (code, _) in answers.items()} == {
        "dana@null.example": 556,
        "dana@gone.example": 550,
        "dana@gmaill.com": 550,
        "dana@gmaill.example": 550,
        "dana@taken.example": 250,
    }
    assert b"did you mean gmail.com?" in answers["dana@gmaill.com"][1]
    assert answers["dana@gmaill.example"][1].startswith(b"5.1.2 No such domain")
    (refused,) = wait_for("the event", lambda: node.events(type="rejected", recipient="dana@gmaill.com"))
    assert (refused["reason"], refused["credential"]) == ("address-check", "local")
