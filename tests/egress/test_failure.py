import pytest

from relay.egress.failure import ours, scope_of
from relay.outcome import Reply, Scope


@pytest.mark.parametrize(
    ("command", "code", "enhanced", "scope"),
    [
        ("END", 250, "2.0.0", Scope.RECIPIENT),
        ("CONNECT", 554, "", Scope.HOST),
        ("EHLO", 550, "5.7.1", Scope.HOST),
        ("STARTTLS", 454, "4.7.0", Scope.HOST),
        ("AUTH", 535, "5.7.8", Scope.SITE),
        ("AUTH", 454, "4.7.0", Scope.SITE),
        ("MAIL", 530, "5.7.0", Scope.SITE),
        ("MAIL", 550, "5.1.8", Scope.MESSAGE),
        ("MAIL", 450, "4.1.8", Scope.MESSAGE),
        ("MAIL", 452, "", Scope.HOST),
        ("MAIL", 452, "4.3.1", Scope.HOST),
        ("RCPT", 550, "5.1.1", Scope.RECIPIENT),
        ("RCPT", 450, "4.2.0", Scope.RECIPIENT),
        ("RCPT", 452, "4.2.2", Scope.RECIPIENT),
        ("RCPT", 452, "4.5.3", Scope.RECIPIENT),
        ("RCPT", 451, "4.3.0", Scope.HOST),
        ("DATA", 554, "5.7.1", Scope.MESSAGE),
        ("END", 552, "5.3.4", Scope.MESSAGE),
        ("END", 554, "5.6.0", Scope.MESSAGE),
        ("END", 451, "4.7.1", Scope.MESSAGE),
        ("END", 452, "", Scope.HOST),
        ("END", 421, "4.7.0", Scope.HOST),
        ("RCPT", 421, "", Scope.HOST),
        ("RSET", 500, "", Scope.HOST),
        ("DNS", 451, "4.4.3", Scope.SITE),
    ],
)
def test_scope(command: str, code: int, enhanced: str, scope: Scope) -> None:
    assert scope_of(command, Reply(code, enhanced, "text")) is scope


def test_our_own_words_are_marked() -> None:
    outcome = ours(421, "4.4.2", "late", "MAIL", Scope.HOST)
    assert outcome.internal
    assert str(outcome.reply) == "421 4.4.2 late"
    assert not outcome.permanent
