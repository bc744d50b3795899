"""The capture server: takes the mail that must not leave, and plays the parts of sim.test.

It speaks to one client, Postlane's own egress, over a loopback socket that the supervisor bound. aiosmtpd does the
talking; MAIL and RCPT are ours, because aiosmtpd's refuse DSN parameters, the null sender and quoted local parts.

At sim.test (RFC 6761 reserves .test) the local part says what happens, so that an app's handling of failures can be
tried: see PARTS. All other recipients are taken. Who bounces, complains or unsubscribes is suppressed as a person would be, so
that a test that is run again needs another address: bounce+2@ plays the same part. Who is away says so (absence.py), in a note
that is kept beside the message, as it would go to the app.
"""

import asyncio
import re
import socket
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from relay.control import Json, NodeDown
from relay.header import split
from relay.web.absence import note
from relay.web.captures import Capture, Captures

log = structlog.get_logger()

SIM_DOMAIN = "sim.test"
MAX_SIZE = 100_000_000  # octets: above every listener's max_size, so that the app's limit is the one that speaks
MAX_LINE = 1_000_000  # octets: mail with long_lines = "allow" passes too
REMEMBERED = 10_000  # greylisted triples; the oldest is forgotten
SLOW_SECONDS = 5.0


class Part(NamedTuple):
    """`reply` is given at RCPT where `early`, else after the final dot; "" takes the message. `shows`: for people."""

    reply: str
    shows: str
    early: bool = False


PARTS: dict[str, Part] = {
    "bounce": Part(
        "550 5.1.1 no such user (simulated)",
        "refused: the address does not exist; all mail to it is withheld from then on",
        early=True,
    ),
    "full": Part("452 4.2.2 mailbox full (simulated)", "put off again and again: the mailbox is full", early=True),
    "later": Part("451 4.7.1 greylisted, try again later (simulated)", "put off once by greylisting, then taken"),
    "blocked": Part("550 5.7.1 blocked: poor reputation of the sending IP (simulated)", "refused: our IP is blocked"),
    "slow": Part("", "taken, but the answer takes 5 seconds"),
    "complaint": Part("", "taken, and complained about: marketing to it is withheld from then on"),
    "unsubscribe": Part("", "taken, and unsubscribed from: marketing to it is withheld from then on"),
    "away": Part(
        "",
        "taken; an absence note goes back, as to a person's mail: it stands beside the message, as a copy to its sender",
    ),
}
_TAKEN = Part("", "")
_STOPS = {"complaint": "complaint", "unsubscribe": "unsubscribed"}  # part -> reason of the block that follows

Ask = Callable[[Json], Awaitable[Json]]

_PATH = r'<((?:[^<>"\\]|"(?:[^"\\]|\\.)*"|\\.)*)>((?: +\S+)*) *'
_MAIL = re.compile(r"FROM: *" + _PATH, re.IGNORECASE)
_RCPT = re.compile(r"TO: *" + _PATH, re.IGNORECASE)


def part_of(recipient: str) -> str:
    """The part a recipient plays: a key of PARTS, or ""."""
    local, _, domain = recipient.lower().rpartition("@")
    part = local.partition("+")[0]
    return part if domain == SIM_DOMAIN and part in PARTS else ""


class CaptureSession(SMTP):  # type: ignore[misc]
    """One connection. Limits are of the instance: aiosmtpd shares and grows its own for ever."""

    line_length_limit = MAX_LINE

    def __init__(self, handler: "_Handler", hostname: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            handler,
            data_size_limit=MAX_SIZE,
            enable_SMTPUTF8=True,
            hostname=hostname,
            ident="Postlane capture",
            loop=loop,
        )
        self.command_size_limits: dict[str, int] = defaultdict(
            lambda: 4096
        )  # RFC 3461 4: ENVID and ORCPT add up to 1,000

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 aiosmtpd finds commands by these names
        found = _MAIL.fullmatch(arg or "")
        if found is None:
            await self.push("501 5.5.4 Syntax: MAIL FROM:<address>")
        elif self.envelope.mail_from is not None:
            await self.push("503 5.5.1 One message at a time")
        else:
            self.envelope.mail_from = found[1]
            self.envelope.mail_options = found[2].split()
            await self.push("250 2.1.0 OK")

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        found = _RCPT.fullmatch(arg or "")
        if found is None or not found[1]:
            await self.push("501 5.5.4 Syntax: RCPT TO:<address>")
        elif self.envelope.mail_from is None:
            await self.push("503 5.5.1 MAIL first")
        else:
            part = PARTS.get(part_of(found[1]), _TAKEN)
            if part.early:
                await self.push(part.reply)
                return
            self.envelope.rcpt_tos.append(found[1])
            self.envelope.rcpt_options.append(found[2].strip())
            await self.push("250 2.1.5 OK")


class _Handler:
    """What the sessions share: the store, and who was greylisted."""

    def __init__(
        self,
        captures: Captures,
        hostname: str,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]],
        ask: Ask | None,
    ) -> None:
        self._captures, self._hostname, self._clock, self._sleep, self._ask = captures, hostname, clock, sleep, ask
        self._met: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    async def handle_EHLO(  # noqa: N802 aiosmtpd finds hooks by these names
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        extra = ["250-PIPELINING", "250-DSN", "250-ENHANCEDSTATUSCODES"]
        return [line for line in responses[:-1] if "AUTH" not in line] + extra + ["250 HELP"]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content: bytes = envelope.original_content or b""
        recipients: list[str] = list(envelope.rcpt_tos)
        parts = {part_of(r) for r in recipients}
        if "blocked" in parts:
            return PARTS["blocked"].reply
        if "later" in parts and self._unmet(envelope.mail_from or "", recipients, content):
            return PARTS["later"].reply
        if "slow" in parts:
            await self._sleep(SLOW_SECONDS)
        options = [*envelope.mail_options, *envelope.rcpt_options]
        try:
            capture = await asyncio.to_thread(
                self._captures.add, envelope.mail_from or "", recipients, options, content, self._clock()
            )
        except OSError as error:
            log.error("a captured message cannot be kept", error=str(error))
            return "452 4.3.1 The capture directory does not take it"
        await self._stop(recipients)
        await self._be_away(capture, content)
        return f"250 2.0.0 OK captured as {capture.name}"

    async def _stop(self, recipients: list[str]) -> None:
        """Who plays somebody that wants no more: known before the mail counts as delivered, so that the next one shows it."""
        entries = [
            {"recipient": one, "stop": "marketing", "reason": _STOPS[part_of(one)], "source": SIM_DOMAIN}
            for one in recipients
            if part_of(one) in _STOPS
        ]
        if not entries or self._ask is None:
            return
        try:
            answer = await self._ask({"do": "people", "what": "block", "via": SIM_DOMAIN, "entries": entries})
        except NodeDown as error:
            answer = {"error": str(error)}
        if "error" in answer:
            log.warning("a simulated unsubscription was not taken", error=answer["error"])

    async def _be_away(self, capture: Capture, content: bytes) -> None:
        for one in capture.recipients:
            if part_of(one) != "away":
                continue
            told = note(one, capture.sender, content, self._clock(), self._hostname)
            if told is not None:
                with suppress(OSError):  # the message itself was kept
                    about = self._clock(), capture.id
                    await asyncio.to_thread(self._captures.add, "", [capture.sender], [], told, *about)

    def _unmet(self, sender: str, recipients: list[str], content: bytes) -> bool:
        """Greylisting as hosts do it: (sender, recipient, message) is put off at first sight (RFC 6647 2.2)."""
        fields, _ = split(content)
        message_id = next((f.value.decode("latin-1") for f in fields if f.name == "message-id"), "")
        unmet = False
        for recipient in recipients:
            key = (sender, recipient.lower(), message_id)
            if part_of(recipient) == "later" and key not in self._met:
                unmet = True
                self._met[key] = None
                if len(self._met) > REMEMBERED:
                    self._met.popitem(last=False)
        return unmet

    async def handle_exception(self, error: Exception) -> str:
        log.error("a fault in the capture server", exc_info=error)
        return "451 4.3.0 A fault of the capture server"


class CaptureServer:
    """Serves on a socket that already listens; `captures` keeps what comes."""

    def __init__(
        self,
        link: socket.socket,
        captures: Captures,
        *,
        hostname: str,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ask: Ask | None = None,
    ) -> None:
        """`ask`: the node, for what some of sim.test do."""
        self._link, self._hostname = link, hostname
        self._handler = _Handler(captures, hostname, clock, sleep, ask)
        self._server: asyncio.Server | None = None
        self._sessions: set[CaptureSession] = set()

    def __repr__(self) -> str:
        return f"<CaptureServer {self._hostname} serving={self._server is not None}>"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._link.setblocking(False)
        self._server = await loop.create_server(lambda: self._session(loop), sock=self._link)

    def _session(self, loop: asyncio.AbstractEventLoop) -> CaptureSession:
        session = CaptureSession(self._handler, self._hostname, loop)
        self._sessions = {s for s in self._sessions if s.transport is not None}
        self._sessions.add(session)
        return session

    async def stop(self) -> None:
        """Closes the socket and what is connected; a transaction without its reply is tried again by its sender."""
        if self._server is None:
            return
        self._server.close()
        tasks: list[asyncio.Task[Any]] = [s._handler_coroutine for s in self._sessions if s.transport is not None]
        for session in self._sessions:
            if session.transport is not None:
                session.transport.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
