"""From an address to a session ready for mail: connect, banner, EHLO, STARTTLS, AUTH.

Strategy: aiosmtplib does these on a socket of ours (departure.py); then `Connection` takes its transport over. What
TLS must come to is a ladder (security/demands.py): where one rung fails, the next is tried on a new connection, or on the
same in clear where there was no handshake. So TLS that fails costs an opportunistic connection its encryption, not the
mail. Each session is noted once, by its first rung.
"""

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import aiosmtplib
import aiosmtplib.protocol
from aiosmtplib.protocol import SMTPProtocol

from relay.egress import transcript
from relay.egress.connection import Connection, Target, describe
from relay.egress.departure import SourceFault, dial
from relay.egress.failure import ours, scope_of
from relay.egress.pools import Source
from relay.egress.replies import make_reply
from relay.egress.security import dane, trust
from relay.egress.security.dane import Flaw
from relay.egress.security.demands import Demand, Need
from relay.egress.security.tlsrpt import Failure
from relay.egress.settings import Relay, Timeouts
from relay.egress.tls import server_name
from relay.egress.transaction import features
from relay.outcome import Outcome, Reply, Scope

# Octets of a banner or a reply to EHLO; real ones have 2,000 at most. aiosmtplib reads all of a reply anew with each line
# that comes, so that its own limit, 32 KB, lets a host that drips lines keep a processor busy for 16 s; this one 0.3.
MAX_GREETING = 4096
aiosmtplib.protocol.MAX_RESPONSE_LENGTH = MAX_GREETING


Note = Callable[[Demand, Failure | None], None]


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open a connection: who we are, what TLS it needs, whom to log in as; `note` is told how TLS went, `heard` collects
    what is said."""

    source: Source
    ehlo: str
    demand: Demand
    timeouts: Timeouts
    relay: Relay | None = None
    note: Note = lambda _terms, _failure: None
    heard: list[transcript.Step] = field(default_factory=list)


class _Failed(Exception):
    """Opening ended early; carries why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome


class _TlsFailed(_Failed):
    """There is no TLS as it was asked for; another rung of the ladder may do."""

    def __init__(self, outcome: Outcome, failure: Failure) -> None:
        super().__init__(outcome)
        self.failure = failure


class _Client(aiosmtplib.SMTP):
    """One that finds its socket connected: `connect` would make a task and a lock beside."""

    async def greeted(self) -> aiosmtplib.SMTPResponse:
        """Take the socket over and read the banner. Raises SMTPConnectResponseError where that says no."""
        loop = asyncio.get_running_loop()
        self.protocol = protocol = SMTPProtocol(loop)
        self.transport, _ = await loop.create_connection(lambda: protocol, sock=self.sock)
        banner = await protocol.read_response()
        if banner.code != aiosmtplib.SMTPStatus.ready:
            raise aiosmtplib.SMTPConnectResponseError(banner.code, banner.message)
        return banner


async def open_connection(target: Target, how: Opening, on_lost: Callable[[Connection], None]) -> Connection | Outcome:
    """Connect, greet, encrypt, log in. An Outcome says why not; nothing a peer does raises."""
    failure = how.demand.breach
    told = False  # TLS was spoken of: what fails before says nothing of it
    result: Connection | Outcome | None = None
    for step in range(len(how.demand.ladder)):
        try:
            result, missing = await _open(target, how, how.demand.ladder[step:], on_lost)
            failure, told = failure or missing, True
            break
        except _TlsFailed as failed:
            failure, told, result = failure or failed.failure, True, failed.outcome
        except _Failed as failed:
            result = failed.outcome
            break
    if told:
        how.note(how.demand, _placed(failure, target, how))
    assert result is not None
    if isinstance(result, Outcome):
        result.transcript = _told(target, how).failed(result)
    return result


def _placed(failure: Failure | None, target: Target, how: Opening) -> Failure | None:
    return failure and replace(failure, mx=target.host, address=target.address, source=how.source.address)


async def _open(
    target: Target, how: Opening, ladder: Sequence[Need], on_lost: Callable[[Connection], None]
) -> tuple[Connection, Failure | None]:
    """By the first rung of `ladder`; or in clear, if the last allows it and the peer has no TLS, which is then told."""
    how.heard.append(("CONNECT", None))
    context = trust.verifying() if ladder[0] is Need.VERIFY else trust.encrypting()
    client = _Client(sock=await _dial(target, how), timeout=None, start_tls=False, tls_context=context)
    client.local_hostname = how.ehlo  # as an argument it is looked at letter by letter; the configuration did that
    missing = None
    try:
        await _step(client.greeted(), "CONNECT", target, how, "BANNER", how.timeouts.banner)
        await _greet(client, target, how)
        if ladder[0] is not Need.CLEAR:
            missing = await _encrypt(client, target, how, ladder)
        if how.demand.requiretls and not client.supports_extension("requiretls"):
            raise _Failed(_refused(f"{target} does not offer REQUIRETLS, which the message asks for", target, how))
        if how.relay is not None and how.relay.user:
            login = client.login(how.relay.user, how.relay.password, timeout=how.timeouts.auth)
            await _step(login, "AUTH", target, how)
        transport = client.transport
        if transport is None or transport.is_closing():
            raise _Failed(_outcome("EHLO", ConnectionResetError(errno.ECONNRESET, ""), target, how))
    except BaseException:
        _discard(client)
        raise
    taken = cast(asyncio.Transport, transport)
    offered = features(client.esmtp_extensions)
    return Connection(taken, target, how.source, offered, how.timeouts, on_lost, _told(target, how)), missing


def _told(target: Target, how: Opening) -> transcript.Opening:
    return transcript.Opening(target, how.source.address, how.ehlo, how.heard)


async def _dial(target: Target, how: Opening) -> socket.socket:
    """A connected socket; what hinders it becomes an outcome, with scope SOURCE where no other host will do."""
    try:
        return await dial(target, how.source, how.timeouts.connect)
    except SourceFault as fault:
        outcome = ours(451, "4.4.0", str(fault), "CONNECT", Scope.SOURCE)
        raise _Failed(replace(outcome, source=how.source.address)) from fault
    except OSError as error:
        raise _Failed(_outcome("CONNECT", error, target, how)) from error


async def _greet(client: aiosmtplib.SMTP, target: Target, how: Opening) -> None:
    """EHLO, or HELO for a host that has never heard of it (RFC 5321 3.2)."""
    try:
        await _step(client.ehlo(), "EHLO", target, how, seconds=how.timeouts.ehlo)
    except _Failed as failed:
        if not client.is_connected or failed.outcome.internal or not failed.outcome.reply.permanent:
            raise
        await _step(client.helo(), "EHLO", target, how, "HELO", how.timeouts.ehlo)


async def _encrypt(client: aiosmtplib.SMTP, target: Target, how: Opening, ladder: Sequence[Need]) -> Failure | None:
    """STARTTLS, the certificate as the first rung wants it, EHLO again (RFC 3207 4.2). A peer that does not offer it, or
    refuses it (454), leaves a connection that may be in clear as it is: the Failure says so."""
    clear = ladder[-1] is Need.CLEAR
    if not client.supports_extension("starttls"):
        missing = Failure("starttls-not-supported")
        if clear:
            return missing
        raise _TlsFailed(_insecure(f"{target} does not offer STARTTLS", target, how, final=True), missing)
    name = how.demand.anchors.base if ladder[0] is Need.DANE else target.host
    handshake = client.starttls(server_hostname=_named(name, ladder[0]), timeout=how.timeouts.starttls)
    try:
        await _step(handshake, "STARTTLS", target, how)
    except _Failed as failed:
        if not failed.outcome.internal:
            refused = Failure("starttls-not-supported", reason=str(failed.outcome.reply))
            if clear and client.is_connected:
                return refused
            raise _TlsFailed(failed.outcome, refused) from failed
        raise _handshake_failed(failed, target, how) from failed
    if ladder[0] is Need.DANE:
        _match(client, target, how)
    await _greet(client, target, how)
    return None


def _named(host: str, need: Need) -> str | None:
    """For SNI; where the name is verified, an address is one too."""
    return server_name(host) or (host if need is Need.VERIFY else None)


def _match(client: aiosmtplib.SMTP, target: Target, how: Opening) -> None:
    """Raises _TlsFailed where the certificate is not what TLSA records name."""
    assert client.transport is not None
    shown = trust.shown_by(client.transport.get_extra_info("ssl_object"))
    flaw = dane.flaw_of(how.demand.anchors, shown, time.time_ns() // 1_000_000)
    if flaw is not None:
        raise _flawed(flaw, target, how)


def _handshake_failed(failed: _Failed, target: Target, how: Opening) -> _TlsFailed:
    flaw = trust.flaw_of(failed)
    if flaw is not None:
        return _flawed(flaw, target, how)
    why = describe(failed.__cause__) if isinstance(failed.__cause__, Exception) else str(failed)
    outcome = _insecure(f"{target}: the TLS handshake failed ({why})", target, how, final=False)
    return _TlsFailed(outcome, Failure("validation-failure", reason=why))


def _flawed(flaw: Flaw, target: Target, how: Opening) -> _TlsFailed:
    return _TlsFailed(
        _insecure(f"{target}: {flaw.text}", target, how, final=True), Failure(flaw.result, reason=flaw.text)
    )


def _insecure(text: str, target: Target, how: Opening, *, final: bool) -> Outcome:
    """Our words where mail does not go for want of TLS: deferred, since it may be mended, and an attacker is to gain
    nothing. A message with REQUIRETLS is returned at once where there is no doubt (RFC 8689 4.2.1)."""
    text = f"{text}, which {how.demand.why} does not allow" if how.demand.why else text
    if how.demand.requiretls and final:
        return _refused(text, target, how)
    outcome = ours(451, "4.7.10", text, "STARTTLS", Scope.HOST)
    return replace(outcome, mx=target.host, source=how.source.address)


def _refused(text: str, target: Target, how: Opening) -> Outcome:
    outcome = ours(550, "5.7.30", text, "STARTTLS", Scope.HOST)
    return replace(outcome, mx=target.host, source=how.source.address)


async def _step(
    work: Coroutine[object, object, aiosmtplib.SMTPResponse],
    command: str,
    target: Target,
    how: Opening,
    step: str = "",
    seconds: float | None = None,
) -> None:
    """One exchange by aiosmtplib; its exceptions, and what TLS and the system throw, become outcomes here. `step`: where the
    transcript has another word for it. `seconds`: for it, where aiosmtplib was not told."""
    answer: transcript.Answer = None
    try:
        async with asyncio.timeout(seconds):
            answer = await work
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        answer = _outcome(command, error, target, how)
        raise _Failed(answer) from error
    finally:
        how.heard.append((step or command, answer))


def _outcome(command: str, error: Exception, target: Target, how: Opening) -> Outcome:
    """The one table of foreign exceptions: a reply where the peer gave one, else our words; temporary."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and 200 <= error.code < 600:
        reply, internal = make_reply(error.code, error.message.split("\n")), False
    else:
        reply, internal = Reply(421, "4.4.2", f"{target}: {describe(error)} at {command}"), True
    if reply.code < 400:
        reply, internal = Reply(421, "4.5.0", f"{target} answered {command} with {reply}"), True
    scope = scope_of(command, reply)
    return Outcome(reply, command, scope, target.host, "", how.source.address, internal)


def _discard(client: aiosmtplib.SMTP) -> None:
    """Drop a half-open connection at once: nobody waits for its good-bye."""
    transport = client.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    client.close()
    if client.sock is not None:
        client.sock.close()
