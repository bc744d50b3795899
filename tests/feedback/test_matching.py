"""Whom a returned mail is about."""

from dataclasses import replace

import pytest

from relay.feedback.matching import MAX_TEXT, NOBODY, SOUGHT, failed_of, farewells, label, reports
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


def test_a_return_path_that_the_report_tells_goes_before_the_trace_id() -> None:
    named = ("01kaj2order00000", 5)
    (report,) = reports(bounce(FAILED), [], TRACED, named)
    assert (report.about, report.facts["matched_by"]) == (named, "token")
    assert [one.about for one in reports(bounce(FAILED), [ABOUT], TRACED, named)] == [ABOUT]
    (report,) = reports(Mail(Kind.COMPLAINT, feedback_type="abuse"), [ABOUT], TRACED, named)
    assert (report.about, report.kind, report.facts["matched_by"]) == (named, "complained", "token")


def test_else_by_message_id_and_address() -> None:
    other = Recipient("noa@example.com", action="failed")
    fine = Recipient("dana@example.com", action="delivered")
    found = reports(Mail(Kind.BOUNCE, recipients=(fine, FAILED, other), message_id="<7@a.example>"), [], None)
    assert [(report.about, report.sought) for report in found] == [
        (NOBODY, ("7@a.example", "lea@example.com")),
        (NOBODY, ("7@a.example", "noa@example.com")),
    ]
    assert [report.facts["category"] for report in found] == ["bad-mailbox", "other"]
    crowd = tuple(Recipient(f"p{number}@example.com", action="failed") for number in range(1_000))
    assert len(reports(Mail(Kind.BOUNCE, recipients=crowd, message_id="7@a.example"), [], None)) == SOUGHT


def test_else_it_is_nobodys() -> None:
    assert reports(bounce(FAILED), [], None) == []
    assert reports(Mail(Kind.BOUNCE, message_id="7@a.example"), [], None) == []


def test_a_report_that_names_nobody_is_about_whom_its_way_back_names() -> None:
    mail = Mail(Kind.BOUNCE, message_id="7@a.example", unnamed=replace(FAILED, address="", final=""))
    (report,) = reports(mail, [ABOUT], None)
    assert (report.about, report.facts["category"], report.facts["final_recipient"]) == (ABOUT, "bad-mailbox", "")
    assert [one.about for one in reports(mail, [], TRACED)] == [TRACED]
    assert reports(mail, [], None) == [], "a Message-ID alone says nothing of anybody"
    late = replace(mail, unnamed=replace(FAILED, action="delayed"))
    assert (reports(late, [ABOUT], None), label(late)) == ([], "delayed")


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_what_has_not_failed_changes_nothing(action: str) -> None:
    assert reports(bounce(Recipient("lea@example.com", action=action)), [ABOUT], None) == []
    assert reports(bounce(), [ABOUT], None) == []


def test_a_complaint_needs_the_message_it_is_about() -> None:
    complaint = Mail(Kind.COMPLAINT, feedback_type="abuse", reporter="fbl.example.net")
    (report,) = reports(complaint, [], TRACED)
    assert (report.about, report.kind) == (TRACED, "complained")
    assert report.facts == {"feedback_type": "abuse", "reported_by": "fbl.example.net", "matched_by": "trace-id"}
    assert reports(complaint, [ABOUT], None) == [], "that somebody hands one in at a return path proves nothing"
    named = Mail(Kind.COMPLAINT, feedback_type="abuse", recipients=(Recipient("lea@example.com"),), message_id="<7@a>")
    (report,) = reports(named, [ABOUT], None)
    assert (report.about, report.sought) == (NOBODY, ("7@a", "lea@example.com"))


@pytest.mark.parametrize("kind", [Kind.AUTO_REPLY, Kind.OTHER])
def test_answers_of_machines_and_people_are_neither(kind: Kind) -> None:
    assert reports(Mail(kind, recipients=(FAILED,)), [ABOUT], TRACED) == []


def test_a_reply_is_kept_in_part() -> None:
    long = Recipient("a@b.example", action="failed", reply="x" * 10_000)
    (report,) = reports(bounce(long), [ABOUT], None)
    assert len(str(report.facts["reply"])) == MAX_TEXT
    assert report.facts["category"] == "other"


def test_a_reply_that_nobody_understands_is_told_all_the_same() -> None:
    odd = Recipient("a@b.example", action="failed", texts=("550 box is asleep", "all the words"))
    (report,) = reports(bounce(odd), [ABOUT], None)
    assert (report.facts["reply"], report.facts["category"]) == ("550 box is asleep", "other")


def test_what_rules_look_at_survives_the_way_to_who_sent_it() -> None:
    (report,) = reports(bounce(FAILED), [ABOUT], None)
    one = failed_of(report.facts)
    assert (one.action, one.status, one.reply, one.command, one.category, one.permanent, one.rule, one.texts) == (
        "failed",
        FAILED.status,
        FAILED.reply,
        FAILED.command,
        FAILED.category,
        True,
        FAILED.rule,
        FAILED.texts,
    )
    older = failed_of({"category": "unheard-of", "texts": 7})
    assert (older.category, older.texts) == (Category.OTHER, ())


@pytest.mark.parametrize(
    ("mail", "word"),
    [
        (bounce(FAILED), "bounce"),
        (bounce(Recipient("a@b.example", action="delivered"), FAILED), "bounce"),
        (bounce(), "bounce"),
        *[
            (bounce(Recipient("a@b.example", action=one)), one)
            for one in ("delayed", "delivered", "relayed", "expanded")
        ],
        (Mail(Kind.AUTO_REPLY), "auto-reply"),
        (Mail(Kind.COMPLAINT, recipients=(Recipient("a@b.example"),)), "complaint"),
        (Mail(Kind.OTHER), "other"),
    ],
)
def test_what_it_is_in_a_word(mail: Mail, word: str) -> None:
    assert label(mail) == word


def test_who_writes_to_leave_leaves_and_no_machine_does() -> None:
    (report,) = farewells(Mail(Kind.OTHER), "dana@example.com", [ABOUT])
    assert (report.about, report.kind, report.facts) == (ABOUT, "unsubscribed", {})
    assert farewells(Mail(Kind.OTHER), "", [ABOUT]) == []
    assert farewells(Mail(Kind.OTHER), "dana@example.com", []) == []
    for kind in (Kind.AUTO_REPLY, Kind.BOUNCE, Kind.COMPLAINT):
        assert farewells(Mail(kind), "dana@example.com", [ABOUT]) == []
