"""What a mailbox provider would object to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.message import MailClass
from relay.policy.evidence.lint import lint


def slugs(content: str | bytes, mail_class: MailClass = MailClass.TRANSACTIONAL) -> list[str]:
    octets = content.replace("\n", "\r\n").encode() if isinstance(content, str) else content
    fields, rest = split(octets)
    return [finding.slug for finding in lint(octets, fields, rest, mail_class)]


def test_nothing_to_say() -> None:
    assert slugs("From: a@b.example\nSubject: x\n\nhi") == []


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        ("Subject: x\n\nhi", "no-from"),
        ("From: a@b.example\nSubject: x\nSubject: y\n\nhi", "duplicate-field"),
        ("From: a@b.example\nSubject: שלום\n\nhi", "8bit-header"),
        ("From: a@b.example\nno field ü\n\nhi", "8bit-header"),
    ],
)
def test_headers(content: str, slug: str) -> None:
    assert slugs(content) == [slug]


def test_marketing_without_a_way_out() -> None:
    assert slugs("From: a@b.example\n\nhi", MailClass.MARKETING) == ["no-list-unsubscribe"]
    assert slugs("From: a@b.example\n\nhi", MailClass.SERVICE) == []
    assert slugs("From: a@b.example\nList-Unsubscribe: <https://x.example>\n\nhi", MailClass.MARKETING) == []


def with_parts(kind: str, *kinds: str) -> str:
    parts = "".join(f"--b\nContent-Type: {one}\n\nx\n" for one in kinds)
    return f"From: a@b.example\nContent-Type: multipart/{kind}; boundary=b\n\n{parts}--b--\n"


AMP, PLAIN, HTML = "text/x-amp-html", "text/plain", "text/html"


def test_amp_stands_between_plain_and_html_in_alternative() -> None:
    assert slugs(with_parts("alternative", PLAIN, AMP, HTML)) == []
    assert slugs(with_parts("alternative", PLAIN, HTML, AMP)) == ["amp-order"]
    assert slugs(with_parts("alternative", AMP, HTML)) == ["amp-order"]
    assert slugs(with_parts("mixed", PLAIN, AMP, HTML)) == ["amp-place"]
    assert slugs(f"From: a@b.example\nContent-Type: {AMP}\n\nx") == ["amp-place"]


@given(st.binary(), st.sampled_from(MailClass))
def test_any_octets(content: bytes, mail_class: MailClass) -> None:
    assert isinstance(slugs(content, mail_class), list)


GERMAN = (
    "Guten Tag, Ihre Bestellung 77 ist gepackt und wird am Donnerstag bei Ihnen sein. Mit dem Link unten können Sie das "
    "Paket verfolgen. Wenn etwas nicht stimmt, schreiben Sie uns bitte, wir helfen gern."
)


def test_subject_and_text_in_different_languages() -> None:
    content = f"From: a@b.example\nSubject: Your order 77, and 20 % off tents\n\n{GERMAN}".replace(
        "\n", "\r\n"
    ).encode()
    fields, rest = split(content)
    (found,) = lint(content, fields, rest, MailClass.TRANSACTIONAL)
    assert found == ("language", "Subject and text differ in language (en, de)")


@pytest.mark.parametrize("subject", ["Ihre Bestellung ist gepackt", "Arava Home", "Order 77", "The Lord of the Rings"])
def test_subjects_that_go_with_the_text_or_with_any(subject: str) -> None:
    assert slugs(f"From: a@b.example\nSubject: {subject}\n\n{GERMAN}") == []
    assert slugs(f"From: a@b.example\nSubject: {subject}\n\nhi") == []
