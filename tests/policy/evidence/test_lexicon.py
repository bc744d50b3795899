"""How phrases are written, and what normal text is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.evidence.lexicon import Phrases, normal


def matches(phrase: str, text: str, language: str = "en") -> bool:
    return bool(Phrases({language: {"it": phrase}}).found(b" " + normal(text.encode()) + b" "))


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("your order", "Thanks: YOUR\r\n  order!"),
        ("order # {n}", "Order #1042 is here"),
        ("order #", "Order #1042 is here"),
        ("{p} off", "now 20 % off"),
        ("{p} off", "now 20% off."),
        ("[$€£]{n} off", "€20 off"),
        ("request* to reset", "you requested to reset it"),
        ("donat*", "donations"),
        ("donat*", "Donate"),
        ("*rabatt", "Sommerrabatt!"),
        ("(new |good )?friends", "friends"),
        ("(new |good )?friends", "Good friends"),
        ("welcome, ", "Welcome, Dana"),
        ("p.o. box", "P.O. Box 7"),
        ("total:", "Total: 5"),
        ("total", "Total: 5"),
        ("if you didn't", "If you didn’t ask"),
        ("données?", "donnée"),
        ("été", "ÉTÉ"),
        ("ваш заказ", "ВАШ ЗАКАЗ №5"),
        ("x; y", "y"),
    ],
)
def test_phrases_that_match(phrase: str, text: str) -> None:
    assert matches(phrase, text)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [("order", "border"), ("order", "orders"), ("order {n}", "order five"), ("{p} off", "20 off"), ("", "anything")],
)
def test_phrases_that_do_not(phrase: str, text: str) -> None:
    assert not matches(phrase or "x", text)


def test_letters_that_join_words_in_hebrew_and_arabic() -> None:
    assert matches("הזמנה", "וההזמנה שלך", "he")
    assert matches("טלית", "לטלית", "he")
    assert matches("طلب", "والطلب", "ar")
    assert not matches("הזמנה", "וההזמנה", "de")


def test_languages_without_blanks_match_anywhere() -> None:
    assert matches("注文", "ご注文ありがとう", "ja")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Hello,\u00a0WORLD…  ", "hello world"),
        ("ＦＵＬＬ width", "full width"),
        ("sh\u200bop\u00ad", "shop"),
        ("שָׁלוֹם־רב", "שלום רב"),
        ("مُحَمَّد،", "محمد"),
        ("İzmir", "i̇zmir"),
        ("「注文」。ありがとう", "注文 ありがとう"),
        ("", ""),
    ],
)
def test_normal_text(text: str, plain: str) -> None:
    assert normal(text.encode()).decode() == plain


@given(st.binary())
def test_normal_text_of_any_octets(octets: bytes) -> None:
    once = normal(octets)
    assert once == once.strip()
    assert b"  " not in once
    assert not any(65 <= c <= 90 for c in once)


def test_a_quote_is_what_the_message_says() -> None:
    phrases = Phrases({"en": {"order": "your order {n}", "other": "x"}})
    text = b" " + normal(b"About Your Order 77: sent") + b" "
    assert [phrases.concepts[n] for n in phrases.found(text)] == ["order"]
    assert phrases.quote("order", text) == "your order 77"
    assert phrases.quote("other", text) == ""
    assert repr(phrases) == "<Phrases concepts=2>"
