"""Addresses in From and Sender: what is read, and what is refused because programs would disagree about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.sender import display_name, domain_of, mailboxes, permitted


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"dana@example.com", ["dana@example.com"]),
        (b"Dana <dana@example.com>", ["dana@example.com"]),
        (b'"Cohen, Dana" <dana@example.com>', ["dana@example.com"]),
        (b"a@example.com, B <b@example.org>", ["a@example.com", "b@example.org"]),
        (b"dana@example.com (Dana (at work))", ["dana@example.com"]),
        (b'"odd name"@example.com', ['"odd name"@example.com']),
        (b"Team: a@example.com, b@example.com;", ["a@example.com", "b@example.com"]),
        (b"=?utf-8?B?16nXnNeV150=?= <info@example.com>", ["info@example.com"]),
        ("דנה <dana@דוגמה.example>".encode(), ["dana@דוגמה.example"]),
        (b"", []),
        (b"Nobody:;", []),
    ],
)
def test_reads_what_rfc_5322_allows(value: bytes, found: list[str]) -> None:
    assert mailboxes(value) == found


@pytest.mark.parametrize(
    "value",
    [
        b"ceo@bank.example <a@example.com>",  # a name that reads as an address: programs show either
        b"<a@example.com><b@bank.example>",
        b"a@example.com b@bank.example",
        b"A <a@example.com",
        b"<@bank.example:a@example.com>",
        b"a@example.com@bank.example",
        b'"unclosed <a@example.com>',
        b"(unclosed a@example.com",
        b"Group: a@example.com",
        b"\xff\xfe@example.com",
    ],
)
def test_has_no_opinion_on_what_programs_read_differently(value: bytes) -> None:
    assert mailboxes(value) is None


@given(st.binary(max_size=200))
def test_any_octets_have_an_answer(value: bytes) -> None:
    found = mailboxes(value)
    assert found is None or all("@" in address for address in found)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"Arava Home <news@arava.example>", "Arava Home"),
        (b'"Arava, Home" <news@arava.example>', "Arava, Home"),
        (b"=?utf-8?B?16LXqNeR15Q=?= <news@arava.example>", "ערבה"),
        ("ערבה <news@arava.example>".encode(), "ערבה"),
        (b"news@arava.example (Arava Home)", "Arava Home"),
        (b"news@arava.example", ""),
        (b"<news@arava.example>", ""),
        (b"'news@arava.example' <news@arava.example>", ""),
        (b"Team @ Arava <news@arava.example>", "Team @ Arava"),
        (b"", ""),
    ],
)
def test_the_name_beside_an_address(value: bytes, name: str) -> None:
    assert display_name(value) == name


@given(st.binary(max_size=200))
def test_any_octets_have_a_name_or_none(value: bytes) -> None:
    assert isinstance(display_name(value), str)


def test_domains_compare_as_a_labels() -> None:
    assert domain_of("a@EXAMPLE.com.") == "example.com"
    assert domain_of("a@bücher.example") == "xn--bcher-kva.example"
    assert domain_of("a@" + "ü" * 80) == ""


def test_permitted_domains() -> None:
    assert permitted("example.com", {"example.com"})
    assert not permitted("news.example.com", {"example.com"})
    assert permitted("news.example.com", {"*.example.com"})
    assert not permitted("badexample.com", {"*.example.com"})
    assert permitted("anything.example", {"*"})
    assert not permitted("", {"example.com"})
