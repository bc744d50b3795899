"""What a change makes of a mark."""

import pytest

from relay.state.marks import DROP, FIRST, MOST, PUT, Change, after


@pytest.mark.parametrize(
    ("what", "stands", "left"),
    [
        (FIRST, b"", b"m"),
        (FIRST, b"a", b"a"),
        (MOST, b"", b"m"),
        (MOST, b"a", b"m"),
        (MOST, b"z", b"z"),
        (PUT, b"z", b"m"),
        (DROP, b"m?", b""),
        (DROP, b"z", b"z"),
        (DROP, b"", b""),
    ],
)
def test_what_stands_after_a_change(what: str, stands: bytes, left: bytes) -> None:
    assert after(Change(what, b"k", b"m"), stands) == left
