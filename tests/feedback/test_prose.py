"""Reports in prose: where an address stands decides whether it is a recipient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.prose import MAX_LINES, MAX_NAMED, MAX_REASON, human, named

OWN = frozenset({"shop@marom.example"})


def people(text: str) -> list[str]:
    return [one.address for one in named(human(text)[0], OWN)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("These failed:\n\n  dana@example.com\n    550 no such user\n", ["dana@example.com"]),
        ("<dana@example.com>:\nnobody here\n\n<noa@example.com>:\nfull\n", ["dana@example.com", "noa@example.com"]),
        ("Recipient: [SMTP:dana@example.com]\nReason: no\n", ["dana@example.com"]),
        ("Unable to deliver message to <dana@example.com> (and others)", ["dana@example.com"]),
        ("The following failed:\n   * dana@example.com\n", ["dana@example.com"]),
        ('Unknown user: "dana@example.com"', ["dana@example.com"]),
        ("Your message to dana@example.com was not delivered.", ["dana@example.com"]),
        ("The mailbox dana@example.com is full.", ["dana@example.com"]),
        ("undeliverable to\ndana@example.com and so on", ["dana@example.com"]),
        ("  dana@example.com <mailto:dana@example.com>\n no", ["dana@example.com"]),
        ("  box@inside.example.com\n    (generated from dana@example.com)\n    no", ["dana@example.com"]),
        ("  an address of ours\n    (generated from dana@example.com)\n", ["dana@example.com"]),
        ("It failed.\nTo: dana@example.com\nSubject: hi\n", ["dana@example.com"]),
        # A list of recipients is more than a word about one.
        ("Your message to list@example.com failed for\n\ndana@example.com\n", ["dana@example.com"]),
        # Those who wrote, sent, help or are to be asked are nobody's recipients.
        ("From: dana@example.com\nMAIL FROM:<dana@example.com>\nMessage-ID: <7@example.com>", []),
        ("For further assistance, please send mail to <postmaster@example.com>", []),
        ("Hello dana@example.com,\nyour mail failed", []),
        ("contact help@example.com", []),
        ("if it fails, and dana@example.com was meant,\nnoa@example.com fails, try lea@example.com", []),
        ("dana.example.com", []),
        # Whom the report was sent to sent the message; in a list of recipients he may still be one.
        ("your message to shop@marom.example failed", []),
        ("<shop@marom.example>: no such user", ["shop@marom.example"]),
        ("<shop@marom.example>:\n<dana@example.com>: no such user", ["dana@example.com"]),
        ("<Dana@example.com>: no\n<dana@EXAMPLE.com>: no", ["Dana@example.com"]),
    ],
)
def test_whom_a_text_names(text: str, expected: list[str]) -> None:
    assert people(text) == expected


def test_the_reason_stands_behind_or_below_the_address() -> None:
    text = "<dana@example.com>: host mx said: 550\n    mailbox of dana@example.com is full\n\n<noa@example.com>:\n552 too big\n"
    dana, noa = named(human(text)[0], OWN)
    assert dana.reason == "host mx said: 550 mailbox of dana@example.com is full"
    assert noa.reason == "552 too big"


@pytest.mark.parametrize("own_words", ["Remote protocol error", "Service unavailable"])
def test_where_sendmail_has_no_words_of_its_own_the_reply_above_counts(own_words: str) -> None:
    session = ">>> MAIL From:<shop@marom.example>\n<<< 554 we take nothing from 192.0.2.1\n"
    (one,) = named(human(f"{session}554 <dana@example.com>... {own_words}\n")[0], OWN)
    assert (one.address, one.reason) == ("dana@example.com", "554 we take nothing from 192.0.2.1")
    (other,) = named(human(f"{session}550 <dana@example.com>... User unknown\n")[0], OWN)
    assert other.reason.endswith("User unknown")


def test_an_address_named_twice_has_both_reasons() -> None:
    dana, noa = named(human("<dana@example.com>: one\n<noa@example.com>: two\n<dana@example.com>: three")[0], OWN)
    assert (dana.reason, noa.reason) == ("one three", "two")


@pytest.mark.parametrize(
    "mark",
    [
        "--- Below this line is a copy of the message.",
        "------ This is a copy of your message, including all the headers. ------",
        "----- Original message -----",
        "Original message headers:",
        "--- The header of the original message is following. ---",
        "   ----- Unsent message follows -----",
        "|------------------------- Message text follows: ------------------------|",
        "The first 50 lines of your original message follow:",
        "Received: from a by b; Thu, 1 Jan 2026 10:00:00 +0000",
        "Return-Path: <shop@marom.example>",
    ],
)
def test_nothing_is_taken_from_behind_the_mark_of_the_returned_message(mark: str) -> None:
    text = f"It failed:\n\n<dana@example.com>: no such user\n\n{mark}\n\n<noa@example.com>: hi\nRecipient: lea@example.com\n"
    assert people(text) == ["dana@example.com"]
    assert human(text)[1].startswith(mark)


def test_the_message_spoken_of_in_a_sentence_is_no_mark() -> None:
    assert human("The original message was received at noon\nYour message was not delivered\nx")[1] == ""


def test_work_is_bounded() -> None:
    lines, _ = human("<a@b.cc>: no\n" * 10 * MAX_LINES)
    assert len(lines) == MAX_LINES
    assert len(named([f"<u{n}@example.com>: no" for n in range(MAX_LINES)], OWN)) == MAX_NAMED
    assert len(named(["user " + "a@b.cc, user " * 50], OWN)) == 1
    assert len(named(["<a@b.cc>: " + "x" * 9999], OWN)[0].reason) == MAX_REASON


@given(
    st.lists(
        st.sampled_from(["<a@b.cc>", "a@b.cc", ":", " ", "\n", "to", "user", "--", "From:", "(generated from", "é"]),
        max_size=60,
    )
)
def test_any_text_names_only_addresses_that_stand_in_it(words: list[str]) -> None:
    text = "".join(words)
    assert all(address in text for address in people(text))
