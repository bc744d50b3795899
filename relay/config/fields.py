"""The types of keys in schemas: readers of relay/config/units.py joined to pydantic, with a word for JSON Schema."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from relay.config import passwords, units
from relay.identity import Password as PasswordHash
from relay.identity import Rate as RateValue


def text_of(read: Callable[[object], Any], example: str) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(read), WithJsonSchema({"type": "string", "examples": [example]})


def _alone_or_list(value: object) -> object:
    """One value may stand for a list of one."""
    return value if isinstance(value, (list, dict)) else [value]


class _InJsonSchema:
    """Says there that one value may stand for a list of one."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        return {"anyOf": [schema.get("items", {}), schema]}


ALONE_OR_LIST = (BeforeValidator(_alone_or_list), _InJsonSchema())


Duration = Annotated[int, *text_of(units.duration, "15m")]
PositiveDuration = Annotated[int, *text_of(units.positive_duration, "15m")]
Folder = Annotated[Path, *text_of(units.folder, "/var/lib/postlane")]
Rate = Annotated[RateValue, *text_of(units.rate, "40/second")]
Size = Annotated[int, *text_of(units.size, "25MB")]
Address = Annotated[units.Address, *text_of(units.address, "127.0.0.1:2525")]
MaybeAddress = Annotated[str, *text_of(units.maybe_address, "127.0.0.1:8025")]
SourceAddress = Annotated[str, *text_of(units.source_address, "192.0.2.10")]
Nameserver = Annotated[str, *text_of(units.nameserver, "127.0.0.1:53")]
Proxy = Annotated[str, *text_of(units.proxy, "10.0.0.9:1080")]
HostPort = Annotated[str, *text_of(units.host_and_port, "relay.example.com:587")]
Network = Annotated[units.Network, *text_of(units.network, "10.20.0.0/16")]
Domain = Annotated[str, *text_of(units.domain, "shop.example")]
MaybeDomain = Annotated[str, *text_of(units.maybe_domain, "bounce.shop.example")]
SendingDomain = Annotated[str, *text_of(units.sending_domain, "shop.example")]
Recipient = Annotated[str, *text_of(units.recipient, "*@shop.example")]
Mailbox = Annotated[str, *text_of(units.mailbox, "postmaster@shop.example")]
OwnAddress = Annotated[str, *text_of(units.own_address, "fbl@shop.example")]
Name = Annotated[str, *text_of(units.name, "shop-web")]
Url = Annotated[str, *text_of(units.web_url, "https://mail.shop.example")]
Color = Annotated[str, *text_of(units.color, "#0b6e4f")]
HookUrl = Annotated[str, *text_of(units.hook_url, "https://chat.shop.example/hooks/mail")]
StateUrl = Annotated[str, *text_of(units.state_url, "sqlite:")]
Timezone = Annotated[str, *text_of(units.timezone, "Europe/Berlin")]
Password = Annotated[PasswordHash, *text_of(passwords.parse, "sha256:SALT:DIGEST")]
Token = Annotated[PasswordHash, *text_of(passwords.parse_token, "sha256:SALT:DIGEST")]
Tokens = Annotated[list[Token], *ALONE_OR_LIST, Field(max_length=2)]
Passwords = Annotated[list[Password], *ALONE_OR_LIST, Field(max_length=2)]
Port = Annotated[int, Field(ge=1, le=65535)]
