"""DANE for SMTP (RFC 7672, 6698, 7671): which TLSA records count, and whether a certificate chain matches them. Pure.

Rules: usages DANE-TA(2) and DANE-EE(3) only; of two digests of the same thing the stronger (RFC 7671 9); DANE-EE looks
at nothing but the record, neither names nor dates (RFC 7672 3.1.1); DANE-TA wants a path of signatures from the server's
certificate to the anchor, valid dates, and a name (3.1.2). An anchor that a record names by a digest, or by its key
alone, must be among the certificates the server shows, as 3.1.2 tells servers to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256, sha512
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

_T = TypeVar("_T", bound=x509.ExtensionType)

TA, EE = 2, 3
_DIGESTS = {1: sha256, 2: sha512}
_LENGTHS = {1: 32, 2: 64}
MAX_PATH = 8  # certificates in a path; public ones have three or four
MAX_SHOWN = 16  # certificates looked at of those a server shows, and of those that DNS gives
MAX_CHECKS = 50  # signatures checked for one chain; three certificates need some five
MAX_RECORDS = 100  # of a host; real ones have one to four
# What is honoured below, or says nothing of whom to trust. Any other critical extension makes a path invalid (RFC 5280 4.2).
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record (RFC 6698 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


class Status(Enum):
    """What DNS says of a host's certificates."""

    ABSENT = "no TLSA records"
    USABLE = "TLSA records"
    UNUSABLE = "only TLSA records that SMTP cannot use"
    FAILED = "TLSA look-up failed"


@dataclass(frozen=True, slots=True)
class Anchors:
    """What a host must show.

    records  the usable ones          base  where they stand: the name for SNI (RFC 7672 8.1)
    names    any of which an anchored certificate may have (RFC 7672 3.2.2)
    detail   for people, where the look-up failed
    """

    status: Status
    records: tuple[Tlsa, ...] = ()
    base: str = ""
    names: tuple[str, ...] = ()
    detail: str = ""


NONE = Anchors(Status.ABSENT)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a certificate does not serve: a result type of RFC 8460 4.3, and words."""

    result: str
    text: str


def parse(text: str) -> Tlsa:
    """`usage selector matching hex`, as the resolver gives it."""
    usage, selector, matching, data = text.split(" ", 3)
    return Tlsa(int(usage), int(selector), int(matching), bytes.fromhex(data))


def anchors(records: Iterable[Tlsa], base: str, names: Iterable[str]) -> Anchors:
    """Of a TLSA RRset that was validated: what can be used of it."""
    fit = usable(records)
    if not fit:
        return Anchors(Status.UNUSABLE, base=base)
    return Anchors(Status.USABLE, fit, base, tuple(dict.fromkeys((base, *names))))


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """In a fixed order. RFC 7672 3.1.3: the PKIX usages (0, 1) are not usable in SMTP."""
    fit = {record for record in records if _is_usable(record)}
    best: dict[tuple[int, int], int] = {}
    for record in fit:
        group = record.usage, record.selector
        best[group] = max(best.get(group, 0), record.matching)
    kept = [record for record in fit if record.matching in (0, best[record.usage, record.selector])]
    return tuple(sorted(kept, key=str)[:MAX_RECORDS])


def _is_usable(record: Tlsa) -> bool:
    if record.usage not in (TA, EE) or record.selector not in (0, 1) or not record.data:
        return False
    return record.matching == 0 or len(record.data) == _LENGTHS.get(record.matching)


def flaw_of(anchors: Anchors, shown: Sequence[bytes], now: int) -> Flaw | None:
    """Why the chain that a server shows (DER, its own certificate first) does not match; None if it does. `now` in ms."""
    leaf, *others = [_read(each) for each in shown[:MAX_SHOWN]] or [None]
    if leaf is None:
        return Flaw("validation-failure", "it shows no certificate that can be read")
    if any(record.usage == EE and _matches(record, leaf) for record in anchors.records):
        return None
    trusted = [record for record in anchors.records if record.usage == TA]
    if not trusted:
        return Flaw("validation-failure", "its certificate is not the one that its TLSA records name")
    moment = datetime.fromtimestamp(now / 1000, UTC)
    issuers = [each for each in (*others, *_given(trusted)) if each is not None]
    if not _anchored(leaf, issuers, trusted, moment):
        if _dated(leaf, moment):
            return Flaw("validation-failure", "its certificate does not lead to an anchor that its TLSA records name")
        return Flaw("certificate-expired", "its certificate is not valid now")
    if not any(covers(name, anchors.names) for name in _names(leaf)):
        return Flaw("certificate-host-mismatch", f"its certificate is not for {anchors.base}")
    return None


def _read(der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None


def covers(pattern: str, names: Iterable[str]) -> bool:
    """Is one of `names` meant? A `*` stands for the whole leftmost label (RFC 7672 3.2.3)."""
    pattern = pattern.lower().rstrip(".")
    if pattern.startswith("*."):
        return any(name.partition(".")[2] == pattern[2:] for name in names)
    return pattern in names


def _matches(record: Tlsa, certificate: x509.Certificate) -> bool:
    if record.selector == 0:
        chosen = certificate.public_bytes(Encoding.DER)
    else:
        try:
            chosen = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except (ValueError, UnsupportedAlgorithm):  # a key of a kind that nobody here can use
            return False
    digest = _DIGESTS.get(record.matching)
    return record.data == (digest(chosen).digest() if digest else chosen)


def _given(records: Iterable[Tlsa]) -> list[x509.Certificate | None]:
    """Anchors that stand in DNS as they are (2 0 0), and so need not be shown."""
    return [_read(record.data) for record in records if (record.selector, record.matching) == (0, 0)][:MAX_SHOWN]


def _anchored(
    leaf: x509.Certificate, issuers: Sequence[x509.Certificate], trusted: Sequence[Tlsa], moment: datetime
) -> bool:
    """Is there a path of signatures from `leaf` to a trusted one? Looked for level by level, each certificate taken up once:
    a server may show some that all sign each other."""
    level, left, checks = [leaf], list(issuers), 0
    if not _sound(leaf, moment, 0):
        return False
    for below in range(1, MAX_PATH):
        above = []
        for issuer in list(left):
            checks += len(level)
            if checks > MAX_CHECKS:
                return False
            if any(_issued(certificate, issuer) for certificate in level):
                left.remove(issuer)
                above += [issuer] if _sound(issuer, moment, below) else []
        if any(_matches(record, issuer) for record in trusted for issuer in above):
            return True
        level = above
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _dated(certificate: x509.Certificate, moment: datetime) -> bool:
    return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc


def _sound(certificate: x509.Certificate, moment: datetime, below: int) -> bool:
    """May it stand in a path here: valid now, a CA above others, for servers at the end (RFC 5280 6.1)?"""
    try:
        extensions = certificate.extensions
        if not _dated(certificate, moment) or any(e.critical and e.oid not in _UNDERSTOOD for e in extensions):
            return False
        return _may_issue(extensions, below) if below else _may_serve(extensions)
    except ValueError:  # an extension that cannot be read, or stands there twice
        return False


def _may_issue(extensions: x509.Extensions, below: int) -> bool:
    basic = _extension(extensions, x509.BasicConstraints)
    usage = _extension(extensions, x509.KeyUsage)
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        return False
    return basic.path_length is None or basic.path_length >= below - 1


def _may_serve(extensions: x509.Extensions) -> bool:
    purposes = _extension(extensions, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    return purposes is None or any(purpose in allowed for purpose in purposes)


def _extension(extensions: x509.Extensions, kind: type[_T]) -> _T | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _names(leaf: x509.Certificate) -> list[str]:
    names = _extension(leaf.extensions, x509.SubjectAlternativeName)
    return names.get_values_for_type(x509.DNSName) if names is not None else []
