import ssl

import pytest

from relay.egress.settings import Relay
from relay.egress.tls import Requirement, context_for, requirement_for, server_name


@pytest.mark.parametrize(
    ("relay", "requirement"),
    [
        (None, Requirement.OPPORTUNISTIC),
        (Relay("smart.test", 587), Requirement.OPPORTUNISTIC),
        (Relay("smart.test", 587, "user", "secret"), Requirement.VERIFIED),
        (Relay("192.0.2.1", 587, "user", "secret"), Requirement.VERIFIED),
        (Relay("127.0.0.2", 587, "user", "secret"), Requirement.OPPORTUNISTIC),
        (Relay("::1", 587, "user", "secret"), Requirement.OPPORTUNISTIC),
        (Relay("localhost", 587, "user", "secret"), Requirement.OPPORTUNISTIC),
    ],
)
def test_a_password_wants_a_verified_relay(relay: Relay | None, requirement: Requirement) -> None:
    assert requirement_for(relay) is requirement


def test_a_relay_does_not_show_its_password() -> None:
    assert "secret" not in repr(Relay("smart.test", 587, "user", "secret"))


def test_contexts() -> None:
    assert context_for(Requirement.OPPORTUNISTIC).verify_mode is ssl.CERT_NONE
    assert context_for(Requirement.VERIFIED).verify_mode is ssl.CERT_REQUIRED
    assert context_for(Requirement.VERIFIED).check_hostname


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mx.example.test", "mx.example.test"),
        ("mx_1.example.test", "mx_1.example.test"),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("", None),
        (".", None),
        ("a..b", None),
        (f"{'a' * 64}.test", None),
        ("bücher.test", None),
        ("a b.test", None),
    ],
)
def test_server_name(host: str, name: str | None) -> None:
    assert server_name(host) == name
