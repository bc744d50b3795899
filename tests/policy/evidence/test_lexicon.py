"""What normal text is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy.evidence.lexicon import normal, phrases_of


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
        ("a" + " " * 8 + "b . (c)", "a b c"),
        ("a" + "." * 9 + "b" + " " * 100 + "c", "a b c"),
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


@given(st.text(alphabet=" .a\n", max_size=40))
def test_runs_of_blanks_become_one_however_long(text: str) -> None:
    assert normal(text.encode()) == b" ".join(text.replace(".", " ").encode().split())


def test_phrases_stand_between_semicolons() -> None:
    assert list(phrases_of(" your\n order ;; x*;\n")) == ["your order", "x*"]
