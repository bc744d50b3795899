"""The DKIM key of a benchmark: RSA-2048, made for the run, the same for both systems."""

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

DOMAIN = "sender.example"  # RFC 2606: a name that is nobody's


@dataclass(frozen=True)
class SigningKey:
    """A private key and where its public half would be published."""

    domain: str
    selector: str
    private_pem: bytes
    record: str

    @classmethod
    def make(cls, domain: str = DOMAIN, selector: str = "bench") -> "SigningKey":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(domain, selector, pem, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}")

    @property
    def name(self) -> str:
        """The DNS name of the public key (RFC 6376 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"
