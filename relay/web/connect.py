"""Settings to paste: what an app needs to hand its mail to this node, in the words of its framework. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

USER, PASSWORD = "CREDENTIAL", "PASSWORD"


@dataclass(frozen=True, slots=True)
class SubmissionPort:
    """A listener as an app sees it. `tls` is off, starttls or implicit; `login` whether AUTH is needed."""

    host: str
    port: int
    tls: str = "off"
    login: bool = False

    @property
    def shown_host(self) -> str:
        """What to write: a wildcard bind is reached, from this machine, at loopback."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 compared, not bound


@dataclass(frozen=True, slots=True)
class Snippet:
    """What to paste where. `place` is a file name or a menu path."""

    name: str
    place: str
    text: str


def best_port(ports: Sequence[SubmissionPort]) -> SubmissionPort | None:
    """The one to recommend: STARTTLS, which every framework speaks, then TLS from the start, then clear text."""
    order = ("starttls", "implicit", "off")
    return min(ports, key=lambda p: order.index(p.tls), default=None)


def snippets(port: SubmissionPort) -> list[Snippet]:
    return [
        Snippet("Django", "settings.py", _django(port)),
        Snippet("Laravel", ".env", _laravel(port)),
        Snippet("Nodemailer", "JavaScript", _nodemailer(port)),
        Snippet("WordPress", "WP Mail SMTP › Other SMTP", _wordpress(port)),
        Snippet("Rails", "config/environments/*.rb", _rails(port)),
        Snippet("Spring Boot", "application.properties", _spring(port)),
        Snippet("PHPMailer", "PHP", _phpmailer(port)),
        Snippet("Python", "smtplib", _smtplib(port)),
        Snippet("swaks", "shell", _swaks(port)),
    ]


def _lines(*lines: str) -> str:
    """Joined, without those that are empty because they do not apply."""
    return "\n".join(line for line in lines if line)


def _django(port: SubmissionPort) -> str:
    return _lines(
        f'EMAIL_HOST = "{port.shown_host}"',
        f"EMAIL_PORT = {port.port}",
        "EMAIL_USE_TLS = True" if port.tls == "starttls" else "",
        "EMAIL_USE_SSL = True" if port.tls == "implicit" else "",
        f'EMAIL_HOST_USER = "{USER}"' if port.login else "",
        f'EMAIL_HOST_PASSWORD = "{PASSWORD}"' if port.login else "",
    )


def _laravel(port: SubmissionPort) -> str:
    return _lines(
        "MAIL_MAILER=smtp",
        f"MAIL_HOST={port.shown_host}",
        f"MAIL_PORT={port.port}",
        f"MAIL_SCHEME={'smtps' if port.tls == 'implicit' else 'smtp' if port.tls == 'starttls' else 'null'}",
        f"MAIL_USERNAME={USER if port.login else 'null'}",
        f"MAIL_PASSWORD={PASSWORD if port.login else 'null'}",
    )


def _nodemailer(port: SubmissionPort) -> str:
    return _lines(
        "nodemailer.createTransport({",
        f'  host: "{port.shown_host}",',
        f"  port: {port.port},",
        f"  secure: {'true' if port.tls == 'implicit' else 'false'},",
        "  requireTLS: true," if port.tls == "starttls" else "",
        f'  auth: {{ user: "{USER}", pass: "{PASSWORD}" }},' if port.login else "",
        "});",
    )


def _wordpress(port: SubmissionPort) -> str:
    encryption = {"off": "None", "starttls": "TLS", "implicit": "SSL"}[port.tls]
    return _lines(
        f"SMTP Host       {port.shown_host}",
        f"Encryption      {encryption}",
        f"SMTP Port       {port.port}",
        f"Auto TLS        {'On' if port.tls == 'starttls' else 'Off'}",
        f"Authentication  {'On' if port.login else 'Off'}",
        f"SMTP Username   {USER}" if port.login else "",
        f"SMTP Password   {PASSWORD}" if port.login else "",
    )


def _rails(port: SubmissionPort) -> str:
    return _lines(
        "config.action_mailer.smtp_settings = {",
        f'  address: "{port.shown_host}", port: {port.port},',
        "  enable_starttls: true," if port.tls == "starttls" else "",
        "  ssl: true," if port.tls == "implicit" else "",
        "  enable_starttls_auto: false," if port.tls == "off" else "",
        f'  user_name: "{USER}", password: "{PASSWORD}", authentication: :plain,' if port.login else "",
        "}",
    )


def _spring(port: SubmissionPort) -> str:
    return _lines(
        f"spring.mail.host={port.shown_host}",
        f"spring.mail.port={port.port}",
        "spring.mail.properties.mail.smtp.starttls.required=true" if port.tls == "starttls" else "",
        "spring.mail.properties.mail.smtp.ssl.enable=true" if port.tls == "implicit" else "",
        "spring.mail.properties.mail.smtp.auth=true" if port.login else "",
        f"spring.mail.username={USER}" if port.login else "",
        f"spring.mail.password={PASSWORD}" if port.login else "",
    )


def _phpmailer(port: SubmissionPort) -> str:
    return _lines(
        "$mail->isSMTP();",
        f"$mail->Host = '{port.shown_host}';",
        f"$mail->Port = {port.port};",
        "$mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;" if port.tls == "starttls" else "",
        "$mail->SMTPSecure = PHPMailer::ENCRYPTION_SMTPS;" if port.tls == "implicit" else "",
        "$mail->SMTPAutoTLS = false;" if port.tls == "off" else "",
        f"$mail->SMTPAuth = true; $mail->Username = '{USER}'; $mail->Password = '{PASSWORD}';" if port.login else "",
    )


def _smtplib(port: SubmissionPort) -> str:
    kind = "SMTP_SSL" if port.tls == "implicit" else "SMTP"
    return _lines(
        f'with smtplib.{kind}("{port.shown_host}", {port.port}) as smtp:',
        "    smtp.starttls(context=ssl.create_default_context())" if port.tls == "starttls" else "",
        f'    smtp.login("{USER}", "{PASSWORD}")' if port.login else "",
        "    smtp.send_message(message)",
    )


def _swaks(port: SubmissionPort) -> str:
    tls = {"off": "", "starttls": " --tls", "implicit": " --tls-on-connect"}[port.tls]
    login = f" --auth-user {USER}" if port.login else ""
    return (
        f"swaks --server {port.shown_host}:{port.port}{tls}{login} --from you@example.com --to someone@example.com"
        ' --header "Subject: Hello"'
    )
