"""Replies and commands as reports quote them."""

import pytest

from relay.feedback.quoted import LENGTH, command_of, reply_of
from relay.outcome import Reply


@pytest.mark.parametrize(
    ("text", "code", "action", "reply"),
    [
        ("host mx[192.0.2.1] said: 550 5.1.1 no such user", "", "failed", Reply(550, "5.1.1", "no such user")),
        ("said 452 later", "4.2.2", "failed", Reply(452, "4.2.2", "later")),
        ("550-5.7.1 first\n550 5.7.1 second", "", "failed", Reply(550, "5.7.1", "first 550 5.7.1 second")),
        ("nobody here (#5.1.1)", "", "failed", Reply(550, "5.1.1", "nobody here (#5.1.1)")),
        ("on hold", "4.3.0", "failed", Reply(450, "4.3.0", "on hold")),
        ("no answer", "", "failed", Reply(550, "", "no answer")),
        ("no answer", "", "delayed", Reply(450, "", "no answer")),
        ("250 of 300 octets sent", "", "failed", Reply(550, "", "250 of 300 octets sent")),
        ("", "5.1.1", "failed", Reply(550, "5.1.1", "")),
    ],
)
def test_the_reply_in_a_text_or_what_the_status_makes_of_it(text: str, code: str, action: str, reply: Reply) -> None:
    assert reply_of(text, code, action) == reply


def test_a_quoted_reply_is_bounded() -> None:
    assert len(reply_of("550 " + "x" * 100_000, "", "failed").text) == LENGTH


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("said: 550 no (in reply to RCPT TO command)", "RCPT"),
        ("said: 550 no (in reply to end of DATA command)", "END"),
        ("SMTP error from remote mail server after MAIL FROM:<a@b.cc> SIZE=7: 501 no", "MAIL"),
        ("error after initial connection: 554 no", "CONNECT"),
        ("host mx refused to talk to me: 554 no", "CONNECT"),
        (">>> DATA <<< 550 no", "DATA"),
        ("after EHLO me: 550 no", "EHLO"),
        ("192.0.2.1 does not like recipient. 550 no", "RCPT"),
        ("192.0.2.1 failed after I sent the message. 550 no", "END"),
        ("550 no data", ""),
        ("", ""),
    ],
)
def test_the_command_a_reply_answered(text: str, command: str) -> None:
    assert command_of(text) == command
