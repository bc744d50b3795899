"""One meaning of `*`, asked in three ways: here, by SQLite, by RE2."""

import re
import time

import apsw
import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wildcard import (
    MAX_COUNT,
    MAX_LENGTH,
    AnyOf,
    PatternError,
    Recipients,
    any_of,
    domain_pattern,
    fits,
    re2,
    sqlite_glob,
)

# All that means something to GLOB, LIKE or a regular expression, letters with two cases, and one without.
ALPHABET = "aAbéÉα*?[]^-\\.%_+(|)'\n ש"
texts = st.text(ALPHABET, max_size=8)


@pytest.mark.parametrize(
    ("pattern", "text", "fit"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("**", "anything", True),
        ("news", "news", True),
        ("news", "newsletter", False),
        ("news*", "newsletter", True),
        ("*@shop.example", "dana@shop.example", True),
        ("*.shop.example", "shop.example", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*b*b*", "ab", False),
        ("*b*b*", "abb", True),
        ("a*bc*c", "abcbc", True),
        ("a*bc*bc", "abc", False),
    ],
)
def test_fits(pattern: str, text: str, fit: bool) -> None:
    assert fits(pattern, text) is fit


def reference(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.lower().split("*"))), text.lower(), re.DOTALL) is not None


@given(texts, texts)
def test_here_it_means_what_it_should(pattern: str, text: str) -> None:
    assert (text in any_of(pattern)) == reference(pattern, text)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=20))
def test_in_sqlite_too(pairs: list[tuple[str, str]]) -> None:
    db = apsw.Connection(":memory:")
    for pattern, text in pairs:
        said = db.execute("SELECT ? GLOB ?", (text, sqlite_glob(pattern.lower()))).get
        assert bool(said) == reference(pattern, text)


def test_in_re2_too() -> None:
    with duckdb.connect() as db:

        @given(texts, texts)
        def check(pattern: str, text: str) -> None:
            found = db.execute(
                "SELECT regexp_full_match(lower(?), ?)", [text, re2(any_of(pattern).patterns)]
            ).fetchone()
            assert found == (reference(pattern, text),)

        check()


def test_several_mean_any_of_them() -> None:
    wanted = any_of(["News*", "Order"])
    assert wanted == AnyOf(("news*", "order"))
    assert [text in wanted for text in ("newsletter", "ORDER", "orders")] == [True, True, False]
    assert wanted.wild
    assert not any_of("Order").wild
    assert re.fullmatch(re2(wanted.patterns), "order")


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        ("Shop.Example", "shop.example"),
        ("*.Bücher.example", "*.xn--bcher-kva.example"),
        ("bü*.bücher.example", "bü*.xn--bcher-kva.example"),
        ("Bücher\u2028.example", "bücher\u2028.example"),
    ],
)
def test_domains_are_looked_for_in_the_form_of_tables(value: str, pattern: str) -> None:
    assert domain_pattern(value) == pattern
    assert any_of(value, domains=True) == AnyOf((pattern,))


@pytest.mark.parametrize(
    ("patterns", "address", "meant"),
    [
        ((), "dana@shop.example", False),
        (("Dana@Shop.example",), "dANA@shop.example", True),
        (("dana@shop.example",), "noa@shop.example", False),
        (("dana@shop.example",), "dana@other.example", False),
        (("shop.example",), "anybody@shop.example", True),
        (("shop.example",), "dana@mail.shop.example", False),
        (("shop.example",), "shop.example@other.example", False),
        (("*@shop.example",), "dana@shop.example", True),
        (("*@shop.example",), "dana@shop.example.other.example", False),
        (("*.shop.example",), "dana@mail.shop.example", True),
        (("*.shop.example",), "dana@shop.example", False),
        (("test-*@*",), "test-7@other.example", True),
        (("dana*",), "dana@shop.example", False),
        (("x.example", "*@y.example", "dana@*"), "dana@z.example", True),
        (("bücher.example",), "dana@xn--bcher-kva.example", True),
        (("דנה@bücher.example",), "דנה@xn--bcher-kva.example", True),
        (("*",), "postmaster@any.example", True),
    ],
)
def test_recipients(patterns: tuple[str, ...], address: str, meant: bool) -> None:
    assert Recipients(patterns).mean(address, address.rpartition("@")[2]) is meant


def test_recipients_show_who_they_are() -> None:
    assert repr(Recipients(["A@b.example", "*.C.example"])) == "<Recipients a@b.example, *.c.example>"
    assert repr(Recipients(())) == "<Recipients nobody>"


@pytest.mark.parametrize("values", [["x"] * (MAX_COUNT + 1), "x" * (MAX_LENGTH + 1)], ids=["many", "long"])
def test_more_than_can_be_asked_at_once(values: str | list[str]) -> None:
    with pytest.raises(PatternError, match="at most 200 values"):
        any_of(values)


def test_no_pattern_takes_for_ever() -> None:
    """Where one star after the other is tried at each place, these take longer than the universe has lasted."""
    pattern, text = "*a" * 150 + "*b", "a" * 320
    db = apsw.Connection(":memory:")
    with duckdb.connect() as duck:
        start = time.process_time()
        assert text not in any_of(pattern)
        assert db.execute("SELECT ? GLOB ?", (text, sqlite_glob(pattern))).get == 0
        assert duck.execute("SELECT regexp_full_match(?, ?)", [text, re2([pattern])]).fetchone() == (False,)
        assert time.process_time() - start < 5
