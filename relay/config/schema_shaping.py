"""The schema of policies/shaping.toml: how mail may go to each mailbox provider.

The providers that ship stand in relay/shaping/providers.toml, in the same words; a file overrides them key by key.
"""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

import relay.shaping
from relay.config.fields import ALONE_OR_LIST, Domain, Name, Rate, Timezone, text_of
from relay.config.reader import Section, setting
from relay.config.schema_backoff import BackoffTable
from relay.config.schema_streams import pattern
from relay.shaping.warmup import SCHEDULE

TlsWord = Literal["opportunistic", "verify", "required", "off"]
HostPattern = Annotated[Any, *text_of(pattern, "*.google.com")]
Connections = Annotated[int, Field(ge=1, le=1000)]
Messages = Annotated[int, Field(ge=1, le=100_000)]
Reserved = Annotated[int, Field(ge=0, le=1000)]


class DefaultTable(Section):
    """What holds for a site where nothing else is said."""

    connections: Connections = setting(10, "from one source, all workers and nodes together")
    messages_per_connection: Messages = setting(100, "then a new connection")
    connection_rate: Rate | None = setting(None, "new connections from one source")
    rate: Rate | None = setting("100/second", "messages from one source")
    site_connections: Connections | None = setting(None, "from all sources together")
    site_rate: Rate | None = setting(None, "messages from all sources together")
    reserved: Reserved = setting(2, "of the connections: for transactional mail only")
    tls: TlsWord = setting("opportunistic", "verify and required: never without")
    # From 10 to 100 a second takes 17 s, and the first 20 messages to a site go at once: a small site never meets it.
    pace_start: Rate | None = setting("10/second", "where a source's pace begins at a site; it doubles in 5 s")
    # Below it a pace asks too seldom whether things are better; a message every ten seconds offends nobody.
    pace_floor: Rate = setting("6/minute", "no reply makes a pace slower")


class ShapeTable(Section):
    """What is said for some mail; what is not said is as it is for the rest."""

    connections: Connections | None = setting(None, "from one source, all workers and nodes together")
    messages_per_connection: Messages | None = setting(None, "then a new connection")
    connection_rate: Rate | None = setting(None, "new connections from one source")
    rate: Rate | None = setting(None, "messages from one source")
    site_connections: Connections | None = setting(None, "from all sources together")
    site_rate: Rate | None = setting(None, "messages from all sources together")
    reserved: Reserved | None = setting(None, "of the connections: for transactional mail only")
    tls: TlsWord | None = setting(None, "verify and required: never without")
    pace_start: Rate | None = setting(None, "where a source's pace begins at a site; it doubles in 5 s")
    pace_floor: Rate | None = setting(None, "no reply makes a pace slower")


class WarmUpTable(Section):
    """How much mail a new source carries (pools.toml, warmup = DATE)."""

    # Why these: relay/shaping/warmup.py.
    schedule: list[Annotated[int, Field(ge=1, le=100_000_000)]] = Field(
        default=list(SCHEDULE), min_length=1, description="messages to each site, day by day; then as many as there are"
    )
    timezone: Timezone = setting("UTC", "of its days")


class ProviderTable(ShapeTable):
    """A mailbox provider: all domains it names, or whose MX it names, share its limits."""

    mx: Annotated[list[HostPattern], *ALONE_OR_LIST] = setting([], "of the most preferred MX host")
    domains: Annotated[list[Domain], *ALONE_OR_LIST] = setting([], "known without a look-up")
    pool: dict[Name, ShapeTable] = setting({})
    backoff: list[BackoffTable] = setting([], "replies of this provider; before those for all and those that ship")


def _without_tables(value: object) -> object:
    """[domain.bank.example], without quotes, is reported by relay/config/shaping.py, and once."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), dict):
        return {}
    return value


@lru_cache(maxsize=1)
def shipped_providers() -> Mapping[str, Mapping[str, Any]]:
    """As their file says it: what the program knows of the large providers."""
    file = Path(relay.shaping.__file__).parent / "providers.toml"
    providers: Mapping[str, Mapping[str, Any]] = tomllib.loads(file.read_text("utf-8"))["provider"]
    return providers


def over_shipped(value: object) -> object:
    """Those of a file, over what ships of the same name; then the others that ship."""
    if not isinstance(value, dict):
        return value
    shipped = shipped_providers()
    merged = {name: {**shipped.get(name, {}), **one} if isinstance(one, dict) else one for name, one in value.items()}
    return merged | {name: one for name, one in shipped.items() if name not in value}


class ShapingFile(Section):
    """policies/shaping.toml"""

    default: DefaultTable = setting({})
    provider: Annotated[dict[Name, ProviderTable], BeforeValidator(over_shipped)] = setting({})
    domain: dict[Domain, Annotated[ShapeTable, BeforeValidator(_without_tables)]] = setting({})
    backoff: list[BackoffTable] = setting([], "replies of anybody; before those that ship")
    warmup: WarmUpTable = WarmUpTable()
