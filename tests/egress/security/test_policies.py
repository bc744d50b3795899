"""Policies of MTA-STS from a DNS server and a web server of our own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.egress.resolver import Resolver
from relay.egress.security import https
from relay.egress.security.policies import FAILED_FOR, FETCHES, SPARE, STALE, StsPolicies, addresses_of
from relay.egress.security.store import Store
from relay.egress.security.tlsrpt import Applied, Failure
from relay.egress.urgency import URGENT
from tests.support.certificates import Authority
from tests.support.dnsserver import DnsServer
from tests.support.egress import run_on
from tests.support.https_server import HttpsServer, plain_text

WELL_KNOWN = "/.well-known/mta-sts.txt"
D = "example.test"


def text(mode: str = "enforce", age: int = 604_800) -> bytes:
    return f"version: STSv1\r\nmode: {mode}\r\nmx: mx.{D}\r\nmax_age: {age}\r\n".encode()


class World:
    """A DNS server, a web server, and what was reported. `now` is the clock."""

    def __init__(self, dns: DnsServer, web: HttpsServer, folder: Path) -> None:
        self.dns, self.web = dns, web
        self.now = 1_795_000_000_000
        self.reported: list[tuple[str, Applied, Failure]] = []
        self.store = Store(folder / "tls.db")

    def worker(self, *, private: bool = True) -> StsPolicies:
        """One with caches of its own; DNS answers hold for no time."""
        resolver = Resolver([self.dns.address], clock=lambda: self.now, timeout=0.3, lifetime=0.3)
        note = self.reported.append
        return StsPolicies(
            resolver, self.store, lambda: self.now, lambda *each: note(each), allow_private=private, port=self.web.port
        )

    def publish(self, identifier: str, body: bytes | None = None) -> None:
        self.dns.remove(f"_mta-sts.{D}")
        self.dns.add(f"_mta-sts.{D}", "TXT", f'"v=STSv1; id={identifier};"', ttl=0)
        if body is not None:
            self.web.answers[WELL_KNOWN] = plain_text(body)

    @property
    def fetched(self) -> int:
        return len(self.web.asked)


@asynccontextmanager
async def world(authority: Authority, folder: Path) -> AsyncIterator[World]:
    async with DnsServer(negative_ttl=0) as dns, HttpsServer(authority.issue(f"mta-sts.{D}").context) as web:
        dns.add(f"mta-sts.{D}", "A", "127.0.0.1")
        made = World(dns, web, folder)
        yield made
        made.store.close()


async def mode_of(policies: StsPolicies, domain: str) -> str | None:
    found = await policies.find(domain, policies.record(domain))
    return found.mode if found is not None else None


async def mode(policies: StsPolicies) -> str | None:
    return await mode_of(policies, D)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_policy_is_fetched_once_and_again_where_its_id_changes(
    loop: str, authority: Authority, tmp_path: Path
) -> None:
    async def work() -> None:
        async with world(authority, tmp_path) as w:
            worker = w.worker()
            assert await mode(worker) is None
            w.publish("1", text())
            assert [await mode(worker), await mode(worker)] == ["enforce", "enforce"]
            assert w.fetched == 1
            assert w.web.asked[0].host == f"mta-sts.{D}:{w.web.port}"
            w.publish("2", text("testing"))
            assert await mode(worker) == "testing"
            assert w.fetched == 2
            assert w.reported == []
            assert len(worker) == 1

    run_on(loop, work)


async def test_many_first_mails_fetch_it_once(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w:
        w.publish("1", text())
        worker = w.worker()
        assert await asyncio.gather(*(mode(worker) for _ in range(20))) == ["enforce"] * 20
        assert w.fetched == 1


async def test_slow_servers_of_bulk_mail_keep_no_transactional_mail_waiting(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ask, full = list[str](), https.ask, asyncio.Event()

    async def slow(request: https.Request, addresses: list[str], *, seconds: float, most: int) -> https.Answer:
        asked.append(request.host)
        if len(asked) == FETCHES - SPARE:
            full.set()
        if D not in request.host:
            await asyncio.Event().wait()
        return await ask(request, addresses, seconds=seconds, most=most)

    monkeypatch.setattr(https, "ask", slow)
    async with world(authority, tmp_path) as w:
        w.publish("1", text())
        worker = w.worker()
        slow_ones = [f"s{number}.test" for number in range(FETCHES)]
        for domain in slow_ones:
            w.dns.add(f"_mta-sts.{domain}", "TXT", '"v=STSv1; id=1;"')
        waiting = [asyncio.create_task(mode_of(worker, domain)) for domain in slow_ones]
        await full.wait()
        waiting.append(asyncio.create_task(mode(worker)))

        async def urgent() -> str | None:
            URGENT.set(True)
            return await mode(worker)

        assert await asyncio.create_task(urgent()) == "enforce"
        assert len(asked) == FETCHES - SPARE + 1
        for task in (*waiting, *worker._running.values()):
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_it_holds_where_the_record_goes_away_and_over_a_restart(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w:
        w.publish("1", text())
        assert await mode(w.worker()) == "enforce"
        w.dns.remove(f"_mta-sts.{D}")
        again = w.worker()
        await again.load()
        assert await mode(again) == "enforce"
        w.dns.fail(f"_mta-sts.{D}")
        w.now += 10_000
        assert await mode(again) == "enforce"
        w.now += 604_800_000
        assert await mode(again) is None
        assert w.fetched == 1


async def test_another_worker_has_it_already(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w:
        w.publish("1", text())
        one, two = w.worker(), w.worker()
        assert [await mode(one), await mode(two)] == ["enforce", "enforce"]
        assert w.fetched == 1


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (plain_text(text(), status="500 Oops"), "sts-policy-fetch-error"),
        (plain_text(text(), status="301 Moved"), "sts-policy-fetch-error"),
        (plain_text(b"x" * 70_000), "sts-policy-fetch-error"),
        (plain_text(text(), kind="text/html"), "sts-policy-invalid"),
        (plain_text(b"version: STSv2"), "sts-policy-invalid"),
    ],
)
async def test_without_a_good_answer_it_is_as_if_there_were_no_policy(
    authority: Authority, tmp_path: Path, answer: bytes, result: str
) -> None:
    async with world(authority, tmp_path) as w:
        w.publish("1")
        w.web.answers[WELL_KNOWN] = answer
        worker = w.worker()
        assert [await mode(worker), await mode(worker)] == [None, None]
        ((domain, applied, failure),) = w.reported
        assert (domain, applied, failure.result) == (D, Applied("sts", D), result)
        assert w.fetched == 1, "not again for five minutes"
        w.now += FAILED_FOR
        w.publish("1", text())
        assert await mode(worker) == "enforce"


async def test_what_is_kept_outlasts_an_update_that_cannot_be_had(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w:
        w.publish("1", text())
        worker = w.worker()
        assert await mode(worker) == "enforce"
        w.publish("2")
        w.web.answers.clear()
        assert await mode(worker) == "enforce"
        assert len(w.reported) == 1


async def test_a_web_server_that_cannot_prove_its_name(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w, HttpsServer(authority.issue("other.test").context) as web:
        w.web = web
        w.publish("1", text())
        assert await mode(w.worker()) is None
        assert w.reported[0][2].result == "sts-webpki-invalid"


async def test_private_addresses_are_not_asked(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w:
        w.publish("1", text())
        worker = w.worker(private=False)
        assert await mode(worker) is None
        assert w.fetched == 0
        assert w.reported[0][2].result == "sts-policy-fetch-error"
        assert await addresses_of(worker.resolver, f"mta-sts.{D}", True) == ["127.0.0.1"]


async def test_what_is_a_day_old_is_fetched_anew_without_mail(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w:
        w.publish("1", text())
        one, two = w.worker(), w.worker()
        assert [await mode(one), await mode(two)] == ["enforce", "enforce"]
        await one.refresh()
        assert w.fetched == 1
        w.now += STALE
        w.publish("1", text("testing"))
        await one.refresh()
        await two.refresh()
        assert w.fetched == 2, "the second worker takes over what the first has fetched"
        assert [await mode(one), await mode(two)] == ["testing", "testing"]
        w.now += STALE
        w.web.answers.clear()
        await one.refresh()
        assert await mode(one) == "testing", "it holds until it expires"


async def test_a_broken_file_costs_what_is_kept_and_no_mail(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w:
        (tmp_path / "tls.db").mkdir()
        w.publish("1", text())
        worker = w.worker()
        await worker.load()
        assert await mode(worker) == "enforce"
        assert "1 kept" in repr(worker)


async def test_a_policy_of_no_age_is_not_fetched_for_each_message(authority: Authority, tmp_path: Path) -> None:
    async with world(authority, tmp_path) as w:
        w.publish("1", text(age=0))
        worker = w.worker()
        assert [await mode(worker), await mode(worker)] == ["enforce", "enforce"]
        assert w.fetched == 1
        w.now += FAILED_FOR
        assert await mode(worker) == "enforce"
        assert w.fetched == 2


async def test_memory_is_bounded(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.egress.security.policies.MAX_KEPT", 1)
    async with world(authority, tmp_path) as w:
        w.publish("1", text())
        worker = w.worker()
        assert await mode(worker) == "enforce"
        other = "other.test"
        async with HttpsServer(authority.issue(f"mta-sts.{other}").context) as web:
            web.answers[WELL_KNOWN] = plain_text(text("testing"))
            worker.port = web.port
            w.dns.add(f"_mta-sts.{other}", "TXT", '"v=STSv1; id=1;"')
            w.dns.add(f"mta-sts.{other}", "A", "127.0.0.1")
            assert (await mode_of(worker, other), len(worker)) == ("testing", 1)
        assert await mode(worker) == "enforce", "the file knows it"
        assert w.fetched == 1
