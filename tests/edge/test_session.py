"""Transactions as dialogues: what an app says, what it hears, and what reaches accept()."""

import asyncio
import socket
import struct
from collections.abc import Awaitable

from relay.edge.limits import Limits
from relay.edge.session import PATIENCE
from relay.edge.submission import TurnedAway
from relay.message import Envelope, Peer, RcptTo
from relay.outcome import Reply
from tests.edge.conftest import NOW, SECRET, Opener, plain, until

BEGIN = """
    S: 220 relay.test ESMTP Postlane
    C: EHLO app
    S: ...
"""
TO_ONE = """
    C: MAIL FROM:<app@example.com>
    C: RCPT TO:<jo@example.net>
    S: 250 2.1.0 sender OK
    S: 250 2.1.5 recipient OK
"""


async def test_a_message_in_steps(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play(r"""
            S: 220 relay.test ESMTP Postlane
            C: EHLO app.example.com
            S: 250-relay.test
            S: 250-PIPELINING
            S: 250-SIZE 25000000
            S: 250-8BITMIME
            S: 250-SMTPUTF8
            S: 250-ENHANCEDSTATUSCODES
            S: 250-DSN
            S: 250-CHUNKING
            S: 250-DELIVERBY 999999999
            S: 250-MT-PRIORITY
            S: 250 AUTH PLAIN LOGIN
            C: MAIL FROM:<app@example.com>
            S: 250 2.1.0 sender OK
            C: RCPT TO:<Jo@Example.net>
            S: 250 2.1.5 recipient OK
            C: DATA
            S: 354 *
            C: Subject: hello
            C:
            C: ..stuffed
            C: last
            C: .
            S: 250 2.0.0 OK id
            C: QUIT
            S: 221 2.0.0 bye
            S: <closed>
        """)
        (submission,) = house.door.submissions
        assert submission.content == b"Subject: hello\r\n\r\n.stuffed\r\nlast\r\n"
        assert submission.envelope == Envelope("app@example.com", [RcptTo("Jo@Example.net", "example.net")])
        assert (submission.credential.name, submission.stream, submission.received_at) == ("local", "", NOW)
        peer = submission.peer
        assert peer == Peer("127.0.0.1", peer.port, "app.example.com", "ESMTP", "")
        assert house.listener.counters.messages == 1


async def test_everything_pipelined_is_answered_in_order(open_house: Opener) -> None:
    """Also what follows the end of the data in the same segment (RFC 2920 3.1)."""
    async with open_house() as house:
        await house.play(r"""
            C: EHLO app
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<jo@example.net>
            C: RCPT TO:<bad>
            C: DATA
            S: 220 *
            S: ...
            S: 250 2.1.0 *
            S: 250 2.1.5 *
            S: 553 5.1.3 *
            S: 354 *
            C: one
            C: .
            C: MAIL FROM:<b@example.com>
            C: RCPT TO:<jo@example.net>
            C: DATA
            C: two
            C: .
            C: QUIT
            S: 250 2.0.0 OK id
            S: 250 2.1.0 *
            S: 250 2.1.5 *
            S: 354 *
            S: 250 2.0.0 OK id
            S: 221 2.0.0 *
            S: <closed>
        """)
        assert [one.content for one in house.door.submissions] == [b"one\r\n", b"two\r\n"]
        assert [one.envelope.sender for one in house.door.submissions] == ["a@example.com", "b@example.com"]


async def test_octet_by_octet_is_the_same_message(open_house: Opener) -> None:
    dialogue = (
        b"EHLO app\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<jo@example.net>\r\nDATA\r\nx\r\n..\r\n.\r\n"
        b"MAIL FROM:<>\r\nRCPT TO:<jo@example.net>\r\nBDAT 3 LAST\r\na\r\nQUIT\r\n"
    )
    async with open_house() as house:
        client = await house.connect()
        for octet in dialogue:
            await client.send(bytes([octet]))
            await asyncio.sleep(0)  # lets the other end read before there is more
        assert await asyncio.wait_for(client.reader.read(), 20)
        assert [one.content for one in house.door.submissions] == [b"x\r\n.\r\n", b"a\r\n"]


async def test_an_empty_message_is_a_dot_alone(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play(
            BEGIN
            + TO_ONE
            + """
            C: DATA
            S: 354 *
            C: .
            S: 250 2.0.0 OK id
        """
        )
        assert house.door.submissions[0].content == b""


async def test_dsn_parameters_are_taken_and_keep_their_case(open_house: Opener) -> None:
    """aiosmtpd 1.4.6 answers 555, and turns all parameters into upper case."""
    async with open_house() as house:
        await house.play(
            BEGIN
            + """
            C: MAIL FROM:<app@example.com> RET=hdrs ENVID=aBc+2B1
            S: 250 2.1.0 *
            C: RCPT TO:<jo@example.net> NOTIFY=success,FAILURE ORCPT=rfc822;Jo+2Bx@Example.NET
            S: 250 2.1.5 *
            C: DATA
            C: x
            C: .
            S: 354 *
            S: 250 2.0.0 *
        """
        )
        envelope = house.door.submissions[0].envelope
        assert (envelope.ret, envelope.envid) == ("HDRS", "aBc+2B1")
        assert (envelope.recipients[0].notify, envelope.recipients[0].orcpt) == (
            "SUCCESS,FAILURE",
            "rfc822;Jo+2Bx@Example.NET",
        )


async def test_malformed_paths_are_refused_not_repaired(open_house: Opener) -> None:
    """aiosmtpd 1.4.6 takes `a@b@c` for an address and `<a@b` for a path."""
    async with open_house() as house:
        await house.play(
            BEGIN
            + """
            C: MAIL FROM:app@example.com
            S: 501 5.5.4 *
            C: MAIL FROM:<app@example.com
            S: 553 5.1.7 *
            C: MAIL FROM:<app@example.com@example.org>
            S: 553 5.1.7 *
            C: MAIL FROM:<app@example.com>
            S: 250 2.1.0 *
            C: RCPT TO:<jo>
            S: 553 5.1.3 *
        """
        )
        assert [one["reason"] for one in house.door.rejections] == ["address"] * 4
        assert house.door.rejections[-1]["recipient"] == "TO:<jo>", "what is no address, as it was said"


async def test_smtputf8(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play(
            BEGIN
            + """
            C: MAIL FROM:<app@example.com>
            C: RCPT TO:<jörg@bücher.example>
            C: RSET
            C: MAIL FROM:<app@example.com> SMTPUTF8
            C: RCPT TO:<jörg@bücher.example>
            C: DATA
            S: 250 2.1.0 *
            S: 553 5.6.7 *
            S: 250 2.0.0 *
            S: 250 2.1.0 *
            S: 250 2.1.5 *
            S: 354 *
            C: x
            C: .
            S: 250 2.0.0 *
        """
        )
        submission = house.door.submissions[0]
        assert submission.envelope.recipients == [RcptTo("jörg@bücher.example", "xn--bcher-kva.example")]
        assert submission.envelope.utf8
        assert submission.peer.protocol == "UTF8SMTP"


async def test_bdat_in_chunks(open_house: Opener) -> None:
    """aiosmtpd 1.4.6 has no BDAT. A body without a last line end gains one."""
    async with open_house() as house:
        await house.play(
            BEGIN
            + TO_ONE
            + r"""
            C: BDAT 5
            C| .\r\n.\r
            S: 250 2.0.0 *
            C: BDAT 1
            C| \n
            S: 250 2.0.0 *
            C: BDAT 3
            C| end
            C: BDAT 0 LAST
            S: 250 2.0.0 *
            S: 250 2.0.0 OK id
        """
        )
        assert house.door.submissions[0].content == b".\r\n.\r\nend\r\n"


async def test_chunks_out_of_order_are_data_all_the_same(open_house: Opener) -> None:
    """RFC 3030 2: their octets are never taken for commands."""
    async with open_house() as house:
        await house.play(
            BEGIN
            + r"""
            C: BDAT 6 LAST
            C| QUIT\r\n
            S: 503 5.5.1 *
            C: MAIL FROM:<app@example.com>
            C: RCPT TO:<bad>
            C: BDAT 6
            C| QUIT\r\n
            C: BDAT 6 LAST
            C| QUIT\r\n
            S: 250 2.1.0 *
            S: 553 5.1.3 *
            S: 503 5.5.1 *
            S: 503 5.5.1 *
            C: NOOP
            S: 250 2.0.0 *
        """
            + TO_ONE
            + r"""
            C: BDAT 1
            C| x
            C: DATA
            C: RCPT TO:<two@example.net>
            C: RSET
            C: NOOP
            S: 250 2.0.0 *
            S: 503 5.5.1 *
            S: 503 5.5.1 *
            S: 250 2.0.0 *
            S: 250 2.0.0 *
        """
        )
        assert house.door.submissions == []


async def test_a_chunk_of_unknown_size_ends_the_session(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play(BEGIN + TO_ONE + "C: BDAT x\nC: MAIL FROM:<a@example.com>\nS: 501 5.5.4 *\nS: <closed>")
        await house.play(BEGIN + TO_ONE + "C: BDAT 99999999999\nS: 552 5.3.4 *\nS: <closed>")
        assert [(one["command"], one["reason"]) for one in house.door.rejections] == [("BDAT", "size")]


async def test_the_order_of_commands(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play("""
            S: 220 *
            C: MAIL FROM:<app@example.com>
            S: 503 5.5.1 EHLO first
            C: HELO app
            S: 250 relay.test
            C: RCPT TO:<jo@example.net>
            S: 503 5.5.1 MAIL first
            C: DATA
            S: 503 5.5.1 MAIL first
            C: MAIL FROM:<app@example.com>
            S: 250 2.1.0 *
            C: MAIL FROM:<app@example.com>
            S: 503 5.5.1 *
            C: DATA
            S: 503 5.5.1 no valid recipients
            C: RCPT TO:<jo@example.net>
            S: 250 2.1.5 *
            C: EHLO again
            S: ...
            C: RCPT TO:<jo@example.net>
            S: 503 5.5.1 MAIL first
            C: DATA now
            S: 501 5.5.4 *
            C: QUIT now
            S: 501 5.5.4 *
            C: RSET now
            S: 501 5.5.4 *
        """)


async def test_the_small_commands_all_have_enhanced_codes(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play(
            BEGIN
            + """
            C: noop hello
            S: 250 2.0.0 *
            C: HELP
            S: 214 2.0.0 *
            C: VRFY jo
            S: 252 2.5.0 *
            C: VRFY
            S: 501 5.5.4 *
            C: EXPN list
            S: 502 5.5.1 *
            C: LHLO app
            S: 500 5.5.1 *
            C: STARTTLS
            S: 502 5.5.1 *
            C: EHLO
            S: 501 5.5.4 *
            C: quit
            S: 221 2.0.0 *
            S: <closed>
        """
        )


async def test_a_message_by_helo(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play("S: 220 *\nC: HELO app\nS: 250 *" + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 *")
        assert house.door.submissions[0].peer.protocol == "SMTP"


async def test_what_accept_answers_is_what_the_app_hears(open_house: Opener) -> None:
    async with open_house() as house:
        house.door.answer = Reply(451, "4.3.1", "disk\r\n250 full é")
        client = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nS: 451 4.3.1 disk  250 full ?")
        house.door.answer = RuntimeError("secret path /var/lib/x")
        await client.play(TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nS: 451 4.3.0 internal error, please come again")
        house.door.answer = Reply(250, "2.0.0", "OK again")
        await client.play(TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 OK again")
        assert house.listener.desk.budget.used == 0


async def test_a_fault_of_ours_says_nothing_about_itself(open_house: Opener) -> None:
    """aiosmtpd 1.4.6 sends the exception's class and text to the peer."""
    async with open_house(trusted=False) as house:

        def broken(user: str, password: str, on_this_machine: bool) -> None:
            raise RuntimeError(f"secret {password}")

        house.door.login = broken  # type: ignore[method-assign]
        await house.play(BEGIN + f"C: AUTH PLAIN {plain('local', SECRET)}\nS: 421 4.3.0 internal error, *\nS: <closed>")

        def worse(facts: dict[str, object]) -> None:
            raise RuntimeError("secret")

        house.door.rejected = worse  # type: ignore[method-assign]
        await house.play(BEGIN + "C: MAIL FROM:<a@example.com>\nS: 421 4.3.0 internal error, *\nS: <closed>")


async def test_the_end_of_input_does_not_cancel_the_save(open_house: Opener) -> None:
    """aiosmtpd 1.4.6 cancels its handler at EOF: the message is then neither stored nor refused for sure."""
    async with open_house() as house:
        house.door.gate.clear()
        client = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nC: <eof>")
        await house.door.arrived.wait()
        house.door.gate.set()
        await client.play("S: 250 2.0.0 OK id\nS: <closed>")
        assert len(house.door.saved) == 1


async def test_neither_does_a_lost_connection(open_house: Opener) -> None:
    async with open_house() as house:
        house.door.gate.clear()
        client = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .")
        await house.door.arrived.wait()
        reset = struct.pack("ii", 1, 0)  # SO_LINGER of no time: RST instead of FIN
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        client.writer.transport.abort()
        await house.empty()
        assert house.door.saved == []
        assert house.listener.desk.budget.used > 0
        house.door.gate.set()
        await until(lambda: not house.listener.desk.budget.used)
        assert len(house.door.saved) == 1


async def test_a_connection_lost_in_the_data_stores_nothing_and_gives_the_bytes_back(open_house: Opener) -> None:
    async with open_house() as house:
        client = await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: half")
        await until(lambda: house.listener.desk.budget.used > 0)
        await client.aclose()
        await house.empty()
        assert house.door.submissions == []
        assert house.listener.desk.budget.used == 0


async def test_sessions_do_not_share_what_one_of_them_grew(open_house: Opener) -> None:
    """aiosmtpd 1.4.6 lets every EHLO lengthen the lines that all connections may send."""
    long = "MAIL FROM:<app@example.com> ENVID=" + "x" * 1250
    async with open_house() as house:
        client = await house.play("S: 220 *" + "\nC: EHLO app\nS: ..." * 30)
        await client.play(f"C: {long}\nS: 500 5.5.2 command line too long")
        await house.play(BEGIN + f"C: {long}\nS: 500 5.5.2 command line too long")


async def test_many_recipients(open_house: Opener) -> None:
    async with open_house(limits=Limits(max_recipients=3, errors=2)) as house:
        client = await house.play(BEGIN + "C: MAIL FROM:<app@example.com>\nS: 250 *")
        for number in range(6):
            code = "250 2.1.5 *" if number < 3 else "452 4.5.3 *"
            await client.play(f"C: RCPT TO:<r{number}@example.net>\nS: {code}")
        await client.play("C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 *")
        assert len(house.door.submissions[0].envelope.recipients) == 3
        assert house.door.rejections[0]["reason"] == "recipients"
        assert house.door.rejections[0]["recipient"] == "r3@example.net"


async def test_recipients_without_end_end_the_session(open_house: Opener) -> None:
    async with open_house(limits=Limits(max_recipients=3, errors=2)) as house:
        client = await house.play(BEGIN + "C: MAIL FROM:<app@example.com>\nS: 250 *")
        await client.send(b"RCPT TO:<jo@example.net>\r\n" * 20)
        await client.play("S: 250 *\n" * 3 + "S: 452 4.5.3 *\n" * 5 + "S: 421 4.7.0 too many errors\nS: <closed>")


async def test_an_address_is_looked_at_before_it_is_taken(open_house: Opener) -> None:
    """At once, or after DNS has answered; commands behind it wait, and what is left of the patience is told."""
    asked: list[tuple[str, float]] = []

    async def after_dns(recipient: RcptTo) -> TurnedAway | None:
        await asyncio.sleep(0.01)
        null = TurnedAway(Reply(556, "5.1.10", "null.example accepts no mail"), "suppressed")
        return null if recipient.domain == "null.example" else None

    def checks(recipient: RcptTo, patience: float) -> TurnedAway | Awaitable[TurnedAway | None] | None:
        asked.append((recipient.address, patience))
        if recipient.domain == "gmial.com":
            return TurnedAway(Reply(550, "5.1.2", "did you mean gmail.com?"), "address-check")
        return None if recipient.domain == "known.example" else after_dns(recipient)

    async with open_house() as house:
        house.door.checks = checks
        await house.play(f"""
                {BEGIN}
                C: MAIL FROM:<app@example.com>
                C: RCPT TO:<jo@gmial.com>
                C: RCPT TO:<jo@null.example>
                C: RCPT TO:<jo@new.example>
                C: RCPT TO:<jo@known.example>
                C: DATA
                S: 250 2.1.0 sender OK
                S: 550 5.1.2 did you mean gmail.com?
                S: 556 5.1.10 null.example accepts no mail
                S: 250 2.1.5 recipient OK
                S: 250 2.1.5 recipient OK
                S: 354 *
                C: x
                C: .
                S: 250 2.0.0 OK id
            """)
        (submission,) = house.door.submissions
        assert [one.address for one in submission.envelope.recipients] == ["jo@new.example", "jo@known.example"]
        assert [one["reason"] for one in house.door.rejections] == ["address-check", "suppressed"]
        assert [one["recipient"] for one in house.door.rejections] == ["jo@gmial.com", "jo@null.example"]
        assert [address for address, _ in asked] == [
            "jo@gmial.com",
            "jo@null.example",
            "jo@new.example",
            "jo@known.example",
        ]
        assert asked[0][1] == PATIENCE
        assert asked[-1][1] < PATIENCE - 0.015
