"""Text conditions: four kinds, matched together, and none that any text or pattern could break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy import patterns
from relay.policy.patterns import BadPattern, Kind, Matcher, Pattern, covers, parse


def words(text: str) -> Pattern:
    return parse(text, words=True)


def fits(pattern: Pattern, text: str) -> bool:
    return Matcher([pattern]).matches(text) == {0}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("order", "Your ORDER 77"),
        ("order", "order"),
        ("one-time code", "your One Time  code: 1234"),
        ("הזמנה", "\u200fהזמנה חדשה"),
        ("שלום", "שָׁלוֹם לך"),
        ("straße", "Kein STRASSE mehr"),
        ("заказ", "Ваш ЗАКАЗ №5"),
        ("订单", "您的订单已发货"),
        ("*הזמנה*", "ההזמנה שלך"),
        ("order*", "Orders of the day"),
        ("*a*b*", "xxaYYbzz"),
        ("re:^[A-Z]+-[0-9]{3}$", "ab-123"),
        ("re:הזמנה", "ההזמנה"),
    ],
)
def test_a_subject_fits(pattern: str, text: str) -> None:
    assert fits(words(pattern), text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("order", "border"),
        ("order", "reorder now"),
        ("one-time code", "code one time"),
        ("הזמנה", "ההזמנה"),
        ("order*", "my order"),
        ("*order", "orders"),
        ("*a*b*", "ba"),
        ("re:^x$", "xx"),
    ],
)
def test_a_subject_does_not_fit(pattern: str, text: str) -> None:
    assert not fits(words(pattern), text)


def test_other_texts_are_exact_unless_they_say_otherwise() -> None:
    assert fits(parse("Points-1"), "points-1 ")
    assert not fits(parse("points"), "points-1")
    assert fits(parse("points-*"), "POINTS-1")
    assert fits(parse("*"), "")


def test_many_patterns_are_told_apart() -> None:
    matcher = Matcher([words("order"), words("your order"), parse("*order*"), parse("re:or.er"), parse("order")])
    assert matcher.matches("Your order") == {0, 1, 2, 3}
    assert matcher.matches("order") == {0, 2, 3, 4}
    assert matcher.matches("") == set()
    assert "exact=1" in repr(matcher)


@pytest.mark.parametrize("source", ["re:(", "re:[z-a]", "re:(?=x)", r"re:\1", "re:a{5000}", "re:" + "x?" * 300_000])
def test_what_is_no_re2_pattern_says_why(source: str) -> None:
    with pytest.raises(BadPattern, match="is no RE2 pattern: "):
        parse(source)


def test_a_subject_of_no_words_says_what_to_write() -> None:
    with pytest.raises(BadPattern, match=r"for these characters anywhere write '\*!!\*'"):
        words("!!")


def test_a_search_that_runs_out_of_memory_falls_back_to_single_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    several = [parse("re:a[0-9]+"), parse("re:b{2}"), parse("*c*d*")]
    monkeypatch.setattr(patterns, "_SET_BYTES", 1)  # no set of patterns fits
    assert Matcher(several).matches("a7 bb cxd") == {0, 1, 2}
    assert Matcher(several).matches("a bb") == {1}


def test_a_search_that_fails_for_a_text_falls_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def Match(self, octets: bytes) -> None:  # noqa: N802 re2's name
            """What a search that ran out of memory says: nothing."""

    monkeypatch.setattr(patterns, "_set_of", lambda _: Failing())
    assert Matcher([parse("a*"), parse("re:b+")]).matches("abb") == {0, 1}


def test_patterns_that_backtracking_engines_choke_on_cost_nothing() -> None:
    assert not fits(parse("re:^(a+)+$"), "a" * 1_900 + "!")


@given(st.text(max_size=60), st.lists(st.sampled_from(["order", "*a*", "re:a.c", "*", "x*y", "one two"]), unique=True))
def test_any_text_can_be_matched(text: str, given_patterns: list[str]) -> None:
    matcher = Matcher([words(one) if one != "*" else parse(one) for one in given_patterns])
    assert matcher.matches(text) <= set(range(len(given_patterns)))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (words("order"), words("your order")),
        (words("order"), words("Order")),
        (parse("*"), parse("re:x")),
        (parse("*"), parse("x*")),
        (parse("a*"), parse("ab*")),
        (parse("*b*"), parse("abc")),
        (parse("*rder*"), words("your order")),
        (parse("re:x"), parse("re:x")),
        (parse("a"), parse("A")),
        (parse("a*b*c"), parse("axb*c")),
    ],
)
def test_what_takes_all_of_another(wide: Pattern, narrow: Pattern) -> None:
    assert covers(wide, narrow)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (words("your order"), words("order")),
        (words("order"), parse("*order*")),
        (parse("ab*"), parse("a*")),
        (parse("a*b*c"), parse("a*c")),
        (parse("a*a"), parse("a")),
        (parse("a*"), parse("re:a")),
        (parse("a"), parse("a*")),
        (parse("*r o*"), words("your order")),
    ],
)
def test_what_may_leave_some_of_another(wide: Pattern, narrow: Pattern) -> None:
    assert not covers(wide, narrow)


_PIECES = st.lists(st.sampled_from(["a", "b", "ab", "*"]), min_size=1, max_size=5).map("".join)


@given(_PIECES, _PIECES, st.text("ab", max_size=8))
def test_covering_is_never_claimed_wrongly(wide: str, narrow: str, text: str) -> None:
    one, other = parse(wide), parse(narrow)
    if covers(one, other) and fits(other, text):
        assert fits(one, text)


def test_kinds() -> None:
    kinds = [words("a").kind, parse("a").kind, parse("a*").kind, parse("re:a").kind]
    assert kinds == [Kind.WORDS, Kind.EXACT, Kind.GLOB, Kind.RE2]
    assert str(parse("A*")) == "A*"
