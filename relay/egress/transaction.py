"""One mail transaction as a conversation without I/O: what to write, what each reply means, what came of it. Pure.

Rules: one recipient a transaction, so that each has its own answer. Where the peer offers PIPELINING, MAIL, RCPT and
DATA leave in one write (RFC 2920 3.1) and three replies are read in order; else one at a time. Any 2xx is a yes (RFC
5321 4.2.1). The caller writes what `start` and `receive` return, and closes the connection when `broken`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.domain import a_label
from relay.egress.failure import ours
from relay.message import Delivery
from relay.needle import Needle
from relay.outcome import Outcome, Reply, Scope


@dataclass(frozen=True, slots=True)
class Features:
    """What a peer's EHLO offers. `size` is its limit in octets, 0 for none named (RFC 1870 4)."""

    pipelining: bool = False
    eightbit: bool = False
    utf8: bool = False
    dsn: bool = False
    priority: bool = False
    size_known: bool = False
    size: int = 0
    requiretls: bool = False
    by: bool = False


def features(extensions: Mapping[str, str]) -> Features:
    """EHLO keywords (lower case) and their parameters, as aiosmtplib parsed them."""
    limit = extensions.get("size", "").strip()
    return Features(
        pipelining="pipelining" in extensions,
        eightbit="8bitmime" in extensions,
        utf8="smtputf8" in extensions,
        dsn="dsn" in extensions,
        priority="mt-priority" in extensions,
        size_known="size" in extensions,
        size=int(limit) if limit.isascii() and limit.isdecimal() and len(limit) < 20 else 0,
        requiretls="requiretls" in extensions,
        by="deliverby" in extensions,
    )


# ---------------------------------------------------------------------------------------------------- commands


def commands(delivery: Delivery, size: int, offered: Features, now: int) -> tuple[bytes, bytes] | Outcome:
    """MAIL and RCPT of one delivery, or why this peer cannot take it; `now` in ms.

    What is needed follows from the content and the addresses, never from what the app declared: SMTPUTF8 for a header
    or mailbox with other than ASCII (RFC 6531 3.2), 8BITMIME for such a body. Nothing is re-encoded (DESIGN,
    invariant 4), so a peer without them cannot have the message: 5.6.7 for an address (RFC 6531 3.5), 5.6.9 for the
    header, 5.6.3 for the body (RFC 6152 3: "a permanent error" is one of the two ways).
    """
    message = delivery.message
    sender, recipient = delivery.mail_from, delivery.recipient
    utf8 = message.utf8
    if not (sender.isascii() and recipient.isascii()):
        sender, recipient = wire_address(sender), wire_address(recipient, delivery.domain)
        utf8 = utf8 or not (sender.isascii() and recipient.isascii())
    refusal = _mismatch(sender, recipient, size, offered, utf8=utf8, eightbit=message.eightbit)
    if refusal is not None:
        return refusal
    mail, rcpt = f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"
    if offered.size_known:
        mail += f" SIZE={size}"
    if utf8:
        mail += " SMTPUTF8"
    # A header beyond ASCII is 8-bit content as well; who offers SMTPUTF8 takes that (RFC 6531 3.1).
    if offered.eightbit and (message.eightbit or utf8):
        mail += " BODY=8BITMIME"
    if offered.priority and message.priority:
        mail += f" MT-PRIORITY={message.priority}"
    if message.tls == "required" and offered.requiretls:  # security/demands.py saw to it that hosts without get nothing
        mail += " REQUIRETLS"
    if offered.by and message.by is not None:
        mail += _deliver_by(message.by, now, trace=message.by_trace)
    if offered.dsn:
        mail, rcpt = mail + _mail_report(delivery), rcpt + _rcpt_report(delivery, offered)
    return (mail + "\r\n").encode(), (rcpt + "\r\n").encode()


_NO_UTF8 = "{} is not ASCII and the host does not offer SMTPUTF8"


def _mismatch(
    sender: str, recipient: str, size: int, offered: Features, *, utf8: bool, eightbit: bool
) -> Outcome | None:
    """What this peer cannot take, in our own words; None if all is well."""
    if "\n" in sender or "\r" in sender or "\n" in recipient or "\r" in recipient:
        return ours(553, "5.1.3", "an address with a line end in it cannot be sent", "MAIL", Scope.MESSAGE)
    if offered.size and size > offered.size:
        text = f"the message has {size} octets, the host takes {offered.size}"
        return ours(552, "5.3.4", text, "MAIL", Scope.MESSAGE)
    if utf8 and not offered.utf8:
        if not recipient.isascii():
            return ours(553, "5.6.7", _NO_UTF8.format(recipient), "RCPT", Scope.RECIPIENT)
        if not sender.isascii():
            return ours(553, "5.6.7", _NO_UTF8.format(sender), "MAIL", Scope.MESSAGE)
        return ours(554, "5.6.9", _NO_UTF8.format("the header"), "MAIL", Scope.MESSAGE)
    if eightbit and not (offered.eightbit or utf8):
        text = "the body is 8-bit and the host does not offer 8BITMIME"
        return ours(554, "5.6.3", text, "MAIL", Scope.MESSAGE)
    return None


def _mail_report(delivery: Delivery) -> str:
    """By a return path of ours what comes back comes to us, who know the rest: RFC 3461 5.2.1 leaves RET and ENVID to whoever
    reports to the app."""
    message = delivery.message
    if delivery.ours:
        return " RET=HDRS"
    return (f" RET={message.ret}" if message.ret else "") + (f" ENVID={message.envid}" if message.envid else "")


def _rcpt_report(delivery: Delivery, offered: Features) -> str:
    notify = "FAILURE" if delivery.ours else delivery.notify  # the rest we report ourselves
    if delivery.message.by is not None and not offered.by:
        notify = _or_delay(notify)
    return (f" NOTIFY={notify}" if notify else "") + (f" ORCPT={delivery.orcpt}" if delivery.orcpt else "")


def _or_delay(notify: str) -> str:
    """What comes nearest to BY=...;N where the next host does not know it (RFC 2852 4.1.4.2)."""
    if notify == "NEVER" or "DELAY" in notify:
        return notify
    return f"{notify or 'FAILURE'},DELAY"


MOST_SECONDS = 999_999_999  # RFC 2852 4: nine digits


def _deliver_by(by: int, now: int, *, trace: bool) -> str:
    """The time that is left, none of it included (RFC 2852 4.1.4)."""
    left = max(-MOST_SECONDS, min((by - now) // 1000, MOST_SECONDS))
    return f" BY={left};N{'T' if trace else ''}"


def wire_address(address: str, domain: str = "") -> str:
    """An address with an ASCII local part goes with its domain's A-label, and then needs no SMTPUTF8 (RFC 6531 3.2).

    `domain` is that A-label where it is known. One that cannot be encoded stays as it is.
    """
    local, at, host = address.rpartition("@")
    if not at or not local.isascii() or host.isascii():
        return address
    return f"{local}@{domain or a_label(host) or host}"


# ----------------------------------------------------------------------------------------------------- content


_DOT_LINE = Needle(b"\r\n.")


def stuff(content: bytes) -> bytes:
    """Dot-stuffing (RFC 5321 4.5.2), without a copy where no line begins with a dot."""
    if _DOT_LINE.find(content) >= 0:
        content = content.replace(b"\r\n.", b"\r\n..")
    return b"." + content if content[:1] == b"." else content


def final_dot(content: bytes) -> bytes:
    """What ends `content`; a last line without CRLF gains one (RFC 5321 4.1.1.4 wants it)."""
    return b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"


# ------------------------------------------------------------------------------------------------ conversation

_FRESH = ("MAIL", "RCPT", "DATA", "END")
_RESET = ("RSET", *_FRESH)
# First digits that are an answer to each command; anything else says that we and the peer are out of step.
_ANSWERS = dict.fromkeys(_RESET, (2, 4, 5)) | {"DATA": (3, 4, 5)}


class Transaction:
    """The course of one transaction. When `finished`, `reply` answers `command`.

    waiting   the command whose reply comes next     internal  `reply` is in our words
    broken    the connection must be closed          dirty     the next transaction must begin with RSET
    lines     the commands before the content        heard     the replies that came, in the order of commands
    """

    __slots__ = (
        "_at", "_content", "_names", "broken", "command", "dirty", "finished", "heard", "internal", "lines", "pipelining",
        "reply", "started",
    )  # fmt: skip

    def __init__(
        self, mail: bytes, rcpt: bytes, content: Sequence[bytes], *, pipelining: bool, reset: bool = False
    ) -> None:
        self._names = _RESET if reset else _FRESH
        self.lines = (b"RSET\r\n", mail, rcpt, b"DATA\r\n") if reset else (mail, rcpt, b"DATA\r\n")
        self._content = content
        self.pipelining = pipelining
        self._at = 0
        self.heard: list[Reply] = []
        self.reply: Reply | None = None
        self.command = ""
        self.started = False
        self.finished = False
        self.broken = False
        self.internal = False
        self.dirty = False

    def __repr__(self) -> str:
        return f"<Transaction {'done' if self.finished else 'waits'} {self.waiting} {self.reply or ''}>"

    @property
    def waiting(self) -> str:
        return self._names[self._at]

    @property
    def sent(self) -> int:
        """How many commands left, one after the other; the content is the last."""
        return self._at + 1 if self.started else 0

    @property
    def octets(self) -> int:
        """Of the content, and the dot that ends it."""
        return sum(map(len, self._content))

    @property
    def answer(self) -> tuple[Reply, str]:
        """What came of it: the reply and the command it answers. Only of a finished transaction."""
        assert self.reply is not None, self
        return self.reply, self.command

    def start(self) -> bytes:
        """What to write first."""
        self.started = True
        return b"".join(self.lines) if self.pipelining else self.lines[0]

    def receive(self, reply: Reply) -> Sequence[bytes]:
        """Take the next reply; returns what to write now (possibly nothing)."""
        self.heard.append(reply)
        name = self._names[self._at]
        if reply.code == 421:
            return self._break(reply, name, internal=False)
        if reply.code // 100 not in _ANSWERS[name]:
            text = f"out of step: the peer answered {name} with {reply.code}"
            return self._break(Reply(421, "4.5.0", text), name, internal=True)
        if name == "DATA":
            return self._data(reply)
        if name == "END":
            self._settle(reply, name)
            self.finished = True
            return ()
        if not reply.ok:
            self._settle(reply, name)
            if not self.pipelining:
                return self._stop()
        self._at += 1
        return () if self.pipelining else (self.lines[self._at],)

    def _data(self, reply: Reply) -> Sequence[bytes]:
        if reply.code >= 400:
            self._settle(reply, "DATA")
            return self._stop()
        self._at += 1
        # Refused, yet told to go on: an empty message to nobody, whose reply is ignored (RFC 2920 3.1).
        return (b".\r\n",) if self.reply else self._content

    def abandon(self, reply: Reply) -> None:
        """The connection is lost or given up; `reply` says why in our words. A refusal already heard stands."""
        if not self.finished:
            self._break(reply, self.waiting, internal=True)

    def _settle(self, reply: Reply, command: str) -> None:
        """The first refusal is the answer; later ones only follow from it."""
        if self.reply is None:
            self.reply, self.command = reply, command

    def _stop(self) -> Sequence[bytes]:
        self.dirty = self.finished = True
        return ()

    def _break(self, reply: Reply, command: str, *, internal: bool) -> Sequence[bytes]:
        if self.reply is None:
            self.reply, self.command, self.internal = reply, command, internal
        self.broken = self.finished = True
        return ()
