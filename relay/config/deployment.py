"""config/: this machine. Reads postlane.toml and pools.toml, and says what only the whole of them shows to be wrong.

What is read here is frozen: the schema's own objects serve as values, so no key is named twice. Only the wiring and the
commands see them; the stages get plain values.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from os import environ as _process_environ
from pathlib import Path
from types import MappingProxyType

from relay.config.password_file import password_in
from relay.config.pools import read_pools
from relay.config.problems import IN_CLEAR, Problem, did_you_mean
from relay.config.reader import Document, Examined, read, shown_path, toml_files
from relay.config.sandbox import sandbox_binds
from relay.config.schema_config import (
    Alerts,
    DeliverySettings,
    Dns,
    Listener,
    Node,
    PostlaneFile,
    Retention,
    Secrets,
    StateSettings,
    Tls,
    Web,
)
from relay.config.trust import doubt, doubt_of_proxies
from relay.config.wording import Loc
from relay.egress.pools import Pool

FILES = ("postlane.toml", "pools.toml")


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
    def captures(self) -> bool:
        """All mail stays here, or all that is not for `only_to`: the capture server is needed."""
        return self.capture or bool(self.delivery.only_to)

    @property
    def only_to(self) -> list[str]:
        """In live mode, whose mail leaves while all other is captured; empty: everybody's."""
        return [] if self.capture else list(self.delivery.only_to)

    @property
    def relay(self) -> tuple[str, int] | None:
        """Host and port that take everything, instead of the MX."""
        host, _, port = self.delivery.relay_host.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None


def load_deployment(
    config_dir: Path, environ: Mapping[str, str] = _process_environ, origin: Path | None = None
) -> Deployment:
    """config/ as it may come into force; raises ConfigErrors."""
    return examine_deployment(config_dir, environ, origin).accepted()


def examine_deployment(
    config_dir: Path, environ: Mapping[str, str] = _process_environ, origin: Path | None = None
) -> Examined[Deployment]:
    """Everything that is wrong with config/, and what can be said of it nevertheless.

    `origin`: where config/ is, of which `config_dir` is a kept copy: keys, and files named relative to it, are there.
    """
    files = toml_files(config_dir)
    problems = list(unknown_files(files, FILES))
    document, found = read(config_dir / "postlane.toml")
    problems += found
    settings = None
    if document is not None:
        settings, found = document.validate(PostlaneFile)
        problems += found
    # A relative config directory's parent is found even where it is "."
    place = (origin or config_dir).resolve()
    home = place.parent
    pools, found = read_pools(config_dir / "pools.toml", home)
    problems += found
    if document is None or settings is None:
        return Examined(None, problems, len(files))
    problems += _whole(document, settings, home)
    file = settings.delivery.relay_password_file
    password, found = password_in(document, ("delivery", "relay_password_file"), file, home)
    problems += found
    settings, found = sandbox_binds(settings, environ)
    problems += found
    deployment = Deployment(
        home=home,
        node=settings.node.model_copy(update={"data_dir": home / settings.node.data_dir}),
        tls=_absolute(settings.tls, home),
        listeners=tuple(settings.listener),
        dns=settings.dns,
        delivery=settings.delivery,
        relay_password=password,
        state=_state(settings.state, home),
        secrets=settings.secrets,
        web=settings.web.model_copy(update={"events": [home / one for one in settings.web.events]}),
        alerts=_alerts(settings.alerts, home),
        retention=settings.retention,
        pools=MappingProxyType(pools),
        dkim_dir=place / "dkim",
        pools_file=shown_path(config_dir / "pools.toml"),
        warnings=(),
        document=document,
    )
    examined = Examined(deployment, problems, len(files))
    examined.value = replace(deployment, warnings=examined.warnings)
    return examined


def _absolute(tls: Tls, home: Path) -> Tls:
    return Tls(cert=str(home / tls.cert) if tls.cert else "", key=str(home / tls.key) if tls.key else "")


def _state(state: StateSettings, home: Path) -> StateSettings:
    files = {name: getattr(state, name) for name in _STATE_FILES}
    return state.model_copy(update={name: str(home / file) for name, file in files.items() if file})


_STATE_FILES = ("password_file", "sentinel_password_file")


def _alerts(alerts: Alerts, home: Path) -> Alerts:
    file = alerts.webhook_secret_file
    return alerts.model_copy(update={"webhook_secret_file": str(home / file) if file else ""})


def unknown_files(files: list[Path], known: tuple[str, ...]) -> Iterator[Problem]:
    """Files nobody will read: a slip in a name, and what they say would silently not hold."""
    for path in files:
        if path.name not in known:
            close = did_you_mean(path.stem, [name.removesuffix(".toml") for name in known])
            hint = f"did you mean {close}.toml?" if close else f"there are {', '.join(known)}"
            yield Problem(shown_path(path), 0, "", f"unknown file; {hint}", "unknown-file")


def _whole(document: Document, settings: PostlaneFile, home: Path) -> Iterator[Problem]:
    """What no single key shows."""
    yield from _of_tls(document, settings, home)
    yield from _of_binds(document, settings)
    yield from _of_delivery(document, settings.delivery)
    yield from _of_dns(document, settings.dns)
    yield from _of_state(document, settings.state, home)
    yield from _of_alerts(document, settings.alerts)
    for number, listener in enumerate(settings.listener):
        yield from _of_listener(document, ("listener", number), listener)
    if not document.broken:
        if settings.delivery.return_path_domain and not takes_returns(settings.listener):
            yield document.problem(("delivery", "return_path_domain"), NOBODY_LISTENS, "no-effect", warning=True)
        if not settings.alerts.mail:
            for number, listener in enumerate(settings.listener):
                if listener.role == "bounces":
                    yield document.problem(("listener", number, "role"), NOBODY_READS, "no-effect", warning=True)
        yield from _of_retention(document, settings.retention)


NOBODY_LISTENS = (
    'no listener here has role = "bounces": unless another node has, what comes back to this domain reaches nobody'
)
NOBODY_READS = (
    "mail for postmaster@ and abuse@ there goes to [alerts] mail, which names nobody: it is put off until then"
)


def takes_returns(listeners: Iterable[Listener]) -> bool:
    return any(listener.role == "bounces" for listener in listeners)


def _of_retention(document: Document, retention: Retention) -> Iterator[Problem]:
    """What is written to stay longer than the events it stands in: it goes with them."""
    for key in ("subjects", "transcripts", "addresses"):
        if key in retention.model_fields_set and getattr(retention, key) > retention.events:
            message = "has no effect beyond events, which it goes with; write as much at most"
            yield document.problem(("retention", key), message, "no-effect", warning=True)


def _of_alerts(document: Document, alerts: Alerts) -> Iterator[Problem]:
    if alerts.webhook.startswith("http:") and not alerts.allow_private:
        yield document.problem(("alerts", "webhook"), IN_CLEAR, "webhook")
    if alerts.webhook_secret_file and not alerts.webhook:
        yield document.problem(("alerts", "webhook"), "is missing; its secret alone tells nobody", "missing")


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
    for number, network in enumerate(listener.proxy_protocol):
        why = doubt_of_proxies(network)
        if why:
            yield document.problem((*loc, "proxy_protocol", number), f'"{network}" {why}', "trust", warning=True)
    if listener.role == "bounces":
        return
    if listener.trust and listener.auth == "required":
        yield document.problem(
            (*loc, "trust"), 'has no effect where auth = "required"; write auth = "optional"', "no-effect", warning=True
        )
    loopback = ip_address(listener.bind.host).is_loopback
    if listener.tls == "off" and listener.auth == "required" and not loopback:
        message = 'nobody can log in here: passwords are taken under TLS or on loopback only; write tls = "starttls"'
        yield document.problem((*loc, "tls"), message, "no-login", warning=True)
    elif listener.tls == "off" and listener.auth == "required" and listener.proxy_protocol:
        message = 'nobody can log in through a proxy here: passwords are taken under TLS only; write tls = "starttls"'
        yield document.problem((*loc, "tls"), message, "no-login", warning=True)


def _of_delivery(document: Document, delivery: DeliverySettings) -> Iterator[Problem]:
    if delivery.only_to and delivery.mode == "capture" and not document.broken:
        message = 'has no effect: mode = "capture" keeps everything here; write mode = "live"'
        yield document.problem(("delivery", "only_to"), message, "no-effect", warning=True)
    if delivery.relay_user and not delivery.relay_password_file:
        yield document.problem(("delivery", "relay_password_file"), "is missing; relay_user needs it", "missing")
    if delivery.relay_user and not delivery.relay_host:
        yield document.problem(("delivery", "relay_host"), "is missing; relay_user is for it", "missing")


def _of_dns(document: Document, dns: Dns) -> Iterator[Problem]:
    for number, server in enumerate(dns.nameservers if dns.trust_ad and not document.broken else ()):
        if not ip_address(server.rpartition(":")[0].strip("[]")).is_loopback:
            message = (
                f'"{server}" is not on this machine: its AD bit, which trust_ad believes, may be forged on the way'
            )
            yield document.problem(("dns", "nameservers", number), message, "trust", warning=True)


def _of_state(document: Document, state: StateSettings, home: Path) -> Iterator[Problem]:
    for name in _STATE_FILES:
        file = getattr(state, name)
        if not file:
            continue
        loc: Loc = ("state", name)
        if state.url == "sqlite:":
            yield document.problem(loc, 'has no effect: url = "sqlite:" is a file here', "no-effect", warning=True)
        elif name == "sentinel_password_file" and "+sentinel:" not in state.url:
            yield document.problem(loc, "has no effect: url names no Sentinels", "no-effect", warning=True)
        elif not (home / file).exists():  # a warning, as of [tls]; it is read whenever Redis is connected to
            yield document.problem(loc, f'no file "{file}" on this machine', "file", warning=True)
