"""The trace id: opaque, ours, and nobody else's."""

from hypothesis import given
from hypothesis import strategies as st

from relay.ids import Ids
from relay.trace import FIELD, Tracer

ID = Ids("relay-1", 0, lambda: 1_795_267_531_104).next()
TRACER = Tracer(b"s" * 32)


def test_opens_to_the_message_and_the_recipient() -> None:
    assert TRACER.open(TRACER.token(ID, 7)) == (ID, 7)
    assert TRACER.field(ID, 7) == f"{FIELD}: {TRACER.token(ID, 7)}\r\n".encode()


def test_recipients_of_one_message_share_nothing_visible() -> None:
    first, second = TRACER.token(ID, 0), TRACER.token(ID, 1)
    assert first[:4] != second[:4]
    assert ID not in first


def test_survives_case_folding() -> None:
    assert TRACER.open(TRACER.token(ID, 7).upper()) == (ID, 7)


def test_another_secret_does_not_open_it() -> None:
    assert Tracer(b"t" * 32).open(TRACER.token(ID, 7)) is None


@given(st.text(max_size=40))
def test_what_we_did_not_make_is_nothing(text: str) -> None:
    assert TRACER.open(text) is None
