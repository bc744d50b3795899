"""From the configuration's words to the stages' plain values; the wiring's other half (relay/worker.py)."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from relay.config import Deployment, Listener, Policies
from relay.edge.limits import ByteBudget, Limits, ListenerSettings
from relay.edge.listener import server_context
from relay.egress.mx import site_of
from relay.egress.settings import Capture, EgressSettings, Relay
from relay.wildcard import Recipients

# Message data that all sessions of one worker hold at once. 64 MB leave the worker under its 200 MB with everything else;
# what is beyond is answered 452 and comes again. Never less than two messages of the largest size.
BYTES_IN_HAND = 64_000_000

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 compared, not bound


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


def limits(listener: Listener) -> Limits:
    return Limits(max_size=listener.max_size)


def byte_budget(deployment: Deployment) -> ByteBudget:
    largest = max((listener.max_size for listener in deployment.listeners), default=0)
    return ByteBudget(max(BYTES_IN_HAND, 2 * largest))


def egress_settings(
    deployment: Deployment, policies: Policies, *, capture: str, sandbox: bool, workers: int
) -> EgressSettings:
    """`capture`: "host:port" of the capture server. `sandbox`: everything goes there, whatever the files say by now.
    `workers`: how many share the limits of this node."""
    relay = None
    if deployment.relay is not None:
        relay = Relay(*deployment.relay, deployment.delivery.relay_user, deployment.relay_password)
    return EgressSettings(
        hostname=deployment.node.hostname,
        port=deployment.delivery.port,
        relay=relay,
        capture=_capture(deployment, capture, sandbox),
        allow_private=deployment.delivery.allow_private,
        connections=policies.shaping.connections,
        share=max(1, policies.shaping.connections // workers),
        messages_per_connection=policies.shaping.messages_per_connection,
        own_hostnames=frozenset({deployment.node.hostname}),
        own_addresses=own_addresses(deployment),
    )


def _capture(deployment: Deployment, server: str, sandbox: bool) -> Capture | None:
    """What stays here: all mail in capture mode; in live mode, with only_to, that of everybody else."""
    if not (sandbox or deployment.captures):
        return None
    host, _, port = server.rpartition(":")
    everything = sandbox or deployment.capture
    return Capture(Relay(host, int(port)), Recipients(() if everything else deployment.delivery.only_to))


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
    sending = {source.address for pool in deployment.pools.values() for source in pool.sources if source.address}
    named: set[str] = set()
    with contextlib.suppress(socket.gaierror):
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
        named = {str(name[4][0]) for name in found}
    return frozenset(listening | sending | named)


def site_chooser(settings: EgressSettings) -> Callable[[str, str], str]:
    """Recipient and its domain -> the site whose limits it shares."""
    capture, relay = settings.capture, settings.relay
    if capture is None:
        return lambda _, domain: site_of(domain, relay)
    only_to, server = capture.only_to, capture.server
    return lambda address, domain: site_of(domain, relay if only_to.mean(address, domain) else server)
