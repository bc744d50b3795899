"""The helpers that bring real peers into tests do what they say: tried here against small servers of their own."""

import asyncio
import base64
import smtplib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import dkim
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bench.signing_key import SigningKey
from tests.support import needs
from tests.support.clients import CLIENTS, Mail, NotSent, Server
from tests.support.opendkim import verify
from tests.support.postfix import PostfixMx, self_signed

MAIL = Mail("orders@sender.example", "dana@recipient.example")
MESSAGE = (
    b"From: orders@sender.example\r\nTo: dana@recipient.example\r\nSubject: Your order\r\n"
    b"Date: Sat, 21 Nov 2026 12:05:31 +0000\r\n\r\nThank you.\r\nIt is on  its way.\r\n"
)


class Inbox:
    """An aiosmtpd handler that keeps what it is handed; `mails` holds (user, over TLS?, message)."""

    def __init__(self, reply: str = "250 2.0.0 OK") -> None:
        self.mails: list[tuple[str, bool, bytes]] = []
        self.reply = reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name there
        over_tls = server.transport.get_extra_info("cipher") is not None
        user = session.auth_data.decode() if session.auth_data else ""
        self.mails.append((user, over_tls, envelope.content))
        return self.reply

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, kind: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password == b"secret"
        return AuthResult(success=good, handled=False, auth_data=data.login if good else None)


class Visit(SMTP):  # type: ignore[misc]  # aiosmtpd is shipped without type information
    """One connection of aiosmtpd's server whose end can be waited for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.gone = asyncio.Event()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.gone.set()


@asynccontextmanager
async def listening(inbox: Inbox, tls: str, folder: Path, *, knows: bool = True) -> AsyncIterator[Server]:
    """A server on loopback that takes user "shop" with password "secret"; in clear it asks nobody for one.

    `knows`: whether the client is told that password."""
    (folder / "server.pem").write_bytes(self_signed("localhost"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    modes: dict[str, dict[str, Any]] = {
        "off": {},
        "starttls": {"tls_context": context, "require_starttls": True, "auth_required": True},
        "implicit": {"auth_require_tls": False},  # aiosmtpd does not see that it is under TLS
    }
    visits: list[Visit] = []

    def greet() -> Visit:
        visits.append(Visit(inbox, hostname="localhost", authenticator=inbox.authenticate, **modes[tls]))
        return visits[-1]

    server = await asyncio.get_running_loop().create_server(
        greet, "127.0.0.1", 0, ssl=context if tls == "implicit" else None
    )
    user = ("", "") if tls == "off" else ("shop", "secret" if knows else "wrong")
    async with server:
        yield Server("127.0.0.1", server.sockets[0].getsockname()[1], *user, tls=tls)
        await asyncio.gather(*(visit.gone.wait() for visit in visits))  # every client closes its connection


@pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_each_client_hands_in_a_message(client: str, tls: str, tmp_path: Path) -> None:
    inbox = Inbox()
    async with listening(inbox, tls, tmp_path) as server:
        await asyncio.to_thread(CLIENTS[client], server, MAIL)
    [(user, over_tls, content)] = inbox.mails
    assert (user, over_tls) == (server.user, tls != "off")
    message = message_from_bytes(content)
    assert message["Subject"] == MAIL.subject
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.split() == MAIL.text.encode().split()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_refusal_is_raised_with_the_servers_words(client: str, tmp_path: Path) -> None:
    async with listening(Inbox("550 5.7.1 From domain is not yours"), "off", tmp_path) as server:
        with pytest.raises(NotSent, match="From domain is not yours"):
            await asyncio.to_thread(CLIENTS[client], server, MAIL)


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_wrong_password_is_raised(client: str, tmp_path: Path) -> None:
    inbox = Inbox()
    async with listening(inbox, "starttls", tmp_path, knows=False) as server:
        with pytest.raises(NotSent, match="535"):
            await asyncio.to_thread(CLIENTS[client], server, MAIL)
    assert inbox.mails == []


def signed(message: bytes) -> tuple[bytes, dict[str, str]]:
    """A message that dkimpy signed with RSA and Ed25519, and the records of both keys."""
    rsa = SigningKey.make()
    young = ed25519.Ed25519PrivateKey.generate()
    seed = young.private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    public = young.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    relaxed = (b"relaxed", b"relaxed")
    both = dkim.sign(message, rsa.selector.encode(), rsa.domain.encode(), rsa.private_pem, canonicalize=relaxed)
    both += dkim.sign(
        message,
        b"young",
        rsa.domain.encode(),
        base64.b64encode(seed),
        canonicalize=relaxed,
        signature_algorithm=b"ed25519-sha256",
    )
    record = f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}"
    return both + message, {rsa.name: rsa.record, f"young._domainkey.{rsa.domain}": record}


def test_opendkim_judges_each_signature() -> None:
    message, records = signed(MESSAGE)
    verdicts = verify(message, records)
    assert [(v.domain, v.selector, v.algorithm) for v in verdicts] == [
        ("sender.example", "bench", "rsa-sha256"),
        ("sender.example", "young", "ed25519-sha256"),
    ]
    assert all(v.good for v in verdicts), verdicts


def test_opendkim_sees_a_changed_body_and_a_missing_key() -> None:
    message, records = signed(MESSAGE)
    assert not any(v.good for v in verify(message.replace(b"Thank you", b"Thank me"), records))
    [old, young] = verify(message, {name: record for name, record in records.items() if name.startswith("young")})
    assert (old.good, young.good) == (False, True)


def test_an_unsigned_message_has_no_verdict() -> None:
    assert verify(MESSAGE, {}) == []


def test_postfix_takes_mail_for_its_domain_over_starttls() -> None:
    with PostfixMx("recipient.example", host="127.0.0.2") as mx:
        with smtplib.SMTP(mx.host, mx.port, timeout=20) as client:
            client.starttls()
            client.sendmail("orders@sender.example", ["dana@recipient.example"], MESSAGE)
        [message] = mx.wait(1)
    assert message.startswith(b"Return-Path: <orders@sender.example>\n")
    assert b"(using TLSv1.3 with cipher" in message
    assert message.endswith(MESSAGE.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n"))


def test_postfix_is_no_relay() -> None:
    with PostfixMx("recipient.example") as mx, smtplib.SMTP(mx.host, mx.port, timeout=20) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="554"):
            client.sendmail("orders@sender.example", ["dana@elsewhere.example"], MESSAGE)
        assert mx.messages() == []


def test_a_missing_program_is_skipped_and_in_ci_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        needs.program("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI=true, but no-such-program"):
        needs.program("no-such-program")
