"""Story 2: from due to done. Recheck, source, send, consequences, commit; one recipient of one message at a time."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from relay.consent import at_attempt
from relay.egress.courier import Permit, Way
from relay.egress.pools import Pool, Source
from relay.egress.security.unmet import Unmet
from relay.feedback.aftermath import FAULTS, Aftermath, kind_of
from relay.feedback.consequences import (
    Report,
    Retry,
    blames_source,
    judge,
    owes_delay_report,
    put_off,
    understand,
    word_of,
)
from relay.feedback.rulings import Rulings
from relay.feedback.taxonomy import Category
from relay.house import House
from relay.identity import Rate
from relay.lately import Lately
from relay.message import Change, Delivery, MailClass, Message
from relay.notice import add_report, withhold
from relay.outcome import Outcome, Reply, Scope
from relay.pacing import Limit, of_credential
from relay.pause import Later, Pause
from relay.policy import relevance
from relay.policy.health import Slowed
from relay.policy.relevance import SUPERSEDED, Postponed, Withheld
from relay.policy.routes import Route, Routes, pool_of
from relay.policy.streams import Stream
from relay.policy.suspension import Suspension
from relay.schedule.retry import RetryPolicy, next_attempt, warn_due
from relay.shaping.shape import Shape
from relay.shaping.shaper import Berth
from relay.tally import Kind, fault, happened

MOST_SOURCES = (
    3  # tried in one attempt: each costs a transaction, and a site that refuses all sees no more of them at once
)
LOOK_AGAIN = 1_000  # ms until mail is looked at again for which State has not told yet whether it is suspended


class Courier(Protocol):
    async def way(self, delivery: Delivery, hop: tuple[str, int] | None) -> Way | Outcome: ...
    async def families(self, delivery: Delivery, way: Way) -> frozenset[int] | None: ...
    async def send(
        self, delivery: Delivery, content: bytes, source: Source, way: Way, terms: Shape, permit: Permit
    ) -> Outcome | Later: ...


class Shaper(Protocol):
    async def berth(
        self,
        delivery: Delivery,
        pool: Pool,
        site: str,
        host: str,
        families: Collection[int] | None,
        but: Collection[str],
    ) -> Berth[Source] | Pause | None: ...
    def unused(self, berth: Berth[Source]) -> None: ...
    def observe(self, berth: Berth[Source], outcome: Outcome, category: str) -> object: ...


@dataclass(slots=True, kw_only=True)
class Attempting(House):
    """What attempt() needs of the worker; the wiring replaces `pools`, `named`, `routes`, `retry`, `rulings`
    and `streams` at a reload.

    pools      each class's own                              named   all, by name, for `routes`
    rulings    what replies mean by the admin's word          aftermath   what failures mean for later mail
    doubts     is a site's word that there is no such user not taken now?
    streams    by name                                       tally   outcomes by kind and class, for metrics
    lately     the same by site and pool, of the last seconds
    delivered_to   is told each domain that took a message
    unmet      domains whose mail waits for want of TLS
    quota_of   a credential's, by name                       timezone_of   a brand's, by name
    slow       which streams are slowed for their health
    going      tells the schedule that an attempt has all the permits it needs, so that the next one may ask
    """

    pools: Mapping[MailClass, Pool]
    named: Mapping[str, Pool]
    routes: Routes
    retry: Mapping[MailClass, RetryPolicy]
    rulings: Rulings
    aftermath: Aftermath
    doubts: Callable[[str], bool]
    streams: Mapping[str, Stream]
    quota_of: Callable[[str], Rate | None]
    timezone_of: Callable[[str], str]
    courier: Courier
    going: Callable[[Delivery], None]
    shaper: Shaper
    tally: Counter[tuple[str, MailClass]]
    lately: Lately
    delivered_to: Callable[[str], None]
    unmet: Unmet
    slow: Slowed


async def attempt(delivery: Delivery, house: Attempting) -> int | Pause | None:
    """Try once. None: the delivery has ended, or is held; else when (ms) it goes again: a time, and what it came to is on
    disk when this returns; or a Pause, when its site has no room before and nothing was tried or written."""
    route, now = _route(delivery, house), house.clock()
    if route is not None and route.discard:
        await _discard(delivery, route, house)
        return None
    if relevance.late(delivery, now):
        await _tell_late(delivery, house)
    held = delivery.counted
    hindrance = await _hindrance(delivery, now, house)
    if hindrance is not None:
        return await _give_way(delivery, hindrance, house)
    if house.routes.by_tier and (route := _route(delivery, house)) is not None and route.discard:
        await _discard(delivery, route, house)
        return None
    limited = delivery.quota or delivery.paced or house.slow
    waits = await _over_a_limit(delivery, house) if limited else None
    if isinstance(waits, int):
        return waits
    pool = _pool(delivery, route, house)
    outcome = waits or await _carry(delivery, pool, route.next_hop if route is not None else None, house)
    if isinstance(outcome, Pause):
        if now < _give_up(delivery, house):
            if delivery.counted and not held:
                await _hand_back(delivery, house)
            return outcome
        outcome = Outcome(Reply(450, "4.7.1", outcome.why), "QUOTA", Scope.SOURCE, internal=True)
    return await _conclude(delivery, outcome, pool, now, house)


async def _conclude(delivery: Delivery, outcome: Outcome, pool: Pool, now: int, house: Attempting) -> int | None:
    """What the attempt came to, on disk and told; when (ms) it goes again."""
    message = delivery.message
    if not outcome.category:
        understand(outcome, delivery.site, house.rulings)
    verdict = judge(delivery, outcome, lambda: _retry(delivery, house), pool.name, now, house)
    delivered = outcome.delivered
    if delivered:
        delivery.arrived = house.clock()
    change = Change(events=verdict.events)
    (change.finished if verdict.again is None else change.again).append(delivery)
    if verdict.learnt is not None:
        change.learnt.append((delivery, verdict.learnt))
    if verdict.again is None:
        if delivered and delivery.ours and not outcome.captured:  # what may still come back is about it
            change.sent.append((delivery, outcome.source, outcome.site or delivery.site))
        our_report = not delivery.sender and delivery.notify == "NEVER"  # says nothing of an app
        if not outcome.captured and not our_report:
            delivery.happened = _happened(delivery, outcome, house)
    elif delivery.attempts == 1 and outcome.category in FAULTS and not (outcome.captured or outcome.internal):
        told = fault(delivery, Kind.PUT_OFF, word_of(delivery, outcome), now, outcome.category, outcome.reply)
        change.told_of.append((f"{message.id}-{delivery.index}-1", told))
    if verdict.report is not None:
        until = _until(delivery, house) if verdict.again is not None else None
        content = await _content(message, house)
        await add_report(change, verdict.report, delivery, verdict.outcome, content, house, verdict.again, until)
    if verdict.again is None and not delivered:
        await house.copies.give_up(delivery)
    await _settle(change, house)
    ended = "deferred" if verdict.again is not None else "delivered" if delivered else "bounced"
    if delivered and not outcome.captured:
        house.delivered_to(delivery.domain)
        house.unmet.arrived(delivery.domain)
    elif outcome.category == Category.TLS_FAILURE and verdict.again is not None:
        house.unmet.waits(delivery.domain, str(outcome.reply), now)
    house.tally[ended, message.mail_class] += 1
    _note(delivery, ended, pool, outcome.reply, house)
    return verdict.again


def _happened(delivery: Delivery, outcome: Outcome, house: Attempting) -> tuple[object, ...]:
    """How it ended, as it counts for the health of its stream. What was said until it expired is as final as a 5xx."""
    if outcome.delivered:
        return happened(delivery, Kind.DELIVERED, outcome.site or delivery.site, delivery.arrived)
    kind, site, now = kind_of(outcome.category, permanent=outcome.condemning), word_of(delivery, outcome), house.clock()
    if kind is not Kind.FAULT:
        return happened(delivery, kind, site, now)
    if outcome.internal or (delivery.attempts > 1 and not outcome.permanent):
        # Our own words blame nobody; and of what was put off it has been told.
        return happened(delivery, Kind.BOUNCED, site, now)
    return fault(delivery, kind, site, now, outcome.category, outcome.reply)


async def _tell_late(delivery: Delivery, house: Attempting) -> None:
    """Its sender said by when; what is late is tried on (RFC 2852 4.1.2)."""
    delivery.warned = True
    change = Change(again=[delivery])
    if owes_delay_report(delivery):
        heard = f"; the last answer was: {delivery.last_reply}" if delivery.last_reply else ""
        outcome = Outcome(
            Reply(450, "4.4.7", f"Not delivered in the time its sender set{heard}"), "LATE", internal=True
        )
        content = await _content(delivery.message, house)
        await add_report(change, Report.DELAYED, delivery, outcome, content, house, until=_until(delivery, house))
    await _settle(change, house)


async def _hindrance(
    delivery: Delivery, now: int, house: Attempting
) -> Withheld | Suspension | Postponed | Pause | None:
    """What has come between since it was accepted, or still does; None: it goes. What costs no question comes first."""
    message = delivery.message
    stream = house.streams.get(message.stream)
    stale = relevance.stale(message, stream, now)
    if stale is not None:
        return stale
    suspended = house.suspensions.find(delivery, now)
    if suspended is not None:
        return suspended
    if not house.suspensions.known and message.mail_class is not MailClass.TRANSACTIONAL:
        return Pause(now + LOOK_AGAIN, "State has not told yet what is suspended")
    superseded = await house.copies.newer(delivery) if message.collapse else None
    if superseded is not None:
        return superseded
    before = delivery.tier
    hindrance = relevance.postponed(message, stream, now) or await at_attempt(delivery, stream, now, house)
    if hindrance is None and delivery.tier != before:  # it may go by another pool now, which is suspended
        return house.suspensions.find(delivery, now)
    return hindrance


async def _give_way(
    delivery: Delivery, hindrance: Withheld | Suspension | Postponed | Pause, house: Attempting
) -> int | Pause | None:
    """On disk when it returns; answers as attempt() does."""
    match hindrance:
        case Pause():
            return hindrance
        case Postponed():
            return await _postpone(delivery, hindrance, house)
        case Withheld():
            await _withhold(delivery, hindrance, house)
        case Suspension():
            await _hold(delivery, hindrance, house)
    return None


async def _carry(delivery: Delivery, pool: Pool, hop: tuple[str, int] | None, house: Attempting) -> Outcome | Pause:
    """Where to, by which of our sources and within which limits, and there. What has waited for room as long as any mail may
    has an Outcome in our own words."""
    way = await house.courier.way(delivery, hop)
    if isinstance(way, Outcome):
        return way
    families = await house.courier.families(delivery, way) if pool.mixed else None
    outcome: Outcome | None = None
    pause: Pause | None = None
    tried: set[str] = set()
    while (berth := await house.shaper.berth(delivery, pool, way.site, way.host, families, tried)) is not None:
        if isinstance(berth, Pause):
            return put_off(outcome) if outcome is not None else _first(pause, berth)
        house.going(delivery)
        try:
            content = await _content(delivery.message, house)
            found = await house.courier.send(delivery, content, berth.source, way, berth.shape, berth)
        finally:
            berth.leave()
        tried.add(berth.source.address)
        if isinstance(found, Later):  # by this source; another may do
            house.shaper.unused(berth)
            pause = _first(pause, Pause(house.clock() + found.wait, found.why, way.site, pool.name))
            continue
        outcome = found
        understand(outcome, way.site, house.rulings)
        house.shaper.observe(berth, outcome, "" if outcome.internal else outcome.category)
        if not blames_source(outcome):
            return outcome
        if len(tried) == MOST_SOURCES < len(pool.sources):
            return put_off(outcome)
    if outcome is None:
        assert pause is not None  # every pool has a source
        return pause
    return put_off(outcome) if pause is not None else outcome


def _first(one: Pause | None, other: Pause) -> Pause:
    """The one that ends first: a source may be free then."""
    return other if one is None or other.until < one.until else one


async def _content(message: Message, house: Attempting) -> bytes:
    return message.content if message.content is not None else await house.spool.content(message)


def _note(delivery: Delivery, ended: str, pool: Pool, reply: Reply, house: Attempting) -> None:
    """For who watches."""
    message, now = delivery.message, house.clock()
    house.lately.note(delivery.site, pool.name, ended, reply, now)
    if ended == "delivered" and message.mail_class is MailClass.TRANSACTIONAL and delivery.attempts <= 1:
        house.lately.took(now - message.accepted_at)


def pool_for(delivery: Delivery, house: Attempting) -> Pool:
    """The pool that would carry it now. Pure."""
    return _pool(delivery, _route(delivery, house), house)


def _route(delivery: Delivery, house: Attempting) -> Route | None:
    return house.routes.find(delivery.message, delivery.domain, delivery.tier)


def _pool(delivery: Delivery, route: Route | None, house: Attempting) -> Pool:
    moved = house.named.get(delivery.pool) if delivery.pool else None
    return moved or pool_of(route, delivery.message.mail_class, house.pools, house.named)


async def _hold(delivery: Delivery, suspended: Suspension, house: Attempting) -> None:
    delivery.held = suspended.id
    event = house.recorder.of_delivery("postponed", delivery, suspended.facts)
    await house.spool.settle(Change(again=[delivery], given_up=_given_up(delivery), events=[event]))


def _given_up(delivery: Delivery) -> list[Delivery]:
    """What waits for another reason leaves its place to others, and asks for one when it goes."""
    held, delivery.counted = delivery.counted, False
    return [delivery] if held else []


async def _hand_back(delivery: Delivery, house: Attempting) -> None:
    """The place that it has just taken: nothing on disk tells of it, so nobody would give it up if the delivery left memory now
    and was held, cancelled or stale before it goes."""
    delivery.counted = False
    await house.capping.give_back(delivery.message, [(delivery.index, delivery.recipient)])


async def _discard(delivery: Delivery, route: Route, house: Attempting) -> None:
    facts = {"reason": "discarded", "detail": route.rule}
    event = house.recorder.of_delivery("withheld", delivery, facts)
    await house.copies.give_up(delivery)
    await house.spool.settle(Change(finished=[delivery], events=[event]))
    house.tally["withheld", delivery.message.mail_class] += 1


async def _withhold(delivery: Delivery, why: Withheld, house: Attempting) -> None:
    change = Change(finished=[delivery])
    await withhold(change, delivery, why, "attempt", house)
    if why.reason != SUPERSEDED:  # else an app that is late with its older copy would put it in the newer one's place
        await house.copies.give_up(delivery)
    await _settle(change, house)
    house.tally["withheld", delivery.message.mail_class] += 1


async def _postpone(delivery: Delivery, postponed: Postponed, house: Attempting) -> int:
    delivery.next_attempt = relevance.by_then(postponed.until, delivery)
    event = house.recorder.of_delivery("postponed", delivery, postponed.facts)
    await house.spool.settle(Change(again=[delivery], given_up=_given_up(delivery), events=[event]))
    return delivery.next_attempt


async def _settle(change: Change, house: Attempting) -> None:
    await house.spool.settle(change)
    for _, deliveries in change.put:
        house.offer(deliveries)


def _retry(delivery: Delivery, house: Attempting) -> Retry:
    policy, now, begin = house.retry[delivery.message.mail_class], house.clock(), _begin(delivery, house)
    again = next_attempt(policy, delivery.attempts, begin, now, random.random())
    if again is not None:
        again = _no_later_than_its_end(again, delivery, house)
    if delivery.message.by is None:
        return Retry(again, not delivery.warned and warn_due(policy, begin, now))
    late = relevance.late(delivery, now)
    return Retry(again if again is None or late else relevance.by_then(again, delivery), late)


def _until(delivery: Delivery, house: Attempting) -> int:
    """How long it is tried."""
    return _no_later_than_its_end(_give_up(delivery, house), delivery, house)


def _give_up(delivery: Delivery, house: Attempting) -> int:
    """When its class has waited as long as any mail may."""
    return _begin(delivery, house) + house.retry[delivery.message.mail_class].give_up


def _begin(delivery: Delivery, house: Attempting) -> int:
    return max(delivery.freed, relevance.begin_of(delivery.message, house.streams.get(delivery.message.stream)))


def _no_later_than_its_end(at: int, delivery: Delivery, house: Attempting) -> int:
    return relevance.until_end(at, delivery.message, house.streams.get(delivery.message.stream))


async def _over_a_limit(delivery: Delivery, house: Attempting) -> int | Outcome | None:
    """Mail taken over its credential's quota or its stream's rate is paced, and that of a stream whose health slows it: None, it
    has the permits it lacked; else as _permit."""
    message = delivery.message
    if delivery.quota:
        quota = house.quota_of(message.credential)
        limit = of_credential(message.credential, quota) if quota is not None else None
        waits = await _permit(delivery, limit, house)
        if waits is not None:
            return waits
        delivery.quota = False
    if delivery.paced:
        limit = relevance.paced_by(message, house.streams.get(message.stream))
        waits = await _permit(delivery, limit, house)
        if waits is not None:
            return waits
        delivery.paced = False
    if house.slow and not delivery.permitted:
        waits = await _permit(delivery, house.slow.pace(delivery), house)
        if waits is not None:
            return waits
        delivery.permitted = True
    return None


async def _permit(delivery: Delivery, limit: Limit | None, house: Attempting) -> int | Outcome | None:
    """None: it has one, or needs none any more; else when (ms) its turn comes again. An Outcome once it has waited as long
    as any mail may."""
    if limit is None:
        return None
    message, now = delivery.message, house.clock()
    urgent, timezone = message.mail_class is MailClass.TRANSACTIONAL, house.timezone_of(message.brand)
    wait = await house.quotas.take(limit.key, limit.rate, 1, timezone, urgent=urgent)
    if not wait:
        return None
    if now >= _give_up(delivery, house):
        return Outcome(Reply(450, "4.7.1", str(limit)), "QUOTA", Scope.SOURCE, internal=True)
    place = _no_later_than_its_end(house.pacer.place(limit.line, limit.rate, 1, now + wait), delivery, house)
    return await _postpone(delivery, Postponed(place, limit.reason, str(limit)), house)
