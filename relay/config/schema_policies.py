"""The schema of policies/: each key of its files, declared once with type, default and reason.

It knows every key of INTERFACE.md in these files; those that later versions act on are checked in type already.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from relay.config.fields import HookUrl, Name, Network, Passwords, PositiveDuration, Rate, SendingDomain, Tokens
from relay.config.reader import Section, setting

ClassName = Literal["transactional", "service", "marketing"]


# Of a message of the app, or of a person and the app's brand; what is about the node or an operator is none of its business.
EventType = Literal[
    "accepted", "rejected", "withheld", "postponed", "delivered", "deferred", "bounced", "bounced-late", "complained",
    "unsubscribed", "preferences-changed", "suppressed", "unsuppressed",
]  # fmt: skip


class Webhook(Section):
    """Where an app is told what became of its mail."""

    url: HookUrl = Field(min_length=1, description="gets events as JSON, signed (Standard Webhooks)")
    events: list[EventType] = setting([], "types it wants; empty: all of them")
    secret_file: str = setting("", "whsec_..., relative to the folder that holds config/; empty: made in data_dir")
    allow_private: bool = setting(False, "it may be on loopback and private addresses, and http")


class CredentialTable(Section):
    """One app."""

    mail_class: Literal["transactional", "service", "marketing", "auto"] = Field(alias="class")
    domains: list[SendingDomain] = Field(min_length=1, description="what it may write in From and Sender")
    brand: str = setting("", "where the From domain does not tell")
    streams: list[Name] = setting([], "what X-Postlane-Stream or the user name NAME+STREAM may name")
    networks: list[Network] = setting([], "machines that cannot log in")
    quota: Rate | None = None
    over_quota: Literal["pace", "refuse"] = "pace"
    on_suppressed: Literal["withhold", "refuse"] = setting(
        "withhold", "refuse: 550 at RCPT TO, where all that the app may send is stopped"
    )
    dsn: Literal["full", "headers", "none"] = setting(
        "headers", "what a bounce returns of the message; full: withheld mail is reported, too"
    )
    line_endings: Literal["refuse", "fix"] = setting("refuse", "bare CR or LF")
    long_lines: Literal["refuse", "allow"] = setting("refuse", "over 998 octets (RFC 5322 2.1.1)")
    owner: str = setting("", "whom reports and alerts name")
    webhook: Webhook | None = None
    password: Passwords = setting([], "sha256:SALT:DIGEST; two while one is rotated")
    token: Tokens = setting([], "of its calls to /api/v1, as password is; made by: postlane credentials token")
    disabled: bool = False


class CredentialsFile(Section):
    """policies/credentials.toml"""

    credential: dict[Name, CredentialTable] = setting({})


class RetryTable(Section):
    """When a delivery is tried again, and until when."""

    # A file need not say what the program ships; editors shall not ask for it.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None))

    wait: list[PositiveDuration] = Field(min_length=1, description="steps; the last repeats until give_up")
    give_up: PositiveDuration
    warn_after: PositiveDuration | None = setting(None, "the app is told of the delay")


# Transactional mail is quick, since somebody waits for it; greylisting commonly lasts 5 minutes. None keeps the four to
# five days of RFC 5321 4.5.4.1, which allows for less where the sender knows better: mail this old helps nobody.
_SHIPPED_RETRY: dict[ClassName, dict[str, Any]] = {
    "transactional": {"wait": ["15s", "1m", "5m", "15m", "30m"], "give_up": "1d", "warn_after": "10m"},
    "service": {"wait": ["5m", "20m", "1h", "3h"], "give_up": "2d"},
    "marketing": {"wait": ["20m", "1h", "3h", "6h"], "give_up": "2d"},
}


def _over_shipped(kind: ClassName) -> BeforeValidator:
    """What the program ships is overridden key by key."""
    return BeforeValidator(lambda value: {**_SHIPPED_RETRY[kind], **value} if isinstance(value, dict) else value)


class RetryFile(Section):
    """policies/retry.toml"""

    transactional: Annotated[RetryTable, _over_shipped("transactional")] = setting({})
    service: Annotated[RetryTable, _over_shipped("service")] = setting({})
    marketing: Annotated[RetryTable, _over_shipped("marketing")] = setting({})
