"""What is told of a delivery that does not end well, in the same transaction as that end: withheld events, reports."""

from collections.abc import Sequence

from relay.feedback.consequences import Report, owes_withheld_report
from relay.feedback.reports import report
from relay.header import split
from relay.house import House
from relay.message import Change, Delivery, MailClass, Message
from relay.outcome import Outcome, Reply, Scope
from relay.policy.relevance import DUPLICATE, Withheld
from relay.policy.sender import domain_of
from relay.signing.dkim import body_hash


async def withhold(change: Change, delivery: Delivery, why: Withheld, at: str, house: House) -> None:
    """It is not to be sent, for whatever reason; `at` is accept or attempt. Ending the delivery itself is the caller's."""
    change.events.append(house.recorder.of_delivery("withheld", delivery, why.facts | {"at": at}))
    if why.reason == DUPLICATE or not owes_withheld_report(delivery):  # of a duplicate the first copy tells
        return
    content = delivery.message.content
    if content is None:
        content = await house.spool.content(delivery.message)
    reply = Reply(550, why.status, f"Not sent: {why.detail}")
    outcome = Outcome(reply, why.reason.upper(), Scope.MESSAGE, internal=True)
    await add_report(change, Report.FAILED, delivery, outcome, content, house)


async def add_report(
    change: Change,
    kind: Report,
    about: Delivery,
    outcome: Outcome,
    content: bytes,
    house: House,
    again: int | None = None,
    until: int | None = None,
) -> None:
    """Put the sender's notification into `change`: signed, from <>, transactional. Of a delay it says when it goes `again`
    and `until` when that goes on. The caller offers what was put to the schedule."""
    now, identifier = house.clock(), house.next_id()
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
    message, signature = await _own(letter, identifier, "dsn", "Delivery status notification", house)
    message.credential, message.brand = about.message.credential, about.message.brand
    message.author = f"MAILER-DAEMON@{house.hostname}"
    domain = domain_of(about.sender)
    note = _from_nobody(message, 0, about.sender, domain, signature, house)
    change.put.append((message, [note]))
    facts = {"subject": message.subject, "size": message.size, "site": note.site, "report_of": about.message.id}
    change.events.append(house.recorder.of_delivery("accepted", note, facts))


async def put_alert(letter: bytes, subject: str, identifier: str, to: Sequence[str], house: House) -> None:
    """The node's own mail to those who run it: signed like all mail, transactional, from <>, since nobody reads its bounces.
    Raises SpoolError where it cannot be saved."""
    message, signature = await _own(letter, identifier, "alert", subject, house)
    message.author, message.many = f"postlane@{house.hostname}", len(to) > 1
    notes = [
        _from_nobody(message, index, address, domain_of(address), signature, house) for index, address in enumerate(to)
    ]
    change = Change(put=[(message, notes)])
    for note in notes:
        facts = {"subject": subject, "size": message.size, "site": note.site}
        change.events.append(house.recorder.of_delivery("accepted", note, facts))
    await house.spool.put(change)
    house.offer(notes)


async def _own(letter: bytes, identifier: str, stream: str, subject: str, house: House) -> tuple[Message, bytes]:
    """A message of the node itself, and its signature."""
    now = house.clock()
    fields, rest = split(letter)
    keys = house.keys_for(house.hostname)
    signature = await house.signer.sign(fields, body_hash(letter, rest + 2), keys, now) if keys else b""
    message = Message(
        signed=[key.named for key in keys],
        id=identifier,
        accepted_at=now,
        credential="postlane",
        brand="",
        stream=stream,
        mail_class=MailClass.TRANSACTIONAL,
        author="",
        message_id=f"<{identifier}@{house.hostname}>",
        subject=subject,
        size=len(letter),
        utf8=not letter[:rest].isascii(),
        eightbit=not letter.isascii(),
        content=letter,
    )
    return message, signature


def _from_nobody(message: Message, index: int, recipient: str, domain: str, signature: bytes, house: House) -> Delivery:
    return Delivery(
        message=message,
        index=index,
        recipient=recipient,
        domain=domain,
        site=house.site_of(recipient, domain),
        sender="",
        mail_from="",
        head=house.tracer.field(message.id, index) + signature,
        notify="NEVER",
        next_attempt=message.accepted_at,
    )
