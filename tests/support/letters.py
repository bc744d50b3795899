"""Messages and deliveries to put into a spool."""

from dataclasses import replace

from relay.message import Delivery, MailClass, Message

MESSAGE = Message(
    id="01kaj2m8q4x7aaaa",
    accepted_at=1_763_700_000_000,
    credential="shop-web",
    brand="arava",
    stream="order",
    mail_class=MailClass.TRANSACTIONAL,
    author="orders@arava.example",
    message_id="<1042@arava.example>",
    subject="Your order 1042, \N{HEBREW LETTER ALEF}",
    size=17,
    campaign="weekend-47",
    metadata={"order": "1042"},
    ret="HDRS",
    envid="abc+2B",
    dsn="full",
    utf8=True,
    eightbit=True,
    contradiction="flagged",
    priority=0,
    send_at=1_763_600_000_000,
    valid_until=1_763_786_400_000,
    content=b"Subject: x\r\n\r\nHi\xff\r\n",
)


def letter(number: int = 0, recipients: int = 1, **changes: object) -> tuple[Message, list[Delivery]]:
    """A message with deliveries; `changes` are fields of either, those of a delivery counting for each."""
    facts = {name: value for name, value in changes.items() if name in Message.__dataclass_fields__}
    message = replace(MESSAGE, **{"id": f"01kaj2m8q4x7{number:04d}", **facts})  # type: ignore[arg-type]
    rest = {name: value for name, value in changes.items() if name not in facts}
    deliveries = [
        Delivery(
            message=message,
            index=index,
            recipient=f"Dana{index}@gmail.com",
            domain="gmail.com",
            site="google",
            sender="orders@arava.example",
            mail_from="b+1@arava.example",
            head=b"X-Trace: %d\xfe\x00\r\n" % index,
            notify="FAILURE,DELAY",
            orcpt="rfc822;dana",
            next_attempt=message.accepted_at + index,
        )
        for index in range(recipients)
    ]
    return message, [replace(delivery, **rest) for delivery in deliveries]  # type: ignore[arg-type]
