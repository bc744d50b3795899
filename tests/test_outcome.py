import pytest

from relay.outcome import Outcome, Reply, Scope


@pytest.mark.parametrize(
    ("code", "command", "internal", "kept"),
    [
        (450, "RCPT", False, True),
        (452, "RCPT", False, True),
        (451, "DATA", False, True),
        (451, "END", False, True),
        (450, "RCPT", True, False),  # our own words: nobody has seen the source
        (421, "CONNECT", False, False),
        (450, "MAIL", False, False),
        (550, "RCPT", False, False),
        (250, "END", False, False),
    ],
)
def test_the_source_is_kept_after_what_may_be_greylisting(code: int, command: str, internal: bool, kept: bool) -> None:
    outcome = Outcome(Reply(code, "", "x"), command, Scope.RECIPIENT, internal=internal)
    assert outcome.keeps_source is kept
