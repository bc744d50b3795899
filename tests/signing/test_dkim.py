"""Our canonical forms and fields against the RFCs' own examples, and against dkimpy's verification."""

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dkim.canonicalization import Relaxed
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.header import Field, split
from relay.signing import dkim
from relay.signing.keys import SigningKey
from tests.support.signatures import NOW, both_keys, verdicts

LETTER = (
    b"From: Dana <dana@example.com>\r\n"
    b"To: you@example.net\r\n"
    b"Cc: they@example.net\r\n"
    b"Subject: Your order\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"Reply-To: shop@example.com\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"List-Unsubscribe: <https://example.com/u/1>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"List-Id: <news.example.com>\r\n"
    b"Feedback-ID: order:shop:arava:postlane\r\n"
    b"X-Mailer: shop\r\n"
    b"\r\n"
    b"Thank you.\r\n"
)


def signed(message: bytes, keys: tuple[SigningKey, ...] | None = None) -> bytes:
    """The message with the DKIM-Signature fields in front, made by hand from dkim's steps."""
    fields, rest = split(message)
    names, header = dkim.signed_header(fields)
    content_hash = dkim.body_hash(message, rest + 2)
    out = b""
    for key in keys or both_keys():
        draft = dkim.draft(key.domain, key.selector, key.algorithm, names=names, content_hash=content_hash, now=NOW)
        out += dkim.finish(draft, key.sign(dkim.digest(header, draft)))
    return out + message


def good(message: bytes) -> list[bool]:
    return verdicts(message, both_keys(), 2)


# The body


def relaxed_hash_by_dkimpy(body: bytes) -> bytes:
    """As on the wire, where the last line always ends with CRLF."""
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    return sha256(Relaxed.canonicalize_body(body)).digest()


BODIES = st.lists(
    st.sampled_from([b"a", b"word", b" ", b"  ", b"\t", b"\r\n", b"\r\n", b" \r\n", b".", b"\xff", b"=20", b" " * 17]),
    max_size=40,
).map(b"".join)


@given(BODIES)
@example(b"")
@example(b"\r\n")
@example(b" \t\r\n\r\n")
@example(b"no final line end")
@example(b"blank at the end ")
@example(b"a\r\n" + b"\r\n" * 5000)
def test_body_hash_is_that_of_the_relaxed_body(body: bytes) -> None:
    header = b"From: a\r\n\r\n"
    assert dkim.body_hash(header + body, len(header)) == relaxed_hash_by_dkimpy(body)


def test_body_example_of_rfc_6376() -> None:
    """3.4.5"""
    assert dkim.body_hash(b" C \r\nD \t E\r\n\r\n\r\n", 0) == sha256(b" C\r\nD E\r\n").digest()


def test_hash_of_no_body_is_that_of_nothing() -> None:
    """RFC 6376 3.4.4"""
    assert b64encode(dkim.body_hash(b"From: a\r\n\r\n", 11)) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        (b" " * 3_000_000 + b"a", b" a\r\n"),
        (b"\t" * 3_000_000, b""),
        ((b" " * 15 + b"a") * 200_000, b" a" * 200_000 + b"\r\n"),
        (b"\r\n" * 1_500_000, b""),
        (b"a" + b"\r\n" * 1_500_000, b"a\r\n"),
        (b" \r\n" * 1_000_000, b""),
        (b"a  " * 1_000_000, b"a " * 999_999 + b"a\r\n"),
    ],
    ids=["blanks", "tabs", "runs-of-15", "empty-lines", "empty-lines-at-the-end", "lines-of-a-blank", "pairs"],
)
def test_hostile_bodies_end(body: bytes, relaxed: bytes) -> None:
    """Each is 3 MB. What is quadratic in a run of blanks (dkimpy) would take hours for the first, and the timeout."""
    assert dkim.body_hash(body, 0) == sha256(relaxed).digest()


# The header


def test_header_example_of_rfc_6376() -> None:
    """3.4.5, with the names of fields that are signed"""
    names, header = dkim.signed_header([Field("to", b"To: X\r\n"), Field("cc", b"Cc : Y\t\r\n\tZ  \r\n")])
    assert header == b"to:X\r\ncc:Y Z\r\n"
    assert names.count("to") == names.count("cc") == 2


def test_each_oversigned_field_is_named_once_more_than_it_occurs() -> None:
    fields = [Field(name, name.encode() + b": x\r\n") for name in dkim.OVERSIGNED]
    assert [dkim.signed_header([])[0].count(name) for name in dkim.OVERSIGNED] == [1] * len(dkim.OVERSIGNED)
    assert [dkim.signed_header(fields)[0].count(name) for name in dkim.OVERSIGNED] == [2] * len(dkim.OVERSIGNED)


def test_of_one_name_the_bottom_field_comes_first() -> None:
    _, header = dkim.signed_header([Field("to", b"To: top\r\n"), Field("to", b"To: bottom\r\n")])
    assert header == b"to:bottom\r\nto:top\r\n"


def test_what_changes_on_the_way_is_never_signed() -> None:
    never = ["return-path", "received", "bcc", "resent-bcc", "dkim-signature", "x-anything", ""]
    names, header = dkim.signed_header([Field(name, name.encode() + b": x\r\n") for name in never])
    assert header == b""
    assert not set(never) & set(names)


def test_a_flood_of_one_field_is_signed_up_to_a_bound() -> None:
    fields = [Field("to", b"To: %d\r\n" % i) for i in range(10_000)]
    names, header = dkim.signed_header(fields)
    assert names.count("to") == dkim.MOST
    assert header.startswith(b"to:9999\r\n")


def test_a_flooded_header_still_verifies() -> None:
    flood = b"".join(b"To: %d@example.net\r\n" % i for i in range(500))
    assert good(signed(flood + LETTER)) == [True, True]


NAMES = st.sampled_from(
    [b"From", b"to", b"CC", b"Subject", b"Subject", b"List-Id", b"Resent-To", b"Feedback-ID", b"X-Other", b"Received"]
)
VALUES = st.lists(
    st.sampled_from(
        [b"a", b"word", b" ", b"\t", b"  ", b"\r\n ", b"\r\n\t", b" \r\n  ", b"\xc3\xa9", b":", b";", b"b=x"]
    ),
    max_size=12,
).map(b"".join)
HEADERS = st.lists(st.tuples(NAMES, VALUES).map(lambda f: f[0] + b":" + f[1] + b"\r\n"), max_size=12).map(b"".join)


@settings(deadline=None)
@given(HEADERS, BODIES)
def test_dkimpy_verifies_whatever_we_sign(header: bytes, body: bytes) -> None:
    """Folds, tabs, blanks at every place, 8-bit octets, empty values, duplicates in any order; any body."""
    message = signed(header + b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\n" + body)
    if body and not body.endswith(b"\r\n"):
        message += b"\r\n"  # what the wire adds
    assert good(message) == [True, True]


def test_a_message_without_body_verifies() -> None:
    assert good(signed(b"From: a@example.com\r\n\r\n")) == [True, True]


def test_nameless_lines_are_left_alone() -> None:
    """An mbox line in the header is no field; dkimpy passes over it too."""
    assert good(signed(b"From someone Sat Nov 21\r\n" + LETTER)) == [True, True]


# What a signature protects


@pytest.mark.parametrize("name", dkim.OVERSIGNED)
@pytest.mark.parametrize("place", ["top", "bottom"])
def test_nobody_can_add_a_field_that_is_oversigned(name: str, place: str) -> None:
    message = signed(LETTER)
    extra = name.encode() + b": mallory@example.org\r\n"
    forged = extra + message if place == "top" else message.replace(b"\r\n\r\n", b"\r\n" + extra + b"\r\n", 1)
    assert good(forged) == [False, False]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Dana <dana", b"Mallory <dana"),
        (b"you@example.net", b"me@example.net"),
        (b"Your order", b"Your Order"),
        (b"12:00:00 +0000", b"13:00:00 +0000"),
        (b"<1@example.com>", b"<2@example.com>"),
        (b"charset=utf-8", b"charset=utf-7"),
        (b"/u/1>", b"/u/2>"),
        (b"One-Click", b"Two-Click"),
        (b"<news.", b"<olds."),
        (b"order:shop", b"other:shop"),
        (b"t=1795262400", b"t=1795262401"),
        (b"Thank you.", b"Thank you!"),
    ],
)
def test_tampering_shows(before: bytes, after: bytes) -> None:
    message = signed(LETTER)
    assert message.count(before) >= 1
    assert good(message.replace(before, after)) == [False, False]


def test_a_signed_field_cannot_be_taken_out() -> None:
    assert good(signed(LETTER).replace(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b"")) == [False, False]


def test_what_relays_do_on_the_way_does_no_harm() -> None:
    message = b"Received: from a by b; Sat, 21 Nov 2026 12:00:01 +0000\r\nX-Spam: no\r\n" + signed(LETTER)
    refolded = message.replace(b"Subject: Your order", b"SUBJECT:  Your\r\n\t order ").replace(
        b"you.\r\n", b"you. \r\n\r\n"
    )
    assert good(message) == good(refolded) == [True, True]


# The field itself


def test_the_field_is_folded_and_complete() -> None:
    field = signed(LETTER, both_keys()[:1]).removesuffix(LETTER)
    assert field.endswith(b"\r\n")
    lines = field.decode().removesuffix("\r\n").split("\r\n")
    assert lines[0] == "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;"
    assert lines[1] == " d=example.com; s=2026b; t=1795262400;"
    assert max(map(len, lines)) <= 78  # RFC 5322 2.1.1
    assert all(line.startswith(" ") for line in lines[1:])
    assert "l=" not in [tag.strip()[:2] for tag in field.decode().split(";")]


RFC_8463_MESSAGE = b"""\
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
RFC_8463_FIELD = """\
DKIM-Signature: v=1; a={}; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s={}; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=""".replace("\n", "\r\n")
RFC_8463_ED25519 = b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
RFC_8463_RSA = b"""\
-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi
Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM
KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm
6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe
zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy
6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc
uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy
WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd
WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a
licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst
o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe
uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL
-----END RSA PRIVATE KEY-----
"""
RFC_8463_SIGNATURES = {
    "ed25519-sha256": b"/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==",
    "rsa-sha256": (
        b"F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQ"
        b"TnGdaSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8="
    ),
}


@pytest.mark.parametrize(("algorithm", "selector"), [("ed25519-sha256", "brisbane"), ("rsa-sha256", "test")])
def test_signatures_of_rfc_8463(algorithm: str, selector: str) -> None:
    """Appendix A: our header, digest and signature give the octets of the RFC, for the field as the RFC wrote it."""
    private = (
        Ed25519PrivateKey.from_private_bytes(b64decode(RFC_8463_ED25519))
        if selector == "brisbane"
        else load_pem_private_key(RFC_8463_RSA, None)
    )
    key = SigningKey("football.example.com", selector, algorithm, private)  # type: ignore[arg-type]
    fields, rest = split(RFC_8463_MESSAGE)
    assert b64encode(dkim.body_hash(RFC_8463_MESSAGE, rest + 2)) == b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
    _, header = dkim.signed_header(fields)
    draft = RFC_8463_FIELD.format(algorithm, selector).encode()
    assert b64encode(key.sign(dkim.digest(header, draft))) == RFC_8463_SIGNATURES[algorithm]
