"""What is said to proxies, octet by octet."""

import errno
from ipaddress import ip_address

import pytest

from relay.edge import proxy as edge
from relay.egress.pools import Protocol, Proxy
from relay.egress.proxy import Conversation, ProxyFault, Step, Unreachable, after, haproxy, socks5

OPEN = Proxy(Protocol.SOCKS5, "192.0.2.9", 1080)
CLOSED = Proxy(Protocol.SOCKS5, "2001:db8::9", 1080, "m1", "secret")


def play(conversation: Conversation, *answers: bytes) -> list[Step]:
    """All steps, each with the answer that follows it."""
    steps: list[Step] = []
    step = after(conversation, None)
    for answer in answers:
        assert step is not None
        assert len(answer) == step.read
        steps.append(step)
        step = after(conversation, answer)
    assert step is None
    return steps


def test_socks5_without_a_password() -> None:
    steps = play(socks5(OPEN, "192.0.2.1", 25), b"\x05\x00", b"\x05\x00\x00\x01", bytes(6))
    assert [step.write for step in steps] == [b"\x05\x01\x00", b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x19", b""]
    assert [step.host for step in steps] == [False, True, False]


def test_socks5_with_a_password_to_a_host_with_ipv6() -> None:
    steps = play(socks5(CLOSED, "2001:db8::1", 587), b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x04", bytes(18))
    assert steps[0].write == b"\x05\x01\x02"
    assert steps[1].write == b"\x01\x02m1\x06secret"
    assert steps[2].write == b"\x05\x01\x00\x04" + ip_address("2001:db8::1").packed + b"\x02\x4b"


def test_socks5_proxy_that_calls_itself_by_name() -> None:
    play(socks5(OPEN, "192.0.2.1", 25), b"\x05\x00", b"\x05\x00\x00\x03", b"\x05", b"proxy\x00\x00")


@pytest.mark.parametrize(
    ("proxy", "answers", "why"),
    [
        (OPEN, [b"22"], "it does not speak SOCKS5"),
        (OPEN, [b"\x04\x5a"], "it does not speak SOCKS5"),
        (OPEN, [b"\x05\xff"], "it wants a login; set socks5_user"),
        (CLOSED, [b"\x05\xff"], "it wants no password"),
        (CLOSED, [b"\x05\x02", b"\x01\x01"], "it does not take our user and password"),
        (OPEN, [b"\x05\x00", b"\x06\x00\x00\x01"], "it does not speak SOCKS5"),
        (OPEN, [b"\x05\x00", b"\x05\x00\x00\x02"], "it does not speak SOCKS5"),
        (OPEN, [b"\x05\x00", b"\x05\x01\x00\x01"], "it fails"),
        (OPEN, [b"\x05\x00", b"\x05\x02\x00\x01"], "its rules do not allow this connection"),
        (OPEN, [b"\x05\x00", b"\x05\x07\x00\x01"], "it does not make connections"),
        (OPEN, [b"\x05\x00", b"\x05\x08\x00\x01"], "it does not know this kind of address"),
        (OPEN, [b"\x05\x00", b"\x05\x63\x00\x01"], "it answers 99, whatever that means"),
    ],
)
def test_what_is_wrong_with_the_proxy(proxy: Proxy, answers: list[bytes], why: str) -> None:
    with pytest.raises(ProxyFault, match=why):
        play(socks5(proxy, "192.0.2.1", 25), *answers)


@pytest.mark.parametrize(
    ("said", "code"),
    [(3, errno.ENETUNREACH), (4, errno.EHOSTUNREACH), (5, errno.ECONNREFUSED), (6, errno.ETIMEDOUT)],
)
def test_what_the_proxy_says_of_the_host(said: int, code: int) -> None:
    with pytest.raises(Unreachable) as raised:
        play(socks5(OPEN, "192.0.2.1", 25), b"\x05\x00", bytes([5, said, 0, 1]))
    assert raised.value.errno == code


@pytest.mark.parametrize(("source", "host"), [("192.0.2.7", "198.51.100.1"), ("2001:db8::7", "2001:db8::1")])
def test_haproxy_is_told_where_to_leave_from(source: str, host: str) -> None:
    (step,) = play(haproxy(source, host, 25), b"")
    assert edge.missing(step.write) == 0
    assert edge.parse(step.write) == edge.Announced(source, 0)
    target = ip_address(host).packed + b"\0\0\0\x19"
    assert step.write.endswith(target)


def test_a_proxy_does_not_tell_its_password() -> None:
    assert str(OPEN) == "socks5 192.0.2.9:1080"
    assert str(CLOSED) == "socks5 [2001:db8::9]:1080"
    assert "secret" not in repr(CLOSED)
