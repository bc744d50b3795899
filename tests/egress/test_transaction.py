from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.egress.transaction import Features, Transaction, commands, features, final_dot, stuff, wire_address
from relay.outcome import Outcome, Reply, Scope
from tests.support.egress import delivery

ALL = Features(pipelining=True, eightbit=True, utf8=True, dsn=True, priority=True, size_known=True, size=1000)
PLAIN, BY, DSN = Features(), Features(by=True), Features(dsn=True)
NOW = 1_795_267_531_104
CONTENT = (b"head", b"content", b".\r\n")


# ---------------------------------------------------------------------------------------------------- features


@pytest.mark.parametrize(
    ("extensions", "found"),
    [
        ({}, PLAIN),
        (dict.fromkeys(("pipelining", "8bitmime", "smtputf8", "dsn", "mt-priority"), "") | {"size": "1000"}, ALL),
        ({"mt-priority": "MIXER"}, Features(priority=True)),
        ({"requiretls": ""}, Features(requiretls=True)),
        ({"deliverby": "240"}, BY),
        ({"size": ""}, Features(size_known=True)),
        ({"size": "0"}, Features(size_known=True)),
        ({"size": "lots"}, Features(size_known=True)),
        ({"size": "9" * 5000}, Features(size_known=True)),
    ],
)
def test_features(extensions: dict[str, str], found: Features) -> None:
    assert features(extensions) == found


# ---------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize(
    ("about", "offered", "mail", "rcpt"),
    [
        ({}, PLAIN, b"MAIL FROM:<app@sender.test>", b"RCPT TO:<joe@example.test>"),
        ({}, ALL, b"MAIL FROM:<app@sender.test> SIZE=77", b"RCPT TO:<joe@example.test>"),
        ({"sender": ""}, PLAIN, b"MAIL FROM:<>", b"RCPT TO:<joe@example.test>"),
        ({"eightbit": True}, ALL, b"MAIL FROM:<app@sender.test> SIZE=77 BODY=8BITMIME", b"RCPT TO:<joe@example.test>"),
        (
            {"utf8": True},
            ALL,
            b"MAIL FROM:<app@sender.test> SIZE=77 SMTPUTF8 BODY=8BITMIME",
            b"RCPT TO:<joe@example.test>",
        ),
        ({"utf8": True, "eightbit": True}, Features(utf8=True), b"MAIL FROM:<app@sender.test> SMTPUTF8", None),
        # An IDN domain behind an ASCII local part goes as A-label, to hosts without SMTPUTF8 too.
        (
            {"recipient": "joe@bücher.test", "domain": "xn--bcher-kva.test"},
            PLAIN,
            None,
            b"RCPT TO:<joe@xn--bcher-kva.test>",
        ),
        ({"sender": "app@bücher.test"}, PLAIN, b"MAIL FROM:<app@xn--bcher-kva.test>", None),
        (
            {"recipient": "דוד@bücher.test", "domain": "xn--bcher-kva.test"},
            ALL,
            b"MAIL FROM:<app@sender.test> SIZE=77 SMTPUTF8 BODY=8BITMIME",
            "RCPT TO:<דוד@bücher.test>".encode(),
        ),
        (
            {"notify": "SUCCESS,FAILURE", "orcpt": "rfc822;Joe+2B@example.test", "ret": "HDRS", "envid": "Ab+20c"},
            Features(dsn=True),
            b"MAIL FROM:<app@sender.test> RET=HDRS ENVID=Ab+20c",
            b"RCPT TO:<joe@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Joe+2B@example.test",
        ),
        ({"priority": 9}, ALL, b"MAIL FROM:<app@sender.test> SIZE=77 MT-PRIORITY=9", None),
        ({"priority": -9}, Features(priority=True), b"MAIL FROM:<app@sender.test> MT-PRIORITY=-9", None),
        ({"priority": 9}, PLAIN, b"MAIL FROM:<app@sender.test>", None),
        ({"tls": "required"}, Features(requiretls=True), b"MAIL FROM:<app@sender.test> REQUIRETLS", None),
        ({"tls": "required"}, PLAIN, b"MAIL FROM:<app@sender.test>", None),
        ({"tls": "waived"}, Features(requiretls=True), b"MAIL FROM:<app@sender.test>", None),
        ({"by": NOW + 90_999}, BY, b"MAIL FROM:<app@sender.test> BY=90;N", b"RCPT TO:<joe@example.test>"),
        ({"by": NOW - 1, "by_trace": True}, BY, b"MAIL FROM:<app@sender.test> BY=-1;NT", None),
        ({"by": NOW * 2}, BY, b"MAIL FROM:<app@sender.test> BY=999999999;N", None),
        ({"by": 0}, BY, b"MAIL FROM:<app@sender.test> BY=-999999999;N", None),
        ({"by": NOW}, PLAIN, b"MAIL FROM:<app@sender.test>", b"RCPT TO:<joe@example.test>"),
        ({"by": NOW}, DSN, None, b"RCPT TO:<joe@example.test> NOTIFY=FAILURE,DELAY"),
        ({"by": NOW, "notify": "SUCCESS"}, DSN, None, b"RCPT TO:<joe@example.test> NOTIFY=SUCCESS,DELAY"),
        ({"by": NOW, "notify": "DELAY"}, DSN, None, b"RCPT TO:<joe@example.test> NOTIFY=DELAY"),
        ({"by": NOW, "notify": "NEVER"}, DSN, None, b"RCPT TO:<joe@example.test> NOTIFY=NEVER"),
        ({"by": NOW}, Features(by=True, dsn=True), None, b"RCPT TO:<joe@example.test>"),
        ({"notify": "NEVER", "ret": "FULL"}, PLAIN, b"MAIL FROM:<app@sender.test>", b"RCPT TO:<joe@example.test>"),
    ],
)
def test_commands(about: dict[str, Any], offered: Features, mail: bytes | None, rcpt: bytes | None) -> None:
    told = commands(delivery(**about), 77, offered, NOW)
    assert not isinstance(told, Outcome)
    if mail is not None:
        assert told[0] == mail + b"\r\n"
    if rcpt is not None:
        assert told[1] == rcpt + b"\r\n"


def test_by_a_return_path_of_ours_failures_come_to_us_and_the_rest_is_ours_to_report() -> None:
    one = delivery(notify="NEVER", orcpt="rfc822;Joe+2B@example.test", ret="FULL", envid="Ab+20c")
    one.mail_from = "b-0123@bounce.sender.test"
    assert commands(one, 77, DSN, NOW) == (
        b"MAIL FROM:<b-0123@bounce.sender.test> RET=HDRS\r\n",
        b"RCPT TO:<joe@example.test> NOTIFY=FAILURE ORCPT=rfc822;Joe+2B@example.test\r\n",
    )


@pytest.mark.parametrize(
    ("about", "offered", "enhanced", "scope"),
    [
        ({"recipient": "דוד@example.test"}, PLAIN, "5.6.7", Scope.RECIPIENT),
        ({"sender": "דוד@sender.test"}, PLAIN, "5.6.7", Scope.MESSAGE),
        ({"utf8": True}, PLAIN, "5.6.9", Scope.MESSAGE),
        ({"eightbit": True}, PLAIN, "5.6.3", Scope.MESSAGE),
        ({"size": 1001}, ALL, "5.3.4", Scope.MESSAGE),
        ({"recipient": "joe@example.test>\r\nRCPT TO:<eve@example.test"}, ALL, "5.1.3", Scope.MESSAGE),
        ({"sender": "a\n@example.test"}, ALL, "5.1.3", Scope.MESSAGE),
    ],
)
def test_what_a_peer_cannot_take_fails_clearly(
    about: dict[str, Any], offered: Features, enhanced: str, scope: Scope
) -> None:
    size = about.pop("size", 77)
    told = commands(delivery(**about), size, offered, NOW)
    assert isinstance(told, Outcome)
    assert (told.reply.enhanced, told.scope) == (enhanced, scope)
    assert told.internal
    assert told.permanent


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("joe@example.test", "joe@example.test"),
        ("joe@bücher.test", "joe@xn--bcher-kva.test"),
        ("jürgen@bücher.test", "jürgen@bücher.test"),
        ("", ""),
        ("jürgen", "jürgen"),
        (f"joe@{'ü' * 80}.test", f"joe@{'ü' * 80}.test"),  # no A-label can be made of it
    ],
)
def test_wire_address(address: str, wire: str) -> None:
    assert wire_address(address) == wire


# ----------------------------------------------------------------------------------------------------- content


def unstuffed(wire: bytes) -> bytes:
    """As RFC 5321 4.5.2 has the receiver do it, line by line."""
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in wire.split(b"\r\n"))


lines = st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a", b"a.b.c", b"x" * 3000]), max_size=80).map(b"\r\n".join)


@given(lines)
def test_stuffing_is_what_the_receiver_undoes(content: bytes) -> None:
    wire = stuff(content)
    assert unstuffed(wire) == content
    assert b"\r\n.\r\n" not in b"\r\n" + wire + b"\r\n"


@given(lines)
def test_content_ends_with_the_only_final_dot(content: bytes) -> None:
    wire = b"\r\n" + stuff(content) + final_dot(content)
    assert wire.index(b"\r\n.\r\n") == len(wire) - 5


def test_no_copy_without_a_dot_line() -> None:
    for content in (b"", b"a\r\nb", b"a.b\r\n" * 5000, b"x" * 100_000):
        assert stuff(content) is content


# ------------------------------------------------------------------------------------------------ conversation


def replay(transaction: Transaction, codes: Sequence[int]) -> list[bytes]:
    written = [transaction.start()]
    for code in codes:
        assert not transaction.finished
        written.extend(transaction.receive(Reply(code, "", str(code))))
    return written


def begin(*, pipelining: bool = True, reset: bool = False) -> Transaction:
    return Transaction(b"MAIL\r\n", b"RCPT\r\n", CONTENT, pipelining=pipelining, reset=reset)


def test_pipelined_in_one_write() -> None:
    transaction = begin()
    assert replay(transaction, [250, 250, 354, 250]) == [b"MAIL\r\nRCPT\r\nDATA\r\n", *CONTENT]
    assert transaction.answer == (Reply(250, "", "250"), "END")
    assert not (transaction.broken)
    assert not (transaction.dirty)
    assert not (transaction.internal)


def test_one_command_at_a_time() -> None:
    transaction = begin(pipelining=False)
    assert replay(transaction, [250, 250, 354, 250]) == [b"MAIL\r\n", b"RCPT\r\n", b"DATA\r\n", *CONTENT]
    assert transaction.answer[1] == "END"


def test_reset_goes_first() -> None:
    assert replay(begin(reset=True), [250, 250, 250, 354, 250])[0] == b"RSET\r\nMAIL\r\nRCPT\r\nDATA\r\n"
    assert replay(begin(reset=True, pipelining=False), [250])[:2] == [b"RSET\r\n", b"MAIL\r\n"]


@pytest.mark.parametrize("yes", [250, 251, 252, 220, 299])
def test_any_2xx_is_a_yes(yes: int) -> None:
    transaction = begin()
    replay(transaction, [yes, yes, 354, yes])
    assert transaction.answer[0].ok


@pytest.mark.parametrize(
    ("pipelining", "codes", "command", "code", "written"),
    [
        (True, [550, 503, 503], "MAIL", 550, []),
        (True, [550, 503, 354, 554], "MAIL", 550, [b".\r\n"]),
        (True, [250, 550, 554], "RCPT", 550, []),
        (True, [250, 550, 354, 250], "RCPT", 550, [b".\r\n"]),  # RFC 2920 3.1; an empty message to nobody
        (True, [250, 450, 354, 554], "RCPT", 450, [b".\r\n"]),
        (True, [250, 250, 451], "DATA", 451, []),
        (True, [250, 250, 354, 554], "END", 554, list(CONTENT)),
        (False, [550], "MAIL", 550, []),
        (False, [250, 550], "RCPT", 550, [b"RCPT\r\n"]),
        (False, [250, 250, 554], "DATA", 554, [b"RCPT\r\n", b"DATA\r\n"]),
    ],
)
def test_the_first_refusal_is_the_answer(
    pipelining: bool, codes: list[int], command: str, code: int, written: list[bytes]
) -> None:
    transaction = begin(pipelining=pipelining)
    assert replay(transaction, codes)[1:] == written
    assert transaction.finished
    assert transaction.answer == (Reply(code, "", str(code)), command)
    assert not transaction.broken
    # Whatever ended without a final dot leaves an open transaction at the peer.
    assert transaction.dirty is (len(codes) < 4)


@pytest.mark.parametrize("at", range(4))
def test_421_ends_it_anywhere(at: int) -> None:
    transaction = begin()
    replay(transaction, [[421], [250, 421], [250, 250, 421], [250, 250, 354, 421]][at])
    assert transaction.broken
    assert not transaction.internal
    assert transaction.answer == (Reply(421, "", "421"), ["MAIL", "RCPT", "DATA", "END"][at])


@pytest.mark.parametrize("codes", [[354], [250, 354], [250, 250, 250], [250, 250, 354, 354]])
def test_a_peer_out_of_step_is_dropped(codes: list[int]) -> None:
    transaction = begin()
    replay(transaction, codes)
    assert transaction.broken
    assert transaction.internal
    assert transaction.answer[0].code == 421
    assert "out of step" in transaction.answer[0].text


def test_abandoned_in_our_words() -> None:
    transaction = begin()
    replay(transaction, [250])
    transaction.abandon(Reply(421, "4.4.2", "gone"))
    assert transaction.answer == (Reply(421, "4.4.2", "gone"), "RCPT")
    assert transaction.internal
    assert transaction.broken


def test_a_refusal_stands_when_the_connection_is_lost_after_it() -> None:
    transaction = begin()
    replay(transaction, [250, 550])
    transaction.abandon(Reply(421, "4.4.2", "gone"))
    assert transaction.answer == (Reply(550, "", "550"), "RCPT")
    assert not transaction.internal


def test_what_is_finished_is_not_abandoned() -> None:
    transaction = begin()
    replay(transaction, [250, 250, 354, 250])
    transaction.abandon(Reply(421, "4.4.2", "gone"))
    assert transaction.answer[0].ok
    assert not transaction.broken


def test_repr_tells_where_it_is() -> None:
    transaction = begin()
    assert "waits MAIL" in repr(transaction)
    replay(transaction, [421])
    assert "done" in repr(transaction)


@given(st.booleans(), st.booleans(), st.lists(st.integers(200, 599), max_size=12))
def test_any_replies_lead_to_one_answer(pipelining: bool, reset: bool, codes: list[int]) -> None:
    transaction = begin(pipelining=pipelining, reset=reset)
    transaction.start()
    for code in codes:
        if transaction.finished:
            break
        transaction.receive(Reply(code, "", ""))
    transaction.abandon(Reply(421, "4.4.2", "gone"))
    reply, command = transaction.answer
    assert not reply.ok or command == "END"
    assert 200 <= reply.code < 600
