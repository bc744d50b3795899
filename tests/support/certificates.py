"""Certificates and server contexts for TLS on loopback: self-signed ones, and those of authorities made for a test."""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from hashlib import sha256, sha512
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


class Certified:
    """A certificate with its key and the chain above it, up to the authority; `folder` is where its files go."""

    def __init__(
        self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, chain: Sequence["Certified"]
    ) -> None:
        self.folder = folder
        self.certificate = certificate
        self.key = key
        self.chain = list(chain)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def shown(self) -> list[bytes]:
        """What a server shows: its own certificate and those above it."""
        return [self.der, *(each.der for each in self.chain)]

    @property
    def pem(self) -> Path:
        """A file with key, certificate and chain, as a server wants it."""
        path = self.folder / f"{self.certificate.serial_number:x}.pem"
        private = self.key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        certificates = [
            each.public_bytes(Encoding.PEM) for each in (self.certificate, *(c.certificate for c in self.chain))
        ]
        path.write_bytes(private + b"".join(certificates))
        return path

    @property
    def alone(self) -> Path:
        """A file with the certificate alone, as SSL_CERT_FILE wants it."""
        path = self.folder / f"{self.certificate.serial_number:x}.crt"
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path

    @property
    def context(self) -> ssl.SSLContext:
        return server_context(self.pem)

    def tlsa(self, usage: int, selector: int, matching: int) -> str:
        """The data of a TLSA record that names it."""
        spki = self.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        chosen = spki if selector else self.der
        data = {0: chosen, 1: sha256(chosen).digest(), 2: sha512(chosen).digest()}[matching]
        return f"{usage} {selector} {matching} {data.hex()}"


class Authority(Certified):
    """Issues certificates. The whole test may trust it: SSL_CERT_FILE = authority.alone."""

    @classmethod
    def make(cls, folder: Path, name: str = "Test Authority") -> Self:
        return cls._new(folder, name, None, 3, ())

    @classmethod
    def _new(
        cls, folder: Path, name: str, above: "Authority | None", length: int | None, more: Sequence[x509.ExtensionType]
    ) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=True, path_length=length), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            *((each, True) for each in more),
        ]
        issuer = above or Certified(folder, None, key, ())  # type: ignore[arg-type]  # it signs itself
        certificate = _sign(name, key, issuer, extensions, -DAY, DAY)
        return cls(folder, certificate, key, [above, *above.chain] if above else ())

    def authority(
        self, name: str, *, length: int | None = None, more: Sequence[x509.ExtensionType] = ()
    ) -> "Authority":
        """One below this one."""
        return self._new(self.folder, name, self, length, more)

    def issue(
        self,
        *names: str,
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = DAY,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> Certified:
        """A server's certificate for `names`, valid from `begins` to `ends`, both from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.SubjectAlternativeName([_general(name) for name in names]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.ExtendedKeyUsage([purpose]), False),
        ]
        return Certified(self.folder, _sign(names[0], key, self, extensions, begins, ends), key, [self, *self.chain])


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: Certified,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    begins: datetime.timedelta,
    ends: datetime.timedelta,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer.key is key else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    extensions = [*extensions, (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False)]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, hashes.SHA256())


def self_signed(directory: Path, *names: str) -> Path:
    """A PEM file with key and certificate for `names` (DNS names or addresses), valid for a day around now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "self-signed.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(encoding))
    return path


def server_context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
