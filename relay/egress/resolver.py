"""DNS for egress, on dnspython: MX, AAAA and A with a cache (what the answers mean is decided in mx.py), and what
security/ asks.

Strategy: one cache entry a (name, type), for its TTL, a missing name or record for the zone's negative TTL (RFC 2308
5), a failure for a few seconds; the same question asked twice at once is sent once. The caller gets a Route or an
Outcome.
"""

import asyncio
import os
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import structlog

from relay.egress.failure import ours
from relay.egress.mx import Answer, Found, MxHost, Route, Rules, choose_hosts, exchanges, literal, parse_address
from relay.egress.plain_dns import cut, question, read
from relay.egress.plain_udp import NameServer
from relay.egress.settings import Relay
from relay.egress.urgency import URGENT, Places
from relay.outcome import Outcome, Scope

log = structlog.get_logger()

MAX_ENTRIES = 50_000  # some 500 octets each: 25 MB
MAX_RECORDS = 50  # kept of an answer, the first in their order: a hostile one has thousands, which take 400 KB
MAX_TEXT = 1_000  # characters kept of a TXT record; those that are looked for have a hundred
MAX_TTL = 86_400  # RFC 8767 would allow a week; a day lets a mistaken TTL be mended by tomorrow
MAX_NEGATIVE = 3 * 3600  # RFC 2308 5: one to three hours work well
FAILURE_TTL = (
    5  # RFC 2308 7 allows five minutes; just enough that a full lane does not ask a dead server for each message
)
LITERAL = Answer(Found.NOTHING)  # an address literal is its own host
BOTH = ("AAAA", "A")
PATIENCE = 1.0  # seconds for a plain answer: then dnspython asks again, all servers in turn, with time to spare
QUERIES = 200  # on the way at once: each may hold a socket
# Of these, for transactional mail alone: dead name servers of a campaign's domains may hold all others for long.
SPARE = 50


class Resolver:
    """Looks up hosts through `nameservers` ("host:port"; none: the system's). `clock` gives milliseconds."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        trust_ad: bool = False,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        rand: Callable[[], float] = random.random,
        timeout: float = 5,
        lifetime: float = 20,
    ) -> None:
        """`timeout`: seconds for one question to one server; `lifetime`: for all tries of one look-up. `trust_ad`: what the
        servers say of DNSSEC is believed."""
        self._trust_ad = trust_ad
        self._clock = clock
        self._rand = rand
        self._nameservers = [_nameserver(each) for each in nameservers]
        self._timeout = timeout
        self._lifetime = lifetime
        self._client: dns.asyncresolver.Resolver | None = None
        self._first: NameServer | None = None  # of its servers, once it is made
        self._cache: OrderedDict[tuple[str, str], tuple[int, Answer]] = OrderedDict()
        self._running: dict[tuple[str, str, bool], asyncio.Task[Answer]] = {}
        self._queries = Places(QUERIES, SPARE)

    def __repr__(self) -> str:
        servers = [str(each) for each in self._nameservers] or "of the system"
        return f"<Resolver {servers} cached={len(self._cache)} asking={len(self._running)}>"

    async def route(self, domain: str, rules: Rules, source: str = "") -> Route | Outcome:
        """Where mail for `domain` (an A-label, or an address literal) goes now, or why nowhere. `source`: our address that it
        leaves from; where addresses of that family lead somewhere, those of the other are not asked for. "": both count."""
        address = literal(domain)
        if address is not None:
            found = {domain: (Answer(Found.RECORDS, ((0, address),)),)}
            return choose_hosts(domain, ((0, domain),), found, rules, self._rand)
        named = exchanges(domain, await self.look_up(domain, "MX"))
        if isinstance(named, Outcome):
            return named
        for kinds in _families(source, rules):
            asked = {host: [self.look_up(host, kind) for kind in kinds] for _, host in named}
            answers = {host: [await each for each in waited] for host, waited in asked.items()}
            route = choose_hosts(domain, named, answers, rules, self._rand)
            if isinstance(route, Route):
                break
        return route

    def known_mx(self, domain: str) -> Answer | None:
        """What `mx` would say, where it would not have to ask."""
        return self._known(domain, "MX")

    async def mx(self, domain: str) -> Answer:
        """The MX of `domain` (an A-label, or an address literal); the same object while one look-up holds."""
        return LITERAL if literal(domain) else await self.look_up(domain, "MX")

    async def relay_route(self, relay: Relay) -> Route | Outcome:
        """The addresses of a relay the admin named: any address will do, and the system's hosts file counts too."""
        if parse_address(relay.host):
            return Route((MxHost(relay.host, 0, (relay.host,)),), relay.port)
        v6, v4 = [self.look_up(relay.host, kind) for kind in BOTH]
        answers = await v6, await v4
        addresses = [address for answer in answers for _, address in answer.records]
        addresses = addresses or await _system_addresses(relay.host)
        if not addresses:
            text = f"relay_host {relay.host} has no address: {answers[-1].detail or answers[-1].found.value}"
            return ours(451, "4.4.3", text, "DNS", Scope.SITE)
        return Route((MxHost(relay.host, 0, tuple(addresses)),), relay.port)

    async def mx_now(self, domain: str) -> Answer:
        """The MX of `domain` as DNS has it at this moment, whatever is kept of it."""
        return await self._ask(domain, "MX")

    def look_up(self, name: str, kind: str) -> asyncio.Future[Answer]:
        """One look-up of MX, A, AAAA, CNAME, TXT or TLSA: it is asked at once, and awaited where the answer is needed."""
        known = self._known(name, kind)
        if known is not None:
            future = asyncio.get_running_loop().create_future()
            future.set_result(known)
            return future
        asking = (name, kind, URGENT.get())  # who is urgent asks himself: another's question may still stand in line
        task = self._running.get(asking)
        if task is None:
            task = self._running[asking] = asyncio.create_task(self._ask(name, kind))
            task.add_done_callback(lambda _: self._running.pop(asking, None))
        return asyncio.shield(task)

    def _known(self, name: str, kind: str) -> Answer | None:
        """What would not have to be asked."""
        key = (name, kind)
        cached = self._cache.get(key)
        if cached is None or self._clock() >= cached[0]:
            return None
        self._cache.move_to_end(key)
        return cached[1]

    async def _ask(self, name: str, kind: str) -> Answer:
        async with self._queries.one():
            answer, ttl = await self._query(name, kind)
        if answer.found is Found.FAILED:
            log.debug("DNS look-up failed", name=name, kind=kind, detail=answer.detail)
        if ttl > 0:
            self._cache[name, kind] = (self._clock() + ttl * 1000, answer)
            self._cache.move_to_end((name, kind))
            if len(self._cache) > MAX_ENTRIES:
                self._cache.popitem(last=False)
        return answer

    async def _query(self, name: str, kind: str) -> tuple[Answer, int]:
        """Ask; the answer and how many seconds it holds. dnspython's exceptions end here; the unknown is temporary."""
        try:
            client = self._client or self._configure()
            plain, tcp = await self._ask_plainly(name, kind)
            if plain is not None:
                return plain
            named = dns.name.from_text(name)
            result = await client.resolve(named, kind, tcp=tcp, raise_on_no_answer=False, search=False)
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape) as error:
            return Answer(Found.NO_NAME, detail=str(error)), MAX_NEGATIVE
        except dns.resolver.NXDOMAIN as error:
            return Answer(Found.NO_NAME, secure=all(map(self._secure, _responses(error).values()))), _negative_ttl(
                error
            )
        except (dns.exception.DNSException, OSError, EOFError) as error:
            return Answer(Found.FAILED, detail=_words(error)), FAILURE_TTL
        ttl = int(result.chaining_result.minimum_ttl)
        secure = self._secure(result.response)
        if result.rrset is None:
            return Answer(Found.NOTHING, secure=secure), _negative(ttl)
        canonical = result.canonical_name.to_text(omit_final_dot=True).lower()
        return Answer(Found.RECORDS, _records(result.rrset), "", secure, canonical), min(ttl, MAX_TTL)

    async def _ask_plainly(self, name: str, kind: str) -> tuple[tuple[Answer, int] | None, bool]:
        """What the first name server says at once, where it is plain (plain_dns.py), and how many seconds that holds; else
        None, and whether it is to be asked for by TCP."""
        number = int.from_bytes(os.urandom(2))  # whoever would forge answers must not guess it (RFC 5452 4.3)
        query = question(name, kind, number, authentic=self._trust_ad)
        if query is None or self._first is None:
            return None, False
        response = await self._first.ask(query)
        if response is None or cut(response):
            return None, response is not None
        found = read(response, query, authentic=self._trust_ad)
        if found is None:
            return None, False
        answer, ttl = found
        return (answer, min(ttl, MAX_TTL) if answer.found is Found.RECORDS else _negative(ttl)), False

    def _secure(self, response: dns.message.Message) -> bool:
        """AD covers all that an answer says, aliases too (RFC 4035 3.2.3)."""
        return self._trust_ad and bool(response.flags & dns.flags.AD)

    def _configure(self) -> dns.asyncresolver.Resolver:
        """Made at the first question: a machine without a resolv.conf still starts, and its mail waits."""
        client = dns.asyncresolver.Resolver(configure=not self._nameservers)
        if self._nameservers:
            client.nameservers = self._nameservers
        client.timeout, client.lifetime = self._timeout, self._lifetime
        client.use_edns(0, 0, 1232)  # the size that is not fragmented (DNS flag day 2020); larger answers come by TCP
        if self._trust_ad:
            client.flags = dns.flags.RD | dns.flags.AD  # AD in a question asks for it in the answer (RFC 6840 5.7)
        address = _address(client)
        self._first = NameServer(address, min(PATIENCE, self._timeout)) if address is not None else None
        self._client = client
        return client


def _families(source: str, rules: Rules) -> Sequence[Sequence[str]]:
    """What is asked of hosts, and what next where that leads nowhere: which host is ours is told by addresses of both."""
    if not source or any((":" in ours) != (":" in source) for ours in rules.own_addresses):
        return (BOTH,)
    return (("AAAA",) if ":" in source else ("A",), BOTH)


def _address(client: dns.asyncresolver.Resolver) -> tuple[str, int] | None:
    """Of its first server."""
    first = next(iter(client.nameservers), None)
    if isinstance(first, dns.nameserver.Do53Nameserver):
        return first.address, first.port
    return (first, client.port) if isinstance(first, str) else None


def _nameserver(text: str) -> dns.nameserver.Do53Nameserver:
    host, _, port = text.rpartition(":")
    return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))


def _records(rrset: Iterable[Any]) -> tuple[tuple[int, str], ...]:
    found = tuple(map(_record, rrset))
    return found if len(found) <= MAX_RECORDS else tuple(nsmallest(MAX_RECORDS, found))


def _record(rdata: Any) -> tuple[int, str]:
    """(preference, host) of an MX record, "" for the root; (0, address) of A and AAAA; (0, text) of others: of TXT its
    strings joined, of TLSA `usage selector matching hex`."""
    match rdata.rdtype:
        case dns.rdatatype.MX:
            name = rdata.exchange.to_text(omit_final_dot=True).lower()
            return rdata.preference, "" if name == "." else name
        case dns.rdatatype.TXT:
            return 0, b"".join(rdata.strings)[:MAX_TEXT].decode("latin-1")
        case dns.rdatatype.TLSA:
            return 0, f"{rdata.usage} {rdata.selector} {rdata.mtype} {rdata.cert.hex()}"
        case dns.rdatatype.CNAME:
            return 0, rdata.target.to_text(omit_final_dot=True).lower()
        case _:
            return 0, rdata.address


def _responses(error: dns.resolver.NXDOMAIN) -> Mapping[object, Any]:
    found: Mapping[object, Any] = error.kwargs["responses"]
    return found


def _negative_ttl(error: dns.resolver.NXDOMAIN) -> int:
    answers = _responses(error).values()
    return _negative(min((int(each.resolve_chaining().minimum_ttl) for each in answers), default=0))


def _negative(ttl: int) -> int:
    """Where no SOA says how long, dnspython says five minutes."""
    return min(ttl, MAX_NEGATIVE)


def _words(error: Exception) -> str:
    if isinstance(error, dns.resolver.LifetimeTimeout):
        return "no answer in time"
    if isinstance(error, dns.resolver.NoNameservers):
        return "the name servers answer with an error"
    if isinstance(error, dns.resolver.NoResolverConfiguration):
        return "this machine names no name servers"
    return type(error).__name__


async def _system_addresses(host: str) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=1)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(each[4][0]) for each in found))
