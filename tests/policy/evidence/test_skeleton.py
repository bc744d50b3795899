"""The name of a template: alike for all its copies, another for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.policy.evidence.skeleton import skeleton
from relay.policy.evidence.text import extract


def name(subject: str, body: str, to: str = "dana@gmail.com", kind: str = "text/plain") -> str:
    header = f"To: {to}\r\nSubject: {subject}\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n"
    content = (header + body).encode()
    fields, rest = split(content)
    return skeleton(extract(content, fields, rest), fields)


ORDER = "Hello {}, your order {} is confirmed. See https://shop.example/o/{} or for {} write to us."


@pytest.mark.parametrize(
    ("who", "number", "link", "address", "to"),
    [
        ("Yossi", "99-A7", "zk4f", "yossi@walla.co.il", "yossi@walla.co.il"),
        ("Maria", "#5", "a?b=c", "mg@x.example", '"Maria Gómez" <mg@x.example>'),
        ("Zoé", "1,042", "", "z@y.example", "=?utf-8?Q?Zo=C3=A9?= <z@y.example>"),
    ],
)
def test_copies_of_a_template_share_its_name(who: str, number: str, link: str, address: str, to: str) -> None:
    first = name("Your order 1042, Dana", ORDER.format("Dana", "1042", "1042", "dana@gmail.com"))
    assert name(f"Your order {number}, {who}", ORDER.format(who, number, link, address), to) == first


def test_other_words_make_another_name() -> None:
    assert name("Your order 1", "Thanks") != name("Your order 1", "Shipped")
    assert name("Your order 1", "Thanks") != name("Your invoice 1", "Thanks")
    assert name("a", "b c") != name("a b", "c")


def test_what_comes_after_the_first_words_does_not_matter() -> None:
    assert name("Order", "thank you very much " * 10 + "tents") == name("Order", "thank you very much " * 10 + "boots")


def test_it_does_not_depend_on_the_wrapping() -> None:
    assert name("Hi", "<p>Thank <b>you</b></p>", kind="text/html") == name("Hi", "Thank you")


@given(st.binary())
def test_any_octets_have_a_name(content: bytes) -> None:
    fields, rest = split(content)
    assert len(skeleton(extract(content, fields, rest), fields)) == 12
