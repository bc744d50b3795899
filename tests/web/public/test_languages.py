"""Languages: all say the same things, and readers get the one they want."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from relay.web.public.languages import CODES, in_language, isolated, language, listed, masked, quoted, wanted


@pytest.mark.parametrize(
    ("accept", "code"),
    [
        ("", "en"),
        ("he-IL,he;q=0.9,en-US;q=0.8,en;q=0.7", "he"),
        ("iw", "he"),
        ("en;q=0.5, DE-at", "de"),
        ("ja, fr;q=0.2, *;q=0.1", "fr"),
        ("ja", "en"),
        ("ru;q=0, es;q=0.001", "es"),
        ("de;q=0", "en"),
        ("ar-EG ; q=0.9 , de ; q=0.8", "ar"),
        ("*", "en"),
        (";;;,,q=1,de;q=x,\x00", "en"),
        ("x," * 5_000 + "de", "en"),
    ],
)
def test_what_the_browser_asks_for(accept: str, code: str) -> None:
    assert wanted(accept) == code


def test_what_was_chosen_on_the_page_comes_first() -> None:
    assert wanted("he", "ru") == "ru"
    assert wanted("he", "xx") == "he"


@given(st.text(max_size=100))
def test_nonsense_is_english_or_what_it_names(accept: str) -> None:
    assert wanted(accept) in CODES


def test_seven_languages_say_the_same_with_the_same_values() -> None:
    def values(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english = language("en")
    for code in CODES:
        one = language(code)
        assert one.texts.keys() == english.texts.keys()
        for key, text in one.texts.items():
            assert values(text) == values(english.texts[key]), (code, key)
        assert len(one.months) == 12
        assert one.weeks.keys() == english.weeks.keys()
        assert one.direction == ("rtl" if code in ("he", "ar") else "ltr")


def test_each_is_written_in_its_own_script() -> None:
    scripts = {"he": "[א-ת]", "ar": "[؀-ۿ]", "ru": "[а-яё]"}
    for code, letters in scripts.items():
        for key, text in language(code).texts.items():
            if key not in ("direction", "date", "service_topics", "about"):
                assert re.search(letters, text, re.IGNORECASE), (code, key)
                assert not re.search("[a-z]{3}", re.sub(r"{\w+}", "", text)), (code, key)


def test_values_are_escaped_and_marked_up_ones_are_not() -> None:
    said = language("en").say("unsubscribe_title", brand="<b>&")
    assert said == "Unsubscribe from &lt;b&gt;&amp;?"
    assert language("en").say("unsubscribe_title", brand=isolated("A & B")) == (
        "Unsubscribe from <bdi>A &amp; B</bdi>?"
    )
    assert listed([isolated("a"), isolated("<b>")]) == Markup("<bdi>a</bdi>, <bdi>&lt;b&gt;</bdi>")


def test_what_is_in_another_language_says_so() -> None:
    assert quoted({"en": "Offers", "de": "Angebote"}, "de") == Markup("<bdi>Angebote</bdi>")
    assert quoted({"en": "Offers", "he": "מבצעים"}, "de") == Markup('<bdi lang="en">Offers</bdi>')
    assert quoted({"he": "<מבצעים>"}, "de") == Markup('<bdi lang="he">&lt;מבצעים&gt;</bdi>')
    assert quoted({}, "de") == Markup("<bdi></bdi>")


def test_dates_as_people_write_them() -> None:
    day = 1_797_681_931_104
    assert [language(code).date(day) for code in CODES] == [
        "19 December 2026",
        "19 בדצמבר 2026",
        "19 ديسمبر 2026",
        "19. Dezember 2026",
        "19 de diciembre de 2026",
        "19 décembre 2026",
        "19 декабря 2026 г.",
    ]


def test_an_admins_words_in_the_language_or_the_next_best() -> None:
    assert in_language({"en": "a", "he": "ב"}, "he") == "ב"
    assert in_language({"en": "a", "he": "ב"}, "de") == "a"
    assert in_language({"he": "ב"}, "de") == "ב"
    assert in_language({}, "de") == ""


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("dana.levi@gmail.com", "d…i@gmail.com"),
        ("abc@b.example", "a…@b.example"),
        ("a@b.example", "a…@b.example"),
        ('"a@b c"@d.example', '"…"@d.example'),
        ("", "…@"),
    ],
)
def test_an_address_is_shown_to_its_owner_and_not_to_others(address: str, shown: str) -> None:
    assert masked(address) == shown
