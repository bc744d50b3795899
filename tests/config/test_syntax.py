import pytest
import spanned_toml
from hypothesis import given
from hypothesis import strategies as st

from relay.config.syntax import problems_of


def said(text: str) -> list[str]:
    with pytest.raises(spanned_toml.TOMLDecodeError) as raised:
        spanned_toml.loads(text)
    return [str(problem) for problem in problems_of("f", text, raised.value)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class = transactional", 'f:1: class: text needs quotes: class = "transactional"   [toml]'),
        ("rate = 40/second", 'f:1: rate: durations and rates are text: rate = "40/second"   [toml]'),
        ("valid_for = 30m  # half an hour", 'f:1: valid_for: durations and rates are text: valid_for = "30m"   [toml]'),
        ("a.b = x", 'f:1: a.b: text needs quotes: a.b = "x"   [toml]'),
        (
            'reply = "re:\\d"',
            "f:1: reply: a backslash in double quotes; put the pattern in single quotes: reply = 're:\\d'   [toml]",
        ),
        (
            'reply = "re:\\u12"',
            "f:1: reply: a backslash in double quotes; put the pattern in single quotes: reply = 're:\\u12'   [toml]",
        ),
        ('x = ["it\'s \\d"]', "f:1: x: a backslash in double quotes; put the pattern in single quotes   [toml]"),
        ("[a]\n[b]\n[a]\n", "f:3: [a]: stands here a second time (first in line 1); merge the two   [toml]"),
        (
            "[t]\na = 1\n[u]\na = 1\nb = 2\na = 3\n\n",
            "f:6: a: stands here a second time in one table (first in line 4); keep one   [toml]",
        ),
        ("a.b = 1\na = 2", "f:2: a: stands here a second time in one table; keep one   [toml]"),
        ("on = Yes", "f:1: on: Yes is neither true nor false; those two are written small   [toml]"),
        ("day = 2026-11-31", "f:1: day: 2026-11-31 is no date; a date is year-month-day, such as 2026-11-23   [toml]"),
        ('name = "x', 'f:1: name: opened and never closed; a " is missing   [toml]'),
        ("names = [1,\n2\n", "f:2: opened and never closed; a ] is missing   [toml]"),
        ("name = 'x", "f:1: name: opened and never closed; a ' is missing   [toml]"),
        ("= 1", "f:1: not TOML: invalid statement   [toml]"),
        ("key =", "f:1: key: not TOML: invalid value   [toml]"),
    ],
)
def test_the_message_names_the_cure(text: str, message: str) -> None:
    assert said(text) == [message]


def test_errors_confined_to_a_line_are_all_reported() -> None:
    assert [line.partition(" ")[0] for line in said('a = x\nb = 1\nc = 5m\nd = "\\d"\n')] == ["f:1:", "f:3:", "f:4:"]


def test_what_is_not_confined_ends_the_search() -> None:
    assert len(said('a = x\nb = "\nc = y\n')) == 2


@given(st.text(st.sampled_from("ab[]={}\"'.#\\\n \t1-/"), max_size=60))
def test_any_text_that_does_not_parse_is_answered(text: str) -> None:
    try:
        spanned_toml.loads(text)
    except spanned_toml.TOMLDecodeError as error:
        problems = problems_of("f", text, error)
        assert problems
        assert all(1 <= problem.line <= text.count("\n") + 1 for problem in problems)
