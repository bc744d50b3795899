"""The schema of config/: each key of postlane.toml and pools.toml, declared once with type, default and reason.

The sections are frozen and serve as values; what only the whole shows is checked in relay/config/deployment.py.
"""

from datetime import date
from typing import Literal

from pydantic import Field

from relay.config.fields import (
    Address,
    Domain,
    Duration,
    Folder,
    HookUrl,
    HostPort,
    Mailbox,
    MaybeAddress,
    MaybeDomain,
    Name,
    Nameserver,
    Network,
    Port,
    PositiveDuration,
    Proxy,
    Recipient,
    Size,
    SourceAddress,
    StateUrl,
    Timezone,
    Url,
)
from relay.config.reader import Section, setting


class Node(Section):
    """Which machine this is."""

    name: Name = setting("relay-1", "unique in a cluster; stands in every event")
    hostname: Domain = Field(description="what it calls itself in EHLO and Received (RFC 5321 4.1.4)")
    data_dir: Folder = setting("data", "spool, state, events; relative to the folder that holds config/")
    workers: int = setting(0, "processes; 0: one per CPU", ge=0, le=256)
    timezone: Timezone = setting("UTC", "of reports and --since; events are always UTC")


class Tls(Section):
    """The certificate of every listener with TLS; renewed files are noticed."""

    cert: str = setting("", "chain in PEM")
    key: str = setting("", "private key in PEM")


class Listener(Section):
    """Where apps connect."""

    bind: Address = Field(description="IP address and port")
    tls: Literal["off", "starttls", "implicit"] = "off"
    auth: Literal["required", "optional"] = "required"
    trust: list[Network] = setting([], "peers that may relay without AUTH ...")
    credential: str = setting(
        "", description="... and the identity they then have, where no credential lists their network"
    )
    role: Literal["submission", "bounces"] = "submission"
    max_size: Size = setting("25MB", "of a message: what large mailbox providers take")
    proxy_protocol: list[Network] = setting([], "peers whose PROXY header is believed")

    @property
    def host(self) -> str:
        return self.bind.host

    @property
    def port(self) -> int:
        return self.bind.port


class Dns(Section):
    nameservers: list[Nameserver] = setting([], "host:port; empty: the system's")
    trust_ad: bool = setting(False, "believe the AD bit; only for a validating resolver on loopback")


class DeliverySettings(Section):
    """How mail leaves."""

    mode: Literal["live", "capture"] = setting("live", "capture: nothing leaves")
    only_to: list[Recipient] = setting([], "staging: only these recipients get mail, the rest is captured")
    port: Port = setting(25, "of MX hosts")
    relay_host: HostPort = setting("", "host:port that takes everything, instead of the MX")
    relay_user: str = ""
    relay_password_file: str = ""
    return_path_domain: MaybeDomain = setting(
        "", description="bounces come back to us; empty: the app's own MAIL FROM stays"
    )
    allow_private: bool = setting(False, "deliver to MX hosts on loopback and private addresses")


class StateSettings(Section):
    url: StateUrl = setting(
        "sqlite:", "sqlite: (in data_dir), redis://host:6379/0, or redis+sentinel://host:26379,host:26379/name/0"
    )
    password_file: str = setting("", "what Redis asks for; read at each connection")
    sentinel_password_file: str = setting("", "what its Sentinels ask for")


class Secrets(Section):
    file: str = setting("", "the same on every node; empty: made in data_dir at first start")


class Web(Section):
    admin: MaybeAddress = setting("127.0.0.1:8025", "pages and API of the people who run it")
    public: MaybeAddress = setting("127.0.0.1:8026", "unsubscribe and preference pages")
    api: MaybeAddress = setting("", "apps' API; empty: on the admin address")
    public_url: Url = setting("", "for brands that set none")
    events: list[Folder] = setting(
        [], "event folders of other nodes, shared or shipped here: reports are of all together"
    )


class Alerts(Section):
    """Who is told what needs a person, and when it is over."""

    mail: list[Mailbox] = setting([], "addresses; one mail in five minutes at most")
    webhook: HookUrl = setting("", "gets each as JSON, signed (Standard Webhooks)")
    webhook_secret_file: str = setting("", "whsec_...; empty: made in data_dir at first start")
    allow_private: bool = setting(False, "the webhook may be on loopback and private addresses, and http")


class Retention(Section):
    """How long what is kept, where nothing else says so. 400 days: a year can be compared with the one before."""

    events: PositiveDuration = setting("400d", "event files, JSON Lines and Parquet alike")
    subjects: Duration = setting("30d", "subject lines in events; 0d keeps none")
    transcripts: Duration = setting("14d", "what was said in sessions that failed; 0d keeps none")
    addresses: Duration = setting("400d", "then a pseudonym stands in events; 0d: when their hour is over")
    sent: PositiveDuration = setting("60d", "what was delivered, in the spool, by which reports find it")


class PostlaneFile(Section):
    """config/postlane.toml"""

    node: Node
    tls: Tls = Tls()
    listener: list[Listener] = Field(min_length=1)
    dns: Dns = Dns()
    delivery: DeliverySettings = DeliverySettings()
    state: StateSettings = StateSettings()
    secrets: Secrets = Secrets()
    web: Web = Web()
    alerts: Alerts = Alerts()
    retention: Retention = Retention()


class SourceTable(Section):
    address: SourceAddress = Field(description="of this machine or of the proxy's; empty: the system's choice")
    ehlo: MaybeDomain = setting("", "the name this address has in DNS; empty: node.hostname")
    weight: int = setting(1, "its share among the pool's sources", ge=1, le=1000)
    warmup: date | None = setting(None, "the day its warm-up begins")
    socks5: Proxy = setting("", "host:port of the proxy that leaves from this address (RFC 1928)")
    socks5_user: str = setting("", "where the proxy asks for one: it may choose the address by it (RFC 1929)")
    socks5_password_file: str = ""
    haproxy: Proxy = setting(
        "", "host:port of the HAProxy that leaves from the address it is told (PROXY protocol, v2)"
    )


class PoolTable(Section):
    sources: list[SourceTable] = Field(min_length=1)


class PoolsFile(Section):
    """config/pools.toml"""

    pool: dict[Name, PoolTable] = setting({})
