"""A message as policy looks at it."""

from relay.header import split
from relay.policy.letter import Letter


def letter(content: bytes) -> Letter:
    fields, rest = split(content)
    return Letter(fields, content, rest)


def test_the_text_is_extracted_once() -> None:
    one = letter(b"Subject: Hi\r\n\r\nThank you")
    assert (one.text.subject, one.text.opening) == (b" hi ", b" thank you ")
    assert one.text is one.text


def test_who_has_looked_at_the_text_makes_no_difference() -> None:
    seen, unseen = letter(b"\r\nThank you"), letter(b"\r\nThank you")
    assert seen.text.opening == b" thank you "
    assert seen == unseen
    assert repr(seen) == repr(unseen)


def test_the_values_of_a_field() -> None:
    one = letter(b"X-Job: =?utf-8?Q?sale=C3=A9?=\r\nx-job: b\r\nOther: c\r\n" + b"X-Job: d\r\n" * 9 + b"\r\nhi")
    assert one.values("x-job") == ["saleé", "b", "d", "d", "d"]
    assert one.values("x-more") == []
    assert letter(b"Long: " + b"x" * 5000 + b"\r\n\r\n").values("long") == ["x" * 1000]
