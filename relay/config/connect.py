"""What an app's own settings must say so that it sends through us, in the words of its framework. Pure.

Each framework spells TLS differently, and a wrong word there is the commonest reason why a first message never leaves.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from relay.config.deployment import Deployment
from relay.config.schema_config import Listener

# What says less about who we are comes last: an app that can do TLS should.
_PREFERRED = ("starttls", "implicit", "off")


@dataclass(frozen=True, slots=True)
class Door:
    """Where an app connects, and as whom. `user` "": without login. `tls`: off | starttls | implicit."""

    host: str
    port: int
    tls: str
    user: str = ""
    password: str = ""


def door(deployment: Deployment, user: str = "", password: str = "") -> Door | None:
    """The listener an app should use; None where there is none for apps."""
    listeners = [listener for listener in deployment.listeners if listener.role == "submission"]
    if not listeners:
        return None
    best = min(listeners, key=lambda listener: _PREFERRED.index(listener.tls))
    return Door(_host(deployment, best), best.port, best.tls, user, password)


def _host(deployment: Deployment, listener: Listener) -> str:
    """A certificate is for the name; without TLS the address itself serves, if it is one."""
    if listener.tls == "off" and not ip_address(listener.host).is_unspecified:
        return listener.host
    return "127.0.0.1" if deployment.node.hostname == "localhost" else deployment.node.hostname


def _django(door: Door) -> str:
    lines = [f"EMAIL_HOST = {_quoted(door.host)}", f"EMAIL_PORT = {door.port}"]
    if door.user:
        lines += [f"EMAIL_HOST_USER = {_quoted(door.user)}", f"EMAIL_HOST_PASSWORD = {_quoted(door.password)}"]
    lines += {"starttls": ["EMAIL_USE_TLS = True"], "implicit": ["EMAIL_USE_SSL = True"]}.get(door.tls, [])
    return "\n".join(lines)


def _laravel(door: Door) -> str:
    """Symfony's mailer: scheme smtp starts TLS where it is offered, smtps is implicit TLS."""
    scheme = {"starttls": "smtp", "implicit": "smtps"}.get(door.tls, "null")
    lines = ["MAIL_MAILER=smtp", f"MAIL_SCHEME={scheme}", f"MAIL_HOST={door.host}", f"MAIL_PORT={door.port}"]
    if door.user:
        lines += [f"MAIL_USERNAME={door.user}", f"MAIL_PASSWORD={door.password}"]
    return "\n".join(lines)


def _nodemailer(door: Door) -> str:
    options = [f"host: {_quoted(door.host)}", f"port: {door.port}", f"secure: {_boolean(door.tls == 'implicit')}"]
    if door.tls == "starttls":
        options.append("requireTLS: true")
    if door.user:
        options.append(f"auth: {{ user: {_quoted(door.user)}, pass: {_quoted(door.password)} }}")
    return "nodemailer.createTransport({\n" + "".join(f"  {option},\n" for option in options) + "})"


def _wordpress(door: Door) -> str:
    """Constants of the plugin WP Mail SMTP, for wp-config.php."""
    encryption = {"starttls": "tls", "implicit": "ssl"}.get(door.tls, "")
    constants: list[tuple[str, str]] = [
        ("WPMS_ON", "true"),
        ("WPMS_MAILER", "'smtp'"),
        ("WPMS_SMTP_HOST", f"'{door.host}'"),
        ("WPMS_SMTP_PORT", str(door.port)),
        ("WPMS_SSL", f"'{encryption}'"),
        ("WPMS_SMTP_AUTOTLS", _boolean(door.tls == "starttls")),
        ("WPMS_SMTP_AUTH", _boolean(bool(door.user))),
    ]
    if door.user:
        constants += [("WPMS_SMTP_USER", f"'{door.user}'"), ("WPMS_SMTP_PASS", f"'{door.password}'")]
    return "\n".join(f"define( '{name}', {value} );" for name, value in constants)


def _quoted(text: str) -> str:
    return json.dumps(text)


def _boolean(value: bool) -> str:
    return "true" if value else "false"


FRAMEWORKS: dict[str, Callable[[Door], str]] = {
    "django": _django,
    "laravel": _laravel,
    "nodemailer": _nodemailer,
    "wordpress": _wordpress,
}
