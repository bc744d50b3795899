"""One connection against a scripted peer, on asyncio's loop and on uvloop, in clear and under TLS."""

import asyncio
import socket
import ssl
import time
from pathlib import Path

import pytest

from relay.egress.connection import Connection, Target
from relay.egress.opening import Opening, open_connection
from relay.egress.pools import Source
from relay.egress.security.demands import Demand, Need, plain
from relay.egress.settings import Relay, Timeouts
from relay.egress.transaction import Transaction
from relay.outcome import Outcome, Scope
from tests.support import needs
from tests.support.certificates import self_signed, server_context
from tests.support.egress import HERE, IMPATIENT, run_on, until
from tests.support.smtp_peer import Answer, Close, Deaf, Drip, Flood, Raw, Reset, Silence, Slow, SmtpPeer, Wait

pytestmark = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])

MAIL, RCPT = b"MAIL FROM:<a@a.test>\r\n", b"RCPT TO:<b@b.test>\r\n"
CONTENT = (b"Subject: x\r\n", b"\r\nhello\r\n", b".\r\n")
MINUTE = Timeouts()


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "mx.test")


OPPORTUNISTIC = plain(Need.TRY)


async def reach(
    peer: SmtpPeer,
    *,
    source: Source = HERE,
    demand: Demand = OPPORTUNISTIC,
    timeouts: Timeouts = MINUTE,
    relay: Relay | None = None,
    lost: list[Connection] | None = None,
) -> Connection | Outcome:
    opening = Opening(source, "relay.test", demand, timeouts, relay)
    gone = lost if lost is not None else []
    return await open_connection(Target("mx.test", peer.host, peer.port), opening, gone.append)


async def connected(peer: SmtpPeer, **options: object) -> Connection:
    connection = await reach(peer, **options)  # type: ignore[arg-type]
    assert isinstance(connection, Connection), connection
    return connection


async def refused(peer: SmtpPeer, **options: object) -> Outcome:
    outcome = await reach(peer, **options)  # type: ignore[arg-type]
    assert isinstance(outcome, Outcome), outcome
    assert not outcome.permanent
    return outcome


async def send(connection: Connection) -> Transaction:
    return await connection.send(MAIL, RCPT, CONTENT)


def words(transaction: Transaction) -> tuple[int, str, str]:
    reply, command = transaction.answer
    return reply.code, command, reply.text


# ------------------------------------------------------------------------------------------------ transactions


@pytest.mark.parametrize("tls", [False, True])
def test_our_protocol_takes_over(loop: str, pem: Path, tls: bool) -> None:
    async def work() -> None:
        async with SmtpPeer(context=server_context(pem) if tls else None) as peer:
            lost: list[Connection] = []
            connection = await connected(peer, lost=lost)
            assert connection.tls == ("TLSv1.3" if tls else "")
            for _ in range(3):
                assert words(await send(connection))[:2] == (250, "END")
            assert [heard.content for heard in peer.transactions] == [b"Subject: x\r\n\r\nhello\r\n"] * 3
            assert peer.transactions[0].tls == connection.tls
            connection.quit()
            await peer.sessions[0].ended.wait()
            await until(lambda: lost)
            assert peer.commands[-1] == "QUIT"
            assert "used=3 closing" in repr(connection)

    run_on(loop, work)


@pytest.mark.parametrize("tls", [False, True])
def test_large_content_arrives_whole(loop: str, pem: Path, tls: bool) -> None:
    async def work() -> None:
        content = (b"x" * 998 + b"\r\n") * 5000
        async with SmtpPeer(context=server_context(pem) if tls else None) as peer:
            connection = await connected(peer)
            assert (await connection.send(MAIL, RCPT, (content, b".\r\n"))).answer[0].ok
            assert peer.transactions[0].content == content
            connection.abort()

    run_on(loop, work)


def test_without_pipelining_each_command_waits(loop: str) -> None:
    async def work() -> None:
        gate = asyncio.Event()
        async with SmtpPeer(capabilities=(), script={"MAIL": [Wait(gate, "250 ok")]}) as peer:
            connection = await connected(peer)
            sending = asyncio.create_task(send(connection))
            await until(lambda: "MAIL FROM:<a@a.test>" in peer.commands)
            assert "in MAIL" in repr(connection)
            gate.set()
            assert (await sending).answer[0].ok
            connection.abort()

    run_on(loop, work)


def test_rset_only_after_a_failure(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer(script={"RCPT": ["250 ok", "550 5.1.1 no"], "DATA": ["354 go", "554 none"]}) as peer:
            connection = await connected(peer)
            assert [words(await send(connection))[0] for _ in range(4)] == [250, 550, 250, 250]
            verbs = [command.split(" ")[0] for command in peer.commands]
            assert verbs == ["EHLO", *["MAIL", "RCPT", "DATA"] * 2, "RSET", *["MAIL", "RCPT", "DATA"] * 2]
            connection.abort()

    run_on(loop, work)


def test_a_refused_recipient_and_a_willing_data(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer(script={"RCPT": ["550 5.1.1 no such user"]}) as peer:
            connection = await connected(peer)
            assert words(await send(connection)) == (550, "RCPT", "no such user")
            assert peer.transactions[0].content == b"", "a lone dot (RFC 2920 3.1)"
            assert (await send(connection)).answer[0].ok
            connection.abort()

    run_on(loop, work)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "END"])
def test_421_closes_after_the_outcome(loop: str, command: str) -> None:
    async def work() -> None:
        async with SmtpPeer(capabilities=(), script={command: "421 4.7.0 too many"}) as peer:
            lost: list[Connection] = []
            connection = await connected(peer, lost=lost)
            transaction = await send(connection)
            assert words(transaction) == (421, command, "too many")
            assert not transaction.internal
            assert not connection.usable
            await peer.sessions[0].ended.wait()
            await until(lambda: lost)

    run_on(loop, work)


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Close(), "closed the connection"),
        (Reset(), "closed the connection"),
        (Silence(), "did not answer"),
        (Raw(b"2"), "did not answer"),
        (Raw(b"HTTP/1.1 400 Bad Request\r\n"), "no SMTP reply"),
        (Raw(b"250-x\r\n" * 100_000), "more than 128 lines"),
        (Raw(b"2" * 100_000), "octets"),
        (Raw(b"\x00\xff\r\n"), "no SMTP reply"),
        (Raw(b"999 what\r\n"), "no SMTP reply"),
    ],
)
def test_hostile_answers_become_outcomes(loop: str, command: str, answer: Answer, said: str) -> None:
    async def work() -> None:
        async with SmtpPeer(capabilities=(), script={command: answer}) as peer:
            lost: list[Connection] = []
            connection = await connected(peer, timeouts=IMPATIENT, lost=lost)
            transaction = await send(connection)
            code, at, text = words(transaction)
            assert (code, at) == (421, command)
            assert said in text
            assert transaction.internal
            assert ("may have been delivered" in text) == (command == "END" and said.startswith(("closed", "did not")))
            assert not connection.usable
            await until(lambda: lost)
            assert words(await send(connection))[0] == 421, "sending on what is gone"

    run_on(loop, work)


ENDLESS = {"lines": b"250-x\r\n" * 1000, "line": b"2" * 10_000, "blank": b"\r\n" * 1000, "replies": b"250 x\r\n" * 1000}
IN_FLIGHT = 16_000_000  # octets the kernel may hold for a loopback connection, both ends


@pytest.mark.parametrize("command", ["CONNECT", "EHLO", "MAIL", "END"])
@pytest.mark.parametrize("octets", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_answer_ends_with_the_connection(loop: str, command: str, octets: bytes) -> None:
    """Whatever time there is for the answer."""

    async def work() -> None:
        flood = Flood(octets)
        async with SmtpPeer(capabilities=(), script={command: flood}) as peer:
            connection = await reach(peer)
            if isinstance(connection, Connection):
                await send(connection)
                assert not connection.usable
            await peer.sessions[0].ended.wait()
            assert flood.sent < IN_FLIGHT

    run_on(loop, work)


@pytest.mark.parametrize("command", ["CONNECT", "EHLO"])
def test_lines_that_drip_into_a_greeting_cost_little(loop: str, command: str) -> None:
    """aiosmtplib reads the whole reply anew for each line."""

    async def work() -> None:
        flood = Flood(b"250-\n", apart=True)
        async with SmtpPeer(script={command: flood}) as peer:
            outcome = await refused(peer)
            assert (outcome.command, outcome.internal) == (command, True)
            await peer.sessions[0].ended.wait()

    before = time.process_time()
    run_on(loop, work)
    assert time.process_time() - before < 5


def test_a_byte_now_and_then_gains_no_time(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer(script={"MAIL": Drip()}) as peer:
            connection = await connected(peer, timeouts=IMPATIENT)
            assert "did not answer MAIL in 0.3 s" in words(await send(connection))[2]

    run_on(loop, work)


LARGE = ((b"x" * 998 + b"\r\n") * 20_000, b".\r\n")  # more than the kernel buffers on both sides


def test_a_peer_that_reads_slowly_has_its_time_to_answer(loop: str) -> None:
    """The content takes longer than the wait for the final reply; that wait begins when the content is out."""

    async def work() -> None:
        async with SmtpPeer(script={"DATA": Slow(0.05), "END": "250 at last"}) as peer:
            connection = await connected(peer, timeouts=Timeouts(final=0.5, content=30))
            taken = connection._transport.get_extra_info("socket")
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
            assert words(await connection.send(MAIL, RCPT, LARGE)) == (250, "END", "at last")
            connection.abort()

    run_on(loop, work)


def test_a_peer_that_stops_reading_is_dropped(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer(script={"DATA": Deaf("354 go")}) as peer:
            connection = await connected(peer, timeouts=IMPATIENT)
            code, command, text = words(await connection.send(MAIL, RCPT, LARGE))
            assert (code, command) == (421, "END")
            assert "did not answer" in text

    run_on(loop, work)


def test_an_early_answer_ends_the_connection(loop: str) -> None:
    """552 before all is read: the outcome counts, the connection is no good for another message."""

    async def work() -> None:
        async with SmtpPeer(script={"DATA": Deaf("354 go\r\n552 5.3.4 too much")}) as peer:
            connection = await connected(peer, timeouts=IMPATIENT)
            assert words(await connection.send(MAIL, RCPT, LARGE)) == (552, "END", "too much")
            assert not connection.usable

    run_on(loop, work)


def test_a_cancelled_transaction_ends_the_connection(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer(script={"END": Silence()}) as peer:
            connection = await connected(peer)
            sending = asyncio.create_task(send(connection))
            await until(lambda: connection.awaiting_final)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert not connection.usable
            await peer.sessions[0].ended.wait()

    run_on(loop, work)


# ----------------------------------------------------------------------------------------------------- opening


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.77"), *([("::1", "::1")] if needs.ipv6() else [])]
)
def test_the_source_address_is_bound_and_named(loop: str, host: str, address: str) -> None:
    async def work() -> None:
        async with SmtpPeer(host=host) as peer:
            connection = await connected(peer, source=Source(address, "s1.test"))
            await send(connection)
            assert peer.transactions[0].client == address
            assert peer.transactions[0].ehlo == "relay.test"
            connection.abort()

    run_on(loop, work)


def test_a_source_we_do_not_have(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer() as peer:
            outcome = await refused(peer, source=Source("192.0.2.1", ""))
            assert (outcome.scope, outcome.command, outcome.source) == (Scope.SOURCE, "CONNECT", "192.0.2.1")

    run_on(loop, work)


def test_nobody_there(loop: str) -> None:
    async def work() -> None:
        peer = SmtpPeer()
        await peer.start()
        await peer.stop()
        outcome = await refused(peer)
        assert (outcome.reply.code, outcome.command, outcome.scope) == (421, "CONNECT", Scope.HOST)
        assert "connection refused" in outcome.reply.text
        assert outcome.internal
        assert outcome.mx == "mx.test"

    run_on(loop, work)


@pytest.mark.parametrize("command", ["CONNECT", "EHLO"])
@pytest.mark.parametrize(
    "answer",
    [
        Close(),
        Reset(),
        Silence(),
        Raw(b"2"),
        Raw(b"\r\n\r\n\r\n"),
        Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        Raw(b"250-x\r\n" * 100_000),
        Raw(b"250-" + b"x" * 3_000_000),
        Raw(b"\xff\x00\n"),
        Raw(b"999 x\r\n"),
        Raw(b"-01 x\r\n"),
    ],
)
def test_hostile_greetings_become_outcomes(loop: str, command: str, answer: Answer) -> None:
    async def work() -> None:
        async with SmtpPeer(script={command: answer}) as peer:
            outcome = await refused(peer, timeouts=IMPATIENT)
            assert (outcome.scope, outcome.internal) == (Scope.HOST, True)
            assert outcome.reply.temporary
            assert outcome.command == command
            await peer.sessions[0].ended.wait()

    run_on(loop, work)


@pytest.mark.parametrize("reply", ["554 5.7.1 not you", "421 4.3.2 later"])
def test_an_unfriendly_banner(loop: str, reply: str) -> None:
    async def work() -> None:
        async with SmtpPeer(script={"CONNECT": reply}) as peer:
            outcome = await refused(peer)
            assert (str(outcome.reply), outcome.scope, outcome.internal) == (reply, Scope.HOST, False)

    run_on(loop, work)


def test_helo_for_a_host_without_ehlo(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer(script={"EHLO": "502 5.5.1 what?"}) as peer:
            connection = await connected(peer)
            assert (await send(connection)).answer[0].ok
            assert peer.commands[:2] == ["EHLO relay.test", "HELO relay.test"]
            connection.abort()

    run_on(loop, work)


def test_a_refused_starttls_goes_on_in_clear(loop: str, pem: Path) -> None:
    async def work() -> None:
        async with SmtpPeer(context=server_context(pem), script={"STARTTLS": "454 4.7.0 not now"}) as peer:
            connection = await connected(peer)
            assert connection.tls == ""
            assert (await send(connection)).answer[0].ok
            assert len(peer.sessions) == 1
            connection.abort()

    run_on(loop, work)


@pytest.mark.parametrize(
    "answer",
    [Raw(b"220 go\r\nthis is no TLS\r\n"), Close("220 go"), Close(), Reset(), Silence(), Raw(b"250-" * 99_999)],
)
def test_a_failed_handshake_falls_back_to_clear_on_a_new_connection(loop: str, pem: Path, answer: Answer) -> None:
    async def work() -> None:
        quick = Timeouts(starttls=0.3)
        async with SmtpPeer(context=server_context(pem), script={"STARTTLS": answer}) as peer:
            connection = await connected(peer, timeouts=quick)
            assert connection.tls == ""
            assert (await send(connection)).answer[0].ok
            assert len(peer.sessions) == 2
            assert "STARTTLS" not in peer.sessions[1].commands
            connection.abort()

    run_on(loop, work)


def test_a_peer_with_ancient_tls_gets_clear(loop: str, pem: Path) -> None:
    async def work() -> None:
        context = server_context(pem)
        context.set_ciphers("AES128-SHA256")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with SmtpPeer(context=context) as peer:
            connection = await connected(peer)
            assert connection.tls in ("", "TLSv1.2")
            assert (await send(connection)).answer[0].ok
            connection.abort()

    run_on(loop, work)


# ------------------------------------------------------------------------------------------------------- relay

USER = Relay("mx.test", 25, "user", "secret")


def test_login(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer(capabilities=("AUTH PLAIN LOGIN", "PIPELINING")) as peer:
            connection = await connected(peer, relay=USER)
            assert peer.sessions[0].login == "user secret"
            assert (await send(connection)).answer[0].ok
            connection.abort()

    run_on(loop, work)


@pytest.mark.parametrize(
    ("reply", "internal"), [("535 5.7.8 no", False), ("454 4.7.0 later", False), (Close(), True), ("999 x", True)]
)
def test_a_refused_login_is_no_fault_of_the_message(loop: str, reply: Answer, internal: bool) -> None:
    async def work() -> None:
        async with SmtpPeer(capabilities=("AUTH PLAIN",), script={"AUTH": reply}) as peer:
            outcome = await refused(peer, relay=USER)
            assert (outcome.command, outcome.internal) == ("AUTH", internal)
            assert outcome.scope is (Scope.HOST if internal else Scope.SITE)

    run_on(loop, work)


def test_a_relay_without_auth(loop: str) -> None:
    async def work() -> None:
        async with SmtpPeer(capabilities=()) as peer:
            outcome = await refused(peer, relay=USER)
            assert outcome.command == "AUTH"
            assert "not supported" in outcome.reply.text

    run_on(loop, work)


def test_no_password_without_verified_tls(loop: str, pem: Path) -> None:
    async def work() -> None:
        for context, said in ((None, "does not offer STARTTLS"), (server_context(pem), "self-signed")):
            async with SmtpPeer(capabilities=("AUTH PLAIN",), context=context) as peer:
                outcome = await refused(peer, relay=USER, demand=plain(Need.VERIFY))
                assert outcome.command == "STARTTLS"
                assert said in outcome.reply.text
                assert not any("AUTH" in command for command in peer.commands)
                assert len(peer.sessions) == 1

    run_on(loop, work)
