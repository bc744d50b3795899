"""Back-off rules in files: what is wrong with them, and what ships."""

from pathlib import Path

import pytest

from relay.config.backoff import compiled, problems_of, shipped
from relay.config.problems import Wrong
from relay.config.reader import Section, read, setting
from relay.config.schema_backoff import BackoffTable, share
from relay.outcome import Outcome, Reply


class File(Section):
    backoff: list[BackoffTable] = setting([])


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "shaping.toml"
    path.write_text(text)
    document, found = read(path)
    assert document is not None
    file, wrong = document.validate(File)
    assert file is not None
    found += [*wrong, *problems_of(file.backoff, document, ("backoff",))]
    return [str(problem).replace(f"{path}:", "") for problem in found]


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (
            'action = "suspnd"\nfor = "2h"',
            '3: backoff.#1.action: "suspnd" is none of slow, suspend, other-source, suspend-stream; '
            'did you mean "suspend"?   [choice]',
        ),
        ('action = "slow"', '1: backoff.#1: slow says not how far; add to = "25%"   [missing]'),
        ('action = "suspend"', '1: backoff.#1: suspend says not how long; add for = "2h"   [missing]'),
        ('action = "other-source"', '1: backoff.#1: other-source says not how long; add for = "2h"   [missing]'),
        (
            'action = "suspend"\nfor = "2h"\nto = "25%"',
            "5: backoff.#1.to: has no effect beside suspend: only slow leaves a part of the pace   [no-effect]",
        ),
        (
            'action = "slow"\nto = 25',
            '4: backoff.#1.to: 25 is no part of a pace, from 1% to 99%; write "25%"   [share]',
        ),
        (
            'action = "slow"\nto = "100 %"',
            '4: backoff.#1.to: "100 %" is no part of a pace, from 1% to 99%; write "25%"   [share]',
        ),
        (
            'action = "suspend"\nfor = "two hours"',
            '4: backoff.#1.for: "two hours" is no duration: a number and s, m, h or d, such as "15m"   [duration]',
        ),
        (
            'action = "slow"\nto = "25%"\nuntil = "2h"',
            "5: backoff.#1.until: unknown key; there are action, for, reply, to   [unknown-key]",
        ),
    ],
)
def test_a_rule_that_says_too_little_or_too_much_is_named_with_its_cure(
    tmp_path: Path, rule: str, problem: str
) -> None:
    assert problems(tmp_path, f"[[backoff]]\nreply = 're:S3150'\n{rule}\n") == [problem]


def test_a_rule_needs_a_reply(tmp_path: Path) -> None:
    found = problems(tmp_path, '[[backoff]]\naction = "slow"\nto = "25%"\n')
    assert found == ["1: backoff.#1.reply: is missing   [missing]"]


def test_a_pattern_that_is_none_and_one_that_never_matches(tmp_path: Path) -> None:
    rest = 'action = "slow"\nto = "25%"\n'
    assert "is no RE2 pattern" in problems(tmp_path, f"[[backoff]]\nreply = 're:('\n{rest}")[0]
    warning = problems(tmp_path, f"[[backoff]]\nreply = 're:\\bשגיאה\\b'\n{rest}")
    assert warning == [
        '2: backoff.#1.reply: warning: \\b beside a non-Latin letter never matches; write the plain words, "שגיאה"   [pattern]'
    ]


def test_a_right_rule_has_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, '[[backoff]]\nreply = "slow down"\naction = "slow"\nto = "25%"\nfor = "1h"\n') == []


def test_a_rule_knows_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "shaping.toml"
    path.write_text('\n\n[[backoff]]\nreply = ["slow down", "*later*"]\naction = "slow"\nto = "25%"\n')
    document, _ = read(path)
    assert document is not None
    file, _ = document.validate(File)
    assert file is not None
    rules = compiled(file.backoff, {}, document)
    rule = rules.find(Outcome(Reply(451, "", "Come LATER"), "MAIL"), "x.example")
    assert rule is not None
    assert rule.place == "policies/shaping.toml:3"


def test_what_ships_is_right_by_its_own_standards() -> None:
    known = shipped()
    tables = [*known.backoff, *(table for provider in known.provider.values() for table in provider.backoff)]
    assert len(tables) > 20
    assert all(table.to is not None for table in tables if table.action == "slow")
    assert all(table.to is None for table in tables if table.action != "slow")
    assert all(table.span is not None for table in tables)


def test_a_share_is_a_whole_percentage() -> None:
    assert share("5%") == 0.05
    with pytest.raises(Wrong):
        share("0%")
