"""From the configuration's words to the stages' plain values; the wiring's other half (relay/worker.py)."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from relay.config import Deployment, Listener, Policies
from relay.edge.limits import ByteBudget, Limits, ListenerSettings
from relay.edge.listener import server_context
from relay.egress.mx import site_of
from relay.egress.settings import EgressSettings, Relay

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


def egress_settings(deployment: Deployment, policies: Policies, capture: str, workers: int) -> EgressSettings:
    """`capture`: "host:port" of the capture server, which then takes everything; "" in live mode. `workers`: how many
    share the limits of this node."""
    host, _, port = capture.rpartition(":")
    relay = Relay(host, int(port)) if capture else None
    if relay is None and deployment.relay is not None:
        relay = Relay(*deployment.relay, deployment.delivery.relay_user, deployment.relay_password)
    return EgressSettings(
        hostname=deployment.node.hostname,
        port=deployment.delivery.port,
        relay=relay,
        captured=bool(capture),
        allow_private=deployment.delivery.allow_private,
        connections=policies.shaping.connections,
        share=max(1, policies.shaping.connections // workers),
        messages_per_connection=policies.shaping.messages_per_connection,
        own_hostnames=frozenset({deployment.node.hostname}),
        own_addresses=own_addresses(deployment),
    )


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


def site_chooser(settings: EgressSettings) -> Callable[[str], str]:
    """Recipient domain -> the site whose limits it shares."""
    return lambda domain: site_of(domain, settings.relay)
