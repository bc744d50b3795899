"""The resolver against a real DNS server of our own."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from dns.resolver import BaseResolver, NoResolverConfiguration

from relay.egress.mx import MAX_HOSTS, Found, Route, Rules
from relay.egress.resolver import MAX_RECORDS, MAX_TEXT, MAX_TTL, Resolver
from relay.egress.settings import Relay
from relay.egress.urgency import URGENT
from relay.outcome import Outcome, Scope
from tests.support.dnsserver import DnsServer
from tests.support.egress import run_on, until

RULES = Rules(25, True, frozenset(), frozenset())


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with DnsServer(negative_ttl=60) as server:
        server.add("example.test", "MX", "10 mx1.example.test.", "20 mx2.example.test.", ttl=300)
        server.add("mx1.example.test", "A", "127.0.0.1", ttl=30)
        server.add("mx1.example.test", "AAAA", "::1", ttl=30)
        server.add("mx2.example.test", "A", "127.0.0.2", ttl=30)
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resolver(dns: DnsServer, clock: Callable[[], int]) -> Resolver:
    return Resolver([dns.address], clock=clock, rand=lambda: 0.5, timeout=2, lifetime=4)


def hosts(route: Route | Outcome) -> list[tuple[str, tuple[str, ...]]]:
    assert isinstance(route, Route), route
    return [(host.name, host.addresses) for host in route.hosts]


def refusal(route: Route | Outcome) -> tuple[int, str, bool]:
    assert isinstance(route, Outcome), route
    return route.reply.code, route.reply.enhanced, route.permanent


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_mx_aaaa_and_a(loop: str) -> None:
    async def work() -> None:
        async with DnsServer() as dns:
            dns.add("example.test", "MX", "10 MX1.Example.test.")
            dns.add("mx1.example.test", "AAAA", "::1")
            dns.add("mx1.example.test", "A", "127.0.0.1")
            route = await Resolver([dns.address]).route("example.test", RULES)
            assert hosts(route) == [("mx1.example.test", ("::1", "127.0.0.1"))]

    run_on(loop, work)


async def test_answers_are_kept_for_their_ttl(dns: DnsServer, resolver: Resolver, clock: Clock) -> None:
    expected = [("mx1.example.test", ("::1", "127.0.0.1")), ("mx2.example.test", ("127.0.0.2",))]
    for _ in range(3):
        assert hosts(await resolver.route("example.test", RULES)) == expected
    assert len(dns.queries) == 5
    clock.now += 29_999
    await resolver.route("example.test", RULES)
    assert len(dns.queries) == 5
    clock.now += 1
    await resolver.route("example.test", RULES)
    assert dns.asked("mx1.example.test", "A") == 2
    assert dns.asked("example.test", "MX") == 1


@pytest.mark.parametrize(
    ("source", "addresses", "kinds"),
    [
        ("192.0.2.1", ("127.0.0.1",), {"MX", "A"}),
        ("2001:db8::1", ("::1",), {"MX", "AAAA"}),
        ("", ("::1", "127.0.0.1"), {"MX", "AAAA", "A"}),
    ],
)
async def test_only_addresses_that_the_source_reaches_are_asked_for(
    dns: DnsServer, resolver: Resolver, source: str, addresses: tuple[str, ...], kinds: set[str]
) -> None:
    dns.add("one.test", "MX", "10 mx1.example.test.")
    assert hosts(await resolver.route("one.test", RULES, source)) == [("mx1.example.test", addresses)]
    assert {query.kind for query in dns.queries} == kinds


async def test_the_others_are_where_those_lead_nowhere(resolver: Resolver, dns: DnsServer) -> None:
    """The outcome is the same as for whoever asks for both."""
    dns.add("six.test", "MX", "10 mx.six.test.")
    dns.add("mx.six.test", "AAAA", "2001:db8::9")
    assert hosts(await resolver.route("six.test", RULES, "192.0.2.1")) == [("mx.six.test", ("2001:db8::9",))]
    dns.add("private.test", "MX", "10 mx.private.test.")
    dns.add("mx.private.test", "A", "10.0.0.1")
    dns.add("mx.private.test", "AAAA", "2a00:1450::1")
    public_only = Rules(25, False, frozenset(), frozenset())
    route = await resolver.route("private.test", public_only, "192.0.2.1")
    assert hosts(route) == [("mx.private.test", ("2a00:1450::1",))]


async def test_a_host_that_is_ours_by_its_other_address_is_found_out(resolver: Resolver) -> None:
    ours = Rules(25, True, frozenset(), frozenset({"::1"}))
    assert refusal(await resolver.route("example.test", ours, "192.0.2.1")) == (554, "5.4.6", True)


async def test_a_missing_name_is_remembered(dns: DnsServer, resolver: Resolver, clock: Clock) -> None:
    for _ in range(3):
        assert refusal(await resolver.route("gone.invalid", RULES)) == (550, "5.1.2", True)
    assert len(dns.queries) == 1
    clock.now += 60_000
    dns.add("gone.invalid", "A", "127.0.0.1")
    assert hosts(await resolver.route("gone.invalid", RULES)) == [("gone.invalid", ("127.0.0.1",))]


async def test_a_missing_record_is_remembered(dns: DnsServer, resolver: Resolver, clock: Clock) -> None:
    dns.add("implicit.test", "A", "127.0.0.1")
    for _ in range(3):
        assert hosts(await resolver.route("implicit.test", RULES)) == [("implicit.test", ("127.0.0.1",))]
    assert dns.asked("implicit.test", "MX") == 1
    clock.now += 60_000
    await resolver.route("implicit.test", RULES)
    assert dns.asked("implicit.test", "MX") == 2


async def test_what_is_kept_of_a_name_is_passed_over_where_it_is_asked_for_now(
    dns: DnsServer, resolver: Resolver
) -> None:
    assert (await resolver.mx("new.test")).found is Found.NO_NAME
    dns.add("new.test", "MX", "10 mx1.example.test.")
    assert (await resolver.mx("new.test")).found is Found.NO_NAME
    assert (await resolver.mx_now("new.test")).found is Found.RECORDS
    assert (await resolver.mx("new.test")).found is Found.RECORDS, "and kept from then on"


async def test_null_mx(dns: DnsServer, resolver: Resolver) -> None:
    dns.add("nomail.test", "MX", "0 .")
    assert refusal(await resolver.route("nomail.test", RULES)) == (556, "5.1.10", True)


@pytest.mark.parametrize("trouble", ["fail", "silence"])
async def test_dns_trouble_makes_mail_wait_and_ends(
    dns: DnsServer, resolver: Resolver, clock: Clock, trouble: str
) -> None:
    getattr(dns, trouble)("example.test")
    route = await resolver.route("example.test", RULES)
    assert refusal(route) == (451, "4.4.3", False)
    assert isinstance(route, Outcome)
    assert route.scope is Scope.SITE
    asked = len(dns.queries)
    await resolver.route("example.test", RULES)
    assert len(dns.queries) == asked, "a failure answers for a few seconds"
    getattr(dns, trouble)()
    clock.now += 5_000
    assert len(hosts(await resolver.route("example.test", RULES))) == 2


async def test_no_name_server_at_all_makes_mail_wait() -> None:
    dns = DnsServer()
    await dns.start()
    address = dns.address
    await dns.stop()
    assert refusal(await Resolver([address], timeout=0.2, lifetime=0.2).route("example.test", RULES)) == (
        451,
        "4.4.3",
        False,
    )


async def test_trouble_with_one_host_leaves_the_other(dns: DnsServer, resolver: Resolver) -> None:
    dns.fail("mx1.example.test")
    assert hosts(await resolver.route("example.test", RULES)) == [("mx2.example.test", ("127.0.0.2",))]


async def test_the_second_name_server_helps(dns: DnsServer) -> None:
    async with DnsServer() as broken:
        broken.fail("example.test", "mx1.example.test", "mx2.example.test")
        resolver = Resolver([broken.address, dns.address])
        assert len(hosts(await resolver.route("example.test", RULES))) == 2


async def test_a_truncated_answer_comes_again_by_tcp() -> None:
    async with DnsServer() as dns:
        dns.add("example.test", "MX", *(f"10 mx{number}.example.test." for number in range(60)))
        for number in range(60):
            dns.add(f"mx{number}.example.test", "A", "127.0.0.1")
        assert len(hosts(await Resolver([dns.address]).route("example.test", RULES))) == 10
        assert {query.transport for query in dns.queries} == {"udp", "tcp"}


async def test_an_alias_is_followed(dns: DnsServer, resolver: Resolver) -> None:
    dns.add("alias.test", "CNAME", "example.test.")
    assert len(hosts(await resolver.route("alias.test", RULES))) == 2


async def test_the_same_question_at_once_is_sent_once(dns: DnsServer, resolver: Resolver) -> None:
    routes = await asyncio.gather(*(resolver.route("example.test", RULES) for _ in range(50)))
    assert all(len(hosts(route)) == 2 for route in routes)
    assert len(dns.queries) == 5
    assert "asking=0" in repr(resolver)


async def test_one_who_gives_up_does_not_take_the_answer_from_others(dns: DnsServer, resolver: Resolver) -> None:
    first = asyncio.create_task(resolver.route("example.test", RULES))
    second = asyncio.create_task(resolver.route("example.test", RULES))
    await asyncio.sleep(0)
    first.cancel()
    assert len(hosts(await second)) == 2


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", ".".join(["a" * 60] * 5), "a\\999.test"])
async def test_what_can_be_no_name_does_not_exist(dns: DnsServer, resolver: Resolver, name: str) -> None:
    assert refusal(await resolver.route(name, RULES)) == (550, "5.1.2", True)
    assert dns.queries == []


async def test_an_address_literal_needs_no_dns(dns: DnsServer, resolver: Resolver) -> None:
    assert hosts(await resolver.route("[127.0.0.9]", RULES)) == [("[127.0.0.9]", ("127.0.0.9",))]
    public_only = Rules(25, False, frozenset(), frozenset())
    assert refusal(await resolver.route("[127.0.0.9]", public_only)) == (550, "5.4.4", True)
    assert dns.queries == []


async def test_relay_by_address_name_and_hosts_file(dns: DnsServer, resolver: Resolver) -> None:
    assert hosts(await resolver.relay_route(Relay("127.0.0.7", 26))) == [("127.0.0.7", ("127.0.0.7",))]
    assert dns.queries == []
    assert hosts(await resolver.relay_route(Relay("mx2.example.test", 26))) == [("mx2.example.test", ("127.0.0.2",))]
    ((name, addresses),) = hosts(await resolver.relay_route(Relay("localhost", 26)))
    assert name == "localhost"
    assert "127.0.0.1" in addresses


async def test_a_relay_without_address_makes_mail_wait(resolver: Resolver) -> None:
    assert refusal(await resolver.relay_route(Relay("relay.invalid", 26))) == (451, "4.4.3", False)


async def test_the_cache_is_bounded(dns: DnsServer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.egress.resolver.MAX_ENTRIES", 3)
    resolver = Resolver([dns.address], clock=clock)
    await resolver.route("example.test", RULES)
    assert "cached=3" in repr(resolver)


async def test_a_machine_without_name_servers_makes_mail_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_configured(*_: object) -> None:
        raise NoResolverConfiguration

    monkeypatch.setattr(BaseResolver, "read_resolv_conf", nothing_configured)
    route = await Resolver().route("example.test", RULES)
    assert refusal(route) == (451, "4.4.3", False)
    assert isinstance(route, Outcome)
    assert "names no name servers" in route.reply.text


async def test_dnssec_counts_only_where_the_servers_word_is_believed(dns: DnsServer) -> None:
    dns.sign("example.test")
    dns.add("alias.example.test", "CNAME", "mx1.example.test.")
    dns.add("out.example.test", "CNAME", "host.other.test.")
    dns.add("host.other.test", "A", "127.0.0.1")
    trusting = Resolver([dns.address], trust_ad=True, timeout=2, lifetime=4)
    doubting = Resolver([dns.address], timeout=2, lifetime=4)
    for name, kind, secure in (
        ("example.test", "MX", True),
        ("example.test", "AAAA", True),
        ("gone.example.test", "A", True),
        ("alias.example.test", "A", True),
        ("out.example.test", "A", False),
        ("host.other.test", "A", False),
        ("gone.test", "A", False),
    ):
        assert (await trusting.look_up(name, kind)).secure is secure, name
        assert not (await doubting.look_up(name, kind)).secure
    assert (await trusting.look_up("alias.example.test", "A")).canonical == "mx1.example.test"


async def test_records_that_security_asks_for(resolver: Resolver, dns: DnsServer) -> None:
    dns.add("t.example.test", "TXT", '"v=STSv1; " "id=1;"', '"\\228\\000"')
    dns.add("_25._tcp.example.test", "TLSA", "3 1 1 " + "AB" * 32)
    dns.add("alias.example.test", "CNAME", "Real.example.test.")
    texts = await resolver.look_up("t.example.test", "TXT")
    assert {text for _, text in texts.records} == {"v=STSv1; id=1;", "\xe4\x00"}
    tlsa = await resolver.look_up("_25._tcp.example.test", "TLSA")
    assert tlsa.records == ((0, "3 1 1 " + "ab" * 32),)
    alias = await resolver.look_up("alias.example.test", "CNAME")
    assert alias.records == ((0, "real.example.test"),)


# ---------------------------------------------------------------------------------------------------- hostile zones


async def test_aliases_in_a_circle_make_mail_wait(dns: DnsServer, resolver: Resolver) -> None:
    dns.add("circle.test", "CNAME", "back.circle.test.")
    dns.add("back.circle.test", "CNAME", "circle.test.")
    assert refusal(await resolver.route("circle.test", RULES)) == (451, "4.4.3", False)
    assert len(dns.queries) < 50


async def test_an_mx_that_is_an_alias_in_a_circle(dns: DnsServer, resolver: Resolver) -> None:
    """A host among others: the others do."""
    dns.add("half.test", "MX", "1 circle.test.", "2 mx1.example.test.")
    dns.add("circle.test", "CNAME", "circle.test.")
    assert hosts(await resolver.route("half.test", RULES)) == [("mx1.example.test", ("::1", "127.0.0.1"))]


async def test_of_five_hundred_hosts_a_few_are_looked_up(dns: DnsServer, resolver: Resolver) -> None:
    dns.add("many.test", "MX", *(f"{n} mx{n}.many.test." for n in range(500)))
    for n in range(500):
        dns.add(f"mx{n}.many.test", "A", "127.0.0.1")
    found = await resolver.route("many.test", RULES)
    assert [name for name, _ in hosts(found)] == [f"mx{n}.many.test" for n in range(MAX_HOSTS)]
    assert len(dns.queries) <= 2 + 2 * MAX_HOSTS, "the MX by UDP and TCP, then both families of each"


async def test_of_thousands_of_records_a_few_are_kept(dns: DnsServer, resolver: Resolver) -> None:
    """Of 64 KB over TCP: 400 KB in memory for each name of a zone that has as many as it likes."""
    dns.add("many.test", "MX", *(f"{n} mx{n}." for n in range(2_000)))
    dns.add("many.test", "TXT", ('"' + "x" * 255 + '" ') * 100)
    answer = await resolver.look_up("many.test", "MX")
    assert sorted(answer.records) == [(n, f"mx{n}") for n in range(MAX_RECORDS)], "the best of them"
    ((_, text),) = (await resolver.look_up("many.test", "TXT")).records
    assert len(text) == MAX_TEXT


@pytest.mark.parametrize("ttl", [0, 2**31 - 1, 2**31, 2**32 - 1])
async def test_a_ttl_that_lies_is_believed_for_a_day_at_most(
    dns: DnsServer, resolver: Resolver, clock: Clock, ttl: int
) -> None:
    """RFC 2181 8: with the highest bit set it is 0."""
    dns.add("lies.test", "MX", "1 mx1.example.test.", ttl=ttl)
    for _ in range(2):
        assert hosts(await resolver.route("lies.test", RULES)) == [("mx1.example.test", ("::1", "127.0.0.1"))]
    assert dns.asked("lies.test", "MX") == (1 if ttl == 2**31 - 1 else 2)
    clock.now += MAX_TTL * 1000
    asked = dns.asked("lies.test", "MX")
    await resolver.route("lies.test", RULES)
    assert dns.asked("lies.test", "MX") == asked + 1


async def test_a_zone_whose_missing_names_are_never_to_be_remembered(clock: Clock) -> None:
    async with DnsServer(negative_ttl=0) as dns:
        resolver = Resolver([dns.address], clock=clock)
        for _ in range(3):
            assert refusal(await resolver.route("gone.invalid", RULES)) == (550, "5.1.2", True)
        assert dns.asked("gone.invalid", "MX") == 3


async def test_transactional_mail_waits_for_no_look_up_of_other_mail(
    dns: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.egress.resolver.QUERIES", 3)
    monkeypatch.setattr("relay.egress.resolver.SPARE", 1)
    resolver = Resolver([dns.address], timeout=60, lifetime=60)
    dead = [f"dead{number}.test" for number in range(3)]
    dns.silence(*dead)
    campaign = [asyncio.create_task(resolver.mx(name)) for name in (*dead, "example.test")]
    await until(lambda: sum(dns.asked(name, "MX") for name in dead) == 2)

    async def urgent() -> int:
        URGENT.set(True)
        return len((await resolver.mx("example.test")).records)

    assert await asyncio.wait_for(asyncio.create_task(urgent()), 5) == 2, "though the campaign asked that before"
    assert not any(task.done() for task in campaign)
    for task in campaign:
        task.cancel()
    for running in list(resolver._running.values()):
        running.cancel()
