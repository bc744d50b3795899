"""What explain says of checks."""

from relay.cli.checks_view import as_facts, as_text
from relay.message import MailClass
from relay.policy.checks import BUILT_IN, Checks, Failed, Level

LEVELS: dict[str, Level] = {"alignment": "warn", "one-click-unsubscribe": "refuse", "israel-30a": "flag"}
CHECKS = Checks([(BUILT_IN[name], level, lambda case: "") for name, level in LEVELS.items()])
WORD = Failed("israel-30a", "flag", "the word is missing", BUILT_IN["israel-30a"].source)


def test_each_check_with_what_came_of_it_and_who_asks_for_it() -> None:
    assert list(as_text(CHECKS, MailClass.MARKETING, [WORD])) == [
        "  Checks   alignment               passes                             RFC 7489 3.1.1",
        "           one-click-unsubscribe   passes                             RFC 8058 3.1",
        "           israel-30a              flag: the word is missing          Israel, Communications Law 1982, 30A(e)",
    ]


def test_what_is_not_asked_of_a_class_is_said() -> None:
    assert list(as_text(CHECKS, MailClass.SERVICE, []))[1] == (
        "           one-click-unsubscribe   not asked of service mail          RFC 8058 3.1"
    )


def test_no_checks_no_lines() -> None:
    assert list(as_text(Checks([]), MailClass.SERVICE, [])) == []


def test_for_programs() -> None:
    assert as_facts([WORD]) == [
        {
            "name": "israel-30a",
            "level": "flag",
            "lacks": "the word is missing",
            "source": "Israel, Communications Law 1982, 30A(e)",
        }
    ]
