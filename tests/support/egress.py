"""What tests of egress share: deliveries, counting permits, a courier between DNS server and SMTP peers, both loops."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from relay.egress.courier import Courier
from relay.egress.pools import Source
from relay.egress.resolver import Resolver
from relay.egress.security.guard import Guard
from relay.egress.security.ledger import Ledger
from relay.egress.security.policies import StsPolicies
from relay.egress.security.store import Store
from relay.egress.settings import EgressSettings, Timeouts
from relay.identity import Rate
from relay.message import Delivery, MailClass, Message
from relay.outcome import Outcome
from relay.pause import Later
from relay.shaping.shape import Shape
from relay.shaping.sites import Sites
from tests.support.dnsserver import DnsServer

HERE = Source("", "")
TERMS = Shape(10, 100)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
# Long enough for a loaded machine, short enough for a test that waits for one of them to pass.
IMPATIENT = Timeouts(
    connect=0.3,
    banner=0.3,
    ehlo=0.3,
    starttls=2,
    auth=0.3,
    mail=0.3,
    rcpt=0.3,
    data=0.3,
    final=0.3,
    content=2,
    quit=0.3,
)


def delivery(
    recipient: str = "joe@example.test",
    *,
    domain: str = "",
    sender: str = "app@sender.test",
    mail_class: MailClass = MailClass.TRANSACTIONAL,
    head: bytes = b"",
    notify: str = "",
    orcpt: str = "",
    **message: Any,
) -> Delivery:
    domain = domain or recipient.rpartition("@")[2]
    about = Message(
        "0" * 16, 0, "app", "brand", "stream", mail_class, sender, "<1@sender.test>", "Hello", 100, **message
    )
    return Delivery(about, 0, recipient, domain, domain, sender, sender, head, notify=notify, orcpt=orcpt)


class CountingPermits:
    """Permits up to `limit` a name, whatever the caller's own limit; `held` and `refused` for the test. `waits`: what the
    next takes of a rate answer, in ms; 0 once they are used up; `taken`, `departed`, `back`: of which; `reserved`: what a take
    left."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.held: Counter[str] = Counter()
        self.most = 0
        self.refused = 0
        self.waits: list[int] = []
        self.taken: list[str] = []
        self.departed: list[str] = []
        self.back: list[str] = []
        self.reserved: dict[str, int] = {}

    async def acquire(self, name: str, limit: int, *, urgent: bool) -> bool:
        if self.held[name] >= min(limit, self.limit):
            self.refused += 1
            return False
        self.held[name] += 1
        self.most = max(self.most, self.held[name])
        return True

    def release(self, name: str) -> None:
        self.held[name] -= 1
        assert self.held[name] >= 0, "released more than acquired"

    async def take(self, name: str, rate: Rate, count: int, timezone: str, *, urgent: bool, reserved: int = 0) -> int:
        self.taken.append(name)
        self.reserved[name] = reserved
        return self.waits.pop(0) if self.waits else 0

    def depart(self, name: str, rate: Rate) -> None:
        self.departed.append(name)

    def receipt(self, rate: Rate) -> None: ...

    def give_back(self, name: str, rate: Rate, count: int, receipt: None) -> None:
        self.back.append(name)


def clock() -> int:
    return time.time_ns() // 1_000_000


def guard_of(resolver: Resolver, store: Store, settings: EgressSettings, https: int = 443) -> Guard:
    ledger = Ledger(resolver, store, clock)
    policies = StsPolicies(resolver, store, clock, ledger.count, allow_private=settings.allow_private, port=https)
    return Guard(resolver, policies, ledger, clock, trust_ad=settings.trust_ad, port=settings.port)


@asynccontextmanager
async def courier(
    port: int,
    *,
    permits: CountingPermits | None = None,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    https: int = 443,
    **settings: Any,
) -> AsyncIterator[tuple[Courier, DnsServer]]:
    """A courier to example.test, whose MX hosts mx0, mx1 ... have the addresses `hosts`, in order of preference; policies of
    MTA-STS are fetched from port `https`."""
    values: dict[str, Any] = {"hostname": "relay.test", "port": port, "allow_private": True} | settings
    permits = permits or CountingPermits()
    async with DnsServer() as dns:
        for number, host in enumerate(hosts):
            dns.add("example.test", "MX", f"{number} mx{number}.example.test.")
            dns.add(f"mx{number}.example.test", "A", host)
        said = EgressSettings(**values)
        resolver = Resolver([dns.address], trust_ad=said.trust_ad, timeout=2, lifetime=2)
        with TemporaryDirectory() as folder:
            guard = guard_of(resolver, Store(Path(folder) / "tls.db"), said, https)
            one = Courier(said, resolver, permits, permits, Sites(), guard)
            try:
                yield one, dns
            finally:
                await one.close(1)
    assert not +permits.held, "every permit is given back"


async def carry(
    courier: Courier,
    delivery: Delivery,
    content: bytes,
    source: Source,
    hop: tuple[str, int] | None = None,
    terms: Shape = TERMS,
) -> Outcome:
    """An attempt as attempt() makes it, without limits on messages."""
    way = await courier.way(delivery, hop)
    found = way if isinstance(way, Outcome) else await courier.send(delivery, content, source, way, terms)
    assert isinstance(found, Outcome), found
    return found


class Permitted:
    """A permit that tells what became of it: "depart", "again". `waits`: what the next ones that ask again hear, in ms."""

    def __init__(self, *waits: int) -> None:
        self.waits = list(waits)
        self.told: list[str] = []

    def depart(self) -> None:
        self.told.append("depart")

    async def again(self) -> Later | None:
        self.told.append("again")
        wait = self.waits.pop(0) if self.waits else 0
        return Later(wait, "10/second") if wait else None


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds: for what only the loop or the kernel can tell, and no event does."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.001)


def run_on(loop: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine function on the loop of that name (LOOPS)."""

    async def main() -> None:
        async with asyncio.timeout(30):
            await work()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
