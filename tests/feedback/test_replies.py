"""What replies mean: enhanced codes, words, and codes with their command, in that order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.codes import BASIC, COMMANDS, FIRM, SUBJECTS, WEAK
from relay.feedback.replies import WORDS, classify, diagnose
from relay.feedback.taxonomy import MEANINGS, Category
from relay.outcome import Reply


def category(code: int, enhanced: str, text: str, command: str = "RCPT", provider: str = "") -> str:
    return classify(Reply(code, enhanced, text), command, provider)[0]


def permanent(code: int, enhanced: str, text: str, command: str = "RCPT") -> bool:
    return classify(Reply(code, enhanced, text), command)[1]


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "command", "expected"),
    [
        (550, "5.1.1", "no such user (simulated)", "RCPT", "bad-mailbox"),
        (550, "", "5.1.1 There is nobody of that name", "RCPT", "bad-mailbox"),
        (550, "", "Sorry, nobody here (#5.1.1)", "RCPT", "bad-mailbox"),
        (550, "5.7.1", "User unknown", "RCPT", "bad-mailbox"),
        (550, "5.1.10", "Recipient address has a null MX", "DNS", "bad-domain"),
        (556, "", "we said no", "RCPT", "bad-domain"),
        (550, "5.2.1", "The mailbox is disabled", "RCPT", "inactive-mailbox"),
        (550, "5.2.1", "too many messages for this user today", "RCPT", "rate-limited"),
        (452, "4.2.2", "mailbox full (simulated)", "RCPT", "quota"),
        (552, "5.3.4", "Message too big for system", "MAIL", "message-too-large"),
        (451, "4.7.1", "Greylisted, try again later (simulated)", "END", "greylisted"),
        (550, "5.7.1", "Blocked: poor reputation of the sending address (simulated)", "END", "reputation-block"),
        (550, "5.1.1", "Your IP 192.0.2.7 was found on a DNSBL", "RCPT", "reputation-block"),
        (550, "5.7.26", "checks did not pass", "END", "auth-failure"),
        (550, "5.7.1", "DMARC policy of the From domain forbids this", "END", "auth-failure"),
        (554, "5.7.1", "Relay access denied", "RCPT", "relay-denied"),
        (554, "5.7.1", "Message content rejected", "END", "spam-block"),
        (550, "5.1.8", "Sender domain is missing", "MAIL", "bad-sender"),
        (550, "", "Sender verification failed", "RCPT", "bad-sender"),
        (554, "5.6.0", "The message contains a virus", "END", "content-error"),
        (554, "5.6.0", "no", "END", "content-error"),
        (530, "5.7.0", "Must issue a STARTTLS command first", "MAIL", "tls-failure"),
        (451, "4.4.3", "the name server gave no answer", "DNS", "dns-failure"),
        (451, "4.4.1", "no answer from 192.0.2.1", "CONNECT", "network-error"),
        (550, "5.4.7", "Not delivered in time; the last answer was: 451 too many connections", "RCPT", "expired"),
        (421, "4.3.2", "shutting down", "MAIL", "remote-error"),
        (501, "5.5.4", "bad argument", "MAIL", "protocol-error"),
        (550, "5.7.1", "we would rather not", "END", "policy-block"),
        (550, "", "The recipient does not accept mail from you: rejected by the recipient", "END", "recipient-refused"),
        (550, "", "address is on the suppression list", "RCPT", "suppressed"),
    ],
)
def test_clear_replies(code: int, enhanced: str, text: str, command: str, expected: str) -> None:
    assert category(code, enhanced, text, command) == expected


def test_552_is_a_full_mailbox_at_rcpt_and_the_size_after_data() -> None:
    assert classify(Reply(552, "", "no"), "RCPT") == ("quota", False)
    assert classify(Reply(552, "", "no"), "END") == ("message-too-large", True)
    assert classify(Reply(552, "", "no"), "MAIL") == ("message-too-large", True)


@pytest.mark.parametrize(
    ("code", "command", "expected"),
    [
        (452, "RCPT", "rate-limited"),
        (452, "DATA", "remote-error"),
        (454, "STARTTLS", "tls-failure"),
        (454, "AUTH", "auth-failure"),
        (553, "MAIL", "bad-sender"),
        (554, "CONNECT", "reputation-block"),
        (550, "RCPT", "other"),
        (553, "RCPT", "other"),
        (450, "RCPT", "other"),
    ],
)
def test_bare_codes_need_their_command_and_never_condemn(code: int, command: str, expected: str) -> None:
    assert category(code, "", "", command) == expected


def test_a_code_with_a_providers_own_meaning() -> None:
    assert category(550, "5.7.30", "x", provider="google") == "auth-failure"
    assert category(550, "5.7.30", "x") == "tls-failure"


def test_permanent_needs_both_codes_to_say_so() -> None:
    assert permanent(550, "5.1.1", "")
    assert permanent(550, "", "")
    assert not permanent(450, "5.1.1", "")
    assert not permanent(550, "4.2.2", "")


def test_an_ip_address_is_no_enhanced_code() -> None:
    assert category(550, "", "go away 5.1.1.7", "END") == "other"
    assert category(550, "", "go away 192.5.1.1", "END") == "other"


def test_every_category_is_reached_by_some_rule() -> None:
    reached = {*FIRM.values(), *WEAK.values(), *SUBJECTS.values(), *BASIC.values(), *COMMANDS.values(), Category.OTHER}
    reached |= {category for category, _ in WORDS.ranked}
    assert reached == set(Category)
    assert not set(FIRM) & set(WEAK)


@pytest.mark.parametrize(
    ("reply", "command", "rule"),
    [
        (Reply(550, "5.2.2", "no"), "RCPT", "code x.2.2"),
        (Reply(550, "5.7.30", "gone - gsmtp"), "END", "code x.7.30 of google"),
        (Reply(550, "5.1.1", "no"), "RCPT", "code x.1.1"),
        (Reply(550, "5.7.1", "we would rather not"), "END", "codes x.7.*"),
        (Reply(550, "", "blocked"), "RCPT", 'vague words "blocked"'),
        (Reply(550, "", "User is unknown"), "RCPT", 'words "{user} .. {absent}"'),
        (Reply(550, "", "mailbox 已满"), "RCPT", 'words "已满"'),
        (Reply(550, "", "é"), "RCPT", "nothing known"),
        (Reply(552, "", "no"), "RCPT", "552 to RCPT"),
        (Reply(550, "", "no"), "CONNECT", "550 to CONNECT"),
        (Reply(450, "", "no"), "STARTTLS", "failed at STARTTLS"),
        (Reply(556, "", "no"), "RCPT", "code 556"),
    ],
)
def test_says_which_rule_decided(reply: Reply, command: str, rule: str) -> None:
    assert diagnose(reply, command).rule == rule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mailbox for jan@example.com is currently overfull", "quota"),
        ("Le compte du destinataire est desactive", "inactive-mailbox"),
        ("Empfänger ist hier unbekannt", "bad-mailbox"),
        ("Пользователь не найден", "bad-mailbox"),
        ("SC-002 mail from this block looks like junk", "spam-block"),
        ("Your host [192.0.2.9] has been denied (S3150)", "reputation-block"),
        ("[TSS09] retry later", "reputation-block"),
        ("see https://support.google.com/mail/?p=NoSuchUser x12 - gsmtp", "bad-mailbox"),
        ("Command output: procmail: cannot open inbox, no such user", "remote-error"),
        ("Host not found, try again", "dns-failure"),
        ("Host mail.example.com not found", "bad-domain"),
        ("message size exceeds the limit", "message-too-large"),
        ("too many connections from your host", "rate-limited"),
        ("5.4.1 Recipient address rejected: Access denied. AS(7)", "bad-mailbox"),
        ("Client host rejected: cannot find your reverse hostname", "auth-failure"),
        ("address verification in progress", "greylisted"),
        ("rejected by the recipient's rules", "recipient-refused"),
        ("message refused", "policy-block"),
        ("blocked-user@example.com: said no", "other"),  # what an address says is nothing
    ],
)
def test_words_alone(text: str, expected: str) -> None:
    assert category(550, "", text, "") == expected


@pytest.mark.parametrize("text", ["Unknown user news@example.com", "No such domain example.com", "account disabled"])
def test_at_mail_from_all_is_said_of_the_sender(text: str) -> None:
    assert category(550, "", text, "MAIL") == "bad-sender"


@given(
    st.integers(200, 999),
    st.text(max_size=12),
    st.text(max_size=3000),
    st.sampled_from(["DNS", "CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END", "x"]),
)
def test_whatever_a_remote_says_has_a_category(code: int, enhanced: str, text: str, command: str) -> None:
    found, hard = classify(Reply(code, enhanced, text), command)
    assert found in MEANINGS
    assert not (hard and code < 500)


@pytest.mark.parametrize("word", ["user ", "sender ", "message ", "ip ", "a", " ", "tls exceed "])
def test_a_reply_of_megabytes_is_judged_by_its_beginning(word: str) -> None:
    assert category(550, "", word * 300_000 + "greylisted") != "greylisted"
