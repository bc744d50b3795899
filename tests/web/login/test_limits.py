import pytest

from relay.web.login.limits import KNOWN, OF_BROWSER, OF_NAME, OF_PEER, Tries, network

USERS = {"noa"}


def test_a_stranger_waits_by_name_and_by_address() -> None:
    tries = Tries()
    assert [tries.wait("noa", "192.0.2.1", "", USERS, 0.0) for _ in range(OF_PEER.most)] == [0] * OF_PEER.most
    assert tries.wait("noa", "192.0.2.1", "", USERS, 0.0) == OF_NAME.seconds
    assert tries.wait("dan", "192.0.2.1", "", USERS, 0.0) == OF_PEER.seconds, "the address is used up"
    assert tries.wait("noa", "192.0.2.2", "", USERS, 0.0) == OF_NAME.seconds, "the name is, from everywhere"
    assert tries.wait("dan", "192.0.2.2", "", USERS, 0.0) == 0
    assert tries.wait("noa", "192.0.2.1", "", USERS, OF_NAME.seconds) == 0, "nobody is locked out, one waits"
    assert tries.wait("noa", "192.0.2.1", "", USERS, OF_NAME.seconds) > 0


def test_who_waits_uses_nothing_up() -> None:
    tries = Tries()
    for _ in range(OF_NAME.most):
        tries.wait("noa", "192.0.2.1", "", USERS, 0.0)
    for _ in range(50):
        tries.wait("noa", "192.0.2.9", "", USERS, 1.0)
    assert tries.wait("dan", "192.0.2.9", "", USERS, 1.0) == 0
    assert tries.wait("noa", "192.0.2.9", "", USERS, OF_NAME.seconds) == 0


def test_a_known_browser_is_not_kept_out_by_a_flood_of_strangers() -> None:
    tries = Tries()
    for number in range(5000):
        tries.wait("noa", f"10.0.{number // 250}.{number % 250}", "", USERS, 0.0)
    assert tries.wait("noa", "10.0.0.1", "", USERS, 0.0) > 0
    for _ in range(OF_BROWSER.most):
        assert tries.wait("noa", "10.0.0.1", "noa nonce", USERS, 0.0) == 0
    assert tries.wait("noa", "10.0.0.1", "noa nonce", USERS, 0.0) == OF_BROWSER.seconds
    assert tries.wait("noa", "10.0.0.1", "noa other", USERS, 0.0) == 0


def test_memory_is_bounded_and_users_are_not_forgotten() -> None:
    tries = Tries()
    for _ in range(OF_NAME.most):
        tries.wait("noa", "192.0.2.1", "", USERS, 0.0)
    for number in range(3 * KNOWN):
        tries.wait(f"name-{number}", f"2001:db8:{number:x}::1", "", USERS, 0.0)
        tries.wait("noa", "192.0.2.1", f"noa {number}", USERS, 0.0)
    assert repr(tries) == f"<Tries of {KNOWN} peers, {KNOWN} names, {KNOWN} browsers>"
    assert tries.wait("noa", "192.0.2.77", "", USERS, 0.0) > 0


def test_a_clock_set_back_gives_nothing() -> None:
    tries = Tries()
    for _ in range(OF_NAME.most):
        tries.wait("noa", "192.0.2.1", "", USERS, 1000.0)
    assert tries.wait("noa", "192.0.2.2", "", USERS, 0.0) == OF_NAME.seconds


@pytest.mark.parametrize(
    ("peer", "stands_for"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix:" + "x" * 100, ("unix:" + "x" * 100)[:64]),
    ],
)
def test_whom_an_address_stands_for(peer: str, stands_for: str) -> None:
    assert network(peer) == stands_for
