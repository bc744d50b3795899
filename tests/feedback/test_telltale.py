"""Words by which a mail shows what it is."""

import re

import pytest

from relay.feedback import telltale


@pytest.mark.parametrize(
    ("pattern", "said", "not_said"),
    [
        (
            telltale.DAEMON,
            ["MAILER-DAEMON@x.example", "Mail Delivery System <a@b.cc>", "<>"],
            ["Dana Cohen <dana@example.com>"],
        ),
        (telltale.SUBJECT, ["Undeliverable: hi", "failure notice", "Недоставленное сообщение"], ["Lunch on Friday?"]),
        (telltale.FAILED, ["could not be delivered", "said: 550 no", "User unknown"], ["Thank you for the flowers"]),
        (
            telltale.DELAYED,
            ["has not yet been delivered", "This is a WARNING MESSAGE ONLY", "will be retried"],
            ["was not delivered"],
        ),
        (telltale.DELIVERED, ["was successfully delivered to the mailbox"], ["could not deliver it"]),
        (
            telltale.SUCCESS_SUBJECT,
            ["Successful Mail Delivery Report", "Mail relayed"],
            ["Unsuccessful delivery", "could not be delivered"],
        ),
        (telltale.DELAY_SUBJECT, ["Delivery Status Notification (Delay)", "Warning: still waiting"], ["Undeliverable"]),
        (
            telltale.AUTO_SUBJECT,
            ["Automatic reply: hi", "Out of Office", "Abwesenheitsnotiz", "Re: auto-reply"],
            ["The office party"],
        ),
    ],
)
def test_words(pattern: re.Pattern[str], said: list[str], not_said: list[str]) -> None:
    assert [text for text in said if not pattern.search(text)] == []
    assert [text for text in not_said if pattern.search(text)] == []
