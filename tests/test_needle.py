"""A needle is found where bytes.find() finds it."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.needle import BEGINNING, PIECE, Needle

NEEDLES = [b"  ", b" \r\n", b"\r\n."]
SEAMS = [0, BEGINNING, BEGINNING + PIECE, BEGINNING + 2 * PIECE]


@pytest.mark.parametrize("octets", NEEDLES)
@given(
    places=st.lists(st.builds(int.__add__, st.sampled_from(SEAMS), st.integers(-4, 4)), max_size=4),
    start=st.builds(int.__add__, st.sampled_from([0, *SEAMS]), st.integers(0, 4)),
    size=st.builds(int.__add__, st.sampled_from(SEAMS), st.integers(0, 8)),
    filler=st.sampled_from([b"x", b" ", b"\r", b"\n"]),
)
def test_it_is_found_wherever_it_is(octets: bytes, places: list[int], start: int, size: int, filler: bytes) -> None:
    hay = bytearray(filler * size)
    for place in places:
        hay[max(place, 0) : max(place, 0) + len(octets)] = octets
    expected = hay.find(octets, start)
    assert Needle(octets).find(hay, start) == expected
    assert Needle(octets).find(bytes(hay), start) == expected


def test_a_buffer_that_was_searched_can_change_at_once() -> None:
    buffer = bytearray(b"x" * 4 * BEGINNING + b"\r\n.")
    assert Needle(b"\r\n.").find(buffer) == 4 * BEGINNING
    del buffer[:BEGINNING]
    assert Needle(b"\r\n.").find(buffer) == 3 * BEGINNING


def test_a_haystack_of_needles_takes_no_memory() -> None:
    hay = b"x" * BEGINNING + b" " * 100 * PIECE
    tracemalloc.start()
    try:
        assert Needle(b"  ").find(hay) == BEGINNING
        assert tracemalloc.get_traced_memory()[1] < 200 * PIECE
    finally:
        tracemalloc.stop()


def test_it_says_what_it_looks_for() -> None:
    assert repr(Needle(b"  ")) == "<Needle b'  '>"
