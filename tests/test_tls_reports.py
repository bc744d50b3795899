"""TLS reports: what was counted becomes a mail of ours, or is posted, when its day is over."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from relay.attempt import Attempting
from relay.egress.resolver import Resolver
from relay.egress.security import trust
from relay.egress.security.ledger import Ledger, day_of
from relay.egress.security.policies import StsPolicies
from relay.egress.security.store import Store
from relay.egress.security.tlsrpt import Applied, Counts, Failure
from relay.message import MailClass
from relay.outcome import Outcome, Reply
from relay.tls_reports import AGAIN, SPREAD, TRIES, TlsReports
from tests.support.certificates import Authority
from tests.support.dnsserver import DnsServer
from tests.support.house import NOW, Rig
from tests.support.https_server import HttpsServer, plain_text
from tests.support.signatures import both_keys, verdicts

D = "example.test"
APPLIED = Applied("no-policy-found", D)
YESTERDAY = day_of(NOW - 86_400_000)
DAY_AFTER = 86_400_000 + SPREAD


class World:
    def __init__(self, folder: Path, dns: DnsServer, web: HttpsServer) -> None:
        self.rig = Rig(Outcome(Reply(250, "", "ok"), "END"))
        self.rig.keys_for = lambda domain: both_keys("relay.example") if domain == "relay.example" else ()  # type: ignore[method-assign]
        self.house: Attempting = self.rig.attempting()
        self.dns, self.web = dns, web
        self.store = Store(folder / "tls.db")
        resolver = Resolver([dns.address], clock=self.rig.clock, timeout=0.3, lifetime=0.3)
        self.ledger = Ledger(resolver, self.store, self.rig.clock)
        self.policies = StsPolicies(
            resolver, self.store, self.rig.clock, self.ledger.count, allow_private=True, port=web.port
        )
        self.reports = self.worker(lead=True)

    def worker(self, *, lead: bool) -> TlsReports:
        return TlsReports(self.house, self.policies, self.ledger, self.store, node="relay-1", lead=lead)

    def count(self, day: str = YESTERDAY, domain: str = D) -> None:
        counts = Counts(4)
        counts.add(Failure("starttls-not-supported", f"mx.{domain}"))
        self.store.add(day, [(domain, Applied("no-policy-found", domain), counts)])

    def wants(self, *uris: str, domain: str = D) -> None:
        self.dns.remove(f"_smtp._tls.{domain}")
        self.dns.add(f"_smtp._tls.{domain}", "TXT", f'"v=TLSRPTv1; rua={",".join(uris)}"', ttl=0)

    def letters(self) -> list[tuple[Any, Any]]:
        return [(message, deliveries[0]) for change in self.rig.spool.puts for message, deliveries in change.put]


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    authority = Authority.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.alone))
        trust.verifying.cache_clear()
        async with DnsServer() as dns, HttpsServer(authority.issue("reports.example.test").context) as web:
            dns.add("reports.example.test", "A", "127.0.0.1")
            made = World(folder, dns, web)
            made.rig.now += SPREAD
            yield made
            made.store.close()
    trust.verifying.cache_clear()


def told(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(content))
    return found


async def test_a_report_is_a_signed_message_of_ours_that_goes_whatever_tls_there_is(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.count()
        w.count(day_of(w.rig.now))
        w.wants("mailto:tls@reports.example.test")
        await w.reports.send_due()
        ((message, delivery),) = w.letters()
        assert (message.mail_class, message.stream, message.tls, message.dsn) == (
            MailClass.SERVICE,
            "tls-report",
            "waived",
            "none",
        )
        assert (delivery.recipient, delivery.domain, delivery.mail_from) == (
            "tls@reports.example.test",
            "reports.example.test",
            "",
        )
        assert w.rig.offered == [delivery]
        letter = delivery.head + message.content
        assert verdicts(letter, both_keys("relay.example"), 2) == [True, True]
        attached = message_from_bytes(letter).get_payload(1)
        report = told(attached.get_payload(decode=True))  # type: ignore[union-attr, arg-type]
        (policy,) = report["policies"]
        assert policy["summary"] == {"total-successful-session-count": 4, "total-failure-session-count": 1}
        assert report["date-range"]["start-datetime"] == f"{YESTERDAY}T00:00:00Z"
        (event,) = w.rig.spool.events()
        assert (event["type"], event["stream"]) == ("accepted", "tls-report")
        await w.reports.send_due()
        assert len(w.letters()) == 1, "once"
        assert w.store.due("9999", w.rig.now, 9) != [], "today is not over"


async def test_by_https(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.count()
        w.wants("https://reports.example.test/v1?x=1")
        w.web.answers["/v1?x=1"] = plain_text(b"", status="201 Created")
        await w.reports.send_due()
        (asked,) = w.web.asked
        assert (asked.method, asked.kind) == ("POST", "application/tlsrpt+gzip")
        assert told(asked.body)["organization-name"] == "relay.example"
        assert w.store.due("9999", w.rig.now, 9) == []


async def test_what_is_not_taken_comes_again_but_not_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.count()
        w.wants("https://reports.example.test/", "mailto:tls@reports.example.test")
        for tries in range(1, TRIES + 1):
            await w.reports.send_due()
            await w.reports.send_due()
            assert len(w.web.asked) == tries
            w.rig.now += AGAIN
        assert w.store.due("9999", w.rig.now, 9) == []
        assert len(w.letters()) == 1, "mail was handed over at the first try"


async def test_a_server_that_does_not_answer_or_a_full_disk(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.count()
        w.wants("https://nobody.example.test/")
        await w.reports.send_due()
        (due,) = w.store.due("9999", w.rig.now + AGAIN, 9)
        assert due.tries == 1
        w.store.done(due)
        w.count()
        w.wants("mailto:tls@reports.example.test")
        w.rig.spool.full = True
        await w.reports.send_due()
        assert w.rig.offered == []
        assert len(w.store.due("9999", w.rig.now + AGAIN, 9)) == 1


async def test_a_domain_that_wants_none_any_more(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.count()
        await w.reports.send_due()
        assert w.letters() == []
        assert w.store.due("9999", w.rig.now, 9) == []


async def test_a_day_is_reported_some_hours_after_its_end(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.count()
        w.wants("mailto:tls@reports.example.test")
        midnight = NOW - NOW % 86_400_000
        w.rig.now = midnight
        await w.reports.send_due()
        assert w.letters() == []
        w.rig.now = midnight + SPREAD
        await w.reports.send_due()
        assert len(w.letters()) == 1


async def test_a_broken_file_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "tls.db").mkdir()
    async with world(tmp_path) as w:
        await w.reports.send_due()
        assert w.letters() == []


@pytest.mark.parametrize("lead", [True, False])
async def test_one_worker_sends_and_all_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lead: bool) -> None:
    monkeypatch.setattr("relay.tls_reports.FLUSH", 0.01)
    async with world(tmp_path) as w:
        w.count()
        w.wants("mailto:tls@reports.example.test")
        w.ledger.count(D, APPLIED, Failure("starttls-not-supported"))
        worker = w.worker(lead=lead)
        assert ("sends" if lead else "counts") in repr(worker)
        task = asyncio.create_task(worker.run())
        async with asyncio.timeout(10):
            while not w.store.counted(day_of(w.rig.now), D):  # noqa: ASYNC110 another thread writes the file
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(w.letters()) == lead
