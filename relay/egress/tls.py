"""TLS towards a host that the admin named: what it must prove, and names as TLS wants them. For the recipients' MX that is
security/ to say."""

from functools import lru_cache
from ipaddress import ip_address

from relay.egress.security.demands import Need, Security, stronger, uniform
from relay.egress.settings import Relay


@lru_cache(maxsize=64)  # asked for each message
def of_relay(relay: Relay, level: Need, *, requiretls: bool = False) -> Security:
    """What a relay must prove: `level`, and where it gets a password, its name. This machine need not prove itself."""
    if is_loopback(relay.host):
        return uniform(Need.TRY, requiretls=requiretls)
    needs = [(level, f'tls = "{level.value}" of shaping.toml')]
    if relay.user:
        needs.append((Need.VERIFY, "the password of relay_user"))
    if requiretls:
        needs.append((Need.VERIFY, "the message's REQUIRETLS"))
    need, why = stronger(needs)
    return uniform(need, requiretls=requiretls, why=why)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def server_name(host: str) -> str | None:
    """`host` for SNI (RFC 6066 3): a DNS name, never an address or what `ssl` would refuse to encode."""
    labels = host.split(".")
    plain = all(0 < len(label) < 64 and label.replace("-", "").replace("_", "").isalnum() for label in labels)
    return host if plain and host.isascii() and not labels[-1].isdigit() else None
