"""Captured messages read for people, and their signatures checked by dkimpy."""

import base64
from email.message import EmailMessage

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from relay.header import split
from relay.signing.dkim import body_hash
from relay.signing.signer import Signer
from relay.web import reading
from relay.web.reading import Attachment, read, verdicts
from tests.support.signatures import NOW, both_keys

SIMPLE = b"From: a@shop.example\r\nSubject: x\r\nMessage-ID: <1@shop.example>\r\n\r\nHello\r\n"


def crlf(message: EmailMessage) -> bytes:
    return message.as_bytes().replace(b"\n", b"\r\n")


def test_text_html_and_attachments_are_told_apart() -> None:
    message = EmailMessage()
    message["Subject"] = "שלום"
    message.set_content("Grüße", charset="iso-8859-1")
    message.add_alternative("<p>Grüße</p>", subtype="html")
    message.add_attachment(b"x" * 300, maintype="application", subtype="pdf", filename="Beleg ü.pdf")
    message.add_attachment("notes", filename="notes.txt")
    found = read(crlf(message))
    assert found.text.strip() == "Grüße"
    assert found.html.strip() == "<p>Grüße</p>"
    assert found.attachments[0] == Attachment("Beleg ü.pdf", "application/pdf", 300)
    assert found.attachments[1].name == "notes.txt"
    assert ("Subject", "שלום") in found.fields


@pytest.mark.parametrize(
    "tag",
    [
        '<link rel="preconnect" href="https://track.example">',
        '<LINK/rel=dns-prefetch href="//track.example">',
        '<meta http-equiv="refresh" content="0;url=https://track.example">',
        "<base\nhref='https://track.example/'>",
        "<link>",
    ],
)
def test_what_no_policy_covers_is_an_unknown_tag(tag: str) -> None:
    mail = b"Content-Type: text/html\r\n\r\n<p>" + tag.encode() + b"<linked><metal>link</p>"
    html = read(mail).html
    assert html == f"<p><x-{tag[1:]}<linked><metal>link</p>".replace("\r\n", "\n")
    assert tag in read(mail).source


def test_inline_pictures_stand_in_the_html_and_other_cids_stay() -> None:
    message = EmailMessage()
    message.set_content('<img src="cid:logo"><img src="cid:other"><img src="cid:vector">', subtype="html")
    message.add_related(b"\x89PNG", maintype="image", subtype="png", cid="<logo>")
    message.add_related(b"<svg/>", maintype="image", subtype="svg+xml", cid="<vector>")
    assert read(crlf(message)).html.strip() == (
        '<img src="data:image/png;base64,iVBORw=="><img src="cid:other"><img src="cid:vector">'
    )


def test_what_an_attached_message_holds_is_not_this_messages_text() -> None:
    inner = EmailMessage()
    inner.set_content("inner")
    outer = EmailMessage()
    outer["Subject"] = "outer"
    outer.make_mixed()
    outer.attach(inner_message(inner))
    found = read(crlf(outer))
    assert found.text == ""
    assert found.attachments[0].kind == "message/rfc822"


def inner_message(inner: EmailMessage) -> EmailMessage:
    part = EmailMessage()
    part.set_content(inner)
    return part


@pytest.mark.parametrize("charset", ["no-such-charset", "base64", "utf-16", "idna", ""])
def test_an_impossible_charset_is_read_as_well_as_can_be(charset: str) -> None:
    content = f"Content-Type: text/plain; charset={charset}\r\n\r\nHello\r\n".encode()
    assert read(content).text


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q??=",
        "=?utf-7?Q?+2AA-?=",
        "=?utf-8?b?!!!?=",
        "=?x-unknown?q?a?=",
        "=?utf-8?q?=ff?=",
        "=?utf-8?b?4pyT?= =?utf-8?b?4pyT?=",
    ],
)
def test_broken_encoded_words_are_shown(subject: str) -> None:
    fields = dict(read(f"Subject: {subject}\r\n\r\n".encode()).fields)
    assert fields["Subject"].encode(), "text, and not none"


def test_a_bomb_of_parts_is_bounded() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000))
    wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\nContent-Type: a/b\r\n\r\nx\r\n" * 5000
    assert read(nested).source
    assert len(read(wide).attachments) <= reading.MAX_PARTS


@given(st.binary(max_size=2000))
def test_whatever_was_captured_can_be_shown(junk: bytes) -> None:
    for content in (junk, b"Content-Type: multipart/" + junk, b"MIME-Version: 1.0\r\nContent-Type: text/html; " + junk):
        found = read(content)
        assert found.source == content.decode(errors="replace").replace("\r\n", "\n")
        assert not verdicts(content, lambda _s, _d: b"v=DKIM1; p=x") or b"dkim" in content.lower()


@pytest.fixture(scope="module")
def key() -> tuple[bytes, bytes]:
    """(private key, TXT record)."""
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    der = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


def signed(pem: bytes, content: bytes = SIMPLE) -> bytes:
    signature: bytes = dkim.DKIM(content).sign(b"2026b", b"shop.example", pem, canonicalize=(b"relaxed", b"relaxed"))
    return signature + content


def test_a_good_signature(key: tuple[bytes, bytes]) -> None:
    asked = []

    def public_keys(selector: str, domain: str) -> bytes:
        asked.append((selector, domain))
        return key[1]

    (verdict,) = verdicts(signed(key[0]), public_keys)
    assert (verdict.good, verdict.domain, verdict.selector, verdict.algorithm, verdict.detail) == (
        True,
        "shop.example",
        "2026b",
        "rsa-sha256",
        "",
    )
    assert asked == [("2026b", "shop.example")]


def test_each_signature_has_its_own_verdict(key: tuple[bytes, bytes]) -> None:
    content = signed(key[0], signed(key[0]))
    broken = content.replace(b" b=", b" b=QUJD", 1)
    assert [v.good for v in verdicts(broken, lambda _s, _d: key[1])] == [False, True]


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        (b"Hello", b"Hallo", "body hash mismatch"),
        (b"Subject: x", b"Subject: y", "does not match"),
        (b"v=1;", b"v=2;", ""),
        (b"h=", b"q=", ""),
    ],
)
def test_a_bad_signature(key: tuple[bytes, bytes], old: bytes, new: bytes, detail: str) -> None:
    (verdict,) = verdicts(signed(key[0]).replace(old, new, 1), lambda _s, _d: key[1])
    assert verdict.good is False
    assert detail in verdict.detail


def test_what_cannot_be_checked(key: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdicts(signed(key[0]), lambda _s, _d: None)[0].good is None
    monkeypatch.setattr(reading, "MAX_CHECKED", 10)
    assert "too large" in verdicts(signed(key[0]), lambda _s, _d: key[1])[0].detail


def test_many_signatures_of_a_large_message_cost_no_more_than_one(
    key: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = signed(key[0], signed(key[0]))
    monkeypatch.setattr(reading, "MAX_CHECKED", len(content) + 10)
    assert [v.good for v in verdicts(content, lambda _s, _d: key[1])] == [True, None]


async def test_rsa_and_ed25519_as_this_node_signs() -> None:
    keys = both_keys("shop.example")
    fields, at = split(SIMPLE)
    signer = Signer()
    head = await signer.sign(fields, body_hash(SIMPLE, at + 2), keys, NOW)
    signer.close()
    found = verdicts(
        head + SIMPLE, lambda selector, _: next(k.dns_value.encode() for k in keys if k.selector == selector)
    )
    assert [(one.algorithm, one.good) for one in found] == [("rsa-sha256", True), ("ed25519-sha256", True)]


def test_an_unsigned_message_has_no_verdict() -> None:
    assert verdicts(SIMPLE, lambda _s, _d: None) == ()


def test_ed25519_without_its_package_is_said_so(key: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> bool:
        raise dkim.NaClNotFoundError("x")

    monkeypatch.setattr(dkim.DKIM, "verify", absent)
    (verdict,) = verdicts(signed(key[0]), lambda _s, _d: key[1])
    assert (verdict.good, verdict.detail) == (None, "not checked: Ed25519 needs the package pynacl")
