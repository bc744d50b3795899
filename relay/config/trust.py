"""Networks that should not be trusted by their address alone: they are wider than somebody thought, or the address that
arrives from there is a gateway's and says nothing about the client. Pure; what it finds are warnings, never errors.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from relay.config.units import Network

# Gateways of the bridges Docker makes unasked, 172.17.0.0/16 to 172.31.0.0/16: published ports are reached by them.
_DOCKER = tuple(ip_address(f"172.{second}.0.1") for second in range(17, 32))
_CARRIER_NAT = ip_network("100.64.0.0/10")  # RFC 6598
# Wider than one site's network commonly is: a /16 holds 65,536 hosts, an IPv6 site is given a /48 (RFC 6177).
_WIDEST = {4: 16, 6: 48}
_ALL = {4: 32, 6: 128}


def doubt(network: Network) -> str | None:
    """Why peers in `network` should log in instead; None where nothing speaks against trusting it."""
    if network.prefixlen == 0:
        return "is everybody: an open relay; name the networks of your own machines"
    if network.is_loopback:
        return None
    if gateway := _gateway(network):
        return f"holds Docker's gateway {gateway}, the address of all who use published ports; let containers log in"
    if network.overlaps(_CARRIER_NAT):
        return "is shared by a provider's customers (RFC 6598): an address there is nobody's own"
    alone = network.prefixlen == _ALL[network.version]
    if network.is_global and not alone:
        return "is a public network: every machine in it may send; name single addresses"
    if alone and network.version == 4 and network.network_address.packed[-1] in (1, 254):
        return "looks like a router or proxy: everybody behind it would be trusted; let apps log in"
    if network.prefixlen < _WIDEST[network.version]:
        return f"is very wide, a /{network.prefixlen}; name the networks of your own machines"
    return None


def doubt_of_proxies(network: Network) -> str | None:
    """Why peers in `network` should not be asked for whom they speak: there may be others than proxies among them."""
    if network.prefixlen == 0:
        return "is everybody: whoever connects could claim any address; name your proxies"
    if network.is_loopback:
        return None
    if gateway := _gateway(network):
        return (
            f"holds Docker's gateway {gateway}: all who use published ports could claim any address; name your proxies"
        )
    if network.overlaps(_CARRIER_NAT):
        return "is shared by a provider's customers (RFC 6598): each could claim any address; name your proxies"
    if network.is_global and network.prefixlen != _ALL[network.version]:
        return "is a public network: every machine in it could claim any address; name single addresses"
    if network.prefixlen < _WIDEST[network.version]:
        return f"is very wide, a /{network.prefixlen}; name your proxies"
    return None


def _gateway(network: Network) -> IPv4Address | IPv6Address | None:
    return next((gateway for gateway in _DOCKER if gateway in network), None)
