"""One SMTP session (RFC 5321, 6409) from greeting to QUIT: the order of commands, and what is said to each.

Strategy: `Wire` collects bytes and calls `_take`, which answers one command line or, after DATA and BDAT, lets an
`Intake` take message data in bulk. Parsing is in `commands`, the end of DATA and its line ends in `framing`; both are
pure. Every reply carries an enhanced code (RFC 2034), except 220 at the start, 250 to HELO and EHLO, 334 and 354.
Every refusal a postmaster would want to know of goes to `Door.rejected`; sessions themselves log at debug level only.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, NamedTuple

from aiosmtpd.smtp import MISSING, AuthResult

from relay.edge import commands, framing, replies
from relay.edge.credentials import Login, is_loopback
from relay.edge.desk import Desk, peer_group
from relay.edge.intake import DISCARD_FACTOR, ChunkIntake, DataIntake, Intake
from relay.edge.proxy import Announced
from relay.edge.submission import Submission, TurnedAway
from relay.edge.wire import NEVER, Wire, log
from relay.event import reply_facts
from relay.message import Envelope, Peer, RcptTo
from relay.outcome import Reply

COMMAND_LINE = 512  # RFC 5321 4.5.3.1.4, with CRLF; longer by what the extensions add:
# SIZE (RFC 1870), BODY (6152), SMTPUTF8 (6531), AUTH (4954), DSN (3461), MT-PRIORITY (6710), REQUIRETLS (8689), BY (2852)
MAIL_LINE = COMMAND_LINE + 26 + 17 + 10 + 500 + 128 + 15 + 11 + 17
RCPT_LINE = COMMAND_LINE + 10 + 500 + 28  # SMTPUTF8, ORCPT and NOTIFY (RFC 3461)
AUTH_LINE = 12_288  # RFC 4954 4
PATIENCE = (
    10.0  # s that DNS may take for the addresses of one message: a thousand dead domains must not take half an hour
)
REPORTED_TEXT = 320  # of what a peer gave as address, in events
TLS_HELLO = b"\x16\x03"  # RFC 8446 5.1: handshake record, version 3.x
HTTP_METHODS = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"DELETE", b"PATCH", b"TRACE"})


@lru_cache(maxsize=64)  # a few kinds for each listener
def ehlo_answer(hostname: str, max_size: int, starttls: bool, auth: bool, tls: bool = False) -> bytes:
    offers = [hostname, "PIPELINING", f"SIZE {max_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"]
    offers += [
        "CHUNKING",
        f"DELIVERBY {commands.LEAST_RETURN_TIME}",
        "MT-PRIORITY",
    ]  # of no profile: all 19 priorities are different ones (RFC 6710)
    if starttls:
        offers.append("STARTTLS")
    if tls:
        offers.append("REQUIRETLS")  # RFC 8689 3: never in clear
    if auth:
        offers.append("AUTH PLAIN LOGIN")
    lines = [f"250-{offer}\r\n" for offer in offers[:-1]] + [f"250 {offers[-1]}\r\n"]
    return "".join(lines).encode("ascii", "replace")


def protocol_word(*, extended: bool, utf8: bool, tls: bool, auth: bool) -> str:
    """The `with` word of Received (RFC 3848, 6531 4.3)."""
    if not extended:
        return "SMTP"
    return ("UTF8SMTP" if utf8 else "ESMTP") + ("S" if tls else "") + ("A" if auth else "")


class Session(Wire):
    """More than fifteen methods, because SMTP has as many commands: `_do_...` is one each."""

    AuthLoginUsernameChallenge = "Username:"  # what clients that look at it expect; aiosmtpd's ends with a NUL
    AuthLoginPasswordChallenge = "Password:"

    def __init__(
        self,
        desk: Desk,
        loop: asyncio.AbstractEventLoop,
        admitted: str | None = None,
        announced: Announced | None = None,
    ) -> None:
        super().__init__(desk, loop, admitted, announced)
        self.envelope: Envelope | None = None
        self.saving = False
        self._identity: Login | None = None
        self._intake: Intake | None = None
        self._collecting = False  # what comes next is message data for the intake
        self._data_deadline = NEVER
        self._since = loop.time()
        self._errors = 0
        self._junk = 0
        self._auth_failures = 0
        self._refused_recipients = 0
        self._patience = PATIENCE
        self._fresh = True
        self._skipping = False  # the rest of a line that was too long

    # -- life

    def _greet(self) -> None:
        self._output.append(f"220 {self.settings.hostname} ESMTP Postlane\r\n".encode("ascii", "replace"))
        self._know_by_network()

    def _know_by_network(self) -> None:
        """A listener that requires AUTH knows nobody by his address, whatever `trust` says."""
        settings = self.settings
        self._identity = None
        if settings.role == "bounces":
            credential = self.desk.door.by_network(self.ip, (), "")
            self._identity = Login(credential) if credential else None
        elif settings.auth == "optional" and self._has_own_address():
            credential = self.desk.door.by_network(self.ip, settings.trust, settings.credential)
            self._identity = Login(credential) if credential else None

    def _has_own_address(self) -> bool:
        """Through a proxy only where it announces one; and loopback is that of another machine or of another proxy."""
        announced = self._announced
        return announced is None or (bool(announced.ip) and not is_loopback(announced.ip))

    def _forget_transaction(self) -> None:
        """RSET, EHLO, and after each message (RFC 5321 4.1.1.5)."""
        self.envelope = None
        self._collecting = False
        self._refused_recipients = 0
        self._patience = PATIENCE
        if self._intake is not None:
            self._intake.release()
            self._intake = None

    def _lost(self) -> None:
        if not self.saving:
            self._forget_transaction()

    def drain(self) -> None:
        """Says 421 now if nothing is going on, else after the transaction."""
        self._leaving = True
        self._rested()

    def _rested(self) -> None:
        if self._leaving and self.envelope is None and self._step is None and not self._collecting:
            self.close(replies.GOING_DOWN, hear_out=False)

    def _next_deadline(self, now: float, answered: bool) -> float:
        """A line that drips in renews nothing; message data does, up to a bound for the whole of it."""
        limits = self.limits
        if self._collecting:
            return min(now + limits.data_seconds, self._data_deadline)
        if self.saving:
            return NEVER
        if not answered:
            return self.deadline
        if self._identity is None:
            return min(now + limits.command_seconds, self._since + limits.stranger_seconds)
        return now + limits.command_seconds

    def _input_bound(self) -> int:
        return self.limits.stranger_input_bytes if self._identity is None else self.limits.input_bytes

    # -- input

    def _take(self) -> bool:
        return self._take_data() if self._collecting else self._take_command()

    def _take_command(self) -> bool:
        buffer = self._input
        if self._fresh and buffer:
            self._fresh = False
            if buffer.startswith(TLS_HELLO):
                self.close(replies.NOT_TLS)
                return False
        end = buffer.find(b"\n")
        if end < 0:
            if len(buffer) > AUTH_LINE:
                if not self._skipping:
                    self._err(replies.TOO_LONG)
                self._skipping = True
                buffer.clear()
            return False
        line = bytes(memoryview(buffer)[: end + 1])
        del buffer[: end + 1]
        if self._skipping:
            self._skipping = False
        else:
            self._answer(line)
        return True

    def _answer(self, line: bytes) -> None:
        if line.find(b"\r") != len(line) - 2:
            return self._err(replies.BARE_IN_COMMAND)
        verb, _, argument = line[:-2].partition(b" ")
        command = COMMANDS.get(verb) or COMMANDS.get(verb.upper())
        if command is None:
            return self._unknown(verb.upper(), argument)
        if len(line) > command.limit:
            return self._err(replies.TOO_LONG)
        try:
            text = argument.decode()
        except UnicodeDecodeError:
            return self._err(replies.NOT_TEXT)
        if commands.has_controls(text):
            return self._err(replies.NOT_TEXT)
        if command.junk:
            self._junk += 1
            if self._junk > self.limits.junk:
                return self.close(replies.TOO_MANY_ERRORS)
        return command.act(self, text.rstrip(" "))

    def _unknown(self, verb: bytes, argument: bytes) -> None:
        if verb in HTTP_METHODS and b"HTTP/" in argument:
            return self.close(replies.NOT_HTTP)
        return self._err(replies.UNKNOWN if verb.isalnum() else replies.NOT_TEXT)

    def _err(self, reply: Reply) -> None:
        """A reply that counts as an error; the last one that is borne is followed by 421."""
        self.say(reply)
        self._errors += 1
        if self._errors >= self.limits.errors:
            self.close(replies.TOO_MANY_ERRORS)

    def _refuse(self, command: str, reply: Reply, reason: str) -> None:
        """An error that is also an event."""
        self._report(command, reply, reason)
        self._err(reply)

    def _report(self, command: str, reply: Reply, reason: str, recipient: str = "") -> None:
        self.desk.counters.rejected += 1
        facts: dict[str, object] = {
            "peer": self.ip,
            "command": command,
            "reply": reply_facts(reply),
            "reason": reason,
        }
        if self._identity is not None:
            facts["credential"] = self._identity.credential.name
        if self.envelope is not None:
            facts["sender"] = self.envelope.sender
        if recipient:
            facts["recipient"] = recipient[:REPORTED_TEXT]
        self.desk.door.rejected(facts)

    # -- greeting and small commands

    def _do_ehlo(self, argument: str) -> None:
        if self._introduced(argument, extended=True):
            settings = self.settings
            starttls = settings.tls == "starttls" and not self.tls
            answer = ehlo_answer(
                settings.hostname, self.limits.max_size, starttls, self._may_authenticate(), bool(self.tls)
            )
            self._output.append(answer)

    def _do_helo(self, argument: str) -> None:
        if self._introduced(argument, extended=False):
            self._output.append(f"250 {self.settings.hostname}\r\n".encode("ascii", "replace"))

    def _introduced(self, argument: str, *, extended: bool) -> bool:
        name = commands.helo(argument)
        if isinstance(name, Reply):
            self._err(name)
            return False
        self._forget_transaction()
        self.session.host_name, self.session.extended_smtp = name, extended
        return True

    def _do_rset(self, argument: str) -> None:
        if argument:
            return self._err(replies.NO_ARGUMENT)
        self._forget_transaction()
        return self.say(replies.OK)

    def _do_noop(self, _: str) -> None:
        self.say(replies.OK)

    def _do_quit(self, argument: str) -> None:
        return self._err(replies.NO_ARGUMENT) if argument else self.close(replies.BYE, hear_out=False)

    def _do_help(self, _: str) -> None:
        self.say(replies.HELP)

    def _do_vrfy(self, argument: str) -> None:
        return self.say(replies.CANNOT_VERIFY) if argument else self._err(replies.VRFY_SYNTAX)

    def _do_expn(self, _: str) -> None:
        self._err(replies.NO_EXPN)

    def _do_starttls(self, argument: str) -> None:
        if argument:
            return self._err(replies.NO_ARGUMENT)
        if self.tls:
            return self._err(replies.TLS_ALREADY)
        if self.settings.tls != "starttls":
            return self._err(replies.NO_TLS)
        return self._begin(self._upgrade())

    async def _upgrade(self) -> None:
        """Nothing said in clear counts any more (RFC 3207 4.2): neither EHLO, nor AUTH, nor a transaction."""
        self._forget_transaction()
        self.session = self._create_session()
        await self._start_tls()
        self._know_by_network()

    # -- AUTH

    def _may_authenticate(self) -> bool:
        """Passwords travel under TLS, or do not leave the machine (RFC 4954 4)."""
        return self.settings.role == "submission" and (bool(self.tls) or self._on_this_machine())

    def _on_this_machine(self) -> bool:
        """Loopback, unless a proxy stands between: whoever speaks through it came from elsewhere."""
        return self._announced is None and is_loopback(self.ip)

    def _do_auth(self, argument: str) -> None:
        if self.settings.role != "submission":
            return self._err(replies.NO_AUTH)
        if not self._may_authenticate():
            return self._err(replies.ENCRYPT_FIRST)
        if not self.session.extended_smtp:
            return self._err(replies.EHLO_FIRST)
        if self.session.authenticated or self.envelope is not None:
            return self._err(replies.AUTH_ALREADY)
        parsed = commands.auth(argument)
        if isinstance(parsed, Reply):
            return self._err(parsed)
        mechanism, initial = parsed
        if mechanism not in ("PLAIN", "LOGIN"):
            return self._err(replies.AUTH_MECHANISM)
        return self._begin(self._exchange(mechanism, initial))

    async def _exchange(self, mechanism: str, initial: str | None) -> None:
        """aiosmtpd's mechanisms hold the dialogue; they come back here for lines (challenge_auth) and for the check."""
        words = [mechanism] if initial is None else [mechanism, initial]
        result = await (self.auth_PLAIN(self, words) if mechanism == "PLAIN" else self.auth_LOGIN(self, words))
        if result.success:
            self._identity = result.auth_data
            self.session.authenticated = True
            self._errors = 0
            return self.say(replies.AUTH_OK)
        if result.handled:  # a malformed exchange, already answered
            self._errors += 1
            return self.close(replies.TOO_MANY_ERRORS) if self._errors >= self.limits.errors else None
        self._auth_failures += 1
        if result.auth_data is replies.AUTH_LATER:
            self.desk.counters.auth_deferred += 1
            self._report("AUTH", replies.AUTH_LATER, "guessing")
            self.say(replies.AUTH_LATER)
        else:
            self.desk.counters.auth_failures += 1
            self._report("AUTH", replies.AUTH_FAILED, "auth")
            self.say(replies.AUTH_FAILED)
        return self.close(replies.TOO_MANY_FAILURES) if self._auth_failures >= self.limits.auth_failures else None

    async def challenge_auth(
        self, challenge: str | bytes, encode_to_b64: bool = True, log_client_response: bool = False
    ) -> Any:
        """One 334 and its answer. Unlike aiosmtpd's it is bounded by RFC 4954's length and never logs."""
        octets = challenge.encode() if isinstance(challenge, str) else challenge
        self._output.append(b"334 " + (base64.b64encode(octets) if encode_to_b64 else octets) + b"\r\n")
        line = await self._read_line(AUTH_LINE)
        if line is None:
            self.close(replies.AUTH_LINE)
            return MISSING
        if line == b"*":
            self.say(replies.AUTH_CANCELLED)
            return MISSING
        try:
            return base64.b64decode(line, validate=True)
        except binascii.Error:
            self.say(replies.NOT_BASE64)
            return MISSING

    def _authenticate(self, mechanism: str, auth_data: Any) -> Any:
        """The check itself is a plain call: a salted sha256, some microseconds (the passwords are random, DESIGN)."""
        try:
            user, password = auth_data.login.decode(), auth_data.password.decode()
        except UnicodeDecodeError:
            return AuthResult(success=False, handled=False)
        guesses, peer, name, now = self.desk.guesses, peer_group(self.ip), user.partition("+")[0], self.loop.time()
        if not guesses.may_try(peer, name, now):
            return AuthResult(success=False, handled=False, auth_data=replies.AUTH_LATER)
        login = self.desk.door.login(user, password, self._on_this_machine())
        if login is None:
            guesses.failed(peer, name, now)
        else:
            guesses.succeeded(peer, login.credential.name)
        return AuthResult(success=login is not None, handled=False, auth_data=login)

    # -- the transaction

    def _do_mail(self, argument: str) -> None:
        if self.session.host_name is None:
            return self._err(replies.EHLO_FIRST)
        if self._identity is None:
            return self._refuse("MAIL", self._who_are_you(), "relay")
        if self.envelope is not None:
            return self._err(replies.MAIL_TWICE)
        envelope = commands.mail(argument, bool(self.tls))
        if isinstance(envelope, Reply):
            return self._refuse("MAIL", envelope, "address")
        if envelope.size > self.limits.max_size:
            return self._refuse("MAIL", replies.TOO_BIG, "size")
        if not self.desk.budget.has(envelope.size):
            return self._refuse("MAIL", replies.NO_ROOM, "memory")
        if self._intake is not None:  # of chunks that came before any MAIL
            self._forget_transaction()
        self.envelope = envelope
        return self._output.append(replies.SENDER_OK)

    def _who_are_you(self) -> Reply:
        """A stranger is told to log in where he can, and else that there is nothing here for him."""
        if self._may_authenticate():
            return replies.AUTH_NOW
        settings = self.settings
        can_encrypt = settings.tls == "starttls" and not self.tls and settings.role == "submission"
        return replies.TLS_FIRST if can_encrypt else replies.NO_RELAY

    def _do_rcpt(self, argument: str) -> None:
        envelope = self.envelope
        if envelope is None:
            return self._err(replies.MAIL_FIRST if self._identity else self._who_are_you())
        if self._intake is not None:
            return self._err(replies.CHUNKS_BEGUN)
        recipient = commands.rcpt(argument, envelope.utf8)
        named = (
            argument if isinstance(recipient, Reply) else recipient.address
        )  # what is no address is told as it was said
        if len(envelope.recipients) >= self.limits.max_recipients:
            return self._refuse_recipient(replies.TOO_MANY_RECIPIENTS, "recipients", named)
        if isinstance(recipient, Reply):
            return self._refuse_recipient(recipient, "address", named)
        assert self._identity is not None  # there would be no envelope
        answer = self.desk.door.check(self._identity.credential, recipient, self._patience)
        if answer is None or isinstance(answer, TurnedAway):
            return self._checked(envelope, recipient, answer)
        return self._begin(self._check(envelope, recipient, answer))

    async def _check(self, envelope: Envelope, recipient: RcptTo, asked: Awaitable[TurnedAway | None]) -> None:
        begun = self.loop.time()
        answer = await asked
        self._patience -= self.loop.time() - begun
        self._checked(envelope, recipient, answer)

    def _checked(self, envelope: Envelope, recipient: RcptTo, answer: TurnedAway | None) -> None:
        if answer is not None:
            return self._refuse_recipient(answer.reply, answer.reason, recipient.address)
        envelope.recipients.append(recipient)
        return self._output.append(replies.RECIPIENT_OK)

    def _refuse_recipient(self, reply: Reply, reason: str, recipient: str) -> None:
        """Lists hold bad addresses: to a known app they are no errors of the session until there are as many as it may
        send."""
        self._report("RCPT", reply, reason, recipient)
        self._refused_recipients += 1
        if self._refused_recipients > self.limits.max_recipients:
            return self._err(reply)
        return self.say(reply)

    def _do_data(self, argument: str) -> None:
        if argument:
            return self._err(replies.NO_ARGUMENT)
        if self.envelope is None:
            return self._err(replies.MAIL_FIRST)
        if self._intake is not None:
            return self._err(replies.CHUNKS_BEGUN)
        if not self.envelope.recipients:
            return self._err(replies.NO_RECIPIENTS)
        self._output.append(replies.GO_AHEAD)
        return self._collect(DataIntake(self.limits.max_size, self.desk.budget))

    def _do_bdat(self, argument: str) -> None:
        """Even a chunk out of order is read to its end: taking its octets for commands would be smuggling (RFC 3030
        2)."""
        chunk = commands.bdat(argument)
        if isinstance(chunk, Reply):
            return self.close(chunk)  # nobody knows where the next command begins
        if chunk.size > DISCARD_FACTOR * self.limits.max_size:
            return self._give_up_on("BDAT", replies.TOO_BIG)
        intake = self._intake
        if not isinstance(intake, ChunkIntake):
            failure = None
            if self.envelope is None or not self.envelope.recipients:
                failure = replies.NO_RECIPIENTS if self.envelope else replies.MAIL_FIRST
            intake = ChunkIntake(self.limits.max_size, self.desk.budget, failure)
            self._collect(intake)
        intake.expect(chunk)
        self._collecting = True
        self._take_data()  # also where nothing follows: BDAT 0 LAST
        return None

    def _collect(self, intake: Intake) -> None:
        self._intake = intake
        self._collecting = True
        self._data_deadline = self.loop.time() + self.limits.message_seconds

    def _take_data(self) -> bool:
        intake = self._intake
        if intake is None:
            self._collecting = False
            return True
        if not intake.take(self._input):
            if intake.hopeless:
                self._give_up_on(intake.command, intake.failure or replies.TOO_BIG)
            return False
        self._collecting = False
        if intake.whole:
            self._received(intake)
        elif intake.failure is not None:
            self._refuse(intake.command, intake.failure, replies.REASONS[intake.failure])
        else:
            self.say(replies.CHUNK_OK)
        return True

    def _received(self, intake: Intake) -> None:
        """The message is here as a whole: refuse it, or hand it over."""
        envelope, identity = self.envelope, self._identity
        if intake.failure is not None or envelope is None or identity is None:
            return self._refuse_message(intake.command, intake.failure or replies.MAIL_FIRST)
        credential = identity.credential
        fix, long_lines = credential.line_endings == "fix", credential.long_lines == "allow"
        content = framing.checked(intake.content, fix=fix, long_lines=long_lines)
        intake.content = b""
        if isinstance(content, Reply):
            return self._refuse_message(intake.command, content)
        if len(content) > intake.limit:  # repaired line ends made it longer
            return self._refuse_message(intake.command, replies.TOO_BIG)
        session = self.session
        protocol = protocol_word(
            extended=session.extended_smtp,
            utf8=envelope.utf8,
            tls=bool(self.tls),
            auth=bool(session.authenticated),
        )
        peer = Peer(self.ip, self.port, session.host_name, protocol, self.tls)
        self.saving = True
        return self._begin(
            self._save(Submission(envelope, content, credential, identity.stream, peer, self.desk.clock()))
        )

    def _give_up_on(self, command: str, reply: Reply) -> None:
        """A message that is so much too big that its end is not waited for."""
        self._report(command, reply, replies.REASONS[reply])
        self.close(reply)

    def _refuse_message(self, command: str, reply: Reply) -> None:
        self._refuse(command, reply, replies.REASONS[reply])
        self._forget_transaction()

    async def _save(self, submission: Submission) -> None:
        """Waits for accept, whatever becomes of the peer, and gives back the bytes when its answer is there."""
        try:
            reply = await self.desk.door.accept(submission)
        except Exception:  # accept promises not to raise; the peer must still not take silence for success
            log.exception("accept failed", peer=self.ip)
            reply = replies.FAULT_OF_ACCEPT
        finally:
            self.saving = False
            self._forget_transaction()
        if reply.ok:
            self.desk.counters.messages += 1
            self._errors = self._junk = 0
        self.say(reply)


class Command(NamedTuple):
    """`limit` is the longest line with its CRLF; `junk` marks what carries no mail."""

    act: Callable[[Session, str], None]
    limit: int = COMMAND_LINE
    junk: bool = False


COMMANDS: dict[bytes, Command] = {
    b"EHLO": Command(Session._do_ehlo, junk=True),
    b"HELO": Command(Session._do_helo, junk=True),
    b"STARTTLS": Command(Session._do_starttls),
    b"AUTH": Command(Session._do_auth, AUTH_LINE),
    b"MAIL": Command(Session._do_mail, MAIL_LINE),
    b"RCPT": Command(Session._do_rcpt, RCPT_LINE),
    b"DATA": Command(Session._do_data),
    b"BDAT": Command(Session._do_bdat),
    b"RSET": Command(Session._do_rset, junk=True),
    b"NOOP": Command(Session._do_noop, junk=True),
    b"QUIT": Command(Session._do_quit),
    b"HELP": Command(Session._do_help, junk=True),
    b"VRFY": Command(Session._do_vrfy, junk=True),
    b"EXPN": Command(Session._do_expn, junk=True),
}
