"""Fields are found as they stand; nothing is repaired."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import Field, readable, split


def test_fields_keep_folds_and_line_ends() -> None:
    fields, rest = split(b"A: b\r\n c\r\nSubject : x\r\n\r\nbody: no field\r\n")
    assert fields == [Field("a", b"A: b\r\n c\r\n"), Field("subject", b"Subject : x\r\n")]
    assert rest == len(b"A: b\r\n c\r\nSubject : x\r\n")
    assert fields[0].value == b"b c"


def test_lines_that_are_no_field_have_no_name() -> None:
    fields, _ = split(b"From sender Sat\r\n folded at once\r\nno colon\r\nA: b\r\n\r\n")
    assert [f.name for f in fields] == ["", "", "a"]


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
