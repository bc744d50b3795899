"""RSA-2048 signatures eight at a time: Intel's crypto_mb computes them side by side in the lanes of AVX-512 registers.

One signature takes OpenSSL 360 us on the machine that the benchmarks name; eight in lanes take 1,150 us together, and as
much when fewer lanes are filled, so fewer than `WORTH` are left to OpenSSL.

Each signature is checked with the public key before anybody sees it, as OpenSSL does: one that a fault of the machine
made wrong would give the private key away (Boneh, DeMillo, Lipton 1997). Eight checks in lanes take 46 us.

"""

import ctypes
from collections.abc import Sequence
from ctypes import c_char, c_int, c_uint32, c_void_p, create_string_buffer
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from relay.signing import crypto_mb
from relay.signing.keyfile import PrivateKey

LANES = 8
WORTH = 3  # of eight lanes filled, from which on the call beats OpenSSL
BITS = 2048

_OCTETS = BITS // 8
_EXPONENT = 65537  # the only public exponent that the library has a quick check for, and the only one in use
_KEPT = 1024  # keys whose numbers are kept at hand; one that has retired goes when so many others have signed

# EMSA-PKCS1-v1_5 of a SHA-256 digest, up to the digest itself (RFC 8017 9.2, note 1)
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_PADDING = b"\0\1" + b"\xff" * (_OCTETS - 3 - len(_DIGEST_INFO) - 32) + b"\0" + _DIGEST_INFO

_Pointers = c_void_p * LANES


class _Numbers:
    """A private key's numbers as the library reads them: words of 64 bits, least first. They live as long as this."""

    __slots__ = ("_buffers", "addresses")

    def __init__(self, private: RSAPrivateKey) -> None:
        key = private.private_numbers()
        half = _OCTETS // 2
        numbers = [(n, half) for n in (key.p, key.q, key.dmp1, key.dmq1, key.iqmp)]
        numbers.append((key.public_numbers.n, _OCTETS))
        self._buffers = [create_string_buffer(number.to_bytes(size, "little"), size) for number, size in numbers]
        self.addresses = [ctypes.addressof(buffer) for buffer in self._buffers]


@lru_cache(maxsize=_KEPT)
def _numbers(private: PrivateKey) -> _Numbers | None:
    """None for a key that has no place in a lane: Ed25519, another size, primes of unequal size."""
    if not isinstance(private, RSAPrivateKey) or private.key_size != BITS:
        return None
    key = private.private_numbers()
    if key.public_numbers.e != _EXPONENT or key.p.bit_length() != key.q.bit_length():
        return None
    return _Numbers(private)


class MultiBuffer:
    """The library, ready to sign. Any thread may; Python's lock is free meanwhile."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._private = library.mbx_rsa_private_crt_mb8
        self._private.argtypes = [_Pointers] * 7 + [c_int, c_void_p, c_void_p]
        self._private.restype = c_uint32
        self._public = library.mbx_rsa_public_mb8
        self._public.argtypes = [_Pointers] * 3 + [c_int, c_void_p, c_void_p]
        self._public.restype = c_uint32
        self._signs = _method(library, "mbx_RSA2K_private_crt_Method")
        self._checks = _method(library, "mbx_RSA2K_pub65537_Method")
        library.mbx_RSA_Method_BufSize.argtypes = [c_void_p]
        self._room = max(library.mbx_RSA_Method_BufSize(method) for method in (self._signs, self._checks))

    def __repr__(self) -> str:
        return f"<MultiBuffer {LANES} of RSA-{BITS}>"

    def takes(self, private: PrivateKey) -> bool:
        """Can this key sign in a lane?"""
        return _numbers(private) is not None

    def sign(self, wanted: Sequence[tuple[PrivateKey, bytes]]) -> list[bytes] | None:
        """RSASSA-PKCS1-v1_5 of each SHA-256 digest with its key, of one to eight; the keys are such that it takes().

        None if the library failed or a signature is not good: then none of them may be used.
        """
        keys = [numbers for private, _ in wanted if (numbers := _numbers(private)) is not None]
        if not 0 < len(keys) == len(wanted) <= LANES:
            raise ValueError("one to eight keys of RSA-2048")
        padded = [_PADDING + digest for _, digest in wanted]
        empty = LANES - len(wanted)  # lanes that repeat the first
        keys += keys[:1] * empty
        asked = b"".join(padded + padded[:1] * empty)
        told, given, back = (create_string_buffer(LANES * _OCTETS) for _ in range(3))
        told.raw = asked
        room = create_string_buffer(self._room)
        p, q, dp, dq, qinv, n = (_Pointers(*column) for column in zip(*[key.addresses for key in keys], strict=True))
        failed = self._private(_spread(told), _spread(given), p, q, dp, dq, qinv, BITS, self._signs, room)
        failed |= self._public(_spread(given), _spread(back), n, BITS, self._checks, room)
        if failed or back.raw != asked:
            return None
        signatures = given.raw
        return [signatures[start : start + _OCTETS] for start in range(0, len(wanted) * _OCTETS, _OCTETS)]


@lru_cache(maxsize=1)
def load_multibuffer() -> MultiBuffer | None:
    """None where crypto_mb is not or cannot work. Once a process; a copy of a process that has it shares it."""
    library = crypto_mb.load()
    try:
        return None if library is None else MultiBuffer(library)
    except AttributeError:  # a later one that has other functions
        return None


def _method(library: ctypes.CDLL, name: str) -> c_void_p:
    found = getattr(library, name)
    found.restype = c_void_p
    return c_void_p(found())


def _spread(buffer: "ctypes.Array[c_char]") -> "ctypes.Array[c_void_p]":
    """Where each lane's octets begin."""
    start = ctypes.addressof(buffer)
    return _Pointers(*range(start, start + LANES * _OCTETS, _OCTETS))
