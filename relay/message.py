"""The vocabulary: envelope, message, delivery, change. No imports from the rest of Postlane, no I/O.

Times are whole milliseconds since the epoch, UTC. Addresses keep the spelling the app gave; `domain` is always the
lower-case A-label (RFC 5890), the form DNS and tables use. Content is bytes with CRLF line ends and is never re-encoded.
"""

from dataclasses import dataclass, field
from enum import IntEnum


class MailClass(IntEnum):
    """What a message is; the value is its place in line: lower goes first (DESIGN, invariant 5)."""

    TRANSACTIONAL = 0
    SERVICE = 1
    MARKETING = 2

    label: str  # as people and files write it

    def __init__(self, _: int) -> None:
        self.label = self.name.lower()


HELD, RUNAWAY = 1, 2  # Delivery.held by hand, and by the guard against runaways

CLASSES = tuple(MailClass)  # by their value; asking a tuple takes a tenth of what asking the enumeration takes

# Mail that waits in one line: its class, its site, its stream and its priority (RFC 6710: -9 to 9, 9 goes first).
LaneKey = tuple[MailClass, str, str, int]


@dataclass(slots=True)
class RcptTo:
    """One accepted RCPT TO with its DSN parameters (RFC 3461 4.1, 4.2), as the app wrote them.

    notify   "" (not given), "NEVER", or upper-case words joined by commas: "SUCCESS,FAILURE,DELAY"
    orcpt    "" or `addr-type;xtext`, the xtext still encoded, case kept
    found    what the check of addresses found of it, for the event; None: nothing
    """

    address: str
    domain: str
    notify: str = ""
    orcpt: str = ""
    found: dict[str, object] | None = None


@dataclass(slots=True)
class Envelope:
    """MAIL FROM and RCPT TO of one transaction (RFC 5321 2.3.1). `sender` is "" for the null return path `<>`.

    ret      "" | "FULL" | "HDRS"          envid   "" or xtext as sent (RFC 3461 4.3, 4.4)
    size     announced with SIZE=, 0 if not   utf8  SMTPUTF8 was asked for (RFC 6531)
    priority asked for with MT-PRIORITY= (RFC 6710), -9 to 9; None: not given
    requiretls  REQUIRETLS was (RFC 8689)
    by       in how many seconds it should be delivered, or its sender be told that it is late (RFC 2852, by-mode N); 0 and less:
             it is, and he knows; None: not given      by_trace  he wants to know of each hand-over, too
    """

    sender: str
    recipients: list[RcptTo] = field(default_factory=list)
    ret: str = ""
    envid: str = ""
    size: int = 0
    utf8: bool = False
    priority: int | None = None
    requiretls: bool = False
    by: int | None = None
    by_trace: bool = False


@dataclass(slots=True)
class Peer:
    """The other end of an app's connection. `protocol` is the `with` word of Received: ESMTP, ESMTPS, ESMTPA, ESMTPSA and
    their UTF8SMTP forms (RFC 3848, 6531). `tls` is "" in clear, else the version as ssl names it ("TLSv1.3")."""

    ip: str
    port: int
    helo: str = ""
    protocol: str = "ESMTP"
    tls: str = ""


@dataclass(slots=True)
class Message:
    """A message as the spool keeps it: the facts events and queues need, and its content once for all recipients.

    id         16 characters, sortable by time (relay/ids.py)
    content    header fields that are the same for all recipients, blank line, body; None when not in memory
    author     the From address (first mailbox);  message_id, subject: of the header, decoded, bounded
    utf8       the header holds octets above 127: only an SMTPUTF8 host can take it (RFC 6531)
    eightbit   the body does: 8BITMIME (RFC 6152)
    row        the spool's key of it, set by put
    many       more than one recipient when accepted
    signed     our DKIM signatures on it, as events tell them: d (domain), s (selector), a (algorithm)
    contradiction  what was done about a claim of its class that the evidence contradicts: None (nothing to do), "flagged",
                   "rerouted" (carried and counted as `mail_class`, never held back as such), "enforced"
    priority   within its class, -9 to 9 (RFC 6710): higher goes first
    tls        what it says of the way: "" (nothing), "required" (REQUIRETLS), "waived" (TLS-Required: No), RFC 8689
    copy, collapse  hashes by which its copies, and what takes its place, are known (policy/copies.py); "": nothing is
    skeleton   of the template that it is made from (policy/evidence/skeleton.py); "": nobody looked
    alike      hash of the template that it was held for, with many others of it (policy/runaway.py); "": it was not
    by, by_trace  when (ms) its sender is told that it is late, None: as usual; and of each hand-over (RFC 2852)
    send_at, valid_until  when its app wants it sent at the earliest, and no more; None: it did not say
    """

    id: str
    accepted_at: int
    credential: str
    brand: str
    stream: str
    mail_class: MailClass
    author: str
    message_id: str
    subject: str
    size: int
    campaign: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    ret: str = ""
    envid: str = ""
    dsn: str = "headers"  # the credential's: full | headers | none
    utf8: bool = False
    eightbit: bool = False
    many: bool = False
    signed: list[dict[str, str]] = field(default_factory=list)
    contradiction: str | None = None
    send_at: int | None = None
    valid_until: int | None = None
    priority: int = 0
    tls: str = ""
    copy: str = ""
    collapse: str = ""
    alike: str = ""
    skeleton: str = ""
    by: int | None = None
    by_trace: bool = False
    row: int = 0
    content: bytes | None = None

    @property
    def spared(self) -> bool:
        """What withholds or postpones mail of its class does not apply to it: it is transactional or service by its app's
        word, and in that class by our own judgement alone."""
        return self.contradiction == "rerouted"


@dataclass(slots=True)
class Delivery:
    """One message's way to one recipient: what the schedule queues and an attempt carries.

    sender     the app's own MAIL FROM ("" for <>)        mail_from  the return path on the wire: the same, or one of ours
    head       header fields of this recipient alone, sent in front of the message's content: trace id, DKIM-Signature,
               Received and what was added; each ends with CRLF
    site       whose limits it shares
    quota      it was accepted over its credential's quota and takes a permit before the next attempt
    paced      it takes one of its stream's rate before the next attempt
    source     our address that a greylisting host has seen ("" otherwise)
    warned     the app was told of the delay
    held       0: it goes when it is due; HELD: an operator holds it; RUNAWAY: it is one too many of its kind, until
               `next_attempt`, or until released by hand; more: the suspension with this id does
    pool       the one that an operator moved it to; "": as routes say
    counted    it holds a place in what its recipient may get (relay/capping.py): State is told how it ends
    at_most    what its recipient wished when he was last asked for (relay/person.py, Wish): so that what waits for that waits
               in its turn
    freed      when a cap let it go that it had waited for; 0: it waited for none
    arrived    when it was delivered; 0: it is not. In memory alone
    free_at    when State said that nothing is known of its recipient; 0: it did not. In memory alone
    tier       of its recipient (relay/policy/engagement.py); "": not known. In memory alone
    happened   how it ended, for its stream's health (relay/tally.py); None: it does not count. In memory alone
    permitted  it has a permit of the rate that its stream is slowed to. In memory alone
    pending_since  ms, of a suppression of its recipient that waits for a second word; 0: none does. In memory alone
    refusals   what counts that he refused mail lately (relay/person.py). In memory alone
    """

    message: Message
    index: int
    recipient: str
    domain: str
    site: str
    sender: str
    mail_from: str
    head: bytes
    notify: str = ""
    orcpt: str = ""
    attempts: int = 0
    next_attempt: int = 0
    source: str = ""
    last_reply: str = ""
    held: int = 0
    quota: bool = False
    warned: bool = False
    paced: bool = False
    pool: str = ""
    counted: bool = False
    freed: int = 0
    arrived: int = 0
    free_at: int = 0
    at_most: str = ""

    @property
    def ours(self) -> bool:
        """Its return path is one of ours (relay/return_path.py)."""
        return self.mail_from != self.sender

    tier: str = ""
    happened: tuple[object, ...] | None = None
    permitted: bool = False
    pending_since: int = 0
    refusals: tuple[str, ...] = ()

    @property
    def engaged(self) -> bool | None:
        """Does its recipient care for the brand's mail? None: nobody knows."""
        return self.tier == "engaged" if self.tier else None

    @property
    def lane(self) -> LaneKey:
        message = self.message
        return message.mail_class, self.site, message.stream, message.priority

    @property
    def key(self) -> tuple[int, int]:
        """Identity within one spool shard."""
        return self.message.row, self.index


@dataclass(slots=True)
class Change:
    """What one step does to the spool, in one transaction: all of it or nothing (DESIGN, invariant 2).

    put       new messages with their deliveries (an accepted one; the DSN of a bounce)
    finished  deliveries that ended; a message leaves with its last delivery
    again     deliveries whose attempts, next_attempt, source, last_reply, held, quota, paced, warned, pool, counted, at_most or
              freed changed
    given_up  of these, those that held a place until now and hold it no more
    sent      of these, those delivered by a return path of ours: what may still come back is about them (relay/hindsight.py);
              each with the source it left by and the site that took it
    heard     (message id, recipient index, which report): what came back of them and is in `events` now
    learnt    what follows for later mail to a recipient, for the desk: each with the delivery that taught it
    told_of   what was heard later that counts for the health of a stream (relay/tally.py), each with a name of its own
    events    their records, one JSON object each, without line end
    """

    put: list[tuple[Message, list[Delivery]]] = field(default_factory=list)
    finished: list[Delivery] = field(default_factory=list)
    again: list[Delivery] = field(default_factory=list)
    given_up: list[Delivery] = field(default_factory=list)
    sent: list[tuple[Delivery, str, str]] = field(default_factory=list)
    heard: list[tuple[str, int, int]] = field(default_factory=list)
    learnt: list[tuple[Delivery, dict[str, object]]] = field(default_factory=list)
    told_of: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
