"""From an address to a session ready for mail: connect, banner, EHLO, STARTTLS, AUTH.

Strategy: aiosmtplib does these on a socket of ours (departure.py); then `Connection` takes its transport over. A
TLS handshake that fails costs an opportunistic connection its encryption, not the mail: once more, in clear.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import cast

import aiosmtplib
import aiosmtplib.protocol

from relay.egress.connection import Connection, Target, describe
from relay.egress.departure import SourceFault, dial
from relay.egress.failure import ours, scope_of
from relay.egress.pools import Source
from relay.egress.replies import make_reply
from relay.egress.settings import Relay, Timeouts
from relay.egress.tls import Requirement, context_for, server_name
from relay.egress.transaction import features
from relay.outcome import Outcome, Reply, Scope

# Octets of a banner or a reply to EHLO; real ones have 2,000 at most. aiosmtplib reads all of a reply anew with each line
# that comes, so that its own limit, 32 KB, lets a host that drips lines keep a processor busy for 16 s; this one 0.3.
MAX_GREETING = 4096
aiosmtplib.protocol.MAX_RESPONSE_LENGTH = MAX_GREETING


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open a connection: who we are, what TLS it needs, whom to log in as."""

    source: Source
    ehlo: str
    requirement: Requirement
    timeouts: Timeouts
    relay: Relay | None = None


class _Failed(Exception):
    """Opening ended early; carries why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome


class _HandshakeFailed(_Failed):
    """The peer offered STARTTLS and then could not do it."""


async def open_connection(target: Target, how: Opening, on_lost: Callable[[Connection], None]) -> Connection | Outcome:
    """Connect, greet, encrypt, log in. An Outcome says why not; nothing a peer does raises."""
    try:
        try:
            return await _open(target, how, on_lost, starttls=True)
        except _HandshakeFailed as failed:
            if how.requirement is not Requirement.OPPORTUNISTIC:
                return failed.outcome
            return await _open(target, how, on_lost, starttls=False)
    except _Failed as failed:
        return failed.outcome


async def _open(target: Target, how: Opening, on_lost: Callable[[Connection], None], *, starttls: bool) -> Connection:
    client = aiosmtplib.SMTP(
        sock=await _dial(target, how),
        local_hostname=how.ehlo,
        timeout=how.timeouts.banner,
        start_tls=False,
        tls_context=context_for(how.requirement),
    )
    try:
        await _step(client.connect(), "CONNECT", target, how)
        await _greet(client, target, how)
        if starttls:
            await _encrypt(client, target, how)
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
    return Connection(taken, target, how.source, features(client.esmtp_extensions), how.timeouts, on_lost)


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
        await _step(client.ehlo(timeout=how.timeouts.ehlo), "EHLO", target, how)
    except _Failed as failed:
        if not client.is_connected or failed.outcome.internal or not failed.outcome.reply.permanent:
            raise
        await _step(client.helo(timeout=how.timeouts.ehlo), "EHLO", target, how)


async def _encrypt(client: aiosmtplib.SMTP, target: Target, how: Opening) -> None:
    """STARTTLS where it is offered, EHLO again after it (RFC 3207 4.2). A refusal (454) leaves an opportunistic
    connection as it is."""
    optional = how.requirement is Requirement.OPPORTUNISTIC
    if not client.supports_extension("starttls"):
        if not optional:
            text = f"{target} does not offer STARTTLS, and a password is sent only over it"
            raise _Failed(ours(451, "4.7.10", text, "STARTTLS", Scope.HOST))
        return
    handshake = client.starttls(server_hostname=server_name(target.host), timeout=how.timeouts.starttls)
    try:
        await _step(handshake, "STARTTLS", target, how)
    except _Failed as failed:
        if failed.outcome.internal:
            raise _HandshakeFailed(failed.outcome) from failed
        if not optional or not client.is_connected:
            raise
        return
    await _greet(client, target, how)


async def _step(work: Coroutine[object, object, object], command: str, target: Target, how: Opening) -> None:
    """One exchange by aiosmtplib; its exceptions, and what TLS and the system throw, become outcomes here."""
    try:
        await work
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise _Failed(_outcome(command, error, target, how)) from error


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
