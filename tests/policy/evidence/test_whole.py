"""All of a message's text."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.policy.evidence.lexicon import MAX_COMPOSED, normal
from relay.policy.evidence.whole import MAX_WHOLE, whole, words


def text_of(content: bytes) -> bytes:
    fields, rest = split(content)
    return whole(content, fields, rest)


def part(kind: str, body: bytes, encoding: str = "8bit") -> bytes:
    return f"--b\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body + b"\r\n"


def of_parts(*parts: bytes) -> bytes:
    return b"Content-Type: multipart/alternative; boundary=b\r\n\r\n" + b"".join(parts) + b"--b--\r\n"


def test_words_stand_alone_whatever_signs_are_between_them() -> None:
    assert words(b"12-14 o'hara st # 3: x@y") == b" 12 14 o hara st 3 x y "
    assert words(b"") == b"  "


def test_what_lies_between_the_windows_is_there() -> None:
    filling = b"<p>" + b"nothing here " * 5000 + b"</p>\r\n"
    page = b"<html><body>" + filling + b"<p>12&nbsp;Rue&#32;de l'&Eacute;glise</p>" + filling + b"</body></html>"
    content = of_parts(part("text/plain", b"Plain words"), part("text/html", page))
    assert b" 12 rue de l \xc3\xa9glise " in text_of(content)
    assert b" plain words " in text_of(content)


@pytest.mark.parametrize("size", range(12, 16))
def test_base64_to_its_last_octet(size: int) -> None:
    text = "Haifa 3100001"[:size].ljust(size, "x")
    encoded = b64encode(text.encode())
    assert text_of(of_parts(part("text/plain", encoded, "base64"))) == words(text.lower().encode())
    assert text_of(of_parts(part("text/plain", encoded.rstrip(b"=") + b"!", "base64"))) == words(text.lower().encode())


def test_quoted_printable_and_other_charsets() -> None:
    body = b"Hauptstra=DFe =\r\n5"
    assert text_of(of_parts(part("text/plain; charset=iso-8859-1", body, "quoted-printable"))) == words(
        "hauptstraße 5".encode()
    )


def test_of_very_long_mail_the_end_is_read() -> None:
    line = b"word " * 12 + b"\r\n"
    content = b"\r\nfirst\r\n" + line * (MAX_WHOLE // len(line) + 1) + b"last"
    assert text_of(content).endswith(b" last ")
    assert b"first" not in text_of(content)
    assert text_of(b"\r\nfirst " + b"x" * MAX_WHOLE) == words(b"x" * MAX_WHOLE)
    both = of_parts(part("text/plain", b"x" * MAX_WHOLE + b" last"), part("text/html", b"<p>page</p>"))
    assert text_of(both).endswith(b" last ")


def test_references_that_are_none_stay() -> None:
    assert text_of(b"Content-Type: text/html\r\n\r\n<p>&#xD800; &bogus; &#99999999; fish &amp; chips</p>") == words(
        "\ufffd bogus 99999999 fish chips".encode()
    )


@given(st.binary(), st.sampled_from(["base64", "quoted-printable", "8bit"]), st.sampled_from(["plain", "html"]))
def test_any_octets(body: bytes, encoding: str, kind: str) -> None:
    header = f"Content-Type: text/{kind}; charset=gbk\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    assert isinstance(text_of(header.encode() + body), bytes)


def test_a_text_of_characters_that_grow_does_not() -> None:
    """U+FDFA becomes eighteen characters; only so many of them do, those at the end."""
    grown = normal(("\ufdfa " * 60_000).encode())
    assert len(grown) < 60_000 * 4 + MAX_COMPOSED * 40
    assert normal("x \uff21\uff22".encode()) == b"x ab"
    assert normal(("\u05d0\u0416 " * MAX_COMPOSED + "\uff21\uff22").encode()).endswith(b" ab")
