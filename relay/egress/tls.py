"""TLS towards other servers: what is required of a connection, and the contexts for it.

Opportunistic (RFC 7435): encrypted where the peer offers STARTTLS, no name checked; should the handshake fail, in
clear on a new connection, since an unknown certificate is still better than none and clear is what SMTP falls back to
(RFC 3207 4.1).
"""

import ssl
from enum import Enum
from functools import cache
from ipaddress import ip_address

from relay.egress.settings import Relay


class Requirement(Enum):
    """What a connection must have before mail goes over it; part of the key connections are kept under."""

    OPPORTUNISTIC = "opportunistic"
    VERIFIED = "verified"


def requirement_for(relay: Relay | None) -> Requirement:
    """A password goes only to a relay that proved its name, or to this machine."""
    if relay is None or not relay.user or is_loopback(relay.host):
        return Requirement.OPPORTUNISTIC
    return Requirement.VERIFIED


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


@cache
def context_for(requirement: Requirement) -> ssl.SSLContext:
    """One context each for the process: loading the system's certificates takes 20 ms."""
    if requirement is Requirement.VERIFIED:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_name(host: str) -> str | None:
    """`host` for SNI (RFC 6066 3): a DNS name, never an address or what `ssl` would refuse to encode."""
    labels = host.split(".")
    plain = all(0 < len(label) < 64 and label.replace("-", "").replace("_", "").isalnum() for label in labels)
    return host if plain and host.isascii() and not labels[-1].isdigit() else None
