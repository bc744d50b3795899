"""Which keys sign, and what a person reads about keys that cannot."""

import os
import re
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)
from structlog.testing import capture_logs

from relay.signing.entries import KeysError, states_text
from relay.signing.keyfile import ED25519, RSA, PrivateKey
from relay.signing.keys import KeyRing, SigningKey, is_domain, is_selector, load_accepted_keys, read_keys
from tests.support.signatures import both_keys, ed25519_private, load_keys, long_private, rsa_private, weak_private


def pem(private: PrivateKey, kind: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return private.private_bytes(Encoding.PEM, kind, NoEncryption())


def put(directory: Path, name: str, content: bytes) -> Path:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o600)
    return file


def problems(directory: Path) -> list[str]:
    with pytest.raises(KeysError) as caught:
        load_keys(directory)
    return [str(problem).removeprefix(f"{directory}/") for problem in caught.value.problems]


def ring(*keys: SigningKey) -> KeyRing:
    return KeyRing(keys)


def names(keys: tuple[SigningKey, ...]) -> list[str]:
    return [f"{key.domain}/{key.selector}" for key in keys]


# Which keys sign


def test_the_keys_of_the_domain_itself_sign() -> None:
    keys = ring(*both_keys("example.com"), *both_keys("news.example.com"))
    assert names(keys.for_domain("news.example.com")) == ["news.example.com/2026b", "news.example.com/2026b-ed"]


def test_else_those_of_the_nearest_parent() -> None:
    keys = ring(*both_keys("example.com"), *both_keys("news.example.com"))
    assert names(keys.for_domain("a.b.news.example.com")) == ["news.example.com/2026b", "news.example.com/2026b-ed"]
    assert names(keys.for_domain("shop.example.com")) == ["example.com/2026b", "example.com/2026b-ed"]


@pytest.mark.parametrize("domain", ["example.net", "badexample.com", "com", "", ".", "example.com.", "x." * 2_000_000])
def test_nobody_signs_for_strangers(domain: str) -> None:
    assert ring(*both_keys("example.com")).for_domain(domain) == ()


def test_whose_name_a_signature_bears() -> None:
    keys = ring(*both_keys("example.com"))
    assert [keys.signer_of(one) for one in ("example.com", "a.example.com", "example.net")] == ["example.com"] * 2 + [
        ""
    ]


@pytest.mark.parametrize("state", ["pending", "retired"])
def test_only_active_keys_sign(state: str) -> None:
    resting = SigningKey("news.example.com", "2026a", RSA, rsa_private(), state)
    keys = ring(resting, *both_keys("example.com"))
    assert names(keys.for_domain("news.example.com")) == ["example.com/2026b", "example.com/2026b-ed"]


def test_a_throw_away_key_signs_for_those_without(tmp_path: Path) -> None:
    put(tmp_path, "dkim/example.com/2026b.pem", pem(rsa_private()))
    keys = load_keys(tmp_path / "dkim", tmp_path / "data")
    assert names(keys.for_domain("example.com")) == ["example.com/2026b"]
    assert names(keys.for_domain("example.net")) == ["example.net/sandbox"]
    assert keys.for_domain("no domain;x=y") == ()


def test_all_workers_share_the_throw_away_key(tmp_path: Path) -> None:
    first, second = (load_keys(tmp_path / "dkim", tmp_path / "data").for_domain("example.net")[0] for _ in range(2))
    assert first.dns_value == second.dns_value
    assert (tmp_path / "data" / "sandbox-dkim.pem").stat().st_mode & 0o777 == 0o600


def test_a_ring_tells_what_it_holds_and_no_secret() -> None:
    keys = both_keys("example.com")
    assert repr(ring(*keys)) == "<KeyRing 2 keys, active for example.com>"
    assert repr(KeyRing([], throwaway=rsa_private())) == (
        "<KeyRing 0 keys, active for no domain, a throw-away key for all else>"
    )
    assert "private" not in repr(keys)


# Names


@pytest.mark.parametrize("name", ["example.com", "xn--bcher-kva.example", "a.b.c.d", "localhost", "1.example"])
def test_domains(name: str) -> None:
    assert is_domain(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../etc", "a/b", "a..b", ".a", "a.", "-a.com", "A.com", "bücher.de", "a_b.com", "a\n", "a" * 64],
)
def test_no_domains(name: str) -> None:
    assert not is_domain(name)


@pytest.mark.parametrize("name", ["2026b", "2026b-ed", "s1", "k_2020", "mail.eu", "S1"])
def test_selectors(name: str) -> None:
    assert is_selector(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a..b", "../x", "a/b", "-a", "a-", "a b", "a\n", "ä", "a" * 64])
def test_no_selectors(name: str) -> None:
    assert not is_selector(name)


# Reading


def test_no_directory_is_no_keys(tmp_path: Path) -> None:
    assert load_keys(tmp_path / "dkim").keys == ()


def test_keys_are_read_with_their_states(tmp_path: Path) -> None:
    put(tmp_path, "example.com/2026a.pem", pem(rsa_private(), PrivateFormat.TraditionalOpenSSL))
    put(tmp_path, "example.com/2026b.pem", pem(rsa_private()))
    put(tmp_path, "example.com/2026b-ed.pem", pem(ed25519_private()))
    put(tmp_path, "example.com/.2026c.pem.123", b"half written")
    put(
        tmp_path,
        "keys.toml",
        b'[key."example.com".2026a]\nstate = "retired"\ncreated = 2026-11-21T12:00:00Z\n'
        b'[key."example.com".2026b]\nstate = "pending"\ncreated = 2026-11-21\n',
    )
    keys, warnings = read_keys(tmp_path)
    assert [(key.selector, key.algorithm, key.state) for key in keys] == [
        ("2026a", RSA, "retired"),
        ("2026b-ed", ED25519, "active"),
        ("2026b", RSA, "pending"),
    ]
    assert [keys[0].created, keys[2].created] == [1_795_262_400_000, 1_795_219_200_000]
    assert keys[1].created == int((tmp_path / "example.com/2026b-ed.pem").stat().st_mtime * 1000)
    assert warnings == []


def test_what_was_accepted_does_not_depend_on_what_is_being_edited(tmp_path: Path) -> None:
    """A process that starts anew signs as the others do: not with keys nobody accepted, not in another state."""
    directory, states = tmp_path / "dkim", tmp_path / "kept.toml"
    for name in ("a.example/one", "a.example/two", "b.example/gone", "b.example/half"):
        put(directory, f"{name}.pem", pem(ed25519_private()))
    put(directory, "keys.toml", b'[key."a.example".two]\nstate = "pending"\n')
    accepted = load_keys(directory)
    states.write_text(states_text((key.domain, key.selector, key.state) for key in accepted.keys))
    put(directory, "a.example/three.pem", pem(ed25519_private()))
    put(directory, "keys.toml", b"[half an ed")
    put(directory, "b.example/half.pem", b"half a key")
    (directory / "b.example" / "gone.pem").unlink()
    with capture_logs() as log:
        ring = load_accepted_keys(directory, states)
    assert [(key.selector, key.state) for key in ring.keys] == [("one", "active"), ("two", "pending")]
    assert [one["log_level"] for one in log] == ["error", "error"]
    assert "b.example/gone.pem: cannot be read" in log[0]["problem"]
    assert "b.example/half.pem: " in log[1]["problem"]
    assert load_accepted_keys(directory, tmp_path / "none").keys == ()


def test_accepted_keys_have_the_sandbox_s_throw_away_key_too(tmp_path: Path) -> None:
    ring = load_accepted_keys(tmp_path, tmp_path / "none", tmp_path)
    published = {
        key.dns_value for made in (ring, load_keys(tmp_path, tmp_path)) for key in made.for_domain("b.example")
    }
    assert len(published) == 1


def test_what_should_not_stay_so_is_a_warning(tmp_path: Path) -> None:
    put(tmp_path, "example.com/long.pem", pem(long_private()))
    put(tmp_path, "example.com/old.pem", pem(weak_private(1024)))
    put(tmp_path, "example.com/open.pem", pem(rsa_private())).chmod(0o644)
    put(tmp_path, "example.com/other.key", b"")
    put(tmp_path, "README", b"a note")
    put(
        tmp_path,
        "keys.toml",
        b'[key."example.com".gone]\nstate = "active"\n[key."example.com".done]\nstate = "retired"\n',
    )
    _, warnings = read_keys(tmp_path)
    assert [str(warning).removeprefix(f"{tmp_path}/") for warning in warnings] == [
        "example.com/long.pem: warning: not every verifier takes RSA of more than 4096 bits (RFC 8301)   [dkim-key]",
        "example.com/old.pem: warning: RSA of 1024 bits is weak; replace it by 2048 (RFC 8301)   [dkim-key]",
        "example.com/open.pem: warning: every user of this machine can read it: "
        f"chmod o= {tmp_path}/example.com/open.pem   [dkim-key]",
        "example.com/other.key: warning: not read: the name of a key is its selector and .pem   [dkim-key]",
        'keys.toml: key."example.com".gone: warning: active, but example.com/gone.pem is missing; '
        "bring it back or drop the entry   [dkim-key]",
    ]
    assert all(warning.warning for warning in warnings)


def foreign_files() -> dict[str, bytes]:
    p256 = ec.generate_private_key(ec.SECP256R1())
    der = rsa_private().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {
        "encrypted": rsa_private().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        "openssh": rsa_private().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "public": rsa_private().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "certificate": b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "elliptic": p256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "der": der,
        "empty": b"",
        "cut-off": pem(rsa_private())[:500],
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("encrypted", "is encrypted; take the passphrase off: openssl pkey -in "),
        ("openssh", "is an OpenSSH key; convert a copy: ssh-keygen -p -m PKCS8"),
        ("public", "is a public key; the private key is wanted"),
        ("certificate", "is a certificate; the private key is wanted"),
        ("elliptic", "holds a key of kind EC; DKIM knows RSA and Ed25519"),
        ("der", "is no private key in PEM form; convert it"),
        ("empty", "is no private key in PEM form"),
        ("cut-off", "is no private key in PEM form"),
    ],
)
def test_foreign_files_are_named_with_their_cure(tmp_path: Path, kind: str, expected: str) -> None:
    put(tmp_path, "example.com/2026b.pem", foreign_files()[kind])
    assert [p.startswith(f"example.com/2026b.pem: {expected}") for p in problems(tmp_path)] == [True], problems(
        tmp_path
    )


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, "Example.com/2026b.pem", pem(rsa_private()))
    put(tmp_path, "example.com/a b.pem", pem(rsa_private()))
    put(tmp_path, "example.com/empty.pem", b"")
    (tmp_path / "example.com" / "folder.pem").mkdir()
    told = problems(tmp_path)
    assert [problem.split(":")[0] for problem in told] == [
        "Example.com",
        "example.com/a b.pem",
        "example.com/empty.pem",
        "example.com/folder.pem",
    ]


def test_a_key_that_must_not_be_read_names_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal itself is played."""
    file = put(tmp_path, "example.com/2026b.pem", pem(rsa_private()))

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    told = problems(tmp_path)
    assert told == [
        f"{file.relative_to(tmp_path)}: cannot be read (Permission denied); "
        f"give it to the user Postlane runs as (uid {os.geteuid()})   [dkim-key]"
    ]


def test_a_directory_that_must_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(KeysError, match=r"cannot be read \(Permission denied\); give it to the user"):
        load_keys(tmp_path)


# DNS


def test_the_record_of_an_rsa_key_is_its_public_key() -> None:
    """RFC 6376 3.6.1"""
    rsa, ed = both_keys("example.com")
    assert rsa.dns_name == "2026b._domainkey.example.com"
    found = re.fullmatch(r"v=DKIM1; k=rsa; p=([A-Za-z0-9+/=]+)", rsa.dns_value)
    assert found is not None
    assert load_der_public_key(b64decode(found[1])) == rsa.private.public_key()
    ed_record = re.fullmatch(r"v=DKIM1; k=ed25519; p=([A-Za-z0-9+/=]+)", ed.dns_value)
    assert ed_record is not None
    assert b64decode(ed_record[1]) == ed.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
