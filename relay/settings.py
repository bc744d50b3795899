"""From the configuration's words to the stages' plain values; the wiring's other half (relay/stages.py)."""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.config import Deployment, Listener, Policies, everybody, load_secrets
from relay.edge.certificate import Certificate
from relay.edge.credentials import Directory
from relay.edge.limits import Limits, ListenerSettings
from relay.edge.listener import server_context
from relay.egress.mx import CAPTURED, site_of
from relay.egress.pools import Pool
from relay.egress.settings import Capture, EgressSettings, Relay, Share
from relay.in_force import InForce
from relay.message import MailClass
from relay.shaping.sites import Sites
from relay.wildcard import Recipients

# Message data that all sessions of one worker hold at once. 64 MB leave the worker under its 200 MB with everything else;
# what is beyond is answered 452 and comes again. Never less than two messages of the largest size.
BYTES_IN_HAND = 64_000_000

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 compared, not bound


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """All that the stages of one worker are told, made as a whole before any of it is put in force.

    listeners      in the order of the deployment's      bytes_in_hand  the limit of the worker's ByteBudget
    credentials    those of the policies, and in the sandbox whoever comes
    certificate    its files, to be watched; None without TLS
    secrets        oldest first; the last one seals what is sealed from now on
    """

    in_force: InForce
    egress: EgressSettings
    nameservers: tuple[str, ...]
    listeners: tuple[tuple[ListenerSettings, Limits], ...]
    bytes_in_hand: int
    credentials: Directory
    pools: Mapping[MailClass, Pool]
    certificate: Certificate | None
    secrets: tuple[bytes, ...]

    @property
    def secret(self) -> bytes:
        """The oldest, which never changes."""
        return self.secrets[0]


def worker_settings(in_force: InForce, capture: str, share: Share) -> WorkerSettings:
    """What is in force, for the worker that has this share; see `egress_settings` for `capture`. Raises OSError where the
    certificate does not serve, ConfigErrors for the secret."""
    deployment, policies = in_force.deployment, in_force.policies
    tls = deployment.tls
    return WorkerSettings(
        in_force=in_force,
        egress=egress_settings(deployment, policies, capture, share),
        nameservers=tuple(deployment.dns.nameservers),
        listeners=tuple((listener_settings(deployment, one), limits(one)) for one in deployment.listeners),
        bytes_in_hand=bytes_in_hand(deployment),
        credentials=Directory(everybody(deployment, policies).values()),
        pools={mail_class: deployment.pools[name] for mail_class, name in policies.routes.items()},
        certificate=Certificate(Path(tls.cert), Path(tls.key)) if tls.cert else None,
        secrets=load_secrets(deployment),
    )


def asks_evidence(credentials: Directory, policies: Policies) -> bool:
    """Is there mail whose class the evidence decides or checks?"""
    return credentials.undecided or policies.streams.ask


def listener_settings(deployment: Deployment, listener: Listener) -> ListenerSettings:
    return ListenerSettings(
        hostname=deployment.node.hostname,
        tls=listener.tls,
        context=server_context(Path(deployment.tls.cert), Path(deployment.tls.key)) if listener.tls != "off" else None,
        auth=listener.auth,
        trust=tuple(listener.trust),
        credential=listener.credential,
        role=listener.role,
        proxies=tuple(listener.proxy_protocol),
    )


def return_path_domain(in_force: InForce, brand: str) -> str:
    """Where bounces of a brand's mail come back to us; "": they go to the app's own MAIL FROM."""
    known = in_force.policies.brands.get(brand)
    return (known.return_path_domain if known is not None else "") or in_force.deployment.delivery.return_path_domain


def return_path_domains(in_force: InForce) -> frozenset[str]:
    """All of them."""
    brands = {brand.return_path_domain for brand in in_force.policies.brands.values()}
    return frozenset((brands | {in_force.deployment.delivery.return_path_domain}) - {""})


def certificate_trouble(deployment: Deployment) -> str:
    """Why the certificate does not serve, and what to do; "" where it does, or none is needed."""
    if all(listener.tls == "off" for listener in deployment.listeners):
        return ""
    files = [Path(deployment.tls.cert), Path(deployment.tls.key)]
    for file in files:  # OpenSSL does not say which it was
        try:
            file.open("rb").close()
        except OSError as error:
            return (
                f"{file} cannot be read: {error.strerror}; "
                f"set cert and key in [tls] to files that the user Postlane runs as (uid {os.geteuid()}) may read"
            )
    try:
        server_context(*files)
    except OSError as error:  # ssl.SSLError is one
        return (
            f"{files[0]} and {files[1]} do not serve TLS: {error}; "
            "cert in [tls] is a chain in PEM, its own certificate first, and key the private key of that, in PEM "
            "without passphrase"
        )
    return ""


def limits(listener: Listener) -> Limits:
    return Limits(max_size=listener.max_size)


def bytes_in_hand(deployment: Deployment) -> int:
    largest = max((listener.max_size for listener in deployment.listeners), default=0)
    return max(BYTES_IN_HAND, 2 * largest)


def egress_settings(deployment: Deployment, policies: Policies, capture: str, share: Share) -> EgressSettings:
    """`capture`: "host:port" of the capture server, where the deployment needs one. `share`: which part of the node's."""
    relay = None
    if deployment.relay is not None:
        relay = Relay(*deployment.relay, deployment.delivery.relay_user, deployment.relay_password)
    return EgressSettings(
        hostname=deployment.node.hostname,
        port=deployment.delivery.port,
        relay=relay,
        capture=_capture(deployment, capture),
        allow_private=deployment.delivery.allow_private,
        share=share,
        urgent_sources=urgent_sources(deployment, policies),
        own_hostnames=frozenset({deployment.node.hostname}),
        own_addresses=own_addresses(deployment),
        trust_ad=deployment.dns.trust_ad,
        transcripts=deployment.retention.transcripts > 0,
    )


def urgent_sources(deployment: Deployment, policies: Policies) -> frozenset[str]:
    """Our addresses that transactional mail may leave from."""
    names = {policies.routes[MailClass.TRANSACTIONAL], *policies.exceptions.pools_of(MailClass.TRANSACTIONAL)}
    return frozenset(source.address for name in names for source in deployment.pools[name].sources)


def _capture(deployment: Deployment, server: str) -> Capture | None:
    """What stays here: all mail in capture mode; in live mode, with only_to, that of everybody else."""
    if not deployment.captures:
        return None
    host, _, port = server.rpartition(":")
    return Capture(Relay(host, int(port)), Recipients(deployment.only_to))


def own_addresses(deployment: Deployment) -> frozenset[str]:
    """Where we ourselves answer on the port of MX hosts: mail routed there would come back to us (RFC 5321 5.1)."""
    port = deployment.delivery.port
    hosts = {listener.bind.host for listener in deployment.listeners if listener.bind.port == port}
    if not hosts & EVERYWHERE:
        return frozenset(hosts)
    return _addresses_known(deployment) - EVERYWHERE


def _addresses_known(deployment: Deployment) -> frozenset[str]:
    """This machine's addresses, as far as files and the resolver tell; many a host name resolves to loopback or not."""
    listening = {listener.bind.host for listener in deployment.listeners}
    sources = [source for pool in deployment.pools.values() for source in pool.sources]
    sending = {source.address for source in sources if source.address and source.through is None}
    named: set[str] = set()
    with contextlib.suppress(socket.gaierror):
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
        named = {str(name[4][0]) for name in found}
    return frozenset(listening | sending | named)


def site_chooser(settings: EgressSettings, sites: Sites) -> Callable[[str, str], str]:
    """Recipient and its domain -> the site whose limits it is expected to share, which chooses the lane it waits in."""
    capture, relay = settings.capture, settings.relay
    by_domain = sites.expected if relay is None else lambda _: site_of(relay)
    if capture is None:
        return lambda _, domain: by_domain(domain)
    only_to, server = capture.only_to, CAPTURED
    return lambda address, domain: by_domain(domain) if only_to.mean(address, domain) else server
