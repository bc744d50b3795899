"""What was said in a session that failed: truly, in order, and no more than may be shown."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.egress.connection import Target
from relay.egress.settings import Relay
from relay.egress.transaction import Transaction
from relay.egress.transcript import MOST, OMITTED, Answer, Opening, bounded, of_transaction
from relay.outcome import Outcome, Reply
from tests.support.certificates import self_signed, server_context
from tests.support.egress import HERE, IMPATIENT, carry, courier, delivery
from tests.support.smtp_peer import Close, Raw, Script, Silence, SmtpPeer

BODY = b"Subject: secret plans\r\n\r\nhello\r\n"
EHLO = ["< 250-peer.test", "< 250-PIPELINING", "< 250-SIZE 50000000", "< 250-ENHANCEDSTATUSCODES", "< 250 HELP"]
OFFERS = ("PIPELINING", "SIZE 50000000", "ENHANCEDSTATUSCODES")
GREETED = ["< 220 peer.test ESMTP", "> EHLO relay.test", *EHLO]
MAIL, RCPT = f"> MAIL FROM:<app@sender.test> SIZE={len(BODY)}", "> RCPT TO:<joe@example.test>"


async def heard(script: Script, *, capabilities: tuple[str, ...] = OFFERS, before: int = 0) -> list[str]:
    """What is told of a delivery to such a peer, after as many that went well; without the line of the connection."""
    async with (
        SmtpPeer(capabilities=capabilities, script=script) as peer,
        courier(peer.port, timeouts=IMPATIENT) as (one, _),
    ):
        for _ in range(before):
            assert (await carry(one, delivery("dana@example.test"), BODY, HERE)).transcript == ()
        outcome = await carry(one, delivery(), BODY, HERE)
        assert not outcome.delivered
        connect, *lines = outcome.transcript
        assert connect == f"connect to mx0.example.test [127.0.0.1] port {peer.port}"
        return lines


async def test_commands_that_left_in_one_write_stand_before_their_replies() -> None:
    assert await heard({"RCPT": "550 5.1.1 no such user", "DATA": "503 5.5.1 no valid recipients"}) == [
        *GREETED,
        MAIL,
        RCPT,
        "> DATA",
        "< 250 2.1.0 ok",
        "< 550 5.1.1 no such user",
        "< 503 5.5.1 no valid recipients",
    ]


async def test_an_empty_message_to_nobody_is_called_so() -> None:
    lines = await heard({"RCPT": "550 5.1.1 no such user", "END": "554 5.5.1 no recipients"})
    assert lines[-5:] == [
        "< 250 2.1.0 ok",
        "< 550 5.1.1 no such user",
        "< 354 go ahead",
        "> . (an empty message: nothing was taken before it)",
        "< 554 5.5.1 no recipients",
    ]


async def test_of_the_content_its_size_is_told_and_no_word_of_it() -> None:
    lines = await heard({"END": "550 5.7.1 spam\r\n"}, before=0)
    assert lines[-4:] == [
        "< 250 2.1.5 ok",
        "< 354 go ahead",
        f"> (the message, {len(BODY) + 3} octets)",
        "< 550 5.7.1 spam",
    ]
    assert "secret" not in "\n".join(lines)


async def test_without_pipelining_each_command_has_its_reply_below() -> None:
    lines = await heard({"RCPT": "450 4.2.1 later"}, capabilities=("SIZE 50000000",))
    assert lines[-4:] == [MAIL, "< 250 2.1.0 ok", RCPT, "< 450 4.2.1 later"]
    lines = await heard({"END": "451 4.3.0 no"}, capabilities=())
    assert lines[-4:] == ["> DATA", "< 354 go ahead", f"> (the message, {len(BODY) + 3} octets)", "< 451 4.3.0 no"]


async def test_of_a_kept_connection_no_other_transaction_is_shown() -> None:
    lines = await heard({"RCPT": ["250 ok", "250 ok", "550 5.1.1 no such user"]}, before=2)
    assert lines[: len(GREETED) + 2] == [*GREETED, "(2 other transactions)", MAIL]
    assert "dana" not in "\n".join(lines)
    assert "(1 other transaction)" in await heard({"MAIL": ["250 ok", "550 5.7.1 no"]}, before=1)


async def test_a_reset_is_shown() -> None:
    script: Script = {"RCPT": ["550 5.1.1 no", "450 4.2.0 later"], "DATA": "503 no"}
    async with SmtpPeer(script=script) as peer, courier(peer.port) as (one, _):
        await carry(one, delivery(), BODY, HERE)
        lines = (await carry(one, delivery(), BODY, HERE)).transcript
        assert ("> RSET" in lines, lines.index("> RSET") < lines.index("< 250 2.0.0 reset")) == (True, True)


@pytest.mark.parametrize(
    ("script", "capabilities", "tail"),
    [
        (
            {"MAIL": Silence()},
            OFFERS,
            [MAIL, RCPT, "> DATA", "! mx0.example.test [127.0.0.1] did not answer MAIL in 0.3 s"],
        ),
        ({"RCPT": Silence()}, (), [RCPT, "! mx0.example.test [127.0.0.1] did not answer RCPT in 0.3 s"]),
        ({"RCPT": "220 hm"}, (), [RCPT, "< 220 hm", "> DATA", "< 354 go ahead"]),
        ({"DATA": "250 hm"}, (), ["> DATA", "< 250 hm", "! out of step: the peer answered DATA with 250"]),
        ({"RCPT": Close("421 4.3.2 shutting down")}, (), [RCPT, "< 421 4.3.2 shutting down"]),
    ],
)
async def test_what_we_made_of_it_comes_last(script: Script, capabilities: tuple[str, ...], tail: list[str]) -> None:
    if "RCPT" in script and script["RCPT"] == "220 hm":
        script = {**script, "END": "451 4.3.0 no"}
        assert "\n".join(tail) in "\n".join(await heard(script, capabilities=capabilities))
        return
    assert (await heard(script, capabilities=capabilities))[-len(tail) :] == tail


@pytest.mark.parametrize(
    ("script", "tail"),
    [
        ({"CONNECT": Raw(b"554 5.7.1 go\xff away\r\n")}, ["< 554 5.7.1 go? away"]),
        (
            {"EHLO": "550 5.7.1 who?", "HELO": "550 5.7.1 who?"},
            ["> EHLO relay.test", "< 550 5.7.1 who?", "> HELO relay.test"],
        ),
        ({"EHLO": Close("421 4.3.2 later")}, ["> EHLO relay.test", "< 421 4.3.2 later"]),
        ({"CONNECT": Silence()}, ["! mx0.example.test [127.0.0.1]: no answer in time at CONNECT"]),
    ],
)
async def test_a_session_that_never_began(script: Script, tail: list[str]) -> None:
    lines = await heard(script)
    assert "\n".join(tail) in "\n".join(lines)
    assert not [line for line in lines if line.startswith("> MAIL")]
    json.dumps(lines).encode()  # whatever octets came


async def test_every_address_that_was_tried_is_told() -> None:
    """Nobody listens at the second."""
    async with (
        SmtpPeer(script={"CONNECT": "554 5.7.1 no"}) as peer,
        courier(peer.port, hosts=("127.0.0.1", "127.0.0.9")) as (
            one,
            _,
        ),
    ):
        lines = (await carry(one, delivery(), BODY, HERE)).transcript
        assert lines[:2] == (f"connect to mx0.example.test [127.0.0.1] port {peer.port}", "< 554 5.7.1 no")
        assert lines[-1] == "! mx1.example.test [127.0.0.9]: connection refused at CONNECT"


async def test_the_first_host_s_words_stand_before_the_next_one_s() -> None:
    busy, full = {"MAIL": "421 4.3.2 busy"}, {"RCPT": "452 4.2.2 full"}
    async with (
        SmtpPeer(script=busy) as first,
        SmtpPeer(script=full, host="127.0.0.2", port=first.port),
        courier(first.port, hosts=("127.0.0.1", "127.0.0.2")) as (one, _),
    ):
        lines = (await carry(one, delivery(), BODY, HERE)).transcript
        assert lines.index("< 421 4.3.2 busy") < lines.index("< 452 4.2.2 full")


async def test_tls_is_told_and_a_login_is_not(tmp_path: Path) -> None:
    context = server_context(self_signed(tmp_path, "localhost"))
    script = {"RCPT": "550 5.1.1 no such user"}
    async with SmtpPeer(capabilities=("AUTH PLAIN",), context=context, script=script) as peer:
        relay = Relay("127.0.0.1", peer.port, "us", "pa55word")
        async with courier(25, relay=relay) as (one, _):
            lines = (await carry(one, delivery(), BODY, HERE)).transcript
    at = lines.index("> STARTTLS")
    assert lines[at : at + 4] == (
        "> STARTTLS",
        "< 220 2.0.0 go ahead",
        "(from here on in TLSv1.3)",
        "> EHLO relay.test",
    )
    assert lines[lines.index("> AUTH (not shown)") + 1] == "< 235 2.7.0 welcome"
    assert "pa55word" not in str(lines)
    assert lines[-1] == "< 550 5.1.1 no such user"


async def test_what_the_peer_cannot_take_is_told_behind_what_it_offers() -> None:
    async with SmtpPeer(capabilities=()) as peer, courier(peer.port) as (one, _):
        lines = (await carry(one, delivery(eightbit=True), BODY, HERE)).transcript
        assert lines[-2:] == ("< 250 HELP", "! the body is 8-bit and the host does not offer 8BITMIME")


async def test_where_none_are_kept_none_is_made() -> None:
    async with SmtpPeer(script={"RCPT": "550 no"}) as peer, courier(peer.port, transcripts=False) as (one, _):
        assert (await carry(one, delivery(), BODY, HERE)).transcript == ()


# ---------------------------------------------------------------------------------------------------- bounds

OPENING = Opening(Target("mx.test", "192.0.2.1", 25), "", "relay.test", [("CONNECT", None), ("BANNER", (220, "mx"))])


def test_a_transaction_that_never_left_says_nothing_of_commands() -> None:
    one = Transaction(b"MAIL\r\n", b"RCPT\r\n", (b"x",), pipelining=True)
    one.abandon(Reply(421, "4.4.2", "closed"))
    assert of_transaction(OPENING, "", 0, one) == ("connect to mx.test [192.0.2.1] port 25", "< 220 mx", "! closed")


def test_an_opening_ends_with_our_own_words_once() -> None:
    ours = Outcome(Reply(451, "4.7.10", "no TLS"), "STARTTLS", internal=True)
    assert OPENING.failed(ours)[-1] == "! no TLS"
    told = Opening(OPENING.target, "192.0.2.9", "", [("CONNECT", None), ("BANNER", ours)])
    assert told.failed(ours) == ("connect to mx.test [192.0.2.1] port 25 from 192.0.2.9", "! no TLS")


@given(st.lists(st.text(max_size=900), max_size=30), st.lists(st.text(max_size=900), min_size=1, max_size=30))
def test_what_is_too_long_loses_its_middle(opening: list[str], rest: list[str]) -> None:
    lines = bounded(opening, rest)
    assert sum(map(len, lines)) <= MOST
    assert all(line.isprintable() for line in lines)
    if OMITTED not in lines:
        assert len(lines) == len(opening) + len(rest)
    assert len(lines[-1]) == min(len(rest[-1]), 512), "how it ended is always there"


def test_a_host_that_talks_much_is_cut_short() -> None:
    answer: Answer = (250, "\n".join(f"X-{number}-{'y' * 90}" for number in range(200)))
    talks = Opening(OPENING.target, "", "relay.test", [("CONNECT", None), ("EHLO", answer)])
    one = Transaction(b"MAIL\r\n", b"RCPT\r\n", (b"x",), pipelining=True)
    one.start()
    for reply in (Reply(250, "", "ok"), Reply(550, "5.1.1", "n" * 1000), Reply(503, "", "no")):
        one.receive(reply)
    lines = of_transaction(talks, "", 0, one)
    assert lines[0].startswith("connect to")
    assert lines[-1] == "< 503 no"
    assert lines[lines.index(OMITTED) - 1].startswith("< 250-X-")
    assert sum(map(len, lines)) <= MOST
