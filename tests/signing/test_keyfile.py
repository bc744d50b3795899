"""One key in a file: private, whole, never overwritten."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.signing.entries import KeysError
from relay.signing.keyfile import (
    ED25519,
    RSA,
    algorithm_of,
    parse_private_key,
    throwaway_key,
    throwaway_key_of,
    write_private_key,
)
from tests.support.signatures import ed25519_private, rsa_private

RSA_512 = b"""\
-----BEGIN PRIVATE KEY-----
MIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEAsV5yWxXohHaBjnFG
XeSV2yJC1EFD8strnSoeG5c0EiEaqHGxSzH+cuL6hu6LHxTeAuBTg7gLaLM/aVj9
pIDKpwIDAQABAkEAkxFyFs6apsMwd7C7HP19uF63NRIMylQbngyfPFdqiKBhymeN
1GmrOKicKLLJmSDIesA5VAs6AMMFTyoL/i+W+QIhAOdvg/HSmpO+w0+tGWuf2iRj
QGOkFhbwOVXt9SyfXN3NAiEAxDHZ5kCJqZWaG18aHTZqHWPxTgy7qaHA+h2aEBSP
tkMCIGaaovWP+CXuWeq2BGIZkX22XvKN6Zkr0U+OWrb4xBQ1AiAW+SdkuMXl36it
79Lk/MwsKNnGo+MNl+063GB/5Yh2dQIhAK5vc4hVfBz9yUaqqEm3m9k9VnuzYOSl
VKn+WpqLwhIN
-----END PRIVATE KEY-----
"""


def test_a_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "example.com" / "2026b.pem"
    write_private_key(file, ed25519_private())
    assert file.stat().st_mode & 0o777 == 0o600
    assert parse_private_key(file.read_bytes(), file).public_key() == ed25519_private().public_key()
    assert [path.name for path in file.parent.iterdir()] == ["2026b.pem"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "2026b.pem"
    file.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        write_private_key(file, rsa_private())
    assert [path.name for path in tmp_path.iterdir()] == ["2026b.pem"]
    assert file.read_bytes() == b"precious"


def test_a_crash_while_writing_does_no_harm_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 4711)
    (tmp_path / ".2026b.pem.4711").write_bytes(b"half")
    write_private_key(tmp_path / "2026b.pem", rsa_private())
    assert [path.name for path in tmp_path.iterdir()] == ["2026b.pem"]


def test_a_short_rsa_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="512 bits: verifiers refuse less than 1024"):
        parse_private_key(RSA_512, tmp_path / "old.pem")


def test_a_damaged_key_is_noticed_at_load(tmp_path: Path) -> None:
    """Its form is right, so only a signature tells: p and q changed by two."""
    numbers = rsa_private().private_numbers()  # type: ignore[union-attr]
    bent = RSAPrivateNumbers(
        numbers.p + 2,
        numbers.q + 2,
        numbers.d,
        numbers.dmp1,
        numbers.dmq1,
        numbers.iqmp,
        RSAPublicNumbers(65537, (numbers.p + 2) * (numbers.q + 2)),
    ).private_key(unsafe_skip_rsa_key_validation=True)
    write_private_key(tmp_path / "a.pem", bent)
    with pytest.raises(KeysError, match="is damaged: its own signatures fail"):
        parse_private_key((tmp_path / "a.pem").read_bytes(), tmp_path / "a.pem")


def test_workers_that_start_together_share_one_throw_away_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race that link() decides: both found no file, one was first."""
    file = tmp_path / "data" / "sandbox-dkim.pem"
    first = throwaway_key(file)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    second = throwaway_key(file)
    assert first.public_key() == second.public_key()


@pytest.mark.parametrize("algorithm", [RSA, ED25519])
def test_the_file_is_what_other_tools_read(tmp_path: Path, algorithm: str) -> None:
    private = rsa_private() if algorithm == RSA else ed25519_private()
    write_private_key(tmp_path / "a.pem", private)
    expected = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert (tmp_path / "a.pem").read_bytes() == expected


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """We are root, says the kernel: whom each new file or folder was given to, by its name when that was done."""
    to: dict[str, tuple[int, int]] = {}

    def chown(made: int | Path, user: int, group: int, *, follow_symlinks: bool) -> None:
        assert follow_symlinks == isinstance(made, int)
        path = Path(f"/proc/self/fd/{made}").readlink() if isinstance(made, int) else made
        to[path.name] = user, group

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.chown", chown)
    return to


def test_what_root_makes_belongs_to_the_owner_of_its_folder(
    tmp_path: Path, given: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 4711)
    write_private_key(tmp_path / "example.com" / "2026b.pem", ed25519_private())
    owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    assert given == {"example.com": owner, ".2026b.pem.4711": owner}


def test_folders_that_were_there_keep_their_owner(tmp_path: Path, given: dict[str, tuple[int, int]]) -> None:
    write_private_key(tmp_path / "2026b.pem", ed25519_private())
    assert tmp_path.name not in given


def test_who_is_not_root_gives_nothing_away(
    tmp_path: Path, given: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    write_private_key(tmp_path / "example.com" / "2026b.pem", ed25519_private())
    assert given == {}


def test_who_only_looks_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "data" / "sandbox-dkim.pem"
    assert algorithm_of(throwaway_key_of(file)) == RSA
    assert not file.parent.exists()
    made = throwaway_key(file)
    assert throwaway_key_of(file).public_key() == made.public_key()
    file.write_bytes(b"no key")
    with pytest.raises(KeysError):
        throwaway_key_of(file)
