"""What messages are taken for, and the reasons given."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.evidence import load_model
from relay.header import split
from relay.message import MailClass
from relay.policy.evidence.classify import Evidence, Model, classify, judge, quoted
from relay.policy.evidence.text import extract

WEIGHTS = {
    "order": {"transactional": 2.0},
    "sale": {"marketing": 1.5, "service": 0.5},
    "both": {"transactional": 1.0, "service": 1.0, "marketing": 1.0},
}
SMALL = Model(
    {"en": {"order": "your order", "sale": "sale; {p} off", "both": "hello"}},
    {
        "version": "t",
        "bias": {"service": -0.5, "marketing": -0.2},
        "section": {"subject": 2.0, "opening": 1.0, "text": 0.5},
        "concept": WEIGHTS,
        "fact": {"list-unsubscribe": {"marketing": 2.0}, "several-recipients": {"marketing": 0.5}},
    },
)


def judged(content: str, recipients: int = 1, bulkness: int = 0, model: Model = SMALL) -> Evidence:
    octets = content.replace("\n", "\r\n").encode()
    fields, rest = split(octets)
    return classify(octets, fields, rest, recipients, bulkness, model)


def reasons(evidence: Evidence) -> list[tuple[str, str, float]]:
    return [(term.term, term.mail_class.label, round(term.weight, 2)) for term in evidence.terms]


def test_terms_add_up_by_where_they_stand() -> None:
    evidence = judged("Subject: Your order\n\nAbout your order: 20% off in our sale")
    assert reasons(evidence) == [("order", "transactional", 6.0), ("sale", "marketing", 1.25)]
    assert evidence.mail_class is MailClass.TRANSACTIONAL
    scores = (6.0, -0.5 + 0.5, -0.2 + 1.5)
    assert evidence.confidence == pytest.approx(math.exp(6) / sum(map(math.exp, scores)))


def test_what_stands_in_the_opening_is_not_counted_again_further_down() -> None:
    once = judged("\n\nyour order")
    again = judged("\n\nyour order " + "and " * 300 + "your order")
    below = judged("\n\n" + "and " * 300 + "your order")
    assert reasons(once) == reasons(again) == [("order", "transactional", 2.0)]
    assert reasons(below) == [("order", "transactional", 1.0)]


def test_a_concept_said_in_two_languages_counts_once() -> None:
    model = Model(
        {"en": {"order": "order"}, "he": {"order": "הזמנה; order"}},
        {
            "version": "t",
            "bias": {},
            "section": {"subject": 2, "opening": 1, "text": 0.5},
            "concept": WEIGHTS,
            "fact": {},
        },
    )
    assert reasons(judged("\n\norder הזמנה", model=model)) == [("order", "transactional", 2.0)]


def test_what_speaks_for_all_alike_is_no_reason() -> None:
    assert judged("\n\nhello").terms == ()


def test_without_evidence_it_is_transactional() -> None:
    assert judged("").mail_class is MailClass.TRANSACTIONAL
    assert judged("\n\nyour order sale", model=SMALL).mail_class is MailClass.TRANSACTIONAL


def test_header_and_envelope_speak_too() -> None:
    evidence = judged("List-Unsubscribe: <https://x.example/u>\n\nhi", recipients=3)
    assert [(t.term, t.text) for t in evidence.terms] == [
        ("list-unsubscribe", ""),
        ("several-recipients", "3 recipients"),
    ]


def test_quotes_are_the_words_of_the_message() -> None:
    octets = b"Subject: 20 % off\r\nList-Unsubscribe: x\r\n\r\n" + b"and " * 200 + b"sale"
    fields, rest = split(octets)
    text = extract(octets, fields, rest)
    assert [(t.term, t.text, t.where) for t in quoted(judge(text, fields, 1, 0, SMALL), text, SMALL)] == [
        ("sale", "20 % off", "subject and text"),
        ("list-unsubscribe", "", ""),
    ]


SHIPPED = load_model()


def terms(content: str, recipients: int = 1, bulkness: int = 0) -> set[str]:
    return {one[0] for one in judged(content, recipients, bulkness, SHIPPED).shown}


def test_facts_of_the_header() -> None:
    header = (
        "List-Id: x\nList-Unsubscribe-Post: y\nFeedback-ID: z\nPrecedence: Bulk\nAuto-Submitted: auto-generated\n\n"
    )
    said = {"list-id", "list-unsubscribe-post", "feedback-id", "precedence-bulk", "auto-submitted"}
    assert said <= terms(header)
    assert not said & terms("Precedence: first-class\nAuto-Submitted: no\n\n")


def test_facts_of_bulkness() -> None:
    assert "many-alike" in terms("\n\nx", bulkness=50)
    assert "bulk" in terms("\n\nx", bulkness=1000)
    assert not {"bulk", "many-alike"} & terms("\n\nx", bulkness=49)


def test_facts_of_structure() -> None:
    page = "Content-Type: text/html\n\n<p>" + "<a href='x'>go</a><img src='y'>" * 15 + "</p>"
    assert {"many-links", "many-images", "dense-links", "short"} <= terms(page)
    assert {"plain-text", "few-links", "no-images", "short"} <= terms("\n\nhi")
    assert "long" in terms("\n\n" + "word " * 700)
    assert "calendar" in terms("Content-Type: text/calendar\n\n")
    assert "attachment" in terms("Content-Type: application/pdf\n\n")
    assert "picture-in-subject" in terms("Subject: Sale 🎁\n\n")


LETTERS = {
    "receipt": (
        MailClass.TRANSACTIONAL,
        "Subject: Your order #1042 is confirmed\n\nHi Dana,\nthank you for your order. Subtotal: $20\nTotal: $24\n"
        "Shipping address: 1 Garden Road. Track your order in your account.",
    ),
    "receipt in Hebrew": (
        MailClass.TRANSACTIONAL,
        "Subject: אישור הזמנה מספר 1042\n\nשלום דנה, תודה על הזמנתך. מספר הזמנה: 1042. סה״כ לתשלום: 240 ₪. כתובת למשלוח",
    ),
    "receipt in Arabic": (
        MailClass.TRANSACTIONAL,
        "Subject: تأكيد الطلب رقم 1042\n\nمرحبا دانة، شكرا لطلبك. رقم الطلب: 1042. المجموع: 240. عنوان الشحن: شارع الحديقة",
    ),
    "reset that reads like an advertisement": (
        MailClass.TRANSACTIONAL,
        "Subject: Reset your password now!\n\nHurry, this exclusive link expires in 2 hours. Click to reset your password."
        " If you did not request this, ignore this email.",
    ),
    "code in German": (
        MailClass.TRANSACTIONAL,
        "Subject: Ihr Bestätigungscode\n\nIhr Bestätigungscode lautet 482913. Gültig 10 Minuten. Geben Sie ihn nie weiter.",
    ),
    "newsletter": (
        MailClass.MARKETING,
        "Subject: Weekend offers: 20% off all tents\n\nShop now and save up to 20% until Sunday. Free shipping on all"
        " orders. Discover our new collection.\nYou receive this newsletter because you subscribed. Unsubscribe",
    ),
    "newsletter in Hebrew": (
        MailClass.MARKETING,
        "Subject: מבצע סוף שבוע: 20% הנחה על כל האוהלים\n\nרק עד יום ראשון, 20% הנחה על כל האתר. לקנייה עכשיו."
        " משלוח חינם. להסרה מרשימת התפוצה לחצו כאן",
    ),
    "newsletter in Arabic": (
        MailClass.MARKETING,
        "Subject: عروض نهاية الأسبوع: خصم 20%\n\nتسوق الآن ووفر حتى 20% على جميع المنتجات. عرض لفترة محدودة."
        " لإلغاء الاشتراك في النشرة البريدية اضغط هنا",
    ),
    "survey": (
        MailClass.SERVICE,
        "Subject: How did we do?\n\nHi Dana, tell us what you think: take a short survey. It takes 2 minutes."
        " Your feedback helps us improve.",
    ),
    "points": (
        MailClass.SERVICE,
        "Subject: Your points balance\n\nHi Dana, your points balance is 1,200. You have earned 200 points. Gold status.",
    ),
    "renewal in French": (
        MailClass.SERVICE,
        "Subject: Votre abonnement expire bientôt\n\nBonjour, votre abonnement expire dans 10 jours. Renouvelez-le maintenant.",
    ),
}


@pytest.mark.parametrize("kind", LETTERS)
def test_letters_as_people_write_them(kind: str) -> None:
    expected, content = LETTERS[kind]
    header = 'From: Shop <a@b.example>\nContent-Type: text/plain; charset="utf-8"\n'
    evidence = judged(header + content, model=SHIPPED)
    assert evidence.mail_class is expected, evidence.terms
    assert 1 / 3 < evidence.confidence <= 1


@given(st.binary(), st.integers(1, 10_000), st.integers(0, 10**9))
def test_any_octets_get_a_class(octets: bytes, recipients: int, bulkness: int) -> None:
    fields, rest = split(octets)
    evidence = classify(octets, fields, rest, recipients, bulkness, SHIPPED)
    assert 1 / 3 <= evidence.confidence <= 1
    assert all(term.weight > 0 for term in evidence.terms)
