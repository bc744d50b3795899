"""Questions in people's words, and the times they mean."""

import pytest

from relay.reporting.question import DAY, SLOT, QuestionError, ask
from tests.support.event_folder import HOUR, NOON


def test_a_report_has_its_own_way_to_be_asked_by() -> None:
    assert ask("streams", NOON - DAY, NOON).by == ("stream",)
    assert ask("streams", NOON - DAY, NOON, by=["site", "day"]).by == ("site", "day")


@pytest.mark.parametrize(
    ("report", "more", "words"),
    [
        ("bounce", {}, 'no report "bounce"; did you mean bounces?'),
        ("bounces", {"by": ["steam"]}, '"steam" is nothing to report by; did you mean stream?'),
        ("bounces", {"by": ["hour", "day"]}, "by hour or by day, not by both"),
        ("bounces", {"where": {"colour": ["red"]}}, '"colour" is nothing to select by: '),
        ("latency", {"by": ["category"]}, "latency is of mail that was delivered"),
        ("latency", {"by": ["domain"]}, "latency is of mail that was delivered"),
        ("bounces", {"zone": "Mars/Base"}, '"Mars/Base" is no time zone'),
    ],
)
def test_what_cannot_be_asked_is_said(report: str, more: dict[str, object], words: str) -> None:
    with pytest.raises(QuestionError, match=r"^" + words.replace("?", r"\?")):
        ask(report, NOON - DAY, NOON, **more)  # type: ignore[arg-type]


def test_a_time_that_ends_before_it_begins_is_none() -> None:
    with pytest.raises(QuestionError, match="ends before it begins"):
        ask("bounces", NOON, NOON)


def test_times_are_whole_quarters_of_an_hour_and_as_long_as_each_other() -> None:
    question = ask("summary", NOON - HOUR + 1, NOON + 1, compare=DAY)
    assert question.windows == {
        "now": (NOON - HOUR, NOON + SLOT),
        "usual": (NOON - HOUR - 7 * DAY, NOON - HOUR),
        "then": (NOON - HOUR - DAY, NOON + SLOT - DAY),
    }
    assert question.first == NOON - HOUR - 7 * DAY


def test_by_time_nothing_stands_beside() -> None:
    question = ask("summary", NOON - DAY, NOON, by=["class", "day"], compare=DAY)
    assert list(question.windows) == ["now"]
    assert (question.keys, question.step, question.order) == (("class",), "day", ("class", "day"))


@pytest.mark.parametrize(
    ("by", "where", "level"),
    [
        (["skeleton", "category"], {"stream": ["news"]}, "templates"),
        (["category"], {"skeleton": ["4ab*"]}, "templates"),
        (["skeleton"], {"site": ["google"]}, ""),
        (["class", "stream", "category", "hour"], {}, "apps"),
        (["site"], {"class": ["marketing"]}, "sites"),
        (["source", "stream"], {}, "sources"),
        (["stream"], {"site": ["google"]}, "all"),
        (["domain"], {}, ""),
        (["stream"], {"recipient": ["a@b.example"]}, ""),
    ],
)
def test_the_smallest_counts_that_know_enough_answer(by: list[str], where: dict[str, list[str]], level: str) -> None:
    question = ask("bounces", NOON - DAY, NOON, by=by, where=where)
    assert question.level() == level
    assert bool(question.usual) is (bool(level) and "hour" not in by), "events themselves are not read for a week"


def test_selectors_that_say_nothing_select_all() -> None:
    assert ask("bounces", NOON - DAY, NOON, where={"site": [], "stream": ["news"]}).where.keys() == {"stream"}
