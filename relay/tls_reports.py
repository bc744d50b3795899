"""TLS reports (RFC 8460): once a day, how sessions with each domain that asks for it went; by mail and by HTTPS.

The mail is one of ours like a delivery report: signed, from <>, through the spool. It goes whatever TLS there is (RFC 8460
3), and tells of no session of its own. A day is reported when it is over (UTC) and as long again as this node's name says,
up to four hours (4.1 asks for it), then some a minute. What cannot be handed over comes again for some hours.
"""

import asyncio
from urllib.parse import urlsplit
from zlib import crc32

import apsw
import structlog

from relay.database import DatabaseError
from relay.egress.security import https, tlsrpt
from relay.egress.security.ledger import Ledger, day_of
from relay.egress.security.policies import StsPolicies, addresses_of
from relay.egress.security.store import Due, Store
from relay.egress.security.tlsrpt import About
from relay.header import split
from relay.house import House
from relay.message import Change, Delivery, MailClass, Message
from relay.policy.sender import domain_of
from relay.signing.dkim import body_hash
from relay.spool.errors import SpoolError

log = structlog.get_logger()

FLUSH = 30.0  # seconds between two writes of what was counted
PAUSE = 0.1  # seconds: a hundred questions a second at most
REFRESH = 3600.0  # seconds between two looks for policies of MTA-STS that are older than a day
A_MINUTE = 100  # reports at most
SPREAD = 4 * 3600_000  # ms
AGAIN = 3600_000  # ms after a report that could not be handed over
TRIES = 6
POST_SECONDS = 30.0
STREAM = "tls-report"

_TROUBLE = (apsw.Error, DatabaseError, OSError)


class TlsReports:
    """The upkeep of security/ in one worker: policies fetched anew, counts written down, and in the `lead` one, reports."""

    def __init__(
        self, house: House, policies: StsPolicies, ledger: Ledger, store: Store, *, node: str, lead: bool
    ) -> None:
        self._house = house
        self._policies = policies
        self._ledger = ledger
        self._store = store
        self._node = node
        self._lead = lead

    def __repr__(self) -> str:
        return f"<TlsReports {'sends' if self._lead else 'counts'} {self._ledger!r}>"

    async def run(self) -> None:
        beats = 0
        while True:
            if self._lead and beats % round(60 / FLUSH) == 0:
                await self.send_due()
            await asyncio.sleep(FLUSH)
            await self._ledger.flush(PAUSE)
            beats += 1
            if beats % round(REFRESH / FLUSH) == 0:
                await self._policies.refresh()

    async def send_due(self) -> None:
        """Those of days that are over; trouble with the file is logged, and looked at again."""
        now = self._house.clock()
        today = day_of(now - crc32(self._node.encode()) % SPREAD)
        try:
            for due in await asyncio.to_thread(self._store.due, today, now, A_MINUTE):
                await self._send(due, now)
        except _TROUBLE as error:
            log.error("TLS reports cannot be made", error=str(error))

    async def _send(self, due: Due, now: int) -> None:
        counted = await asyncio.to_thread(self._store.counted, due.day, due.domain)
        hostname = self._house.hostname
        about = About(due.day, due.domain, hostname, f"postmaster@{hostname}", self._node)
        content = tlsrpt.report(about, counted)
        handed = True
        for uri in await self._ledger.addresses(due.domain):
            if uri.startswith("https:"):
                handed = await self._post(uri, content) and handed
            elif not due.tries:  # later tries are for what is posted: mail that was put in the spool goes by itself
                handed = await self._mail(about, uri.removeprefix("mailto:"), content, now) and handed
        if handed or due.tries + 1 >= TRIES:
            await asyncio.to_thread(self._store.done, due)
        else:
            await asyncio.to_thread(self._store.later, due, now + AGAIN)

    async def _post(self, uri: str, content: bytes) -> bool:
        """RFC 8460 5.4: any 2xx is a yes."""
        parts = urlsplit(uri)
        host, path = parts.hostname or "", https.path_of(parts)
        request = https.Request(host, path, content, "application/tlsrpt+gzip", self._policies.port)
        addresses = await addresses_of(self._policies.resolver, request.host, self._policies.allow_private)
        try:
            answer = await https.ask(request, addresses, seconds=POST_SECONDS, most=65_536)
        except https.HttpsError as error:
            log.warning("TLS report not taken", uri=uri, error=str(error))
            return False
        if not 200 <= answer.status < 300:
            log.warning("TLS report not taken", uri=uri, status=answer.status)
        return 200 <= answer.status < 300

    async def _mail(self, about: About, to: str, content: bytes, now: int) -> bool:
        house, identifier = self._house, self._house.next_id()
        letter = tlsrpt.letter(about, to, content, f"<{identifier}@{house.hostname}>", now)
        fields, rest = split(letter)
        keys = house.keys_for(house.hostname)
        signature = await house.signer.sign(fields, body_hash(letter, rest + 2), keys, now) if keys else b""
        message = Message(
            id=identifier,
            accepted_at=now,
            credential="",
            brand="",
            stream=STREAM,
            mail_class=MailClass.SERVICE,
            author=about.contact,
            message_id=f"<{identifier}@{house.hostname}>",
            subject=f"Report Domain: {about.domain}",
            size=len(letter),
            dsn="none",
            signed=[key.named for key in keys],
            tls="waived",
            content=letter,
        )
        domain = domain_of(to)
        head = house.tracer.field(identifier, 0) + signature
        site = house.site_of(to, domain)
        delivery = Delivery(message, 0, to, domain, site, "", "", head, notify="NEVER", next_attempt=now)
        facts = {"subject": message.subject, "size": message.size, "site": site}
        event = house.recorder.of_delivery("accepted", delivery, facts)
        try:
            await house.spool.put(Change(put=[(message, [delivery])], events=[event]))
        except SpoolError as error:
            log.warning("TLS report not saved", domain=about.domain, error=str(error))
            return False
        house.offer([delivery])
        return True
