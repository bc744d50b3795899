"""Certificates against TLSA records (RFC 7672), with real ones."""

import time
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, ObjectIdentifier

from relay.egress.security.dane import Anchors, Status, Tlsa, anchors, covers, flaw_of, parse, usable
from tests.support.certificates import DAY, Authority, Certified, _sign

NOW = time.time_ns() // 1_000_000
HOST = "mx.example.test"
SHA256, SHA512 = b"1" * 32, b"2" * 64


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("dane"))


def said(*records: str, names: tuple[str, ...] = ()) -> Anchors:
    return anchors([parse(record) for record in records], HOST, names)


def result(found: Anchors, shown: Certified, now: int = NOW) -> str:
    flaw = flaw_of(found, shown.shown, now)
    return flaw.result if flaw is not None else "good"


# -------------------------------------------------------------------------------------------------- which records count


@pytest.mark.parametrize(
    ("record", "good"),
    [
        (Tlsa(3, 1, 1, SHA256), True),
        (Tlsa(3, 0, 2, SHA512), True),
        (Tlsa(2, 0, 0, b"x"), True),
        (Tlsa(0, 1, 1, SHA256), False),
        (Tlsa(1, 1, 1, SHA256), False),
        (Tlsa(4, 1, 1, SHA256), False),
        (Tlsa(3, 2, 1, SHA256), False),
        (Tlsa(3, 1, 3, SHA256), False),
        (Tlsa(3, 1, 1, SHA512), False),
        (Tlsa(3, 1, 0, b""), False),
    ],
)
def test_usable(record: Tlsa, good: bool) -> None:
    assert usable([record]) == ((record,) if good else ())


def test_of_two_digests_the_stronger_counts_for_each_usage_and_selector() -> None:
    weak, strong = Tlsa(3, 1, 1, SHA256), Tlsa(3, 1, 2, SHA512)
    other, whole = Tlsa(2, 1, 1, SHA256), Tlsa(3, 1, 0, b"spki")
    assert set(usable([weak, strong, other, whole])) == {strong, other, whole}
    broken = Tlsa(3, 1, 2, b"short")
    assert usable([weak, broken]) == (weak,), "a digest of a wrong length is no stronger one"


def test_records_are_bounded() -> None:
    many = [Tlsa(3, 1, 1, bytes([n]) * 32) for n in range(200)]
    assert len(usable(many)) == 100


def test_what_a_host_must_show() -> None:
    found = said(f"3 1 1 {SHA256.hex()}", names=("example.test", HOST))
    assert (found.status, found.base, found.names) == (Status.USABLE, HOST, (HOST, "example.test"))
    assert said(f"1 1 1 {SHA256.hex()}").status is Status.UNUSABLE
    assert str(found.records[0]) == f"3 1 1 {SHA256.hex()}"


# ---------------------------------------------------------------------------------------------------------- DANE-EE (3)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_the_very_certificate_whatever_its_name_and_dates(root: Authority, selector: int, matching: int) -> None:
    shown = root.issue("other.test", begins=-2 * DAY, ends=-DAY)
    found = said(shown.tlsa(3, selector, matching))
    assert result(found, shown) == "good"
    assert result(found, root.issue(HOST)) == "validation-failure"


def test_one_of_several_records_is_enough(root: Authority) -> None:
    old, new = root.issue(HOST), root.issue(HOST)
    found = said(old.tlsa(3, 1, 1), new.tlsa(3, 1, 1))
    assert result(found, old) == result(found, new) == "good"


# ---------------------------------------------------------------------------------------------------------- DANE-TA (2)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_an_anchor_above_it(root: Authority, selector: int, matching: int) -> None:
    middle = root.authority("Middle")
    shown = middle.issue(HOST)
    for anchor in (root, middle):
        assert result(said(anchor.tlsa(2, selector, matching)), shown) == "good"


def test_an_anchor_in_dns_need_not_be_shown(root: Authority) -> None:
    middle = root.authority("Middle")
    shown = middle.issue(HOST)
    found = said(root.tlsa(2, 0, 0))
    assert flaw_of(found, shown.shown[:2], NOW) is None
    flaw = flaw_of(said(root.tlsa(2, 0, 1)), shown.shown[:2], NOW)
    assert flaw is not None
    assert flaw.result == "validation-failure"


def test_its_name_must_be_right(root: Authority) -> None:
    found = said(root.tlsa(2, 1, 1), names=("example.test",))
    assert result(found, root.issue("example.test")) == "good"
    assert result(found, root.issue("*.example.test")) == "good"
    assert result(found, root.issue("other.test", "MX.example.TEST")) == "good"
    assert result(found, root.issue("other.test")) == "certificate-host-mismatch"
    assert result(found, root.issue("*.mx.example.test")) == "certificate-host-mismatch"
    assert result(found, root.issue("192.0.2.1")) == "certificate-host-mismatch"


def test_its_dates_must_be_right(root: Authority) -> None:
    found = said(root.tlsa(2, 1, 1))
    assert result(found, root.issue(HOST, begins=-2 * DAY, ends=-DAY / 2)) == "certificate-expired"
    assert result(found, root.issue(HOST, begins=DAY / 2)) == "certificate-expired"
    late = NOW + int(timedelta(days=3).total_seconds() * 1000)
    assert result(found, root.issue(HOST, ends=9 * DAY), late) == "validation-failure", "the authority has ended"


def test_what_is_no_path(root: Authority, tmp_path: Path) -> None:
    found = said(root.tlsa(2, 1, 1))
    assert result(found, Authority.make(tmp_path).issue(HOST)) == "validation-failure", "the same name, another key"
    leaf = root.issue(HOST)
    assert result(said(leaf.tlsa(2, 1, 1)), leaf) == "validation-failure", "an anchor is above the certificate"
    below = Authority(tmp_path, leaf.certificate, leaf.key, leaf.chain).issue(HOST)
    assert result(found, below) == "validation-failure", "a server's certificate signs no others"
    assert result(found, root.issue(HOST, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)) == "validation-failure"
    deep: Authority = root.authority("Short", length=0)
    assert result(found, deep.issue(HOST)) == "good"
    assert result(found, deep.authority("Too deep").issue(HOST)) == "validation-failure"
    strange = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert result(found, root.authority("Strange", more=[strange]).issue(HOST)) == "validation-failure"
    limited = x509.NameConstraints([x509.DNSName("other.test")], None)
    assert result(found, root.authority("Limited", more=[limited]).issue(HOST)) == "validation-failure"


def test_certificates_that_all_sign_each_other_do_not_keep_us_busy(root: Authority, tmp_path: Path) -> None:
    """Each path through them ends at no anchor; there are 10^10 of eight."""
    one = Authority.make(tmp_path)
    shown = one.issue(HOST)
    same = [
        _sign("Test Authority", one.key, one, [(x509.BasicConstraints(True, None), True)], -DAY, DAY) for _ in range(15)
    ]
    chain = [shown.der, *(each.public_bytes(Encoding.DER) for each in same)]
    flaw = flaw_of(said(root.tlsa(2, 1, 1)), chain, NOW)
    assert flaw is not None
    assert flaw.result == "validation-failure"
    assert flaw_of(said(one.tlsa(2, 1, 1)), chain, NOW) is None
    others = [Authority.make(tmp_path, f"Other {n}").der for n in range(7)]
    above = root.authority("Test Authority")
    assert result(said(root.tlsa(2, 1, 1)), above.issue(HOST)) == "good"
    crowded = [shown.der, *chain[1:9], *others]
    assert flaw_of(said(root.tlsa(2, 1, 1)), crowded, NOW) is not None, "given up after some signatures"


def test_a_long_path_is_not_followed_to_its_end(root: Authority, tmp_path: Path) -> None:
    chain: list[Certified] = []
    above = Authority.make(tmp_path)
    for number in range(20):
        above = above.authority(f"Level {number}")
        chain.append(above)
    assert result(said(root.tlsa(2, 1, 1)), above.issue(HOST)) == "validation-failure"


@pytest.mark.parametrize("shown", [[], [b"no certificate"]])
def test_a_server_that_shows_nonsense(root: Authority, shown: list[bytes]) -> None:
    flaw = flaw_of(said(root.tlsa(3, 1, 1), root.tlsa(2, 1, 1)), shown, NOW)
    assert flaw is not None
    assert flaw.result == "validation-failure"


def test_certificates_that_nobody_can_read_spoil_nothing(root: Authority) -> None:
    shown = root.issue(HOST)
    assert flaw_of(said(shown.tlsa(3, 1, 1)), [shown.der, b"junk"], NOW) is None
    assert flaw_of(said(root.tlsa(2, 1, 1)), [shown.der, b"junk", root.der], NOW) is None
    unreadable = x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"\x05\x00")
    assert (
        result(said(root.tlsa(2, 1, 1)), root.authority("Odd", more=[unreadable]).issue(HOST)) == "validation-failure"
    )
    curve = bytes.fromhex("2a8648ce3d030107")
    strange = shown.der.replace(curve, curve[:-1] + b"\x63")
    digest = sha256(strange).hexdigest()
    for records in ([f"3 0 1 {digest}"], [f"3 1 1 {digest}", root.tlsa(2, 1, 1)]):
        flaw = flaw_of(said(*records), [strange, root.der], NOW)
        assert (flaw is None) == (len(records) == 1)
    flaw = flaw_of(said(root.tlsa(2, 1, 1)), [shown.der, strange], NOW)
    assert flaw is not None


def test_a_broken_anchor_in_dns_is_no_anchor(root: Authority) -> None:
    assert result(said("2 0 0 ffff"), root.issue(HOST)) == "validation-failure"


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ("mx.a.test", True),
        ("MX.A.test.", True),
        ("*.a.test", True),
        ("*.test", False),
        ("*.mx.a.test", False),
        ("a.test", False),
    ],
)
def test_covers(pattern: str, good: bool) -> None:
    assert covers(pattern, ["mx.a.test"]) is good
