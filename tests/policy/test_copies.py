"""What makes two messages one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.policy.copies import BOUNDARIES, Hashes, body_of

HASHES = Hashes(b"s" * 32)
PLAIN = b"From: a@a.example\r\nSubject: x\r\nMessage-ID: <1@a.example>\r\nDate: now\r\n\r\nHello\r\n"


def copy_of(letter: bytes, key: str = "", credential: str = "shop") -> str:
    fields, rest = split(letter)
    return HASHES.copy(credential, key, fields, lambda: body_of(fields, letter, rest + 2, lambda: letter[rest:]))


def multipart(outer: str, inner: str, text: str = "Hello") -> bytes:
    return (
        f'From: a@a.example\r\nMessage-ID: <1@a.example>\r\nContent-Type: multipart/mixed; boundary="{outer}"\r\n\r\n'
        f"--{outer}\r\nContent-Type: multipart/alternative; boundary={inner}\r\n\r\n"
        f"--{inner}\r\n\r\n{text}\r\n--{inner}--\r\n--{outer}--\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        (b"Date: now", b"Date: later"),
        (b"Date: now", b"X-Trace: 7\r\nDate: now"),
        (b"Subject: x\r\nMessage-ID: <1@a.example>", b"Message-ID: <1@a.example>\r\nSubject: x"),
        (b"Message-ID: <1@a.example>", b"message-id:\r\n <1@a.example>"),
    ],
)
def test_what_an_app_makes_anew_does_not_count(was: bytes, is_now: bytes) -> None:
    assert copy_of(PLAIN.replace(was, is_now)) == copy_of(PLAIN)


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        (b"a@a.", b"b@a."),
        (b"Subject: x", b"Subject: y"),
        (b"<1@", b"<2@"),
        (b"Hello", b"Hallo"),
        (b"Hello", b"Hello\r\n."),
    ],
)
def test_what_is_read_counts(was: bytes, is_now: bytes) -> None:
    assert copy_of(PLAIN.replace(was, is_now)) != copy_of(PLAIN)


def test_a_key_stands_for_the_message_id_and_means_nothing_else() -> None:
    renewed = PLAIN.replace(b"<1@", b"<2@")
    assert copy_of(PLAIN, "k") == copy_of(renewed, "k")
    assert len({copy_of(PLAIN), copy_of(PLAIN, "k"), copy_of(PLAIN, "k2"), copy_of(PLAIN, "<1@a.example>")}) == 4
    assert copy_of(PLAIN, credential="other") != copy_of(PLAIN)


def test_what_says_nothing_of_itself_has_no_copies() -> None:
    assert copy_of(PLAIN.replace(b"Message-ID: <1@a.example>\r\n", b"")) == ""
    assert HASHES.collapse("shop", "") == ""


def test_boundaries_do_not_count_however_deep() -> None:
    one = copy_of(multipart("===123==", "abc"))
    assert copy_of(multipart("===456==", "xyz")) == one
    assert copy_of(multipart("abc", "abcd")) == one
    assert copy_of(multipart("===456==", "xyz", "Hallo")) != one


@given(st.binary(max_size=300))
def test_any_body_has_a_hash(body: bytes) -> None:
    letter = b"Message-ID: 1\r\nContent-Type: multipart/x; BOUNDARY=" + body.replace(b"\r", b"").replace(b"\n", b"")
    assert copy_of(letter + b"\r\n\r\n" + body)
    assert copy_of(letter + b"\r\n\r\n" + b"boundary=" * (BOUNDARIES + 2) + body)


def test_a_recipient_is_the_same_in_capitals_and_each_message_and_kind_has_its_own() -> None:
    message, collapse = copy_of(PLAIN), HASHES.collapse("shop", "k")
    assert HASHES.key(message, "Dana@B.example") == HASHES.key(message, "dana@b.example")
    assert len({HASHES.key(one, to) for one in (message, collapse) for to in ("a@b.example", "c@b.example")}) == 4
    assert HASHES.collapse("shop", "k") != HASHES.collapse("sho", "pk")
    assert Hashes(b"t" * 32).key(message, "a@b.example") != HASHES.key(message, "a@b.example")
