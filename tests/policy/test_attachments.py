"""Names of attachments, whatever a message looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.attachments import attachments


def part(field: str) -> bytes:
    return f"From: a@b\r\n\r\n--x\r\nContent-Type: text/plain\r\n{field}\r\n\r\nbody\r\n".encode()


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ('Content-Disposition: attachment; filename="Invoice 7.pdf"', ["Invoice 7.pdf"]),
        ("content-disposition: ATTACHMENT; filename=a.pdf", ["a.pdf"]),
        ("Content-Disposition: attachment;\r\n filename*=utf-8''%D7%A9%D7%9C%D7%95%D7%9D.pdf", ["שלום.pdf"]),
        ('Content-Disposition: attachment; filename*0="long-"; filename*1="name.pdf"', ["long-name.pdf"]),
        ('Content-Disposition: attachment; filename="=?utf-8?B?16nXnNeV150=?="', ["שלום"]),
        ("Content-Disposition: attachment; filename*1=%41.pdf; filename*0*=utf-8'en'%D7%A9", ["ש%41.pdf"]),
        ("Content-Disposition: attachment; filename*=a%20b.pdf", ["a b.pdf"]),
        ("Content-Disposition: attachment; filename*=no-such'en'%E9.pdf", ["é.pdf"]),
        ("Content-Disposition: attachment; filename*=idna''%FF", ["ÿ"]),
        (r'Content-Disposition: attachment; size=7; filename="a\"b;c.pdf"; x=y', ['a"b;c.pdf']),
        ('Content-Disposition: attachment; filename="never closed', ["never closed"]),
        ("Content-Disposition: attachment", [""]),
        ("Content-Disposition: inline; filename=logo.png", []),
        ("X-Content-Disposition: attachment; filename=a.pdf", []),
    ],
)
def test_what_a_part_says_of_itself(field: str, names: list[str]) -> None:
    assert attachments(part(field)) == names


def test_many_parts_are_looked_at_and_not_more() -> None:
    assert len(attachments(part("Content-Disposition: attachment; filename=a") * 500)) == 50


def test_what_begins_far_behind_is_not_looked_for() -> None:
    assert attachments(b"x" * (5 << 20) + part("Content-Disposition: attachment")) == []


@given(st.binary(max_size=200))
def test_any_bytes_may_follow(octets: bytes) -> None:
    found = attachments(b"\r\nContent-Disposition: attachment; filename" + octets)
    assert all(isinstance(name, str) for name in found)
    assert isinstance(attachments(octets), list)
