"""Checks DKIM signatures with dkimpy, the published keys handed to it in place of DNS."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers, generate_private_key

from relay.signing.entries import states_text
from relay.signing.keyfile import ED25519, RSA, PrivateKey, new_private_key
from relay.signing.keys import KeyRing, SigningKey, load_accepted_keys, read_keys

NOW = 1_795_262_400_000  # 2026-11-21T12:00:00Z


@cache
def rsa_private() -> PrivateKey:
    """One RSA-2048 key for a whole test run: making one takes a good part of a second."""
    return new_private_key(RSA)


@cache
def weak_private(bits: int) -> PrivateKey:
    return generate_private_key(public_exponent=65537, key_size=bits)


@cache
def long_private() -> PrivateKey:
    """RSA of 4484 bits, at once: its primes are the 16th and the 17th of Mersenne."""
    p, q = 2**2203 - 1, 2**2281 - 1
    d = pow(65537, -1, (p - 1) * (q - 1))
    numbers = RSAPublicNumbers(65537, p * q)
    return RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), numbers).private_key()


@cache
def ed25519_private() -> PrivateKey:
    return new_private_key(ED25519)


def both_keys(domain: str = "example.com") -> tuple[SigningKey, SigningKey]:
    return (
        SigningKey(domain, "2026b", RSA, rsa_private()),
        SigningKey(domain, "2026b-ed", ED25519, ed25519_private()),
    )


def verdicts(message: bytes, keys: Iterable[SigningKey], signatures: int) -> list[bool]:
    """What dkimpy says of the first so many DKIM-Signature fields of a message."""
    records = {f"{key.dns_name}.".encode(): key.dns_value.encode() for key in keys}

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        return records.get(name)

    checked = dkim.DKIM(message)
    return [bool(_verified(checked, index, txt)) for index in range(signatures)]


def _verified(checked: "dkim.DKIM", index: int, txt: Callable[..., bytes | None]) -> object:
    try:
        return checked.verify(index, dnsfunc=txt)
    except dkim.ValidationError:  # a body hash that differs
        return False


def load_keys(directory: Path, sandbox: Path | None = None) -> KeyRing:
    """As a reload takes them: read, put on record, and read again by each process."""
    keys, _ = read_keys(directory)
    states = (sandbox or directory.parent) / "accepted.toml"
    states.parent.mkdir(parents=True, exist_ok=True)
    states.write_text(states_text((key.domain, key.selector, key.state) for key in keys))
    return load_accepted_keys(directory, states, sandbox)
