"""Tokens: what one says is found again, and by nobody else; whatever is not ours does not open."""

import os
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ids import pack, unpack
from relay.tokens import MAX_TOKEN, Ticket, Tokens

OLD, NEW, FOREIGN = b"o" * 32, b"n" * 32, b"f" * 32
TICKET = Ticket("arava", "arava-newsletter", "dana@gmail.com", 20_779)
HOUR = 3_600_000
NOW = 1_795_267_531_104

NAMES = st.text(st.characters(categories=("Ll", "Nd")), max_size=63).filter(lambda name: len(name.encode()) <= 255)


DAYS, CALLS = st.integers(0, (1 << 24) - 1), st.sampled_from(["", "https://a.example/u?x=1&y=2"])


@given(NAMES, NAMES, st.emails(), DAYS, CALLS)
def test_what_was_sealed_is_opened(brand: str, stream: str, recipient: str, day: int, calls: str) -> None:
    ticket = Ticket(brand, stream, recipient, day, calls)
    tokens = Tokens([OLD])
    assert tokens.open(tokens.seal(ticket)) == ticket


@given(
    DAYS,
    CALLS,
    st.integers(0, (1 << 80) - 1),
    st.integers(0, 65_535),
    NAMES,
    st.text(max_size=60),
    st.sampled_from(["", "0ffe12345678"]),
)
def test_the_message_that_brought_it_is_known_again(
    day: int, calls: str, identifier: int, rcpt: int, credential: str, campaign: str, skeleton: str
) -> None:
    message = unpack(identifier.to_bytes(10, "big"))
    ticket = Ticket("arava", "news", "dana@gmail.com", day, calls, message, rcpt, credential, campaign, skeleton)
    tokens = Tokens([OLD])
    assert tokens.open(tokens.seal(ticket)) == ticket


def test_links_of_before_tokens_knew_their_message_go_on_working() -> None:
    """As it was sealed then: such mail lies in archives for years."""
    token = "KboiC7mwhsMVttRVbE_9xrD0XguiASuPz35XWKleQH-QcAU_ToYk2WpbeLUgip_cZ_Wfo6FNhTOsSVo"
    assert Tokens([OLD]).open(token) == TICKET
    assert Tokens([OLD]).seal(TICKET) == token, "and without a message it is the same today"


def test_nothing_in_it_can_be_read() -> None:
    whole = TICKET._replace(message="01kaj2n0b1k40000", credential="crm-of-shop", campaign="weekend")
    octets = urlsafe_b64decode(Tokens([OLD]).seal(whole) + "==")
    assert len(octets) > 80
    words = b"arava", b"dana", b"gmail", b"newsletter", b"crm-of", b"weekend", b"01kaj", pack(whole.message)
    assert not any(word in octets for word in words)
    token = Tokens([OLD]).seal(TICKET)
    other = Tokens([OLD]).seal(Ticket("arava", "arava-newsletter", "dana@gmail.con", 20_779))
    same = sum(a == b for a, b in zip(token, other, strict=True))
    assert same < len(token) // 2, "one letter changes all of it"


def test_it_fits_into_a_header_line_however_long_the_address_is() -> None:
    longest = Ticket("b" * 63, "s" * 63, "l" * 64 + "@" + "d" * 189, 20_779)
    line = f"List-Unsubscribe: <https://{'h' * 92}/u/{Tokens([OLD]).seal(longest)}>"
    assert len(line) <= 998, "RFC 5322 2.1.1"
    of_message = longest._replace(message="01kaj2n0b1k40000", credential="c" * 63)
    assert len(f"List-Unsubscribe: <https://{'h' * 92}/u/{Tokens([OLD]).seal(of_message)}>") <= 998
    assert len(Tokens([OLD]).seal(TICKET)) < 100
    assert len(Tokens([OLD]).seal(TICKET._replace(message="01kaj2n0b1k40000", credential="crm"))) < 120
    with pytest.raises(ValueError, match="too long"):
        Tokens([OLD]).seal(Ticket("b", "s", "a@b.example", 1, "https://a.example/" + "x" * MAX_TOKEN))
    with pytest.raises(ValueError, match="too long"):
        Tokens([OLD]).seal(Ticket("b" * 256, "s", "a@b.example", 1))


def test_an_address_of_any_script_fits() -> None:
    ticket = Ticket("", "", "דנה@דוגמה.example", 1)
    assert Tokens([OLD]).open(Tokens([OLD]).seal(ticket)) == ticket


def test_after_a_change_of_keys_old_tokens_are_read_and_new_ones_sealed_with_the_new_key() -> None:
    before = Tokens([OLD]).seal(TICKET)
    both = Tokens([OLD, NEW])
    assert both.open(before) == TICKET
    after = both.seal(TICKET)
    assert after != before
    assert Tokens([NEW]).open(after) == TICKET
    assert Tokens([OLD]).open(after) is None, "sealed with a foreign key"
    assert Tokens([NEW]).open(before) is None


def test_what_is_forged_or_cut_does_not_open() -> None:
    tokens = Tokens([OLD, NEW])
    token = tokens.seal(TICKET)
    for at in range(len(token)):
        forged = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert tokens.open(forged) is None, "each character counts, the last one's spare bits too"
        assert tokens.open(token[:at]) is None
    assert tokens.open(token + "A") is None
    assert tokens.open(Tokens([FOREIGN]).seal(TICKET)) is None


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda octets: octets.hex())))
def test_nonsense_does_not_open(token: str) -> None:
    assert Tokens([OLD, NEW]).open(token) is None


def test_endless_nonsense_is_not_even_decoded() -> None:
    assert Tokens([OLD]).open("A" * 10_000_000) is None


def test_a_stamp_is_of_one_token_and_a_day() -> None:
    tokens = Tokens([OLD, NEW])
    stamp = Tokens([OLD]).stamp("token", NOW)
    assert tokens.stamped("token", stamp, NOW)
    assert tokens.stamped("token", stamp, NOW + 23 * HOUR)
    assert not tokens.stamped("token", stamp, NOW + 25 * HOUR)
    assert not tokens.stamped("token", stamp, NOW - HOUR), "of an hour to come"
    assert not tokens.stamped("other", stamp, NOW)
    assert not tokens.stamped("token", "", NOW)
    assert not tokens.stamped("token", "ü", NOW)
    assert not Tokens([FOREIGN]).stamped("token", stamp, NOW)


def test_what_another_purpose_sealed_does_not_open() -> None:
    """The same secret seals other things, too; its keys are of one purpose each."""
    assert Tokens([OLD]).open(os.urandom(60).hex()) is None
    assert repr(Tokens([OLD, NEW])) == "<Tokens of 2 keys>"
