"""The library is found and loaded where it can work, and asks for nothing that it does not use."""

import ctypes
import struct
from pathlib import Path

import pytest

from relay.signing import crypto_mb

HEADER, PROGRAM, ENTRY = 64, 56, 16
NEEDLESS = frozenset((b"libsvml.so", b"libimf.so"))
SHIFT = 0x1000  # of an address against its place in the file, as linkers have it


def shared_object(needed: list[bytes]) -> bytes:
    """As much of one as says what it needs: two program headers, the dynamic part, its names (elf(5))."""
    strings = b"\0" + b"".join([name + b"\0" for name in needed])
    entries = [(1, strings.index(b"\0" + name + b"\0") + 1) for name in needed]
    dynamic = HEADER + 2 * PROGRAM
    length = (len(entries) + 3) * ENTRY
    names = dynamic + length
    entries += [(5, names + SHIFT), (10, len(strings)), (0, 0)]
    end = names + len(strings)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, HEADER, 0, 0, HEADER, PROGRAM, 2, 0, 0, 0)
    loaded = struct.pack("<IIQQQQQQ", 1, 5, 0, SHIFT, SHIFT, end, end, 4096)
    dynamic_part = struct.pack("<IIQQQQQQ", 2, 6, dynamic, dynamic + SHIFT, dynamic + SHIFT, length, length, 8)
    return header + loaded + dynamic_part + b"".join([struct.pack("<QQ", *entry) for entry in entries]) + strings


def test_what_is_not_used_is_not_asked_for_any_more() -> None:
    image = shared_object([b"libcrypto.so.3", b"libsvml.so", b"libc.so.6", b"libimf.so"])
    left = crypto_mb.without_needed(image, NEEDLESS)
    assert len(left) == len(image)  # nothing is moved but the entries of the list
    start, length = HEADER + 2 * PROGRAM, 7 * ENTRY
    entries = list(struct.iter_unpack("<QQ", left[start : start + length]))
    strings = left[start + length :]
    assert [strings[value:].split(b"\0")[0] for tag, value in entries if tag == 1] == [b"libcrypto.so.3", b"libc.so.6"]
    assert [tag for tag, _ in entries] == [1, 1, 5, 10, 0, 0, 0]
    assert left[:start] + strings == image[:start] + image[start + length :]


def test_one_that_asks_for_nothing_needless_stays_as_it_is() -> None:
    image = shared_object([b"libc.so.6"])
    assert crypto_mb.without_needed(image, NEEDLESS) == image


@pytest.mark.parametrize("length", [0, 3, 40, 100, 180])
def test_what_is_no_shared_object_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="shared object"):
        crypto_mb.without_needed(shared_object([b"libc.so.6"])[:length], NEEDLESS)


def test_without_the_package_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto_mb, "_PACKAGE", "a-package-that-nobody-has")
    assert crypto_mb.load() is None


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_a_file_that_cannot_be_loaded_is_none(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "libcrypto_mb.so"
    file.write_bytes(content)
    monkeypatch.setattr(crypto_mb, "_find", lambda: file)
    assert crypto_mb.load() is None


def test_a_library_without_its_functions_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later one may have others: what is loaded here is the program's own symbols."""
    file = tmp_path / "libcrypto_mb.so"
    file.write_bytes(shared_object([]))
    monkeypatch.setattr(crypto_mb, "_find", lambda: file)
    monkeypatch.setattr(crypto_mb, "_open", lambda image: ctypes.CDLL(None))
    assert crypto_mb.load() is None
