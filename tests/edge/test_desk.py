"""Who may come in, by number and by peer."""

from relay.edge.desk import Desk, plain_ip
from relay.edge.guesses import Guesses
from relay.edge.limits import ByteBudget, Limits, ListenerSettings
from tests.edge.conftest import FakeDoor


def desk(**limits: int) -> Desk:
    return Desk(ListenerSettings("relay.test"), Limits(**limits), FakeDoor(), ByteBudget(100), Guesses(), lambda: 0)


def test_every_peer_has_its_share_and_all_together_theirs() -> None:
    door = desk(connections=3, connections_per_peer=2)
    assert [door.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [door.enter("192.0.2.2") for _ in range(2)] == [True, False]
    door.leave("192.0.2.1")
    assert door.enter("192.0.2.2")
    assert (door.present, door.counters.connections, door.counters.refused) == (3, 4, 2)


def test_an_ipv6_peer_is_its_64() -> None:
    door = desk(connections_per_peer=1)
    assert door.enter("2001:db8::1")
    assert not door.enter("2001:db8::ffff:1")
    assert door.enter("2001:db8:0:1::1")
    door.leave("2001:db8::2")
    assert door.enter("2001:db8::3%eth0")


def test_an_ipv4_peer_is_the_same_on_a_dual_stack_socket() -> None:
    """Else all of IPv4 would be one /64."""
    assert plain_ip("::ffff:192.0.2.1") == "192.0.2.1"
    assert [plain_ip(ip) for ip in ("192.0.2.1", "2001:db8::1", "::ffff:1")] == ["192.0.2.1", "2001:db8::1", "::ffff:1"]


def test_nothing_is_remembered_of_those_who_left() -> None:
    door = desk()
    for number in range(100):
        assert door.enter(f"192.0.2.{number}")
        door.leave(f"192.0.2.{number}")
    assert repr(door) == "<Desk 0 connected, 0 peers>"


def test_the_budget_gives_all_or_nothing() -> None:
    budget = ByteBudget(10)
    assert budget.reserve(6)
    assert not budget.reserve(5)
    assert budget.has(4)
    assert not budget.has(5)
    assert repr(budget) == "<ByteBudget 6 of 10>"
    budget.release(6)
    assert budget.used == 0
