"""The types of keys in schemas: readers of relay/config/units.py joined to pydantic, with a word for JSON Schema."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from relay.config import passwords, units
from relay.identity import Password as PasswordHash
from relay.identity import Rate as RateValue


def _text(read: Callable[[object], Any], example: str) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(read), WithJsonSchema({"type": "string", "examples": [example]})


def _alone_or_list(value: object) -> object:
    """One value may stand for a list of one."""
    return [value] if isinstance(value, str) else value


Duration = Annotated[int, *_text(units.duration, "15m")]
PositiveDuration = Annotated[int, *_text(units.positive_duration, "15m")]
Folder = Annotated[Path, *_text(units.folder, "/var/lib/postlane")]
Rate = Annotated[RateValue, *_text(units.rate, "40/second")]
Size = Annotated[int, *_text(units.size, "25MB")]
Address = Annotated[units.Address, *_text(units.address, "127.0.0.1:2525")]
MaybeAddress = Annotated[str, *_text(units.maybe_address, "127.0.0.1:8025")]
SourceAddress = Annotated[str, *_text(units.source_address, "192.0.2.10")]
Nameserver = Annotated[str, *_text(units.nameserver, "127.0.0.1:53")]
HostPort = Annotated[str, *_text(units.host_and_port, "relay.example.com:587")]
Network = Annotated[units.Network, *_text(units.network, "10.20.0.0/16")]
Domain = Annotated[str, *_text(units.domain, "shop.example")]
MaybeDomain = Annotated[str, *_text(units.maybe_domain, "bounce.shop.example")]
SendingDomain = Annotated[str, *_text(units.sending_domain, "shop.example")]
Recipient = Annotated[str, *_text(units.recipient, "*@shop.example")]
Name = Annotated[str, *_text(units.name, "shop-web")]
Url = Annotated[str, *_text(units.web_url, "https://mail.shop.example")]
StateUrl = Annotated[str, *_text(units.state_url, "sqlite:")]
Timezone = Annotated[str, *_text(units.timezone, "Europe/Berlin")]
Password = Annotated[PasswordHash, *_text(passwords.parse, "sha256:SALT:DIGEST")]
Passwords = Annotated[list[Password], BeforeValidator(_alone_or_list), Field(max_length=2)]
Port = Annotated[int, Field(ge=1, le=65535)]
