import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.egress.replies import MAX_LINE, MAX_LINES, MAX_TEXT, ReplyReader, make_reply
from relay.outcome import Reply


def read(*pieces: bytes) -> tuple[list[Reply], ReplyReader]:
    reader = ReplyReader()
    return [reply for piece in pieces for reply in reader.feed(piece)], reader


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok")),
        (b"250 Ok\r\n", Reply(250, "", "Ok")),
        (b"250\r\n", Reply(250, "", "")),
        (b"250 \r\n", Reply(250, "", "")),
        (b"250 2.0.0\r\n", Reply(250, "2.0.0", "")),
        (b"250 Ok\n", Reply(250, "", "Ok")),
        (b"354\tgo\r\n", Reply(354, "", "go")),
        (b"550-5.1.1 No such user\r\n550 5.1.1 here\r\n", Reply(550, "5.1.1", "No such user here")),
        (
            b"550-5.1.1 No such user\r\n550-\r\n550 see example.com\r\n",
            Reply(550, "5.1.1", "No such user see example.com"),
        ),
        (b"550 4.2.1 odd\r\n", Reply(550, "", "4.2.1 odd")),  # class of the code and of the enhanced code disagree
        (b"550 5.1 short\r\n", Reply(550, "", "5.1 short")),
        (b"250 \xd7\xa9\xff\r\n", Reply(250, "", "ש\N{REPLACEMENT CHARACTER}")),
        (b"250 a\x1b[31mb\x00\r\n", Reply(250, "", "a?[31mb?")),
    ],
)
def test_one_reply(octets: bytes, reply: Reply) -> None:
    replies, reader = read(octets)
    assert replies == [reply]
    assert reader.clean


def test_several_replies_in_one_piece() -> None:
    replies, _ = read(b"250 a\r\n250-b\r\n250 c\r\n354 d\r\n45")
    assert [(reply.code, reply.text) for reply in replies] == [(250, "a"), (250, "b c"), (354, "d")]


def test_what_is_left_over_is_not_clean() -> None:
    assert not read(b"250 a\r\n25")[1].clean
    assert not read(b"250-a\r\n")[1].clean


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "no SMTP reply"),
        (b"\r\n", "no SMTP reply"),
        (b"25\r\n", "no SMTP reply"),
        (b"650 x\r\n", "no SMTP reply"),
        (b"250x\r\n", "no SMTP reply"),
        (b"\xff\xfe\x00\n", "no SMTP reply"),
        (b"250 " + b"a" * MAX_LINE + b"\r\n", "octets"),
        (b"a" * (MAX_LINE + 1), "octets"),
        (b"250-x\r\n" * MAX_LINES, "lines"),
        (b"250-x\r\n" * 100_000, "lines"),
    ],
)
def test_what_is_no_reply_is_a_fault(octets: bytes, why: str) -> None:
    replies, reader = read(octets, b"250 ok\r\n")
    assert replies == []
    assert why in reader.fault
    assert why in repr(reader)
    assert len(reader.fault) < 200


def test_replies_before_a_fault_count() -> None:
    replies, reader = read(b"250 a\r\nnonsense\r\n250 b\r\n")
    assert [reply.text for reply in replies] == ["a"]
    assert reader.fault


def test_text_is_bounded() -> None:
    assert len(make_reply(550, ["x" * 4000] * 100).text) == MAX_TEXT


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_hostile_octets_never_raise_and_never_pile_up(pieces: list[bytes]) -> None:
    replies, reader = read(*pieces)
    assert all(
        200 <= reply.code < 600 and len(reply.text) <= MAX_TEXT and reply.text.isprintable() for reply in replies
    )
    assert len(reader._rest) <= MAX_LINE
    assert len(reader._lines) < MAX_LINES


words = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=20)
texts = st.lists(words, min_size=1, max_size=5).map(" ".join)


@given(
    st.lists(st.tuples(st.integers(200, 599), st.lists(texts, min_size=1, max_size=5)), max_size=5),
    st.lists(st.integers(0, 300), max_size=10),
)
def test_the_pieces_replies_come_in_do_not_matter(said: list[tuple[int, list[str]]], cuts: list[int]) -> None:
    octets = b"".join(
        f"{code}{' ' if number == len(lines) - 1 else '-'}{line}\r\n".encode()
        for code, lines in said
        for number, line in enumerate(lines)
    )
    bounds = [0, *sorted(cut for cut in cuts if cut < len(octets)), len(octets)]
    replies, reader = read(*(octets[start:end] for start, end in itertools.pairwise(bounds)))
    assert replies == [make_reply(code, lines) for code, lines in said]
    assert reader.clean
