"""What a remote, or we ourselves, said to one step: replies and outcomes as values (DESIGN, invariant 10).

An exception is our own fault and propagates; what the far side does to us is an `Outcome`, one per recipient.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply (RFC 5321 4.2) with its enhanced status code (RFC 3463; "" where a remote gave none).

    `text` is one line; the lines of a remote's multiline reply are joined by a blank.
    """

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500


class Scope(Enum):
    """How far a failure reaches: what else would fail the same way (STYLE, habit 7)."""

    RECIPIENT = "recipient"  # this address at this site
    MESSAGE = "message"  # this message, to whomever (content, size, sender, a parameter the peer lacks)
    HOST = "host"  # this MX host or connection; another host of the site may do
    SITE = "site"  # the whole site (DNS, no host answers)
    SOURCE = "source"  # our own sending address (cannot bind, not welcome)


NO_DOMAIN = "no-domain"  # NXDOMAIN
NO_MAIL = "null-mx"  # it takes no mail, as it says itself (RFC 7505)


@dataclass(slots=True)
class Outcome:
    """What became of one attempt for one recipient.

    reply     the far side's words; our own where `internal`
    command   what it answered: DNS, CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA or END (after the final dot)
    scope     how far the failure reaches; RECIPIENT on success
    mx, tls   host that answered ("" if none) and the TLS version of the connection ("" in clear)
    source    our sending address ("" when the system chose)
    site      whose limits it counted against ("" where it never got that far)
    internal  these are our own words (timeouts, DNS, connection lost): back-off rules for replies never see them
    captured  it was for the built-in capture server, not for the world
    category  what a failure means, as feedback/taxonomy.py names it; "" of a success, and until it was asked
    rule      what decided that, in a few words, or the file and line of the admin's rule
    passing   it says that it will pass, however hard its code is: a limit, greylisting (feedback/consequences.py)
    dns       what our own look-up said of the recipient's domain, if that is the last word: NO_DOMAIN, NO_MAIL; "" else
    transcript  of a failure, what was said in the session, a line each (egress/transcript.py)
    relayed_dsn  the peer offered DSN and was handed NOTIFY, RET, ENVID, ORCPT: success reports are its duty (RFC 3461 5.2.2)
    """

    reply: Reply
    command: str
    scope: Scope = Scope.RECIPIENT
    mx: str = ""
    tls: str = ""
    source: str = ""
    internal: bool = False
    relayed_dsn: bool = False
    captured: bool = False
    site: str = ""
    category: str = ""
    rule: str = ""
    passing: bool = False
    dns: str = ""
    transcript: tuple[str, ...] = ()

    @property
    def delivered(self) -> bool:
        return self.reply.ok

    @property
    def permanent(self) -> bool:
        """Will trying again not help? A host's or source's refusal, however hard, says nothing of the recipient."""
        return self.reply.permanent and self.condemning and not self.passing

    @property
    def condemning(self) -> bool:
        """Is it about this recipient or message, so that it is the last word where the delivery ends with it?"""
        return self.scope in (Scope.RECIPIENT, Scope.MESSAGE)

    @property
    def keeps_source(self) -> bool:
        """Must the next attempt come from the same address? A greylisting host knows it by (address, sender, recipient).

        Greylisting has no code of its own (RFC 6647 4.1: any 4yz at RCPT or DATA), so each host that put off this
        recipient or message, and not all mail, is taken for one.
        """
        later = self.reply.temporary or self.passing
        return not self.internal and later and self.command in ("RCPT", "DATA", "END")
