"""How phrases are written: each is compared with what a regular expression makes of it, character by character."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.policy.evidence.lexicon import normal
from relay.policy.evidence.phrase import LEAST, MOST, digits, readings
from relay.policy.evidence.phrases import Phrases


def matches(phrase: str, text: str, language: str = "en") -> bool:
    return found(phrase, b" " + normal(text.encode()) + b" ", language)


def found(phrase: str, text: bytes, language: str) -> bool:
    return bool(Phrases({language: {"it": phrase}}).found([text])[0])


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("your order", "Thanks: YOUR\r\n  order!"),
        ("order # {n}", "Order #1042 is here"),
        ("order # {n}", "Order # 1042"),
        ("order #", "Order #1042 is here"),
        ("{p} off", "now 20 % off"),
        ("{p} off", "now 20% off."),
        ("[$€£]{n} off", "€20 off"),
        ("request* to reset", "you requested to reset it"),
        ("request* to reset", "a request to reset"),
        ("donat*", "donations"),
        ("donat*", "Donate"),
        ("*rabatt", "Sommerrabatt!"),
        ("doppel*opt*in", "Doppel-Opt-In"),
        ("un *ordine", "un buonordine"),
        ("ab*bc", "abbc"),
        ("go* (on|on to)* end", "going one end"),
        ("go* (on|on to)* end", "going on tour end"),
        ("(new |good )?friends", "friends"),
        ("(new |good )?friends", "Good friends"),
        ("welcome, ", "Welcome, Dana"),
        ("p.o. box", "P.O. Box 7"),
        ("total:", "Total: 5"),
        ("total", "Total: 5"),
        ("if you didn't", "If you didn’t ask"),
        ("données?", "donnée"),
        ("pedido nº", "Pedido nº 7"),
        ("pedido nº {n}", "Pedido Nº7"),
        ("été", "ÉTÉ"),
        ("ваш заказ", "ВАШ ЗАКАЗ №5"),
        ("2fa", "your 2FA code"),
        ("x; y", "y"),
    ],
)
def test_phrases_that_match(phrase: str, text: str) -> None:
    assert matches(phrase, text)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("order", "border"),
        ("order", "orders"),
        ("order {n}", "order five"),
        ("{p} off", "20 off"),
        ("request* to reset", "request it to reset"),
        ("request* to reset", "a prerequest to reset"),
        ("un *ordine", "un buon ordine"),
        ("ab*bc", "abc"),
        ("go* (on|on to)* end", "going on at end"),
        ("2fa", "the 3fa of 12fa"),
    ],
)
def test_phrases_that_do_not(phrase: str, text: str) -> None:
    assert not matches(phrase, text)


def test_letters_that_join_words_in_hebrew_and_arabic() -> None:
    assert matches("הזמנה", "וההזמנה שלך", "he")
    assert matches("טלית", "לטלית", "he")
    assert matches("טלית* חדשה", "לטליתות חדשה", "he")
    assert matches("1+1", "ב1+1", "he")
    assert matches("طلب", "والطلب", "ar")
    assert matches("طلب", "تأكيد وبالطلب", "ar")
    assert not matches("טלית", "גטלית", "he")
    assert not matches("1+1", "ב2+1", "he")
    assert not matches("הזמנה", "וההזמנה", "de")


def test_languages_without_blanks_match_anywhere() -> None:
    assert matches("注文", "ご注文ありがとう", "ja")


def test_a_phrase_that_stands_for_very_many_texts_is_cut_behind_a_long_head() -> None:
    ways = "|".join(f"way{c}" for c in "abcdefghi")
    phrase = f"this is the ({ways}) and the ({ways})"
    heads = [reading.head for reading in readings(phrase, "en")]
    assert 0 < len(heads) <= MOST
    assert min(map(len, heads)) > LEAST
    assert matches(phrase, "this is the wayb and the wayi: go")
    assert not matches(phrase, "this is the wayb and the wayz")
    short = f"a ({ways}) (b|{ways})"
    assert len(list(readings(short, "en"))) > MOST


def test_the_rest_of_a_word_may_come_before_the_cut() -> None:
    ways = "|".join(f"way{n}" for n in map("{:06b}".format, range(MOST)))
    ways = ways.replace("0", "a").replace("1", "b")
    phrase = f"this is the (go*|stay)({ways})"
    assert matches(phrase, "this is the goingwayabbaab")
    assert matches(phrase, "this is the staywayabbaab")
    assert not matches(phrase, "this is the stayingwayabbaab")


@pytest.mark.parametrize("phrase", ["(a|b", "a)", "a {x}", "[a", "{n} for 2", "2 of* us", "the 2 *of us"])
def test_what_is_no_phrase(phrase: str) -> None:
    with pytest.raises(ValueError, match=re.escape(phrase)):
        list(readings(phrase, "en"))


def test_a_phrase_that_stands_for_every_text_is_none() -> None:
    with pytest.raises(ValueError, match="every text"):
        list(readings("(注文)?", "ja"))


@given(st.text(alphabet="a0123456789 "))
def test_a_number_is_one_zero(text: str) -> None:
    assert digits(text.encode()) == re.sub(r"\d+", "0", text).encode()


def pattern(phrase: str, language: str) -> str:
    """The same as a regular expression."""
    signs = {"{n}": "[0-9]+", "{p}": "[0-9]+ ?%", "*": "[^ ]*", "(": "(?:"}
    tokens = re.findall(r"\{[np]\}|\[[^\]]*\]|.", phrase.removeprefix("*"))
    body = "".join(signs.get(token) or (token if token[0] in "[)|?" else re.escape(token)) for token in tokens)
    front = {"en": " ", "he": " (?:ו|ה|ב|ל|מ|ש|כ)?(?:ה|ב|ל|מ)?", "ja": ""}[language]
    end = "" if language == "ja" or phrase.endswith(("*", ":")) else "[ :]"
    return ("" if phrase.startswith("*") else front) + body + end


LETTERS = {"en": ("a", "b"), "he": ("ב", "ג"), "ja": ("文", "注")}


def phrases(letters: tuple[str, str]) -> st.SearchStrategy[str]:
    a, b = letters
    simple = st.sampled_from([a, b, a + b, f"{a}*", f"{b}?", " ", f"[{a}{b}]", f"{a}{{n}}", " {p} ", ":", f"{b}* "])
    several = st.lists(simple, min_size=1, max_size=3).map("".join)

    def group(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        options = st.lists(st.lists(inner, min_size=1, max_size=2).map("".join), min_size=1, max_size=3).map("|".join)
        return st.tuples(options, st.sampled_from(["", "?", "*"])).map(lambda one: f"({one[0]}){one[1]}")

    pieces = st.lists(st.recursive(several, group, max_leaves=4), min_size=1, max_size=4).map("".join)
    return st.tuples(st.sampled_from(["", "", "*"]), pieces).map(lambda two: " ".join((two[0] + a + two[1]).split()))


@pytest.mark.parametrize("language", LETTERS)
@settings(max_examples=20)  # of each language; to make texts that fit an expression takes long
@given(data=st.data())
def test_any_phrase_means_what_its_regular_expression_means(language: str, data: st.DataObject) -> None:
    phrase = data.draw(phrases(LETTERS[language]))
    expression = pattern(phrase, language)
    alphabet = "".join(LETTERS[language]) + " :1%"
    anything = st.text(alphabet, max_size=6)
    fitting = st.from_regex(expression, fullmatch=True, alphabet=alphabet)
    words = data.draw(st.tuples(anything, fitting | anything, anything).map("".join))
    text = f" {' '.join(words.split())} "
    assert found(phrase, text.encode(), language) == (re.search(expression, text) is not None)
