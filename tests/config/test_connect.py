from pathlib import Path

import pytest

from relay.config import load_deployment
from relay.config.connect import FRAMEWORKS, Door, door

STARTTLS = Door("relay.example.com", 587, "starttls", "shop", "pass word")
IMPLICIT = Door("relay.example.com", 465, "implicit", "shop", "pw")
OPEN = Door("127.0.0.1", 2525, "off")


@pytest.mark.parametrize(
    ("framework", "entry", "says"),
    [
        ("django", STARTTLS, ['EMAIL_HOST_PASSWORD = "pass word"', "EMAIL_USE_TLS = True", "EMAIL_PORT = 587"]),
        ("django", IMPLICIT, ["EMAIL_USE_SSL = True"]),
        ("laravel", STARTTLS, ["MAIL_SCHEME=smtp\n", "MAIL_USERNAME=shop"]),
        ("laravel", IMPLICIT, ["MAIL_SCHEME=smtps"]),
        ("laravel", OPEN, ["MAIL_SCHEME=null"]),
        ("nodemailer", STARTTLS, ["secure: false", "requireTLS: true", 'auth: { user: "shop", pass: "pass word" }']),
        ("nodemailer", IMPLICIT, ["secure: true"]),
        ("wordpress", STARTTLS, ["'WPMS_SSL', 'tls'", "'WPMS_SMTP_AUTOTLS', true", "'WPMS_SMTP_PASS', 'pass word'"]),
        ("wordpress", OPEN, ["'WPMS_SSL', ''", "'WPMS_SMTP_AUTH', false"]),
    ],
)
def test_settings_in_the_words_of_the_framework(framework: str, entry: Door, says: list[str]) -> None:
    text = FRAMEWORKS[framework](entry)
    assert all(part in text for part in says), text


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_login_there_is_no_word_of_one(framework: str) -> None:
    text = FRAMEWORKS[framework](OPEN).lower()
    assert "pass" not in text
    assert "user" not in text


def listening(folder: Path, *listeners: str) -> Door | None:
    tables = "".join(f"[[listener]]\n{listener}\n" for listener in listeners)
    tls = '[tls]\ncert = "c"\nkey = "k"\n'
    (folder / "postlane.toml").write_text(f'[node]\nhostname = "relay.example.com"\n{tls}{tables}')
    return door(load_deployment(folder, {}), "shop", "pw")


def test_apps_are_sent_to_tls_where_there_is_any(tmp_path: Path) -> None:
    plain, tls = 'bind = "10.20.0.5:25"', 'bind = "[::]:465"\ntls = "implicit"'
    assert listening(tmp_path, plain, tls) == Door("relay.example.com", 465, "implicit", "shop", "pw")
    assert listening(tmp_path, plain) == Door("10.20.0.5", 25, "off", "shop", "pw")
    assert listening(tmp_path, 'bind = "0.0.0.0:25"') == Door("relay.example.com", 25, "off", "shop", "pw")
    assert listening(tmp_path, 'bind = "0.0.0.0:25"\nrole = "bounces"') is None
