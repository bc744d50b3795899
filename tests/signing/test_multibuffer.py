"""What is signed side by side is what OpenSSL signs, octet for octet; what cannot be is refused, never wrong."""

import ctypes
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, generate_private_key

from relay.signing import crypto_mb
from relay.signing.keyfile import RSA, PrivateKey
from relay.signing.keys import SigningKey
from relay.signing.multibuffer import LANES, MultiBuffer, load_multibuffer
from tests.support.signatures import ed25519_private, long_private, rsa_private, weak_private

multibuffer = load_multibuffer()
needs_multibuffer = pytest.mark.skipif(
    multibuffer is None, reason="this processor has no AVX-512 IFMA, or no system OpenSSL 3"
)


def digest(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def by_openssl(wanted: list[tuple[PrivateKey, bytes]]) -> list[bytes]:
    return [SigningKey("example.com", "s", RSA, private).sign(digest) for private, digest in wanted]


def other_way_round(private: PrivateKey) -> PrivateKey:
    """The same key with its primes swapped, as some programs write it."""
    numbers = private.private_numbers()  # type: ignore[union-attr]
    p, q = numbers.q, numbers.p
    swapped = RSAPrivateNumbers(p, q, numbers.d, numbers.dmq1, numbers.dmp1, pow(q, -1, p), numbers.public_numbers)
    return swapped.private_key(unsafe_skip_rsa_key_validation=True)


@needs_multibuffer
@pytest.mark.parametrize("number", range(1, LANES + 1))
def test_signatures_are_those_of_openssl(number: int) -> None:
    assert multibuffer is not None
    wanted = [(rsa_private(), digest(i)) for i in range(number)]
    assert multibuffer.sign(wanted) == by_openssl(wanted)


@needs_multibuffer
def test_each_lane_has_a_key_of_its_own() -> None:
    assert multibuffer is not None
    keys = [rsa_private(), generate_private_key(65537, 2048), other_way_round(rsa_private())]
    wanted = [(keys[i % 3], digest(i)) for i in range(LANES)]
    assert multibuffer.sign(wanted) == by_openssl(wanted)


@needs_multibuffer
def test_keys_without_a_place_in_a_lane() -> None:
    assert multibuffer is not None
    assert multibuffer.takes(rsa_private())
    assert not multibuffer.takes(ed25519_private())
    assert not multibuffer.takes(weak_private(1024))
    assert not multibuffer.takes(long_private())
    assert not multibuffer.takes(generate_private_key(3, 2048))
    for wanted in ([], [(ed25519_private(), digest(1))], [(rsa_private(), digest(1))] * (LANES + 1)):
        with pytest.raises(ValueError, match="one to eight"):
            multibuffer.sign(wanted)


@needs_multibuffer
def test_a_signature_that_a_fault_spoilt_is_shown_to_nobody() -> None:
    """Its difference to the right one would tell a prime of the key: d mod p is damaged here."""
    assert multibuffer is not None
    good = generate_private_key(65537, 2048).private_numbers()
    bad = RSAPrivateNumbers(good.p, good.q, good.d, good.dmp1 ^ 2, good.dmq1, good.iqmp, good.public_numbers)
    spoilt = bad.private_key(unsafe_skip_rsa_key_validation=True)
    assert multibuffer.sign([(rsa_private(), digest(1)), (spoilt, digest(2))]) is None
    assert multibuffer.sign([(rsa_private(), digest(1))]) is not None


def test_a_library_is_loaded_once() -> None:
    assert load_multibuffer() is multibuffer
    assert multibuffer is None or repr(multibuffer) == f"<{MultiBuffer.__name__} 8 of RSA-2048>"


def test_one_that_lacks_a_function_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto_mb, "load", lambda: ctypes.CDLL(None))
    assert load_multibuffer.__wrapped__() is None
