"""Delivery security by the real program: MTA-STS with STARTTLS stripped, DANE, REQUIRETLS, and the report of it all.

The web server of a policy answers on port 443 of an address of its own in 127.0.0.0/8, which needs root or a system that
lets anybody bind it.
"""

import gzip
import json
import smtplib
import socket
import ssl
from email import message_from_bytes
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.support.certificates import DAY, Authority
from tests.support.dnsserver import DnsServer
from tests.support.https_server import HttpsServer, plain_text
from tests.support.needs import lack
from tests.support.node import Event, Node, free_port, wait_for
from tests.support.peer import serving
from tests.support.smtp_peer import Raw, SmtpPeer

pytestmark = pytest.mark.scenario

WEB = "127.0.0.77"
POLICY = b"version: STSv1\nmode: enforce\nmx: mx.%s\nmax_age: 86400\n"
D, MX = "example.com", "mx.example.com"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """What the node trusts instead of the world's authorities."""
    folder = tmp_path / "ca"
    folder.mkdir()
    made = Authority.make(folder)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.alone))
    return made


def need_443() -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((WEB, 443))
        except PermissionError:
            lack("port 443 may not be bound here")


def zone() -> DnsServer:
    dns = DnsServer(negative_ttl=0)
    dns.add(D, "MX", f"10 {MX}.", ttl=0)
    dns.add(MX, "A", "127.0.0.1", ttl=0)
    return dns


def node_of(
    folder: Path, dns: DnsServer, peer: SmtpPeer, *, more: str = "", listener: str = "", shaping: str = ""
) -> Node:
    delivery = f'mode = "live"\nport = {peer.port}\nallow_private = true'
    nameservers = f'"{dns.address}"' + ("]\ntrust_ad = true\n#[" if more == "dane" else "")
    files = {"policies/shaping.toml": shaping} if shaping else {}
    return Node(
        folder, delivery=delivery, nameservers=nameservers, listener=listener, key_for=("test.example",), files=files
    )


def deferred(node: Node, identifier: str, text: str) -> Event:
    def found() -> list[Event]:
        return [e for e in node.events(id=identifier, type="deferred") if text in e["reply"]["text"]]

    event: Event = wait_for(f"a deferral: {text}", found)[0]
    return event


def test_mta_sts_with_starttls_stripped_waits_and_is_reported(authority: Authority, tmp_path: Path) -> None:
    need_443()
    dns, peer = zone(), SmtpPeer()
    web = HttpsServer(authority.issue(f"mta-sts.{D}").context, WEB, 443)
    web.answers["/.well-known/mta-sts.txt"] = plain_text(POLICY % D.encode())
    dns.add(f"_mta-sts.{D}", "TXT", '"v=STSv1; id=1;"', ttl=0)
    dns.add(f"mta-sts.{D}", "A", WEB)
    dns.add(f"_smtp._tls.{D}", "TXT", '"v=TLSRPTv1; rua=mailto:tls@reports.test"')
    dns.add("reports.test", "MX", f"10 {MX}.")
    with serving(dns, web, peer):
        node = node_of(tmp_path / "node", dns, peer)
        with node:
            identifier = node.send(f"dana@{D}")
            event = deferred(node, identifier, "does not offer STARTTLS")
            assert (event["reply"]["enhanced"], event["category"], event["mx"]) == ("4.7.10", "tls-failure", MX)
            assert f"the MTA-STS policy of {D} does not allow" in event["reply"]["text"]
            dns.remove(f"_mta-sts.{D}")  # the attacker takes the record, too
            again = len(node.events(id=identifier, type="deferred"))
            wait_for("another try", lambda: len(node.events(id=identifier, type="deferred")) > again)
            assert peer.transactions == []
        db = apsw.Connection(str(node.data / "tls.db"))
        counted: Any = db.execute("SELECT good, bad FROM sessions WHERE domain = ?", (D,)).fetchall()
        ((good, bad),) = counted
        assert (good, bad >= 2) == (0, True)
        db.execute("UPDATE sessions SET day = '2026-01-01'")
        db.execute("UPDATE failure SET day = '2026-01-01'")
        db.close()
        with node:  # what it knows of the policy outlives it; the report of that day is due
            wait_for("the report", lambda: peer.transactions, 60)
            assert len(peer.transactions) == 1
            heard = peer.transactions[0]
            assert (heard.mail.split(" SIZE")[0], heard.rcpt.split(" ")[1]) == ("MAIL FROM:<>", "TO:<tls@reports.test>")
            attached = message_from_bytes(heard.content).get_payload(1)
            report = json.loads(gzip.decompress(attached.get_payload(decode=True)))  # type: ignore[arg-type, union-attr]
            (policy,) = report["policies"]
            assert policy["policy"]["policy-type"] == "sts"
            assert policy["summary"]["total-failure-session-count"] == bad
            (detail,) = policy["failure-details"]
            assert (detail["result-type"], detail["receiving-mx-hostname"]) == ("starttls-not-supported", MX)
            assert not node.events(id=identifier, type="delivered")
            peer.context = authority.issue(MX).context  # the attack is over
            assert node.final(identifier)["tls"] == "TLSv1.3"


def test_dane(authority: Authority, tmp_path: Path) -> None:
    """A certificate that an authority made but DNS does not name, and then one that DNS names and no authority made."""
    (tmp_path / "private").mkdir()
    private = Authority.make(tmp_path / "private", "Private").issue("whatever.test")
    dns, peer = zone(), SmtpPeer(context=authority.issue(MX).context)
    dns.sign(D)
    with serving(dns, peer):
        dns.add(f"_{peer.port}._tcp.{MX}", "TLSA", private.tlsa(3, 1, 1), ttl=0)
        with node_of(tmp_path / "node", dns, peer, more="dane") as node:
            identifier = node.send(f"dana@{D}")
            event = deferred(node, identifier, "TLSA records")
            assert (event["reply"]["enhanced"], event["category"]) == ("4.7.10", "tls-failure")
            assert peer.transactions == []
            peer.context = private.context
            assert node.final(identifier)["tls"] == "TLSv1.3"


def test_the_admins_word_against_hostile_hosts(authority: Authority, tmp_path: Path) -> None:
    """No STARTTLS, a certificate that has expired, one for another name, a handshake that breaks; then a good one. One that
    hangs: tests/egress/test_opening.py."""
    dns, peer = zone(), SmtpPeer()
    verify = f'[domain."{D}"]\ntls = "verify"\n'
    with serving(dns, peer), node_of(tmp_path / "node", dns, peer, shaping=verify) as node:
        identifier = node.send(f"dana@{D}")
        deferred(node, identifier, 'does not offer STARTTLS, which tls = "verify" of shaping.toml does not allow')
        peer.context = authority.issue(MX, begins=-2 * DAY, ends=-DAY / 2).context
        deferred(node, identifier, "its certificate has expired")
        peer.context = authority.issue("other.test").context
        deferred(node, identifier, "its certificate is for another name")
        peer.say({"STARTTLS": [Raw(b"220 go\r\nthis is no TLS\r\n")]})
        deferred(node, identifier, "the TLS handshake failed")
        assert {e["category"] for e in node.events(id=identifier, type="deferred")} == {"tls-failure"}
        assert peer.transactions == []
        peer.context = authority.issue(MX).context
        assert node.final(identifier)["tls"] == "TLSv1.3"


def test_requiretls_is_refused_honestly(authority: Authority, tmp_path: Path) -> None:
    """The host has a good certificate, and DNSSEC vouches for it; but it does not know REQUIRETLS."""
    dns, peer = zone(), SmtpPeer(context=authority.issue(MX).context)
    dns.sign(D)
    starttls = free_port()
    pem = authority.issue("relay.test.example").pem
    listener = (
        f'[tls]\ncert = "{pem}"\nkey = "{pem}"\n[[listener]]\nbind = "127.0.0.1:{starttls}"\ntls = "starttls"\n'
        'auth = "optional"\ntrust = ["127.0.0.0/8"]\ncredential = "local"\n'
    )
    with serving(dns, peer), node_of(tmp_path / "node", dns, peer, more="dane", listener=listener) as node:
        refused = hand_in(starttls, authority)
        event = node.final(refused)
        assert (event["type"], event["reply"]["enhanced"], event["category"]) == ("bounced", "5.7.30", "tls-failure")
        assert "does not offer REQUIRETLS" in event["reply"]["text"]
        peer.capabilities.append("REQUIRETLS")
        assert node.final(hand_in(starttls, authority))["tls"] == "TLSv1.3"
        assert [" REQUIRETLS" in heard.mail for heard in peer.transactions if D in heard.rcpt] == [True]


def hand_in(port: int, authority: Authority) -> str:
    """One message with REQUIRETLS; its id."""
    content = b"From: app@test.example\r\nTo: dana@example.com\r\nSubject: x\r\n\r\nx\r\n"
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo("app.test.example")
        assert not client.has_extn("requiretls")
        client.starttls(context=trusting(authority))
        client.ehlo("app.test.example")
        assert client.has_extn("requiretls")
        client.mail("app@test.example", ["REQUIRETLS"])
        client.rcpt(f"dana@{D}")
        code, text = client.data(content)
        assert code == 250, text
        return text.decode().split()[2]


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.alone))
    context.check_hostname = False
    return context
