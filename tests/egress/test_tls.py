import pytest

from relay.egress.security.demands import Need
from relay.egress.settings import Relay
from relay.egress.tls import of_relay, server_name


@pytest.mark.parametrize(
    ("relay", "level", "need"),
    [
        (Relay("smart.test", 587), Need.TRY, Need.TRY),
        (Relay("smart.test", 587), Need.ENCRYPT, Need.ENCRYPT),
        (Relay("smart.test", 587), Need.CLEAR, Need.CLEAR),
        (Relay("smart.test", 587, "user", "secret"), Need.TRY, Need.VERIFY),
        (Relay("smart.test", 587, "user", "secret"), Need.CLEAR, Need.VERIFY),
        (Relay("192.0.2.1", 587, "user", "secret"), Need.ENCRYPT, Need.VERIFY),
        (Relay("127.0.0.2", 587, "user", "secret"), Need.VERIFY, Need.TRY),
        (Relay("::1", 587, "user", "secret"), Need.TRY, Need.TRY),
        (Relay("localhost", 587, "user", "secret"), Need.ENCRYPT, Need.TRY),
    ],
)
def test_a_password_wants_a_verified_relay(relay: Relay, level: Need, need: Need) -> None:
    demand = of_relay(relay, level).of(relay.host)
    assert demand is not None
    assert demand.ladder[0] is need


def test_what_asks_most_of_a_relay_is_named() -> None:
    relay = Relay("smart.test", 587, "user", "secret")
    reasons = []
    for security in (
        of_relay(relay, Need.VERIFY),
        of_relay(relay, Need.TRY),
        of_relay(relay, Need.TRY, requiretls=True),
    ):
        demand = security.of("smart.test")
        assert demand is not None
        reasons.append(demand.why)
    assert reasons == ['tls = "verify" of shaping.toml', "the password of relay_user", "the password of relay_user"]


def test_requiretls_holds_for_a_relay_too_and_has_connections_of_its_own() -> None:
    relay = Relay("smart.test", 25)
    security = of_relay(relay, Need.TRY, requiretls=True)
    demand = security.of("smart.test")
    assert demand is not None
    assert (demand.ladder, demand.requiretls) == ((Need.VERIFY,), True)
    assert security.label != of_relay(relay, Need.VERIFY).label


def test_a_relay_does_not_show_its_password() -> None:
    assert "secret" not in repr(Relay("smart.test", 587, "user", "secret"))


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
