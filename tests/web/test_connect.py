"""Settings to paste: right for each kind of port, for each framework."""

import ast

import pytest

from relay.web.connect import SubmissionPort, best_port, snippets

PORTS = [
    SubmissionPort("192.0.2.5", 25),
    SubmissionPort("192.0.2.5", 587, "starttls", True),
    SubmissionPort("::", 465, "implicit", True),
]


def text(port: SubmissionPort, name: str) -> str:
    return next(s.text for s in snippets(port) if s.name == name)


def test_the_port_to_recommend() -> None:
    assert best_port(PORTS) == PORTS[1]
    assert best_port([PORTS[0], PORTS[2]]) == PORTS[2]
    assert best_port([]) is None


@pytest.mark.parametrize("port", PORTS, ids=lambda p: p.tls)
def test_every_snippet_names_host_and_port_and_asks_for_a_login_only_where_needed(port: SubmissionPort) -> None:
    for snippet in snippets(port):
        assert port.shown_host in snippet.text, snippet.name
        assert str(port.port) in snippet.text, snippet.name
        assert ("CREDENTIAL" in snippet.text) is port.login, snippet.name
        assert "\n\n" not in snippet.text


def test_a_wildcard_is_shown_as_loopback() -> None:
    assert SubmissionPort("0.0.0.0", 2525).shown_host == "127.0.0.1"  # noqa: S104 shown, not bound
    assert SubmissionPort("::", 2525).shown_host == "::1"


@pytest.mark.parametrize(
    ("name", "off", "starttls", "implicit"),
    [
        ("Django", "", "EMAIL_USE_TLS = True", "EMAIL_USE_SSL = True"),
        ("Laravel", "MAIL_SCHEME=null", "MAIL_SCHEME=smtp\n", "MAIL_SCHEME=smtps"),
        ("Nodemailer", "secure: false", "requireTLS: true", "secure: true"),
        ("WordPress", "Auto TLS        Off", "Encryption      TLS", "Encryption      SSL"),
        ("Rails", "enable_starttls_auto: false", "enable_starttls: true", "ssl: true"),
        ("Spring Boot", "", "starttls.required=true", "ssl.enable=true"),
        ("PHPMailer", "SMTPAutoTLS = false", "ENCRYPTION_STARTTLS", "ENCRYPTION_SMTPS"),
        ("Python", "smtplib.SMTP(", "smtp.starttls(", "smtplib.SMTP_SSL("),
        ("swaks", "", "--tls ", "--tls-on-connect"),
    ],
)
def test_encryption_in_each_frameworks_words(name: str, off: str, starttls: str, implicit: str) -> None:
    for port, words in zip(PORTS, (off, starttls, implicit), strict=True):
        assert words in text(port, name)


@pytest.mark.parametrize("port", PORTS, ids=lambda p: p.tls)
@pytest.mark.parametrize("name", ["Django", "Python"])
def test_python_snippets_are_python(port: SubmissionPort, name: str) -> None:
    ast.parse(text(port, name))
