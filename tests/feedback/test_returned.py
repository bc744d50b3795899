"""What a mail that came back says. The mails are made up here, in the forms that mail systems use."""

import base64
import json
import quopri

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.feedback.parts import MAX_OCTETS
from relay.feedback.returned import Kind, Mail, Recipient, read_mail, ruled
from relay.feedback.rulings import NO_RULINGS, Ruling, Rulings
from relay.feedback.status import MAX_RECIPIENTS
from relay.feedback.taxonomy import Category
from relay.policy.patterns import Matcher, parse

HEAD = "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nTo: shop@marom.example\n"
ORIGINAL = """Received: from a by b
Message-ID: <order.7@marom.example>
X-Postlane-Trace: t1-abc
From: shop@marom.example
To: everybody@list.example, noa@example.com
Subject: Your order

Hello, no such user: lea@example.com
"""


def report(fields: str, words: str = "It failed.", original: str = ORIGINAL) -> str:
    return f"""{HEAD}Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="=b"

--=b
Content-Type: text/plain

{words}
--=b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Original-Envelope-Id: E77

{fields}
--=b
Content-Type: message/rfc822

{original}
--=b--
"""


def prose(words: str, subject: str = "Undelivered mail") -> str:
    return f"{HEAD}Subject: {subject}\n\n{words}\n"


def read(text: str) -> Mail:
    return read_mail(text.encode())


def facts(mail: Mail) -> list[tuple[str, str, str | None, bool]]:
    return [(one.address, one.action, one.category, one.permanent) for one in mail.recipients]


def test_a_delivery_status_notification() -> None:
    mail = read(
        report(
            "Final-Recipient: rfc822; dana@example.com\nAction: failed\nStatus: 5.1.1\n"
            "Diagnostic-Code: smtp; 550 5.1.1 <dana@example.com>: no such user (in reply to RCPT TO command)\n"
        )
    )
    assert (mail.kind, mail.found_by) == (Kind.BOUNCE, "delivery status")
    assert facts(mail) == [("dana@example.com", "failed", "bad-mailbox", True)]
    assert (mail.recipients[0].status, mail.recipients[0].command) == ("5.1.1", "RCPT")
    assert mail.recipients[0].rule == 'words "no such {person}"'
    assert (mail.message_id, mail.trace) == ("<order.7@marom.example>", "t1-abc")
    assert (mail.envelope_id, mail.reporter) == ("E77", "mx.example.net")


def test_recipients_with_different_actions() -> None:
    mail = read(
        report(
            "Final-Recipient: rfc822; a@example.com\nAction: failed\nStatus: 5.2.2\n\n"
            "Final-Recipient: rfc822; b@example.com\nAction: delayed\nStatus: 4.4.1\n\n"
            "Final-Recipient: rfc822; c@example.com\nAction: relayed\nStatus: 2.0.0\n\n"
            "Final-Recipient: rfc822; d@example.com\nAction: expanded\nStatus: 2.0.0\n"
        )
    )
    assert facts(mail) == [
        ("a@example.com", "failed", "quota", True),
        ("b@example.com", "delayed", "network-error", False),
        ("c@example.com", "relayed", None, False),
        ("d@example.com", "expanded", None, False),
    ]


def test_the_original_recipient_is_whom_we_sent_to() -> None:
    mail = read(
        report("Original-Recipient: rfc822; dana@example.com\nFinal-Recipient: rfc822; x7@in.example\nAction: failed\n")
    )
    assert (mail.recipients[0].address, mail.recipients[0].final) == ("dana@example.com", "x7@in.example")


def test_what_fields_leave_out_the_words_say() -> None:
    fields = "Final-Recipient: rfc822; dana@example.com\nAction: failed\nStatus: 5.0.0\n"
    mail = read(report(fields, "<dana@example.com>: host mx said: 552 5.2.2\n    The mailbox is full"))
    assert facts(mail) == [("dana@example.com", "failed", "quota", True)]
    assert mail.recipients[0].status == "5.2.2"


def test_where_nothing_is_said_the_status_decides() -> None:
    mail = read(report("Final-Recipient: rfc822; dana@example.com\nAction: failed\nStatus: 5.1.1\n", ""))
    assert facts(mail) == [("dana@example.com", "failed", "bad-mailbox", True)]
    assert (mail.recipients[0].rule, mail.recipients[0].reply) == ("code x.1.1", "")


def test_a_reply_is_believed_before_the_status_that_a_mailer_made_of_it() -> None:
    fields = "Final-Recipient: rfc822; dana@example.com\nAction: failed\nStatus: 5.1.3\n"
    mail = read(
        report(fields + "Diagnostic-Code: smtp; 553 your address is on a blacklist, see http://dnsbl.example/\n")
    )
    assert facts(mail) == [("dana@example.com", "failed", "reputation-block", True)]


def test_an_address_that_failed_for_good_after_temporary_replies_is_condemned_and_a_delayed_one_is_not() -> None:
    fields = "Final-Recipient: rfc822; dana@example.com\nAction: {}\nStatus: 4.1.1\nDiagnostic-Code: smtp; 450 unknown user\n"
    assert facts(read(report(fields.format("failed")))) == [("dana@example.com", "failed", "bad-mailbox", True)]
    assert facts(read(report(fields.format("delayed")))) == [("dana@example.com", "delayed", "bad-mailbox", False)]


def test_what_is_said_of_the_sender_does_not_condemn_the_recipient() -> None:
    fields = "Final-Recipient: rfc822; dana@example.com\nAction: failed\nStatus: 5.0.0\n"
    mail = read(report(fields + "Diagnostic-Code: smtp; 550 Unknown user shop@marom.example\n"))
    assert [(one.category, one.rule[-18:]) for one in mail.recipients] == [("bad-sender", "said of the sender")]


@pytest.mark.parametrize(
    ("host", "category"),
    [
        ("Remote-MTA: dns; a.mail.protection.outlook.com", "rate-limited"),
        ("Remote-MTA: dns; mx.b.example", "policy-block"),
        ("X-Other: y", "policy-block"),
    ],
)
def test_codes_are_read_as_the_provider_that_refused_means_them(host: str, category: str) -> None:
    fields = f"Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.7.508\n{host}\n"
    text = report(fields + "Diagnostic-Code: smtp; 550 5.7.508 Access denied\n")
    assert [one.category for one in read(text).recipients] == [category]
    own = text.replace("dns; mx.example.net", "dns; b.outlook.com")
    assert [one.category for one in read(own).recipients] == [category if "Remote" in host else "rate-limited"]


def test_international_addresses() -> None:
    text = report("Final-Recipient: utf-8; דנה@example.com\nAction: failed\nStatus: 5.1.1\n").replace(
        "message/delivery-status", "message/global-delivery-status"
    )
    assert [one.address for one in read(text).recipients] == ["דנה@example.com"]
    coded = "".join(f"\\x{{{ord(letter):X}}}" for letter in "דנה")  # RFC 6533 3: where the way is not clean of 8 bits
    assert [one.address for one in read(text.replace("דנה", coded)).recipients] == ["דנה@example.com"]
    inner = text.partition("delivery-status\n\n")[2].partition("--=b\n")[0]
    wrapped = text.replace(
        f"delivery-status\n\n{inner}",
        f"delivery-status\nContent-Transfer-Encoding: base64\n\n{base64.encodebytes(inner.encode()).decode()}",
    )
    assert [one.address for one in read(wrapped).recipients] == ["דנה@example.com"]


def test_a_status_written_into_the_text() -> None:
    text = f"{HEAD}Subject: x\n\nNo luck.\nFinal-Recipient: rfc822; dana@example.com\nAction: failed\nStatus: 5.4.4\n"
    assert facts(read(text)) == [("dana@example.com", "failed", "dns-failure", True)]


def test_failed_recipients_in_the_header() -> None:
    text = f"""{HEAD}X-Failed-Recipients: dana@example.com,
  noa@example.com
Auto-Submitted: auto-replied
Subject: Mail delivery failed: returning message to sender

The following address(es) failed:

  dana@example.com
    host mx.example.com [192.0.2.1]
    SMTP error from remote mail server after RCPT TO:<dana@example.com>:
    550 unknown user
  noa@example.com
    retry timeout exceeded
"""
    mail = read(text)
    assert mail.found_by == "X-Failed-Recipients"
    assert facts(mail) == [
        ("dana@example.com", "failed", "bad-mailbox", True),
        ("noa@example.com", "failed", "expired", True),
    ]
    assert mail.recipients[0].command == "RCPT"


@pytest.mark.parametrize(
    ("words", "subject", "expected"),
    [
        (
            "I could not deliver to\n\n<dana@example.com>:\nnobody of that name here (#5.1.1)",
            "failure notice",
            ("failed", "bad-mailbox"),
        ),
        (
            "Your message to dana@example.com has not yet been delivered.\nYou need not do anything.",
            "Warning",
            ("delayed", "expired"),
        ),
        (
            "The message to:\n  dana@example.com\nwas successfully delivered.",
            "Successful Mail Delivery Report",
            ("delivered", None),
        ),
        (
            "Mail to dana@example.com was refused: 550 5.7.1 message content rejected",
            "Returned mail",
            ("failed", "spam-block"),
        ),
        (
            "Ihre Nachricht an dana@example.com konnte nicht zugestellt werden: Benutzer unbekannt",
            "Fehler",
            ("failed", "bad-mailbox"),
        ),
        ("Su mensaje para <dana@example.com> no pudo ser entregado: buzón lleno", "", ("failed", "quota")),
        (
            "Recipient: <dana@example.com>\nUser unknown\nReply to <MAILER-DAEMON@mx.example.net>",
            "x",
            ("failed", "bad-mailbox"),
        ),
        ("dana@example.com\nno words that anybody knows", "Returned mail", ("failed", "other")),
    ],
)
def test_reports_in_prose(words: str, subject: str, expected: tuple[str, str | None]) -> None:
    mail = read(prose(words, subject))
    assert mail.kind is Kind.BOUNCE
    assert [(one.address, one.action, one.category) for one in mail.recipients] == [("dana@example.com", *expected)]


def test_a_report_in_prose_that_names_nobody_says_why_all_the_same() -> None:
    head = "From: MAILER-DAEMON@mx.example\nSubject: Undelivered Mail Returned to Sender\n\n"
    mail = read(f"{head}Your message could not be delivered. The reason: user unknown\n")
    assert (mail.kind, mail.recipients) == (Kind.BOUNCE, ())
    assert mail.unnamed is not None
    assert (mail.unnamed.action, mail.unnamed.category, mail.unnamed.permanent) == ("failed", "bad-mailbox", True)
    vague = read(f"{head}Please see what is attached\n")
    assert (vague.recipients, vague.unnamed) == ((), None)


def test_a_report_in_prose_with_its_message_behind_a_mark() -> None:
    mail = read(
        prose(f"<dana@example.com>: user unknown\n\n--- Below this line is a copy of the message.\n\n{ORIGINAL}")
    )
    assert facts(mail) == [("dana@example.com", "failed", "bad-mailbox", True)]
    assert (mail.message_id, mail.trace) == ("<order.7@marom.example>", "t1-abc")


def test_the_subject_may_hold_the_only_reason() -> None:
    assert facts(read(prose("<dana@example.com>\n", "Returned mail: user unknown"))) == [
        ("dana@example.com", "failed", "bad-mailbox", True)
    ]


def test_a_bounce_whose_recipient_is_not_told_is_one_all_the_same() -> None:
    mail = read(report("Action: failed\nStatus: 5.1.1\n", "One or more recipients are unknown."))
    assert (mail.kind, mail.recipients) == (Kind.BOUNCE, ())
    assert mail.trace == "t1-abc"


def test_a_null_return_path_and_a_returned_message_make_a_report_of_an_unnamed_sender() -> None:
    text = f"""Return-Path: <>
From: no-reply@box.example
Subject: Mail
Content-Type: multipart/mixed; boundary=b

--b

Could not be delivered to: <dana@example.com>
As their mailbox is full.
--b
Content-Type: message/rfc822

{ORIGINAL}
--b--
"""
    assert facts(read(text)) == [("dana@example.com", "failed", "quota", True)]


def test_a_report_that_somebody_forwarded() -> None:
    text = (
        "From: noa@marom.example\nSubject: Fwd: Returned mail\nAuto-Submitted: no\n\nBegin forwarded message:\n"
        "> From: Mail Delivery Subsystem <MAILER-DAEMON>\n>\n> <dana@example.com>: user unknown\n"
    )
    assert facts(read(text)) == [("dana@example.com", "failed", "bad-mailbox", True)]


def test_a_filter_that_refused_by_disposition_notification() -> None:
    text = f"""{HEAD}Subject: Automatically rejected mail
Content-Type: multipart/report; report-type=disposition-notification; boundary=b

--b

Your message was automatically rejected:
Quota exceeded
--b
Content-Type: message/disposition-notification

Final-Recipient: rfc822; dana@example.com
Disposition: automatic-action/MDN-sent-automatically; deleted
--b--
"""
    assert facts(read(text)) == [("dana@example.com", "failed", "quota", True)]
    assert read(text.replace("; deleted", "; displayed")).recipients == ()


def complaint(extra: str) -> str:
    return f"""From: feedback@isp.example
To: fbl@marom.example
Subject: complaint
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b

This is an email abuse report.
--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: SomeLoop/1.0
Version: 1
{extra}
--b
Content-Type: message/rfc822

{ORIGINAL}
--b--
"""


def test_a_complaint() -> None:
    mail = read(complaint("Original-Rcpt-To: <dana@example.com>\nOriginal-Rcpt-To: noa@example.com"))
    assert (mail.kind, mail.feedback_type, mail.reporter) == (Kind.COMPLAINT, "abuse", "SomeLoop/1.0")
    assert facts(mail) == [("dana@example.com", "", None, False), ("noa@example.com", "", None, False)]
    assert mail.trace == "t1-abc"


@pytest.mark.parametrize("extra", ["", "Original-Rcpt-To: redacted"])
def test_a_redacted_complaint_leads_back_by_the_trace_only(extra: str) -> None:
    mail = read(complaint(extra))
    assert (mail.kind, mail.recipients, mail.trace) == (Kind.COMPLAINT, (), "t1-abc")


def test_the_return_path_of_what_came_back_leads_back_too() -> None:
    assert read(complaint("Original-Mail-From: <b-7@bounce.marom.example>")).return_path == "b-7@bounce.marom.example"
    noted = complaint("").replace("Received: from", "Return-Path: <b-8@bounce.marom.example>\nReceived: from")
    assert read(noted).return_path == "b-8@bounce.marom.example"
    assert read(complaint("Original-Mail-From: <>")).return_path == ""
    bounce = report(
        "Final-Recipient: rfc822; a@b.example\nAction: failed\n", original=f"Return-Path: <c@d>\n{ORIGINAL}"
    )
    assert read(bounce).return_path == "c@d"


@pytest.mark.parametrize("kind", ["text/rfc822-headers", "message/global-headers", "message/global", "message/rfc822"])
@pytest.mark.parametrize("encoding", ["quoted-printable", "base64"])
def test_what_came_back_may_be_encoded(kind: str, encoding: str) -> None:
    encode = base64.encodebytes if encoding == "base64" else quopri.encodestring
    original = ORIGINAL.replace("<order.7@", "<order=7@").replace("t1-abc", "t1=abc" + "f" * 80)
    text = report("Final-Recipient: rfc822; a@b.example\nAction: failed\n", original="HERE")
    text = text.replace("message/rfc822", f"{kind}\nContent-Transfer-Encoding: {encoding}")
    mail = read(text.replace("HERE", encode(original.encode()).decode()))
    assert (mail.message_id, mail.trace) == ("<order=7@marom.example>", "t1=abc" + "f" * 80)


def test_other_feedback_types() -> None:
    assert (
        read(complaint("").replace("Feedback-Type: abuse", "Feedback-Type: Auth-Failure")).feedback_type
        == "auth-failure"
    )
    assert read(complaint("").replace("Feedback-Type: abuse", "X: y")).feedback_type == "other"


def test_microsofts_complaint_names_the_recipient_above_the_message() -> None:
    text = f"""From: staff@hotmail.com
Subject: complaint about message from 192.0.2.1
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: message/rfc822

X-HmXmrOriginalRecipient: dana@example.com
{ORIGINAL}
--b--
"""
    mail = read(text)
    assert (mail.kind, [one.address for one in mail.recipients]) == (Kind.COMPLAINT, ["dana@example.com"])
    assert read(text.replace("X-Hm", "Y-Hm")).recipients == ()


def amazon(kind: str, event: object, enveloped: bool = False) -> str:
    told = json.dumps(
        {"notificationType": kind, kind.lower(): event, "mail": {"commonHeaders": {"messageId": "<7@m.example>"}}}
    )
    if enveloped:
        told = json.dumps({"Type": "Notification", "Message": told}, indent=1)
    return f"From: no-reply@sns.example\nSubject: Notification\n\n{told}\n\n--\nto unsubscribe write to x@y.example\n"


@pytest.mark.parametrize("enveloped", [False, True])
def test_notifications_of_amazon(enveloped: bool) -> None:
    one = {"emailAddress": "dana@example.com", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
    bounce = read(amazon("Bounce", {"bouncedRecipients": [one]}, enveloped))
    assert (facts(bounce), bounce.message_id) == (
        [("dana@example.com", "failed", "bad-mailbox", True)],
        "<7@m.example>",
    )
    assert facts(read(amazon("Delivery", {"recipients": ["dana@example.com"]}, enveloped)))[0][1] == "delivered"
    assert read(amazon("Complaint", {"complainedRecipients": [one]}, enveloped)).kind is Kind.COMPLAINT


@pytest.mark.parametrize("event", [None, 7, {}, {"bouncedRecipients": [7]}, {"bouncedRecipients": [{}]}])
def test_notifications_without_sense_are_none(event: object) -> None:
    assert read(amazon("Bounce", event)).kind is Kind.OTHER
    assert read(amazon("Bounce", {"bouncedRecipients": [{"emailAddress": "nobody"}]})).recipients == ()
    assert read('From: a@b.cc\n\n{"notificationType": ' + "[" * 20_000).kind is Kind.OTHER


@pytest.mark.parametrize(
    "text",
    [
        "From: dana@example.com\nSubject: Automatic reply: Your order\n\nI am away. Undelivered mail waits. Ask noa@example.com.",
        "From: dana@example.com\nAuto-Submitted: auto-replied (vacation)\nSubject: hi\n\nI cannot read this: 550",
        "From: dana@example.com\nX-Autoreply: yes\nSubject: hi\n\nnot here",
        "From: dana@example.com\nPrecedence: auto_reply\nSubject: hi\n\nnot here",
        "Return-Path: <>\nFrom: dana@example.com\nSubject: Out of office\n\nI could not be reached.\n\nnoa@example.com\n",
        "Return-Path: <>\nFrom: postmaster@x.example\nAuto-Submitted: auto-replied\nSubject: thanks\n\nNo such user? Ask a@b.cc",
    ],
)
def test_auto_replies_are_known_as_such(text: str) -> None:
    mail = read(text)
    assert (mail.kind, mail.recipients) == (Kind.AUTO_REPLY, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\r\n\r\n",
        "hello",
        "From: dana@example.com\nSubject: Lunch?\n\nI could not reach noa@example.com, user unknown :)\n",
        "From: dana@example.com\nSubject: Re: delivery failed\n\n<noa@example.com>: 550 no such user. ?\n",
        "From: shop@store.example\nSubject: Delivery failed\n\nYour parcel to dana@example.com was not delivered.\n",
        "From: dana@example.com\nSubject: order\nAuto-Submitted: auto-generated\n\nYour card was rejected, dana@example.com\n",
        "From: postmaster@example.com\nSubject: New policy\n\nWelcome to our postmaster page.\n",
        "From: postmaster@example.com\nSubject: Quotas\n\nThe mailbox dana@example.com is nearly full.\n",
        f"From: dana@example.com\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nsee <a@b.cc>\n--b\n"
        f"Content-Type: message/rfc822\n\n{ORIGINAL}\n--b--\n",
        "Return-Path: <>\nFrom: dana@example.com\nSubject: Read: your offer\n\nYour message was read.\n",
    ],
)
def test_ordinary_mail_is_no_bounce(text: str) -> None:
    mail = read(text)
    assert (mail.kind, mail.recipients) == (Kind.OTHER, ())


def test_what_the_returned_message_says_is_never_believed() -> None:
    inside = report("Final-Recipient: rfc822; noa@example.com\nAction: failed\nStatus: 5.1.1\n").replace(
        "=b", "=inside"
    )
    mail = read(report("Final-Recipient: rfc822; dana@example.com\nAction: failed\nStatus: 5.2.2\n", original=inside))
    assert [one.address for one in mail.recipients] == ["dana@example.com"]


def test_work_and_recipients_are_bounded() -> None:
    many = "".join(
        f"Final-Recipient: rfc822; u{n}@b.cc\nAction: failed\nStatus: 5.1.1\n\n" for n in range(3 * MAX_RECIPIENTS)
    )
    assert len(read(report(many)).recipients) == MAX_RECIPIENTS
    late = "x" * MAX_OCTETS + "\n<dana@example.com>: user unknown"
    assert read(prose(late)).recipients == ()


PIECES = st.sampled_from(
    [HEAD, "\n\n", "--=b\n", report(""), ORIGINAL, "Final-Recipient: ", "rfc822;", "a@b.cc", "Action: failed\n", "é",
     complaint(""), "\r", "X-Failed-Recipients: ", "Subject: failed\n",
     "Content-Type: message/feedback-report\n\n", "Content-Type: multipart/report; boundary==b\n",
     "=?utf-8?q?=FF?=", '{"notificationType": "Bounce"', "<", ">", "550 5.1.1 ", "Auto-Submitted: auto-replied\n"]
)  # fmt: skip


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=500), st.lists(PIECES, max_size=30).map(lambda some: "".join(some).encode())))
def test_no_bytes_make_it_raise(content: bytes) -> None:
    mail = read_mail(content)
    assert mail.kind in Kind
    assert all(one.address for one in mail.recipients)
    assert mail.kind in (Kind.BOUNCE, Kind.COMPLAINT) or not mail.recipients
    json.dumps([one.reply for one in mail.recipients])


ASLEEP = Rulings(
    [
        Ruling(Category.INACTIVE_MAILBOX, "b:1", sites={"walla"}, texts=frozenset({0})),
        Ruling(Category.POLICY_BLOCK, "b:2", codes=frozenset({"5.7.99"})),
    ],
    Matcher([parse("box is asleep", words=True)]).matches,
)
DIAGNOSED = "Final-Recipient: rfc822; lea@example.com\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 {}\n"


def test_the_admins_rules_hold_for_what_a_report_tells() -> None:
    (one,) = read(report(DIAGNOSED.format("Box is asleep"))).recipients
    assert (one.category, one.rule) == (Category.OTHER, "nothing known")
    judged = ruled(one, ASLEEP, "walla")
    assert (judged.category, judged.permanent, judged.rule) == (Category.INACTIVE_MAILBOX, True, "b:1")
    assert judged.reply == "550 5.0.0 Box is asleep"
    assert ruled(one, ASLEEP, "google") == one
    assert ruled(one, NO_RULINGS, "walla") == one


def test_they_see_each_text_that_may_be_the_reply_and_the_bare_status() -> None:
    (one,) = read(report(DIAGNOSED.format("Box is asleep"), words="No such user here: lea@example.com")).recipients
    assert one.category is Category.BAD_MAILBOX, "the clearest words win"
    assert ruled(one, ASLEEP, "walla").rule == "b:1", "unless the admin knows better"
    (bare,) = read(report("Final-Recipient: rfc822; lea@example.com\nAction: failed\nStatus: 5.7.99", "")).recipients
    assert (ruled(bare, ASLEEP, "").rule, ruled(bare, ASLEEP, "").category) == ("b:2", Category.POLICY_BLOCK)
    delayed = read(report(DIAGNOSED.format("Box is asleep").replace("failed", "delayed"))).recipients[0]
    assert (ruled(delayed, ASLEEP, "walla").rule, ruled(delayed, ASLEEP, "walla").permanent) == ("b:1", False)
    fine = Recipient("lea@example.com", action="delivered", texts=("box is asleep",))
    assert ruled(fine, ASLEEP, "walla") == fine, "what did not fail means nothing"


def test_of_several_recipients_the_words_for_people_name_no_reason_where_each_has_its_reply() -> None:
    vague = "Final-Recipient: rfc822; {}\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 odd\n"
    fields = vague.format("lea@example.com") + "\n" + vague.format("noa@example.com")
    found = read(report(fields, words="lea@example.com\n  Mailbox full"))
    assert [(one.category, one.texts) for one in found.recipients] == [
        ("quota", ("550 odd", "lea@example.com Mailbox full")),
        ("quota", ("550 odd", "lea@example.com Mailbox full")),
    ], "what is said of all may be said of each, and is no suppression"
