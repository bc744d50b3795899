"""Who is behind an address: one spelling, one key, and the address sealed beside it."""

import hmac
from hashlib import blake2s

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.recipient import KEY_OCTETS, Keys, SealError, normalised, spellings
from relay.wildcard import AnyOf

SECRET, NEWER = b"s" * 32, b"n" * 32


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Dana@B.Example", "dana@b.example"),
        ("dana@bücher.example", "dana@xn--bcher-kva.example"),
        ("dana@BÜCHER.example.", "dana@xn--bcher-kva.example"),
        ("dana@xn--bcher-kva.example", "dana@xn--bcher-kva.example"),
        ("דנה@דוגמה.example", "דנה@xn--6dbbec0c.example"),
        ("jose\u0301@b.example", "jos\u00e9@b.example"),
        # needless quotes and comments are gone, needed ones stay
        ('"dana"@b.example', "dana@b.example"),
        ('"da\\na"@b.example', "dana@b.example"),
        ('"Dana Levi"@b.example', '"dana levi"@b.example'),
        ('"a\\"b"@b.example', '"a\\"b"@b.example'),
        ('"a@b"@b.example', '"a@b"@b.example'),
        ('""@b.example', '""@b.example'),
        ("dana(at work)@b.example", "dana@b.example"),
        ("(x)dana(y)@(z)b.example(w)", "dana@b.example"),
        ('"dana(home)"@b.example', '"dana(home)"@b.example'),
        # address literals
        ("dana@[192.0.2.1]", "dana@[192.0.2.1]"),
        ("dana@[IPv6:2001:DB8:0:0::1]", "dana@[ipv6:2001:db8::1]"),
        ("dana@[IPv6:none]", "dana@[ipv6:none]"),
        # tags and dots where the provider is known to ignore them, and nowhere else
        ("Da.Na+shop@gmail.com", "dana@gmail.com"),
        ("d.a.n.a@GoogleMail.com", "dana@gmail.com"),
        ("da.na+shop@outlook.com", "da.na@outlook.com"),
        ("da-n_a.+x@proton.me", "dana@proton.me"),
        ("da.na+shop@b.example", "da.na+shop@b.example"),
        ("+shop@gmail.com", "+shop@gmail.com"),
        ('"da na+x"@gmail.com', '"da na+x"@gmail.com'),
        # nonsense has a spelling, too
        ("no address", "no address"),
        ("", ""),
        ("@", "@"),
        ("a@b@c.example", "a@b@c.example"),
    ],
)
def test_all_spellings_of_a_mailbox_are_one(written: str, normal: str) -> None:
    assert normalised(written) == normal
    assert normalised(normal) == normal


@pytest.mark.parametrize("octets", [254, 255])
def test_the_longest_addresses_have_keys_of_their_own(octets: int) -> None:
    address = "a" * 64 + "@" + "b" * 50 + "." + "c" * (octets - 64 - 1 - 51 - 8) + ".example"
    assert len(address) == octets
    keys = Keys([SECRET])
    assert keys.open(keys.seal(address), keys.key(address)) == address
    assert keys.key(address) != keys.key(address.replace("aa", "ab", 1))


@given(st.from_regex(r"[a-z0-9_+.-]{1,12}@[a-z0-9-]{1,8}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True))
def test_a_plain_address_has_the_spelling_that_a_look_at_all_of_it_finds(address: str) -> None:
    assert normalised(address) == normalised(f" {address}")


WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
LOCALS = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,40}", fullmatch=True) | WORDS | WORDS.map(lambda w: f'"{w}"')
DOMAINS = st.sampled_from(["gmail.com", "B.example", "bücher.example", "[IPv6:2001:DB8::1]", "proton.me"]) | WORDS


@settings(deadline=None)
@given(LOCALS, DOMAINS)
def test_whatever_is_written_the_spelling_is_stable_and_sealing_is_exact(local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    normal = normalised(address)
    assert normalised(normal) == normal
    keys = Keys([SECRET])
    assert keys.key(address) == keys.key_of(normal)
    assert len(keys.key(address)) == KEY_OCTETS
    assert keys.open_text(keys.sealed_text(address), keys.key(address)) == address


@settings(deadline=None)
@given(st.text("abcXYZ019", min_size=1, max_size=20), st.text("abcXYZ019", min_size=1, max_size=20))
def test_different_mailboxes_have_different_keys(one: str, other: str) -> None:
    keys = Keys([SECRET])
    same = one.lower() == other.lower()
    assert (keys.key(f"{one}@b.example") == keys.key(f"{other}@b.example")) is same


def test_a_key_is_an_hmac_of_the_one_spelling() -> None:
    person = blake2s(b"s" * 32, person=b"person").digest()
    for address in ("dana@b.example", "ד@b.example", "x" * 300 + "@b.example"):
        assert Keys([b"s" * 32]).key_of(address) == hmac.digest(person, address.encode(), "sha256")[:KEY_OCTETS]


def test_keys_stay_when_a_secret_is_added_and_what_was_sealed_still_opens() -> None:
    before, after = Keys([SECRET]), Keys([SECRET, NEWER])
    key = before.key("dana@b.example")
    assert after.key("Dana@b.example") == key
    assert after.seal("dana@b.example") != before.seal("dana@b.example")
    assert after.open(before.seal("dana@b.example"), key) == "dana@b.example"
    with pytest.raises(SealError):
        before.open(after.seal("dana@b.example"), key)
    assert Keys([NEWER]).key("dana@b.example") != key


def test_what_was_changed_cut_or_belongs_to_another_person_does_not_open() -> None:
    keys = Keys([SECRET])
    sealed, key = keys.seal("dana@b.example"), keys.key("dana@b.example")
    bad = [b"", sealed[:1], sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), bytes([sealed[0] ^ 1]) + sealed[1:]]
    for octets in bad:
        with pytest.raises(SealError):
            keys.open(octets, key)
    with pytest.raises(SealError):
        keys.open(sealed, keys.key("other@b.example"))
    with pytest.raises(SealError):
        keys.open_text("no base64!", key)
    assert "s" * 8 not in repr(keys)


def test_what_is_asked_of_columns_finds_every_spelling() -> None:
    key = "0f" * 16
    assert "d.a.na+x@gmail.com" in spellings("dana@gmail.com", key)["recipient"]
    assert "dana@googlemail.com" in spellings("dana@gmail.com")["recipient"]
    assert '"dana"@b.example' in spellings("dana@b.example")["recipient"]
    assert f"~{key}@B.example" in spellings("dana@b.example", key)["recipient"]
    assert f"~{key}@B.example" not in spellings("dana@b.example")["recipient"]
    assert spellings('"a b"@b.example', key) == {"domain": AnyOf(("b.example",))}
    assert spellings("dána@xn--bcher-kva.example") == {"domain": AnyOf(("bücher.example", "xn--bcher-kva.example"))}
