"""config/: this machine. postlane.toml and pools.toml, each key declared once: name, type, default, reason.

What is read here is frozen: the schema's own objects serve as values, so no key is named twice. Only the wiring and the
commands see them; the stages get plain values.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from ipaddress import ip_address, ip_network
from os import environ as _process_environ
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from relay.config.fields import (
    Address,
    Domain,
    Duration,
    Folder,
    HostPort,
    MaybeAddress,
    MaybeDomain,
    Name,
    Nameserver,
    Network,
    Port,
    Size,
    SourceAddress,
    StateUrl,
    Timezone,
    Url,
)
from relay.config.problems import Problem, Wrong, did_you_mean
from relay.config.reader import Document, Examined, Section, read, setting, shown_path
from relay.config.trust import doubt
from relay.config.units import Address as AddressValue
from relay.config.units import address as parse_address
from relay.config.units import port_number
from relay.config.wording import Loc
from relay.egress.pools import Pool, Source
from relay.message import MailClass

FILES = ("postlane.toml", "pools.toml")
# In the sandbox an app may run in a container or on another machine of the room; nothing leaves, so private networks
# (RFC 1918, 4193, 4291) need no login once HOST opens the port to them.
_PRIVATE = tuple(
    map(
        ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128", "fc00::/7", "fe80::/10")
    )
)
NOT_YET = "not yet supported in this version"


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
    only_to: list[str] = setting([], "staging: only these recipients get mail, the rest is captured")
    port: Port = setting(25, "of MX hosts")
    relay_host: HostPort = setting("", "host:port that takes everything, instead of the MX")
    relay_user: str = ""
    relay_password_file: str = ""
    return_path_domain: MaybeDomain = setting(
        "", description="bounces come back to us; empty: the app's own MAIL FROM stays"
    )
    allow_private: bool = setting(False, "deliver to MX hosts on loopback and private addresses")


class StateSettings(Section):
    url: StateUrl = setting("sqlite:", "sqlite: (in data_dir) or redis://host:6379/0")
    password_file: str = ""


class Secrets(Section):
    file: str = setting("", "the same on every node; empty: made in data_dir at first start")


class Web(Section):
    admin: MaybeAddress = setting("127.0.0.1:8025", "pages and API of the people who run it")
    public: MaybeAddress = setting("127.0.0.1:8026", "unsubscribe and preference pages")
    api: MaybeAddress = setting("", "apps' API; empty: on the admin address")
    public_url: Url = setting("", "for brands that set none")


class Alerts(Section):
    mail: list[str] = setting([])
    webhook: Url = ""


class Retention(Section):
    """How long what is kept, where nothing else says so. 400 days: a year can be compared with the one before."""

    events: Duration = setting("400d")
    subjects: Duration = setting("30d", "subject lines in events; 0d keeps none")
    transcripts: Duration = setting("14d")
    addresses: Duration = setting("400d", "recipients' addresses in events")


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
    address: SourceAddress = Field(description="of this machine; empty: the system's choice")
    ehlo: MaybeDomain = setting("", "the name this address has in DNS; empty: node.hostname")
    weight: int = setting(1, "its share among the pool's sources", ge=1, le=1000)
    warmup: date | None = setting(None, "the day its warm-up begins")


class PoolTable(Section):
    sources: list[SourceTable] = Field(min_length=1)


class PoolsFile(Section):
    """config/pools.toml"""

    pool: dict[Name, PoolTable] = setting({})


@dataclass(frozen=True, slots=True)
class Deployment:
    """All of config/. `home` is the folder that holds config/; `document` the file, for problems found later.

    Paths are absolute; the relay's password is read. Keys have the names and places they have in the file.
    """

    home: Path
    node: Node
    tls: Tls
    listeners: tuple[Listener, ...]
    dns: Dns
    delivery: DeliverySettings
    relay_password: str = field(repr=False)
    state: StateSettings
    secrets: Secrets
    web: Web
    alerts: Alerts
    retention: Retention
    pools: Mapping[str, Pool]
    dkim_dir: Path
    pools_file: str
    warnings: tuple[Problem, ...] = field(repr=False)
    document: Document = field(repr=False)

    @property
    def capture(self) -> bool:
        """Nothing leaves this machine."""
        return self.delivery.mode == "capture"

    @property
    def relay(self) -> tuple[str, int] | None:
        """Host and port that take everything, instead of the MX."""
        host, _, port = self.delivery.relay_host.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None


def load_deployment(config_dir: Path, environ: Mapping[str, str] = _process_environ) -> Deployment:
    """config/ as it may come into force; raises ConfigErrors."""
    return examine_deployment(config_dir, environ).accepted()


def examine_deployment(config_dir: Path, environ: Mapping[str, str] = _process_environ) -> Examined[Deployment]:
    """Everything that is wrong with config/, and what can be said of it nevertheless."""
    files = sorted(config_dir.glob("*.toml"))
    problems = list(unknown_files(files, FILES))
    document, found = read(config_dir / "postlane.toml")
    problems += found
    settings = None
    if document is not None:
        settings, found = document.validate(PostlaneFile)
        problems += found
    pools, found = _pools(config_dir / "pools.toml", settings.node.hostname if settings else "localhost")
    problems += found
    if document is None or settings is None:
        return Examined(None, problems, len(files))
    # A relative config directory's parent is found even where it is "."
    home = config_dir.resolve().parent
    problems += _whole(document, settings, home)
    password, found = _relay_password(document, settings, home)
    problems += found
    settings, found = _sandbox_binds(settings, environ)
    problems += found
    deployment = Deployment(
        home=home,
        node=settings.node.model_copy(update={"data_dir": home / settings.node.data_dir}),
        tls=_absolute(settings.tls, home),
        listeners=tuple(settings.listener),
        dns=settings.dns,
        delivery=settings.delivery,
        relay_password=password,
        state=settings.state,
        secrets=settings.secrets,
        web=settings.web,
        alerts=settings.alerts,
        retention=settings.retention,
        pools=MappingProxyType(pools),
        dkim_dir=config_dir.resolve() / "dkim",
        pools_file=shown_path(config_dir / "pools.toml"),
        warnings=(),
        document=document,
    )
    examined = Examined(deployment, problems, len(files))
    examined.value = replace(deployment, warnings=examined.warnings)
    return examined


def _absolute(tls: Tls, home: Path) -> Tls:
    return Tls(cert=str(home / tls.cert) if tls.cert else "", key=str(home / tls.key) if tls.key else "")


def unknown_files(files: list[Path], known: tuple[str, ...]) -> Iterator[Problem]:
    """Files nobody will read: a slip in a name, and what they say would silently not hold."""
    for path in files:
        if path.name not in known:
            close = did_you_mean(path.stem, [name.removesuffix(".toml") for name in known])
            hint = f"did you mean {close}.toml?" if close else f"there are {', '.join(known)}"
            yield Problem(shown_path(path), 0, "", f"unknown file; {hint}", "unknown-file")


def _pools(path: Path, hostname: str) -> tuple[dict[str, Pool], list[Problem]]:
    """Without the file: a pool for each class, each with the address the system chooses."""
    if not path.exists():
        return {kind.label: Pool(kind.label, (Source("", hostname),)) for kind in MailClass}, []
    document, problems = read(path)
    if document is None:
        return {}, problems
    table, found = document.validate(PoolsFile)
    problems += found
    pools: dict[str, Pool] = {}
    for name, pool in (table.pool if table else {}).items():
        sources = tuple(Source(source.address, source.ehlo or hostname, source.weight) for source in pool.sources)
        pools[name] = Pool(name, sources)
        problems += _of_sources(document, name, pool)
    for name in document.names("pool"):  # one with errors is still a name that routes may use
        pools.setdefault(name, Pool(name, (Source("", hostname),)))
    return pools, problems


def _of_sources(document: Document, name: str, pool: PoolTable) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, source in enumerate(pool.sources):
        loc: Loc = ("pool", name, "sources", number)
        if source.address in seen:
            yield document.problem(
                (*loc, "address"), f'"{source.address}" stands in this pool twice; use weight', "duplicate"
            )
        seen.add(source.address)
        if source.warmup:
            yield document.problem((*loc, "warmup"), NOT_YET, "not-yet", warning=True)


def _whole(document: Document, settings: PostlaneFile, home: Path) -> Iterator[Problem]:
    """What no single key shows."""
    yield from _of_tls(document, settings, home)
    yield from _of_binds(document, settings)
    yield from _of_delivery(document, settings.delivery)
    for number, listener in enumerate(settings.listener):
        yield from _of_listener(document, ("listener", number), listener)
    if not document.broken:
        for loc, wanted in _NOT_YET:
            if _asked_for(document.data, loc, wanted):
                yield document.problem(loc, NOT_YET, "not-yet", warning=True)


# Keys that later versions act on, and the values that ask for it (None: any but empty).
_NOT_YET: tuple[tuple[Loc, str | None], ...] = (
    (("delivery", "return_path_domain"), None),
    (("dns", "trust_ad"), None),
    (("state", "url"), "redis"),
    (("alerts", "mail"), None),
    (("alerts", "webhook"), None),
)


def _asked_for(data: Any, loc: Loc, wanted: str | None) -> bool:
    for step in loc:
        data = data.get(step) if isinstance(data, dict) else None
    return bool(data) if wanted is None else str(data).startswith(wanted)


def _of_tls(document: Document, settings: PostlaneFile, home: Path) -> Iterator[Problem]:
    tls = settings.tls
    if bool(tls.cert) != bool(tls.key):
        lacking = "key" if tls.cert else "cert"
        yield document.problem(("tls", lacking), "is missing; certificate and key go together", "missing")
    for key, file in (("cert", tls.cert), ("key", tls.key)):
        if file and not (home / file).exists():  # a warning: a copy of the files may be checked on another machine
            yield document.problem(("tls", key), f'no file "{file}" on this machine', "file", warning=True)
    written = document.data.get("tls")  # as it stands: the schema may have left a faulty one out
    for number, listener in enumerate(settings.listener):
        if listener.tls != "off" and not (tls.cert or written):
            yield document.problem(
                ("listener", number, "tls"), f'"{listener.tls}" needs a certificate; set cert and key in [tls]', "tls"
            )


def _of_binds(document: Document, settings: PostlaneFile) -> Iterator[Problem]:
    binds: list[tuple[Loc, str]] = [
        *((("listener", number, "bind"), str(listener.bind)) for number, listener in enumerate(settings.listener)),
        (("web", "admin"), settings.web.admin),
        (("web", "public"), settings.web.public),
        (("web", "api"), settings.web.api),
    ]
    seen: dict[str, Loc] = {}
    for loc, bind in binds:
        if not bind or bind.endswith(":0"):
            continue
        if bind in seen:
            yield document.problem(loc, f'"{bind}" is taken by {document.label(seen[bind])}', "duplicate")
        seen.setdefault(bind, loc)


def _of_listener(document: Document, loc: Loc, listener: Listener) -> Iterator[Problem]:
    if listener.trust and not listener.credential:
        yield document.problem(
            (*loc, "credential"),
            "is missing; who are the peers in trust? Name a credential of credentials.toml",
            "missing",
        )
    if document.broken:
        return
    for number, network in enumerate(listener.trust):
        why = doubt(network)
        if why:
            yield document.problem((*loc, "trust", number), f'"{network}" {why}', "trust", warning=True)
    if listener.proxy_protocol:
        yield document.problem((*loc, "proxy_protocol"), NOT_YET, "not-yet", warning=True)
    if listener.role == "bounces":
        yield document.problem((*loc, "role"), f"{NOT_YET}: what arrives here is refused", "not-yet", warning=True)
        return
    if listener.trust and listener.auth == "required":
        yield document.problem(
            (*loc, "trust"), 'has no effect where auth = "required"; write auth = "optional"', "no-effect", warning=True
        )
    loopback = ip_address(listener.bind.host).is_loopback
    if listener.tls == "off" and listener.auth == "required" and not loopback:
        message = 'nobody can log in here: passwords are taken under TLS or on loopback only; write tls = "starttls"'
        yield document.problem((*loc, "tls"), message, "no-login", warning=True)


def _of_delivery(document: Document, delivery: DeliverySettings) -> Iterator[Problem]:
    if delivery.only_to and delivery.mode == "live":
        # An error: to pass over it would send a staging system's mail to the world.
        yield document.problem(("delivery", "only_to"), f'{NOT_YET}; mode = "capture" keeps everything here', "not-yet")
    if delivery.relay_user and not delivery.relay_password_file:
        yield document.problem(("delivery", "relay_password_file"), "is missing; relay_user needs it", "missing")
    if delivery.relay_user and not delivery.relay_host:
        yield document.problem(("delivery", "relay_host"), "is missing; relay_user is for it", "missing")


def _relay_password(document: Document, settings: PostlaneFile, home: Path) -> tuple[str, list[Problem]]:
    file = settings.delivery.relay_password_file
    if not file:
        return "", []
    try:
        return (home / file).read_text("utf-8").strip("\r\n"), []
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        return "", [document.problem(("delivery", "relay_password_file"), f'"{file}" cannot be read: {why}', "file")]


def _sandbox_binds(settings: PostlaneFile, environ: Mapping[str, str]) -> tuple[PostlaneFile, list[Problem]]:
    """HOST, SMTP_PORT and WEB_PORT, for `make run` alone: in live mode a stray variable must not move a port.

    The public pages follow the admin page, one port above it. A HOST that is no address is passed over: some shells
    export the machine's name under it.
    """
    if settings.delivery.mode != "capture":
        return settings, []
    problems: list[Problem] = []
    host = _host(environ)
    smtp, web = (_port(environ, name, problems) for name in ("SMTP_PORT", "WEB_PORT"))
    listeners = [
        _moved_listener(listener, host, smtp if at == 0 else None) for at, listener in enumerate(settings.listener)
    ]
    pages = {
        "admin": _moved_page(settings.web.admin, host, web),
        "public": _moved_page(settings.web.public, host, None if not web else web % 65535 + 1),
    }
    return settings.model_copy(update={"listener": listeners, "web": settings.web.model_copy(update=pages)}), problems


def _host(environ: Mapping[str, str]) -> str | None:
    try:
        return str(ip_address(environ.get("HOST", "")))
    except ValueError:
        return None


def _port(environ: Mapping[str, str], name: str, problems: list[Problem]) -> int | None:
    text = environ.get(name, "")
    try:
        return port_number(text) if text else None
    except Wrong as wrong:
        problems.append(Problem("environment", 0, name, wrong.message, wrong.slug))
        return None


def _moved(address: AddressValue, host: str | None, port: int | None) -> AddressValue:
    return AddressValue(host or address.host, address.port if port is None else port)


def _moved_page(address: str, host: str | None, port: int | None) -> str:
    return str(_moved(parse_address(address), host, port)) if address else ""


def _moved_listener(listener: Listener, host: str | None, port: int | None) -> Listener:
    changes: dict[str, object] = {"bind": _moved(listener.bind, host, port)}
    if host and not ip_address(host).is_loopback and listener.trust:
        changes["trust"] = [*listener.trust, *(private for private in _PRIVATE if private not in listener.trust)]
    return listener.model_copy(update=changes)
