"""Bad input: refused with the right code, nothing stored, and the session bounded in every respect."""

import asyncio
import os
import ssl
from typing import Any

import pytest

from relay.edge.limits import Limits
from tests.edge.conftest import House, Opener, credential
from tests.edge.test_framing import SMUGGLED
from tests.support.smtp_dialogue import Client, trusting

BEGIN = "S: 220 *\nC: EHLO app\nS: ...\n"
TO_ONE = "C: MAIL FROM:<app@example.com>\nC: RCPT TO:<jo@example.net>\nS: 250 *\nS: 250 *\n"
SMUGGLED_MAIL = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nevil\r\n.\r\n"


async def begun(house: House) -> Client:
    return await house.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *")


@pytest.mark.parametrize("variant", SMUGGLED)
@pytest.mark.parametrize("slow", [False, True])
async def test_smuggling_by_data(open_house: Opener, variant: bytes, slow: bool) -> None:
    async with open_house() as house:
        client = await begun(house)
        stream = b"Subject: a\r\n\r\nbody" + variant + SMUGGLED_MAIL
        for part in [bytes([octet]) for octet in stream] if slow else [stream]:
            await client.send(part)
            if slow:
                await asyncio.sleep(0)
        # the only end is the last: one answer, and then none but to what we ask
        await client.play("S: 550 5.*\nC: NOOP\nS: 250 2.0.0 *")
        assert house.door.submissions == []
        assert house.door.rejections[0]["reason"] in ("line-ends", "nul")


@pytest.mark.parametrize("variant", SMUGGLED)
async def test_smuggling_across_the_borders_of_chunks(open_house: Opener, variant: bytes) -> None:
    content = b"body" + variant + SMUGGLED_MAIL
    async with open_house() as house:
        for border in range(4, 4 + len(variant) + 1):
            client = await house.play(BEGIN + TO_ONE)
            for part, last in ((content[:border], b""), (content[border:], b" LAST")):
                await client.send(b"BDAT %d%s\r\n%s" % (len(part), last, part))
            await client.play("S: 250 2.0.0 *\nS: 550 5.*\nC: NOOP\nS: 250 2.0.0 *")
        assert house.door.submissions == []


@pytest.mark.parametrize("variant", [one for one in SMUGGLED if b"\0" not in one])
async def test_where_line_ends_are_fixed_a_message_is_never_split(open_house: Opener, variant: bytes) -> None:
    async with open_house(identity=credential("old", line_endings="fix")) as house:
        client = await begun(house)
        await client.send(b"body" + variant + SMUGGLED_MAIL)
        await client.play("S: 250 2.0.0 OK id\nC: NOOP\nS: 250 2.0.0 *")
        (submission,) = house.door.submissions
        assert submission.content.startswith(b"body\r\n")
        assert submission.content.endswith(b"DATA\r\nevil\r\n")
        assert submission.content.replace(b"\r\n", b"").count(b"\n") == 0
        assert submission.envelope.sender == "app@example.com"


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"a\0b", "550 5.6.0 NUL*"),
        (b"x" * 999, "550 5.6.0 line longer*"),
        (b"x" * 998, "250 2.0.0 *"),
        (b"." + b"." * 998, "250 2.0.0 *"),
        (bytes(set(range(256)) - {0, 10, 13}), "250 2.0.0 *"),
    ],
)
async def test_octets_and_lines(open_house: Opener, content: bytes, answer: str) -> None:
    async with open_house() as house:
        client = await begun(house)
        await client.send(content + b"\r\n.\r\n")
        await client.play(f"S: {answer}")


async def test_long_lines_where_they_are_allowed(open_house: Opener) -> None:
    async with open_house(identity=credential("old", long_lines="allow")) as house:
        client = await begun(house)
        await client.send(b"x" * 5000 + b"\r\n.\r\n")
        await client.play("S: 250 2.0.0 *")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (r"C| NOOP\n", "500 5.5.2 command lines must end*"),
        (r"C| NOOP\rMAIL\r\n", "500 5.5.2 command lines must end*"),
        (r"C: NOOP\x00", "500 5.5.2 commands are*"),
        (r"C: \x00", "500 5.5.2 commands are*"),
        (r"C: NOOP a\x1bb", "500 5.5.2 commands are*"),
        (r"C: NOOP \xff\xfe", "500 5.5.2 commands are*"),
        ("C:", "500 5.5.2 commands are*"),
        ("C: NOOP " + "x" * 600, "500 5.5.2 command line too long"),
        ("C: EHLO " + "x" * 300, "501 5.5.4 *"),
        ("C: FOO", "500 5.5.1 command not known"),
    ],
)
async def test_bad_command_lines(open_house: Opener, line: str, answer: str) -> None:
    async with open_house() as house:
        await house.play(BEGIN + f"{line}\nS: {answer}\nC: NOOP\nS: 250 2.0.0 *")


async def test_a_command_line_without_end_is_not_kept(open_house: Opener) -> None:
    async with open_house() as house:
        client = await house.play(BEGIN)
        for _ in range(50):
            await client.send(b"x" * 10_000)
        await client.play("S: 500 5.5.2 command line too long")
        (session,) = house.listener.desk.guests
        assert len(session._input) <= 12_288  # type: ignore[attr-defined]
        await client.play("C: the rest of it\nC: NOOP\nS: 250 2.0.0 *")


async def test_size_announced_and_size_real(open_house: Opener) -> None:
    async with open_house(limits=Limits(max_size=1000)) as house:
        client = await house.play(
            BEGIN
            + """
            C: MAIL FROM:<app@example.com> SIZE=1001
            S: 552 5.3.4 *
            C: MAIL FROM:<app@example.com> SIZE=1000
            C: RCPT TO:<jo@example.net>
            C: DATA
            S: 250 *
            S: 250 *
            S: 354 *
        """
        )
        await client.send(b"x\r\n" * 900 + b".\r\n")
        await client.play("S: 552 5.3.4 *\n" + TO_ONE + "C: BDAT 600\n")
        await client.send(b"x" * 600 + b"BDAT 600\r\n" + b"x" * 600)
        await client.play("S: 250 2.0.0 *\nS: 552 5.3.4 *\nC: RSET\nS: 250 *\n" + TO_ONE + "C: DATA\nS: 354 *")
        await client.send(b"x\r\n" * 300 + b".\r\n")
        await client.play("S: 250 2.0.0 *")
        assert [one["reason"] for one in house.door.rejections] == ["size"] * 3
        assert house.listener.desk.budget.used == 0


async def test_repaired_line_ends_count_as_size(open_house: Opener) -> None:
    async with open_house(limits=Limits(max_size=1000), identity=credential("old", line_endings="fix")) as house:
        client = await begun(house)
        await client.send(b"\n" * 900 + b"\r\n.\r\n")
        await client.play("S: 552 5.3.4 *")


async def test_data_without_end_is_not_read_for_ever(open_house: Opener) -> None:
    """Refused after four times the limit, heard out for a moment, then cut."""
    async with open_house(limits=Limits(max_size=1000, linger_seconds=0.05, sweep_seconds=0.02)) as house:
        client = await begun(house)
        await client.send(b"x" * 10_000)
        await client.play("S: 552 5.3.4 *")
        with pytest.raises(ConnectionError):
            await client.flood(b"x" * 10_000)
        await house.empty()
        assert [(one["command"], one["reason"]) for one in house.door.rejections] == [("DATA", "size")]
        assert house.listener.desk.budget.used == 0


async def test_many_large_messages_at_once_are_told_to_come_again(open_house: Opener) -> None:
    """452, not memory: no session holds more than the budget has for it."""
    size, crowd, budget = 400_000, 20, 2_000_000
    async with open_house(budget=budget) as house:
        clients = [await begun(house) for _ in range(crowd)]
        for client in clients:
            await client.send(b"x" * 76 + b"\r\n")
        house.door.gate.clear()
        for client in clients:
            await client.send((b"x" * 76 + b"\r\n") * (size // 78))
            assert house.listener.desk.budget.used <= budget
        for client in clients:
            await client.send(b".\r\n")
        guests, refused = house.listener.desk.guests, house.door.rejections
        async with asyncio.timeout(20):  # until all is read: none may find the room that others leave later
            while sum(guest.saving for guest in guests) + len(refused) < crowd:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        house.door.gate.set()
        codes = [(await client.line())[:9] for client in clients]
        assert set(codes) == {"250 2.0.0", "452 4.3.1"}
        assert codes.count("452 4.3.1") >= crowd - budget // size
        assert house.listener.desk.budget.used == 0
        # and they may come again
        await clients[-1].play(TO_ONE + "C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 *")


async def test_an_announced_size_that_does_not_fit_now_is_told_before_the_data(open_house: Opener) -> None:
    async with open_house(budget=1000) as house:
        await house.play(BEGIN + "C: MAIL FROM:<a@example.com> SIZE=2000\nS: 452 4.3.1 *")
        assert house.door.rejections[0]["reason"] == "memory"


async def test_errors_end_the_session(open_house: Opener) -> None:
    async with open_house(limits=Limits(errors=5)) as house:
        client = await house.play(BEGIN)
        await client.send(b"FOO\r\n" * 100)
        await client.play("S: 500 5.5.1 *\n" * 5 + "S: 421 4.7.0 *\nS: <closed>")


async def test_commands_that_carry_nothing_end_it_too(open_house: Opener) -> None:
    async with open_house(limits=Limits(junk=10)) as house:
        client = await house.play(BEGIN)
        await client.send(b"NOOP\r\n" * 1000)
        await client.play("S: 250 2.0.0 *\n" * 9 + "S: 421 4.7.0 *\nS: <closed>")


async def test_a_message_makes_up_for_errors(open_house: Opener) -> None:
    async with open_house(limits=Limits(errors=3, junk=3)) as house:
        client = await house.play(BEGIN)
        for _ in range(3):
            await client.play("C: FOO\nS: 500 *\nC: FOO\nS: 500 *\nC: NOOP\nS: 250 *\n" + TO_ONE)
            await client.play("C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 2.0.0 *")


async def test_http(open_house: Opener) -> None:
    async with open_house() as house:
        await house.play("""
            C: GET / HTTP/1.1
            C: Host: relay.test
            C:
            S: 220 *
            S: 421 4.7.0 this is SMTP, not HTTP
            S: <closed>
        """)
        await house.play("C: CONNECT example.com:25 HTTP/1.0\nC:\nS: 220 *\nS: 421 4.7.0 *\nS: <closed>")


async def test_tls_on_a_port_that_starts_in_clear(open_house: Opener) -> None:
    async with open_house() as house:
        hello = ssl.MemoryBIO()
        handshake = trusting().wrap_bio(ssl.MemoryBIO(), hello)
        with pytest.raises(ssl.SSLWantReadError):
            handshake.do_handshake()
        client = await house.connect()
        await client.send(hello.read())
        await client.play("S: 220 *\nS: 421 4.7.0 this port starts in clear*\nS: <closed>")


@pytest.mark.parametrize("role", ["stranger", "app"])
async def test_noise(open_house: Opener, role: str) -> None:
    """Random octets are answered or hung up on; the listener goes on, and nothing is left over."""
    async with open_house(trusted=role == "app", limits=Limits(sweep_seconds=0.02, errors=10)) as house:
        for _ in range(10):
            client = await house.connect()
            if role == "app":
                await client.play(BEGIN + TO_ONE + "C: DATA\nS: 354 *")
            await client.send(os.urandom(5000) + b"\r\n.\r\n" + b"\r\n".join(os.urandom(30) for _ in range(50)))
            await client.aclose()
        await house.empty()
        assert house.listener.desk.budget.used == 0
        await house.play(BEGIN + "C: QUIT\nS: 221 *\nS: <closed>")


async def test_what_a_stranger_can_make_us_hold(open_house: Opener) -> None:
    """One read of the transport and a line: not the megabytes it would like to send."""
    async with open_house(trusted=False) as house:
        client = await house.play(BEGIN + "C: AUTH PLAIN\nS: 334*")
        held: list[int] = []
        for _ in range(100):
            client.writer.write(b"x" * 50_000)
            await asyncio.sleep(0)
            held += [len(session._input) for session in house.listener.desk.guests]  # type: ignore[attr-defined]
        assert max(held, default=0) < 600_000
        await client.play("S: 500 5.5.6 *")


def test_reasons_cover_every_refusal_of_data() -> None:
    from relay.edge import framing, replies

    refusals: list[Any] = [framing.BARE, framing.NUL, framing.LONG_LINE, replies.TOO_BIG, replies.NO_ROOM]
    assert set(replies.REASONS) >= {*refusals, replies.NO_RECIPIENTS, replies.MAIL_FIRST}
