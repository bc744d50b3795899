"""Story 1: from DATA to 250. Classify, check, sign, put; the answer is sent when the message is on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.consent import Accepted, Consent, ask_early, at_accept
from relay.edge.submission import Submission
from relay.event import iso
from relay.guarding import Guarding
from relay.header import Field, split
from relay.heads import own_heads, shared_head
from relay.house import House, KeysFor
from relay.message import RUNAWAY, Change, Delivery, Envelope, MailClass, Message, RcptTo
from relay.notice import withhold
from relay.outcome import Reply
from relay.pacing import Limit, of_credential, spacing
from relay.policy import relevance
from relay.policy.copies import body_of
from relay.policy.decide import Decision, Law, Refusal
from relay.policy.flags import Flags
from relay.policy.letter import Letter
from relay.policy.priority import granted
from relay.policy.relevance import DUPLICATE, Postponed, Withheld
from relay.policy.streams import Stream
from relay.policy.unsubscribe import FIELDS
from relay.policy.weigh import Judge, Memory, Weighed, weigh
from relay.rewrite import Rewritten, received_field, rewrite, subject_of
from relay.signing.dkim import body_hash
from relay.signing.keys import SigningKey
from relay.spool.errors import SpoolError
from relay.tokens import Tokens

MAX_REASONS = 6  # terms of the evidence in an event, the strongest


@dataclass(slots=True, kw_only=True)
class Acceptance(House):
    """What accept() needs of the worker; the wiring replaces `law`, `keys_for` and `tokens` at a reload. `leaving`: by writing to
    which address one recipient unsubscribes: message id, index, brand -> "" where none comes back to us."""

    law: Law
    judge: Judge
    memory: Memory
    flags: Flags
    guarding: Guarding
    tokens: Tokens
    leaving: Callable[[str, int, str], str]


async def accept(submission: Submission, house: Acceptance) -> Reply | Refusal:
    """One message of an app: decided, signed, on disk, queued; or refused with the reason. Never raises for its content.

    Long, because it is the whole story, in the order in which it happens."""
    now, credential, law = submission.received_at, submission.credential, house.law
    fields, rest = split(submission.content)
    seen = _seen(submission, fields, rest)
    weighed = weigh(seen, credential, submission.stream, now, law, house.judge, house.memory)
    if isinstance(weighed, Refusal):
        return weighed
    decision = weighed.decision
    keys = signing_keys(decision, house.keys_for, law)
    if isinstance(keys, Refusal):
        return keys
    stream, asked = law.streams.named.get(decision.stream), submission.envelope.priority
    priority = granted(asked, stream)
    message_id = house.next_id()
    letter = rewrite(
        fields,
        rest,
        submission.content,
        message_id=f"<{message_id}@{decision.author_domain}>",
        received=received_field(submission.peer, house.hostname, message_id, now, priority),
        now=now,
        also_remove=decision.also_remove,
        replaced=FIELDS if weighed.offer is not None else frozenset(),
        feedback_id=law.feedback_ids.field(decision.campaign or decision.stream, credential.name, decision.brand),
    )
    message = _message(message_id, submission, weighed, letter, seen.subject, _of_tls(submission, fields))
    message.priority = priority
    hashed = _once(lambda: body_hash(letter.content, letter.body_start))
    _name_copies(message, decision, letter, hashed, house)
    recipients = submission.envelope.recipients
    addresses = [rcpt.address for rcpt in recipients]
    early = ask_early(message, addresses, house)
    seconds = await house.copies.claim(message, addresses)
    timezone = _timezone(decision, house)
    due = [now] * len(recipients)
    if not all(seconds):
        permits = await _permits(submission, weighed.mail_class, timezone, house)
        if isinstance(permits, Refusal):
            house.copies.given_up(message, addresses)
            return permits
        due = permits
    stale = relevance.stale(message, stream, now)
    postponed = None if stale else relevance.postponed(message, stream, now)
    withheld = seconds if stale is None else [second or stale for second in seconds]
    later = postponed is not None or max(due) > now
    found = await at_accept(message, addresses, withheld, stream, now, house, early, later=later)
    if found.refused:
        house.copies.given_up(message, addresses)
        return _over_its_cap(message, addresses, found.stands)
    go = [not isinstance(stand, Withheld) for stand in found.stands]
    if any(go):
        message.signed = [key.named for key in keys]
    heads = await _heads(submission, weighed, letter, hashed, keys, go, message, house)
    lots = _lots(message, submission.envelope, heads, due, found, postponed, house)
    goes = [lot for lot in lots if not isinstance(lot.stand, Withheld)]
    await _guard(seen, message, goes, house)
    await _line_up(goes, stream, timezone, house)
    facts = _ruled(weighed, law) | _noted(decision, asked, law)
    change = Change(put=[(message, [lot.delivery for lot in goes])] if goes else [])
    for lot in lots:
        change.events.append(house.recorder.of_delivery("accepted", lot.delivery, _looked_at(lot, law), facts))
    for lot in lots:
        await _tell(change, lot, house)
    if not await _save(change, message, lots, goes, house):
        return Reply(452, "4.3.1", "The message could not be saved; try again later")
    if weighed.checks:
        house.flags.count(decision.brand, weighed.checks, now)
    return _answer(message, asked, seconds)


async def _save(
    change: Change, message: Message, lots: Sequence["_Lot"], goes: Sequence["_Lot"], house: Acceptance
) -> bool:
    """On disk, and what `goes` of all `lots` in the schedule; False: there was no room."""
    try:
        await house.spool.put(change)
    except SpoolError:
        house.copies.given_up(message, [lot.recipient.address for lot in lots])
        return False
    house.copies.kept(message, [lot.recipient.address for lot in goes])
    if len(goes) < len(lots):
        house.copies.given_up(message, [lot.recipient.address for lot in lots if lot.fails])
    for _, waiting in change.put:
        house.capping.saved(waiting)
        house.offer(waiting)
    return True


def _name_copies(
    message: Message, decision: Decision, letter: Rewritten, hashed: Callable[[], bytes], house: Acceptance
) -> None:
    """Say by what its copies are known, and what takes its place. Of the fields that leave those before ours are the app's."""
    own = letter.fields[letter.ours :]
    hashes, credential = house.copies.hashes, message.credential
    message.copy = hashes.copy(
        credential, decision.idempotency_key, own, lambda: body_of(own, letter.content, letter.body_start, hashed)
    )
    message.collapse = hashes.collapse(credential, decision.collapse_key)


def _once(work: Callable[[], bytes]) -> Callable[[], bytes]:
    """What takes a while, when it is asked for first."""
    done: list[bytes] = []

    def answer() -> bytes:
        if not done:
            done.append(work())
        return done[0]

    return answer


def _answer(message: Message, asked: int | None, seconds: Sequence[Withheld | None]) -> Reply:
    """Of a message that was handed in before the app learns what became of it: that has the other's id."""
    answer = f"OK {message.id} stream={message.stream} class={message.mail_class.label}"
    if seconds[0] is not None and all(seconds):
        answer += f" duplicate_of={seconds[0].other}"
    if asked is not None and asked > message.priority:
        return Reply(250, "2.3.6", f"{message.priority} {answer}")  # X.3.6: the new priority, then text (RFC 6710)
    return Reply(250, "2.0.0", answer)


def signing_keys(decision: Decision, keys_for: KeysFor, law: Law) -> Sequence[SigningKey] | Refusal:
    """The keys that sign a message: none where its brand lets mail leave unsigned; else without a key it is not taken. Pure."""
    domain = decision.author_domain
    keys = keys_for(domain)
    brand = law.brands.get(decision.brand)
    if keys or (brand is not None and brand.unsigned == "send"):
        return keys
    text = f"No DKIM key for {domain} here, so it would leave unsigned: postlane keys generate {domain}"
    return Refusal(Reply(550, "5.7.20", text), "unsigned")


async def _heads(
    submission: Submission,
    weighed: Weighed,
    letter: Rewritten,
    hashed: Callable[[], bytes],
    keys: Sequence[SigningKey],
    go: Sequence[bool],
    message: Message,
    house: Acceptance,
) -> Sequence[bytes]:
    """What stands in front of the message for each recipient; signed for those that it goes to. `hashed`: the body's hash."""
    now, recipients = submission.received_at, submission.envelope.recipients
    if weighed.offer is None:
        head = await shared_head(letter, hashed, keys if any(go) else (), house.signer, now)
        return [head] * len(recipients)
    # What leaves from <> is not remembered; and an address has no room for the app's own URL, which is to be told as well.
    by_mail = bool(submission.envelope.sender) and not weighed.offer.calls
    goes = [
        (i, rcpt, house.leaving(message.id, i, message.brand) if by_mail else "")
        for i, (rcpt, one) in enumerate(zip(recipients, go, strict=True))
        if one
    ]
    own = await own_heads(letter, hashed, goes, message, weighed.offer, house.tokens, keys, house.signer, now)
    heads = iter(own)
    return [next(heads) if one else letter.added for one in go]


def _over_its_cap(message: Message, addresses: Sequence[str], stands: Sequence[Consent]) -> Refusal:
    """One answer for all recipients (INTERFACE): the first one's reason stands for the others'. The event says whose mail it
    was, so that `postlane plan` can try other caps on it."""
    detail = next((stand.detail for stand in stands if stand is not None), "")
    about = {
        "brand": message.brand,
        "stream": message.stream,
        "class": message.mail_class.label,
        "recipients": addresses,
    }
    return Refusal(Reply(550, "5.7.1", f"Not sent: {detail}"), "capped", about=about)


@dataclass(slots=True)
class _Lot:
    """One recipient's: when (ms) its permit of the quota lets it go, and what else stands in its way."""

    recipient: RcptTo
    delivery: Delivery
    due: int
    stand: Consent

    @property
    def fails(self) -> bool:
        """It is not sent, nor is another one in its place."""
        return isinstance(self.stand, Withheld) and self.stand.reason != DUPLICATE


def _lots(
    message: Message,
    envelope: Envelope,
    heads: Sequence[bytes],
    due: Sequence[int],
    found: Accepted,
    postponed: Postponed | None,
    house: Acceptance,
) -> list[_Lot]:
    lots = []
    for index, (rcpt, head) in enumerate(zip(envelope.recipients, heads, strict=True)):
        delivery, stand = _delivery(message, index, rcpt, envelope.sender, head, house), found.stands[index]
        delivery.counted = found.placed and stand is None
        lots.append(_Lot(rcpt, delivery, due[index], stand if postponed is None else _later(stand, postponed)))
    for index in found.nobody:
        lots[index].delivery.free_at = message.accepted_at
    return lots


def _later(stand: Consent, postponed: Postponed) -> Consent:
    """Of two times the later holds."""
    first = stand is None or (isinstance(stand, Postponed) and stand.until <= postponed.until)
    return postponed if first else stand


async def _guard(letter: Letter, message: Message, goes: Sequence[_Lot], house: Acceptance) -> None:
    """What is one too many of its kind is held."""
    if house.guarding.guard is None or not goes:
        return
    addresses = [lot.recipient.address for lot in goes]
    for lot, one in zip(goes, await house.guarding.look(letter, message, addresses), strict=True):
        if one is not None:
            lot.stand, lot.delivery.held = one, RUNAWAY


async def _tell(change: Change, lot: _Lot, house: Acceptance) -> None:
    """The event of one that does not go as soon as it may; what its sender is told if it never does. What is suspended is held
    from the start."""
    delivery, stand = lot.delivery, lot.stand
    if isinstance(stand, Withheld):
        await withhold(change, delivery, stand, "accept", house)
        return
    suspended = house.suspensions.find(delivery, delivery.message.accepted_at)
    if suspended is not None:
        delivery.held, delivery.counted = suspended.id, False
    why = suspended or stand
    if why is not None:
        change.events.append(house.recorder.of_delivery("postponed", delivery, why.facts))


def _seen(submission: Submission, fields: Sequence[Field], rest: int) -> Letter:
    """The message as policy looks at it."""
    envelope = submission.envelope
    domains = [rcpt.domain for rcpt in envelope.recipients]
    return Letter(fields, submission.content, rest, subject_of(fields), envelope.sender, domains)


def _looked_at(lot: _Lot, law: Law) -> dict[str, object]:
    """What an `accepted` event tells of one recipient beyond the common fields; over a limit it says so, and until when it
    waits."""
    delivery, message = lot.delivery, lot.delivery.message
    facts: dict[str, object] = {
        "size": message.size,
        "site": delivery.site,
        "signed": message.signed,
    }
    if law.subjects:
        facts["subject"] = message.subject
    if lot.recipient.found is not None:
        facts["address"] = lot.recipient.found
    if message.priority:
        facts["priority"] = message.priority
    if message.send_at is not None:
        facts["send_at"] = iso(message.send_at)
    if message.valid_until is not None:
        facts["valid_until"] = iso(message.valid_until)
    if delivery.quota:
        facts |= {"over_quota": True, "until": iso(delivery.next_attempt)}
    elif delivery.paced and lot.stand is None:
        facts |= {"over_rate": True, "until": iso(delivery.next_attempt)}
    return facts


def _ruled(weighed: Weighed, law: Law) -> dict[str, object]:
    """What an `accepted` event tells of why the message is what it is, so that `plan` can decide again. Of the evidence
    only where it was asked; `remembered`: this message was not judged itself, all this is known of messages like it."""
    claimed, evidence = weighed.decision.mail_class, weighed.evidence
    facts: dict[str, object] = {
        "policies": law.version,
        "rule": weighed.decision.rule,
        "claimed": claimed.label if claimed is not None else None,
        "contradiction": weighed.contradiction,
    }
    if weighed.checks:
        facts["checks"] = [{"name": one.name, "level": one.level} for one in weighed.checks]
    if evidence is None:
        return facts
    facts |= {
        "judged": evidence.mail_class.label,
        "confidence": round(evidence.confidence, 2),
        "evidence": [term.term for term in evidence.terms[:MAX_REASONS]],
    }
    if weighed.remembered:
        facts["remembered"] = True
    return facts


def _noted(decision: Decision, asked: int | None, law: Law) -> dict[str, object]:
    """What an `accepted` event holds so that `postlane plan` can decide again (policy/recorded.py), and the priority that
    was asked for."""
    facts: dict[str, object] = decision.noted
    if not law.subjects and isinstance(headers := facts.get("headers"), dict):
        headers.pop("subject", None)
    if decision.named:
        facts["named"] = True
    if decision.co_authors:
        facts["co_authors"] = decision.co_authors
    if asked is not None:
        facts["asked_priority"] = asked
    return facts


def _timezone(decision: Decision, house: Acceptance) -> str:
    """Calendar days of a quota are the brand's."""
    brand = house.law.brands.get(decision.brand)
    return brand.timezone if brand is not None else "UTC"


async def _permits(
    submission: Submission, mail_class: MailClass, timezone: str, house: Acceptance
) -> list[int] | Refusal:
    """A permit of the quota for each recipient: when (ms) it goes, now or in its turn; or why the message is not taken."""
    name, count, now = submission.credential.name, len(submission.envelope.recipients), submission.received_at
    quota, urgent = submission.credential.quota, mail_class is MailClass.TRANSACTIONAL
    if quota is None:
        return [now] * count
    refuses = submission.credential.over_quota == "refuse"
    if refuses and count > quota.count:
        text = f"{count} recipients are more than {name} may have at all: {quota.text}"
        return Refusal(Reply(550, "5.5.3", text), "quota")
    limit = of_credential(name, quota)
    wait = await _wait(limit, count, timezone, now, house, urgent=urgent)
    if wait and refuses:
        return Refusal(Reply(450, "4.7.1", f"{limit}; again in {-(-wait // 1000)} s"), "quota")
    return _places(limit, count, now, wait, house)


async def _wait(limit: Limit, count: int, timezone: str, now: int, house: Acceptance, *, urgent: bool) -> int:
    """0: `count` permits are there; else in how many ms there may be, behind those who wait already."""
    wait = house.pacer.until(limit.line, now)
    return wait or await house.quotas.take(limit.key, limit.rate, count, timezone, urgent=urgent)


def _places(limit: Limit, count: int, now: int, wait: int, house: Acceptance) -> list[int]:
    if not wait:
        return [now] * count
    first = house.pacer.place(limit.line, limit.rate, count, now + wait)
    return [first + i * spacing(limit.rate) for i in range(count)]


def _of_tls(submission: Submission, fields: Sequence[Field]) -> str:
    """What the message says of TLS on its way (RFC 8689): REQUIRETLS counts more than `TLS-Required: No`, of which two say
    nothing (4.1)."""
    if submission.envelope.requiretls:
        return "required"
    said = [field.value for field in fields if field.name == "tls-required"]
    return "waived" if len(said) == 1 and said[0].strip().lower() == b"no" else ""


def _message(
    message_id: str, submission: Submission, weighed: Weighed, letter: Rewritten, subject: str, tls: str
) -> Message:
    decision, envelope, content = weighed.decision, submission.envelope, letter.content
    header = content[: letter.body_start]
    return Message(
        id=message_id,
        accepted_at=submission.received_at,
        credential=submission.credential.name,
        brand=decision.brand,
        stream=decision.stream,
        mail_class=weighed.mail_class,
        contradiction=weighed.contradiction,
        skeleton=weighed.evidence.skeleton if weighed.evidence is not None else "",
        author=decision.author,
        message_id=letter.message_id,
        subject=subject,
        size=len(submission.content),
        campaign=decision.campaign,
        metadata=decision.metadata,
        ret="HDRS" if envelope.requiretls else envelope.ret,  # RFC 8689 5: a report may travel by worse ways
        envid=envelope.envid,
        dsn=submission.credential.dsn,
        tls=tls,
        utf8=not header.isascii(),
        eightbit=not content.isascii(),
        many=len(envelope.recipients) > 1,
        send_at=decision.send_at,
        valid_until=decision.valid_until,
        by=submission.received_at + envelope.by * 1000 if envelope.by is not None else None,
        by_trace=envelope.by_trace,
        content=content,
    )


async def _line_up(lots: Sequence[_Lot], stream: Stream | None, timezone: str, house: Acceptance) -> None:
    """As _place says, and no later than its sender is to be told that it is late."""
    await _place(lots, stream, timezone, house)
    for lot in lots:
        lot.delivery.next_attempt = relevance.by_then(lot.delivery.next_attempt, lot.delivery)


async def _place(lots: Sequence[_Lot], stream: Stream | None, timezone: str, house: Acceptance) -> None:
    """When each of them is looked at next, and which permit it takes then. What waits for anything else takes that of its
    stream's rate when it goes: the rate is of what goes, not of what comes."""
    if not lots:
        return
    message = lots[0].delivery.message
    now, limit = message.accepted_at, relevance.paced_by(message, stream)
    at_once = []
    for lot in lots:
        delivery = lot.delivery
        delivery.quota, delivery.paced, delivery.next_attempt = lot.due > now, limit is not None, lot.due
        if isinstance(lot.stand, Postponed):
            delivery.next_attempt = relevance.until_end(max(lot.due, lot.stand.until), message, stream)
        elif delivery.quota:
            delivery.next_attempt = relevance.until_end(lot.due, message, stream)
        else:
            at_once.append(delivery)
    if limit is None or not at_once:
        return
    urgent = message.mail_class is MailClass.TRANSACTIONAL
    wait = await _wait(limit, len(at_once), timezone, now, house, urgent=urgent)
    for delivery, turn in zip(at_once, _places(limit, len(at_once), now, wait, house), strict=True):
        delivery.paced = wait > 0
        delivery.next_attempt = relevance.until_end(turn, message, stream) if wait else turn


def _delivery(
    message: Message, index: int, rcpt: RcptTo, sender: str, signed_head: bytes, house: Acceptance
) -> Delivery:
    return Delivery(
        message=message,
        index=index,
        recipient=rcpt.address,
        domain=rcpt.domain,
        site=house.site_of(rcpt.address, rcpt.domain),
        sender=sender,
        mail_from=(sender and house.return_path(message.id, index, message.brand)) or sender,
        head=house.tracer.field(message.id, index) + signed_head,
        notify=rcpt.notify,
        orcpt=rcpt.orcpt,
        warned=message.by is not None and message.by <= message.accepted_at,
    )
