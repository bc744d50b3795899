from ipaddress import ip_network

import pytest

from relay.config.trust import doubt, doubt_of_proxies


@pytest.mark.parametrize(
    ("network", "word"),
    [
        ("0.0.0.0/0", "everybody"),
        ("::/0", "everybody"),
        ("172.17.0.0/16", "Docker"),
        ("172.16.0.0/12", "Docker"),
        ("172.20.0.1", "Docker"),
        ("100.64.3.0/24", "RFC 6598"),
        ("8.8.8.0/24", "public"),
        ("2600::/32", "public"),
        ("10.0.0.0/8", "very wide"),
        ("fd00::/8", "very wide"),
        ("192.168.1.1", "router"),
        ("10.20.0.254", "router"),
    ],
)
def test_what_should_not_be_trusted_by_address(network: str, word: str) -> None:
    assert word in (doubt(ip_network(network)) or "")


@pytest.mark.parametrize(
    "network",
    [
        "127.0.0.0/8",
        "::1",
        "10.20.0.0/16",
        "10.20.0.17",
        "192.168.1.0/24",
        "172.17.0.5",
        "fd12:3456:789a::/48",
        "8.8.8.8",
    ],
)
def test_what_may_be_trusted(network: str) -> None:
    assert doubt(ip_network(network)) is None


@pytest.mark.parametrize(
    ("network", "word"),
    [
        ("0.0.0.0/0", "everybody"),
        ("::/0", "everybody"),
        ("172.17.0.0/16", "Docker"),
        ("100.64.3.0/24", "RFC 6598"),
        ("8.8.8.0/24", "public"),
        ("10.0.0.0/8", "very wide"),
    ],
)
def test_who_should_not_be_believed_as_a_proxy(network: str, word: str) -> None:
    assert word in (doubt_of_proxies(ip_network(network)) or "")


@pytest.mark.parametrize("network", ["127.0.0.0/8", "::1", "10.20.0.0/24", "10.20.0.1", "172.17.0.5", "8.8.8.8"])
def test_who_may_be_a_proxy(network: str) -> None:
    assert doubt_of_proxies(ip_network(network)) is None
