"""The end of DATA and what a line is. The reader is held against a slow reference, however the octets arrive."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.edge import framing
from relay.outcome import Reply

# Octets of which hostile framing is made, likelier than by chance.
PIECES = st.sampled_from(
    [b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\n.\n", b"\r\n..", b"x", b"MAIL", b"\0"]
)
STREAMS = st.lists(PIECES, max_size=40).map(b"".join)


def reference(stream: bytes) -> tuple[bytes, bytes] | None:
    """(message, rest) by RFC 5321 4.5.2, line by line."""
    lines: list[bytes] = []
    rest = stream
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if line == b".":
            return b"".join(lines), rest
        lines.append((line[1:] if line.startswith(b".") else line) + end)


def read(parts: list[bytes], *, discard: bool = False) -> tuple[bytes, bytes] | None:
    reader, buffer = framing.DataReader(), bytearray()
    reader.discard = discard
    found = None
    for part in parts:
        buffer += part
        if found is None:
            found = reader.take(buffer)
    return None if found is None else (found, bytes(buffer))


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=200), max_size=10))
def test_the_reader_agrees_with_the_rfc_however_the_octets_arrive(stream: bytes, cuts: list[int]) -> None:
    expected = reference(stream)
    assert read([stream]) == expected
    assert read(split(stream, cuts)) == expected
    assert read([bytes([octet]) for octet in stream]) == expected


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=200), max_size=10))
def test_discarding_finds_the_same_end_and_keeps_nothing(stream: bytes, cuts: list[int]) -> None:
    expected = reference(stream)
    found = read(split(stream, cuts), discard=True)
    assert found == (None if expected is None else (b"", expected[1]))


def test_discarding_does_not_hold_what_it_drops() -> None:
    reader, buffer = framing.DataReader(), bytearray()
    reader.discard = True
    for _ in range(1000):
        buffer += b"x" * 1000 + b"\r\n"
        assert reader.take(buffer) is None
        assert len(buffer) < 8
    assert reader.dropped > 1_000_000
    buffer += b".\r\nQUIT\r\n"
    assert reader.take(buffer) == b""
    assert buffer == b"QUIT\r\n"


def test_an_empty_message_is_a_dot_alone() -> None:
    assert read([b".\r\nQUIT\r\n"]) == (b"", b"QUIT\r\n")


SMUGGLED = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\n\r.\n\r",
    b"\n.\r",
    b"\r.\n",
    b"\rx\n",
]


@pytest.mark.parametrize("variant", SMUGGLED)
def test_no_variant_ends_a_message_and_each_condemns_it(variant: bytes) -> None:
    stream = b"Subject: a\r\n\r\nbody" + variant + b"MAIL FROM:<evil@example.com>\r\n.\r\n"
    found = read([stream])
    assert found is not None
    content, rest = found
    assert rest == b""
    assert b"MAIL FROM:<evil@example.com>" in content
    verdict = framing.checked(content, fix=False, long_lines=False)
    assert verdict in (framing.BARE, framing.NUL)


@given(STREAMS)
def test_what_passes_has_whole_lines_only(content: bytes) -> None:
    verdict = framing.checked(content, fix=False, long_lines=True)
    if isinstance(verdict, Reply):
        assert b"\0" in content or re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    else:
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", content)
        assert verdict == content or verdict == content + b"\r\n"


@given(STREAMS.filter(lambda content: b"\0" not in content))
def test_fixing_changes_line_ends_and_nothing_else(content: bytes) -> None:
    fixed = framing.checked(content, fix=True, long_lines=True)
    assert isinstance(fixed, bytes)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", fixed)
    assert [part for part in re.split(rb"\r\n|\r|\n", content) if part] == [
        part for part in fixed.split(b"\r\n") if part
    ]
    assert framing.checked(fixed, fix=False, long_lines=True) == fixed


def test_a_body_without_a_last_line_end_gains_one() -> None:
    assert framing.checked(b"a\r\nb", fix=False, long_lines=False) == b"a\r\nb\r\n"
    assert framing.checked(b"a\r", fix=True, long_lines=False) == b"a\r\n"
    assert framing.checked(b"", fix=False, long_lines=False) == b""


def test_nul_is_refused_even_where_line_ends_are_fixed() -> None:
    assert framing.checked(b"a\0b\r\n", fix=True, long_lines=True) == framing.NUL


def test_998_octets_are_a_line_and_999_are_not() -> None:
    good, bad = b"a\r\n" + b"x" * 998 + b"\r\n", b"a\r\n" + b"x" * 999 + b"\r\n"
    assert framing.checked(good, fix=False, long_lines=False) == good
    assert framing.checked(bad, fix=False, long_lines=False) == framing.LONG_LINE
    assert framing.checked(bad, fix=False, long_lines=True) == bad
    assert framing.checked(bad[:-2], fix=False, long_lines=False) == framing.LONG_LINE


@given(st.lists(st.integers(min_value=0, max_value=1300), max_size=12))
def test_long_lines_are_found_wherever_they_are(lengths: list[int]) -> None:
    content = b"".join(b"x" * length + b"\r\n" for length in lengths)
    assert framing.has_long_line(content) == any(length > 998 for length in lengths)


# Base64 and what stands around it; widths around the bounds, and octets that spoil a line.
EVEN = st.builds(
    lambda above, width, count, below: above + (b"x" * (width - 2) + b"\r\n") * count + below,
    STREAMS,
    st.sampled_from([2, framing.LEAST_WIDTH - 1, framing.LEAST_WIDTH, 78, framing.MAX_LINE, framing.MAX_LINE + 1]),
    st.integers(min_value=0, max_value=8),
    STREAMS,
)


def spoilt(content: bytes, places: list[int], octet: bytes) -> bytes:
    spoiling = bytearray(content)
    for place in places if content else []:
        spoiling[place % len(content)] = octet[0]
    return bytes(spoiling)


@given(
    EVEN,
    st.lists(st.integers(min_value=0, max_value=10_000), max_size=2),
    st.sampled_from([b"\r", b"\n", b"x"]),
)
def test_even_lines_are_whole_lines_none_of_them_long(content: bytes, places: list[int], octet: bytes) -> None:
    content = spoilt(content, places, octet)
    start, end = framing.even_lines(content)
    assert start == end == 0 or (start == 0 or content[start - 1 : start] == b"\n")
    lines = content[start:end].split(b"\r\n")
    assert lines.pop() == b""
    assert len({len(line) for line in lines}) <= 1
    assert all(len(line) + 2 <= framing.MAX_LINE and b"\r" not in line and b"\n" not in line for line in lines)


def test_base64_is_even_lines() -> None:
    above, below = b"Subject: a\r\n\r\n", b"eHg=\r\n"
    content = above + (b"x" * 76 + b"\r\n") * 100 + below
    assert framing.even_lines(content) == (len(above), len(content) - len(below))


@given(
    EVEN,
    st.lists(st.integers(min_value=0, max_value=10_000), max_size=2),
    st.sampled_from([b"\r", b"\n", b"x"]),
    st.booleans(),
    st.booleans(),
)
def test_large_content_is_checked_as_any_other(
    content: bytes, places: list[int], octet: bytes, fix: bool, long_lines: bool
) -> None:
    content = spoilt(content, places, octet)
    expected = framing.checked(content, fix=fix, long_lines=long_lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "LARGE", 0)
        assert framing.checked(content, fix=fix, long_lines=long_lines) == expected
