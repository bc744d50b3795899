"""Where in Redis a mark is looked for, and left."""

from hypothesis import given
from hypothesis import strategies as st

from relay.state.marks import FIRST, Change
from relay.state.redis_marks import question, tag_of

DAY = 86_400_000


def places(key: bytes, now: int) -> tuple[str, ...]:
    keys, _ = question(tag_of(key, 16), DAY, [Change(FIRST, key, b"v", DAY)], now)
    return keys


@given(st.binary(min_size=12, max_size=12), st.integers(0, 1 << 42), st.integers(0, DAY - 1))
def test_a_mark_is_looked_for_where_it_was_left_for_as_long_as_it_stays(key: bytes, now: int, age: int) -> None:
    assert places(key, now)[0] in places(key, now + age)


def test_a_call_names_the_places_and_words_of_each_change() -> None:
    one, other = Change(FIRST, b"\x05\0\x01" + b"k" * 9, b"v", 7), Change(FIRST, b"\x05\0\x02" + b"k" * 9, b"v", 7)
    keys, words = question(5, DAY, [one, other], 10 * DAY)
    assert keys[:3] == tuple(f"postlane:{{5}}:mark:43200000:{generation}:1" for generation in (20, 19, 18))
    assert keys[3] == "postlane:{5}:mark:43200000:20:2"
    assert words == [3, 3 * DAY // 2, *one, *other]
