"""What is posted, in both encodings, well made or not."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.web.public.forms import MAX_BODY, MAX_FIELDS, fields_of, first, one_click

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b0undary"


def multipart(*parts: tuple[str, str], boundary: str = "b0undary") -> bytes:
    text = "".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n" for name, value in parts
    )
    return f"{text}--{boundary}--\r\n".encode()


def test_both_encodings_say_the_same() -> None:
    wanted = {"List-Unsubscribe": ["One-Click"], "topic": ["a", "ב"]}
    assert fields_of(URLENCODED, b"List-Unsubscribe=One-Click&topic=a&topic=%D7%91") == wanted
    parts = (('name="List-Unsubscribe"', "One-Click"), ('name="topic"', "a"), ("name=topic", "ב"))
    assert fields_of(MULTIPART, multipart(*parts)) == wanted
    quoted = 'Multipart/Form-Data; charset=utf-8; boundary="a b"'
    assert fields_of(quoted, b"preamble\r\n" + multipart(*parts, boundary="a b") + b"epilogue") == wanted


def test_a_value_may_hold_line_ends() -> None:
    assert fields_of(MULTIPART, multipart(('name="a"', "1\r\n2"))) == {"a": ["1\r\n2"]}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", multipart(('name="a"', "1"))),
        (MULTIPART, b""),
        (MULTIPART, b"--b0undary\r\n\r\n"),
        (MULTIPART, b'--b0undary\r\nContent-Disposition: form-data; name="a"'),
        (MULTIPART, b"--b0undary\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b0undary--"),
        (URLENCODED, b""),
        (URLENCODED, b"&".join(b"a=1" for _ in range(MAX_FIELDS + 1))),
    ],
)
def test_what_is_no_form_has_no_fields(kind: str, body: bytes) -> None:
    assert fields_of(kind, body) == {}


def test_fields_are_bounded() -> None:
    many = multipart(*((f'name="n{number}"', "x") for number in range(3 * MAX_FIELDS)))
    assert len(fields_of(MULTIPART, many)) <= MAX_FIELDS


@pytest.mark.parametrize("piece", [b"content-disposition: form-data; ", b"content-disposition: form-data;" + b" " * 99])
def test_a_part_made_to_be_slow_is_not(piece: bytes) -> None:
    parts = (b"--b0undary\r\n" + piece * (MAX_BODY // 2 // len(piece)) + b"\r\n\r\nx\r\n") * 2
    began = time.process_time()
    assert fields_of(MULTIPART, parts) == {}
    assert time.process_time() - began < 0.1


@given(st.sampled_from([URLENCODED, MULTIPART, "", "multipart/form-data; boundary="]), st.binary(max_size=300))
def test_nothing_raises(kind: str, body: bytes) -> None:
    fields_of(kind, body)


def test_one_click_is_exactly_what_the_rfc_says() -> None:
    assert one_click({"List-Unsubscribe": ["One-Click"]})
    assert one_click({"List-Unsubscribe": [" One-Click\r\n"], "more": ["x"]})
    for fields in ({}, {"List-Unsubscribe": ["one-click"]}, {"List-Unsubscribe": ["One-Click", "One-Click"]}):
        assert not one_click(fields)


def test_the_first_of_several() -> None:
    assert (first({"a": ["1", "2"]}, "a"), first({}, "a")) == ("1", "")
