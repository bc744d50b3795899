import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.egress.mx import Answer, Found
from relay.egress.resolver import Resolver
from relay.egress.security import ledger as module
from relay.egress.security.ledger import Ledger, day_of
from relay.egress.security.store import Store
from relay.egress.security.tlsrpt import Applied, Failure
from tests.support.dnsserver import DnsServer

NOW = 1_795_305_600_000 + 1000
BAD = Failure("starttls-not-supported", "mx.test")


def none(domain: str) -> Applied:
    return Applied("no-policy-found", domain)


def test_the_day_of_a_moment() -> None:
    assert (day_of(NOW), day_of(NOW - 1001)) == ("2026-11-22", "2026-11-21")


async def test_only_who_wants_reports_is_written_down(tmp_path: Path) -> None:
    async with DnsServer() as dns:
        dns.add("_smtp._tls.a.test", "TXT", '"v=TLSRPTv1; rua=mailto:tls@a.test"')
        store = Store(tmp_path / "tls.db")
        ledger = Ledger(Resolver([dns.address], timeout=0.3, lifetime=0.3), store, lambda: NOW)
        for domain in ("a.test", "b.test", "a.test"):
            ledger.count(domain, none(domain))
        ledger.count("a.test", none("a.test"), BAD)
        ledger.count("b.test", none("b.test"), BAD)
        ledger.count("a.test", None, BAD)
        assert "2 to be flushed" in repr(ledger)
        await ledger.flush()
        await ledger.flush()
        counts = store.counted("2026-11-22", "a.test")[none("a.test")]
        assert (counts.good, counts.bad, dict(counts.failures)) == (2, 1, {BAD: 1})
        assert store.counted("2026-11-22", "b.test") == {}
        assert ledger.failures == 3
        assert dns.asked("_smtp._tls.b.test", "TXT") == 1
        assert await ledger.addresses("a.test") == ("mailto:tls@a.test",)
        store.close()


async def test_few_are_asked_at_once_and_answers_that_are_known_leave_time_for_others(tmp_path: Path) -> None:
    asking: list[str] = []
    most = turns = 0

    class Names:
        async def look_up(self, name: str, kind: str) -> Answer:
            nonlocal most
            asking.append(name)
            most = max(most, len(asking))
            if slow:
                await asyncio.sleep(0)
            asking.remove(name)
            return Answer(Found.NOTHING)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ledger = Ledger(Names(), Store(tmp_path / "tls.db"), lambda: NOW)
    for slow in (True, False):  # noqa: B007 Names looks at it
        for number in range(95):
            ledger.count(f"{number}.test", none(f"{number}.test"), BAD)
        task, turns = asyncio.create_task(others()), 0
        await ledger.flush()
        task.cancel()
        assert turns >= 9
    assert most == 10


class Wanting:
    """Each domain wants reports. `heard` is called for each question."""

    def __init__(self, heard: Callable[[], object]) -> None:
        self._heard = heard

    async def look_up(self, name: str, kind: str) -> Answer:
        self._heard()
        return Answer(Found.RECORDS, ((0, "v=TLSRPTv1; rua=mailto:tls@a.test"),))


async def test_an_end_while_domains_are_asked_loses_nothing(tmp_path: Path) -> None:
    """The pause is longer than any test: only an end ends it."""
    asked = asyncio.Event()
    store = Store(tmp_path / "tls.db")
    ledger = Ledger(Wanting(asked.set), store, lambda: NOW)
    ledger.count("a.test", none("a.test"), BAD)
    flushing = asyncio.create_task(ledger.flush(3600.0))
    await asked.wait()
    ledger.count("a.test", none("a.test"))
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    await ledger.flush()
    counts = store.counted("2026-11-22", "a.test")[none("a.test")]
    assert (counts.good, counts.bad) == (1, 1)
    store.close()


async def test_what_begins_to_fail_while_others_are_asked_is_next(tmp_path: Path) -> None:
    store = Store(tmp_path / "tls.db")
    ledger = Ledger(Wanting(lambda: ledger.count("b.test", none("b.test"), BAD)), store, lambda: NOW)
    ledger.count("a.test", none("a.test"), BAD)
    ledger.count("b.test", none("b.test"))
    await ledger.flush()
    assert store.counted("2026-11-22", "b.test") == {}
    assert "1 to be flushed" in repr(ledger)
    await ledger.flush()
    counts = store.counted("2026-11-22", "b.test")[none("b.test")]
    assert (counts.good, counts.bad) == (1, 2)
    store.close()


async def test_days_are_kept_apart(tmp_path: Path) -> None:
    now = NOW
    async with DnsServer() as dns:
        dns.add("_smtp._tls.a.test", "TXT", '"v=TLSRPTv1; rua=mailto:tls@a.test"')
        store = Store(tmp_path / "tls.db")
        ledger = Ledger(Resolver([dns.address], timeout=0.3, lifetime=0.3), store, lambda: now)
        ledger.count("a.test", none("a.test"))
        ledger.count("a.test", none("a.test"), BAD)
        now += 86_400_000
        ledger.count("a.test", none("a.test"))
        await ledger.flush()
        assert [store.counted(day, "a.test")[none("a.test")].good for day in ("2026-11-22", "2026-11-23")] == [1, 1]
        store.close()


async def test_memory_and_a_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    (tmp_path / "tls.db").mkdir()
    async with DnsServer() as dns:
        dns.add("_smtp._tls.0.test", "TXT", '"v=TLSRPTv1; rua=mailto:tls@0.test"')
        resolver = Resolver([dns.address], timeout=0.3, lifetime=0.3)
        ledger = Ledger(resolver, Store(tmp_path / "tls.db"), lambda: NOW)
        for number in range(9):
            ledger.count(f"{number}.test", none(f"{number}.test"), BAD)
        assert "2 to be flushed" in repr(ledger)
        await ledger.flush()
        assert "0 to be flushed" in repr(ledger)


async def test_who_is_asked(tmp_path: Path) -> None:
    """A domain with a policy, one where something failed, and from then on who wants them."""
    async with DnsServer() as dns:
        for domain in ("a.test", "b.test", "c.test"):
            dns.add(f"_smtp._tls.{domain}", "TXT", f'"v=TLSRPTv1; rua=mailto:tls@{domain}"')
        store = Store(tmp_path / "tls.db")
        ledger = Ledger(Resolver([dns.address], timeout=0.3, lifetime=0.3), store, lambda: NOW)
        ledger.count("a.test", Applied("sts", "a.test"))
        ledger.count("b.test", none("b.test"))
        ledger.count("b.test", none("b.test"), BAD)
        ledger.count("c.test", none("c.test"))
        await ledger.flush()
        assert {query.name for query in dns.queries} == {"_smtp._tls.a.test", "_smtp._tls.b.test"}
        for domain in ("b.test", "c.test"):
            ledger.count(domain, none(domain))
        await ledger.flush()
        assert store.counted("2026-11-22", "b.test")[none("b.test")].good == 2
        assert store.counted("2026-11-22", "c.test") == {}
        store.close()
