from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config import passwords
from relay.config.problems import Wrong


def test_a_password_has_160_random_bits_in_letters_that_survive_anything() -> None:
    made = {passwords.generate() for _ in range(50)}
    assert len(made) == 50
    assert all(len(password) == 32 and password.isalnum() and password.islower() for password in made)


@given(password=st.text(), salt=st.binary(min_size=1, max_size=32))
def test_what_is_kept_is_the_salted_hash_alone(password: str, salt: bytes) -> None:
    parsed = passwords.parse(passwords.hashed(password, salt))
    assert parsed.salt == salt
    assert parsed.digest == sha256(salt + password.encode()).digest()
    assert parsed.until == 0


def test_every_hash_has_a_salt_of_its_own() -> None:
    assert passwords.hashed("same") != passwords.hashed("same")


def test_an_older_password_ends() -> None:
    entry = passwords.until(passwords.hashed("x"), 1_795_219_200_999)
    assert entry.endswith(":2026-11-21T00:00:00Z")
    assert passwords.parse(entry).until == 1_795_219_200_000
    assert passwords.until(entry, 1_795_305_600_000).endswith(":2026-11-22T00:00:00Z"), "an end is replaced, not added"


def test_a_time_without_zone_is_utc() -> None:
    assert passwords.parse(f"{passwords.hashed('x')}:2026-11-21T00:00:00").until == 1_795_219_200_000


def test_both_base64_alphabets_with_and_without_padding() -> None:
    digest = "-_" * 21 + "A"
    plain = passwords.parse(f"sha256:c2FsdA:{digest}")
    assert plain == passwords.parse(f"sha256:c2FsdA==:{digest.replace('-', '+').replace('_', '/')}=")
    assert plain.salt == b"salt"


@pytest.mark.parametrize(
    "entry", ["hunter2", "sha256:c2FsdA:dGlueQ", "sha256:c2FsdA:" + "A" * 100, "sha256:a:" + "A" * 43, 5, None]
)
def test_what_is_no_hash_is_never_repeated(entry: object) -> None:
    with pytest.raises(Wrong) as raised:
        passwords.parse(entry)
    assert raised.value.slug == "password"
    assert str(entry) not in raised.value.message


def test_what_is_no_hash_of_a_token_says_what_makes_one() -> None:
    with pytest.raises(Wrong, match="no hash of a token; make one with: postlane credentials token NAME"):
        passwords.parse_token("shop.hunter2")
    assert passwords.parse_token(passwords.hashed("x", b"salt")).salt == b"salt"
