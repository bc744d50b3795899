"""Whom a returned mail is about."""

import pytest

from relay.feedback.matching import MAX_TEXT, reports
from relay.feedback.returned import Kind, Mail, Recipient
from relay.feedback.taxonomy import Category

ABOUT, TRACED = ("01kaj2order00000", 3), ("01kaj2order00000", 4)
FAILED = Recipient(
    "lea@example.com",
    "lea@final.example",
    "failed",
    "5.1.1",
    "550 5.1.1 no such user",
    "RCPT",
    Category.BAD_MAILBOX,
    True,
)


def bounce(*recipients: Recipient) -> Mail:
    return Mail(Kind.BOUNCE, recipients=recipients, reporter="mx.example.com")


def test_a_bounce_is_about_the_delivery_whose_return_path_it_came_by() -> None:
    (report,) = reports(bounce(FAILED), [ABOUT], TRACED)
    assert (report.about, report.kind) == (ABOUT, "bounced-late")
    assert report.facts["category"] == "bad-mailbox"
    assert (report.facts["permanent"], report.facts["final_recipient"]) == (True, "lea@final.example")


def test_else_by_the_trace_id_in_what_came_back() -> None:
    assert [report.about for report in reports(bounce(FAILED), [], TRACED)] == [TRACED]


def test_else_it_is_nobodys() -> None:
    assert reports(bounce(FAILED), [], None) == []


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_what_has_not_failed_changes_nothing(action: str) -> None:
    assert reports(bounce(Recipient("lea@example.com", action=action)), [ABOUT], None) == []
    assert reports(bounce(), [ABOUT], None) == []


def test_a_complaint_needs_the_message_it_is_about() -> None:
    complaint = Mail(Kind.COMPLAINT, feedback_type="abuse", reporter="fbl.example.net")
    (report,) = reports(complaint, [], TRACED)
    assert (report.about, report.kind) == (TRACED, "complained")
    assert report.facts == {"feedback_type": "abuse", "reporter": "fbl.example.net"}
    assert reports(complaint, [ABOUT], None) == [], "that somebody hands one in at a return path proves nothing"


@pytest.mark.parametrize("kind", [Kind.AUTO_REPLY, Kind.OTHER])
def test_answers_of_machines_and_people_are_neither(kind: Kind) -> None:
    assert reports(Mail(kind, recipients=(FAILED,)), [ABOUT], TRACED) == []


def test_a_reply_is_kept_in_part() -> None:
    long = Recipient("a@b.example", action="failed", reply="x" * 10_000)
    (report,) = reports(bounce(long), [ABOUT], None)
    assert len(str(report.facts["reply"])) == MAX_TEXT
    assert report.facts["category"] == "other"
