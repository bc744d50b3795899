"""Delivery status by field: RFC 3464, RFC 6533, and what mailers make of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.status import Told, address_of, addresses, blocks, first_address, recipients, status_of, typed

TEXT = """Reporting-MTA: dns; mx.example.net
Original-Envelope-Id: QQ314159

Original-Recipient: rfc822;dana@example.com
Final-Recipient: rfc822; box-7@inside.example.com
Action: failed
Status: 5.1.1 (no such mailbox)
Diagnostic-Code: smtp; 550 5.1.1
   no such mailbox

Final-Recipient: rfc822; <noa@example.com>
Action: delayed
Status: 4.4.1
"""


def test_recipients_of_a_delivery_status() -> None:
    groups = blocks(TEXT)
    assert groups[0]["original-envelope-id"] == "QQ314159"
    assert list(recipients(groups)) == [
        Told("dana@example.com", "box-7@inside.example.com", "failed", "5.1.1", "550 5.1.1 no such mailbox"),
        Told("noa@example.com", "", "delayed", "4.4.1", ""),
    ]


def test_recipients_without_a_blank_line_between_them() -> None:
    text = "Final-Recipient: rfc822; a@b.cc\nAction: failed\nFinal-Recipient: rfc822; d@e.ff\nAction: relayed\n"
    assert [(told.address, told.action) for told in recipients(blocks(text))] == [
        ("a@b.cc", "failed"),
        ("d@e.ff", "relayed"),
    ]


@pytest.mark.parametrize(
    ("action", "status", "expected"),
    [
        ("Failed", "5.1.1", "failed"),
        ("failed (permanent)", "", "failed"),
        ("failure", "4.0.0", "failed"),
        ("delayed", "5.0.0", "delayed"),
        ("expanded", "2.0.0", "expanded"),
        ("", "2.0.0", "delivered"),
        ("", "4.4.1", "delayed"),
        ("what", "", "failed"),
    ],
)
def test_the_action_or_else_the_class_of_the_status(action: str, status: str, expected: str) -> None:
    text = f"Final-Recipient: rfc822; a@b.cc\nAction: {action}\nStatus: {status}\n"
    assert next(recipients(blocks(text))).action == expected


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; a@b.cc", "a@b.cc"),
        ("RFC822;<a@b.cc>", "a@b.cc"),
        ("a@b.cc", "a@b.cc"),
        ("rfc822; a@b.cc (and a comment)", "a@b.cc"),
        (r"utf-8; \x{E9}\x{5E8}@b.cc", "ér@b.cc".replace("r", "ר")),
        (r"utf-8; \x{D800}\x{110000}a@b.cc", "??a@b.cc"),
        ('rfc822; "a..b"@b.cc', '"a..b"@b.cc'),
        ("rfc822; a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("rfc822; a(b)@[x", "a(b)@[x"),
        ("unknown; nobody", ""),
        ("x400; /PN=x/@", ""),
        ("", ""),
    ],
)
def test_addresses_of_recipient_fields(value: str, address: str) -> None:
    assert address_of(value) == address


def test_odds_and_ends() -> None:
    assert typed("smtp; 550 no; really") == "550 no; really"
    assert typed("550 no; really") == "550 no; really"
    assert status_of("5 .1.1") == "5.1.1"
    assert status_of("see 192.5.1.1") == ""
    assert status_of("(#5.1.1)") == "5.1.1"
    assert first_address("write to a@b.cc.") == "a@b.cc"
    assert addresses("no one") == []
    assert addresses("<a@b.cc> or d@e.ff") == [(1, 7, "a@b.cc"), (12, 18, "d@e.ff")]


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    for told in recipients(blocks("Final-Recipient: " + text + "\nAction:" + text)):
        assert told.address
    assert isinstance(address_of(text), str)
