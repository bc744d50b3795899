"""The capture server: what it takes and what it refuses at sim.test. Real sessions over loopback."""

import asyncio
import itertools
import smtplib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.control import NodeDown
from relay.feedback.replies import classify
from relay.outcome import Reply
from relay.web import capture
from relay.web.capture import PARTS, SLOW_SECONDS, CaptureServer, part_of
from relay.web.captures import Captures

MESSAGE_ID = "01kaj2m8q4x7ab00"
MESSAGE = (
    f"X-Postlane-Trace: 00ff\r\nReceived: from app ([127.0.0.1])\r\n\tby relay (Postlane) with ESMTP id {MESSAGE_ID};"
    "\r\n\tSat, 21 Nov 2026 12:05:31 +0000\r\nMessage-ID: <1@shop.example>\r\nSubject: x\r\n\r\nHello\r\n"
).encode()


class House:
    """A capture server under test, and how long it wanted to sleep."""

    def __init__(self, directory: Path) -> None:
        self.captures = Captures(directory / "capture")
        self.slept: list[float] = []
        ticks = itertools.count(1_795_262_731_104)
        link = socket.create_server(("127.0.0.1", 0))
        self.port: int = link.getsockname()[1]
        self.server = CaptureServer(
            link,
            self.captures,
            hostname="capture.example",
            clock=lambda: next(ticks),
            sleep=self.sleep,
            ask=self.ask,
        )
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | Exception = {}

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def dialogue(self, *commands: bytes) -> list[str]:
        """Sends all at once, as a pipelining client may, and returns each reply's last line."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"".join(c + b"\r\n" for c in (b"EHLO client.example", *commands, b"QUIT")))
        lines = (await reader.read()).decode().split("\r\n")
        writer.close()
        await writer.wait_closed()
        return [line for line in lines[:-1] if line[3:4] == " "][2:-1]  # without greeting, EHLO and QUIT

    async def send(self, recipient: str, content: bytes = MESSAGE, sender: str = "shop@shop.example") -> list[str]:
        """One transaction, as our egress would do it."""
        return await self.dialogue(
            f"MAIL FROM:<{sender}> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1".encode(),
            f"RCPT TO:<{recipient}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana+2B@x".encode(),
            b"DATA",
            content + b".",
        )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.server.start()
    yield house
    await house.server.stop()


async def test_everything_but_sim_test_is_taken_with_its_dsn_parameters(house: House) -> None:
    mail, rcpt, data, end = await house.send("dana@rcpt.example")
    assert (mail[:9], rcpt[:9], data[:3]) == ("250 2.1.0", "250 2.1.5", "354")
    (kept,) = house.captures.of_message(MESSAGE_ID)
    assert end == f"250 2.0.0 OK captured as {kept.name}"
    assert kept.trace == "00ff"
    assert (kept.sender, kept.recipients) == ("shop@shop.example", ("dana@rcpt.example",))
    assert "ENVID=QQ+2B1" in kept.options
    assert "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana+2B@x" in kept.options
    assert house.captures.content(kept) == MESSAGE


async def test_what_it_offers(house: House) -> None:
    def ehlo() -> set[str]:
        with smtplib.SMTP("127.0.0.1", house.port) as client:
            client.ehlo()
            return set(client.esmtp_features)

    assert await asyncio.to_thread(ehlo) == {
        "pipelining",
        "8bitmime",
        "smtputf8",
        "dsn",
        "size",
        "enhancedstatuscodes",
        "help",
    }


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [
        ("", "dana@rcpt.example"),
        ("קניות@חנות.example", "דנה@דואר.example"),
        ('"a> b"@x.example', '"<q>"@y.example'),
        ("a@x.example", "dana@[127.0.0.1]"),
    ],
)
async def test_unusual_addresses_are_kept_as_they_are(house: House, sender: str, recipient: str) -> None:
    await house.send(recipient, sender=sender)
    (kept,) = house.captures.of_message(MESSAGE_ID)
    assert (kept.sender, kept.recipients) == (sender, (recipient,))


async def test_octets_survive(house: House) -> None:
    content = MESSAGE + bytes(range(128, 256)) + b"\r\n..dot\r\n" + b"x" * 50_000 + b"\r\n"
    await house.send("dana@rcpt.example", content)
    (kept,) = house.captures.of_message(MESSAGE_ID)
    assert house.captures.content(kept) == content.replace(b"\r\n..dot", b"\r\n.dot")


async def test_an_address_that_is_no_utf8_is_no_fault(house: House) -> None:
    replies = await house.dialogue(b"MAIL FROM:<a@x>", b"RCPT TO:<\xff@x>", b"DATA", MESSAGE + b".")
    assert replies[-1].startswith("250 2.0.0")
    assert house.captures.of_message(MESSAGE_ID)[0].recipients == ("\ufffd@x",)


@pytest.mark.parametrize(
    ("part", "step", "reply", "category"),
    [
        ("bounce", 1, "550 5.1.1 no such user (simulated)", "bad-mailbox"),
        ("full", 1, "452 4.2.2 mailbox full (simulated)", "quota"),
        ("blocked", 3, "550 5.7.1 blocked: poor reputation of the sending IP (simulated)", "reputation-block"),
    ],
)
async def test_parts_that_refuse(house: House, part: str, step: int, reply: str, category: str) -> None:
    replies = await house.send(f"{part.upper()}@Sim.Test")
    assert replies[step] == reply
    code, enhanced, text = reply.split(" ", 2)
    assert classify(Reply(int(code), enhanced, text), "RCPT" if step == 1 else "END")[0] == category
    assert house.captures.of_message(MESSAGE_ID) == []


async def test_later_is_greylisted_once_per_sender_recipient_and_message(house: House) -> None:
    greylisted = "451 4.7.1 greylisted, try again later (simulated)"
    assert (await house.send("later@sim.test"))[-1] == greylisted
    assert (await house.send("later@sim.test"))[-1].startswith("250 2.0.0")
    assert (await house.send("later@sim.test", sender="other@shop.example"))[-1] == greylisted
    assert (await house.send("later@sim.test", MESSAGE.replace(b"<1@", b"<2@")))[-1] == greylisted
    assert len(house.captures.of_message(MESSAGE_ID)) == 1


async def test_what_was_greylisted_is_forgotten_in_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "REMEMBERED", 1)
    for sender in ("a@x", "b@x", "a@x"):
        assert (await house.send("later@sim.test", sender=sender))[-1].startswith("451 4.7.1")


async def test_a_fault_of_our_own_is_a_451(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "part_of", None)
    assert (await house.dialogue(b"MAIL FROM:<a@x>", b"RCPT TO:<b@y>"))[-1].startswith("451 4.3.0")


async def test_slow_waits_before_its_final_reply(house: House) -> None:
    assert (await house.send("slow@sim.test"))[-1].startswith("250 2.0.0")
    assert house.slept == [SLOW_SECONDS]


async def test_who_is_away_says_so_beside_the_message_and_to_no_machine(house: House) -> None:
    assert (await house.send("away@sim.test"))[-1].startswith("250 2.0.0")
    message, note = house.captures.of_message(MESSAGE_ID)
    assert (message.recipients, note.sender, note.recipients) == (("away@sim.test",), "", ("shop@shop.example",))
    assert b"Auto-Submitted: auto-replied\r\n" in (house.captures.content(note) or b"")
    await house.send("away@sim.test", sender="")
    await house.send("away@sim.test", b"List-Unsubscribe: <https://x.example/u>\r\n" + MESSAGE)
    await house.send("dana@sim.test")
    assert len(house.captures.of_message(MESSAGE_ID)) == 5
    assert house.asked == []


@pytest.mark.parametrize(("part", "reason"), [("complaint", "complaint"), ("unsubscribe", "unsubscribed")])
async def test_who_wants_no_more_is_suppressed_before_the_mail_counts_as_delivered(
    house: House, part: str, reason: str
) -> None:
    for house.answer in ({"changed": 1, "same": 0}, {"error": "State is down"}, NodeDown("no answer")):
        assert (await house.send(f"{part}@sim.test"))[-1].startswith("250 2.0.0")
    entry = {"recipient": f"{part}@sim.test", "stop": "marketing", "reason": reason, "source": "sim.test"}
    assert house.asked == [{"do": "people", "what": "block", "via": "sim.test", "entries": [entry]}] * 3


def test_parts_are_played_only_at_sim_test() -> None:
    assert {part_of(f"{part}@sim.test") for part in PARTS} == set(PARTS)
    assert part_of("Bounce+2@sim.test") == "bounce", "suppressed once, another address plays it"
    assert part_of("bounce@sim.example") == part_of("nobody@sim.test") == part_of("bounce") == ""


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"MAIL", "501 5.5.4"),
        (b"MAIL FROM:a@x", "501 5.5.4"),
        (b"MAIL FROM:<a@x> \xff=", "250 2.1.0"),
        (b"RCPT TO:<a@x>", "503 5.5.1"),
        (b"RCPT TO:<>", "501 5.5.4"),
        (b"DATA", "503"),
    ],
)
async def test_what_is_out_of_order_is_refused(house: House, command: bytes, reply: str) -> None:
    (answer,) = await house.dialogue(command)
    assert answer.startswith(reply)


async def test_one_transaction_at_a_time(house: House) -> None:
    assert (await house.dialogue(b"MAIL FROM:<a@x>", b"MAIL FROM:<b@x>"))[1].startswith("503 5.5.1")


async def test_a_disk_that_takes_nothing_is_a_452_and_the_next_message_is_taken(house: House, tmp_path: Path) -> None:
    (tmp_path / "capture").rename(tmp_path / "elsewhere")
    assert (await house.send("dana@rcpt.example"))[-1].startswith("452 4.3.1")
    (tmp_path / "elsewhere").rename(tmp_path / "capture")
    assert (await house.send("dana@rcpt.example"))[-1].startswith("250 2.0.0")


async def test_stopping_closes_what_is_connected(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert repr(house.server) == "<CaptureServer capture.example serving=False>"
    await house.server.stop()  # never started: nothing to do
    await house.server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    assert (await reader.readline()).startswith(b"220 ")
    await house.server.stop()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
