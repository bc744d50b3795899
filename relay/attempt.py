"""Story 2: from due to done. Recheck, source, send, consequences, commit; one recipient of one message at a time."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from relay.egress.pools import Pool, Source
from relay.event import iso
from relay.feedback.consequences import Report, Retry, judge
from relay.feedback.reports import report
from relay.header import split
from relay.house import House
from relay.identity import Rate
from relay.message import Change, Delivery, MailClass, Message
from relay.outcome import Outcome, Reply, Scope
from relay.policy.routes import Route, Routes, pool_of
from relay.policy.sender import domain_of
from relay.schedule.retry import RetryPolicy, next_attempt, warn_due
from relay.signing.dkim import body_hash


class Courier(Protocol):
    async def send(
        self, delivery: Delivery, content: bytes, source: Source, hop: tuple[str, int] | None
    ) -> Outcome: ...


@dataclass(slots=True, kw_only=True)
class Attempting(House):
    """What attempt() needs of the worker; the wiring replaces `pools`, `named`, `routes` and `retry` at a reload.

    pools      each class's own                              named   all, by name, for `routes`
    quota_of   a credential's quota and its brand's time zone      tally   outcomes by kind and class, for metrics
    """

    pools: Mapping[MailClass, Pool]
    named: Mapping[str, Pool]
    routes: Routes
    retry: Mapping[MailClass, RetryPolicy]
    quota_of: Callable[[Message], tuple[Rate, str] | None]
    courier: Courier
    tally: Counter[tuple[str, MailClass]]


async def attempt(delivery: Delivery, house: Attempting) -> int | None:
    """Try once. None: the delivery has ended; else when (ms) it goes again. What it came to is on disk when this returns."""
    message = delivery.message
    route = house.routes.find(message, delivery.domain)
    if route is not None and route.discard:
        await _discard(delivery, route, house)
        return None
    waits = await _over_quota(delivery, house) if delivery.quota else None
    if isinstance(waits, int):
        return waits
    pool = pool_of(route, message.mail_class, house.pools, house.named)
    source = pool.choose(delivery.source, random.random())
    content = message.content if message.content is not None else await house.spool.content(message)
    hop = route.next_hop if route is not None else None
    outcome = waits or await house.courier.send(delivery, content, source, hop)
    verdict = judge(delivery, outcome, lambda: _retry(delivery, house), pool.name, house.recorder)
    change = Change(events=verdict.events)
    (change.finished if verdict.again is None else change.again).append(delivery)
    if verdict.report is not None:
        await _add_report(change, verdict.report, delivery, verdict.outcome, content, verdict.again, house)
    await house.spool.settle(change)
    for _, deliveries in change.put:
        house.offer(deliveries)
    ended = "delivered" if outcome.delivered else "bounced"
    house.tally["deferred" if verdict.again is not None else ended, message.mail_class] += 1
    return verdict.again


async def _discard(delivery: Delivery, route: Route, house: Attempting) -> None:
    facts = {"reason": "discarded", "detail": route.rule}
    event = house.recorder.of_delivery("withheld", delivery, facts)
    await house.spool.settle(Change(finished=[delivery], events=[event]))


def _retry(delivery: Delivery, house: Attempting) -> Retry:
    policy, now, accepted = house.retry[delivery.message.mail_class], house.clock(), delivery.message.accepted_at
    again = next_attempt(policy, delivery.attempts, accepted, now, random.random())
    return Retry(again, not delivery.warned and warn_due(policy, accepted, now))


async def _over_quota(delivery: Delivery, house: Attempting) -> int | Outcome | None:
    """Mail taken over its credential's quota is paced: None, it has its permit now; else when (ms) its turn comes again.
    An Outcome once it has waited as long as any mail may."""
    name, now = delivery.message.credential, house.clock()
    quota = house.quota_of(delivery.message)
    urgent = delivery.message.mail_class is MailClass.TRANSACTIONAL
    wait = await house.quotas.take(name, quota[0], 1, quota[1], urgent=urgent) if quota is not None else 0
    if quota is None or not wait:
        delivery.quota = False
        return None
    text = f"{name} is over {quota[0].text}"
    if now >= delivery.message.accepted_at + house.retry[delivery.message.mail_class].give_up:
        return Outcome(Reply(450, "4.7.1", text), "QUOTA", Scope.SOURCE, internal=True)
    delivery.next_attempt = house.pacer.place(name, quota[0], 1, now + wait)
    facts = {"reason": "quota", "detail": text, "until": iso(delivery.next_attempt)}
    event = house.recorder.of_delivery("postponed", delivery, facts)
    await house.spool.settle(Change(again=[delivery], events=[event]))
    return delivery.next_attempt


async def _add_report(
    change: Change,
    kind: Report,
    about: Delivery,
    outcome: Outcome,
    content: bytes,
    again: int | None,
    house: Attempting,
) -> None:
    """Put the sender's notification into the same transaction as what it reports: signed, from <>, transactional."""
    now, identifier = house.clock(), house.next_id()
    until = about.message.accepted_at + house.retry[about.message.mail_class].give_up
    letter = report(
        kind.value,
        about,
        content,
        outcome,
        now=now,
        again=again,
        until=until,
        hostname=house.hostname,
        identifier=identifier,
    )
    fields, rest = split(letter)
    keys = house.keys_for(house.hostname)
    signature = await house.signer.sign(fields, body_hash(letter, rest + 2), keys, now) if keys else b""
    message = Message(
        signed=[key.named for key in keys],
        id=identifier,
        accepted_at=now,
        credential=about.message.credential,
        brand=about.message.brand,
        stream="dsn",
        mail_class=MailClass.TRANSACTIONAL,
        author=f"MAILER-DAEMON@{house.hostname}",
        message_id=f"<{identifier}@{house.hostname}>",
        subject="Delivery status notification",
        size=len(letter),
        utf8=not letter[:rest].isascii(),
        eightbit=not letter.isascii(),
        content=letter,
    )
    domain = domain_of(about.sender)
    note = Delivery(
        message=message,
        index=0,
        recipient=about.sender,
        domain=domain,
        site=house.site_of(about.sender, domain),
        sender="",
        mail_from="",
        head=house.tracer.field(identifier, 0) + signature,
        notify="NEVER",
        next_attempt=now,
    )
    change.put.append((message, [note]))
    facts = {"subject": message.subject, "size": message.size, "site": note.site, "report_of": about.message.id}
    change.events.append(house.recorder.of_delivery("accepted", note, facts))
