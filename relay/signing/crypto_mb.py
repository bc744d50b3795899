"""Finds Intel's crypto_mb (package ipp-crypto, Apache-2.0) and loads it; load() gives None where that cannot be.

The library as published names four libraries of Intel's compiler that are not free, 130 MB of them, and uses no symbol
of theirs (`nm -D --undefined-only`). So it is loaded from a copy in memory (memfd_create(2)) that no longer names them.
"""

import ctypes
import os
import struct
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

_PACKAGE, _LIBRARY = "ipp-crypto", "libcrypto_mb.so"
_NEEDLESS = frozenset((b"libsvml.so", b"libirng.so", b"libimf.so", b"libintlc.so.5"))

# ELF of 64 bits, least octet first (System V ABI; elf(5))
_MAGIC = b"\x7fELF\x02\x01"
_PROGRAM = struct.Struct(
    "<IIQQQQQQ"
)  # type, flags, offset, virtual address, physical, size in file, in memory, alignment
_DYNAMIC = struct.Struct("<QQ")  # tag, value
_LOADED, _DYNAMIC_PART = 1, 2  # types of program headers
_END, _NEEDED, _STRINGS = 0, 1, 5  # tags


def load() -> ctypes.CDLL | None:
    """The library, if it is installed, this processor has what it needs (AVX-512 IFMA) and OpenSSL 3 is there."""
    file = _find()
    if file is None:
        return None
    try:
        library = _open(without_needed(file.read_bytes(), _NEEDLESS))
        library.mbx_is_crypto_mb_applicable.argtypes = [ctypes.c_uint64]
        return library if library.mbx_is_crypto_mb_applicable(0) == 1 else None
    except (OSError, ValueError, AttributeError):  # no OpenSSL 3 here, no memfd, no ELF or no functions as we know them
        return None


def _find() -> Path | None:
    try:
        listed = files(_PACKAGE) or []
    except PackageNotFoundError:
        return None
    return next((Path(str(one.locate())) for one in listed if one.name == _LIBRARY), None)


def _open(image: bytes) -> ctypes.CDLL:
    descriptor = os.memfd_create(_LIBRARY)
    try:
        with open(descriptor, "wb", closefd=False) as memory:
            memory.write(image)
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def without_needed(image: bytes, needless: frozenset[bytes]) -> bytes:
    """A shared object that asks for none of these libraries any more. Raises ValueError if it is none."""
    try:
        return _without_needed(image, needless)
    except (struct.error, StopIteration) as error:
        raise ValueError("not a shared object of 64 bits") from error


def _without_needed(image: bytes, needless: frozenset[bytes]) -> bytes:
    if not image.startswith(_MAGIC):
        raise ValueError("not a shared object of 64 bits")
    (first,) = struct.unpack_from("<Q", image, 32)
    size, number = struct.unpack_from("<HH", image, 54)
    parts = [_PROGRAM.unpack_from(image, first + size * i) for i in range(number)]
    start, length = next((part[2], part[5]) for part in parts if part[0] == _DYNAMIC_PART)
    entries = list(_DYNAMIC.iter_unpack(image[start : start + length]))
    strings = next(value for tag, value in entries if tag == _STRINGS)
    names = next(
        offset + strings - address
        for kind, _, offset, address, _, stored, _, _ in parts
        if kind == _LOADED and address <= strings < address + stored
    )

    def asks(entry: tuple[int, int]) -> bool:
        begin = names + entry[1]
        return entry[0] == _NEEDED and image[begin : image.index(b"\0", begin)] in needless

    kept = b"".join([_DYNAMIC.pack(*entry) for entry in entries if not asks(entry)])
    return image[:start] + kept.ljust(length, b"\0") + image[start + length :]  # zeros: DT_NULL, the end
