"""Delivery status notifications, read back by Python's email package and by a strict reader of this file's own."""

import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.consequences import understand
from relay.feedback.reports import MAX_HEADER, MAX_LINE, report
from relay.message import Delivery, MailClass, Message
from relay.outcome import Outcome, Reply

NOW = 1_795_262_731_104
HEAD = b"X-Postlane-Trace: 7f\r\nReceived: from app by relay\r\n"
CONTENT = b"From: shop@shop.example\r\nTo: dana@rcpt.example\r\nSubject: Order 77\r\n\r\nThank you\r\n"
REFUSED = Outcome(Reply(550, "5.1.1", "No such user"), "RCPT", mx="mx1.rcpt.example")


def delivery(**changes: object) -> Delivery:
    """A delivery to dana; names of Message go to the message, the others to the delivery."""
    facts: dict[str, object] = {
        "id": "01kaj2m8q4x7ab00",
        "accepted_at": NOW - 60_000,
        "credential": "shop",
        "brand": "",
        "stream": "order",
        "mail_class": MailClass.TRANSACTIONAL,
        "author": "shop@shop.example",
        "message_id": "<77@shop.example>",
        "subject": "Order 77",
        "size": len(CONTENT),
    }
    names = Message.__dataclass_fields__
    facts |= {name: value for name, value in changes.items() if name in names}
    message = Message(**facts)  # type: ignore[arg-type]
    own: dict[str, object] = {
        "recipient": "dana@rcpt.example",
        "domain": "rcpt.example",
        "site": "rcpt.example",
        "sender": "bounces@shop.example",
        "mail_from": "bounces@shop.example",
        "head": HEAD,
    }
    own |= {name: value for name, value in changes.items() if name not in names}
    return Delivery(message=message, index=0, **own)  # type: ignore[arg-type]


def write(action: str = "failed", *, outcome: Outcome = REFUSED, content: bytes = CONTENT, **changes: object) -> bytes:
    times = {"again": NOW + 600_000, "until": NOW + 86_400_000} if action == "delayed" else {}
    about = delivery(**changes)
    named = replace(outcome)
    if not named.category:
        understand(named, about.site)
    return report(
        action, about, content, named, now=NOW, hostname="relay.example", identifier="01kaj2report0000", **times
    )


def parse(letter: bytes) -> EmailMessage:
    parsed = message_from_bytes(letter, policy=policy.SMTP)
    assert isinstance(parsed, EmailMessage)
    return parsed


def parts(letter: bytes) -> list[tuple[dict[str, str], bytes]]:
    """(header, body) of each part, split at the boundary by hand, as a strict reader would."""
    boundary = re.search(rb'boundary="([^"]+)"', letter)
    assert boundary
    pieces = letter.split(b"--" + boundary[1])
    assert pieces[-1] == b"--\r\n"
    found = []
    for piece in pieces[1:-1]:
        header, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found.append((fields(header.decode()), body.removesuffix(b"\r\n")))
    return found


def fields(block: str) -> dict[str, str]:
    """One block of header fields, unfolded; a line that is no field, or a field given twice, fails."""
    unfolded = re.sub(r"\r\n[ \t]", " ", block)
    found: dict[str, str] = {}
    for line in unfolded.removesuffix("\r\n").split("\r\n"):
        name, colon, value = line.partition(":")
        assert colon, line
        assert re.fullmatch(r"[A-Za-z-]+", name), line
        assert name not in found, name
        found[name] = value.strip()
    return found


def status(letter: bytes) -> tuple[dict[str, str], dict[str, str]]:
    message, recipient = parts(letter)[1][1].decode().split("\r\n\r\n")
    return fields(message), fields(recipient)


def words(letter: bytes) -> str:
    part = next(parse(letter).iter_parts())
    assert isinstance(part, EmailMessage)
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_failure_says_what_happened_to_people_and_programs() -> None:
    letter = write()
    parsed = parse(letter)
    assert parsed["From"] == "Mail Delivery System <MAILER-DAEMON@relay.example>"
    assert parsed["To"] == "bounces@shop.example"
    assert parsed["Subject"] == "Your message could not be delivered: Order 77"
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert parsed["Message-ID"] == "<01kaj2report0000@relay.example>"
    assert parsed["In-Reply-To"] == parsed["References"] == "<77@shop.example>"
    assert parsed["Date"].datetime.timestamp() == NOW // 1000
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    assert not parsed.defects
    assert [p.get_content_type() for p in parsed.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    text = words(letter)
    assert "dana@rcpt.example" in text
    assert "mx1.rcpt.example said\n  550 5.1.1 No such user" in text
    assert "does not exist" in text
    assert "Check the address" in text
    about_message, about_recipient = status(letter)
    assert about_message == {"Reporting-MTA": "dns; relay.example", "Arrival-Date": "Sat, 21 Nov 2026 12:04:31 +0000"}
    assert about_recipient == {
        "Final-Recipient": "rfc822; dana@rcpt.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx1.rcpt.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user",
        "Last-Attempt-Date": "Sat, 21 Nov 2026 12:05:31 +0000",
        "Final-Log-ID": "01kaj2m8q4x7ab00",
    }


def test_what_was_withheld_is_no_server_s_fault() -> None:
    ours = Outcome(Reply(550, "5.4.7", "Not sent: valid_for of stream order ended"), "STALE", internal=True)
    letter = write(outcome=ours)
    said = " ".join(words(letter).split())
    assert "it was not delivered, and it will not be tried again. To:" in said
    assert "which its sender had set, was over before it could be delivered" in said
    assert "Send a new one, if it still matters." in said
    _, recipient = status(letter)
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.4.7")
    assert recipient["Diagnostic-Code"] == "x-postlane; 550 5.4.7 Not sent: valid_for of stream order ended"
    assert "Last-Attempt-Date" not in recipient
    assert "Last-Attempt-Date" in status(write())[1]


def test_a_delay_says_that_nothing_need_be_done_and_until_when() -> None:
    letter = write("delayed", outcome=Outcome(Reply(451, "", "busy"), "RCPT", mx="mx1.rcpt.example"))
    _, recipient = status(letter)
    assert (recipient["Action"], recipient["Status"]) == ("delayed", "4.0.0")
    assert recipient["Will-Retry-Until"] == "Sun, 22 Nov 2026 12:05:31 +0000"
    text = " ".join(words(letter).split())
    assert "next at Sat, 21 Nov 2026 12:15:31 +0000" in text
    assert "What you can do" not in text


def test_a_hand_over_to_a_host_without_dsn_is_relayed_not_delivered() -> None:
    letter = write(
        "relayed", outcome=Outcome(Reply(250, "", "OK"), "END", mx="mx1.rcpt.example"), dsn="full", ret="FULL"
    )
    _, recipient = status(letter)
    assert (recipient["Action"], recipient["Status"]) == ("relayed", "2.0.0")
    assert parts(letter)[2][0]["Content-Type"] == "text/rfc822-headers"  # RFC 3461 4.3: only failures return the whole
    assert "What happened" not in words(letter)


def test_our_own_words_are_not_put_into_the_remotes_mouth() -> None:
    late = Outcome(Reply(550, "5.4.7", "Not delivered in time"), "RCPT", mx="mx1.rcpt.example", internal=True)
    letter = write(outcome=late)
    _, recipient = status(letter)
    assert recipient["Diagnostic-Code"] == "x-postlane; 550 5.4.7 Not delivered in time"
    assert "Remote-MTA" not in recipient
    assert "We noted\n" in words(letter)


def test_envid_and_orcpt_come_back_decoded() -> None:
    message, recipient = status(write(envid="QQ314159+2B1", orcpt="rfc822;Dana+2BShop@old.example"))
    assert message["Original-Envelope-Id"] == "QQ314159+1"
    assert recipient["Original-Recipient"] == "rfc822; Dana+Shop@old.example"
    assert recipient["Final-Recipient"] == "rfc822; dana@rcpt.example"


def test_an_orcpt_without_type_is_left_out() -> None:
    assert "Original-Recipient" not in status(write(orcpt="nonsense"))[1]


@pytest.mark.parametrize(
    ("dsn", "ret", "whole"),
    [
        ("full", "", True),
        ("full", "FULL", True),
        ("full", "HDRS", False),
        ("headers", "", False),
        ("headers", "FULL", False),
    ],
)
def test_ret_may_ask_for_less_than_the_credential_allows_never_for_more(dsn: str, ret: str, whole: bool) -> None:
    header, body = parts(write(dsn=dsn, ret=ret))[2]
    assert header["Content-Type"] == ("message/rfc822" if whole else "text/rfc822-headers")
    assert body == (HEAD + CONTENT if whole else (HEAD + CONTENT).partition(b"\r\n\r\n")[0] + b"\r\n")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(CONTENT + b"x" * 900 + b"\r\n" + b"long line\r\n" * 100_000, id="over a megabyte"),
        pytest.param(CONTENT + b"x" * (MAX_LINE + 1) + b"\r\n", id="over-long line"),
        pytest.param(CONTENT + b"a\0b\r\n", id="NUL"),
        pytest.param(CONTENT + b"a\nb\r\n", id="bare LF"),
        pytest.param(CONTENT + b"a\rb\r\n", id="bare CR"),
        pytest.param(b"Subject: \xe9t\xe9\r\n" + CONTENT, id="header in an unknown charset"),
    ],
)
def test_what_cannot_be_returned_whole_is_returned_as_its_header(content: bytes) -> None:
    header, body = parts(write(dsn="full", content=content))[2]
    assert header["Content-Type"] == "text/rfc822-headers"
    assert body.isascii()
    assert body.startswith(HEAD)


def test_a_whole_message_keeps_its_octets() -> None:
    content = CONTENT + "Grüße\r\n".encode()
    header, body = parts(write(dsn="full", content=content))[2]
    assert header == {"Content-Type": "message/rfc822", "Content-Transfer-Encoding": "8bit"}
    assert body == HEAD + content


def test_a_header_of_any_size_is_bounded_in_total_and_in_each_line() -> None:
    content = b"X-Long: " + b"x" * 5000 + b"\r\n" + b"X-Many: " + b"y" * 60 + b"\r\n"
    _, body = parts(write(content=content * 5000))[2]
    assert len(body) <= MAX_HEADER
    assert max(map(len, body.split(b"\r\n"))) == MAX_LINE


def test_a_utf8_header_goes_as_global_headers() -> None:
    content = "Subject: שלום\r\n\r\nx\r\n".encode()
    header, body = parts(write(content=content))[2]
    assert header == {"Content-Type": "message/global-headers", "Content-Transfer-Encoding": "8bit"}
    assert "שלום".encode() in body
    assert parts(write(content=content, dsn="full"))[2][0]["Content-Type"] == "message/global"


def test_a_utf8_mailbox_takes_the_global_form() -> None:
    letter = write(recipient="דנה@rcpt.example", orcpt="utf-8;\\x{5D3}@rcpt.example")
    assert parse(letter).get_param("report-type") == "global-delivery-status"
    assert parts(letter)[1][0]["Content-Type"].startswith("message/global-delivery-status")
    _, recipient = status(letter)
    assert recipient["Final-Recipient"] == "utf-8; דנה@rcpt.example"
    assert recipient["Original-Recipient"] == "utf-8; ד@rcpt.example"
    assert "דנה@rcpt.example" in words(letter)


def test_an_orcpt_beyond_unicode_is_no_fault() -> None:
    assert status(write(orcpt="utf-8;\\x{FFFFFF}@x"))[1]["Original-Recipient"] == "utf-8; ?@x"


def test_a_domain_of_other_scripts_goes_as_a_label() -> None:
    letter = write(recipient="dana@bücher.example", domain="xn--bcher-kva.example", sender="shop@bücher.example")
    assert status(letter)[1]["Final-Recipient"] == "rfc822; dana@xn--bcher-kva.example"
    assert parse(letter)["To"] == "shop@xn--bcher-kva.example"
    assert letter.isascii()


@pytest.mark.parametrize("sender", ["קניות@shop.example", "shop@" + "ü" * 70 + ".example"])
def test_a_sender_that_has_no_faithful_ascii_form_stays_as_it_is(sender: str) -> None:
    assert f"To: <{sender}>".encode() in write(sender=sender).replace(b"\r\n ", b" ")


def test_a_subject_in_other_scripts_is_encoded() -> None:
    letter = write(subject="הזמנה 77 " * 10)
    assert letter.isascii()
    assert "הזמנה 77" in parse(letter)["Subject"]


def test_the_null_sender_is_never_reported_to() -> None:
    with pytest.raises(ValueError, match="never reported"):
        write(sender="")


def test_a_message_cannot_foresee_the_boundary() -> None:
    first = re.search(rb'boundary="([^"]+)"', write())
    assert first
    forged = b"Subject: x\r\n--" + first[1] + b"\r\nContent-Type: text/html\r\n\r\n--" + first[1] + b"--\r\n"
    letter = write(content=forged, dsn="full")
    assert len(parts(letter)) == 3
    assert parts(letter)[2][1] == HEAD + forged


HOSTILE = st.one_of(
    st.text(max_size=400),
    st.sampled_from(["\r\nBcc: all@x", "a\nb\r\n\r\n", "\x00\x1b[2J", "\u2028X: y", "x" * 5000, "\udc80", "é\u202e"]),
)


@given(st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE), st.sampled_from(["failed", "delayed", "relayed"]))
def test_nothing_quoted_can_inject(quoted: tuple[str, str, str, str, str], action: str) -> None:
    text, address, orcpt, envid, subject = quoted
    outcome = Outcome(Reply(550, text[:9], text), "RCPT", mx=text)
    kinds = {"rfc822;" + orcpt, "utf-8;" + orcpt, orcpt}
    for kind in kinds:
        letter = write(
            action,
            outcome=outcome,
            recipient=address,
            sender=address or "x",
            orcpt=kind,
            envid=envid,
            subject=subject,
            message_id=subject,
        )
        assert letter.count(b"\r") == letter.count(b"\n") == letter.count(b"\r\n")
        assert b"\0" not in letter
        assert max(map(len, letter.split(b"\r\n"))) <= MAX_LINE
        expected = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
        header = fields(letter.partition(b"\r\n\r\n")[0].decode())
        assert expected <= set(header) <= expected | {"In-Reply-To", "References"}
        assert len(parts(letter)) == 3
        message, recipient = status(letter)
        assert set(message) <= {"Reporting-MTA", "Original-Envelope-Id", "Arrival-Date"}
        assert recipient["Action"] == action
        assert "Bcc" not in recipient


def test_a_blank_line_inside_the_header_does_not_end_it() -> None:
    _, body = parts(write(content=b"Subject: a\r\n \r\nFrom: x@y.example\r\n\r\n"))[2]
    assert body == HEAD + b"Subject: a\r\nFrom: x@y.example\r\n"
