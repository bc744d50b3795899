"""TLS contexts, and what a failed handshake or the chain of a peer says."""

import ssl
from functools import cache
from typing import Any

from relay.egress.security.dane import Flaw

_DER = 2  # _ssl.ENCODING_DER

# X509_V_ERR_... of OpenSSL (x509_vfy.h): what it means for a report (RFC 8460 4.3.1) and for people
_FLAWS = {
    9: Flaw("certificate-expired", "its certificate is not valid yet"),
    10: Flaw("certificate-expired", "its certificate has expired"),
    18: Flaw("certificate-not-trusted", "its certificate is self-signed"),
    19: Flaw("certificate-not-trusted", "its certificate comes from an authority that is not known here"),
    20: Flaw("certificate-not-trusted", "its certificate comes from an authority that is not known here"),
    21: Flaw("certificate-not-trusted", "its certificate comes from an authority that is not known here"),
    62: Flaw("certificate-host-mismatch", "its certificate is for another name"),
    64: Flaw("certificate-host-mismatch", "its certificate is for another name"),
}


@cache
def verifying() -> ssl.SSLContext:
    """Certificates of the system's authorities, with the peer's name. One for the process: loading them takes 20 ms."""
    return ssl.create_default_context()


@cache
def encrypting() -> ssl.SSLContext:
    """No certificate is looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def flaw_of(error: BaseException | None) -> Flaw | None:
    """What OpenSSL found wrong with a certificate; None where the handshake failed for another reason."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__
    if error is None:
        return None
    known = _FLAWS.get(error.verify_code)
    return known or Flaw("certificate-not-trusted", f"its certificate is not trusted ({error.verify_message})")


def shown_by(peer: Any) -> list[bytes]:
    """The certificates that a peer shows, DER, its own first; `peer` is the ssl.SSLObject of its transport.

    Public from Python 3.13 on. Before, `_sslobj` has the method, since 3.10.
    """
    public = getattr(peer, "get_unverified_chain", None)
    if public is not None:
        return list(public() or ())
    return [each.public_bytes(_DER) for each in peer._sslobj.get_unverified_chain() or ()]
