"""Viewers see whose domain it is and never whose address."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.masking import HIDDEN, key_in, mask, mask_text, masked, pseudonym, without_addresses

PSEUDONYM = "~0123456789abcdef0123456789abcdef@gmail.com"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("dana.levi@gmail.com", "d***@gmail.com"),
        ("me@gmail.com", "***@gmail.com"),
        ("x@gmail.com", "***@gmail.com"),
        ('"dana levi"@x.example', "***@x.example"),
        ("דנה@דואר.example", "ד***@דואר.example"),
        ("a@b@c.example", "a***@c.example"),
        ("dana@[192.0.2.1]", "d***@[192.0.2.1]"),
        ("@x.example", "***@x.example"),
        ("postmaster", "***"),
        ("", ""),
        (PSEUDONYM, PSEUDONYM),
        ("~0123@gmail.com", "~***@gmail.com"),
    ],
)
def test_an_address_keeps_its_domain_and_at_most_a_letter(address: str, shown: str) -> None:
    assert mask(address) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no mail here", "no mail here"),
        ("<dana@gmail.com>: user unknown", "<d***@gmail.com>: user unknown"),
        ("RCPT TO:<dana@gmail.com> NOTIFY=FAILURE", "RCPT TO:<d***@gmail.com> NOTIFY=FAILURE"),
        ("mailto:dana@gmail.com,tal@walla.co.il", "mailto:d***@gmail.com,t***@walla.co.il"),
        ('to "dana levi"@x.example only', "to ***@x.example only"),
        ("https://x.example/?e=dana%40gmail.com&n=1", "https:/***%40gmail.com&n=1"),
        ("dana%40relay.example%40gmail.com", "d***%40r***%40gmail.com"),
        ("d&#64;x.example dana&#x40;x.example", "***&#64;x.example d***&#x40;x.example"),
        ("o'brien@x.example r&d.lab@x.example 50%off@x.example", "o***@x.example r***@x.example 5***@x.example"),
        ("rfc822;dana@gmail.com", "rfc822;d***@gmail.com"),
        ("dana@[192.0.2.1] and דנה@דואר.example", "d***@[192.0.2.1] and ד***@דואר.example"),
        ("sale @ noon, 5 @ 3", "sale @ noon, 5 @ 3"),
        (f"was {PSEUDONYM}", f"was {PSEUDONYM}"),
    ],
)
def test_addresses_are_found_in_any_text(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_of_an_event_all_that_names_a_recipient_is_hidden_and_the_rest_stays() -> None:
    event = {
        "type": "bounced",
        "message_id": "<1042@arava.example>",
        "from": "orders@arava.example",
        "sender": "orders@arava.example",
        "recipient": "dana@gmail.com",
        "domain": "gmail.com",
        "reply": {"code": 550, "enhanced": "5.1.1", "text": "<dana@gmail.com> unknown"},
        "metadata": {"user": "dana@gmail.com", "dana@gmail.com": "yes"},
        "headers": [{"to": ["dana@gmail.com"]}],
        "attempt": 1,
        "captured": True,
        "detail": None,
    }
    assert masked(event) == {
        **event,
        "recipient": "d***@gmail.com",
        "reply": {"code": 550, "enhanced": "5.1.1", "text": "<d***@gmail.com> unknown"},
        "metadata": {"user": "d***@gmail.com", "d***@gmail.com": "yes"},
        "headers": [{"to": ["d***@gmail.com"]}],
    }


def test_a_sender_that_carries_the_recipient_is_hidden() -> None:
    assert masked({"sender": "bounces+dana=gmail.com@app.example"}) == {"sender": "b***@app.example"}


def test_a_recipient_that_is_no_address_is_hidden_too() -> None:
    assert masked({"recipient": "dana"}) == {"recipient": HIDDEN}


def test_of_an_event_without_addresses_remains_who_is_the_same() -> None:
    def key(address: str) -> bytes:
        return address[:1].encode() * 16

    event = {
        "message_id": "<1042@arava.example>",
        "from": "orders@arava.example",
        "sender": "bounces+dana=gmail.com@app.example",
        "recipient": "dana@gmail.com",
        "domain": "gmail.com",
        "reply": {"code": 550, "text": "<dana@gmail.com> unknown"},
        "metadata": {"user": "dana@gmail.com"},
    }
    gone = without_addresses(event, key)
    who = "~" + b"d".hex() * 16 + "@gmail.com"
    assert gone == {
        **event,
        "sender": "***@app.example",
        "recipient": who,
        "reply": {"code": 550, "text": "<***@gmail.com> unknown"},
        "metadata": {"user": "***@gmail.com"},
    }
    assert without_addresses(gone, key) == gone
    assert without_addresses({"recipient": None}, key) == {"recipient": None}
    assert without_addresses({"recipient": ""}, key) == {"recipient": ""}
    assert masked(gone)["recipient"] == who
    assert mask_text(f"<{who}>") == f"<{who}>"


def test_a_pseudonym_tells_the_key_it_was_made_of() -> None:
    key = bytes(range(16))
    assert key_in(pseudonym(key, "gmail.com")) == key
    assert key_in("dana@gmail.com") is None
    assert key_in("~0123@gmail.com") is None


def test_a_text_with_a_pseudonym_in_it_keeps_that_alone() -> None:
    assert without_addresses({"detail": f"{PSEUDONYM}, dana@gmail.com"}, lambda _: b"") == {
        "detail": f"{PSEUDONYM}, ***@gmail.com"
    }


_LOCAL = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=3, max_size=30)


@given(st.text(max_size=40), _LOCAL, st.text(max_size=40))
def test_no_name_is_left_whatever_stands_around_it(before: str, name: str, after: str) -> None:
    bare = "".join(sign for sign in name if sign not in '@<>()[],;:"\\%&') + "xyz"
    shown = mask_text(f"{before}{bare}@gmail.com{after}")
    assert f"{bare}@gmail.com" not in shown


@pytest.mark.parametrize("piece", ["a", "@", '"', "a%40", "%", "&#64;", '"\\', "a ", "a@"])
def test_time_is_in_proportion_to_the_text(piece: str) -> None:
    began = time.process_time()
    mask_text(piece * (200_000 // len(piece)))
    assert time.process_time() - began < 2.0
