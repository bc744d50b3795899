import itertools
from typing import Any

import pytest

from relay.egress.mx import (
    MAX_ADDRESSES,
    MAX_HOSTS,
    Answer,
    Found,
    MxHost,
    Route,
    Rules,
    choose_hosts,
    exchanges,
    is_public,
    literal,
    site_of,
)
from relay.egress.settings import Relay
from relay.outcome import NO_DOMAIN, NO_MAIL, Outcome, Scope

NOTHING = Answer(Found.NOTHING)
FAILED = Answer(Found.FAILED, detail="SERVFAIL")


def records(*addresses: str) -> Answer:
    return Answer(Found.RECORDS, tuple((0, address) for address in addresses))


def rules(**changed: Any) -> Rules:
    values: dict[str, Any] = {
        "port": 25,
        "allow_private": False,
        "own_hostnames": frozenset({"relay.test"}),
        "own_addresses": frozenset({"9.9.9.10"}),
    }
    return Rules(**(values | changed))


def choose(named: list[tuple[int, str]], found: dict[str, Any], **changed: Any) -> Route | Outcome:
    counter = itertools.count()  # "random" numbers that keep the order
    return choose_hosts("example.test", named, found, rules(**changed), lambda: next(counter))


def refusal(result: object) -> tuple[int, str, Scope, bool]:
    assert isinstance(result, Outcome)
    assert result.internal
    assert result.command == "DNS"
    return result.reply.code, result.reply.enhanced, result.scope, result.permanent


# --------------------------------------------------------------------------------------------------- exchanges


def test_best_preference_first() -> None:
    answer = Answer(Found.RECORDS, ((20, "b.test"), (10, "a.test"), (20, "a2.test")))
    assert exchanges("example.test", answer) == ((10, "a.test"), (20, "a2.test"), (20, "b.test"))


def test_implicit_mx() -> None:
    assert exchanges("example.test", NOTHING) == ((0, "example.test"),)


def test_null_mx() -> None:
    answer = exchanges("example.test", Answer(Found.RECORDS, ((0, ""),)))
    assert refusal(answer) == (556, "5.1.10", Scope.RECIPIENT, True)
    assert isinstance(answer, Outcome)
    assert answer.dns == NO_MAIL


def test_null_mx_among_others_is_ignored() -> None:
    assert exchanges("example.test", Answer(Found.RECORDS, ((0, ""), (5, "a.test")))) == ((5, "a.test"),)


def test_no_such_domain() -> None:
    answer = exchanges("example.test", Answer(Found.NO_NAME))
    assert refusal(answer) == (550, "5.1.2", Scope.RECIPIENT, True)
    assert isinstance(answer, Outcome)
    assert answer.dns == NO_DOMAIN


def test_dns_trouble_is_temporary() -> None:
    assert refusal(exchanges("example.test", FAILED)) == (451, "4.4.3", Scope.SITE, False)


def test_a_zone_with_a_thousand_hosts_is_cut() -> None:
    many = Answer(Found.RECORDS, tuple((number, f"mx{number}.test") for number in range(1000)))
    found = exchanges("example.test", many)
    assert isinstance(found, tuple)
    assert len(found) == MAX_HOSTS


# ------------------------------------------------------------------------------------------------ choose_hosts


def test_addresses_of_both_families_take_turns() -> None:
    route = choose([(0, "a.test")], {"a.test": (records("2001:4860::1", "2001:4860::2"), records("8.8.8.8"))})
    assert route == Route((MxHost("a.test", 0, ("2001:4860::1", "8.8.8.8", "2001:4860::2")),), 25)


def test_equal_preferences_are_shuffled_unequal_ones_are_not() -> None:
    named = [(10, "a.test"), (10, "b.test"), (20, "c.test")]
    found = {name: (NOTHING, records("8.8.8.8")) for _, name in named}
    orders = set()
    for numbers in itertools.permutations([0.1, 0.2, 0.3]):
        supply = itertools.chain(numbers, itertools.repeat(0.5))
        route = choose_hosts("example.test", named, found, rules(), lambda supply=supply: next(supply))  # type: ignore[misc]
        assert isinstance(route, Route)
        orders.add("".join(host.name[0] for host in route.hosts))
    assert orders == {"abc", "bac"}


def test_a_host_without_address_is_passed_over() -> None:
    route = choose(
        [(0, "a.test"), (1, "b.test")], {"a.test": (NOTHING, FAILED), "b.test": (NOTHING, records("8.8.8.8"))}
    )
    assert isinstance(route, Route)
    assert [host.name for host in route.hosts] == ["b.test"]


def test_no_addresses_is_temporary_while_a_look_up_failed() -> None:
    named, found = [(0, "a.test"), (1, "b.test")], {"a.test": (NOTHING, FAILED), "b.test": (NOTHING, NOTHING)}
    assert refusal(choose(named, found)) == (451, "4.4.3", Scope.SITE, False)


def test_no_addresses_at_all() -> None:
    assert refusal(choose([(0, "a.test")], {"a.test": (NOTHING, NOTHING)})) == (550, "5.4.4", Scope.RECIPIENT, True)


def test_neither_mx_nor_address() -> None:
    result = choose([(0, "example.test")], {"example.test": (NOTHING, NOTHING)})
    assert refusal(result) == (550, "5.1.2", Scope.RECIPIENT, True)


@pytest.mark.parametrize(
    "ours", [{"relay.test": (NOTHING, records("9.9.9.9"))}, {"other.test": (NOTHING, records("9.9.9.10"))}]
)
def test_hosts_not_better_than_ourselves_are_dropped(ours: dict[str, Any]) -> None:
    (us,) = ours
    found = ours | {"better.test": (NOTHING, records("8.8.8.8")), "worse.test": (NOTHING, records("8.8.4.4"))}
    route = choose([(10, "better.test"), (20, us), (20, "worse.test"), (30, "worse.test")], found)
    assert isinstance(route, Route)
    assert [host.name for host in route.hosts] == ["better.test"]
    assert refusal(choose([(20, us), (30, "worse.test")], found)) == (554, "5.4.6", Scope.RECIPIENT, True)


def test_private_addresses_are_refused_unless_allowed() -> None:
    found = {"a.test": (records("::1"), records("10.0.0.1"))}
    assert refusal(choose([(0, "a.test")], found)) == (550, "5.4.4", Scope.RECIPIENT, True)
    assert isinstance(choose([(0, "a.test")], found, allow_private=True), Route)


@pytest.mark.parametrize("other", [("relay.test", "9.9.9.9"), ("other.test", "10.0.0.1")])
def test_a_failed_look_up_makes_no_refusal_final(other: tuple[str, str]) -> None:
    name, address = other
    named = [(10, "mx1.test"), (20, name)]
    known = {name: (NOTHING, records(address))}
    assert refusal(choose(named, known | {"mx1.test": (NOTHING, FAILED)})) == (451, "4.4.3", Scope.SITE, False)
    assert refusal(choose(named, known | {"mx1.test": (NOTHING, NOTHING)}))[3], "with DNS sound it is final"


def test_public_addresses_beside_private_ones_are_used() -> None:
    route = choose([(0, "a.test")], {"a.test": (NOTHING, records("127.0.0.1", "8.8.8.8"))})
    assert isinstance(route, Route)
    assert route.hosts[0].addresses == ("8.8.8.8",)


def test_a_host_with_a_thousand_addresses_is_cut() -> None:
    many = records(*(f"8.8.{number // 250}.{number % 250}" for number in range(1000)))
    route = choose([(0, "a.test")], {"a.test": (NOTHING, many)})
    assert isinstance(route, Route)
    assert len(route.hosts[0].addresses) == MAX_ADDRESSES


# -------------------------------------------------------------------------------------------------- small ones


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104  a look-up may say so
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("::127.0.0.1", False),
        ("2002:7f00:1::1", False),
        ("2002:a00:5::", False),
        ("2002:808:808::1", True),
        ("64:ff9b::10.0.0.5", False),
        ("64:ff9b::8.8.8.8", True),
        ("2606:4700::1111", True),
    ],
)
def test_is_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("domain", "address"),
    [
        ("example.test", None),
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("[ipv6:2001:db8::1]", "2001:db8::1"),
        ("[example]", None),
        ("[192.0.2.1", None),
    ],
)
def test_address_literals(domain: str, address: str | None) -> None:
    assert literal(domain) == address


def test_site() -> None:
    assert site_of(Relay("127.0.0.1", 2526)) == "127.0.0.1:2526"
    assert site_of(Relay("::1", 2526)) == "[::1]:2526"
