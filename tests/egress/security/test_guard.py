"""From DNS and policies to demands: which answers count, and when nobody is asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.egress.mx import Route, Rules
from relay.egress.resolver import Resolver
from relay.egress.security.dane import Status
from relay.egress.security.demands import Need, Security, Wish
from relay.egress.security.guard import KNOWN_FOR, Guard
from relay.egress.security.ledger import Ledger
from relay.egress.security.policies import StsPolicies
from relay.egress.security.store import Kept, Store
from relay.egress.security.sts import parse
from relay.outcome import Outcome
from tests.support.dnsserver import DnsServer
from tests.support.egress import run_on

D, H = "example.test", "mx.example.test"
EE = "3 1 1 " + "ab" * 32
RULES = Rules(25, True, frozenset(), frozenset())


class World:
    def __init__(self, dns: DnsServer, folder: Path, *, trust_ad: bool) -> None:
        self.dns = dns
        self.now = 1_795_000_000_000
        self.store = Store(folder / "tls.db")
        self.resolver = Resolver([dns.address], trust_ad=trust_ad, clock=lambda: self.now, timeout=2, lifetime=2)
        self.ledger = Ledger(self.resolver, self.store, lambda: self.now)
        self.policies = StsPolicies(self.resolver, self.store, lambda: self.now, self.ledger.count)
        self.guard = Guard(self.resolver, self.policies, self.ledger, lambda: self.now, trust_ad=trust_ad)

    async def ask(self, domain: str = D, wish: Wish = Wish.NONE) -> tuple[Route, Security] | Outcome:
        return await self.guard.secure(domain, Need.TRY, wish, self.resolver.route(domain, RULES))

    async def need(self, host: str = H) -> Need | str:
        """What the first rung is; of a host that is left out, what a report says."""
        found = await self.ask()
        if isinstance(found, Outcome):
            return found.reply.text
        demand = found[1].of(host)
        return demand.ladder[0] if demand is not None else found[1].skipped[host].failure.result


@asynccontextmanager
async def world(folder: Path, *, trust_ad: bool = True, signed: tuple[str, ...] = (D,)) -> AsyncIterator[World]:
    async with DnsServer() as dns:
        dns.add(D, "MX", f"10 {H}.")
        dns.add(H, "A", "127.0.0.1")
        dns.sign(*signed)
        made = World(dns, folder, trust_ad=trust_ad)
        yield made
        made.store.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_signed_all_the_way(loop: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as w:
            w.dns.add(f"_25._tcp.{H}", "TLSA", EE)
            found = await w.ask()
            assert not isinstance(found, Outcome)
            demand = found[1].of(H)
            assert demand is not None
            assert (demand.ladder, demand.anchors.base, demand.anchors.names) == ((Need.DANE,), H, (H, D))

    run_on(loop, work)


async def test_records_count_only_where_the_resolver_is_trusted(tmp_path: Path) -> None:
    async with world(tmp_path, trust_ad=False) as w:
        w.dns.add(f"_25._tcp.{H}", "TLSA", EE)
        assert await w.need() is Need.TRY
        assert w.dns.asked(f"_25._tcp.{H}", "TLSA") == 0


@pytest.mark.parametrize("signed", [(), (H,)])
async def test_an_mx_that_is_not_signed_asks_for_no_records(tmp_path: Path, signed: tuple[str, ...]) -> None:
    async with world(tmp_path, signed=signed) as w:
        w.dns.add(f"_25._tcp.{H}", "TLSA", EE)
        assert await w.need() is Need.TRY
        assert w.dns.asked(f"_25._tcp.{H}", "TLSA") == 0


async def test_addresses_that_are_not_signed_neither(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.dns.remove(D)
        w.dns.add(D, "MX", "10 mx.hoster.test.")
        w.dns.add("mx.hoster.test", "A", "127.0.0.1")
        w.dns.add("_25._tcp.mx.hoster.test", "TLSA", EE)
        assert await w.need("mx.hoster.test") is Need.TRY
        assert w.dns.asked("_25._tcp.mx.hoster.test", "TLSA") == 0


async def test_records_that_are_not_signed_are_none(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.dns.add("records.unsigned.test", "TLSA", EE)
        w.dns.add(f"_25._tcp.{H}", "CNAME", "records.unsigned.test.")
        assert await w.need() is Need.TRY


async def test_records_by_an_alias_that_is_signed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.dns.add(f"_dane.{D}", "TLSA", EE)
        w.dns.add(f"_25._tcp.{H}", "CNAME", f"_dane.{D}.")
        assert await w.need() is Need.DANE


async def test_a_look_up_that_fails_keeps_mail_from_that_host(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.dns.add(D, "MX", "20 mx2.example.test.")
        w.dns.add("mx2.example.test", "A", "127.0.0.2")
        w.dns.fail(f"_25._tcp.{H}")
        found = await w.ask()
        assert not isinstance(found, Outcome)
        assert [host.name for host in found[0].hosts] == ["mx2.example.test"]
        assert found[1].skipped[H].failure.result == "dnssec-invalid"
        w.dns.fail(f"_25._tcp.{H}", "_25._tcp.mx2.example.test")
        w.now += 400_000
        outcome = await w.ask()
        assert isinstance(outcome, Outcome)
        assert (outcome.reply.code, outcome.reply.enhanced, outcome.permanent) == (451, "4.7.10", False)
        assert outcome.reply.text.startswith(f"the TLSA records of {H} cannot be had")
        assert "failures" in repr(w.guard)
        assert w.ledger.failures == 3


async def test_an_alias_is_asked_by_its_real_name_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.dns.remove(H)
        w.dns.add(H, "CNAME", "real.example.test.")
        w.dns.add("real.example.test", "A", "127.0.0.1")
        assert await w.need() is Need.TRY
        asked = [query.name for query in w.dns.queries if query.kind == "TLSA"]
        assert asked == ["_25._tcp.real.example.test", f"_25._tcp.{H}"]
        w.dns.add("_25._tcp.real.example.test", "TLSA", EE)
        w.dns.add(f"_25._tcp.{H}", "TLSA", EE)
        w.now += 400_000
        found = await w.ask()
        assert not isinstance(found, Outcome)
        demand = found[1].of(H)
        assert demand is not None
        assert demand.anchors.base == "real.example.test"


async def test_a_signed_alias_of_an_unsigned_name_is_asked_by_its_own(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.dns.remove(H)
        w.dns.add(H, "CNAME", "mx.unsigned.test.")
        w.dns.add("mx.unsigned.test", "A", "127.0.0.1")
        w.dns.add(f"_25._tcp.{H}", "TLSA", EE)
        w.dns.add("_25._tcp.mx.unsigned.test", "TLSA", EE)
        assert await w.need() is Need.DANE
        assert w.dns.asked("_25._tcp.mx.unsigned.test", "TLSA") == 0
        w.dns.remove(H)
        w.dns.remove(D)
        w.dns.add(D, "MX", "10 alias.unsigned.test.")
        w.dns.add("alias.unsigned.test", "CNAME", "mx.unsigned.test.")
        w.dns.add("_25._tcp.alias.unsigned.test", "TLSA", EE)
        w.now += 400_000
        assert await w.need("alias.unsigned.test") is Need.TRY


async def test_a_domain_without_mx_is_its_own_host(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.dns.remove(D)
        w.dns.add(D, "A", "127.0.0.1")
        w.dns.add(f"_25._tcp.{D}", "TLSA", EE)
        assert await w.need(D) is Need.DANE


async def test_records_that_smtp_cannot_use(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.dns.add(f"_25._tcp.{H}", "TLSA", "1 1 1 " + "ab" * 32)
        assert await w.need() is Need.ENCRYPT
        anchors = await w.guard._anchors_of(H, ())
        assert anchors.status is Status.UNUSABLE


async def test_a_policy_that_is_kept(tmp_path: Path) -> None:
    async with world(tmp_path, signed=()) as w:
        body = f"version: STSv1\nmode: enforce\nmx: {H}\nmax_age: 86400\n"
        w.store.keep(Kept(D, "1", w.now, parse(body.encode())))
        await w.policies.load()
        assert await w.need() is Need.VERIFY
        waived = await w.ask(wish=Wish.WAIVED)
        assert not isinstance(waived, Outcome)
        assert waived[1].label == "opportunistic"


async def test_what_was_decided_is_known_for_some_seconds(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert w.guard.known(D, Need.TRY, "") is None
        found = await w.ask()
        assert not isinstance(found, Outcome)
        assert w.guard.known(D, Need.TRY, "") is found[1]
        assert w.guard.known(D, Need.ENCRYPT, "") is None
        assert w.guard.known(D, Need.TRY, "required") is None
        w.guard.reconfigure(w.resolver, trust_ad=True, port=25, allow_private=False)
        assert w.guard.known(D, Need.TRY, "") is not None
        w.guard.reconfigure(w.resolver, trust_ad=False, port=25, allow_private=False)
        assert w.guard.known(D, Need.TRY, "") is None, "it was decided by what is not trusted any more"
        await w.ask()
        w.now += KNOWN_FOR
        assert w.guard.known(D, Need.TRY, "") is None


async def test_answers_of_dns_are_kept_also_where_there_is_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for _ in range(5):
            await w.ask()
            w.now += 1000
        for name, kind in ((f"_mta-sts.{D}", "TXT"), (f"_25._tcp.{H}", "TLSA"), (D, "MX")):
            assert w.dns.asked(name, kind) == 1


async def test_an_address_literal_has_no_policies(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        found = await w.ask("[127.0.0.1]")
        assert not isinstance(found, Outcome)
        assert found[1].label == "opportunistic"
        assert w.dns.queries == []


async def test_no_such_domain(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        outcome = await w.ask("gone.test")
        assert isinstance(outcome, Outcome)
        assert outcome.reply.enhanced == "5.1.2"


async def test_what_is_known_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.egress.security.guard.MAX_KNOWN", 1)
    async with world(tmp_path) as w:
        await w.ask()
        await w.ask("[127.0.0.1]")
        assert w.guard.known(D, Need.TRY, "") is None
        assert w.guard.known("[127.0.0.1]", Need.TRY, "") is not None
