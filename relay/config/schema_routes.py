"""The schema of policies/routes.toml: which pool carries what."""

from typing import Annotated, Literal

from pydantic import Field

from relay.config.fields import ALONE_OR_LIST, HostPort
from relay.config.reader import Section, setting
from relay.config.schema_policies import ClassName
from relay.config.schema_streams import Domains, Exact

Classes = Annotated[list[ClassName], *ALONE_OR_LIST, Field(min_length=1)]
Tiers = Annotated[list[Literal["engaged", "lapsing", "cold"]], *ALONE_OR_LIST, Field(min_length=1)]


class RoutesTable(Section):
    """A pool for each class; none falls back to another's."""

    transactional: str = "transactional"
    service: str = "service"
    marketing: str = "marketing"


class RouteMatchTable(Section):
    """When a route holds: all keys must."""

    mail_class: Classes | None = setting(None, "a route that names none takes transactional mail too", alias="class")
    stream: Exact | None = None
    brand: Exact | None = None
    credential: Exact | None = None
    recipient_domain: Domains | None = None
    engagement: Tiers | None = setting(None, "tiers of recipients.toml; of marketing alone")


class RouteTable(Section):
    """One route: a pool, a host instead of the MX, or nothing at all."""

    match: RouteMatchTable = RouteMatchTable()
    pool: str = setting("", "of config/pools.toml")
    next_hop: HostPort = setting("", "host:port; mail leaves from the class's own pool")
    discard: bool = setting(False, "withheld, for good")


class RoutesFile(Section):
    """policies/routes.toml"""

    default: RoutesTable = RoutesTable()
    route: list[RouteTable] = setting([])
