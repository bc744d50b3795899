"""The programs and libraries that apps send with, each handing in one message to a server under test.

    server = Server("127.0.0.1", port, user="shop-web", password="...", tls="starttls")
    send_swaks(server, Mail("orders@sender.example", "dana@recipient.example"))

Each function returns what the client printed (smtplib and Django: "") and raises `NotSent` with what the client said
when the message was not accepted. Servers' certificates are not checked: they are the tests' own. CLIENTS names all.
"""

import json
import os
import smtplib
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Final

from tests.support.needs import lack, program

TIMEOUT: Final = 30  # seconds for one message, far more than any server under test takes


class NotSent(Exception):
    """The client did not get its message accepted; the text is what it said, with the server's reply."""


@dataclass(frozen=True)
class Server:
    """Where to hand in. `tls`: off | starttls | implicit. Without a user there is no AUTH."""

    host: str
    port: int
    user: str = ""
    password: str = ""
    tls: str = "off"


@dataclass(frozen=True)
class Mail:
    """What to hand in."""

    sender: str
    recipient: str
    subject: str = "Your order 1042"
    text: str = "Thank you.\nIt is on its way.\n"

    def as_email(self) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, self.recipient, self.subject
        message.set_content(self.text)
        return message


def _run(command: Sequence[str], stdin: str = "", env: dict[str, str] | None = None) -> str:
    """Run a client; its output, or NotSent with it."""
    whole = {**os.environ, **(env or {})}
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=2 * TIMEOUT, env=whole, check=False
    )
    if done.returncode:
        raise NotSent(f"{command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def send_swaks(server: Server, mail: Mail) -> str:
    """swaks, the postmaster's Swiss Army knife."""
    command = [program("swaks"), "--server", server.host, "--port", f"{server.port}", "--timeout", f"{TIMEOUT}s"]
    command += ["--from", mail.sender, "--to", mail.recipient, "--h-Subject", mail.subject, "--body", mail.text]
    command += {"off": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[server.tls]
    if server.user:
        command += ["--auth", "PLAIN", "--auth-user", server.user, "--auth-password", server.password]
    try:
        return _run(command)
    except NotSent as problem:
        if "requires Net::SSLeay" in str(problem):
            lack("swaks cannot speak TLS: apt-get install libnet-ssleay-perl")
        raise


def send_msmtp(server: Server, mail: Mail) -> str:
    """msmtp, what cron jobs and PHP's mail() use in place of sendmail."""
    on = "off" if server.tls == "off" else "on"
    lines = [f"host {server.host}", f"port {server.port}", f"from {mail.sender}", f"timeout {TIMEOUT}"]
    lines += [f"tls {on}", f"tls_starttls {'on' if server.tls == 'starttls' else 'off'}", "tls_certcheck off"]
    if server.user:
        # msmtp itself refuses a password in clear unless told that plain is wanted
        lines += ["auth plain", f"user {server.user}", f"password {server.password}"]
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "msmtprc"
        config.write_text("account default\n" + "\n".join(lines) + "\n")
        config.chmod(0o600)  # msmtp refuses a file with a password that others may read
        return _run(
            [program("msmtp"), "-v", "-C", f"{config}", "--", mail.recipient], stdin=mail.as_email().as_string()
        )


def send_smtplib(server: Server, mail: Mail) -> str:
    """Python's smtplib."""
    try:
        with _smtplib_connection(server) as client:
            if server.tls == "starttls":
                client.starttls(context=_unverified())
            if server.user:
                client.login(server.user, server.password)
            client.send_message(mail.as_email())
    except (OSError, smtplib.SMTPException) as problem:
        raise NotSent(f"smtplib: {problem}") from problem
    return ""


def _smtplib_connection(server: Server) -> smtplib.SMTP:
    if server.tls == "implicit":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT, context=_unverified())
    return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT)


def send_nodemailer(server: Server, mail: Mail) -> str:
    """nodemailer, what Node apps use; Debian's package, or one on NODE_PATH."""
    node = program("node")
    script = Path(__file__).with_name("nodemailer_send.js")
    env = {"NODE_PATH": os.pathsep.join(filter(None, (os.environ.get("NODE_PATH"), "/usr/share/nodejs")))}
    probe = [node, "-e", "require('nodemailer')"]
    if subprocess.run(probe, env={**os.environ, **env}, capture_output=True, timeout=TIMEOUT, check=False).returncode:
        lack("nodemailer is not installed: apt-get install node-nodemailer")
    facts = {**vars(server), "from": mail.sender, "to": mail.recipient, "subject": mail.subject, "text": mail.text}
    return _run([node, f"{script}"], stdin=json.dumps(facts), env=env)


def send_django(server: Server, mail: Mail) -> str:
    """Django's mail backend, with the settings an app would have."""
    from django.conf import settings
    from django.core.mail.backends.smtp import EmailBackend
    from django.core.mail.message import EmailMessage as DjangoMessage

    if not settings.configured:
        settings.configure(USE_I18N=False)
    backend = EmailBackend(
        host=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        use_tls=server.tls == "starttls",
        use_ssl=server.tls == "implicit",
        timeout=TIMEOUT,
    )
    backend.ssl_context = _unverified()  # takes the place of its cached property, which trusts public authorities only
    message = DjangoMessage(mail.subject, mail.text, mail.sender, [mail.recipient], connection=backend)
    try:
        sent = message.send()
    except (OSError, smtplib.SMTPException) as problem:
        raise NotSent(f"Django: {problem}") from problem
    finally:
        backend.close()  # Django leaves the connection open where the log-in failed
    if sent != 1:
        raise NotSent(f"Django says it sent {sent} messages")
    return ""


CLIENTS: Final[dict[str, Callable[[Server, Mail], str]]] = {
    "swaks": send_swaks,
    "msmtp": send_msmtp,
    "smtplib": send_smtplib,
    "nodemailer": send_nodemailer,
    "django": send_django,
}
