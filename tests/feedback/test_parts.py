"""The parts of a returned mail, also where it is hardly one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.parts import (
    MAX_DEPTH,
    MAX_HEADER_LINES,
    MAX_OCTETS,
    MAX_PARTS,
    MAX_TEXT,
    content_type,
    normal,
    read,
    split,
)

REPORT = b"""Subject: a report
Content-Type: multipart/report; boundary="=b="

for old programs
--=b=
Content-Type: text/plain; charset=iso-8859-1

caf\xe9
--=b=
Content-Type: message/delivery-status

Action: failed
--=b=
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary="=c="

--=c=

inside
--=c=--
--=b=--
after
"""


def text_of(part: bytes) -> str:
    _, leaves = read(normal(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + part + b"\n--b--\n"))
    return leaves[0].text


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_parts_of_a_report_whatever_its_line_ends(end: bytes) -> None:
    fields, leaves = read(normal(REPORT.replace(b"\n", end)))
    assert fields["subject"] == "a report"
    assert [leaf.kind for leaf in leaves] == ["text/plain", "message/delivery-status", "message/rfc822"]
    assert [leaf.returned for leaf in leaves] == [False, False, True]
    assert leaves[0].text == "café"
    assert leaves[1].text == "Action: failed"


def test_a_part_that_is_a_header_without_a_type_is_the_returned_message() -> None:
    _, leaves = read(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nReceived: from x\nFrom: a@b.cc\n\n--b\n\nplain\n--b--\n"
    )
    assert [leaf.returned for leaf in leaves] == [True, False]
    assert not read(b"From: a@b.cc\nTo: c@d.ee\nReceived: x\n\nhello\n")[1][0].returned


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (
            b"Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\n"
            + base64.b64encode("Nö".encode()),
            "Nö",
        ),
        (b"Content-Transfer-Encoding: base64\n\nYWJj\nZA==\n!!", "abcd"),
        (b"Content-Transfer-Encoding: base64\n\nYWJjZ", "abc"),
        (b"Content-Transfer-Encoding: quoted-printable\n\nfa=\niled =3D", "failed ="),
        (b"Content-Type: text/plain; charset=no-such\n\n\xd0\xbd\xd0\xb5", "не"),
        (b"Content-Type: text/plain; charset=iso-8859-99\n\nabc", "abc"),
        (b"Content-Type: text/plain; charset=hex\n\n6162", "6162"),
        (b"Content-Type: text/plain; charset=unicode-1-1-utf-7\n\nHi +AOk-", "Hi é"),
        (b"Content-Type: text/plain; charset=utf-7\n\n+2AA-", "?"),
        (b"Content-Type: text/plain; charset=utf-8\n\nab\xff", "ab\ufffd"),
        (
            b"Content-Type: text/html\n\n<style>p {}</style><p>To <a@b.cc> &amp;\nmore</p><b>x</b>",
            "To <a@b.cc> & more\nx",
        ),
        (b"Content-Type: text/plain\n\n<html><body>no<br>such user", "no\nsuch user"),
        (b"Content-Type: text/html\n\n<script>never closed", "never closed"),
        (b"\nno header: at all", "no header: at all"),
        (b"Hi. This is the program.\nX: y", "Hi. This is the program.\nX: y"),
    ],
)
def test_text_is_decoded_as_far_as_that_goes(part: bytes, text: str) -> None:
    assert text_of(part).lstrip("\n") == text


def test_a_lost_boundary_is_guessed_and_one_that_does_not_occur_makes_it_text() -> None:
    _, leaves = read(
        b"Content-Type: multipart/mixed\n\n----=part\nContent-Type: text/x-1\n\na\n----=part\n\nb\n----=part--\n"
    )
    assert [(leaf.kind, leaf.body.strip()) for leaf in leaves] == [("text/x-1", b"a"), ("text/plain", b"b")]
    _, leaves = read(b"Content-Type: multipart/report; boundary=b\n\nno parts here\n")
    assert [(leaf.kind, leaf.body) for leaf in leaves] == [("multipart/report", b"no parts here\n")]


def test_a_boundary_that_begins_like_another_is_another() -> None:
    _, leaves = read(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"
        b"Content-Type: multipart/mixed; boundary=b1\n\n--b1\n\nx\n--b1--\n--b--\n"
    )
    assert [leaf.body for leaf in leaves] == [b"x"]


def test_header_fields_are_unfolded_and_the_first_counts() -> None:
    fields, rest = split(b"From x\nA : one\n\ttwo\nB: 1\nA: other\n folded\nC: \xe9\n\nbody\n")
    assert fields == {"a": "one two", "b": "1", "c": "é"}
    assert rest == b"body\n"
    assert split(b"no header\nA: b\n") == ({}, b"no header\nA: b\n")
    assert split(b"A: b\nno field\n\nx") == ({"a": "b"}, b"no field\n\nx")


def test_content_type_without_sense_is_plain_text() -> None:
    assert content_type("") == ("text/plain", {})
    assert content_type("nonsense; x=1") == ("text/plain", {"x": "1"})
    assert content_type('Text/HTML (page); charset="UTF-8"; a=b') == ("text/html", {"charset": "UTF-8", "a": "b"})
    assert content_type("text/plain charset=x")[0] == "text/plain"


def test_everything_is_bounded() -> None:
    assert len(normal(b"x" * (MAX_OCTETS + 9))) == MAX_OCTETS
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(3 * MAX_DEPTH))
    assert len(read(nested)[1]) == 1
    assert len(read(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 3 * MAX_PARTS)[1]) == MAX_PARTS
    twice = (
        b"Content-Type: multipart/mixed; boundary=b\n\n"
        + b"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n1\n--c\n\n2\n" * MAX_PARTS
    )
    assert len(read(twice)[1]) == MAX_PARTS
    assert len(text_of(b"\n" + b"x" * 2 * MAX_TEXT)) == MAX_TEXT
    fields, rest = split(b"".join(b"F%d: x\n" % n for n in range(2 * MAX_HEADER_LINES)) + b"\nbody")
    assert (len(fields), rest) == (MAX_HEADER_LINES, b"body")
    assert split(b"F: x\n" * 2 * MAX_HEADER_LINES)[1] == b""
    assert len(split(b"F: x\n" + b" y" * 1000 + b"\n" + b" z\n" * 9999)[0]["f"]) < 9000


@given(st.binary(max_size=400))
def test_any_bytes_have_parts(octets: bytes) -> None:
    for start in (b"", b"Content-Type: multipart/mixed; boundary=b\n\n--b\n", b"Content-Type: text/html\n\n", REPORT):
        fields, leaves = read(normal(start + octets))
        assert leaves
        assert all(isinstance(leaf.text, str) for leaf in leaves)
        assert all(isinstance(value, str) for value in fields.values())
