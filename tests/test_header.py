"""Fields are found as they stand; nothing is repaired."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import MAX_HEADER, MAX_LINES, Field, is_overlong, readable, split


def test_fields_keep_folds_and_line_ends() -> None:
    fields, rest = split(b"A: b\r\n c\r\nSubject : x\r\n\r\nbody: no field\r\n")
    assert fields == [Field("a", b"A: b\r\n c\r\n"), Field("subject", b"Subject : x\r\n")]
    assert rest == len(b"A: b\r\n c\r\nSubject : x\r\n")
    assert fields[0].value == b"b c"


def test_lines_that_are_no_field_have_no_name() -> None:
    fields, _ = split(b"From sender Sat\r\n folded at once\r\nno colon\r\nA: b\r\n\r\n")
    assert [f.name for f in fields] == ["", "", "a"]


@given(st.lists(st.sampled_from([b"A: b", b" c", b"\td", b"e", b": f", b"\r", b"\n", b""]), max_size=12))
def test_all_of_the_header_is_in_its_fields_and_no_field_begins_with_a_blank(lines: list[bytes]) -> None:
    content = b"\r\n".join(lines)
    fields, rest = split(content)
    whole = content[:rest].removesuffix(b"\r\n") + b"\r\n"
    assert b"".join(field.raw for field in fields) == (whole if fields else b"")
    assert not any(field.raw[:1] in (b" ", b"\t") for field in fields[1:])


def test_a_header_has_so_many_octets_and_no_more() -> None:
    header = b"X: " + b"y" * (MAX_HEADER - 5) + b"\r\n"
    assert not is_overlong(header + b"\r\nbody")
    assert is_overlong(b"Z" + header + b"\r\nbody")
    assert is_overlong(b"Z" + header + b"body")
    assert not is_overlong(b"\r\n" + 2 * header)
    assert not is_overlong(header)
    lines = b"X:\r\n" * MAX_LINES
    assert not is_overlong(lines)
    assert not is_overlong(lines + b"\r\n" + lines)
    assert is_overlong(lines + b"Y:\r\n" + b"\r\nbody")
    assert is_overlong(lines + b"Y:\r\n")


def test_a_header_without_body_and_a_body_without_header() -> None:
    assert split(b"A: b\r\n") == ([Field("a", b"A: b\r\n")], 6)
    assert split(b"\r\nbody\r\n") == ([], 0)
    assert split(b"") == ([Field("", b"\r\n")], 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"Order  77", "Order  77"),
        (b"=?utf-8?B?16nXnNeV150=?=  now", "שלום now"),
        (b"=?utf-8?q?a?= \t=?utf-8?q?b?=", "ab"),
        ("שלום".encode(), "שלום"),
        (b"\xff", "\ufffd"),
        (b"=?no-such-charset?B?16nXnNeV150=?=", "=?no-such-charset?B?16nXnNeV150=?="),
        (b"=?utf-7?Q?+2AA-?=", "?"),
    ],
)
def test_values_as_people_read_them(value: bytes, text: str) -> None:
    assert readable(value) == text


@given(st.binary(max_size=100))
def test_any_value_is_text(value: bytes) -> None:
    readable(b"=?utf-8?q?" + value + b"?=").encode()
    readable(value).encode()
