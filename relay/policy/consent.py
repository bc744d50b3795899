"""May this person be sent this message? Pure; `now` in ms. Asked at accept and again before each attempt.

What stops mail of which class: a block of "all" stops everything; of a stream or topic, service mail and marketing; of
"marketing", that alone. A block is of one brand or of every one. What a person chose on a brand's page (topics off, a pause)
counts for mail of that brand; transactional mail is not asked about it. Rerouted mail (Message.spared) is judged as
transactional: our own doubt of its class holds nothing back.
"""

from collections.abc import Iterable

from relay.event import iso
from relay.identity import Credential
from relay.message import MailClass, Message
from relay.outcome import Reply
from relay.person import NOBODY, NOBODY_THERE, UNSUBSCRIBED, Block, Person, Wish
from relay.policy.relevance import Postponed, Withheld, until_end
from relay.policy.streams import Stream

NO_SUCH_MAILBOX = "5.1.1"  # apps drop an address on it, so it is said of nothing else
_WIDEST = ("all", "marketing", "topic", "stream")


def judge(person: Person, message: Message, stream: Stream | None, now: int) -> Withheld | Postponed | None:
    """None: it goes. `stream`: the message's, as the files in force have it."""
    if person is NOBODY:
        return None
    mail_class = class_of(message)
    topic = stream.topic if stream is not None else ""
    block = stopped_by(person.blocks, mail_class, message.brand, message.stream, topic, now)
    if block is not None:
        return refusal_of(block)
    wish = person.wishes.get(message.brand)
    if wish is None or mail_class is MailClass.TRANSACTIONAL:
        return None
    return _as_wished(wish, message, stream, now)


def class_of(message: Message) -> MailClass:
    """By which it is judged here."""
    return MailClass.TRANSACTIONAL if message.spared else message.mail_class


def stopped_by(
    blocks: Iterable[Block], mail_class: MailClass, brand: str, stream: str, topic: str, now: int
) -> Block | None:
    """The widest that stops such mail."""
    found = [
        block
        for block in blocks
        if block.brand in ("", brand) and not block.over(now) and _stops(block.stop, mail_class, stream, topic)
    ]
    return min(found, key=lambda block: _WIDEST.index(block.stop.partition(":")[0]), default=None)


def _stops(stop: str, mail_class: MailClass, stream: str, topic: str) -> bool:
    if stop == "all":
        return True
    if mail_class is MailClass.TRANSACTIONAL:
        return False
    kind, _, name = stop.partition(":")
    match kind:
        case "marketing":
            return mail_class is MailClass.MARKETING
        case "topic":
            return name == topic != ""
        case "stream":
            return name == stream != ""
    return False


def refusal_of(block: Block) -> Withheld:
    """In the words of its event: "topic offers, one-click on 2026-11-03"."""
    reason = UNSUBSCRIBED if block.reason == UNSUBSCRIBED else "suppressed"
    why = block.source if reason == UNSUBSCRIBED else ", ".join(filter(None, (block.reason, block.source)))
    detail = f"{block.stop.replace(':', ' ')}, {why} on {iso(block.since)[:10]}"
    if block.until is not None:
        detail += f", until {iso(block.until)[:10]}"
    status = NO_SUCH_MAILBOX if block.stop == "all" and block.reason in NOBODY_THERE else "5.7.1"
    return Withheld(reason, detail, status)


def refused_at_rcpt(person: Person, credential: Credential, now: int) -> Reply | None:
    """Before a message came its stream is not known, nor its brand where the credential names none: only what stops all that
    this app may send is refused here, the rest is withheld later. An app whose class is `auto` may send anything."""
    mail_class = MailClass.TRANSACTIONAL if credential.mail_class is None else credential.mail_class
    block = stopped_by(person.blocks, mail_class, credential.brand, "", "", now)
    if block is None:
        return None
    refusal = refusal_of(block)
    words = "No such mailbox" if refusal.status == NO_SUCH_MAILBOX else "Suppressed"
    return Reply(550, refusal.status, f"{words}: {refusal.detail}; it is not sent to any more")


def _as_wished(wish: Wish, message: Message, stream: Stream | None, now: int) -> Withheld | Postponed | None:
    if stream is not None and stream.topic in wish.topics_off:
        return Withheld("preference", f"topic {stream.topic} is off since {iso(wish.since)[:10]}")
    if wish.paused_until is None or wish.paused_until <= now or message.mail_class is not MailClass.MARKETING:
        return None
    detail = f"paused until {iso(wish.paused_until)[:10]}"
    return Postponed(until_end(wish.paused_until, message, stream), "preference", detail)
